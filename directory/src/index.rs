//! The index behind the log: which entries concern whom, which of them are in whose history, and
//! which entry used an id.
//!
//! It is a second file, derived from the log by a thread of its own that no payment waits for. An
//! index that is damaged, ahead of the log or of another ledger is thrown away and made anew; so
//! is one that a program of another version made.
//!
//! **Three parts.** An entry passes them in order, and [`IndexReader`] joins them, so that every
//! entry acknowledged before the question is in the answer:
//!
//! 1. in the log only: committed a moment ago;
//! 2. in the tail: read by the thread, in memory;
//! 3. in the file `index.db`, written in large sorted transactions.
//!
//! **Durability.** SQLite runs here with `synchronous=NORMAL`: a power cut may take back the last
//! transactions, though never part of one. [`Index::through`] counts only entries that a checkpoint
//! has carried into the synced file since, and only those may leave the ledger's memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quid_common::entry::Entry;
use quid_common::id::LedgerId;
use rusqlite::ErrorCode;
use thiserror::Error;

use self::posting::Posting;
use self::waiting::{Fed, Tail};
use self::writer::Writer;
use crate::folder::{Folder, FolderError, shown};
use crate::store::{LogEntry, LogReader, StoreError};
use crate::surroundings::Workers;

mod breath;
mod openings;
mod posting;
mod reader;
mod waiting;
mod writer;

pub use self::reader::IndexReader;

/// Entries in the log only from which on the thread is woken before its time: waking it for every
/// batch would cost more than its work.
const WAKE_LEN: u64 = 512;

/// How long entries wait in the log and the tail when few come.
const LINGER: Duration = Duration::from_secs(2);

/// Entries that are not durable in the index from which on they are written by whoever feeds it, if
/// there is no thread.
const CALLER_LEN: u64 = 64;

/// How much is kept where, in entries.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// In the tail, from which on they are written: large transactions put many rows on each page
    /// that they touch.
    tail: usize,
    /// Written but perhaps not durable, after which a checkpoint is made.
    checkpoint: u64,
    /// In one span of history: a transaction touches only the pages of the newest span. With one
    /// order by account alone, every row of a large ledger would be on a page of its own.
    span: u64,
    /// In the log only, beyond which an answer does not read them.
    behind: u64,
}

/// The tail takes about 1.5 MiB; reading the log as far as that takes an answer some 0.1 s.
const BOUNDS: Bounds = Bounds {
    tail: 16 * 1024,
    checkpoint: 64 * 1024,
    span: 256 * 1024,
    behind: 32 * 1024,
};

/// What follows the log, and the way to what it has made.
#[derive(Debug)]
pub struct Index {
    folder: Folder,
    shared: Arc<Shared>,
    follower: Follower,
}

/// Who follows the log.
#[derive(Debug)]
enum Follower {
    /// A thread, until it is told to stop.
    Thread(JoinHandle<()>),
    /// Whoever feeds the index, at once.
    Caller(Box<Mutex<Option<(Writer, LogReader)>>>),
    /// Nobody any more.
    Nobody,
}

impl Index {
    /// Starts following the folder's log, which is `ledger`'s.
    ///
    /// # Errors
    /// [`IndexError`] names the file that cannot be used. A bad index is no error: it is replaced.
    pub fn start(folder: &Folder, ledger: LedgerId, workers: Workers) -> Result<Self, IndexError> {
        let log = LogReader::open(folder)?;
        let shared = Arc::new(Shared::new(BOUNDS));
        let mut writer = Writer::open(folder, ledger, &log, Arc::clone(&shared))?;
        shared.state().len = log.len()?;
        let follower = match workers {
            Workers::Threads => {
                writer.stand_aside();
                let thread = std::thread::Builder::new()
                    .name("index".into())
                    .spawn(move || run(&mut writer, &log))
                    .map_err(IndexError::Thread)?;
                Follower::Thread(thread)
            }
            Workers::Caller => {
                catch_up(&mut writer, &log, true)?;
                Follower::Caller(Box::new(Mutex::new(Some((writer, log)))))
            }
        };
        Ok(Self {
            folder: folder.clone(),
            shared,
            follower,
        })
    }

    /// A reader for one thread, which sees the tail too.
    ///
    /// # Errors
    /// [`IndexError`] if a file cannot be opened once more.
    pub fn reader(&self) -> Result<IndexReader, IndexError> {
        IndexReader::join(&self.folder, BOUNDS, Some(Arc::clone(&self.shared)))
    }

    /// Entries below this number are in the index for good, whatever happens.
    #[must_use]
    pub fn through(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// The same number for somebody else to read.
    #[must_use]
    pub fn watch(&self) -> Through {
        Through(Arc::clone(&self.shared))
    }

    /// Hands over the entries of a durable batch, the first with number `first`, so that the thread
    /// need not read them from the log again.
    pub fn feed(&self, first: u64, entries: &[Entry], log: &[LogEntry]) {
        let len = first + log.len() as u64;
        let fed = entries
            .iter()
            .map(Posting::of)
            .zip(log.iter().map(|entry| entry.leaf));
        self.shared.fed().put(first, fed);
        self.wake(len);
    }

    /// Says that the log has `len` entries now.
    fn wake(&self, len: u64) {
        let mut state = self.shared.state();
        state.len = len;
        if let Follower::Caller(follower) = &self.follower {
            drop(state);
            return follow_at_once(follower);
        }
        if state.idle || len.saturating_sub(state.followed) >= WAKE_LEN {
            self.shared.wake.notify_one();
        }
    }

    /// Writes what is left, unless that is much, and ends the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.wake.notify_one();
        match std::mem::replace(&mut self.follower, Follower::Nobody) {
            // A panic in it has been printed, and the index behind is checked at the next start.
            Follower::Thread(thread) => drop(thread.join()),
            Follower::Caller(_) | Follower::Nobody => {}
        }
    }
}

