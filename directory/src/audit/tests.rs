//! A sound log, and every way of making it unsound that we could think of.

use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::chain::Link;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact};
use quid_common::key::SecretKey;
use quid_common::tab::{Claim, Close};
use rusqlite::params;
use tempfile::TempDir;

use super::*;
use crate::books::Books;
use crate::folder::Folder;
use crate::settlement::testing::{claim, commit, order, person, registration, terms};
use crate::settlement::{Ask, Committer};
use crate::store::LogEntry;

#[test]
fn a_sound_log_adds_up() {
    let log = Log::new();
    let report = log.audit().expect("it is sound");
    assert_eq!((report.entries, report.accounts), (ENTRIES, 2));
    assert_eq!(report.totals.issued, 2 * OPENING);
    assert_eq!(report.totals.available, u128::from(2 * OPENING));
    assert_eq!(report.checkpoint.as_str(), log.note(ENTRIES));
}

#[test]
fn a_flipped_bit_names_its_entry() {
    let log = Log::new();
    for n in [0, 1, 511, 512, ENTRIES - 1] {
        let good = log.bytes(n);
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            log.sql(
                "UPDATE entries SET bytes = ?1 WHERE n = ?2",
                params![bad, n.cast_signed()],
            );
            assert_eq!(log.wrong().0, n, "byte {at}");
        }
        log.sql(
            "UPDATE entries SET bytes = ?1 WHERE n = ?2",
            params![good, n.cast_signed()],
        );
    }
    log.audit().expect("it is whole again");
}

#[test]
fn a_deleted_row_and_a_cut_log_name_the_first_that_is_missing() {
    let log = Log::new();
    log.sql("DELETE FROM entries WHERE n = ?1", [700]);
    assert_eq!(log.wrong().0, 700);
    log.sql("DELETE FROM entries WHERE n > ?1", [600]);
    assert_eq!(log.wrong().0, 601);
    log.sql("DELETE FROM entries", []);
    assert_eq!(log.wrong().0, 0);
}

#[test]
fn a_file_cut_short_is_never_sound() {
    let log = Log::new();
    let mode = log.open().pragma_update(None, "journal_mode", "DELETE");
    mode.expect("nobody else has it open");
    let path = log.folder.ledger();
    let whole = std::fs::read(&path).expect("it is there");
    for share in [1, 3, 5, 7] {
        let len = whole.len() * share / 8;
        std::fs::write(&path, &whole[..len]).expect("there is room");
        let audited = LogReader::open_alone(&log.folder)
            .map_err(AuditError::from)
            .and_then(|file| audit(&file, &log.key.public(), None));
        assert!(audited.is_err(), "{share} eighths are left");
    }
}

#[test]
fn swapped_rows_are_named() {
    let log = Log::new();
    // As a forger would: with the sums beside them, so that each row is whole.
    log.sql("UPDATE entries SET n = -1 WHERE n = 620", []);
    log.sql("UPDATE entries SET n = 620 WHERE n = 640", []);
    log.sql("UPDATE entries SET n = 640 WHERE n = -1", []);
    // Both payments are possible in either order: only the tree tells.
    let (entry, reason) = log.wrong();
    let (since, until) = log.batch_of(620);
    assert_eq!(entry, until - 1);
    assert!(
        reason.contains(&format!("from entry {since} on")),
        "{reason}"
    );
}

#[test]
fn a_rewritten_history_does_not_agree_with_the_old_checkpoints() {
    let log = Log::new();
    let mut entry = Entry::decode(&log.bytes(620)).expect("an entry");
    entry.time = Entry::decode(&log.bytes(621)).expect("an entry").time;
    entry.fact = Fact::Payment(order(log.ledger, 7_000, 8));
    log.write(620, &LogEntry::new(entry.encode()));
    let (_, until) = log.batch_of(620);
    assert_eq!(log.wrong().0, until - 1);
}

