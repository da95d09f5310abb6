//! The directory's endpoint: one UDP socket, every QUIC limit set, cheap refusals first.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quid_common::key::SecretKey;
use quid_common::sha256::Sha256;
use quid_common::tls::{self, TlsError, TlsIdentity};
use quid_common::wire::CloseCode;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout,
    Incoming, Runtime, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};
use zeroize::Zeroizing;

use crate::member::Directory;
use crate::network::Network;
use crate::porch::Porch;
use crate::session;
use crate::shed::Cause;
use crate::traffic::Within;

/// Connections that may be open at once. Each costs about 40 KiB, a listening node's some 60.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Above this many calls and handshakes in progress, a caller must first prove its address (QUIC
/// Retry).
pub const HANDSHAKES_BEFORE_RETRY: usize = 256;

/// Handshakes in progress at once; more are refused.
pub const HANDSHAKES_MAX: usize = 1024;

/// Longest time for a handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);

/// A connection that is silent this long is gone, and its presence with it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often we make a sound on a quiet connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes that one stream may send before we read them.
pub const STREAM_WINDOW: u32 = 32 * 1024;

/// Bytes that a stranger may send before we read them.
pub const RECEIVE_WINDOW_STRANGER: u32 = 4 * 1024;

/// Bytes that we keep for one peer until it acknowledges them.
pub const SEND_WINDOW: u64 = 256 * 1024;

/// Bytes of early packets kept for a call that waits for its handshake.
pub const CALL_BUFFER: u64 = 16 * 1024;

/// Bytes of early packets kept for all of them.
pub const CALL_BUFFERS: u64 = 4 * 1024 * 1024;

/// The kernel's buffer for datagrams not read yet; a burst beyond it is lost.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Binds `listen` and makes an endpoint that proves `key`.
///
/// # Errors
/// [`BindError`]: the address cannot be had.
pub fn bind(listen: SocketAddr, key: &SecretKey) -> Result<Endpoint, BindError> {
    on_port(take_port(listen)?, key)
}

/// Binds `listen` and nothing more: nodes that call wait until [`on_port`] answers them.
///
/// # Errors
/// [`BindError`]: the address cannot be had.
pub fn take_port(listen: SocketAddr) -> Result<UdpSocket, BindError> {
    socket(listen).map_err(|source| BindError::Socket { listen, source })
}

/// Makes an endpoint that proves `key` on a port that was taken before.
///
/// # Errors
/// [`BindError`]: the socket or the key is not usable.
pub fn on_port(socket: UdpSocket, key: &SecretKey) -> Result<Endpoint, BindError> {
    let runtime = Arc::new(TokioRuntime);
    let listen = socket.local_addr().unwrap_or(UNKNOWN);
    let socket = runtime
        .wrap_udp_socket(socket)
        .map_err(|source| BindError::Socket { listen, source })?;
    endpoint(socket, config(key), runtime, key)
}

/// What makes a restart quickly seen: packets of a connection that the process before had are answered
/// with a stateless reset that its other end knows (RFC 9000, section 10.3), and not with silence. So
/// the secret of it comes of the directory's key, and is the same after every start. One such answer
/// leaves in 20 ms at most, and none is longer than what it answers.
fn config(key: &SecretKey) -> EndpointConfig {
    let mut hash = Sha256::new();
    hash.update(b"quid/reset/1\0");
    hash.update(&*key.seed());
    let secret = Zeroizing::new(hash.finish());
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*secret)));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Connection ids that say nothing. The usual ones say whether this very process made them, and a
/// packet with any other is not answered at all.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let id: [u8; CONNECTION_ID_LEN] = rand::random();
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Bytes of a connection id: nobody meets another's by chance.
const CONNECTION_ID_LEN: usize = 8;

/// Makes an endpoint that proves `key` on a socket that the caller brings, with the caller's runtime.
///
/// # Errors
/// [`BindError`]: the socket or the key is not usable.
pub fn endpoint(
    socket: Arc<dyn AsyncUdpSocket>,
    config: EndpointConfig,
    runtime: Arc<dyn Runtime>,
    key: &SecretKey,
) -> Result<Endpoint, BindError> {
    let listen = socket.local_addr().unwrap_or(UNKNOWN);
    let server = server_config(key)?;
    Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
        .map_err(|source| BindError::Socket { listen, source })
}

