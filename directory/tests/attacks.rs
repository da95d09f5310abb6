//! Attacks on the directory over real QUIC: whatever one peer does, it gets a named refusal or an
//! orderly close, and an honest pair goes on paying.

mod world;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quid_common::amount::{Amount, Currency};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::Registration;
use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER, Frame};
use quid_common::id::{Digest, InstanceId, LedgerId, OrderId};
use quid_common::key::SecretKey;
use quid_common::name::Name;
use quid_common::order::{Decline, Order, SignedOrder, Void};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::*;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig};
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use world::{Client, Directory, Member, Settle, Stream};

#[tokio::test]
async fn every_message_in_every_state_is_answered_by_name_or_closes_its_own_connection_only() {
    let directory = besieged().await;
    let kinds = messages(&directory);
    let numbers: Vec<u16> = kinds.iter().map(Message::kind).collect();
    let all: Vec<u16> = Message::KINDS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, all, "a sample of every kind");
    let mallory = directory.member(3, "mallory").await;

    // A stranger is refused by name, as often as a stranger may ask.
    for kinds in kinds.chunks(15) {
        let stranger = directory.client(4).await;
        for message in kinds {
            let reason = match message {
                Message::Register(_) => Reason::ENCODING,
                Message::Login(_) => Reason::NOT_REGISTERED,
                _ => Reason::NOT_LOGGED_IN,
            };
            assert_eq!(
                refusal(&stranger, message).await,
                Some(reason),
                "{message:?}"
            );
        }
    }

    // An account's first message decides what the stream is for; nothing harms the session.
    for message in &kinds {
        let answer = match message {
            Message::OpenSettle(_) | Message::Subscribe(_) => continue,
            Message::Register(_) | Message::Login(_) => Some(Reason::OUT_OF_TURN),
            Message::Prove(_) | Message::AskConsistency(_) => Some(Reason::NOT_FOUND),
            Message::Find(_) => Some(Reason::UNKNOWN_ACCOUNT),
            Message::Who(_)
            | Message::AskBalance(_)
            | Message::AskHistory(_)
            | Message::AskFate(_) => None,
            _ => Some(Reason::UNKNOWN_KIND),
        };
        assert_eq!(
            refusal(&mallory.client, message).await,
            answer,
            "{message:?}"
        );
    }
    for kind in [0, 6, 15, 999, u16::MAX] {
        let frame = Frame {
            kind,
            body: vec![0x80],
        };
        assert_eq!(
            refusal_of(&mallory.client, &frame).await,
            Some(Reason::UNKNOWN_KIND),
            "{kind}"
        );
    }
    for (kind, _) in Message::KINDS {
        for body in [vec![], vec![0xff], vec![0x80, 0x80], vec![0x9f, 0xff]] {
            let frame = Frame { kind: *kind, body };
            let answer = refusal_of(&mallory.client, &frame).await;
            assert_eq!(answer, Some(Reason::ENCODING), "{frame:?}");
        }
    }
    assert_eq!(mallory.balance().await, 100_000_000);

    // On a settle or event stream everything out of place ends the connection, with code 1.
    for first in [OpenSettle {}.into(), subscribe(None)] {
        let settles = matches!(first, Message::OpenSettle(_));
        for message in &kinds {
            let mallory = directory
                .client(3)
                .await
                .log_in(false)
                .await
                .expect("registered");
            let mut stream = mallory.client.open().await;
            stream.send(&first).await;
            stream.send(message).await;
            match message {
                Message::Submit(_) | Message::SubmitVoid(_) if settles => {
                    let answer = stream.next().await.expect("an answer");
                    let refused = matches!(
                        answer,
                        Message::SubmitRefused(SubmitRefused {
                            number: 7,
                            reason: Reason::ENCODING,
                            ..
                        })
                    );
                    assert!(refused, "{answer:?}");
                }
                _ => assert_eq!(closed(&mallory.client.connection).await, 1, "{message:?}"),
            }
        }
    }
    directory.still_pays().await;
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_before_its_bytes_come() {
    let directory = besieged().await;
    let mallory = directory.member(3, "mallory").await;
    for len in [BODY_LEN_MAX as u32 + 1, 1 << 31, u32::MAX] {
        let mut header = len.to_be_bytes().to_vec();
        header.extend(3_u16.to_be_bytes());
        let (mut stream, connection) = {
            let stranger = directory.client(4).await;
            (stranger.open().await, stranger.connection.clone())
        };
        stream.send.write_all(&header).await.expect("connected");
        assert_eq!(closed(&connection).await, 1, "a stranger's {len}");

        let mut stream = mallory.client.open().await;
        stream.send.write_all(&header).await.expect("connected");
        let answer = stream.next().await;
        assert_eq!(
            answer,
            Some(
                Refused {
                    reason: Reason::TOO_LONG
                }
                .into()
            )
        );
        for first in [OpenSettle {}.into(), subscribe(None)] {
            let member = directory
                .client(3)
                .await
                .log_in(false)
                .await
                .expect("registered");
            let mut stream = member.client.open().await;
            stream.send(&first).await;
            stream.send.write_all(&header).await.expect("connected");
            assert_eq!(
                closed(&member.client.connection).await,
                1,
                "an account's {len}"
            );
        }
    }
    // A stranger's cap is lower.
    let stranger = directory.client(4).await;
    let frame = Frame {
        kind: 1,
        body: vec![0; BODY_LEN_MAX_STRANGER],
    };
    // The refusal may be lost with the connection.
    assert!([None, Some(Reason::ENCODING)].contains(&refusal_of(&stranger, &frame).await));
    assert_eq!(closed(&stranger.connection).await, 1);
    assert_eq!(mallory.balance().await, 100_000_000);
    directory.still_pays().await;
}

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

