//! The directory's books: who owns what, and which orders have had their one effect.
//!
//! A [`Ledger`] is the fold of the log. It has two faces:
//!
//! - [`Ledger::decide_order`] and its sisters say what a signed wish from outside deserves: an
//!   entry, the entry it already has, or a refusal. They change nothing.
//! - [`Ledger::apply`] takes an entry into the books, whether it is new, replayed at the start or
//!   audited. It relies on no decision: it checks every rule of the log itself, and an entry that
//!   breaks one is a [`Fault`].
//!
//! **Rules.** Promises I1 to I3 and I8: available and held money together are what was issued and
//! not burnt; no account is below zero; one (payer, order id) has at most one effect, for ever;
//! time never runs backward. Money comes from the treasury (account 0, the directory's key) by
//! issue alone and is burnt by paying it back. Refusals of orders come in this order:
//!
//! | | reason | touches the id |
//! |---|---|---|
//! | 1 | encoding, wrong ledger, signature (the caller), bad decline, wrong submitter | no |
//! | 2 | the id is used: the first answer for the same bytes, else *id reused* | no |
//! | 3 | expired, expiry too far, unknown account, zero amount, self payment | no |
//! | 4 | busy: a cap is reached; too many tabs | no |
//! | 5 | frozen, payee declined, insufficient funds | burns it, by an entry |
//!
//! What names a key that its account has replaced is *key replaced*, the last of the third row.
//! A tab's terms are refused in the same order, *bad terms* last of the third row; claims and closes
//! touch no id.
//!
//! **Absences.** Nothing here is async or touches a file, a clock, randomness, a log or a float,
//! and no result depends on the order of a hash map. Time is an argument. Signatures are the
//! caller's to verify, before it decides and when it audits: no rule here looks at one.

// Not in the tests, which may panic.
#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::as_conversions)
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use quid_common::amount::{Amount, Currency};
use quid_common::id::{LedgerId, OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::tab::{TABS_PER_PAYER_MAX, Tab};
use quid_common::time::LedgerTime;

use self::ids::Ids;
use self::redo::Redo;
use self::tabs::Tabs;
use self::walk::Walk;

mod apply;
mod decide;
mod ids;
mod keys;
mod redo;
mod snapshot;
mod tabs;
mod walk;

#[cfg(test)]
mod forged;
#[cfg(test)]
mod model;
#[cfg(test)]
mod precedence;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod testing;

pub use self::apply::{Fault, Rule};
pub use self::decide::{Past, Verdict};
pub use self::ids::{FORGET_MAX, LIFE_LONG};
pub use self::keys::{Delays, Keys, Pending, Replaced, Said};
pub use self::snapshot::SnapshotError;

/// Most accounts. About 300 bytes each in memory, so 5 GB when full; a larger directory wants
/// another design before it wants a larger number.
pub const ACCOUNTS_MAX: usize = 16_000_000;

/// Most keys that accounts have or have had: as many again as there may be accounts. Those that were
/// replaced are remembered for ever, since no other account may have them.
pub const KEYS_MAX: usize = 32_000_000;

/// Most ids in memory: live ones, and past ones that the index has not taken over. About 100
/// bytes each, so 0.8 GB when full; twice what one core can settle in the default life of 60 s.
pub const LIVE_IDS_MAX: usize = 8_000_000;

/// Most ids of one account in memory whose orders were to live longer than [`LIFE_LONG`]. Without
/// it, a few accounts could fill [`LIVE_IDS_MAX`] for a day at leisure.
pub const LONG_IDS_MAX: u32 = 1_024;

/// Most open tabs. About 310 bytes each in memory, so 1.3 GB when full.
pub const OPEN_TABS_MAX: usize = 4_000_000;

/// Most operations of the operator: one for each account's opening balance, and as many again.
/// They are remembered for ever, since a repeated one must never act twice.
pub const OPERATIONS_MAX: usize = 32_000_000;

/// The account's number that issued money comes from and burnt money goes to.
pub const TREASURY: u64 = 0;

/// The books as of an entry.
///
/// Before entry 0 its id and its directory are zeros, nobody has an account, and every decision
/// is *wrong ledger*.
#[derive(Clone, PartialEq, Eq)]
pub struct Ledger {
    origin: Origin,
    entries: u64,
    time: LedgerTime,
    issued: u64,
    burnt: u64,
    /// By number: an account's number is its place here.
    accounts: Vec<Account>,
    /// The replaced keys too.
    by_key: HashMap<PublicKey, usize>,
    /// By skeleton, so that look-alikes meet; a name has one skeleton.
    by_skeleton: HashMap<String, usize>,
    ids: Ids,
    tabs: Tabs,
    operations: BTreeMap<OperationId, Operation>,
    caps: Caps,
    delays: Delays,
    /// The entries in short that nobody has taken yet.
    redo: Redo,
    /// A snapshot that is being taken.
    walk: Option<Walk>,
}

/// A name, its key, and what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The account's for ever, counted from [`TREASURY`] in order of registration.
    pub number: u64,
    /// What people call it.
    pub name: Name,
    /// Who signs for it now.
    pub key: PublicKey,
    /// Who may name another key for it.
    pub recovery: Option<PublicKey>,
    /// What it can spend. Always nothing for the treasury, whose side is [`Totals`]'.
    pub available: Amount,
    /// What is reserved for its tabs.
    pub held: Amount,
    /// Whether the operator has frozen it; [`Account::is_frozen`] tells whether its orders are
    /// refused.
    pub frozen: bool,
    /// What its keys have said since; nothing yet for most.
    pub keys: Option<Box<Keys>>,
    /// The entry that registered it; the treasury came with entry 0.
    pub registered: u64,
}

