//! Bad inputs, the same ones every time, over real QUIC to a real directory and a real node: every
//! kind of message in every state, damaged in every way of [`damage`], and sound messages with
//! damaged facts inside. Each comes to a named refusal or an orderly close; none moves money, and
//! an honest pair pays before, meanwhile and afterwards.

mod client;
mod damage;
mod directory;
mod node;
#[expect(dead_code, reason = "the wire tests use the rest")]
mod wire;
#[expect(dead_code, reason = "the payments' tests use the rest")]
#[path = "../payments/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quid_node::{Options, State};

use self::client::Caller;
use self::world::{World, amount, ended, listening, pay};

/// What was sent, by where.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

#[tokio::test]
async fn forty_thousand_bad_inputs_move_no_money_and_stop_nobody() {
    let mut world = World::start_with(&["--questions", "off"]);
    let alice = world.node("alice", Options::default()).await;
    let bob = world.node("bob", listening()).await;
    let address = world.address();
    let mallory = Caller::new(0x66, &address);
    mallory.register("mallory").await;
    let carol = Caller::new(0x67, &address);
    carol.register("carol").await;
    let tab = directory::open_tab(&carol, mallory.key.public()).await;
    let entries = directory::entries(&mallory).await;

    let begun = Instant::now();
    let honest = async {
        for _ in 0..PAYMENTS {
            let paid = pay(&alice, "bob", "0.1").await;
            assert!(matches!(paid.state, State::Settled { .. }), "{paid:?}");
            tokio::time::sleep(PAUSE).await;
        }
    };
    let payee = mallory.find("bob").await;
    let ((), a, b, c, d, e) = tokio::join!(
        honest,
        directory::strangers(&address),
        directory::requests(&mallory),
        directory::settlements(&mallory, &carol, &tab),
        directory::streams(&mallory),
        node::offers(&mallory, payee),
    );
    let took = begun.elapsed();
    let counts: Counts = [a, b, c, d, e].into_iter().flatten().collect();
    let all: usize = counts.values().sum();
    println!("{all} bad inputs in {took:.1?}: {counts:?}");
    assert!(all >= INPUTS_MIN, "{all} bad inputs");
    assert!(took < LONGEST, "{took:?}");

    // Nothing but the honest pair's payments is in the log, and everybody is still there.
    let after = directory::entries(&mallory).await;
    assert_eq!(after - entries, u64::from(PAYMENTS));
    assert_eq!(directory::balance(&mallory).await, amount("100").units());
    let paid = pay(&alice, "bob", "0.1").await;
    assert!(matches!(paid.state, State::Settled { .. }), "{paid:?}");
    assert_eq!(ended(&alice).await.balance, amount("98.9"));
    assert_eq!(ended(&bob).await.balance, amount("101.1"));
    alice.close().await;
    bob.close().await;
    world.audit();
}

/// How many there must be at least.
const INPUTS_MIN: usize = 40_000;

/// How long they may take; some seconds when the machine does nothing else.
const LONGEST: Duration = Duration::from_secs(60);

/// What the honest pair pays meanwhile, and how often.
const PAYMENTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);
