//! Receipts: the proof that an entry is in the log, checkable by anyone who knows the directory's
//! key.
//!
//! A receipt is the entry, its index, the inclusion path (RFC 6962) and a checkpoint. It proves
//! that an order settled, not that it is new: see the node's journal for that.

use serde_bytes::{ByteBuf, Bytes};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::armour;
use crate::cbor::{self, CborError};
use crate::checkpoint::{Checkpoint, CheckpointError, Head};
use crate::entry::{ENTRY_LEN_MAX, Entry, EntryError};
use crate::id::LedgerId;
use crate::key::PublicKey;
use crate::merkle::{Followed, leaf_hash};

/// What proves settlement, as it travels. Nothing is proved before [`Receipt::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Receipt {
    /// The entry's exact bytes.
    pub entry: ByteBuf,
    /// Its place in the log, counted from 0.
    pub index: u64,
    /// The hashes beside the way from the entry up to the root, 32 bytes each, lowest first.
    pub path: ByteBuf,
    /// The log head that the path leads to.
    pub checkpoint: Checkpoint,
}

/// An entry that is in the log beyond doubt. Only [`Receipt::verify`] and
/// [`Receipt::verify_under`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    entry: Entry,
    index: u64,
    head: Head,
}

/// A receipt whose parts are somebody else's. Its encoding is a [`Receipt`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple)]
pub struct ReceiptRef<'a> {
    /// The entry's exact bytes.
    pub entry: &'a Bytes,
    /// Its place in the log, counted from 0.
    pub index: u64,
    /// The hashes beside the way from the entry up to the root, 32 bytes each, lowest first.
    pub path: &'a Bytes,
    /// The log head that the path leads to.
    pub checkpoint: &'a Checkpoint,
}

impl<'a> ReceiptRef<'a> {
    /// The receipt with these parts.
    #[must_use]
    pub fn new(entry: &'a [u8], index: u64, path: &'a [u8], checkpoint: &'a Checkpoint) -> Self {
        Self {
            entry: Bytes::new(entry),
            index,
            path: Bytes::new(path),
            checkpoint,
        }
    }

    /// The same receipt with parts of its own.
    #[must_use]
    pub fn to_receipt(self) -> Receipt {
        Receipt {
            entry: self.entry.to_vec().into(),
            index: self.index,
            path: self.path.to_vec().into(),
            checkpoint: self.checkpoint.clone(),
        }
    }
}

impl Receipt {
    /// The same receipt, its parts borrowed.
    #[must_use]
    pub fn borrow(&self) -> ReceiptRef<'_> {
        ReceiptRef::new(&self.entry, self.index, &self.path, &self.checkpoint)
    }

    /// What the receipt proves, given nothing but the ledger's id and the directory's key.
    ///
    /// # Errors
    /// [`ReceiptError`]: it proves nothing.
    pub fn verify(&self, ledger: LedgerId, key: &PublicKey) -> Result<Proven, ReceiptError> {
        let head = self.checkpoint.verify(ledger, key)?;
        self.verify_under(head, &mut Followed::default())
    }

    /// What the receipt proves under the head of its own checkpoint, already verified by the
    /// caller: one signature serves a whole batch, and so does most of its path, which `followed`
    /// holds from receipt to receipt.
    ///
    /// # Errors
    /// [`ReceiptError`]: it proves nothing.
    pub fn verify_under(
        &self,
        head: Head,
        followed: &mut Followed,
    ) -> Result<Proven, ReceiptError> {
        self.follow_path(head, followed)?;
        Ok(Proven {
            entry: Entry::decode(&self.entry)?,
            index: self.index,
            head,
        })
    }

    /// Whether the receipt proves that exactly the order in `order` has settled, under the head of
    /// its own checkpoint, already verified by the caller. The caller has read these bytes as an
    /// order before, so the entry is not read again: quicker than [`Receipt::verify_under`].
    ///
    /// # Errors
    /// [`ReceiptError`]: it proves nothing.
    pub fn settles_under(
        &self,
        head: Head,
        followed: &mut Followed,
        order: &[u8],
    ) -> Result<bool, ReceiptError> {
        self.follow_path(head, followed)?;
        Ok(Entry::payment_in(&self.entry)? == Some(order))
    }

    /// Whether the path leads from the entry to the head's root.
    fn follow_path(&self, head: Head, followed: &mut Followed) -> Result<(), ReceiptError> {
        if self.entry.len() > ENTRY_LEN_MAX {
            return Err(EntryError::Length(self.entry.len()).into());
        }
        if followed.leads(head, self.index, leaf_hash(&self.entry), &self.path) {
            Ok(())
        } else {
            Err(ReceiptError::Path)
        }
    }

    /// The receipt as text, for keeping in a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        armour::to_text(TEXT_HEADER, &cbor::encode(self))
    }

    /// Reads what [`Receipt::to_text`] wrote.
    ///
    /// # Errors
    /// [`ReceiptError::Text`] or [`ReceiptError::Encoding`]: this is no receipt's text.
    pub fn from_text(text: &str) -> Result<Self, ReceiptError> {
        let bytes = armour::from_text(TEXT_HEADER, text).ok_or(ReceiptError::Text)?;
        Ok(cbor::decode(&bytes)?)
    }
}

impl Proven {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its place in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The log head under which it was proved.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Whether this opened exactly the tab whose signed terms are held in `terms`, byte for byte.
    #[must_use]
    pub fn opens(&self, terms: &[u8]) -> bool {
        self.entry
            .terms()
            .is_some_and(|opened| opened.bytes() == terms)
    }

    /// Whether this settles exactly the order that is held in `order`, byte for byte.
    #[must_use]
    pub fn settles(&self, order: &[u8]) -> bool {
        self.entry
            .order()
            .is_some_and(|settled| settled.bytes() == order)
    }
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReceiptError {
    /// Not the text of a receipt.
    #[error("this is not a receipt file")]
    Text,
    /// Not a receipt's encoding.
    #[error("the receipt cannot be read: {0}")]
    Encoding(#[from] CborError),
    /// The checkpoint proves nothing.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the entry to the checkpoint's root.
    #[error("the entry is not under the checkpoint: its inclusion path does not fit")]
    Path,
    /// The entry cannot be read.
    #[error("the entry cannot be read: {0}")]
    Entry(#[from] EntryError),
}

const TEXT_HEADER: &str = "quid receipt 1";
