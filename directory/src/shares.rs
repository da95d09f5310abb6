//! So many places for all, shared fairly: whoever has many leaves a part of what is free to others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places for whoever asks, each of which costs the directory something.
///
/// One asker may have as many as a part of those that are free: N that ask without end come to rest
/// with `max / (part + N)` each, and leave `part` times that to newcomers.
#[derive(Debug)]
pub struct Shares<K: Eq + Hash + Copy> {
    max: usize,
    part: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    by: HashMap<K, usize>,
    len: usize,
}

impl<K: Eq + Hash + Copy> Shares<K> {
    /// `max` places, of which one asker has at most as many as a `part`th of those free.
    #[must_use]
    pub fn new(max: usize, part: usize) -> Self {
        let by = HashMap::new();
        Self {
            max,
            part,
            taken: Mutex::new(Taken { by, len: 0 }),
        }
    }

    /// A place for `who`; `None` if it has its share, or if all are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, who: K) -> Option<Share<K>> {
        let mut taken = self.lock();
        let free = self.max.saturating_sub(taken.len);
        let own = taken.by.get(&who).copied().unwrap_or(0);
        if own.saturating_mul(self.part) >= free {
            return None;
        }
        taken.by.insert(who, own + 1);
        taken.len += 1;
        drop(taken);
        Some(Share {
            shares: Arc::clone(self),
            who,
        })
    }

    /// How many are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len
    }

    /// Whether none is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn give_back(&self, who: &K) {
        let mut taken = self.lock();
        let Some(own) = taken.by.get_mut(who) else {
            return;
        };
        *own -= 1;
        if *own == 0 {
            taken.by.remove(who);
        }
        taken.len -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        // Every change above leaves both counts whole, also if a thread panicked elsewhere.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place; free again when this is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash + Copy> {
    shares: Arc<Shares<K>>,
    who: K,
}

impl<K: Eq + Hash + Copy> Drop for Share<K> {
    fn drop(&mut self) {
        self.shares.give_back(&self.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_are_greedy_a_newcomer_finds_a_place() {
        let shares = Arc::new(Shares::new(1000, 4));
        let mut places: Vec<Share<u32>> = Vec::new();
        for greedy in 0..15 {
            while let Some(place) = shares.take(greedy) {
                places.push(place);
            }
        }
        assert!(shares.take(0).is_none());
        assert!(shares.len() > 900 && shares.take(100).is_some());
        drop(places);
        assert!(shares.is_empty() && shares.lock().by.is_empty());
    }

    #[test]
    fn one_alone_has_its_part_and_no_more_than_there_are() {
        let shares = Arc::new(Shares::new(90, 8));
        let places: Vec<_> = std::iter::from_fn(|| shares.take('a')).collect();
        assert_eq!(places.len(), 10);
        let all: Vec<_> = ('b'..).map_while(|who| shares.take(who)).collect();
        assert_eq!(shares.len(), 90);
        drop((places, all));
    }
}
