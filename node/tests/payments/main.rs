//! Payments between real nodes over a real directory, and what is left of them when any of the
//! three is killed.

mod faults;
mod histories;
mod hostile;
mod once;
mod puppet;
mod tabs;
mod tabs_hostile;
mod world;

use std::sync::Arc;
use std::time::Duration;

use quid_common::refusal::Reason;
use quid_node::{
    Decision, Event, HistoryState, Node, Options, PayError, Payment, Presence, ReceiptId,
    RequestError, Route, State, VoidOutcome, directory_key,
};
use tokio::time::timeout;

use world::{World, amount, listening, money, name, pay, payment, received};

const SOON: Duration = Duration::from_secs(5);
const NOTHING: Duration = Duration::from_millis(700);

#[tokio::test]
async fn a_direct_payment_ends_with_one_receipt_on_both_sides() {
    let world = World::start();
    let (alice, bob) = (
        world.node("alice", listening()).await,
        world.node("bob", listening()).await,
    );
    let (mut alices, mut bobs) = (alice.events(), bob.events());
    let outcome = pay(&alice, "bob", "1.5").await;
    assert_eq!(outcome.route, Route::Direct);
    let State::Settled { entry, receipt } = outcome.state else {
        panic!("{outcome:?}")
    };
    let Some(Event::Received {
        order,
        amount: came,
        payer,
        memo,
        answers,
        receipt: bobs_receipt,
        ..
    }) = money(&mut bobs, SOON).await
    else {
        panic!("no event")
    };
    assert_eq!(
        (order, came, payer.as_str()),
        (outcome.order, amount("1.5"), "alice")
    );
    assert_eq!((memo.as_str(), answers), ("a test", false));
    assert_eq!(
        (bobs_receipt.index, &bobs_receipt.entry),
        (entry, &receipt.entry)
    );
    match money(&mut alices, SOON).await {
        Some(Event::Sent {
            entry: sent,
            order,
            payee,
            ..
        }) => {
            assert_eq!((sent, order, payee.as_str()), (entry, outcome.order, "bob"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(money(&mut bobs, NOTHING).await, None, "told once");
    assert_eq!(money(&mut alices, NOTHING).await, None, "told once");
    for node in [&alice, &bob] {
        for which in [ReceiptId::Entry(entry), ReceiptId::Order(outcome.order)] {
            let (kept, proven) = node.receipt(which).await.expect("kept");
            assert_eq!((kept.entry, proven.index()), (receipt.entry.clone(), entry));
        }
    }
    assert_eq!(
        alice.status().await.expect("online").balance,
        amount("98.5")
    );
    assert_eq!(bob.status().await.expect("online").balance, amount("101.5"));
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn an_offline_payee_is_told_at_its_next_login_and_only_once() {
    let world = World::start();
    world.account("bob").await;
    let alice = world.node("alice", Options::default()).await;
    let mut orders = Vec::new();
    for text in ["1", "2", "3"] {
        let outcome = pay(&alice, "bob", text).await;
        assert_eq!(outcome.route, Route::Directory);
        assert!(
            matches!(outcome.state, State::Settled { .. }),
            "{outcome:?}"
        );
        orders.push(outcome.order);
    }
    let bob = Node::start(world.home("bob"), listening())
        .await
        .expect("started");
    let mut events = bob.events();
    for (order, text) in orders.iter().zip(["1", "2", "3"]) {
        let event = money(&mut events, SOON).await.expect("told");
        assert_eq!(received(&event), Some((*order, amount(text), "alice")));
    }
    bob.close().await;
    let bob = Node::start(world.home("bob"), listening())
        .await
        .expect("started");
    let mut events = bob.events();
    bob.login().await.expect("logged in");
    assert_eq!(money(&mut events, NOTHING).await, None, "told before");
    let history = bob.history(2, None).await.expect("online");
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].order, Some(orders[2]));
    assert!(
        history
            .iter()
            .all(|item| item.incoming && item.state == HistoryState::Settled)
    );
    let all = bob.history(1_000, None).await.expect("online");
    assert_eq!(all.len(), 4, "with the opening balance");
    bob.close().await;
    alice.close().await;
}

#[tokio::test]
async fn a_hundred_payments_at_once_all_settle() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let bob = world.node("bob", listening()).await;
    let mut events = bob.events();
    let mut paying = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let alice = alice.clone();
        paying.spawn(async move { pay(&alice, "bob", "0.25").await });
    }
    while let Some(outcome) = paying.join_next().await {
        let outcome = outcome.expect("no panic");
        assert!(
            matches!(outcome.state, State::Settled { .. }),
            "{outcome:?}"
        );
        assert_eq!(outcome.route, Route::Direct);
    }
    for _ in 0..100 {
        let event = money(&mut events, SOON).await.expect("told");
        assert!(received(&event).is_some(), "{event:?}");
    }
    assert_eq!(money(&mut events, NOTHING).await, None);
    assert_eq!(bob.status().await.expect("online").balance, amount("125"));
}

#[tokio::test]
async fn what_cannot_be_paid_is_refused_before_anything_is_signed() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    for (payee, text, reason) in [
        ("alice", "1", Reason::SELF_PAYMENT),
        ("nobody", "1", Reason::UNKNOWN_ACCOUNT),
        ("bob", "0", Reason::ZERO_AMOUNT),
        ("bob", "100.000001", Reason::INSUFFICIENT_FUNDS),
    ] {
        let refused = alice.pay(payment(payee, text)).await;
        assert_eq!(refused, Err(PayError::Local(reason)), "{payee} {text}");
    }
    assert_eq!(alice.status().await.expect("online").balance, amount("100"));
    // Money that comes meanwhile is noticed.
    let bob = Node::start(world.home("bob"), Options::default())
        .await
        .expect("started");
    pay(&bob, "alice", "1").await;
    assert!(matches!(
        pay(&alice, "bob", "101").await.state,
        State::Settled { .. }
    ));
}

