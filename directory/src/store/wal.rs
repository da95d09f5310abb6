//! When the write-ahead log is carried over into the file, and by whom.
//!
//! SQLite would do it inside some commits, which is that commit's p99. Here a thread
//! does it with a connection of its own, in passes: most of it while batches go on being written,
//! then, with batches held back, the few pages that came meanwhile. Only after that last pass can
//! the log begin anew at its start: under steady load the others alone never catch up, and the log
//! would grow for ever. SQLite syncs the file only when a pass has caught up, so the thread does it
//! after the early passes by itself: else batches would be held back for a sync of all of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, connect, sql};
use crate::folder;

/// Pages in the write-ahead log from which on it is carried over: 4 MiB. So much at once is not felt
/// by those who pay meanwhile; with 32 MiB the disk was busy long enough for the p99 of a directory
/// under load to be half as long again.
pub(super) const PAGES_MAX: u64 = 1024;

/// Pages from which on batches wait for the whole of it: the disk cannot keep up otherwise.
const PAGES_LIMIT: u64 = 64 * PAGES_MAX;

/// Passes beside the batches: the first leaves what came while it copied, some tens of pages under
/// load, the second next to nothing.
const EARLY_PASSES: usize = 2;

/// Bytes in a page: SQLite's default, which no file of ours changes.
const PAGE_LEN: u64 = 4096;

/// What the writing thread and the checkpointing thread share.
#[derive(Debug, Default)]
pub(super) struct Wal {
    /// Held while a batch is written, and during the last pass.
    writing: Mutex<()>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// An upper estimate of what has been written since the log last began anew.
    pages: u64,
    failure: Option<StoreError>,
    stop: bool,
}

impl Wal {
    /// The right to write a batch.
    pub(super) fn write(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong in the thread, if anything did.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.state().failure.take().map_or(Ok(()), Err)
    }

    /// Notes a batch of so many bytes; whether it is time to carry the log over.
    pub(super) fn grew(&self, bytes: usize) -> bool {
        let mut state = self.state();
        // The ends of the three tables and one inner page change with every batch.
        state.pages += bytes as u64 / PAGE_LEN + 4;
        let due = state.pages >= PAGES_MAX;
        if due {
            self.wake.notify_one();
        }
        due
    }

    /// All passes, once.
    pub(super) fn carry_over(&self, checkpointer: &Checkpointer) -> Result<(), StoreError> {
        if self.state().pages < PAGES_LIMIT {
            for _ in 0..EARLY_PASSES {
                checkpointer.pass("PASSIVE")?;
                let path = &checkpointer.path;
                checkpointer
                    .file
                    .sync_data()
                    .map_err(folder::io("sync", path))?;
            }
        }
        let writing = self.write();
        let anew = checkpointer.finish()?;
        let mut state = self.state();
        if !anew && state.pages >= PAGES_LIMIT {
            tracing::warn!(
                file = %folder::shown(&checkpointer.path),
                pages = state.pages,
                "another program keeps the ledger open for long and its write-ahead log grows"
            );
        }
        // Somebody is still reading the old pages: try again after some more.
        state.pages = if anew {
            0
        } else {
            state.pages.saturating_sub(PAGES_MAX / 8)
        };
        drop(state);
        drop(writing);
        Ok(())
    }

    /// The thread: carries over when it is time, until [`Wal::stop`] or an error.
    pub(super) fn run(&self, checkpointer: &Checkpointer) {
        loop {
            let mut state = self.state();
            while state.pages < PAGES_MAX && !state.stop {
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop {
                return;
            }
            drop(state);
            if let Err(error) = self.carry_over(checkpointer) {
                self.state().failure = Some(error);
                return;
            }
        }
    }

    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that does nothing but carry the write-ahead log over.
#[derive(Debug)]
pub(super) struct Checkpointer {
    connection: Connection,
    path: PathBuf,
    /// Closed with the connections and not before: see [`super::Store::open`].
    file: File,
}

impl Checkpointer {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags)?;
        // Waiting for readers would hold back the batches; there will be another time.
        connection
            .busy_timeout(Duration::ZERO)
            .map_err(sql("open", path))?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(sql("open", path))?;
        let file = File::open(path).map_err(folder::io("open", path))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            file,
        })
    }

    /// Carries over all that is left; whether the log will begin anew. Nobody may write meanwhile.
    pub(super) fn finish(&self) -> Result<bool, StoreError> {
        self.pass("RESTART")
    }

    fn pass(&self, mode: &str) -> Result<bool, StoreError> {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        self.connection
            .query_row(&pragma, [], |row| Ok(row.get::<_, i64>(0)? == 0))
            .map_err(sql("carry over the write-ahead log of", &self.path))
    }
}
