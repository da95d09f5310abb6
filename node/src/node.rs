//! The node: a handle on one socket, one session and the tasks between them.
//!
//! Here is what all nodes do with payments; the rest of the handle's methods stand by their subject:
//!
//! | part | has |
//! |---|---|
//! | `options` | what an application chooses |
//! | `start` | how the parts are put together, and their tasks |
//! | `account` | registering, logging in, balance, keys |
//! | `known` | what the home knows by itself |
//! | `people` | who is online |
//! | `receipts` | what proves an entry |
//! | `requests` | asking for money, answering, refunding, paying once |
//! | `tabs` | both ends of tabs |
//! | `failing` | a node whose journal has failed |

use std::sync::Arc;
use std::time::Duration;

use quid_common::id::{OrderId, Reference};
use quid_common::time::LedgerTime;
use quid_common::wire::CloseCode;
use tokio::time::timeout;

use crate::books::Books;
use crate::clock::LedgerClock;
use crate::directory::{Directory, RequestError};
use crate::events::{Events, Hub};
use crate::history::{self, HistoryItem, SentItem};
use crate::home::{Home, RunningMark};
use crate::journal::JournalError;
use crate::pay::{Outcome, PayError, Payer, Payment, Resolved};
use crate::quic::{Socket, close_code};
use crate::resolve::Resolver;
use crate::tabs::{Desk, Tabs, claim_all};
use crate::tasks::Tasks;
use crate::trust::Trust;
use crate::void::{self, VoidOutcome};

mod account;
mod failing;
mod intents;
mod known;
mod options;
mod people;
mod receipts;
mod requests;
mod start;
mod tabs;

pub use account::{Registered, Status};
pub use options::{Accept, Decision, Options};
pub use receipts::ReceiptId;
pub use start::StartError;

/// A running node. Clones are handles on the same one; with [`Node::close`], or with the last
/// handle, it ends.
#[derive(Clone, Debug)]
pub struct Node {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    home: Arc<Home>,
    socket: Socket,
    tasks: Arc<Tasks>,
    hub: Arc<Hub>,
    trust: Arc<Trust>,
    clock: Arc<LedgerClock>,
    directory: Arc<Directory>,
    books: Books,
    payer: Arc<Payer>,
    tabs: Arc<Tabs>,
    /// Where tabs pay this account, if it listens.
    desk: Option<Arc<Desk>>,
    resolver: Arc<Resolver>,
    /// Shows other processes that the orders this one owns are being followed.
    _mark: RunningMark,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.tasks.stop().cancel();
        self.socket
            .endpoint()
            .close(close_code(CloseCode::BYE), b"");
    }
}

impl Node {
    /// The home that this node runs on.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.parts.home
    }

    /// What the directory does not show of its log, or says that it lacks, for people; as far as
    /// this node has met it.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        self.parts.trust.doubt()
    }

    /// Waits until the directory has shown that its log goes on from all that this node knows of
    /// it, or has shown that it does not; a second at most. A node that stays need not call it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn compare(&self) {
        let _ = timeout(COMPARE_WAIT, self.parts.trust.compared()).await;
    }

    /// The ledger's time now, as the directory last said it: against the system's it shows which of
    /// the two clocks is off. None before the first login.
    #[must_use]
    pub fn ledger_time(&self) -> Option<LedgerTime> {
        self.parts.clock.now()
    }

    /// Pays, and waits for the end as long as the payment says.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// Dropping this future may leave the order settled; the node follows it to its end and the
    /// journal remembers it.
    pub async fn pay(&self, payment: Payment) -> Result<Outcome, PayError> {
        self.parts.payer.pay(payment).await
    }

    /// The newest payments that this home has sent, whatever became of them: `limit` at most, newest
    /// first, read from the journal alone.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sent(&self, limit: u32) -> Result<Vec<SentItem>, RequestError> {
        let rows = self.parts.home.journal().newest_orders(limit).await?;
        Ok(rows.iter().map(history::sent).collect())
    }

    /// Voids an order of this account that has not settled. Waits 10 s at most.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropping this future may leave the order voided; ask again.
    pub async fn void(&self, order: OrderId) -> Result<VoidOutcome, RequestError> {
        void::void(&self.parts.resolver, order).await
    }

    /// The account's history, newest first: orders of this home of unknown end, then at most
    /// `limit` entries, all above `after`.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn history(
        &self,
        limit: usize,
        after: Option<u64>,
    ) -> Result<Vec<HistoryItem>, RequestError> {
        history::history(&self.parts.directory, limit, after).await
    }

    /// Issues a reference that one payment to this home can carry, so that the payment can be told
    /// from all others. Blocks for one write to the disk.
    ///
    /// # Errors
    /// [`JournalError`]: no reference was issued.
    pub fn new_reference(&self) -> Result<Reference, JournalError> {
        let mut reference = Reference([0; 16]);
        let random = &self.parts.home.surroundings().random;
        random
            .fill(&mut reference.0)
            .map_err(|error| JournalError::Failed(error.to_string()))?;
        self.parts.home.journal().issue_reference(reference)?;
        Ok(reference)
    }

    /// This node's events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.parts.hub.events()
    }

    /// Asks about every order that the journal holds open and nobody else follows; tells what is
    /// known of each after 5 s at most.
    ///
    /// # Cancel safety
    /// Safe: asking goes on by itself.
    pub async fn resolve(&self) -> Vec<Resolved> {
        self.parts.resolver.resolve().await
    }

    /// Claims what tabs have paid (2 s at most), ends all tasks, tells peers and directory, and
    /// waits until that is said (a second at most).
    ///
    /// # Panics
    /// If one of the node's tasks did.
    pub async fn close(self) {
        self.parts.tabs.stop().await;
        if let Some(desk) = &self.parts.desk {
            claim_all(desk).await;
        }
        self.parts
            .socket
            .endpoint()
            .close(close_code(CloseCode::BYE), b"");
        self.parts.tasks.close().await;
        self.parts.socket.close(CLOSE_WAIT).await;
    }
}

/// How long [`Node::compare`] waits.
const COMPARE_WAIT: Duration = Duration::from_secs(1);

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
