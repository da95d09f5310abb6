//! The seller's side: which tab pays for a data connection, and when what it asked for is paid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::id::OrderId;
use quid_node::{IncomingTab, Node, TabOver};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The tabs that pay a node, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Till {
    open: Arc<Mutex<HashMap<OrderId, IncomingTab>>>,
    came: Arc<Notify>,
}

impl Till {
    /// Takes the node's tabs until it is closed, each for as long as it is open.
    pub async fn fill(self, node: Node) {
        while let Some(tab) = node.next_tab().await {
            let id = tab.id();
            // An id is its payer's choice: a second payer with the same one does not push the
            // first aside.
            self.lock().entry(id).or_insert_with(|| tab.clone());
            self.came.notify_waiters();
            let open = Arc::clone(&self.open);
            tokio::spawn(async move {
                tab.over().await;
                open.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
            });
        }
    }

    /// The tab by this id; it may come a little later than the connection that names it. `None` if
    /// it does not come.
    pub async fn find(&self, id: OrderId) -> Option<IncomingTab> {
        let found = async {
            loop {
                let came = self.came.notified();
                if let Some(tab) = self.lock().get(&id) {
                    return tab.clone();
                }
                came.await;
            }
        };
        timeout(TAB_WAIT, found).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, IncomingTab>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a tab with so large a window pays for `total` units in all, of which some may have
/// been charged before: by a connection that was lost before it could hand them over.
///
/// # Errors
/// [`TabOver`]: hand over nothing more.
pub async fn charge_to(tab: &IncomingTab, total: u32, window: u32) -> Result<(), TabOver> {
    match total.saturating_sub(tab.owed()) {
        0 => tab.wait_paid(total.saturating_sub(window)).await,
        more => tab.charge(more).await,
    }
}

/// Waits for whatever a person or a supervisor ends a program with.
///
/// # Errors
/// The system gives no signals.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// How long a tab may be on its way.
const TAB_WAIT: Duration = Duration::from_secs(10);
