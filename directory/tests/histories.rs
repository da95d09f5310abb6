//! One history: how the log shows that it goes on where it was.

mod world;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::consistency;
use quid_common::refusal::Reason;
use quid_common::wire::{AskConsistency, Consistency, Message, Prove};
use world::{Directory, Member};

#[tokio::test]
async fn the_log_goes_on_from_every_size_that_a_member_has_seen() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut heads = vec![head(&alice, &alice.welcome.checkpoint)];
    let mut settle = alice.settle().await;
    for number in 0..9 {
        let order = alice.order(bob.key(), 1, number);
        let entry = settle.submit(&order).await.expect("it settles");
        heads.push(head(&alice, &proof(&alice, entry).await));
    }
    let (first, last) = (heads[0], heads[heads.len() - 1]);
    assert!(last.size > first.size + 8);
    for older in &heads {
        for newer in heads.iter().filter(|newer| newer.size >= older.size) {
            let Message::Consistency(shown) = ask(&bob, older.size, newer.size).await else {
                panic!("no proof from {} to {}", older.size, newer.size)
            };
            assert_eq!(shown.root.0, older.root);
            assert_eq!(consistency::check(*older, *newer, &shown.proof), Ok(()));
        }
    }
    for (from, to) in [
        (0, 1),
        (0, 0),
        (3, 2),
        (1, last.size + 1),
        (last.size + 1, last.size + 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
    ] {
        match ask(&bob, from, to).await {
            Message::Refused(refused) => assert_eq!(refused.reason, Reason::NOT_FOUND),
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // A restart changes nothing.
    let directory = directory.stop_and_restart();
    let carol = directory.member(3, "carol").await;
    let Message::Consistency(Consistency { root, proof }) =
        ask(&carol, first.size, last.size).await
    else {
        panic!("no proof after a restart")
    };
    assert_eq!(root.0, first.root);
    assert_eq!(consistency::check(first, last, &proof), Ok(()));
}

async fn ask(member: &Member, from: u64, to: u64) -> Message {
    member
        .client
        .request(&AskConsistency { from, to }.into())
        .await
}

/// The newest checkpoint, by way of an entry of the member's own.
async fn proof(member: &Member, entry: u64) -> Checkpoint {
    match member.client.request(&Prove { entry }.into()).await {
        Message::Proof(proof) => proof.receipt.checkpoint,
        other => panic!("not a proof: {other:?}"),
    }
}

fn head(member: &Member, checkpoint: &Checkpoint) -> Head {
    checkpoint
        .verify(member.ledger(), &member.client.directory)
        .expect("the directory's own")
}
