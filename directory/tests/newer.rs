//! A ledger that a newer program has written to: what this one says of it, and that it is left alone.

mod world;

use std::process::Output;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_directory::folder::Folder;
use quid_directory::store::{LogEntry, LogReader, Store, StoreError};
use quid_directory::tree::Frontier;
use world::{Directory, run_on};

/// Appends an entry of a kind that nobody knows yet, as soundly as a newer program would.
fn append_unknown(folder: &Folder) -> u64 {
    let key = folder.key().expect("it is there");
    let lock = folder.lock("test").expect("nobody serves");
    let (mut store, opened) = Store::open(folder, &lock).expect("it opens");
    let log = LogReader::open(folder).expect("it opens");
    let ledger = LedgerId(log.entry(0).expect("it is there").leaf);
    let mut frontier = Frontier::new();
    log.scan(0, opened.entries, |_, entry| {
        frontier.append(entry.leaf);
        Ok::<_, StoreError>(())
    })
    .expect("it reads");
    let mut bytes = log.entry(opened.entries - 1).expect("it is there").bytes;
    // Behind the head of the array, the version and the time of nine bytes.
    assert!(bytes[11] < 23, "no kind: {}", bytes[11]);
    bytes[11] = 23;
    let entry = LogEntry::new(bytes);
    frontier.append(entry.leaf);
    let head = Head {
        size: opened.entries + 1,
        root: frontier.root(),
    };
    let checkpoint = Checkpoint::sign(ledger, head, &key);
    let appended = store.append(opened.entries, &[entry], Some(&checkpoint), None);
    appended.expect("there is room");
    opened.entries
}

/// What is in the log.
fn leaves(folder: &Folder) -> Vec<[u8; 32]> {
    let log = LogReader::open(folder).expect("it opens");
    let mut leaves = Vec::new();
    log.scan(0, log.len().expect("it reads"), |_, entry| {
        leaves.push(entry.leaf);
        Ok::<_, StoreError>(())
    })
    .expect("it reads");
    leaves
}

fn refuses(output: &Output, entry: u64) {
    let told = String::from_utf8_lossy(&output.stderr);
    let told = told.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(7), "{told}");
    let entry = format!("entry {entry}");
    for word in [&entry, "kind 23 is not known", "a newer quid-directory"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    assert!(!told.contains("backup"), "the wrong remedy: {told}");
}

#[tokio::test]
async fn entries_that_only_a_newer_program_knows_are_told_as_such() {
    let directory = Directory::start("100");
    drop(directory.member(1, "alice").await);
    let place = directory.stop();
    let data = place.path().join("data");
    let folder = Folder::open(&data).expect("it is there");
    let entry = append_unknown(&folder);
    let before = leaves(&folder);
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["issue", "alice", "1"],
        &["audit"],
    ] {
        refuses(&run_on(&data, arguments), entry);
    }
    assert!(before == leaves(&folder), "it was changed");
    assert_eq!(before.len() as u64, entry + 1);
}
