//! Foreign text on its way to a terminal or a log.

use quid_common::printable::{MARKS_MAX, Printable};

/// The first byte is a width, the rest is text, or what should have been.
///
/// What is shown is one line of nothing but visible characters, can be read back, and is never
/// wider than asked.
pub fn printable(bytes: &[u8]) {
    let Some((&width, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let shown = Printable(&text).to_string();
    harmless(&shown);
    assert_eq!(format!("{:?}", Printable(&text)), shown);
    assert_eq!(read_back(&shown), text);
    // What is shown is plain, but for its backslashes.
    let again = Printable(&shown).to_string();
    assert_eq!(again, shown.replace('\\', "\\\\"));
    let short = Printable::short(&text, usize::from(width));
    harmless(&short);
    assert!(short.chars().count() <= usize::from(width));
    if shown.chars().count() <= usize::from(width) {
        assert_eq!(short, shown);
    } else if let Some(kept) = short.strip_suffix('…') {
        assert!(shown.starts_with(kept));
    } else {
        assert!(short.is_empty(), "a cut is shown");
    }
}

fn harmless(shown: &str) {
    let mut marks = 0;
    for c in shown.chars() {
        assert!(!c.is_control(), "{c:?}");
        let acts = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' | '\u{e0000}'..='\u{e007f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}');
        assert!(!acts, "{c:?}");
        // The combining marks of the common blocks.
        let mark =
            matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1abd}' | '\u{20d0}'..='\u{20dc}');
        marks = if mark { marks + 1 } else { 0 };
        assert!(marks <= MARKS_MAX, "a tower of marks");
    }
}

/// The text that was shown so.
fn read_back(shown: &str) -> String {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        match chars.next().expect("an escape is whole") {
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            '\\' => text.push('\\'),
            'u' => {
                let (number, after) = chars.as_str().split_once('}').expect("an escape is whole");
                let digits = number.strip_prefix('{').expect("an escape is whole");
                let number = u32::from_str_radix(digits, 16).expect("hexadecimal");
                text.push(char::from_u32(number).expect("a character"));
                rest = after;
                continue;
            }
            other => panic!("an unknown escape: {other:?}"),
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}
