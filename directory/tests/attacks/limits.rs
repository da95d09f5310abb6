//! Rates and quotas: who goes beyond them waits or is told so by name, and nobody else notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quid_common::frame::Frame;
use quid_common::refusal::Reason;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::*;
use quid_directory::sessions::SESSIONS_OF_FROZEN_MAX;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::task::JoinSet;

use super::world::{Client, Directory, Member};
use super::{besieged, socket_address};

#[tokio::test]
async fn registrations_beyond_the_rate_are_told_busy_and_the_earlier_ones_stand() {
    let directory = Directory::start_told("100", &["--registrations", "1/h:2"]);
    let (alice, bob) = (directory.client(1).await, directory.client(2).await);
    let entry = alice.register("alice").await;
    assert!(entry.is_ok() && bob.register("bob").await.is_ok());
    let carol = directory.client(3).await;
    assert_eq!(carol.register("carol").await, Err(Reason::BUSY));
    assert_eq!(alice.register("alice").await, entry, "it is none");
    let alice = alice.log_in(false).await.expect("registered");
    assert_eq!(alice.balance().await, 100_000_000);
}

#[tokio::test]
async fn one_network_cannot_try_names_without_end_and_others_can_register() {
    let directory = Directory::start_told("100", &["--registrations-per-network", "1/h:20"]);
    let mut told = Vec::new();
    for seed in 1..4 {
        let stranger = directory.client(seed).await;
        for _ in 0..15 {
            told.push(stranger.register("treasury").await);
        }
    }
    let reserved = told.iter().filter(|it| **it == Err(Reason::NAME_RESERVED));
    assert_eq!(reserved.count(), 20);
    assert!(
        told[20..].iter().all(|it| *it == Err(Reason::BUSY)),
        "{told:?}"
    );
    let elsewhere = Endpoint::client(([127, 0, 9, 1], 0).into()).expect("this machine's own");
    let honest = call(&directory, elsewhere, 9, |config| config).await;
    let honest = honest.expect("the directory is up");
    assert!(honest.register("honest").await.is_ok());
}

