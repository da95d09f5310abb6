//! Asking the directory whether the log heads that this node meets are all of one log.
//!
//! One question at a time, and few: nobody waits for the answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quid_common::refusal::Reason;
use quid_common::wire::{AskConsistency, AskHistory, Message, Prove};
use tokio::time::{Instant, sleep, timeout};

use crate::books::Books;
use crate::directory::{Directory, RequestError};
use crate::events::Event;
use crate::heads::{Finding, Question, Source};

/// Time between two questions in the long run, so that a busy node adds little to the directory's
/// work.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the questions may run ahead of that: a command that ends at once need not wait.
const RUN_AHEAD: Duration = Duration::from_secs(1);

/// Pause after an answer that showed nothing.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(1);

/// How often it is looked whether there is something to ask or another process has found a fork.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Compares heads until the directory is found to have two histories, or the node stops.
pub(crate) async fn follow(directory: Arc<Directory>, books: Books) {
    let mut pace = Pace(Instant::now());
    loop {
        books.trust.look_for_fork();
        if let Some(file) = books.trust.fork() {
            return forked(file.to_owned(), &books).await;
        }
        let Some(question) = books.trust.question() else {
            let _ = timeout(LOOK_EVERY, books.trust.wake.notified()).await;
            continue;
        };
        if directory.any_link().await.is_none() {
            return;
        }
        pace.turn().await;
        let shown = match ask(&directory, &question).await {
            Answer::Shown(root, proof) => {
                judge(&directory, &books, &question, Some((root, proof))).await
            }
            Answer::Refused => judge(&directory, &books, &question, None).await,
            Answer::None => false,
        };
        if !shown {
            sleep(PAUSE_IN_DOUBT).await;
        }
    }
}

/// When the next question is due.
struct Pace(Instant);

impl Pace {
    async fn turn(&mut self) {
        let now = Instant::now();
        self.0 = self.0.max(now) + PAUSE;
        if let Some(ahead) = self.0.duration_since(now).checked_sub(RUN_AHEAD) {
            sleep(ahead).await;
        }
    }
}

/// Notes and tells that the directory has two histories.
async fn forked(file: PathBuf, books: &Books) {
    if let Err(error) = books.home.journal().mark_forked().await {
        tracing::error!(%error, "cannot note that there are two histories");
    }
    books.hub.tell(Event::Forked { file });
}

/// What came of a question.
enum Answer {
    Shown([u8; 32], Vec<u8>),
    /// It was refused, or answered with nonsense.
    Refused,
    /// The directory cannot be reached, or is busy: that says nothing.
    None,
}

async fn ask(directory: &Directory, question: &Question) -> Answer {
    let ask = AskConsistency {
        from: question.older.head.size,
        to: question.newer.head.size,
    };
    match directory.ask(ask).await {
        Ok(Message::Consistency(shown)) => Answer::Shown(shown.root.0, shown.proof.into_vec()),
        Ok(_) | Err(RequestError::Protocol(_)) => Answer::Refused,
        Err(RequestError::Refused(Reason::BUSY | Reason::STOPPING)) => Answer::None,
        Err(RequestError::Refused(_)) => Answer::Refused,
        Err(
            RequestError::Unreachable(_) | RequestError::NotRegistered | RequestError::Local(_),
        ) => Answer::None,
    }
}

/// What follows from an answer; whether it showed anything.
async fn judge(
    directory: &Directory,
    books: &Books,
    question: &Question,
    answer: Option<([u8; 32], Vec<u8>)>,
) -> bool {
    match books.trust.answered(question, answer) {
        Finding::Fits => {
            keep(books).await;
            true
        }
        Finding::Forked(_) => true,
        Finding::Nothing { stale, doubted } => {
            if stale {
                refresh(directory, books).await;
            }
            if let Some(reason) = books.trust.doubt().filter(|_| doubted) {
                tracing::warn!(%reason, "the directory's log is in doubt");
                books.hub.tell(Event::Doubted { reason });
            }
            false
        }
    }
}

/// Keeps the newest head that fits all before it, if the journal does not have it yet.
async fn keep(books: &Books) {
    if let Some(base) = books.trust.unkept()
        && let Err(error) = books
            .home
            .journal()
            .keep_base(base.head.size, base.checkpoint)
            .await
    {
        tracing::error!(%error, "cannot keep a checkpoint");
    }
}

/// Gets the directory's newest head, by way of the newest entry about this account.
async fn refresh(directory: &Directory, books: &Books) {
    let newest = AskHistory {
        before: None,
        after: None,
        limit: 1,
    };
    let entry = match directory.ask(newest).await {
        Ok(Message::HistoryPage(page)) => page.lines.first().map(|line| line.entry),
        Ok(_) | Err(_) => None,
    };
    let Some(entry) = entry else { return };
    if let Ok(Message::Proof(proof)) = directory.ask(Prove { entry }).await
        && let Err(error) = books.trust.prove(&proof.receipt, Source::Directory)
    {
        tracing::error!(%error, entry, "the directory proved an entry with nothing");
    }
}

/// What people are told for whom nothing is paid or accepted any more.
pub(crate) fn stopped(file: &Path) -> String {
    format!(
        "the directory has signed two histories; the proof is in {}; nothing is paid or accepted \
         until you have settled that with its operator and moved the file away; this home then \
         trusts the directory afresh",
        file.display()
    )
}
