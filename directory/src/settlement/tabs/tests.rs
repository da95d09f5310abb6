//! Tabs through the settlement, batch by batch, on one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::chain::{Chain, GAP_MAX, LENGTH_MAX, Link, Mark};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Registration};
use quid_common::id::{LedgerId, OrderId};
use quid_common::key::SecretKey;
use quid_common::order::{Order, Void};
use quid_common::signed::{Signed, Statement};
use quid_common::tab::{Close, SignedTerms, TABS_PER_PAYER_MAX, Terms};
use tempfile::TempDir;

use super::*;
use crate::books::Books;
use crate::clock::{self, Reading};
use crate::folder::Folder;
use crate::settlement::testing::{claim, order, person, registration, terms};
use crate::settlement::{Ask, Conduct, Job, Links, Outlet, Reply, check};
use crate::surroundings::Surroundings;

#[test]
fn a_tab_pays_what_was_claimed_and_gives_back_the_rest_in_the_payees_closing_batch() {
    let mut world = World::new();
    let (terms, mut chain) = terms(world.ledger, 0, (3, 1000), HOUR);
    let opened = world.settled(0, Ask::Tab(terms.clone()));
    assert_eq!(world.money(0), (OPENING - 3000, 3000));
    assert_eq!(world.settled(0, Ask::Tab(terms.clone())), opened);

    let first = world.settled(1, claim(&terms, &mut chain, 0, 10));
    assert_eq!(world.settled(1, claim(&terms, &mut chain, 0, 10)), first);
    assert_eq!(
        world.settled(1, claim(&terms, &mut chain, 10, 700)),
        first + 1
    );
    assert_eq!(world.money(0), (OPENING - 3000, 900));
    assert_eq!(world.money(1), (OPENING + 2100, 0));
    let standing = world.standing(0, &terms).expect("it is open");
    assert_eq!(world.standing(1, &terms), Some(standing.clone()));
    assert_eq!(standing.claimed, 700);
    assert_eq!(Some(standing.link), chain.link(700));

    // The release stands behind the close, and nothing between them.
    let closed = world.settled(1, world.close(1, &terms));
    assert_eq!(world.committer.books.ledger.entries(), closed + 2);
    assert_eq!(world.money(0), (OPENING - 2100, 0));
    assert_eq!(world.money(1), (OPENING + 2100, 0));
    assert_eq!(world.standing(0, &terms), None);
    let late = claim(&terms, &mut chain, 700, 701);
    assert_eq!(world.refused(1, late), Reason::NO_TAB);
    // What used the id is its opening, for ever.
    assert_eq!(world.fate(0, &terms), Some(opened));
    assert_eq!(world.fate(1, &terms), Some(opened));
}

#[test]
fn a_close_by_the_payer_begins_the_grace_and_does_not_end_it() {
    let mut world = World::new();
    let (terms, mut chain) = terms(world.ledger, 0, (1, 100), HOUR);
    world.settled(0, Ask::Tab(terms.clone()));
    let before = world.due();
    assert_eq!(before, Some(terms.statement().until()));
    let closed = world.settled(0, world.close(0, &terms));
    assert_eq!(world.settled(0, world.close(0, &terms)), closed);
    let standing = world.standing(1, &terms).expect("it is open");
    assert!(standing.expires < terms.statement().expires);
    assert_eq!(standing.until.since(standing.expires), HOUR);
    assert_eq!(world.due(), Some(standing.until));
    assert!(matches!(world.ask(0, Ask::Release), Answer::Released));
    world.settled(1, claim(&terms, &mut chain, 0, 100));
    assert_eq!(world.money(1), (OPENING + 100, 0));
    world.settled(1, world.close(1, &terms));
    assert_eq!(world.due(), Some(standing.until), "a bound from below");
    assert!(matches!(world.ask(0, Ask::Release), Answer::Released));
    assert_eq!(world.due(), None);
}

