//! Key files: plain or sealed under a passphrase, and their change from one key to the next.
//!
//! A file of a key is only ever replaced by another that is whole and synced, and a key is never the
//! only one in memory: what may be an account's key is on the disk before the directory hears of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quid_common::key::{PublicKey, SecretKey};
use quid_common::passphrase::{self, FromFileError, PassphraseError};
use quid_common::random::Random;
use zeroize::Zeroizing;

use super::{
    FILE_MODE, Home, HomeError, KEY_FILE, Secret, check_mode, create_once, io_error, read_small,
    replace, sync_folder,
};

/// What a key file is sealed with. Never printed; wiped when dropped.
#[derive(Debug)]
pub struct Passphrase(passphrase::Passphrase);

impl Passphrase {
    /// Takes these bytes, without the end of a line behind them.
    ///
    /// # Errors
    /// [`HomeError::PassphraseFile`], naming `from`, if there is nothing left of them.
    pub fn new(bytes: Zeroizing<Vec<u8>>, from: &Path) -> Result<Self, HomeError> {
        let new = passphrase::Passphrase::new(bytes);
        Ok(Self(new.map_err(refused(from))?))
    }

    /// Reads a file, or whatever a path such as `/dev/fd/3` leads to.
    ///
    /// # Errors
    /// [`HomeError`] if it cannot be read, is empty or far too long, or is a file that others can
    /// read.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let metadata = file.metadata().map_err(io_error(path, "look at"))?;
        let kind = metadata.file_type();
        if metadata.permissions().mode() & 0o077 != 0 && kind.is_file() {
            return Err(HomeError::Mode {
                path: path.to_owned(),
                mode: metadata.permissions().mode() & 0o7777,
                wanted: FILE_MODE,
            });
        }
        if kind.is_block_device() || kind.is_dir() {
            return Err(HomeError::PassphraseFile {
                path: path.to_owned(),
                reason: "it is no file",
            });
        }
        let read = passphrase::Passphrase::read(file);
        Ok(Self(read.map_err(refused(path))?))
    }
}

/// What is wrong with the passphrase in a file.
fn refused(path: &Path) -> impl Fn(PassphraseError) -> HomeError {
    move |error| match error {
        PassphraseError::Read(source) => io_error(path, "read")(source),
        PassphraseError::Empty => HomeError::PassphraseFile {
            path: path.to_owned(),
            reason: "it is empty",
        },
        PassphraseError::Long => HomeError::PassphraseFile {
            path: path.to_owned(),
            reason: "it is far too long",
        },
    }
}

/// A file with a key in it, outside of any home: a recovery key.
#[derive(Debug)]
pub struct KeyFile;

impl KeyFile {
    /// Makes a new key and writes it into a new file, durably; sealed if a passphrase is given.
    /// Returns the key of a file that is there already.
    ///
    /// # Errors
    /// [`HomeError`]; nothing that was there is overwritten.
    pub fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, HomeError> {
        Self::create_in(path, passphrase, &Random::system())
    }

    fn create_in(
        path: &Path,
        passphrase: Option<&Passphrase>,
        random: &Random,
    ) -> Result<SecretKey, HomeError> {
        create_once(path, || text_of(&new_key(random)?, passphrase, random))?;
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        sync_folder(folder.unwrap_or(Path::new(".")))?;
        Self::read(path, passphrase)
    }

    /// Reads the key of a file.
    ///
    /// # Errors
    /// [`HomeError`], naming the file and the remedy.
    pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, HomeError> {
        read_key(path, passphrase)
    }

    /// Whether the file holds a key that is sealed.
    #[must_use]
    pub fn is_sealed(path: &Path) -> bool {
        let mut start = [0; 64];
        File::open(path)
            .and_then(|mut file| file.read(&mut start))
            .is_ok_and(|_| SecretKey::is_sealed_pem(&start))
    }
}

impl Home {
    /// Whether the key of the home at `path` is sealed.
    #[must_use]
    pub fn is_sealed(path: &Path) -> bool {
        KeyFile::is_sealed(&path.join(KEY_FILE))
    }

    /// Seals the home's key under `passphrase`, or writes it plain without one. The same key, in a
    /// file that takes the other's place whole.
    ///
    /// # Errors
    /// [`HomeError`]; the file is then as it was.
    pub fn seal(&self, passphrase: Option<&Passphrase>) -> Result<(), HomeError> {
        if self.has_next_key() {
            // It is sealed as this one is.
            return Err(HomeError::Rotating {
                path: self.path.join(NEXT_FILE),
            });
        }
        let path = self.path.join(KEY_FILE);
        let text = text_of(&self.key, passphrase, &self.surroundings.random);
        let text = text.map_err(io_error(&path, "write"))?;
        replace(&path, || Ok(text))?;
        sync_folder(&self.path)
    }

