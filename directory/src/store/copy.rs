//! A copy of the log in one file that can lie anywhere: what a backup is made of, and how a log is
//! made of a backup again.
//!
//! The log only grows, so it is read a piece at a time and not in one long look: a serving
//! directory beside it can carry its write-ahead log over meanwhile. Every entry is compared with
//! its hash on the way.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use thiserror::Error;

use super::{
    APPLICATION_ID, FORMAT, INSERT_CHECKPOINT, INSERT_ENTRY, LogReader, MARK, SCHEMA, SET_META,
    StoreError, sql,
};
use crate::folder::shown;

/// The format of a copy, kept as its `user_version`.
/// Format 1 is the same with a log of format 1.
pub const COPY_FORMAT: i64 = 2;

/// The oldest format that is read.
const COPY_FORMAT_MIN: i64 = 1;

/// A copy of a log, open for reading, with the files that were put in beside it.
#[derive(Debug)]
pub struct Copy {
    log: LogReader,
}

impl Copy {
    /// Opens the copy at `path`, which may be of any origin.
    ///
    /// # Errors
    /// [`CopyError`]; nothing is written, there or beside it.
    pub fn open(path: &Path) -> Result<Self, CopyError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let read = |error| CopyError::Store(sql("read", path)(error));
        let foreign = || CopyError::Foreign(shown(path));
        let connection = Connection::open_with_flags(path, flags).map_err(read)?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let id = match pragma("application_id").map_err(sql("read", path)) {
            Ok(id) => id,
            Err(StoreError::NotALedger(_)) => return Err(foreign()),
            Err(error) => return Err(error.into()),
        };
        if id != COPY_ID {
            return Err(foreign());
        }
        match pragma("user_version").map_err(read)? {
            COPY_FORMAT_MIN..=COPY_FORMAT => {}
            format if format > COPY_FORMAT => {
                let path = shown(path);
                return Err(CopyError::Newer { path, format });
            }
            _ => return Err(foreign()),
        }
        Ok(Self {
            log: LogReader::over(connection, path),
        })
    }

    /// The log in it.
    #[must_use]
    pub const fn log(&self) -> &LogReader {
        &self.log
    }

    /// The content of a file that was put in beside the log.
    ///
    /// # Errors
    /// [`StoreError`] if the copy cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.log.connection();
        let found = connection.query_row(GET_FILE, [name], |row| {
            // A value of another type is as good as none.
            Ok(row.get_ref(0)?.as_blob().ok().map(<[u8]>::to_vec))
        });
        let found = found.optional().map_err(sql("read", self.log.path()))?;
        Ok(found.flatten())
    }
}

/// Writes a copy of the first `size` entries of `log` to the empty file at `path`, with `files`
/// beside them. Not synced.
///
/// # Errors
/// [`StoreError`]; then the file is worth nothing.
pub fn pack(
    log: &LogReader,
    size: u64,
    files: &[(&str, &[u8])],
    path: &Path,
) -> Result<(), StoreError> {
    let mut connection = create(path)?;
    let mut write = Fill::begin(&mut connection, path)?;
    write.log(log, size)?;
    write.files(files).map_err(sql("write", path))?;
    write
        .end(COPY_ID, COPY_FORMAT)
        .map_err(sql("write", path))?;
    closed(connection, path)
}

/// Makes a log of the first `size` entries of `log` in the empty file at `path`. Not synced.
///
/// # Errors
/// [`StoreError`]; then the file is worth nothing.
pub fn unpack(log: &LogReader, size: u64, path: &Path) -> Result<(), StoreError> {
    let mut connection = create(path)?;
    let mut write = Fill::begin(&mut connection, path)?;
    write.log(log, size)?;
    write
        .end(APPLICATION_ID, FORMAT)
        .map_err(sql("write", path))?;
    closed(connection, path)
}

/// Why a copy cannot be read.
#[derive(Debug, Error)]
pub enum CopyError {
    /// Some other file.
    #[error("{0} is not a Quid backup")]
    Foreign(String),
    /// A newer program wrote it.
    #[error(
        "{path} has backup format {format} and this program knows {COPY_FORMAT}; use a newer \
         quid-directory"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        format: i64,
    },
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file being filled, in one transaction.
struct Fill<'a> {
    transaction: rusqlite::Transaction<'a>,
    path: &'a Path,
}

impl<'a> Fill<'a> {
    fn begin(connection: &'a mut Connection, path: &'a Path) -> Result<Self, StoreError> {
        let behaviour = TransactionBehavior::Exclusive;
        let begun = connection.transaction_with_behavior(behaviour);
        let transaction = begun.map_err(sql("write", path))?;
        let made = transaction.execute_batch(SCHEMA);
        made.map_err(sql("write", path))?;
        Ok(Self { transaction, path })
    }

    fn log(&mut self, log: &LogReader, size: u64) -> Result<(), StoreError> {
        let path = self.path;
        let mut insert = self
            .transaction
            .prepare(INSERT_ENTRY)
            .map_err(sql("write", path))?;
        log.scan(0, size, |n, entry| {
            let row = params![n.cast_signed(), entry.bytes, entry.hash8()];
            insert.execute(row).map_err(sql("write", path))?;
            Ok::<_, StoreError>(())
        })?;
        let mut insert = self
            .transaction
            .prepare(INSERT_CHECKPOINT)
            .map_err(sql("write", path))?;
        log.checkpoints(0, size, |size, checkpoint| {
            let row = params![size.cast_signed(), checkpoint.as_str()];
            insert.execute(row).map_err(sql("write", path))?;
            Ok::<_, StoreError>(())
        })?;
        // Read last: it is not below the time of any entry above.
        if let Some(mark) = log.mark()? {
            let row = params![MARK, mark.as_millis().cast_signed()];
            let set = self.transaction.execute(SET_META, row);
            set.map_err(sql("write", path))?;
        }
        Ok(())
    }

    fn files(&mut self, files: &[(&str, &[u8])]) -> rusqlite::Result<()> {
        self.transaction.execute_batch(FILES)?;
        let mut insert = self.transaction.prepare(INSERT_FILE)?;
        for (name, content) in files {
            insert.execute(params![name, content])?;
        }
        Ok(())
    }

    /// Only now does the file say what it is.
    fn end(self, id: i64, format: i64) -> rusqlite::Result<()> {
        self.transaction.pragma_update(None, "application_id", id)?;
        self.transaction
            .pragma_update(None, "user_version", format)?;
        self.transaction.commit()
    }
}

/// A connection that leaves nothing beside the file: whoever is interrupted begins anew.
fn create(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let create = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        Ok(connection)
    };
    create().map_err(sql("write", path))
}

fn closed(connection: Connection, path: &Path) -> Result<(), StoreError> {
    connection
        .close()
        .map_err(|(_, error)| sql("write", path)(error))
}

/// "QUIB": a copy is no ledger, lest two of them are served.
const COPY_ID: i64 = 0x5155_4942;

const FILES: &str =
    "CREATE TABLE files (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID";
const INSERT_FILE: &str = "INSERT INTO files (name, content) VALUES (?1, ?2)";
const GET_FILE: &str = "SELECT content FROM files WHERE name = ?1";
