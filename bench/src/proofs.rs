//! What receipts prove: each checkpoint's signature is verified once by each node, those that come
//! together at once, and each path always.

use std::collections::VecDeque;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::merkle::Followed;
use quid_common::receipt::Receipt;

use crate::report::Failure;

/// One node's memory of verified checkpoints.
#[derive(Debug)]
pub(crate) struct Proofs {
    ledger: LedgerId,
    directory: PublicKey,
    checked: VecDeque<(Checkpoint, Head)>,
    followed: Followed,
}

impl Proofs {
    pub(crate) fn new(ledger: LedgerId, directory: PublicKey) -> Self {
        Self {
            ledger,
            directory,
            checked: VecDeque::new(),
            followed: Followed::default(),
        }
    }

    /// Verifies that each receipt proves that exactly the order beside it has settled.
    ///
    /// # Errors
    /// One of them does not.
    pub(crate) fn verify(&mut self, receipts: &[(Receipt, Vec<u8>)]) -> Result<(), Failure> {
        let mut news: Vec<Checkpoint> = Vec::new();
        for (receipt, _) in receipts {
            let checkpoint = &receipt.checkpoint;
            // Receipts of one batch follow each other.
            if news.last() != Some(checkpoint)
                && self.head_of(checkpoint).is_none()
                && !news.contains(checkpoint)
            {
                news.push(checkpoint.clone());
            }
        }
        let heads = Checkpoint::verify_all(&news, self.ledger, &self.directory, &mut rand::rng());
        for (checkpoint, head) in news.into_iter().zip(heads) {
            self.checked.push_back((checkpoint, head?));
        }
        for (receipt, order) in receipts {
            let head = self.head_of(&receipt.checkpoint).ok_or("no head")?;
            if !receipt.settles_under(head, &mut self.followed, order)? {
                return Err("a receipt of something else".into());
            }
        }
        while self.checked.len() > CHECKED_LEN_MAX {
            self.checked.pop_front();
        }
        Ok(())
    }

    fn head_of(&self, checkpoint: &Checkpoint) -> Option<Head> {
        let mut known = self.checked.iter().rev();
        let (_, head) = known.find(|(checked, _)| checked == checkpoint)?;
        Some(*head)
    }
}

/// Checkpoints remembered by a node, as many as the library's nodes remember.
const CHECKED_LEN_MAX: usize = 64;