#[test]
fn a_checkpoint_that_was_removed_signed_by_another_or_replaced_is_named() {
    let log = Log::new();
    let sizes = log.sizes();
    let (first, size) = (sizes[sizes.len() / 2 - 1], sizes[sizes.len() / 2]);
    let head = |size, note: String| {
        let note = Checkpoint::try_from(note).expect("short");
        let head = note.verify(log.ledger, &log.key.public());
        Head {
            size,
            ..head.expect("the directory's own")
        }
    };
    let own = log.note(size);
    let other = Checkpoint::sign(
        log.ledger,
        head(size, own.clone()),
        &SecretKey::from_seed(&[9; 32]),
    );
    log.replace_note(size, other.as_str());
    let (entry, reason) = log.wrong();
    assert_eq!(entry, size - 1);
    assert!(reason.contains("not signed by the directory"), "{reason}");
    log.replace_note(size, &log.note(first));
    assert_eq!(log.wrong().0, size - 1, "that of another size");
    log.replace_note(size, "rubbish");
    assert_eq!(log.wrong().0, size - 1);
    let forged = own.replacen('\n', "\n0", 1);
    log.replace_note(size, &forged);
    assert_eq!(log.wrong().0, size - 1);
    log.replace_note(size, &own);
    log.audit().expect("it is whole again");
}

#[test]
fn a_forged_signature_inside_a_correctly_hashed_entry_is_named() {
    let log = Log::new();
    log.forge(620);
    let (entry, reason) = log.wrong();
    assert_eq!(entry, 620);
    assert!(reason.contains("signature"), "{reason}");
}

#[test]
fn tabs_are_audited_and_a_forged_link_inside_a_correctly_hashed_claim_is_named() {
    let log = Log::new();
    let claims = log.add_tab();
    let report = log.audit().expect("it is sound");
    assert_eq!(report.entries, ENTRIES + 7);
    assert_eq!((report.totals.held, report.totals.issued), (0, 2 * OPENING));
    let claim_at = |n: u64| {
        let entry = Entry::decode(&log.bytes(n)).expect("an entry");
        match &entry.fact {
            Fact::Claim(claim) => (entry.time, claim.clone()),
            other => panic!("{other:?}"),
        }
    };
    let write = |n: u64, time, claim| {
        let fact = Fact::Claim(claim);
        log.write(n, &LogEntry::new(Entry { time, fact }.encode()));
    };
    for n in claims {
        let (time, good) = claim_at(n);
        let other = order(log.ledger, 7, 1).statement().id;
        // Nobody's link, another tab's, and the one before.
        for link in [
            Link([9; 32]),
            good.link.below(&other),
            good.link.below(&good.id),
        ] {
            let forged = Claim {
                link,
                ..good.clone()
            };
            write(n, time, forged);
            let (entry, reason) = log.wrong();
            assert_eq!(entry, n);
            assert!(reason.contains("its link does not lead"), "{reason}");
        }
        // Beyond what one claim may hash: refused, and not hashed.
        let index = u32::MAX;
        write(
            n,
            time,
            Claim {
                index,
                ..good.clone()
            },
        );
        let (entry, reason) = log.wrong();
        assert_eq!(entry, n);
        assert!(reason.contains("more than one claim may"), "{reason}");
        write(n, time, good);
    }
    log.audit().expect("it is whole again");
}

#[test]
fn the_first_fault_is_named_whatever_kind_it_is() {
    let log = Log::new();
    // From the last to the first, so that each is the first once it is there. Each kind of fault
    // is found by another stage.
    log.sql(
        "DELETE FROM entries WHERE n = ?1",
        [(ENTRIES - 2).cast_signed()],
    );
    assert_eq!(log.wrong().0, ENTRIES - 2);
    log.replace_note(log.batch_of(1100).1, "rubbish");
    assert_eq!(log.wrong().0, log.batch_of(1100).1 - 1);
    let again = LogEntry::new(log.bytes(640));
    log.write(900, &again);
    let (entry, reason) = log.wrong();
    assert_eq!(entry, 900);
    assert!(
        reason.contains("used by entry 640") || reason.contains("time"),
        "{reason}"
    );
    log.forge(700);
    assert_eq!(log.wrong().0, 700);
    log.write(650, &LogEntry::new(b"no entry".to_vec()));
    assert_eq!(log.wrong().0, 650);
    log.forge(640);
    assert_eq!(log.wrong().0, 640);
    log.sql("UPDATE entries SET hash8 = hash8 + 1 WHERE n = ?1", [639]);
    assert_eq!(log.wrong().0, 639);
}

