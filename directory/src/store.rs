//! The log: every entry in order, on stable storage, in one SQLite file that an operator can open.
//!
//! [`Store`] writes, one batch in one transaction with one sync; [`LogReader`] reads, on any
//! thread and beside a serving process. What an entry means is nobody's business here.
//!
//! **Order of events.** A batch is in the file's write-ahead log and synced before
//! [`Store::append`] returns, and no reader sees it earlier. So whatever a reader sees is durable;
//! after a crash that holds too, because opening syncs before it reads.
//!
//! **Failing.** After an error in [`Store::append`] nobody knows what the disk holds: a kernel
//! that failed to sync may read back the new bytes, report the next sync as done, and still hold
//! the old bytes on the disk. So nothing is tried again: the process leaves by [`give_up`], which
//! closes nothing, and the next start drops the kernel's copies before it reads.
//!
//! Later logs (PostgreSQL) keep the seam: append this batch at this number or fail; read from a
//! number on.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quid_common::checkpoint::Checkpoint;
use quid_common::merkle;
use quid_common::time::LedgerTime;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, Transaction};
use rusqlite::{TransactionBehavior, params};
use rustix::fs::{Advice, fadvise};
use thiserror::Error;

use self::wal::{Checkpointer, Wal};
use crate::folder::{self, Folder, FolderError, Lock, shown};

mod copy;
mod reader;
mod wal;

pub use self::copy::{COPY_FORMAT, Copy, CopyError, pack, unpack};
pub use self::reader::LogReader;

/// One line of the log, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The entry's exact bytes.
    pub bytes: Vec<u8>,
    /// Its RFC 6962 leaf hash.
    pub leaf: [u8; 32],
}

impl LogEntry {
    /// The entry with these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let leaf = merkle::leaf_hash(&bytes);
        Self { bytes, leaf }
    }

    /// What is stored beside the bytes, so that a damaged entry can be named.
    fn hash8(&self) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = self.leaf;
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The log, open for writing. There is one in the world for each ledger: see [`Lock`].
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    len: u64,
    /// That of the file, which may be older than [`FORMAT`] until the first batch.
    format: i64,
    wal: Arc<Wal>,
    /// Carries the write-ahead log over; `None` once a thread does it.
    checkpointer: Option<Checkpointer>,
    thread: Option<std::thread::JoinHandle<()>>,
    failed: bool,
}

/// What [`Store::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Number of entries.
    pub entries: u64,
    /// The newest checkpoint; `None` in a log without entries.
    pub checkpoint: Option<Checkpoint>,
    /// No ledger time above this was ever used.
    pub mark: Option<LedgerTime>,
}

