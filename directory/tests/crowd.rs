//! A crowd online at once: 500 members, or 10,000 with QUID_CROWD=10000 (`./test.sh --all`).

mod world;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use quid_common::entry::Registration;
use quid_common::id::InstanceId;
use quid_common::key::SecretKey;
use quid_common::signed::Signed;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{Login, Message, Register};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use world::Directory;

#[tokio::test]
async fn everybody_in_a_crowd_is_in_who_and_nobody_twice() {
    let crowd: u32 = match std::env::var("QUID_CROWD") {
        Ok(number) => number.parse().expect("QUID_CROWD is a number"),
        Err(_) => 500,
    };
    let directory = Directory::start("1");
    let reader = directory.member(1, "reader").await;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let mut connections = Vec::new();
    for number in 0..crowd {
        connections.push(join(&directory, &endpoint, number).await);
    }
    let names = reader.who().await;
    assert_eq!(names.len() as u32, crowd + 1);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    // A tenth leaves with a word, and is gone at once.
    for connection in connections.drain(..connections.len() / 10) {
        connection.close(0_u32.into(), b"");
    }
    let left = (crowd + 1 - crowd / 10) as usize;
    for _ in 0..100 {
        if reader.who().await.len() == left {
            break;
        }
    }
    assert_eq!(reader.who().await.len(), left);
    directory.audit();
}

async fn join(directory: &Directory, endpoint: &Endpoint, number: u32) -> Connection {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let key = SecretKey::from_seed(&seed);
    let identity = TlsIdentity::new(&seed).expect("a sound seed");
    let pin = *directory.address.key().as_bytes();
    let config = tls::client_config(&identity, pin, tls::ALPN_DIRECTORY).expect("sound");
    let mut config = ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(config).expect("TLS 1.3"),
    ));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(std::time::Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    let address = &directory.address;
    let server = SocketAddr::new(address.host().parse().expect("an address"), address.port());
    let connecting = endpoint
        .connect_with(config, server, tls::SERVER_NAME)
        .expect("sound");
    let connection = connecting.await.expect("the directory is up");
    let registration = Registration {
        directory: address.key(),
        name: format!("crowd-{number:05}-x")
            .parse()
            .expect("a valid name"),
        key: key.public(),
        recovery: None,
    };
    let registration = Signed::new(registration, &key).into_bytes().into();
    let answer = ask(
        &connection,
        &Register {
            registration,
            invite: None,
        }
        .into(),
    )
    .await;
    assert!(matches!(answer, Message::Registered(_)), "{answer:?}");
    let instance = InstanceId([0; 16]);
    let login = Login {
        instance,
        listening: true,
        hidden: false,
        checkpoint: None,
    };
    let answer = ask(&connection, &login.into()).await;
    assert!(matches!(answer, Message::Welcome(_)), "{answer:?}");
    connection
}

async fn ask(connection: &Connection, message: &Message) -> Message {
    let (send, receive) = connection.open_bi().await.expect("connected");
    let mut stream = world::Stream::new(send, receive);
    stream.send(message).await;
    stream.next().await.expect("an answer")
}
