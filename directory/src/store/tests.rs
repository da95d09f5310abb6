use quid_common::time::LedgerTime;
use tempfile::TempDir;

use super::testing::{Scratch, checkpoint, entries, entry};
use super::*;

fn mark(ms: u64) -> Option<LedgerTime> {
    Some(LedgerTime::from_millis(ms))
}

fn scan(reader: &LogReader) -> Result<Vec<LogEntry>, StoreError> {
    let mut found = Vec::new();
    reader.scan(0, reader.len()?, |n, entry| {
        assert_eq!(n, found.len() as u64, "entries come in order");
        found.push(entry);
        Ok::<_, StoreError>(())
    })?;
    Ok(found)
}

/// A folder as a crash of the machine would leave it, with the write-ahead log cut to `wal_len`.
fn crashed(scratch: &Scratch, wal_len: usize) -> (TempDir, Folder) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = Folder::create_or_open(dir.path()).expect("it is ours");
    fs::copy(scratch.folder.ledger(), folder.ledger()).expect("it can be copied");
    let wal = fs::read(wal_of(&scratch.folder.ledger())).expect("it is there");
    fs::write(wal_of(&folder.ledger()), &wal[..wal_len.min(wal.len())]).expect("there is room");
    (dir, folder)
}

#[test]
fn a_new_log_is_empty() {
    let scratch = Scratch::new();
    let (store, opened) = scratch.store();
    assert_eq!(
        opened,
        Opened {
            entries: 0,
            checkpoint: None,
            mark: None
        }
    );
    assert!(store.is_empty());
    let reader = scratch.reader();
    assert_eq!(reader.len().expect("it can be read"), 0);
    assert_eq!(reader.latest_checkpoint().expect("it can be read"), None);
    assert_eq!(reader.mark().expect("it can be read"), None);
}

#[test]
fn what_was_appended_is_there_again() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let reader = scratch.reader();
    let first = checkpoint(3, [3; 32]);
    let second = checkpoint(2_500, [4; 32]);
    store
        .append(0, &entries(0..3), Some(&first), mark(5))
        .expect("it can be written");
    assert_eq!(reader.len().expect("it can be read"), 3);
    store
        .append(3, &entries(3..2_500), Some(&second), None)
        .expect("it can be written");
    store
        .append(2_500, &[], None, mark(9))
        .expect("a mark can be written alone");
    assert_eq!(store.len(), 2_500);
    drop(store);

    let (_store, opened) = scratch.store();
    let expected = Opened {
        entries: 2_500,
        checkpoint: Some(second.clone()),
        mark: mark(9),
    };
    assert_eq!(opened, expected);
    // The reader was there before and sees the same.
    assert!(scan(&reader).expect("nothing is damaged") == entries(0..2_500));
    assert_eq!(reader.entry(17).expect("it is there"), entry(17));
    assert_eq!(reader.mark().expect("it is there"), mark(9));
    let at_most = |size| reader.checkpoint_at_most(size).expect("it can be read");
    assert_eq!(at_most(2), None);
    assert_eq!(at_most(2_499), Some((3, first.clone())));
    assert_eq!(at_most(2_500), Some((2_500, second.clone())));
    assert_eq!(
        reader.latest_checkpoint().expect("it is there"),
        Some((2_500, second.clone()))
    );
    let mut all = Vec::new();
    reader
        .checkpoints(0, u64::MAX, |size, checkpoint| {
            all.push((size, checkpoint));
            Ok::<_, StoreError>(())
        })
        .expect("they can be read");
    assert_eq!(all, [(3, first), (2_500, second)]);
}

#[test]
fn a_batch_at_the_wrong_number_changes_nothing() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    store
        .append(0, &entries(0..3), None, mark(1))
        .expect("it can be written");
    for first in [0, 2, 4, u64::MAX] {
        let refused = store.append(first, &entries(3..4), None, mark(2));
        assert!(
            matches!(refused, Err(StoreError::Position { len: 3, .. })),
            "{refused:?}"
        );
    }
    assert_eq!(scratch.reader().len().expect("it can be read"), 3);
    assert_eq!(scratch.reader().mark().expect("it can be read"), mark(1));
    store
        .append(3, &entries(3..4), None, None)
        .expect("the store is still good");
}

#[test]
fn an_entry_that_someone_else_wrote_is_noticed() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    store
        .append(0, &entries(0..3), None, None)
        .expect("it can be written");
    let other = scratch.sqlite();
    other
        .execute("INSERT INTO entries VALUES (3, x'00', 0)", [])
        .expect("nothing keeps it out");
    let refused = store.append(3, &entries(3..4), None, None);
    assert!(
        matches!(refused, Err(StoreError::Position { first: 3, len: 4 })),
        "{refused:?}"
    );
}

