//! Settlement over real QUIC: one effect each, whoever submits how often at once; refusals in their
//! order; events; what a crash leaves behind.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use quid_common::id::OrderId;
use quid_common::order::{Decline, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::{Class, Reason};
use quid_common::signed::Signed;
use quid_common::wire::{AskFate, AskHistory, Message, Prove, SettledNext, Submit, Subscribe};
use world::{Directory, Member, Settle};

#[tokio::test]
async fn one_order_submitted_at_once_by_many_has_one_effect_and_one_entry() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let order = alice.order(bob.key(), 7, 1);
    let mut streams = Vec::new();
    for at in 0..16 {
        let mut settle = if at % 2 == 0 {
            alice.settle().await
        } else {
            bob.settle().await
        };
        for number in 1000..1016 {
            settle.stream.send(&submit(number, &order)).await;
        }
        streams.push(settle);
    }
    let mut entries = BTreeSet::new();
    for settle in &mut streams {
        for _ in 0..16 {
            match settle.stream.next().await {
                Some(Message::Settled(settled)) => entries.insert(settled.receipt.index),
                other => panic!("not settled: {other:?}"),
            };
        }
    }
    assert_eq!(entries.len(), 1, "256 answers, one entry");
    assert_eq!(bob.balance().await, 100_000_007);
    directory.audit();
}

#[tokio::test]
async fn receipts_of_one_batch_come_in_a_row_and_each_proves_its_own_order() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = bob.settle().await;
    let orders: Vec<_> = (0..64).map(|n| alice.order(bob.key(), 1, n)).collect();
    let mut bytes = Vec::new();
    for (number, order) in (0..).zip(&orders) {
        submit(number, order).write(&mut bytes);
    }
    settle.stream.send.write_all(&bytes).await.expect("open");
    for _ in &orders {
        let Some(Message::Settled(settled)) = settle.stream.next().await else {
            panic!("not settled");
        };
        let proven = settled.receipt.verify(bob.ledger(), &bob.client.directory);
        let order = &orders[settled.number as usize];
        assert!(proven.expect("it proves its entry").settles(order.bytes()));
    }
    let kinds = &settle.stream.answers.kinds;
    let next = kinds.iter().filter(|kind| **kind == SettledNext::KIND);
    assert!(next.count() >= orders.len() / 2, "{kinds:?}");
}

#[tokio::test]
async fn orders_worth_twice_the_balance_succeed_exactly_up_to_it() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = bob.settle().await;
    let amount = 100_000_000 / 32;
    for number in 0..64 {
        let order = alice.order(bob.key(), amount, number);
        settle.stream.send(&submit(number, &order)).await;
    }
    let (mut settled, mut refused) = (0, 0);
    for _ in 0..64 {
        match settle.stream.next().await {
            Some(Message::Settled(_)) => settled += 1,
            Some(Message::SubmitRefused(refusal)) => {
                assert_eq!(refusal.reason, Reason::INSUFFICIENT_FUNDS);
                let receipt = refusal.receipt.expect("a logged refusal proves itself");
                verify(&alice, &receipt);
                refused += 1;
            }
            other => panic!("not an answer: {other:?}"),
        }
    }
    assert_eq!((settled, refused), (32, 32));
    assert_eq!(alice.balance().await, 0);
    directory.audit();
}

#[tokio::test]
async fn a_void_and_a_decline_stop_an_order_for_good() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);

    let voided = alice.order(bob.key(), 1, 1);
    let tombstone = payer
        .void(&alice, voided.statement().id)
        .await
        .expect("voided");
    assert_eq!(payee.submit(&voided).await, Err(Reason::VOIDED));
    assert_eq!(
        payer.void(&alice, voided.statement().id).await,
        Ok(tombstone)
    );

    let declined = alice.order(bob.key(), 1, 2);
    let decline = Decline::sign(&declined, &bob.client.key)
        .into_bytes()
        .into();
    let order = declined.bytes().to_vec().into();
    payee
        .stream
        .send(
            &Submit {
                number: 1,
                order,
                decline: Some(decline),
            }
            .into(),
        )
        .await;
    match payee.stream.next().await {
        Some(Message::SubmitRefused(refusal)) => assert_eq!(refusal.reason, Reason::PAYEE_DECLINED),
        other => panic!("not a refusal: {other:?}"),
    }
    assert_eq!(payer.submit(&declined).await, Err(Reason::PAYEE_DECLINED));
    assert_eq!(
        payer.void(&alice, declined.statement().id).await,
        Err(Reason::PAYEE_DECLINED)
    );

    // Nobody voids another's order.
    let of_bob = bob.order(alice.key(), 1, 3);
    let forged = payer
        .void(&alice, of_bob.statement().id)
        .await
        .expect("alice's own id space");
    assert!(forged > tombstone);
    assert!(payer.submit(&of_bob).await.is_ok());
    assert_eq!(Reason::PAYEE_DECLINED.class(), Class::Logged);
    directory.audit();
}