#[test]
fn claims_that_prove_nothing_are_refused_by_name_and_told_of() {
    let mut world = World::new();
    let (terms, mut chain) = terms(world.ledger, 0, (1, 1000), HOUR);
    let (other, mut others) = self::terms(world.ledger, 2, (1, 1000), HOUR);
    world.settled(0, Ask::Tab(terms.clone()));
    world.settled(0, Ask::Tab(other.clone()));
    world.settled(1, claim(&terms, &mut chain, 0, 100));
    let shown = |from, index, link| {
        let links = Links::shown(from, Mark { index, link }).expect("sound");
        Ask::Claim(terms.statement().payer, terms.statement().id, links)
    };
    let good = chain.link(200).expect("within the chain");
    let theirs = others.link(200).expect("within the chain");
    let unopened = self::terms(world.ledger, 4, (1, 1000), HOUR).0;
    let table = [
        (1, shown(100, 200, Link([1; 32])), Reason::BAD_LINK),
        (1, shown(100, 200, theirs), Reason::BAD_LINK),
        (1, shown(100, 201, good), Reason::BAD_LINK),
        (1, shown(100, 1001, good), Reason::PAST_END),
        (1, shown(u32::MAX - 9, u32::MAX, good), Reason::PAST_END),
        (1, shown(99, 200, good), Reason::STALE_CLAIM),
        (1, shown(101, 200, good), Reason::STALE_CLAIM),
        (1, shown(0, 50, good), Reason::STALE_CLAIM),
        (0, shown(100, 200, good), Reason::WRONG_SUBMITTER),
        (1, claim(&unopened, &mut chain, 100, 200), Reason::NO_TAB),
    ];
    let entries = world.committer.books.ledger.entries();
    for (n, ask, reason) in table {
        let (answer, judged) = world.ask_and_judge(&person(n), ask);
        assert!(
            matches!(answer, Answer::Refused(it, None) if it == reason),
            "{answer:?}"
        );
        assert_eq!(judged, [(person(n).public(), Conduct::Claimed(false))]);
    }
    assert_eq!(world.committer.books.ledger.entries(), entries);
    let (answer, judged) = world.ask_and_judge(&person(1), shown(100, 200, good));
    assert!(matches!(answer, Answer::Settled(_)), "{answer:?}");
    assert_eq!(judged, [(person(1).public(), Conduct::Claimed(true))]);

    // What no link could mend never becomes a claim.
    for (from, index, reason) in [
        (0, 0, Reason::STALE_CLAIM),
        (5, 5, Reason::STALE_CLAIM),
        (u32::MAX, 0, Reason::STALE_CLAIM),
        (0, GAP_MAX + 1, Reason::GAP_TOO_LONG),
        (0, u32::MAX, Reason::GAP_TOO_LONG),
    ] {
        assert_eq!(Links::shown(from, Mark { index, link: good }), Err(reason));
    }
}

#[test]
fn terms_and_closes_need_their_signers() {
    let mut world = World::new();
    let (terms, _) = terms(world.ledger, 0, (1, 1000), HOUR);
    let stated = terms.statement();
    let unsound = Ask::Tab(forged(&terms));
    assert_eq!(world.refused(0, unsound), Reason::BAD_SIGNATURE);
    let elsewhere = Terms {
        ledger: LedgerId([7; 32]),
        ..stated.clone()
    };
    let ask = Ask::Tab(forged(&Signed::new(elsewhere.clone(), &person(0))));
    assert_eq!(world.refused(0, ask), Reason::WRONG_LEDGER);
    let ask = Ask::Tab(Signed::new(elsewhere, &person(0)));
    assert_eq!(world.refused(0, ask), Reason::WRONG_LEDGER);
    assert_eq!(
        world.refused(1, Ask::Tab(terms.clone())),
        Reason::WRONG_SUBMITTER
    );
    world.settled(0, Ask::Tab(terms.clone()));

    let close = Close::sign(world.ledger, stated.payer, stated.id, &person(1));
    assert_eq!(
        world.refused(1, Ask::Close(forged(&close))),
        Reason::BAD_SIGNATURE
    );
    let (answer, judged) = world.ask_and_judge(&person(0), Ask::Close(close));
    assert!(
        matches!(answer, Answer::Refused(Reason::WRONG_SUBMITTER, None)),
        "{answer:?}"
    );
    assert_eq!(judged, [(person(0).public(), Conduct::Intruded)]);
    let unreadable = Ask::Malformed(Reason::ENCODING);
    let (_, judged) = world.ask_and_judge(&person(0), unreadable);
    assert_eq!(judged, [(person(0).public(), Conduct::Intruded)]);
    let elsewhere = Close::sign(LedgerId([7; 32]), stated.payer, stated.id, &person(1));
    assert_eq!(
        world.refused(1, Ask::Close(forged(&elsewhere))),
        Reason::WRONG_LEDGER
    );
    assert!(world.standing(1, &terms).is_some());
}

