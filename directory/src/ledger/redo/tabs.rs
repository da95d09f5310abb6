//! What happened to tabs, in short.

use quid_common::chain::{Link, Mark};
use quid_common::id::Digest;
use quid_common::tab::{Tab, units};
use quid_common::time::LedgerTime;

use super::{Redo, put};
use crate::ledger::Ledger;
use crate::ledger::snapshot::{Reader, SnapshotError};
use crate::ledger::tabs::{Open, Which};

impl Redo {
    pub(in crate::ledger) fn tab(
        &mut self,
        time: LedgerTime,
        which: Which,
        open: &Open,
        terms: Digest,
    ) {
        if let Some(out) = self.begin_tab(TAB, time, which) {
            let tab = &open.tab;
            put(out, open.payee);
            put(out, tab.unit.units());
            out.extend_from_slice(&tab.length.to_be_bytes());
            out.extend_from_slice(&tab.claimed.link.0);
            put(out, tab.expires.as_millis());
            put(out, tab.until.as_millis());
            out.extend_from_slice(&terms.0);
        }
    }

    pub(in crate::ledger) fn claim(&mut self, time: LedgerTime, which: Which, to: Mark) {
        if let Some(out) = self.begin_tab(CLAIM, time, which) {
            out.extend_from_slice(&to.index.to_be_bytes());
            out.extend_from_slice(&to.link.0);
        }
    }

    pub(in crate::ledger) fn close(&mut self, time: LedgerTime, which: Which, by_payee: bool) {
        let kind = if by_payee {
            CLOSE_BY_PAYEE
        } else {
            CLOSE_BY_PAYER
        };
        self.begin_tab(kind, time, which);
    }

    pub(in crate::ledger) fn release(&mut self, time: LedgerTime, which: Which) {
        self.begin_tab(RELEASE, time, which);
    }

    fn begin_tab(
        &mut self,
        kind: u8,
        time: LedgerTime,
        (id, payer): Which,
    ) -> Option<&mut Vec<u8>> {
        let out = self.begin(kind, time)?;
        out.extend_from_slice(id.as_bytes());
        put(out, payer);
        Some(out)
    }
}

impl Ledger {
    /// One entry of a kind that concerns a tab, or of none at all.
    pub(super) fn redo_tab(
        &mut self,
        kind: u8,
        time: LedgerTime,
        input: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        if !(TAB..=RELEASE).contains(&kind) {
            return Err(SnapshotError::Field);
        }
        let which = (input.order_id()?, input.number()?);
        if kind == TAB {
            return self.redo_open(time, which, input);
        }
        let open = *self.tabs.get(which).ok_or(SnapshotError::Field)?;
        match kind {
            CLAIM => {
                let to = Mark {
                    index: input.small()?,
                    link: Link(input.array()?),
                };
                self.redo_claim(which, open, to)?;
            }
            CLOSE_BY_PAYER | CLOSE_BY_PAYEE => {
                let closed = open.closed(kind == CLOSE_BY_PAYEE, time, self.entries);
                self.tabs.put(which, closed);
            }
            _ => {
                let payer = self.numbered_mut(which.1)?;
                let amount = open.tab.held();
                payer.held = payer.held.checked_sub(amount).ok_or(SnapshotError::Field)?;
                payer.available = payer
                    .available
                    .checked_add(amount)
                    .ok_or(SnapshotError::Field)?;
                self.tabs.remove(which);
            }
        }
        Ok(())
    }

    fn redo_open(
        &mut self,
        time: LedgerTime,
        which: Which,
        input: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let payee = input.number()?;
        let (unit, length) = (input.amount()?, input.small()?);
        let anchor = Link(input.array()?);
        let (expires, until) = (input.time()?, input.time()?);
        let terms = Digest(input.array()?);
        let claimed = Mark {
            index: 0,
            link: anchor,
        };
        let tab = Tab {
            unit,
            length,
            claimed,
            expires,
            until,
        };
        self.check_account(payee)?;
        // Before the balance: it looks at the payer's number too.
        self.redo_id(time, which.0, which.1, Some(terms))?;
        let hold = units(unit, length).ok_or(SnapshotError::Field)?;
        let payer = self.numbered_mut(which.1)?;
        payer.available = payer
            .available
            .checked_sub(hold)
            .ok_or(SnapshotError::Field)?;
        payer.held = payer.held.checked_add(hold).ok_or(SnapshotError::Field)?;
        self.tabs.put(which, Open::new(tab, payee, self.entries));
        Ok(())
    }

    fn redo_claim(&mut self, which: Which, open: Open, to: Mark) -> Result<(), SnapshotError> {
        let count = to.index.checked_sub(open.tab.claimed.index);
        let amount = count
            .and_then(|count| units(open.tab.unit, count))
            .ok_or(SnapshotError::Field)?;
        let payer = self.numbered_mut(which.1)?;
        payer.held = payer.held.checked_sub(amount).ok_or(SnapshotError::Field)?;
        let payee = self.numbered_mut(open.payee)?;
        payee.available = payee
            .available
            .checked_add(amount)
            .ok_or(SnapshotError::Field)?;
        self.tabs.put(which, open.claimed(to, self.entries));
        Ok(())
    }
}

const TAB: u8 = 7;
const CLAIM: u8 = 8;
const CLOSE_BY_PAYER: u8 = 9;
const CLOSE_BY_PAYEE: u8 = 10;
const RELEASE: u8 = 11;
