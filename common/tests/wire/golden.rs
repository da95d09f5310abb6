//! Bytes that other programs and old logs hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quid_common::wire::Message;

use super::samples::{messages, specimens};
use super::world::World;

#[test]
fn every_encoding_is_as_it_always_was() {
    let world = World::new();
    let mut lines: Vec<(String, String)> = specimens(&world)
        .into_iter()
        .map(|specimen| (specimen.name, hex(&specimen.bytes)))
        .collect();
    let receipt = world.receipt(super::world::PAYMENT).to_text();
    lines.push(("receipt.4.text".into(), hex(receipt.as_bytes())));
    let fork = world.fork().to_text();
    lines.push(("fork.text".into(), hex(fork.as_bytes())));
    if std::env::var_os("QUID_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path(), file(&lines)).expect("the golden file can be written");
        return;
    }
    let golden = golden();
    for (name, now) in &lines {
        let Some(then) = golden.get(name) else {
            panic!(
                "{name} is not in {}: QUID_BLESS=1 adds what is new",
                path().display()
            );
        };
        assert!(
            then == now,
            "the encoding of {name} has changed.\n then {then}\n now  {now}\nOther programs and \
             old logs hold the bytes in {}. If the change is meant, bump the wire version (the \
             ALPN names, STATEMENT_VERSION or ENTRY_VERSION, whichever covers it), say in \
             CHANGELOG.md what to do, and rewrite the file with QUID_BLESS=1.",
            path().display()
        );
    }
    for name in golden.keys() {
        let known = lines.iter().any(|(other, _)| other == name);
        assert!(
            known,
            "{name} has no sample any more; if that is meant, QUID_BLESS=1"
        );
    }
}

#[test]
fn every_kind_of_message_has_a_sample() {
    let sampled: Vec<u16> = messages(&World::new())
        .iter()
        .map(|(_, message)| message.kind())
        .collect();
    for (kind, name) in Message::KINDS {
        assert!(sampled.contains(kind), "{name} ({kind}) has no sample");
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    let world = World::new();
    for (_, message) in messages(&world) {
        assert_eq!(
            Message::from_frame(&message.to_frame()).as_ref(),
            Ok(&message)
        );
        let mut written = Vec::new();
        message.write(&mut written);
        let mut framed = Vec::new();
        message.to_frame().write(&mut framed);
        assert_eq!(written, framed);
    }
    for specimen in specimens(&world) {
        let again = (specimen.reread)(&specimen.bytes);
        assert_eq!(again.as_ref(), Some(&specimen.bytes), "{specimen:?}");
        if let Some(proves) = &specimen.proves {
            assert!(proves(&specimen.bytes), "{specimen:?}");
        }
    }
}

/// The golden file: name and bytes.
pub(super) fn golden() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path()).expect("the golden file is there");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, hex)| (name.to_owned(), hex.to_owned()))
        .collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn file(lines: &[(String, String)]) -> String {
    let mut text = String::from(
        "# Quid, wire version 1: a sample of everything that has an encoding, in hexadecimal.\n\
         # A message's line is its body, without the frame's header. How the samples are made:\n\
         # ../wire/samples.rs. Any program that speaks Quid can check itself against them.\n",
    );
    for (name, hex) in lines {
        text += &format!("{name} {hex}\n");
    }
    text
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "wire.hex"]
        .iter()
        .collect()
}