#[tokio::test]
async fn a_payee_whose_key_changed_is_not_paid() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    pay(&alice, "bob", "1").await;
    alice.close().await;
    let journal = rusqlite::Connection::open(world.path("alice/journal.sqlite3")).expect("a file");
    journal
        .execute("UPDATE contacts SET key = zeroblob(32)", [])
        .expect("changed");
    drop(journal);
    let alice = Node::start(world.home("alice"), Options::default())
        .await
        .expect("started");
    match alice.pay(payment("bob", "1")).await {
        Err(PayError::KeyChanged {
            name: who,
            pinned,
            offered,
        }) => {
            assert_eq!(who, name("bob"));
            assert_ne!(pinned, offered);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(alice.status().await.expect("online").balance, amount("99"));
}

#[tokio::test]
async fn a_declined_payment_is_refused_once_that_is_final() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let small = amount("1");
    let accept = Arc::new(move |order: &quid_common::order::Order| {
        if order.amount > small {
            Decision::Decline
        } else {
            Decision::Accept
        }
    });
    let bob = world
        .node(
            "bob",
            Options {
                accept: Some(accept),
                ..listening()
            },
        )
        .await;
    let outcome = pay(&alice, "bob", "2").await;
    match outcome.state {
        State::Refused {
            reason: Reason::PAYEE_DECLINED,
            entry: Some(_),
        } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(outcome.route, Route::Direct);
    assert!(matches!(
        pay(&alice, "bob", "1").await.state,
        State::Settled { .. }
    ));
    assert_eq!(alice.status().await.expect("online").balance, amount("99"));
    match alice.void(outcome.order).await.expect("answered") {
        VoidOutcome::Refused {
            reason: Reason::PAYEE_DECLINED,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    bob.close().await;
}

#[tokio::test]
async fn a_reference_is_paid_once_and_told_as_answered() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let shop = world
        .node(
            "shop",
            Options {
                require_reference: true,
                ..listening()
            },
        )
        .await;
    let mut events = shop.events();
    let reference = shop.new_reference().expect("issued");
    let with = |reference| Payment {
        reference,
        ..payment("shop", "1")
    };

    let without = alice.pay(with(None)).await.expect("sent");
    assert!(
        matches!(
            without.state,
            State::Refused {
                reason: Reason::PAYEE_DECLINED,
                ..
            }
        ),
        "{without:?}"
    );
    let paid = alice.pay(with(Some(reference))).await.expect("sent");
    assert!(matches!(paid.state, State::Settled { .. }), "{paid:?}");
    match money(&mut events, SOON).await {
        Some(Event::Received {
            answers: true,
            reference: Some(told),
            order,
            ..
        }) => {
            assert_eq!((told, order), (reference, paid.order));
        }
        other => panic!("{other:?}"),
    }
    let again = alice.pay(with(Some(reference))).await.expect("sent");
    assert!(
        matches!(
            again.state,
            State::Refused {
                reason: Reason::PAYEE_DECLINED,
                ..
            }
        ),
        "{again:?}"
    );
    assert_eq!(alice.status().await.expect("online").balance, amount("99"));
}

#[tokio::test]
async fn a_void_is_final_and_the_first_entry_wins() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    let paid = pay(&alice, "bob", "1").await;
    let State::Settled { entry, .. } = paid.state else {
        panic!("{paid:?}")
    };
    assert_eq!(
        alice.void(paid.order).await,
        Ok(VoidOutcome::Settled(entry))
    );
    // An order that nobody has seen, from another home of the same account perhaps.
    let expiry = std::time::SystemTime::now() + Duration::from_secs(60);
    let expiry = expiry
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    let expiry = quid_common::time::LedgerTime::from_millis(u64::try_from(expiry).expect("small"));
    let unseen = quid_common::id::OrderId::new(expiry, [7; 10]);
    let voided = alice.void(unseen).await.expect("answered");
    assert!(matches!(voided, VoidOutcome::Voided { .. }), "{voided:?}");
    assert_eq!(alice.void(unseen).await, Ok(voided), "the same tombstone");
    let past =
        quid_common::id::OrderId::new(quid_common::time::LedgerTime::from_millis(1), [7; 10]);
    assert_eq!(
        alice.void(past).await,
        Ok(VoidOutcome::Refused {
            reason: Reason::EXPIRED,
            entry: None
        })
    );
}

#[tokio::test]
async fn who_is_online_is_watched_across_a_restart_of_the_directory() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let bob = world.node("bob", listening()).await;
    let carol = world.node("carol", listening()).await;
    let hidden = world
        .node(
            "hidden",
            Options {
                hidden: true,
                ..listening()
            },
        )
        .await;
    let people: Vec<_> = alice.who().await.expect("online");
    assert_eq!(
        people
            .iter()
            .map(|person| person.name.as_str())
            .collect::<Vec<_>>(),
        ["bob", "carol"]
    );
    let mut watch = alice.watch().await.expect("online");
    for who in ["bob", "carol"] {
        match timeout(SOON, watch.next()).await.expect("told") {
            Some(Presence::Online(person)) => assert_eq!(person.name, name(who)),
            other => panic!("{other:?}"),
        }
    }
    carol.close().await;
    match timeout(SOON, watch.next()).await.expect("told") {
        Some(Presence::Offline { name: who, .. }) => assert_eq!(who, name("carol")),
        other => panic!("{other:?}"),
    }
    world.kill();
    world.restart();
    let returned = tokio::time::Instant::now();
    loop {
        if let Ok(people) = alice.who().await
            && people.iter().any(|person| person.name == name("bob"))
        {
            break;
        }
        let waited = returned.elapsed();
        assert!(
            waited < Duration::from_secs(10),
            "not back after {waited:?}"
        );
    }
    let dave = world.node("dave", listening()).await;
    // Bob may be told as gone and back; then comes Dave.
    let came = timeout(SOON, async {
        loop {
            match watch.next().await {
                Some(Presence::Online(person)) if person.name == name("dave") => return true,
                Some(_) => {}
                None => return false,
            }
        }
    });
    assert_eq!(came.await, Ok(true));
    drop((bob, dave, hidden));
}

