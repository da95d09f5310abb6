//! Peers that lie, withhold, repeat and forge.

use std::time::Duration;

use quid_common::order::{Order, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::wire::{Declined, Message, Offer, Paid, PaidNext};
use quid_node::{Event, Node, Options, Outcome, Route, State};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::puppet::{Puppet, Wire};
use crate::world::{World, amount, ended, listening, money, pay, received};

const SOON: Duration = Duration::from_secs(5);
const NOTHING: Duration = Duration::from_millis(700);

/// What a payee that lies can do with an order.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Silence,
    AnothersReceipt,
    RestOfAnothers,
    RestOfMore,
    RestOfNone,
    FalseReason,
    Garbage,
    Hangup,
}

#[tokio::test]
async fn whatever_a_payee_says_an_order_that_did_not_settle_ends_as_void() {
    let world = World::start();
    let mallory = Puppet::start(&world, "mallory").await;
    let alice = world.node("alice", Options::default()).await;
    // A genuine receipt, of another payment to the same payee.
    let (paying, mut wire, offer) = offered(&alice, &mallory).await;
    let Message::Settled(settled) = mallory.submit(&offer.order).await else {
        panic!("settles")
    };
    wire.send(
        Paid {
            number: offer.number,
            receipt: settled.receipt.clone(),
        }
        .into(),
    )
    .await;
    let outcome = paying.await.expect("no panic");
    assert!(
        matches!(outcome.state, State::Settled { .. }),
        "{outcome:?}"
    );

    let lies = [
        Lie::AnothersReceipt,
        Lie::RestOfAnothers,
        Lie::RestOfMore,
        Lie::RestOfNone,
        Lie::FalseReason,
        Lie::Silence,
        Lie::Garbage,
        Lie::Hangup,
    ];
    let mut open = Some(wire);
    for lie in lies {
        let (paying, mut wire, offer) = match open.take() {
            Some(wire) if wire.connection.close_reason().is_none() => {
                offered_on(&alice, wire).await
            }
            _ => offered(&alice, &mallory).await,
        };
        let number = offer.number;
        match lie {
            Lie::Silence => {}
            Lie::AnothersReceipt => {
                let receipt = settled.receipt.clone();
                wire.send(Paid { number, receipt }.into()).await;
            }
            Lie::RestOfAnothers | Lie::RestOfMore | Lie::RestOfNone => {
                let Receipt {
                    entry, index, path, ..
                } = settled.receipt.clone();
                let shared = match lie {
                    Lie::RestOfMore => (path.len() / 32) as u8 + 1,
                    Lie::RestOfNone => 0,
                    _ => (path.len() / 32) as u8,
                };
                let next = PaidNext {
                    number,
                    entry,
                    index,
                    path: vec![].into(),
                    shared,
                };
                wire.send(next.into()).await;
            }
            Lie::FalseReason => {
                let reason = Reason::INSUFFICIENT_FUNDS;
                wire.send(Declined { number, reason }.into()).await;
            }
            Lie::Garbage => wire.send_bytes(&[0, 0, 0, 1, 0, 65, 0xff]).await,
            Lie::Hangup => wire.connection.close(0_u32.into(), b""),
        }
        let outcome = paying.await.expect("no panic");
        assert_eq!(outcome.route, Route::Direct);
        let State::Refused {
            reason: Reason::VOIDED,
            entry: Some(_),
        } = outcome.state
        else {
            panic!("{lie:?}: {outcome:?}")
        };
        // What was withheld is worth nothing any more.
        match mallory.submit(&offer.order).await {
            Message::SubmitRefused(refused) => assert_eq!(refused.reason, Reason::VOIDED),
            other => panic!("{lie:?}: {other:?}"),
        }
        match lie {
            // The genuine receipt came on this stream, and a rest of it is one.
            Lie::AnothersReceipt | Lie::RestOfAnothers => {
                assert_eq!(wire.connection.close_reason(), None, "{lie:?}");
            }
            Lie::RestOfMore | Lie::RestOfNone | Lie::Garbage => {
                let closed = timeout(SOON, wire.connection.closed()).await;
                closed.unwrap_or_else(|_| panic!("{lie:?} is a breach"));
            }
            Lie::Silence | Lie::FalseReason | Lie::Hangup => {}
        }
        // After silence the payee is looked for anew.
        open = (!matches!(lie, Lie::Silence)).then_some(wire);
    }
    assert_eq!(ended(&alice).await.balance, amount("99"));
}