#[tokio::test]
async fn a_flood_of_bad_signatures_does_not_keep_an_honest_pair_from_paying() {
    let directory = besieged().await;
    let mallory = directory.member(3, "mallory").await;
    let bob = SecretKey::from_seed(&[2; 32]).public();
    let before = directory.paid();
    let mut flood = JoinSet::new();
    for stream in 0..4_u64 {
        let Settle {
            stream: mut settle, ..
        } = mallory.settle().await;
        let order = forged(&mallory.order(bob, 1, stream));
        flood.spawn(async move {
            let bytes = frames(1024, &order);
            settle.send.write_all(&bytes).await.expect("connected");
            for _ in 0..1024 {
                match settle.next().await {
                    Some(Message::SubmitRefused(refused)) => {
                        assert!([Reason::BAD_SIGNATURE, Reason::BUSY].contains(&refused.reason));
                    }
                    other => panic!("not a refusal: {other:?}"),
                }
            }
        });
    }
    flood.join_all().await;
    assert!(directory.paid() > before, "nobody paid during the flood");
    assert_eq!(mallory.balance().await, 100_000_000);
    directory.still_pays().await;
}

#[tokio::test]
async fn ids_and_facts_of_other_accounts_give_nothing_and_burn_nothing() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mallory = directory.member(3, "mallory").await;
    let settled = alice.order(bob.key(), 5, 1);
    let mut by_alice = alice.settle().await;
    let entry = by_alice.submit(&settled).await.expect("it settles");
    let open = alice.order(bob.key(), 6, 2);
    let mut settle = mallory.settle().await;

    // Facts that others signed, and others' ids under her own signature.
    assert_eq!(settle.submit(&settled).await, Err(Reason::WRONG_SUBMITTER));
    assert_eq!(settle.submit(&open).await, Err(Reason::WRONG_SUBMITTER));
    let mut own = mallory.unsigned(bob.key(), 1, 2);
    own.id = open.statement().id;
    assert!(
        settle
            .submit(&Signed::new(own, &mallory.client.key))
            .await
            .is_ok()
    );
    let mut stolen = mallory.unsigned(mallory.key(), 1, 2);
    stolen.payer = alice.key();
    stolen.id = open.statement().id;
    let stolen = forged(&Signed::new(stolen, &alice.client.key));
    assert_eq!(
        settle.submit_bytes(&stolen).await,
        Err(Reason::BAD_SIGNATURE)
    );
    let void = Void::sign(alice.ledger(), open.statement().id, &alice.client.key);
    settle
        .stream
        .send(
            &SubmitVoid {
                number: 1,
                void: void.into_bytes().into(),
            }
            .into(),
        )
        .await;
    assert_eq!(reason(&mut settle.stream).await, Reason::WRONG_SUBMITTER);
    let by_her = Decline::sign(&open, &mallory.client.key).into_bytes();
    let by_bob = Decline::sign(&open, &bob.client.key).into_bytes();
    for (by_payer, decline, answer) in [
        (false, &by_her, Reason::BAD_DECLINE),
        (false, &by_bob, Reason::WRONG_SUBMITTER),
        (true, &by_her, Reason::BAD_DECLINE),
    ] {
        let from = if by_payer { &mut by_alice } else { &mut settle };
        let (number, order) = (2, open.bytes().to_vec().into());
        let decline = Some(decline.clone().into());
        from.stream
            .send(
                &Submit {
                    number,
                    order,
                    decline,
                }
                .into(),
            )
            .await;
        assert_eq!(reason(&mut from.stream).await, answer);
    }
    let registration = Registration {
        directory: alice.client.directory,
        name: "somebody".parse().expect("a valid name"),
        key: SecretKey::from_seed(&[9; 32]).public(),
        recovery: None,
    };
    let registration = Signed::new(registration, &SecretKey::from_seed(&[9; 32]));
    let registration = registration.into_bytes().into();
    let register = Register {
        registration,
        invite: None,
    }
    .into();
    let stranger = directory.client(4).await;
    assert_eq!(
        refusal(&stranger, &register).await,
        Some(Reason::WRONG_SUBMITTER)
    );

    // Questions.
    for order in [&settled, &open] {
        let ask = AskFate {
            payer: alice.key(),
            id: order.statement().id,
        };
        match mallory.client.request(&ask.into()).await {
            Message::Fate(fate) => assert_eq!(fate.receipt, None),
            other => panic!("not a fate: {other:?}"),
        }
    }
    let mut proved = Vec::new();
    for entry in (0..20).chain([u64::MAX - 1, u64::MAX]) {
        match mallory.client.request(&Prove { entry }.into()).await {
            Message::Proof(proof) => proved.push(proof.receipt.index),
            Message::Refused(refused) => assert_eq!(refused.reason, Reason::NOT_FOUND),
            other => panic!("not a proof: {other:?}"),
        }
    }
    assert!(!proved.contains(&entry) && proved.len() == 3, "{proved:?}");
    for (before, after) in [
        (None, None),
        (Some(u64::MAX), Some(0)),
        (Some(0), Some(u64::MAX)),
    ] {
        match mallory
            .client
            .request(
                &AskHistory {
                    before,
                    after,
                    limit: u16::MAX,
                }
                .into(),
            )
            .await
        {
            Message::HistoryPage(page) => {
                assert!(
                    page.lines.iter().all(|line| proved.contains(&line.entry)),
                    "{page:?}"
                );
            }
            other => panic!("not a page: {other:?}"),
        }
    }
    let mut events = mallory.client.open().await;
    events.send(&subscribe(Some(0))).await;
    loop {
        match events.next().await.expect("events") {
            Message::Moved(moved) => assert!(proved.contains(&moved.receipt.index)),
            Message::CaughtUp(_) => break,
            other => panic!("not an event: {other:?}"),
        }
    }

    // After all that the order is as good as it was.
    assert!(by_alice.submit(&open).await.is_ok());
    assert_eq!(bob.balance().await, 100_000_012);
    directory.audit();
}

