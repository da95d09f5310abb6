//! Foreign text made visible: the one way that words from outside reach a terminal or a log.
//!
//! Whatever would act instead of being seen (escape sequences, line ends, bidirectional marks,
//! invisible characters, towers of combining marks) is written out as characters. The result
//! stays on one line and can be read back: no two texts are shown alike.

use std::fmt::{self, Write as _};

use unicode_general_category::{GeneralCategory, get_general_category};

/// Shows foreign text on one line, with everything that is not plainly visible written out.
///
/// Line feed, carriage return and tab become `\n`, `\r` and `\t`, a backslash `\\`, every other
/// control, format, separator, private or unassigned character `\u{…}` with its number in
/// hexadecimal. At most [`MARKS_MAX`] combining marks stay on a character. `Debug` shows the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    /// `text` shown, cut to `chars_max` characters of output of which the last is then `…`.
    ///
    /// The cut never falls inside an escape, nor between a character and its combining marks.
    /// Characters are counted, not columns: a wide one counts once.
    #[must_use]
    pub fn short(text: &str, chars_max: usize) -> String {
        let mut out = String::new();
        let mut len: usize = 0;
        // Where the text would be cut: the last end of a whole cluster that leaves room for `…`.
        let mut cut = 0;
        for shown in shown(text) {
            if len < chars_max && !matches!(shown, Shown::Mark(_)) {
                cut = out.len();
            }
            len = len.saturating_add(shown.len());
            if len > chars_max {
                out.truncate(cut);
                if chars_max > 0 {
                    out.push('…');
                }
                return out;
            }
            out.push_str(&shown.to_string());
        }
        out
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.0).try_for_each(|shown| write!(f, "{shown}"))
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that should have been text, shown as [`Printable`] does; those that are not UTF-8 as
/// `\xNN`.
#[must_use]
pub fn printable_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&Printable(chunk.valid()).to_string());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// One foreign character shown as [`Printable`] does, for error messages that name it.
pub(crate) fn printable_char(c: char) -> String {
    Printable(c.encode_utf8(&mut [0; 4])).to_string()
}

/// How many combining marks in a row are drawn on one character; more would climb over the lines
/// above. The longest stacks in living scripts are shorter.
pub const MARKS_MAX: u8 = 8;

/// How one character of the text is shown.
#[derive(Clone, Copy)]
enum Shown {
    /// As it is.
    Plain(char),
    /// As it is, drawn on the character before it.
    Mark(char),
    /// As a backslash and this character.
    Short(char),
    /// As `\u{…}`.
    Code(char),
}

