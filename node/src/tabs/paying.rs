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
            paid: state.paid,
        }
    }

    /// Queues as much of `units` as the payee takes for now.
    pub(super) fn push(&self, units: u32) -> Result<Pushed, TabError> {
        let mut state = self.lock();
        let units = state.push(units, self.terms.length)?;
        Ok(Pushed {
            units,
            queued: state.queued,
            wakes: units > 0 && std::mem::take(&mut state.asleep),
        })
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
    pub(super) fn acknowledge(&self, paid: u32, limit: Option<u32>) {
        {
            let mut state = self.lock();
            // Beyond what has left nothing can be acknowledged; a lie about it is the liar's loss.
            state.paid = state.paid.max(paid.min(state.sent));
            if let Some(limit) = limit {
                state.limit = limit.min(self.terms.length);
            }
        }
        self.moved.notify_waiters();
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

    fn push(&mut self, units: u32, length: u32) -> Result<u32, TabError> {
        if let Some(reason) = self.ended {
            return Err(TabError::Ended(reason));
        }
        let left = length.saturating_sub(self.queued);
        if units > left {
            return Err(TabError::Spent { left });
        }
        let step = units
            .min(self.limit.saturating_sub(self.queued))
            .min(GAP_MAX);
        if step == 0 {
            return Ok(0);
        }
        self.queued += step;
        match self.queue.back_mut() {
            Some(run) if run.step == step => run.count += 1,
            _ => self.queue.push_back(Run { step, count: 1 }),
        }
        Ok(step)
    }

    fn leave(&mut self, most: u32) -> Option<Leaving> {
        self.asleep = !self.accepted || self.ended.is_some() || self.queue.is_empty();
        if self.asleep {
            return None;
        }
        let run = self.queue.front_mut()?;
        let count = run.count.min(most).min((GAP_MAX / run.step).max(1));
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
        assert_eq!(state.push(3, 10), Ok(0));
        assert_eq!(state.push(11, 10), Err(TabError::Spent { left: 10 }));
        assert_eq!(state.leave(9), None);
    }

    #[test]
    fn payments_of_one_size_leave_together_and_in_order() {
        let mut state = accepted(0, 100);
        for units in [1, 1, 1, 5, 1] {
            assert_eq!(state.push(units, 100), Ok(units));
        }
        let leave = |state: &mut State| state.leave(2).map(|it| (it.first, it.step, it.count));
        assert_eq!(leave(&mut state), Some((1, 1, 2)));
        assert_eq!(leave(&mut state), Some((3, 1, 1)));
        assert_eq!(leave(&mut state), Some((8, 5, 1)));
        assert_eq!(leave(&mut state), Some((9, 1, 1)));
        assert_eq!(leave(&mut state), None);
    }

    #[test]
    fn the_payees_limit_holds_payments_back_and_the_rest_follows() {
        let mut state = accepted(0, 4);
        assert_eq!(state.push(10, 100), Ok(4));
        assert_eq!(state.push(6, 100), Ok(0));
        state.limit = 200_000;
        assert_eq!(state.push(150_000, 200_000), Ok(GAP_MAX));
    }

    #[test]
    fn what_the_payee_lacks_leaves_again_first_and_what_it_shows_counts() {
        let mut state = accepted(0, 100);
        assert_eq!(state.push(10, 100), Ok(10));
        assert!(state.leave(9).is_some());
        assert_eq!(state.push(2, 100), Ok(2));
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
