//! What two accounts' keys say, by a list of wishes: changes of keys among orders and tabs of the
//! keys that were, are, and are to be.

use arbitrary::{Arbitrary, Unstructured};
use quid_common::account::{Change, Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::chain::Mark;
use quid_common::entry::Fact;
use quid_common::id::OrderId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::tab::{Close, Hashed};
use quid_common::time::LedgerTime;
use quid_directory::ledger::Verdict;

use self::model::Model;
use crate::books::{Books, Shape, chain, is_effect, secret};

mod model;

/// What somebody tries. Keys are few, so that they meet again; a number past the last begins anew.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Step {
    Rotate {
        account: u8,
        old: u8,
        new: u8,
        stale: bool,
    },
    Recover {
        account: u8,
        by: u8,
        next: u8,
        stale: bool,
    },
    Object {
        account: u8,
        by: u8,
        stale: bool,
    },
    Takeover {
        account: u8,
        key: u8,
    },
    Lock {
        account: u8,
        by: u8,
        frozen: bool,
        stale: bool,
    },
    Operate {
        account: u8,
        frozen: bool,
    },
    Order {
        payer: u8,
        payee: u8,
        units: u8,
        id: u8,
        by: u8,
    },
    Open {
        payer: u8,
        payee: u8,
        units: u8,
        id: u8,
        by: u8,
    },
    Claim {
        id: u8,
        to: u8,
        by: u8,
    },
    Close {
        id: u8,
        by: u8,
    },
    Release,
    Minutes(u16),
    Days(u8),
    Restore,
}

/// A list of wishes, each decided and applied in turn.
///
/// A key is an account's once; only the keys that two accounts have now pay each other, and none of
/// a frozen one; recoveries wait, and longer if the key objects; a tab is its accounts' whatever
/// their keys; names and numbers stay; and the log alone gives the same books, as does a snapshot.
/// A change is an effect if, and only if, a model says so that knows nothing of statements, indexes
/// or snapshots.
pub fn account_keys(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut play = Play::new();
    for _ in 0..STEPS_MAX {
        match input.arbitrary() {
            Ok(step) if !input.is_empty() => play.step(step),
            _ => break,
        }
        play.model.agrees_with(&play.books.ledger);
    }
    play.books.replay(|_, _| {});
}

/// Most wishes of one run.
const STEPS_MAX: usize = 64;

/// The two accounts.
const NAMES: [&str; 2] = ["alice", "bob"];

/// What each of them begins with.
const BEGINNING: u64 = 1_000;

/// Keys that are somebody's, or may become so; the last two are recovery keys.
const KEYS: u8 = 8;

/// The books, and what the model makes of them.
struct Play {
    books: Books,
    keys: Vec<SecretKey>,
    model: Model,
    /// Tabs that were opened: payer, id, and their chain's length.
    tabs: Vec<(PublicKey, OrderId, u32)>,
    ids: Vec<OrderId>,
}

