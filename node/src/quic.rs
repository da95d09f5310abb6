//! The node's one UDP socket: it calls the directory and payees, and is where payers call.
//!
//! The address that the directory sees is therefore the address that peers can try. All of QUIC's
//! limits are set here, each with its reason; the library's defaults allow 250 MB a connection.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quid_common::key::PublicKey;
use quid_common::printable::Printable;
use quid_common::tls::{self, SERVER_NAME, TlsError, TlsIdentity, WRONG_KEY_ALERT};
use quid_common::wire::CloseCode;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout,
    MtuDiscoveryConfig, Runtime, ServerConfig, TokioRuntime, TransportConfig, TransportErrorCode,
    VarInt,
};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::node::StartError;
use crate::surroundings::Network;

pub use first_contact::{ConnectError, directory_key, knock};

mod first_contact;

/// A connection that is silent this long is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often we make a sound on a quiet connection: a third of [`IDLE_TIMEOUT`], so that two may
/// be lost.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes that the directory may send on one stream before we read them: the answers to a hundred
/// orders in flight.
const DIRECTORY_STREAM_WINDOW: u32 = 128 * 1024;

/// Bytes that the directory may send on all streams together.
const DIRECTORY_RECEIVE_WINDOW: u32 = 512 * 1024;

/// Bytes that a peer may send on its stream, and so on its connection, before we read them.
const PEER_RECEIVE_WINDOW: u32 = 64 * 1024;

/// Bytes that a payer may send once it pays on tabs, before we read them: as many links as are
/// checked in half a millisecond.
pub(crate) const TABS_RECEIVE_WINDOW: u32 = 256 * 1024;

/// Bytes kept for the other side until it acknowledges them. Also bounds the list that quinn walks
/// for every packet, which with its default of 10 MB makes small messages 250 times dearer.
const SEND_WINDOW: u64 = 128 * 1024;

/// Longest packet that is tried on a path, of which each side then uses what the path carries: 1,452
/// bytes on most, all of it on loopback and where frames are jumbo. Ten of them leave in one call,
/// which takes 64 KiB.
const PACKET_MAX: u16 = 6_400;

/// Streams that a payer may have open to us at once on a connection: one carries all its offers,
/// that of another connection all its tabs.
const PEER_STREAMS_MAX: u32 = 1;

/// Handshakes of payers under way at once; more are dropped by QUIC itself.
pub(crate) const HANDSHAKES_MAX: usize = 256;

/// Bytes of early packets kept for each handshake under way.
const HANDSHAKE_BUFFER_LEN_MAX: u64 = 16 * 1024;

/// Bytes of early packets kept for all handshakes together.
const HANDSHAKE_BUFFERS_LEN_MAX: u64 = 1024 * 1024;

/// The kernel's buffer for datagrams not read yet; a burst beyond it is lost. The kernel cuts this
/// to net.core.rmem_max.
const SOCKET_BUFFER_LEN: usize = 4 * 1024 * 1024;

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Whom a connection is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Directory,
    Payee,
}

/// The socket and what is needed to call and be called on it.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    endpoint: Endpoint,
    identity: TlsIdentity,
}

impl Socket {
    /// Binds `address`. Takes calls from peers only if `listen`.
    pub(crate) fn bind(
        address: SocketAddr,
        identity: TlsIdentity,
        listen: bool,
    ) -> Result<Self, StartError> {
        let refused = |source| StartError::Bind { address, source };
        let runtime = Arc::new(TokioRuntime);
        let socket = raw_socket(address)
            .and_then(|socket| runtime.wrap_udp_socket(socket))
            .map_err(refused)?;
        let network = Network {
            socket,
            config: EndpointConfig::default(),
            runtime,
        };
        Self::on(network, identity, listen)
    }

    /// Takes a socket that is bound.
    pub(crate) fn on(
        network: Network,
        identity: TlsIdentity,
        listen: bool,
    ) -> Result<Self, StartError> {
        let Network {
            socket,
            mut config,
            runtime,
        } = network;
        let server = if listen {
            Some(server_config(&identity)?)
        } else {
            None
        };
        config
            .max_udp_payload_size(PACKET_MAX)
            .map_err(|error| StartError::Quic(error.to_string()))?;
        let endpoint = Endpoint::new_with_abstract_socket(config, server, socket, runtime)
            .map_err(|error| StartError::Quic(error.to_string()))?;
        Ok(Self { endpoint, identity })
    }

