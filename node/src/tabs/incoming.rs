//! A tab that pays this account: what is proven to be paid, what is safe, and who waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quid_common::amount::Amount;
use quid_common::chain::{GAP_MAX, Link, LinkError, Mark};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::tab::{Terms, units};
use quid_common::time::LedgerTime;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::policy::Risk;
use super::serve::Caller;
use crate::journal::IncomingRow;

mod phase;

pub(super) use phase::Phase;

/// A tab that pays this account. Clones are handles on the same one; dropping them changes
/// nothing, the node claims what was paid all the same.
#[derive(Clone, Debug)]
pub struct IncomingTab {
    pub(super) held: Arc<Held>,
}

/// The tab takes no more payments. What was paid before is claimed by the node.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the tab is over{}", .0.map(|reason| format!(": {reason}")).unwrap_or_default())]
pub struct TabOver(pub Option<Reason>);

impl IncomingTab {
    /// Which tab: unique among those of one payer.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.held.terms.id
    }

    /// What the payer signed: unit, length, memo, reference.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.held.terms
    }

    /// The payer's name, once the directory has told it.
    #[must_use]
    pub fn payer(&self) -> Option<Name> {
        self.held.lock().payer.clone()
    }

    /// Units paid so far, each proven by its link.
    #[must_use]
    pub fn paid(&self) -> u32 {
        self.held.lock().mark.index
    }

    /// Units charged so far. After a restart of this program that is what had been paid, as if it
    /// had all been handed over: what was paid ahead then is the payer's loss, at most its window.
    #[must_use]
    pub fn owed(&self) -> u32 {
        self.held.lock().owed
    }

    /// How many units may be owed and not paid before [`Self::charge`] waits; 0 at first, so that
    /// everything is paid before it is handed over.
    pub fn set_window(&self, units: u32) {
        self.held.lock().window = units;
        self.held.moved.notify_waiters();
    }

    /// Charges `units` more and waits until no more is owed than the window allows: then hand over
    /// what they pay for. What was charged stays so if the tab ends meanwhile.
    ///
    /// # Errors
    /// [`TabOver`]: hand over nothing more.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the units charged.
    pub async fn charge(&self, units: u32) -> Result<(), TabOver> {
        let owed = {
            let mut state = self.held.lock();
            state.owed = state.owed.saturating_add(units);
            state.owed
        };
        self.held
            .wait(|state| owed.saturating_sub(state.window) <= state.mark.index)
            .await
    }

    /// Waits until `total` units are paid in all, whatever is charged.
    ///
    /// # Errors
    /// [`TabOver`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_paid(&self, total: u32) -> Result<(), TabOver> {
        self.held.wait(|state| total <= state.mark.index).await
    }

    /// Takes no more payments, claims what was paid, and gives the rest back to the payer. Returns
    /// at once; the node sees to it, however long that takes.
    pub fn end(&self) {
        self.held.want_end();
    }

    /// Waits until the tab is over: closed by either side, or its time has passed.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn over(&self) -> TabOver {
        match self.held.wait(|_| false).await {
            Ok(()) => TabOver(None),
            Err(over) => over,
        }
    }
}

/// The payee's end of a tab, shared by its handles, the payer's connection and the keeper.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) terms: Terms,
    risk: Risk,
    state: Mutex<State>,
    moved: Notify,
    /// Wakes the keeper.
    keeper: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) payer: Option<Name>,
    /// The furthest link proven.
    pub(super) mark: Mark,
    /// Links on the way there that claims can go to without hashing again, oldest first.
    waypoints: VecDeque<Mark>,
    /// Units whose link is on the disk.
    pub(super) saved: u32,
    /// Units that the directory has confirmed.
    pub(super) claimed: u32,
    pub(super) expires: LedgerTime,
    owed: u32,
    window: u32,
    /// Since when something is proven that is not saved.
    pub(super) unsaved_since: Option<Instant>,
    /// Since when something is proven that is not claimed.
    pub(super) unclaimed_since: Option<Instant>,
    /// Whether an earlier run left something to claim.
    pub(super) late: bool,
    /// Whether the directory has said in this run that the tab is open.
    pub(super) asked: bool,
    /// Whether a task is claiming.
    pub(super) claiming: bool,
    phase: Phase,
    /// The payer's streams: more than one while a dead one has not been noticed.
    callers: Vec<Caller>,
}

