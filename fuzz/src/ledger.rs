//! The directory's rules, by a list of wishes from accounts that wish anything.

use arbitrary::{Arbitrary, Unstructured};
use quid_common::amount::{Amount, Currency};
use quid_common::chain::{Chain, Link, Mark};
use quid_common::entry::{Entry, Fact, Freeze, Genesis, Issue, Registration};
use quid_common::id::{OperationId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Decline, LIFE_MAX, Memo, Order, STATEMENT_VERSION, Void};
use quid_common::signed::Signed;
use quid_common::tab::{Close, Hashed, Terms};
use quid_common::time::LedgerTime;
use quid_directory::ledger::{Ledger, Past, Verdict};

use self::model::Model;
use crate::log::{self, id_of};

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
        play.model.agrees_with(&play.ledger);
    }
    play.replay();
}

/// Most wishes of one run.
const STEPS_MAX: usize = 64;

/// The books, their log, and what the model makes of it.
struct Play {
    directory: SecretKey,
    people: Vec<SecretKey>,
    ledger: Ledger,
    log: Vec<Entry>,
    now: u64,
    model: Model,
}

impl Play {
    fn new() -> Self {
        let directory = SecretKey::from_seed(&[0xd1; 32]);
        let genesis = Genesis {
            directory: directory.public(),
            currency: Currency::default(),
            nonce: [1; 16],
        };
        let fact = Fact::Genesis(Signed::new(genesis, &directory));
        let mut people: Vec<SecretKey> = (1..PEOPLE)
            .map(|seed| SecretKey::from_seed(&[seed; 32]))
            .collect();
        people.push(directory.clone());
        let mut play = Self {
            model: Model::new(directory.public()),
            directory,
            people,
            ledger: Ledger::new(),
            log: Vec::new(),
            now: 1,
        };
        play.append(fact);
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
                let ledger = self.ledger.ledger_id();
                let void = Void::sign(ledger, self.id(id), &self.person(payer));
                let may = self
                    .model
                    .may_void(void.statement(), &self.key(by), self.now);
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
                let freeze = Freeze {
                    directory: self.directory.public(),
                    ledger: self.ledger.ledger_id(),
                    operation: OperationId([operation; 16]),
                    account: self.key(whom),
                    frozen,
                };
                let may = self.model.may_operate(&freeze.account, freeze.operation);
                let freeze = Signed::new(freeze, &self.directory);
                let verdict = self.ledger.decide_freeze(&freeze);
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
                let (ledger, payer) = (self.ledger.ledger_id(), self.key(payer));
                let close = Close::sign(ledger, payer, self.id(id), &self.person(signer));
                let verdict = self.ledger.decide_close(&close, &self.key(by), self.time());
                if let Verdict::Append(Fact::Close(_)) = &verdict {
                    assert_eq!(self.key(by), self.key(signer), "a close of another's");
                    assert!(self.model.is_party(close.statement()));
                }
                self.take_any(verdict);
            }
            Step::Release => {
                let since = LedgerTime::default();
                for (payer, id) in self.ledger.due(self.time(), since, 8) {
                    let fact = self.ledger.decide_release(&payer, id, self.time(), since);
                    assert!(self.model.is_over(&payer, id, self.now));
                    self.append(fact.expect("it is due"));
                }
            }
            Step::Wait { ms } => self.now += u64::from(ms),
            Step::Forget => {
                self.ledger
                    .forget(LedgerTime::default(), self.ledger.entries());
            }
            Step::Restore => {
                let restored = Ledger::restore(&self.ledger.snapshot()).expect("our own");
                assert!(restored == self.ledger, "a snapshot is the books");
                self.ledger = restored;
            }
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
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id: self.id(id),
            payer: self.key(payer),
            payee: self.key(payee),
            amount: amount(u64::from(units)),
            memo: Memo::new(if memo { "again" } else { "" }).expect("short"),
            reference: None,
        };
        let order = Signed::new(order, &self.person(payer));
        let decline = declined.then(|| Decline::sign(&order, &self.person(payee)));
        let wish = order.statement();
        let may = self.model.may_pay(wish, declined, &self.key(by), self.now);
        let settled = self.decide(
            may,
            |ledger, by, now, past| ledger.decide_order(&order, decline.as_ref(), &by, now, past),
            by,
        );
        if settled {
            // However often it is asked, and by whichever of the two.
            let entries = self.ledger.entries();
            self.order(step);
            assert_eq!(self.ledger.entries(), entries, "one effect");
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
        let id = self.id(id);
        let length = u32::from(length % 16);
        let anchor = chain(id, length).map_or(Link([0; 32]), |chain| chain.anchor());
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id,
            payer: self.key(payer),
            payee: self.key(payee),
            unit: amount(u64::from(unit)),
            length,
            anchor,
            expires: LedgerTime::from_millis(id.expiry().as_millis() + 5_000),
            grace: u32::from(grace),
            memo: Memo::default(),
            reference: None,
        };
        let terms = Signed::new(terms, &self.person(payer));
        let may = self
            .model
            .may_open(terms.statement(), &self.key(by), self.now);
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
        let length = self.ledger.tab(&payer, id).map_or(1, |(_, tab)| tab.length);
        let link = chain(id, length).and_then(|mut chain| chain.link(to));
        let genuine = link.is_some() && !forged;
        let link = link.filter(|_| !forged).unwrap_or(Link([0xee; 32]));
        let Ok(hashed) = Hashed::new(&id, from, Mark { index: to, link }) else {
            assert!(to <= from);
            return;
        };
        let may = genuine && self.model.may_claim(&payer, id, &by, from, to);
        let verdict = self.ledger.decide_claim(&payer, id, &hashed, &by);
        self.take(verdict, may);
    }

    fn register(&mut self, who: u8, name: u8, by: u8) {
        let names = ["alice", "bob", "carol", "a1ice", "treasury"];
        let name = names[usize::from(name) % names.len()]
            .parse()
            .expect("a name");
        let registration = Registration {
            directory: self.directory.public(),
            name,
            key: self.key(who),
            recovery: None,
        };
        let may = self.model.may_register(&registration, &self.key(by));
        let registration = Signed::new(registration, &self.person(who));
        let verdict = self
            .ledger
            .decide_registration(&registration, &self.key(by));
        self.take(verdict, may);
    }

    fn issue(&mut self, operation: u8, to: u8, units: u64) {
        let issue = Issue {
            directory: self.directory.public(),
            ledger: self.ledger.ledger_id(),
            operation: OperationId([operation; 16]),
            account: self.key(to),
            amount: amount(units % Amount::MAX.units()),
        };
        let may = self.model.may_operate(&issue.account, issue.operation)
            && self.model.may_issue(issue.amount);
        let issue = Signed::new(issue, &self.directory);
        let verdict = self.ledger.decide_issue(&issue);
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
        let log = &self.log;
        let mut past =
            |payer: &PublicKey, id| log::past(log, |by, used| (by, used) == (*payer, id));
        let (by, now) = (self.key(by), self.time());
        let verdict = decide(&self.ledger, by, now, &mut past);
        self.take(verdict, may)
    }

    /// Applies a verdict, which must be an effect if, and only if, the model allows it.
    fn take(&mut self, verdict: Verdict, may: bool) -> bool {
        let effect = matches!(&verdict, Verdict::Append(fact) if !matches!(fact, Fact::Refusal(_)));
        assert_eq!(effect, may, "{verdict:?} at {}", self.now);
        self.take_any(verdict);
        effect
    }

    fn take_any(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Append(fact) => self.append(fact),
            Verdict::Known { entry } => assert!(entry < self.ledger.entries()),
            Verdict::Refuse(_) => {}
        }
    }

    fn append(&mut self, fact: Fact) {
        if let Some((payer, id)) = id_of(&fact) {
            let fresh = !self
                .log
                .iter()
                .any(|entry| id_of(&entry.fact) == Some((payer, id)));
            assert!(fresh, "one id has one effect");
        }
        let time = self.time().max(self.ledger.time());
        let entry = Entry { time, fact };
        self.ledger
            .apply(&entry)
            .expect("what was decided can be applied");
        self.model.apply(&entry);
        self.log.push(entry);
    }

    /// That the log alone gives these books.
    fn replay(&self) {
        let mut replay = Ledger::new();
        let mut noted = Vec::new();
        for (at, entry) in self.log.iter().enumerate() {
            let entry = Entry::decode(&entry.encode()).expect("our own");
            replay.apply(&entry).expect("its own log");
            replay.take_redo(&mut noted);
            if at == 0 {
                replay.note_redo(true);
            }
        }
        assert_eq!(replay.accounts(), self.ledger.accounts());
        assert_eq!(replay.totals(), self.ledger.totals());
        replay.note_redo(false);
        let mut redone = Ledger::new();
        redone.apply(&self.log[0]).expect("its own log");
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

    fn time(&self) -> LedgerTime {
        LedgerTime::from_millis(self.now)
    }
}

/// People, the directory's own key the last of them.
const PEOPLE: u8 = 5;

fn chain(id: OrderId, length: u32) -> Option<Chain> {
    Chain::new(id, length, Link([9; 32]))
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("at most the maximum")
}
