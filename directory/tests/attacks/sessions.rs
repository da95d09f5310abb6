//! Accounts with many sessions.

use std::sync::Arc;

use quid_common::key::SecretKey;
use quid_common::refusal::Reason;
use quid_directory::sessions::{IN_FLIGHT_PER_ACCOUNT_MAX, SESSIONS_PER_ACCOUNT_MAX};
use quinn::TransportConfig;
use tokio::task::JoinSet;

use super::world::{Directory, Member, Settle};
use super::{besieged, closed, connect, flood, frames};

#[tokio::test]
async fn a_session_too_many_is_turned_away_and_the_others_go_on() {
    let directory = Directory::start("100");
    let mut sessions = vec![directory.member(1, "alice").await];
    while sessions.len() < SESSIONS_PER_ACCOUNT_MAX {
        let client = directory.client(1).await;
        sessions.push(client.log_in(true).await.expect("there is room"));
    }
    for _ in 0..3 {
        let one_more = directory.client(1).await;
        let connection = one_more.connection.clone();
        let refused = one_more.log_in(true).await.map(|_| ());
        assert_eq!(refused, Err(Reason::FULL));
        assert_eq!(closed(&connection).await, 3);
    }
    // Others have room of their own, and strangers with that key are not in the way.
    let bob = directory.member(2, "bob").await;
    let stranger = directory.client(1).await;
    let order = sessions[0].order(bob.key(), 1, 1);
    let entry = sessions[0].settle().await.submit(&order).await;
    assert!(entry.is_ok(), "{entry:?}");
    for session in &sessions {
        assert_eq!(session.settle().await.submit(&order).await, entry);
    }
    // One that leaves makes room at once.
    let leaves = sessions.pop().expect("there are many");
    leaves.client.connection.close(0_u32.into(), b"");
    leaves.client.endpoint.wait_idle().await;
    let comes = stranger.log_in(true).await.expect("one has left");
    assert_eq!(comes.settle().await.submit(&order).await, entry);
}

#[tokio::test]
async fn an_account_that_reads_nothing_costs_no_more_for_having_many_sessions() {
    let directory = besieged().await;
    directory.member(3, "mallory").await;
    let bob = SecretKey::from_seed(&[2; 32]).public();
    let (mut sessions, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        // Nothing of what the directory sends beyond a few answers finds room here.
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(2048_u32.into());
        let client = connect(&directory, 3, transport).await;
        let deaf = client.log_in(false).await.expect("registered");
        for _ in 0..15 {
            streams.push(deaf.settle().await);
        }
        sessions.push(deaf);
    }
    let order = sessions[0].order(bob, 1, 1);
    streams[0].submit(&order).await.expect("it settles");
    let before = directory.memory();
    let bytes: Arc<[u8]> = frames(1024, order.bytes()).into();
    let mut floods = JoinSet::new();
    for Settle { stream, .. } in streams {
        floods.spawn(flood(stream, Arc::clone(&bytes)));
    }
    let mut most = before;
    while sessions.iter().any(is_open) {
        directory.still_pays().await;
        most = most.max(directory.memory());
    }
    for session in &sessions {
        // It reads too slowly, or left a frame unfinished because the others' took all the room.
        let code = closed(&session.client.connection).await;
        assert!([2, 5].contains(&code), "{code}");
    }
    let cost = most.saturating_sub(before);
    eprintln!("ten deaf sessions of one account cost {} KiB", cost / 1024);
    // Some 2 KiB for each answer, and for each session what its connection may hold.
    let bound = IN_FLIGHT_PER_ACCOUNT_MAX as u64 * 2048 + 10 * 1024 * 1024;
    assert!(cost < bound, "{cost} of {bound} bytes");
    directory.still_pays().await;
}

fn is_open(session: &Member) -> bool {
    session.client.connection.close_reason().is_none()
}
