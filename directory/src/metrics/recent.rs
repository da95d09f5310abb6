//! What happened lately: a look at the counts every [`EVERY`], kept for [`KEPT`] looks. It is what the
//! dashboard draws, so that whoever opens it sees the last quarter of an hour at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::refusal::Reason;

use crate::member::Directory;
use crate::settlement::Counted;
use crate::shed::Cause;

/// The time between two looks.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Looks that are kept: a quarter of an hour, in some 300 KB.
pub(super) const KEPT: usize = 450;

/// All counts at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    payments: u64,
    latency: Counted,
    pub(super) online: usize,
    pub(super) queue: usize,
    /// By the order of [`Reason::ALL`].
    pub(super) refused: Vec<u64>,
    /// By the order of [`Cause::ALL`].
    pub(super) shed: Vec<u64>,
}

impl Look {
    /// A look at `directory` now.
    pub(super) fn at(directory: &Directory) -> Self {
        let counts = directory.settlements.counts();
        let waiting = directory.settlements.waiting();
        let payments = counts.entries.get_or_create(&[("kind", "payment")]).get();
        let refused = Reason::ALL.iter().map(|reason| {
            let label = [("reason", reason.name())];
            counts.refused.get_or_create(&label).get()
        });
        Self {
            payments,
            latency: counts.latency.counted(),
            online: directory.presence.len(),
            queue: waiting.trusted + waiting.distrusted + waiting.claims,
            refused: refused.collect(),
            shed: directory
                .sentry
                .shed
                .counts()
                .map(|(_, count)| count)
                .collect(),
        }
    }

    /// How many answers refused, and how often somebody was shed.
    fn refusals(&self) -> u64 {
        self.refused.iter().chain(&self.shed).sum()
    }
}

/// What happened from one look to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Counted from the start of the process.
    pub(super) number: u64,
    /// Payments a second.
    pub(super) payments: f64,
    /// Seconds within which half of the new entries were answered; `None` if there were none.
    pub(super) half: Option<f64>,
    /// The same of 99 in 100.
    pub(super) most: Option<f64>,
    /// Nodes that other members can reach.
    pub(super) online: usize,
    /// Jobs that wait.
    pub(super) queue: usize,
    /// Refusals and sheddings a second.
    pub(super) refusals: f64,
}

/// The looks of the last quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Looks>);

#[derive(Debug, Default)]
struct Looks {
    /// The number of the newest look.
    number: u64,
    looks: VecDeque<Look>,
    samples: VecDeque<Sample>,
}

impl Recent {
    /// Adds a look, `after` the one before.
    pub(super) fn add(&self, look: Look, after: Duration) {
        let mut kept = self.lock();
        kept.number += 1;
        let number = kept.number;
        let sample = kept
            .looks
            .back()
            .map(|before| sample(number, before, &look, after));
        kept.samples.extend(sample);
        kept.looks.push_back(look);
        while kept.looks.len() > KEPT {
            kept.looks.pop_front();
        }
        while kept.samples.len() > KEPT {
            kept.samples.pop_front();
        }
    }

    /// The samples behind that of number `after`.
    pub(super) fn samples(&self, after: u64) -> Vec<Sample> {
        let kept = self.lock();
        let behind = kept.samples.iter().filter(|sample| sample.number > after);
        behind.copied().collect()
    }

    /// The oldest look that is kept.
    pub(super) fn oldest(&self) -> Option<Look> {
        self.lock().looks.front().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(number: u64, before: &Look, now: &Look, after: Duration) -> Sample {
    // The pause is never shorter; the guard is for a clock that stands still.
    let seconds = after.as_secs_f64().max(0.001);
    let latency = now.latency.since(&before.latency);
    Sample {
        number,
        payments: now.payments.saturating_sub(before.payments) as f64 / seconds,
        half: latency.within(0.5),
        most: latency.within(0.99),
        online: now.online,
        queue: now.queue,
        refusals: now.refusals().saturating_sub(before.refusals()) as f64 / seconds,
    }
}

/// Names of what a look counts by kind, with the counts since the start and since `oldest`; those that
/// never came are left out, the most frequent come first.
pub(super) fn by_kind<'a>(
    names: impl Iterator<Item = &'a str>,
    now: &[u64],
    oldest: &[u64],
) -> Vec<(&'a str, u64, u64)> {
    let before = oldest.iter().copied().chain(std::iter::repeat(0));
    let rows = names.zip(now).zip(before);
    let rows = rows.map(|((name, now), before)| (name, *now, now.saturating_sub(before)));
    let mut rows: Vec<_> = rows.filter(|(_, now, _)| *now > 0).collect();
    rows.sort_by_key(|(_, now, lately)| std::cmp::Reverse((*lately, *now)));
    rows
}

/// The names of all reasons and all causes.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.name())
}

/// See [`reasons`].
pub(super) fn causes() -> impl Iterator<Item = &'static str> {
    Cause::ALL.iter().map(|cause| cause.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::Latency;

    fn look(payments: u64, online: usize, refused: u64) -> Look {
        let latency = Latency::default();
        (0..payments).for_each(|_| latency.observe(Duration::from_millis(4)));
        Look {
            payments,
            latency: latency.counted(),
            online,
            queue: 0,
            refused: vec![refused, 0],
            shed: vec![0],
        }
    }

    #[test]
    fn a_sample_is_what_happened_between_two_looks() {
        let recent = Recent::default();
        for (payments, online, refused) in [(10, 1, 0), (30, 2, 0), (30, 0, 6)] {
            recent.add(look(payments, online, refused), Duration::from_secs(2));
        }
        let samples = recent.samples(0);
        assert_eq!(samples.len(), 2);
        let (busy, idle) = (samples[0], samples[1]);
        assert_eq!((busy.number, busy.payments, busy.online), (2, 10.0, 2));
        assert!(
            busy.most
                .is_some_and(|most| (0.004..0.0048).contains(&most))
        );
        assert_eq!((idle.number, idle.payments, idle.half), (3, 0.0, None));
        assert_eq!(idle.refusals, 3.0);
        assert_eq!(recent.samples(2), [idle]);
        assert!(recent.samples(3).is_empty());
    }

    #[test]
    fn no_more_is_kept_than_said() {
        let recent = Recent::default();
        for count in 0..2 * KEPT as u64 {
            recent.add(look(count % 7, 0, 0), EVERY);
        }
        assert_eq!(recent.samples(0).len(), KEPT);
        assert_eq!(recent.lock().looks.len(), KEPT);
    }

    #[test]
    fn kinds_that_never_came_are_left_out_and_the_latest_come_first() {
        let names = ["never", "once", "often"].into_iter();
        let rows = by_kind(names, &[0, 5, 9], &[0, 5]);
        assert_eq!(rows, [("often", 9, 9), ("once", 5, 0)]);
    }
}
