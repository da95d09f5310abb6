//! Ledger time: the only clock that decides expiry (promise I8).
//!
//! At the start it is the wall clock's, but never before the mark, which is stored ahead of every
//! time that is used; while running only the monotonic clock moves it. So it never runs backward,
//! not over a restart either, and a wall clock that is set does not pull orders along.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quid_common::time::LedgerTime;
use thiserror::Error;

/// How far ahead of the time in use the mark is written: a crash may move ledger time forward by
/// as much, never backward.
pub const MARK_STEP: Duration = Duration::from_secs(10);

/// How far the wall clock may be ahead of the mark at the start without the operator's word.
pub const LEAP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the wall clock may move against ledger time before that is reported.
pub const STEP_MAX: Duration = Duration::from_secs(60);

/// What the machine's two clocks show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Time since a moment that stays the same while the process runs.
    pub monotonic: Duration,
}

/// Reads the system's clocks.
pub fn system() -> impl FnMut() -> Reading + Send + 'static {
    let start = Instant::now();
    move || {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Reading {
            wall_ms,
            monotonic: start.elapsed(),
        }
    }
}

/// The ledger's clock.
pub struct Clock {
    read: Box<dyn FnMut() -> Reading + Send>,
    /// Ledger time when the monotonic clock showed `origin`.
    start: LedgerTime,
    origin: Duration,
    now: LedgerTime,
    mark: Option<LedgerTime>,
    /// How far the wall was ahead of ledger time, in milliseconds, when that was last reported.
    reported: i64,
    wall_step: Option<WallStep>,
}

impl Clock {
    /// Starts ledger time at the wall clock that `read` shows, or at `mark` if that is later.
    /// `mark` is what the log holds; only a new ledger has none.
    ///
    /// # Errors
    /// [`ClockError::Leap`] if the wall is more than [`LEAP_MAX`] after the mark and the operator
    /// did not say `accept_leap`.
    pub fn new(
        mut read: impl FnMut() -> Reading + Send + 'static,
        mark: Option<LedgerTime>,
        accept_leap: bool,
    ) -> Result<Self, ClockError> {
        let reading = read();
        let wall = LedgerTime::from_millis(reading.wall_ms);
        if let Some(mark) = mark
            && !accept_leap
            && wall.since(mark) > LEAP_MAX
        {
            return Err(ClockError::Leap {
                ahead: wall.since(mark),
            });
        }
        let start = mark.map_or(wall, |mark| wall.max(mark));
        Ok(Self {
            read: Box::new(read),
            start,
            origin: reading.monotonic,
            now: start,
            mark,
            reported: 0,
            wall_step: None,
        })
    }

    /// Ledger time now. Before it is used in anything that others see, what
    /// [`Clock::mark_needed`] asks for must be durable.
    pub fn now(&mut self) -> LedgerTime {
        let reading = (self.read)();
        let elapsed = reading.monotonic.saturating_sub(self.origin);
        self.now = self.now.max(self.start.plus(elapsed));
        self.watch_wall(reading.wall_ms);
        self.now
    }

    /// The time that [`Clock::now`] last gave: for answers that go out with a batch, whose mark is
    /// durable.
    #[must_use]
    pub const fn last(&self) -> LedgerTime {
        self.now
    }

    /// The mark that must be durable before `now` is used, if the one that is durable is too low.
    /// Tell it by [`Clock::marked`].
    #[must_use]
    pub fn mark_needed(&self, now: LedgerTime) -> Option<LedgerTime> {
        match self.mark {
            Some(mark) if now <= mark => None,
            _ => Some(now.plus(MARK_STEP)),
        }
    }

    /// `mark` is durable now.
    pub fn marked(&mut self, mark: LedgerTime) {
        self.mark = Some(mark);
    }

    /// The lowest mark that is still true, to be written at an orderly stop, so that the next
    /// start does not begin at a mark ahead of the wall.
    #[must_use]
    pub const fn final_mark(&self) -> LedgerTime {
        self.now
    }

    /// What the wall clock did since this was last asked, if it moved more than [`STEP_MAX`]
    /// against ledger time. Told once for each step; ledger time does not follow.
    pub fn step(&mut self) -> Option<WallStep> {
        self.wall_step.take()
    }

