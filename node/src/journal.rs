//! The journal: what this node must not forget, in one SQLite file.
//!
//! Orders it sent, orders it took (notes), tabs both ways, receipts, whose key it has paid,
//! references it issued and requests it made, how far it has heard of payments, and the newest
//! checkpoint it saw. An order is here before it is sent and a note before it is submitted, so that a
//! crash leaves nothing unknown to itself.
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
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use quid_common::amount::Currency;
use quid_common::checkpoint::Checkpoint;
use quid_common::id::LedgerId;
use quid_common::name::Name;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, params};
use tokio::sync::{oneshot, watch};

use self::steps::{Answer, Job, Steps, patiently, work};
use crate::surroundings::Workers;

pub use error::JournalError;
pub(crate) use known::KnownEntry;
pub(crate) use notes::{Moved, NoteState, Noted};
pub(crate) use orders::{Inserted, NewOrder, OrderRow, OrderState};
pub(crate) use requests::{Purpose, RequestRow};
pub(crate) use tabs::{IncomingRow, NewTab, TabRow, TabState};

mod error;
mod file;
mod known;
mod notes;
mod orders;
mod requests;
mod steps;
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

    /// Runs one statement as a step of its own; true if it changed a row.
    async fn change(
        &self,
        sql: &'static str,
        values: impl Params + Send + 'static,
    ) -> Result<bool, JournalError> {
        self.step(move |connection| {
            let changed = connection.prepare_cached(sql)?.execute(values)?;
            Ok(changed == 1)
        })
        .await
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

/// Most steps waiting; callers in flight are bounded far below this.
const QUEUE_LEN_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
