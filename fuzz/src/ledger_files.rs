//! The ledger's own encodings: the snapshot of its books, and entries in short.

use std::sync::LazyLock;

use arbitrary::Unstructured;
use quid_common::entry::Entry;
use quid_directory::ledger::Ledger;

use crate::evidence::Genuine;
use crate::patches::{apply, patches};

/// The books of the sample world, and every entry of it in short.
struct Books {
    snapshot: Vec<u8>,
    ledger: Ledger,
    short: Vec<u8>,
}

static BOOKS: LazyLock<Books> = LazyLock::new(|| {
    let world = &Genuine::get().world;
    let sound: Vec<&Entry> = world.every_entry().collect();
    let mut ledger = Ledger::new();
    let mut short = Vec::new();
    let mut first = None;
    for entry in sound {
        // The sample log holds a specimen of everything, not all of which fits what went before.
        let _ = ledger.apply(entry);
        first.get_or_insert_with(|| ledger.clone());
        ledger.take_redo(&mut short);
        ledger.note_redo(true);
    }
    ledger.note_redo(false);
    assert!(ledger.entries() > 5 && ledger.open_tabs() <= 1 && !short.is_empty());
    Books {
        snapshot: ledger.snapshot(),
        ledger: first.expect("the log has entries"),
        short,
    }
});

/// The first byte chooses whether the rest is a snapshot, or changes to a genuine one.
///
/// What is restored is balanced and has exactly this snapshot, whole or in slices, and goes on by
/// the rules.
pub fn snapshot(bytes: &[u8]) {
    let bytes = genuine_or_given(bytes, &BOOKS.snapshot);
    let Ok(mut ledger) = Ledger::restore(&bytes) else {
        return;
    };
    assert_eq!(ledger.check(), Ok(()));
    assert!(ledger.snapshot() == bytes, "one snapshot for one state");
    ledger.begin_snapshot();
    let mut slices = Vec::new();
    while !ledger.snapshot_slice(1, &mut slices) {}
    assert!(slices == bytes, "in slices as in one");
    goes_on(&mut ledger);
}

/// The first byte chooses whether the rest is entries in short, or changes to genuine ones.
///
/// A checksum guards these bytes, so they are not held against the rules again, and books that come
/// of others may be no fold of any log. But nothing panics then, and entries go on by the rules.
pub fn redo(bytes: &[u8]) {
    let bytes = genuine_or_given(bytes, &BOOKS.short);
    let mut ledger = BOOKS.ledger.clone();
    if ledger.redo(&bytes).is_ok() {
        let _ = Ledger::restore(&ledger.snapshot());
        goes_on(&mut ledger);
    }
}

fn genuine_or_given(bytes: &[u8], genuine: &[u8]) -> Vec<u8> {
    match bytes.split_first() {
        Some((choice, rest)) if choice % 2 == 0 => rest.to_vec(),
        Some((_, rest)) => {
            let mut bytes = genuine.to_vec();
            apply(&mut bytes, &patches(&mut Unstructured::new(rest)));
            bytes
        }
        None => Vec::new(),
    }
}

/// Tries every genuine entry on books whatever they are; what breaks a rule changes nothing.
fn goes_on(ledger: &mut Ledger) {
    for entry in Genuine::get().world.every_entry() {
        let (before, sound) = (ledger.snapshot(), ledger.check().is_ok());
        match ledger.apply(entry) {
            Ok(_) => assert!(!sound || ledger.check().is_ok(), "an entry broke the books"),
            Err(_) => assert!(ledger.snapshot() == before, "a refused entry left a trace"),
        }
    }
}