    fn watch_wall(&mut self, wall_ms: u64) {
        let ahead = millis(wall_ms) - millis(self.now.as_millis());
        let by = ahead.saturating_sub(self.reported);
        if Duration::from_millis(by.unsigned_abs()) > STEP_MAX {
            self.reported = ahead;
            self.wall_step = Some(WallStep {
                by_ms: by,
                ahead_ms: ahead,
            });
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now)
            .field("mark", &self.mark)
            .finish()
    }
}

/// The wall clock moved against ledger time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallStep {
    /// By how many milliseconds; negative if it was set back.
    pub by_ms: i64,
    /// How far it is ahead of ledger time since, in milliseconds; negative if it is behind.
    pub ahead_ms: i64,
}

impl fmt::Display for WallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.ahead_ms < 0 {
            "behind"
        } else {
            "ahead of"
        };
        write!(
            f,
            "the wall clock moved by {} s and is {} s {side} ledger time, which does not follow",
            self.by_ms / 1000,
            (self.ahead_ms / 1000).abs()
        )
    }
}

/// Why the clock does not start.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ClockError {
    /// The wall clock is far ahead of everything in the ledger.
    #[error(
        "this machine's clock is {} h after the ledger's last time; if it is right, start once \
         with --accept-clock, and if not, set it first",
        .ahead.as_secs() / 3600
    )]
    Leap {
        /// How far.
        ahead: Duration,
    },
}

