use std::fs;

use proptest::prelude::*;
use quid_common::amount::{Amount, Currency};
use quid_common::entry::{Fact, Freeze, Genesis, Issue, Refusal, Registration};
use quid_common::id::{Digest, OperationId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Memo, Order, STATEMENT_VERSION, Void};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;

use super::posting::Which;
use super::*;
use crate::store::LogEntry;
use crate::store::testing::Scratch;

#[cfg(test)]
mod tabs;

/// So small that a few hundred entries fill every part.
const SMALL: Bounds = Bounds {
    tail: 40,
    checkpoint: 90,
    span: 32,
    behind: 1000,
};

const PEOPLE: u8 = 5;

/// A log with a bit of everything in it, and what a naive reading makes of it.
struct World {
    scratch: Scratch,
    log: LogReader,
    ledger: LedgerId,
    postings: Vec<Posting>,
}

impl World {
    /// A log of `count` entries; another `seed` gives another ledger.
    fn new(count: u64, seed: u8) -> Self {
        let scratch = Scratch::new();
        let (mut store, _) = scratch.store();
        let entries: Vec<_> = (0..count)
            .map(|n| LogEntry::new(entry(n, seed).encode()))
            .collect();
        store
            .append(0, &entries, None, None)
            .expect("it can be written");
        drop(store);
        let log = scratch.reader();
        let ledger = LedgerId(entries[0].leaf);
        let mut postings: Vec<_> = entries
            .iter()
            .map(|entry| Posting::read(&entry.bytes))
            .collect();
        tabs::name_payees(&mut postings);
        Self {
            scratch,
            log,
            ledger,
            postings,
        }
    }

    fn len(&self) -> u64 {
        self.postings.len() as u64
    }

    fn writer(&self) -> Writer {
        let shared = Arc::new(Shared::new(SMALL));
        Writer::open(&self.scratch.folder, self.ledger, &self.log, shared).expect("it opens")
    }

    /// A writer that has read all and made it durable.
    fn complete(&self) -> Writer {
        let mut writer = self.writer();
        writer
            .follow(&self.log, self.len())
            .expect("the log is good");
        writer.write_durably().expect("there is room");
        assert_eq!(writer.shared().durable.load(Ordering::Acquire), self.len());
        writer
    }

    fn reader(&self, writer: Option<&Writer>) -> IndexReader {
        let shared = writer.map(Writer::shared);
        IndexReader::join(&self.scratch.folder, SMALL, shared).expect("it opens")
    }

    /// The entries of an account by looking at everything.
    fn model(&self, which: Which, who: &PublicKey, from: u64, to: u64) -> Vec<u64> {
        (0..)
            .zip(&self.postings)
            .filter(|(_, p)| p.is_in(which, std::slice::from_ref(who)))
            .map(|(n, _)| n)
            .filter(|n| (from..to).contains(n))
            .collect()
    }

    /// That a reader finds all that is in the first `end` entries.
    fn check(&self, reader: &IndexReader, end: u64) {
        for person in 0..=PEOPLE {
            let who = key(person, 0).public();
            let expected = self.model(Which::Concerning, &who, 1, end);
            let found = reader
                .concerning(&[who], 0, usize::MAX, end)
                .expect("it is good");
            assert_eq!(found, expected, "person {person}");
            let mut moving = reader
                .history(&[who], None, None, usize::MAX, end)
                .expect("it is good");
            moving.reverse();
            let expected = self.model(Which::Moving, &who, 0, end);
            assert_eq!(moving, expected, "person {person}");
        }
        let filed = reader.find_all(&self.postings);
        for (n, found) in (0..end).zip(filed) {
            assert!(found.is_none_or(|found| found == first_use(&self.postings, n)));
        }
    }

