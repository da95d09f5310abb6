//! Who is on the way in: numbers only, without names or addresses. Who was turned away is in
//! [`crate::shed`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The connections of a directory that have not logged in, in numbers.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Handshakes in progress.
    pub handshakes: Present,
    /// Connections that have not logged in yet.
    pub strangers: Present,
}

/// How many are in some state now.
#[derive(Clone, Debug, Default)]
pub struct Present(Arc<AtomicUsize>);

impl Present {
    /// Counts one more, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Within {
        self.0.fetch_add(1, Ordering::Relaxed);
        Within(Arc::clone(&self.0))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted as [`Present`] while this lives.
#[derive(Debug)]
pub struct Within(Arc<AtomicUsize>);

impl Drop for Within {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_gone_is_not_counted_any_more() {
        let present = Present::default();
        let (one, two) = (present.enter(), present.enter());
        assert_eq!(present.count(), 2);
        drop((one, two));
        assert_eq!(present.count(), 0);
    }
}
