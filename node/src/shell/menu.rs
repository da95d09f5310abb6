//! What the shell says about itself, by example, on terminals of any width.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::cli::screen::{NARROW, fold};

/// What a shell says when it begins.
pub(super) fn greeting(columns: usize) -> String {
    fold(
        "? shows the commands, Tab completes, and the right arrow takes a hint.",
        columns,
    )
}

/// The menu: what can be typed, and what it does.
pub(super) fn menu(columns: usize) -> String {
    let widest = ROWS.iter().map(|(example, _)| example.len()).max();
    let widest = widest.unwrap_or_default();
    let side_by_side = ROWS
        .iter()
        .all(|(_, meaning)| widest + GAP + meaning.len() <= columns);
    let mut text = String::new();
    for (example, meaning) in ROWS {
        if side_by_side {
            text.push_str(&format!(
                "{example:<width$}{meaning}\n",
                width = widest + GAP
            ));
        } else {
            text.push_str(&format!("{example}\n  {meaning}\n"));
        }
    }
    text.push_str(&fold(
        "Every command of `quid` works here, and `help pay` explains pay. A line goes on below after \
         a backslash or in an open quote.",
        columns,
    ));
    text
}

/// What `help` says about the command that `words` name; none if there is none. Flags that every
/// command takes are left out: in the shell they are of little use.
pub(super) fn help(words: &[String], columns: usize) -> Option<String> {
    let mut tree = Cli::command();
    let mut command = &mut tree;
    for word in words {
        command = command.find_subcommand_mut(word)?;
    }
    let named = command.clone().bin_name(words.join(" "));
    let named = named.disable_help_flag(true);
    if columns >= NARROW {
        let help = named.term_width(columns).render_help();
        return Some(help.to_string());
    }
    // Whole lines, each with as little before it as tells what belongs to what, broken at the end.
    let mut named = named.next_line_help(true).term_width(usize::MAX);
    let help = named.render_help().to_string();
    let lines: Vec<String> = help
        .lines()
        .map(|line| {
            let text = line.trim_start();
            let indent = if line.len() - text.len() > 6 {
                "  "
            } else {
                ""
            };
            format!("{indent}{text}")
        })
        .collect();
    Some(fold(&lines.join("\n"), columns))
}

/// Examples, each short enough for twenty columns.
const ROWS: &[(&str, &str)] = &[
    ("r alice", "take a name"),
    ("w", "who is online"),
    ("p bob 1.50", "pay bob"),
    ("p bob 1 --memo 'tea'", "say what for"),
    ("h", "what came and went"),
    ("s", "balance, and more"),
    ("v ORDER_ID", "cancel an order"),
    ("t", "open tabs"),
    ("l", "listen: on or off"),
    ("doctor", "what is wrong?"),
    ("x", "leave"),
];

/// Columns between an example and what it does.
const GAP: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [20, 40, 80, 200] {
            let help = help(&["pay".to_owned()], columns).expect("there is such a command");
            for text in [menu(columns), greeting(columns), help] {
                for line in text.lines() {
                    assert!(line.len() <= columns, "{columns}: {line}");
                }
            }
        }
        assert!(
            menu(80).contains("p bob 1.50             pay bob\n"),
            "{}",
            menu(80)
        );
    }
}
