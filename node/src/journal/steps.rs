//! Steps of the journal: whatever is queued is one transaction, and each step in it whole or undone.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::watch;

use super::JournalError;

/// Takes the connection, or the reason why there is none; gives the step's error, if it failed, and
/// what to do after the commit.
pub(super) type Job =
    Box<dyn FnOnce(Result<&Connection, &JournalError>) -> (Option<JournalError>, Answer) + Send>;
pub(super) type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// The journal's thread: takes steps until the last handle is gone.
pub(super) fn work(mut steps: Steps, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let jobs = std::iter::once(first)
            .chain(queue.try_iter().take(BATCH_LEN_MAX - 1))
            .collect();
        steps.take(jobs);
    }
}

/// The connection, and whether it may still be used.
pub(super) struct Steps {
    pub(super) connection: Connection,
    /// After a failed write or sync the file's true content is not known to this process any more.
    pub(super) failed: Option<JournalError>,
    /// Where the first failure is told, that of a full disk too.
    pub(super) told: watch::Sender<Option<JournalError>>,
}

impl Steps {
    pub(super) fn take(&mut self, jobs: Vec<Job>) {
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
pub(super) fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
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

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// How long a transaction waits for another process's.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before the next try, where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Most steps in one transaction, so that the first of them does not wait long for the last.
const BATCH_LEN_MAX: usize = 512;
