//! Two accounts as what their keys say makes them; who they are is a number, whatever their key.

use std::collections::BTreeMap;

use quid_common::account::Change;
use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::order::Order;
use quid_common::tab::Terms;
use quid_directory::ledger::Ledger;

use super::{BEGINNING, NAMES};

/// The books as the model has them.
#[derive(Default)]
pub(super) struct Model {
    accounts: Vec<Account>,
    /// Every key that was ever one's, and whose: the place in `accounts`.
    of: BTreeMap<PublicKey, usize>,
    /// By the payer's place.
    tabs: BTreeMap<(usize, OrderId), Tab>,
    ids: Vec<(usize, OrderId)>,
}

struct Account {
    key: PublicKey,
    recovery: Option<PublicKey>,
    frozen: bool,
    locked: bool,
    /// The entries of the last words of its key and of its recovery key.
    own_said: u64,
    recovery_said: u64,
    pending: Option<Pending>,
    available: u64,
}

#[derive(Clone, Copy)]
struct Pending {
    entry: u64,
    time: u64,
    successor: PublicKey,
    contested: bool,
}

struct Tab {
    payee: usize,
    held: u64,
}

impl Model {
    /// Whether `change` may stand at `now`.
    pub(super) fn may_change(&self, change: &Change, now: u64) -> bool {
        let Some(it) = self.place(change).and_then(|at| self.accounts.get(at)) else {
            return false;
        };
        let free = |key: &PublicKey| !self.of.contains_key(key) && it.recovery != Some(*key);
        match change {
            Change::Rotation(change) => {
                let change = change.statement();
                it.key == change.key
                    && !it.is_frozen()
                    && it.own_said == change.said
                    && free(&change.successor())
            }
            Change::Recovery(change) => {
                let change = change.statement();
                it.recovery == Some(change.recovery)
                    && it.recovery_said == change.said
                    && free(&change.successor)
            }
            Change::Objection(change) => {
                let change = change.statement();
                let open = |it: &Pending| it.entry == change.announced && !it.contested;
                it.key == change.key && it.pending.as_ref().is_some_and(open)
            }
            Change::Takeover(change) => {
                let key = change.statement().key;
                let days = |it: &Pending| if it.contested { 30 } else { 3 };
                let due = |it: &Pending| it.successor == key && now >= it.time + days(it) * DAY;
                it.pending.as_ref().is_some_and(due) && free(&key)
            }
            Change::Lock(change) => {
                let change = change.statement();
                if it.recovery == Some(change.by) {
                    it.recovery_said == change.said
                } else {
                    it.key == change.by && change.frozen && it.own_said == change.said
                }
            }
        }
    }

    pub(super) fn may_pay(&self, order: &Order, by: &PublicKey, now: u64) -> bool {
        let between = self.may_between(&order.payer, &order.payee, order.id, now);
        let submits = self.of.get(by) == self.of.get(&order.payer)
            || self.of.get(by) == self.of.get(&order.payee);
        let units = order.amount.units();
        between && submits && units > 0 && self.can_spend(&order.payer, units)
    }

    pub(super) fn may_open(&self, terms: &Terms, by: &PublicKey, now: u64) -> bool {
        let between = self.may_between(&terms.payer, &terms.payee, terms.id, now);
        let hold = terms.unit.units() * u64::from(terms.length);
        let submits = self.of.get(by) == self.of.get(&terms.payer);
        between && submits && hold > 0 && self.can_spend(&terms.payer, hold)
    }

    /// Whether `by` may claim on the tab: its payee under whatever key.
    pub(super) fn is_payee(&self, payer: &PublicKey, id: OrderId, by: &PublicKey) -> bool {
        let tab = self.of.get(payer).and_then(|at| self.tabs.get(&(*at, id)));
        tab.is_some_and(|tab| self.of.get(by) == Some(&tab.payee))
    }

    /// Between two accounts under the keys that they have now, with an id that nobody has used.
    fn may_between(&self, payer: &PublicKey, payee: &PublicKey, id: OrderId, now: u64) -> bool {
        let (Some(&from), Some(&to)) = (self.of.get(payer), self.of.get(payee)) else {
            return false;
        };
        from != to
            && self.accounts[from].key == *payer
            && self.accounts[to].key == *payee
            && !self.ids.contains(&(from, id))
            && now < id.expiry().as_millis()
    }

    fn can_spend(&self, payer: &PublicKey, units: u64) -> bool {
        let account = self.of.get(payer).map(|&at| &self.accounts[at]);
        account.is_some_and(|it| !it.is_frozen() && it.available >= units)
    }

    fn place(&self, change: &Change) -> Option<usize> {
        // The treasury has number 0.
        usize::try_from(change.account()).ok()?.checked_sub(1)
    }

