//! Completions and manual pages, written from a program's tree of commands.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
pub use clap_complete::Shell;
use clap_mangen::Man;

/// The completions for `shell` of the program that `tree` is.
#[must_use]
pub fn completions(mut tree: Command, shell: Shell) -> Vec<u8> {
    let name = tree.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut tree, name, &mut text);
    text
}

/// The manual page of the command that `words` name, the program itself without any; none if there
/// is no such command.
///
/// # Errors
/// The page cannot be rendered.
pub fn page(tree: Command, words: &[String]) -> io::Result<Option<Vec<u8>>> {
    let source = source(&tree);
    let mut tree = built(tree);
    let mut command = &mut tree;
    for word in words {
        match command.find_subcommand_mut(word) {
            Some(below) => command = below,
            None => return Ok(None),
        }
    }
    rendered(command, &source).map(Some)
}

/// Writes the pages of all commands into `folder`, which is made if need be.
///
/// # Errors
/// What cannot be written, and why.
pub fn pages(tree: Command, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    std::fs::create_dir_all(folder).map_err(|error| (folder.to_owned(), error))?;
    let source = source(&tree);
    let mut rest = vec![built(tree)];
    while let Some(command) = rest.pop() {
        let path = folder.join(format!("{}.1", name(&command)));
        write(&command, &source, &path).map_err(|error| (path, error))?;
        let below = command.get_subcommands().cloned();
        rest.extend(below.filter(|command| command.get_name() != "help"));
    }
    Ok(())
}

fn write(command: &Command, source: &str, path: &Path) -> io::Result<()> {
    let page = rendered(command, source)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?
        .write_all(&page)
}

/// The whole tree, in which every command knows what it is called in full.
fn built(mut tree: Command) -> Command {
    tree.build();
    tree
}

/// The program and its version, as pages name where they come from.
fn source(tree: &Command) -> String {
    format!("{} {}", tree.get_name(), tree.get_version().unwrap_or(""))
}

/// `quid-tab-open` for `quid tab open`.
fn name(command: &Command) -> String {
    let called = command.get_bin_name().unwrap_or(command.get_name());
    called.replace(' ', "-")
}

fn rendered(command: &Command, source: &str) -> io::Result<Vec<u8>> {
    let called = command.clone().name(name(command));
    let mut page = Vec::new();
    Man::new(called).source(source).render(&mut page)?;
    Ok(page)
}
