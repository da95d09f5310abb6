//! The client's side of the directory: one session, kept up, and the requests on it.
//!
//! A supervisor holds the connection: it logs in, notices when the session is gone, and seeks it
//! again. Everyone else asks for the current [`Link`] and, when that is lost, for the next.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Currency;
use quid_common::frame::BODY_LEN_MAX;
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::printable::Printable;
use quid_common::refusal::Reason;
use quid_common::wire::{AskTab, CloseCode, Login, Message, OpenSettle, OpenTab, Welcome};
use quinn::Connection;
use thiserror::Error;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::calls::{Calls, Limits};
use crate::clock::LedgerClock;
use crate::events::{Event, Hub};
use crate::home::Home;
use crate::journal::{JournalError, Learned};
use crate::known::Had;
use crate::quic::{Role, Socket, close_code, ending};
use crate::silence::silent;
use crate::stream::{self, StreamError};
use crate::tasks::Tasks;
use crate::trust::Trust;

mod link;
mod registration;

pub(crate) use link::{Answer, Link, Submission};

/// Longest time that a request waits for a session and its answer together.
pub(crate) const REQUEST_WAIT: Duration = Duration::from_secs(5);

/// Longest time for one handshake. Short, so that one begun just before the directory's return
/// does not delay the next.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(3);

/// Longest time for finding the directory's address.
const RESOLVE_WAIT: Duration = Duration::from_secs(3);

/// Longest time for logging in or registering on a fresh connection.
const LOGIN_WAIT: Duration = Duration::from_secs(5);

/// Most calls in flight on the settle stream, whatever more the directory would allow.
const IN_FLIGHT_MAX: u16 = 1024;

/// How long a directory that denies a session is left alone.
const DENIED_WAIT: Duration = Duration::from_secs(5);

/// A session that lasted this long was a good one: the next is sought at once again.
const STEADY: Duration = Duration::from_secs(5);

/// What the directory said when this node logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account's name.
    pub name: Name,
    /// What is counted.
    pub currency: Currency,
    /// The ledger.
    pub ledger: LedgerId,
    /// The address from which the directory sees this node, HOST:PORT.
    pub address: String,
}

/// A node's way to its directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) home: Arc<Home>,
    pub(crate) socket: Socket,
    pub(crate) trust: Arc<Trust>,
    pub(crate) clock: Arc<LedgerClock>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) presence: PresenceWish,
    /// Whether a lost session is sought again.
    pub(crate) reconnect: bool,
    pub(crate) state: watch::Sender<State>,
    /// Held while a key is registered or logged in: a session that begins in the middle of a
    /// registration would not know from which entry on to hear of money.
    pub(crate) turn: Mutex<()>,
    /// Wakes the supervisor from its wait between two tries.
    pub(crate) kick: Notify,
}

/// How this node's session shall appear to others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PresenceWish {
    pub(crate) instance: InstanceId,
    pub(crate) listening: bool,
    pub(crate) hidden: bool,
}

/// How the session stands.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// There is none, and one is sought; with what was last in the way.
    Seeking(String),
    /// Logged in.
    Up(Arc<Link>),
    /// The directory answers, but not with a session; it is asked again now and then.
    Denied(RequestError),
    /// There will be none any more.
    Over(RequestError),
}

impl Directory {
    /// Keeps a session up until the node stops; or, without reconnecting, until the first loss.
    pub(crate) async fn supervise(self: Arc<Self>) {
        let mut backoff = self.home.backoff();
        loop {
            let kicked = self.kick.notified();
            let error = match self.connect().await {
                Ok(link) => {
                    let begun = Instant::now();
                    let reason = self.keep(Arc::new(link)).await;
                    if begun.elapsed() > STEADY {
                        backoff.reset();
                    }
                    RequestError::Unreachable(reason)
                }
                Err(error) => error,
            };
            if !self.reconnect {
                self.state.send_replace(State::Over(error));
                return;
            }
            let (state, pause) = match error {
                RequestError::Unreachable(reason) => (State::Seeking(reason), Duration::ZERO),
                RequestError::Refused(Reason::BUSY | Reason::STOPPING | Reason::FULL) => {
                    (State::Seeking(error.to_string()), Duration::ZERO)
                }
                denied => (State::Denied(denied), DENIED_WAIT),
            };
            self.state.send_replace(state);
            let pause = async {
                sleep(pause).await;
                backoff.wait().await;
            };
            tokio::select! {
                () = pause => {}
                () = kicked => {}
            }
        }
    }

