//! Numbered calls on one long-lived stream: many in flight, answers matched by number alone.
//!
//! The settle stream to the directory and the offers to a payee are such streams. When the stream
//! ends, for whatever reason, every call on it without an answer is *lost*: what became of it is
//! not known, and its owner must ask.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::wire::{CloseCode, Message};
use quinn::{Connection, RecvStream, SendStream};
use thiserror::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::sleep;
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
    /// How long calls gather, to leave together, while others before them have no answer; `None`
    /// sends each at once.
    pub(crate) gather: Option<Duration>,
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
                result = write_calls(Writer::new(send), first, calls, limits.gather, &waiting) => result,
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
    /// Calls that have left and have no answer.
    under_way: usize,
    /// Wakes the writer when there are none any more.
    all_answered: Arc<Notify>,
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
        lock(&self.waiting).pending.clear();
    }
}

async fn write_calls(
    mut writer: Writer,
    first: Option<Message>,
    mut calls: mpsc::Receiver<Call>,
    gather: Option<Duration>,
    waiting: &Mutex<Waiting>,
) -> Result<(), StreamError> {
    let all_answered = Arc::clone(&lock(waiting).all_answered);
    // At once, not with the first call: whoever accepts a stream waits only so long to hear what
    // it is for.
    if let Some(first) = first {
        writer.queue(&first);
        writer.flush().await?;
    }
    while let Some(call) = calls.recv().await {
        let under_way = lock(waiting).under_way;
        queue(&mut writer, call, waiting);
        if let Some(longest) = gather.filter(|_| under_way > 0) {
            let gathered = async {
                while writer.queued_len() < WRITE_LEN {
                    let Some(call) = calls.recv().await else {
                        break;
                    };
                    queue(&mut writer, call, waiting);
                }
            };
            // As Nagle's rule has it (RFC 896), but that answers take the place of
            // acknowledgements: the quicker they come, the less there is to gather.
            tokio::select! {
                () = gathered => {}
                () = all_answered.notified() => {}
                () = sleep(longest) => {}
            }
        }
        // One write for all that waits: quinn pays for each write, not for its bytes.
        while writer.queued_len() < WRITE_LEN {
            let Ok(call) = calls.try_recv() else { break };
            queue(&mut writer, call, waiting);
        }
        {
            let mut waiting = lock(waiting);
            waiting.under_way = waiting.pending.len();
        }
        writer.flush().await?;
    }
    Ok(())
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn queue(writer: &mut Writer, call: Call, waiting: &Mutex<Waiting>) {
    let mut waiting = lock(waiting);
    let number = waiting.next;
    waiting.next += 1;
    waiting.pending.insert(number, call.pending);
    writer.queue(&(call.question)(number));
}

async fn read_answers(mut reader: Reader, waiting: &Mutex<Waiting>) -> Result<(), StreamError> {
    while let Some(message) = reader.next().await? {
        let number = number_of(&message).ok_or(StreamError::Unasked)?;
        let mut waiting = lock(waiting);
        // An answer to nothing that was asked is a breach; one that nobody waits for is not.
        let pending = waiting.pending.remove(&number);
        let pending = pending.ok_or(StreamError::Unasked)?;
        waiting.under_way = waiting.under_way.saturating_sub(1);
        if waiting.under_way == 0 {
            waiting.all_answered.notify_waiters();
        }
        drop(waiting);
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use quid_common::frame::BODY_LEN_MAX_STRANGER;
    use quid_common::key::SecretKey;
    use quid_common::refusal::Reason;
    use quid_common::tls::TlsIdentity;
    use quid_common::wire::{Declined, Offer, OpenSettle};
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::quic::{Role, Socket};

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn calls_behind_one_without_an_answer_leave_together_once_it_has_one() {
        let (calls, mut payee, _open) = stream(Some(Duration::from_secs(3600))).await;
        let mut asking = JoinSet::new();
        ask(&mut asking, &calls, 1);
        assert_eq!(payee.came(1).await, [0]);
        ask(&mut asking, &calls, 5);
        let early = timeout(Duration::from_millis(50), payee.reader.next()).await;
        assert!(early.is_err(), "a call left alone: {early:?}");
        payee.decline(0).await;
        assert_eq!(payee.came(5).await, [1, 2, 3, 4, 5]);
        for number in 1..=5 {
            payee.decline(number).await;
        }
        while let Some(answered) = asking.join_next().await {
            answered.expect("no panic").expect("answered");
        }
        // With nothing under way, one leaves at once.
        ask(&mut asking, &calls, 1);
        assert_eq!(payee.came(1).await, [6]);
    }

    #[tokio::test]
    async fn one_that_is_never_answered_holds_up_no_other_for_long() {
        let (calls, mut payee, _open) = stream(Some(Duration::from_millis(20))).await;
        let mut asking = JoinSet::new();
        for number in 0..3 {
            ask(&mut asking, &calls, 1);
            assert_eq!(payee.came(1).await, [number]);
        }
    }

    #[tokio::test]
    async fn where_nothing_gathers_every_call_leaves_at_once() {
        let (calls, mut payee, _open) = stream(None).await;
        let mut asking = JoinSet::new();
        for number in 0..3 {
            ask(&mut asking, &calls, 1);
            assert_eq!(payee.came(1).await, [number]);
        }
    }

    struct Payee {
        reader: Reader,
        writer: Writer,
    }

    impl Payee {
        /// The numbers of the next calls.
        async fn came(&mut self, count: usize) -> Vec<u64> {
            let mut numbers = Vec::new();
            while numbers.len() < count {
                let next = timeout(SOON, self.reader.next()).await.expect("it comes");
                match next.expect("sound").expect("open") {
                    Message::Offer(offer) => numbers.push(offer.number),
                    other => panic!("{other:?}"),
                }
            }
            numbers
        }

        async fn decline(&mut self, number: u64) {
            let reason = Reason::BUSY;
            self.writer.queue(&Declined { number, reason }.into());
            self.writer.flush().await.expect("open");
        }
    }

    fn ask(asking: &mut JoinSet<Result<Message, Lost>>, calls: &Calls, count: usize) {
        for _ in 0..count {
            let calls = calls.clone();
            asking.spawn(async move {
                let offer = |number| Offer {
                    number,
                    order: Vec::new().into(),
                    checkpoint: None,
                };
                calls.ask(move |number| offer(number).into()).await
            });
        }
    }

    /// A stream of calls between two sockets, and what must be kept for it to stay open.
    async fn stream(gather: Option<Duration>) -> (Calls, Payee, impl Sized) {
        let socket = |seed| {
            let key = SecretKey::from_seed(&[seed; 32]);
            let identity = TlsIdentity::new(&key.seed()).expect("a key");
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = Socket::bind(any, identity, true).expect("bound");
            (key.public(), socket)
        };
        let ((_, payer), (key, payee)) = (socket(1), socket(2));
        let place = payee.endpoint().local_addr().expect("bound");
        let accept = async {
            let incoming = payee.endpoint().accept().await.expect("open");
            incoming.await.expect("a payer")
        };
        let call = payer.call(place, key, Role::Payee, SOON);
        let (accepted, called) = tokio::join!(accept, call);
        let called = called.expect("it listens");
        let limits = Limits {
            in_flight: 64,
            answer_len_max: BODY_LEN_MAX_STRANGER,
            gather,
        };
        let streams = called.open_bi().await.expect("room");
        // The other side hears of a stream with its first message.
        let first = Some(OpenSettle {}.into());
        let (calls, work) = Calls::new(called, streams, first, limits);
        let mut working = JoinSet::new();
        working.spawn(work);
        let (send, receive) = accepted.accept_bi().await.expect("a stream");
        let mut reader = Reader::new(receive, BODY_LEN_MAX_STRANGER);
        reader.next().await.expect("sound").expect("open");
        let writer = Writer::new(send);
        (
            calls,
            Payee { reader, writer },
            (accepted, payer, payee, working),
        )
    }
}
