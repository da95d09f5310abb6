//! One session: a connection from its handshake to its end.
//!
//! It begins as a *stranger*, known by the key that the handshake proved, who may only register
//! and log in, and ask about keys, within [`STRANGER_LIFE`]. After login it is an *account* with more room. Who asks is
//! always known from the connection, never from what a message says. An account has so many
//! sessions at once and no more ([`crate::sessions`]); what else bounds strangers and members is
//! in [`crate::sentry`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER};
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::tls;
use quid_common::wire::{CloseCode, Login, Message, Refused, Welcome};
use quinn::{Connection, VarInt};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span};

use crate::member::{Directory, Member, refused};
use crate::network::Network;
use crate::presence::Guard;
use crate::sessions::{Place, SESSIONS_PER_ACCOUNT_MAX};
use crate::settle_stream::IN_FLIGHT_MAX;
use crate::settlement::{Answer, Ask, Standing};
use crate::shares::Share;
use crate::shed::Cause;
use crate::stream::{ReadError, Reader, Writer};
use crate::{event_stream, keys, registration, request, settle_stream};

/// Longest time that a stranger may take to register and log in.
pub const STRANGER_LIFE: Duration = Duration::from_secs(10);

/// Streams that an account may have open at once; a stranger has one.
pub const STREAMS_MAX: u32 = 16;

/// Bytes that an account may send before we read them, on all its streams together.
pub const RECEIVE_WINDOW: u32 = 256 * 1024;

/// The same while too many connections have the wider window: enough for 140 orders at once.
pub const RECEIVE_WINDOW_NARROW: u32 = 32 * 1024;

/// Serves `connection` until it ends. `peer` is the address that its handshake proved: the
/// connection's own is whatever its newest packet bears, proved or not. `place` is its place among
/// the strangers, until it has logged in.
pub async fn serve(
    directory: Directory,
    connection: Connection,
    peer: SocketAddr,
    place: Share<Network>,
) {
    let Some(key) = peer_key(&connection) else {
        return close(&connection, CloseCode::PROTOCOL);
    };
    let peer = canonical(peer);
    let span = info_span!("session", %peer, key = %key.short());
    async {
        let within = directory.traffic.strangers.enter();
        // On the heap, so that what a login needs is given back for as long as the session lasts.
        let stranger = Box::pin(stranger(&directory, &connection, key, peer));
        let login = timeout(STRANGER_LIFE, stranger).await;
        drop((place, within));
        match login {
            Ok(Ok(Some((member, place, presence)))) => {
                let wide = make_room(&directory, &connection, &member);
                account(&directory, &connection, &member, &place).await;
                drop((presence, place, wide));
                info!(name = %member.name, "logged out");
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                debug!(%error, "closed a stranger");
                directory.sentry.shed.count(error.cause());
                close(&connection, error.code());
            }
            Err(_) => {
                debug!("closed a stranger that did not log in in time");
                directory.sentry.shed.count(Cause::StrangerLate);
                close(&connection, CloseCode::TIMEOUT);
            }
        }
    }
    .instrument(span)
    .await;
}

/// Answers a stranger until it has logged in; `None` if it went away first.
async fn stranger(
    directory: &Directory,
    connection: &Connection,
    key: PublicKey,
    peer: SocketAddr,
) -> Result<Option<(Member, Place, Option<Guard>)>, StrangerError> {
    for left in (0..STRANGER_REQUESTS_MAX).rev() {
        let Ok((send, receive)) = connection.accept_bi().await else {
            return Ok(None);
        };
        let mut reader = Reader::new(receive, BODY_LEN_MAX_STRANGER);
        let writer = Writer::new(send);
        let message = match reader.next().await {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(error) => {
                if let Some(reason) = error.reason() {
                    writer.farewell(&Refused { reason }.into()).await;
                }
                return Err(StrangerError::Read(error));
            }
        };
        let answer = match message {
            Message::Register(message) => registration::answer(directory, key, peer, message).await,
            Message::Login(message) => {
                let is_frozen = directory.hub.is_frozen(&key);
                let Some(place) = directory.sessions.enter(key, is_frozen) else {
                    let reason = Reason::FULL;
                    writer.farewell(&Refused { reason }.into()).await;
                    return Err(StrangerError::Full);
                };
                match log_in(directory, peer, key, &place, message).await {
                    Ok((welcome, member, guard)) => {
                        let sent = writer.finish_with(&welcome.into()).await;
                        return Ok(sent.is_ok().then_some((member, place, guard)));
                    }
                    Err(refused) => refused.into(),
                }
            }
            message @ (Message::ChangeKeys(_) | Message::AskKeys(_) | Message::AskSuccessor(_)) => {
                keys::answer(directory, key, message).await
            }
            _ => Refused {
                reason: Reason::NOT_LOGGED_IN,
            }
            .into(),
        };
        if left == 0 {
            writer.farewell(&answer).await;
        } else if writer.finish_with(&answer).await.is_err() {
            return Ok(None);
        }
    }
    Err(StrangerError::TooMany)
}