    /// All rows of the index's tables.
    fn dump(&self) -> Vec<String> {
        let file = rusqlite::Connection::open(self.scratch.folder.index()).expect("it is there");
        let mut rows = Vec::new();
        for table in ["history", "ids", "accounts", "meta"] {
            let mut all = file
                .prepare(&format!("SELECT * FROM {table}"))
                .expect("it is there");
            let columns = all.column_count();
            let found = all
                .query_map([], |row| {
                    (0..columns)
                        .map(|at| row.get(at))
                        .collect::<rusqlite::Result<Vec<_>>>()
                })
                .expect("it can be read");
            for row in found {
                let row: Vec<rusqlite::types::Value> = row.expect("it can be read");
                rows.push(format!("{table}: {row:?}"));
            }
        }
        rows
    }
}

impl IndexReader {
    /// What the file says of the id of each posting.
    fn find_all(&self, postings: &[Posting]) -> Vec<Option<u64>> {
        postings
            .iter()
            .map(|posting| {
                let (payer, id) = posting.id()?;
                self.find(&payer, id).expect("the index is good")
            })
            .collect()
    }
}

/// The first entry that used the id that entry `n` uses.
fn first_use(postings: &[Posting], n: u64) -> u64 {
    let id = postings[n as usize].id();
    postings
        .iter()
        .position(|posting| posting.id() == id)
        .expect("n does") as u64
}

fn key(person: u8, seed: u8) -> SecretKey {
    SecretKey::from_seed(
        &[person + 1, seed]
            .repeat(16)
            .try_into()
            .expect("twice 16 is 32"),
    )
}

fn random(n: u64, seed: u8) -> [u8; 32] {
    Digest::of(&[&n.to_be_bytes()[..], &[seed]].concat()).0
}

/// Entry `n` of a made-up log: the treasury, the people, then one thing after another.
fn entry(n: u64, seed: u8) -> Entry {
    let random = random(n, seed);
    let treasury = key(0, 0);
    let directory = treasury.public();
    let ledger = LedgerId([1; 32]);
    let person = |at: usize| key(1 + random[at] % PEOPLE, 0);
    let (payer, payee) = (person(0), person(1).public());
    let id = OrderId::new(
        LedgerTime::from_millis(random[2].into()),
        [random[3] % 4; 10],
    );
    let amount = Amount::new(7).expect("it is small");
    let operation = OperationId([0; 16]);
    let fact = match (n, random[4] % 16) {
        (0, _) => {
            let currency = Currency::new("QUID", 6).expect("it is sound");
            Fact::Genesis(Signed::new(
                Genesis {
                    directory,
                    currency,
                    nonce: [seed; 16],
                },
                &treasury,
            ))
        }
        (n, _) if n <= u64::from(PEOPLE) => {
            let (name, key) = (format!("person{n}"), key(n as u8, 0));
            let name = name.parse().expect("it is sound");
            let registration = Registration {
                directory,
                name,
                key: key.public(),
                recovery: None,
            };
            Fact::Register(Signed::new(registration, &key))
        }
        (_, 0 | 1) => {
            let account = payee;
            let issue = Issue {
                directory,
                ledger,
                operation,
                account,
                amount,
            };
            Fact::Issue(Signed::new(issue, &treasury))
        }
        (_, 2) => {
            let freeze = Freeze {
                directory,
                ledger,
                operation,
                account: payee,
                frozen: true,
            };
            Fact::Freeze(Signed::new(freeze, &treasury))
        }
        (_, 3) => Fact::Void(Void::sign(ledger, id, &payer)),
        (_, 4) => {
            let order = Digest::of(&random);
            Fact::Refusal(Refusal {
                payer: payer.public(),
                id,
                order,
                reason: Reason::FROZEN,
            })
        }
        (_, kind @ 6..=11) => tabs::fact(kind, n, seed),
        (_, kind) => {
            // Some burn their money.
            let payee = if kind == 5 { directory } else { payee };
            let (version, memo, reference) = (STATEMENT_VERSION, Memo::default(), None);
            let payer_key = payer.public();
            let order = Order {
                version,
                ledger,
                id,
                payer: payer_key,
                payee,
                amount,
                memo,
                reference,
            };
            Fact::Payment(Signed::new(order, &payer))
        }
    };
    Entry {
        time: LedgerTime::from_millis(n),
        fact,
    }
}

