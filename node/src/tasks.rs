//! A node's background tasks: all end together, and none may panic unseen.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The tasks of one node.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: Mutex<JoinSet<()>>,
    stop: CancellationToken,
    panicked: Mutex<Option<JoinError>>,
}

impl Tasks {
    /// Runs `task` until it ends or the node stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            self.look(ended);
        }
        set.spawn(async move {
            let _guard = StopOnPanic(stop.clone());
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Set once the node stops, and stays set.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Stops all tasks and waits for them.
    ///
    /// # Panics
    /// If a task did.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        let mut set = std::mem::take(&mut *self.set.lock().unwrap_or_else(PoisonError::into_inner));
        let all_ended = async {
            while let Some(ended) = set.join_next().await {
                self.look(ended);
            }
        };
        if timeout(CLOSE_WAIT, all_ended).await.is_err() {
            tracing::error!("a task did not end in time and is aborted");
            set.shutdown().await;
        }
        let panicked = self
            .panicked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(panicked) = panicked {
            resume_unwind(panicked.into_panic());
        }
    }

    fn look(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "a task panicked; the node has stopped");
            *self.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

/// A panic stops the whole node: what the task was doing is not known any more.
struct StopOnPanic(CancellationToken);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// How long tasks may take to end; they only have to reach their next await.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn closing_ends_every_task() {
        let tasks = Tasks::default();
        for _ in 0..10 {
            tasks.spawn(pending());
        }
        tasks.close().await;
        assert!(tasks.set.lock().expect("sound").is_empty());
    }

    #[tokio::test]
    #[should_panic(expected = "seen")]
    async fn a_panic_stops_the_others_and_surfaces() {
        let tasks = Tasks::default();
        tasks.spawn(async { panic!("seen") });
        tasks.spawn(pending());
        tasks.stop().cancelled().await;
        tasks.close().await;
    }
}
