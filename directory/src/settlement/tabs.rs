//! What becomes of tabs beside the verdict on each wish: what is left goes back to the payer, and
//! both sides may ask how they stand.

use quid_common::entry::Fact;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_common::wire::OpenTab;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Answer, Committer};
use crate::books::Batch;
use crate::ledger::Fault;

/// Most tabs that one [`super::Ask::Release`] gives back; the next is due at once.
pub const RELEASES_LEN_MAX: usize = 256;

/// When the next tab is over, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// In ledger time.
    pub time: LedgerTime,
    /// The same for whoever waits for it.
    pub at: Instant,
}

impl Due {
    /// Ledger time `time`, as it is `now`.
    pub(super) fn new(time: LedgerTime, now: LedgerTime) -> Self {
        Self {
            time,
            at: Instant::now() + time.since(now),
        }
    }
}

impl Committer {
    /// When [`super::Ask::Release`] is next worth asking.
    #[must_use]
    pub fn due(&self) -> watch::Receiver<Option<Due>> {
        self.due.subscribe()
    }

    /// Gives back what is left of tabs that are over at `now`.
    pub(super) fn release_due(&mut self, now: LedgerTime, open: &mut Batch) -> Result<(), Fault> {
        // What the lost part of the log claimed must not go back to the payer.
        if self.books.ahead.is_none() {
            let ledger = &self.books.ledger;
            for (payer, id) in ledger.due(now, self.served_since, RELEASES_LEN_MAX) {
                self.release(&payer, id, now, open)?;
            }
        }
        let next = self.books.ledger.next_due(self.served_since);
        self.due.send_replace(next.map(|time| Due::new(time, now)));
        Ok(())
    }

    /// What follows from a new end of a tab: one that its payee has closed is released in the same
    /// batch, and any other will be over one day.
    pub(super) fn follow(
        &mut self,
        payer: &PublicKey,
        id: OrderId,
        now: LedgerTime,
        open: &mut Batch,
    ) -> Result<(), Fault> {
        if self.release(payer, id, now, open)? {
            return Ok(());
        }
        if let Some((_, tab)) = self.books.ledger.tab(payer, id) {
            let until = tab.until;
            self.due.send_if_modified(|next| {
                let sooner = next.is_none_or(|next| until < next.time);
                if sooner {
                    *next = Some(Due::new(until, now));
                }
                sooner
            });
        }
        Ok(())
    }

    /// Gives back what is left of a tab, if it is over at `now`.
    fn release(
        &mut self,
        payer: &PublicKey,
        id: OrderId,
        now: LedgerTime,
        open: &mut Batch,
    ) -> Result<bool, Fault> {
        let ledger = &self.books.ledger;
        let release = ledger.decide_release(payer, id, now, self.served_since);
        match release {
            Some(fact) => self.apply(fact, now, open).map(|_| true),
            None => Ok(false),
        }
    }

    /// Where a tab stands, told to its payer and its payee.
    pub(super) fn open_tab(&self, from: &PublicKey, payer: &PublicKey, id: OrderId) -> Answer {
        // The lost part may have closed or claimed it.
        if self.books.ahead.is_some() {
            return Answer::Refused(Reason::LOG_INCOMPLETE, None);
        }
        let ledger = &self.books.ledger;
        let tab = ledger.tab(payer, id);
        let tab = tab
            .filter(|(payee, _)| ledger.is_same(from, payer) || *from == payee.key)
            .map(|(payee, tab)| OpenTab {
                payee: payee.key,
                unit: tab.unit,
                length: tab.length,
                claimed: tab.claimed.index,
                link: tab.claimed.link,
                expires: tab.expires,
                until: tab.until,
            });
        Answer::OpenTab(tab, self.books.time())
    }
}

/// The tab to which a fact gives another end than it had.
pub(super) fn ends(fact: &Fact) -> Option<(PublicKey, OrderId)> {
    match fact {
        Fact::Tab(terms) => Some((terms.statement().payer, terms.statement().id)),
        Fact::Close(close) => Some((close.statement().payer, close.statement().id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
