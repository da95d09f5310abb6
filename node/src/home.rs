//! The home folder: the key, the pinned directory, the journal, and who of several processes may
//! do what.
//!
//! | file | holds |
//! |---|---|
//! | `key.pem` | the secret key, PKCS#8 PEM, mode 0600; sealed if a passphrase was given |
//! | `key.next.pem` | the next key, while it is not known whether the directory has it |
//! | `key.old-*.pem` | keys that were replaced; nothing needs them |
//! | `settings.json` | version and directory address |
//! | `journal.sqlite3` | see [`crate::journal`] |
//! | `fork-*.txt` | the proof that the directory has signed two histories: see [`crate::evidence`] |
//! | `listener.lock` | locked and named by the process that listens |
//! | `run/` | one locked file for every process at work on this home, and for every tab being paid on |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use quid_common::address::DirectoryAddress;
use quid_common::amount::Currency;
use quid_common::id::LedgerId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::journal::{Journal, JournalError, Learned};
use crate::surroundings::Surroundings;

mod error;
mod key_file;
mod locks;

pub use self::error::HomeError;
use self::key_file::read_key;
pub use self::key_file::{KeyFile, Passphrase};
pub use self::locks::ListenerLock;
pub(crate) use self::locks::{RunningMark, TabLock};

/// A home folder, checked and open.
///
/// Several processes may have one home open; see [`Home::lock_listener`] for the one thing that
/// only one of them may do.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    key: SecretKey,
    /// The keys before it, as far as this home had them.
    old: Vec<PublicKey>,
    directory: DirectoryAddress,
    journal: Arc<Journal>,
    learned: Mutex<Learned>,
    surroundings: Surroundings,
}

impl Home {
    /// Makes the folder, its key and its journal, and pins the directory.
    ///
    /// On a home of the same directory, which is known by its key, this changes the address at most;
    /// one half made is completed.
    ///
    /// # Errors
    /// [`HomeError`]; nothing that was there is overwritten.
    pub fn init(path: &Path, directory: &DirectoryAddress) -> Result<Self, HomeError> {
        Self::init_in(path, directory, Surroundings::default())
    }

    /// Makes a home as [`Home::init`] does, with randomness and workers of the caller's.
    ///
    /// # Errors
    /// [`HomeError`], as there.
    pub fn init_in(
        path: &Path,
        directory: &DirectoryAddress,
        surroundings: Surroundings,
    ) -> Result<Self, HomeError> {
        Self::make(path, directory, None, surroundings)
    }

    /// As [`Self::init`], with the key sealed under a passphrase if one is given. A key that is there
    /// already is opened with it, and stays as it is.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn init_sealed(
        path: &Path,
        directory: &DirectoryAddress,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, HomeError> {
        Self::make(path, directory, passphrase, Surroundings::default())
    }

