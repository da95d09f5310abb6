//! The data folder: which files it holds, who may read them, and which process uses it now.
//!
//! Only the holder of the [`Lock`] writes here. The ledger (`ledger.db`) and the key (`key`) are the
//! truth; the log is never overwritten, the key only by the same key, sealed or not. `index.db`,
//! `tree`, `snapshot*` and `redo-*` are derived from them and may be deleted while nothing runs.
//! `invites.db` is the operator's.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quid_common::address::DirectoryAddress;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::passphrase::{FromFileError, Passphrase};
use quid_common::printable::printable_bytes;
use quid_common::random::Random;
use thiserror::Error;

use crate::ahead;

/// A directory's data folder, found to be its owner's alone.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// What its key is sealed under, if it is and that is known.
    passphrase: Option<Arc<Passphrase>>,
}

/// Proof that this process alone writes to a [`Folder`]; ends when it is dropped or the process
/// ends, however it ends. Only [`Folder::lock`] makes one.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Folder {
    /// The data folder at `path`, made with mode 0700 if there is none.
    ///
    /// An empty folder is taken over and closed to others.
    ///
    /// # Errors
    /// [`FolderError`] says which file is in the way and what to do.
    pub fn create_or_open(path: &Path) -> Result<Self, FolderError> {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent).map_err(io("make", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(path))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io("make", path)(error)),
        }
        // Somebody's folder that only lacks a ledger is theirs to close.
        if path.is_dir() && owned(path)? && is_empty(path)? {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io("close", path))?;
        }
        Self::open(path)
    }

    /// The data folder that is at `path` already.
    ///
    /// # Errors
    /// [`FolderError`] says which file is missing or in the way and what to do.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(FolderError::Missing(path.to_owned()));
            }
            Err(error) => return Err(io("open", path)(error)),
        };
        if !metadata.is_dir() {
            return Err(FolderError::NotAFolder(path.to_owned()));
        }
        if !owned(path)? {
            return Err(FolderError::Owner {
                path: path.to_owned(),
                owner: metadata.uid(),
            });
        }
        if metadata.mode() & OTHERS != 0 {
            return Err(FolderError::Open {
                path: path.to_owned(),
                mode: metadata.mode() & 0o777,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            passphrase: None,
        })
    }

    /// The same folder, whose key is sealed under `passphrase`, or will be when it is made.
    #[must_use]
    pub fn with_passphrase(self, passphrase: Option<Passphrase>) -> Self {
        Self {
            passphrase: passphrase.map(Arc::new),
            ..self
        }
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log, the truth.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger.db")
    }

    /// History by account and old ids; derived.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.path.join("index.db")
    }

    /// The Merkle tree's older nodes; derived.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The books as of an entry; derived.
    #[must_use]
    pub fn snapshot(&self) -> PathBuf {
        self.path.join("snapshot")
    }

    /// The entries from number `first` on in short, behind a snapshot; derived.
    #[must_use]
    pub fn redo(&self, first: u64) -> PathBuf {
        self.path.join(format!("{REDO}{first}"))
    }

    /// All files that [`Folder::redo`] has named.
    ///
    /// # Errors
    /// [`FolderError::Io`] if the folder cannot be read.
    pub fn redos(&self) -> Result<Vec<PathBuf>, FolderError> {
        let entries = fs::read_dir(&self.path).map_err(io("read", &self.path))?;
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix(REDO));
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let paths = paths.collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(io("read", &self.path))?;
        paths.retain(ours);
        Ok(paths)
    }

    /// Which invite codes are good, and who has used them; the operator's.
    #[must_use]
    pub fn invites(&self) -> PathBuf {
        self.path.join("invites.db")
    }

    /// A signed checkpoint that the log does not hold; there only while there is one.
    #[must_use]
    pub fn ahead(&self) -> PathBuf {
        self.path.join(ahead::NAME)
    }

    /// The socket on which a serving directory takes the operator's commands.
    #[must_use]
    pub fn operator_socket(&self) -> PathBuf {
        self.path.join("operator.sock")
    }

    /// Takes the folder for this process to write to; `purpose` is what others will be told, such
    /// as `serve`.
    ///
    /// # Errors
    /// [`FolderError::Held`] names who holds it.
    pub fn lock(&self, purpose: &str) -> Result<Lock, FolderError> {
        let path = self.path.join("lock");
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = open.map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only helps the reader of the message.
                let _ = (&file).take(HOLDER_LEN_MAX).read_to_string(&mut holder);
                let holder = match printable_bytes(holder.trim_end().as_bytes()) {
                    text if text.is_empty() => "another process".to_owned(),
                    text => text,
                };
                return Err(FolderError::Held {
                    path: self.path.clone(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        let holder = format!("process {} ({purpose})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(io("write", &path))?;
        Ok(Lock { file })
    }

    /// The directory's key, made from `seed` if nothing was ever stored in the folder.
    ///
    /// # Errors
    /// [`FolderError::KeyMissing`] if a ledger or what comes with it is there but its key is not,
    /// and what [`Folder::key`] returns.
    pub fn key_or_new(&self, lock: &Lock, seed: &[u8; 32]) -> Result<SecretKey, FolderError> {
        if self.is_used()? {
            return self.key();
        }
        let unfinished = self.path.join(UNFINISHED);
        if unfinished.exists() {
            return Err(FolderError::Unfinished(unfinished));
        }
        let key = SecretKey::from_seed(seed);
        self.write_key(lock, &key, self.passphrase.as_deref())?;
        Ok(key)
    }

    /// Seals the key under `passphrase`, or writes it plain without one. The same key, in a file that
    /// takes the other's place whole.
    ///
    /// # Errors
    /// [`FolderError`]; the file is then as it was.
    pub fn seal(&self, lock: &Lock, passphrase: Option<&Passphrase>) -> Result<(), FolderError> {
        self.write_key(lock, &self.key()?, passphrase)
    }

    fn write_key(
        &self,
        lock: &Lock,
        key: &SecretKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), FolderError> {
        let text = key.to_file(passphrase, &Random::system());
        let text = text.map_err(io("write", &self.path.join(KEY)))?;
        self.replace(lock, KEY, |file| file.write_all(text.as_bytes()))
    }

    /// Whether the key is there and sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        let mut start = [0; 64];
        File::open(self.path.join(KEY))
            .and_then(|mut file| file.read(&mut start))
            .is_ok_and(|_| SecretKey::is_sealed_pem(&start))
    }

    /// Whose ledger this is, for whoever only reads it: by the key, or, where that is sealed and the
    /// passphrase not known, by the address that was written when the directory last served.
    ///
    /// # Errors
    /// What [`Folder::key`] returns.
    pub fn public_key(&self) -> Result<PublicKey, FolderError> {
        match self.key() {
            Err(FolderError::KeySealed(path)) => {
                let address = self.address().ok();
                let address = address.and_then(|text| text.parse::<DirectoryAddress>().ok());
                let known = address.map(|address| address.key());
                known.ok_or(FolderError::KeySealed(path))
            }
            key => key.map(|key| key.public()),
        }
    }

    /// The directory's key.
    ///
    /// # Errors
    /// [`FolderError`] if it is missing, can be read by others, is no key, or is sealed and the
    /// folder's passphrase does not open it.
    pub fn key(&self) -> Result<SecretKey, FolderError> {
        let path = self.path.join(KEY);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(FolderError::KeyMissing(path));
            }
            Err(error) => return Err(io("open", &path)(error)),
        };
        let mode = file.metadata().map_err(io("read", &path))?.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(FolderError::KeyOpen { path, mode });
        }
        let mut pem = zeroize::Zeroizing::new(String::with_capacity(KEY_LEN_MAX as usize));
        match file.take(KEY_LEN_MAX).read_to_string(&mut pem) {
            Ok(_) => {
                SecretKey::from_file(&pem, self.passphrase.as_deref()).map_err(
                    |error| match error {
                        FromFileError::Sealed => FolderError::KeySealed(path),
                        FromFileError::Unseal(_) => FolderError::Passphrase(path),
                        FromFileError::Text(_) => FolderError::KeyText(path),
                    },
                )
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(FolderError::KeyText(path)),
            Err(error) => Err(io("read", &path)(error)),
        }
    }

    /// Writes the address that nodes are given, for `quid-directory address`.
    ///
    /// # Errors
    /// [`FolderError::Io`]; the address stored before, if any, is then still there.
    pub fn write_address(&self, lock: &Lock, address: &str) -> Result<(), FolderError> {
        self.replace(lock, ADDRESS, |file| writeln!(file, "{address}"))
    }

    /// The address that nodes are given.
    ///
    /// # Errors
    /// [`FolderError::AddressMissing`] before the directory has served for the first time.
    pub fn address(&self) -> Result<String, FolderError> {
        let path = self.path.join(ADDRESS);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => file
                .take(ADDRESS_LEN_MAX)
                .read_to_string(&mut text)
                .map_err(io("read", &path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(FolderError::AddressMissing(path));
            }
            Err(error) => return Err(io("open", &path)(error)),
        };
        Ok(text.trim_end().to_owned())
    }

    /// Whether a ledger was ever served from here, going by what serving leaves beside the log.
    pub(crate) fn has_served(&self) -> Result<bool, FolderError> {
        // An empty file holds nothing that could be lost.
        let files = [
            self.path.join(ADDRESS),
            self.index(),
            self.tree(),
            self.snapshot(),
        ];
        any_of_len(&files, 1)
    }

    /// Puts what `write` writes in the place of the file `name`, durably: after a crash the file
    /// is either the old one or the new one, whole.
    pub(crate) fn replace(
        &self,
        _: &Lock,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        self.replace_derived(name, write)
    }

    /// The same for a file that is derived from the log, by a thread of the process that holds the
    /// lock.
    pub(crate) fn replace_derived(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let part = self.path.join(format!("{name}.part"));
        match fs::remove_file(&part) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("remove", &part)(error));
            }
            _ => {}
        }
        let open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part);
        let mut file = open.map_err(io("make", &part))?;
        let written = write(&mut file).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Room on a full disk is worth more than a part of a file.
            let _ = fs::remove_file(&part);
            return Err(io("write", &part)(error));
        }
        fs::rename(&part, &path).map_err(io("write", &path))?;
        sync_folder(&self.path)
    }

    /// Whether anything of ours is stored here.
    fn is_used(&self) -> Result<bool, FolderError> {
        Ok(any_of_len(&[self.path.join(KEY), self.ledger()], 0)? || self.has_served()?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A name left behind would only mislead; the lock itself ends with the file.
        let _ = self.file.set_len(0);
    }
}

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Nothing is there.
    #[error(
        "there is no data folder {at}; `quid-directory serve --data {at}` makes one",
        at = shown(.0)
    )]
    Missing(PathBuf),
    /// Something else is there.
    #[error("{} is not a folder; name another with --data", shown(.0))]
    NotAFolder(PathBuf),
    /// It belongs to another user.
    #[error("{} belongs to user {owner}; run this as that user", shown(.path))]
    Owner {
        /// The folder.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// Others may look into it.
    #[error("{at} is open to others (mode {mode:03o}); run `chmod 700 {at}`", at = shown(.path))]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another process uses it.
    #[error("{} is held by {holder}; stop that one first", shown(.path))]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who and what for.
        holder: String,
    },
    /// The ledger's key has gone.
    #[error(
        "{} is missing, and this ledger takes no other key; restore it from a backup",
        shown(.0)
    )]
    KeyMissing(PathBuf),
    /// Others may read the key.
    #[error(
        "{at} can be read by others (mode {mode:03o}); run `chmod 600 {at}`",
        at = shown(.path)
    )]
    KeyOpen {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file holds something else.
    #[error("{} is not an Ed25519 key in PKCS#8 PEM; restore it from a backup", shown(.0))]
    KeyText(PathBuf),
    /// The key is sealed, and there is no passphrase.
    #[error(
        "{} is sealed: give its passphrase with --passphrase-file FILE, or QUID_PASSPHRASE_FILE",
        shown(.0)
    )]
    KeySealed(PathBuf),
    /// The passphrase does not open the key.
    #[error("the passphrase does not open {}: it is another's, or the file is damaged", shown(.0))]
    Passphrase(PathBuf),
    /// A backup was being restored here.
    #[error(
        "{} is what an interrupted restore left; repeat `quid-directory restore`, or remove it",
        shown(.0)
    )]
    Unfinished(PathBuf),
    /// The directory has not served yet.
    #[error("{} does not exist; it is written when the directory first serves", shown(.0))]
    AddressMissing(PathBuf),
    /// The system refused.
    #[error("cannot {action} {}: {source}", shown(.path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A path as it may stand in a message.
