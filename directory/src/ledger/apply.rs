//! The fold: one entry into the books, whole or not at all.
//!
//! Each fact has one function that checks everything first and changes the books last, so that a
//! fault leaves them as they were. Nothing is taken over from the decision that made an entry.

use quid_common::account::Change;
use quid_common::checkpoint::SIZE_MAX;
use quid_common::entry::{Entry, Fact, Freeze, Genesis, Issue, Refusal, Registration};
use quid_common::id::{LedgerId, OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::merkle;
use quid_common::name::Name;
use quid_common::order::{LIFE_MAX, STATEMENT_VERSION, SignedOrder, SignedVoid};
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use thiserror::Error;

use super::ids::{self, Used};
use super::walk::Walk;
use super::{Account, Amount, Effect, Ledger, Operation, Origin, TREASURY, TREASURY_AT};

mod keys;
mod tabs;

/// An entry that breaks a rule. The books did not take it.
///
/// Met on a new entry, the decision and the fold disagree: a bug that could cost money. Met on
/// replay or audit, the log is damaged or forged from this entry on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("entry {index} breaks the books: {rule}")]
pub struct Fault {
    /// The entry.
    pub index: u64,
    /// What is wrong with it.
    pub rule: Rule,
}

/// A rule of the log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Rule {
    /// Entry 0 is a genesis.
    #[error("the ledger does not begin with a genesis")]
    GenesisMissing,
    /// No other entry is a genesis.
    #[error("the ledger begins a second time")]
    GenesisAgain,
    /// A log has at most [`SIZE_MAX`] entries.
    #[error("the log is full")]
    Full,
    /// An entry's time is not below that of the entry before.
    #[error("its time is before that of the entry before")]
    TimeBackward,
    /// A statement has the version that this program knows.
    #[error("its statement is of an unknown version")]
    Version,
    /// A statement names this ledger.
    #[error("it was signed for another ledger")]
    Ledger,
    /// The operator's statements and registrations name this ledger's directory.
    #[error("it was signed for, or by, another directory")]
    Directory,
    /// The directory's key, an account's and its recovery key each have exactly one secret.
    #[error("more than one secret could sign for its key")]
    UnsoundKey,
    /// A recovery key is another than the account's own.
    #[error("its recovery key is the account's own")]
    RecoveryKey,
    /// A key has one account, for ever.
    #[error("its key has an account already, or is its recovery key")]
    KeyUsed,
    /// What an account signs, or is signed for it, names the key that it has then.
    #[error("it names a key that its account had replaced")]
    KeyReplaced,
    /// Only an account's own keys say something about it, and only its recovery key thaws it.
    #[error("its signer had no say in that account")]
    WrongKey,
    /// A key's word follows its last.
    #[error("it does not follow its signer's last word")]
    Stale,
    /// What is objected to, or takes effect, has been announced.
    #[error("no such recovery had been announced")]
    NoRecovery,
    /// A recovery takes its time.
    #[error("the recovery was not due")]
    Early,
    /// A name has one account.
    #[error("its name is taken")]
    NameTaken,
    /// Names that look alike have one account.
    #[error("its name looks like one that is taken")]
    NameLooksTaken,
    /// Nobody has a name that speaks for the directory.
    #[error("its name is reserved")]
    NameReserved,
    /// Whom an entry concerns has an account; the treasury is none where somebody has to own it.
    #[error("it concerns an account that does not exist")]
    UnknownAccount,
    /// An amount is not zero.
    #[error("its amount is zero")]
    ZeroAmount,
    /// Payer and payee differ.
    #[error("its payer and payee are the same account")]
    SelfPayment,
    /// An order, void or refusal is logged before the order's expiry.
    #[error("its order had expired")]
    Expired,
    /// An order, void or refusal is logged at most [`LIFE_MAX`] before the order's expiry.
    #[error("its order's expiry was too far ahead")]
    ExpiryTooFar,
    /// One (payer, order id) has at most one effect.
    #[error("its order id was used by entry {entry}")]
    IdUsed {
        /// The first effect.
        entry: u64,
    },
    /// One operation id has at most one effect.
    #[error("its operation id was used by entry {entry}")]
    OperationUsed {
        /// The first effect.
        entry: u64,
    },
    /// A frozen account pays nothing.
    #[error("its payer's account was frozen")]
    Frozen,
    /// A payer owns what it pays.
    #[error("its payer had not that much")]
    Funds,
    /// No account holds more than amounts can count.
    #[error("its payee would own more than amounts can count")]
    Overflow,
    /// What is issued and not burnt is at most [`Amount::MAX`], and counters do not wrap.
    #[error("more would be in circulation than amounts can count")]
    Supply,
    /// A refusal is logged only for a reason that burns the id and fits the payer's state.
    #[error("a refusal for the reason {0:?} cannot stand there")]
    Refusal(Reason),
    /// A tab's length, hold, end and grace are within bounds.
    #[error("its length, hold, end or grace is out of range")]
    Terms,
    /// What happens to a tab happens while it is open.
    #[error("no such tab was open")]
    NoTab,
    /// A claim and a release name the tab's payee.
    #[error("the tab has another payee")]
    Payee,
    /// A tab is closed by its payer or its payee.
    #[error("it was closed by neither payer nor payee")]
    Stranger,
    /// A close changes something: a payer's the tab's end, a payee's its grace.
    #[error("the tab had been closed or had ended before")]
    Ended,
    /// A claim goes on from the last.
    #[error("it does not go on from what was claimed before")]
    Claimed,
    /// A claim is for at least one link and at most [`GAP_MAX`](quid_common::chain::GAP_MAX).
    #[error("it claims no link, or more than one claim may")]
    Gap,
    /// A tab never pays more than it holds.
    #[error("it claims more than the tab holds")]
    PastEnd,
    /// A claim moves what its links are worth, and a release all that is left.
    #[error("its amount is not what the tab says")]
    TabAmount,
    /// A claim's link hashes down to the last one claimed. [`Ledger::check_link`] alone finds out.
    #[error("its link does not lead to what was claimed before")]
    Link,
    /// A tab is released when it is over.
    #[error("the tab was not over")]
    NotOver,
    /// Each account has held what its open tabs hold.
    #[error("an account has not held what its tabs hold")]
    Holds,
    /// What all accounts own is what was issued and not burnt.
    #[error("the accounts do not hold what was issued and not burnt")]
    Conservation,
}