#[tokio::test]
async fn a_payee_that_settles_and_says_no_has_been_paid() {
    let world = World::start();
    let mallory = Puppet::start(&world, "mallory").await;
    let alice = world.node("alice", Options::default()).await;
    let (paying, mut wire, offer) = offered(&alice, &mallory).await;
    let Message::Settled(settled) = mallory.submit(&offer.order).await else {
        panic!("settles")
    };
    let no = Declined {
        number: offer.number,
        reason: Reason::PAYEE_DECLINED,
    };
    wire.send(no.into()).await;
    match paying.await.expect("no panic").state {
        State::Settled { entry, .. } => assert_eq!(entry, settled.receipt.index),
        other => panic!("{other:?}"),
    }
    assert_eq!(ended(&alice).await.balance, amount("99"));
}

#[tokio::test]
async fn receipts_of_one_batch_come_to_the_payer_in_a_row() {
    let world = World::start();
    let _bob = world.node("bob", listening()).await;
    let alice = Puppet::start(&world, "alice").await;
    let (payee, mut wire) = alice.payee("bob").await;
    let order = |number| alice.sign(alice.order(payee, "0.01", number, 60));
    let orders: Vec<SignedOrder> = (0..32).map(order).collect();
    let mut bytes = Vec::new();
    for (number, order) in (0..).zip(&orders) {
        let offer = Offer {
            number,
            order: order.bytes().to_vec().into(),
            checkpoint: None,
        };
        Message::from(offer).write(&mut bytes);
    }
    wire.send_bytes(&bytes).await;
    for _ in &orders {
        let Some(Message::Paid(paid)) = wire.next().await else {
            panic!("not paid");
        };
        let proven = paid.receipt.verify(alice.ledger(), &world.address().key());
        let order = &orders[paid.number as usize];
        assert!(proven.expect("it proves its entry").settles(order.bytes()));
    }
    assert!(wire.kinds.contains(&PaidNext::KIND), "{:?}", wire.kinds);
}