    /// Calls `to`, who must prove `key`, for at most `limit`.
    pub(crate) async fn call(
        &self,
        to: SocketAddr,
        key: PublicKey,
        role: Role,
        limit: Duration,
    ) -> Result<Connection, CallError> {
        let alpn = match role {
            Role::Directory => tls::ALPN_DIRECTORY,
            Role::Payee => tls::ALPN_PEER,
        };
        let tls = tls::client_config(&self.identity, *key.as_bytes(), alpn)
            .map_err(|error| CallError::Settings(error.to_string()))?;
        connect(&self.endpoint, to, client_config(tls, role)?, limit).await
    }

    /// Where `host` can be reached from this socket.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let v6 = self.endpoint.local_addr()?.is_ipv6();
        let found = lookup_host((host, port)).await?;
        let usable: Vec<SocketAddr> = found
            .filter(|address| v6 || address.is_ipv4())
            .take(ADDRESSES_MAX)
            .collect();
        if usable.is_empty() {
            return Err(std::io::Error::other(
                "it has no address that this socket can reach",
            ));
        }
        Ok(usable)
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes every connection and waits until that is said, `limit` at most.
    pub(crate) async fn close(&self, limit: Duration) {
        self.endpoint.close(close_code(CloseCode::BYE), b"");
        // A peer that is gone must not hold us.
        let _ = timeout(limit, self.endpoint.wait_idle()).await;
    }
}

/// Why nobody was reached.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Somebody with another key answered.
    #[error("somebody answers at {0} with another key than the expected one")]
    WrongKey(SocketAddr),
    /// Nobody answered in time.
    #[error("no answer from {0}")]
    Silence(SocketAddr),
    /// Who answered does not speak this version.
    #[error("who answers at {0} does not speak this version of the protocol")]
    Version(SocketAddr),
    /// The connection failed.
    #[error("{0} cannot be reached: {1}")]
    Failed(SocketAddr, String),
    /// Our own settings were not taken.
    #[error("our settings are not usable: {0}")]
    Settings(String),
}

/// The key that the other side of a finished handshake has proved.
pub(crate) fn proven_key(connection: &Connection) -> Option<PublicKey> {
    let identity = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    let [certificate] = identity.as_slice() else {
        return None;
    };
    tls::key_of(certificate).ok().map(PublicKey::from_bytes)
}

/// Whether we are willing to call an address that the directory gave us.
pub(crate) fn is_callable(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

pub(crate) fn close_code(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.0)
}

/// Why a connection ended, in our own words: what the other side says about it is foreign text.
pub(crate) fn ending(error: &ConnectionError) -> String {
    let told = match error {
        ConnectionError::ApplicationClosed(close) => {
            match CloseCode(u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX)) {
                CloseCode::BYE => "the other side closed the connection",
                CloseCode::PROTOCOL => "the other side says that this node broke the protocol",
                CloseCode::TIMEOUT => "the other side says that this node took too long",
                CloseCode::FULL => "the other side has no room",
                CloseCode::STOPPING => "the other side stops",
                CloseCode::SLOW => "the other side says that this node reads too slowly",
                CloseCode::REPLACED => {
                    "the account has another key now, and this home has not got it"
                }
                CloseCode(code) => return format!("the other side closed the connection ({code})"),
            }
        }
        ConnectionError::ConnectionClosed(close) => {
            return format!(
                "the other side broke off the connection ({})",
                close.error_code
            );
        }
        ConnectionError::Reset => "the other side knows nothing of the connection any more",
        ConnectionError::TimedOut => "no answer any more",
        ConnectionError::LocallyClosed => "closed by this node",
        error => return Printable(&error.to_string()).to_string(),
    };
    told.to_owned()
}