    fn make(
        path: &Path,
        directory: &DirectoryAddress,
        passphrase: Option<&Passphrase>,
        surroundings: Surroundings,
    ) -> Result<Self, HomeError> {
        make_folder(path)?;
        check_mode(path, FOLDER_MODE)?;
        // A home of another directory is left exactly as it is.
        match read_settings(path) {
            Ok(pinned) if pinned.key() != directory.key() => {
                return Err(HomeError::OtherDirectory {
                    path: path.to_owned(),
                    pinned: Box::new(pinned),
                });
            }
            // It has moved, or was mistyped.
            Ok(pinned) if pinned != *directory => {
                replace(&path.join(SETTINGS_FILE), || settings_of(directory))?;
            }
            Ok(_) | Err(HomeError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        create_once(&path.join(KEY_FILE), || {
            let key = key_file::new_key(&surroundings.random)?;
            key_file::text_of(&key, passphrase, &surroundings.random)
        })?;
        create_once(&path.join(SETTINGS_FILE), || settings_of(directory))?;
        Journal::create(&path.join(JOURNAL_FILE))?;
        make_folder(&path.join(RUN_FOLDER))?;
        sync_folder(path)?;
        Self::load(path, passphrase, surroundings)
    }

    /// Opens a home, checking modes, key, settings and journal.
    ///
    /// # Errors
    /// [`HomeError`], naming the file and the remedy.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        Self::open_in(path, Surroundings::default())
    }

    /// Opens a home as [`Home::open`] does, with randomness and workers of the caller's.
    ///
    /// # Errors
    /// [`HomeError`], as there.
    pub fn open_in(path: &Path, surroundings: Surroundings) -> Result<Self, HomeError> {
        Self::load(path, None, surroundings)
    }

    /// As [`Self::open`], with the passphrase of a key that is sealed. One that is not needed is not
    /// looked at.
    ///
    /// # Errors
    /// As [`Self::open`]; [`HomeError::Sealed`] if a passphrase is needed,
    /// [`HomeError::Passphrase`] if this is not it.
    pub fn open_sealed(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, HomeError> {
        Self::load(path, passphrase, Surroundings::default())
    }

    fn load(
        path: &Path,
        passphrase: Option<&Passphrase>,
        surroundings: Surroundings,
    ) -> Result<Self, HomeError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(HomeError::NotHome {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::NotHome {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(io_error(path, "look at")(error)),
        }
        if !path.join(SETTINGS_FILE).exists() && !path.join(KEY_FILE).exists() {
            return Err(HomeError::NotHome {
                path: path.to_owned(),
            });
        }
        check_mode(path, FOLDER_MODE)?;
        let directory = read_settings(path)?;
        let key = read_key(&path.join(KEY_FILE), passphrase)?;
        let journal = Journal::open(&path.join(JOURNAL_FILE), surroundings.workers)?;
        let learned = Mutex::new(journal.learned()?);
        make_folder(&path.join(RUN_FOLDER))?;
        let path = path.to_owned();
        let old = key_file::old_keys(&path);
        Ok(Self {
            path,
            key,
            old,
            directory,
            journal: Arc::new(journal),
            learned,
            surroundings,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public half of the home's key.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// Whether `key` is the home's, or was before it was replaced.
    pub(crate) fn is_own(&self, key: &PublicKey) -> bool {
        self.key() == *key || self.old.contains(key)
    }

    /// The pinned directory.
    #[must_use]
    pub const fn directory(&self) -> &DirectoryAddress {
        &self.directory
    }

    /// What is counted, known after the first login.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.learned_now().currency
    }

    /// Everybody whom this home has ever paid, or tried to, by name; of very many, the first ten
    /// thousand.
    ///
    /// # Errors
    /// [`JournalError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn contacts(&self) -> Result<Vec<Name>, JournalError> {
        self.journal.contacts().await
    }

    /// The account's name, known after registration or the first login.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        self.learned_now().name
    }

    /// The directory's ledger, known after the first login.
    #[must_use]
    pub fn ledger(&self) -> Option<LedgerId> {
        self.learned_now().ledger
    }

    /// Where the process that listens serves other commands of this home.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        Self::control_socket_at(&self.path)
    }

    /// The directory that the home at `path` is pinned to; none if there is no such home.
    #[must_use]
    pub fn directory_at(path: &Path) -> Option<DirectoryAddress> {
        read_settings(path).ok()
    }

    /// [`Self::control_socket`] of the home at `path`, whose key may be sealed.
    #[must_use]
    pub fn control_socket_at(path: &Path) -> PathBuf {
        path.join("control.sock")
    }

    pub(crate) const fn secret(&self) -> &SecretKey {
        &self.key
    }

    pub(crate) const fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Waits between tries of anything.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.surroundings.random.clone())
    }

    pub(crate) const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Keeps what the directory said about the account and itself.
    pub(crate) async fn learn(&self, learned: Learned) -> Result<(), JournalError> {
        if self.learned_now() == learned {
            return Ok(());
        }
        self.journal.learn(learned.clone()).await?;
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = learned;
        Ok(())
    }

