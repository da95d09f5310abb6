//! The journal: what this node must not forget, in one SQLite file.
//!
//! Orders it sent, orders it took (notes), tabs both ways, receipts, whose key it has paid,
//! references it issued and requests it made, how far it has heard of payments, and the newest checkpoint it saw. An
//! order is here before it is sent and a note before it is submitted, so that a crash leaves nothing
//! unknown to itself.
//!
//! One thread owns the connection. Whatever was queued while the last commit ran is the next
//! transaction: one sync serves many payments in flight. Every operation is a step of its own
//! (check and write together), and its answer leaves only after the commit.
//!
//! Several processes may have the file open; SQLite's lock makes their transactions one sequence.
//!
//! **Failing.** After a failed write or sync nobody knows what the disk holds, so nothing is tried
//! again: a node that stays ends ([`Journal::failed`]), the file is closed without carrying the
//! write-ahead log over, and the next start drops the kernel's copies before it reads.

use std::fmt;
use std::fs;
use std::future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use quid_common::amount::Currency;
use quid_common::checkpoint::Checkpoint;
use quid_common::id::LedgerId;
use quid_common::name::Name;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::surroundings::Workers;

pub(crate) use notes::{Moved, NoteState, Noted};
pub(crate) use orders::{Inserted, NewOrder, OrderRow, OrderState};
pub(crate) use requests::{Purpose, RequestRow};
pub(crate) use tabs::{IncomingRow, NewTab, TabRow, TabState};

mod file;
mod notes;
mod orders;
mod requests;
mod tabs;
mod values;

/// A handle on the journal, which is closed when this is dropped.
pub(crate) struct Journal {
    worker: Worker,
    /// Why it can no longer be written, once it cannot.
    failure: watch::Receiver<Option<JournalError>>,
}

/// Who takes the steps.
enum Worker {
    /// A thread, until the sender is dropped.
    Thread(mpsc::SyncSender<Job>, thread::JoinHandle<()>),
    /// Whoever asks for one, at once.
    Caller(Mutex<Steps>),
    /// Nobody any more.
    Nobody,
}

/// What the directory told this node about itself and the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) name: Option<Name>,
    pub(crate) currency: Option<Currency>,
    pub(crate) ledger: Option<LedgerId>,
}

