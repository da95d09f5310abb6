//! The receipts of a batch: its entries, their paths and the one checkpoint, shared by all who are
//! answered with one of them.

use std::sync::Arc;

use quid_common::checkpoint::Checkpoint;
use quid_common::receipt::{Receipt, ReceiptRef};

use crate::store::LogEntry;

/// What proves the entries of one durable batch.
#[derive(Debug)]
pub struct Receipts {
    /// Number of the first entry.
    pub first: u64,
    /// The entries.
    pub entries: Vec<LogEntry>,
    /// Their inclusion paths, in the same order.
    pub paths: Vec<Vec<u8>>,
    /// The log head that all paths lead to.
    pub checkpoint: Checkpoint,
}

impl Receipts {
    /// The proof of entry `index`; `None` if it is not of this batch.
    #[must_use]
    pub fn of(self: &Arc<Self>, index: u64) -> Option<Proof> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.borrow(at)?;
        Some(Proof::Shared(Arc::clone(self), at))
    }

    fn borrow(&self, at: usize) -> Option<ReceiptRef<'_>> {
        Some(ReceiptRef::new(
            &self.entries.get(at)?.bytes,
            self.first + at as u64,
            self.paths.get(at)?,
            &self.checkpoint,
        ))
    }
}

/// A receipt, of its own or out of a batch's.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Made for one answer.
    Own(Receipt),
    /// The entry at this place in its batch.
    Shared(Arc<Receipts>, usize),
}

impl Proof {
    /// The receipt, to look at or to write.
    ///
    /// # Panics
    /// Never for what [`Receipts::of`] made.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "only Receipts::of makes it, which has looked"
    )]
    pub fn borrow(&self) -> ReceiptRef<'_> {
        match self {
            Self::Own(receipt) => receipt.borrow(),
            Self::Shared(batch, at) => batch
                .borrow(*at)
                .expect("only Receipts::of makes it, which has looked"),
        }
    }

    /// Lets go of the batch, so that it need not stay in memory for this.
    pub fn unshare(&mut self) {
        if let Self::Shared(..) = self {
            *self = Self::Own(self.borrow().to_receipt());
        }
    }

    /// The receipt, to keep.
    #[must_use]
    pub fn into_receipt(self) -> Receipt {
        match self {
            Self::Own(receipt) => receipt,
            shared @ Self::Shared(..) => shared.borrow().to_receipt(),
        }
    }
}
