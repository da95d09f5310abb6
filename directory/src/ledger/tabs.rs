//! The open tabs: what each stands at, and in which order they come to be released.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use quid_common::chain::Mark;
use quid_common::id::OrderId;
use quid_common::tab::Tab;
use quid_common::time::LedgerTime;

/// A tab's id and its payer's number. Ids begin with their time, so new ones stand at the end.
pub(super) type Which = (OrderId, u64);

/// All open tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tabs {
    open: BTreeMap<Which, Open>,
    /// By how long they wait, then when they are over. Follows from `open`.
    ends: BTreeSet<End>,
    /// How many each payer has; no zeros. Follows from `open`.
    of: BTreeMap<u64, u32>,
}

/// An open tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// What the rules need.
    pub(super) tab: Tab,
    /// The payee's number.
    pub(super) payee: u64,
    /// The entry that opened it.
    pub(super) opened: u64,
    /// The entry of the last claim, if there was one.
    pub(super) claimed: Option<NonZero<u64>>,
    /// The entry of the last close, if there was one.
    pub(super) closed: Option<NonZero<u64>>,
}

/// Where a tab stands in the order of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    /// See [`Open::wait_ms`].
    wait_ms: u32,
    until: LedgerTime,
    which: Which,
}

impl Open {
    /// The tab that entry `opened` opens.
    pub(super) const fn new(tab: Tab, payee: u64, opened: u64) -> Self {
        Self {
            tab,
            payee,
            opened,
            claimed: None,
            closed: None,
        }
    }

    /// The tab after entry `entry` claimed up to `mark`.
    pub(super) const fn claimed(mut self, mark: Mark, entry: u64) -> Self {
        self.tab.claimed = mark;
        self.claimed = NonZero::new(entry);
        self
    }

    /// The tab after entry `entry`, at `time`, closed it; by its payee or by its payer.
    pub(super) fn closed(self, by_payee: bool, time: LedgerTime, entry: u64) -> Self {
        let tab = if by_payee {
            self.tab.closed_by_payee(time)
        } else {
            self.tab.closed_by_payer(time)
        };
        Self {
            tab,
            closed: NonZero::new(entry),
            ..self
        }
    }

    /// Whether a close, by its payee or by its payer, changes anything at `time`.
    pub(super) fn can_close(&self, by_payee: bool, time: LedgerTime) -> bool {
        if by_payee {
            !self.tab.is_closed_by_payee()
        } else {
            time < self.tab.expires
        }
    }

    /// Whether it may be released at `now` by a directory that serves since `served_since`.
    pub(super) fn is_due(&self, now: LedgerTime, served_since: LedgerTime) -> bool {
        self.tab.is_over(now) && millis(now, served_since) >= self.wait_ms()
    }

    /// How long the directory must have served before it releases: the grace, or no time at all once
    /// the payee has closed.
    fn wait_ms(&self) -> u32 {
        millis(self.tab.until, self.tab.expires)
    }

    fn end(&self, which: Which) -> End {
        End {
            wait_ms: self.wait_ms(),
            until: self.tab.until,
            which,
        }
    }
}

impl Tabs {
    pub(super) fn get(&self, which: Which) -> Option<&Open> {
        self.open.get(&which)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many `payer` has.
    pub(super) fn of(&self, payer: u64) -> u32 {
        self.of.get(&payer).copied().unwrap_or(0)
    }

    /// See [`super::Ledger::next_due`].
    pub(super) fn next_due(&self, served_since: LedgerTime) -> Option<LedgerTime> {
        let mut soonest: Option<LedgerTime> = None;
        let mut next = Some(0);
        while let Some(from) = next.map(End::first)
            && let Some(first) = self.ends.range(from..).next()
        {
            let served = served_since.plus(Duration::from_millis(first.wait_ms.into()));
            let due = first.until.max(served);
            soonest = Some(soonest.map_or(due, |soonest| soonest.min(due)));
            next = first.wait_ms.checked_add(1);
        }
        soonest
    }

    /// Those behind `last`, by id, then by the payers' numbers.
    pub(super) fn after(&self, last: Option<Which>) -> impl Iterator<Item = (Which, &Open)> {
        self.open
            .range((last.map_or(Unbounded, Excluded), Unbounded))
            .map(|(&which, open)| (which, open))
    }

    /// Puts a tab there, in the place of what it was before if it was open; whether it was not.
    pub(super) fn put(&mut self, which: Which, open: Open) -> bool {
        let before = self.open.insert(which, open);
        if before.is_none() {
            let count = self.of.entry(which.1).or_default();
            *count = count.saturating_add(1);
        }
        // A claim does not move it.
        let (old, new) = (before.map(|it| it.end(which)), open.end(which));
        if old != Some(new) {
            if let Some(old) = old {
                self.ends.remove(&old);
            }
            self.ends.insert(new);
        }
        before.is_none()
    }

    pub(super) fn remove(&mut self, which: Which) -> Option<Open> {
        let open = self.open.remove(&which)?;
        self.ends.remove(&open.end(which));
        match self.of.get_mut(&which.1) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) => drop(self.of.remove(&which.1)),
            None => {}
        }
        Some(open)
    }

    /// See [`super::Ledger::due`]. Looks at no tab that is not due: one step for each different
    /// wait, and one for each tab found.
    pub(super) fn due(&self, now: LedgerTime, served_since: LedgerTime, most: usize) -> Vec<Which> {
        let served_ms = millis(now, served_since);
        let mut due = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next.map(End::first) {
            let Some(first) = self.ends.range(from..).next() else {
                break;
            };
            let wait_ms = first.wait_ms;
            let room = most.saturating_sub(due.len());
            if wait_ms > served_ms || room == 0 {
                break;
            }
            let over = self
                .ends
                .range(End::first(wait_ms)..)
                .take_while(|end| end.wait_ms == wait_ms && end.until <= now);
            due.extend(over.take(room).map(|end| end.which));
            next = wait_ms.checked_add(1);
        }
        due
    }
}

impl End {
    /// Before all that wait so long.
    fn first(wait_ms: u32) -> Self {
        let zero = LedgerTime::default();
        Self {
            wait_ms,
            until: zero,
            which: (OrderId::new(zero, [0; 10]), 0),
        }
    }
}

/// From `earlier` to `later`, in milliseconds.
fn millis(later: LedgerTime, earlier: LedgerTime) -> u32 {
    u32::try_from(later.since(earlier).as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
