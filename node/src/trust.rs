//! What the directory has proved: receipts and checkpoints, each checked before anything rests on
//! it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use quid_common::checkpoint::{Checkpoint, CheckpointError, Head};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::receipt::{Proven, Receipt, ReceiptError};
use thiserror::Error;

/// Checks receipts and checkpoints of one ledger.
#[derive(Debug)]
pub(crate) struct Trust {
    directory: PublicKey,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ledger: Option<LedgerId>,
    /// Checkpoints whose signature was checked lately: one serves every receipt of its batch.
    checked: VecDeque<(Checkpoint, Head)>,
    /// The longest log seen.
    newest: Option<(Checkpoint, Head)>,
}

impl Trust {
    pub(crate) fn new(directory: PublicKey, ledger: Option<LedgerId>) -> Self {
        let seen = Mutex::new(Seen {
            ledger,
            ..Seen::default()
        });
        Self { directory, seen }
    }

    /// Takes the ledger's id from the directory itself; it is the same for ever.
    pub(crate) fn set_ledger(&self, ledger: LedgerId) -> Result<(), TrustError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.ledger {
            Some(known) if known != ledger => Err(TrustError::OtherLedger(known)),
            _ => {
                seen.ledger = Some(ledger);
                Ok(())
            }
        }
    }

    pub(crate) fn ledger(&self) -> Option<LedgerId> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ledger
    }

    /// What `receipt` proves.
    pub(crate) fn prove(&self, receipt: &Receipt) -> Result<Proven, TrustError> {
        let head = self.check(&receipt.checkpoint)?;
        Ok(receipt.verify_under(head)?)
    }

    /// The head of a checkpoint by the directory. Two heads of one size are a forked history, which
    /// is logged; which of them is true cannot be told here.
    pub(crate) fn check(&self, checkpoint: &Checkpoint) -> Result<Head, TrustError> {
        let ledger = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let checked = seen
                .checked
                .iter()
                .rev()
                .find(|(text, _)| text == checkpoint);
            if let Some((_, head)) = checked {
                return Ok(*head);
            }
            seen.ledger.ok_or(TrustError::NoLedger)?
        };
        let head = checkpoint.verify(ledger, &self.directory)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.compare(checkpoint, head);
        if seen.checked.len() >= CHECKED_LEN_MAX {
            seen.checked.pop_front();
        }
        seen.checked.push_back((checkpoint.clone(), head));
        if seen
            .newest
            .as_ref()
            .is_none_or(|(_, newest)| newest.size < head.size)
        {
            seen.newest = Some((checkpoint.clone(), head));
        }
        Ok(head)
    }

    /// Takes the checkpoint that the directory calls its newest; a shorter log than one seen
    /// before means that it has lost or hidden entries, which is logged.
    pub(crate) fn check_newest(&self, checkpoint: &Checkpoint) -> Result<Head, TrustError> {
        let head = self.check(checkpoint)?;
        if let Some((newest, newest_head)) = self.newest()
            && head.size < newest_head.size
        {
            tracing::error!(
                ?newest,
                shown = ?checkpoint,
                "the directory shows a shorter log than before: entries are lost or hidden"
            );
        }
        Ok(head)
    }

    /// The checkpoint of the longest log seen.
    pub(crate) fn newest(&self) -> Option<(Checkpoint, Head)> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .newest
            .clone()
    }
}

impl Seen {
    fn compare(&self, checkpoint: &Checkpoint, head: Head) {
        let others = self.checked.iter().chain(&self.newest);
        for (other, other_head) in others {
            if other_head.size == head.size && other_head.root != head.root {
                tracing::error!(
                    one = ?other,
                    two = ?checkpoint,
                    "the directory has signed two histories: keep both lines, they prove it"
                );
            }
        }
    }
}

/// Why something proves nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TrustError {
    /// The ledger is not known yet: this home has never logged in.
    #[error("the directory's ledger is not known yet; log in first")]
    NoLedger,
    /// The directory speaks of another ledger than this home has known.
    #[error("the directory now serves another ledger; this home belongs to ledger {0}")]
    OtherLedger(LedgerId),
    /// The receipt proves nothing.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The checkpoint proves nothing.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Most checkpoints remembered as checked.
const CHECKED_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use quid_common::key::SecretKey;

    use super::*;

    #[test]
    fn only_the_directorys_checkpoints_count_and_the_longest_is_kept() {
        let key = SecretKey::from_seed(&[1; 32]);
        let ledger = LedgerId([2; 32]);
        let sign = |size, key| {
            Checkpoint::sign(
                ledger,
                Head {
                    size,
                    root: [size as u8; 32],
                },
                key,
            )
        };
        let trust = Trust::new(key.public(), None);
        assert_eq!(trust.check(&sign(1, &key)), Err(TrustError::NoLedger));
        trust.set_ledger(ledger).expect("the first");
        assert_eq!(
            trust.set_ledger(LedgerId([3; 32])),
            Err(TrustError::OtherLedger(ledger))
        );
        for size in [5, 9, 7] {
            assert_eq!(
                trust.check(&sign(size, &key)).map(|head| head.size),
                Ok(size)
            );
        }
        assert_eq!(trust.newest().map(|(_, head)| head.size), Some(9));
        let stranger = SecretKey::from_seed(&[4; 32]);
        assert!(trust.check(&sign(10, &stranger)).is_err());
        assert_eq!(trust.newest().map(|(_, head)| head.size), Some(9));
    }

    #[test]
    fn the_memory_of_checked_checkpoints_is_bounded() {
        let key = SecretKey::from_seed(&[1; 32]);
        let trust = Trust::new(key.public(), Some(LedgerId([2; 32])));
        for size in 1..=CHECKED_LEN_MAX as u64 * 2 {
            let head = Head {
                size,
                root: [0; 32],
            };
            trust
                .check(&Checkpoint::sign(LedgerId([2; 32]), head, &key))
                .expect("signed");
        }
        assert_eq!(
            trust.seen.lock().expect("sound").checked.len(),
            CHECKED_LEN_MAX
        );
    }
}
