//! What anybody was told while it happened, to be held against the log at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quid_common::checkpoint::Checkpoint;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::receipt::Receipt;

use crate::dice::Dice;

/// Everything that was seen; everybody writes, and nobody reads before the end.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Seen>);

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Receipts that a node held, by entry.
    pub receipts: BTreeMap<u64, Vec<Receipt>>,
    /// Checkpoints by the directory.
    pub checkpoints: BTreeSet<String>,
    /// Ends of orders that were called final, by payer and id.
    pub ends: BTreeMap<(PublicKey, OrderId), BTreeSet<End>>,
    /// Payments that an application was told of, by payee and entry.
    pub told: BTreeMap<(String, u64), u32>,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
}

/// How an order ended, as somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// As this entry.
    Settled(u64),
    /// It never will settle.
    Never,
}

impl Witness {
    /// Notes a receipt that a node holds.
    pub fn receipt(&self, receipt: &Receipt) {
        let mut seen = self.lock();
        let held = seen.receipts.entry(receipt.index).or_default();
        // Paths and checkpoints differ; the entry must not.
        if held.iter().all(|one| one.entry != receipt.entry) {
            held.push(receipt.clone());
        }
        let note = receipt.checkpoint.as_str().to_owned();
        seen.checkpoints.insert(note);
    }

    /// A receipt that somebody holds.
    pub fn any_receipt(&self, dice: &mut Dice) -> Option<Receipt> {
        let seen = self.lock();
        let at = dice.index(seen.receipts.len().max(1));
        seen.receipts.values().nth(at)?.first().cloned()
    }

    /// Notes a checkpoint.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) {
        let note = checkpoint.as_str().to_owned();
        self.lock().checkpoints.insert(note);
    }

    /// Notes what was said to be an order's end.
    pub fn end(&self, payer: PublicKey, id: OrderId, end: End) {
        self.lock().ends.entry((payer, id)).or_default().insert(end);
    }

    /// Notes that the application of `payee` was told of a payment.
    pub fn told(&self, payee: &str, entry: u64) {
        let mut seen = self.lock();
        *seen.told.entry((payee.to_owned(), entry)).or_default() += 1;
    }

    /// Counts something that happened.
    pub fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// How often something happened so far.
    pub fn counted(&self, what: &'static str) -> u64 {
        self.lock().counts.get(what).copied().unwrap_or_default()
    }

    /// Everything, at the end.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