#[test]
fn a_store_that_failed_refuses_everything() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    scratch
        .sqlite()
        .execute("DROP TABLE checkpoints", [])
        .expect("nothing keeps it out");
    let head = checkpoint(1, [1; 32]);
    let failed = store.append(0, &entries(0..1), Some(&head), None);
    assert!(
        matches!(
            failed,
            Err(StoreError::Sql {
                action: "write",
                ..
            })
        ),
        "{failed:?}"
    );
    let failed = store.append(0, &entries(0..1), None, None);
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    assert_eq!(scratch.reader().len().expect("it can be read"), 0);
}

#[test]
fn after_a_crash_whole_batches_are_there_and_no_parts() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    for first in [0, 10, 20, 30] {
        let head = checkpoint(first + 10, [1; 32]);
        store
            .append(first, &entries(first..first + 10), Some(&head), mark(first))
            .expect("it can be written");
        let (_dir, folder) = crashed(&scratch, usize::MAX);
        assert_eq!(
            open_after_crash(&folder),
            first + 10,
            "what was acknowledged is there"
        );
    }
    let wal = fs::metadata(wal_of(&scratch.folder.ledger())).expect("it is there");
    let mut before = 0;
    for wal_len in (0..wal.len() as usize).step_by(997).chain([usize::MAX]) {
        let (_dir, folder) = crashed(&scratch, wal_len);
        let found = open_after_crash(&folder);
        assert!(
            found.is_multiple_of(10) && found >= before,
            "{found} entries at {wal_len}"
        );
        before = found;
    }
    assert_eq!(before, 40);
}

/// Opens what a crash left, checks that all of it is one state, and goes on; the number of entries
/// found.
fn open_after_crash(folder: &Folder) -> u64 {
    let lock = folder.lock("test").expect("nobody else knows the folder");
    let (mut store, opened) = Store::open(folder, &lock).expect("a crash is no damage");
    let len = opened.entries;
    assert_eq!(
        opened.checkpoint,
        (len > 0).then(|| checkpoint(len, [1; 32]))
    );
    assert_eq!(opened.mark, len.checked_sub(10).and_then(mark));
    store
        .append(len, &entries(len..len + 1), None, None)
        .expect("it goes on");
    let reader = LogReader::open(folder).expect("it opens");
    assert!(scan(&reader).expect("nothing is damaged") == entries(0..len + 1));
    len
}

#[test]
fn the_first_bad_entry_is_named() {
    let damage = [
        (
            "UPDATE entries SET bytes = x'0102' WHERE n = 1500",
            EntryFault::Damaged,
        ),
        (
            "UPDATE entries SET hash8 = hash8 + 1 WHERE n = 1500",
            EntryFault::Damaged,
        ),
        (
            "UPDATE entries SET bytes = 'text' WHERE n = 1500",
            EntryFault::Damaged,
        ),
        (
            "UPDATE entries SET hash8 = 'text' WHERE n = 1500",
            EntryFault::Damaged,
        ),
        ("DELETE FROM entries WHERE n = 1500", EntryFault::Missing),
        (
            "DELETE FROM entries WHERE n BETWEEN 1500 AND 1999",
            EntryFault::Missing,
        ),
    ];
    for (statement, expected) in damage {
        let scratch = Scratch::new();
        let (mut store, _) = scratch.store();
        store
            .append(0, &entries(0..2_500), None, None)
            .expect("it can be written");
        scratch
            .sqlite()
            .execute(statement, [])
            .expect("nothing keeps it out");
        let reader = scratch.reader();
        let error = scan(&reader).expect_err(statement);
        let StoreError::Entry {
            entry: 1500, fault, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(fault, expected, "{statement}");
        let text = error.to_string();
        assert!(text.starts_with("entry 1500 in "), "{text}");
        reader.entry(1499).expect("the others are good");
        assert!(reader.entry(1500).is_err());
    }
}

#[test]
fn bits_flipped_in_the_file_are_never_taken_for_entries() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let last = checkpoint(300, [1; 32]);
    store
        .append(0, &entries(0..300), Some(&last), mark(1))
        .expect("it can be written");
    drop(store);
    // Reopening carries the write-ahead log over.
    drop(scratch.store());
    let good = fs::read(scratch.folder.ledger()).expect("it can be read");
    for at in (0..good.len()).step_by(331) {
        let (_dir, folder) = crashed(&scratch, 0);
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(folder.ledger(), &bad).expect("there is room");
        let lock = folder.lock("test").expect("nobody else knows the folder");
        let found = Store::open(&folder, &lock)
            .and_then(|(store, _)| LogReader::open(&folder).map(|reader| (store, reader)))
            .and_then(|(_store, reader)| scan(&reader));
        if let Ok(found) = found {
            assert!(found == entries(0..found.len() as u64), "byte {at}");
            assert_eq!(found.len(), 300, "byte {at}");
        }
    }
}

