//! Paying.

use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use thiserror::Error;

use crate::directory::RequestError;

/// A wish to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who is paid.
    pub payee: Name,
    /// How much.
    pub amount: Amount,
    /// A word to the payee.
    pub memo: Memo,
    /// The request that this answers or the order that it refunds.
    pub reference: Option<Reference>,
    /// Longest time [`crate::Node::pay`] waits for the end.
    pub wait: Duration,
}

impl Payment {
    /// Pays `payee` this much, without memo or reference, and waits [`WAIT_DEFAULT`] at most.
    #[must_use]
    pub fn new(payee: Name, amount: Amount) -> Self {
        Self {
            payee,
            amount,
            memo: Memo::default(),
            reference: None,
            wait: WAIT_DEFAULT,
        }
    }
}

/// Longest time that a payment is waited for unless its [`Payment::wait`] says otherwise.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// Which way an order went to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Straight to the payee, who settles it.
    Direct,
    /// By the payer itself, because the payee could not be reached.
    Directory,
}

/// How a payment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The order.
    pub order: OrderId,
    /// How much.
    pub amount: Amount,
    /// Who is paid.
    pub payee: Name,
    /// Which way the order went.
    pub route: Route,
    /// Whether money moved.
    pub state: State,
}

/// Whether money moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It did, and this proves it.
    Settled {
        /// The payment's entry in the log.
        entry: u64,
        /// Verified.
        receipt: Box<Receipt>,
    },
    /// It did not and never will by this order.
    Refused {
        /// Why.
        reason: Reason,
        /// The entry that says so, if the refusal is logged.
        entry: Option<u64>,
    },
    /// Not known yet. The node goes on asking; do not pay the same intent again.
    Unknown,
}

/// What became of an order that the journal held open.
pub type Resolved = Outcome;

/// Why nothing was sent and nothing will be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PayError {
    /// Refused before anything was signed: oneself, nobody of that name, zero, or not enough
    /// money.
    #[error("refused: {0}")]
    Local(Reason),
    /// The payee's key is not the one that this home has paid before. Either the payee has a new
    /// key, or somebody poses as the payee: ask them.
    #[error("the key of {name} has changed from {pinned} to {offered}; nothing was sent")]
    KeyChanged {
        /// The payee.
        name: Name,
        /// The key paid before.
        pinned: PublicKey,
        /// The key that the directory names now.
        offered: PublicKey,
    },
    /// The directory did not answer, or the journal could not be written.
    #[error(transparent)]
    Request(#[from] RequestError),
}
