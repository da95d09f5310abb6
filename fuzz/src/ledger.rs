//! The directory's rules, by a list of wishes from accounts that wish anything.

use arbitrary::{Arbitrary, Unstructured};
use quid_common::amount::Amount;
use quid_common::chain::{Link, Mark};
use quid_common::entry::Fact;
use quid_common::id::OrderId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Decline, LIFE_MAX, Void};
use quid_common::tab::{Close, Hashed};
use quid_common::time::LedgerTime;
use quid_directory::ledger::{Ledger, Past, Verdict};

use self::model::Model;
use crate::books::{Books, Shape, chain, is_effect, secret};

mod model;

/// What somebody tries. People, ids and operations are few, so that they meet again.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Step {
    Order {
        payer: u8,
        payee: u8,
        units: u16,
        id: Id,
        memo: bool,
        declined: bool,
        by: u8,
    },
    Void {
        payer: u8,
        id: Id,
        by: u8,
    },
    Register {
        who: u8,
        name: u8,
        by: u8,
    },
    Issue {
        operation: u8,
        to: u8,
        units: u64,
    },
    Freeze {
        operation: u8,
        whom: u8,
        frozen: bool,
    },
    Open {
        payer: u8,
        payee: u8,
        unit: u16,
        length: u8,
        grace: u8,
        id: Id,
        by: u8,
    },
    Claim {
        payer: u8,
        id: Id,
        from: u8,
        to: u8,
        forged: bool,
        by: u8,
    },
    Close {
        payer: u8,
        id: Id,
        signer: u8,
        by: u8,
    },
    Release,
    Wait {
        ms: u16,
    },
    Forget,
    Restore,
}

/// Which id, and when it expires.
#[derive(Clone, Copy, Debug, Arbitrary)]
struct Id {
    number: u8,
    expires: u8,
}

/// A list of wishes, each decided and applied in turn.
///
/// Money moves if, and only if, a model that knows nothing of memory, index or snapshots says so;
/// every balance and hold is as in the model; one id has one effect; the same wish again changes
/// nothing; and the log alone gives the same books, as do a snapshot and the entries in short.
pub fn ledger_rules(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut play = Play::new();
    for _ in 0..STEPS_MAX {
        match input.arbitrary() {
            Ok(step) if !input.is_empty() => play.step(step),
            _ => break,
        }
        play.model.agrees_with(&play.books.ledger);
    }
    play.replay();
}

/// Most wishes of one run.
const STEPS_MAX: usize = 64;

/// The books, and what the model makes of them.
struct Play {
    books: Books,
    people: Vec<SecretKey>,
    model: Model,
}

