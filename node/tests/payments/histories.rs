//! A directory that keeps two histories and shows each of two nodes its own: found out when the two
//! meet.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use quid_common::checkpoint::Checkpoint;
use quid_common::fork::Fork;
use quid_common::refusal::Reason;
use quid_common::wire::{Declined, Message, Offer, Paid};
use quid_node::{Event, Events, Options, PayError, State};
use tokio::time::timeout;

use crate::puppet::{Puppet, Wire};
use crate::world::{World, listening, pay, payment};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_payer_from_the_other_history_stops_its_payee_at_first_contact() {
    // The other history is shorter, as long, or longer than the payee's own by then.
    for (there, here) in [(1, 3), (2, 2), (3, 1)] {
        let mut world = World::start();
        for name in ["alice", "bob", "mallory"] {
            world.account(name).await;
        }
        let theirs = other_history(&mut world, there).await;
        let bob = world.node("bob", listening()).await;
        for _ in 0..here {
            pay(&bob, "mallory", "1").await;
        }
        let mut events = bob.events();

        // Nothing of mallory's own session gives it away.
        let mallory = Puppet::start(&world, "mallory").await;
        let (key, mut wire) = mallory.payee("bob").await;
        // The first order is settled: its receipt is a receipt, and nobody waits for answers.
        for number in 1..=2 {
            let order = mallory.sign(mallory.order(key, "1", number, 60));
            offer(&mut wire, number, order.bytes(), Some(theirs.clone())).await;
            match wire.next().await.expect("answered") {
                Message::Paid(Paid { receipt, .. }) => {
                    let proven = receipt.verify(mallory.ledger(), &world.address().key());
                    assert!(proven.expect("a receipt").settles(order.bytes()));
                }
                Message::Declined(Declined { reason, .. }) => assert_eq!(reason, Reason::BUSY),
                other => panic!("{other:?}"),
            }
        }
        let file = forked(&mut events).await;
        let text = fs::read_to_string(&file).expect("it was kept");
        let fork = Fork::from_text(&text).expect("a fork");
        let proved = fork.verify(&world.address().key()).expect("a proof");
        assert_eq!(proved.ledger(), mallory.ledger());

        // From now on nothing is taken and nothing is paid.
        let order = mallory.sign(mallory.order(key, "1", 9, 60));
        offer(&mut wire, 9, order.bytes(), None).await;
        match wire.next().await.expect("answered") {
            Message::Declined(Declined { number, reason }) => {
                assert_eq!((number, reason), (9, Reason::BUSY));
            }
            other => panic!("{other:?}"),
        }
        let refused = bob.pay(payment("mallory", "1")).await;
        assert_eq!(refused, Err(PayError::Forked { file: file.clone() }));
        assert_eq!(bob.status().await.expect("still online").fork, Some(file));
        bob.close().await;
    }
}

#[tokio::test]
async fn a_payee_from_the_other_history_stops_its_payer() {
    let mut world = World::start();
    for name in ["alice", "bob", "mallory"] {
        world.account(name).await;
    }
    let theirs = other_history(&mut world, 1).await;
    let bob = world.node("bob", Options::default()).await;
    let mut events = bob.events();
    let mallory = Puppet::start(&world, "mallory").await;
    let node = bob.clone();
    let paying = tokio::spawn(async move { pay(&node, "mallory", "1").await });
    let mut wire = mallory.payer().await;
    let Some(Message::Offer(offered)) = wire.next().await else {
        panic!("no offer")
    };
    let Message::Settled(mut settled) = mallory.submit(&offered.order).await else {
        panic!("settles")
    };
    // The receipt proves nothing under the other head, but the head is the directory's word.
    settled.receipt.checkpoint = theirs;
    let paid = Paid {
        number: offered.number,
        receipt: settled.receipt,
    };
    wire.send(paid.into()).await;
    let outcome = paying.await.expect("no panic");
    assert!(
        matches!(outcome.state, State::Settled { .. }),
        "the directory says so: {outcome:?}"
    );
    let file = forked(&mut events).await;
    let refused = bob.pay(payment("mallory", "1")).await;
    assert_eq!(refused, Err(PayError::Forked { file }));
    bob.close().await;
}

#[tokio::test]
async fn nodes_of_one_history_pay_each_other_and_remember_that_it_fits() {
    let world = World::start();
    let alice = world.node("alice", listening()).await;
    let bob = world.node("bob", listening()).await;
    let mut events = bob.events();
    for _ in 0..20 {
        pay(&alice, "bob", "1").await;
        pay(&bob, "alice", "1").await;
    }
    for node in [&alice, &bob] {
        node.compare().await;
        let status = node.status().await.expect("online");
        assert_eq!((status.fork, status.doubt), (None, None));
    }
    while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
        let trouble = matches!(event, Event::Forked { .. } | Event::Doubted { .. });
        assert!(!trouble, "{event:?}");
    }
    alice.close().await;
    bob.close().await;
}

/// Lets alice pay `payments` times in a history of which only she hears, and gives the checkpoint
/// that it ended with. The world goes on with the other history.
async fn other_history(world: &mut World, payments: u32) -> Checkpoint {
    world.kill();
    copy(&world.path("data"), &world.path("here"));
    world.restart();
    let alice = world.node("alice", Options::default()).await;
    let mut last = None;
    for _ in 0..payments {
        let State::Settled { receipt, .. } = pay(&alice, "bob", "1").await.state else {
            panic!("settles")
        };
        last = Some(receipt.checkpoint);
    }
    alice.close().await;
    world.kill();
    fs::rename(world.path("data"), world.path("there")).expect("it is ours");
    fs::rename(world.path("here"), world.path("data")).expect("it is ours");
    world.restart();
    last.expect("paid at least once")
}

async fn offer(wire: &mut Wire, number: u8, order: &[u8], checkpoint: Option<Checkpoint>) {
    let offer = Offer {
        number: number.into(),
        order: order.to_vec().into(),
        checkpoint,
    };
    wire.send(offer.into()).await;
}

/// The file with the proof that the node finds.
async fn forked(events: &mut Events) -> std::path::PathBuf {
    let found = async {
        loop {
            match events.next().await {
                Some(Event::Forked { file }) => return file,
                Some(_) => {}
                None => panic!("the node ended"),
            }
        }
    };
    timeout(SOON, found).await.expect("found")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is new");
    fs::set_permissions(to, Permissions::from_mode(0o700)).expect("it is ours");
    for file in fs::read_dir(from).expect("it is there").flatten() {
        if file.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).expect("it can be read");
        }
    }
}
