//! Streams between two nodes: one from payer to payee carries all offers, answers come back on it.
//!
//! A payer keeps the connection to a payee while it pays now and then; a payee takes any key's
//! connection, within bounds, and hands each offer to [`crate::collect`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quid_common::checkpoint::CHECKPOINT_LEN_MAX;
use quid_common::entry::ENTRY_LEN_MAX;
use quid_common::frame::BODY_LEN_MAX_STRANGER;
use quid_common::key::PublicKey;
use quid_common::merkle::PATH_LEN_MAX;
use quid_common::order::SignedOrder;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::wire::{CloseCode, Declined, Message, Offer, Paid};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::calls::{Calls, Limits, Lost};
use crate::collect::{Collected, Collector};
use crate::quic::{Role, Socket, TABS_RECEIVE_WINDOW, close_code, proven_key};
use crate::silence::{PAYEE_SILENCE_MAX, SILENCE_CHECK, Silence};
use crate::stream::{Reader, StreamError, Writer};
use crate::tabs::{self, Desk};
use crate::tasks::Tasks;
use crate::trust::Trust;

/// Longest time for reaching a payee.
pub(crate) const REACH_WAIT: Duration = Duration::from_secs(3);

/// What bounds the stream to one payee.
const PAYEE_LIMITS: Limits = Limits {
    in_flight: 256,
    answer_len_max: BODY_LEN_MAX_STRANGER,
    gather: Some(GATHER_MAX),
};

/// How long offers wait for others to leave with while the payee has some to answer: each packet
/// costs both sides some 30 us, and the receipts of one batch a signature to verify.
const GATHER_MAX: Duration = Duration::from_millis(20);

/// A receipt fits into a stranger's frame.
const _: () = assert!(
    ENTRY_LEN_MAX + PATH_LEN_MAX * 32 + CHECKPOINT_LEN_MAX + 64 <= PAYEE_LIMITS.answer_len_max
);

/// Most payees that a payer keeps connections to.
const PAYEES_MAX: usize = 256;

/// A connection to a payee that was not paid for so long is closed.
const UNUSED_MAX: Duration = Duration::from_secs(60);

/// How often a connection is looked at that rests.
const RESTING_CHECK: Duration = Duration::from_secs(2);

/// Payers' connections open at once. Each costs about 40 KiB.
const PAYERS_MAX: usize = 1024;

/// Above this many, a payer must first prove its address (QUIC Retry).
const PAYERS_BEFORE_RETRY: usize = 512;

/// Connections that one payer's key may have open. A payer that was killed leaves its own behind
/// until they time out, and every payment beyond comes to nothing.
const CONNECTIONS_OF_PAYER_MAX: usize = 32;

/// A payer that offers nothing for so long is sent away; twice what our own payers stay.
const OFFER_WAIT: Duration = Duration::from_secs(120);

/// Longest time for a payer's handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(3);

/// A payer that opens no stream for so long is sent away.
const STREAM_WAIT: Duration = Duration::from_secs(10);

/// Most offers of one payer that wait for their answers; the next is not read before.
const OFFERS_MAX: usize = 256;

/// What a payee said about an offer. Nothing in it is verified yet.
#[derive(Clone, Debug)]
pub(crate) enum PayeeAnswer {
    Paid(Receipt),
    Declined(Reason),
}

/// A payer's connections to payees.
#[derive(Debug)]
pub(crate) struct Payees {
    socket: Socket,
    tasks: Arc<Tasks>,
    trust: Arc<Trust>,
    slots: Mutex<HashMap<PublicKey, Arc<Slot>>>,
}

/// One payee: its connection, and when it was last found unreachable.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    link: Option<PayeeLink>,
    failed: Option<Instant>,
}