#[tokio::test]
async fn a_stranger_is_told_to_register_and_a_wrong_directory_is_not_spoken_to() {
    let world = World::start();
    let stranger = Node::start(world.home("stranger"), Options::default())
        .await
        .expect("started");
    assert_eq!(stranger.login().await, Err(RequestError::NotRegistered));
    assert_eq!(
        stranger.pay(payment("bob", "1")).await,
        Err(PayError::Request(RequestError::NotRegistered))
    );
    let registered = stranger.register(&name("late")).await.expect("registered");
    assert_eq!(stranger.register(&name("late")).await, Ok(registered));
    assert_eq!(
        stranger.register(&name("later")).await,
        Err(RequestError::Refused(Reason::ALREADY_REGISTERED))
    );
    assert_eq!(
        stranger.login().await.expect("logged in").name,
        name("late")
    );

    let address = world.address();
    let key = directory_key(address.host(), address.port())
        .await
        .expect("it answers");
    assert_eq!(key, address.key());
    let other = quid_common::key::SecretKey::from_seed(&[9; 32]).public();
    let wrong = quid_common::address::DirectoryAddress::new(other, address.host(), address.port());
    let home = quid_node::Home::init(&world.path("wrong"), &wrong.expect("an address"));
    let node = Node::start(home.expect("a home"), Options::default())
        .await
        .expect("started");
    match node.login().await {
        Err(RequestError::Unreachable(why)) => assert!(why.contains("another key"), "{why}"),
        other => panic!("{other:?}"),
    }
}
