//! Completion: commands, their flags, and the names of people online.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use clap::CommandFactory;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::cli::Cli;

/// Who can be paid by name, as far as this shell has seen them.
#[derive(Clone, Debug, Default)]
pub(super) struct People(Arc<Mutex<BTreeSet<String>>>);

impl People {
    /// Somebody is there.
    pub(super) fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < PEOPLE_MAX {
            names.insert(name.to_owned());
        }
    }

    /// Somebody has gone.
    pub(super) fn remove(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(name);
    }

    fn beginning_with(&self, start: &str) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .range(start.to_owned()..)
            .take_while(|name| name.starts_with(start))
            .take(CANDIDATES_MAX)
            .cloned()
            .collect()
    }
}

/// Completes the shell's lines.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    people: People,
}

impl Completion {
    /// Completes names among `people`.
    pub(super) const fn new(people: People) -> Self {
        Self { people }
    }

    fn candidates(&self, before: &[&str], word: &str) -> Vec<String> {
        let mut words = before.iter().copied().skip_while(|word| *word == "quid");
        let Some(first) = words.next() else {
            return beginning(commands(), word);
        };
        let rest: Vec<&str> = words.collect();
        if word.starts_with('-') {
            return beginning(flags(long_name(first), &rest), word);
        }
        match (long_name(first), rest.as_slice()) {
            ("pay", []) => self.people.beginning_with(word),
            ("receipt", []) => beginning(["show".to_owned(), "verify".to_owned()], word),
            _ => Vec::new(),
        }
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let line = line.get(..pos).unwrap_or(line);
        let start = line.rfind([' ', '\t']).map_or(0, |space| space + 1);
        let (before, word) = line.split_at(start);
        let before: Vec<&str> = before.split_whitespace().collect();
        let mut candidates = self.candidates(&before, word);
        if let [only] = candidates.as_mut_slice() {
            only.push(' ');
        }
        Ok((start, candidates))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

/// The command that a menu letter stands for.
pub(super) fn long_name(word: &str) -> &str {
    match word {
        "r" => "register",
        "w" => "who",
        "p" => "pay",
        "h" => "history",
        "s" => "status",
        "v" => "void",
        other => other,
    }
}

fn commands() -> impl Iterator<Item = String> {
    let not_here = ["init", "shell", "help"];
    Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(move |name| !not_here.contains(&name.as_str()))
        .chain(["exit".to_owned()])
        .collect::<Vec<_>>()
        .into_iter()
}

fn flags(command: &str, rest: &[&str]) -> Vec<String> {
    let tree = Cli::command();
    let Some(mut command) = tree.find_subcommand(command) else {
        return Vec::new();
    };
    if let Some(below) = rest.first().and_then(|word| command.find_subcommand(word)) {
        command = below;
    }
    command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .chain(["json"])
        .map(|long| format!("--{long}"))
        .collect()
}

fn beginning(all: impl IntoIterator<Item = String>, start: &str) -> Vec<String> {
    all.into_iter()
        .filter(|candidate| candidate.starts_with(start))
        .collect()
}

/// How many names are kept for completion.
const PEOPLE_MAX: usize = 10_000;

/// How many names are offered at once.
const CANDIDATES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_names_and_flags_complete() {
        let people = People::default();
        for name in ["bob", "bert", "carol"] {
            people.add(name);
        }
        people.remove("carol");
        let completion = Completion::new(people);
        let complete = |before: &[&str], word: &str| completion.candidates(before, word);
        assert_eq!(complete(&[], "st"), ["status"]);
        assert_eq!(complete(&["quid"], "vo"), ["void"]);
        assert_eq!(complete(&[], "ini"), [""; 0]);
        assert_eq!(complete(&["pay"], "b"), ["bert", "bob"]);
        assert_eq!(complete(&["p"], "bo"), ["bob"]);
        assert_eq!(complete(&["pay"], "c"), [""; 0]);
        assert_eq!(complete(&["pay", "bob"], "b"), [""; 0]);
        assert_eq!(complete(&["pay", "bob", "1"], "--m"), ["--memo"]);
        assert_eq!(complete(&["receipt"], "s"), ["show"]);
        assert_eq!(complete(&["receipt", "show", "1"], "--o"), ["--out"]);
        assert_eq!(complete(&["nonsense"], "--"), [""; 0]);
    }
}
