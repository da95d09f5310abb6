//! Open tabs as bytes.

use std::num::NonZero;

use quid_common::chain::{LENGTH_MAX, Link, Mark};
use quid_common::tab::{GRACE_MAX, Tab, units};
use quid_common::time::LedgerTime;

use super::{Ledger, Reader, SnapshotError, put};
use crate::ledger::tabs::{Open, Which};

pub(in crate::ledger) fn put_tab(out: &mut Vec<u8>, (id, payer): Which, open: &Open) {
    let tab = &open.tab;
    out.extend_from_slice(id.as_bytes());
    put(out, payer);
    put(out, open.payee);
    put(out, tab.unit.units());
    out.extend_from_slice(&tab.length.to_be_bytes());
    out.extend_from_slice(&tab.claimed.index.to_be_bytes());
    out.extend_from_slice(&tab.claimed.link.0);
    put(out, tab.expires.as_millis());
    put(out, tab.until.as_millis());
    put(out, open.opened);
    for entry in [open.claimed, open.closed] {
        put(out, entry.map_or(0, NonZero::get));
    }
}

impl Ledger {
    /// Reads all tabs. That they hold what their payers have held is checked with the books.
    pub(super) fn restore_tabs(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut last = None;
        for _ in 0..input.number()? {
            let (which, open) = input.tab()?;
            self.check_tab(which, &open)?;
            if last.replace(which).is_some_and(|last| last >= which) {
                return Err(SnapshotError::Order);
            }
            self.tabs.put(which, open);
        }
        Ok(())
    }

    fn check_tab(&self, (_, payer): Which, open: &Open) -> Result<(), SnapshotError> {
        let tab = &open.tab;
        self.check_account(payer)?;
        self.check_account(open.payee)?;
        self.check_entry(open.opened)?;
        for entry in [open.claimed, open.closed].into_iter().flatten() {
            self.check_entry(entry.get())?;
        }
        let claimed = tab.claimed.index > 0;
        let sound = payer != open.payee
            && !tab.unit.is_zero()
            && (1..=LENGTH_MAX).contains(&tab.length)
            && units(tab.unit, tab.length).is_some()
            && tab.claimed.index <= tab.length
            && claimed == open.claimed.is_some()
            && tab.expires <= tab.until
            && tab.until.since(tab.expires) <= GRACE_MAX;
        sound.then_some(()).ok_or(SnapshotError::Field)
    }
}

impl Reader<'_> {
    fn tab(&mut self) -> Result<(Which, Open), SnapshotError> {
        let which = (self.order_id()?, self.number()?);
        let payee = self.number()?;
        let (unit, length) = (self.amount()?, self.small()?);
        let claimed = Mark {
            index: self.small()?,
            link: Link(self.array()?),
        };
        let tab = Tab {
            unit,
            length,
            claimed,
            expires: self.time()?,
            until: self.time()?,
        };
        let open = Open {
            tab,
            payee,
            opened: self.number()?,
            claimed: NonZero::new(self.number()?),
            closed: NonZero::new(self.number()?),
        };
        Ok((which, open))
    }

    pub(in crate::ledger) fn small(&mut self) -> Result<u32, SnapshotError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(in crate::ledger) fn time(&mut self) -> Result<LedgerTime, SnapshotError> {
        LedgerTime::try_from(self.number()?).map_err(|_| SnapshotError::Field)
    }
}