    fn learned_now(&self) -> Learned {
        self.learned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[derive(Serialize, Deserialize)]
struct Settings {
    version: u32,
    directory: String,
}

/// A file's content that is wiped when dropped.
struct Secret(Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

fn make_folder(path: &Path) -> Result<(), HomeError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path);
    made.map_err(io_error(path, "create"))
}

fn check_mode(path: &Path, wanted: u32) -> Result<(), HomeError> {
    let metadata = fs::metadata(path).map_err(io_error(path, "look at"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(HomeError::Mode {
        path: path.to_owned(),
        mode,
        wanted,
    })
}

/// Writes a file whole and durably under its name, unless there is one already.
fn create_once(path: &Path, content: impl FnOnce() -> io::Result<Secret>) -> Result<(), HomeError> {
    if path.exists() {
        return Ok(());
    }
    // A link, unlike a rename, never replaces what somebody else just put there.
    let link = |unnamed: &Path| match fs::hard_link(unnamed, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    written(path, content, link).map_err(io_error(path, "create"))
}

/// Writes a file whole and durably in the place of the one that is there.
fn replace(path: &Path, content: impl FnOnce() -> io::Result<Secret>) -> Result<(), HomeError> {
    written(path, content, |unnamed| fs::rename(unnamed, path)).map_err(io_error(path, "replace"))
}

/// Writes a file under a name that nobody looks for, which `place` then gives the place of `path`.
fn written(
    path: &Path,
    content: impl FnOnce() -> io::Result<Secret>,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let unnamed = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&unnamed)?;
        file.write_all(&content()?.0)?;
        file.sync_all()?;
        place(&unnamed)
    };
    let written = write();
    // A rename has left nothing of that name.
    let _ = fs::remove_file(&unnamed);
    written
}

/// Writes a file of the home's own, durably and whole, unless there is one of that name.
pub(crate) fn keep_file(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    create_once(path, || Ok(Secret(content.to_vec())))?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), HomeError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(path, "sync"))
}

fn settings_of(directory: &DirectoryAddress) -> io::Result<Secret> {
    let settings = Settings {
        version: SETTINGS_VERSION,
        directory: directory.to_string(),
    };
    let mut text = serde_json::to_vec_pretty(&settings).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(Secret(text))
}

fn read_settings(home: &Path) -> Result<DirectoryAddress, HomeError> {
    let path = home.join(SETTINGS_FILE);
    let remedy = "restore it from a backup, or run `quid init` with the directory's address";
    let text = read_small(&path, remedy)?;
    let damaged = |reason: String| HomeError::Damaged {
        path: path.clone(),
        reason,
        remedy,
    };
    let settings: Settings =
        serde_json::from_slice(&text.0).map_err(|error| damaged(error.to_string()))?;
    if settings.version > SETTINGS_VERSION {
        let version = settings.version;
        return Err(HomeError::Newer { path, version });
    }
    if settings.version != SETTINGS_VERSION {
        return Err(damaged(format!(
            "version {} was never written by this program",
            settings.version
        )));
    }
    settings
        .directory
        .parse()
        .map_err(|error| damaged(format!("{error}")))
}

fn read_small(path: &Path, remedy: &'static str) -> Result<Secret, HomeError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::Missing {
                path: path.to_owned(),
                remedy,
            });
        }
        Err(error) => return Err(io_error(path, "open")(error)),
    };
    let mut content = Secret(Vec::with_capacity(512));
    file.take(SMALL_LEN_MAX + 1)
        .read_to_end(&mut content.0)
        .map_err(io_error(path, "read"))?;
    let reason = match content.0.len() as u64 {
        0 => "it is empty",
        len if len > SMALL_LEN_MAX => "it is far too long",
        _ => return Ok(content),
    };
    Err(HomeError::Damaged {
        path: path.to_owned(),
        reason: reason.to_owned(),
        remedy,
    })
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io {
        path,
        action,
        source,
    }
}

const KEY_FILE: &str = "key.pem";
const SETTINGS_FILE: &str = "settings.json";
const JOURNAL_FILE: &str = "journal.sqlite3";
const RUN_FOLDER: &str = "run";

const SETTINGS_VERSION: u32 = 1;
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Longest key or settings file that is read, in bytes.
const SMALL_LEN_MAX: u64 = 4 * 1024;

#[cfg(test)]
mod tests;
