//! What a receipt proves: each checkpoint's signature is verified once by each node, each path
//! always.

use std::collections::VecDeque;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::receipt::Receipt;

use crate::report::Failure;

/// One node's memory of verified checkpoints.
#[derive(Debug)]
pub(crate) struct Proofs {
    ledger: LedgerId,
    directory: PublicKey,
    checked: VecDeque<(Checkpoint, Head)>,
}

impl Proofs {
    pub(crate) const fn new(ledger: LedgerId, directory: PublicKey) -> Self {
        Self {
            ledger,
            directory,
            checked: VecDeque::new(),
        }
    }

    /// Whether `receipt` proves that exactly the order in `order` has settled.
    ///
    /// # Errors
    /// The receipt proves nothing.
    pub(crate) fn settles(&mut self, receipt: &Receipt, order: &[u8]) -> Result<bool, Failure> {
        let known = self
            .checked
            .iter()
            .rev()
            .find(|(checked, _)| *checked == receipt.checkpoint);
        let head = match known {
            Some((_, head)) => *head,
            None => {
                let head = receipt.checkpoint.verify(self.ledger, &self.directory)?;
                if self.checked.len() >= CHECKED_LEN_MAX {
                    self.checked.pop_front();
                }
                self.checked.push_back((receipt.checkpoint.clone(), head));
                head
            }
        };
        Ok(receipt.verify_under(head)?.settles(order))
    }
}

/// Checkpoints remembered by a node, as many as the library's nodes remember.
const CHECKED_LEN_MAX: usize = 64;