#[test]
fn the_log_is_held_against_a_saved_checkpoint() {
    let log = Log::new();
    let key = &log.key;
    let against = |saved: &str| {
        let saved = Checkpoint::try_from(saved.to_owned()).expect("short");
        audit(&log.reader(), &key.public(), Some(&saved))
    };
    let sizes = log.sizes();
    for size in [sizes[0], sizes[sizes.len() / 2], ENTRIES] {
        against(&log.note(size)).expect("it is the log's own");
    }
    let told = |saved: &str| match against(saved) {
        Err(AuditError::Against(told)) => told,
        other => panic!("{other:?}"),
    };
    let sign = |size, key: &SecretKey| {
        let root = [5; 32];
        Checkpoint::sign(log.ledger, Head { size, root }, key)
    };
    assert!(told(sign(ENTRIES + 1, key).as_str()).contains("are missing"));
    // Also of a size that the log stores no checkpoint for.
    assert!(told(sign(999, key).as_str()).contains("rewritten"));
    assert!(told(sign(999, &SecretKey::from_seed(&[9; 32])).as_str()).contains("signed"));
    assert!(told("rubbish").contains("not a checkpoint"));
    assert!(told(&log.note(ENTRIES).replacen("\u{2014}", "-", 1)).contains("malformed"));
    let elsewhere = Checkpoint::sign(
        LedgerId([1; 32]),
        Head {
            size: 9,
            root: [5; 32],
        },
        key,
    );
    assert!(told(elsewhere.as_str()).contains("differ"));
}

#[test]
fn a_ledger_of_another_key_is_not_ours() {
    let log = Log::new();
    let other = SecretKey::from_seed(&[9; 32]).public();
    let error = audit(&log.reader(), &other, None).expect_err("not its ledger");
    assert_eq!(error.entry(), Some(0));
}

#[test]
fn an_empty_log_says_so() {
    let log = Log::new();
    log.sql("DELETE FROM entries", []);
    log.sql("DELETE FROM checkpoints", []);
    assert!(matches!(log.audit(), Err(AuditError::Empty)));
}

/// A log of several pieces, made by the settlement: two people and payments to and fro, in batches
/// of many sizes.
struct Log {
    folder: Folder,
    key: SecretKey,
    ledger: LedgerId,
    _place: TempDir,
}

const ENTRIES: u64 = 1200;
const OPENING: u64 = 1_000_000;