impl Held {
    pub(super) fn new(row: IncomingRow, risk: Risk, keeper: Arc<Notify>) -> Self {
        let behind = row.mark.index > row.claimed;
        let state = State {
            payer: row.payer,
            waypoints: VecDeque::new(),
            saved: row.mark.index,
            claimed: row.claimed,
            mark: row.mark,
            expires: row.expires,
            owed: row.mark.index,
            window: 0,
            unsaved_since: None,
            unclaimed_since: behind.then(Instant::now),
            late: behind,
            asked: false,
            claiming: false,
            phase: Phase::Open,
            callers: Vec::new(),
        };
        Self {
            terms: row.terms,
            risk,
            state: Mutex::new(state),
            moved: Notify::new(),
            keeper,
        }
    }

    pub(super) const fn which(&self) -> (PublicKey, OrderId) {
        (self.terms.payer, self.terms.id)
    }

    /// Takes payments; the units that are then paid. Payments that come again change nothing.
    pub(super) fn take(&self, first: u32, step: u32, links: &[u8]) -> Result<u32, LinkError> {
        let (before, limit) = {
            let state = self.lock();
            if !state.phase.takes_payments() {
                return Ok(state.mark.index);
            }
            (state.mark, self.limit_at(&state))
        };
        // What goes beyond the limit is not counted, whoever pays it: it would be at risk.
        let steps = u64::try_from(links.len() / Link::LEN).unwrap_or(u64::MAX);
        let more = steps.saturating_sub(1).saturating_mul(u64::from(step));
        let last = u64::from(first).saturating_add(more);
        if last > u64::from(limit) && last <= u64::from(self.terms.length) && step > 0 {
            return Ok(before.index);
        }
        // Hashed outside of the lock: another stream of the payer may be as far or further by then.
        let advanced = before.advance(&self.terms.id, self.terms.length, first, step, links);
        let mark = match advanced {
            Ok(mark) => mark,
            Err(LinkError::Stale) => return Ok(before.index),
            Err(error) => return Err(error),
        };
        let wake = {
            let mut state = self.lock();
            if state.mark.index >= mark.index || !state.phase.takes_payments() {
                return Ok(state.mark.index);
            }
            state.pass(before);
            state.mark = mark;
            let clean = state.unsaved_since.is_none();
            if clean {
                state.unsaved_since = Some(Instant::now());
            }
            state.unclaimed_since.get_or_insert_with(Instant::now);
            let claim = !state.claiming && self.is_claim_pressing(&state);
            clean || claim || self.is_save_pressing(&state)
        };
        self.moved.notify_waiters();
        if wake {
            self.keeper.notify_one();
        }
        Ok(mark.index)
    }

    /// The units up to which payments are taken for now: what is lost if this program is killed
    /// is never worth more than the exposure.
    pub(super) fn limit(&self) -> u32 {
        self.limit_at(&self.lock())
    }

    fn limit_at(&self, state: &State) -> u32 {
        if state.phase.over().is_some() {
            return state.mark.index;
        }
        state
            .saved
            .saturating_add(self.risk.exposure)
            .min(state.claimed.saturating_add(self.risk.unclaimed_max))
            .min(self.terms.length)
    }

    /// Whether saving cannot wait for its time: half of what may be risked is.
    pub(super) fn is_save_pressing(&self, state: &State) -> bool {
        state.mark.index.saturating_sub(state.saved) > self.risk.exposure / 2
    }

