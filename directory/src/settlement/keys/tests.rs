//! Frozen accounts whose key changes, batch by batch, on one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quid_common::account::{Change, RECOVERY_DELAY, Recovery, Takeover};
use quid_common::amount::{Amount, Currency};
use quid_common::entry::Registration;
use quid_common::id::OperationId;
use quid_common::key::SecretKey;
use quid_common::order::{Memo, Order, STATEMENT_VERSION};
use quid_common::signed::Signed;

use super::*;
use crate::books::Books;
use crate::clock::{self, Reading};
use crate::events::Hub;
use crate::folder::Folder;
use crate::settlement::testing::{order, person};
use crate::settlement::{Ask, Job, Outlet, Reply, check};
use crate::surroundings::Surroundings;

/// Alice, who has a recovery key and money, and Bob, whom she pays.
struct World {
    committer: Committer,
    hub: Arc<Hub>,
    passed: Arc<AtomicU64>,
    place: tempfile::TempDir,
}

const ALICE: u64 = 0;
const BOB: u64 = 1;

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let (passed, hub) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let committer = Self::open(&place, &passed, &hub);
        let mut world = Self {
            committer,
            hub,
            passed,
            place,
        };
        for n in [ALICE, BOB] {
            let registration = Registration {
                directory: world.committer.books.key.public(),
                name: name(n),
                key: person(n).public(),
                recovery: (n == ALICE).then(|| safe().public()),
            };
            let registered = world.ask(Ask::Register(Signed::new(registration, &person(n))));
            assert!(matches!(registered, Answer::Done(_)), "{registered:?}");
        }
        world
    }

    fn open(place: &tempfile::TempDir, passed: &Arc<AtomicU64>, hub: &Arc<Hub>) -> Committer {
        let folder = Folder::create_or_open(&place.path().join("data")).expect("it can be made");
        let lock = folder.lock("test").expect("nobody else knows it");
        let (start, clock) = (clock::system()(), Arc::clone(passed));
        let surroundings = Surroundings {
            clocks: Box::new(move || {
                let passed = clock.load(Ordering::Relaxed);
                Reading {
                    wall_ms: start.wall_ms + passed,
                    monotonic: start.monotonic + Duration::from_millis(passed),
                }
            }),
            ..Surroundings::system()
        };
        let new = Currency::default();
        let opened = Books::open_in(&folder, lock, Some(&new), true, surroundings);
        let mut books = opened.expect("it opens");
        books.opening_balance = Amount::new(1_000_000);
        Committer::new(books, Arc::clone(hub))
    }

    /// The same folder, served anew.
    fn restarted(self) -> Self {
        let Self { passed, place, .. } = self;
        self.committer.into_books().close();
        let hub = Arc::default();
        let committer = Self::open(&place, &passed, &hub);
        Self {
            committer,
            hub,
            passed,
            place,
        }
    }

    fn ask(&mut self, ask: Ask) -> Answer {
        self.ask_all(vec![ask]).pop().expect("it is answered")
    }

    /// Asks in one batch.
    fn ask_all(&mut self, asks: Vec<Ask>) -> Vec<Answer> {
        let outlet = Arc::new(Outlet::default());
        let jobs = asks.into_iter().zip(0..).map(|(ask, number)| Job {
            from: match &ask {
                Ask::Order(..) => next().public(),
                Ask::Register(registration) => registration.statement().key,
                _ => self.committer.books.key.public(),
            },
            ask,
            reply: Reply::new(number, &outlet),
        });
        let jobs = jobs.collect();
        self.committer.commit(check(jobs));
        let mut answers = outlet.take_now();
        answers.sort_by_key(|(number, _)| *number);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn freeze(&mut self, n: u8, frozen: bool) {
        let froze = self.ask(Ask::Freeze(OperationId([n; 16]), name(ALICE), frozen));
        assert!(matches!(froze, Answer::Done(_)), "{froze:?}");
    }

    /// Announces that [`next`] shall follow and lets the delay pass; the takeover that is due then.
    fn announced(&mut self) -> Ask {
        let ledger = self.committer.books.ledger.ledger_id();
        let account = self.alice();
        let (number, said) = (account.number, account.recovery_said());
        let recovery = Recovery::sign(ledger, number, said, next().public(), &safe());
        let announced = self.ask(Ask::Change(Change::Recovery(recovery)));
        assert!(matches!(announced, Answer::Done(_)), "{announced:?}");
        let delay = u64::try_from(RECOVERY_DELAY.as_millis()).expect("days");
        self.passed.fetch_add(delay + 1000, Ordering::Relaxed);
        Ask::Change(Change::Takeover(Takeover::sign(ledger, number, &next())))
    }

    fn alice(&self) -> &Account {
        let ledger = &self.committer.books.ledger;
        ledger.by_name(&name(ALICE)).expect("registered")
    }

    /// What Alice's new key is told when it pays.
    fn pays(&mut self, number: u64) -> Answer {
        let ledger = self.committer.books.ledger.ledger_id();
        let passed = Duration::from_millis(self.passed.load(Ordering::Relaxed));
        let id = order(ledger, 2 * number, 1).statement().id;
        let expiry = id.expiry().plus(passed);
        let order = Order {
            version: STATEMENT_VERSION,
            ledger,
            id: quid_common::id::OrderId::new(expiry, [number as u8; 10]),
            payer: next().public(),
            payee: person(BOB).public(),
            amount: Amount::new(1).expect("small"),
            memo: Memo::default(),
            reference: None,
        };
        self.ask(Ask::Order(Signed::new(order, &next()), None))
    }
}