    /// The key that may follow this one, if one has been made.
    pub(crate) fn next_key(
        &self,
        passphrase: Option<&Passphrase>,
    ) -> Result<Option<SecretKey>, HomeError> {
        let path = self.path.join(NEXT_FILE);
        if path.exists() {
            read_key(&path, passphrase).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether a next key has been made whose fate is not known here.
    #[must_use]
    pub fn has_next_key(&self) -> bool {
        self.path.join(NEXT_FILE).exists()
    }

    /// The key that may follow this one, made and synced if there was none; sealed if this one is.
    pub(crate) fn make_next_key(
        &self,
        passphrase: Option<&Passphrase>,
    ) -> Result<SecretKey, HomeError> {
        let sealed = Self::is_sealed(&self.path);
        let passphrase = passphrase.filter(|_| sealed);
        if sealed && passphrase.is_none() {
            return Err(HomeError::Sealed {
                path: self.path.join(KEY_FILE),
            });
        }
        let random = &self.surroundings.random;
        KeyFile::create_in(&self.path.join(NEXT_FILE), passphrase, random)
    }

    /// Makes the next key this home's, because the directory has it; the one before is kept beside
    /// it. Open the home again.
    pub(crate) fn install_next_key(&self) -> Result<(), HomeError> {
        let (key, next) = (self.path.join(KEY_FILE), self.path.join(NEXT_FILE));
        let old = self.old_key_path();
        match fs::hard_link(&key, &old) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(&old, "create")(error));
            }
            _ => {}
        }
        sync_folder(&self.path)?;
        match fs::rename(&next, &key) {
            // Another process of this home has just done so.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&key, "replace")(error))
            }
            _ => sync_folder(&self.path),
        }
    }

    /// Puts a next key aside that will never be this account's.
    pub(crate) fn drop_next_key(&self) -> Result<(), HomeError> {
        let next = self.path.join(NEXT_FILE);
        fs::remove_file(&next).map_err(io_error(&next, "remove"))?;
        sync_folder(&self.path)
    }

    fn old_key_path(&self) -> PathBuf {
        let key = self.key();
        self.path.join(format!("{OLD_START}{key}{OLD_END}"))
    }
}

/// A new key from the system's randomness.
pub(super) fn new_key(random: &Random) -> io::Result<SecretKey> {
    let mut seed = Zeroizing::new([0; 32]);
    random.fill(&mut *seed)?;
    Ok(SecretKey::from_seed(&seed))
}

/// What a file of `key` holds.
pub(super) fn text_of(
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
    random: &Random,
) -> io::Result<Secret> {
    let pem = key.to_file(passphrase.map(|it| &it.0), random)?;
    Ok(Secret(pem.as_bytes().to_vec()))
}

pub(super) fn read_key(
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<SecretKey, HomeError> {
    let remedy = "restore it from a backup; without its key an account cannot be used";
    let text = read_small(path, remedy)?;
    check_mode(path, FILE_MODE)?;
    let damaged = |reason: String| HomeError::Damaged {
        path: path.to_owned(),
        reason,
        remedy,
    };
    let pem = std::str::from_utf8(&text.0).map_err(|_| damaged("it is not text".to_owned()))?;
    SecretKey::from_file(pem, passphrase.map(|it| &it.0)).map_err(|error| match error {
        FromFileError::Sealed => HomeError::Sealed {
            path: path.to_owned(),
        },
        FromFileError::Unseal(_) => HomeError::Passphrase {
            path: path.to_owned(),
        },
        FromFileError::Text(error) => damaged(error.to_string()),
    })
}

/// The keys that the home at `path` had before: their files say whose they are.
pub(super) fn old_keys(path: &Path) -> Vec<PublicKey> {
    let Ok(files) = fs::read_dir(path) else {
        return Vec::new();
    };
    files
        .flatten()
        .filter_map(|file| {
            let name = file.file_name();
            let key = name.to_str()?.strip_prefix(OLD_START)?;
            key.strip_suffix(OLD_END)?.parse().ok()
        })
        .take(OLD_MAX)
        .collect()
}

const OLD_START: &str = "key.old-";
const OLD_END: &str = ".pem";

/// Most old keys that are looked at; an account has fewer.
const OLD_MAX: usize = 1_000;

const NEXT_FILE: &str = "key.next.pem";
