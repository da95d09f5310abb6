//! The home folder: key, pinned directory, journal and locks.

use std::path::{Path, PathBuf};

use quid_common::address::DirectoryAddress;
use quid_common::amount::Currency;
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use thiserror::Error;

/// A home folder, checked and open.
#[derive(Debug)]
pub struct Home {}

impl Home {
    /// Makes the folder, its key and its journal, and pins the directory.
    ///
    /// On a home of the same directory this changes nothing; one half made is completed.
    ///
    /// # Errors
    /// [`HomeError`]; nothing that was there is overwritten.
    pub fn init(path: &Path, directory: &DirectoryAddress) -> Result<Self, HomeError> {
        let _ = (path, directory);
        todo!()
    }

    /// Opens a home, checking modes, key, settings and journal.
    ///
    /// # Errors
    /// [`HomeError`], naming the file and the remedy.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let _ = path;
        todo!()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// The public half of the home's key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        todo!()
    }

    /// The pinned directory.
    #[must_use]
    pub fn directory(&self) -> &DirectoryAddress {
        todo!()
    }

    /// What is counted, known after the first login.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        todo!()
    }

    /// The account's name, known after registration or the first login.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        todo!()
    }

    /// The directory's ledger, known after the first login.
    #[must_use]
    pub fn ledger(&self) -> Option<LedgerId> {
        todo!()
    }

    /// Takes the exclusive right to listen for this home, held until the lock is dropped.
    ///
    /// # Errors
    /// [`HomeError::Held`] if another process listens.
    pub fn lock_listener(&self) -> Result<ListenerLock, HomeError> {
        todo!()
    }

    /// Where the process that listens serves other commands of this home.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        todo!()
    }
}

/// The exclusive right to listen for a home; ends when dropped.
#[derive(Debug)]
pub struct ListenerLock {}

/// Why a home cannot be used. Each names the file and what to do.
#[derive(Debug, Error)]
pub enum HomeError {
    /// There is no home.
    #[error("{path} is not a home; make one with `quid init`")]
    NotHome {
        /// The folder.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{what} (process {pid}) already listens for this home; stop it first")]
    Held {
        /// The process.
        pid: u32,
        /// Its command.
        what: String,
    },
}
