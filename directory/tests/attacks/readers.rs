//! Those who are answered and do not read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quid_common::key::SecretKey;
use quid_common::wire::Message;
use quinn::TransportConfig;
use tokio::task::JoinSet;

use super::world::{Directory, Settle};
use super::{besieged, closed, connect, flood, frames, subscribe};

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
    given_up.answers.receive.stop(0_u32.into()).expect("open");
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
    events.answers.receive.stop(0_u32.into()).expect("open");
    settle
        .submit(&alice.order(bob.key(), 1, 20))
        .await
        .expect("the session lives");
    assert_eq!(alice.balance().await, 100_000_000 - 20);
    assert_eq!(alice.client.connection.close_reason(), None);
}
