//! Attacks on the directory over real QUIC: whatever one peer does, it gets a named refusal or an
//! orderly close, and an honest pair goes on paying.

mod facts;
mod floods;
mod limits;
mod messages;
mod operator;
mod readers;
mod sessions;
mod strangers;
mod tabs;
#[path = "../world/mod.rs"]
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quid_common::frame::Frame;
use quid_common::key::SecretKey;
use quid_common::order::SignedOrder;
use quid_common::refusal::Reason;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::*;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use world::{Client, Directory, Stream};

/// A directory on which Alice pays Bob, one order after another, whatever else happens.
struct Besieged {
    directory: Directory,
    paid: Arc<AtomicU64>,
    pair: JoinHandle<()>,
}

async fn besieged() -> Besieged {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let paid = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&paid);
    let pair = tokio::spawn(async move {
        let mut settle = alice.settle().await;
        for number in 0.. {
            let order = alice.order(bob.key(), 1, number);
            loop {
                match settle.submit(&order).await {
                    Ok(_) => break,
                    // Not final: the same bytes again.
                    Err(Reason::BUSY) => tokio::task::yield_now().await,
                    Err(reason) => panic!("an honest order was refused: {reason:?}"),
                }
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    Besieged {
        directory,
        paid,
        pair,
    }
}

impl std::ops::Deref for Besieged {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

impl Besieged {
    fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Waits until the pair has paid three times more.
    async fn still_pays(&self) {
        let enough = self.paid() + 3;
        let begun = Instant::now();
        while self.paid() < enough {
            assert!(!self.pair.is_finished(), "the pair was cut off");
            assert!(begun.elapsed() < Duration::from_secs(5), "the pair starves");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the directory's process holds in memory, in bytes.
    fn memory(&self) -> u64 {
        let process = process(self);
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let status = status.expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("Linux says");
        let kib = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("a number") * 1024
    }
}

impl Drop for Besieged {
    fn drop(&mut self) {
        self.pair.abort();
    }
}

/// The number of the directory's process.
fn process(directory: &Directory) -> u32 {
    let lock = std::fs::read_to_string(directory.data().join("lock")).expect("it serves");
    let number = lock
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok());
    number.expect("`process NUMBER (serve)`")
}

/// The code with which the directory closes `connection`.
async fn closed(connection: &Connection) -> u64 {
    match timeout(Duration::from_secs(20), connection.closed()).await {
        Ok(ConnectionError::ApplicationClosed(close)) => close.error_code.into_inner(),
        other => panic!("not an orderly close: {other:?}"),
    }
}

/// The reason for which `message` is refused; `None` if it is answered otherwise, or not at all.
async fn refusal(client: &Client, message: &Message) -> Option<Reason> {
    refusal_of(client, &message.to_frame()).await
}

async fn refusal_of(client: &Client, frame: &Frame) -> Option<Reason> {
    let mut stream = client.open().await;
    let mut bytes = Vec::new();
    frame.write(&mut bytes);
    stream.send.write_all(&bytes).await.expect("connected");
    match timeout(Duration::from_secs(5), stream.next())
        .await
        .expect("an answer, or the end")
    {
        Some(Message::Refused(Refused { reason })) => Some(reason),
        _ => None,
    }
}

/// `count` submissions of one order.
fn frames(count: u64, order: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let submit = Submit {
            number,
            order: order.to_vec().into(),
            decline: None,
        };
        Message::from(submit).to_frame().write(&mut bytes);
    }
    bytes
}

/// Sends `bytes` again and again and reads nothing, until the connection ends.
async fn flood(mut stream: Stream, bytes: Arc<[u8]>) {
    while stream.send.write_all(&bytes).await.is_ok() {}
}

/// The order with a signature that is not its payer's.
fn forged(order: &SignedOrder) -> Vec<u8> {
    let mut bytes = order.bytes().to_vec();
    let signature = bytes.len() - 64;
    bytes[signature + 5] ^= 1;
    bytes
}

fn subscribe(after: Option<u64>) -> Message {
    Subscribe {
        after,
        presence: false,
    }
    .into()
}

async fn bidirectional(connection: &Connection) -> Stream {
    let (send, receive) = connection.open_bi().await.expect("connected");
    Stream::new(send, receive)
}

fn socket_address(directory: &Directory) -> SocketAddr {
    let address = &directory.address;
    SocketAddr::new(address.host().parse().expect("an address"), address.port())
}

fn client_config(directory: &Directory, seed: u8, transport: TransportConfig) -> ClientConfig {
    let identity = TlsIdentity::new(&[seed; 32]).expect("a sound seed");
    let pin = *directory.address.key().as_bytes();
    let config = tls::client_config(&identity, pin, tls::ALPN_DIRECTORY).expect("sound");
    let config = QuicClientConfig::try_from(config).expect("TLS 1.3");
    let mut config = ClientConfig::new(Arc::new(config));
    config.transport_config(Arc::new(transport));
    config
}

async fn connect(directory: &Directory, seed: u8, transport: TransportConfig) -> Client {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let config = client_config(directory, seed, transport);
    let connecting = endpoint.connect_with(config, socket_address(directory), tls::SERVER_NAME);
    let connection = connecting
        .expect("sound")
        .await
        .expect("the directory is up");
    let key = SecretKey::from_seed(&[seed; 32]);
    Client {
        key,
        directory: directory.address.key(),
        connection,
        endpoint,
    }
}
