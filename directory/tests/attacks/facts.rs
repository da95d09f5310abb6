//! Facts of others, and orders of the past.

use std::time::{Duration, Instant};

use quid_common::amount::Amount;
use quid_common::entry::Registration;
use quid_common::id::OrderId;
use quid_common::key::SecretKey;
use quid_common::order::{Decline, Order, SignedOrder, Void};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::wire::*;

use super::world::{Directory, Member, Stream};
use super::{forged, refusal, subscribe};

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

/// Why the next order on a settle stream is refused.
async fn reason(stream: &mut Stream) -> Reason {
    match stream.next().await {
        Some(Message::SubmitRefused(refused)) => refused.reason,
        other => panic!("not a refusal: {other:?}"),
    }
}
