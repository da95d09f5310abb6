//! What a running node tells its application.

use quid_common::amount::Amount;
use quid_common::id::{OrderId, Reference};
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;

/// Something that happened to this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Logged in: peers and the directory can be reached.
    Online {
        /// The account's name.
        name: Name,
        /// The address from which the directory sees this node, HOST:PORT.
        address: String,
    },
    /// The session with the directory ended; the node tries to get it back.
    Offline {
        /// Why, for people.
        reason: String,
    },
    /// Money came, settled beyond doubt. Told once for each payment.
    Received {
        /// The payment's entry in the log.
        entry: u64,
        /// The payer's order.
        order: OrderId,
        /// How much.
        amount: Amount,
        /// Who paid.
        payer: Name,
        /// The payer's words: foreign text.
        memo: Memo,
        /// The order's reference, whatever it refers to.
        reference: Option<Reference>,
        /// Whether `reference` was issued by [`crate::Node::new_reference`] on this home and this
        /// is the first payment to carry it. Hand over goods only if so.
        answers: bool,
        /// Proves it.
        receipt: Box<Receipt>,
        /// When, in ledger time.
        time: LedgerTime,
    },
    /// A payment by this account settled.
    Sent {
        /// The payment's entry in the log.
        entry: u64,
        /// The order.
        order: OrderId,
        /// How much.
        amount: Amount,
        /// Who was paid.
        payee: Name,
        /// The payer's words.
        memo: Memo,
        /// When, in ledger time.
        time: LedgerTime,
    },
    /// An order by or to this account was refused for good; no money moved.
    Refused {
        /// The order.
        order: OrderId,
        /// Why.
        reason: Reason,
        /// Who is on the other side, if known.
        counterparty: Option<Name>,
    },
    /// The operator issued money to this account.
    Issued {
        /// The entry in the log.
        entry: u64,
        /// How much.
        amount: Amount,
        /// When, in ledger time.
        time: LedgerTime,
    },
}

/// A node's events from the moment [`crate::Node::events`] was called.
#[derive(Debug)]
pub struct Events {}

impl Events {
    /// The next event; `None` once the node is closed.
    ///
    /// # Cancel safety
    /// Safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}