#[test]
fn everything_is_found_in_whatever_part_it_is() {
    let world = World::new(200, 1);
    let mut writer = world.writer();
    for len in 0..=world.len() {
        writer.follow(&world.log, len).expect("the log is good");
        let tail = writer.shared().tail().postings.len();
        assert!(tail <= SMALL.tail, "memory is bounded");
        // With the tail in memory, without it, and up to an end that the writer has passed.
        if len % 9 == 0 {
            world.check(&world.reader(Some(&writer)), world.len());
            world.check(&world.reader(None), world.len());
            world.check(&world.reader(Some(&writer)), len / 2);
        }
    }
    writer.write_durably().expect("there is room");
    let found = world.reader(None).find_all(&world.postings);
    for (n, found) in (0..).zip(found) {
        let used = world.postings[n as usize].id().is_some();
        assert_eq!(
            found,
            used.then(|| first_use(&world.postings, n)),
            "entry {n}"
        );
    }
    let stranger = key(99, 9).public();
    let id = OrderId::new(LedgerTime::from_millis(5), [0; 10]);
    assert_eq!(
        world.reader(None).find(&stranger, id).expect("it is good"),
        None
    );
    let history = world
        .reader(None)
        .history(&[stranger], None, None, 10, world.len());
    assert!(history.expect("it is good").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_are_those_of_a_naive_reading(
        read in 0_u64..200,
        shared in any::<bool>(),
        asks in proptest::collection::vec(
            (0..PEOPLE, 0_u64..210, proptest::option::of(0_u64..210),
             proptest::option::of(0_u64..210), 0_usize..30),
            200,
        ),
    ) {
        let world = World::new(200, 1);
        let mut writer = world.writer();
        writer.follow(&world.log, read).expect("the log is good");
        let reader = world.reader(shared.then_some(&writer));
        for (person, end, before, after, limit) in asks {
            let who = key(person, 0).public();
            let end = end.min(world.len());
            let to = before.unwrap_or(end).min(end);
            let from = after.map_or(0, |after| after + 1);
            let expected = world.model(Which::Moving, &who, from, to);
            let found = reader.history(&[who], before, after, limit, end).expect("it is good");
            let newest: Vec<u64> = expected.iter().rev().copied().take(limit).collect();
            prop_assert_eq!(found, newest);
            if let Some(after) = after {
                let found = reader.concerning(&[who], after, limit, end).expect("it is good");
                let expected = world.model(Which::Concerning, &who, after + 1, end);
                let oldest: Vec<u64> = expected.into_iter().take(limit).collect();
                prop_assert_eq!(found, oldest);
            }
        }
    }
}

#[test]
fn made_at_once_or_bit_by_bit_it_is_the_same() {
    let world = World::new(200, 1);
    drop(world.complete());
    let at_once = world.dump();
    assert!(at_once.len() > 300);
    writer::remove(&world.scratch.folder.index()).expect("it is there");
    for len in (0..=world.len()).step_by(23).chain([world.len()]) {
        let mut writer = world.writer();
        writer.follow(&world.log, len).expect("the log is good");
        writer.write_durably().expect("there is room");
        // As a kill would leave it, with more in its tail.
        writer
            .follow(&world.log, world.len().min(len + 5))
            .expect("the log is good");
    }
    assert!(world.dump() == at_once);
}

#[test]
fn only_what_survives_a_power_cut_counts_as_durable() {
    let world = World::new(200, 1);
    let mut writer = world.writer();
    let through = |writer: &Writer| writer.shared().durable.load(Ordering::Acquire);
    writer.follow(&world.log, 50).expect("the log is good");
    assert_eq!((through(&writer), writer.is_durable()), (0, false));
    writer.write_durably().expect("there is room");
    assert_eq!((through(&writer), writer.is_durable()), (50, true));
    // What was written since is only in the write-ahead log, which was never synced.
    writer.follow(&world.log, 110).expect("the log is good");
    assert_eq!(through(&writer), 50);
    let other = World::new(200, 1);
    fs::copy(world.scratch.folder.index(), other.scratch.folder.index()).expect("there is room");
    let after_cut = other.writer();
    assert_eq!(through(&after_cut), 50);
    other.check(&other.reader(Some(&after_cut)), 200);
    // While somebody reads the pages as they were, nothing more becomes durable.
    let slow = rusqlite::Connection::open(world.scratch.folder.index()).expect("it is there");
    slow.execute_batch("BEGIN; SELECT count(*) FROM meta")
        .expect("it can be read");
    writer.follow(&world.log, 150).expect("the log is good");
    writer.write_durably().expect("a slow reader is no error");
    assert!(through(&writer) < 150);
    slow.execute_batch("COMMIT").expect("it ends");
    writer.write_durably().expect("there is room");
    assert_eq!(through(&writer), 150);
}

#[test]
fn an_index_that_does_not_fit_is_made_anew() {
    let world = World::new(150, 1);
    let path = world.scratch.folder.index();
    drop(world.complete());
    let good = world.dump();
    let other_ledger = World::new(180, 2);
    let longer = World::new(180, 1);
    drop(other_ledger.complete());
    drop(longer.complete());
    let other_version = |statement: &str| {
        let file = rusqlite::Connection::open(&path).expect("it is there");
        file.execute_batch(statement).expect("it is writable");
    };
    let misfits: [(&str, &dyn Fn()); 7] = [
        ("deleted", &|| writer::remove(&path).expect("it is there")),
        ("no SQLite file", &|| {
            fs::write(&path, "hello").expect("there is room")
        }),
        ("empty", &|| fs::write(&path, "").expect("there is room")),
        ("of another ledger", &|| {
            fs::copy(other_ledger.scratch.folder.index(), &path)
                .map(drop)
                .expect("there is room");
        }),
        ("ahead of the log", &|| {
            fs::copy(longer.scratch.folder.index(), &path)
                .map(drop)
                .expect("there is room");
        }),
        ("of another version", &|| {
            other_version("PRAGMA user_version = 1")
        }),
        ("of another history", &|| {
            other_version("UPDATE meta SET value = zeroblob(32) WHERE key = 'tip'");
        }),
    ];
    for (what, misfit) in misfits {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", path.display()));
        }
        misfit();
        let writer = world.writer();
        assert_eq!(writer.shared().durable.load(Ordering::Acquire), 0, "{what}");
        drop(writer);
        drop(world.complete());
        assert!(world.dump() == good, "{what}");
    }
}

