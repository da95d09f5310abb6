//! Keys as people read them.

use std::fmt;
use std::fmt::Write as _;

use super::{Out, row};
use crate::cli::item::{Contact, Keys, Sealed};
use crate::cli::keys::RECOVERY_KEY;

pub(super) fn sealed(f: Out<'_, '_>, item: &Sealed) -> fmt::Result {
    let how = if item.sealed {
        "sealed under its passphrase"
    } else {
        "not sealed any more: whoever reads its file can spend"
    };
    write!(f, "the key {} is {how}", item.key)
}

pub(super) fn keys(f: Out<'_, '_>, item: &Keys) -> fmt::Result {
    row(f, "name", &item.name)?;
    f.write_char('\n')?;
    row(f, "key", &item.key)?;
    f.write_char('\n')?;
    row(
        f,
        "recovery key",
        item.recovery.as_deref().unwrap_or("none"),
    )?;
    f.write_char('\n')?;
    frozen(f, item)?;
    if let (Some(successor), Some(due)) = (&item.successor, &item.due) {
        f.write_char('\n')?;
        let contested = if item.contested == Some(true) {
            " (contested)"
        } else {
            ""
        };
        row(
            f,
            "recovery",
            format!("{successor} takes over from {due} on{contested}"),
        )?;
    }
    if let Some(entry) = item.entry {
        f.write_char('\n')?;
        row(f, "entry", entry)?;
    }
    Ok(())
}

/// Whether the account is frozen; and if so what that means, what thaws it, and what a thaw gives up.
fn frozen(f: Out<'_, '_>, item: &Keys) -> fmt::Result {
    let by = match (item.frozen, item.locked) {
        (true, _) => "by the operator",
        (false, true) => "by its own keys",
        (false, false) => return row(f, "frozen", "no"),
    };
    row(
        f,
        "frozen",
        format_args!("{by}: it receives, and pays nobody and opens no tab"),
    )?;
    let disputed = item.contested == Some(true);
    let (withdrawn, dismissed) = match disputed {
        true => (
            ", which withdraws the recovery",
            ", who then dismisses the recovery, and the recovery key with it",
        ),
        false => ("", ""),
    };
    let own = item.thawed_by.iter().any(|who| who == RECOVERY_KEY);
    f.write_char('\n')?;
    match own {
        true => row(
            f,
            "thawed by",
            format_args!(
                "its recovery key (`quid key thaw --recovery FILE`){withdrawn}; or the operator of \
                 the directory{dismissed}"
            ),
        ),
        false => row(
            f,
            "thawed by",
            format_args!("the operator of the directory{dismissed}"),
        ),
    }
}

pub(super) fn contact(f: Out<'_, '_>, item: &Contact) -> fmt::Result {
    write!(
        f,
        "{} is paid under the key {} from now on (before: {}; proof: {})",
        item.name, item.key, item.pinned, item.proof
    )
}