    /// The current session, waiting for one until `deadline`.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn link(&self, deadline: Instant) -> Result<Arc<Link>, RequestError> {
        let mut state = self.state.subscribe();
        loop {
            let missing = match &*state.borrow_and_update() {
                State::Up(link) if link.settle.is_open() => return Ok(Arc::clone(link)),
                State::Up(_) => "the connection was lost".to_owned(),
                State::Seeking(reason) => reason.clone(),
                State::Denied(error) | State::Over(error) => return Err(error.clone()),
            };
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(RequestError::Unreachable(missing)),
            }
        }
    }

    /// The current session, or the next one however long it takes; `None` if there will be none.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn any_link(&self) -> Option<Arc<Link>> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Up(link) if link.settle.is_open() => return Some(Arc::clone(link)),
                State::Over(_) => return None,
                State::Up(_) | State::Seeking(_) | State::Denied(_) => {}
            }
            state.changed().await.ok()?;
        }
    }

    /// Whether there will be no session any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&*self.state.borrow(), State::Over(_))
    }

    /// Asks a question that changes nothing, again on a new session if need be, for
    /// [`REQUEST_WAIT`] at most.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn ask(
        &self,
        question: impl Into<Message> + Send,
    ) -> Result<Message, RequestError> {
        self.ask_until(question, Instant::now() + REQUEST_WAIT)
            .await
    }

    /// Like [`Self::ask`], until `deadline`.
    pub(crate) async fn ask_until(
        &self,
        question: impl Into<Message> + Send,
        deadline: Instant,
    ) -> Result<Message, RequestError> {
        let question = question.into();
        let mut backoff = self.home.backoff();
        loop {
            let link = self.link(deadline).await?;
            let error = match stream::ask(&link.connection, &question, deadline).await {
                Ok(Message::Refused(refused)) => RequestError::Refused(refused.reason),
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_breach() => {
                    return Err(RequestError::Protocol(error.to_string()));
                }
                Err(error) => RequestError::Unreachable(error.to_string()),
            };
            let passing = matches!(
                error,
                RequestError::Unreachable(_)
                    | RequestError::Refused(Reason::BUSY | Reason::STOPPING)
            );
            if !passing || timeout_at(deadline, backoff.wait()).await.is_err() {
                return Err(error);
            }
        }
    }

    /// Where `payer`'s tab stands; none if it is not open, or concerns somebody else.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn ask_tab(
        &self,
        payer: PublicKey,
        id: OrderId,
    ) -> Result<Option<OpenTab>, RequestError> {
        match self.ask(AskTab { payer, id }).await? {
            Message::TabStanding(standing) => {
                self.clock.observe(standing.time, Instant::now());
                Ok(standing.tab)
            }
            answer => Err(unexpected(&answer)),
        }
    }

    async fn connect(&self) -> Result<Link, RequestError> {
        let _turn = self.turn.lock().await;
        let connection = self.dial().await?;
        let link = self.open_link(&connection).await;
        if link.is_err() {
            connection.close(close_code(CloseCode::BYE), b"");
        }
        link
    }

    async fn open_link(&self, connection: &Connection) -> Result<Link, RequestError> {
        let welcome = self.log_in(connection, self.presence).await?;
        let streams = timeout(LOGIN_WAIT, connection.open_bi())
            .await
            .map_err(|_| RequestError::Unreachable("no room for a stream".to_owned()))?
            .map_err(|error| RequestError::Unreachable(ending(&error)))?;
        let in_flight = welcome.in_flight.clamp(1, IN_FLIGHT_MAX);
        let first = Some(OpenSettle {}.into());
        let limits = Limits {
            in_flight,
            answer_len_max: BODY_LEN_MAX,
            // Orders of many payers, who do not wait for each other.
            gather: None,
        };
        let (settle, work) = Calls::new(connection.clone(), streams, first, limits);
        self.tasks.spawn(work);
        Ok(Link {
            connection: connection.clone(),
            welcome,
            settle,
        })
    }

    async fn log_in(
        &self,
        connection: &Connection,
        wish: PresenceWish,
    ) -> Result<Welcome, RequestError> {
        let login = Login {
            instance: wish.instance,
            listening: wish.listening,
            hidden: wish.hidden,
            checkpoint: self.trust.newest().map(|newest| newest.checkpoint),
        };
        let welcome = match ask_stranger(connection, &login.into()).await? {
            Message::Welcome(welcome) => welcome,
            answer => return Err(unexpected(&answer)),
        };
        let wrong = |error: crate::trust::TrustError| RequestError::Protocol(error.to_string());
        self.trust.set_ledger(welcome.ledger).map_err(wrong)?;
        let head = self
            .trust
            .check_newest(&welcome.checkpoint)
            .map_err(wrong)?;
        self.clock.observe(welcome.time, Instant::now());
        let learned = Learned {
            name: Some(welcome.name.clone()),
            currency: Some(welcome.currency.clone()),
            ledger: Some(welcome.ledger),
        };
        self.home.learn(learned).await?;
        let journal = self.home.journal();
        let had = Had {
            balance: welcome.available,
            held: welcome.held,
            time: welcome.time,
        };
        // Both in one commit.
        let (checkpoint, had) = tokio::join!(
            journal.keep_checkpoint(head.size, welcome.checkpoint.clone()),
            journal.keep_had(had)
        );
        checkpoint.and(had)?;
        if let Some(base) = self.trust.unkept() {
            self.home
                .journal()
                .keep_base(base.head.size, base.checkpoint)
                .await?;
        }
        Ok(welcome)
    }

    /// A connection to the pinned directory, not logged in.
    async fn dial(&self) -> Result<Connection, RequestError> {
        let unreachable =
            |error: &dyn std::fmt::Display| RequestError::Unreachable(error.to_string());
        let address = self.home.directory();
        let addresses: Vec<SocketAddr> = timeout(
            RESOLVE_WAIT,
            self.socket.resolve(address.host(), address.port()),
        )
        .await
        .map_err(|_| unreachable(&format!("no address of {} in time", address.host())))?
        .map_err(|error| unreachable(&format!("{}: {error}", address.host())))?;
        let mut last = unreachable(&"no address");
        for to in addresses {
            match self
                .socket
                .call(to, address.key(), Role::Directory, HANDSHAKE_WAIT)
                .await
            {
                Ok(connection) => return Ok(connection),
                Err(error) => last = unreachable(&error),
            }
        }
        Err(last)
    }

    /// Serves a session as the current one until it is lost; tells why it was.
    async fn keep(&self, link: Arc<Link>) -> String {
        let Welcome { name, address, .. } = link.welcome.clone();
        tracing::info!(%name, address = %Printable(&address), "online");
        self.hub.tell(Event::Online { name, address });
        self.state.send_replace(State::Up(Arc::clone(&link)));
        let reason = tokio::select! {
            closed = link.connection.closed() => ending(&closed),
            () = link.settle.ended() => "the settle stream ended".to_owned(),
            () = silent(&link.connection) => "the directory fell silent".to_owned(),
        };
        link.settle.end();
        link.connection.close(close_code(CloseCode::BYE), b"");
        tracing::warn!(%reason, "offline");
        self.hub.tell(Event::Offline {
            reason: reason.clone(),
        });
        reason
    }
}