impl Ledger {
    /// Takes `entry` into the books and returns its index.
    ///
    /// Everything but signatures and links is checked: an auditor verifies those beside it
    /// ([`Fact::signatures`], [`Ledger::check_link`]). The caps are not rules of the log and are not looked at.
    ///
    /// # Errors
    /// [`Fault`]: the entry cannot stand here, and the books are as they were.
    pub fn apply(&mut self, entry: &Entry) -> Result<u64, Fault> {
        let index = self.entries;
        self.fold(index, entry)
            .map_err(|rule| Fault { index, rule })?;
        Ok(index)
    }

    fn fold(&mut self, index: u64, entry: &Entry) -> Result<(), Rule> {
        let next = index
            .checked_add(1)
            .filter(|&next| next <= SIZE_MAX)
            .ok_or(Rule::Full)?;
        let time = entry.time;
        if time < self.time {
            return Err(Rule::TimeBackward);
        }
        match &entry.fact {
            Fact::Genesis(_) if index > 0 => return Err(Rule::GenesisAgain),
            Fact::Genesis(fact) => self.begin(entry, fact.statement())?,
            _ if index == 0 => return Err(Rule::GenesisMissing),
            Fact::Register(fact) => self.register(index, time, fact.statement())?,
            Fact::Issue(fact) => self.issue(index, time, fact.statement())?,
            Fact::Payment(order) => self.settle(index, time, order)?,
            Fact::Void(void) => self.void(index, time, void)?,
            Fact::Freeze(fact) => self.freeze(index, time, fact.statement())?,
            Fact::Refusal(refusal) => self.burn_id(index, time, refusal)?,
            Fact::Tab(terms) => self.open_tab(index, time, terms)?,
            Fact::Claim(claim) => self.claim(index, time, claim)?,
            Fact::Close(close) => self.close(index, time, close)?,
            Fact::Release(release) => self.release(time, release)?,
            Fact::Rotation(it) => self.change_keys(index, time, &Change::Rotation(it.clone()))?,
            Fact::Recovery(it) => self.change_keys(index, time, &Change::Recovery(it.clone()))?,
            Fact::Objection(it) => self.change_keys(index, time, &Change::Objection(it.clone()))?,
            Fact::Takeover(it) => self.change_keys(index, time, &Change::Takeover(it.clone()))?,
            Fact::Lock(it) => self.change_keys(index, time, &Change::Lock(it.clone()))?,
        }
        self.entries = next;
        self.time = time;
        Ok(())
    }

    fn begin(&mut self, entry: &Entry, genesis: &Genesis) -> Result<(), Rule> {
        if !genesis.directory.is_sound() {
            return Err(Rule::UnsoundKey);
        }
        self.origin = Origin {
            ledger: LedgerId(merkle::leaf_hash(&entry.encode())),
            directory: genesis.directory,
            currency: genesis.currency.clone(),
        };
        self.open_account(0, Name::treasury(), genesis.directory, None)
    }

