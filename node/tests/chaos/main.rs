//! Any plug may be pulled at any moment: afterwards everybody knows each payment's end, and the
//! books balance.
//!
//! Real programs, real signals. `QUID_SEED` makes the same choices again, `QUID_CHAOS_PAYMENTS`
//! says how many payments there are (200).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use books::{All, Books};
use plugs::{
    Attempt, Chance, Evidence, HEALING, Listener, Member, Paying, Said, by, lock, soon,
};
use processes::World;

mod books;
mod plugs;
#[path = "../commands_online/processes.rs"]
#[allow(dead_code, reason = "the commands' own tests use the rest")]
mod processes;

/// What everybody begins with, in whole currency and in units.
const OPENING: &str = "1000000";
const OPENING_UNITS: i128 = 1_000_000_000_000;

/// Longest time that anything is away.
const AWAY: Duration = Duration::from_millis(1_200);

/// Longest time after which a payer is killed: some payments are over by then.
const KILLED_AFTER: Duration = Duration::from_millis(400);

#[test]
fn two_hundred_payments_survive_every_plug_pulled_at_random() {
    let payments = std::env::var("QUID_CHAOS_PAYMENTS")
        .map_or(200, |number| number.parse().expect("a number of payments"));
    let mut chance = Chance::seeded();
    let mut world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let join = |name| Arc::new(Member::join(&world, name));
    let members = ["bob", "carol", "frank", "dave", "erin"].map(join);
    let mut listeners: Vec<Listener> = members[..3]
        .iter()
        .map(|who| Listener::start(&world, who))
        .collect();
    let [bob, _, frank, dave, erin] = &members;

    // Dave pays twice at a time; Frank and Bob listen, and pay through the process that does.
    let payers = [dave, dave, erin, frank, frank, bob];
    let attempts = Mutex::new(Vec::new());
    let started = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for payer in payers {
            let (chance, started, attempts) = (chance.fork(), &started, &attempts);
            scope.spawn(move || pay_on(payer, chance, payments, started, attempts));
        }
        let times = (payments / 40).max(1);
        let moments = moments(&mut chance, payments, times);
        let (fork, started, world) = (chance.fork(), &started, &mut world);
        scope.spawn(move || {
            pull(moments, fork, started, payments, |away| {
                plugs::kill(world);
                sleep(away);
                world.restart();
            });
        });
        for listener in &mut listeners {
            let moments = self::moments(&mut chance, payments, times);
            let fork = chance.fork();
            scope.spawn(move || {
                pull(moments, fork, started, payments, |away| {
                    listener.kill();
                    sleep(away);
                    listener.restart();
                });
            });
        }
    });
    let attempts = attempts.into_inner().expect("nobody panicked");
    let (paid, healing) = (begun.elapsed(), Instant::now());

    let all = healed(&members, 3, healing);
    eprintln!("{paid:?}, healed in {:?}: {:?}", healing.elapsed(), tally(&attempts));
    let mut wrong = books::check(&attempts, &all, OPENING_UNITS);
    for listener in listeners {
        let who = Arc::clone(&listener.who);
        wrong.extend(books::check_told(who.name, &listener.stop(), &all[who.name]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    books::audit(&world, OPENING_UNITS * 5);
    assert_eq!(attempts.len(), payments);
}

/// Pays at random until all payments have begun.
fn pay_on(
    payer: &Member,
    mut chance: Chance,
    payments: usize,
    started: &AtomicUsize,
    attempts: &Mutex<Vec<Attempt>>,
) {
    loop {
        let number = started.fetch_add(1, Ordering::Relaxed);
        if number >= payments {
            return;
        }
        let payees: &[&str] = match payer.name {
            "bob" => &["carol"],
            _ => &["bob", "carol"],
        };
        let mut payee = *chance.of(payees);
        let mut amount = format!("0.{:06}", 1 + chance.below(999_999));
        match chance.below(40) {
            0 => payee = "nobody",
            1 => amount = "2000000.000000".to_owned(),
            _ => {}
        }
        let wait = *chance.of(&["1", "3", "10"]);
        let memo = format!("payment {number}");
        let kill_after = chance.one_in(5).then(|| chance.up_to(KILLED_AFTER));
        let paying = Paying::start(payer, payee, &amount, &memo, wait);
        let attempt = paying.end(kill_after);
        lock(attempts).push(attempt);
        if kill_after.is_some() && chance.one_in(2) {
            // Any command resolves; with the directory away it only says so.
            let _ = payer.status();
        }
    }
}

/// When to pull a plug: after the start of these payments.
fn moments(chance: &mut Chance, payments: usize, times: usize) -> Vec<usize> {
    let mut moments: Vec<usize> = (0..times)
        .map(|_| usize::try_from(chance.below(payments as u64)).expect("small"))
        .collect();
    moments.sort_unstable();
    moments
}

fn pull(
    moments: Vec<usize>,
    mut chance: Chance,
    started: &AtomicUsize,
    payments: usize,
    mut plug: impl FnMut(Duration),
) {
    for moment in moments {
        while started.load(Ordering::Relaxed) <= moment.min(payments - 1) {
            sleep(Duration::from_millis(2));
        }
        sleep(chance.up_to(KILLED_AFTER));
        plug(chance.up_to(AWAY));
    }
}

/// The books of all, within the promised time; the first `listening` of them listen.
fn healed(members: &[Arc<Member>], listening: usize, since: Instant) -> All {
    let mut all = BTreeMap::new();
    for (at, who) in members.iter().enumerate() {
        let books = by(since + HEALING, || Books::closed(who, at < listening));
        all.insert(who.name, books);
    }
    all
}

fn tally(attempts: &[Attempt]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for attempt in attempts {
        let said = match attempt.said {
            Said::Settled(_) => "Settled".to_owned(),
            said => format!("{said:?}"),
        };
        *tally.entry(said).or_default() += 1;
    }
    tally
}