#[tokio::test]
async fn fates_receipts_and_history_are_told_to_those_concerned_only() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let carol = directory.member(3, "carol").await;
    let order = alice.order(bob.key(), 1, 1);
    let id = order.statement().id;
    let ask = |payer| AskFate { payer, id }.into();
    for asker in [&alice, &bob] {
        match asker.client.request(&ask(alice.key())).await {
            Message::Fate(fate) => assert!(fate.receipt.is_none() && fate.time < id.expiry()),
            other => panic!("not a fate: {other:?}"),
        }
    }
    let entry = alice
        .settle()
        .await
        .submit(&order)
        .await
        .expect("it settles");
    for asker in [&alice, &bob] {
        match asker.client.request(&ask(alice.key())).await {
            Message::Fate(fate) => verify(asker, &fate.receipt.expect("it settled")),
            other => panic!("not a fate: {other:?}"),
        }
        match asker.client.request(&Prove { entry }.into()).await {
            Message::Proof(proof) => verify(asker, &proof.receipt),
            other => panic!("not a proof: {other:?}"),
        }
        let history = AskHistory {
            before: None,
            after: None,
            limit: 10,
        };
        match asker.client.request(&history.into()).await {
            Message::HistoryPage(page) => {
                assert_eq!(page.lines.len(), 2, "the opening balance and the payment");
                assert_eq!(page.lines[0].entry, entry);
                assert!(!page.more);
            }
            other => panic!("not a page: {other:?}"),
        }
    }
    match carol.client.request(&ask(alice.key())).await {
        Message::Fate(fate) => assert_eq!(fate.receipt, None),
        other => panic!("not a fate: {other:?}"),
    }
    match carol.client.request(&Prove { entry }.into()).await {
        Message::Refused(refused) => assert_eq!(refused.reason, Reason::NOT_FOUND),
        other => panic!("somebody else's receipt: {other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_tells_the_past_once_and_then_what_happens() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = alice.settle().await;
    let mut expected = Vec::new();
    for number in 0..5 {
        let order = alice.order(bob.key(), 1, number);
        expected.push(settle.submit(&order).await.expect("it settles"));
    }
    let mut events = bob.client.open().await;
    let after = Some(expected[1]);
    events
        .send(
            &Subscribe {
                after,
                presence: true,
            }
            .into(),
        )
        .await;
    let (mut told, mut online, mut caught_up) = (Vec::new(), Vec::new(), false);
    while !caught_up {
        match events.next().await.expect("events") {
            Message::Moved(moved) => {
                verify(&bob, &moved.receipt);
                assert_eq!(moved.counterparty.as_str(), "alice");
                told.push(moved.receipt.index);
            }
            Message::Online(event) => online.push(event.person.name.to_string()),
            Message::CaughtUp(_) => caught_up = true,
            other => panic!("not an event: {other:?}"),
        }
    }
    assert_eq!(told, expected[2..]);
    assert_eq!(online, ["alice", "bob"]);
    let now = settle
        .submit(&alice.order(bob.key(), 1, 9))
        .await
        .expect("it settles");
    match events.next().await {
        Some(Message::Moved(moved)) => assert_eq!(moved.receipt.index, now),
        other => panic!("not the payment: {other:?}"),
    }
    // From the beginning, the opening balance comes first.
    let mut all = bob.client.open().await;
    let after = Some(0);
    all.send(
        &Subscribe {
            after,
            presence: false,
        }
        .into(),
    )
    .await;
    let mut told = Vec::new();
    while let Some(Message::Moved(moved)) = all.next().await {
        told.push(moved.receipt.index);
    }
    assert_eq!(
        told.len(),
        7,
        "the opening balance and six payments: {told:?}"
    );
    assert!(told.is_sorted() && told[1..6] == expected[..]);

    let carol = directory.member(3, "carol").await;
    assert!(matches!(events.next().await, Some(Message::Online(_))));
    drop(carol);
    match events.next().await {
        Some(Message::Offline(gone)) => assert_eq!(gone.name.as_str(), "carol"),
        other => panic!("not a farewell: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_under_load_and_nothing_happens_twice() {
    let mut directory = Directory::start("100");
    let mut acknowledged: Vec<(SignedOrder, u64)> = Vec::new();
    let mut open: Vec<SignedOrder> = Vec::new();
    directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await.key();
    for round in 0..5_u64 {
        let alice = directory
            .client(1)
            .await
            .log_in(false)
            .await
            .expect("registered");
        let mut settle = alice.settle().await;
        // What had no answer before the last kill is asked for again, with the same bytes.
        for order in std::mem::take(&mut open) {
            let entry = settle.submit(&order).await.expect("enough money");
            acknowledged.push((order, entry));
        }
        for (order, entry) in &acknowledged {
            assert_eq!(
                settle.submit(order).await,
                Ok(*entry),
                "acknowledged before the kill"
            );
        }
        let sent: Vec<SignedOrder> = (0..200)
            .map(|number| alice.order(bob, 1, round * 1000 + number))
            .collect();
        for (number, order) in sent.iter().enumerate() {
            settle.stream.send(&submit(number as u64, order)).await;
        }
        let mut answered = BTreeSet::new();
        let enough = 20 + 30 * round as usize;
        while answered.len() < enough {
            match settle.stream.next().await {
                Some(Message::Settled(settled)) => {
                    answered.insert(settled.number);
                    let order = sent[settled.number as usize].clone();
                    acknowledged.push((order, settled.receipt.index));
                }
                other => panic!("not settled: {other:?}"),
            }
        }
        directory = directory.kill_and_restart();
        open.extend(
            (0..200)
                .filter(|number| !answered.contains(number))
                .map(|number| sent[number as usize].clone()),
        );
        directory.audit();
    }
    let alice = directory
        .client(1)
        .await
        .log_in(false)
        .await
        .expect("registered");
    let mut settle = alice.settle().await;
    for order in &open {
        settle.submit(order).await.expect("enough money");
    }
    assert_eq!(alice.balance().await, 100_000_000 - 1000);
    directory.audit();
}

#[tokio::test]
async fn past_its_expiry_a_settled_order_keeps_its_receipt_and_another_never_settles() {
    let mut directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await.key();
    let short = |number: u8| {
        let mut order = alice.unsigned(bob, 1, 0);
        order.id = OrderId::new(alice.time().plus(Duration::from_secs(1)), [number; 10]);
        Signed::new(order, &alice.client.key)
    };
    let (settled, late, voided) = (short(1), short(2), short(3));
    let mut settle = alice.settle().await;
    let entry = settle.submit(&settled).await.expect("it settles");
    let tombstone = settle
        .void(&alice, voided.statement().id)
        .await
        .expect("voided");
    // Ledger time is what counts, and answers tell it.
    loop {
        let fate = AskFate {
            payer: alice.key(),
            id: late.statement().id,
        };
        match alice.client.request(&fate.into()).await {
            Message::Fate(fate) if fate.time >= late.statement().id.expiry() => break,
            Message::Fate(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("not a fate: {other:?}"),
        }
    }
    for restart in [false, true] {
        if restart {
            directory = directory.kill_and_restart();
        }
        let alice = directory
            .client(1)
            .await
            .log_in(false)
            .await
            .expect("registered");
        let mut settle = alice.settle().await;
        assert_eq!(again(&mut settle, &settled).await, Ok(entry));
        assert_eq!(again(&mut settle, &late).await, Err(Reason::EXPIRED));
        assert_eq!(again(&mut settle, &voided).await, Err(Reason::VOIDED));
        let id = late.statement().id;
        assert_eq!(settle.void(&alice, id).await, Err(Reason::EXPIRED));
        assert_eq!(
            settle.void(&alice, voided.statement().id).await,
            Ok(tombstone)
        );
    }
    directory.audit();
}

/// Submits until the index behind the log has caught up: *busy* says nothing about the order.
async fn again(settle: &mut Settle, order: &SignedOrder) -> Result<u64, Reason> {
    for _ in 0..100 {
        match settle.submit(order).await {
            Err(Reason::BUSY) => tokio::time::sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
    Err(Reason::BUSY)
}

#[tokio::test]
async fn a_client_that_stops_reading_is_held_to_its_window() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut deaf = alice.settle().await;
    let order = alice.order(bob.key(), 1, 1);
    let mut bytes = Vec::new();
    submit(0, &order).to_frame().write(&mut bytes);
    // Nobody reads the answers: sooner or later the directory stops reading orders.
    let flood = async { while deaf.stream.send.write_all(&bytes).await.is_ok() {} };
    let blocked = tokio::time::timeout(Duration::from_secs(3), flood).await;
    assert!(
        blocked.is_err(),
        "the directory took more than it could answer"
    );
    let mut honest: Settle = bob.settle().await;
    assert!(honest.submit(&bob.order(alice.key(), 1, 1)).await.is_ok());
}

fn submit(number: u64, order: &SignedOrder) -> Message {
    Submit {
        number,
        order: order.bytes().to_vec().into(),
        decline: None,
    }
    .into()
}

fn verify(member: &Member, receipt: &Receipt) {
    let proven = receipt.verify(member.ledger(), &member.client.directory);
    proven.expect("a receipt proves its entry");
}

#[tokio::test]
async fn a_session_of_a_killed_directory_ends_with_the_first_word_to_its_successor() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let directory = directory.kill_and_restart();
    // Nothing was said to it yet, so it knows of nothing.
    assert_eq!(alice.client.connection.close_reason(), None);
    let begun = std::time::Instant::now();
    let mut stream = alice.client.open().await;
    let balance = quid_common::wire::AskBalance {};
    stream.send(&balance.into()).await;
    let ended = alice.client.connection.closed().await;
    assert_eq!(ended, quinn::ConnectionError::Reset);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(directory);
}
