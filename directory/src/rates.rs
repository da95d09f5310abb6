//! How often something may be done: a rate, and who has used how much of it.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use thiserror::Error;
use tokio::time::Instant;

/// How often: so many in a second, a minute or an hour, and so many at once after a rest.
///
/// As text `10/s`, `600/min:5000` or `off`: what comes after the colon is the burst, which is ten
/// times the number before it unless it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<Limit>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    count: NonZeroU32,
    per: Per,
    burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// So many in a second, and as many at once; zero is no limit.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        match NonZeroU32::new(count) {
            Some(count) => Self(Some(Limit {
                count,
                per: Per::Second,
                burst: count,
            })),
            None => Self::OFF,
        }
    }

    fn quota(self) -> Option<Quota> {
        let Limit { count, per, burst } = self.0?;
        let each = per.length().checked_div(count.get())?;
        Some(Quota::with_period(each)?.allow_burst(burst))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Limit { count, per, burst }) => write!(f, "{count}/{}:{burst}", per.name()),
            None => f.write_str("off"),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(number(burst)?)),
            None => (text, None),
        };
        let (count, per) = rate.split_once('/').ok_or(RateError)?;
        let count = number(count)?;
        let per = Per::ALL.into_iter().find(|one| one.name() == per);
        let usual = NonZeroU32::new(BURST_USUAL).ok_or(RateError)?;
        Ok(Self(Some(Limit {
            count,
            per: per.ok_or(RateError)?,
            burst: burst.unwrap_or_else(|| count.saturating_mul(usual)),
        })))
    }
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a rate is written 10/s, 600/min, 600/min:5000 (at most 5000 at once) or off")]
pub struct RateError;

/// Who has used how much of a rate.
///
/// Keeps one of 65,536 counts for each asker, by its hash under a secret: that bounds memory at
/// some 2 MiB whoever asks, and two that share a count are no worse off than one network.
#[derive(Debug)]
pub struct Rates {
    limiter: Option<Limiter>,
    burst: u32,
    hasher: RandomState,
}

type Limiter = RateLimiter<u16, HashMapStateStore<u16>, Monotonic, NoOpMiddleware<Nanos>>;

impl Rates {
    /// Nobody has used anything.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let limiter = rate.quota().map(|quota| {
            let clock = Monotonic(Instant::now());
            RateLimiter::new(quota, HashMapStateStore::default(), clock)
        });
        Self {
            limiter,
            burst: rate.0.map_or(u32::MAX, |limit| limit.burst.get()),
            hasher: RandomState::new(),
        }
    }

    /// Takes `count` of what `who` may use, or the whole burst if that is less.
    ///
    /// # Errors
    /// Nothing is taken; so long it takes until it can be.
    pub fn take<T: Hash + ?Sized>(&self, who: &T, count: u32) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let Some(count) = NonZeroU32::new(count.min(self.burst)) else {
            return Ok(());
        };
        // The low bits of the hash are the place.
        let place = (self.hasher.hash_one(who) & u64::from(u16::MAX)) as u16;
        match limiter.check_key_n(&place, count) {
            // No more than the burst is asked for.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(until)) => Err(until.wait_time_from(limiter.clock().now())),
        }
    }
}

/// Time since the counting began, by the clock that timers go by.
#[derive(Clone, Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

fn number(text: &str) -> Result<NonZeroU32, RateError> {
    // Only digits: `parse` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RateError);
    }
    text.parse().map_err(|_| RateError)
}

/// A burst is this many times the count unless it is said.
const BURST_USUAL: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    #[test]
    fn a_rate_reads_back_as_it_is_written() {
        for (text, shown) in [
            ("10/s", "10/s:100"),
            ("600/min:5000", "600/min:5000"),
            ("1/h:1", "1/h:1"),
            ("off", "off"),
        ] {
            assert_eq!(rate(text).to_string(), shown);
            assert_eq!(rate(shown), rate(text));
        }
        for text in [
            "",
            "10",
            "/s",
            "0/s",
            "10/d",
            "+1/s",
            "1/s:",
            "1/s:0",
            "1/s:x",
            "1.5/s",
            "OFF",
            "99999999999/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_used_up_and_comes_back_at_the_rate() {
        let rates = Rates::new(rate("10/s:5"));
        for _ in 0..5 {
            assert_eq!(rates.take("alice", 1), Ok(()));
        }
        let wait = rates.take("alice", 1).expect_err("used up");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(rates.take("bob", 5), Ok(()), "others have their own");
        tokio::time::advance(wait).await;
        assert_eq!(rates.take("alice", 1), Ok(()));
        assert!(rates.take("alice", 1).is_err());
        // More than the burst is as much as there can be.
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(rates.take("alice", 1000), Ok(()));
        assert!(rates.take("alice", 1).is_err());
    }

    #[test]
    fn however_many_ask_memory_is_bounded() {
        let rates = Rates::new(rate("1/h:1"));
        for who in 0..200_000_u32 {
            let _ = rates.take(&who, 1);
        }
        let counts = rates.limiter.as_ref().map(Limiter::len);
        assert!(counts.is_some_and(|len| len <= 1 << 16), "{counts:?}");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let rates = Rates::new(Rate::OFF);
        for _ in 0..10_000 {
            assert_eq!(rates.take("alice", u32::MAX), Ok(()));
        }
    }
}