impl Journal {
    /// Makes an empty journal, unless there is a file already. It appears whole or not at all.
    pub(crate) fn create(path: &Path) -> Result<(), JournalError> {
        if path.exists() {
            return Ok(());
        }
        let unnamed = path.with_extension(format!("new-{}", std::process::id()));
        let made = file::make(&unnamed).and_then(|()| match fs::hard_link(&unnamed, path) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(|error| error.to_string()),
        });
        let _ = fs::remove_file(&unnamed);
        made.map_err(|reason| JournalError::at(path, reason))
    }

    /// Opens a journal that [`Self::create`] made.
    pub(crate) fn open(path: &Path, workers: Workers) -> Result<Self, JournalError> {
        if !path.exists() {
            return Err(JournalError::Missing {
                path: path.to_owned(),
            });
        }
        // Before SQLite sees the file: it would turn an empty one into a database.
        file::check_header(path)?;
        file::drop_page_cache(path)?;
        let checked = patiently(|| {
            let connection = file::connect(path)?;
            Ok(file::check(&connection, path)?.map(|()| connection))
        });
        let connection = checked.map_err(|error| match error.sqlite_error_code() {
            // It is the disk's fault, not the file's.
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => JournalError::from(&error),
            _ => JournalError::at(path, error.to_string()),
        })??;
        let (told, failure) = watch::channel(None);
        let steps = Steps {
            connection,
            failed: None,
            told,
        };
        let worker = match workers {
            Workers::Caller => Worker::Caller(Mutex::new(steps)),
            Workers::Threads => {
                let (jobs, queue) = mpsc::sync_channel(QUEUE_LEN_MAX);
                let thread = thread::Builder::new()
                    .name("journal".to_owned())
                    .spawn(move || work(steps, &queue))
                    .map_err(|error| JournalError::at(path, error.to_string()))?;
                Worker::Thread(jobs, thread)
            }
        };
        Ok(Self { worker, failure })
    }

    /// Waits until the journal could not be written: why.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn failed(&self) -> JournalError {
        let mut failure = self.failure.clone();
        if let Ok(failure) = failure.wait_for(Option::is_some).await
            && let Some(error) = failure.as_ref()
        {
            return error.clone();
        }
        // It was closed, and so cannot fail any more.
        future::pending().await
    }

    /// Runs one step and answers once it is durable.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the step, which may or may not have been taken.
    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(step, move |result| {
            // Nobody may wait any more; the step stands all the same.
            let _ = answer.send(result);
        })?;
        answered.await.map_err(|_| JournalError::Closed)?
    }

    /// Like [`Self::step`] for callers that cannot await: blocks for one commit.
    fn step_blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.enqueue(step, move |result| {
            let _ = answer.send(result);
        })?;
        answered.recv().map_err(|_| JournalError::Closed)?
    }

    fn enqueue<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T, JournalError>) + Send + 'static,
    ) -> Result<(), JournalError> {
        let job: Job = Box::new(|connection| {
            let outcome = connection.map_or_else(
                |error| Err(error.clone()),
                |connection| step(connection).map_err(|error| JournalError::from(&error)),
            );
            let error = outcome.as_ref().err().cloned();
            let answer = move |commit: Result<(), JournalError>| answer(commit.and(outcome));
            (error, Box::new(answer) as Answer)
        });
        match &self.worker {
            // Blocks only when the thread is QUEUE_LEN_MAX steps behind; it needs nothing from us.
            Worker::Thread(jobs, _) => jobs.send(job).map_err(|_| JournalError::Closed),
            Worker::Caller(steps) => {
                let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
                steps.take(vec![job]);
                Ok(())
            }
            Worker::Nobody => Err(JournalError::Closed),
        }
    }

    /// What was learnt from the directory so far.
    pub(crate) fn learned(&self) -> Result<Learned, JournalError> {
        self.step_blocking(|connection| {
            Ok(Learned {
                name: setting(connection, NAME)?.and_then(|text: String| text.parse().ok()),
                currency: setting(connection, CURRENCY)?
                    .and_then(|text: String| parse_currency(&text)),
                ledger: setting(connection, LEDGER)?.and_then(|text: String| text.parse().ok()),
            })
        })
    }

    pub(crate) async fn learn(&self, learned: Learned) -> Result<(), JournalError> {
        self.step(move |connection| {
            let currency = learned
                .currency
                .map(|currency| format!("{} {}", currency.code(), currency.decimals()));
            for (what, value) in [
                (NAME, learned.name.map(|name| name.to_string())),
                (CURRENCY, currency),
                (LEDGER, learned.ledger.map(|ledger| ledger.to_string())),
            ] {
                if let Some(value) = value {
                    keep_setting(connection, what, &value)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The newest checkpoint that this home has seen, and its size.
    pub(crate) async fn checkpoint(&self) -> Result<Option<Checkpoint>, JournalError> {
        self.step(|connection| {
            Ok(setting(connection, CHECKPOINT)?
                .and_then(|text: String| Checkpoint::try_from(text).ok()))
        })
        .await
    }

    /// Keeps a verified checkpoint if it is of a longer log than the one kept.
    pub(crate) async fn keep_checkpoint(
        &self,
        size: u64,
        checkpoint: Checkpoint,
    ) -> Result<(), JournalError> {
        self.step(move |connection| advance_checkpoint(connection, size, checkpoint.as_str()))
            .await
    }

    /// The newest checkpoint that is known to fit all before it.
    pub(crate) async fn base(&self) -> Result<Option<Checkpoint>, JournalError> {
        self.step(|connection| {
            Ok(setting(connection, BASE)?.and_then(|text: String| Checkpoint::try_from(text).ok()))
        })
        .await
    }

    /// Keeps a checkpoint that fits all before it, if it is of a longer log than the one kept.
    pub(crate) async fn keep_base(
        &self,
        size: u64,
        checkpoint: Checkpoint,
    ) -> Result<(), JournalError> {
        self.step(move |connection| {
            if advance(connection, BASE_SIZE, size)? {
                keep_setting(connection, BASE, &checkpoint.as_str())?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that the directory has signed two histories, of which a file in the home is the proof.
    pub(crate) async fn mark_forked(&self) -> Result<(), JournalError> {
        self.step(|connection| keep_setting(connection, FORKED, &1))
            .await
    }

    /// Forgets what was seen of a log with two histories, if that was noted: somebody has moved the
    /// proof away, and so the directory is trusted afresh.
    pub(crate) async fn forget_forked(&self) -> Result<(), JournalError> {
        self.step(|connection| {
            if setting::<i64>(connection, FORKED)?.is_some() {
                let mut forget =
                    connection.prepare_cached("DELETE FROM settings WHERE what = ?1")?;
                for what in [CHECKPOINT, CHECKPOINT_SIZE, BASE, BASE_SIZE, FORKED] {
                    forget.execute([what])?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Payments to this account up to this entry have been told to the application.
    pub(crate) async fn watermark(&self) -> Result<Option<u64>, JournalError> {
        self.step(|connection| Ok(setting::<i64>(connection, WATERMARK)?.map(i64::cast_unsigned)))
            .await
    }

    /// Advances the watermark; it never goes back.
    pub(crate) async fn advance_watermark(&self, entry: u64) -> Result<(), JournalError> {
        self.step(move |connection| advance(connection, WATERMARK, entry).map(drop))
            .await
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Worker::Thread(jobs, thread) = std::mem::replace(&mut self.worker, Worker::Nobody) {
            drop(jobs);
            // A panic in the thread has shown itself to everyone who waited on it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// Why the journal cannot be read or written. What was asked has not happened, but for
/// [`JournalError::Failed`] and [`JournalError::Closed`], after which it may have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JournalError {
    /// There is no journal in the home.
    #[error(
        "{} is missing; restore it from a backup (without it, orders under way are forgotten), \
         or run `quid init` to start an empty one",
        .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has used this journal.
    #[error(
        "{} has format {version} and this program knows {}; use a newer quid",
        .path.display(), file::SCHEMA_VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: i32,
    },
    /// The file is no journal, or damaged.
    #[error("{} cannot be used: {reason}; move it away or restore it from a backup", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process kept the journal locked for too long. Try again.
    #[error("the journal is locked by another process; try again")]
    Busy,
    /// The disk is full. Free some space and try again.
    #[error("the disk is full; free some space and try again")]
    Full,
    /// Reading or writing failed; this process no longer uses the journal.
    #[error("the journal cannot be written: {0}; check the disk and start again")]
    Failed(String),
    /// The node has been closed.
    #[error("the node has been closed")]
    Closed,
}

impl JournalError {
    fn at(path: &Path, reason: String) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason,
        }
    }
}

impl From<&rusqlite::Error> for JournalError {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_busy(error) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Takes the connection, or the reason why there is none; gives the step's error, if it failed, and
/// what to do after the commit.
type Job =
    Box<dyn FnOnce(Result<&Connection, &JournalError>) -> (Option<JournalError>, Answer) + Send>;
type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// The journal's thread: takes steps until the last handle is gone.
fn work(mut steps: Steps, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let jobs = std::iter::once(first)
            .chain(queue.try_iter().take(BATCH_LEN_MAX - 1))
            .collect();
        steps.take(jobs);
    }
}

/// The connection, and whether it may still be used.
struct Steps {
    connection: Connection,
    /// After a failed write or sync the file's true content is not known to this process any more.
    failed: Option<JournalError>,
    /// Where the first failure is told, that of a full disk too.
    told: watch::Sender<Option<JournalError>>,
}

impl Steps {
    fn take(&mut self, jobs: Vec<Job>) {
        if let Some(error) = &self.failed {
            for job in jobs {
                let (_, answer) = job(Err(error));
                answer(Ok(()));
            }
            return;
        }
        let Err(error) = batch(&self.connection, jobs) else {
            return;
        };
        tracing::warn!(%error, "the journal failed");
        // Whoever closes last would write, which is a retry.
        let no_retry = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = self.connection.set_db_config(no_retry, true);
        // A write that found no room has changed nothing; what it was for can be asked again.
        if error != JournalError::Full {
            self.failed = Some(error.clone());
        }
        self.told.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(error);
            first
        });
    }
}

/// Takes steps in one transaction, each under a savepoint of its own. An error is one that the disk
/// is the cause of.
fn batch(connection: &Connection, jobs: Vec<Job>) -> Result<(), JournalError> {
    // By hand: a transaction object would borrow the connection through every try.
    if let Err(error) = patiently(|| connection.execute_batch("BEGIN IMMEDIATE")) {
        return refuse(jobs, &JournalError::from(&error));
    }
    let mut answers = Vec::with_capacity(jobs.len());
    let mut broken: Option<JournalError> = None;
    for job in jobs {
        let (error, answer) = match &broken {
            None => saved(connection, job),
            Some(broken) => job(Err(broken)),
        };
        broken = broken.or(error);
        answers.push(answer);
    }
    let committed = match broken {
        Some(error) => Err(error),
        None => connection
            .execute_batch("COMMIT")
            .map_err(|error| JournalError::from(&error)),
    };
    if committed.is_err() && !connection.is_autocommit() {
        // If this fails too, the next batch cannot begin, and says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(committed.clone());
    }
    blame_disk(committed)
}

/// Keeps an error only if the next step would meet it too: not that another process was in the way.
fn blame_disk(result: Result<(), JournalError>) -> Result<(), JournalError> {
    match result {
        Err(error @ (JournalError::Failed(_) | JournalError::Full)) => Err(error),
        _ => Ok(()),
    }
}

/// Takes one step under a savepoint and undoes it alone if it fails. Gives an error if even that
/// fails: then SQLite has undone the whole transaction, as it does when the disk is full.
fn saved(connection: &Connection, job: Job) -> (Option<JournalError>, Answer) {
    if let Err(error) = connection.execute_batch("SAVEPOINT step") {
        let error = JournalError::from(&error);
        let (_, answer) = job(Err(&error));
        return (Some(error), answer);
    }
    let (error, answer) = job(Ok(connection));
    let end = if error.is_some() {
        "ROLLBACK TO step; RELEASE step"
    } else {
        "RELEASE step"
    };
    let broken = connection.execute_batch(end).err();
    (
        broken.map(|broken| error.unwrap_or_else(|| JournalError::from(&broken))),
        answer,
    )
}

fn refuse(jobs: Vec<Job>, error: &JournalError) -> Result<(), JournalError> {
    for job in jobs {
        let (_, answer) = job(Err(error));
        answer(Ok(()));
    }
    blame_disk(Err(error.clone()))
}

/// Tries again while another process has the file locked. SQLite itself waits in most cases, but
/// not while the last other connection is closing.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let deadline = Instant::now() + BUSY_WAIT;
    loop {
        match work() {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn setting<T: rusqlite::types::FromSql>(
    connection: &Connection,
    what: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached("SELECT value FROM settings WHERE what = ?1")?
        .query_row([what], |row| row.get(0))
        .optional()
}

fn keep_setting<T: rusqlite::ToSql>(
    connection: &Connection,
    what: &str,
    value: &T,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO settings (what, value) VALUES (?1, ?2)
             ON CONFLICT (what) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![what, value])
        .map(drop)
}

/// Raises a number; tells whether it was lower before.
fn advance(connection: &Connection, what: &str, to: u64) -> rusqlite::Result<bool> {
    let before: Option<i64> = setting(connection, what)?;
    if before.is_some_and(|before| before.cast_unsigned() >= to) {
        return Ok(false);
    }
    keep_setting(connection, what, &to.cast_signed())?;
    Ok(true)
}

fn advance_checkpoint(connection: &Connection, size: u64, text: &str) -> rusqlite::Result<()> {
    if advance(connection, CHECKPOINT_SIZE, size)? {
        keep_setting(connection, CHECKPOINT, &text)?;
    }
    Ok(())
}

fn parse_currency(text: &str) -> Option<Currency> {
    let (code, decimals) = text.split_once(' ')?;
    Currency::new(code, decimals.parse().ok()?).ok()
}

const NAME: &str = "name";
const CURRENCY: &str = "currency";
const LEDGER: &str = "ledger";
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_SIZE: &str = "checkpoint_size";
const BASE: &str = "base";
const BASE_SIZE: &str = "base_size";
const FORKED: &str = "forked";
const WATERMARK: &str = "watermark";

/// How long a transaction waits for another process's.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before the next try, where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Most steps waiting; callers in flight are bounded far below this.
const QUEUE_LEN_MAX: usize = 16 * 1024;

/// Most steps in one transaction, so that the first of them does not wait long for the last.
const BATCH_LEN_MAX: usize = 512;

#[cfg(test)]
mod tests;
