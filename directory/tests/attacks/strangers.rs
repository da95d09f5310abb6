//! Those who come and do not go on, come in a crowd, or come from where they are not.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quid_common::id::InstanceId;
use quid_common::refusal::Reason;
use quid_common::tls;
use quid_common::wire::*;
use quinn::{Connection, Endpoint, TransportConfig};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::world::{Client, Directory, Stream};
use super::{besieged, closed, refusal, subscribe};
use super::{bidirectional, client_config, socket_address};

#[tokio::test]
async fn who_does_not_go_on_is_closed_for_its_time_not_for_its_words() {
    let directory = besieged().await;
    let half = [0, 0, 0, 9, 0];
    let mut waits: JoinSet<(&str, u64, u64)> = JoinSet::new();
    let mut wait = |who, seconds, connection: Connection, kept: Stream| {
        waits.spawn(async move {
            let begun = Instant::now();
            let code = closed(&connection).await;
            drop(kept);
            let waited = begun.elapsed().as_millis() as u64;
            assert!(
                (seconds * 1000 - 500..seconds * 1000 + 2500).contains(&waited),
                "{who} {waited}"
            );
            (who, seconds, code)
        });
    };
    let silent = directory.client(4).await;
    let stream = silent.open().await;
    wait(
        "a stranger that says nothing",
        10,
        silent.connection.clone(),
        stream,
    );
    let asking = directory.client(5).await;
    asking
        .register("lingering")
        .await
        .expect("the name is free");
    let stream = asking.open().await;
    wait(
        "a stranger that never logs in",
        10,
        asking.connection.clone(),
        stream,
    );
    let stranger = directory.client(6).await;
    let mut stream = stranger.open().await;
    stream.send.write_all(&half).await.expect("connected");
    wait(
        "a stranger's half frame",
        5,
        stranger.connection.clone(),
        stream,
    );
    let mut sessions = Vec::new();
    for (seed, first) in [
        (7, None),
        (8, Some(OpenSettle {}.into())),
        (9, Some(subscribe(None))),
        (10, Some(subscribe(Some(0)))),
    ] {
        let member = directory.member(seed, &format!("member-{seed}")).await;
        let mut stream = member.client.open().await;
        if let Some(first) = &first {
            stream.send(first).await;
        }
        stream.send.write_all(&half).await.expect("connected");
        wait(
            "an account's half frame",
            5,
            member.client.connection.clone(),
            stream,
        );
        sessions.push(member);
    }
    // A byte a second does not move the deadline.
    let drip = directory.client(11).await;
    let mut stream = drip.open().await;
    let connection = drip.connection.clone();
    waits.spawn(async move {
        let begun = Instant::now();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let dripping = async {
            for byte in [0, 0, 0, 99, 0, 3, 0x84, 0x50, 1, 1, 1, 1] {
                second.tick().await;
                if stream.send.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        };
        let (code, ()) = tokio::join!(closed(&connection), dripping);
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        ("a byte a second", 5, code)
    });
    while let Some(ended) = waits.join_next().await {
        let (who, _, code) = ended.expect("no deadline is missed");
        assert_eq!(code, 2, "{who}");
    }
    directory.still_pays().await;
}

#[tokio::test]
async fn two_hundred_strangers_at_once_do_not_keep_an_honest_pair_from_paying() {
    let directory = besieged().await;
    let before = directory.paid();
    let mut strangers = JoinSet::new();
    for seed in 50..250 {
        let address = directory.address.clone();
        strangers.spawn(async move {
            let stranger = Client::connect(&address, seed).await;
            let balance = AskBalance {}.into();
            assert_eq!(
                refusal(&stranger, &balance).await,
                Some(Reason::NOT_LOGGED_IN)
            );
            stranger
        });
    }
    let strangers = strangers.join_all().await;
    assert!(directory.paid() > before, "nobody paid while they came");
    // All of them stay, each in the middle of a frame.
    let mut open = Vec::new();
    for stranger in &strangers {
        let mut stream = stranger.open().await;
        stream.send.write_all(&[0, 0, 1]).await.expect("connected");
        open.push(stream);
    }
    directory.still_pays().await;
}

#[tokio::test]
async fn past_256_unfinished_handshakes_a_newcomer_must_prove_its_address() {
    let directory = besieged().await;
    let server = socket_address(&directory);
    // Of those who call through here only the first half of the first word arrives: a ClientHello
    // with a post-quantum key share is longer than a datagram.
    let lossy = udp().await;
    let through = lossy.local_addr().expect("bound");
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let config = client_config(&directory, 4, TransportConfig::default());
    let mut datagram = [0; 2048];
    let (mut calls, mut callers, mut asked_to_prove) = (Vec::new(), HashSet::new(), false);
    while !asked_to_prove {
        assert!(calls.len() < 1200, "nobody was asked to prove an address");
        let call = endpoint.connect_with(config.clone(), through, tls::SERVER_NAME);
        calls.push(call.expect("sound"));
        while callers.len() < calls.len() {
            let (len, from) = lossy.recv_from(&mut datagram).await.expect("open");
            if from == server {
                // A long header of type 3: Retry (RFC 9000, 17.2.5).
                asked_to_prove |= datagram[0] & 0xb0 == 0xb0;
            } else if callers.insert(datagram[6..14].to_vec()) {
                lossy.send_to(&datagram[..len], server).await.expect("open");
            }
        }
    }
    assert!(
        callers.len() > 256,
        "asked already of caller {}",
        callers.len()
    );
    // An honest newcomer proves its address without noticing.
    directory.member(5, "newcomer").await;
    directory.still_pays().await;
    drop(calls);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_the_handshake_did_not_prove() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    directory.member(3, "mallory").await;
    let server = socket_address(&directory);
    let (front, own, victim) = (udp().await, udp().await, udp().await);
    let through = front.local_addr().expect("bound");
    let (own_address, victims) = (own.local_addr(), victim.local_addr());
    let as_victim = Arc::new(AtomicBool::new(false));
    let pretend = Arc::clone(&as_victim);
    // Mallory's packets bear her own address or, when she likes, her victim's, who answers nothing.
    let relay = tokio::spawn(async move {
        let (mut out, mut back) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                sent = front.recv_from(&mut out) => {
                    let (len, from) = sent.expect("open");
                    client = Some(from);
                    let by = if pretend.load(Ordering::Relaxed) { &victim } else { &own };
                    by.send_to(&out[..len], server).await.expect("open");
                }
                answer = own.recv_from(&mut back) => {
                    let (len, _) = answer.expect("open");
                    front.send_to(&back[..len], client.expect("called")).await.expect("open");
                }
            }
        }
    });
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let config = client_config(&directory, 3, TransportConfig::default());
    let call = endpoint
        .connect_with(config, through, tls::SERVER_NAME)
        .expect("sound");
    let connection = call.await.expect("the directory is up");
    // Once the handshake is behind them, both sides follow a change of address at once.
    let mut stream = bidirectional(&connection).await;
    stream.send(&AskBalance {}.into()).await;
    stream.next().await.expect("a refusal");
    drop(stream);
    let mut stream = bidirectional(&connection).await;
    as_victim.store(true, Ordering::Relaxed);
    let instance = InstanceId([3; 16]);
    let login = Login {
        instance,
        listening: true,
        hidden: false,
        checkpoint: None,
    };
    stream.send(&login.into()).await;
    let begun = Instant::now();
    let told = loop {
        let find = Find {
            name: "mallory".parse().expect("a valid name"),
        };
        match alice.client.request(&find.into()).await {
            Message::Found(Found {
                address: Some(address),
                ..
            }) => break address,
            Message::Found(_) => assert!(begun.elapsed() < Duration::from_secs(5)),
            other => panic!("not an account: {other:?}"),
        }
    };
    assert_ne!(told, victims.expect("bound").to_string());
    assert_eq!(told, own_address.expect("bound").to_string());
    relay.abort();
}

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a free port")
}
