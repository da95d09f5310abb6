//! Checkpoints: the directory's signed word on how long its log is and what is in it.
//!
//! A checkpoint is a C2SP `tlog-checkpoint`, a signed note of three lines (origin, size, root) with
//! exactly one signature, the directory's. PROTOCOL.md, "Checkpoints".

use std::fmt;
use std::sync::Arc;

use ed25519_zebra::{self as zebra, VerificationKeyBytes, batch};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use signed_note::{Note, Signature, Signer, key_id};
use thiserror::Error;
use tlog_tiles::Hash;

use crate::id::LedgerId;
use crate::key::{PublicKey, SecretKey};

/// Longest checkpoint in bytes.
pub const CHECKPOINT_LEN_MAX: usize = 512;

/// Most entries that a checkpoint may claim: index arithmetic stays far from overflow.
pub const SIZE_MAX: u64 = 1 << 48;

/// A log's size and the root of its RFC 6962 tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// The tree's root hash over them.
    pub root: [u8; 32],
}

/// Who should have signed, what, and the signature.
pub type Claim = (PublicKey, Vec<u8>, [u8; 64]);

/// A head with the directory's signature, as it travels. Nothing is proved before
/// [`Checkpoint::verify`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Checkpoint(Arc<str>);

impl Checkpoint {
    /// Signs `head` for `ledger` with the directory's `key`.
    ///
    /// # Panics
    /// Never: three printable lines are a note's text, and signing in memory cannot fail.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a directory's own head; nothing foreign is in it"
    )]
    pub fn sign(ledger: LedgerId, head: Head, key: &SecretKey) -> Self {
        let origin = origin(ledger);
        let mut note = Note::new(body(&origin, head).as_bytes(), &[])
            .expect("three printable lines are a note's text");
        note.add_sigs(&[&NoteKey {
            name: origin,
            secret: key,
        }])
        .expect("the origin is a valid name and signing in memory cannot fail");
        let text = String::from_utf8(note.to_bytes()).expect("a note is UTF-8");
        Self(text.into())
    }

    /// The head, once its signature is found to be by `directory` for `ledger`.
    ///
    /// # Errors
    /// [`CheckpointError`] for another ledger, another key or anything but the one encoding.
    pub fn verify(&self, ledger: LedgerId, directory: &PublicKey) -> Result<Head, CheckpointError> {
        let (head, (key, message, signature)) = self.to_verify(ledger, directory)?;
        if key.verify(&message, &signature) {
            Ok(head)
        } else {
            Err(CheckpointError::Signature)
        }
    }

    /// The heads of many checkpoints, each once its signature is found to be by `directory`. The
    /// signatures are checked together, which takes a third of the time; `random` must not be
    /// predictable by the directory.
    ///
    /// # Errors
    /// For each as [`Checkpoint::verify`].
    pub fn verify_all(
        checkpoints: &[Self],
        ledger: LedgerId,
        directory: &PublicKey,
        random: &mut impl CryptoRng,
    ) -> Vec<Result<Head, CheckpointError>> {
        let one_by_one = || checkpoints.iter().map(|one| one.verify(ledger, directory));
        if checkpoints.len() < TOGETHER_MIN {
            return one_by_one().collect();
        }
        let mut together = batch::Verifier::new();
        let mut heads = Vec::with_capacity(checkpoints.len());
        for checkpoint in checkpoints {
            match checkpoint.to_verify(ledger, directory) {
                Ok((head, (key, message, signature))) => {
                    let key = VerificationKeyBytes::from(*key.as_bytes());
                    together.queue((key, zebra::Signature::from_bytes(&signature), &message));
                    heads.push(Ok(head));
                }
                Err(error) => heads.push(Err(error)),
            }
        }
        match together.verify(random) {
            Ok(()) => heads,
            Err(_) => one_by_one().collect(),
        }
    }

    /// The head, and the key, the message and the signature to verify before it counts: for
    /// verification in batches. Everything but the signature is checked here.
    ///
    /// # Errors
    /// As [`Checkpoint::verify`].
    pub fn to_verify(
        &self,
        ledger: LedgerId,
        directory: &PublicKey,
    ) -> Result<(Head, Claim), CheckpointError> {
        let origin = origin(ledger);
        let end = self.0.find("\n\n").ok_or(CheckpointError::Malformed)?;
        let (text, signed) = self.0.split_at(end.saturating_add(1));
        let parsed = tlog_tiles::Checkpoint::from_bytes(text.as_bytes())
            .map_err(|_| CheckpointError::Malformed)?;
        if parsed.origin() != origin {
            return Err(CheckpointError::Ledger);
        }
        let head = Head {
            size: parsed.size(),
            root: parsed.hash().0,
        };
        // One head has one text: nothing may hide in extension lines or odd numerals.
        if head.size == 0 || head.size > SIZE_MAX || body(&origin, head) != text {
            return Err(CheckpointError::Malformed);
        }
        let line = signed
            .strip_prefix('\n')
            .ok_or(CheckpointError::Malformed)?;
        let signature = Signature::from_bytes(line.trim_end_matches('\n').as_bytes())
            .map_err(|_| CheckpointError::Malformed)?;
        if signature.name() != origin || signature.id() != note_key_id(&origin, directory) {
            return Err(CheckpointError::Signature);
        }
        if signature.to_bytes() != line.as_bytes() {
            return Err(CheckpointError::Malformed);
        }
        let signature = signature
            .signature()
            .try_into()
            .map_err(|_| CheckpointError::Signature)?;
        Ok((head, (*directory, text.as_bytes().to_vec(), signature)))
    }

    /// The ledger that this claims to be of; [`Checkpoint::verify`] tells whether that is so.
    #[must_use]
    pub fn ledger(&self) -> Option<LedgerId> {
        self.0.lines().next()?.strip_prefix("quid/")?.parse().ok()
    }

    /// The head that this claims; [`Checkpoint::verify`] tells whether that is so.
    #[must_use]
    pub fn claim(&self) -> Option<Head> {
        let mut lines = self.0.lines().skip(1);
        let size = lines.next()?.parse().ok()?;
        let root = Hash::parse_hash(lines.next()?).ok()?.0;
        Some(Head { size, root })
    }

    /// The signed note.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({:?})", self.0)
    }
}

