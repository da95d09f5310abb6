//! `quid completions` and `quid man`, and what goes wrong with them.

use std::path::Path;

use clap::CommandFactory;
use quid_terminal::manual::{self, Shell};

use super::Cli;
use super::failure::{Failure, quoted};

/// The completions for `shell`.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    manual::completions(Cli::command(), shell)
}

/// The page of the command that `words` name.
///
/// # Errors
/// There is no such command.
pub(super) fn page(words: &[String]) -> Result<Vec<u8>, Failure> {
    manual::page(Cli::command(), words)
        .map_err(|error| Failure::other("manual", error.to_string()))?
        .ok_or_else(|| {
            Failure::usage(format!(
                "there is no command {}: `quid --help` lists them",
                quoted(&words.join(" "))
            ))
        })
}

/// Writes the pages of all commands into `folder`, which is made if need be.
///
/// # Errors
/// A file cannot be written.
pub(super) fn pages(folder: &Path) -> Result<(), Failure> {
    manual::pages(Cli::command(), folder).map_err(|(path, error)| {
        Failure::files(format!("cannot write {}: {error}", path.display()))
    })
}
