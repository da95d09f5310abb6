//! Writing a backup: first under another name, then synced and checked, then under its own.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quid_common::checkpoint::Checkpoint;
use quid_common::id::LedgerId;
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{
    AHEAD, BackupError, Fault, INVITES, KEY, KEY_LEN_MAX, KeyInside, Origin, damaged, invites_in,
    key_inside,
};
use crate::folder::{self, Folder};
use crate::invites::Saved;
use crate::store::{self, Copy, LogReader};

/// How a backup is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// In the place of a file that is there.
    pub replace: bool,
    /// Without the directory's key.
    pub without_key: bool,
}

/// What a backup holds.
#[derive(Clone, Debug)]
pub struct Written {
    /// Number of entries.
    pub entries: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The ledger.
    pub ledger: LedgerId,
    /// The newest checkpoint in it.
    pub checkpoint: Checkpoint,
    /// What it has of the key.
    pub key: KeyInside,
    /// Whether the log lacked entries already that the directory had signed.
    pub incomplete: bool,
    /// Whether another file was replaced.
    pub replaced: bool,
    /// How many invite codes it has.
    pub codes: usize,
}

/// Backs up the ledger in `folder` to `file`, as of the newest batch. A directory may serve it
/// meanwhile.
///
/// Whenever this is interrupted, `file` is as it was before or a whole backup; beside it may stay
/// `FILE.part`, which the next try takes.
///
/// # Errors
/// [`BackupError`]: `file` is as it was.
pub fn write(folder: &Folder, file: &Path, options: Options) -> Result<Written, BackupError> {
    let replaced = exists(file)?;
    if replaced && !options.replace {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let log = LogReader::open_alone(folder)?;
    let Some((entries, _)) = log.latest_checkpoint()? else {
        return Err(BackupError::Empty);
    };
    let ledger_file = folder.ledger();
    let origin = Origin::of(&log).map_err(damaged(&ledger_file))?;
    let path = folder.path().join(KEY);
    let key_text = Zeroizing::new(read(&path)?.unwrap_or_default());
    let ahead = read(&folder.ahead())?;
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    let key = if options.without_key {
        KeyInside::Absent
    } else {
        files.push((KEY, &key_text));
        key_inside(&key_text, &origin.directory, path)?
    };
    if let Some(text) = &ahead {
        files.push((AHEAD, text));
    }
    // After the log's length was read: it has the use of every account in that part of it.
    let invites = Saved::of(folder)?;
    if let Some(invites) = &invites {
        files.push((INVITES, invites.bytes()));
    }

    let part = Part::take(file)?;
    store::pack(&log, entries, &files, &part.path)?;
    part.file
        .sync_all()
        .map_err(folder::io("sync", &part.path))?;
    // What is checked is what the disk has, and not what was meant to be written.
    let _ = fadvise(&part.file, 0, None, Advice::DontNeed);
    let copy = Copy::open(&part.path).map_err(BackupError::Copy)?;
    let checked = origin.check(copy.log()).map_err(damaged(&part.path))?;
    let invites = invites_in(&copy).map_err(|fault| match fault {
        Fault::Store(error) => error.into(),
        Fault::Damage(reason) => damaged(&part.path)(reason),
    })?;
    drop(copy);
    let bytes = part.become_file(file, options.replace)?;
    Ok(Written {
        entries,
        bytes,
        ledger: origin.ledger,
        checkpoint: checked.1,
        key,
        incomplete: ahead.is_some(),
        replaced,
        codes: invites.map_or(0, |invites| invites.codes()),
    })
}

/// The file under the name that it has until it is whole, locked against others who write it.
struct Part {
    path: PathBuf,
    file: File,
    whole: bool,
}

impl Part {
    fn take(file: &Path) -> Result<Self, BackupError> {
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let part = open.map_err(folder::io("make", &path))?;
        match part.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Busy(path)),
            Err(TryLockError::Error(error)) => return Err(folder::io("lock", &path)(error).into()),
        }
        // Whoever held the lock may have given the file its name meanwhile.
        let ours = part.metadata().map_err(folder::io("read", &path))?;
        let there = fs::symlink_metadata(&path);
        if !there.is_ok_and(|it| (it.dev(), it.ino()) == (ours.dev(), ours.ino())) {
            return Err(BackupError::Busy(path));
        }
        part.set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| part.set_len(0))
            .map_err(folder::io("write", &path))?;
        Ok(Self {
            path,
            file: part,
            whole: false,
        })
    }

    /// Gives it its name; returns its length.
    fn become_file(mut self, file: &Path, replace: bool) -> Result<u64, BackupError> {
        let len = self
            .file
            .metadata()
            .map_err(folder::io("read", &self.path))?;
        let renamed = if replace {
            fs::rename(&self.path, file)
        } else {
            rename_to_new(&self.path, file)
        };
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !replace => {
                return Err(BackupError::Exists(file.to_owned()));
            }
            Err(error) => return Err(folder::io("write", file)(error).into()),
        }
        self.whole = true;
        folder::sync_folder(file.parent().unwrap_or(Path::new("")))?;
        Ok(len.len())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.whole {
            // Room on a full disk is worth more than a part of a file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A rename that replaces nothing that came meanwhile, where the file system can do that.
fn rename_to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.exists() => fs::rename(from, to),
        Err(error) => Err(error.into()),
    }
}

fn exists(path: &Path) -> Result<bool, BackupError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(folder::io("look for", path)(error).into()),
    }
}

/// A small file's content, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    let mut content = Vec::with_capacity(KEY_LEN_MAX as usize);
    let read = File::open(path).and_then(|file| file.take(KEY_LEN_MAX).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(folder::io("read", path)(error).into()),
    }
}
