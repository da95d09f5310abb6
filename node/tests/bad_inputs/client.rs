//! A member on bare QUIC that sends whatever bytes it likes, and what comes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::entry::Registration;
use quid_common::frame::{BODY_LEN_MAX, Frame, FrameReader};
use quid_common::id::InstanceId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{Find, Login, Message, Register, Run, Welcome};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

/// Longest wait for an answer, or for the end; nothing here waits for a deadline of the other side.
const SOON: Duration = Duration::from_secs(20);

/// What a bad input came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer, which may be a named refusal.
    Answer(Box<Message>),
    /// The stream ended without one.
    Ended,
    /// The connection was closed, with this code.
    Closed(u64),
    /// Nothing of all that, for very long.
    Silence,
}

/// A key, and where it may call from.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) key: SecretKey,
    identity: TlsIdentity,
    endpoint: Endpoint,
    directory: DirectoryAddress,
}

impl Caller {
    pub(crate) fn new(seed: u8, directory: &DirectoryAddress) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        Self {
            identity: TlsIdentity::new(&key.seed()).expect("a key"),
            endpoint: Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port"),
            directory: directory.clone(),
            key,
        }
    }

    /// A stranger's connection to the directory.
    pub(crate) async fn stranger(&self) -> Connection {
        let (host, port) = (self.directory.host(), self.directory.port());
        let place = SocketAddr::new(host.parse().expect("an IP"), port);
        self.call(place, self.directory.key(), tls::ALPN_DIRECTORY)
            .await
    }

    /// A session.
    pub(crate) async fn session(&self) -> (Connection, Welcome) {
        let connection = self.stranger().await;
        let login = Login {
            instance: InstanceId([7; 16]),
            listening: false,
            hidden: false,
            checkpoint: None,
        };
        match ask(&connection, &login.into()).await {
            Message::Welcome(welcome) => (connection, welcome),
            other => panic!("no session: {other:?}"),
        }
    }

    pub(crate) async fn register(&self, name: &str) {
        let registration = Registration {
            directory: self.directory.key(),
            name: name.parse().expect("a name"),
            key: self.key.public(),
            recovery: None,
        };
        let registration = Signed::new(registration, &self.key).into_bytes().into();
        let wish = Register {
            registration,
            invite: None,
        };
        let answer = ask(&self.stranger().await, &wish.into()).await;
        assert!(matches!(answer, Message::Registered(_)), "{answer:?}");
    }

    /// Where an account's node listens, and its key.
    pub(crate) async fn find(&self, name: &str) -> (SocketAddr, PublicKey) {
        let (connection, _) = self.session().await;
        let name = name.parse().expect("a name");
        match ask(&connection, &Find { name }.into()).await {
            Message::Found(found) => {
                let place = found.address.expect("online");
                (place.parse().expect("an address"), found.key)
            }
            other => panic!("not found: {other:?}"),
        }
    }

    /// A connection to a node, as a payer has it.
    pub(crate) async fn peer(&self, (place, key): (SocketAddr, PublicKey)) -> Connection {
        self.call(place, key, tls::ALPN_PEER).await
    }

    async fn call(&self, to: SocketAddr, key: PublicKey, alpn: &[u8]) -> Connection {
        let tls = tls::client_config(&self.identity, *key.as_bytes(), alpn).expect("settings");
        let tls = QuicClientConfig::try_from(tls).expect("settings");
        let config = ClientConfig::new(Arc::new(tls));
        let connecting = self.endpoint.connect_with(config, to, tls::SERVER_NAME);
        connecting.expect("settings").await.expect("it is up")
    }
}

/// A stream of messages, or of what should have been.
pub(crate) struct Stream {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    frames: FrameReader,
    run: Run,
}

impl Stream {
    pub(crate) async fn open(connection: &Connection) -> Option<Self> {
        let (send, receive) = connection.open_bi().await.ok()?;
        Some(Self {
            connection: connection.clone(),
            send,
            receive,
            frames: FrameReader::new(BODY_LEN_MAX),
            run: Run::new(),
        })
    }

    /// Sends bytes, unless the other side has had enough.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(SOON, self.send.write_all(bytes))
            .await
            .expect("it reads or ends");
    }

    pub(crate) fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// The next answer, or the end.
    pub(crate) async fn next(&mut self) -> Outcome {
        let next = async {
            loop {
                if let Some(frame) = self.frames.next_frame().expect("it keeps the cap") {
                    let message = Message::from_frame(&frame).expect("its own encoding");
                    let message = self.run.read(message).expect("one before it");
                    return Outcome::Answer(Box::new(message));
                }
                match self.receive.read_chunk(64 * 1024, true).await {
                    Ok(Some(chunk)) => self.frames.push(&chunk.bytes),
                    Ok(None) => return Outcome::Ended,
                    Err(_) => match self.connection.close_reason() {
                        Some(quinn::ConnectionError::ApplicationClosed(close)) => {
                            return Outcome::Closed(close.error_code.into_inner());
                        }
                        Some(other) => panic!("not an orderly close: {other:?}"),
                        None => return Outcome::Ended,
                    },
                }
            }
        };
        timeout(SOON, next).await.unwrap_or(Outcome::Silence)
    }
}

/// One message on a stream of its own, and the answer.
pub(crate) async fn ask(connection: &Connection, question: &Message) -> Message {
    match send(connection, &frame(question)).await {
        Outcome::Answer(answer) => *answer,
        other => panic!("not answered: {other:?}"),
    }
}

/// Bytes on a stream of their own, and nothing after them.
pub(crate) async fn send(connection: &Connection, bytes: &[u8]) -> Outcome {
    let Some(mut stream) = Stream::open(connection).await else {
        return match connection.close_reason() {
            Some(quinn::ConnectionError::ApplicationClosed(close)) => {
                Outcome::Closed(close.error_code.into_inner())
            }
            other => panic!("not an orderly close: {other:?}"),
        };
    };
    stream.send(bytes).await;
    stream.finish();
    stream.next().await
}

/// A message as it travels.
pub(crate) fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

/// A body as it travels, be it a message's or not.
pub(crate) fn framed(kind: u16, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { kind, body }.write(&mut bytes);
    bytes
}

/// That a reason has a name.
pub(crate) fn named(reason: Reason) {
    assert!(
        Reason::ALL.contains(&reason),
        "a reason without a name: {reason:?}"
    );
}
