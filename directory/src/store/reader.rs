//! Reading the log: by number, in order, and its checkpoints.

use std::path::{Path, PathBuf};

use quid_common::checkpoint::{Checkpoint, SIZE_MAX};
use quid_common::time::LedgerTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::{EntryFault, LogEntry, MARK, StoreError, check_format, connect, drop_page_cache, sql};
use crate::folder::Folder;

/// The log, open for reading on one thread. Everything it shows is durable.
///
/// It never keeps the log's past alive for longer than one call into SQLite, so a slow reader does
/// not hinder the writer.
#[derive(Debug)]
pub struct LogReader {
    connection: Connection,
    path: PathBuf,
}

impl LogReader {
    /// Opens the log of this process's own [`super::Store`].
    ///
    /// # Errors
    /// [`StoreError`] names the file and what to do.
    pub fn open(folder: &Folder) -> Result<Self, StoreError> {
        let path = folder.ledger();
        if !path.exists() {
            return Err(StoreError::Missing(path));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(&path, flags)?;
        check_format(&connection, &path)?;
        Ok(Self { connection, path })
    }

    /// Opens the log in a process that has no [`super::Store`] on it, such as `audit`, and sees to
    /// it that the disk is read and not what the system remembers of it.
    ///
    /// # Errors
    /// [`StoreError`] names the file and what to do.
    pub fn open_alone(folder: &Folder) -> Result<Self, StoreError> {
        let path = folder.ledger();
        if !path.exists() {
            return Err(StoreError::Missing(path));
        }
        drop_page_cache(&path)?;
        Self::open(folder)
    }

    /// Number of entries, all of them durable.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn len(&self) -> Result<u64, StoreError> {
        self.rows().len()
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Entry `n`, found to be as it was written.
    ///
    /// # Errors
    /// [`StoreError::Entry`] if it is damaged or not there.
    pub fn entry(&self, n: u64) -> Result<LogEntry, StoreError> {
        self.rows().entry(n)
    }

    /// Hands the entries from number `from` up to but not including `to` to `each`, in order,
    /// each found to be as it was written. Stops at the first error, of the log or of `each`.
    ///
    /// # Errors
    /// [`StoreError::Entry`] names the first entry that is damaged or missing.
    pub fn scan<E: From<StoreError>>(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, LogEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        let mut next = from;
        while next < to {
            let end = to.min(next.saturating_add(CHUNK_LEN as u64));
            let read = self.rows().chunk(next, end, &mut chunk);
            // Those before a bad one are handed over first: what is wrong with them comes first.
            for entry in chunk.drain(..) {
                each(next, entry)?;
                next += 1;
            }
            read?;
        }
        Ok(())
    }

    /// Hands the checkpoints for sizes from `from` up to and including `to` to `each`, in order.
    /// None of them is verified.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] names the first that cannot be read.
    pub fn checkpoints<E: From<StoreError>>(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, Checkpoint) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = Some(from);
        while let Some(from) = next.filter(|from| *from <= to) {
            let chunk = self.rows().checkpoints(from, to)?;
            next = chunk.last().map(|&(size, _)| size + 1);
            for (size, checkpoint) in chunk {
                each(size, checkpoint)?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint and the size that it is stored for; not verified.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if it cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, Checkpoint)>, StoreError> {
        self.checkpoint_at_most(SIZE_MAX)
    }

    /// The newest checkpoint for a size of at most `size`, and that size; not verified.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if it cannot be read.
    pub fn checkpoint_at_most(&self, size: u64) -> Result<Option<(u64, Checkpoint)>, StoreError> {
        self.rows().checkpoint_at_most(size)
    }

    /// The time mark: no ledger time above it was ever used.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn mark(&self) -> Result<Option<LedgerTime>, StoreError> {
        self.rows().mark()
    }

    /// Reads by a connection that is known to have the tables.
    pub(super) fn over(connection: Connection, path: &Path) -> Self {
        Self {
            connection,
            path: path.to_owned(),
        }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            connection: &self.connection,
            path: &self.path,
        }
    }
}

/// The log's tables, seen through any connection.
pub(super) struct Rows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
}