    fn register(&mut self, index: u64, time: LedgerTime, wish: &Registration) -> Result<(), Rule> {
        if wish.directory != self.origin.directory {
            return Err(Rule::Directory);
        }
        if self.by_key.contains_key(&wish.key) {
            return Err(Rule::KeyUsed);
        }
        if wish.name.is_reserved() {
            return Err(Rule::NameReserved);
        }
        if let Some(other) = self.look_alike(&wish.name) {
            let same = other.name == wish.name;
            return Err(if same {
                Rule::NameTaken
            } else {
                Rule::NameLooksTaken
            });
        }
        if wish.recovery == Some(wish.key) {
            return Err(Rule::RecoveryKey);
        }
        if !wish.key.is_sound() || wish.recovery.is_some_and(|key| !key.is_sound()) {
            return Err(Rule::UnsoundKey);
        }
        self.open_account(index, wish.name.clone(), wish.key, wish.recovery)?;
        if let Some(account) = self.accounts.last() {
            self.redo.registration(time, account);
        }
        Ok(())
    }

    fn issue(&mut self, index: u64, time: LedgerTime, issue: &Issue) -> Result<(), Rule> {
        self.check_operator(&issue.directory, issue.ledger, issue.operation)?;
        let at = self.holder_at(&issue.account).ok_or(Rule::UnknownAccount)?;
        if issue.amount.is_zero() {
            return Err(Rule::ZeroAmount);
        }
        let issued = self
            .issued
            .checked_add(issue.amount.units())
            .ok_or(Rule::Supply)?;
        let outside = issued.checked_sub(self.burnt).ok_or(Rule::Conservation)?;
        if Amount::new(outside).is_none() {
            return Err(Rule::Supply);
        }
        let account = self.accounts.get_mut(at).ok_or(Rule::UnknownAccount)?;
        if account.key != issue.account {
            return Err(Rule::KeyReplaced);
        }
        let available = credit(account, issue.amount)?;

        Walk::keep(&mut self.walk, at, account);
        account.available = available;
        self.issued = issued;
        let effect = Effect::Issued(issue.amount);
        let operation = Operation {
            entry: index,
            account: account.number,
            effect,
        };
        self.operations.insert(issue.operation, operation);
        self.redo.operation(time, issue.operation, &operation);
        Ok(())
    }

    fn freeze(&mut self, index: u64, time: LedgerTime, freeze: &Freeze) -> Result<(), Rule> {
        self.check_operator(&freeze.directory, freeze.ledger, freeze.operation)?;
        let at = self
            .holder_at(&freeze.account)
            .ok_or(Rule::UnknownAccount)?;
        let account = self.accounts.get_mut(at).ok_or(Rule::UnknownAccount)?;
        if account.key != freeze.account {
            return Err(Rule::KeyReplaced);
        }

        Walk::keep(&mut self.walk, at, account);
        account.operate(freeze.frozen);
        let effect = Effect::Froze(freeze.frozen);
        let operation = Operation {
            entry: index,
            account: account.number,
            effect,
        };
        self.operations.insert(freeze.operation, operation);
        self.redo.operation(time, freeze.operation, &operation);
        Ok(())
    }

    fn settle(&mut self, index: u64, time: LedgerTime, signed: &SignedOrder) -> Result<(), Rule> {
        let order = signed.statement();
        self.check_statement(order.version, order.ledger)?;
        let payer_at = self.check_id(&order.payer, order.id, time)?;
        let payee_at = self
            .by_key
            .get(&order.payee)
            .copied()
            .ok_or(Rule::UnknownAccount)?;
        if order.amount.is_zero() {
            return Err(Rule::ZeroAmount);
        }
        let Ok([payer, payee]) = self.accounts.get_disjoint_mut([payer_at, payee_at]) else {
            return Err(Rule::SelfPayment);
        };
        if payer.key != order.payer || payee.key != order.payee {
            return Err(Rule::KeyReplaced);
        }
        if payer.is_frozen() {
            return Err(Rule::Frozen);
        }
        let debited = payer
            .available
            .checked_sub(order.amount)
            .ok_or(Rule::Funds)?;
        let (credited, burnt) = if payee_at == TREASURY_AT {
            let burnt = self
                .burnt
                .checked_add(order.amount.units())
                .ok_or(Rule::Supply)?;
            (payee.available, burnt)
        } else {
            (credit(payee, order.amount)?, self.burnt)
        };

        Walk::keep(&mut self.walk, payer_at, payer);
        Walk::keep(&mut self.walk, payee_at, payee);
        payer.available = debited;
        payee.available = credited;
        self.burnt = burnt;
        let long = ids::is_long(order.id.expiry(), time);
        let digest = signed.digest();
        let used = Used {
            entry: index,
            order: Some(digest),
            long,
        };
        self.ids.insert(order.id, payer.number, used);
        let parties = [payer.number, payee.number];
        self.redo
            .payment(time, order.id, parties, order.amount, digest);
        Ok(())
    }