#[tokio::test]
async fn a_deaf_session_with_all_its_settle_streams_full_is_closed_and_costs_a_bounded_amount() {
    let directory = besieged().await;
    directory.member(3, "mallory").await;
    let bob = SecretKey::from_seed(&[2; 32]).public();
    // Nothing of what the directory sends beyond a few answers finds room here.
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(2048_u32.into());
    let deaf = connect(&directory, 3, transport)
        .await
        .log_in(false)
        .await
        .expect("registered");
    let order = deaf.order(bob, 1, 1);
    let mut streams = Vec::new();
    // One is still taken by the login: QUIC announces room only when there is more of it.
    for _ in 0..15 {
        streams.push(deaf.settle().await);
    }
    streams[0].submit(&order).await.expect("it settles");
    let before = directory.memory();
    let begun = Instant::now();
    let bytes: Arc<[u8]> = frames(1024, order.bytes()).into();
    let mut floods = JoinSet::new();
    for Settle { stream, .. } in streams {
        floods.spawn(flood(stream, Arc::clone(&bytes)));
    }
    let connection = deaf.client.connection.clone();
    let mut most = before;
    let code = loop {
        tokio::select! {
            code = closed(&connection) => break code,
            () = directory.still_pays() => most = most.max(directory.memory()),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it was never closed"
        );
    };
    // It reads too slowly, or left a frame unfinished because the others' took all the room.
    assert!([2, 5].contains(&code), "{code}");
    let cost = most.saturating_sub(before) / 1024;
    eprintln!("a deaf session cost {cost} KiB");
    assert!(cost < 48 * 1024, "a deaf session cost {cost} KiB");
    directory.still_pays().await;
}

