//! What a directory takes from the machine that it runs on: clocks, randomness, threads. A program
//! takes the system's; a simulation brings its own and drives everything on one thread.

use std::fmt;

use quid_common::random::Random;

use crate::clock::{self, Reading};

/// What the books are opened in.
pub struct Surroundings {
    /// Reads the machine's clocks.
    pub clocks: Box<dyn FnMut() -> Reading + Send>,
    /// Where keys and nonces come from.
    pub random: Random,
    /// Who works behind the commits.
    pub workers: Workers,
}

/// Who works behind the commits: on the index, the snapshot, the log's file and history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Threads of their own, so that no payment waits.
    Threads,
    /// Whoever calls, at once: everything happens in one order, which can be had again.
    Caller,
}

impl Surroundings {
    /// The system's clocks and randomness, and threads.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clocks: Box::new(clock::system()),
            random: Random::system(),
            workers: Workers::Threads,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