impl Shown {
    /// Length in characters of output.
    fn len(self) -> usize {
        match self {
            Self::Plain(_) | Self::Mark(_) => 1,
            Self::Short(_) => 2,
            Self::Code(c) => c.escape_unicode().len(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(c) | Self::Mark(c) => f.write_char(*c),
            Self::Short(c) => write!(f, "\\{c}"),
            Self::Code(c) => write!(f, "{}", c.escape_unicode()),
        }
    }
}

fn shown(text: &str) -> impl Iterator<Item = Shown> {
    // A mark is drawn on the character before it, so it needs one that is itself drawn.
    let mut marks_left = 0_u8;
    text.chars().map(move |c| {
        let shown = match kind(c) {
            Kind::Mark if marks_left > 0 => {
                marks_left = marks_left.saturating_sub(1);
                return Shown::Mark(c);
            }
            Kind::Visible => {
                marks_left = MARKS_MAX;
                return Shown::Plain(c);
            }
            Kind::Short(letter) => Shown::Short(letter),
            Kind::Mark | Kind::Hidden => Shown::Code(c),
        };
        marks_left = 0;
        shown
    })
}

enum Kind {
    Visible,
    Mark,
    Short(char),
    Hidden,
}

fn kind(c: char) -> Kind {
    match c {
        '\n' => return Kind::Short('n'),
        '\r' => return Kind::Short('r'),
        '\t' => return Kind::Short('t'),
        '\\' => return Kind::Short('\\'),
        ' '..='~' => return Kind::Visible,
        // Letters by category that draw nothing: the Hangul fillers.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => return Kind::Hidden,
        _ => {}
    }
    match get_general_category(c) {
        // The bidirectional controls are all of category Format.
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::Surrogate
        | GeneralCategory::PrivateUse
        | GeneralCategory::Unassigned => Kind::Hidden,
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark => Kind::Mark,
        _ => Kind::Visible,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that hurt a terminal or a log when they are printed as they are.
    const HOSTILE: &[(&str, &str)] = &[
        ("\u{1b}[31mred", r"\u{1b}[31mred"),
        ("\u{1b}[2J\u{1b}[H", r"\u{1b}[2J\u{1b}[H"),
        ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
        (
            "\u{1b}]8;;http://evil\u{1b}\\x",
            r"\u{1b}]8;;http://evil\u{1b}\\x",
        ),
        ("\u{1b}]52;c;cm0gLXJm\u{7}", r"\u{1b}]52;c;cm0gLXJm\u{7}"),
        ("\u{1b}P$q\u{1b}\\", r"\u{1b}P$q\u{1b}\\"),
        ("\u{1b}c", r"\u{1b}c"),
        ("\u{1b}[6n", r"\u{1b}[6n"),
        ("\u{9b}31m", r"\u{9b}31m"),
        ("\u{9d}0;t\u{9c}", r"\u{9d}0;t\u{9c}"),
        ("\u{90}q\u{9c}", r"\u{90}q\u{9c}"),
        ("\u{85}next line", r"\u{85}next line"),
        ("\0", r"\u{0}"),
        ("\u{7}\u{7}", r"\u{7}\u{7}"),
        (
            "paid\u{8}\u{8}\u{8}\u{8}owed",
            r"paid\u{8}\u{8}\u{8}\u{8}owed",
        ),
        ("\u{b}\u{c}", r"\u{b}\u{c}"),
        ("\u{e}\u{f}", r"\u{e}\u{f}"),
        ("\u{7f}", r"\u{7f}"),
        ("a\nERROR root paid", r"a\nERROR root paid"),
        ("a\r\nb", r"a\r\nb"),
        ("100 QUID\rbob", r"100 QUID\rbob"),
        ("a\tb", r"a\tb"),
        ("a\u{2028}b", r"a\u{2028}b"),
        ("a\u{2029}b", r"a\u{2029}b"),
        ("\\n", r"\\n"),
        ("\\u{1b}", r"\\u{1b}"),
        ("\\\n", r"\\\n"),
        ("\u{202e}gnp.exe", r"\u{202e}gnp.exe"),
        (
            "\u{202a}\u{202b}\u{202c}\u{202d}",
            r"\u{202a}\u{202b}\u{202c}\u{202d}",
        ),
        (
            "\u{2066}\u{2067}\u{2068}\u{2069}",
            r"\u{2066}\u{2067}\u{2068}\u{2069}",
        ),
        ("\u{200e}\u{200f}\u{61c}", r"\u{200e}\u{200f}\u{61c}"),
        ("al\u{200b}ice", r"al\u{200b}ice"),
        ("al\u{200c}i\u{200d}ce", r"al\u{200c}i\u{200d}ce"),
        ("al\u{2060}ice", r"al\u{2060}ice"),
        ("al\u{ad}ice", r"al\u{ad}ice"),
        ("\u{feff}alice", r"\u{feff}alice"),
        ("\u{180e}", r"\u{180e}"),
        ("\u{fff9}a\u{fffa}b\u{fffb}", r"\u{fff9}a\u{fffa}b\u{fffb}"),
        ("\u{e0061}\u{e007f}", r"\u{e0061}\u{e007f}"),
        ("\u{e000}\u{f8ff}", r"\u{e000}\u{f8ff}"),
        ("\u{f0000}\u{10fffd}", r"\u{f0000}\u{10fffd}"),
        ("\u{fdd0}\u{fffe}\u{10ffff}", r"\u{fdd0}\u{fffe}\u{10ffff}"),
        ("\u{378}\u{e0080}", r"\u{378}\u{e0080}"),
        (
            "a\u{3164}b\u{115f}\u{1160}\u{ffa0}",
            r"a\u{3164}b\u{115f}\u{1160}\u{ffa0}",
        ),
        ("\u{301}first", r"\u{301}first"),
        ("\n\u{338}", r"\n\u{338}"),
        ("\\\u{20dd}", r"\\\u{20dd}"),
        ("\u{200b}\u{301}", r"\u{200b}\u{301}"),
        (
            "z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}",
            "z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\\u{308}\\u{309}",
        ),
        ("x\u{fe0f}\u{e0100}", "x\u{fe0f}\u{e0100}"),
    ];

    const HARMLESS: &[&str] = &[
        "",
        " ",
        "thanks for the coffee",
        "a/b \"c\" 'd' {e} %s $HOME `id`",
        "Grüße, Ñandú, Čeština",
        "e\u{301}",
        "日本語 한국어 ไทย",
        "שלום مرحبا",
        "नमस्ते",
        "☕ 👍 ❤\u{fe0f}",
        "…\u{fffd}",
    ];

    #[test]
    fn hostile_text_is_written_out() {
        assert!(HOSTILE.len() >= 40, "the table shrank to {}", HOSTILE.len());
        for (text, expected) in HOSTILE {
            assert_eq!(Printable(text).to_string(), *expected);
            assert_inert(expected);
        }
    }

    #[test]
    fn harmless_text_is_shown_as_it_is() {
        for text in HARMLESS {
            assert_eq!(Printable(text).to_string(), *text);
        }
    }

    #[test]
    fn no_control_character_is_ever_emitted() {
        for c in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}') {
            assert!(
                printable_char(c).chars().all(|c| matches!(c, ' '..='~')),
                "{c:?}"
            );
        }
    }

