//! Why a home cannot be used.

use std::io;
use std::path::PathBuf;

use quid_common::address::DirectoryAddress;
use thiserror::Error;

use super::SETTINGS_VERSION;
use crate::journal::JournalError;

/// Why a home cannot be used. Each names the file and what to do.
#[derive(Debug, Error)]
pub enum HomeError {
    /// There is no home.
    #[error("{} is not a home; make one with `quid init`", .path.display())]
    NotHome {
        /// The folder.
        path: PathBuf,
    },
    /// A newer program wrote this file.
    #[error(
        "{} has version {version} and this program knows {SETTINGS_VERSION}; use a newer quid",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The home is pinned to another directory.
    #[error(
        "{} already belongs to the directory {pinned}; use another home for another directory",
        .path.display()
    )]
    OtherDirectory {
        /// The folder.
        path: PathBuf,
        /// The directory that it is pinned to.
        pinned: Box<DirectoryAddress>,
    },
    /// Others could read a file, or write into the folder.
    #[error(
        "{} has mode {mode:04o}, which lets others in; run: chmod {wanted:04o} {}",
        .path.display(), .path.display()
    )]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it must have.
        wanted: u32,
    },
    /// A file of the home is missing.
    #[error("{} is missing; {remedy}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file's content is not what belongs there.
    #[error("{} is damaged: {reason}; {remedy}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The key is sealed, and there is no passphrase.
    #[error(
        "the key in {} is sealed: give its passphrase with --passphrase-file FILE, or \
         QUID_PASSPHRASE_FILE", .path.display()
    )]
    Sealed {
        /// The key file.
        path: PathBuf,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase does not open {}: it is another's, or the file is damaged", .path.display())]
    Passphrase {
        /// The key file.
        path: PathBuf,
    },
    /// The key is just being replaced.
    #[error(
        "{} is there: a change of the key is under way; run `quid key rotate` first",
        .path.display()
    )]
    Rotating {
        /// The next key's file.
        path: PathBuf,
    },
    /// A passphrase cannot be used.
    #[error("the passphrase in {}: {reason}", .path.display())]
    PassphraseFile {
        /// Where it was to be.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process holds the lock.
    #[error("`{what}` (process {pid}) already listens for this home; stop it first")]
    Held {
        /// The process.
        pid: u32,
        /// Its command.
        what: String,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system refused to read, write or lock a file.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