pub(crate) fn shown(path: &Path) -> String {
    printable_bytes(path.as_os_str().as_encoded_bytes())
}

/// Turns what the system says about `path` into an error that names it.
pub(crate) fn io<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> FolderError + use<'a> {
    move |source| FolderError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn is_empty(folder: &Path) -> Result<bool, FolderError> {
    let mut entries = fs::read_dir(folder).map_err(io("read", folder))?;
    Ok(entries.next().is_none())
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FolderError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(io("sync", folder))
}

/// Takes the last part from a file that is to go, or removes it if that is all; whether there is more.
/// In one go a file system gives back the room of all of it in one of its own transactions, and every
/// sync beside it waits: a tenth of a second for 64 MiB, some milliseconds for a part.
pub(crate) fn remove_part(path: &Path) -> Result<bool, FolderError> {
    let shorten = || {
        let file = OpenOptions::new().write(true).open(path)?;
        let metadata = file.metadata()?;
        // Under another name it is somebody's copy.
        let whole = metadata.len() <= PART_REMOVED || metadata.nlink() > 1;
        if !whole {
            file.set_len(metadata.len() - PART_REMOVED)?;
            file.sync_data()?;
        }
        Ok(!whole)
    };
    // What cannot be shortened may still be removed.
    let shortened: io::Result<bool> = shorten();
    if shortened.is_ok_and(|more| more) {
        return Ok(true);
    }
    remove(path).map(|()| false)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn owned(path: &Path) -> Result<bool, FolderError> {
    let metadata = fs::metadata(path).map_err(io("open", path))?;
    Ok(metadata.uid() == rustix::process::geteuid().as_raw())
}

/// Whether one of the files is there and has at least `len_min` bytes.
fn any_of_len(paths: &[PathBuf], len_min: u64) -> Result<bool, FolderError> {
    for path in paths {
        // A dangling link is somebody's file too.
        match fs::symlink_metadata(path) {
            Ok(file) if file.len() < len_min => {}
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io("look for", path)(error)),
        }
    }
    Ok(false)
}

const KEY: &str = "key";
const REDO: &str = "redo-";
const ADDRESS: &str = "address";

/// The folder in a data folder where a backup is being restored: inside, because another file
/// system could be under the data folder itself.
pub(crate) const UNFINISHED: &str = "restore.part";

/// Bytes of a file that go at once.
const PART_REMOVED: u64 = 1024 * 1024;

/// The mode bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Longer than any key file that we write (119 bytes).
const KEY_LEN_MAX: u64 = 4096;

/// Longer than any address.
const ADDRESS_LEN_MAX: u64 = 4096;

/// Longer than what [`Folder::lock`] writes.
const HOLDER_LEN_MAX: u64 = 256;

#[cfg(test)]
mod tests;