#[test]
fn missing_last_entries_are_named_at_the_start() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let head = checkpoint(10, [1; 32]);
    store
        .append(0, &entries(0..10), Some(&head), None)
        .expect("it can be written");
    drop(store);
    scratch
        .sqlite()
        .execute("DELETE FROM entries WHERE n >= 8", [])
        .expect("it is writable");
    let refused = Store::open(&scratch.folder, &scratch.lock).expect_err("two are missing");
    assert!(refused.to_string().starts_with("entry 8 in "), "{refused}");
    assert!(refused.to_string().contains("is missing"), "{refused}");
}

#[test]
fn other_files_in_its_place_are_refused_and_kept() {
    let foreign = {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let path = dir.path().join("other.db");
        let other = Connection::open(&path).expect("it can be made");
        other
            .execute_batch("CREATE TABLE cats (name)")
            .expect("it can be written");
        drop(other);
        fs::read(path).expect("it is there")
    };
    for content in [&b"hello"[..], &[0; 4096], &foreign, &foreign[..1000]] {
        let scratch = Scratch::new();
        fs::write(scratch.folder.ledger(), content).expect("there is room");
        let refused = Store::open(&scratch.folder, &scratch.lock).expect_err("not a ledger");
        assert!(refused.to_string().contains("ledger.db is "), "{refused}");
        assert_eq!(
            fs::read(scratch.folder.ledger()).expect("it is there"),
            content
        );
        assert!(LogReader::open_alone(&scratch.folder).is_err());
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.folder.ledger()).expect("it can be made");
    let refused = Store::open(&scratch.folder, &scratch.lock);
    assert!(
        matches!(refused, Err(StoreError::NotALedger(_))),
        "{refused:?}"
    );
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let scratch = Scratch::new();
    drop(scratch.store());
    scratch
        .sqlite()
        .pragma_update(None, "user_version", FORMAT + 1)
        .expect("it is writable");
    let refused = Store::open(&scratch.folder, &scratch.lock).expect_err("it is newer");
    assert!(
        matches!(refused, StoreError::Newer { format, .. } if format == FORMAT + 1),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("use a newer quid-directory"),
        "{refused}"
    );
}

#[test]
fn a_ledger_that_was_served_and_is_gone_is_not_begun_anew() {
    let scratch = Scratch::new();
    scratch
        .folder
        .write_address(&scratch.lock, "quid://...")
        .expect("it can be written");
    let refused = Store::open(&scratch.folder, &scratch.lock);
    assert!(matches!(refused, Err(StoreError::Lost(_))), "{refused:?}");
    assert!(!scratch.folder.ledger().exists());
    assert!(matches!(
        LogReader::open(&scratch.folder),
        Err(StoreError::Missing(_))
    ));
    fs::write(scratch.folder.ledger(), "").expect("there is room");
    let refused = Store::open(&scratch.folder, &scratch.lock);
    assert!(matches!(refused, Err(StoreError::Lost(_))), "{refused:?}");
}

#[test]
fn the_write_ahead_log_begins_anew() {
    for background in [false, true] {
        let scratch = Scratch::new();
        let (mut store, _) = scratch.store();
        if background {
            store.checkpoint_in_background().expect("there are threads");
        }
        let reader = scratch.reader();
        let batch: Vec<_> = (0..1000).map(|_| LogEntry::new(vec![7; 1000])).collect();
        let mut len = 0;
        while len * 1000 < 2 * wal::PAGES_MAX * 4096 {
            store
                .append(len, &batch, None, None)
                .expect("it can be written");
            len += batch.len() as u64;
            assert_eq!(reader.len().expect("it can be read"), len);
        }
        drop(store);
        let wal = fs::metadata(wal_of(&scratch.folder.ledger()))
            .expect("it is there")
            .len();
        // How far a thread gets is the machine's affair.
        assert!(background || wal < wal::PAGES_MAX * 4096 * 3 / 2, "{wal}");
        assert!(
            fs::metadata(scratch.folder.ledger())
                .expect("it is there")
                .len()
                > 4096
        );
        assert_eq!(scan(&reader).expect("nothing is damaged").len() as u64, len);
    }
}

#[test]
fn an_older_log_is_read_and_has_the_newest_format_from_its_first_batch_on() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    store
        .append(0, &entries(0..3), None, None)
        .expect("a batch");
    drop(store);
    let format = || -> i64 {
        let version = scratch
            .sqlite()
            .pragma_query_value(None, "user_version", |row| row.get(0));
        version.expect("it is readable")
    };
    assert_eq!(format(), FORMAT);
    let aged = scratch.sqlite().pragma_update(None, "user_version", 1);
    aged.expect("it is writable");
    // Looked at, it stays what it was.
    assert_eq!(scan(&scratch.reader()).expect("it reads").len(), 3);
    let (mut store, opened) = scratch.store();
    assert_eq!((opened.entries, format()), (3, 1));
    let misplaced = store.append(7, &entries(7..8), None, None);
    assert!(misplaced.is_err() && format() == 1);
    store
        .append(3, &entries(3..4), None, None)
        .expect("a batch");
    assert_eq!(format(), FORMAT);
    assert_eq!(scan(&scratch.reader()).expect("it reads").len(), 4);
}
