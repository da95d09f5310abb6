//! Tabs over real QUIC: opened, claimed, closed and released, whatever comes between.

mod world;

use std::time::{Duration, Instant};

use quid_common::entry::{Entry, Fact};
use quid_common::id::LedgerId;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tab::{TABS_PER_PAYER_MAX, Terms};
use quid_common::wire::{AskFate, Message, Prove, Subscribe};
use world::tabs::Paper;
use world::{Directory, Member, Stream};

#[tokio::test]
async fn each_step_of_a_tab_has_one_entry_and_both_sides_hear_of_it() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let carol = directory.member(3, "carol").await;
    let (mut of_alice, mut of_bob) = (events(&alice).await, events(&bob).await);
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    let mut paper = alice.paper(bob.key(), 100_000, 1);

    let opened = payer.open(&paper).await.expect("it opens");
    assert_eq!(payer.open(&paper).await, Ok(opened));
    assert_eq!(alice.money().await, (OPENING - 100_000, 100_000));
    // By a short claim, and by one that is hashed apart; each again.
    let short = payee.claim(&mut paper, 0, 10).await.expect("it is paid");
    assert_eq!(payee.claim(&mut paper, 0, 10).await, Ok(short));
    let long = payee.claim(&mut paper, 10, 60_000).await.expect("paid");
    assert_eq!(payee.claim(&mut paper, 10, 60_000).await, Ok(long));
    assert_eq!(alice.money().await, (OPENING - 100_000, 40_000));
    assert_eq!(bob.money().await, (OPENING + 60_000, 0));

    let (standing, _) = alice.standing(&paper).await;
    assert_eq!(bob.standing(&paper).await.0, standing);
    let standing = standing.expect("it is open");
    assert_eq!((standing.payee, standing.length), (bob.key(), 100_000));
    assert_eq!(
        (standing.claimed, standing.link),
        (60_000, paper.link(60_000))
    );
    assert_eq!(carol.standing(&paper).await.0, None, "nobody else's");

    let closed = payer.close(&alice, &paper).await.expect("it is hers");
    let ending = bob.standing(&paper).await.0.expect("it is open still");
    assert!(ending.expires < standing.expires);
    let last = payee.claim(&mut paper, 60_000, 60_001).await.expect("paid");
    let end = payee.close(&bob, &paper).await.expect("it is his");
    assert_eq!(alice.money().await, (OPENING - 60_001, 0));
    assert_eq!(bob.money().await, (OPENING + 60_001, 0));
    assert_eq!(bob.standing(&paper).await.0, None);

    let told = [opened, short, long, closed, last, end, end + 1];
    for (who, events) in [(&alice, &mut of_alice), (&bob, &mut of_bob)] {
        for entry in told {
            assert_eq!(moved(who, events).await.0, entry);
            assert!(is_proved(who, entry).await);
            assert!(!is_proved(&carol, entry).await);
        }
        let fate = AskFate {
            payer: paper.payer(),
            id: paper.id(),
        };
        match who.client.request(&fate.into()).await {
            Message::Fate(fate) => assert_eq!(fate.receipt.map(|it| it.index), Some(opened)),
            other => panic!("not a fate: {other:?}"),
        }
    }
    directory.audit();
}

#[tokio::test]
async fn claims_in_one_go_are_decided_in_their_order_however_long_they_are() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut paper = alice.paper(bob.key(), 200_000, 1);
    alice.settle().await.open(&paper).await.expect("it opens");
    let mut payee = bob.settle().await;
    // Long and short ones in turn, and the close behind them, before any answer is read.
    let steps = [0, 65_536, 65_540, 131_000, 131_400, 196_936, 196_937];
    let mut sent = Vec::new();
    for step in steps.windows(2) {
        let link = paper.link(step[1]);
        sent.push(payee.send_claim(&paper, step[0], step[1], link).await);
    }
    sent.push(payee.send_close(&bob, &paper).await);
    let mut entries = Vec::new();
    for _ in &sent {
        let (number, entry) = payee.next_answer().await;
        entries.push((number, entry.expect("all of it is good")));
    }
    assert_eq!(
        entries
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>(),
        sent
    );
    assert!(entries.is_sorted_by_key(|(_, entry)| *entry), "{entries:?}");
    assert_eq!(alice.money().await, (OPENING - 196_937, 0));
    directory.audit();
}

