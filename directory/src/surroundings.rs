//! What a directory takes from the machine that it runs on: clocks, randomness, threads. A program
//! takes the system's; a simulation brings its own and drives everything on one thread.

use std::fmt;
use std::io;
use std::sync::Arc;

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

/// A source of randomness; cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

impl Random {
    /// Takes bytes from `fill`. Whoever can foretell them can take the keys made of them.
    #[must_use]
    pub fn new(fill: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The system's randomness.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|bytes| {
            getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
        })
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the source gives none.
    pub fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        (self.0)(bytes)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
