//! What the home knows by itself, for when the directory cannot be asked.

use super::Node;
use crate::directory::RequestError;
use crate::history::HistoryItem;
use crate::known::{self, Known};
use crate::requests::RequestItem;

impl Node {
    /// The account as this home knows it by itself, without asking anybody: none before its first
    /// login. It is not how the account stands now: see [`Self::status`].
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn known(&self) -> Result<Option<Known>, RequestError> {
        Ok(known::account(&self.parts.home, &self.parts.trust).await?)
    }

    /// As [`Self::history`], as far as this home knows it by itself, without asking anybody: the
    /// entries that it holds the receipts of. Others may have moved money too.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn known_history(
        &self,
        limit: usize,
        after: Option<u64>,
    ) -> Result<Vec<HistoryItem>, RequestError> {
        Ok(known::history(&self.parts.home, limit, after).await?)
    }

    /// As [`Self::requests`], without asking anybody: of one that nobody is known to have paid it is
    /// unknown whether somebody has.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn known_requests(&self, limit: u32) -> Result<Vec<RequestItem>, RequestError> {
        let rows = self.parts.home.journal().requests(limit).await?;
        rows.into_iter().map(|row| self.item(row, None)).collect()
    }
}