#[tokio::test]
async fn an_event_stream_without_presence_holds_nobody_who_is_online() {
    let directory = besieged().await;
    let mut members = Vec::new();
    for seed in 20..220 {
        members.push(
            directory
                .member(seed, &format!("member-of-a-crowd-{seed}"))
                .await,
        );
    }
    let before = directory.memory();
    let mut streams = Vec::new();
    for member in &members {
        for _ in 0..12 {
            let mut stream = member.client.open().await;
            stream.send(&subscribe(None)).await;
            assert!(matches!(stream.next().await, Some(Message::CaughtUp(_))));
            streams.push(stream);
        }
    }
    // Some 8 KiB each; with a copy of 200 people in each it would be five times as much.
    let cost = directory.memory().saturating_sub(before) / streams.len() as u64;
    assert!(cost < 20 * 1024, "{cost} bytes for each stream");
}

#[tokio::test]
async fn who_gives_up_one_stream_keeps_the_session() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let Settle {
        stream: mut given_up,
        ..
    } = alice.settle().await;
    given_up.receive.stop(0_u32.into()).expect("open");
    given_up
        .send
        .write_all(&frames(64, alice.order(bob.key(), 1, 1).bytes()))
        .await
        .expect("open");
    let mut settle = alice.settle().await;
    for number in 2..20 {
        settle
            .submit(&alice.order(bob.key(), 1, number))
            .await
            .expect("the session lives");
    }
    let mut events = alice.client.open().await;
    events.send(&subscribe(Some(0))).await;
    events.receive.stop(0_u32.into()).expect("open");
    settle
        .submit(&alice.order(bob.key(), 1, 20))
        .await
        .expect("the session lives");
    assert_eq!(alice.balance().await, 100_000_000 - 20);
    assert_eq!(alice.client.connection.close_reason(), None);
}

#[tokio::test]
async fn bombs_in_the_header_of_a_signed_fact_are_refused() {
    let directory = besieged().await;
    let mallory = directory.member(3, "mallory").await;
    let mut settle = mallory.settle().await;
    let lying = |major: u8| [vec![major << 5 | 27], vec![0x7f; 8]].concat();
    let headers = [
        vec![0x81; 900],
        vec![0xc1; 900],
        vec![0xa1; 900],
        vec![0x9f; 900],
        vec![0xbf; 900],
        vec![0x5f; 900],
        [vec![0xa1, 0x04], vec![0x81; 900]].concat(),
        [vec![0xa1, 0x07], [0x83, 0x43, 0xa1, 0x07].repeat(200)].concat(),
        [vec![0xa1, 0x03], lying(3)].concat(),
        [vec![0xa1, 0x02], lying(4)].concat(),
        [vec![0xa1, 0x04], lying(2)].concat(),
        lying(4),
        lying(5),
        vec![],
    ];
    for header in headers {
        let mut bytes = vec![0x84, 0x59];
        bytes.extend(u16::try_from(header.len()).expect("short").to_be_bytes());
        if header.len() < 256 {
            bytes.truncate(1);
            bytes.extend(if header.len() < 24 {
                vec![0x40 | header.len() as u8]
            } else {
                vec![0x58, header.len() as u8]
            });
        }
        bytes.extend(&header);
        bytes.extend([0xa0, 0x41, 0x80, 0x58, 0x40]);
        bytes.extend([1; 64]);
        assert_eq!(
            settle.submit_bytes(&bytes).await,
            Err(Reason::ENCODING),
            "{header:02x?}"
        );
    }
    directory.still_pays().await;
}