fn millis(ms: u64) -> i64 {
    // Times are at most 48 bits; a wall clock beyond is as good as the end of time.
    LedgerTime::from_millis(ms).as_millis().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    /// The machine's clocks, in the test's hand.
    #[derive(Clone)]
    struct Machine(Arc<Mutex<Reading>>);

    impl Machine {
        fn at(wall_s: u64) -> Self {
            // A monotonic clock begins anywhere.
            let monotonic = Duration::from_secs(12_345);
            Self(Arc::new(Mutex::new(Reading {
                wall_ms: wall_s * 1000,
                monotonic,
            })))
        }

        /// Lets time pass; the wall clock is moved by another amount, as it may.
        fn pass(&self, seconds: u64, wall_s: i64) {
            let mut reading = self.0.lock().expect("no test panics while it holds it");
            reading.monotonic += Duration::from_secs(seconds);
            reading.wall_ms = reading.wall_ms.saturating_add_signed(wall_s * 1000);
        }

        fn start(&self, mark: Option<u64>, accept_leap: bool) -> Result<Clock, ClockError> {
            let clocks = self.clone();
            let read = move || *clocks.0.lock().expect("no test panics while it holds it");
            Clock::new(read, mark.map(time), accept_leap)
        }
    }

    const fn time(seconds: u64) -> LedgerTime {
        LedgerTime::from_millis(seconds * 1000)
    }

    #[test]
    fn it_starts_at_the_later_of_wall_and_mark() {
        let day = LEAP_MAX.as_secs();
        // The wall, the mark, the start; all in seconds.
        let table = [
            (5_000, None, Some(5_000)),
            (5_000, Some(4_990), Some(5_000)),
            (5_000, Some(5_000), Some(5_000)),
            (5_000, Some(5_010), Some(5_010)),
            (5_000, Some(9_999_999), Some(9_999_999)),
            (5_000 + day, Some(5_000), Some(5_000 + day)),
            (5_001 + day, Some(5_000), None),
            (0, None, Some(0)),
            (9 * day, None, Some(9 * day)),
        ];
        for (wall, mark, expected) in table {
            let started = Machine::at(wall).start(mark, false);
            let found = started.ok().map(|mut clock| clock.now());
            assert_eq!(found, expected.map(time), "wall {wall}, mark {mark:?}");
        }
    }

    #[test]
    fn a_leap_is_taken_at_the_operators_word() {
        let machine = Machine::at(5_000 + 49 * 3600);
        let refused = machine
            .start(Some(5_000), false)
            .expect_err("two days are a leap");
        assert_eq!(
            refused,
            ClockError::Leap {
                ahead: Duration::from_secs(49 * 3600)
            }
        );
        assert!(refused.to_string().contains("49 h after"), "{refused}");
        assert!(refused.to_string().contains("--accept-clock"), "{refused}");
        let mut clock = machine
            .start(Some(5_000), true)
            .expect("the operator said so");
        assert_eq!(clock.now(), time(5_000 + 49 * 3600));
    }

    #[test]
    fn only_the_monotonic_clock_moves_it() {
        let machine = Machine::at(5_000);
        let mut clock = machine
            .start(None, false)
            .expect("a new ledger takes any clock");
        machine.pass(3, 3);
        assert_eq!(clock.now(), time(5_003));
        machine.pass(0, 500_000);
        assert_eq!(clock.now(), time(5_003));
        machine.pass(2, -4_000_000);
        assert_eq!(clock.now(), time(5_005));
    }

    #[test]
    fn a_step_of_the_wall_is_told_once() {
        let machine = Machine::at(5_000);
        let mut clock = machine
            .start(None, false)
            .expect("a new ledger takes any clock");
        let mut told = |seconds, wall_s| {
            machine.pass(seconds, wall_s);
            clock.now();
            clock
                .step()
                .map(|step| (step.by_ms / 1000, step.ahead_ms / 1000))
        };
        assert_eq!(told(0, 0), None);
        assert_eq!(told(60, 120), None, "60 s are no step");
        assert_eq!(told(1, 2), Some((61, 61)));
        assert_eq!(told(1, 1), None);
        assert_eq!(told(1, 1), None);
        assert_eq!(told(10, -990), Some((-1000, -939)));
        assert_eq!(told(10, 10), None);
        // A wall that creeps is told of when it has crept as far.
        assert_eq!(told(0, 40), None);
        assert_eq!(told(0, 40), Some((80, -859)));
    }

    #[test]
    fn a_wall_behind_the_mark_is_told_at_the_start() {
        let mut clock = Machine::at(5_000)
            .start(Some(6_000), false)
            .expect("it waits");
        assert_eq!(clock.now(), time(6_000));
        let step = clock.step().expect("1,000 s are worth a word");
        assert_eq!(
            step,
            WallStep {
                by_ms: -1_000_000,
                ahead_ms: -1_000_000
            }
        );
        assert!(
            step.to_string().contains("is 1000 s behind ledger time"),
            "{step}"
        );
        assert_eq!(clock.step(), None);
    }

    #[test]
    fn the_mark_is_ahead_of_every_time_used() {
        let machine = Machine::at(5_000);
        let mut clock = machine
            .start(None, false)
            .expect("a new ledger takes any clock");
        let now = clock.now();
        let first = clock.mark_needed(now).expect("a new ledger has no mark");
        assert_eq!(first, time(5_010));
        clock.marked(first);
        let mut marks = Vec::new();
        for _ in 0..40 {
            machine.pass(1, 1);
            let now = clock.now();
            if let Some(mark) = clock.mark_needed(now) {
                clock.marked(mark);
                marks.push(mark);
            }
            assert_eq!(clock.mark_needed(now), None);
        }
        assert_eq!(marks, [time(5_021), time(5_032), time(5_043)]);
        assert_eq!(clock.final_mark(), time(5_040));
    }

    proptest! {
        /// Whatever the clocks show and whenever the process is killed, no time used is before
        /// one used earlier.
        #[test]
        fn it_never_runs_backward(
            moves in proptest::collection::vec((0_u64..30, -100_000_i64..50_000, 0..10), 1..100)
        ) {
            let machine = Machine::at(1_000_000);
            let mut durable = None;
            let mut used = LedgerTime::default();
            let mut clock = machine.start(None, false).expect("a new ledger takes any clock");
            for (seconds, wall_s, kill) in moves {
                machine.pass(seconds, wall_s);
                if kill == 0 {
                    clock = machine
                        .start(durable.map(|mark: LedgerTime| mark.as_millis() / 1000), true)
                        .expect("the operator said so");
                }
                let now = clock.now();
                if let Some(mark) = clock.mark_needed(now) {
                    durable = Some(mark);
                    clock.marked(mark);
                }
                prop_assert!(now >= used && Some(now) <= durable);
                used = now;
            }
        }
    }
}
