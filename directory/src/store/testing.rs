//! What the tests of everything around the log start from.

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_common::key::SecretKey;
use tempfile::TempDir;

use super::{LogEntry, LogReader, Opened, Store};
use crate::folder::{Folder, Lock};

/// A data folder that is gone when the test ends.
pub(crate) struct Scratch {
    pub(crate) folder: Folder,
    pub(crate) lock: Lock,
    _dir: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = Folder::create_or_open(&dir.path().join("data")).expect("it can be made");
        let lock = folder.lock("test").expect("nobody else knows the folder");
        Self {
            folder,
            lock,
            _dir: dir,
        }
    }

    pub(crate) fn store(&self) -> (Store, Opened) {
        Store::open(&self.folder, &self.lock).expect("the log opens")
    }

    pub(crate) fn reader(&self) -> LogReader {
        LogReader::open(&self.folder).expect("the log opens")
    }

    /// The log as an operator with the `sqlite3` program sees it.
    pub(crate) fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.ledger()).expect("it is an SQLite file")
    }
}

/// Some entry, another one for every number.
pub(crate) fn entry(n: u64) -> LogEntry {
    let len = 20 + n as usize % 300;
    LogEntry::new(n.to_be_bytes().into_iter().cycle().take(len).collect())
}

pub(crate) fn entries(numbers: std::ops::Range<u64>) -> Vec<LogEntry> {
    numbers.map(entry).collect()
}

/// A checkpoint of a log with this head, signed by somebody.
pub(crate) fn checkpoint(size: u64, root: [u8; 32]) -> Checkpoint {
    Checkpoint::sign(
        LedgerId([7; 32]),
        Head { size, root },
        &SecretKey::from_seed(&[3; 32]),
    )
}