/// Both sides of the books. They balance when `available + held == issued - burnt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Ever issued.
    pub issued: u64,
    /// Ever paid back to the treasury.
    pub burnt: u64,
    /// What all accounts can spend.
    pub available: u128,
    /// What is reserved for tabs.
    pub held: u128,
}

impl Ledger {
    /// The books before entry 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Origin::default(),
            entries: 0,
            time: LedgerTime::default(),
            issued: 0,
            burnt: 0,
            accounts: Vec::new(),
            by_key: HashMap::new(),
            by_skeleton: HashMap::new(),
            ids: Ids::default(),
            tabs: Tabs::default(),
            operations: BTreeMap::new(),
            caps: Caps::default(),
            delays: Delays::default(),
            redo: Redo::default(),
            walk: None,
        }
    }

    /// The next entry's index.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The last entry's time; the next is not earlier.
    #[must_use]
    pub const fn time(&self) -> LedgerTime {
        self.time
    }

    /// Which ledger this is.
    #[must_use]
    pub const fn ledger_id(&self) -> LedgerId {
        self.origin.ledger
    }

    /// The directory's key, which is the treasury's too.
    #[must_use]
    pub const fn directory(&self) -> PublicKey {
        self.origin.directory
    }

    /// What is counted.
    #[must_use]
    pub const fn currency(&self) -> &Currency {
        &self.origin.currency
    }

    /// The account of which `key` is or was; the treasury for the directory's.
    #[must_use]
    pub fn account(&self, key: &PublicKey) -> Option<&Account> {
        self.accounts.get(*self.by_key.get(key)?)
    }

    /// The account called `name`, and no look-alike.
    #[must_use]
    pub fn by_name(&self, name: &Name) -> Option<&Account> {
        self.look_alike(name)
            .filter(|account| account.name == *name)
    }

    /// All accounts by number, the treasury first.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Both sides of the books. Sums over all accounts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            issued: self.issued,
            burnt: self.burnt,
            available: self
                .accounts
                .iter()
                .map(|account| u128::from(account.available.units()))
                .sum(),
            held: self
                .accounts
                .iter()
                .map(|account| u128::from(account.held.units()))
                .sum(),
        }
    }

    /// The entry that settled, refused or voided `payer`'s order `id`, or opened the tab of that id,
    /// if memory still holds it.
    #[must_use]
    pub fn fate(&self, payer: &PublicKey, id: OrderId) -> Option<u64> {
        self.ids
            .get(id, self.account(payer)?.number)
            .map(|used| used.entry)
    }

    /// `payer`'s open tab `id`: its payee, and where it stands.
    #[must_use]
    pub fn tab(&self, payer: &PublicKey, id: OrderId) -> Option<(&Account, &Tab)> {
        let open = self.tabs.get((id, self.account(payer)?.number))?;
        Some((self.numbered(open.payee)?, &open.tab))
    }

    /// How many tabs are open, of [`OPEN_TABS_MAX`].
    #[must_use]
    pub fn open_tabs(&self) -> usize {
        self.tabs.len()
    }

    /// How many ids are in memory, of [`LIVE_IDS_MAX`].
    #[must_use]
    pub fn live_ids(&self) -> usize {
        self.ids.len()
    }

    /// Lets go of ids whose expiry has passed at `now` and whose entry is below `indexed`, and
    /// returns how many went: at most [`FORGET_MAX`] a call, the oldest first, so call again after
    /// every batch.
    ///
    /// No later batch may be decided at a time before `now`. A `now` before [`Ledger::time`] counts
    /// as that; without a later one, a ledger full of past ids would wait for an entry that it has
    /// no room to decide.
    ///
    /// `indexed` is how many entries the index behind has durably taken over: from now on it is
    /// asked for these ids. An auditor, who answers nobody, passes `u64::MAX`: [`Ledger::apply`]
    /// needs no id past its expiry.
    ///
    /// Lets go of none while a snapshot is taken in slices, which holds all that there were.
    pub fn forget(&mut self, now: LedgerTime, indexed: u64) -> usize {
        if self.walk.is_some() {
            return 0;
        }
        self.ids.forget(now.max(self.time), indexed)
    }

    /// The entries below this may hold ids that memory has let go of: an index that has not
    /// durably taken over all of them cannot say that an id was never used
    /// ([`Past::Behind`]).
    #[must_use]
    pub const fn forgotten_through(&self) -> u64 {
        self.ids.forgotten_through()
    }

    /// Checks promises I1 and I2 by adding everything up. No entry that [`Ledger::apply`] accepts
    /// can break them.
    ///
    /// # Errors
    /// A [`Fault`] at the last entry: the books do not balance, and nobody may be served.
    pub fn check(&self) -> Result<(), Fault> {
        self.balances().map_err(|rule| Fault {
            index: self.entries.saturating_sub(1),
            rule,
        })
    }

    fn balances(&self) -> Result<(), Rule> {
        let totals = self.totals();
        let outside = self
            .issued
            .checked_sub(self.burnt)
            .ok_or(Rule::Conservation)?;
        if Amount::new(outside).is_none() {
            return Err(Rule::Supply);
        }
        if totals.available.checked_add(totals.held) != Some(u128::from(outside)) {
            return Err(Rule::Conservation);
        }
        let treasury = self.accounts.first();
        if treasury.is_some_and(|it| !it.available.is_zero() || !it.held.is_zero()) {
            return Err(Rule::Conservation);
        }
        self.holds()
    }

    /// That each account has held what its open tabs hold, no more and no less.
    fn holds(&self) -> Result<(), Rule> {
        let mut holds: BTreeMap<u64, u128> = BTreeMap::new();
        for ((_, payer), open) in self.tabs.after(None) {
            let hold = holds.entry(payer).or_default();
            *hold = hold.saturating_add(u128::from(open.tab.held().units()));
        }
        let wrong = |account: &Account| {
            holds.get(&account.number).copied().unwrap_or(0) != u128::from(account.held.units())
        };
        if self.accounts.iter().any(wrong) {
            return Err(Rule::Holds);
        }
        Ok(())
    }

    /// The place of the account of which `key` is or was, unless it is the treasury, which nobody
    /// orders from.
    fn holder_at(&self, key: &PublicKey) -> Option<usize> {
        self.by_key
            .get(key)
            .copied()
            .filter(|&at| at != TREASURY_AT)
    }

    fn holder(&self, key: &PublicKey) -> Option<&Account> {
        self.accounts.get(self.holder_at(key)?)
    }

    fn numbered(&self, number: u64) -> Option<&Account> {
        self.accounts.get(usize::try_from(number).ok()?)
    }

    fn look_alike(&self, name: &Name) -> Option<&Account> {
        self.accounts.get(*self.by_skeleton.get(&name.skeleton())?)
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

/// Short: the books of a large directory would fill a log.
impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("ledger", &self.origin.ledger)
            .field("entries", &self.entries)
            .field("time", &self.time)
            .field("accounts", &self.accounts.len())
            .field("live_ids", &self.ids.len())
            .field("open_tabs", &self.tabs.len())
            .finish_non_exhaustive()
    }
}

/// What entry 0 fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    ledger: LedgerId,
    directory: PublicKey,
    currency: Currency,
}

impl Default for Origin {
    /// Before entry 0.
    fn default() -> Self {
        Self {
            ledger: LedgerId([0; 32]),
            directory: PublicKey::from_bytes([0; 32]),
            currency: Currency::default(),
        }
    }
}

/// What the operator did under an operation id, so that a repetition is compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    entry: u64,
    /// The account's number.
    account: u64,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Issued(Amount),
    Froze(bool),
}

/// The caps, which are this directory's policy and no rules of the log: `apply` does not look at
/// them, so that changing one never makes an old log wrong. Tests set small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caps {
    accounts: usize,
    keys: usize,
    live_ids: usize,
    long_ids: u32,
    open_tabs: usize,
    tabs_per_payer: u32,
    operations: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            accounts: ACCOUNTS_MAX,
            keys: KEYS_MAX,
            live_ids: LIVE_IDS_MAX,
            long_ids: LONG_IDS_MAX,
            open_tabs: OPEN_TABS_MAX,
            tabs_per_payer: TABS_PER_PAYER_MAX,
            operations: OPERATIONS_MAX,
        }
    }
}

const TREASURY_AT: usize = 0;
