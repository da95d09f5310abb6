//! Tells a person at a terminal how far a long audit is.

use std::time::{Duration, Instant};

/// A line on stderr that is overwritten, and wiped at the end.
pub(super) struct Progress {
    size: u64,
    begun: Instant,
    next: Instant,
    /// Somebody can see it.
    seen: bool,
    shown: bool,
}

impl Progress {
    /// That of an audit of `size` entries; silent unless it is `seen`.
    pub(super) fn new(size: u64, seen: bool) -> Self {
        let begun = Instant::now();
        Self {
            size,
            begun,
            next: begun + PATIENCE,
            seen,
            shown: false,
        }
    }

    /// Shows that `done` entries are audited, if it is time for that.
    pub(super) fn at(&mut self, done: u64) {
        if !self.seen {
            return;
        }
        let now = Instant::now();
        if now >= self.next {
            self.next = now + STEP;
            self.shown = true;
            eprint!("\r\x1b[K{}", line(done, self.size, now - self.begun));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(done: u64, size: u64, took: Duration) -> String {
    let rate = u128::from(done) * 1000 / took.as_millis().max(1);
    let left = u128::from(size.saturating_sub(done)) / rate.max(1);
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX));
    format!(
        "audited {done} of {size} entries, {rate} a second, {} left",
        humantime::format_duration(left)
    )
}

/// An audit that is over by then shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two changes of the line.
const STEP: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rate_and_time_left() {
        let line = |done, took| line(done, 10_000_000, Duration::from_millis(took));
        assert_eq!(
            line(1_000_000, 10_000),
            "audited 1000000 of 10000000 entries, 100000 a second, 1m 30s left"
        );
        assert_eq!(
            line(10_000_000, 0),
            "audited 10000000 of 10000000 entries, 10000000000 a second, 0s left"
        );
    }
}