#[tokio::test]
async fn terms_that_may_not_open_are_refused_by_name() {
    let directory = Directory::start("0.01");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    let all = u32::try_from(OPENING / 10_000).expect("small");
    let paper = alice.paper(bob.key(), all, 1);
    let changed = |change: Change<'_>| {
        let mut terms = paper.terms.statement().clone();
        change(&mut terms);
        Signed::new(terms, &alice.client.key)
    };
    assert_eq!(payee.open(&paper).await, Err(Reason::WRONG_SUBMITTER));
    let table: [(Change<'_>, Reason); 7] = [
        (&|it| it.ledger = LedgerId([7; 32]), Reason::WRONG_LEDGER),
        (&|it| it.version = 9, Reason::ENCODING),
        (&|it| it.length = 0, Reason::ZERO_AMOUNT),
        (&|it| it.length = u32::MAX, Reason::BAD_TERMS),
        (&|it| it.grace = 0, Reason::BAD_TERMS),
        (&|it| it.payee = it.payer, Reason::SELF_PAYMENT),
        (
            &|it| it.payee = directory.address.key(),
            Reason::UNKNOWN_ACCOUNT,
        ),
    ];
    for (change, reason) in table {
        assert_eq!(payer.open_terms(&changed(change)).await, Err(reason));
    }
    let mut forged = paper.terms.bytes().to_vec();
    let end = forged.len() - 1;
    forged[end] ^= 1;
    let forged = Signed::from_vec(forged).expect("it can be read");
    assert_eq!(payer.open_terms(&forged).await, Err(Reason::BAD_SIGNATURE));

    // Over the balance: final, and burns the id.
    let dear = alice.paper(bob.key(), all + 1, 2);
    assert_eq!(payer.open(&dear).await, Err(Reason::INSUFFICIENT_FUNDS));
    assert_eq!(
        payer.void(&alice, dear.id()).await,
        Err(Reason::INSUFFICIENT_FUNDS)
    );
    assert_eq!(alice.money().await, (OPENING / 10_000, 0));
    payer.open(&paper).await.expect("nothing was burnt of it");
    assert_eq!(alice.money().await, (0, OPENING / 10_000));
    assert_eq!(
        payer.open_terms(&changed(&|it| it.grace = 9)).await,
        Err(Reason::ID_REUSED)
    );
    directory.audit();
}

#[tokio::test]
async fn a_payer_has_so_many_open_tabs_and_room_again_when_one_is_closed() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    let papers: Vec<Paper> = (0..=u64::from(TABS_PER_PAYER_MAX))
        .map(|number| alice.paper(bob.key(), 10, number))
        .collect();
    let (last, most) = papers.split_last().expect("there are some");
    for paper in most {
        payer.open(paper).await.expect("it opens");
    }
    assert_eq!(payer.open(last).await, Err(Reason::TOO_MANY_TABS));
    let closed = payer.close(&alice, &most[0]).await;
    closed.expect("it is hers");
    assert_eq!(
        payer.open(last).await,
        Err(Reason::TOO_MANY_TABS),
        "held still"
    );
    let closed = payee.close(&bob, &most[0]).await;
    closed.expect("it is his");
    payer.open(last).await.expect("there is room");
    // The payee's own tabs are another number.
    let back = bob.paper(alice.key(), 10, 1);
    payee.open(&back).await.expect("it opens");
    directory.audit();
}

