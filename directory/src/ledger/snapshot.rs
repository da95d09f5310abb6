//! The whole fold as bytes, so that a start replays only the log's tail.
//!
//! One state has one snapshot. Layout, integers big-endian and of fixed width:
//!
//! ```text
//! version u8 = 3
//! entries u64                                     nothing follows if 0
//! time u64, issued u64, burnt u64, forgotten_through u64
//! ledger [32], directory [32], code (u8 length, text), decimals u8
//! count u64, accounts from number 1 on:
//!     key [32], name (u8 length, text), recovery (u8 = 0, or u8 = 1 and [32]),
//!     available u64, held u64, frozen u8, registered u64,
//!     keys (u8 = 0, or u8 = 1 and)
//!         count u64, replaced keys: key [32], by u64
//!         locked u8
//!         own and recovery key's last word: u8 = 0, or u8 = 1 and entry u64, change [32]
//!         pending: u8 = 0, or u8 = 1 and entry u64, time u64, successor [32], contested u8
//! count u64, ids ascending by id and account:
//!     id [16], account u64, entry u64, flags u8 (1 long-lived, 2 an order), order [32] if flag 2
//! count u64, operations ascending by id:
//!     id [16], account u64, entry u64, kind u8 (1 issue, 2 freeze, 3 thaw), amount u64 if issue
//! count u64, open tabs ascending by id and payer:
//!     id [16], payer u64, payee u64, unit u64, length u32, claimed u32, link [32],
//!     expires u64, until u64, entries that opened, last claimed and last closed it 3 * u64
//!     (0 for none)
//! ```