    fn void(&mut self, index: u64, time: LedgerTime, signed: &SignedVoid) -> Result<(), Rule> {
        let void = signed.statement();
        self.check_statement(void.version, void.ledger)?;
        let at = self.check_id(&void.payer, void.id, time)?;
        let payer = self.accounts.get(at).ok_or(Rule::UnknownAccount)?;
        if payer.key != void.payer {
            return Err(Rule::KeyReplaced);
        }

        let long = ids::is_long(void.id.expiry(), time);
        self.ids.insert(
            void.id,
            payer.number,
            Used {
                entry: index,
                order: None,
                long,
            },
        );
        self.redo.burnt_id(time, void.id, payer.number, None);
        Ok(())
    }

    fn burn_id(&mut self, index: u64, time: LedgerTime, refusal: &Refusal) -> Result<(), Rule> {
        let at = self.check_id(&refusal.payer, refusal.id, time)?;
        let payer = self.accounts.get(at).ok_or(Rule::UnknownAccount)?;
        if payer.key != refusal.payer {
            return Err(Rule::KeyReplaced);
        }
        let fits = match refusal.reason {
            Reason::FROZEN => payer.is_frozen(),
            // A frozen payer is told so before anything else that burns an id.
            Reason::PAYEE_DECLINED | Reason::INSUFFICIENT_FUNDS => !payer.is_frozen(),
            _ => false,
        };
        if !fits {
            return Err(Rule::Refusal(refusal.reason));
        }

        let long = ids::is_long(refusal.id.expiry(), time);
        let used = Used {
            entry: index,
            order: Some(refusal.order),
            long,
        };
        self.ids.insert(refusal.id, payer.number, used);
        self.redo
            .burnt_id(time, refusal.id, payer.number, Some(refusal.order));
        Ok(())
    }

    /// The last step of a registration: the caller has checked key and name.
    fn open_account(
        &mut self,
        index: u64,
        name: Name,
        key: PublicKey,
        recovery: Option<PublicKey>,
    ) -> Result<(), Rule> {
        let at = self.accounts.len();
        let number = u64::try_from(at).map_err(|_| Rule::Full)?;

        self.by_key.insert(key, at);
        self.by_skeleton.insert(name.skeleton(), at);
        self.accounts.push(Account {
            number,
            name,
            key,
            recovery,
            available: Amount::ZERO,
            held: Amount::ZERO,
            frozen: false,
            keys: None,
            registered: index,
        });
        Ok(())
    }

    fn check_statement(&self, version: u8, ledger: LedgerId) -> Result<(), Rule> {
        if version != STATEMENT_VERSION {
            return Err(Rule::Version);
        }
        if ledger != self.origin.ledger {
            return Err(Rule::Ledger);
        }
        Ok(())
    }

    fn check_operator(
        &self,
        directory: &PublicKey,
        ledger: LedgerId,
        operation: OperationId,
    ) -> Result<(), Rule> {
        if *directory != self.origin.directory {
            return Err(Rule::Directory);
        }
        if ledger != self.origin.ledger {
            return Err(Rule::Ledger);
        }
        match self.operations.get(&operation) {
            Some(first) => Err(Rule::OperationUsed { entry: first.entry }),
            None => Ok(()),
        }
    }

    /// The place of the payer, if its order `id` can have its one effect at `time`.
    ///
    /// Exact whatever memory has let go of: an id leaves memory only after its expiry, and from
    /// then on no entry may use it.
    fn check_id(&self, payer: &PublicKey, id: OrderId, time: LedgerTime) -> Result<usize, Rule> {
        let at = self.holder_at(payer).ok_or(Rule::UnknownAccount)?;
        let account = self.accounts.get(at).ok_or(Rule::UnknownAccount)?;
        debug_assert_ne!(account.number, TREASURY, "nobody orders from the treasury");
        if let Some(used) = self.ids.get(id, account.number) {
            return Err(Rule::IdUsed { entry: used.entry });
        }
        if time >= id.expiry() {
            return Err(Rule::Expired);
        }
        if id.expiry().since(time) > LIFE_MAX {
            return Err(Rule::ExpiryTooFar);
        }
        Ok(at)
    }
}

/// What `account` can spend after `amount` came in.
fn credit(account: &Account, amount: Amount) -> Result<Amount, Rule> {
    let available = account
        .available
        .checked_add(amount)
        .ok_or(Rule::Overflow)?;
    // Held and available money together stay countable, so that a release always finds room.
    available.checked_add(account.held).ok_or(Rule::Overflow)?;
    Ok(available)
}
