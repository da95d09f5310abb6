//! A tab that this account pays: what is queued, what is acknowledged, and who waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quid_common::amount::Amount;
use quid_common::chain::{Chain, GAP_MAX, Link};
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::tab::{Terms, units};
use thiserror::Error;
use tokio::sync::Notify;

use crate::home::TabLock;

/// Why a tab pays no more, or not this much. What was paid before stays paid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TabError {
    /// Less is left on the tab. Pay less, or open another tab that goes on from this one.
    #[error("the tab has {left} units left")]
    Spent {
        /// Units left.
        left: u32,
    },
    /// The payee takes no more for this tab, for this reason if it is not closed in good order.
    #[error("the tab has ended{}", .0.map(|reason| format!(": {reason}")).unwrap_or_default())]
    Ended(Option<Reason>),
    /// The node has been closed.
    #[error("the node has been closed")]
    Stopped,
}

/// How far a tab is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units that are paid or queued to be.
    pub queued: u32,
    /// Units of the payments that have left. Beyond [`Self::paid`], whether they are paid is not
    /// known.
    pub sent: u32,
    /// Units that the payee has acknowledged.
    pub paid: u32,
}

/// The payer's end of a tab, shared by its handles and the line to the payee.
pub(crate) struct Paying {
    pub(super) terms: Terms,
    pub(super) payee: Name,
    /// What shows the payee that the tab is open.
    pub(super) receipt: Receipt,
    pub(super) chain: Mutex<Chain>,
    state: Mutex<State>,
    /// Told whenever something is acknowledged, allowed or over.
    moved: Notify,
    /// No other process pays on this tab meanwhile.
    _lock: TabLock,
}

#[derive(Debug, Default)]
struct State {
    /// Payments that have not left, in order.
    queue: VecDeque<Run>,
    /// Units of all payments, the queued ones included.
    queued: u32,
    /// Units set aside for payments that wait to be queued.
    reserved: u32,
    /// Units of the payments that have left.
    sent: u32,
    paid: u32,
    /// Units that the payee takes for now; nothing before it has accepted the tab.
    limit: u32,
    accepted: bool,
    /// Whether the line has found nothing to send, and must be woken.
    asleep: bool,
    /// What the payee showed when it accepted, until it is held against the chain.
    shown: Option<Shown>,
    closing: Closing,
    ended: Option<Option<Reason>>,
}

/// So many payments of so many units each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    step: u32,
    count: u32,
}

/// Where the payee says it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) paid: u32,
    pub(super) link: Link,
    pub(super) limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    Wanted,
    Asked,
}

/// Units set aside for one payment; what is left of them is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    paying: &'a Paying,
    left: u32,
}

impl Reserved<'_> {
    /// Queues as much as the payee takes for now; none in the result once all is.
    pub(super) fn push(&mut self) -> Result<(Pushed, bool), TabError> {
        let mut state = self.paying.lock();
        if let Some(reason) = state.ended {
            return Err(TabError::Ended(reason));
        }
        let units = self.left.min(state.room());
        state.reserved -= units;
        self.left -= units;
        Ok((state.push(units), self.left == 0))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.paying.lock().reserved -= self.left;
    }
}

/// What became of a payment that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// How much of it was.
    pub(super) units: u32,
    /// Units that are then paid or queued in all.
    pub(super) queued: u32,
    /// Whether the line has to be woken.
    pub(super) wakes: bool,
}

/// Payments about to leave in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) first: u32,
    pub(super) step: u32,
    pub(super) count: u32,
}

impl Paying {
    pub(super) fn new(
        terms: Terms,
        payee: Name,
        receipt: Receipt,
        chain: Chain,
        paid: u32,
        lock: TabLock,
    ) -> Self {
        let state = State {
            queued: paid,
            sent: paid,
            paid,
            ..State::default()
        };
        Self {
            terms,
            payee,
            receipt,
            chain: Mutex::new(chain),
            state: Mutex::new(state),
            moved: Notify::new(),
            _lock: lock,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let state = self.lock();
        Progress {
            queued: state.queued,
            sent: state.sent,
            paid: state.paid,
        }
    }

    /// Sets `units` aside for one payment, whole or not at all.
    pub(super) fn reserve(&self, units: u32) -> Result<Reserved<'_>, TabError> {
        let mut state = self.lock();
        let left = state.left(self.terms.length);
        if let Some(reason) = state.ended {
            return Err(TabError::Ended(reason));
        }
        if units > left {
            return Err(TabError::Spent { left });
        }
        state.reserved += units;
        Ok(Reserved {
            paying: self,
            left: units,
        })
    }