#[tokio::test]
async fn orders_tabs_and_voids_share_their_ids() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut payer = alice.settle().await;
    let (voided, opened) = (alice.paper(bob.key(), 10, 1), alice.paper(bob.key(), 10, 2));
    let tombstone = payer.void(&alice, voided.id()).await.expect("it is void");
    assert_eq!(payer.open(&voided).await, Err(Reason::VOIDED));
    assert_eq!(payer.void(&alice, voided.id()).await, Ok(tombstone));
    let entry = payer.open(&opened).await.expect("it opens");
    assert_eq!(
        payer.void(&alice, opened.id()).await,
        Ok(entry),
        "it opened first"
    );
    // An order and a tab with the same number have the same id.
    assert_eq!(
        payer.submit(&alice.order(bob.key(), 1, 2)).await,
        Err(Reason::ID_REUSED)
    );
    payer
        .submit(&alice.order(bob.key(), 1, 3))
        .await
        .expect("it settles");
    assert_eq!(
        payer.open(&alice.paper(bob.key(), 10, 3)).await,
        Err(Reason::ID_REUSED)
    );
    assert_eq!(alice.money().await, (OPENING - 11, 10));
    directory.audit();
}

#[tokio::test]
async fn a_frozen_payer_opens_nothing_and_what_is_open_goes_on() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    let (mut one, mut two) = (
        alice.paper(bob.key(), 900, 1),
        alice.paper(bob.key(), 900, 2),
    );
    for paper in [&one, &two] {
        payer.open(paper).await.expect("it opens");
    }
    assert!(directory.run(&["freeze", "alice"]).status.success());
    let another = alice.paper(bob.key(), 900, 3);
    assert_eq!(payer.open(&another).await, Err(Reason::FROZEN));
    payee.claim(&mut one, 0, 900).await.expect("it is paid");
    payer.close(&alice, &two).await.expect("it is hers");
    payee.claim(&mut two, 0, 1).await.expect("it is paid");
    for paper in [&one, &two] {
        payee.close(&bob, paper).await.expect("it is his");
    }
    assert_eq!(alice.money().await, (OPENING - 901, 0));
    directory.audit();
}

#[tokio::test]
async fn claims_around_the_end_are_paid_or_released_and_never_both() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let watcher = directory.back(1).await;
    let mut of_alice = events(&watcher).await;
    let heard = tokio::spawn(async move {
        let mut last = None;
        loop {
            let (_, entry) = moved(&watcher, &mut of_alice).await;
            match entry.fact {
                Fact::Claim(claim) => last = Some((claim.index, entry.time)),
                Fact::Release(release) => break (last, release.amount.units(), entry.time),
                _ => {}
            }
        }
    });
    let second = Duration::from_secs(1);
    let mut paper = alice.paper_for(bob.key(), 100_000, 1, (second, second, 1));
    alice.settle().await.open(&paper).await.expect("it opens");
    let mut payee = bob.settle().await;
    let stated = paper.terms.statement().clone();
    // One unit after another, through the expiry and the grace, until the rest has gone back.
    let mut claimed = 0;
    loop {
        match payee.claim(&mut paper, claimed, claimed + 1).await {
            Ok(_) => claimed += 1,
            Err(reason) => break assert_eq!(reason, Reason::NO_TAB),
        }
    }
    let (last, released, time) = heard.await.expect("it was released");
    let (index, claimed_at) = last.expect("it was claimed");
    assert_eq!(index, claimed);
    assert!(claimed_at > stated.expires, "claims went on in the grace");
    assert!(time >= stated.until(), "released at {time}");
    assert_eq!(released, u64::from(100_000 - claimed));
    assert_eq!(alice.money().await, (OPENING - u64::from(claimed), 0));
    assert_eq!(bob.money().await, (OPENING + u64::from(claimed), 0));
    assert_eq!(payee.close(&bob, &paper).await, Err(Reason::NO_TAB));
    directory.audit();
}

#[tokio::test]
async fn a_close_by_the_payer_leaves_the_grace_and_then_the_rest_comes_back_by_itself() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut of_bob = events(&bob).await;
    let times = (Duration::from_secs(60), Duration::from_secs(3600), 2);
    let mut paper = alice.paper_for(bob.key(), 1000, 1, times);
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    payer.open(&paper).await.expect("it opens");
    let closed = payer.close(&alice, &paper).await.expect("it is hers");
    assert_eq!(payer.close(&alice, &paper).await, Ok(closed));
    payee.claim(&mut paper, 0, 700).await.expect("it is paid");
    let mut times = Vec::new();
    let released = loop {
        let (_, entry) = moved(&bob, &mut of_bob).await;
        times.push(entry.time);
        if let Fact::Release(release) = entry.fact {
            break release.amount.units();
        }
    };
    assert_eq!(
        (times.len(), released),
        (4, 300),
        "open, close, claim, release"
    );
    assert!(times[3].since(times[1]) >= Duration::from_secs(2));
    assert_eq!(alice.money().await, (OPENING - 700, 0));
    directory.audit();
}