impl Rows<'_> {
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        let last = || {
            let mut statement = self.connection.prepare_cached(super::LAST_ENTRY)?;
            statement
                .query_row([], |row| row.get::<_, i64>(0))
                .optional()
        };
        let last = last().map_err(sql("read", self.path))?;
        last.map_or(Ok(0), |last| {
            u64::try_from(last)
                .map(|last| last + 1)
                .map_err(|_| self.bad(0, EntryFault::Damaged))
        })
    }

    pub(super) fn entry(&self, n: u64) -> Result<LogEntry, StoreError> {
        let mut entries = Vec::with_capacity(1);
        self.chunk(n, n.saturating_add(1), &mut entries)?;
        entries
            .pop()
            .ok_or_else(|| self.bad(n, EntryFault::Missing))
    }

    /// Puts the entries from number `from` up to but not including `to` into `entries`.
    fn chunk(&self, from: u64, to: u64, entries: &mut Vec<LogEntry>) -> Result<(), StoreError> {
        let mut next = from;
        let mut read = || -> Result<(), Bad> {
            let mut statement = self.connection.prepare_cached(SCAN)?;
            let mut rows = statement.query([number(from), number(to)])?;
            while let Some(row) = rows.next()? {
                let n: i64 = row.get(0)?;
                if n != number(next) {
                    return Err(Bad::Missing);
                }
                entries.push(checked(row)?);
                next += 1;
            }
            if next < to { Err(Bad::Missing) } else { Ok(()) }
        };
        read().map_err(|bad| match bad {
            Bad::Missing => self.bad(next, EntryFault::Missing),
            Bad::Damaged => self.bad(next, EntryFault::Damaged),
            Bad::Sql(error) => match sql("read", self.path)(error) {
                // The page with the entry is not as SQLite left it.
                StoreError::Damaged { .. } => self.bad(next, EntryFault::Damaged),
                error => error,
            },
        })
    }

    fn checkpoints(&self, from: u64, to: u64) -> Result<Vec<(u64, Checkpoint)>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(CHECKPOINTS)?;
            let range = [number(from), number(to), CHUNK_LEN as i64];
            let rows = statement.query_map(range, size_and_note)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(sql("read", self.path))?;
        rows.into_iter().map(|row| self.checkpoint(row)).collect()
    }

    pub(super) fn checkpoint_at_most(
        &self,
        size: u64,
    ) -> Result<Option<(u64, Checkpoint)>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(CHECKPOINT_AT_MOST)?;
            statement
                .query_row([number(size)], size_and_note)
                .optional()
        };
        let row = read().map_err(sql("read", self.path))?;
        row.map(|row| self.checkpoint(row)).transpose()
    }

    pub(super) fn mark(&self) -> Result<Option<LedgerTime>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(GET_META)?;
            statement
                .query_row([MARK], |row| row.get::<_, i64>(0))
                .optional()
        };
        let millis = read().map_err(sql("read", self.path))?;
        Ok(millis.map(|millis| LedgerTime::from_millis(millis.cast_unsigned())))
    }

    fn checkpoint(
        &self,
        (size, note): (i64, Option<String>),
    ) -> Result<(u64, Checkpoint), StoreError> {
        let checkpoint = note.and_then(|note| Checkpoint::try_from(note).ok());
        match (u64::try_from(size), checkpoint) {
            (Ok(size), Some(checkpoint)) if size <= SIZE_MAX => Ok((size, checkpoint)),
            _ => {
                let size = size.cast_unsigned();
                Err(StoreError::Checkpoint {
                    path: self.path.to_owned(),
                    size,
                })
            }
        }
    }

    fn bad(&self, entry: u64, fault: EntryFault) -> StoreError {
        StoreError::Entry {
            path: self.path.to_owned(),
            entry,
            fault,
        }
    }
}

enum Bad {
    Missing,
    Damaged,
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Bad {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn checked(row: &Row<'_>) -> Result<LogEntry, Bad> {
    // A value of another type than the column's is damage too, not a failure to read.
    let bytes = row.get_ref(1)?.as_blob().map_err(|_| Bad::Damaged)?;
    let hash8 = row.get_ref(2)?.as_i64().map_err(|_| Bad::Damaged)?;
    let entry = LogEntry::new(bytes.to_vec());
    if entry.hash8() == hash8 {
        Ok(entry)
    } else {
        Err(Bad::Damaged)
    }
}

fn size_and_note(row: &Row<'_>) -> rusqlite::Result<(i64, Option<String>)> {
    let note = row.get_ref(1)?.as_str().ok().map(str::to_owned);
    Ok((row.get(0)?, note))
}

/// As SQLite counts; past its last number there is nothing.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Most rows held at once: about 1 MiB.
const CHUNK_LEN: usize = 1024;

const SCAN: &str = "SELECT n, bytes, hash8 FROM entries WHERE n >= ?1 AND n < ?2 ORDER BY n";
const CHECKPOINTS: &str =
    "SELECT size, note FROM checkpoints WHERE size >= ?1 AND size <= ?2 ORDER BY size LIMIT ?3";
const CHECKPOINT_AT_MOST: &str =
    "SELECT size, note FROM checkpoints WHERE size <= ?1 ORDER BY size DESC LIMIT 1";
const GET_META: &str = "SELECT value FROM meta WHERE key = ?1";
