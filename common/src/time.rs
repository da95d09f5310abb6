//! Ledger time: the directory's clock, the only one that decides expiry (promise I8).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Milliseconds since the Unix epoch as the directory counts them. Never runs backward.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct LedgerTime(u64);

impl LedgerTime {
    /// The latest time that an order id can carry: 48 bits of milliseconds (RFC 9562, UUIDv7).
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The time `ms` milliseconds after the Unix epoch, cut to [`Self::MAX`].
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `by` more, cut to [`Self::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self::from_millis(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<LedgerTime> for u64 {
    fn from(time: LedgerTime) -> Self {
        time.0
    }
}

impl TryFrom<u64> for LedgerTime {
    type Error = OutOfRange;

    fn try_from(ms: u64) -> Result<Self, OutOfRange> {
        if ms > Self::MAX.0 {
            Err(OutOfRange)
        } else {
            Ok(Self(ms))
        }
    }
}

/// A number of milliseconds above [`LedgerTime::MAX`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a ledger time has at most 48 bits of milliseconds")]
pub struct OutOfRange;

impl fmt::Display for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
