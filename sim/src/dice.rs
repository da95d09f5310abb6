//! Randomness that comes from the seed alone: every user has a stream of its own, so that one that
//! draws more than before does not change what the others draw.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use quid_common::amount::Amount;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// A stream of randomness.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The stream of `seed` for `user`.
    pub fn new(seed: u64, user: impl Hash) -> Self {
        Self(StdRng::seed_from_u64(fate(seed, user)))
    }

    /// Whether something happens that does so `in_thousand` times of a thousand.
    pub fn happens(&mut self, in_thousand: u32) -> bool {
        self.0.random_range(0..1000) < in_thousand
    }

    /// A number in the range, which must not be empty.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// An amount of so many of the smallest unit.
    pub fn amount(&mut self, range: Range<u64>) -> Amount {
        Amount::new(self.number(range)).unwrap_or(Amount::ZERO)
    }

    /// An index below `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len)
    }

    /// A time of whole milliseconds in the range, which must not be empty.
    pub fn time(&mut self, millis: Range<u64>) -> Duration {
        Duration::from_millis(self.number(millis))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// One number of `seed` for `what`: the same whatever else is drawn.
pub fn fate(seed: u64, what: impl Hash) -> u64 {
    // Made with fixed keys, and the same in every process of one build.
    let mut hasher = DefaultHasher::new();
    (seed, what).hash(&mut hasher);
    hasher.finish()
}