#[test]
fn an_id_is_an_orders_a_tabs_or_void() {
    let mut world = World::new();
    let void =
        |terms: &SignedTerms| Ask::Void(Void::sign(world.ledger, terms.statement().id, &person(0)));
    let (voided, _) = terms(world.ledger, 0, (1, 10), HOUR);
    let (opened, _) = terms(world.ledger, 2, (1, 10), HOUR);
    let (paid, _) = terms(world.ledger, 4, (1, 10), HOUR);
    let (voids, late) = (void(&voided), void(&opened));
    assert!(matches!(world.ask(0, voids), Answer::Voided(_)));
    let answer = world.ask(0, Ask::Tab(voided));
    assert!(
        matches!(answer, Answer::Refused(Reason::VOIDED, Some(_))),
        "{answer:?}"
    );
    let entry = world.settled(0, Ask::Tab(opened));
    assert_eq!(world.settled(0, late), entry, "it opened first");
    let same: Signed<Order> = order(world.ledger, 4, 1);
    let same = Signed::new(
        Order {
            id: paid.statement().id,
            ..same.statement().clone()
        },
        &person(0),
    );
    world.settled(0, Ask::Order(same.clone(), None));
    assert_eq!(world.refused(0, Ask::Tab(paid)), Reason::ID_REUSED);
    let (tab, _) = terms(world.ledger, 6, (1, 10), HOUR);
    world.settled(0, Ask::Tab(tab.clone()));
    let order = Order {
        id: tab.statement().id,
        ..same.statement().clone()
    };
    let order = Ask::Order(Signed::new(order, &person(0)), None);
    assert_eq!(world.refused(0, order), Reason::ID_REUSED);
}