    #[test]
    fn debug_shows_what_display_shows() {
        assert_eq!(format!("{:?}", Printable("\u{1b}[m\"")), r#"\u{1b}[m""#);
        assert_eq!(
            format!("{:#?}", Some(Printable("\n"))),
            "Some(\n    \\n,\n)"
        );
    }

    #[test]
    fn bytes_outside_utf8_are_shown_by_number() {
        for (bytes, expected) in [
            (&b"abc"[..], "abc"),
            (b"", ""),
            (b"\xff\xfe", r"\xff\xfe"),
            (b"a\x80b", r"a\x80b"),
            (b"\x9b31m", r"\x9b31m"),
            (b"\xc0\xaf", r"\xc0\xaf"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
            (b"\xf4\x90\x80\x80", r"\xf4\x90\x80\x80"),
            (b"cut \xe2\x82", r"cut \xe2\x82"),
            (b"\\xff", r"\\xff"),
            (b"\x1b[m\xff\n", r"\u{1b}[m\xff\n"),
            (b"a\xff\xcc\x81", r"a\xff\u{301}"),
            ("é".as_bytes(), "é"),
        ] {
            assert_eq!(printable_bytes(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn short_cuts_between_whole_characters() {
        for (text, chars_max, expected) in [
            ("alice", 5, "alice"),
            ("alice", 6, "alice"),
            ("alice", 4, "ali…"),
            ("alice", 1, "…"),
            ("alice", 0, ""),
            ("", 0, ""),
            ("", 3, ""),
            ("a\n", 3, "a\\n"),
            ("a\nb", 3, "a…"),
            ("a\n", 2, "a…"),
            ("\u{1b}", 6, "\\u{1b}"),
            ("\u{1b}", 5, "…"),
            ("\u{1b}[m", 7, "\\u{1b}…"),
            ("\u{1b}[m", 6, "…"),
            ("日本語", 2, "日…"),
            ("ae\u{301}\u{302}x", 5, "ae\u{301}\u{302}x"),
            ("ae\u{301}\u{302}xy", 5, "ae\u{301}\u{302}…"),
            ("ae\u{301}\u{302}xy", 4, "a…"),
            ("ae\u{301}\u{302}", 3, "a…"),
        ] {
            assert_eq!(
                Printable::short(text, chars_max),
                expected,
                "{text:?} in {chars_max}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_inert_and_reads_back(text in any::<String>()) {
            let out = Printable(&text).to_string();
            assert_inert(&out);
            prop_assert_eq!(read_back(&out), text.as_bytes());
        }

        #[test]
        fn nasty_mixes_are_inert_and_read_back(
            text in "[a\\\\u{}xn0\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{202f}\u{300}-\u{30f}]{0,40}",
        ) {
            let out = Printable(&text).to_string();
            assert_inert(&out);
            prop_assert_eq!(read_back(&out), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_inert_and_read_back(bytes in any::<Vec<u8>>()) {
            let out = printable_bytes(&bytes);
            assert_inert(&out);
            prop_assert_eq!(read_back(&out), bytes);
        }

        #[test]
        fn short_keeps_to_its_length(text in any::<String>(), chars_max in 0_usize..40) {
            let whole = Printable(&text).to_string();
            let short = Printable::short(&text, chars_max);
            assert_inert(&short);
            prop_assert!(short.chars().count() <= chars_max);
            if whole.chars().count() <= chars_max {
                prop_assert_eq!(short, whole);
            } else {
                prop_assert!(whole.starts_with(short.trim_end_matches('…')));
            }
        }
    }

    /// Holds that `out` does nothing but show: one line, no hidden character, no tower of marks.
    fn assert_inert(out: &str) {
        let mut marks = 0;
        for c in out.chars() {
            match kind(c) {
                Kind::Mark => marks += 1,
                Kind::Visible | Kind::Short('\\') => marks = 0,
                Kind::Short(_) | Kind::Hidden => panic!("{c:?} was emitted in {out:?}"),
            }
            assert!(marks <= MARKS_MAX, "{marks} marks in a row in {out:?}");
        }
    }

    /// The bytes that `out` was made from.
    fn read_back(out: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chars = out.chars();
        while let Some(c) = chars.next() {
            let read = match c {
                '\\' => match chars.next().expect("a backslash never stands last") {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '\\' => '\\',
                    'x' => {
                        let hex: String = chars.by_ref().take(2).collect();
                        bytes.push(u8::from_str_radix(&hex, 16).expect("two digits follow x"));
                        continue;
                    }
                    'u' => {
                        let hex: String =
                            chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                        let number = u32::from_str_radix(&hex, 16).expect("digits stand in braces");
                        char::from_u32(number).expect("the number came from a character")
                    }
                    other => panic!("no escape has {other:?} in {out:?}"),
                },
                plain => plain,
            };
            bytes.extend_from_slice(read.encode_utf8(&mut [0; 4]).as_bytes());
        }
        bytes
    }
}
