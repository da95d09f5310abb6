//! The ledger's time as this node knows it: what the directory last said, and how long ago.

use std::sync::{Mutex, PoisonError};

use quid_common::time::LedgerTime;
use tokio::time::Instant;

/// An estimate of ledger time that never runs backward. The directory alone decides expiry
/// (promise I8); this only chooses when new orders shall expire and spares it hopeless ones.
#[derive(Debug, Default)]
pub(crate) struct LedgerClock {
    last: Mutex<Option<(LedgerTime, Instant)>>,
}

impl LedgerClock {
    /// Takes what the directory said to be the time at `at`.
    pub(crate) fn observe(&self, time: LedgerTime, at: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| estimate(last, at) < time) {
            *last = Some((time, at));
        }
    }

    /// The time at `at`; none before the directory has ever said one.
    pub(crate) fn at(&self, at: Instant) -> Option<LedgerTime> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| estimate(last, at))
    }

    /// The time now.
    pub(crate) fn now(&self) -> Option<LedgerTime> {
        self.at(Instant::now())
    }
}

fn estimate((time, at): (LedgerTime, Instant), now: Instant) -> LedgerTime {
    time.plus(now.saturating_duration_since(at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_goes_on_by_itself_and_never_back() {
        let (clock, start) = (LedgerClock::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(clock.at(start), None);
        clock.observe(LedgerTime::from_millis(10_000), start);
        assert_eq!(
            clock.at(start + second),
            Some(LedgerTime::from_millis(11_000))
        );
        clock.observe(LedgerTime::from_millis(9_000), start + second);
        assert_eq!(
            clock.at(start + second),
            Some(LedgerTime::from_millis(11_000))
        );
        clock.observe(LedgerTime::from_millis(20_000), start + second);
        assert_eq!(
            clock.at(start + 2 * second),
            Some(LedgerTime::from_millis(21_000))
        );
    }
}
