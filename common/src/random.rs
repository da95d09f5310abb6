//! Where randomness comes from: the system, or a source that a simulation brings.

use std::fmt;
use std::io;
use std::sync::Arc;

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
