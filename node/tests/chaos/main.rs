//! Any plug may be pulled at any moment: afterwards everybody knows each payment's end, and the
//! books balance.
//!
//! Real programs, real signals. `QUID_SEED` makes the same choices again, `QUID_CHAOS_KILLS` says how
//! many programs are killed at least (50); there are four payments for each, and tabs beside them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use books::{All, Books};
use plugs::{
    Attempt, Chance, Evidence, HEALING, Journal, Listener, Member, Paying, Said, by, lock, soon,
};
use processes::World;
use tabs::TabPayer;

mod books;
mod plugs;
#[path = "../commands_online/processes.rs"]
#[allow(dead_code, reason = "the commands' own tests use the rest")]
mod processes;
mod tabs;

/// What everybody begins with, in whole currency and in units.
const OPENING: &str = "1000000";
const OPENING_UNITS: i128 = 1_000_000_000_000;

/// Orders that went out, orders that came, and orders without an end, in a journal.
const SENT: &str = "SELECT count(*) FROM orders WHERE route > 0";
const NOTED: &str = "SELECT count(*) FROM notes";
const OPEN: &str = "SELECT count(*) FROM orders WHERE state = 0";

/// The directory and each listener are killed once in so many payments.
const PAYMENTS_A_KILL: usize = 20;

/// Longest time that anything is away.
const AWAY: Duration = Duration::from_millis(1_200);

/// Longest time after which a payer is killed: some payments are over by then.
const KILLED_AFTER: Duration = Duration::from_millis(400);

#[test]
fn a_community_survives_fifty_kills_at_random_while_it_pays() {
    let kills_min = std::env::var("QUID_CHAOS_KILLS")
        .map_or(50, |number| number.parse().expect("a number of kills"));
    let payments = 4 * kills_min;
    let mut chance = Chance::seeded();
    let mut world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let join = |name| Arc::new(Member::join(&world, name));
    let members = ["bob", "carol", "frank", "dave", "erin", "heidi"].map(join);
    let mut listeners: Vec<Listener> = members[..3]
        .iter()
        .map(|who| Listener::start(&world, who))
        .collect();
    let [bob, _, frank, dave, erin, heidi] = &members;
    let mut tabs = TabPayer::new(heidi);

    // Dave pays twice at a time; Frank and Bob listen, and pay through the process that does.
    let payers = [dave, dave, erin, frank, frank, bob];
    let attempts = Mutex::new(Vec::new());
    let started = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        let (fork, tabs, started_so_far) = (chance.fork(), &mut tabs, &started);
        scope.spawn(move || tabs.pay_on(fork, payments, started_so_far));
        for payer in payers {
            let (chance, started, attempts) = (chance.fork(), &started, &attempts);
            scope.spawn(move || pay_on(payer, chance, payments, started, attempts));
        }
        let times = (payments / PAYMENTS_A_KILL).max(1);
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
    eprintln!("{payments} payments in {:?}", begun.elapsed());
    let payee_kills = payments / PAYMENTS_A_KILL;
    let killed = 4 * payee_kills + attempts.iter().filter(|it| it.killed).count() + tabs.killed;
    eprintln!("{killed} programs killed");
    assert!(killed >= kills_min, "{killed} programs were killed");
    tabs.close();
    let all = close(&world, &attempts, &[dave, erin, heidi], listeners);
    let wrong = tabs.check(&all, payee_kills);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(attempts.len(), payments);
    if payments >= 100 {
        // The chaos was neither too little nor too much.
        let tally = tally(&attempts);
        for said in [DIRECT, BY_DIRECTORY, "Unknown", "Refused"] {
            assert!(tally.contains_key(said), "{tally:?}");
        }
    }
}

