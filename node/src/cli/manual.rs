//! `quid completions` and `quid man`: what is written from the tree of commands.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use super::failure::{Failure, quoted};

/// The completions for `shell`.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quid", &mut text);
    text
}

/// The page of the command that `words` name.
///
/// # Errors
/// There is no such command.
pub(super) fn page(words: &[String]) -> Result<Vec<u8>, Failure> {
    let mut tree = tree();
    let mut command = &mut tree;
    for word in words {
        command = command.find_subcommand_mut(word).ok_or_else(|| {
            Failure::usage(format!(
                "there is no command {}: `quid --help` lists them",
                quoted(&words.join(" "))
            ))
        })?;
    }
    rendered(command).map_err(|error| Failure::other("manual", error.to_string()))
}

/// Writes the pages of all commands into `folder`, which is made if need be.
///
/// # Errors
/// A file cannot be written.
pub(super) fn pages(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| {
        Failure::files(format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut rest = vec![tree()];
    while let Some(command) = rest.pop() {
        let path = folder.join(format!("{}.1", name(&command)));
        let page = rendered(&command).map_err(|error| failed(&path, &error))?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&page))
            .map_err(|error| failed(&path, &error))?;
        let below = command.get_subcommands().cloned();
        rest.extend(below.filter(|command| command.get_name() != "help"));
    }
    Ok(())
}

/// The whole tree, in which every command knows what it is called in full.
fn tree() -> Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

/// `quid-tab-open` for `quid tab open`.
fn name(command: &Command) -> String {
    let called = command.get_bin_name().unwrap_or(command.get_name());
    called.replace(' ', "-")
}

fn rendered(command: &Command) -> io::Result<Vec<u8>> {
    let called = command.clone().name(name(command));
    let mut page = Vec::new();
    Man::new(called)
        .source(concat!("quid ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(page)
}