fn name(n: u64) -> Name {
    ["alice", "bob"][n as usize].parse().expect("a name")
}

fn safe() -> SecretKey {
    SecretKey::from_seed(&[8; 32])
}

fn next() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

fn assert_frozen(answer: &Answer) {
    let frozen = matches!(answer, Answer::Refused(Reason::FROZEN, _));
    assert!(frozen, "{answer:?}");
}

#[test]
fn a_frozen_account_that_is_recovered_stays_frozen_and_limited_by_its_new_key() {
    let mut world = World::new();
    world.freeze(1, true);
    assert!(world.hub.is_frozen(&person(ALICE).public()));
    let takeover = world.announced();
    let took = world.ask(takeover);
    assert!(matches!(took, Answer::Done(_)), "{took:?}");
    assert_eq!(world.alice().key, next().public());
    assert!(world.hub.is_frozen(&next().public()));
    assert_frozen(&world.pays(1));
    // The key that was replaced is nobody's any more.
    assert!(!world.hub.is_frozen(&person(ALICE).public()));
    // Started anew, it is the same.
    let mut world = world.restarted();
    assert!(world.hub.is_frozen(&next().public()));
    assert!(!world.hub.is_frozen(&person(ALICE).public()));
    assert_frozen(&world.pays(2));
    world.freeze(2, false);
    assert!(!world.hub.is_frozen(&next().public()));
    let paid = world.pays(3);
    assert!(matches!(paid, Answer::Settled(_)), "{paid:?}");
}

#[test]
fn a_freeze_beside_the_recovery_in_one_batch_holds_the_new_key() {
    for freeze_first in [true, false] {
        let mut world = World::new();
        let takeover = world.announced();
        let freeze = Ask::Freeze(OperationId([1; 16]), name(ALICE), true);
        let mut asks = vec![takeover, freeze];
        if freeze_first {
            asks.reverse();
        }
        for answer in world.ask_all(asks) {
            assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        }
        assert!(world.hub.is_frozen(&next().public()), "{freeze_first}");
        assert!(!world.hub.is_frozen(&person(ALICE).public()));
        assert_frozen(&world.pays(1));
    }
}
