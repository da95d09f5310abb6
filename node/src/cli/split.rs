//! A line typed into the shell, split into words.

use thiserror::Error;

/// The words of `line`: separated by spaces, tabs and ends of lines; `'...'` and `"..."` keep them,
/// and a backslash outside `'...'` takes the next character as it is, or the end of a line away.
/// Nothing is ever expanded.
pub(crate) fn words(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => match chars.next().ok_or(SplitError::Backslash)? {
                '\n' => {}
                next => word.get_or_insert_default().push(next),
            },
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(SplitError::Quote(c)),
                        Some(next) if next == c => break,
                        Some('\\') if c == '"' => {
                            word.push(chars.next().ok_or(SplitError::Backslash)?);
                        }
                        Some(next) => word.push(next),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Why a line has no words.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum SplitError {
    /// A quotation that never ends.
    #[error("a {0} is never closed: add one at the end, or write \\{0}")]
    Quote(char),
    /// Nothing after a backslash.
    #[error("the line ends in a backslash: write \\\\ for the character itself")]
    Backslash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_into_words() {
        for (line, expected) in [
            ("", &[][..]),
            ("  \t ", &[]),
            ("status", &["status"]),
            (" pay  bob\t1.5 ", &["pay", "bob", "1.5"]),
            (
                "pay bob 1 --memo 'two words'",
                &["pay", "bob", "1", "--memo", "two words"],
            ),
            (r#"--memo="a \"b\" \\" x"#, &[r#"--memo=a "b" \"#, "x"]),
            (r"a\ b '\'", &["a b", r"\"]),
            ("'' \"\"", &["", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            (
                "pay bob\\\n 1 \\\n--memo 'a\nb'\n",
                &["pay", "bob", "1", "--memo", "a\nb"],
            ),
            ("$HOME `id` *", &["$HOME", "`id`", "*"]),
        ] {
            assert_eq!(words(line).expect("the row splits"), expected, "{line}");
        }
    }

    #[test]
    fn what_is_never_closed_is_refused() {
        assert_eq!(words("a 'b"), Err(SplitError::Quote('\'')));
        assert_eq!(words("a \"b"), Err(SplitError::Quote('"')));
        assert_eq!(words("a \"b\\"), Err(SplitError::Backslash));
        assert_eq!(words("a\\"), Err(SplitError::Backslash));
    }
}
