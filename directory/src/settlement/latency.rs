//! How long payments take, finely enough to tell the middle one and the slow ones of a few seconds:
//! counts of durations, each 19 % longer than the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of durations; cheap to clone, and every clone counts on.
#[derive(Clone, Debug)]
pub struct Latency(Arc<[AtomicU64; STEPS]>);

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted([u64; STEPS]);

impl Default for Latency {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

impl Latency {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let octaves = (took.as_secs_f64() / SHORTEST).log2();
        // What is shorter than the shortest comes out negative, and is cut to nothing.
        let step = (octaves * STEPS_PER_OCTAVE).ceil() as usize;
        if let Some(count) = self.0.get(step.min(STEPS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counts since the start.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted(std::array::from_fn(|at| {
            self.0
                .get(at)
                .map_or(0, |count| count.load(Ordering::Relaxed))
        }))
    }
}

impl Counted {
    /// What came to be counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(before);
        }
        since
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The seconds within which this share of them was done, rounded up by a fifth at most; `None` if
    /// there was none. Past the last step it is as long as that.
    #[must_use]
    pub fn within(&self, share: f64) -> Option<f64> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let wanted = (share * all as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let step = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(SHORTEST * (step as f64 / STEPS_PER_OCTAVE).exp2())
    }
}

/// The first step, in seconds.
const SHORTEST: f64 = 0.0001;

/// Steps in which a duration doubles.
const STEPS_PER_OCTAVE: f64 = 4.0;

/// From 0.1 ms to some 7 s.
const STEPS: usize = 65;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_slow_ones_are_told_within_a_fifth() {
        let latency = Latency::default();
        assert_eq!(latency.counted().within(0.5), None);
        for ms in 1..=100 {
            latency.observe(Duration::from_millis(ms));
        }
        let counted = latency.counted();
        assert_eq!(counted.count(), 100);
        for (share, ms) in [(0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = counted.within(share).expect("some were counted") * 1e3;
            assert!((ms..ms * 1.2).contains(&found), "{share}: {found}");
        }
        // What came before is not what comes now.
        latency.observe(Duration::from_millis(3));
        let since = latency.counted().since(&counted);
        let found = since.within(0.99).expect("one was counted") * 1e3;
        assert!((3.0..3.6).contains(&found), "{found}");
    }

    #[test]
    fn what_is_off_either_end_is_counted_there() {
        let latency = Latency::default();
        latency.observe(Duration::ZERO);
        assert_eq!(latency.counted().within(1.0), Some(SHORTEST));
        latency.observe(Duration::from_secs(86_400));
        let longest = latency.counted().within(1.0).expect("some were counted");
        assert!((6.0..8.0).contains(&longest), "{longest}");
    }
}