impl Log {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let folder = Folder::create_or_open(&place.path().join("data")).expect("it can be made");
        let lock = folder.lock("test").expect("nobody else knows it");
        let mut books =
            Books::open(&folder, lock, Some(&Currency::default()), false).expect("it opens");
        books.opening_balance = Amount::new(OPENING);
        let (key, ledger) = (books.key.clone(), books.ledger.ledger_id());
        let log = Self {
            folder,
            key,
            ledger,
            _place: place,
        };
        let mut committer = Committer::new(books, Arc::default());
        for n in 0..2 {
            commit(&mut committer, vec![(n, registration(log.key.public(), n))]);
        }
        let mut n = 5;
        while n < ENTRIES {
            let to = ENTRIES.min(n + 1 + n % 61);
            let order = |n| (n, Ask::Order(order(ledger, n, 1), None));
            commit(&mut committer, (n..to).map(order).collect());
            n = to;
        }
        drop(committer);
        log
    }

    /// Adds a tab that is opened, claimed three times, closed by both and released; returns the
    /// claims' numbers.
    fn add_tab(&self) -> [u64; 3] {
        let lock = self.folder.lock("test").expect("nobody else knows it");
        let books = Books::open(&self.folder, lock, None, false).expect("it opens");
        let mut committer = Committer::new(books, Arc::default());
        let (tab, mut chain) = terms(self.ledger, 0, (2, 100), Duration::from_secs(60));
        let mut claim = |from, to| claim(&tab, &mut chain, from, to);
        let claims = [claim(0, 10), claim(10, 11), claim(11, 90)];
        let (payer, id) = (tab.statement().payer, tab.statement().id);
        let close = |n| Ask::Close(Close::sign(self.ledger, payer, id, &person(n)));
        let [first, second, third] = claims;
        for (n, ask) in [
            (0, Ask::Tab(tab.clone())),
            (1, first),
            (1, second),
            (1, third),
            (0, close(0)),
            (1, close(1)),
        ] {
            commit(&mut committer, vec![(n, ask)]);
        }
        [ENTRIES + 1, ENTRIES + 2, ENTRIES + 3]
    }

    fn reader(&self) -> LogReader {
        LogReader::open_alone(&self.folder).expect("the log opens")
    }

    fn audit(&self) -> Result<Report, AuditError> {
        audit(&self.reader(), &self.key.public(), None)
    }

    /// The entry that the audit names, and why.
    fn wrong(&self) -> (u64, String) {
        let error = self.audit().expect_err("the log is not sound");
        let entry = error
            .entry()
            .unwrap_or_else(|| panic!("none is named: {error}"));
        (entry, error.to_string())
    }

    fn open(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.ledger()).expect("it is an SQLite file")
    }

    fn sql(&self, text: &str, params: impl rusqlite::Params) {
        self.open()
            .execute(text, params)
            .expect("nobody else writes");
    }

    fn bytes(&self, n: u64) -> Vec<u8> {
        self.open()
            .query_row(
                "SELECT bytes FROM entries WHERE n = ?1",
                [n.cast_signed()],
                |row| row.get(0),
            )
            .expect("it is there")
    }

    fn write(&self, n: u64, entry: &LogEntry) {
        let hash8 = i64::from_be_bytes(*entry.leaf.first_chunk().expect("long enough"));
        self.sql(
            "UPDATE entries SET bytes = ?1, hash8 = ?2 WHERE n = ?3",
            params![entry.bytes, hash8, n.cast_signed()],
        );
    }

    /// Makes the signature in entry `n` a forged one, and all sums beside the entry right.
    fn forge(&self, n: u64) {
        let mut bytes = self.bytes(n);
        let end = bytes.len();
        // The signature is the last field of the envelope, which is the last of the entry.
        bytes[end - 40] ^= 1;
        Entry::decode(&bytes).expect("still an entry");
        self.write(n, &LogEntry::new(bytes));
    }

    fn note(&self, size: u64) -> String {
        self.open()
            .query_row(
                "SELECT note FROM checkpoints WHERE size = ?1",
                [size.cast_signed()],
                |row| row.get(0),
            )
            .expect("it is there")
    }

    fn replace_note(&self, size: u64, note: &str) {
        self.sql(
            "UPDATE checkpoints SET note = ?1 WHERE size = ?2",
            params![note, size.cast_signed()],
        );
    }

    fn sizes(&self) -> Vec<u64> {
        let connection = self.open();
        let mut sizes = connection
            .prepare("SELECT size FROM checkpoints ORDER BY size")
            .expect("it is SQL");
        let sizes = sizes
            .query_map([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
            .expect("they are there");
        sizes.collect::<Result<_, _>>().expect("numbers")
    }

    /// The first entry of the batch with entry `n`, and the size of the log after it.
    fn batch_of(&self, n: u64) -> (u64, u64) {
        let sizes = self.sizes();
        let at = sizes.partition_point(|size| *size <= n);
        (sizes[at - 1], sizes[at])
    }
}
