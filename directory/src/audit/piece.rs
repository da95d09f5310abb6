//! A piece of the log on its way through the audit: as it was read, and as it was judged.

use std::ops::Range;

use quid_common::chain::{GAP_MAX, Link};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, EntryError, Fact};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;

use crate::store::{LogEntry, LogReader, StoreError};
use crate::verify::{self, Claim};

/// Consecutive entries, and the checkpoints taken after any of them.
pub(super) struct Piece {
    entries: Vec<LogEntry>,
    /// With the sizes that they are stored for, ascending.
    checkpoints: Vec<(u64, Checkpoint)>,
    broken: Option<StoreError>,
}

/// A piece whose entries have been decoded, whose signatures have been judged and whose claims have
/// been hashed.
pub(super) struct Judged {
    pub(super) entries: Vec<JudgedEntry>,
    /// What the directory has signed, or what is wrong with that, by the size it is stored for.
    pub(super) checkpoints: Vec<(u64, Result<Head, String>)>,
    /// Why the log cannot be read on behind the last of the entries.
    pub(super) broken: Option<StoreError>,
}

/// An entry as far as it can be judged by itself.
pub(super) struct JudgedEntry {
    /// The entry, or what is wrong with it.
    pub(super) entry: Result<Entry, EntryFault>,
    /// Its leaf hash.
    pub(super) leaf: [u8; 32],
    /// Of a claim, the link that its own hashes down to: that of the claim before.
    pub(super) below: Option<Link>,
}

/// What is wrong with an entry by itself.
pub(super) enum EntryFault {
    /// It is none, or not as it was signed.
    Wrong(String),
    /// Nothing, as far as this program can tell.
    Newer(EntryError),
}

impl From<EntryError> for EntryFault {
    fn from(error: EntryError) -> Self {
        if error.is_newer() {
            Self::Newer(error)
        } else {
            Self::Wrong(error.to_string())
        }
    }
}

impl Piece {
    /// The entries from number `from` up to but not including `to`, or as far as they can be read.
    pub(super) fn read(log: &LogReader, from: u64, to: u64) -> Self {
        let mut entries = Vec::with_capacity(usize::try_from(to - from).unwrap_or_default());
        let mut checkpoints = Vec::new();
        let broken = log.scan(from, to, |_, entry| {
            entries.push(entry);
            Ok::<_, StoreError>(())
        });
        let unreadable = log.checkpoints(from + 1, to, |size, checkpoint| {
            checkpoints.push((size, checkpoint));
            Ok::<_, StoreError>(())
        });
        Self {
            entries,
            checkpoints,
            broken: broken.and(unreadable).err(),
        }
    }

    /// Whether the log cannot be read on behind this piece.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Decodes all, hashes the claims and judges the signatures together, for the ledger `ledger` of the directory
    /// with the key `key`.
    pub(super) fn judge(self, ledger: LedgerId, key: &PublicKey) -> Judged {
        let mut claims = Vec::with_capacity(self.entries.len() + self.checkpoints.len());
        let mut entries: Vec<_> = self
            .entries
            .into_iter()
            .map(|written| {
                let entry = Entry::decode(&written.bytes).map_err(EntryFault::from);
                let signed = entry.as_ref().map(|entry| entry.fact.signatures());
                let first = claims.len();
                claims.extend(signed.unwrap_or_default().into_iter().map(Claim::from));
                (entry, written.leaf, first..claims.len())
            })
            .collect();
        let mut checkpoints: Vec<_> = self
            .checkpoints
            .into_iter()
            .map(|(size, checkpoint)| {
                let (head, claim) = match checkpoint.to_verify(ledger, key) {
                    Ok((head, claim)) => (Ok(head), Some(claim)),
                    Err(error) => (Err(error.to_string()), None),
                };
                let first = claims.len();
                claims.extend(claim.map(Claim::from));
                (size, head, first..claims.len())
            })
            .collect();
        let genuine = verify::verify(&claims, &mut rand::rng());
        let forged = |claims: &Range<usize>| {
            let verdicts = genuine.get(claims.clone());
            verdicts.is_none_or(|verdicts| verdicts.contains(&false))
        };
        for (entry, _, claims) in &mut entries {
            // What cannot be read has no signature that could be.
            if entry.is_ok() && forged(claims) {
                *entry = Err(EntryFault::Wrong(
                    "its signature is not the signer's".into(),
                ));
            }
        }
        for (_, head, claims) in &mut checkpoints {
            if forged(claims) {
                *head = Err("the checkpoint is not signed by the directory's key".into());
            }
        }
        let judged = |(entry, leaf, _): (Result<Entry, EntryFault>, _, _)| {
            let below = entry.as_ref().ok().and_then(below);
            JudgedEntry { entry, leaf, below }
        };
        Judged {
            entries: entries.into_iter().map(judged).collect(),
            checkpoints: checkpoints.into_iter().map(|(a, b, _)| (a, b)).collect(),
            broken: self.broken,
        }
    }
}

/// The link that a claim goes on from, by hashing. Not of one that is longer than one may be, which
/// the ledger refuses.
fn below(entry: &Entry) -> Option<Link> {
    let Fact::Claim(claim) = &entry.fact else {
        return None;
    };
    let count = claim.index.checked_sub(claim.from)?;
    (count <= GAP_MAX).then(|| claim.link.down(&claim.id, count))
}