#[tokio::test]
async fn an_id_that_has_left_memory_stays_used_after_any_restart_and_without_the_index() {
    let mut directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let begun = Instant::now();
    let soon = |order: &Order, amount, random| {
        let id = OrderId::new(alice.time().plus(SHORT_LIFE), [random; 10]);
        let amount = Amount::new(amount).expect("below the maximum");
        Signed::new(
            Order {
                id,
                amount,
                ..order.clone()
            },
            &alice.client.key,
        )
    };
    let order = alice.unsigned(bob.key(), 1, 0);
    let past = Past {
        settled: soon(&order, 1, 1),
        other: soon(&order, 2, 1),
        voided: soon(&order, 1, 2),
        refused: soon(&order, 1_000_000_000, 3),
        never: soon(&order, 1, 4),
    };
    let mut settle = alice.settle().await;
    let entry = settle.submit(&past.settled).await.expect("it settles");
    settle
        .void(&alice, past.voided.statement().id)
        .await
        .expect("it is void");
    assert_eq!(
        settle.submit(&past.refused).await,
        Err(Reason::INSUFFICIENT_FUNDS)
    );
    // An id leaves memory with a batch after its expiry, once the index has it for good: 2 s.
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed())).await;
    for number in 10..13 {
        settle
            .submit(&alice.order(bob.key(), 1, number))
            .await
            .expect("it settles");
    }
    let balance = alice.balance().await;
    past.is_answered_as_before(&alice, entry).await;
    for step in [
        "kill",
        "stop",
        "kill",
        "lose the index",
        "lose all but the log",
    ] {
        let derived: &[&str] = match step {
            "lose the index" => &["index.db", "index.db-wal", "index.db-shm"],
            "lose all but the log" => &["index.db", "tree", "snapshot"],
            _ => &[],
        };
        for file in derived {
            let _ = std::fs::remove_file(directory.data().join(file));
        }
        directory = match step {
            "stop" => directory.stop_and_restart(),
            _ => directory.kill_and_restart(),
        };
        let alice = directory
            .client(1)
            .await
            .log_in(false)
            .await
            .expect("registered");
        past.is_answered_as_before(&alice, entry).await;
        assert_eq!(alice.balance().await, balance, "after: {step}");
        directory.audit();
    }
}

/// Orders whose time is over.
struct Past {
    settled: SignedOrder,
    /// Under the same id.
    other: SignedOrder,
    voided: SignedOrder,
    refused: SignedOrder,
    never: SignedOrder,
}

impl Past {
    async fn is_answered_as_before(&self, alice: &Member, entry: u64) {
        let mut settle = alice.settle().await;
        for (order, answer) in [
            (&self.settled, Ok(entry)),
            (&self.other, Err(Reason::ID_REUSED)),
            (&self.voided, Err(Reason::VOIDED)),
            (&self.refused, Err(Reason::INSUFFICIENT_FUNDS)),
            (&self.never, Err(Reason::EXPIRED)),
        ] {
            // While the index is made anew, *busy* is the only other answer.
            let begun = Instant::now();
            let mut found = settle.submit(order).await;
            while found == Err(Reason::BUSY) && begun.elapsed() < Duration::from_secs(5) {
                found = settle.submit(order).await;
            }
            assert_eq!(found, answer);
        }
        assert_eq!(
            settle.void(alice, self.settled.statement().id).await,
            Ok(entry)
        );
    }
}

const SHORT_LIFE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn the_operators_socket_outlives_a_shortage_of_open_files() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    use std::io::Read;
    let directory = Directory::start("100");
    directory.member(1, "alice").await;
    let process = i32::try_from(process(&directory))
        .ok()
        .and_then(Pid::from_raw);
    let limit = |most| {
        let limits = Rlimit {
            current: most,
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(process, Resource::Nofile, limits).expect("it is ours");
    };
    let before = getrlimit(Resource::Nofile).current;
    limit(Some(3));
    let socket = directory.data().join("operator.sock");
    let mut waiting = std::os::unix::net::UnixStream::connect(socket).expect("it serves");
    waiting
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("sound");
    let answer = waiting.read(&mut [0]);
    assert!(answer.is_err(), "the socket was closed: {answer:?}");
    limit(before);
    drop(waiting);
    let issued = directory.run(&["issue", "alice", "1"]);
    assert!(issued.status.success(), "{issued:?}");
}

