//! What is shown behind the cursor while a line is typed: the rest of a word, or what comes next.

use clap::Command;
use rustyline::hint::Hint;

/// A hint, as it is shown and as it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    shown: String,
    taken: Option<String>,
}

impl Tip {
    /// The rest of the word being typed.
    pub(super) fn rest(rest: &str) -> Self {
        Self {
            shown: rest.to_owned(),
            taken: Some(rest.to_owned()),
        }
    }

    /// What is to be typed next.
    pub(super) fn next(names: &[String]) -> Option<Self> {
        (!names.is_empty()).then(|| Self {
            shown: names.join(" "),
            taken: None,
        })
    }

    /// The hint as it is shown in `room` columns; without colour it stands in brackets, so that
    /// nobody takes it for typed. None if it does not fit.
    pub(super) fn fitted(mut self, room: usize, color: bool) -> Option<Self> {
        let brackets = if color { 0 } else { 2 };
        let room = room.saturating_sub(brackets);
        while self.shown.chars().count() > room {
            // The rest of a word is shown whole, what comes next as far as there is room.
            let (fewer, _) = self
                .shown
                .rsplit_once(' ')
                .filter(|_| self.taken.is_none())?;
            self.shown = fewer.to_owned();
        }
        if !color {
            self.shown = format!("[{}]", self.shown);
        }
        Some(self)
    }
}

impl Hint for Tip {
    fn display(&self) -> &str {
        &self.shown
    }

    fn completion(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

/// What `command` still wants after the words that were typed behind it, as its help calls it: first
/// what stands by itself, then flags that it cannot do without.
pub(super) fn wanted(command: &Command, typed: &[&str]) -> Vec<String> {
    let mut given = 0;
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            None => given += 1,
            Some(flag) => {
                let takes = command.get_arguments().any(|argument| {
                    argument.get_long() == Some(flag) && argument.get_action().takes_values()
                });
                if takes && words.next().is_none() {
                    // The value of this flag is what comes next.
                    return named(command, flag).into_iter().collect();
                }
            }
        }
    }
    let places = command.get_positionals().skip(given);
    let mut names: Vec<String> = places
        .map(|place| match place.get_value_names() {
            Some([name, ..]) => name.to_string(),
            _ => place.get_id().as_str().to_uppercase(),
        })
        .collect();
    let flags = command.get_arguments().filter(|it| it.is_required_set());
    for flag in flags.filter_map(|it| it.get_long()) {
        if !typed
            .iter()
            .any(|word| word.strip_prefix("--") == Some(flag))
        {
            let value = named(command, flag).unwrap_or_default();
            names.push(format!("--{flag} {value}"));
        }
    }
    names
}

fn named(command: &Command, flag: &str) -> Option<String> {
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag))?;
    argument.get_value_names()?.first().map(ToString::to_string)
}
