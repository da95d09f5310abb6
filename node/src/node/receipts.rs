//! Where a node finds what proves an entry.

use quid_common::id::OrderId;
use quid_common::receipt::{Proven, Receipt};
use quid_common::refusal::Reason;
use quid_common::wire::{AskFate, Message, Prove};

use super::Node;
use crate::directory::{RequestError, unexpected};
use crate::heads::Source;
use crate::journal::{NoteState, OrderState};

/// Which receipt is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptId {
    /// That of an entry.
    Entry(u64),
    /// That of an order by or to this account.
    Order(OrderId),
}

impl Node {
    /// A verified receipt, from the journal if it is there, else from the directory.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn receipt(&self, which: ReceiptId) -> Result<(Receipt, Proven), RequestError> {
        let (receipt, source) = match which {
            ReceiptId::Entry(entry) => self.receipt_of_entry(entry).await?,
            ReceiptId::Order(order) => self.receipt_of_order(order).await?,
        };
        // A home that has logged in once can do this without the directory.
        let proven = self
            .parts
            .trust
            .prove(&receipt, source)
            .map_err(|error| RequestError::Protocol(error.to_string()))?;
        Ok((receipt, proven))
    }

    async fn receipt_of_entry(&self, entry: u64) -> Result<(Receipt, Source), RequestError> {
        if let Some(receipt) = self.parts.home.journal().receipt(entry).await? {
            return Ok((receipt, Source::Journal));
        }
        match self.parts.directory.ask(Prove { entry }).await? {
            Message::Proof(proof) if proof.receipt.index == entry => {
                Ok((proof.receipt, Source::Directory))
            }
            Message::Proof(_) => Err(RequestError::Protocol(
                "the proof of another entry".to_owned(),
            )),
            answer => Err(unexpected(&answer)),
        }
    }

    async fn receipt_of_order(&self, id: OrderId) -> Result<(Receipt, Source), RequestError> {
        let journal = self.parts.home.journal();
        let sent = match journal.order(id).await?.map(|row| row.state) {
            Some(OrderState::Settled { entry }) => Some(entry),
            Some(OrderState::Refused { entry, .. }) => entry,
            Some(OrderState::Open) | None => None,
        };
        let paid = journal
            .notes(id)
            .await?
            .into_iter()
            .find_map(|note| match note.state {
                NoteState::Paid { entry } => Some(entry),
                NoteState::Accepted | NoteState::Refused { .. } => None,
            });
        if let Some(entry) = sent.or(paid) {
            return self.receipt_of_entry(entry).await;
        }
        let ask = AskFate {
            payer: self.parts.home.key(),
            id,
        };
        match self.parts.directory.ask(ask).await? {
            Message::Fate(fate) => fate
                .receipt
                .map(|receipt| (receipt, Source::Directory))
                .ok_or(RequestError::Refused(Reason::NOT_FOUND)),
            answer => Err(unexpected(&answer)),
        }
    }
}
