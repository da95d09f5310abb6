//! Entries on their way into the index, in memory: handed over by the settlement, then read by the
//! thread and not yet written.

use std::collections::{HashMap, VecDeque};

use quid_common::id::OrderId;
use quid_common::key::PublicKey;

use super::posting::Posting;

/// Entries that the settlement has handed over and the thread has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Number of the first.
    start: u64,
    /// What each means, and its leaf hash.
    postings: VecDeque<(Posting, [u8; 32])>,
}

impl Fed {
    /// Adds a batch. What the thread is too far behind for, it reads from the log.
    pub(super) fn put(&mut self, first: u64, batch: impl Iterator<Item = (Posting, [u8; 32])>) {
        let follows = first == self.start + self.postings.len() as u64;
        if !follows || self.postings.len() >= FED_LEN_MAX {
            self.postings.clear();
        }
        if self.postings.is_empty() {
            self.start = first;
        }
        self.postings.extend(batch);
    }

    /// Takes at most `room` entries from number `from` on, if that is where they begin.
    pub(super) fn take(&mut self, from: u64, room: usize) -> Vec<(Posting, [u8; 32])> {
        while self.start < from && self.postings.pop_front().is_some() {
            self.start += 1;
        }
        if self.start != from {
            return Vec::new();
        }
        let taken: Vec<_> = self
            .postings
            .drain(..room.min(self.postings.len()))
            .collect();
        self.start += taken.len() as u64;
        taken
    }
}

/// The entries that the thread has read and not yet written.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Number of the first.
    pub(super) start: u64,
    pub(super) postings: VecDeque<Posting>,
    /// The payees of the tabs that they open.
    pub(super) opened: HashMap<(PublicKey, OrderId), PublicKey>,
}

impl Tail {
    /// The number of the first entry after it.
    pub(super) fn end(&self) -> u64 {
        self.start + self.postings.len() as u64
    }
}

/// Entries handed over that wait for the thread; some 8 MiB. When there are more it reads the log.
const FED_LEN_MAX: usize = 64 * 1024;