async fn log_in(
    directory: &Directory,
    peer: SocketAddr,
    key: PublicKey,
    place: &Place,
    login: Login,
) -> Result<(Welcome, Member, Option<Guard>), Refused> {
    let sentry = &directory.sentry;
    sentry.log_in(&key).map_err(|reason| Refused { reason })?;
    let _turn = sentry.turn().await;
    let standing = match directory
        .settlements
        .ask(key, Ask::Login(login.checkpoint))
        .await
    {
        Answer::Account(standing) => standing,
        answer => return Err(refused(&answer)),
    };
    let Standing {
        account,
        currency,
        ledger,
        time,
        checkpoint,
    } = *standing;
    let listening = login.listening && !login.hidden;
    let guard = listening.then(|| {
        directory
            .presence
            .enter(account.name.clone(), key, login.instance, peer)
    });
    info!(name = %account.name, listening, "logged in");
    let welcome = Welcome {
        name: account.name.clone(),
        number: account.number,
        currency,
        ledger,
        time,
        available: account.available,
        held: account.held,
        address: peer.to_string(),
        checkpoint,
        in_flight: IN_FLIGHT_MAX,
    };
    Ok((
        welcome,
        Member {
            key,
            name: account.name,
            in_flight: place.in_flight(),
        },
        guard,
    ))
}

/// Serves a member's streams until the connection ends or the account's key is replaced. A panic in
/// one of them ends the session.
async fn account(directory: &Directory, connection: &Connection, member: &Member, place: &Place) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    let reader = Reader::new(receive, BODY_LEN_MAX);
                    let work = serve_stream(
                        directory.clone(),
                        connection.clone(),
                        member.clone(),
                        reader,
                        Writer::of(send, member.key, Arc::clone(&directory.sentry)),
                    );
                    streams.spawn(work.in_current_span());
                }
                Err(_) => return,
            },
            () = place.ended() => {
                info!(name = %member.name, "ended: the key was replaced");
                return close(connection, CloseCode::REPLACED);
            }
            Some(ended) = streams.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a stream of this session failed");
                return close(connection, CloseCode::PROTOCOL);
            },
        }
    }
}

/// Serves one stream of a member: by its first message a settle stream, an event stream or one
/// request.
async fn serve_stream(
    directory: Directory,
    connection: Connection,
    member: Member,
    mut reader: Reader,
    writer: Writer,
) {
    let first = timeout(STRANGER_LIFE, reader.next()).await;
    let code = match first {
        Ok(Ok(Some(Message::OpenSettle(_)))) => {
            settle_stream::serve(&directory, &member, reader, writer).await
        }
        Ok(Ok(Some(Message::Subscribe(wanted)))) => {
            event_stream::serve(&directory, &member, &wanted, reader, writer).await
        }
        Ok(Ok(Some(message))) => request::answer(&directory, &member, message, writer).await,
        Ok(Ok(None)) => None,
        // A stream that its owner gave up concerns nobody else.
        Ok(Err(ReadError::Gone(_))) => None,
        Ok(Err(error)) => match error.reason() {
            Some(reason) => {
                // It has a rate too, or many of them would be had for nothing.
                let turn = directory
                    .sentry
                    .question(&member.key, UNREADABLE_COST)
                    .await;
                let reason = turn.err().unwrap_or(reason);
                let _ = writer.finish_with(&Refused { reason }.into()).await;
                None
            }
            None => Some(CloseCode::TIMEOUT),
        },
        Err(_) => Some(CloseCode::TIMEOUT),
    };
    if let Some(code) = code {
        if code == CloseCode::SLOW {
            directory.sentry.shed.count(Cause::Slow);
        }
        close(&connection, code);
    }
}

/// Gives a connection an account's room; what comes back is its place among those with the wide
/// window.
fn make_room(
    directory: &Directory,
    connection: &Connection,
    member: &Member,
) -> Option<Share<PublicKey>> {
    let wide = directory.sentry.wide(member.key);
    let window = if wide.is_some() {
        RECEIVE_WINDOW
    } else {
        RECEIVE_WINDOW_NARROW
    };
    connection.set_receive_window(VarInt::from_u32(window));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_MAX));
    wide
}

fn peer_key(connection: &Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?;
    let certificates = identity
        .downcast::<Vec<rustls::pki_types::CertificateDer<'_>>>()
        .ok()?;
    tls::key_of(certificates.first()?)
        .ok()
        .map(PublicKey::from_bytes)
}

/// An IPv4 address as such, however the socket reports it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.0), b"");
}

#[derive(Debug, Error)]
enum StrangerError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("more than {STRANGER_REQUESTS_MAX} requests without a login")]
    TooMany,
    #[error("the account has {SESSIONS_PER_ACCOUNT_MAX} sessions")]
    Full,
}

impl StrangerError {
    const fn cause(&self) -> Cause {
        match self {
            Self::Read(ReadError::Deadline) => Cause::StrangerLate,
            Self::Read(_) | Self::TooMany => Cause::StrangerWrong,
            Self::Full => Cause::Sessions,
        }
    }

    const fn code(&self) -> CloseCode {
        match self {
            Self::Read(ReadError::Deadline) => CloseCode::TIMEOUT,
            Self::Read(_) | Self::TooMany => CloseCode::PROTOCOL,
            Self::Full => CloseCode::FULL,
        }
    }
}

/// How many plain questions a message counts as that cannot be read: no program that keeps to the
/// protocol sends one.
const UNREADABLE_COST: u32 = 5;

/// Tries that a stranger has to find a free name and log in.
const STRANGER_REQUESTS_MAX: usize = 16;
