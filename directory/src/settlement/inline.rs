//! The settlement without threads: whoever holds it drives it, on its own thread and in its own time.
//! Batches are taken, checked and committed by the same code.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::hashing::Lines;
use super::queue::Queue;
use super::{CommitError, Committer, Entrance, Settlements, check, hashing};
use crate::books::Books;
use crate::events::Hub;

/// A settlement that works when it is told to.
#[derive(Debug)]
pub struct Inline {
    queue: Arc<Queue>,
    lines: Arc<Lines>,
    committer: Committer,
}

/// The settlement over `books`, to be driven by [`Inline::step`]; `hub` hears of every movement of
/// money.
#[must_use]
pub fn start_inline(books: Books, hub: Arc<Hub>) -> (Settlements, Inline) {
    let committer = Committer::new(books, hub);
    let (durable, due) = (Arc::clone(&committer.durable), committer.due());
    let counts = committer.counts.clone();
    let (queue, lines) = (Arc::new(Queue::default()), Arc::new(Lines::default()));
    let entrance = Arc::new(Entrance {
        queue: Arc::clone(&queue),
        lines: Arc::clone(&lines),
    });
    let settlements = Settlements {
        entrance,
        durable,
        due,
        counts,
    };
    let inline = Inline {
        queue,
        lines,
        committer,
    };
    (settlements, inline)
}

impl Inline {
    /// Waits until a step may be worth it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn due(&mut self) {
        let rest = if self.lines.any_waits() {
            LINES_LOOK
        } else {
            QUEUE_LOOK
        };
        // What comes into the lines wakes nobody here.
        let _ = timeout(rest, self.queue.due()).await;
    }

    /// Hashes one claim that waits and settles one batch; whether there was anything to do.
    ///
    /// # Errors
    /// [`CommitError`]: leave, with nobody answered.
    pub fn step(&mut self) -> Result<bool, CommitError> {
        let hashed = hashing::step(&self.lines, &self.queue);
        let Some(batch) = self.queue.take_now() else {
            return Ok(hashed);
        };
        let checked = check::check_batch(&self.queue, batch);
        let conduct = self.committer.try_commit(checked)?;
        self.queue.learn(conduct);
        self.queue.done();
        Ok(true)
    }

    /// The committer, once nobody can ask any more and [`Inline::step`] has nothing to do.
    #[must_use]
    pub fn into_committer(self) -> Committer {
        self.committer
    }
}

/// How long until the next look for claims, while some wait for their turn.
const LINES_LOOK: Duration = Duration::from_millis(50);

/// The same while none does.
const QUEUE_LOOK: Duration = Duration::from_millis(200);