/// How far the index is durable, read from any thread.
#[derive(Clone, Debug)]
pub struct Through(Arc<Shared>);

impl Through {
    /// See [`Index::through`].
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }
}

/// Why the index cannot be used.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder is in the way.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The index is still being made.
    #[error("the index is {entries} entries behind the log; ask again later")]
    Behind {
        /// How far.
        entries: u64,
    },
    /// The index does not agree with the log. It has been removed.
    #[error("{} is damaged; restart the directory, which makes it anew", shown(.0))]
    Damaged(PathBuf),
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
    /// The system gives no thread.
    #[error("cannot start the thread that makes the index: {0}")]
    Thread(std::io::Error),
}

/// What the thread, its handle and the readers share.
#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    state: Mutex<State>,
    wake: Condvar,
    fed: Mutex<Fed>,
    tail: Mutex<Tail>,
    durable: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The log's length.
    len: u64,
    /// Entries below this have been read.
    followed: u64,
    /// The thread waits for no particular time.
    idle: bool,
    stop: bool,
}

impl Shared {
    fn new(bounds: Bounds) -> Self {
        let (state, wake, tail) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self {
            bounds,
            state,
            wake,
            fed: Mutex::default(),
            tail,
            durable: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fed(&self) -> MutexGuard<'_, Fed> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is enough to read, `deadline` has come, or it is time to stop.
    fn wait(&self, deadline: Option<Instant>) -> Work {
        let mut state = self.state();
        loop {
            let due = deadline.is_some_and(|deadline| deadline <= Instant::now());
            let new = state.len.saturating_sub(state.followed);
            if state.stop || due || new >= WAKE_LEN || (new > 0 && deadline.is_none()) {
                state.idle = false;
                return Work {
                    len: state.len,
                    due,
                    stop: state.stop,
                };
            }
            state = match deadline {
                None => {
                    state.idle = true;
                    self.wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.wake
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// What the thread is woken for.
struct Work {
    len: u64,
    due: bool,
    stop: bool,
}

/// The thread.
fn run(writer: &mut Writer, log: &LogReader) {
    let mut deadline = None;
    loop {
        let work = writer.shared().wait(deadline);
        let done = writer.follow(log, work.len).and_then(|()| {
            if work.due || work.stop {
                writer.write_durably()
            } else {
                Ok(())
            }
        });
        if let Err(error) = done {
            tracing::error!(%error, "the index stops; restart the directory");
            return;
        }
        if work.stop {
            return;
        }
        // The clock starts with the first entry that is not durable.
        deadline = match deadline {
            _ if writer.is_durable() => None,
            Some(deadline) if !work.due => Some(deadline),
            _ => Some(Instant::now() + LINGER),
        };
    }
}

/// Reads what the log has, and makes it durable in the index if it is `due` or has become much.
fn catch_up(writer: &mut Writer, log: &LogReader, due: bool) -> Result<(), IndexError> {
    let len = writer.shared().state().len;
    writer.follow(log, len)?;
    let through = writer.shared().durable.load(Ordering::Acquire);
    if due || len.saturating_sub(through) >= CALLER_LEN {
        writer.write_durably()?;
    }
    Ok(())
}

/// What the thread does, for whoever feeds the index without one. After an error nobody follows
/// any more.
fn follow_at_once(follower: &Mutex<Option<(Writer, LogReader)>>) {
    let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((writer, log)) = follower.as_mut()
        && let Err(error) = catch_up(writer, log, false)
    {
        tracing::error!(%error, "the index stops; restart the directory");
        *follower = None;
    }
}

/// Turns what SQLite says about the index into an error. A damaged index is removed: nothing else
/// tells the next start that it must not be believed.
fn sql<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(rusqlite::Error) -> IndexError + use<'a> {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure) => {
            condemn(path)
        }
        _ => IndexError::Sql {
            action,
            path: path.to_owned(),
            source,
        },
    }
}

/// Removes the index, which is still in use until the process ends.
fn condemn(path: &Path) -> IndexError {
    // If that fails, the error says what to do all the same.
    let _ = writer::remove(path);
    IndexError::Damaged(path.to_owned())
}

/// A number as SQLite counts; past its last number there is nothing.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

const SCHEMA: &str = "
    CREATE TABLE history (
        span INTEGER, account INTEGER, entry INTEGER, moved INTEGER,
        PRIMARY KEY (span, account, entry)
    ) WITHOUT ROWID;
    CREATE TABLE ids (id BLOB, account INTEGER, entry INTEGER, PRIMARY KEY (id, account))
        WITHOUT ROWID;
    CREATE TABLE accounts (key BLOB PRIMARY KEY, account INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
";
const ACCOUNT: &str = "SELECT account FROM accounts WHERE key = ?1";
const FIND: &str = "SELECT entry FROM ids WHERE id = ?1 AND account = ?2";
const GET_META: &str = "SELECT value FROM meta WHERE key = ?1";

/// The row of `meta` that tells how many entries are in the index.
const ENTRIES: &str = "entries";

/// "QUIX".
const APPLICATION_ID: i64 = 0x5155_4958;

/// The format of the index, kept as its `user_version`; another one is made anew.
const FORMAT: i64 = 3;

#[cfg(test)]
mod tests;