    /// Queues all of `units` if the payee takes them for now, else none.
    pub(super) fn push(&self, units: u32) -> Result<Option<Pushed>, TabError> {
        let mut state = self.lock();
        if units > state.room().min(state.left(self.terms.length)) || state.ended.is_some() {
            return Ok(None);
        }
        Ok(Some(state.push(units)))
    }

    /// Waits until `test` has an answer.
    pub(super) async fn wait<T>(&self, mut test: impl FnMut(&View) -> Option<T>) -> T {
        loop {
            let moved = self.moved.notified();
            let view = self.lock().view();
            if let Some(found) = test(&view) {
                return found;
            }
            moved.await;
        }
    }

    /// The next payments to leave, at most `most` links; none while there are none or the payee
    /// has not accepted on this connection.
    pub(super) fn leave(&self, most: u32) -> Option<Leaving> {
        self.lock().leave(most)
    }

    /// Takes the payee's acceptance as it came, to be held against the chain before anything
    /// leaves.
    pub(super) fn show(&self, shown: Shown) {
        self.lock().shown = Some(shown);
    }

    /// Holds what the payee showed against the chain. From then on payments leave, first what the
    /// payee lacks. False if the payee showed a link that is none of this tab's.
    pub(super) fn accept(&self) -> bool {
        let Some(shown) = self.lock().shown.take() else {
            return true;
        };
        let ours = self.lock_chain().link(shown.paid);
        if ours != Some(shown.link) {
            return false;
        }
        self.lock().accept(shown);
        self.moved.notify_waiters();
        true
    }

    /// Takes an acknowledgement, and the limit that holds from now on if it moved.
    ///
    /// True if the line has something to send that had to wait for the limit.
    pub(super) fn acknowledge(&self, paid: u32, limit: Option<u32>) -> bool {
        let waits = {
            let mut state = self.lock();
            // Beyond what has left nothing can be acknowledged; a lie about it is the liar's loss.
            state.paid = state.paid.max(paid.min(state.sent));
            if let Some(limit) = limit {
                state.limit = limit.min(self.terms.length);
            }
            !state.queue.is_empty()
        };
        self.moved.notify_waiters();
        waits
    }

    /// The connection is gone: the payee must accept anew.
    pub(super) fn disconnect(&self) {
        let mut state = self.lock();
        state.accepted = false;
        state.shown = None;
        if state.closing == Closing::Asked {
            state.closing = Closing::Wanted;
        }
    }

    /// The payee takes no more.
    pub(super) fn end(&self, reason: Option<Reason>) {
        self.lock().ended.get_or_insert(reason);
        self.moved.notify_waiters();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Has the payee asked to claim and close.
    pub(super) fn want_close(&self) {
        let mut state = self.lock();
        if state.closing == Closing::No {
            state.closing = Closing::Wanted;
        }
    }

    /// Whether the payee is to be asked to close now: once, after all payments.
    pub(super) fn takes_close(&self) -> bool {
        let mut state = self.lock();
        let due = state.closing == Closing::Wanted && state.accepted && state.queue.is_empty();
        if due {
            state.closing = Closing::Asked;
        }
        due
    }

    pub(super) fn amount(&self, count: u32) -> Amount {
        units(self.terms.unit, count).unwrap_or(Amount::MAX)
    }

    pub(super) fn lock_chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody who waits can see.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) queued: u32,
    pub(super) paid: u32,
    pub(super) limit: u32,
    pub(super) accepted: bool,
    pub(super) ended: Option<Option<Reason>>,
}

impl State {
    fn view(&self) -> View {
        View {
            queued: self.queued,
            paid: self.paid,
            limit: self.limit,
            accepted: self.accepted,
            ended: self.ended,
        }
    }

    /// Units that nobody has queued or set aside.
    const fn left(&self, length: u32) -> u32 {
        length
            .saturating_sub(self.queued)
            .saturating_sub(self.reserved)
    }

    /// Units that the payee takes for now, in one step.
    fn room(&self) -> u32 {
        self.limit.saturating_sub(self.queued).min(GAP_MAX)
    }

    fn push(&mut self, units: u32) -> Pushed {
        if units > 0 {
            self.queued += units;
            match self.queue.back_mut() {
                Some(run) if run.step == units => run.count += 1,
                _ => self.queue.push_back(Run {
                    step: units,
                    count: 1,
                }),
            }
        }
        Pushed {
            units,
            queued: self.queued,
            wakes: units > 0 && std::mem::take(&mut self.asleep),
        }
    }

