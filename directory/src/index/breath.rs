//! Spreads a transaction over the time that it has.
//!
//! At full speed one takes a processor from the settlement for a twentieth of a second, and the p99
//! of payments tells of it.

use std::thread;
use std::time::{Duration, Instant};

use super::Shared;

/// Rows between two rests: half a millisecond's.
const ROWS: u32 = 512;

/// How much longer a rest is than the work before it.
const REST: u32 = 4;

/// Rests now and then within one transaction.
pub(super) struct Breath<'a> {
    /// None where nobody is at work beside this.
    beside: Option<&'a Shared>,
    /// The transaction's first entry.
    first: u64,
    rows: u32,
    since: Instant,
}

impl<'a> Breath<'a> {
    pub(super) fn new(beside: Option<&'a Shared>, first: u64) -> Self {
        Self {
            beside,
            first,
            rows: 0,
            since: Instant::now(),
        }
    }

    /// To be called with each row.
    pub(super) fn take(&mut self) {
        self.rows += 1;
        if !self.rows.is_multiple_of(ROWS) {
            return;
        }
        if let Some(rest) = self.rest() {
            thread::sleep(rest);
        }
        self.since = Instant::now();
    }

    /// How long to rest now. Not at all once the next transaction is half full already, or it is
    /// time to stop: who falls behind keeps ids in the ledger's memory.
    fn rest(&self) -> Option<Duration> {
        let shared = self.beside?;
        let state = shared.state();
        let behind = state.len.saturating_sub(self.first);
        let tail = shared.bounds.tail as u64;
        (!state.stop && behind < tail + tail / 2).then(|| self.since.elapsed() * REST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BOUNDS;
    use super::*;

    #[test]
    fn it_rests_longer_than_it_works_until_it_falls_behind_or_is_told_to_stop() {
        let shared = Shared::new(BOUNDS);
        let tail = BOUNDS.tail as u64;
        let worked = Duration::from_millis(3);
        let breath = |beside| Breath {
            since: Instant::now().checked_sub(worked).expect("long after 1970"),
            ..Breath::new(beside, 1000)
        };
        assert_eq!(breath(None).rest(), None);
        for (len, rests) in [(0, true), (1000 + tail, true), (1000 + tail * 3 / 2, false)] {
            shared.state().len = len;
            let rest = breath(Some(&shared)).rest();
            assert_eq!(
                rest.is_some_and(|rest| rest >= worked * REST),
                rests,
                "{len}"
            );
        }
        shared.state().len = 0;
        shared.state().stop = true;
        assert_eq!(breath(Some(&shared)).rest(), None);
    }

    #[test]
    fn it_rests_once_in_so_many_rows() {
        let shared = Shared::new(BOUNDS);
        let mut breath = Breath::new(Some(&shared), 0);
        let begun = breath.since;
        for _ in 1..ROWS {
            breath.take();
        }
        assert_eq!(breath.since, begun);
        breath.take();
        assert!(breath.since > begun);
    }
}