#[test]
fn a_payee_that_stops_with_an_order_in_its_hands_makes_nothing_wrong() {
    let world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let [alice, bob] = ["alice", "bob"].map(|name| Arc::new(Member::join(&world, name)));
    let listener = Listener::start(&world, &bob);
    let (sent, taken) = (alice.journal(), bob.journal());
    let mut attempts: Vec<Attempt> = Vec::new();
    // It is a race: sometimes the order settles before the payee stops.
    let mut unsettled = 0;
    for round in 0..20 {
        // Once the payer gives its payee up by itself, at other times it is gone before.
        let wait = if round == 1 { "10" } else { "1" };
        let fuse = listener.fuse("STOP");
        let (sent_before, taken_before) = (sent.count(SENT), taken.count(NOTED));
        let mut paying = Paying::start(&alice, "bob", "0.500000", &format!("{round}"), wait);
        if round < 2 {
            sent.grows(SENT, sent_before, &mut paying.child);
        } else {
            taken.grows(NOTED, taken_before, &mut paying.child);
        }
        fuse.light();
        let attempt = paying.end(None);
        assert_ne!(attempt.said, Said::Unreachable, "{attempt:?}");
        unsettled += usize::from(!matches!(attempt.said, Said::Settled(_)));
        attempts.push(attempt);
        // The payer learns the end without the payee.
        let ended = Books::closed(&alice, false);
        assert!(ended.is_ok(), "{ended:?}");
        listener.signal("CONT");
        by(Instant::now() + HEALING, || Books::closed(&bob, true));
        if round >= 3 && unsettled >= 2 {
            break;
        }
    }
    assert!(unsettled >= 2, "{:?}", tally(&attempts));
    close(&world, &attempts, &[&alice], vec![listener]);
}

#[test]
fn a_payer_killed_after_its_order_left_learns_the_end_with_its_next_command() {
    let world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let [alice, bob] = ["alice", "bob"].map(|name| Arc::new(Member::join(&world, name)));
    let listener = Listener::start(&world, &bob);
    let taken = bob.journal();
    let mut attempts = Vec::new();
    for next in ["status", "history", "who", "pay"] {
        killed_with_an_open_order(&alice, &taken, &mut attempts, next, |paying| {
            paying.end(Some(Duration::ZERO))
        });
    }
    close(&world, &attempts, &[&alice], vec![listener]);
}

#[test]
fn a_listener_killed_after_its_order_left_learns_the_end_with_its_next_command() {
    let world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let [frank, bob] = ["frank", "bob"].map(|name| Arc::new(Member::join(&world, name)));
    let payee = Listener::start(&world, &bob);
    let mut payer = Listener::start(&world, &frank);
    let taken = bob.journal();
    let mut attempts = Vec::new();
    for next in ["status", "pay"] {
        killed_with_an_open_order(&frank, &taken, &mut attempts, next, |paying| {
            payer.kill();
            paying.end(None)
        });
        payer.restart();
        payer.online();
    }
    close(&world, &attempts, &[], vec![payee, payer]);
}

/// Kills a payer whose order has reached the payee, and has the next command find out its end.
fn killed_with_an_open_order(
    who: &Member,
    taken: &Journal,
    attempts: &mut Vec<Attempt>,
    next: &str,
    mut kill: impl FnMut(Paying) -> Attempt,
) {
    let sent = who.journal();
    let pay = |attempts: &[Attempt]| {
        let memo = format!("{} {}", who.name, attempts.len());
        Paying::start(who, "bob", "0.500000", &memo, "10")
    };
    // It is a race: sometimes the receipt is back before the payer is killed.
    soon(HEALING, || {
        let before = taken.count(NOTED);
        let mut paying = pay(attempts);
        taken.grows(NOTED, before, &mut paying.child);
        attempts.push(kill(paying));
        let open = sent.count(OPEN);
        if next == "pay" {
            let attempt = pay(attempts).end(None);
            assert!(matches!(attempt.said, Said::Settled(_)), "{attempt:?}");
            attempts.push(attempt);
        } else if let Err(error) = who.ask(&[next]) {
            panic!("all was well again: {error}");
        }
        assert_eq!(sent.count(OPEN), 0, "after {next}: {attempts:?}");
        (open == 1)
            .then_some(())
            .ok_or_else(|| format!("{attempts:?}"))
    });
}

