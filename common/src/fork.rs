//! Forks: the proof that a directory has signed two histories of one ledger, checkable by anyone
//! who knows the directory's key.
//!
//! Two checkpoints, and how the newer log began as long as the older one was: when that is not what
//! the older checkpoint says, no log has both as its heads. PROTOCOL.md, "Two histories".

use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::armour;
use crate::cbor::{self, CborError};
use crate::checkpoint::{Checkpoint, CheckpointError, Head};
use crate::consistency;
use crate::id::{Digest, LedgerId};
use crate::key::PublicKey;

/// What proves two histories, as it is kept and passed on. Nothing is proved before
/// [`Fork::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Fork {
    /// The checkpoint of the shorter log, or either of two of one size.
    pub older: Checkpoint,
    /// The other one.
    pub newer: Checkpoint,
    /// The root over the newer log's first entries, as many as the older log has.
    pub root: Digest,
    /// The consistency proof from `root` to the newer checkpoint's, 32 bytes a hash; empty between
    /// two logs of one size.
    pub proof: ByteBuf,
}

/// Two histories that the directory has signed beyond doubt. Only [`Fork::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoHistories {
    ledger: LedgerId,
    size: u64,
    newer: u64,
}

impl Fork {
    /// The evidence that `older` and `newer` are no heads of one log, if `root` and `proof` show
    /// it. The caller has verified both heads.
    #[must_use]
    pub fn between(
        (older, older_head): (&Checkpoint, Head),
        (newer, newer_head): (&Checkpoint, Head),
        root: [u8; 32],
        proof: Vec<u8>,
    ) -> Option<Self> {
        contradict(older_head, newer_head, root, &proof).ok()?;
        Some(Self {
            older: older.clone(),
            newer: newer.clone(),
            root: Digest(root),
            proof: proof.into(),
        })
    }

    /// What this proves, given nothing but the directory's key.
    ///
    /// # Errors
    /// [`ForkError`] names the field for which it proves nothing.
    pub fn verify(&self, directory: &PublicKey) -> Result<TwoHistories, ForkError> {
        let ledger = self
            .older
            .ledger()
            .ok_or(ForkError::Older(CheckpointError::Malformed))?;
        let older = self
            .older
            .verify(ledger, directory)
            .map_err(ForkError::Older)?;
        let newer = self
            .newer
            .verify(ledger, directory)
            .map_err(ForkError::Newer)?;
        contradict(older, newer, self.root.0, &self.proof)?;
        Ok(TwoHistories {
            ledger,
            size: older.size,
            newer: newer.size,
        })
    }

    /// The evidence as text, for keeping in a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        armour::to_text(TEXT_HEADER, &cbor::encode(self))
    }

    /// Reads what [`Fork::to_text`] wrote.
    ///
    /// # Errors
    /// [`ForkError::Text`] or [`ForkError::Encoding`]: this is no such text.
    pub fn from_text(text: &str) -> Result<Self, ForkError> {
        let bytes = armour::from_text(TEXT_HEADER, text).ok_or(ForkError::Text)?;
        Ok(cbor::decode(&bytes)?)
    }

    /// Whether a text claims to be such evidence, so that a reader knows what to say of it.
    #[must_use]
    pub fn is_claimed_by(text: &[u8]) -> bool {
        text.strip_prefix(TEXT_HEADER.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"\n"))
    }
}

impl TwoHistories {
    /// The ledger that has two.
    #[must_use]
    pub const fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// The number of entries within which the two differ.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The number of entries in the longer of the two.
    #[must_use]
    pub const fn newer_size(&self) -> u64 {
        self.newer
    }
}

/// Why a text or value proves no two histories.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ForkError {
    /// Not the text of a fork.
    #[error("this is not the file of a fork")]
    Text,
    /// Not a fork's encoding.
    #[error("the fork cannot be read: {0}")]
    Encoding(#[from] CborError),
    /// The older checkpoint proves nothing.
    #[error("older: {0}")]
    Older(CheckpointError),
    /// The newer checkpoint proves nothing.
    #[error("newer: {0}")]
    Newer(CheckpointError),
    /// The newer checkpoint is of the shorter log.
    #[error("newer: its log is shorter than the older one's")]
    Order,
    /// The newer log began as the older checkpoint says.
    #[error("root: it is what the older checkpoint says, so there is one history")]
    Root,
    /// The proof does not lead from the root to the newer checkpoint.
    #[error("proof: it does not lead from the root to the newer checkpoint")]
    Proof,
}

/// Checks that a log with head `newer`, which `root` and `proof` show to have begun differently, is
/// not one that ever had head `older`.
fn contradict(older: Head, newer: Head, root: [u8; 32], proof: &[u8]) -> Result<(), ForkError> {
    if newer.size < older.size {
        return Err(ForkError::Order);
    }
    if root == older.root {
        return Err(ForkError::Root);
    }
    let began = Head {
        size: older.size,
        root,
    };
    consistency::check(began, newer, proof).map_err(|_| ForkError::Proof)
}

const TEXT_HEADER: &str = "quid fork 1";