impl Store {
    /// Opens the folder's log, made empty if the folder never had one, and syncs it.
    ///
    /// Call it before this process opens any [`LogReader`] on the same folder: it opens and closes
    /// the file itself, which ends the system's record of all locks that the process has on it.
    ///
    /// # Errors
    /// [`StoreError`] names the file or entry and what to do. Nothing was overwritten.
    pub fn open(folder: &Folder, _: &Lock) -> Result<(Self, Opened), StoreError> {
        let path = folder.ledger();
        let missing = fs::metadata(&path).map_or(true, |file| file.len() == 0);
        if missing && folder.has_served()? {
            return Err(StoreError::Lost(path));
        }
        if missing {
            let open = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path);
            open.map_err(folder::io("make", &path))?;
            folder::sync_folder(folder.path())?;
        }
        drop_page_cache(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = connect(&path, flags)?;
        // What it cannot open to write, SQLite opens to read, and tells whoever writes first.
        if connection
            .is_readonly(MAIN_DB)
            .map_err(sql("open", &path))?
        {
            return Err(StoreError::Unwritable(path));
        }
        if has_nothing(&connection).map_err(sql("open", &path))? {
            if folder.has_served()? {
                return Err(StoreError::Lost(path));
            }
            make(&mut connection).map_err(sql("make", &path))?;
        }
        let format = check_format(&connection, &path)?;
        set_up_writer(&connection).map_err(sql("open", &path))?;
        let checkpointer = Checkpointer::open(&path)?;
        checkpointer.finish()?;
        let opened = survey(&connection, &path)?;
        let store = Self {
            connection,
            path,
            len: opened.entries,
            format,
            wal: Arc::default(),
            checkpointer: Some(checkpointer),
            thread: None,
            failed: false,
        };
        Ok((store, opened))
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes a batch durable: `entries` under the numbers from `first` on, the `checkpoint` of the
    /// log as it then is, and a new time `mark`; all of it or, on an error, perhaps all and
    /// perhaps nothing.
    ///
    /// # Errors
    /// [`StoreError::Position`] if `first` is not the log's length: nothing was written. After any
    /// other, answer nobody and [`give_up`]: the store refuses everything from then on.
    pub fn append(
        &mut self,
        first: u64,
        entries: &[LogEntry],
        checkpoint: Option<&Checkpoint>,
        mark: Option<LedgerTime>,
    ) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed(self.path.clone()));
        }
        let result = self.append_once(first, entries, checkpoint, mark);
        self.failed = !matches!(result, Ok(()) | Err(StoreError::Position { .. }));
        result
    }

    /// From now on a thread of its own carries the write-ahead log over into the file, so that no
    /// batch waits for it. Until then every so many batches do it themselves.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn checkpoint_in_background(&mut self) -> std::io::Result<()> {
        if let Some(checkpointer) = self.checkpointer.take() {
            let wal = Arc::clone(&self.wal);
            let thread = std::thread::Builder::new().name("checkpoint".into());
            self.thread = Some(thread.spawn(move || wal.run(&checkpointer))?);
        }
        Ok(())
    }

    fn append_once(
        &mut self,
        first: u64,
        entries: &[LogEntry],
        checkpoint: Option<&Checkpoint>,
        mark: Option<LedgerTime>,
    ) -> Result<(), StoreError> {
        self.wal.check()?;
        let position = StoreError::Position {
            first,
            len: self.len,
        };
        if first != self.len {
            return Err(position);
        }
        let writing = self.wal.write();
        let is_older = self.format < FORMAT;
        let batch = (first, entries, checkpoint, mark);
        let found =
            write(&mut self.connection, batch, is_older).map_err(sql("write", &self.path))?;
        drop(writing);
        if let Some(len) = found {
            return Err(StoreError::Position { first, len });
        }
        self.format = FORMAT;
        self.len += entries.len() as u64;
        let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
        if self.wal.grew(bytes)
            && let Some(checkpointer) = &self.checkpointer
        {
            self.wal.carry_over(checkpointer)?;
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.wal.stop();
        if let Some(thread) = self.thread.take() {
            // It reports by `Wal::check`; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// Leaves the process at once, closing nothing, because what the log holds is not known or not to
/// be trusted: an orderly close would write, and answers on their way would be promises.
///
/// Logs one line. The exit code is that of a failure of local files.
pub fn give_up(error: &dyn std::error::Error) -> ! {
    tracing::error!(
        error = %error,
        "stopping at once, with nobody answered: see to the disk, then start again; \
         what was acknowledged is kept"
    );
    signal_hook::low_level::exit(EXIT_LOCAL_FILES)
}

/// Why the log cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The data folder is in the way.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No log has been made yet.
    #[error("there is no ledger {}; it is made when the directory first serves", shown(.0))]
    Missing(PathBuf),
    /// There was a ledger, going by what lies beside it.
    #[error(
        "{} is missing or empty, but this directory has served from it; restore it from a backup",
        shown(.0)
    )]
    Lost(PathBuf),
    /// Some other file is in its place.
    #[error("{} is not a Quid ledger; restore it from a backup or name another --data", shown(.0))]
    NotALedger(PathBuf),
    /// A newer program wrote it.
    #[error(
        "{} has format {format} and this program knows {FORMAT}; use a newer quid-directory",
        shown(.path)
    )]
    Newer {
        /// The log.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
    /// It can be read only.
    #[error("{} cannot be written; see to its owner and mode, and to the disk", shown(.0))]
    Unwritable(PathBuf),
    /// An entry is not what was written.
    #[error("entry {entry} in {} is {fault}; restore the ledger from a backup", shown(.path))]
    Entry {
        /// The log.
        path: PathBuf,
        /// The first entry found bad.
        entry: u64,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// A checkpoint is not what was written.
    #[error(
        "the checkpoint of {size} entries in {} is damaged; restore it from a backup",
        shown(.path)
    )]
    Checkpoint {
        /// The log.
        path: PathBuf,
        /// The log's length that it was for.
        size: u64,
    },
    /// The file is not as SQLite left it.
    #[error("{} is damaged ({source}); restore it from a backup", shown(.path))]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where SQLite noticed.
        source: rusqlite::Error,
    },
    /// Entries were to be appended elsewhere than at the end. Nothing was written.
    #[error("the batch begins at entry {first}, but the log has {len} entries")]
    Position {
        /// Where the batch was to begin.
        first: u64,
        /// The log's length.
        len: u64,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", shown(.path))]
    Sql {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// An earlier error made this store unusable.
    #[error("{} failed before and is not written again by this process", shown(.0))]
    Failed(PathBuf),
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// Its bytes are not those that were written.
    Damaged,
    /// It is not there, though later ones or its checkpoint are.
    Missing,
}

impl std::fmt::Display for EntryFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        })
    }
}

/// Makes sure that what the system holds of the file and its write-ahead log is what the disk
/// holds: writes what a killed process left unwritten, then forgets what it read.
fn drop_page_cache(path: &Path) -> Result<(), StoreError> {
    for path in [path.to_owned(), wal_of(path)] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(folder::io("open", &path)(error).into()),
        };
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            return Err(StoreError::NotALedger(path));
        }
        file.sync_all().map_err(folder::io("sync", &path))?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(|errno| folder::io("reread", &path)(errno.into()))?;
    }
    Ok(())
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connect = || {
        let connection = Connection::open_with_flags(path, flags)?;
        // Whoever closes last would write, which after an error is a retry.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(BUSY_MAX)?;
        Ok(connection)
    };
    connect().map_err(sql("open", path))
}

