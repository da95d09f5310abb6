//! Making a data folder of a backup: aside, audited, and only then in place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use quid_common::time::LedgerTime;
use zeroize::Zeroizing;

use super::{
    AHEAD, BackupError, Fault, KEY, KEY_LEN_MAX, KeyInside, Origin, damaged, invites_in, key_inside,
};
use crate::audit::{self, AuditError, Report};
use crate::folder::{self, Folder, Lock, UNFINISHED};
use crate::store::{self, Copy, CopyError, LogReader, StoreError};

/// What a folder was restored to.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the audit of the restored log found.
    pub report: Report,
    /// What there is of the key.
    pub key: KeyInside,
    /// Whether the log lacks entries that the directory is known to have signed.
    pub incomplete: bool,
    /// The ledger's time mark: it goes on from there.
    pub mark: Option<LedgerTime>,
    /// How many invite codes the backup had.
    pub codes: usize,
}

/// Restores the backup in `file` to the folder at `data`, which must be new or empty, with the key in
/// `key` if the backup has none.
///
/// The log is audited where it was restored, before it can be served. Interrupted at any time, this
/// leaves a folder that cannot be served; repeat the same command.
///
/// # Errors
/// [`BackupError`]: nothing can be served that could not before.
pub fn restore(file: &Path, data: &Path, key: Option<&Path>) -> Result<Restored, BackupError> {
    let copy = open(file)?;
    let origin = Origin::of(copy.log()).map_err(damaged(file))?;
    let (size, newest) = origin.check(copy.log()).map_err(damaged(file))?;
    let inside = copy.file(KEY).map_err(read(file))?;
    let (key_text, from) = match (inside, key) {
        (_, Some(path)) => (given_key(path)?, path),
        (Some(text), None) => (Zeroizing::new(text), file),
        (None, None) => return Err(BackupError::KeyAbsent(file.to_owned())),
    };
    let key = key_inside(&key_text, &origin.directory, from.to_owned())?;
    let ahead = copy.file(AHEAD).map_err(read(file))?;
    let invites = invites_in(&copy).map_err(|fault| match fault {
        Fault::Store(error) => read(file)(error),
        Fault::Damage(reason) => damaged(file)(reason),
    })?;

    let place = Place::take(data)?;
    let log = place.part.ledger();
    make(&log, b"")?;
    store::unpack(copy.log(), size, &log)?;
    make(&place.part.path().join(KEY), &key_text)?;
    if let Some(text) = &ahead {
        make(&place.part.ahead(), text)?;
    }
    if let Some(invites) = &invites {
        make(&place.part.invites(), b"")?;
        invites.restore(&place.part)?;
        sync(&place.part.invites())?;
    }
    sync(&log)?;
    let restored = LogReader::open_alone(&place.part)?;
    let report = audit::audit(&restored, &origin.directory, Some(&newest))
        .map_err(|error: AuditError| damaged(file)(error.to_string()))?;
    let mark = restored.mark()?;
    drop(restored);
    place.finish(ahead.is_some(), invites.is_some())?;
    Ok(Restored {
        report,
        key,
        incomplete: ahead.is_some(),
        mark,
        codes: invites.map_or(0, |invites| invites.codes()),
    })
}

fn open(file: &Path) -> Result<Copy, BackupError> {
    // SQLite says of a missing file only that it cannot be opened.
    let found = fs::metadata(file).map_err(folder::io("read", file))?;
    if !found.is_file() {
        return Err(BackupError::Copy(CopyError::Foreign(folder::shown(file))));
    }
    Copy::open(file).map_err(|error| match error {
        CopyError::Store(error) => read(file)(error),
        error => BackupError::Copy(error),
    })
}

/// What it means that a backup cannot be read.
fn read(file: &Path) -> impl Fn(StoreError) -> BackupError {
    move |error| match error {
        StoreError::Sql { .. } | StoreError::Folder(_) => BackupError::Store(error),
        error => damaged(file)(error.to_string()),
    }
}

fn given_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    use std::io::Read;
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_LEN_MAX as usize));
    File::open(path)
        .and_then(|file| file.take(KEY_LEN_MAX).read_to_end(&mut text))
        .map_err(folder::io("read", path))?;
    Ok(text)
}

/// A data folder that is being made, and the folder in it where that happens.
struct Place {
    data: Folder,
    part: Folder,
    /// The data folder was made for this.
    new: bool,
    finished: bool,
    _lock: Lock,
}

impl Place {
    fn take(data: &Path) -> Result<Self, BackupError> {
        let new = !data.exists();
        if !new {
            vacant(data)?;
        }
        let data = Folder::create_or_open(data)?;
        let lock = data.lock("restore")?;
        vacant(data.path())?;
        let path = data.path().join(UNFINISHED);
        // What an interrupted restore left: without a key, nothing of it was ever served.
        for file in [data.ledger(), data.ahead(), data.invites()] {
            remove(&file)?;
        }
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(folder::io("remove", &path)(error).into());
            }
            _ => {}
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(folder::io("make", &path))?;
        let part = Folder::open(&path)?;
        folder::sync_folder(data.path())?;
        Ok(Self {
            data,
            part,
            new,
            finished: false,
            _lock: lock,
        })
    }

    /// Puts the files in place: the key last, without which no log is served.
    fn finish(mut self, ahead: bool, invites: bool) -> Result<(), BackupError> {
        folder::sync_folder(self.part.path())?;
        let moved = |from: PathBuf, to: PathBuf| {
            fs::rename(&from, &to).map_err(folder::io("write", &to))?;
            folder::sync_folder(self.data.path())
        };
        moved(self.part.ledger(), self.data.ledger())?;
        if ahead {
            moved(self.part.ahead(), self.data.ahead())?;
        }
        if invites {
            moved(self.part.invites(), self.data.invites())?;
        }
        moved(self.part.path().join(KEY), self.data.path().join(KEY))?;
        self.finished = true;
        // What is left of it is in nobody's way.
        let _ = fs::remove_dir_all(self.part.path());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // Room on a full disk is worth more than a part of a folder.
        let _ = fs::remove_dir_all(self.part.path());
        let _ = remove(&self.data.ledger());
        let _ = remove(&self.data.ahead());
        let _ = remove(&self.data.invites());
        if self.new {
            let _ = fs::remove_file(self.data.path().join(LOCK));
            let _ = fs::remove_dir(self.data.path());
        }
    }
}

/// Checks that nothing is in the folder that could be anybody's: at most what an interrupted restore
/// left, which has no key yet.
fn vacant(data: &Path) -> Result<(), BackupError> {
    let entries = fs::read_dir(data).map_err(folder::io("read", data))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(folder::io("read", data))?.file_name());
    }
    let any_but = |known: &[&str]| names.iter().any(|name| !known.iter().any(|it| name == it));
    let interrupted = names.iter().any(|name| name == UNFINISHED);
    let in_the_way = if interrupted {
        any_but(&[LOCK, FOUND, UNFINISHED, LEDGER, AHEAD, INVITES])
    } else {
        any_but(&[LOCK, FOUND])
    };
    if in_the_way {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(folder::io("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

/// Makes a file with this content, durably, for the owner alone.
fn make(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let make = || {
        let open = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = open?;
        file.write_all(content)?;
        file.sync_all()
    };
    make().map_err(|error| folder::io("write", path)(error).into())
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| folder::io("sync", path)(error).into())
}

const LOCK: &str = "lock";
const LEDGER: &str = "ledger.db";
const INVITES: &str = "invites.db";

/// What an empty file system has in it.
const FOUND: &str = "lost+found";