/// An open connection to a payee.
#[derive(Clone, Debug)]
pub(crate) struct PayeeLink {
    calls: Calls,
    trust: Arc<Trust>,
    used: Arc<std::sync::Mutex<Instant>>,
    /// Whether the payee may be gone: it has not acknowledged anything for a while.
    doubtful: Arc<AtomicBool>,
}

impl Payees {
    pub(crate) fn new(socket: Socket, tasks: Arc<Tasks>, trust: Arc<Trust>) -> Self {
        Self {
            socket,
            tasks,
            trust,
            slots: Mutex::default(),
        }
    }

    /// The connection to a payee, if there is one.
    pub(crate) async fn open(&self, key: &PublicKey) -> Option<PayeeLink> {
        let slot = self.slots.lock().await.get(key).cloned()?;
        // A slot that is being connected has none yet.
        let state = slot.state.try_lock().ok()?;
        state.link.clone().filter(PayeeLink::is_sound)
    }

    /// The connection to a payee, made if need be, within [`REACH_WAIT`]. No byte of any order
    /// leaves here.
    pub(crate) async fn reach(&self, key: PublicKey, to: SocketAddr) -> Option<PayeeLink> {
        let begun = Instant::now();
        let slot = self.slot(key).await;
        let deadline = begun + REACH_WAIT;
        let mut state = timeout_at(deadline, slot.state.lock()).await.ok()?;
        if let Some(link) = state.link.clone().filter(PayeeLink::is_sound) {
            return Some(link);
        }
        // Whoever waited here while another failed need not fail on its own.
        if state.failed.is_some_and(|failed| failed >= begun) {
            return None;
        }
        match timeout_at(deadline, self.connect(key, to)).await {
            Ok(Some(link)) => {
                state.link = Some(link.clone());
                Some(link)
            }
            Ok(None) | Err(_) => {
                state.failed = Some(Instant::now());
                None
            }
        }
    }

    /// The next payment to this payee looks for it anew. Offers in flight go on waiting.
    pub(crate) async fn forget(&self, key: &PublicKey) {
        self.slots.lock().await.remove(key);
    }

    async fn slot(&self, key: PublicKey) -> Arc<Slot> {
        let mut slots = self.slots.lock().await;
        if slots.len() >= PAYEES_MAX {
            // Those at work and those connected stay while anything else can go.
            slots.retain(|_, slot| match slot.state.try_lock() {
                Ok(state) => state.link.as_ref().is_some_and(PayeeLink::is_sound),
                Err(_) => true,
            });
        }
        if slots.len() >= PAYEES_MAX {
            let oldest = slots.keys().next().copied();
            if let Some(oldest) = oldest {
                slots.remove(&oldest);
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }

    async fn connect(&self, key: PublicKey, to: SocketAddr) -> Option<PayeeLink> {
        let called = self.socket.call(to, key, Role::Payee, REACH_WAIT).await;
        let connection = called
            .inspect_err(|error| tracing::debug!(payee = %key.short(), %error, "not reached"))
            .ok()?;
        let streams = connection.open_bi().await.ok()?;
        let (calls, work) = Calls::new(connection.clone(), streams, None, PAYEE_LIMITS);
        let link = PayeeLink {
            calls: calls.clone(),
            trust: Arc::clone(&self.trust),
            used: Arc::new(std::sync::Mutex::new(Instant::now())),
            doubtful: Arc::default(),
        };
        let kept = link.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = kept.watch(&connection) => {}
            }
            calls.end();
            connection.close(close_code(CloseCode::BYE), b"");
        });
        Some(link)
    }
}

impl PayeeLink {
    /// Offers an order. From the call on, bytes of it may have left.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer; the payee may have the order.
    pub(crate) async fn offer(&self, order: &SignedOrder) -> Result<PayeeAnswer, Lost> {
        self.touch();
        let order = order.bytes().to_vec();
        let checkpoint = self.trust.newest().map(|newest| newest.checkpoint);
        let answer = self
            .calls
            .ask(move |number| {
                Offer {
                    number,
                    order: order.into(),
                    checkpoint,
                }
                .into()
            })
            .await?;
        self.touch();
        match answer {
            Message::Paid(paid) => Ok(PayeeAnswer::Paid(paid.receipt)),
            Message::Declined(declined) => Ok(PayeeAnswer::Declined(declined.reason)),
            _ => Err(Lost),
        }
    }