async fn connect(
    endpoint: &Endpoint,
    to: SocketAddr,
    config: ClientConfig,
    limit: Duration,
) -> Result<Connection, CallError> {
    let connecting = endpoint
        .connect_with(config, to, SERVER_NAME)
        .map_err(|error| CallError::Failed(to, error.to_string()))?;
    match timeout(limit, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(call_error(to, &error)),
        Err(_) => Err(CallError::Silence(to)),
    }
}

fn call_error(to: SocketAddr, error: &ConnectionError) -> CallError {
    match error {
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::crypto(WRONG_KEY_ALERT) =>
        {
            CallError::WrongKey(to)
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::crypto(NO_PROTOCOL_ALERT) =>
        {
            CallError::Version(to)
        }
        ConnectionError::VersionMismatch => CallError::Version(to),
        ConnectionError::TimedOut => CallError::Silence(to),
        error => CallError::Failed(to, ending(error)),
    }
}

fn raw_socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A smaller buffer only loses bursts.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_LEN);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn server_config(identity: &TlsIdentity) -> Result<ServerConfig, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Quic(error.to_string());
    let tls = tls::server_config(identity, &[tls::ALPN_PEER]).map_err(|error| refused(&error))?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| refused(&error))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(TABS_RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(PEER_RECEIVE_WINDOW));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(HANDSHAKE_BUFFER_LEN_MAX)
        .incoming_buffer_size_total(HANDSHAKE_BUFFERS_LEN_MAX);
    Ok(config)
}

fn client_config(tls: rustls::ClientConfig, role: Role) -> Result<ClientConfig, CallError> {
    let crypto =
        QuicClientConfig::try_from(tls).map_err(|error| CallError::Settings(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let (stream, connection) = match role {
        Role::Directory => (DIRECTORY_STREAM_WINDOW, DIRECTORY_RECEIVE_WINDOW),
        Role::Payee => (PEER_RECEIVE_WINDOW, PEER_RECEIVE_WINDOW),
    };
    let mut transport = transport();
    transport
        .stream_receive_window(VarInt::from_u32(stream))
        .receive_window(VarInt::from_u32(connection));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// What holds for every connection: whoever is called opens no streams, and nobody sends
/// datagrams.
fn transport() -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(PACKET_MAX);
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

/// The TLS alert `no_application_protocol`.
const NO_PROTOCOL_ALERT: u8 = 120;

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::Quic(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_reach_nobody_or_everybody_are_not_called() {
        for (address, callable) in [
            ("127.0.0.1:4433", true),
            ("[2001:db8::7]:4433", true),
            ("127.0.0.1:0", false),
            ("0.0.0.0:4433", false),
            ("[::]:4433", false),
            ("224.0.0.1:4433", false),
            ("255.255.255.255:4433", false),
            ("[::ffff:255.255.255.255]:4433", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(is_callable(&address), callable, "{address}");
        }
    }

    #[tokio::test]
    async fn peers_meet_only_under_the_expected_key() {
        let bind = || SocketAddr::from(([127, 0, 0, 1], 0));
        let identity = |seed: u8| TlsIdentity::new(&[seed; 32]).expect("any seed is a key");
        let payee = Socket::bind(bind(), identity(1), true).expect("bound");
        let payer = Socket::bind(bind(), identity(2), false).expect("bound");
        let to = payee.endpoint().local_addr().expect("bound");
        let key = |seed| PublicKey::from_bytes(identity(seed).public_key());
        let limit = Duration::from_secs(5);
        let serve = async {
            for _ in 0..3 {
                let incoming = payee.endpoint().accept().await.expect("open");
                if let Ok(connection) = incoming.await {
                    assert_eq!(proven_key(&connection), Some(key(2)));
                    connection.closed().await;
                }
            }
        };
        let call = async {
            let met = payer
                .call(to, key(1), Role::Payee, limit)
                .await
                .expect("met");
            assert_eq!(proven_key(&met), Some(key(1)));
            drop(met);
            let wrong = payer.call(to, key(3), Role::Payee, limit).await;
            assert_eq!(wrong.err(), Some(CallError::WrongKey(to)));
            let other = payer.call(to, key(1), Role::Directory, limit).await;
            assert_eq!(other.err(), Some(CallError::Version(to)));
        };
        tokio::join!(serve, call);
    }
}
