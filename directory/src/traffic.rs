//! Who is connected, and who was turned away and why: numbers only, without names or addresses.
//!
//! Whoever adds a limit on strangers or sessions adds a [`Shed`] to tell by; the metrics show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The connections of a directory in numbers.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Handshakes in progress.
    pub handshakes: Present,
    /// Connections that have not logged in yet.
    pub strangers: Present,
    shed: [AtomicU64; Shed::ALL.len()],
}

/// Why a connection was refused or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// There were too many connections or handshakes.
    Full,
    /// Told to prove its address first, because many handshakes were in progress.
    Retry,
    /// Its handshake failed.
    Handshake,
    /// Its handshake took too long.
    HandshakeLate,
    /// A stranger broke the protocol or asked too much.
    Stranger,
    /// A stranger did not log in in time.
    StrangerLate,
    /// Its account had as many sessions as it may.
    Sessions,
}

impl Shed {
    /// All kinds, in their order.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::Retry,
        Self::Handshake,
        Self::HandshakeLate,
        Self::Stranger,
        Self::StrangerLate,
        Self::Sessions,
    ];

    /// The label that metrics show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Retry => "retry",
            Self::Handshake => "handshake",
            Self::HandshakeLate => "handshake_late",
            Self::Stranger => "stranger",
            Self::StrangerLate => "stranger_late",
            Self::Sessions => "sessions",
        }
    }
}

impl Traffic {
    /// Counts one more that was turned away.
    pub fn shed(&self, kind: Shed) {
        if let Some(count) = self.shed.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were turned away since the start, by kind.
    pub fn sheds(&self) -> impl Iterator<Item = (Shed, u64)> {
        let counts = self.shed.iter().map(|count| count.load(Ordering::Relaxed));
        Shed::ALL.into_iter().zip(counts)
    }
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
    fn each_kind_is_counted_under_its_own_name() {
        let traffic = Traffic::default();
        for (times, kind) in Shed::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, times, "{kind:?} is not at its place");
            (0..times).for_each(|_| traffic.shed(kind));
        }
        let counted: Vec<u64> = traffic.sheds().map(|(_, count)| count).collect();
        assert_eq!(counted, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn whoever_has_gone_is_not_counted_any_more() {
        let present = Present::default();
        let (one, two) = (present.enter(), present.enter());
        assert_eq!(present.count(), 2);
        drop((one, two));
        assert_eq!(present.count(), 0);
    }
}
