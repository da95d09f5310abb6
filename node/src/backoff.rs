//! How long to wait before the next try.

use std::time::Duration;

use tokio::time::sleep;

use quid_common::random::Random;

/// Waits that double from [`FIRST`] to [`LAST`], each shortened at random by up to half, so that
/// many nodes that lost one directory do not all come back at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: Random,
}

/// The first wait.
pub(crate) const FIRST: Duration = Duration::from_millis(100);

/// The longest wait: short enough to be back within 10 s of a directory's return.
pub(crate) const LAST: Duration = Duration::from_secs(2);

impl Backoff {
    /// Waits that are shortened by `random`.
    pub(crate) const fn new(random: Random) -> Self {
        Self {
            next: FIRST,
            random,
        }
    }

    /// Begins again with the first wait.
    pub(crate) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits, longer each time.
    pub(crate) async fn wait(&mut self) {
        let mut random = [0; 2];
        // Without randomness we only lose the spreading.
        let _ = self.random.fill(&mut random);
        sleep(self.step(u16::from_ne_bytes(random))).await;
    }

    /// The next wait, shortened by `random` of 65,536 halves.
    pub(crate) fn step(&mut self, random: u16) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LAST);
        whole - whole / 2 * u32::from(random) / (u32::from(u16::MAX) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_never_below_half() {
        for random in [0, 1, 32_768, u16::MAX] {
            let mut backoff = Backoff::new(Random::system());
            let mut whole = FIRST;
            for _ in 0..20 {
                let wait = backoff.step(random);
                assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
                whole = (whole * 2).min(LAST);
            }
        }
    }
}