#[test]
fn whatever_bits_are_flipped_no_wrong_entry_is_told() {
    let world = World::new(120, 1);
    drop(world.complete());
    let path = world.scratch.folder.index();
    let good = fs::read(&path).expect("it is there");
    for at in (0..good.len()).step_by(211) {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", path.display()));
        }
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, bad).expect("there is room");
        let shared = Arc::new(Shared::new(SMALL));
        let opened = Writer::open(&world.scratch.folder, world.ledger, &world.log, shared);
        let Ok(mut writer) = opened else { continue };
        if writer.follow(&world.log, world.len()).is_err() || writer.write_durably().is_err() {
            continue;
        }
        let Ok(reader) = IndexReader::join(&world.scratch.folder, SMALL, None) else {
            continue;
        };
        for person in 1..=PEOPLE {
            let who = key(person, 0).public();
            match reader.history(&[who], None, None, 500, world.len()) {
                Ok(found) => {
                    let expected = world.model(Which::Moving, &who, 0, world.len());
                    assert!(
                        found.iter().all(|entry| expected.contains(entry)),
                        "byte {at}"
                    );
                }
                Err(IndexError::Damaged(_)) => {
                    assert!(!path.exists(), "the next start makes it anew")
                }
                Err(IndexError::Sql { .. } | IndexError::Store(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        for posting in &world.postings {
            if let Some((payer, id)) = posting.id()
                && let Ok(Some(found)) = reader.find(&payer, id)
            {
                assert_eq!(
                    world.postings[found as usize].id(),
                    Some((payer, id)),
                    "byte {at}"
                );
            }
        }
    }
}

#[test]
fn a_wrong_row_is_noticed_and_the_index_removed() {
    for statement in [
        "UPDATE ids SET entry = (entry + 1) % 100",
        "UPDATE ids SET entry = entry + 100000",
        "UPDATE OR IGNORE history SET entry = entry + 1",
        "UPDATE OR IGNORE history SET account = account % 5 + 1",
        "UPDATE history SET moved = 1",
    ] {
        let world = World::new(120, 1);
        drop(world.complete());
        let path = world.scratch.folder.index();
        let file = rusqlite::Connection::open(&path).expect("it is there");
        file.execute(statement, []).expect("it is writable");
        let reader = world.reader(None);
        let ids = world.postings.iter().filter_map(Posting::id);
        let found: Result<Vec<_>, _> = ids.map(|(payer, id)| reader.find(&payer, id)).collect();
        let who = key(1, 0).public();
        let found = found.map(drop).and_then(|()| {
            reader
                .history(&[who], None, None, 500, world.len())
                .map(drop)
        });
        assert!(
            matches!(found, Err(IndexError::Damaged(_))),
            "{statement}: {found:?}"
        );
        assert!(!path.exists(), "{statement}");
    }
}

#[test]
fn an_index_far_behind_says_so() {
    let world = World::new(120, 1);
    let bounds = Bounds {
        behind: 50,
        ..SMALL
    };
    let shared = Arc::new(Shared::new(bounds));
    let mut writer =
        Writer::open(&world.scratch.folder, world.ledger, &world.log, shared).expect("it opens");
    writer.follow(&world.log, 60).expect("the log is good");
    let shared = writer.shared();
    let reader = IndexReader::join(&world.scratch.folder, bounds, Some(shared)).expect("it opens");
    let who = key(1, 0).public();
    let behind = reader.history(&[who], None, None, 10, 120);
    assert!(
        matches!(behind, Err(IndexError::Behind { entries: 60 })),
        "{behind:?}"
    );
    reader
        .history(&[who], None, None, 10, 110)
        .expect("50 can be read");
    reader
        .history(&[who], Some(60), None, 10, 120)
        .expect("old pages need no new entries");
}

#[test]
fn the_thread_follows_and_stops() {
    let world = World::new(150, 1);
    let entries: Vec<_> = (150..200)
        .map(|n| LogEntry::new(entry(n, 1).encode()))
        .collect();
    let index = Index::start(&world.scratch.folder, world.ledger, Workers::Threads)
        .expect("there are threads");
    let reader = index.reader().expect("it is there");
    let watch = index.watch();
    world.check(&reader, 150);
    let (mut store, _) = world.scratch.store();
    store
        .append(150, &entries, None, None)
        .expect("it can be written");
    index.wake(200);
    let who = key(1, 0).public();
    let newest = reader
        .history(&[who], None, None, 1, 200)
        .expect("it is good");
    assert!(newest[0] >= 150, "an acknowledged entry is told at once");
    index.stop();
    assert_eq!(watch.get(), 200);
    let again = Index::start(&world.scratch.folder, world.ledger, Workers::Threads)
        .expect("there are threads");
    assert_eq!(again.through(), 200, "it goes on where it ended");
}
