//! Claims that prove nothing, one by one and in floods: named refusals, nothing lost, and whoever
//! sends them waits for himself.

use std::collections::HashMap;
use std::time::Instant;

use quid_common::chain::{GAP_MAX, Link};
use quid_common::refusal::Reason;
use quid_common::tab::Close;
use quid_common::wire::*;

use super::besieged;
use super::world::tabs::Paper;
use super::world::{Directory, Settle};

#[tokio::test]
async fn claims_that_prove_nothing_take_nothing() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mallory = directory.member(3, "mallory").await;
    let mut payer = alice.settle().await;
    let mut paper = alice.paper(bob.key(), 100_000, 1);
    let mut other = alice.paper(bob.key(), 100_000, 2);
    for paper in [&paper, &other] {
        payer.open(paper).await.expect("it opens");
    }
    let (mut payee, mut thief) = (bob.settle().await, mallory.settle().await);
    payee.claim(&mut paper, 0, 100).await.expect("it is paid");

    // Short ones, hashed among the signatures, and long ones, hashed apart.
    for index in [200, 60_000] {
        let (good, used) = (paper.link(index), paper.link(100));
        let (theirs, below) = (other.link(index), paper.link(index - 1));
        for (from, index, link, reason) in [
            (100, index, Link([7; 32]), Reason::BAD_LINK),
            (100, index, theirs, Reason::BAD_LINK),
            (100, index, used, Reason::BAD_LINK),
            (100, index, below, Reason::BAD_LINK),
            (100, index + 1, good, Reason::BAD_LINK),
            (0, index, good, Reason::STALE_CLAIM),
            (101, index, good, Reason::STALE_CLAIM),
            (0, 100, Link([7; 32]), Reason::STALE_CLAIM),
            (99_000, 100_001, good, Reason::PAST_END),
            (u32::MAX - 9, u32::MAX, good, Reason::PAST_END),
            (100, 0, good, Reason::STALE_CLAIM),
            (0, 0, good, Reason::STALE_CLAIM),
            (100, 100, used, Reason::STALE_CLAIM),
            (0, u32::MAX, good, Reason::GAP_TOO_LONG),
            (100, 100 + GAP_MAX + 1, good, Reason::GAP_TOO_LONG),
        ] {
            let answer = payee.claim_with(&paper, from, index, link).await;
            assert_eq!(answer, Err(reason), "from {from} to {index}");
        }
        // Good links in the wrong hands.
        let stolen = thief.claim_with(&paper, 100, index, good).await;
        assert_eq!(stolen, Err(Reason::WRONG_SUBMITTER));
        let own = payer.claim_with(&paper, 100, index, good).await;
        assert_eq!(own, Err(Reason::WRONG_SUBMITTER));
    }
    assert_eq!(
        thief.close(&mallory, &paper).await,
        Err(Reason::WRONG_SUBMITTER)
    );
    let close = Close::sign(alice.ledger(), paper.payer(), paper.id(), &bob.client.key);
    let close = SubmitClose {
        number: 9,
        close: close.into_bytes().into(),
    };
    thief.stream.send(&close.into()).await;
    assert_eq!(thief.next_answer().await, (9, Err(Reason::WRONG_SUBMITTER)));
    let unknown = alice.paper(bob.key(), 100_000, 3);
    let answer = payee.claim_with(&unknown, 0, 1, Link([7; 32])).await;
    assert_eq!(answer, Err(Reason::NO_TAB));
    assert_eq!(payee.close(&bob, &unknown).await, Err(Reason::NO_TAB));

    // After all that the links are worth what they were.
    payee.claim(&mut paper, 100, 60_000).await.expect("paid");
    payee
        .claim(&mut other, 0, 65_536)
        .await
        .expect("it is paid");
    assert_eq!(bob.balance().await, 100_000_000 + 125_536);
    directory.audit();
}

#[tokio::test]
async fn a_thousand_of_the_worst_claims_in_a_row_hold_up_nobody_else() {
    let besieged = besieged().await;
    let mallory = besieged.member(3, "mallory").await;
    let accomplice = besieged.member(4, "accomplice").await;
    let (honest, shop) = (
        besieged.member(5, "honest").await,
        besieged.member(6, "shop").await,
    );
    let bad = accomplice.paper(mallory.key(), GAP_MAX, 1);
    accomplice
        .settle()
        .await
        .open(&bad)
        .await
        .expect("it opens");
    let mut good = honest.paper(shop.key(), GAP_MAX, 1);
    honest.settle().await.open(&good).await.expect("it opens");

    // All at once: the first are hashed, and then no more than one at a time.
    let mut flood = mallory.settle().await;
    let begun = Instant::now();
    for number in 0..1000_u64 {
        flood.send_claim(&bad, 0, GAP_MAX, forged(number)).await;
    }
    besieged.still_pays().await;
    // Its own tab's next long claim is another account's: it waits for no more than one of them.
    let mut payee = shop.settle().await;
    let entry = payee.claim(&mut good, 0, GAP_MAX).await.expect("paid");
    assert_eq!(payee.claim(&mut good, 0, GAP_MAX).await, Ok(entry));
    let mut answers: HashMap<Reason, u32> = HashMap::new();
    for _ in 0..1000 {
        let (_, answer) = flood.next_answer().await;
        *answers
            .entry(answer.expect_err("it proves nothing"))
            .or_default() += 1;
    }
    eprintln!("{answers:?} in {:?}", begun.elapsed());
    assert_eq!(answers.values().sum::<u32>(), 1000);
    assert!(answers[&Reason::BAD_LINK] < 100, "{answers:?}");
    assert!(
        answers
            .keys()
            .all(|it| [Reason::BAD_LINK, Reason::BUSY].contains(it))
    );

    // One after another, in between the payments of others.
    let mut refused = 0;
    while refused < 20 {
        match flood.claim_with(&bad, 0, GAP_MAX, forged(refused)).await {
            Err(Reason::BAD_LINK) => refused += 1,
            Err(Reason::BUSY) => {}
            other => panic!("neither bad nor busy: {other:?}"),
        }
        if refused % 5 == 0 {
            besieged.still_pays().await;
        }
    }
    assert_eq!(shop.balance().await, 100_000_000 + u64::from(GAP_MAX));
    assert_eq!(mallory.balance().await, 100_000_000);
    besieged.audit();
}

#[tokio::test]
async fn a_payee_that_forged_once_is_paid_what_it_can_prove() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut paper: Paper = alice.paper(bob.key(), 100_000, 1);
    alice.settle().await.open(&paper).await.expect("it opens");
    let mut payee: Settle = bob.settle().await;
    let answer = payee.claim_with(&paper, 0, 60_000, forged(1)).await;
    assert_eq!(answer, Err(Reason::BAD_LINK));
    let mut claimed = 0;
    for step in [1, 500, 1000, 40_000] {
        payee
            .claim(&mut paper, claimed, claimed + step)
            .await
            .expect("paid");
        claimed += step;
    }
    payee.close(&bob, &paper).await.expect("it is his");
    assert_eq!(bob.balance().await, 100_000_000 + u64::from(claimed));
    directory.audit();
}

fn forged(number: u64) -> Link {
    let mut link = [7; 32];
    link[..8].copy_from_slice(&number.to_be_bytes());
    Link(link)
}