use quid_common::amount::{Amount, Currency};
use quid_common::id::{Digest, LedgerId, OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::time::LedgerTime;
use thiserror::Error;

use super::ids::Used;
use super::{Account, Effect, Fault, Ledger, Operation, Origin, TREASURY};

mod keys;
mod tabs;

pub(super) use self::tabs::put_tab;

/// Why bytes are no snapshot. Throw it away and fold the log instead.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Written by another version of the program.
    #[error("the snapshot's version {0} is not known")]
    Version(u8),
    /// The bytes end before the snapshot does.
    #[error("the snapshot ends before its content does")]
    Truncated,
    /// Bytes follow the snapshot.
    #[error("bytes follow the snapshot")]
    Trailing,
    /// A field holds what no fold of a log holds.
    #[error("the snapshot holds what no ledger holds")]
    Field,
    /// Ids, operations or registrations are not in order, or one stands twice.
    #[error("the snapshot is not in order")]
    Order,
    /// The books in it do not balance.
    #[error("the snapshot's books do not balance: {0}")]
    Books(#[source] Fault),
}

impl Ledger {
    /// The whole fold as bytes: the same for the same state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.snapshot_len());
        self.encode(&mut self.walk(), usize::MAX, &mut out);
        out
    }

    /// The books that [`Ledger::snapshot`] wrote.
    ///
    /// What comes back is in itself a possible state: canonical, and its books balance. Whether it
    /// is the fold of *this* log, only a checksum and the log's root kept beside the bytes can
    /// tell; without both, do not trust it. Keys were vetted when they were registered and are
    /// not again.
    ///
    /// # Errors
    /// [`SnapshotError`] for anything else. No bytes panic, and nothing is allocated on a count's
    /// word alone.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Reader::new(bytes);
        let version = input.byte()?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let mut ledger = Self::new();
        ledger.entries = input.number()?;
        if ledger.entries > 0 {
            ledger.restore_state(&mut input)?;
        }
        if !input.rest.is_empty() {
            return Err(SnapshotError::Trailing);
        }
        ledger.check().map_err(SnapshotError::Books)?;
        Ok(ledger)
    }

    fn restore_state(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let time = input.number()?;
        self.time = LedgerTime::from_millis(time);
        self.issued = input.number()?;
        self.burnt = input.number()?;
        let forgotten_through = input.number()?;
        if self.time.as_millis() != time || forgotten_through > self.entries {
            return Err(SnapshotError::Field);
        }
        self.ids.set_forgotten_through(forgotten_through);
        self.origin = Origin {
            ledger: LedgerId(input.array()?),
            directory: PublicKey::from_bytes(input.array()?),
            currency: Currency::new(input.text()?, input.byte()?)
                .map_err(|_| SnapshotError::Field)?,
        };
        self.restore_account(Account {
            number: TREASURY,
            name: Name::treasury(),
            key: self.origin.directory,
            recovery: None,
            available: Amount::ZERO,
            held: Amount::ZERO,
            frozen: false,
            keys: None,
            registered: 0,
        })?;
        self.restore_accounts(input)?;
        self.restore_ids(input)?;
        self.restore_operations(input)?;
        self.restore_tabs(input)
    }

    fn restore_accounts(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let count = input.number()?;
        let room = input.room(count, ACCOUNT_LEN_MIN);
        self.accounts.reserve(room);
        self.by_key.reserve(room);
        self.by_skeleton.reserve(room);
        for number in 1..=count {
            let account = input.account(number)?;
            self.check_entry(account.registered)?;
            if self
                .accounts
                .last()
                .is_some_and(|last| last.registered >= account.registered)
            {
                return Err(SnapshotError::Order);
            }
            self.restore_account(account)?;
        }
        Ok(())
    }

    fn restore_ids(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut last = None;
        let count = input.number()?;
        // Sorted, they make a dense tree at once.
        let mut ids = Vec::with_capacity(input.room(count, ID_LEN_MIN));
        for _ in 0..count {
            let (id, account, used) = input.id()?;
            self.check_entry(used.entry)?;
            self.check_account(account)?;
            if last
                .replace((id, account))
                .is_some_and(|last| last >= (id, account))
            {
                return Err(SnapshotError::Order);
            }
            ids.push(((id, account), used));
        }
        self.ids.fill(ids);
        Ok(())
    }

    fn restore_operations(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut last = None;
        let count = input.number()?;
        let mut operations = Vec::with_capacity(input.room(count, OPERATION_LEN_MIN));
        for _ in 0..count {
            let (id, operation) = input.operation()?;
            self.check_entry(operation.entry)?;
            self.check_account(operation.account)?;
            if last.replace(id).is_some_and(|last| last >= id) {
                return Err(SnapshotError::Order);
            }
            operations.push((id, operation));
        }
        self.operations = operations.into_iter().collect();
        Ok(())
    }

    pub(super) fn restore_account(&mut self, account: Account) -> Result<(), SnapshotError> {
        let at = self.accounts.len();
        let skeleton = account.name.skeleton();
        // Worked out once: a start does this for every account there is.
        let reserved = account.number != TREASURY && Name::is_reserved_skeleton(&skeleton);
        let mut twice = self.by_skeleton.insert(skeleton, at).is_some();
        for key in account.all_keys() {
            twice |= self.by_key.insert(key, at).is_some();
        }
        if reserved || twice {
            return Err(SnapshotError::Field);
        }
        self.accounts.push(account);
        Ok(())
    }

    pub(super) const fn check_entry(&self, entry: u64) -> Result<(), SnapshotError> {
        if entry > 0 && entry < self.entries {
            Ok(())
        } else {
            Err(SnapshotError::Field)
        }
    }

    pub(super) fn check_account(&self, number: u64) -> Result<(), SnapshotError> {
        let known = usize::try_from(number).is_ok_and(|at| at < self.accounts.len());
        if known && number != TREASURY {
            Ok(())
        } else {
            Err(SnapshotError::Field)
        }
    }

    /// A guess that saves the buffer from growing by copies.
    fn snapshot_len(&self) -> usize {
        [
            self.accounts.len().saturating_mul(ACCOUNT_LEN),
            self.ids.len().saturating_mul(ID_LEN),
            self.operations.len().saturating_mul(OPERATION_LEN),
            self.tabs.len().saturating_mul(TAB_LEN),
        ]
        .into_iter()
        .fold(256, usize::saturating_add)
    }
}

pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    // Nothing in memory has more than 2^64 parts.
    put(out, u64::try_from(count).unwrap_or(u64::MAX));
}

/// Of at most 255 bytes: names and currency codes are far shorter.
#[expect(
    clippy::expect_used,
    reason = "a name or code is checked when it is made"
)]
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("names and currency codes are short"));
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_account(out: &mut Vec<u8>, account: &Account) {
    out.extend_from_slice(account.key.as_bytes());
    put_text(out, account.name.as_str());
    match account.recovery {
        Some(key) => {
            out.push(1);
            out.extend_from_slice(key.as_bytes());
        }
        None => out.push(0),
    }
    put(out, account.available.units());
    put(out, account.held.units());
    out.push(u8::from(account.frozen));
    put(out, account.registered);
    keys::put_keys(out, account.keys.as_deref());
}

pub(super) fn put_id(out: &mut Vec<u8>, id: OrderId, account: u64, used: &Used) {
    out.extend_from_slice(id.as_bytes());
    put(out, account);
    put(out, used.entry);
    let long = if used.long { FLAG_LONG } else { 0 };
    match used.order {
        Some(order) => {
            out.push(long | FLAG_ORDER);
            out.extend_from_slice(&order.0);
        }
        None => out.push(long),
    }
}