impl Play {
    fn new() -> Self {
        let books = Books::new();
        let mut people: Vec<SecretKey> = (1..PEOPLE).map(secret).collect();
        people.push(books.directory.clone());
        let mut play = Self {
            model: Model::new(books.directory.public()),
            books,
            people,
        };
        for who in 0..3 {
            play.register(who, who, who);
            play.issue(100 + who, who, 1_000);
        }
        play
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Order { .. } => self.order(step),
            Step::Void { payer, id, by } => {
                let ledger = self.books.ledger.ledger_id();
                let void = Void::sign(ledger, self.id(id), &self.person(payer));
                let may = self
                    .model
                    .may_void(void.statement(), &self.key(by), self.books.now);
                self.decide(
                    may,
                    |ledger, by, now, past| ledger.decide_void(&void, &by, now, past),
                    by,
                );
            }
            Step::Register { who, name, by } => self.register(who, name, by),
            Step::Issue {
                operation,
                to,
                units,
            } => self.issue(operation, to, units),
            Step::Freeze {
                operation,
                whom,
                frozen,
            } => {
                let freeze = self.books.freeze(operation, self.key(whom), frozen);
                let stated = freeze.statement();
                let may = self.model.may_operate(&stated.account, stated.operation);
                let verdict = self.books.ledger.decide_freeze(&freeze);
                self.take(verdict, may);
            }
            Step::Open { .. } => self.open(step),
            Step::Claim { .. } => self.claim(step),
            Step::Close {
                payer,
                id,
                signer,
                by,
            } => {
                let (ledger, payer) = (self.books.ledger.ledger_id(), self.key(payer));
                let close = Close::sign(ledger, payer, self.id(id), &self.person(signer));
                let verdict =
                    self.books
                        .ledger
                        .decide_close(&close, &self.key(by), self.books.time());
                if let Verdict::Append(Fact::Close(_)) = &verdict {
                    assert_eq!(self.key(by), self.key(signer), "a close of another's");
                    assert!(self.model.is_party(close.statement()));
                }
                self.take_any(verdict);
            }
            Step::Release => {
                let since = LedgerTime::default();
                for (payer, id) in self.books.ledger.due(self.books.time(), since, 8) {
                    let fact =
                        self.books
                            .ledger
                            .decide_release(&payer, id, self.books.time(), since);
                    assert!(self.model.is_over(&payer, id, self.books.now));
                    self.take_any(Verdict::Append(fact.expect("it is due")));
                }
            }
            Step::Wait { ms } => self.books.now += u64::from(ms),
            Step::Forget => {
                self.books
                    .ledger
                    .forget(LedgerTime::default(), self.books.ledger.entries());
            }
            Step::Restore => self.books.restore(),
        }
    }

    fn order(&mut self, step: Step) {
        let Step::Order {
            payer,
            payee,
            units,
            id,
            memo,
            declined,
            by,
        } = step
        else {
            return;
        };
        let memo = if memo { "again" } else { "" };
        let between = (&self.person(payer), self.key(payee));
        let order = self
            .books
            .order(between, self.id(id), u64::from(units), memo);
        let decline = declined.then(|| Decline::sign(&order, &self.person(payee)));
        let wish = order.statement();
        let may = self
            .model
            .may_pay(wish, declined, &self.key(by), self.books.now);
        let settled = self.decide(
            may,
            |ledger, by, now, past| ledger.decide_order(&order, decline.as_ref(), &by, now, past),
            by,
        );
        if settled {
            // However often it is asked, and by whichever of the two.
            let entries = self.books.ledger.entries();
            self.order(step);
            assert_eq!(self.books.ledger.entries(), entries, "one effect");
        }
    }

    fn open(&mut self, step: Step) {
        let Step::Open {
            payer,
            payee,
            unit,
            length,
            grace,
            id,
            by,
        } = step
        else {
            return;
        };
        let shape = Shape {
            unit: u64::from(unit),
            length: u32::from(length % 16),
            life_s: 5,
            grace_s: u32::from(grace),
        };
        let between = (&self.person(payer), self.key(payee));
        let terms = self.books.terms(between, self.id(id), shape);
        let may = self
            .model
            .may_open(terms.statement(), &self.key(by), self.books.now);
        self.decide(
            may,
            |ledger, by, now, past| ledger.decide_tab(&terms, &by, now, past),
            by,
        );
    }

    fn claim(&mut self, step: Step) {
        let Step::Claim {
            payer,
            id,
            from,
            to,
            forged,
            by,
        } = step
        else {
            return;
        };
        let (payer, id, by) = (self.key(payer), self.id(id), self.key(by));
        let (from, to) = (u32::from(from % 18), u32::from(to % 18));
        let length = self
            .books
            .ledger
            .tab(&payer, id)
            .map_or(1, |(_, tab)| tab.length);
        let link = chain(id, length).and_then(|mut chain| chain.link(to));
        let genuine = link.is_some() && !forged;
        let link = link.filter(|_| !forged).unwrap_or(Link([0xee; 32]));
        let Ok(hashed) = Hashed::new(&id, from, Mark { index: to, link }) else {
            assert!(to <= from);
            return;
        };
        let may = genuine && self.model.may_claim(&payer, id, &by, from, to);
        let verdict = self.books.ledger.decide_claim(&payer, id, &hashed, &by);
        self.take(verdict, may);
    }

    fn register(&mut self, who: u8, name: u8, by: u8) {
        let names = ["alice", "bob", "carol", "a1ice", "treasury"];
        let name = names[usize::from(name) % names.len()];
        let registration = self.books.registration((name, &self.person(who)), None);
        let wish = registration.statement();
        let may = self.model.may_register(wish, &self.key(by));
        let verdict = self
            .books
            .ledger
            .decide_registration(&registration, &self.key(by));
        self.take(verdict, may);
    }

    fn issue(&mut self, operation: u8, to: u8, units: u64) {
        let units = units % Amount::MAX.units();
        let issue = self.books.issue(operation, self.key(to), units);
        let stated = issue.statement();
        let may = self.model.may_operate(&stated.account, stated.operation)
            && self.model.may_issue(stated.amount);
        let verdict = self.books.ledger.decide_issue(&issue);
        self.take(verdict, may);
    }

    /// Decides a wish that has an id, with a perfect index behind; whether it had its effect.
    fn decide(
        &mut self,
        may: bool,
        decide: impl Fn(
            &Ledger,
            PublicKey,
            LedgerTime,
            &mut dyn FnMut(&PublicKey, OrderId) -> Past,
        ) -> Verdict,
        by: u8,
    ) -> bool {
        let books = &self.books;
        let mut past = |payer: &PublicKey, id| books.past(payer, id);
        let verdict = decide(&books.ledger, self.key(by), books.time(), &mut past);
        self.take(verdict, may)
    }

    /// Applies a verdict, which must be an effect if, and only if, the model allows it.
    fn take(&mut self, verdict: Verdict, may: bool) -> bool {
        let effect = is_effect(&verdict);
        assert_eq!(effect, may, "{verdict:?} at {}", self.books.now);
        self.take_any(verdict);
        effect
    }

    fn take_any(&mut self, verdict: Verdict) {
        if let Verdict::Append(fact) = &verdict
            && let Some(id) = fact.used_id()
        {
            let mut log = self.books.log.iter();
            let fresh = log.all(|entry| entry.fact.used_id() != Some(id));
            assert!(fresh, "one id has one effect");
        }
        if let Some(entry) = self.books.take(verdict) {
            self.model.apply(entry);
        }
    }

    /// That the log alone gives these books, and so do its entries in short.
    fn replay(&self) {
        let mut noted = Vec::new();
        let mut replay = self.books.replay(|at, ledger| {
            ledger.take_redo(&mut noted);
            if at == 0 {
                ledger.note_redo(true);
            }
        });
        replay.note_redo(false);
        let mut redone = Ledger::new();
        redone.apply(&self.books.log[0]).expect("its own log");
        assert_eq!(redone.redo(&noted), Ok(()));
        assert!(redone == replay, "the entries in short give the same books");
    }

    /// A few expiries, some of them over soon and some too far.
    fn id(&self, id: Id) -> OrderId {
        let expires = match id.expires % 8 {
            7 => u64::try_from(LIFE_MAX.as_millis()).unwrap_or(0) * 2,
            other => 1 + u64::from(other) * 20_000,
        };
        OrderId::new(LedgerTime::from_millis(expires), [id.number % 4; 10])
    }

    fn person(&self, who: u8) -> SecretKey {
        self.people[usize::from(who) % self.people.len()].clone()
    }

    fn key(&self, who: u8) -> PublicKey {
        self.person(who).public()
    }
}

/// People, the directory's own key the last of them.
const PEOPLE: u8 = 5;