    fn leave(&mut self, most: u32) -> Option<Leaving> {
        self.asleep = !self.accepted || self.ended.is_some() || self.queue.is_empty();
        if self.asleep {
            return None;
        }
        // Only behind a lost connection can more be queued than the payee takes now.
        let room = self.limit.saturating_sub(self.sent);
        let mut run = *self.queue.front()?;
        if run.step > room {
            if room == 0 {
                return None;
            }
            self.queue.pop_front();
            if run.count > 1 {
                run.count -= 1;
                self.queue.push_front(run);
            }
            let step = run.step - room;
            self.queue.push_front(Run { step, count: 1 });
            self.queue.push_front(Run {
                step: room,
                count: 1,
            });
        }
        let run = self.queue.front_mut()?;
        let fits = (room / run.step).min(GAP_MAX / run.step).max(1);
        let count = run.count.min(most).min(fits);
        let leaving = Leaving {
            first: self.sent + run.step,
            step: run.step,
            count,
        };
        self.sent += run.step * count;
        run.count -= count;
        if run.count == 0 {
            self.queue.pop_front();
        }
        Some(leaving)
    }

    fn accept(&mut self, shown: Shown) {
        let Shown { paid, limit, .. } = shown;
        if paid > self.sent {
            // An earlier run of this program paid these.
            let more = paid - self.sent;
            self.sent = paid;
            self.queued = self.queued.saturating_add(more);
        }
        self.paid = self.paid.max(paid);
        self.limit = limit;
        let mut lacking = self.sent.saturating_sub(paid);
        self.sent -= lacking;
        while lacking > 0 {
            let step = lacking.min(GAP_MAX);
            self.queue.push_front(Run { step, count: 1 });
            lacking -= step;
        }
        self.accepted = true;
    }
}

/// Short: what is not spent yet is money.
impl fmt::Debug for Paying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paying")
            .field("tab", &self.terms.id)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(sent: u32, limit: u32) -> State {
        let mut state = State {
            queued: sent,
            sent,
            paid: sent,
            ..State::default()
        };
        state.accept(Shown {
            paid: sent,
            link: Link([0; 32]),
            limit,
        });
        state
    }

    #[test]
    fn nothing_is_queued_before_the_payee_has_accepted() {
        let mut state = State::default();
        assert_eq!((state.room(), state.left(10)), (0, 10));
        assert_eq!(state.leave(9), None);
        state.reserved = 4;
        assert_eq!(state.left(10), 6);
    }

    #[test]
    fn payments_of_one_size_leave_together_and_in_order() {
        let mut state = accepted(0, 100);
        for units in [1, 1, 1, 5, 1] {
            assert_eq!(state.push(units).units, units);
        }
        let leave = |state: &mut State| state.leave(2).map(|it| (it.first, it.step, it.count));
        assert_eq!(leave(&mut state), Some((1, 1, 2)));
        assert_eq!(leave(&mut state), Some((3, 1, 1)));
        assert_eq!(leave(&mut state), Some((8, 5, 1)));
        assert_eq!(leave(&mut state), Some((9, 1, 1)));
        assert_eq!(leave(&mut state), None);
    }

    #[test]
    fn the_payees_limit_holds_payments_back_also_behind_a_lost_connection() {
        let mut state = accepted(0, 10);
        assert_eq!(state.room(), 10);
        for units in [4, 4] {
            state.push(units);
        }
        assert_eq!(state.room(), 2);
        let leave = |state: &mut State| state.leave(9).map(|it| (it.first, it.step, it.count));
        assert_eq!(leave(&mut state), Some((4, 4, 2)));
        // The payee comes back with less room than it had.
        let shown = |paid, limit| Shown {
            paid,
            link: Link([0; 32]),
            limit,
        };
        state.accept(shown(0, 3));
        assert_eq!(leave(&mut state), Some((3, 3, 1)));
        assert_eq!(leave(&mut state), None);
        state.limit = 7;
        assert_eq!(leave(&mut state), Some((7, 4, 1)));
        state.limit = 200_000;
        assert_eq!(leave(&mut state), Some((8, 1, 1)));
        assert_eq!(state.room(), GAP_MAX);
    }

    #[test]
    fn what_the_payee_lacks_leaves_again_first_and_what_it_shows_counts() {
        let mut state = accepted(0, 100);
        assert_eq!(state.push(10).units, 10);
        assert!(state.leave(9).is_some());
        assert_eq!(state.push(2).units, 2);
        state.accept(Shown {
            paid: 4,
            link: Link([0; 32]),
            limit: 100,
        });
        assert_eq!((state.paid, state.sent, state.queued), (4, 4, 12));
        let first = state.leave(9).map(|it| (it.first, it.step, it.count));
        assert_eq!(first, Some((10, 6, 1)));
        let next = state.leave(9).map(|it| (it.first, it.step, it.count));
        assert_eq!(next, Some((12, 2, 1)));
        // A run of the program before this one had paid more than this one knows.
        state.accept(Shown {
            paid: 20,
            link: Link([0; 32]),
            limit: 100,
        });
        assert_eq!((state.paid, state.sent, state.queued), (20, 20, 20));
    }
}