#[tokio::test]
async fn a_silent_operator_does_not_hold_up_the_stop() {
    let directory = Directory::start("100");
    let socket = directory.data().join("operator.sock");
    let silent = std::os::unix::net::UnixStream::connect(socket).expect("it serves");
    let alice = directory.member(1, "alice").await;
    drop(alice);
    // Asserts that the stop takes less than 5 s.
    directory.stop();
    drop(silent);
}

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

/// Why the next order on a settle stream is refused.
async fn reason(stream: &mut Stream) -> Reason {
    match stream.next().await {
        Some(Message::SubmitRefused(refused)) => refused.reason,
        other => panic!("not a refusal: {other:?}"),
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

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a free port")
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

/// One message of every kind, in the order of their numbers; facts in them are nobody's.
fn messages(directory: &Directory) -> Vec<Message> {
    let key = SecretKey::from_seed(&[99; 32]);
    let ledger = LedgerId([9; 32]);
    let checkpoint = Checkpoint::sign(
        ledger,
        Head {
            size: 1,
            root: [1; 32],
        },
        &key,
    );
    let (entry, path) = (vec![1].into(), vec![0; 32].into());
    let receipt = Receipt {
        entry,
        index: 0,
        path,
        checkpoint: checkpoint.clone(),
    };
    let id = OrderId::new(LedgerTime::from_millis(1_763_000_000_000), [7; 10]);
    let name: Name = "nobody-here".parse().expect("a valid name");
    let address = directory.address.to_string();
    let instance = InstanceId([1; 16]);
    let (key, time, number) = (key.public(), LedgerTime::default(), 7);
    let (available, held) = (Amount::ZERO, Amount::ZERO);
    let currency = Currency::default();
    let person = Person {
        name: name.clone(),
        key,
        address: address.clone(),
    };
    let reason = Reason::BUSY;
    vec![
        Register {
            registration: vec![1].into(),
            invite: None,
        }
        .into(),
        Registered {
            receipt: receipt.clone(),
        }
        .into(),
        Login {
            instance,
            listening: true,
            hidden: false,
            checkpoint: None,
        }
        .into(),
        Welcome {
            name: name.clone(),
            number,
            currency,
            ledger,
            time,
            available,
            held,
            address,
            checkpoint: checkpoint.clone(),
            in_flight: 1,
        }
        .into(),
        Refused { reason }.into(),
        Who {
            after: None,
            limit: 0,
        }
        .into(),
        WhoPage {
            people: vec![person.clone()],
            more: false,
        }
        .into(),
        Find { name: name.clone() }.into(),
        Found { key, address: None }.into(),
        AskBalance {}.into(),
        Balance {
            available,
            held,
            time,
        }
        .into(),
        AskHistory {
            before: Some(u64::MAX),
            after: Some(u64::MAX),
            limit: 0,
        }
        .into(),
        HistoryPage {
            lines: vec![],
            more: false,
        }
        .into(),
        AskFate { payer: key, id }.into(),
        Fate {
            receipt: None,
            time,
        }
        .into(),
        Prove { entry: u64::MAX }.into(),
        Proof {
            receipt: receipt.clone(),
        }
        .into(),
        AskConsistency {
            from: u64::MAX,
            to: 0,
        }
        .into(),
        Consistency {
            root: Digest([0xff; 32]),
            proof: vec![0xff; 33].into(),
        }
        .into(),
        OpenSettle {}.into(),
        Submit {
            number,
            order: vec![1].into(),
            decline: Some(vec![].into()),
        }
        .into(),
        SubmitVoid {
            number,
            void: vec![].into(),
        }
        .into(),
        Settled {
            number,
            receipt: receipt.clone(),
        }
        .into(),
        Voided {
            number,
            receipt: receipt.clone(),
        }
        .into(),
        SubmitRefused {
            number,
            reason,
            receipt: None,
        }
        .into(),
        subscribe(None),
        Moved {
            receipt: receipt.clone(),
            counterparty: name.clone(),
        }
        .into(),
        Online { person }.into(),
        Offline { name, key }.into(),
        CaughtUp { entries: 1 }.into(),
        Lagged {}.into(),
        Offer {
            number,
            order: vec![].into(),
            checkpoint: Some(checkpoint),
        }
        .into(),
        Paid { number, receipt }.into(),
        Declined { number, reason }.into(),
    ]
}
