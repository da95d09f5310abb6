//! Account names: which are allowed, which nobody gets, and which look alike.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::printable::printable_char;

/// The name of an account: 3 to 32 characters `a` to `z`, `0` to `9`, `-` and `_`, beginning with
/// a letter and ending with a letter or digit.
///
/// Decoding checks it as parsing does, so a `Name` in hand is always sound and safe to print.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// Shortest name, in characters.
    pub const LEN_MIN: usize = 3;

    /// Longest name, in characters.
    pub const LEN_MAX: usize = 32;

    /// The account that issued money comes from and burnt money goes to.
    #[must_use]
    pub fn treasury() -> Self {
        Self(TREASURY.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody may register this name, because it is, or looks like, one that speaks for
    /// the directory.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        Self::is_reserved_skeleton(&self.skeleton())
    }

    /// The same for whoever has a name's skeleton already.
    #[must_use]
    pub fn is_reserved_skeleton(skeleton: &str) -> bool {
        RESERVED_SKELETONS
            .iter()
            .any(|reserved| reserved == skeleton)
    }

    /// What names that look alike have in common: two names with one skeleton are easily taken
    /// for each other, so the directory gives them to one account at most.
    ///
    /// `1`, `i` and `l` count as one letter, as do `0` and `o`, `m` and `rn`, `w` and `vv`, and
    /// any run of `-` and `_`. A skeleton is for comparing only: it is no name, and may be longer.
    #[must_use]
    pub fn skeleton(&self) -> String {
        skeleton(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        check(&text)?;
        Ok(Self(text))
    }
}

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Under [`Name::LEN_MIN`] characters, perhaps none.
    #[error(
        "the name is too short: it needs at least {} characters",
        Name::LEN_MIN
    )]
    TooShort,
    /// Over [`Name::LEN_MAX`] characters.
    #[error("the name is too long: it has room for {} characters", Name::LEN_MAX)]
    TooLong,
    /// A character that no name holds.
    #[error(
        "a name cannot hold '{}': it is made of a to z (lower case), 0 to 9, '-' and '_'",
        printable_char(*.0)
    )]
    BadCharacter(char),
    /// The first character is not a letter.
    #[error(
        "a name cannot begin with '{}': the first character is a letter a to z",
        printable_char(*.0)
    )]
    BadFirst(char),
    /// The last character is neither a letter nor a digit.
    #[error(
        "a name cannot end with '{}': the last character is a letter a to z or a digit",
        printable_char(*.0)
    )]
    BadLast(char),
}

fn check(text: &str) -> Result<(), NameError> {
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
        return Err(NameError::TooShort);
    };
    // Characters are counted, so that a person who typed letters of another script reads about
    // these and not about a length that is not there.
    if text.chars().nth(Name::LEN_MAX).is_some() {
        return Err(NameError::TooLong);
    }
    if let Some(c) = text
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
    {
        return Err(NameError::BadCharacter(c));
    }
    if text.len() < Name::LEN_MIN {
        return Err(NameError::TooShort);
    }
    if !first.is_ascii_lowercase() {
        return Err(NameError::BadFirst(first));
    }
    if !last.is_ascii_alphanumeric() {
        return Err(NameError::BadLast(last));
    }
    Ok(())
}

/// A start asks this for every account there is.
static RESERVED_SKELETONS: LazyLock<Vec<String>> =
    LazyLock::new(|| RESERVED.iter().map(|text| skeleton(text)).collect());

/// Writes the wider form out (`m` as `rn`, not `rn` as `m`), so that each character is replaced
/// by itself and every reading of `vvv` (`wv`, `vw`) meets in one skeleton.
fn skeleton(text: &str) -> String {
    let wide = text.bytes().filter(|c| matches!(c, b'm' | b'w')).count();
    let mut out = String::with_capacity(text.len().saturating_add(wide));
    for c in text.chars() {
        match c {
            '1' | 'i' | 'l' => out.push('l'),
            '0' | 'o' => out.push('o'),
            'm' => out.push_str("rn"),
            'w' => out.push_str("vv"),
            '-' | '_' if out.ends_with('-') => {}
            '-' | '_' => out.push('-'),
            other => out.push(other),
        }
    }
    out
}

const TREASURY: &str = "treasury";

