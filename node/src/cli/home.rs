//! Which home is meant.

use std::path::PathBuf;

use super::failure::Failure;

/// The home folder: `--home`, else `$QUID_HOME`, else `$HOME/.quid`.
pub(crate) fn home_path(flag: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(path) = flag {
        return Ok(path);
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = set("QUID_HOME") {
        return Ok(PathBuf::from(path));
    }
    match set("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".quid")),
        None => Err(Failure::files(
            "no home folder is known, since neither QUID_HOME nor HOME is set: add --home DIR",
        )),
    }
}