/// Why a request to the directory has no answer. No money moves by a request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// Nobody answered at the directory's address in time, or somebody with another key. Try again
    /// later.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// The directory said no.
    #[error("refused: {0}")]
    Refused(Reason),
    /// The home's key has no account at this directory. Register it first.
    #[error("this key has no account at the directory; register a name first")]
    NotRegistered,
    /// The directory, though it proved its key, did not keep to the protocol. Its fault; worth
    /// reporting.
    #[error("the directory broke the protocol: {0}")]
    Protocol(String),
    /// The home's files cannot be read or written.
    #[error("{0}")]
    Local(String),
}

impl From<JournalError> for RequestError {
    fn from(error: JournalError) -> Self {
        Self::Local(error.to_string())
    }
}

/// The error in an answer that is not the one wanted.
pub(crate) fn unexpected(answer: &Message) -> RequestError {
    match answer {
        Message::Refused(refused) if refused.reason == Reason::NOT_REGISTERED => {
            RequestError::NotRegistered
        }
        Message::Refused(refused) => RequestError::Refused(refused.reason),
        answer => RequestError::Protocol(format!("answer of kind {}", answer.kind())),
    }
}

fn ask_stranger<'a>(
    connection: &'a Connection,
    question: &'a Message,
) -> impl Future<Output = Result<Message, RequestError>> + Send + 'a {
    let deadline = Instant::now() + LOGIN_WAIT;
    async move {
        stream::ask(connection, question, deadline)
            .await
            .map_err(|error| match error {
                StreamError::Frame(_) | StreamError::Message(_) => {
                    RequestError::Protocol(error.to_string())
                }
                error => RequestError::Unreachable(error.to_string()),
            })
    }
}

/// The key's account, if the directory's answer names one.
pub(crate) fn found_key(answer: Message) -> Result<(PublicKey, Option<String>), RequestError> {
    match answer {
        Message::Found(found) => Ok((found.key, found.address)),
        answer => Err(unexpected(&answer)),
    }
}
