//! Floods of orders, good and bad: whoever sends them waits for himself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quid_common::order::SignedOrder;
use quid_common::refusal::Reason;
use quid_common::wire::{Message, Submit};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::world::{Directory, Settle, Stream};
use super::{forged, frames};

#[tokio::test]
async fn a_flood_of_bad_signatures_leaves_an_honest_pair_its_pace() {
    let directory = Directory::start("100");
    let (alice, bob) = (
        directory.member(1, "alice").await,
        directory.member(2, "bob").await,
    );
    let mallory = directory.member(3, "mallory").await;
    let (flooding, judged) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let mut flood = JoinSet::new();
    for number in 0..FLOOD_STREAMS {
        let bytes: Arc<[u8]> =
            frames(FLOOD_LEN, &forged(&mallory.order(bob.key(), 1, number))).into();
        let Settle { stream, .. } = mallory.settle().await;
        flood.spawn(flood_badly(
            stream,
            bytes,
            Arc::clone(&flooding),
            Arc::clone(&judged),
        ));
    }
    // The first bad ones come from an account that is still trusted.
    while judged.load(Ordering::Relaxed) < FLOOD_LEN {
        tokio::task::yield_now().await;
    }
    let mut honest = alice.settle().await.stream;
    let mut orders = (0..).map(|number| alice.order(bob.key(), 1, number));
    let mut paid = 0;
    // Stretches with the flood and without it, in turn.
    let (mut with, mut without, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for stretch in 0..10 {
        let floods = stretch % 2 == 0;
        flooding.store(floods, Ordering::Relaxed);
        let begun = Instant::now();
        for _ in 0..BURSTS {
            let before = judged.load(Ordering::Relaxed);
            pay_at_once(&mut honest, orders.by_ref().take(BURST_LEN)).await;
            paid += BURST_LEN as u64;
            if floods {
                beside.push((judged.load(Ordering::Relaxed) - before) as f64);
            }
        }
        let rate = (BURSTS * BURST_LEN) as f64 / begun.elapsed().as_secs_f64();
        if floods { &mut with } else { &mut without }.push(rate);
    }
    assert!(
        flood.try_join_next().is_none(),
        "the flood was answered otherwise"
    );
    flood.shutdown().await;
    let (with, without, beside) = (median(with), median(without), median(beside));
    eprintln!(
        "an honest pair: {with:.0}/s beside the flood, {without:.0}/s without ({:.2}); \
         {beside} bad ones judged while {BURST_LEN} were paid",
        with / without
    );
    // Rates on a busy machine prove nothing. How many go before does: in one line with the flood it
    // would be the 2048 that may wait.
    assert!(
        beside < 512.0,
        "{beside} bad ones judged while {BURST_LEN} were paid"
    );
    assert_eq!(bob.balance().await, 100_000_000 + paid);
    directory.audit();
}

#[tokio::test]
async fn bad_orders_of_one_payer_do_not_spoil_the_good_ones_that_a_payee_submits_with_them() {
    let directory = Directory::start("100");
    let payee = directory.member(1, "payee").await;
    let (alice, carol) = (
        directory.member(2, "alice").await,
        directory.member(3, "carol").await,
    );
    let mallory = directory.member(4, "mallory").await;
    let mut settle = payee.settle().await.stream;
    for round in 0..3 {
        let mut bad = HashSet::new();
        let mut bytes = Vec::new();
        for number in 0..300 {
            let payer = [&alice, &mallory, &carol][number as usize % 3];
            let order = payer.order(payee.key(), 1, round * 1000 + number);
            let order = if number % 3 == 1 {
                bad.insert(number);
                forged(&order)
            } else {
                order.bytes().to_vec()
            };
            submit(&mut bytes, number, &order);
        }
        settle.send.write_all(&bytes).await.expect("connected");
        let mut answered = HashSet::new();
        for _ in 0..300 {
            let (number, answer) = next_answer(&mut settle).await;
            assert!(answered.insert(number), "{number} was answered twice");
            match answer {
                Ok(_) => assert!(!bad.contains(&number), "a bad order settled"),
                Err(reason) => {
                    assert_eq!(
                        (reason, bad.contains(&number)),
                        (Reason::BAD_SIGNATURE, true)
                    );
                }
            }
        }
    }
    assert_eq!(payee.balance().await, 100_000_000 + 600);
    assert_eq!(mallory.balance().await, 100_000_000);
    directory.audit();
}

#[tokio::test]
async fn a_flood_of_good_orders_holds_up_its_sender_alone_and_settles_once() {
    let directory = Directory::start("100");
    let (alice, bob) = (
        directory.member(1, "alice").await,
        directory.member(2, "bob").await,
    );
    let mallory = directory.member(3, "mallory").await;
    let mut settle = alice.settle().await;
    let mut alone = Vec::new();
    for number in 0..50 {
        let begun = Instant::now();
        let order = alice.order(bob.key(), 1, number);
        settle.submit(&order).await.expect("it settles");
        alone.push(begun.elapsed().as_secs_f64());
    }
    let (busy, mut flood) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for stream in 0..FLOOD_STREAMS {
        let orders: Vec<SignedOrder> = (0..FLOOD_GOOD_LEN)
            .map(|number| mallory.order(bob.key(), 1, stream * FLOOD_GOOD_LEN + number))
            .collect();
        let Settle { stream, .. } = mallory.settle().await;
        flood.spawn(settle_all(stream, orders, Arc::clone(&busy)));
    }
    let (mut beside, mut apart) = (Vec::new(), Vec::new());
    let mut last = None;
    let mut entries = HashSet::new();
    let mut number = 50;
    while !flood.is_empty() {
        let begun = Instant::now();
        let order = alice.order(bob.key(), 1, number);
        let entry = settle.submit(&order).await.expect("others are never busy");
        number += 1;
        beside.push(begun.elapsed().as_secs_f64());
        apart.extend(last.replace(entry).map(|last| (entry - last) as f64));
        while let Some(settled) = flood.try_join_next() {
            entries.extend(settled.expect("every order settles"));
        }
    }
    let count = beside.len();
    let (beside, alone, apart) = (median(beside), median(alone), median(apart));
    let busy = busy.load(Ordering::Relaxed);
    eprintln!(
        "alone {:.1} ms, beside a flood {:.1} ms ({count} payments, {apart} entries apart); \
         the flood was told busy {busy} times",
        alone * 1e3,
        beside * 1e3
    );
    // Behind two batches that are at work, and in the next, each 1024 and a turn of 64.
    assert!(
        apart <= 3.0 * (1024.0 + 64.0),
        "an order waited for {apart} others"
    );
    assert!(busy > 0, "the flood found room for all of it");
    let sent = FLOOD_STREAMS * FLOOD_GOOD_LEN;
    assert_eq!(entries.len() as u64, sent, "entries of the flood");
    assert_eq!(mallory.balance().await, 100_000_000 - sent);
    assert_eq!(bob.balance().await, 100_000_000 + sent + number);
    directory.audit();
}

#[tokio::test]
async fn a_stream_that_was_told_busy_is_read_on_and_ends_in_order_with_every_answer() {
    let directory = Directory::start("100");
    let mallory = directory.member(3, "mallory").await;
    let bob = directory.member(2, "bob").await.key();
    let mut streams = JoinSet::new();
    for number in 0..FLOOD_STREAMS {
        let mut bytes = Vec::new();
        for order in 0..STREAM_LEN {
            let signed = mallory.order(bob, 1, number * STREAM_LEN + order);
            submit(&mut bytes, order, signed.bytes());
        }
        let Settle { stream, .. } = mallory.settle().await;
        streams.spawn(async move {
            let (mut send, mut answers) = stream.split();
            // Half of it finds room only while answers are read; its end is sent with some still due.
            let sent = async {
                send.write_all(&bytes).await.expect("connected");
                send.finish().expect("open");
            };
            let (mut busy, mut settled, mut answered) = (0, 0, HashSet::new());
            let read = async {
                while let Some(message) = answers.next().await {
                    let number = match message {
                        Message::Settled(it) => {
                            settled += 1;
                            it.number
                        }
                        Message::SubmitRefused(it) if it.reason == Reason::BUSY => {
                            busy += 1;
                            it.number
                        }
                        other => panic!("neither settled nor busy: {other:?}"),
                    };
                    assert!(answered.insert(number), "answered twice");
                }
            };
            tokio::join!(sent, read);
            (busy, settled, answered.len() as u64)
        });
    }
    let streams = timeout(Duration::from_secs(60), streams.join_all());
    let streams = streams.await.expect("no stream is stuck");
    let whole = |(_, _, answered): &(u64, u64, u64)| *answered == STREAM_LEN;
    assert!(streams.iter().all(whole), "{streams:?}");
    assert!(streams.iter().any(|(busy, ..)| *busy > 0), "{streams:?}");
    assert_eq!(mallory.client.connection.close_reason(), None);
    let settled: u64 = streams.iter().map(|(_, settled, _)| settled).sum();
    assert_eq!(mallory.balance().await, 100_000_000 - settled);
}

/// Orders on each stream of those that are told busy: twice what may be in flight.
const STREAM_LEN: u64 = 2048;

/// Settle streams of a flooding session; one of its sixteen is left for its questions.
const FLOOD_STREAMS: u64 = 15;

/// Bad orders in flight on each of them.
const FLOOD_LEN: u64 = 512;

/// Good orders on each of them.
const FLOOD_GOOD_LEN: u64 = 1000;

/// Honest payments at once.
const BURST_LEN: usize = 64;

/// Bursts of them in a stretch.
const BURSTS: usize = 8;

/// Submits `bytes`, [`FLOOD_LEN`] orders, again and again while it is wanted.
async fn flood_badly(
    mut stream: Stream,
    bytes: Arc<[u8]>,
    wanted: Arc<AtomicBool>,
    judged: Arc<AtomicU64>,
) {
    loop {
        while !wanted.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stream.send.write_all(&bytes).await.expect("connected");
        for _ in 0..FLOOD_LEN {
            match next_answer(&mut stream).await.1 {
                Err(Reason::BAD_SIGNATURE) => drop(judged.fetch_add(1, Ordering::Relaxed)),
                Err(Reason::BUSY) => {}
                other => panic!("neither bad nor busy: {other:?}"),
            }
        }
    }
}

/// Settles `orders`; each must settle at the first try.
async fn pay_at_once(stream: &mut Stream, orders: impl Iterator<Item = SignedOrder>) {
    let (mut bytes, mut in_flight) = (Vec::new(), 0);
    for order in orders {
        submit(&mut bytes, 0, order.bytes());
        in_flight += 1;
    }
    stream.send.write_all(&bytes).await.expect("connected");
    for _ in 0..in_flight {
        let (_, answer) = next_answer(stream).await;
        answer.expect("an honest order settles");
    }
}

/// Submits all `orders` at once, and those that were told busy again until each has settled;
/// gives their entries.
async fn settle_all(
    mut stream: Stream,
    orders: Vec<SignedOrder>,
    busy: Arc<AtomicU64>,
) -> Vec<u64> {
    let mut entries = HashMap::new();
    while entries.len() < orders.len() {
        let mut bytes = Vec::new();
        let mut in_flight = 0;
        for (number, order) in (0..).zip(&orders) {
            if !entries.contains_key(&number) {
                submit(&mut bytes, number, order.bytes());
                in_flight += 1;
            }
        }
        stream.send.write_all(&bytes).await.expect("connected");
        for _ in 0..in_flight {
            match next_answer(&mut stream).await {
                (number, Ok(entry)) => assert_eq!(entries.insert(number, entry), None),
                (_, Err(Reason::BUSY)) => drop(busy.fetch_add(1, Ordering::Relaxed)),
                (_, Err(reason)) => panic!("a good order was refused: {reason:?}"),
            }
        }
    }
    entries.into_values().collect()
}

fn submit(bytes: &mut Vec<u8>, number: u64, order: &[u8]) {
    let submit = Submit {
        number,
        order: order.to_vec().into(),
        decline: None,
    };
    Message::from(submit).to_frame().write(bytes);
}

/// The number of what is answered next, and its entry or why it has none.
async fn next_answer(stream: &mut Stream) -> (u64, Result<u64, Reason>) {
    match stream.next().await {
        Some(Message::Settled(settled)) => (settled.number, Ok(settled.receipt.index)),
        Some(Message::SubmitRefused(refused)) => (refused.number, Err(refused.reason)),
        other => panic!("not an answer to an order: {other:?}"),
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
