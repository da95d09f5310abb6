//! Settings and checks as people read them.

use std::fmt;

use quid_common::printable::Printable;

use super::Out;
use crate::cli::item::{Check, Health, Setting, SettingSource};

pub(super) fn setting(f: Out<'_, '_>, item: &Setting) -> fmt::Result {
    let value = item.value.as_deref().unwrap_or("-");
    write!(f, "{:<15}  {:<12}", item.key, Printable(value).to_string())?;
    match item.source {
        SettingSource::Default => f.write_str("  default"),
        SettingSource::File => f.write_str("  config.toml"),
        SettingSource::Environment => write!(f, "  {}", item.variable),
        SettingSource::Flag => f.write_str("  command line"),
    }
}

pub(super) fn check(f: Out<'_, '_>, item: &Check) -> fmt::Result {
    let state = match item.state {
        Health::Good => "good",
        Health::Weak => "weak",
        Health::Bad => "bad",
        Health::Unknown => "unknown",
    };
    write!(
        f,
        "{state:<7}  {:<12}  {}",
        item.check,
        Printable(&item.found)
    )?;
    match &item.advice {
        Some(advice) => write!(f, "\n         -> {}", Printable(advice)),
        None => Ok(()),
    }
}