impl Play {
    fn new() -> Self {
        let mut play = Self {
            books: Books::new(),
            keys: (1..=KEYS).map(secret).collect(),
            model: Model::default(),
            tabs: Vec::new(),
            ids: Vec::new(),
        };
        for (number, name) in (0..).zip(NAMES) {
            let recovery = play.key(KEYS - 1 - number);
            let wish = (name, &play.secret(number));
            let registration = play.books.registration(wish, Some(recovery));
            play.append(Fact::Register(registration));
            let issue = play.books.issue(number, play.key(number), BEGINNING);
            play.append(Fact::Issue(issue));
        }
        play
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Order { .. } => self.order(step),
            Step::Open { .. } => self.open(step),
            Step::Claim { id, to, by } => self.claim(id, to, by),
            Step::Close { id, by } => {
                let Some(&(payer, id, _)) = self.tab(id) else {
                    return;
                };
                // A payer's close names the key that it has now, as payer too.
                let by = self.secret(by);
                let payer = match self.books.ledger.is_same(&payer, &by.public()) {
                    true => by.public(),
                    false => payer,
                };
                let close = Close::sign(self.books.ledger.ledger_id(), payer, id, &by);
                let verdict =
                    self.books
                        .ledger
                        .decide_close(&close, &by.public(), self.books.time());
                self.take(verdict);
            }
            Step::Release => {
                let since = LedgerTime::default();
                for (payer, id) in self.books.ledger.due(self.books.time(), since, 8) {
                    let fact =
                        self.books
                            .ledger
                            .decide_release(&payer, id, self.books.time(), since);
                    self.append(fact.expect("it is due"));
                }
            }
            Step::Minutes(minutes) => self.books.now += u64::from(minutes) * 60_000,
            Step::Days(days) => self.books.now += u64::from(days % 32) * 24 * 60 * 60_000,
            Step::Restore => self.books.restore(),
            Step::Operate { account, frozen } => {
                let operation = self.books.log.len() as u8;
                let account = self.account(account).2;
                let freeze = self.books.freeze(operation, account, frozen);
                self.take(self.books.ledger.decide_freeze(&freeze));
            }
            _ => {
                let change = self.change(step).expect("nothing else is left");
                let may = self.model.may_change(&change, self.books.now);
                let verdict = self.books.ledger.decide_change(&change, self.books.time());
                let effect = matches!(verdict, Verdict::Append(_));
                assert_eq!(effect, may, "{change:?}: {verdict:?} at {}", self.books.now);
                self.take(verdict);
            }
        }
    }

    /// The change that a step is, with what the account's keys have said so far, or not.
    fn change(&self, step: Step) -> Option<Change> {
        let ledger = self.books.ledger.ledger_id();
        let last = |said: u64, stale: bool| if stale { said + 1 } else { said };
        Some(match step {
            Step::Rotate {
                account,
                old,
                new,
                stale,
            } => {
                let (number, [said, _], _) = self.account(account);
                let (old, new) = (self.secret(old), self.secret(new));
                let said = last(said, stale);
                Change::Rotation(Rotation::sign(ledger, number, said, &old, &new))
            }
            Step::Recover {
                account,
                by,
                next,
                stale,
            } => {
                let (number, [_, said], _) = self.account(account);
                let (next, by) = (self.key(next), self.secret(by));
                let said = last(said, stale);
                Change::Recovery(Recovery::sign(ledger, number, said, next, &by))
            }
            Step::Object { account, by, stale } => {
                let at = NAMES[usize::from(account % 2)];
                let account = self.books.ledger.by_name(&at.parse().expect("a name"))?;
                let announced = account.pending().map_or(0, |pending| pending.entry);
                let announced = last(announced, stale);
                let by = self.secret(by);
                Change::Objection(Objection::sign(ledger, account.number, announced, &by))
            }
            Step::Takeover { account, key } => {
                let (number, ..) = self.account(account);
                Change::Takeover(Takeover::sign(ledger, number, &self.secret(key)))
            }
            Step::Lock {
                account,
                by,
                frozen,
                stale,
            } => {
                let (number, [own, recovery], _) = self.account(account);
                let is_safe = by % KEYS == KEYS - 1 - account % 2;
                let said = last(if is_safe { recovery } else { own }, stale);
                let by = self.secret(by);
                Change::Lock(Lock::sign(ledger, number, said, frozen, &by))
            }
            _ => return None,
        })
    }

    fn order(&mut self, step: Step) {
        let Step::Order {
            payer,
            payee,
            units,
            id,
            by,
        } = step
        else {
            return;
        };
        let id = self.id(id);
        let between = (&self.secret(payer), self.key(payee));
        let order = self.books.order(between, id, u64::from(units), "");
        let may = self
            .model
            .may_pay(order.statement(), &self.key(by), self.books.now);
        let (by, now) = (self.key(by), self.books.time());
        let verdict = self
            .books
            .ledger
            .decide_order(&order, None, &by, now, &mut |payer, id| {
                self.books.past(payer, id)
            });
        self.take_if(verdict, may);
    }

    fn open(&mut self, step: Step) {
        let Step::Open {
            payer,
            payee,
            units,
            id,
            by,
        } = step
        else {
            return;
        };
        let (id, length) = (self.id(id), 1 + u32::from(units % 16));
        let shape = Shape {
            unit: 3,
            length,
            life_s: 60,
            grace_s: 10,
        };
        let between = (&self.secret(payer), self.key(payee));
        let terms = self.books.terms(between, id, shape);
        let may = self
            .model
            .may_open(terms.statement(), &self.key(by), self.books.now);
        let (by, now) = (self.key(by), self.books.time());
        let verdict = self
            .books
            .ledger
            .decide_tab(&terms, &by, now, &mut |payer, id| {
                self.books.past(payer, id)
            });
        if self.take_if(verdict, may) {
            self.tabs.push((self.key(payer), id, length));
        }
    }

    fn claim(&mut self, tab: u8, to: u8, by: u8) {
        let Some(&(payer, id, length)) = self.tab(tab) else {
            return;
        };
        let from = self
            .books
            .ledger
            .tab(&payer, id)
            .map_or(0, |(_, tab)| tab.claimed.index);
        let to = (u32::from(to) % (length + 1)).max(from + 1).min(length);
        let Some(link) = chain(id, length).and_then(|mut chain| chain.link(to)) else {
            return;
        };
        let Ok(hashed) = Hashed::new(&id, from, Mark { index: to, link }) else {
            return;
        };
        let by = self.key(by);
        let verdict = self.books.ledger.decide_claim(&payer, id, &hashed, &by);
        let may = to > from && self.model.is_payee(&payer, id, &by);
        self.take_if(verdict, may);
    }

    /// Applies a verdict, which must be an effect if, and only if, the model allows it.
    fn take_if(&mut self, verdict: Verdict, may: bool) -> bool {
        let effect = is_effect(&verdict);
        assert_eq!(effect, may, "{verdict:?} at {}", self.books.now);
        self.take(verdict);
        effect
    }

    fn append(&mut self, fact: Fact) {
        self.take(Verdict::Append(fact));
    }

    fn take(&mut self, verdict: Verdict) {
        let index = self.books.ledger.entries();
        if let Some(entry) = self.books.take(verdict) {
            self.model.apply(index, entry);
        }
    }

    /// An account's number, the entries of its keys' last words, and its key now.
    fn account(&self, which: u8) -> (u64, [u64; 2], PublicKey) {
        let name = NAMES[usize::from(which % 2)].parse().expect("a name");
        let account = self.books.ledger.by_name(&name).expect("registered");
        let said = [account.own_said(), account.recovery_said()];
        (account.number, said, account.key)
    }

    /// A new id that is over soon, or one that was used.
    fn id(&mut self, which: u8) -> OrderId {
        let used = self.ids.get(usize::from(which / 2)).copied();
        match used.filter(|_| which % 2 == 1) {
            Some(used) => used,
            None => {
                let expiry = LedgerTime::from_millis(self.books.now + 3_600_000);
                let number = u8::try_from(self.ids.len()).expect("few");
                let id = OrderId::new(expiry, [number; 10]);
                self.ids.push(id);
                id
            }
        }
    }

    fn tab(&self, which: u8) -> Option<&(PublicKey, OrderId, u32)> {
        self.tabs.get(usize::from(which) % self.tabs.len().max(1))
    }

    fn secret(&self, which: u8) -> SecretKey {
        self.keys[usize::from(which % KEYS)].clone()
    }

    fn key(&self, which: u8) -> PublicKey {
        self.secret(which).public()
    }
}