pub(super) fn put_operation(out: &mut Vec<u8>, id: OperationId, operation: &Operation) {
    out.extend_from_slice(&id.0);
    put(out, operation.account);
    put(out, operation.entry);
    match operation.effect {
        Effect::Issued(amount) => {
            out.push(KIND_ISSUE);
            put(out, amount.units());
        }
        Effect::Froze(true) => out.push(KIND_FREEZE),
        Effect::Froze(false) => out.push(KIND_THAW),
    }
}

/// What is left to be read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many of `count` parts of at least `len` bytes can follow.
    fn room(&self, count: u64, len: usize) -> usize {
        let most = self.rest.len().checked_div(len).unwrap_or_default();
        usize::try_from(count).map_or(most, |count| count.min(most))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], SnapshotError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(SnapshotError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, SnapshotError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn number(&mut self) -> Result<u64, SnapshotError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn amount(&mut self) -> Result<Amount, SnapshotError> {
        Amount::new(self.number()?).ok_or(SnapshotError::Field)
    }

    pub(super) fn flag(&mut self) -> Result<bool, SnapshotError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SnapshotError::Field),
        }
    }

    fn text(&mut self) -> Result<&'a str, SnapshotError> {
        let len = usize::from(self.byte()?);
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(SnapshotError::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| SnapshotError::Field)
    }

    pub(super) fn account(&mut self, number: u64) -> Result<Account, SnapshotError> {
        let key = PublicKey::from_bytes(self.array()?);
        let name: Name = self.text()?.parse().map_err(|_| SnapshotError::Field)?;
        let recovery = if self.flag()? {
            Some(PublicKey::from_bytes(self.array()?))
        } else {
            None
        };
        let (available, held) = (self.amount()?, self.amount()?);
        let frozen = self.flag()?;
        let registered = self.number()?;
        let keys = self.keys()?;
        Ok(Account {
            number,
            name,
            key,
            recovery,
            available,
            held,
            frozen,
            keys,
            registered,
        })
    }

    pub(super) fn order_id(&mut self) -> Result<OrderId, SnapshotError> {
        OrderId::from_bytes(self.array()?).ok_or(SnapshotError::Field)
    }

    fn id(&mut self) -> Result<(OrderId, u64, Used), SnapshotError> {
        let id = self.order_id()?;
        let (account, entry) = (self.number()?, self.number()?);
        let flags = self.byte()?;
        if flags & !(FLAG_LONG | FLAG_ORDER) != 0 {
            return Err(SnapshotError::Field);
        }
        let order = if flags & FLAG_ORDER != 0 {
            Some(Digest(self.array()?))
        } else {
            None
        };
        Ok((
            id,
            account,
            Used {
                entry,
                order,
                long: flags & FLAG_LONG != 0,
            },
        ))
    }

    pub(super) fn operation(&mut self) -> Result<(OperationId, Operation), SnapshotError> {
        let id = OperationId(self.array()?);
        let (account, entry) = (self.number()?, self.number()?);
        let effect = match self.byte()? {
            KIND_ISSUE => Effect::Issued(self.amount()?),
            KIND_FREEZE => Effect::Froze(true),
            KIND_THAW => Effect::Froze(false),
            _ => return Err(SnapshotError::Field),
        };
        Ok((
            id,
            Operation {
                entry,
                account,
                effect,
            },
        ))
    }
}

/// Any change of the layout changes this; a snapshot of another version is thrown away.
pub(super) const VERSION: u8 = 3;

const FLAG_LONG: u8 = 1;
const FLAG_ORDER: u8 = 2;

const KIND_ISSUE: u8 = 1;
const KIND_FREEZE: u8 = 2;
const KIND_THAW: u8 = 3;

/// The shortest forms.
const ACCOUNT_LEN_MIN: usize = 32 + 1 + 1 + 8 + 8 + 1 + 8 + 1;
const ID_LEN_MIN: usize = 16 + 8 + 8 + 1;
const OPERATION_LEN_MIN: usize = 16 + 8 + 8 + 1;

/// The longest forms but for names, which are taken to have 16 characters.
const ACCOUNT_LEN: usize = 32 + 1 + 16 + 1 + 32 + 8 + 8 + 1 + 8 + 1;
const ID_LEN: usize = 16 + 8 + 8 + 1 + 32;
const OPERATION_LEN: usize = 16 + 8 + 8 + 1 + 8;
const TAB_LEN: usize = 16 + 8 + 8 + 8 + 4 + 4 + 32 + 8 + 8 + 3 * 8;

#[cfg(test)]
mod tests;
