//! Tabs between real nodes over a real directory: what is paid, claimed and given back, whoever
//! stops, vanishes or lies in between.

use std::time::Duration;

use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use quid_node::{
    Event, IncomingTab, Kind, Node, Opened, Options, PayError, Role, Tab, TabError, TabItem,
    TabOpening, TabOver, TabPolicy, TabStage, VoidOutcome,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{END_WAIT, World, amount, eager, listening, listening_for, name};

const SOON: Duration = Duration::from_secs(10);

/// A tab of `units` of 0.0001 to bob.
fn opening(units: u32) -> TabOpening {
    TabOpening::new(name("bob"), amount("0.0001"), units)
}

async fn open(node: &Node, opening: TabOpening) -> Tab {
    let outcome = node.open_tab(opening).await.expect("sent");
    match outcome.state {
        Opened::Open(tab) => tab,
        other => panic!("{other:?}"),
    }
}

async fn next(node: &Node) -> IncomingTab {
    let next = timeout(SOON, node.next_tab()).await;
    next.expect("a tab comes").expect("the node runs")
}

/// Waits until an account stands like this.
async fn stands(node: &Node, balance: &str, held: &str) {
    let deadline = Instant::now() + END_WAIT;
    loop {
        let status = node.status().await.expect("answered");
        if (status.balance, status.held) == (amount(balance), amount(held)) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{status:?}, not {balance} and {held}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// The node of a home that was there before.
async fn again(world: &World, name: &str, options: Options) -> Node {
    let home = quid_node::Home::open(&world.path(name)).expect("a home");
    Node::start(home, options).await.expect("started")
}

/// Ends both nodes in good order, and checks the books.
async fn end(mut world: World, nodes: [Node; 2]) {
    for node in nodes {
        node.close().await;
    }
    world.audit();
}

async fn listed(node: &Node, id: OrderId) -> Option<TabItem> {
    let tabs = node.tabs().await.expect("readable");
    tabs.into_iter().find(|item| item.tab == id)
}

/// What a tab's holds, claims and releases come to in an account's history.
async fn sums(node: &Node, tab: OrderId) -> [u64; 3] {
    let history = node.history(100, None).await.expect("answered");
    let mut sums = [0; 3];
    for line in history {
        if line.order != Some(tab) {
            continue;
        }
        let at = match line.kind {
            Kind::Hold => 0,
            Kind::Claim => 1,
            Kind::Release => 2,
            other => panic!("{other:?}"),
        };
        sums[at] += line.amount.units();
    }
    sums
}

#[tokio::test]
async fn what_is_paid_is_claimed_and_the_rest_comes_back() {
    let world = World::start();
    let (alice, bob) = (
        world.node("alice", listening()).await,
        world.node("bob", listening()).await,
    );
    let tab = open(&alice, opening(1_000)).await;
    stands(&alice, "99.9", "0.1").await;
    assert_eq!(tab.pay(1).await, Ok(1));
    assert_eq!(tab.pay(249).await, Ok(250));
    let incoming = next(&bob).await;
    assert_eq!(incoming.id(), tab.id());
    assert_eq!((incoming.paid(), incoming.terms().length), (250, 1_000));
    incoming.charge(250).await.expect("paid");

    let item = listed(&alice, tab.id()).await.expect("listed");
    assert_eq!((item.role, item.stage), (Role::Payer, TabStage::Open));
    assert_eq!((item.paid, item.units), (250, 1_000));
    assert_eq!(item.hold, amount("0.1"));
    let item = listed(&bob, tab.id()).await.expect("listed");
    assert_eq!((item.role, item.paid), (Role::Payee, 250));
    assert_eq!(item.peer, Some(name("alice")));
    assert_eq!(item.exposure, Some(amount("0.001")));

    assert_eq!(tab.pay(751).await, Err(TabError::Spent { left: 750 }));
    let closed = tab.close().await.expect("answered");
    assert_eq!((closed.paid, closed.released), (250, true));
    assert_eq!(incoming.over().await, TabOver(None));
    assert_eq!(tab.pay(1).await, Err(TabError::Ended(None)));
    stands(&alice, "99.975", "0").await;
    stands(&bob, "100.025", "0").await;
    assert_eq!(listed(&alice, tab.id()).await, None);
    assert_eq!(listed(&bob, tab.id()).await, None);

    assert_eq!(sums(&alice, tab.id()).await, [100_000, 25_000, 75_000]);
    assert_eq!(sums(&bob, tab.id()).await, [0, 25_000, 0]);
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn many_payments_pass_a_small_exposure_and_top_ups_share_the_line() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let tabs = TabPolicy {
        exposure: Some(amount("0.01")),
        ..TabPolicy::default()
    };
    let bob = world.node("bob", listening_for(tabs)).await;
    let mut tab = open(&alice, opening(5_000)).await;
    let mut paid = 0;
    for _ in 0..2 {
        let incoming = next(&bob).await;
        assert_eq!(incoming.id(), tab.id());
        for _ in 0..4_000 {
            tab.send(1).await.expect("room");
        }
        assert_eq!(tab.pay(1_000).await, Ok(5_000));
        incoming.wait_paid(5_000).await.expect("paid");
        paid += incoming.paid();
        assert_eq!(tab.pay(1).await, Err(TabError::Spent { left: 0 }));
        tab = open(&alice, opening(5_000)).await;
    }
    assert_eq!(paid, 10_000);
    bob.close().await;
    let bob = world.node("bob", eager()).await;
    stands(&bob, "101", "0").await;
    end(world, [bob, alice]).await;
}

#[tokio::test]
async fn paying_goes_on_while_the_directory_is_away_and_claims_follow() {
    let mut world = World::start();
    let (alice, bob) = (
        world.node("alice", Options::default()).await,
        world.node("bob", eager()).await,
    );
    let tab = open(&alice, opening(1_000)).await;
    assert_eq!(tab.pay(10).await, Ok(10));
    world.kill();
    for total in [100, 500, 900] {
        let units = total - tab.progress().paid;
        let paid = timeout(SOON, tab.pay(units)).await;
        assert_eq!(paid.expect("without a directory"), Ok(total));
    }
    world.restart();
    stands(&bob, "100.09", "0").await;
    let closed = tab.close().await.expect("answered");
    assert_eq!((closed.paid, closed.released), (900, true));
    stands(&alice, "99.91", "0").await;
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_payer_that_vanished_goes_on_from_what_the_payee_proves() {
    let world = World::start();
    let (alice, bob) = (
        world.node("alice", Options::default()).await,
        world.node("bob", listening()).await,
    );
    let tab = open(&alice, opening(1_000)).await;
    let id = tab.id();
    assert_eq!(tab.pay(300).await, Ok(300));
    // Neither says goodbye nor writes anything down.
    drop((tab, alice));
    let alice = again(&world, "alice", Options::default()).await;
    let tab = alice.tab(id).await.expect("open");
    assert_eq!(timeout(SOON, tab.pay(5)).await.expect("soon"), Ok(305));
    assert_eq!(next(&bob).await.paid(), 305);
    tab.close().await.expect("answered");
    stands(&bob, "100.0305", "0").await;
    stands(&alice, "99.9695", "0").await;
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_payee_that_vanished_loses_at_most_what_it_stated() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let tabs = TabPolicy {
        exposure: Some(amount("0.005")),
        every: Duration::from_secs(600),
        ..TabPolicy::default()
    };
    let options = listening_for(tabs);
    let bob = world.node("bob", options.clone()).await;
    let tab = open(&alice, opening(1_000)).await;
    let id = tab.id();
    for total in 1..=333 {
        assert_eq!(tab.pay(1).await, Ok(total));
    }
    // The payer forgets too, or it would make up for what the payee lost.
    drop((tab, alice, bob));
    let bob = again(&world, "bob", options).await;
    let incoming = next(&bob).await;
    let kept = incoming.paid();
    assert!((283..=333).contains(&kept), "{kept} of 333, at risk 50");
    let alice = again(&world, "alice", Options::default()).await;
    let tab = alice.tab(id).await.expect("open");
    let paid = timeout(SOON, tab.pay(10)).await.expect("soon");
    assert_eq!(paid, Ok(kept + 10));
    end(world, [bob, alice]).await;
}

#[tokio::test]
async fn a_payee_that_lost_links_gets_them_again_from_a_payer_that_did_not() {
    let world = World::start();
    let alice = world.node("alice", Options::default()).await;
    let tabs = TabPolicy {
        every: Duration::from_secs(600),
        ..TabPolicy::default()
    };
    let bob = world.node("bob", listening_for(tabs)).await;
    let tab = open(&alice, opening(10_000)).await;
    assert_eq!(tab.pay(99).await, Ok(99));
    drop(bob);
    let bob = again(&world, "bob", eager()).await;
    let paid = timeout(END_WAIT, tab.pay(1)).await.expect("in time");
    assert_eq!(paid, Ok(100));
    stands(&bob, "100.01", "0").await;
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_payer_closes_alone_and_the_payee_claims_within_the_grace() {
    let world = World::start();
    let (alice, bob) = (
        world.node("alice", listening()).await,
        world.node("bob", listening()).await,
    );
    let wish = TabOpening {
        grace: Duration::from_secs(12),
        ..opening(1_000)
    };
    let tab = open(&alice, wish.clone()).await;
    let other = open(&alice, wish).await;
    assert_eq!(tab.pay(70).await, Ok(70));
    assert_eq!(other.pay(1).await, Ok(1));
    // Gone before it could claim.
    drop(bob);
    let closed = tab.close().await.expect("answered");
    assert_eq!((closed.paid, closed.released), (70, false));
    let item = listed(&alice, tab.id()).await.expect("held still");
    assert_eq!(item.stage, TabStage::Ending);
    // Saved nothing, perhaps: what it proved last is what it claims.
    let bob = again(&world, "bob", eager()).await;
    let deadline = Instant::now() + END_WAIT;
    while listed(&alice, tab.id()).await.is_some() {
        assert!(Instant::now() < deadline, "not released");
        sleep(Duration::from_millis(100)).await;
    }
    other.close().await.expect("answered");
    let (alices, bobs) = (alice.status().await, bob.status().await);
    let (alices, bobs) = (alices.expect("answered"), bobs.expect("answered"));
    assert_eq!((alices.held, bobs.held), (amount("0"), amount("0")));
    let sum = alices.balance.units() + bobs.balance.units();
    assert_eq!(sum, amount("200").units());
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_tab_ends_by_itself_and_what_was_paid_is_claimed_in_time() {
    let world = World::start();
    let tabs = TabPolicy {
        every: Duration::from_secs(600),
        grace: Duration::from_secs(1),
        ..TabPolicy::default()
    };
    let (alice, bob) = (
        world.node("alice", listening()).await,
        world.node("bob", listening_for(tabs)).await,
    );
    let wish = TabOpening {
        expires: Duration::from_secs(4),
        grace: Duration::from_secs(2),
        ..opening(10_000)
    };
    let tab = open(&alice, wish).await;
    assert_eq!(tab.pay(20).await, Ok(20));
    let over = timeout(SOON, next(&bob).await.over()).await;
    assert_eq!(over.expect("it ends"), TabOver(Some(Reason::EXPIRED)));
    let ended = TabError::Ended(Some(Reason::EXPIRED));
    assert_eq!(tab.acknowledged(21).await, Err(ended));
    assert_eq!(tab.send(1).await, Err(ended));
    stands(&bob, "100.002", "0").await;
    stands(&alice, "99.998", "0").await;
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_payee_ends_a_tab_and_a_policy_declines_one() {
    let world = World::start();
    let tabs = TabPolicy {
        tabs_per_payer: 1,
        ..TabPolicy::default()
    };
    let (alice, bob) = (
        world.node("alice", Options::default()).await,
        world.node("bob", listening_for(tabs)).await,
    );
    let mut events = bob.events();
    let tab = open(&alice, opening(1_000)).await;
    assert_eq!(tab.pay(5).await, Ok(5));
    let second = open(&alice, opening(1_000)).await;
    let declined = timeout(SOON, second.accepted()).await;
    let ended = TabError::Ended(Some(Reason::TOO_MANY_TABS));
    assert_eq!(declined.expect("soon"), Err(ended));
    next(&bob).await.end();
    let ended = timeout(SOON, tab.acknowledged(6)).await;
    assert_eq!(ended.expect("soon"), Err(TabError::Ended(None)));
    stands(&bob, "100.0005", "0").await;
    let mut stages = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_millis(500), events.next()).await {
        if let Event::Tab(item) = event {
            stages.push((item.stage, item.claimed));
        }
    }
    assert_eq!(stages.first(), Some(&(TabStage::Open, Some(0))));
    assert_eq!(stages.last(), Some(&(TabStage::Over, Some(5))));
    end(world, [alice, bob]).await;
}

#[tokio::test]
async fn a_tab_that_cannot_be_is_refused_by_name_and_holds_nothing() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    for (reason, wish) in [
        (Reason::ZERO_AMOUNT, opening(0)),
        (
            Reason::ZERO_AMOUNT,
            TabOpening {
                unit: amount("0"),
                ..opening(10)
            },
        ),
        (Reason::BAD_TERMS, opening(1_048_577)),
        (
            Reason::BAD_TERMS,
            TabOpening {
                expires: Duration::from_secs(3 * 24 * 3600),
                ..opening(10)
            },
        ),
        (
            Reason::BAD_TERMS,
            TabOpening {
                grace: Duration::from_millis(999),
                ..opening(10)
            },
        ),
        (Reason::INSUFFICIENT_FUNDS, opening(1_000_001)),
        (
            Reason::SELF_PAYMENT,
            TabOpening {
                payee: name("alice"),
                ..opening(10)
            },
        ),
        (
            Reason::UNKNOWN_ACCOUNT,
            TabOpening {
                payee: name("nobody"),
                ..opening(10)
            },
        ),
    ] {
        let refused = alice.open_tab(wish).await.expect_err("refused");
        assert_eq!(refused, PayError::Local(reason));
    }
    stands(&alice, "100", "0").await;
    // A payee that is not online is no reason.
    let tab = open(&alice, opening(1_000_000)).await;
    stands(&alice, "0", "100").await;
    let closed = tab.close().await.expect("answered");
    assert_eq!((closed.paid, closed.released), (0, false));
    // Nobody is asked, and it is not taken for open again as long as its grace lasts.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let tabs = alice.tabs_at_hand().await.expect("readable");
        let stages: Vec<_> = tabs.iter().map(|item| (item.tab, item.stage)).collect();
        assert_eq!(stages, [(tab.id(), TabStage::Ending)]);
        sleep(Duration::from_millis(20)).await;
    }
    alice.close().await;
    world.audit();
}

#[tokio::test]
async fn a_tab_that_is_open_cannot_be_voided_and_is_named_by_its_entry() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    let tab = open(&alice, opening(10)).await;
    let voided = timeout(SOON, alice.void(tab.id())).await.expect("at once");
    assert_eq!(voided, Ok(VoidOutcome::Settled(tab.entry())));
    stands(&alice, "99.999", "0.001").await;
    alice.close().await;
    world.audit();
}

#[tokio::test]
async fn an_opening_of_unknown_end_is_found_out_and_nothing_stays_held_unknown() {
    let mut world = World::start();
    let alice = world.node("alice", Options::default()).await;
    world.account("bob").await;
    // From now on the payer knows that it has money enough, and need not ask again.
    let wish = TabOpening {
        grace: Duration::from_secs(1),
        ..opening(10)
    };
    let tab = open(&alice, wish).await;
    tab.close().await.expect("answered");
    let mut unknown = 0;
    for fault in 0..4 {
        // While the chain of a million links is made the directory falls silent.
        let wish = TabOpening {
            wait: Duration::from_secs(1),
            unit: amount("0.000001"),
            grace: Duration::from_secs(1),
            ..opening(1_048_576)
        };
        let node = alice.clone();
        let opened = tokio::spawn(async move { node.open_tab(wish).await });
        sleep(Duration::from_millis(20)).await;
        let dies = fault % 2 == 1;
        if dies {
            world.kill();
        } else {
            world.signal("STOP");
        }
        let outcome = opened.await.expect("no panic");
        if dies {
            world.restart();
        } else {
            world.signal("CONT");
        }
        // Without an answer about the payee nothing was signed.
        let Ok(outcome) = outcome else { continue };
        if !matches!(outcome.state, Opened::Unknown) {
            continue;
        }
        unknown += 1;
        // It is open, or it never will be.
        let deadline = Instant::now() + END_WAIT;
        loop {
            match listed(&alice, outcome.tab).await.map(|item| item.stage) {
                None => break,
                Some(TabStage::Open) => {
                    let tab = alice.tab(outcome.tab).await.expect("open");
                    tab.close().await.expect("answered");
                    break;
                }
                _ => assert!(Instant::now() < deadline, "{fault}: still unknown"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(unknown > 0, "no opening met the silence");
    stands(&alice, "100", "0").await;
    alice.close().await;
    world.audit();
}

#[tokio::test]
async fn a_payment_on_a_tab_whose_time_is_over_ends() {
    let world = World::start();
    world.account("bob").await;
    let alice = world.node("alice", listening()).await;
    let wish = TabOpening {
        expires: Duration::from_secs(2),
        grace: Duration::from_secs(1),
        ..opening(10_000)
    };
    let tab = open(&alice, wish).await;
    // Bob never comes. The hold comes back ...
    sleep(Duration::from_secs(4)).await;
    stands(&alice, "100", "0").await;
    // ... so nothing can be paid on the tab any more.
    let sent = timeout(SOON, tab.pay(1)).await;
    assert!(sent.is_ok(), "pay still waits");
}

#[tokio::test]
async fn a_graceful_stop_keeps_all_that_was_acknowledged() {
    let world = World::start();
    let (tab, nodes) = tab_of_two(&world).await;
    let paying = tab.clone();
    let payer = tokio::spawn(async move { while paying.send(1).await.is_ok() {} });
    let acknowledged = stop_while(payer, &tab, nodes).await;
    check_kept(&world, acknowledged).await;
}

#[tokio::test]
async fn a_graceful_stop_without_directory_keeps_all_that_was_acknowledged() {
    let mut world = World::start();
    let (tab, nodes) = tab_of_two(&world).await;
    world.kill();
    let paying = tab.clone();
    let payer = tokio::spawn(async move {
        while paying.pay(1).await.is_ok() {
            sleep(Duration::from_millis(2)).await;
        }
    });
    let acknowledged = stop_while(payer, &tab, nodes).await;
    world.restart();
    check_kept(&world, acknowledged).await;
}

/// A long tab from alice to bob, who has had a payment on it.
async fn tab_of_two(world: &World) -> (Tab, [Node; 2]) {
    let (alice, bob) = (
        world.node("alice", listening()).await,
        world.node("bob", listening()).await,
    );
    let tab = open(&alice, opening(100_000)).await;
    assert_eq!(tab.pay(1).await, Ok(1));
    (tab, [alice, bob])
}

/// Stops the payee in good order while `payer` pays, then the payer: the units acknowledged.
async fn stop_while(payer: JoinHandle<()>, tab: &Tab, [alice, bob]: [Node; 2]) -> u32 {
    sleep(Duration::from_millis(100)).await;
    bob.close().await;
    payer.abort();
    let acknowledged = tab.progress().paid;
    alice.close().await;
    acknowledged
}

/// The payee knows after its return of all that it had acknowledged.
async fn check_kept(world: &World, acknowledged: u32) {
    let bob = world.node("bob", listening()).await;
    let kept = next(&bob).await.paid();
    assert!(
        kept >= acknowledged,
        "{kept} kept of {acknowledged} acknowledged"
    );
}

#[tokio::test]
async fn a_node_whose_session_is_over_rests() {
    let mut world = World::start();
    let alice = world.node("alice", listening()).await;
    world.account("bob").await;
    let options = Options {
        reconnect: false,
        ..listening()
    };
    let bob = Node::start(world.home("bob"), options)
        .await
        .expect("started");
    bob.login().await.expect("logged in");
    let tab = open(&alice, opening(1_000)).await;
    assert_eq!(tab.pay(200).await, Ok(200));
    let incoming = next(&bob).await;
    world.kill();
    sleep(Duration::from_secs(6)).await;
    incoming.end();
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("linux");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    };
    let before = ticks();
    sleep(Duration::from_secs(2)).await;
    let used = ticks() - before;
    assert!(used < 50, "{used} hundredths of a second of CPU in 2 s");
}
