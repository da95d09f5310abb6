//! Peers that lie about tabs.

use std::time::Duration;

use quid_common::chain::{Chain, Link};
use quid_common::id::OrderId;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_common::wire::{
    Message, OpenTabs, TabAccepted, TabEnd, TabEnded, TabOffer, TabPaid, TabPay,
};
use quid_node::{Opened, Options, TabError, TabOpening};
use tokio::time::timeout;

use crate::puppet::{Puppet, Wire};
use crate::world::{END_WAIT, World, amount, eager, ended, name};

const SOON: Duration = Duration::from_secs(10);

async fn offer(wire: &mut Wire, number: u32, receipt: Receipt) -> Message {
    let offer = TabOffer {
        number,
        receipt,
        checkpoint: None,
    };
    wire.send(offer.into()).await;
    wire.next().await.expect("answered")
}

fn pay(number: u32, first: u32, step: u32, links: &[Link]) -> Message {
    let links: Vec<u8> = links.iter().flat_map(|link| link.0).collect();
    TabPay {
        number,
        first,
        step,
        links: links.into(),
    }
    .into()
}

/// The answer to payments, past those to earlier ones.
async fn paid(wire: &mut Wire, wanted: u32) {
    loop {
        match wire.next().await.expect("answered") {
            Message::TabPaid(TabPaid { paid, .. }) if paid == wanted => return,
            Message::TabPaid(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until so many units are taken.
async fn limited(wire: &mut Wire, wanted: u32) {
    loop {
        match wire.next().await.expect("answered") {
            Message::TabPaid(TabPaid { limit, .. }) if limit >= wanted => return,
            Message::TabPaid(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_forged_link_ends_the_connection_and_what_was_paid_is_claimed() {
    let mut world = World::start();
    let mallory = Puppet::start(&world, "mallory").await;
    let bob = world.node("bob", eager()).await;
    let (key, mut wire) = mallory.payee("bob").await;
    wire.send(OpenTabs {}.into()).await;
    let (receipt, mut chain) = mallory.open_tab(key, 1).await;
    let (_, mut other) = mallory.open_tab(key, 2).await;
    let link = |chain: &mut Chain, index| chain.link(index).expect("within the chain");
    let anchor = chain.anchor();
    let accepted = TabAccepted {
        number: 7,
        paid: 0,
        link: anchor,
        limit: 1,
    };
    assert_eq!(offer(&mut wire, 7, receipt.clone()).await, accepted.into());
    // A hundredth is less than a unit: one unit at a time, each saved before the next.
    wire.send(pay(7, 1, 1, &[link(&mut chain, 1)])).await;
    paid(&mut wire, 1).await;
    // Repeated, stale, or for a tab that was never offered: nothing happens.
    wire.send(pay(7, 1, 1, &[link(&mut chain, 1)])).await;
    wire.send(pay(8, 1, 1, &[link(&mut chain, 1)])).await;
    // Beyond the limit nothing counts, and the payer is told so.
    let ahead = [link(&mut chain, 9), link(&mut chain, 10)];
    wire.send(pay(7, 9, 1, &ahead)).await;
    paid(&mut wire, 1).await;
    for index in 2..=4 {
        limited(&mut wire, index).await;
        wire.send(pay(7, index, 1, &[link(&mut chain, index)]))
            .await;
        paid(&mut wire, index).await;
    }
    limited(&mut wire, 5).await;
    let lies = [
        pay(7, 5, 1, &[link(&mut other, 5)]),
        pay(7, 11, 1, &[link(&mut chain, 10)]),
        pay(7, u32::MAX, 1, &[link(&mut chain, 10)]),
        pay(7, 5, 0, &[link(&mut chain, 5)]),
        pay(7, 5, 1, &[]),
        pay(7, 5, u32::MAX, &[link(&mut chain, 5), link(&mut chain, 6)]),
        Message::OpenTabs(OpenTabs {}),
    ];
    for (at, lie) in lies.into_iter().enumerate() {
        wire.send(lie).await;
        let closed = timeout(SOON, wire.connection.closed()).await;
        let closed = closed.expect("the liar is sent away").to_string();
        assert!(closed.contains("closed by peer"), "{at}: {closed}");
        // And may come again: what it paid stands.
        (_, wire) = mallory.payee("bob").await;
        wire.send(OpenTabs {}.into()).await;
        match offer(&mut wire, 7, receipt.clone()).await {
            Message::TabAccepted(told) => {
                assert_eq!((told.paid, told.link), (4, link(&mut chain, 4)));
            }
            other => panic!("{other:?}"),
        }
    }
    wire.send(TabEnd { number: 7 }.into()).await;
    let ended = loop {
        match wire.next().await.expect("answered") {
            Message::TabPaid(_) => {}
            other => break other,
        }
    };
    let whole = TabEnded {
        number: 7,
        paid: 4,
        reason: None,
    };
    assert_eq!(ended, whole.into());
    let status = bob.status().await.expect("answered");
    assert_eq!(status.balance, amount("100.4"));
    bob.close().await;
    world.audit();
}

#[tokio::test]
async fn a_tab_that_is_not_this_payers_to_this_payee_is_declined_by_name() {
    let mut world = World::start();
    let (mallory, carol) = (
        Puppet::start(&world, "mallory").await,
        Puppet::start(&world, "carol").await,
    );
    let bob = world.node("bob", eager()).await;
    let (key, mut wire) = mallory.payee("bob").await;
    wire.send(OpenTabs {}.into()).await;
    let order = mallory.sign(mallory.order(key, "1", 9, 60));
    let Message::Settled(payment) = mallory.submit(order.bytes()).await else {
        panic!("settles")
    };
    let (own, _) = mallory.open_tab(key, 1).await;
    let (to_carol, _) = mallory.open_tab(carol.key.public(), 2).await;
    let (of_carol, _) = carol.open_tab(key, 3).await;
    let mut forged = own.clone();
    forged.entry[40] ^= 1;
    let mut misplaced = own.clone();
    misplaced.index += 1;
    for (number, (receipt, reason)) in [
        (payment.receipt, Reason::ENCODING),
        (to_carol, Reason::WRONG_SUBMITTER),
        (of_carol, Reason::WRONG_SUBMITTER),
        (forged, Reason::ENCODING),
        (misplaced, Reason::ENCODING),
    ]
    .into_iter()
    .enumerate()
    {
        let number = u32::try_from(number).expect("few");
        let declined = TabEnded {
            number,
            paid: 0,
            reason: Some(reason),
        };
        assert_eq!(offer(&mut wire, number, receipt).await, declined.into());
    }
    let accepted = offer(&mut wire, 99, own).await;
    assert!(matches!(accepted, Message::TabAccepted(_)), "{accepted:?}");
    bob.close().await;
    world.audit();
}

#[tokio::test]
async fn a_payee_that_shows_a_foreign_link_or_acknowledges_too_much_gains_nothing() {
    let mut world = World::start();
    let mallory = Puppet::start(&world, "mallory").await;
    let alice = world.node("alice", Options::default()).await;
    let wish = TabOpening::new(name("mallory"), amount("0.1"), 10);
    let outcome = alice.open_tab(wish.clone()).await.expect("sent");
    let Opened::Open(tab) = outcome.state else {
        panic!("{outcome:?}")
    };
    let mut wire = mallory.payer().await;
    let open = wire.next().await.expect("a tab stream");
    assert_eq!(open, OpenTabs {}.into());
    let Some(Message::TabOffer(offered)) = wire.next().await else {
        panic!("no offer")
    };
    let accept = |paid, link| TabAccepted {
        number: offered.number,
        paid,
        link,
        limit: u32::MAX,
    };
    wire.send(accept(0, tab.terms().anchor).into()).await;
    assert_eq!(tab.send(3).await, Ok(3));
    let Some(Message::TabPay(payment)) = wire.next().await else {
        panic!("no payment")
    };
    assert_eq!((payment.first, payment.links.len()), (3, 32));
    let lie = TabPaid {
        number: offered.number,
        paid: 9,
        limit: u32::MAX,
    };
    wire.send(lie.into()).await;
    tab.acknowledged(3).await.expect("told so");
    assert_eq!(tab.progress().paid, 3, "no more than has left");
    // A link that is none of the tab's: nothing is paid on it any more.
    wire.send(accept(5, Link([5; 32])).into()).await;
    let stopped = timeout(SOON, tab.acknowledged(4)).await;
    let ended_by = TabError::Ended(Some(Reason::BAD_LINK));
    assert_eq!(stopped.expect("soon"), Err(ended_by));
    let closed = timeout(END_WAIT, tab.close()).await.expect("in time");
    assert!(!closed.expect("answered").released, "mallory may claim");
    let status = ended(&alice).await;
    assert_eq!((status.balance, status.held), (amount("99"), amount("1")));
    alice.close().await;
    world.audit();
}

#[tokio::test]
async fn a_tab_that_was_never_opened_has_no_handle() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let id = OrderId::new(LedgerTime::from_millis(9), [1; 10]);
    let none = alice.tab(id).await.expect_err("there is none");
    assert_eq!(none, quid_node::RequestError::Refused(Reason::NO_TAB));
    alice.close().await;
}

#[tokio::test]
async fn a_tab_that_ended_while_the_payer_was_away_tells_what_was_paid() {
    let world = World::start();
    let alice = Puppet::start(&world, "alice").await;
    let bob = world.node("bob", eager()).await;
    let (key, mut wire) = alice.payee("bob").await;
    wire.send(OpenTabs {}.into()).await;
    let (receipt, mut chain) = alice.open_tab(key, 1).await;
    offer(&mut wire, 7, receipt.clone()).await;
    wire.send(pay(7, 1, 1, &[chain.link(1).expect("a link")]))
        .await;
    paid(&mut wire, 1).await;
    drop(wire);
    let tab = bob.next_tab().await.expect("a tab");
    tab.end();
    timeout(SOON, tab.over()).await.expect("it ends");
    let (_, mut wire) = alice.payee("bob").await;
    wire.send(OpenTabs {}.into()).await;
    match offer(&mut wire, 7, receipt).await {
        Message::TabEnded(told) => assert_eq!(told.paid, 1, "{told:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_limit_of_tabs_per_payer_holds_for_offers_at_once() {
    let world = World::start();
    let alice = Puppet::start(&world, "alice").await;
    let mut options = eager();
    options.tabs.tabs_per_payer = 1;
    let bob = world.node("bob", options).await;
    let (key, mut wire) = alice.payee("bob").await;
    wire.send(OpenTabs {}.into()).await;
    let mut receipts = Vec::new();
    for number in 1..=4 {
        receipts.push((number, alice.open_tab(key, number).await.0));
    }
    for (number, receipt) in receipts {
        wire.send(
            TabOffer {
                number: number.into(),
                receipt,
                checkpoint: None,
            }
            .into(),
        )
        .await;
    }
    let mut accepted = 0;
    for _ in 0..4 {
        accepted += usize::from(matches!(wire.next().await, Some(Message::TabAccepted(_))));
    }
    assert_eq!(accepted, 1);
    bob.close().await;
}