#[tokio::test]
async fn after_a_kill_every_payee_has_its_whole_grace_again() {
    let mut directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let second = Duration::from_secs(1);
    // Over within the leap of ledger time that a kill may cause.
    let mut soon = alice.paper_for(bob.key(), 10_000, 1, (second, second, 3));
    let mut later = alice.paper(bob.key(), 100_000, 2);
    let (mut payer, mut payee) = (alice.settle().await, bob.settle().await);
    for paper in [&soon, &later] {
        payer.open(paper).await.expect("it opens");
    }
    let first = payee.claim(&mut later, 0, 1000).await.expect("it is paid");
    let killed = Instant::now();
    directory = directory.kill_and_restart();
    let (alice, bob) = (directory.back(1).await, directory.back(2).await);
    assert_eq!(alice.money().await, (OPENING - 110_000, 109_000));
    let mut of_alice = events(&alice).await;
    let mut payee = bob.settle().await;
    assert!(
        bob.standing(&soon).await.1 >= soon.terms.statement().until(),
        "no leap"
    );
    payee
        .claim(&mut soon, 0, 5000)
        .await
        .expect("the grace is his");
    assert_eq!(payee.claim(&mut later, 0, 1000).await, Ok(first));
    payee.claim(&mut later, 1000, 66_000).await.expect("paid");
    let released = loop {
        if let Fact::Release(release) = moved(&alice, &mut of_alice).await.1.fact {
            break release;
        }
    };
    assert!(killed.elapsed() >= Duration::from_secs(3), "too soon");
    assert_eq!((released.id, released.amount.units()), (soon.id(), 5000));
    assert_eq!(alice.money().await, (OPENING - 105_000, 34_000));
    // And the books say so after another.
    directory = directory.kill_and_restart();
    let (alice, bob) = (directory.back(1).await, directory.back(2).await);
    assert_eq!(alice.money().await, (OPENING - 105_000, 34_000));
    assert_eq!(bob.money().await, (OPENING + 71_000, 0));
    let mut payee = bob.settle().await;
    assert_eq!(
        payee.claim(&mut soon, 5000, 5001).await,
        Err(Reason::NO_TAB)
    );
    payee.close(&bob, &later).await.expect("it is his");
    assert_eq!(alice.money().await, (OPENING - 71_000, 0));
    directory.audit();
}

/// What is done to terms before they are signed.
type Change<'a> = &'a dyn Fn(&mut Terms);

/// A hundred, in the smallest units.
const OPENING: u64 = 100_000_000;

/// What happens on the member's account from now on.
async fn events(member: &Member) -> Stream {
    let mut stream = member.client.open().await;
    let subscribe = Subscribe {
        after: None,
        presence: false,
    };
    stream.send(&subscribe.into()).await;
    let caught_up = stream.next().await;
    assert!(
        matches!(caught_up, Some(Message::CaughtUp(_))),
        "{caught_up:?}"
    );
    stream
}

/// The next movement, proved.
async fn moved(member: &Member, events: &mut Stream) -> (u64, Entry) {
    match events.next().await {
        Some(Message::Moved(moved)) => {
            let proven = moved
                .receipt
                .verify(member.ledger(), &member.client.directory);
            proven.expect("a receipt proves its entry");
            let entry = Entry::decode(&moved.receipt.entry).expect("an entry");
            (moved.receipt.index, entry)
        }
        other => panic!("not a movement: {other:?}"),
    }
}

/// Whether the directory proves the entry to the member.
async fn is_proved(member: &Member, entry: u64) -> bool {
    match member.client.request(&Prove { entry }.into()).await {
        Message::Proof(proof) => proof.receipt.index == entry,
        Message::Refused(refused) => {
            assert_eq!(refused.reason, Reason::NOT_FOUND);
            false
        }
        other => panic!("not a proof: {other:?}"),
    }
}
