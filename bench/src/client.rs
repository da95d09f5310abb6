//! A bare node: a key, a QUIC endpoint with a node's settings, and a session with the directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quid_common::address::DirectoryAddress;
use quid_common::amount::Amount;
use quid_common::entry::Registration;
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{LIFE_DEFAULT, Memo, Order, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{Login, Message, Register, Welcome};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig,
};
use quinn::{TokioRuntime, TransportConfig, VarInt};

use rand::RngExt;

use crate::report::Failure;
use crate::stream::ask;

/// A key and the endpoint that proves it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) key: SecretKey,
    pub(crate) endpoint: Endpoint,
    identity: TlsIdentity,
}

/// A session that has logged in.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) welcome: Welcome,
    begun: Instant,
}

impl Node {
    /// The node with this number in its role; it takes peers' connections if `listen`.
    pub(crate) fn new(role: u8, number: u32, listen: bool) -> Result<Self, Failure> {
        let key = key(role, number);
        let identity = TlsIdentity::new(&key.seed())?;
        let server = listen
            .then(|| server_config(&identity, tls::ALPN_PEER))
            .transpose()?;
        let socket = std::net::UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let runtime = Arc::new(TokioRuntime);
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(PACKET_MAX)?;
        let endpoint = Endpoint::new(config, server, socket, runtime)?;
        Ok(Self {
            key,
            endpoint,
            identity,
        })
    }

    /// The node with this number in its role, calling from somebody else's endpoint.
    pub(crate) fn on(endpoint: &Endpoint, role: u8, number: u32) -> Result<Self, Failure> {
        let key = key(role, number);
        let identity = TlsIdentity::new(&key.seed())?;
        Ok(Self {
            key,
            endpoint: endpoint.clone(),
            identity,
        })
    }

    /// The settings for calls to whoever proves `key`.
    pub(crate) fn config(&self, key: PublicKey, alpn: &[u8]) -> Result<ClientConfig, Failure> {
        client_config(&self.identity, key, alpn)
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// A connection to whoever proves `key` at `to`.
    pub(crate) async fn call(
        &self,
        to: SocketAddr,
        key: PublicKey,
        alpn: &[u8],
    ) -> Result<Connection, Failure> {
        let config = self.config(key, alpn)?;
        Ok(self
            .endpoint
            .connect_with(config, to, tls::SERVER_NAME)?
            .await?)
    }

    /// Calls the directory, registers `name` if need be, and logs in.
    pub(crate) async fn log_in(
        &self,
        directory: &DirectoryAddress,
        name: &str,
        listening: bool,
    ) -> Result<Session, Failure> {
        let to = socket_address(directory)?;
        let connection = self.call(to, directory.key(), tls::ALPN_DIRECTORY).await?;
        self.register(&connection, directory, name).await?;
        self.begin(connection, listening).await
    }

    pub(crate) async fn register(
        &self,
        connection: &Connection,
        directory: &DirectoryAddress,
        name: &str,
    ) -> Result<(), Failure> {
        let registration = Registration {
            directory: directory.key(),
            name: name.parse()?,
            key: self.public(),
            recovery: None,
        };
        let registration = Signed::new(registration, &self.key).into_bytes().into();
        let question = Register {
            registration,
            invite: None,
        };
        match ask(connection.open_bi().await?, question).await? {
            Message::Registered(_) => Ok(()),
            answer => Err(format!("not registered: {answer:?}").into()),
        }
    }

    /// Logs in on a connection whose key has an account.
    pub(crate) async fn begin(
        &self,
        connection: Connection,
        listening: bool,
    ) -> Result<Session, Failure> {
        let instance = self
            .public()
            .as_bytes()
            .first_chunk()
            .map_or([0; 16], |id| *id);
        let login = Login {
            instance: InstanceId(instance),
            listening,
            hidden: false,
            checkpoint: None,
        };
        match ask(connection.open_bi().await?, login).await? {
            Message::Welcome(welcome) => Ok(Session {
                connection,
                welcome,
                begun: Instant::now(),
            }),
            answer => Err(format!("not logged in: {answer:?}").into()),
        }
    }
}

impl Session {
    pub(crate) const fn ledger(&self) -> LedgerId {
        self.welcome.ledger
    }

    /// The ledger's time, counted on from the login.
    pub(crate) fn now(&self) -> LedgerTime {
        self.welcome.time.plus(self.begun.elapsed())
    }
}

impl Session {
    /// An order of one unit by `payer`, signed, for this session's ledger.
    pub(crate) fn order(&self, payer: &SecretKey, payee: PublicKey) -> Vec<u8> {
        let mut random = [0; 10];
        rand::rng().fill(&mut random);
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger(),
            id: OrderId::new(self.now().plus(LIFE_DEFAULT), random),
            payer: payer.public(),
            payee,
            amount: ONE,
            memo: Memo::default(),
            reference: None,
        };
        Signed::new(order, payer).into_bytes()
    }
}

/// One of the currency's smallest unit.
pub(crate) const ONE: Amount = match Amount::new(1) {
    Some(one) => one,
    None => panic!("one can be counted"),
};

/// Whether asking again with the same bytes may help.
pub(crate) const fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::BUSY)
}

/// Where the directory listens.
pub(crate) fn socket_address(directory: &DirectoryAddress) -> Result<SocketAddr, Failure> {
    Ok(SocketAddr::new(directory.host().parse()?, directory.port()))
}

/// The key of the node with this number in its role. Anybody could make it: for benches only.
pub(crate) fn key(role: u8, number: u32) -> SecretKey {
    let mut seed = [role; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed)
}

pub(crate) fn server_config(identity: &TlsIdentity, alpn: &[u8]) -> Result<ServerConfig, Failure> {
    let tls = tls::server_config(identity, &[alpn])?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

pub(crate) fn client_config(
    identity: &TlsIdentity,
    key: PublicKey,
    alpn: &[u8],
) -> Result<ClientConfig, Failure> {
    let tls = tls::client_config(identity, *key.as_bytes(), alpn)?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// A node's longest packet (node/src/quic.rs).
const PACKET_MAX: u16 = 6_400;

/// A node's limits (node/src/quic.rs).
fn transport() -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(PACKET_MAX);
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(128 * 1024))
        .receive_window(VarInt::from_u32(512 * 1024))
        .send_window(128 * 1024)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_secs(15)).ok())
        .keep_alive_interval(Some(Duration::from_secs(5)));
    transport
}

/// Seeds' first bytes after the number, by role.
pub(crate) const PAYEE: u8 = 0xb0;
/// See [`PAYEE`].
pub(crate) const PAYER: u8 = 0xa0;

/// A number in letters only: names that differ in digits alone may look alike.
pub(crate) fn letters(number: u32) -> String {
    let mut text = String::new();
    let mut rest = number;
    for _ in 0..6 {
        let letter = LETTERS.get((rest % 16) as usize).copied().unwrap_or(b'a');
        text.push(char::from(letter));
        rest /= 16;
    }
    text
}

/// Letters of which none looks like another (PROTOCOL.md, "Stranger").
const LETTERS: &[u8; 16] = b"abcdefghjkpqstyz";
