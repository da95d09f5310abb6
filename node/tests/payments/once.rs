//! One intent is one payment or one tab, however often and whenever it is asked.

use quid_common::refusal::Reason;
use quid_node::{
    Answered, AnsweredTab, Node, Opened, PayError, SentState, State, TabOpening, TabStage,
    Unpayable,
};
use tokio::time::timeout;

use super::world::{END_WAIT, World, amount, listening, name, payment};

#[tokio::test]
async fn an_intent_pays_once_also_at_one_moment_and_after_a_new_start() {
    let world = World::start();
    let alice = world.node("alice", listening()).await;
    let bob = world.node("bob", listening()).await;
    let intent = alice.intent().expect("there is randomness");
    let wish = || payment("bob", "1.5");
    let asked = tokio::join!(
        alice.pay_once(intent, wish()),
        alice.pay_once(intent, wish()),
        alice.pay_once(intent, wish()),
    );
    let answers = [asked.0, asked.1, asked.2].map(|answer| answer.expect("sent"));
    let one = answers[0].outcome.clone();
    for Answered { outcome, .. } in &answers {
        assert_eq!(outcome.order, one.order);
        assert!(
            matches!(outcome.state, State::Settled { .. }),
            "{outcome:?}"
        );
    }
    let earlier = answers.iter().filter(|answer| answer.earlier).count();
    assert_eq!(earlier, 2, "one of the three has sent it");
    // Another payment of the same intent is none.
    for other in [payment("bob", "1.6"), payment("carol", "1.5")] {
        let refused = alice.pay_once(intent, other).await;
        assert_eq!(refused, Err(PayError::IntentUsed { order: one.order }));
    }
    alice.close().await;
    let home = quid_node::Home::open(&world.path("alice")).expect("a home");
    let alice = Node::start(home, listening()).await.expect("a node");
    let again = alice
        .pay_once(intent, wish())
        .await
        .expect("the same")
        .outcome;
    assert_eq!(again.order, one.order);
    assert!(matches!(again.state, State::Settled { .. }), "{again:?}");
    assert_eq!(bob.status().await.expect("online").balance, amount("101.5"));
    let sent = alice.sent(10).await.expect("readable");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(matches!(sent[0].state, SentState::Settled { .. }));
}

#[tokio::test]
async fn an_intent_of_which_nothing_was_sent_is_as_good_as_new() {
    let world = World::start();
    let alice = world.node("alice", listening()).await;
    let _bob = world.node("bob", listening()).await;
    let intent = alice.intent().expect("there is randomness");
    for (wish, reason) in [
        (payment("nobody", "1"), Reason::UNKNOWN_ACCOUNT),
        (payment("bob", "1000"), Reason::INSUFFICIENT_FUNDS),
    ] {
        let refused = alice.pay_once(intent, wish).await;
        assert_eq!(refused, Err(PayError::Local(reason)));
    }
    let paid = alice
        .pay_once(intent, payment("bob", "1"))
        .await
        .expect("sent")
        .outcome;
    assert!(matches!(paid.state, State::Settled { .. }), "{paid:?}");
}

#[tokio::test]
async fn an_intent_of_unknown_end_is_asked_about_and_never_paid_anew() {
    let world = World::start();
    let alice = world.node("alice", listening()).await;
    let _bob = world.node("bob", listening()).await;
    alice
        .pay(payment("bob", "1"))
        .await
        .expect("they know each other");
    world.signal("STOP");
    let intent = alice.intent().expect("there is randomness");
    let mut wish = payment("bob", "2");
    wish.wait = std::time::Duration::from_millis(300);
    let unknown = alice
        .pay_once(intent, wish.clone())
        .await
        .expect("sent")
        .outcome;
    assert_eq!(unknown.state, State::Unknown);
    let again = alice
        .pay_once(intent, wish.clone())
        .await
        .expect("the same")
        .outcome;
    assert_eq!((again.order, again.state), (unknown.order, State::Unknown));
    world.signal("CONT");
    wish.wait = END_WAIT;
    let ended = timeout(END_WAIT, alice.pay_once(intent, wish)).await;
    let ended = ended.expect("in time").expect("the same").outcome;
    assert_eq!(ended.order, unknown.order);
    assert!(matches!(ended.state, State::Settled { .. }), "{ended:?}");
}

#[tokio::test]
async fn an_intent_opens_one_tab_also_at_one_moment_and_after_a_new_start() {
    let world = World::start();
    let alice = world.node("alice", listening()).await;
    let _bob = world.node("bob", listening()).await;
    let intent = alice.intent().expect("there is randomness");
    let wish = || TabOpening::new(name("bob"), amount("0.01"), 100);
    let asked = tokio::join!(
        alice.open_tab_once(intent, wish()),
        alice.open_tab_once(intent, wish()),
        alice.open_tab_once(intent, wish()),
    );
    let answers = [asked.0, asked.1, asked.2].map(|answer| answer.expect("sent"));
    let tab = answers[0].outcome.tab;
    for AnsweredTab { outcome, .. } in &answers {
        assert_eq!(outcome.tab, tab);
        assert!(matches!(outcome.state, Opened::Open(_)), "{outcome:?}");
    }
    let earlier = answers.iter().filter(|answer| answer.earlier).count();
    assert_eq!(earlier, 2, "one of the three has opened it");
    // Another tab of the same intent is none, nor is a payment.
    let used = |error: PayError| assert_eq!(error, PayError::IntentUsed { order: tab });
    let others = [
        TabOpening {
            units: 101,
            ..wish()
        },
        TabOpening {
            unit: amount("0.02"),
            ..wish()
        },
        TabOpening {
            payee: name("carol"),
            ..wish()
        },
        TabOpening {
            expires: wish().expires * 2,
            ..wish()
        },
    ];
    for other in others {
        used(alice.open_tab_once(intent, other).await.expect_err("used"));
    }
    used(
        alice
            .pay_once(intent, payment("bob", "1"))
            .await
            .expect_err("used"),
    );
    let status = alice.status().await.expect("online");
    assert_eq!((status.held, status.tabs), (amount("1"), 1));
    // Whoever holds a handle of a tab keeps other nodes of this home from paying on it.
    drop(answers);
    alice.close().await;
    let home = quid_node::Home::open(&world.path("alice")).expect("a home");
    let alice = Node::start(home, listening()).await.expect("a node");
    let again = alice.open_tab_once(intent, wish()).await.expect("the same");
    assert_eq!((again.outcome.tab, again.earlier), (tab, true));
    let Opened::Open(open) = again.outcome.state else {
        panic!("{:?}", again.outcome);
    };
    open.close().await.expect("the directory is there");
    let over = alice.open_tab_once(intent, wish()).await.expect_err("over");
    assert_eq!(over, PayError::Unpayable(Unpayable::TabOver { tab }));
    let opened = alice.opened_tabs(10).await.expect("readable");
    let stages: Vec<_> = opened
        .iter()
        .map(|it| (it.tab, it.stage, it.reason))
        .collect();
    assert_eq!(stages, [(tab, TabStage::Over, None)]);
    assert_eq!(alice.status().await.expect("online").held, amount("0"));
}
