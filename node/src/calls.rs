//! Numbered calls on one long-lived stream: many in flight, answers matched by number alone.
//!
//! The settle stream to the directory and the offers to a payee are such streams. When the stream
//! ends, for whatever reason, every call on it without an answer is *lost*: what became of it is
//! not known, and its owner must ask.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use quid_common::wire::{CloseCode, Message};
use quinn::{Connection, RecvStream, SendStream};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::quic::close_code;
use crate::stream::{Reader, StreamError, Writer};

/// A handle on such a stream. The stream ends with [`Calls::end`] or its connection.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    queue: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
    ended: CancellationToken,
}

/// What bounds a stream of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most calls that wait for answers at once.
    pub(crate) in_flight: u16,
    /// Longest answer's body, in bytes.
    pub(crate) answer_len_max: usize,
}

/// No answer came: what the call asked for may have happened or not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the connection was lost before the answer came")]
pub(crate) struct Lost;

impl Calls {
    /// Makes a stream for calls: the handle, and the work that must run for it.
    ///
    /// `first` is sent before the first call.
    pub(crate) fn new(
        connection: Connection,
        (send, receive): (SendStream, RecvStream),
        first: Option<Message>,
        limits: Limits,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let in_flight = usize::from(limits.in_flight);
        let (queue, calls) = mpsc::channel(in_flight.max(1));
        let room = Arc::new(Semaphore::new(in_flight));
        let ended = CancellationToken::new();
        let handle = Self {
            queue,
            room: Arc::clone(&room),
            ended: ended.clone(),
        };
        let work = async move {
            let waiting = Arc::new(Mutex::new(Waiting::default()));
            let _end = EndOnDrop {
                ended: ended.clone(),
                room,
                waiting: Arc::clone(&waiting),
            };
            let result = tokio::select! {
                result = write_calls(Writer::new(send), first, calls, &waiting) => result,
                result = read_answers(Reader::new(receive, limits.answer_len_max), &waiting) => result,
                () = ended.cancelled() => Ok(()),
            };
            if let Err(error) = result
                && error.is_breach()
            {
                tracing::warn!(%error, "closed a connection whose other side broke the protocol");
                connection.close(close_code(CloseCode::PROTOCOL), b"");
            }
        };
        (handle, work)
    }

    /// Sends the message that `question` makes of the call's number, and gives the answer.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer; the question may have been taken.
    pub(crate) async fn ask(
        &self,
        question: impl FnOnce(u64) -> Message + Send + 'static,
    ) -> Result<Message, Lost> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| Lost)?;
        let (answer, answered) = oneshot::channel();
        let call = Call {
            question: Box::new(question),
            pending: Pending {
                answer,
                _room: room,
            },
        };
        self.queue.send(call).await.map_err(|_| Lost)?;
        answered.await.map_err(|_| Lost)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.ended.is_cancelled()
    }

    /// Ends the stream: calls without an answer are lost.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

struct Call {
    question: Box<dyn FnOnce(u64) -> Message + Send>,
    pending: Pending,
}

/// A call without an answer so far, and its place among those in flight.
#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Message>,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Waiting {
    pending: HashMap<u64, Pending>,
    next: u64,
}

/// However the work ends, nobody waits for ever.
struct EndOnDrop {
    ended: CancellationToken,
    room: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.ended.cancel();
        self.room.close();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pending
            .clear();
    }
}

async fn write_calls(
    mut writer: Writer,
    first: Option<Message>,
    mut calls: mpsc::Receiver<Call>,
    waiting: &Mutex<Waiting>,
) -> Result<(), StreamError> {
    // At once, not with the first call: whoever accepts a stream waits only so long to hear what
    // it is for.
    if let Some(first) = first {
        writer.queue(&first);
        writer.flush().await?;
    }
    while let Some(call) = calls.recv().await {
        queue(&mut writer, call, waiting);
        // One write for all that waits: quinn pays for each write, not for its bytes.
        while writer.queued_len() < WRITE_LEN {
            let Ok(call) = calls.try_recv() else { break };
            queue(&mut writer, call, waiting);
        }
        writer.flush().await?;
    }
    Ok(())
}

fn queue(writer: &mut Writer, call: Call, waiting: &Mutex<Waiting>) {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let number = waiting.next;
    waiting.next += 1;
    waiting.pending.insert(number, call.pending);
    writer.queue(&(call.question)(number));
}

async fn read_answers(mut reader: Reader, waiting: &Mutex<Waiting>) -> Result<(), StreamError> {
    while let Some(message) = reader.next().await? {
        let number = number_of(&message).ok_or(StreamError::Unasked)?;
        let pending = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pending
            .remove(&number);
        // An answer to nothing that was asked is a breach; one that nobody waits for is not.
        let pending = pending.ok_or(StreamError::Unasked)?;
        let _ = pending.answer.send(message);
    }
    Ok(())
}

const fn number_of(message: &Message) -> Option<u64> {
    Some(match message {
        Message::Settled(answer) => answer.number,
        Message::Voided(answer) => answer.number,
        Message::SubmitRefused(answer) => answer.number,
        Message::Paid(answer) => answer.number,
        Message::Declined(answer) => answer.number,
        _ => return None,
    })
}

/// Bytes after which a write leaves even if more calls wait.
const WRITE_LEN: usize = 32 * 1024;
