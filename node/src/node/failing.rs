//! A node whose journal has failed.

use std::sync::Arc;

use quid_common::wire::CloseCode;
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::home::Home;
use crate::journal::JournalError;
use crate::quic::{Socket, close_code};

impl Node {
    /// Waits until the home's journal could not be written, and says why. This node can then
    /// neither pay nor be paid any more, and one that listens has ended: see to the disk, then start
    /// another, which asks what became of everything that was under way.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn failed(&self) -> JournalError {
        self.parts.home.journal().failed().await
    }
}

/// Ends a node that listens once its journal has failed: nobody is answered from then on, and
/// payers find that it is away.
pub(super) async fn end_with_journal(home: Arc<Home>, socket: Socket, stop: CancellationToken) {
    home.journal().failed().await;
    socket.endpoint().close(close_code(CloseCode::BYE), b"");
    stop.cancel();
}