    /// Whether claiming cannot wait for its time.
    pub(super) fn is_claim_pressing(&self, state: &State) -> bool {
        let unclaimed = state.mark.index.saturating_sub(state.claimed);
        let most = self.risk.unclaimed_max;
        unclaimed >= self.risk.claim_at.min(most / 2).max(1)
    }

    /// Ends the tab: no more payments; the keeper claims and closes.
    pub(super) fn want_end(&self) {
        if self.end(None) {
            self.keeper.notify_one();
        }
    }

    /// Ends the tab if its time has passed at `now`; true the first time.
    pub(super) fn expire(&self, now: LedgerTime) -> bool {
        let expires = self.lock().expires;
        now >= expires && self.end(Some(Reason::EXPIRED))
    }

    /// Ends the tab, for a reason if it is a bad one; false if it ends already.
    fn end(&self, reason: Option<Reason>) -> bool {
        {
            let mut state = self.lock();
            let Some(ending) = state.phase.ended(reason) else {
                return false;
            };
            state.phase = ending;
        }
        self.moved.notify_waiters();
        true
    }

    /// Takes no more payments in this run: what is claimed from now on is all.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.phase = state.phase.stopped();
    }

    /// Notes that nothing of the tab is left at the directory: the units that were not claimed, and
    /// are lost. None if that was known already.
    pub(super) fn gone(&self) -> Option<u32> {
        let lost = {
            let mut state = self.lock();
            let lost = state.mark.index.saturating_sub(state.claimed);
            state.phase = state.phase.gone(lost)?;
            lost
        };
        self.moved.notify_waiters();
        Some(lost)
    }

    /// Ties the tab to a stream of the payer, whose limit moves with saves and claims.
    pub(super) fn connect(&self, caller: Caller) {
        let mut state = self.lock();
        state.callers.retain(Caller::is_there);
        state.callers.push(caller);
    }

    /// Tells the payer where the tab stands now.
    pub(super) fn tell(&self) {
        self.lock().callers.iter().for_each(Caller::tell);
    }

    pub(super) async fn wait(&self, mut test: impl FnMut(&State) -> bool) -> Result<(), TabOver> {
        loop {
            let moved = self.moved.notified();
            {
                let state = self.lock();
                if test(&state) {
                    return Ok(());
                }
                if let Some(over) = state.phase.over() {
                    return Err(over);
                }
            }
            moved.await;
        }
    }

    /// The most that a crash may lose.
    pub(super) fn exposure(&self) -> Amount {
        self.amount(self.risk.exposure.min(self.terms.length))
    }

    pub(super) fn amount(&self, count: u32) -> Amount {
        units(self.terms.unit, count).unwrap_or(Amount::MAX)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How far the tab has come; the methods of [`Held`] alone take it further.
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Remembers a mark that a later claim can go to, now and then.
    fn pass(&mut self, mark: Mark) {
        let last = self.waypoints.back().map_or(self.claimed, |it| it.index);
        if mark.index.saturating_sub(last) >= WAYPOINT_EVERY {
            self.waypoints.push_back(mark);
        }
    }

    /// How far the next claim goes: as far as one may, or to the last waypoint on the way.
    pub(super) fn target(&mut self) -> Mark {
        let most = self.claimed.saturating_add(GAP_MAX);
        while let Some(first) = self.waypoints.front()
            && first.index <= self.claimed
        {
            self.waypoints.pop_front();
        }
        if self.mark.index <= most {
            return self.mark;
        }
        let on_the_way = self.waypoints.iter().rev();
        let last = on_the_way.copied().find(|it| it.index <= most);
        // None after a restart: then it is hashed anew.
        last.unwrap_or(self.mark)
    }
}

/// How far waypoints are apart: with payments of any size up to the largest there is always one
/// within a claim's reach, and of a tab that nobody claims there are at most 32.
const WAYPOINT_EVERY: u32 = GAP_MAX / 2;

#[cfg(test)]
mod tests;
