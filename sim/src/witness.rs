//! What anybody was told while it happened, to be held against the log at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quid_common::checkpoint::Checkpoint;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::receipt::Receipt;
use quid_common::request::{Request, RequestId};

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
    /// Keys of honest nodes.
    pub people: BTreeSet<PublicKey>,
    /// Requests to be paid that honest nodes have made.
    pub requests: BTreeMap<Reference, Request>,
    /// Entries of which an application was told that they answer such a reference.
    pub answered: BTreeSet<(Reference, u64)>,
    /// What a payee says, at the end, that each of its requests was paid by.
    pub listed: BTreeMap<RequestId, Vec<u64>>,
    /// Keys of honest nodes that listened at the end.
    pub listening: BTreeSet<PublicKey>,
    /// Entries of which everybody had to know at the end.
    pub known: u64,
    /// Orders that were made of an intent, by payer and intent.
    pub intents: BTreeMap<(PublicKey, String), BTreeSet<OrderId>>,
    /// What nobody should ever see.
    pub broken: Vec<String>,
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

    /// Notes the key of an honest node.
    pub fn person(&self, key: PublicKey) {
        self.lock().people.insert(key);
    }

    /// Notes a request that an honest node has made.
    pub fn asks(&self, request: Request) {
        self.lock().requests.insert(request.reference(), request);
    }

    /// Notes that an application was told of an entry that answers a reference.
    pub fn answered(&self, reference: Reference, entry: u64) {
        self.lock().answered.insert((reference, entry));
    }

    /// Notes by which entries a payee says that its request was paid.
    pub fn listed(&self, request: RequestId, entries: Vec<u64>) {
        self.lock().listed.insert(request, entries);
    }

    /// Notes that the node with this key listens at the end.
    pub fn listening(&self, key: PublicKey) {
        self.lock().listening.insert(key);
    }

    /// Notes that everybody knows of so many entries, or soon will.
    pub fn known(&self, entries: u64) {
        self.lock().known = entries;
    }

    /// Notes an order that was made of an intent.
    pub fn of_intent(&self, intent: (PublicKey, String), order: OrderId) {
        self.lock().intents.entry(intent).or_default().insert(order);
    }

    /// Notes what nobody should ever see.
    pub fn broken(&self, what: String) {
        self.lock().broken.push(what);
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