#[test]
fn a_payment_with_the_directory_down_is_unsent_or_unknown_until_it_is_back() {
    let mut world = plugs::world(OPENING);
    let _evidence = Evidence(world.path("").into());
    let join = |name| Arc::new(Member::join(&world, name));
    let [alice, frank, carol, bob] = ["alice", "frank", "carol", "bob"].map(join);
    let (payee, payer) = (
        Listener::start(&world, &bob),
        Listener::start(&world, &frank),
    );
    // Frank and Bob are connected from now on, and Frank needs nobody to find Bob again.
    let first = Paying::start(&frank, "bob", "0.500000", "first", "10").end(None);
    assert!(matches!(first.said, Said::Settled(_)), "{first:?}");

    plugs::kill(&mut world);
    let direct = Paying::start(&frank, "bob", "0.500000", "direct", "2");
    let alone = Paying::start(&alice, "bob", "0.500000", "alone", "2").end(None);
    assert_eq!(alone.said, Said::Unreachable, "{alone:?}");
    let direct = direct.end(None);
    // Which of the two depends on whether Frank has noticed; that it is true is checked below.
    assert!(
        matches!(direct.said, Said::Unreachable | Said::Unknown),
        "{direct:?}"
    );
    let mut attempts = vec![first, alone, direct];
    world.restart();
    by(Instant::now() + HEALING, || Books::closed(&frank, true));

    let sent = alice.journal();
    for payee in ["bob", "carol"] {
        // Bob is back, so the order goes to him; Carol is never there.
        soon(HEALING, || {
            let who = alice.ask(&["who"])?;
            let back = who.iter().any(|person| person["name"] == "bob");
            back.then_some(())
                .ok_or_else(|| "bob is not back".to_owned())
        });
        let before = sent.count(SENT);
        let memo = format!("to {payee} {}", attempts.len());
        let mut paying = Paying::start(&alice, payee, "0.500000", &memo, "1");
        sent.grows(SENT, before, &mut paying.child);
        plugs::kill(&mut world);
        let attempt = paying.end(None);
        // Its order had been written down, so nobody may say that nothing was sent.
        assert!(
            matches!(attempt.said, Said::Settled(_) | Said::Unknown),
            "{attempt:?}"
        );
        attempts.push(attempt);
        world.restart();
        let ended = Books::closed(&alice, false);
        assert!(ended.is_ok(), "{ended:?}");
    }
    close(&world, &attempts, &[&alice, &carol], vec![payee, payer]);
}

/// Checks everything at the end: the books of all, and what the listeners told.
fn close(
    world: &World,
    attempts: &[Attempt],
    others: &[&Arc<Member>],
    listeners: Vec<Listener>,
) -> All {
    let begun = Instant::now();
    let mut all: All = BTreeMap::new();
    for who in others {
        all.insert(who.name, by(begun + HEALING, || Books::closed(who, false)));
    }
    for Listener { who, .. } in &listeners {
        all.insert(who.name, by(begun + HEALING, || Books::closed(who, true)));
    }
    eprintln!("healed in {:?}: {:?}", begun.elapsed(), tally(attempts));
    let mut wrong = books::check(attempts, &all, OPENING_UNITS);
    for listener in listeners {
        let name = listener.who.name;
        wrong.extend(books::check_told(name, &listener.stop(), &all[name]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let members = i128::try_from(all.len()).expect("few");
    books::audit(world, OPENING_UNITS * members);
    all
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

fn tally(attempts: &[Attempt]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for attempt in attempts {
        let said = match attempt.said {
            Said::Settled(_) if attempt.shown.contains(r#""route":"direct""#) => DIRECT.to_owned(),
            Said::Settled(_) => BY_DIRECTORY.to_owned(),
            said => format!("{said:?}"),
        };
        *tally.entry(said).or_default() += 1;
    }
    tally
}

/// How a tally calls payments that settled.
const DIRECT: &str = "Settled directly";
const BY_DIRECTORY: &str = "Settled through the directory";
