//! A peer on bare QUIC that says whatever a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::chain::{Chain, Link};
use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Memo, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::signed::Signed;
use quid_common::tab::Terms;
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{Find, Login, Message, OpenSettle, Run, Submit, SubmitTab, Welcome};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use tokio::time::timeout;

use crate::world::{World, amount};

const SOON: Duration = Duration::from_secs(10);

/// An account that a test plays itself, with a listening session.
pub(crate) struct Puppet {
    pub(crate) key: SecretKey,
    pub(crate) welcome: Welcome,
    identity: TlsIdentity,
    endpoint: Endpoint,
    directory: Connection,
}

impl Puppet {
    pub(crate) async fn start(world: &World, name: &str) -> Self {
        world.account(name).await;
        let pem = std::fs::read_to_string(world.path(name).join("key.pem")).expect("a key");
        let key = SecretKey::from_pem(&pem).expect("a key");
        let identity = TlsIdentity::new(&key.seed()).expect("a key");
        let tls = tls::server_config(&identity, &[tls::ALPN_PEER]).expect("settings");
        let tls = QuicServerConfig::try_from(tls).expect("settings");
        let server = ServerConfig::with_crypto(Arc::new(tls));
        let endpoint =
            Endpoint::server(server, SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let address = world.address();
        let place = SocketAddr::new(address.host().parse().expect("an IP"), address.port());
        let directory = call(
            &endpoint,
            &identity,
            place,
            address.key(),
            tls::ALPN_DIRECTORY,
        )
        .await;
        let login = Login {
            instance: InstanceId([7; 16]),
            listening: true,
            hidden: false,
            checkpoint: None,
        };
        let welcome = match ask(&directory, login.into()).await {
            Message::Welcome(welcome) => welcome,
            other => panic!("{other:?}"),
        };
        Self {
            key,
            welcome,
            identity,
            endpoint,
            directory,
        }
    }

    pub(crate) fn ledger(&self) -> LedgerId {
        self.welcome.ledger
    }

    /// The next payer's stream.
    pub(crate) async fn payer(&self) -> Wire {
        let accept = async {
            let incoming = self.endpoint.accept().await.expect("open");
            let connection = incoming.await.expect("a payer");
            let (send, receive) = connection.accept_bi().await.expect("a stream");
            Wire::new(connection, send, receive)
        };
        timeout(SOON, accept).await.expect("a payer comes")
    }

    /// A stream to a payee.
    pub(crate) async fn payee(&self, name: &str) -> (PublicKey, Wire) {
        let find = Find {
            name: crate::world::name(name),
        };
        let Message::Found(found) = ask(&self.directory, find.into()).await else {
            panic!("nobody is called {name}")
        };
        let place = found.address.expect("online").parse().expect("an address");
        let connection = call(
            &self.endpoint,
            &self.identity,
            place,
            found.key,
            tls::ALPN_PEER,
        )
        .await;
        let (send, receive) = connection.open_bi().await.expect("a stream");
        (found.key, Wire::new(connection, send, receive))
    }

    /// Submits an order on this account's own session.
    pub(crate) async fn submit(&self, order: &[u8]) -> Message {
        let (send, receive) = self.directory.open_bi().await.expect("a stream");
        let mut wire = Wire::new(self.directory.clone(), send, receive);
        wire.send(OpenSettle {}.into()).await;
        let submit = Submit {
            number: 1,
            order: order.to_vec().into(),
            decline: None,
        };
        wire.send(submit.into()).await;
        wire.next().await.expect("answered")
    }

    /// Opens a tab of ten units to `payee`, in truth; its receipt and its chain.
    pub(crate) async fn open_tab(&self, payee: PublicKey, number: u8) -> (Receipt, Chain) {
        let now = self.welcome.time;
        let id = OrderId::new(now.plus(Duration::from_secs(60)), [number; 10]);
        let chain = Chain::new(id, 10, Link([number; 32])).expect("within bounds");
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger(),
            id,
            payer: self.key.public(),
            payee,
            unit: amount("0.1"),
            length: 10,
            anchor: chain.anchor(),
            expires: now.plus(Duration::from_secs(600)),
            grace: 60,
            memo: Memo::default(),
            reference: None,
        };
        let (send, receive) = self.directory.open_bi().await.expect("a stream");
        let mut wire = Wire::new(self.directory.clone(), send, receive);
        wire.send(OpenSettle {}.into()).await;
        let submit = SubmitTab {
            number: 1,
            terms: Signed::new(terms, &self.key).into_bytes().into(),
        };
        wire.send(submit.into()).await;
        match wire.next().await.expect("answered") {
            Message::Settled(settled) => (settled.receipt, chain),
            other => panic!("{other:?}"),
        }
    }

    /// An order by this account that expires `life` from now, or did before.
    pub(crate) fn order(&self, payee: PublicKey, text: &str, number: u8, life: i64) -> Order {
        let now = self.welcome.time.as_millis();
        let expiry = now.checked_add_signed(life * 1_000).expect("near");
        Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger(),
            id: OrderId::new(LedgerTime::from_millis(expiry), [number; 10]),
            payer: self.key.public(),
            payee,
            amount: amount(text),
            memo: Memo::default(),
            reference: None,
        }
    }

    pub(crate) fn sign(&self, order: Order) -> SignedOrder {
        Signed::new(order, &self.key)
    }
}

/// Messages on one stream.
pub(crate) struct Wire {
    pub(crate) connection: Connection,
    send: SendStream,
    receive: RecvStream,
    frames: FrameReader,
    run: Run,
    /// The kinds of all messages so far, as they came.
    pub(crate) kinds: Vec<u16>,
}

impl Wire {
    fn new(connection: Connection, send: SendStream, receive: RecvStream) -> Self {
        Self {
            connection,
            send,
            receive,
            frames: FrameReader::new(BODY_LEN_MAX),
            run: Run::new(),
            kinds: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let mut bytes = Vec::new();
        message.to_frame().write(&mut bytes);
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.expect("open");
    }

    /// The next message; none if the stream or its connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = async {
            loop {
                if let Some(frame) = self.frames.next_frame().expect("frames") {
                    self.kinds.push(frame.kind);
                    let message = Message::from_frame(&frame).expect("a message");
                    return Some(self.run.read(message).expect("one before it"));
                }
                let chunk = self.receive.read_chunk(64 * 1024, true).await.ok()??;
                self.frames.push(&chunk.bytes);
            }
        };
        timeout(SOON, next).await.expect("it answers")
    }
}

async fn ask(connection: &Connection, question: Message) -> Message {
    let (send, receive) = connection.open_bi().await.expect("a stream");
    let mut wire = Wire::new(connection.clone(), send, receive);
    wire.send(question).await;
    wire.send.finish().expect("open");
    wire.next().await.expect("answered")
}

async fn call(
    endpoint: &Endpoint,
    identity: &TlsIdentity,
    to: SocketAddr,
    key: PublicKey,
    alpn: &[u8],
) -> Connection {
    let tls = tls::client_config(identity, *key.as_bytes(), alpn).expect("settings");
    let tls = QuicClientConfig::try_from(tls).expect("settings");
    let config = ClientConfig::new(Arc::new(tls));
    let connecting = endpoint
        .connect_with(config, to, tls::SERVER_NAME)
        .expect("settings");
    connecting.await.expect("reached")
}
