//! Completion and hints: commands, their flags, the names of people online and of those who were paid
//! before, and the tabs to pay on.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use clap::CommandFactory;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::hint::{Tip, wanted};
use crate::cli::Cli;
use crate::cli::screen::columns;
use crate::cli::split::words;

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

/// All words that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// Who is online.
    pub(super) people: Known,
    /// Who was paid before.
    pub(super) contacts: Known,
    /// The tabs to pay on.
    pub(super) tabs: Known,
}

impl Words {
    /// Names: of whoever is online, and of whoever was paid before.
    fn names(&self, start: &str) -> Vec<String> {
        let mut names: BTreeSet<String> = self.people.beginning_with(start).into_iter().collect();
        names.extend(self.contacts.beginning_with(start));
        names.into_iter().take(CANDIDATES_MAX).collect()
    }
}

/// Completes the shell's lines, hints at what comes next, and knows when a line is whole.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    known: Words,
    /// Whether hints and the prompt are coloured.
    color: bool,
    /// How many columns the prompt takes.
    prompt_len: usize,
}

impl Completion {
    /// Completes from `known`.
    pub(super) const fn new(known: Words, color: bool) -> Self {
        Self {
            known,
            color,
            prompt_len: 0,
        }
    }

    /// Whether hints and the prompt are coloured.
    pub(super) const fn is_colored(&self) -> bool {
        self.color
    }

    /// The next line stands behind this prompt.
    pub(super) fn stand_behind(&mut self, prompt: &str) {
        self.prompt_len = prompt.chars().count();
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
            ("pay", []) | ("tab", ["open"]) | ("key", ["status" | "accept"]) => {
                self.known.names(word)
            }
            ("tab", ["pay" | "close"]) => self.known.tabs.beginning_with(word),
            ("help", []) => beginning(commands(), word),
            ("help", [command]) => beginning(below(long_name(command)), word),
            (command, []) => beginning(below(command), word),
            _ => Vec::new(),
        }
    }

    /// What is shown behind a line that ends with the cursor.
    fn tip(&self, line: &str) -> Option<Tip> {
        let (before, word) = parted(line);
        if !word.is_empty() {
            let found = self.candidates(&before, word);
            let rest = found.first()?.strip_prefix(word)?;
            return (!rest.is_empty()).then(|| Tip::rest(rest));
        }
        let mut typed = before.iter().copied().skip_while(|word| *word == "quid");
        let tree = Cli::command();
        let mut command = tree.find_subcommand(long_name(typed.next()?))?;
        let mut rest: Vec<&str> = typed.collect();
        while let Some((first, others)) = rest.split_first()
            && let Some(below) = command.find_subcommand(first)
        {
            command = below;
            rest = others.to_vec();
        }
        if command.has_subcommands() {
            let below: Vec<&str> = command.get_subcommands().map(|it| it.get_name()).collect();
            return Tip::next(&[below.join(" | ")]);
        }
        Tip::next(&wanted(command, &rest))
    }
}

/// The words before the one at the end of `line`, and that one.
fn parted(line: &str) -> (Vec<&str>, &str) {
    let start = line.rfind([' ', '\t', '\n']).map_or(0, |space| space + 1);
    let (before, word) = line.split_at(start);
    (before.split_whitespace().collect(), word)
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
        let (before, word) = parted(line);
        let start = line.len() - word.len();
        let mut candidates = self.candidates(&before, word);
        if let [only] = candidates.as_mut_slice() {
            only.push(' ');
        }
        Ok((start, candidates))
    }
}

impl Hinter for Completion {
    type Hint = Tip;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Tip> {
        // Words in an open quotation are nobody's to guess.
        if pos < line.len() || line.contains('\n') || words(line).is_err() {
            return None;
        }
        // The last column stays free: a cursor there would stand on the next line.
        let taken = self.prompt_len + line.chars().count() + 1;
        let room = columns().saturating_sub(taken);
        self.tip(line)?.fitted(room, self.color)
    }
}

impl Highlighter for Completion {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.color {
            Cow::Owned(format!("\x1b[1m{prompt}\x1b[m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color {
            Cow::Owned(format!("\x1b[2m{hint}\x1b[m"))
        } else {
            Cow::Borrowed(hint)
        }
    }
}

impl Validator for Completion {
    /// A line with an open quotation, or a backslash at its end, goes on below.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match words(context.input()) {
            Ok(_) => ValidationResult::Valid(None),
            Err(_) => ValidationResult::Incomplete,
        })
    }
}

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
    let not_here = ["init", "shell", "config", "completions", "man"];
    Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(move |name| !not_here.contains(&name.as_str()))
        .chain(["exit".to_owned(), "help".to_owned()])
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
    use rustyline::hint::Hint as _;

    use super::*;

    #[test]
    fn commands_names_and_flags_complete() {
        let completion = Completion::new(known(), false);
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
        assert_eq!(complete(&["pay"], "d"), ["dora"]);
        assert_eq!(complete(&["key", "status"], "do"), ["dora"]);
        assert_eq!(complete(&["help"], "pa"), ["pay"]);
        assert_eq!(complete(&["help", "t"], "op"), ["open"]);
    }

    #[test]
    fn hints_are_the_rest_of_a_word_or_what_comes_next() {
        let completion = Completion::new(known(), true);
        let tip = |line: &str| {
            let tip = completion.tip(line)?;
            Some((tip.display().to_owned(), tip.completion().is_some()))
        };
        for (line, shown, taken) in [
            ("sta", "tus", true),
            ("pay do", "ra", true),
            ("pay ", "NAME|LINK AMOUNT", false),
            ("p bob ", "AMOUNT", false),
            ("pay bob 1 --memo ", "TEXT", false),
            ("quid void ", "ORDER_ID", false),
            ("tab ", "open | list | pay | close", false),
            ("tab open bob ", "--unit AMOUNT --units N", false),
            ("tab open --unit 1 ", "NAME --units N", false),
        ] {
            assert_eq!(tip(line), Some((shown.to_owned(), taken)), "{line}");
        }
        for line in [
            "",
            "status",
            "pay bob 1 ",
            "pay zzz",
            "nonsense ",
            "status ",
        ] {
            assert_eq!(tip(line), None, "{line}");
        }
    }

    #[test]
    fn hints_stay_on_the_line() {
        let next = Tip::next(&["NAME".to_owned(), "AMOUNT".to_owned()]).expect("some");
        let shown = |tip: &Tip, room, color| {
            let tip = tip.clone().fitted(room, color)?;
            Some(tip.display().to_owned())
        };
        assert_eq!(shown(&next, 11, true).as_deref(), Some("NAME AMOUNT"));
        assert_eq!(shown(&next, 10, true).as_deref(), Some("NAME"));
        assert_eq!(shown(&next, 11, false).as_deref(), Some("[NAME]"));
        assert_eq!(shown(&next, 3, true), None);
        let rest = Tip::rest("atus");
        assert_eq!(shown(&rest, 6, false).as_deref(), Some("[atus]"));
        assert_eq!(shown(&rest, 3, true), None);
    }

    fn known() -> Words {
        let known = Words::default();
        known.tabs.add("019aab12-3456-7abc-8def-0123456789ab");
        for name in ["bob", "bert", "carol"] {
            known.people.add(name);
        }
        known.people.remove("carol");
        known.contacts.add("dora");
        known
    }
}
