//! Floods of orders: whoever sends them waits for himself.

use quid_common::key::SecretKey;
use quid_common::refusal::Reason;
use quid_common::wire::Message;
use tokio::task::JoinSet;

use super::world::Settle;
use super::{besieged, forged, frames};

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
