//! Receipts that follow each other on a stream: what those of one batch share is said once.
//! PROTOCOL.md, "Receipts in a row".

use serde_bytes::{ByteBuf, Bytes};

use super::{Message, MessageError, Paid, PaidNext, Settled, SettledNext};
use crate::cbor;
use crate::checkpoint::Checkpoint;
use crate::frame;
use crate::merkle::PATH_LEN_MAX;
use crate::receipt::{Receipt, ReceiptRef};

/// One direction of a stream, as either end of it remembers it: the writer, to leave out of a receipt
/// what the one before it said, and the reader, to put it back.
#[derive(Clone, Debug, Default)]
pub struct Run {
    last: Option<Last>,
}

/// What the next receipt may rest on.
#[derive(Clone, Debug)]
struct Last {
    checkpoint: Checkpoint,
    path: Vec<u8>,
}

impl Run {
    /// Before the first receipt.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Appends the frame of a [`Settled`] with this receipt, or of a [`SettledNext`] if that does.
    pub fn write_settled(&mut self, number: u64, receipt: ReceiptRef<'_>, out: &mut Vec<u8>) {
        self.write([Settled::KIND, SettledNext::KIND], number, receipt, out);
    }

    /// Appends the frame of a [`Paid`] with this receipt, or of a [`PaidNext`] if that does.
    pub fn write_paid(&mut self, number: u64, receipt: ReceiptRef<'_>, out: &mut Vec<u8>) {
        self.write([Paid::KIND, PaidNext::KIND], number, receipt, out);
    }

    fn write(
        &mut self,
        [whole, next]: [u16; 2],
        number: u64,
        receipt: ReceiptRef<'_>,
        out: &mut Vec<u8>,
    ) {
        let last = self.last.as_ref().filter(|last| {
            last.checkpoint == *receipt.checkpoint && receipt.path.len() <= PATH_BYTES_MAX
        });
        match last {
            Some(last) => frame::write(next, out, |out| {
                let (own, shared) = split(receipt.path, &last.path);
                let own = Bytes::new(own);
                let rest = (number, receipt.entry, receipt.index, own, shared);
                cbor::encode_to(&rest, out);
            }),
            None => frame::write(whole, out, |out| cbor::encode_to(&(number, receipt), out)),
        }
        self.remember(receipt);
    }

    /// A message that was read from the stream, with nothing left out.
    ///
    /// # Errors
    /// [`MessageError::Run`] for a receipt that rests on one that there was not.
    pub fn read(&mut self, message: Message) -> Result<Message, MessageError> {
        Ok(match message {
            Message::SettledNext(SettledNext {
                number,
                entry,
                index,
                path,
                shared,
            }) => {
                let receipt = self.whole(entry, index, path, shared)?;
                Settled { number, receipt }.into()
            }
            Message::PaidNext(PaidNext {
                number,
                entry,
                index,
                path,
                shared,
            }) => {
                let receipt = self.whole(entry, index, path, shared)?;
                Paid { number, receipt }.into()
            }
            Message::Settled(Settled { ref receipt, .. })
            | Message::Paid(Paid { ref receipt, .. }) => {
                self.remember(receipt.borrow());
                message
            }
            other => other,
        })
    }

    /// The receipt of which this is left.
    fn whole(
        &mut self,
        entry: ByteBuf,
        index: u64,
        own: ByteBuf,
        shared: u8,
    ) -> Result<Receipt, MessageError> {
        let last = self.last.as_mut().ok_or(MessageError::Run)?;
        let shared = usize::from(shared).saturating_mul(HASH_LEN);
        let differs = last
            .path
            .len()
            .checked_sub(shared)
            .ok_or(MessageError::Run)?;
        // However many follow each other, none grows beyond what any path may be.
        if own.len().saturating_add(shared) > PATH_BYTES_MAX {
            return Err(MessageError::Run);
        }
        last.path.splice(..differs, own);
        Ok(Receipt {
            entry,
            index,
            path: last.path.clone().into(),
            checkpoint: last.checkpoint.clone(),
        })
    }

    fn remember(&mut self, receipt: ReceiptRef<'_>) {
        let mut path = self.last.take().map(|last| last.path).unwrap_or_default();
        path.clear();
        path.extend_from_slice(receipt.path);
        let checkpoint = receipt.checkpoint.clone();
        self.last = Some(Last { checkpoint, path });
    }
}

/// What `path` has before the hashes at its end that are also at the end of `last`, and how many
/// those are.
fn split<'a>(path: &'a [u8], last: &[u8]) -> (&'a [u8], u8) {
    let (hashes, of_last) = (path.rchunks_exact(HASH_LEN), last.rchunks_exact(HASH_LEN));
    let same = hashes.zip(of_last).take_while(|(one, other)| one == other);
    let shared = u8::try_from(same.count()).unwrap_or(0);
    let own = path
        .len()
        .saturating_sub(usize::from(shared).saturating_mul(HASH_LEN));
    (path.get(..own).unwrap_or_default(), shared)
}

const HASH_LEN: usize = 32;
const PATH_BYTES_MAX: usize = PATH_LEN_MAX * HASH_LEN;