#[tokio::test]
async fn only_a_payers_own_sound_order_to_this_payee_is_taken_and_paid_once() {
    let world = World::start();
    let bob = world.node("bob", listening()).await;
    let mut events = bob.events();
    let mallory = Puppet::start(&world, "mallory").await;
    let alice = Puppet::start(&world, "alice").await;
    let (payee, mut wire) = mallory.payee("bob").await;
    let base = |number| mallory.order(payee, "1", number, 60);
    let others = alice.order(payee, "1", 1, 60);

    let table: [(&str, SignedOrder, Reason); 7] = [
        (
            "another payer's",
            alice.sign(others),
            Reason::WRONG_SUBMITTER,
        ),
        (
            "to another payee",
            mallory.sign(Order {
                payee: alice.key.public(),
                ..base(2)
            }),
            Reason::WRONG_SUBMITTER,
        ),
        (
            "of another ledger",
            mallory.sign(Order {
                ledger: quid_common::id::LedgerId([1; 32]),
                ..base(3)
            }),
            Reason::WRONG_LEDGER,
        ),
        (
            "of another version",
            mallory.sign(Order {
                version: 9,
                ..base(4)
            }),
            Reason::ENCODING,
        ),
        (
            "of nothing",
            mallory.sign(Order {
                amount: amount("0"),
                ..base(5)
            }),
            Reason::ZERO_AMOUNT,
        ),
        (
            "too late",
            mallory.sign(mallory.order(payee, "1", 6, -1)),
            Reason::EXPIRED,
        ),
        (
            "over the balance",
            mallory.sign(Order {
                amount: amount("1000"),
                ..base(7)
            }),
            Reason::INSUFFICIENT_FUNDS,
        ),
    ];
    for (number, (what, order, reason)) in (0..).zip(table) {
        match offer(&mut wire, number, order.bytes()).await {
            Some(Message::Declined(declined)) => {
                assert_eq!(
                    (declined.number, declined.reason),
                    (number, reason),
                    "{what}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    match offer(&mut wire, 20, b"no order").await {
        Some(Message::Declined(declined)) => assert_eq!(declined.reason, Reason::ENCODING),
        other => panic!("{other:?}"),
    }
    match money(&mut events, SOON).await {
        Some(Event::Refused { reason, .. }) => assert_eq!(reason, Reason::INSUFFICIENT_FUNDS),
        other => panic!("{other:?}"),
    }

    let order = mallory.sign(base(8));
    let mut entries = Vec::new();
    for number in 30..33 {
        match offer(&mut wire, number, order.bytes()).await {
            Some(Message::Paid(paid)) => entries.push(paid.receipt.index),
            other => panic!("{other:?}"),
        }
    }
    let (_, mut second) = mallory.payee("bob").await;
    match offer(&mut second, 1, order.bytes()).await {
        Some(Message::Paid(paid)) => entries.push(paid.receipt.index),
        other => panic!("{other:?}"),
    }
    assert!(
        entries.iter().all(|entry| *entry == entries[0]),
        "{entries:?}"
    );
    let other_bytes = mallory.sign(Order {
        amount: amount("2"),
        ..base(8)
    });
    match offer(&mut wire, 40, other_bytes.bytes()).await {
        Some(Message::Declined(declined)) => assert_eq!(declined.reason, Reason::ID_REUSED),
        other => panic!("{other:?}"),
    }
    let event = money(&mut events, SOON).await.expect("told");
    assert_eq!(
        received(&event).map(|(id, ..)| id),
        Some(order.statement().id)
    );
    assert_eq!(money(&mut events, NOTHING).await, None, "told once");

    // Who signs wrongly under its own key is sent away.
    let mut forged = mallory.sign(base(9)).into_bytes();
    *forged.last_mut().expect("a signature") ^= 1;
    assert_eq!(offer(&mut wire, 50, &forged).await, None);
    assert_eq!(bob.status().await.expect("online").balance, amount("101"));
}

#[tokio::test]
async fn a_stalled_or_oversized_frame_ends_the_connection_and_no_other() {
    let world = World::start();
    let bob = world.node("bob", listening()).await;
    let mallory = Puppet::start(&world, "mallory").await;
    let (payee, mut good) = mallory.payee("bob").await;
    let (_, mut stalled) = mallory.payee("bob").await;
    let (_, mut long) = mallory.payee("bob").await;
    let (_, mut wrong) = mallory.payee("bob").await;
    stalled.send_bytes(&[0, 0, 1]).await;
    long.send_bytes(&[0xff, 0xff, 0xff, 0xff, 0, 64]).await;
    wrong
        .send(
            Declined {
                number: 1,
                reason: Reason::BUSY,
            }
            .into(),
        )
        .await;
    assert_eq!(long.next().await, None);
    assert_eq!(wrong.next().await, None);
    assert_eq!(stalled.next().await, None, "within the frame's deadline");
    let order = mallory.sign(mallory.order(payee, "1", 1, 60));
    assert!(matches!(
        offer(&mut good, 1, order.bytes()).await,
        Some(Message::Paid(_))
    ));
    assert_eq!(bob.status().await.expect("online").balance, amount("101"));
}

#[tokio::test]
async fn a_key_has_few_connections_at_once() {
    let world = World::start();
    let bob = world.node("bob", listening()).await;
    let mallory = Puppet::start(&world, "mallory").await;
    let mut wires = Vec::new();
    for _ in 0..34 {
        wires.push(mallory.payee("bob").await.1);
    }
    let mut refused = 0;
    for wire in &mut wires {
        wire.connection.closed_soon().await.then(|| refused += 1);
    }
    assert_eq!(refused, 2);
    drop(bob);
}

trait ClosedSoon {
    async fn closed_soon(&self) -> bool;
}

impl ClosedSoon for quinn::Connection {
    async fn closed_soon(&self) -> bool {
        timeout(Duration::from_millis(300), self.closed())
            .await
            .is_ok()
    }
}

/// Starts a payment of 1 by `alice`, up to its offer on a new connection.
async fn offered(alice: &Node, payee: &Puppet) -> (JoinHandle<Outcome>, Wire, Offer) {
    let paying = start(alice);
    let mut wire = payee.payer().await;
    let offer = next_offer(&mut wire).await;
    (paying, wire, offer)
}

/// The same on a connection that is open.
async fn offered_on(alice: &Node, mut wire: Wire) -> (JoinHandle<Outcome>, Wire, Offer) {
    let paying = start(alice);
    let offer = next_offer(&mut wire).await;
    (paying, wire, offer)
}

fn start(alice: &Node) -> JoinHandle<Outcome> {
    let alice = alice.clone();
    tokio::spawn(async move { pay(&alice, "mallory", "1").await })
}

async fn next_offer(wire: &mut Wire) -> Offer {
    match wire.next().await {
        Some(Message::Offer(offer)) => offer,
        other => panic!("{other:?}"),
    }
}

async fn offer(wire: &mut Wire, number: u64, order: &[u8]) -> Option<Message> {
    let order = order.to_vec().into();
    wire.send(
        Offer {
            number,
            order,
            checkpoint: None,
        }
        .into(),
    )
    .await;
    wire.next().await
}
