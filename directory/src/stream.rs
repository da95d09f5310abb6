//! Messages on one QUIC stream of a session: read with a deadline, written with a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quid_common::frame::{FrameError, FrameReader};
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::wire::{Message, MessageError};
use quinn::{RecvStream, SendStream};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use crate::sentry::{SLOW_AFTER, Sentry};

/// Longest time between a frame's first byte and its last.
pub const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Longest time that a peer may leave our bytes unread while we have more to write.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Longest time that a closing connection is kept open for its last message.
pub const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// The reading half of a stream of messages.
#[derive(Debug)]
pub struct Reader {
    stream: RecvStream,
    frames: FrameReader,
    /// When the message that is being read must be whole.
    due: Option<Instant>,
}

impl Reader {
    /// Reads messages whose bodies have at most `body_len_max` bytes.
    #[must_use]
    pub const fn new(stream: RecvStream, body_len_max: usize) -> Self {
        Self {
            stream,
            frames: FrameReader::new(body_len_max),
            due: None,
        }
    }

    /// The next message; `None` at the stream's orderly end. A stream may rest between two
    /// messages for as long as its connection lives, but not within one.
    ///
    /// # Errors
    /// [`ReadError`]; the stream is of no more use.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Message>, ReadError> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(Some(message));
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS_LEN];
            let read = self.stream.read_chunks(&mut chunks);
            let count = if self.frames.is_empty() {
                read.await
            } else {
                // One byte a second does not move the deadline.
                let due = *self
                    .due
                    .get_or_insert_with(|| Instant::now() + READ_DEADLINE);
                timeout_at(due, read)
                    .await
                    .map_err(|_| ReadError::Deadline)?
            };
            match count? {
                Some(count) => chunks
                    .iter()
                    .take(count)
                    .for_each(|chunk| self.frames.push(chunk)),
                None if self.frames.is_empty() => return Ok(None),
                None => return Err(ReadError::Truncated),
            }
        }
    }
}

impl Reader {
    /// The next message, if all of it is here already.
    ///
    /// # Errors
    /// [`ReadError`]; the stream is of no more use.
    pub fn ready(&mut self) -> Result<Option<Message>, ReadError> {
        let Some((kind, body)) = self.frames.next_borrowed()? else {
            return Ok(None);
        };
        self.due = None;
        Ok(Some(Message::read(kind, body)?))
    }
}

/// The writing half of a stream of messages. Gathers what is queued into one write.
#[derive(Debug)]
pub struct Writer {
    stream: SendStream,
    buffer: Vec<u8>,
    /// Whose place among the slow it takes while the peer does not read.
    account: Option<(PublicKey, Arc<Sentry>)>,
}

impl Writer {
    /// Writes messages to `stream`.
    #[must_use]
    pub const fn new(stream: SendStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            account: None,
        }
    }

    /// Writes messages of `account`'s, who may be slow as long as `sentry` has a place for that.
    #[must_use]
    pub const fn of(stream: SendStream, account: PublicKey, sentry: Arc<Sentry>) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            account: Some((account, sentry)),
        }
    }

    /// Adds a message to what the next [`Writer::flush`] sends.
    pub fn queue(&mut self, message: &Message) {
        message.write(&mut self.buffer);
    }

    /// Where the next [`Writer::flush`] finds what it sends, for whoever writes frames himself.
    pub const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// [`WriteError`]; the stream is of no more use.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the bytes may have left. Drop the stream then.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        // The deadline is for a piece, so that a slow link may take its time for a long list.
        for piece in self.buffer.chunks(PIECE_LEN) {
            let write = self.stream.write_all(piece);
            tokio::pin!(write);
            if let Ok(written) = timeout(SLOW_AFTER, &mut write).await {
                written?;
                continue;
            }
            // What a peer that does not read holds is bounded for all of them together.
            let _place = match &self.account {
                Some((account, sentry)) => Some(sentry.slow(*account).ok_or(WriteError::Deadline)?),
                None => None,
            };
            let left = WRITE_DEADLINE.saturating_sub(SLOW_AFTER);
            timeout(left, write)
                .await
                .map_err(|_| WriteError::Deadline)??;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Sends one last message and ends the stream.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn finish_with(mut self, message: &Message) -> Result<(), WriteError> {
        self.queue(message);
        self.flush().await?;
        // Fails only if we reset the stream ourselves, which nobody does.
        let _ = self.stream.finish();
        Ok(())
    }

    /// Sends one last message to a peer whose connection is about to be closed, and waits a moment
    /// for it to arrive: closing throws away what is on its way.
    pub async fn farewell(mut self, message: &Message) {
        self.queue(message);
        if self.flush().await.is_ok() {
            let _ = self.stream.finish();
            let _ = timeout(FAREWELL_DEADLINE, self.stream.stopped()).await;
        }
    }
}

/// Most bytes that one deadline is for.
const PIECE_LEN: usize = 32 * 1024;

/// Why no message came.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The peer's fault: a frame longer than allowed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer's fault: not a message of this version.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer's fault: a frame was begun and not finished in time.
    #[error("a message was begun and not finished within {} s", READ_DEADLINE.as_secs())]
    Deadline,
    /// The peer's fault: the stream ended inside a frame.
    #[error("the stream ended inside a message")]
    Truncated,
    /// The stream or its connection is gone.
    #[error(transparent)]
    Gone(#[from] quinn::ReadError),
}

/// Why a message could not be sent.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The peer does not read, or too many others do not.
    #[error("the peer left our messages unread")]
    Deadline,
    /// The stream or its connection is gone.
    #[error(transparent)]
    Gone(#[from] quinn::WriteError),
}

/// Most packets' contents taken from a stream at once: some 40 orders. Every stream has room for
/// so many.
const CHUNKS_LEN: usize = 8;

impl ReadError {
    /// The refusal that tells the peer what it did wrong, while there is a peer to tell.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Frame(_) => Some(Reason::TOO_LONG),
            Self::Message(error) => Some(error.reason()),
            Self::Truncated => Some(Reason::ENCODING),
            Self::Deadline | Self::Gone(_) => None,
        }
    }
}
