//! `quid-directory completions` and `quid-directory man`, and what goes wrong with them.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use quid_common::printable::Printable;
use quid_terminal::manual::{self, Shell};

use crate::cli::{Cli, Exit, Failure};

/// Prints a text that was asked for, as it is. A reader that has enough is no failure.
pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::files(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

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
        .map_err(|error| Failure::new(Exit::Other, "manual", error))?
        .ok_or_else(|| {
            Failure::usage(format!(
                "there is no command {}; see quid-directory --help",
                Printable::short(&words.join(" "), WORDS_MAX)
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

/// How much of what was typed is repeated, in characters.
const WORDS_MAX: usize = 60;
