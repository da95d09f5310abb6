//! Backups: the log as of a batch, and the directory's key, in one file that checks itself.
//!
//! A backup is written beside a serving directory or without one (`backup/write.rs`), and becomes a
//! data folder again only after everything in it has been audited (`backup/restore.rs`). The log
//! that comes of an old one lacks entries that nodes know of; [`crate::ahead`] sees to it that
//! nothing is written to such a log.
//!
//! The file is an SQLite file with the tables of `ledger.db` and a table `files`: `key` and, if the
//! log lacked entries already, `ahead`, byte for byte as in the data folder; and `invites`, the invite
//! codes ([`Saved`]).

use std::path::{Path, PathBuf};

use quid_common::checkpoint::Checkpoint;
use quid_common::entry::{Entry, Fact};
use quid_common::id::LedgerId;
use quid_common::key::{PublicKey, SecretKey};
use thiserror::Error;

use crate::folder::{FolderError, shown};
use crate::invites::{InvitesError, Saved};
use crate::store::{Copy, CopyError, LogReader, StoreError};
use crate::tree::Frontier;

mod restore;
mod write;

pub use self::restore::{Restored, restore};
pub use self::write::{Options, Written, write};

/// What a backup has of the directory's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyInside {
    /// The key: whoever reads the file is the directory.
    Plain,
    /// The key under its passphrase.
    Sealed,
    /// Nothing.
    Absent,
}

impl KeyInside {
    /// A stable word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
            Self::Absent => "absent",
        }
    }
}

/// Why there is no backup, or nothing was restored from it.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A folder or file is in the way.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log cannot be read, or the copy not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read as a backup.
    #[error(transparent)]
    Copy(CopyError),
    /// The invite codes cannot be read or written.
    #[error(transparent)]
    Invites(#[from] InvitesError),
    /// There is nothing to back up yet.
    #[error("there is no ledger in this folder yet; `quid-directory serve` begins one")]
    Empty,
    /// The file is there.
    #[error("{} is there already; name another file, or say --replace", shown(.0))]
    Exists(PathBuf),
    /// Another process writes the same backup.
    #[error("{} is being written by another process; wait for it, or name another file", shown(.0))]
    Busy(PathBuf),
    /// The folder holds something.
    #[error("{} is not empty; a backup is restored to a new folder, name another with --data", shown(.0))]
    NotEmpty(PathBuf),
    /// The backup has no key, and none was given.
    #[error("{} was written without the key; give the file with --key", shown(.0))]
    KeyAbsent(PathBuf),
    /// The key is not this ledger's.
    #[error("the key in {} is not the one that this ledger began with", shown(.0))]
    OtherKey(PathBuf),
    /// The file does not hold a key.
    #[error("{} is not an Ed25519 key in PKCS#8 PEM", shown(.0))]
    KeyText(PathBuf),
    /// What was written is not what was read.
    #[error("{} is damaged: {reason}; use another backup", shown(.path))]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl BackupError {
    /// Whether a check failed, rather than a file or lock being in the way.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// The ledger in a log, whose directory must have signed its newest checkpoint.
struct Origin {
    ledger: LedgerId,
    directory: PublicKey,
}

impl Origin {
    fn of(log: &LogReader) -> Result<Self, String> {
        let first = log.entry(0).map_err(|error| error.to_string())?;
        let entry = Entry::decode(&first.bytes).map_err(|error| error.to_string())?;
        match entry.fact {
            Fact::Genesis(genesis) => Ok(Self {
                ledger: LedgerId(first.leaf),
                directory: genesis.statement().directory,
            }),
            _ => Err("its first entry does not begin a ledger".into()),
        }
    }

    /// Checks that `log` is, entry for entry, what its newest checkpoint says and the directory
    /// signed. Signatures of members are not looked at.
    fn check(&self, log: &LogReader) -> Result<(u64, Checkpoint), String> {
        let newest = log.latest_checkpoint().map_err(|error| error.to_string())?;
        let Some((size, checkpoint)) = newest else {
            return Err("it has no checkpoint".into());
        };
        let head = checkpoint
            .verify(self.ledger, &self.directory)
            .map_err(|error| error.to_string())?;
        let mut frontier = Frontier::new();
        log.scan(0, size, |_, entry| {
            frontier.append(entry.leaf);
            Ok::<_, StoreError>(())
        })
        .map_err(|error| error.to_string())?;
        if head.size != size || head.root != frontier.root() {
            return Err("its entries are not those that its checkpoint is of".into());
        }
        Ok((size, checkpoint))
    }
}

/// What the text of a key file is worth as the key of `directory`.
fn key_inside(text: &[u8], directory: &PublicKey, path: PathBuf) -> Result<KeyInside, BackupError> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(BackupError::KeyText(path));
    };
    if text.starts_with(SEALED) {
        // Whose it is will be seen by whoever has the passphrase.
        return Ok(KeyInside::Sealed);
    }
    match SecretKey::from_pem(text) {
        Ok(key) if key.public() == *directory => Ok(KeyInside::Plain),
        Ok(_) => Err(BackupError::OtherKey(path)),
        Err(_) => Err(BackupError::KeyText(path)),
    }
}

fn damaged(path: &Path) -> impl Fn(String) -> BackupError {
    move |reason| BackupError::Damaged {
        path: path.to_owned(),
        reason,
    }
}

/// How a sealed key begins (RFC 7468).
const SEALED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// The files in a backup, named as in the data folder.
const KEY: &str = "key";
const AHEAD: &str = crate::ahead::NAME;

const INVITES: &str = "invites";

/// The invite codes in a backup, which must be those that were written.
fn invites_in(copy: &Copy) -> Result<Option<Saved>, Fault> {
    let text = copy.file(INVITES).map_err(Fault::Store)?;
    text.map(Saved::read)
        .transpose()
        .map_err(|error| Fault::Damage(error.to_string()))
}

/// Why something in a backup cannot be had.
enum Fault {
    Store(StoreError),
    Damage(String),
}

/// Longest key file.
const KEY_LEN_MAX: u64 = 4096;
