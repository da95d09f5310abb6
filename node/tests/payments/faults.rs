//! Killing payer, payee and directory, and finding every payment ended all the same.

use std::time::Duration;

use quid_common::refusal::Reason;
use quid_node::{Event, Node, Options, Payment, Route, State};
use tokio::time::{Instant, sleep};

use crate::world::{
    END_WAIT, World, amount, ended, last_json, listening, money, name, pay, payment,
};

#[tokio::test]
async fn a_payee_that_vanishes_with_the_order_is_not_paid_by_another_way() {
    let world = World::start();
    world.account("bob").await;
    let alice = world.node("alice", Options::default()).await;
    let mut events = alice.events();
    let bob = world.listener("bob");
    // The connection is open from now on: the next order leaves at once.
    let first = pay(&alice, "bob", "1").await;
    assert_eq!(first.route, Route::Direct);
    bob.signal("STOP");
    let paying = tokio::spawn({
        let alice = alice.clone();
        async move { pay(&alice, "bob", "2").await }
    });
    sleep(Duration::from_millis(300)).await;
    bob.kill();
    let outcome = paying.await.expect("no panic");
    assert_eq!(outcome.route, Route::Direct);
    match outcome.state {
        State::Refused {
            reason: Reason::VOIDED,
            entry: Some(_),
        } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(ended(&alice).await.balance, amount("99"));
    let refused = loop {
        match money(&mut events, END_WAIT).await.expect("told") {
            Event::Refused {
                order,
                counterparty,
                ..
            } => break (order, counterparty),
            _ => continue,
        }
    };
    assert_eq!(refused, (outcome.order, Some(name("bob"))));
    // Whoever comes back in its place gets nothing for the old order, and new ones arrive.
    let bob = Node::start(world.home("bob"), listening())
        .await
        .expect("started");
    bob.login().await.expect("logged in");
    assert!(matches!(
        pay(&alice, "bob", "3").await.state,
        State::Settled { .. }
    ));
    assert_eq!(bob.status().await.expect("online").balance, amount("104"));
}

#[tokio::test]
async fn a_payment_without_a_directory_is_unknown_and_ends_when_it_returns() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let bob = world.node("bob", listening()).await;
    pay(&alice, "bob", "1").await;
    world.kill();
    // The payee can be reached and takes the order; nobody can settle it.
    let wait = Duration::from_secs(2);
    let unknown = alice
        .pay(Payment {
            wait,
            ..payment("bob", "2")
        })
        .await
        .expect("sent");
    assert_eq!(unknown.state, State::Unknown);
    let open = alice.history(0, None).await;
    assert!(open.is_err() || open.is_ok_and(|open| open.len() == 1));
    world.restart();
    let balance = ended(&alice).await.balance;
    // The payee, who kept the order, and the payer's void race; either is an end.
    let bobs = bob.status().await.expect("online").balance;
    let ends = [(amount("97"), amount("103")), (amount("99"), amount("101"))];
    assert!(ends.contains(&(balance, bobs)), "{balance:?} {bobs:?}");
    let late = alice.resolve().await;
    assert!(late.is_empty(), "{late:?}");
    alice.close().await;
    bob.close().await;
    world.audit();
}

#[tokio::test]
async fn an_order_is_followed_by_one_process_at_a_time_and_taken_over_by_the_next() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let bob = world.node("bob", listening()).await;
    pay(&alice, "bob", "1").await;
    world.signal("STOP");
    let wait = Duration::from_millis(500);
    let unknown = alice
        .pay(Payment {
            wait,
            ..payment("bob", "2")
        })
        .await
        .expect("sent");
    assert_eq!(unknown.state, State::Unknown);
    bob.close().await;
    let second = Node::start(world.home("alice"), Options::default())
        .await
        .expect("started");
    assert!(
        second.resolve().await.is_empty(),
        "the first still follows it"
    );
    alice.close().await;
    world.signal("CONT");
    second.login().await.expect("logged in");
    let taken = second.resolve().await;
    // It may have been taken over, and ended, by the login itself.
    for resolved in &taken {
        assert_eq!(resolved.order, unknown.order);
        assert_ne!(resolved.state, State::Unknown);
    }
    let balance = ended(&second).await.balance;
    assert!(
        [amount("97"), amount("99")].contains(&balance),
        "{balance:?}"
    );
    second.close().await;
    world.audit();
}

