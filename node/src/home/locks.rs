//! Who of several processes of one home may do what, and which of them are at work: files that are
//! locked as long as their process lives.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use quid_common::id::{InstanceId, OrderId};
use quid_common::printable::Printable;

use super::{FILE_MODE, Home, HomeError, RUN_FOLDER, io_error};

impl Home {
    /// Takes the exclusive right to listen for this home, held until the lock is dropped.
    ///
    /// # Errors
    /// [`HomeError::Held`] if another process listens.
    pub fn lock_listener(&self) -> Result<ListenerLock, HomeError> {
        let path = self.path.join(LISTENER_LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(io_error(&path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(holder(&mut file)),
            Err(TryLockError::Error(error)) => return Err(io_error(&path, "lock")(error)),
        }
        let words: Vec<String> = std::env::args().take(4).collect();
        let command = Printable::short(&words.join(" "), HOLDER_LEN_MAX);
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}\n{command}", std::process::id()))
            .map_err(io_error(&path, "write"))?;
        Ok(ListenerLock { file })
    }

    /// Marks this process as at work under `instance`, until the mark is dropped.
    pub(crate) fn mark_running(&self, instance: InstanceId) -> Result<RunningMark, HomeError> {
        let path = self.path.join(RUN_FOLDER).join(instance.to_string());
        // Locked before it has its name, so that nobody ever sees it unlocked.
        let unnamed = path.with_extension("new");
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&unnamed)
            .map_err(io_error(&unnamed, "create"))?;
        file.lock().map_err(io_error(&unnamed, "lock"))?;
        fs::rename(&unnamed, &path).map_err(io_error(&path, "create"))?;
        Ok(RunningMark {
            path,
            instance,
            _file: file,
        })
    }

    /// Takes the exclusive right to pay on a tab; none while another process has it.
    pub(crate) fn lock_tab(&self, id: OrderId) -> Result<Option<TabLock>, HomeError> {
        let path = self.path.join(RUN_FOLDER).join(format!("{id}.tab"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let open = options.mode(FILE_MODE).open(&path);
        let file = open.map_err(io_error(&path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(io_error(&path, "lock")(error)),
        }
        // Whoever had it may have removed it since we opened it.
        let inode = |metadata: io::Result<Metadata>| metadata.map(|it| it.ino()).ok();
        if inode(file.metadata()) != inode(fs::metadata(&path)) {
            return Ok(None);
        }
        Ok(Some(TabLock { path, _file: file }))
    }

    /// Whether the process that ran under `instance` still does. Clears its mark if not.
    pub(crate) fn is_running(&self, instance: InstanceId) -> bool {
        let path = self.path.join(RUN_FOLDER).join(instance.to_string());
        is_locked(&path)
    }

    /// Clears the marks of processes that ended without doing so.
    pub(crate) fn sweep_marks(&self) {
        let Ok(marks) = fs::read_dir(self.path.join(RUN_FOLDER)) else {
            return;
        };
        for mark in marks.flatten().take(MARKS_SWEPT_MAX) {
            if mark.path().extension().is_none() {
                is_locked(&mark.path());
            }
        }
    }
}

/// The exclusive right to listen for a home; ends when dropped.
#[derive(Debug)]
pub struct ListenerLock {
    file: File,
}

impl Drop for ListenerLock {
    fn drop(&mut self) {
        // The next holder writes its own name; until then nobody is named.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Shows other processes that an instance is alive; ends when dropped or with the process.
#[derive(Debug)]
pub(crate) struct RunningMark {
    path: PathBuf,
    instance: InstanceId,
    _file: File,
}

impl RunningMark {
    pub(crate) const fn instance(&self) -> InstanceId {
        self.instance
    }
}

impl Drop for RunningMark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The exclusive right to pay on a tab; ends when dropped or with the process.
#[derive(Debug)]
pub(crate) struct TabLock {
    path: PathBuf,
    _file: File,
}

impl Drop for TabLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a living process has `path` locked; removes the file if not.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => {
            let _ = fs::remove_file(path);
            false
        }
        Err(_) => true,
    }
}

fn holder(file: &mut File) -> HomeError {
    let mut text = String::new();
    let _ = file
        .rewind()
        .and_then(|()| file.take(512).read_to_string(&mut text));
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let what = Printable::short(lines.next().unwrap_or("another process"), HOLDER_LEN_MAX);
    HomeError::Held { pid, what }
}

const LISTENER_LOCK: &str = "listener.lock";

/// How much of a lock holder's command is shown, in characters.
const HOLDER_LEN_MAX: usize = 60;

/// Most stale marks looked at in one start.
const MARKS_SWEPT_MAX: usize = 1_000;
