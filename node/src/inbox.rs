//! Hearing of money: payments since this home last heard of any, then each as it settles.

use std::sync::Arc;

use quid_common::frame::BODY_LEN_MAX;
use quid_common::printable::Printable;
use quid_common::wire::{self, Message, Subscribe};
use thiserror::Error;

use crate::backoff::Backoff;
use crate::books::{Books, Movement};
use crate::directory::{Directory, Link};
use crate::heads::Source;
use crate::journal::JournalError;
use crate::stream::{Reader, StreamError, Writer};

/// Most movements written down in one step.
const BATCH_LEN_MAX: usize = 64;

/// Follows the directory's events for as long as there are sessions.
pub(crate) async fn follow(directory: Arc<Directory>, books: Books) {
    let mut backoff = books.home.backoff();
    while let Some(link) = directory.any_link().await {
        match subscription(&link, &books, &mut backoff).await {
            Ok(()) => tracing::debug!("the directory ended the event stream; subscribing again"),
            Err(error) => tracing::debug!(%error, "the event stream ended; subscribing again"),
        }
        backoff.wait().await;
    }
}

async fn subscription(link: &Link, books: &Books, backoff: &mut Backoff) -> Result<(), InboxError> {
    // Without a mark this home has never heard of any payment: it is told of all.
    let after = books.home.journal().watermark().await?.unwrap_or(0);
    let (send, receive) = link.connection.open_bi().await.map_err(StreamError::from)?;
    let (mut writer, mut reader) = (Writer::new(send), Reader::new(receive, BODY_LEN_MAX));
    writer.queue(
        &Subscribe {
            after: Some(after),
            presence: false,
        }
        .into(),
    );
    writer.flush().await?;
    let mut movements = Vec::new();
    loop {
        let Some(mut message) = reader.next().await? else {
            return Ok(());
        };
        // What came together is written down together.
        let told = loop {
            match message {
                Message::Moved(moved) => movements.extend(movement(moved, books)),
                other => break Some(other),
            }
            if movements.len() >= BATCH_LEN_MAX {
                break None;
            }
            match reader.ready()? {
                Some(next) => message = next,
                None => break None,
            }
        };
        if !movements.is_empty() {
            books.moved(std::mem::take(&mut movements), true).await?;
        }
        match told {
            None => {}
            Some(Message::CaughtUp(caught_up)) => {
                backoff.reset();
                if let Some(last) = caught_up.entries.checked_sub(1) {
                    books.home.journal().advance_watermark(last).await?;
                }
            }
            Some(Message::Lagged(_)) => return Ok(()),
            Some(Message::Refused(refused)) => return Err(InboxError::Refused(refused.reason)),
            // Presence was not asked for, but does no harm.
            Some(Message::Online(_) | Message::Offline(_)) => {}
            Some(other) => return Err(InboxError::Kind(other.kind())),
        }
    }
}

/// The movement, if its receipt proves one.
fn movement(moved: wire::Moved, books: &Books) -> Option<Movement> {
    let wire::Moved {
        receipt,
        counterparty,
    } = moved;
    match books.trust.prove(&receipt, Source::Directory) {
        Ok(proven) => Some(Movement {
            receipt,
            proven,
            counterparty,
        }),
        Err(error) => {
            tracing::error!(
                entry = receipt.index, counterparty = %Printable(counterparty.as_str()), %error,
                "the directory told of money without proof"
            );
            None
        }
    }
}

#[derive(Debug, Error)]
enum InboxError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("refused: {0}")]
    Refused(quid_common::refusal::Reason),
    #[error("message of kind {0} on an event stream")]
    Kind(u16),
}
