//! Ledger time: the directory's clock, the only one that decides expiry (promise I8).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch as the directory counts them. Never runs backward.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
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

impl fmt::Display for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