#[test]
fn what_one_batch_opens_claims_and_closes_is_answered_together() {
    let mut world = World::new();
    let (terms, mut chain) = terms(world.ledger, 0, (1, LENGTH_MAX / 1024), HOUR);
    let outlet = Arc::new(Outlet::default());
    let asks = [
        (0, Ask::Tab(terms.clone())),
        (1, claim(&terms, &mut chain, 0, 600)),
        (1, claim(&terms, &mut chain, 600, 601)),
        (0, world.close(0, &terms)),
        (1, claim(&terms, &mut chain, 601, 1024)),
        (1, world.close(1, &terms)),
        (0, world.close(0, &terms)),
    ];
    let job = |(number, (n, ask))| Job {
        from: person(n).public(),
        ask,
        reply: Reply::new(number, &outlet),
    };
    let first = world.committer.books.ledger.entries();
    let jobs = (0..).zip(asks).map(job).collect();
    world.committer.commit(check(jobs));
    for (number, answer) in outlet.take_now() {
        match answer {
            Answer::Settled(proof) if number < 6 => {
                assert_eq!(proof.borrow().index, first + number);
            }
            Answer::Refused(Reason::NO_TAB, None) if number == 6 => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(world.money(1), (OPENING + 1024, 0));
    assert_eq!(world.money(0), (OPENING - 1024, 0));
}

#[test]
fn a_log_that_lacks_entries_moves_no_hold_and_tells_no_standing() {
    let mut world = World::new();
    let (terms, mut chain) = terms(world.ledger, 0, (1, 1000), HOUR);
    let (unopened, _) = self::terms(world.ledger, 2, (0, 1000), HOUR);
    world.settled(0, Ask::Tab(terms.clone()));
    world.settled(0, world.close(0, &terms));
    let head = Head {
        size: 1000,
        root: [1; 32],
    };
    let checkpoint = Checkpoint::sign(world.ledger, head, &world.committer.books.key);
    world.ask(1, Ask::Login(Some(checkpoint)));
    assert!(world.committer.books.ahead.is_some());
    let stated = terms.statement();
    for (n, ask) in [
        (0, Ask::Tab(unopened.clone())),
        (0, world.close(1, &terms)),
        (1, world.close(1, &terms)),
        (1, claim(&terms, &mut chain, 0, 1)),
        (1, claim(&terms, &mut chain, 1, 2)),
        (1, claim(&unopened, &mut chain, 1, 2)),
        (1, Ask::OpenTab(stated.payer, stated.id)),
    ] {
        let close_of_other = n == 0 && matches!(ask, Ask::Close(_));
        let reason = if close_of_other {
            Reason::WRONG_SUBMITTER
        } else {
            Reason::LOG_INCOMPLETE
        };
        assert_eq!(world.refused(n, ask), reason);
    }
    // The opening is there, and proves itself.
    world.settled(0, Ask::Tab(terms));
}

#[test]
fn many_tabs_that_are_over_are_released_some_at_a_time() {
    let mut world = World::new();
    let people: Vec<SecretKey> = (10..15).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    for (n, key) in people.iter().enumerate() {
        let wish = Registration {
            directory: world.committer.books.key.public(),
            name: format!("payer-{n}").parse().expect("a name"),
            key: key.public(),
            recovery: None,
        };
        world.ask_and_judge(key, Ask::Register(Signed::new(wish, key)));
    }
    let second = Duration::from_secs(1);
    let now = world.committer.books.now();
    for number in 0..TABS_PER_PAYER_MAX {
        for key in &people {
            let mut tail = [0; 10];
            tail[..4].copy_from_slice(&number.to_be_bytes());
            let id = OrderId::new(now.plus(second), tail);
            let anchor = Chain::new(id, 5, Link([1; 32])).expect("short").anchor();
            let terms = Terms {
                id,
                payer: key.public(),
                anchor,
                expires: now.plus(2 * second),
                grace: 1,
                ..terms(world.ledger, 0, (1, 5), HOUR).0.statement().clone()
            };
            let (opened, _) = world.ask_and_judge(key, Ask::Tab(Signed::new(terms, key)));
            assert!(matches!(opened, Answer::Settled(_)), "{opened:?}");
        }
    }
    let count = people.len() * TABS_PER_PAYER_MAX as usize;
    assert!(count > RELEASES_LEN_MAX);
    let due = *world.committer.due().borrow();
    let due = due.expect("tabs are open");
    assert_eq!(due.time, now.plus(3 * second));
    let before = world.committer.books.ledger.entries();
    assert!(matches!(world.ask(0, Ask::Release), Answer::Released));
    assert_eq!(world.committer.books.ledger.entries(), before, "too soon");
    world.passed.store(3000, Ordering::Relaxed);
    let mut released = Vec::new();
    while let Some(due) = world
        .due()
        .filter(|due| *due <= world.committer.books.now())
    {
        assert_eq!(due, now.plus(3 * second));
        world.ask(0, Ask::Release);
        released.push(world.committer.books.ledger.entries());
    }
    let all = before + count as u64;
    assert_eq!(released, [before + RELEASES_LEN_MAX as u64, all]);
    assert_eq!(world.committer.books.ledger.totals().held, 0);
    assert_eq!(world.due(), None);
}

/// What somebody else signed.
fn forged<T: Statement>(fact: &Signed<T>) -> Signed<T> {
    let mut bytes = fact.bytes().to_vec();
    let signature = bytes.len() - 64;
    bytes[signature + 5] ^= 1;
    Signed::from_vec(bytes).expect("it can be read")
}

/// Two people with money, and the settlement in the hand.
struct World {
    committer: Committer,
    ledger: LedgerId,
    /// Milliseconds that have passed: the clock stands still unless a test moves it.
    passed: Arc<AtomicU64>,
    _place: TempDir,
}

const OPENING: u64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let folder = Folder::create_or_open(&place.path().join("data")).expect("it can be made");
        let lock = folder.lock("test").expect("nobody else knows it");
        let new = Currency::default();
        let passed = Arc::new(AtomicU64::new(0));
        let (start, clock) = (clock::system()(), Arc::clone(&passed));
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
        let opened = Books::open_in(&folder, lock, Some(&new), false, surroundings);
        let mut books = opened.expect("it opens");
        books.opening_balance = Amount::new(OPENING);
        let (directory, ledger) = (books.key.public(), books.ledger.ledger_id());
        let mut world = Self {
            committer: Committer::new(books, Arc::default()),
            ledger,
            passed,
            _place: place,
        };
        for n in 0..2 {
            world.ask(n, registration(directory, n));
        }
        world
    }

    fn ask(&mut self, n: u64, ask: Ask) -> Answer {
        self.ask_and_judge(&person(n), ask).0
    }

    fn ask_and_judge(&mut self, from: &SecretKey, ask: Ask) -> (Answer, Vec<(PublicKey, Conduct)>) {
        let outlet = Arc::new(Outlet::default());
        let job = Job {
            from: from.public(),
            ask,
            reply: Reply::new(0, &outlet),
        };
        let judged = self.committer.commit(check(vec![job]));
        let (_, answer) = outlet.take_now().pop().expect("every job is answered");
        (answer, judged)
    }

    /// The entry of what settles.
    fn settled(&mut self, n: u64, ask: Ask) -> u64 {
        match self.ask(n, ask) {
            Answer::Settled(proof) => proof.borrow().index,
            other => panic!("not settled: {other:?}"),
        }
    }

    fn refused(&mut self, n: u64, ask: Ask) -> Reason {
        match self.ask(n, ask) {
            Answer::Refused(reason, None) => reason,
            other => panic!("not refused without a trace: {other:?}"),
        }
    }

    fn close(&self, by: u64, terms: &SignedTerms) -> Ask {
        let (payer, id) = (terms.statement().payer, terms.statement().id);
        Ask::Close(Close::sign(self.ledger, payer, id, &person(by)))
    }

    fn standing(&mut self, n: u64, terms: &SignedTerms) -> Option<OpenTab> {
        let stated = terms.statement();
        match self.ask(n, Ask::OpenTab(stated.payer, stated.id)) {
            Answer::OpenTab(tab, _) => tab,
            other => panic!("not a standing: {other:?}"),
        }
    }

    fn fate(&mut self, n: u64, terms: &SignedTerms) -> Option<u64> {
        let stated = terms.statement();
        match self.ask(n, Ask::Fate(stated.payer, stated.id)) {
            Answer::Fate(receipt, _) => receipt.map(|receipt| {
                let entry = Entry::decode(&receipt.entry).expect("an entry");
                assert_eq!(entry.terms(), Some(terms));
                receipt.index
            }),
            other => panic!("not a fate: {other:?}"),
        }
    }

    fn money(&self, n: u64) -> (u64, u64) {
        let account = self.committer.books.ledger.account(&person(n).public());
        let account = account.expect("registered");
        (account.available.units(), account.held.units())
    }

    fn due(&self) -> Option<LedgerTime> {
        self.committer.due.borrow().map(|due| due.time)
    }
}
