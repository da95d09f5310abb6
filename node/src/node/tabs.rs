//! What a node does with tabs, at either end.

use quid_common::id::OrderId;

use super::Node;
use crate::directory::RequestError;
use crate::pay::PayError;
use crate::tabs::{self, Asking, IncomingTab, Tab, TabItem, TabOpening, TabOutcome};

impl Node {
    /// Opens a tab: reserves the hold at the directory, and offers the tab to the payee as soon as
    /// that can be reached.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// Dropping this future may leave the tab open; [`Node::tabs`] tells.
    pub async fn open_tab(&self, wish: TabOpening) -> Result<TabOutcome, PayError> {
        self.parts.tabs.open(wish).await
    }

    /// A tab of this account that is open, to pay on it: also one that an earlier run opened.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn tab(&self, id: OrderId) -> Result<Tab, RequestError> {
        self.parts.tabs.tab(id).await
    }

    /// The next tab that pays this account and was not given out before, those included that an
    /// earlier run left open; `None` once the node is closed, and if it does not listen.
    ///
    /// A tab that nobody takes from here is paid and claimed all the same.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next_tab(&self) -> Option<IncomingTab> {
        let desk = self.parts.desk.as_ref()?;
        tokio::select! {
            tab = desk.next() => Some(tab),
            () = self.parts.tasks.stop().cancelled() => None,
        }
    }

    /// All open tabs of this account: those that it pays on, then those that pay it.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn tabs(&self) -> Result<Vec<TabItem>, RequestError> {
        Ok(tabs::list(
            &self.parts.tabs,
            self.parts.desk.as_ref(),
            Asking::Directory,
        )
        .await?)
    }

    /// As [`Node::tabs`], from what this node has at hand: the directory is not asked, so this costs
    /// little. What the account pays on has no [`TabItem::claimed`] then.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn tabs_at_hand(&self) -> Result<Vec<TabItem>, RequestError> {
        Ok(tabs::list(&self.parts.tabs, self.parts.desk.as_ref(), Asking::Nobody).await?)
    }

    /// The newest tabs that this account opened, newest first, `limit` at most, whatever became of
    /// them: as the journal has them, nobody is asked. One that never opened has a
    /// [`TabItem::reason`], and what is paid on an open one may be further than it says here.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn opened_tabs(&self, limit: u32) -> Result<Vec<TabItem>, RequestError> {
        Ok(tabs::newest(self.parts.home.journal(), limit).await?)
    }
}
