//! The entries in short: what each one changed, without what proves that it was wanted.
//!
//! Taking them over again costs a tenth of folding the log, so a start that has them behind a
//! snapshot need not read millions of entries again. Layout, integers big-endian:
//!
//! ```text
//! kind u8, time u64, then by kind
//!     1 registration: the account as in a snapshot
//!     2 issue, 3 freeze or thaw: the operation as in a snapshot
//!     4 payment: id [16], payer u64, payee u64, amount u64, order [32]
//!     5 void: id [16], payer u64
//!     6 refusal: id [16], payer u64, order [32]
//!     7 tab: id [16], payer u64, payee u64, unit u64, length u32, anchor [32], expires u64,
//!       until u64, terms [32]
//!     8 claim: id [16], payer u64, index u32, link [32]
//!     9 close by the payer, 10 by the payee, 11 release: id [16], payer u64
//!     12 keys: number u64, the account as in a snapshot
//! ```

use quid_common::id::{Digest, OperationId, OrderId};
use quid_common::time::LedgerTime;

use super::ids::{self, Used};
use super::snapshot::{Reader, SnapshotError, put, put_account, put_operation};
use super::{Account, Amount, Effect, Ledger, Operation, TREASURY};

mod tabs;

/// Where the entries are noted in short, if anybody wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Redo(Option<Vec<u8>>);

impl Redo {
    pub(super) fn registration(&mut self, time: LedgerTime, account: &Account) {
        if let Some(out) = self.begin(REGISTRATION, time) {
            put_account(out, account);
        }
    }

    /// What an account's keys said: how it stands after that.
    pub(super) fn keys(&mut self, time: LedgerTime, account: &Account) {
        if let Some(out) = self.begin(KEYS, time) {
            put(out, account.number);
            put_account(out, account);
        }
    }

    pub(super) fn operation(&mut self, time: LedgerTime, id: OperationId, operation: &Operation) {
        let kind = match operation.effect {
            Effect::Issued(_) => ISSUE,
            Effect::Froze(_) => FREEZE,
        };
        if let Some(out) = self.begin(kind, time) {
            put_operation(out, id, operation);
        }
    }

    pub(super) fn payment(
        &mut self,
        time: LedgerTime,
        id: OrderId,
        [payer, payee]: [u64; 2],
        amount: Amount,
        order: Digest,
    ) {
        if let Some(out) = self.begin(PAYMENT, time) {
            out.extend_from_slice(id.as_bytes());
            put(out, payer);
            put(out, payee);
            put(out, amount.units());
            out.extend_from_slice(&order.0);
        }
    }

    /// A void, or the refusal of `order`.
    pub(super) fn burnt_id(
        &mut self,
        time: LedgerTime,
        id: OrderId,
        payer: u64,
        order: Option<Digest>,
    ) {
        let kind = if order.is_some() { REFUSAL } else { VOID };
        if let Some(out) = self.begin(kind, time) {
            out.extend_from_slice(id.as_bytes());
            put(out, payer);
            if let Some(order) = order {
                out.extend_from_slice(&order.0);
            }
        }
    }

    fn begin(&mut self, kind: u8, time: LedgerTime) -> Option<&mut Vec<u8>> {
        let out = self.0.as_mut()?;
        out.push(kind);
        put(out, time.as_millis());
        Some(out)
    }
}

impl Ledger {
    /// Whether entries are noted in short as they are applied, for [`Ledger::take_redo`].
    pub fn note_redo(&mut self, wanted: bool) {
        self.redo.0 = wanted.then(Vec::new);
    }

    /// Moves what was noted since the last call to the end of `out`.
    pub fn take_redo(&mut self, out: &mut Vec<u8>) {
        if let Some(noted) = &mut self.redo.0 {
            out.append(noted);
        }
    }

    /// Takes entries in short, noted by these very books, into them again.
    ///
    /// The rules were checked when they were noted and are not again: whether the bytes are whole
    /// and of this log, only a checksum and the log's root kept beside them can tell.
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes are anything else. The books are then of no use.
    pub fn redo(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut input = Reader::new(bytes);
        while !input.is_empty() {
            self.redo_one(&mut input)?;
        }
        Ok(())
    }