impl TryFrom<String> for Checkpoint {
    type Error = CheckpointError;

    fn try_from(text: String) -> Result<Self, CheckpointError> {
        if text.len() > CHECKPOINT_LEN_MAX {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self(text.into()))
    }
}

impl From<Checkpoint> for String {
    fn from(checkpoint: Checkpoint) -> Self {
        checkpoint.0.as_ref().into()
    }
}

/// Why a checkpoint proves nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not a signed note of a log head.
    #[error("the checkpoint is malformed")]
    Malformed,
    /// Of another ledger.
    #[error("the checkpoint is another ledger's")]
    Ledger,
    /// Not signed by the directory.
    #[error("the checkpoint is not signed by the directory's key")]
    Signature,
}

/// Below this many, checking together costs more than one by one.
const TOGETHER_MIN: usize = 3;

/// The line that names a ledger in its checkpoints, and the directory's name as their signer.
#[must_use]
pub fn origin(ledger: LedgerId) -> String {
    format!("quid/{ledger}")
}

fn body(origin: &str, head: Head) -> String {
    format!("{origin}\n{}\n{}\n", head.size, Hash(head.root))
}

/// Lets our keys sign notes.
struct NoteKey<'a> {
    name: String,
    secret: &'a SecretKey,
}

impl Signer for NoteKey<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        note_key_id(&self.name, &self.secret.public())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.secret.sign(message).to_vec())
    }
}

/// How a signature line names `key`.
fn note_key_id(name: &str, key: &PublicKey) -> u32 {
    // 0x01: Ed25519, C2SP signed-note.
    let mut typed = [1; 33];
    typed[1..].copy_from_slice(key.as_bytes());
    key_id(name, &typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: LedgerId = LedgerId([7; 32]);
    const HEAD: Head = Head {
        size: 42,
        root: [9; 32],
    };

    #[test]
    fn a_checkpoint_is_a_signed_note_of_three_lines() {
        let key = SecretKey::from_seed(&[3; 32]);
        let checkpoint = Checkpoint::sign(LEDGER, HEAD, &key);
        let lines: Vec<&str> = checkpoint.as_str().lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], format!("quid/{LEDGER}"));
        assert_eq!(lines[1], "42");
        assert!(lines[4].starts_with(&format!("\u{2014} quid/{LEDGER} ")));
        assert_eq!(checkpoint.verify(LEDGER, &key.public()), Ok(HEAD));
        assert!(checkpoint.as_str().len() <= CHECKPOINT_LEN_MAX);
    }

    #[test]
    fn many_are_judged_together_as_each_by_itself() {
        let key = SecretKey::from_seed(&[3; 32]);
        let other = SecretKey::from_seed(&[4; 32]);
        let sign = |size, key| Checkpoint::sign(LEDGER, Head { size, ..HEAD }, key);
        for count in 0..9 {
            let mut all: Vec<_> = (1..=count).map(|size| sign(size, &key)).collect();
            for forged in [None, Some(0), Some(count / 2)] {
                if let Some(place) = forged.and_then(|at| all.get_mut(at as usize)) {
                    *place = sign(99, &other);
                }
                let together =
                    Checkpoint::verify_all(&all, LEDGER, &key.public(), &mut rand::rng());
                let alone: Vec<_> = all
                    .iter()
                    .map(|one| one.verify(LEDGER, &key.public()))
                    .collect();
                assert_eq!(together, alone);
            }
        }
    }

    #[test]
    fn another_ledger_key_or_bit_is_refused() {
        let key = SecretKey::from_seed(&[3; 32]);
        let other = SecretKey::from_seed(&[4; 32]);
        let checkpoint = Checkpoint::sign(LEDGER, HEAD, &key);
        assert_eq!(
            checkpoint.verify(LedgerId([8; 32]), &key.public()),
            Err(CheckpointError::Ledger)
        );
        assert_eq!(
            checkpoint.verify(LEDGER, &other.public()),
            Err(CheckpointError::Signature)
        );
        let bytes = checkpoint.as_str().as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = String::from_utf8(bytes) {
                let verdict = Checkpoint(text.into()).verify(LEDGER, &key.public());
                assert!(verdict.is_err(), "bit {bit} flipped");
            }
        }
        for end in 0..bytes.len() {
            if let Some(text) = checkpoint.as_str().get(..end) {
                assert!(
                    Checkpoint(text.into())
                        .verify(LEDGER, &key.public())
                        .is_err()
                );
            }
        }
    }
}