    /// Whether the next order may go this way.
    fn is_sound(&self) -> bool {
        self.calls.is_open() && !self.doubtful.load(Ordering::Acquire)
    }

    /// Watches whether the payee is there; ends when the connection has not been used for long.
    async fn watch(&self, connection: &Connection) {
        let mut silence = Silence::new(PAYEE_SILENCE_MAX);
        let mut resting = false;
        loop {
            let last = *self
                .used
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.elapsed() >= UNUSED_MAX {
                return;
            }
            // Nothing to notice while nothing is asked, but for a keep-alive now and then.
            sleep(if resting {
                RESTING_CHECK
            } else {
                SILENCE_CHECK
            })
            .await;
            resting = last.elapsed() >= RESTING_CHECK;
            self.doubtful
                .store(silence.look(connection), Ordering::Release);
        }
    }

    fn touch(&self) {
        *self
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }
}

/// Takes payers' connections until the socket closes.
pub(crate) async fn serve(
    socket: Socket,
    collector: Arc<Collector>,
    desk: Option<Arc<Desk>>,
    tasks: Arc<Tasks>,
) {
    let room = Arc::new(Semaphore::new(PAYERS_MAX));
    let payers = Arc::new(Payers::default());
    while let Some(incoming) = socket.endpoint().accept().await {
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        if room.available_permits() < PAYERS_MAX - PAYERS_BEFORE_RETRY && incoming.may_retry() {
            // Fails only for a connection that has proved its address already.
            let _ = incoming.retry();
            continue;
        }
        let (collector, payers) = (Arc::clone(&collector), Arc::clone(&payers));
        let desk = desk.clone();
        tasks.spawn(async move {
            let _place = place;
            serve_payer(incoming, &collector, desk.as_ref(), &payers).await;
        });
    }
}

/// How many connections each payer's key has open.
type Payers = std::sync::Mutex<HashMap<PublicKey, usize>>;

/// One connection's place among its payer's.
struct Place<'a>(&'a Payers, PublicKey);