#[tokio::test]
async fn a_node_is_back_within_ten_seconds_of_its_directory() {
    let mut world = World::start();
    let bob = world.node("bob", listening()).await;
    let mut events = bob.events();
    for pause in [Duration::ZERO, Duration::from_secs(4)] {
        world.kill();
        sleep(pause).await;
        world.restart();
        let returned = Instant::now();
        loop {
            let left = Duration::from_secs(10).checked_sub(returned.elapsed());
            let event = tokio::time::timeout(left.expect("back in time"), events.next()).await;
            if matches!(event, Ok(Some(Event::Online { .. }))) {
                break;
            }
        }
        let people = bob.who().await.expect("online");
        assert_eq!(people.len(), 1, "after {pause:?}");
    }
}

#[tokio::test]
async fn a_killed_payers_orders_are_ended_by_its_next_command() {
    let mut world = World::start();
    world.account("alice").await;
    world.account("bob").await;
    let bob = world.listener("bob");
    // Killed ever later, from before the login to after the end.
    for run in 0..16_u32 {
        let paying = world
            .quid("alice", &["pay", "bob", "1"])
            .spawn()
            .expect("quid runs");
        let mut paying = crate::world::Process(paying);
        sleep(Duration::from_millis(20) * run).await;
        let _ = paying.0.kill();
        let _ = paying.0.wait();
    }
    let deadline = Instant::now() + END_WAIT;
    let status = loop {
        let output = world
            .quid("alice", &["status"])
            .output()
            .expect("quid runs");
        let status = last_json(&output);
        if status["pending"] == 0 {
            break status;
        }
        assert!(Instant::now() < deadline, "{status}");
    };
    let history = world
        .quid("alice", &["history", "--limit", "100"])
        .output()
        .expect("quid runs");
    let paid = String::from_utf8_lossy(&history.stdout)
        .lines()
        .filter(|line| line.contains("\"out\""))
        .inspect(|line| assert!(line.contains("\"settled\""), "{line}"))
        .count();
    assert_eq!(
        status["balance"],
        format!("{}.000000", 100 - paid),
        "{status}"
    );
    let bobs = last_json(&world.quid("bob", &["status"]).output().expect("quid runs"));
    assert_eq!(bobs["balance"], format!("{}.000000", 100 + paid), "{bobs}");
    bob.kill();
    world.audit();
}

#[tokio::test]
async fn two_hundred_payments_all_end_while_payee_and_directory_are_killed() {
    let mut world = World::start();
    world.account("bob").await;
    let alice = world.node("alice", Options::default()).await;
    let mut bob = Some(world.listener("bob"));
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("randomness");
    let mut seed = u64::from_ne_bytes(bytes);
    println!("seed {seed}");
    let mut random = move |below: u64| {
        // Steele, Lea and Flood, SplitMix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let mut paying = tokio::task::JoinSet::new();
    for number in 0..200_u32 {
        let alice = alice.clone();
        paying.spawn(async move {
            // Nothing is sent while there is no directory: then the intent is free to try again.
            let deadline = Instant::now() + END_WAIT;
            loop {
                match alice.pay(payment("bob", "0.01")).await {
                    Ok(outcome) => return outcome,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            }
        });
        sleep(Duration::from_millis(random(80))).await;
        if number % 40 == 20 {
            world.kill();
            sleep(Duration::from_millis(random(500))).await;
            world.restart();
        }
        if number % 40 == 35 {
            bob.take().expect("it runs").kill();
            sleep(Duration::from_millis(random(300))).await;
            bob = Some(world.listener("bob"));
        }
    }
    let outcomes = paying.join_all().await;
    let balance = ended(&alice).await.balance;
    let mut settled = 0;
    for outcome in outcomes {
        let end = match outcome.state {
            State::Unknown => {
                let history = alice.history(1_000, None).await.expect("online");
                history.iter().any(|item| item.order == Some(outcome.order))
            }
            State::Settled { .. } => true,
            State::Refused { .. } => false,
        };
        settled += u64::from(end);
    }
    assert_eq!(
        balance.units(),
        100_000_000 - settled * 10_000,
        "{settled} settled"
    );
    let bobs = last_json(&world.quid("bob", &["status"]).output().expect("quid runs"));
    let expected = 100_000_000 + settled * 10_000;
    let expected = format!("{}.{:06}", expected / 1_000_000, expected % 1_000_000);
    assert_eq!(bobs["balance"], expected);
    println!("{settled} of 200 settled");
    // Those in the hands of a killed payee are voided; a fault must not cost the ones after it.
    assert!(settled >= 100, "{settled} settled");
    drop(bob);
    alice.close().await;
    world.audit();
}
