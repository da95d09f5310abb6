//! Completion: commands, their flags, the names of people online, and the tabs to pay on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use clap::CommandFactory;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::cli::Cli;

/// Words of one kind, as far as this shell has seen them: who can be paid by name, or on which
/// tab.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<BTreeSet<String>>>);

impl Known {
    /// Somebody, or a tab, is there.
    pub(super) fn add(&self, word: &str) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < KNOWN_MAX {
            words.insert(word.to_owned());
        }
    }

    /// Somebody, or a tab, has gone.
    pub(super) fn remove(&self, word: &str) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.remove(word);
    }

    fn beginning_with(&self, start: &str) -> Vec<String> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words
            .range(start.to_owned()..)
            .take_while(|word| word.starts_with(start))
            .take(CANDIDATES_MAX)
            .cloned()
            .collect()
    }
}

/// Completes the shell's lines.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    people: Known,
    tabs: Known,
}

impl Completion {
    /// Completes names among `people`, and ids among `tabs`.
    pub(super) const fn new(people: Known, tabs: Known) -> Self {
        Self { people, tabs }
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
            ("pay", []) | ("tab", ["open"]) => self.people.beginning_with(word),
            ("tab", ["pay" | "close"]) => self.tabs.beginning_with(word),
            (command @ ("receipt" | "tab"), []) => beginning(below(command), word),
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
        "t" => "tab",
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

/// The commands below `command`.
fn below(command: &str) -> Vec<String> {
    let tree = Cli::command();
    let Some(command) = tree.find_subcommand(command) else {
        return Vec::new();
    };
    let names = command.get_subcommands().map(|below| below.get_name());
    names.map(ToOwned::to_owned).collect()
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

/// How many words of a kind are kept for completion.
const KNOWN_MAX: usize = 10_000;

/// How many are offered at once.
const CANDIDATES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_names_and_flags_complete() {
        let (people, tabs) = (Known::default(), Known::default());
        tabs.add("019aab12-3456-7abc-8def-0123456789ab");
        for name in ["bob", "bert", "carol"] {
            people.add(name);
        }
        people.remove("carol");
        let completion = Completion::new(people, tabs);
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
        assert_eq!(complete(&["tab"], ""), ["open", "list", "pay", "close"]);
        assert_eq!(complete(&["t", "open"], "bo"), ["bob"]);
        assert_eq!(
            complete(&["tab", "open", "bob"], "--uni"),
            ["--unit", "--units"]
        );
        for command in ["pay", "close"] {
            let found = complete(&["tab", command], "019");
            assert_eq!(found, ["019aab12-3456-7abc-8def-0123456789ab"]);
        }
        assert_eq!(complete(&["tab", "list"], ""), [""; 0]);
        assert_eq!(complete(&["nonsense"], "--"), [""; 0]);
    }
}