impl<'a> Place<'a> {
    fn take(payers: &'a Payers, payer: PublicKey) -> Option<Self> {
        let mut open = payers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = open.entry(payer).or_default();
        if *count >= CONNECTIONS_OF_PAYER_MAX {
            return None;
        }
        *count += 1;
        Some(Self(payers, payer))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

async fn serve_payer(
    incoming: Incoming,
    collector: &Arc<Collector>,
    desk: Option<&Arc<Desk>>,
    payers: &Payers,
) {
    let from = incoming.remote_address();
    let Ok(connecting) = incoming.accept() else {
        return;
    };
    let connection = match timeout(HANDSHAKE_WAIT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "a payer's handshake failed"),
        Err(_) => return tracing::debug!(%from, "a payer's handshake took too long"),
    };
    let Some(payer) = proven_key(&connection) else {
        return connection.close(close_code(CloseCode::PROTOCOL), b"");
    };
    let Some(_place) = Place::take(payers, payer) else {
        return connection.close(close_code(CloseCode::FULL), b"");
    };
    let code = loop {
        let stream = match timeout(STREAM_WAIT, connection.accept_bi()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return,
            Err(_) => break CloseCode::TIMEOUT,
        };
        match serve_stream(&connection, payer, stream, collector, desk).await {
            Ok(()) => {}
            Err(error) if error.is_breach() => {
                tracing::warn!(payer = %payer.short(), %error, "sent a payer away");
                break CloseCode::PROTOCOL;
            }
            Err(StreamError::Deadline) => break CloseCode::SLOW,
            Err(_) => return,
        }
    };
    connection.close(close_code(code), b"");
}

/// Serves what the first message on a stream makes it: tabs, or offers.
async fn serve_stream(
    connection: &Connection,
    payer: PublicKey,
    (send, receive): (SendStream, RecvStream),
    collector: &Arc<Collector>,
    desk: Option<&Arc<Desk>>,
) -> Result<(), StreamError> {
    let (mut reader, writer) = (
        Reader::new(receive, BODY_LEN_MAX_STRANGER),
        Writer::new(send),
    );
    let first = timeout(OFFER_WAIT, reader.next()).await;
    match (first.map_err(|_| StreamError::Deadline)??, desk) {
        (None, _) => Ok(()),
        (Some(Message::OpenTabs(_)), Some(desk)) => {
            connection.set_receive_window(TABS_RECEIVE_WINDOW.into());
            tabs::serve(payer, reader, writer, Arc::clone(desk)).await
        }
        (Some(Message::Offer(first)), _) => {
            serve_offers(connection, payer, (reader, writer), first, collector).await
        }
        (Some(_), _) => Err(StreamError::Unasked),
    }
}

/// Reads offers and writes their answers, in whatever order these come.
async fn serve_offers(
    connection: &Connection,
    payer: PublicKey,
    (reader, writer): (Reader, Writer),
    first: Offer,
    collector: &Arc<Collector>,
) -> Result<(), StreamError> {
    let (answers, due) = mpsc::channel(OFFERS_MAX);
    let write = write_answers(writer, due);
    tokio::pin!(write);
    let read = read_offers(reader, first, connection, payer, collector, answers);
    tokio::select! {
        result = read => result?,
        result = &mut write => return result,
    }
    write.await
}

async fn read_offers(
    mut reader: Reader,
    first: Offer,
    connection: &Connection,
    payer: PublicKey,
    collector: &Arc<Collector>,
    answers: mpsc::Sender<Message>,
) -> Result<(), StreamError> {
    let mut offers = JoinSet::new();
    let mut first = Some(Message::Offer(first));
    loop {
        let message = tokio::select! {
            biased;
            message = std::future::ready(first.take()), if first.is_some() => message,
            message = timeout(OFFER_WAIT, reader.next()), if offers.len() < OFFERS_MAX => {
                match message {
                    Ok(message) => message?,
                    Err(_) if offers.is_empty() => {
                        connection.close(close_code(CloseCode::BYE), b"");
                        break;
                    }
                    Err(_) => continue,
                }
            }
            Some(ended) = offers.join_next() => {
                // A panic in an offer is one of the node.
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
                continue;
            }
        };
        let Some(message) = message else { break };
        let Message::Offer(offer) = message else {
            return Err(StreamError::Unasked);
        };
        let (collector, answers) = (Arc::clone(collector), answers.clone());
        let connection = connection.clone();
        offers.spawn(async move {
            let number = offer.number;
            let answer = match collector.offered(payer, offer).await {
                Collected::Paid(receipt) => Paid {
                    number,
                    receipt: *receipt,
                }
                .into(),
                Collected::Declined(reason) => Declined { number, reason }.into(),
                Collected::Unknown => return,
                Collected::Breach => {
                    return connection.close(close_code(CloseCode::PROTOCOL), b"");
                }
            };
            // The payer may have gone; it asks the directory then.
            let _ = answers.send(answer).await;
        });
    }
    while offers.join_next().await.is_some() {}
    Ok(())
}

async fn write_answers(
    mut writer: Writer,
    mut due: mpsc::Receiver<Message>,
) -> Result<(), StreamError> {
    while let Some(answer) = due.recv().await {
        writer.queue(&answer);
        while let Ok(answer) = due.try_recv() {
            writer.queue(&answer);
        }
        writer.flush().await?;
    }
    writer.finish();
    Ok(())
}
