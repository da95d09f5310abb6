//! What the rules are, said once more: balances and holds that may not go wrong in u128, and every
//! id's first use kept for ever.

use std::collections::{BTreeMap, BTreeSet};

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact, Registration};
use quid_common::id::{OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::order::{LIFE_MAX, Order, Void};
use quid_common::tab::{Close, Terms};
use quid_directory::ledger::Ledger;

/// The books as the model has them.
pub(super) struct Model {
    treasury: PublicKey,
    accounts: BTreeMap<PublicKey, Account>,
    names: BTreeSet<String>,
    ids: BTreeSet<(PublicKey, OrderId)>,
    operations: BTreeSet<OperationId>,
    tabs: BTreeMap<(PublicKey, OrderId), Tab>,
    issued: u128,
    burnt: u128,
}

#[derive(Default)]
struct Account {
    available: u128,
    frozen: bool,
}

struct Tab {
    payee: PublicKey,
    unit: u128,
    length: u32,
    claimed: u32,
    expires: u64,
    until: u64,
}

impl Tab {
    fn held(&self) -> u128 {
        self.unit * u128::from(self.length - self.claimed)
    }
}

impl Model {
    pub(super) fn new(treasury: PublicKey) -> Self {
        Self {
            treasury,
            accounts: BTreeMap::new(),
            names: BTreeSet::new(),
            ids: BTreeSet::new(),
            operations: BTreeSet::new(),
            tabs: BTreeMap::new(),
            issued: 0,
            burnt: 0,
        }
    }

    pub(super) fn may_pay(&self, order: &Order, declined: bool, by: &PublicKey, now: u64) -> bool {
        let known = order.payee == self.treasury || self.accounts.contains_key(&order.payee);
        let amount = u128::from(order.amount.units());
        (*by == order.payer || *by == order.payee)
            && self.is_fresh(&order.payer, order.id, now)
            && known
            && amount > 0
            && order.payer != order.payee
            && !declined
            && self.can_spend(&order.payer, amount)
    }

    pub(super) fn may_void(&self, void: &Void, by: &PublicKey, now: u64) -> bool {
        *by == void.payer
            && self.accounts.contains_key(&void.payer)
            && self.is_fresh(&void.payer, void.id, now)
    }

    pub(super) fn may_open(&self, terms: &Terms, by: &PublicKey, now: u64) -> bool {
        let hold = u128::from(terms.unit.units()) * u128::from(terms.length);
        *by == terms.payer
            && self.is_fresh(&terms.payer, terms.id, now)
            && self.accounts.contains_key(&terms.payee)
            && terms.check().is_ok()
            && hold > 0
            && terms.grace > 0
            && self.can_spend(&terms.payer, hold)
    }

    pub(super) fn may_claim(
        &self,
        payer: &PublicKey,
        id: OrderId,
        by: &PublicKey,
        from: u32,
        to: u32,
    ) -> bool {
        self.tabs.get(&(*payer, id)).is_some_and(|tab| {
            tab.payee == *by && from == tab.claimed && to > from && to <= tab.length
        })
    }

    pub(super) fn may_register(&self, wish: &Registration, by: &PublicKey) -> bool {
        *by == wish.key
            && wish.key != self.treasury
            && !self.accounts.contains_key(&wish.key)
            && !wish.name.is_reserved()
            && !self.names.contains(&wish.name.skeleton())
    }

    pub(super) fn may_operate(&self, account: &PublicKey, operation: OperationId) -> bool {
        self.accounts.contains_key(account) && !self.operations.contains(&operation)
    }

    pub(super) fn may_issue(&self, amount: Amount) -> bool {
        let units = u128::from(amount.units());
        let issued = self.issued + units;
        let outside = issued - self.burnt;
        units > 0 && issued <= u128::from(u64::MAX) && outside <= u128::from(Amount::MAX.units())
    }

    pub(super) fn is_party(&self, close: &Close) -> bool {
        self.tabs
            .get(&(close.payer, close.id))
            .is_some_and(|tab| close.by == close.payer || close.by == tab.payee)
    }

    pub(super) fn is_over(&self, payer: &PublicKey, id: OrderId, now: u64) -> bool {
        self.tabs
            .get(&(*payer, id))
            .is_some_and(|tab| now >= tab.until)
    }

    /// Takes an entry's effect, sound or not: the balances will show.
    pub(super) fn apply(&mut self, entry: &Entry) {
        if let Some(id) = entry.fact.used_id() {
            self.ids.insert(id);
        }
        let now = entry.time.as_millis();
        match &entry.fact {
            Fact::Register(fact) => {
                let wish = fact.statement();
                self.names.insert(wish.name.skeleton());
                self.accounts.insert(wish.key, Account::default());
            }
            Fact::Issue(fact) => {
                let issue = fact.statement();
                self.operations.insert(issue.operation);
                self.issued += u128::from(issue.amount.units());
                self.credit(&issue.account, issue.amount);
            }
            Fact::Freeze(fact) => {
                let freeze = fact.statement();
                self.operations.insert(freeze.operation);
                let account = self.accounts.get_mut(&freeze.account).expect("known");
                account.frozen = freeze.frozen;
            }
            Fact::Payment(order) => {
                let order = order.statement();
                self.debit(&order.payer, u128::from(order.amount.units()));
                self.credit(&order.payee, order.amount);
            }
            Fact::Tab(terms) => {
                let terms = terms.statement();
                let tab = Tab {
                    payee: terms.payee,
                    unit: u128::from(terms.unit.units()),
                    length: terms.length,
                    claimed: 0,
                    expires: terms.expires.as_millis(),
                    until: terms.until().as_millis(),
                };
                self.debit(&terms.payer, tab.held());
                self.tabs.insert((terms.payer, terms.id), tab);
            }
            Fact::Claim(claim) => {
                let tab = self.tabs.get_mut(&(claim.payer, claim.id)).expect("open");
                let worth = tab.unit * u128::from(claim.index - claim.from);
                tab.claimed = claim.index;
                assert_eq!(worth, u128::from(claim.amount.units()));
                self.credit(&claim.payee, claim.amount);
            }
            Fact::Close(close) => {
                let close = close.statement();
                let tab = self.tabs.get_mut(&(close.payer, close.id)).expect("open");
                let grace = tab.until - tab.expires;
                tab.expires = tab.expires.min(now);
                tab.until = if close.by == tab.payee {
                    tab.expires
                } else {
                    tab.until.min(tab.expires + grace)
                };
            }
            Fact::Release(release) => {
                let tab = self.tabs.remove(&(release.payer, release.id));
                let held = tab.expect("open").held();
                assert_eq!(held, u128::from(release.amount.units()));
                self.credit(&release.payer, release.amount);
            }
            _ => {}
        }
    }

    /// That the books have every balance, hold and tab as the model has it.
    pub(super) fn agrees_with(&self, ledger: &Ledger) {
        assert_eq!(ledger.check(), Ok(()));
        let mut sum = 0;
        for (key, ours) in &self.accounts {
            let theirs = ledger.account(key).expect("registered");
            let held: u128 = self
                .tabs
                .iter()
                .filter(|((payer, _), _)| payer == key)
                .map(|(_, tab)| tab.held())
                .sum();
            let units = |amount: Amount| u128::from(amount.units());
            assert_eq!(units(theirs.available), ours.available, "{}", theirs.name);
            assert_eq!(units(theirs.held), held, "{}", theirs.name);
            assert_eq!(theirs.frozen, ours.frozen);
            sum += ours.available + held;
        }
        assert_eq!(
            sum,
            self.issued - self.burnt,
            "money is neither made nor lost"
        );
        assert_eq!(ledger.open_tabs(), self.tabs.len());
        assert_eq!(ledger.accounts().len(), self.accounts.len() + 1);
    }

    fn is_fresh(&self, payer: &PublicKey, id: OrderId, now: u64) -> bool {
        let expires = id.expiry().as_millis();
        let life = u128::from(expires.saturating_sub(now));
        now < expires && life <= LIFE_MAX.as_millis() && !self.ids.contains(&(*payer, id))
    }

    fn can_spend(&self, payer: &PublicKey, amount: u128) -> bool {
        self.accounts
            .get(payer)
            .is_some_and(|account| !account.frozen && account.available >= amount)
    }

    fn debit(&mut self, key: &PublicKey, amount: u128) {
        let account = self.accounts.get_mut(key).expect("known");
        account.available = account
            .available
            .checked_sub(amount)
            .expect("the funds are there");
    }

    fn credit(&mut self, key: &PublicKey, amount: Amount) {
        let amount = u128::from(amount.units());
        match self.accounts.get_mut(key) {
            Some(account) => account.available += amount,
            None => {
                assert_eq!(*key, self.treasury);
                self.burnt += amount;
            }
        }
    }
}