    /// Takes an entry's effect, sound or not: the books will show.
    pub(super) fn apply(&mut self, index: u64, entry: &Entry) {
        if let Some((payer, id)) = entry.fact.used_id() {
            self.ids.push((self.of[&payer], id));
        }
        match &entry.fact {
            Fact::Register(wish) => {
                let wish = wish.statement();
                self.of.insert(wish.key, self.accounts.len());
                self.accounts.push(Account {
                    key: wish.key,
                    recovery: wish.recovery,
                    frozen: false,
                    locked: false,
                    own_said: index,
                    recovery_said: index,
                    pending: None,
                    available: 0,
                });
            }
            Fact::Issue(issue) => {
                let issue = issue.statement();
                self.by(&issue.account).available += issue.amount.units();
            }
            Fact::Freeze(freeze) => {
                let freeze = freeze.statement();
                let account = self.by(&freeze.account);
                account.frozen = freeze.frozen;
                if !freeze.frozen {
                    account.locked = false;
                    if account.is_disputed() {
                        (account.pending, account.recovery) = (None, None);
                    }
                }
            }
            Fact::Payment(order) => {
                let order = order.statement();
                self.by(&order.payer).available -= order.amount.units();
                self.by(&order.payee).available += order.amount.units();
            }
            Fact::Tab(terms) => {
                let terms = terms.statement();
                let held = terms.unit.units() * u64::from(terms.length);
                self.by(&terms.payer).available -= held;
                let payee = self.of[&terms.payee];
                let tab = (self.of[&terms.payer], terms.id);
                self.tabs.insert(tab, Tab { payee, held });
            }
            Fact::Claim(claim) => {
                let units = claim.amount.units();
                let tab = self.tabs.get_mut(&(self.of[&claim.payer], claim.id));
                let tab = tab.expect("a claim is on an open tab");
                tab.held -= units;
                assert_eq!(tab.payee, self.of[&claim.payee], "it is the payee's");
                self.by(&claim.payee).available += units;
            }
            Fact::Release(release) => {
                let tab = self.tabs.remove(&(self.of[&release.payer], release.id));
                assert_eq!(tab.expect("open").held, release.amount.units());
                self.by(&release.payer).available += release.amount.units();
            }
            fact => self.change(index, entry.time.as_millis(), fact),
        }
    }

    fn change(&mut self, index: u64, time: u64, fact: &Fact) {
        let (number, next) = match fact {
            Fact::Rotation(it) => (it.statement().account, Some(it.statement().successor())),
            Fact::Takeover(it) => (it.statement().account, Some(it.statement().key)),
            Fact::Recovery(it) => (it.statement().account, None),
            Fact::Objection(it) => (it.statement().account, None),
            Fact::Lock(it) => (it.statement().account, None),
            _ => return,
        };
        let at = usize::try_from(number).expect("small") - 1;
        let account = &mut self.accounts[at];
        if let Some(next) = next {
            account.key = next;
            account.own_said = index;
            self.of.insert(next, at);
        }
        let account = &mut self.accounts[at];
        match fact {
            Fact::Takeover(_) => account.pending = None,
            Fact::Recovery(it) => {
                account.recovery_said = index;
                account.pending = Some(Pending {
                    entry: index,
                    time,
                    successor: it.statement().successor,
                    contested: false,
                });
            }
            Fact::Objection(_) => {
                account.own_said = index;
                account.locked = true;
                account.pending.as_mut().expect("announced").contested = true;
            }
            Fact::Lock(it) => {
                let lock = it.statement();
                if account.recovery == Some(lock.by) {
                    account.recovery_said = index;
                } else {
                    account.own_said = index;
                }
                account.locked = lock.frozen;
                if !lock.frozen && account.is_disputed() {
                    account.pending = None;
                }
            }
            _ => {}
        }
    }

    /// That the books have both accounts as the model has them.
    pub(super) fn agrees_with(&self, ledger: &Ledger) {
        assert_eq!(ledger.check(), Ok(()));
        let mut sum = 0;
        for (at, ours) in self.accounts.iter().enumerate() {
            let theirs = ledger.by_name(&NAMES[at].parse().expect("a name"));
            let theirs = theirs.expect("names stay");
            assert_eq!(theirs.number, at as u64 + 1, "numbers stay");
            assert_eq!(theirs.key, ours.key);
            assert_eq!(theirs.recovery, ours.recovery);
            assert_eq!(theirs.is_frozen(), ours.is_frozen());
            assert_eq!(
                theirs.pending().map(|it| (it.entry, it.contested)),
                ours.pending.map(|it| (it.entry, it.contested))
            );
            let held: u64 = self
                .tabs
                .iter()
                .filter(|((payer, _), _)| *payer == at)
                .map(|(_, tab)| tab.held)
                .sum();
            assert_eq!(theirs.available.units(), ours.available);
            assert_eq!(theirs.held.units(), held);
            sum += ours.available + held;
        }
        assert_eq!(sum, 2 * BEGINNING, "money is neither made nor lost");
    }

    fn by(&mut self, key: &PublicKey) -> &mut Account {
        &mut self.accounts[self.of[key]]
    }
}

impl Account {
    const fn is_frozen(&self) -> bool {
        self.frozen || self.locked
    }

    fn is_disputed(&self) -> bool {
        self.pending.is_some_and(|pending| pending.contested)
    }
}

const DAY: u64 = 24 * 60 * 60 * 1000;