/// Serves connections until `stop`, then closes them all.
pub async fn serve(endpoint: &Endpoint, directory: Directory, stop: CancellationToken) {
    let mut sessions = JoinSet::new();
    let mut porch = Porch::default();
    let (mut greeted, mut called) = (Instant::now(), 0);
    loop {
        let handshaking = directory.traffic.handshakes.count();
        let due = greeted + directory.sentry.handshake_gap();
        let greets = !porch.is_empty() && handshaking < HANDSHAKES_MAX;
        tokio::select! {
            // In this order, so that a simulated run is the same each time.
            biased;
            () = stop.cancelled() => break,
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    error!(%error, "a session failed");
                }
            }
            incoming = endpoint.accept(), if called < CALLS_AT_ONCE || !greets => {
                let Some(incoming) = incoming else { break };
                admit(&directory, &mut porch, sessions.len(), handshaking, incoming);
                called += 1;
                if called % CALLS_AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
            }
            () = until(due), if greets => {
                (greeted, called) = (Instant::now(), 0);
                if let Some(incoming) = porch.take(greeted) {
                    // The endpoint does not tell handshakes from connections.
                    let handshake = directory.traffic.handshakes.enter();
                    sessions.spawn(greet(directory.clone(), incoming, handshake));
                    // One handshake at a time between other work.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    endpoint.close(VarInt::from_u32(CloseCode::STOPPING.0), b"");
    // Peers that are gone must not hold us; those that are there answer within a round trip.
    let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    sessions.shutdown().await;
}

/// Waits until `due`. Not at all once it is past: a timer is late by a millisecond even then, and
/// would let no more than a thousand handshakes a second begin.
async fn until(due: Instant) {
    if Instant::now() < due {
        sleep_until(due).await;
    }
}

/// Why the endpoint could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is in use, or not ours.
    #[error("cannot listen on {listen}: {source}; choose another address with --listen")]
    Socket {
        /// The address wanted.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key could not be used for TLS.
    #[error("cannot use the directory's key for TLS: {0}")]
    Tls(#[from] TlsError),
    /// The TLS settings lack what QUIC needs.
    #[error("cannot use the TLS settings for QUIC: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Refuses what there is no room for, in order of cost; the rest waits on the porch.
fn admit(
    directory: &Directory,
    porch: &mut Porch<Incoming>,
    open: usize,
    handshaking: usize,
    incoming: Incoming,
) {
    let shed = &directory.sentry.shed;
    if open >= CONNECTIONS_MAX {
        shed.count(Cause::Connections);
        return incoming.refuse();
    }
    if handshaking + porch.len() >= HANDSHAKES_BEFORE_RETRY && incoming.may_retry() {
        shed.count(Cause::Retry);
        // Fails only for a connection that has proved its address already.
        let _ = incoming.retry();
        return;
    }
    let network = Network::of(incoming.remote_address().ip());
    let line = (network, incoming.remote_address_validated());
    if let Some(away) = porch.put(line, incoming, Instant::now()) {
        shed.count(Cause::Handshakes);
        away.refuse();
    }
}

async fn greet(directory: Directory, incoming: Incoming, handshake: Within) {
    let peer = incoming.remote_address();
    let Some(stranger) = directory.sentry.stranger(Network::of(peer.ip())) else {
        return incoming.refuse();
    };
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            directory.sentry.shed.count(Cause::HandshakeFailed);
            return debug!(%peer, %error, "refused a handshake");
        }
    };
    let greeted = tokio::time::timeout(HANDSHAKE_DEADLINE, connecting).await;
    drop(handshake);
    match greeted {
        Ok(Ok(connection)) => session::serve(directory, connection, peer, stranger).await,
        Ok(Err(error)) => {
            directory.sentry.shed.count(Cause::HandshakeFailed);
            debug!(%peer, %error, "a handshake failed");
        }
        Err(_) => {
            directory.sentry.shed.count(Cause::HandshakeLate);
            debug!(%peer, "a handshake took too long");
        }
    }
}

fn socket(listen: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel cuts this to net.core.rmem_max; a smaller buffer only loses bursts.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

fn server_config(key: &SecretKey) -> Result<ServerConfig, BindError> {
    let identity = TlsIdentity::new(&key.seed())?;
    let tls = tls::server_config(&identity, &[tls::ALPN_DIRECTORY])?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    config
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(CALL_BUFFER)
        .incoming_buffer_size_total(CALL_BUFFERS);
    config.migration(true);
    Ok(config)
}

/// Calls that are looked at before others have their turn.
const CALLS_AT_ONCE: usize = 64;

/// The limits of a stranger's connection; [`session`] widens them at login.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_STRANGER))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

/// Stands in an error for a socket that does not know its own address.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn what_is_past_is_not_waited_for() {
        let is_ready = |due| {
            let mut context = Context::from_waker(Waker::noop());
            pin!(until(due)).poll(&mut context) == Poll::Ready(())
        };
        // Each a little later within the timer's millisecond.
        for _ in 0..1000 {
            let due = Instant::now();
            assert!(is_ready(due));
        }
        assert!(!is_ready(Instant::now() + Duration::from_secs(1)));
    }
}