/// Names that would speak for the directory, its operator or the system.
const RESERVED: &[&str] = &[
    TREASURY,
    "admin",
    "administrator",
    "directory",
    "ledger",
    "official",
    "operator",
    "quid",
    "root",
    "security",
    "support",
    "system",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::cbor;

    #[test]
    fn names_within_the_grammar_are_taken() {
        let longest = format!("a{}9", "_".repeat(Name::LEN_MAX - 2));
        for text in [
            "bob", "a1b", "a-b", "a_b", "a--9", "alice", "x-1_y", "aaa", &longest,
        ] {
            let name: Name = text.parse().expect("the row is a name");
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.as_ref(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_by_what_is_wrong() {
        let (long, longer) = ("a".repeat(33), "é".repeat(1_000));
        for (text, error) in [
            ("", NameError::TooShort),
            ("a", NameError::TooShort),
            ("ab", NameError::TooShort),
            ("-", NameError::TooShort),
            (&long, NameError::TooLong),
            (&longer, NameError::TooLong),
            ("1ab", NameError::BadFirst('1')),
            ("-ab", NameError::BadFirst('-')),
            ("_ab", NameError::BadFirst('_')),
            ("ab-", NameError::BadLast('-')),
            ("ab_", NameError::BadLast('_')),
            ("Alice", NameError::BadCharacter('A')),
            ("alicE", NameError::BadCharacter('E')),
            ("al ice", NameError::BadCharacter(' ')),
            (" alice", NameError::BadCharacter(' ')),
            ("alice\n", NameError::BadCharacter('\n')),
            ("al.ice", NameError::BadCharacter('.')),
            ("al/ice", NameError::BadCharacter('/')),
            ("al@ice", NameError::BadCharacter('@')),
            ("al\0ice", NameError::BadCharacter('\0')),
            ("\u{1b}[31m", NameError::BadCharacter('\u{1b}')),
            ("al\u{200b}ice", NameError::BadCharacter('\u{200b}')),
            ("\u{202e}ecila", NameError::BadCharacter('\u{202e}')),
            ("аlice", NameError::BadCharacter('а')),
            ("ali\u{301}ce", NameError::BadCharacter('\u{301}')),
            ("alice١", NameError::BadCharacter('١')),
            ("ａｌｉｃｅ", NameError::BadCharacter('ａ')),
            ("é", NameError::BadCharacter('é')),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn errors_are_one_printable_line() {
        for (error, line) in [
            (
                NameError::TooShort,
                "the name is too short: it needs at least 3 characters",
            ),
            (
                NameError::TooLong,
                "the name is too long: it has room for 32 characters",
            ),
            (
                NameError::BadCharacter('\u{1b}'),
                "a name cannot hold '\\u{1b}': it is made of a to z (lower case), 0 to 9, '-' \
                 and '_'",
            ),
            (
                NameError::BadFirst('7'),
                "a name cannot begin with '7': the first character is a letter a to z",
            ),
            (
                NameError::BadLast('-'),
                "a name cannot end with '-': the last character is a letter a to z or a digit",
            ),
        ] {
            assert_eq!(error.to_string(), line);
        }
    }

    #[test]
    fn reserved_names_and_their_doubles_are_reserved() {
        assert!(Name::treasury().is_reserved());
        for text in RESERVED {
            assert!(name(text).is_reserved(), "{text}");
        }
        for text in [
            "adm1n", "adrnin", "r00t", "qu1d", "systern", "ledger", "off1cia1",
        ] {
            assert!(name(text).is_reserved(), "{text}");
        }
        for text in ["alice", "admins", "my-admin", "roots", "treasurer"] {
            assert!(!name(text).is_reserved(), "{text}");
        }
    }

    #[test]
    fn look_alikes_share_a_skeleton() {
        for (one, other) in [
            ("alice", "a1ice"),
            ("alice", "allce"),
            ("alice", "a11ce"),
            ("bob", "b0b"),
            ("emma", "ernma"),
            ("emma", "ernrna"),
            ("will", "vvi1l"),
            ("awvb", "avwb"),
            ("awvb", "avvvb"),
            ("a-b", "a_b"),
            ("a-b", "a__b"),
            ("a-b", "a-_-b"),
            ("tom-w1", "t0rn_vvl"),
        ] {
            assert_eq!(
                name(one).skeleton(),
                name(other).skeleton(),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn different_names_keep_different_skeletons() {
        let names = [
            "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "judy", "mallory",
            "a-b", "ab1", "a-1", "bob2", "bob3", "ana", "anna", "anne", "nick", "rick", "mick",
        ];
        let skeletons: BTreeMap<String, &str> = names
            .iter()
            .map(|text| (name(text).skeleton(), *text))
            .collect();
        assert_eq!(skeletons.len(), names.len(), "{skeletons:?}");
    }

    #[test]
    fn decoding_checks_the_name() {
        let bytes = cbor::encode(&"alice");
        assert_eq!(cbor::decode(&bytes), Ok(name("alice")));
        assert_eq!(cbor::encode(&name("alice")), bytes);
        for text in ["", "Alice", "alice\n", "\u{202e}alice"] {
            assert!(
                cbor::decode::<Name>(&cbor::encode(&text)).is_err(),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_name_of_the_grammar_reads_back(text in "[a-z][a-z0-9_-]{1,30}[a-z0-9]") {
            prop_assert_eq!(name(&text).to_string(), text);
        }

        #[test]
        fn any_text_is_a_name_or_a_one_line_error(text in any::<String>()) {
            if let Err(error) = text.parse::<Name>() {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }

        #[test]
        fn one_look_alike_character_never_escapes_the_skeleton(
            (before, after) in ("[a-z][a-z0-9_-]{0,10}", "[a-z0-9_-]{0,10}[a-z0-9]"),
            (one, other) in prop::sample::select(&LOOK_ALIKE[..]),
        ) {
            let texts = [one, other].map(|middle| format!("{before}{middle}{after}"));
            prop_assert_eq!(skeleton(&texts[0]), skeleton(&texts[1]));
        }
    }

    const LOOK_ALIKE: [(&str, &str); 7] = [
        ("l", "1"),
        ("l", "i"),
        ("1", "i"),
        ("0", "o"),
        ("m", "rn"),
        ("w", "vv"),
        ("-", "_"),
    ];

    fn name(text: &str) -> Name {
        text.parse().expect("the test gives a name")
    }
}