#[tokio::test]
async fn whoever_asks_without_end_waits_for_itself() {
    let directory = Directory::start_told("100", &["--questions", "20/s:40"]);
    let (mallory, alice) = (
        directory.member(3, "mallory").await,
        directory.member(1, "alice").await,
    );
    let begun = Instant::now();
    // A page of two hundred counts as 41 questions: all of the burst, at once.
    mallory.who().await;
    let first = begun.elapsed();
    mallory.who().await;
    let second = begun.elapsed();
    assert!(first < Duration::from_secs(1), "{first:?}");
    assert!(second > Duration::from_millis(1500), "{second:?}");
    let mut scraping = JoinSet::new();
    for _ in 0..10 {
        let connection = mallory.client.connection.clone();
        scraping.spawn(async move {
            let mut stream = super::bidirectional(&connection).await;
            stream
                .send(
                    &Who {
                        after: None,
                        limit: 200,
                    }
                    .into(),
                )
                .await;
            stream.next().await
        });
    }
    let begun = Instant::now();
    for _ in 0..30 {
        alice.balance().await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // Ten pages take 20 s at this rate: some wait their turn, the rest are told so.
    let answers = scraping.join_all().await;
    let busy = Message::from(Refused {
        reason: Reason::BUSY,
    });
    let refused = answers
        .iter()
        .filter(|it| **it == Some(busy.clone()))
        .count();
    assert!((5..10).contains(&refused), "{refused} refused");
    assert!(
        answers
            .iter()
            .any(|it| matches!(it, Some(Message::WhoPage(_))))
    );
    // Orders are not questions.
    let order = mallory.order(alice.key(), 1, 1);
    assert!(mallory.settle().await.submit(&order).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_read_has_a_rate_too() {
    let directory = Directory::start_told("100", &["--questions", "20/s:20"]);
    let mallory = directory.member(3, "mallory").await;
    // Each counts as five questions: the burst is four, and after that four in a second.
    let begun = Instant::now();
    for _ in 0..8 {
        let mut stream = super::bidirectional(&mallory.client.connection).await;
        let mut bytes = Vec::new();
        let body = vec![0xff; 7];
        Frame { kind: 200, body }.write(&mut bytes);
        stream.send.write_all(&bytes).await.expect("connected");
        assert!(matches!(stream.next().await, Some(Message::Refused(_))));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn logins_and_tab_openings_have_rates_of_their_own() {
    let rates = ["--logins", "1/h:2", "--tab-openings", "1/h:2"];
    let directory = Directory::start_told("100", &rates);
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = alice.settle().await;
    for number in 1..4 {
        let paper = alice.paper(bob.key(), 10, number);
        let opened = settle.open(&paper).await;
        assert_eq!(opened.err(), (number == 3).then_some(Reason::BUSY));
    }
    let again = directory.client(1).await.log_in(false).await;
    assert!(again.is_ok());
    let too_often = directory.client(1).await.log_in(false).await.map(|_| ());
    assert_eq!(too_often, Err(Reason::BUSY));
    // The session that runs is not in question, nor are payments.
    assert!(settle.submit(&alice.order(bob.key(), 1, 9)).await.is_ok());
    assert!(directory.client(2).await.log_in(false).await.is_ok());
}

#[tokio::test]
async fn a_frozen_account_is_limited_harder_from_that_moment_until_it_is_thawed() {
    let directory = Directory::start_told("100", &["--questions", "10/s:10"]);
    let mallory = directory.member(3, "mallory").await;
    assert!(directory.run(&["freeze", "mallory"]).status.success());
    let enter = async || directory.client(3).await.log_in(false).await;
    let mut sessions: Vec<Member> = Vec::new();
    while sessions.len() + 1 < SESSIONS_OF_FROZEN_MAX {
        sessions.push(enter().await.expect("there is room"));
    }
    assert_eq!(enter().await.err(), Some(Reason::FULL));
    // Each question takes the whole burst.
    let begun = Instant::now();
    mallory.balance().await;
    mallory.balance().await;
    assert!(
        begun.elapsed() > Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    assert!(directory.run(&["thaw", "mallory"]).status.success());
    sessions.push(enter().await.expect("there is room again"));
    // It is frozen still after another start.
    assert!(directory.run(&["freeze", "mallory"]).status.success());
    drop((sessions, mallory));
    let directory = directory.stop_and_restart();
    let enter = async || directory.client(3).await.log_in(false).await;
    let mut sessions: Vec<Member> = Vec::new();
    while sessions.len() < SESSIONS_OF_FROZEN_MAX {
        sessions.push(enter().await.expect("there is room"));
    }
    assert_eq!(enter().await.err(), Some(Reason::FULL));
}

#[tokio::test]
async fn who_has_no_certificate_or_anothers_is_nobody() {
    let directory = besieged().await;
    directory.member(3, "victim").await;
    let victims = certified(&tls_config(&directory, 3));
    let own = certified(&tls_config(&directory, 4));
    let lie = Arc::new(CertifiedKey::new(victims.cert.clone(), own.key.clone()));
    for shown in [None, Some(lie)] {
        for _ in 0..50 {
            let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
            let shown = Shown(shown.clone());
            let called = call(&directory, endpoint, 4, |mut config| {
                config.client_auth_cert_resolver = Arc::new(shown);
                config
            })
            .await;
            // A client may think that it is through before it hears that it is not.
            let Ok(client) = called else { continue };
            match client.connection.closed().await {
                ConnectionError::ConnectionClosed(_) => {}
                other => panic!("not refused by TLS: {other:?}"),
            }
        }
    }
    // With the key it is let in.
    let own = directory.client(3).await.log_in(false).await;
    assert_eq!(own.expect("registered").balance().await, 100_000_000);
    directory.still_pays().await;
}

/// Calls the directory from `endpoint` with changed settings.
async fn call(
    directory: &Directory,
    endpoint: Endpoint,
    seed: u8,
    change: impl FnOnce(rustls::ClientConfig) -> rustls::ClientConfig,
) -> Result<Client, ConnectionError> {
    let config = QuicClientConfig::try_from(change(tls_config(directory, seed)));
    let config = ClientConfig::new(Arc::new(config.expect("TLS 1.3")));
    let call = endpoint.connect_with(config, socket_address(directory), tls::SERVER_NAME);
    let connection = call.expect("sound").await?;
    Ok(Client {
        key: quid_common::key::SecretKey::from_seed(&[seed; 32]),
        directory: directory.address.key(),
        connection,
        endpoint,
    })
}

fn tls_config(directory: &Directory, seed: u8) -> rustls::ClientConfig {
    let identity = TlsIdentity::new(&[seed; 32]).expect("a sound seed");
    let pin = *directory.address.key().as_bytes();
    tls::client_config(&identity, pin, tls::ALPN_DIRECTORY).expect("sound")
}

fn certified(config: &rustls::ClientConfig) -> Arc<CertifiedKey> {
    let shown = &config.client_auth_cert_resolver;
    shown
        .resolve(&[], &[SignatureScheme::ED25519])
        .expect("a node has a certificate")
}

/// Shows this certificate, or none.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