    fn redo_one(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let index = self.entries;
        let kind = input.byte()?;
        let time = LedgerTime::from_millis(input.number()?);
        if index == 0 || time < self.time {
            return Err(SnapshotError::Order);
        }
        match kind {
            REGISTRATION => {
                let number =
                    u64::try_from(self.accounts.len()).map_err(|_| SnapshotError::Field)?;
                let account = input.account(number)?;
                if account.registered != index {
                    return Err(SnapshotError::Order);
                }
                self.restore_account(account)?;
            }
            ISSUE | FREEZE => {
                let (id, operation) = input.operation()?;
                if operation.entry != index {
                    return Err(SnapshotError::Order);
                }
                self.redo_operation(id, operation)?;
            }
            PAYMENT => {
                let id = input.order_id()?;
                let (payer, payee) = (input.number()?, input.number()?);
                let (amount, order) = (input.amount()?, Digest(input.array()?));
                self.redo_payment(payer, payee, amount)?;
                self.redo_id(time, id, payer, Some(order))?;
            }
            VOID => {
                let (id, payer) = (input.order_id()?, input.number()?);
                self.redo_id(time, id, payer, None)?;
            }
            REFUSAL => {
                let (id, payer) = (input.order_id()?, input.number()?);
                let order = Digest(input.array()?);
                self.redo_id(time, id, payer, Some(order))?;
            }
            KEYS => self.redo_keys(input)?,
            kind => self.redo_tab(kind, time, input)?,
        }
        self.time = time;
        self.entries = index.checked_add(1).ok_or(SnapshotError::Field)?;
        Ok(())
    }

    fn redo_keys(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let number = input.number()?;
        self.check_account(number)?;
        let account = input.account(number)?;
        let at = usize::try_from(number).map_err(|_| SnapshotError::Field)?;
        if self
            .by_key
            .insert(account.key, at)
            .is_some_and(|of| of != at)
        {
            return Err(SnapshotError::Order);
        }
        *self.numbered_mut(number)? = account;
        Ok(())
    }

    fn redo_operation(
        &mut self,
        id: OperationId,
        operation: Operation,
    ) -> Result<(), SnapshotError> {
        self.check_account(operation.account)?;
        let account = self.numbered_mut(operation.account)?;
        match operation.effect {
            Effect::Issued(amount) => {
                account.available = account
                    .available
                    .checked_add(amount)
                    .ok_or(SnapshotError::Field)?;
                self.issued = self
                    .issued
                    .checked_add(amount.units())
                    .ok_or(SnapshotError::Field)?;
            }
            Effect::Froze(frozen) => account.operate(frozen),
        }
        match self.operations.insert(id, operation) {
            None => Ok(()),
            Some(_) => Err(SnapshotError::Order),
        }
    }

    fn redo_payment(
        &mut self,
        payer: u64,
        payee: u64,
        amount: Amount,
    ) -> Result<(), SnapshotError> {
        self.check_account(payer)?;
        let from = self.numbered_mut(payer)?;
        from.available = from
            .available
            .checked_sub(amount)
            .ok_or(SnapshotError::Field)?;
        if payee == TREASURY {
            self.burnt = self
                .burnt
                .checked_add(amount.units())
                .ok_or(SnapshotError::Field)?;
        } else {
            let to = self.numbered_mut(payee)?;
            to.available = to
                .available
                .checked_add(amount)
                .ok_or(SnapshotError::Field)?;
        }
        Ok(())
    }

    fn redo_id(
        &mut self,
        time: LedgerTime,
        id: OrderId,
        payer: u64,
        order: Option<Digest>,
    ) -> Result<(), SnapshotError> {
        self.check_account(payer)?;
        let used = Used {
            entry: self.entries,
            order,
            long: ids::is_long(id.expiry(), time),
        };
        if self.ids.insert(id, payer, used) {
            Ok(())
        } else {
            Err(SnapshotError::Order)
        }
    }

    fn numbered_mut(&mut self, number: u64) -> Result<&mut Account, SnapshotError> {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.accounts.get_mut(at))
            .ok_or(SnapshotError::Field)
    }
}

const REGISTRATION: u8 = 1;
const ISSUE: u8 = 2;
const FREEZE: u8 = 3;
const PAYMENT: u8 = 4;
const VOID: u8 = 5;
const REFUSAL: u8 = 6;
const KEYS: u8 = 12;