fn has_nothing(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(tables == 0 && id == 0)
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// The format of the log's file, if it is one that this program reads.
fn check_format(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(sql("read", path))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(StoreError::NotALedger(path.to_owned()));
    }
    match pragma("user_version")? {
        format @ FORMAT_MIN..=FORMAT => Ok(format),
        format if format > FORMAT => Err(StoreError::Newer {
            path: path.to_owned(),
            format,
        }),
        _ => Err(StoreError::NotALedger(path.to_owned())),
    }
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // See `wal`: a batch must not wait for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)
}

/// What the log holds, going by its two ends.
fn survey(connection: &Connection, path: &Path) -> Result<Opened, StoreError> {
    let reader = reader::Rows { connection, path };
    let entries = reader.len()?;
    if entries > 0 {
        reader.entry(0)?;
        reader.entry(entries - 1)?;
    }
    let newest = reader.checkpoint_at_most(u64::MAX)?;
    if newest.as_ref().is_some_and(|&(size, _)| size > entries) {
        let fault = EntryFault::Missing;
        return Err(StoreError::Entry {
            path: path.to_owned(),
            entry: entries,
            fault,
        });
    }
    let checkpoint = newest.map(|(_, checkpoint)| checkpoint);
    Ok(Opened {
        entries,
        checkpoint,
        mark: reader.mark()?,
    })
}

/// The number of a batch's first entry, its entries, the checkpoint behind them, and a new time mark.
type Batch<'a> = (
    u64,
    &'a [LogEntry],
    Option<&'a Checkpoint>,
    Option<LedgerTime>,
);

/// Writes a batch in one transaction, unless the log has another length than its first entry's
/// number: then nothing, and the answer is that length. A log that `is_older` has the newest format
/// from its first batch on, since older programs may not know what is in it.
fn write(
    connection: &mut Connection,
    (first, entries, checkpoint, mark): Batch<'_>,
    is_older: bool,
) -> rusqlite::Result<Option<u64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked of the file itself: whoever wrote there in spite of the lock is noticed.
    let len = length(&transaction)?;
    if len != first {
        return Ok(Some(len));
    }
    let mut next = first;
    {
        let mut insert = transaction.prepare_cached(INSERT_ENTRY)?;
        for entry in entries {
            insert.execute(params![next.cast_signed(), entry.bytes, entry.hash8()])?;
            next += 1;
        }
    }
    if let Some(checkpoint) = checkpoint {
        let mut insert = transaction.prepare_cached(INSERT_CHECKPOINT)?;
        insert.execute(params![next.cast_signed(), checkpoint.as_str()])?;
    }
    if let Some(mark) = mark {
        let mut upsert = transaction.prepare_cached(SET_META)?;
        upsert.execute(params![MARK, mark.as_millis().cast_signed()])?;
    }
    if is_older {
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()?;
    Ok(None)
}

fn length(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let last: Option<i64> = transaction
        .prepare_cached(LAST_ENTRY)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(0, |last| last.cast_unsigned() + 1))
}

/// Turns what SQLite says about `path` into an error that names it.
fn sql<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(rusqlite::Error) -> StoreError + use<'a> {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotALedger(path.to_owned()),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged {
            path: path.to_owned(),
            source,
        },
        _ => StoreError::Sql {
            action,
            path: path.to_owned(),
            source,
        },
    }
}

const SCHEMA: &str = "
    CREATE TABLE entries (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL, hash8 INTEGER NOT NULL);
    CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";
const INSERT_ENTRY: &str = "INSERT INTO entries (n, bytes, hash8) VALUES (?1, ?2, ?3)";
const INSERT_CHECKPOINT: &str = "INSERT INTO checkpoints (size, note) VALUES (?1, ?2)";
const SET_META: &str = "INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const LAST_ENTRY: &str = "SELECT n FROM entries ORDER BY n DESC LIMIT 1";

/// The row of `meta` with the time mark.
const MARK: &str = "time mark";

/// "QUID": tells our files from others' (`file` and `PRAGMA application_id` show it).
const APPLICATION_ID: i64 = 0x5155_4944;

/// The format of the log's file, kept as its `user_version`. Format 1 has the same tables, and no
/// entries of kinds above 11, as far as the programs knew them that stop at it; it becomes this one
/// with the first batch.
pub const FORMAT: i64 = 2;

/// The oldest format that is read.
const FORMAT_MIN: i64 = 1;

/// How long another program (a backup) may hold a lock on the log before a batch fails.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The exit code for "local files or a lock" in the table of exit codes.
pub(crate) const EXIT_LOCAL_FILES: i32 = 7;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
