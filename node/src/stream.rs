//! Messages on one QUIC stream: each read and written with a deadline, many in one write.

use std::time::Duration;

use bytes::Bytes;
use quid_common::chain::LinkError;
use quid_common::frame::{BODY_LEN_MAX, FrameError, FrameReader};
use quid_common::wire::{Message, MessageError, Paid, Run, TabPay, TabPayRef};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use crate::quic::ending;

/// Longest time between a frame's first byte and its last.
const FRAME_DEADLINE: Duration = Duration::from_secs(5);

/// Longest time that the other side may leave our bytes unread while we have more to write.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Most packets' contents taken from a stream at once.
const CHUNKS_LEN: usize = 32;

/// Asks one question on a stream of its own and gives the answer.
///
/// # Cancel safety
/// Dropping the future abandons the answer; the question may have been taken.
pub(crate) async fn ask(
    connection: &Connection,
    question: &Message,
    deadline: Instant,
) -> Result<Message, StreamError> {
    let exchange = async {
        let (send, receive) = connection.open_bi().await?;
        let mut writer = Writer::new(send);
        writer.queue(question);
        writer.flush().await?;
        writer.finish();
        let answer = Reader::new(receive, BODY_LEN_MAX).next().await?;
        answer.ok_or(StreamError::Truncated)
    };
    timeout_at(deadline, exchange)
        .await
        .map_err(|_| StreamError::Deadline)?
}

/// The reading half.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: RecvStream,
    frames: FrameReader,
    run: Run,
    /// When the frame that is being read must be whole.
    due: Option<Instant>,
}

impl Reader {
    /// Reads messages whose bodies have at most `body_len_max` bytes.
    pub(crate) const fn new(stream: RecvStream, body_len_max: usize) -> Self {
        Self {
            stream,
            frames: FrameReader::new(body_len_max),
            run: Run::new(),
            due: None,
        }
    }

    /// The next message; `None` at the stream's orderly end. A stream may rest between two
    /// messages for as long as its connection lives, but not within one.
    ///
    /// # Cancel safety
    /// Safe: what was read stays for the next call.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, StreamError> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(Some(message));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; false at the stream's orderly end.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn fill(&mut self) -> Result<bool, StreamError> {
        let mut chunks = [const { Bytes::new() }; CHUNKS_LEN];
        let read = self.stream.read_chunks(&mut chunks);
        let count = if self.frames.is_empty() {
            read.await
        } else {
            // A byte now and then does not move the deadline.
            let due = *self
                .due
                .get_or_insert_with(|| Instant::now() + FRAME_DEADLINE);
            timeout_at(due, read)
                .await
                .map_err(|_| StreamError::Deadline)?
        };
        match count? {
            Some(count) => {
                let chunks = chunks.iter().take(count);
                chunks.for_each(|chunk| self.frames.push(chunk));
                Ok(true)
            }
            None if self.frames.is_empty() => Ok(false),
            None => Err(StreamError::Truncated),
        }
    }

    /// The next message if all of it is here already.
    pub(crate) fn ready(&mut self) -> Result<Option<Message>, StreamError> {
        let Some((kind, body)) = self.frames.next_borrowed()? else {
            return Ok(None);
        };
        self.due = None;
        Ok(Some(self.run.read(Message::read(kind, body)?)?))
    }

    /// Like [`Self::ready`], on a tab stream: payments are not copied.
    pub(crate) fn ready_on_tabs(&mut self) -> Result<Option<OnTabs<'_>>, StreamError> {
        let Some((kind, body)) = self.frames.next_borrowed()? else {
            return Ok(None);
        };
        self.due = None;
        Ok(Some(if kind == TabPay::KIND {
            OnTabs::Pay(TabPayRef::read(body).map_err(MessageError::from)?)
        } else {
            OnTabs::Other(Message::read(kind, body)?)
        }))
    }
}

/// A message on a tab stream.
#[derive(Debug)]
pub(crate) enum OnTabs<'a> {
    Pay(TabPayRef<'a>),
    Other(Message),
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: SendStream,
    buffer: Vec<u8>,
    run: Run,
}

impl Writer {
    pub(crate) const fn new(stream: SendStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            run: Run::new(),
        }
    }

    /// Adds a message to what the next [`Writer::flush`] sends.
    pub(crate) fn queue(&mut self, message: &Message) {
        match message {
            Message::Paid(Paid { number, receipt }) => {
                self.run
                    .write_paid(*number, receipt.borrow(), &mut self.buffer);
            }
            other => other.write(&mut self.buffer),
        }
    }

    /// Adds payments on a tab.
    pub(crate) fn queue_pay(&mut self, pay: TabPayRef<'_>) {
        pay.write(&mut self.buffer);
    }

    /// Bytes queued.
    pub(crate) const fn queued_len(&self) -> usize {
        self.buffer.len()
    }

    /// Sends what is queued.
    ///
    /// # Cancel safety
    /// Not safe: part may have left. Drop the stream then.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        timeout(WRITE_DEADLINE, self.stream.write_all(&self.buffer))
            .await
            .map_err(|_| StreamError::Deadline)??;
        self.buffer.clear();
        Ok(())
    }

    /// Says that nothing follows.
    pub(crate) fn finish(&mut self) {
        // Fails only on a stream that is gone, which the reading half notices.
        let _ = self.stream.finish();
    }
}

/// Why a stream is of no more use.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    /// The other side's fault: a frame longer than allowed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side's fault: not a message of this version.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The other side's fault: the stream ended inside a message or instead of one.
    #[error("the stream ended too early")]
    Truncated,
    /// The other side's fault: an answer to nothing that was asked.
    #[error("an answer came to nothing that was asked")]
    Unasked,
    /// The other side's fault: links that do not prove what they pay.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// No answer, or no room for our bytes, in time.
    #[error("no answer in time")]
    Deadline,
    /// The stream was given up by the other side.
    #[error("the stream was given up (code {0})")]
    GivenUp(VarInt),
    /// The connection is gone.
    #[error("{}", ending(.0))]
    Gone(#[from] quinn::ConnectionError),
    /// We ended the stream ourselves.
    #[error("the stream is closed")]
    Closed,
}

impl StreamError {
    /// Whether the other side broke the protocol, rather than being slow or gone.
    pub(crate) const fn is_breach(&self) -> bool {
        matches!(
            self,
            Self::Frame(_) | Self::Message(_) | Self::Truncated | Self::Unasked | Self::Links(_)
        )
    }
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::GivenUp(code),
            quinn::ReadError::ConnectionLost(error) => Self::Gone(error),
            _ => Self::Closed,
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::GivenUp(code),
            quinn::WriteError::ConnectionLost(error) => Self::Gone(error),
            _ => Self::Closed,
        }
    }
}
