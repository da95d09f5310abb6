//! What comes of what people try with tabs, a table for each rule.

use quid_common::chain::GAP_MAX;
use quid_common::key::PublicKey;
use quid_common::tab::{Hashed, TABS_PER_PAYER_MAX};

use super::*;
use crate::ledger::testing::{TabDraft, World, amount, check, key, order_id};
use crate::ledger::{Caps, Ledger};

#[cfg(test)]
mod forged;
#[cfg(test)]
mod precedence;

#[test]
fn a_tab_is_opened_claimed_closed_and_released() {
    check(
        "account alice 100
         account bob     5
         tab t1 alice bob 3 x 20 now 1   -> opened
         tab t1 alice bob 3 x 20 now 2   -> opened   # the same entry
         balance alice 40
         held alice 60
         claim t1 0 7 now 3              -> claimed
         held alice 39
         balance bob 26
         claim t1 7 8 now 4              -> claimed
         balance bob 29
         close t1 alice now 5            -> closed
         claim t1 8 10 now 6             -> claimed
         close t1 bob now 7              -> closed
         release t1 now 7                -> released
         balance alice 70
         held alice 0
         balance bob 35
         claim t1 10 11 now 8            -> no_tab
         close t1 bob now 8              -> no_tab
         release t1 now 8                -> not_due
         tab t1 alice bob 3 x 20 now 9   -> opened   # it had its effect
         tab t1 alice bob 3 x 21 now 9   -> id_reused
         totals 105 0",
    );
}

#[test]
fn each_refusal_of_terms_has_its_row() {
    check(
        "account alice 100
         account bob     0
         account carol  10
         freeze f1 carol -> frozen_now
         settle o1 alice bob 1 now 1 expires 60000    -> settled
         tab t0 alice bob   1 x 9 now 1               -> opened
         tab t0 alice bob   1 x 9 now 1 memo tea      -> id_reused
         tab o1 alice bob   1 x 1 now 1               -> id_reused      # one id, one effect
         settle t0 alice bob 1 now 1 expires 60000    -> id_reused
         tab t1 alice bob   1 x 9 now 1 by bob        -> wrong_submitter # not even the payee
         tab t2 alice bob   1 x 9 now 60000           -> expired
         tab t3 alice bob   1 x 9 now 60000 opens 86460001 -> expiry_too_far
         tab t4 erin  bob   1 x 9 now 60000 opens 99999 -> unknown_account
         tab t4 alice erin  1 x 9 now 60000 opens 99999 -> unknown_account
         tab t4 alice treasury 1 x 9 now 60000 opens 99999 -> unknown_account # nobody to pay by links
         tab t4 treasury bob 1 x 9 now 60000 opens 99999 -> unknown_account
         tab t5 alice bob   0 x 9 now 60000 opens 99999 -> zero_amount
         tab t5 alice bob   1 x 0 now 60000 opens 99999 -> zero_amount
         tab t6 alice alice 1 x 9 now 60000 opens 99999 -> self_payment
         tab t7 alice bob   1 x 1048577 now 60000 opens 99999 -> bad_terms
         tab t7 alice bob   max x 2 now 60000 opens 99999 -> bad_terms
         tab t7 alice bob   1 x 9 now 60000 opens 99999 expires 99999 -> bad_terms
         tab t7 alice bob   1 x 9 now 60000 opens 99999 expires 86500000 -> bad_terms
         tab t7 alice bob   1 x 9 now 60000 opens 99999 grace 0 -> bad_terms
         tab t7 alice bob   1 x 9 now 60000 opens 99999 grace 3601 -> bad_terms
         tab t7 alice bob   1 x 1048576 now 60000 opens 99999 -> insufficient_funds
         tab t7 alice bob   1 x 9 now 60000 opens 99999 -> id_reused
         tab t8 carol bob   1 x 9 now 60000 opens 99999 -> frozen
         tab t9 alice bob   max x 1 now 60000 opens 99999 -> insufficient_funds
         tab ta alice bob   1 x 91 now 60000 opens 99999 -> insufficient_funds
         tab tb alice bob   1 x 90 now 60000 opens 99999 expires 86499999 grace 3600 -> opened
         balance alice 0
         held alice 99",
    );
}

#[test]
fn a_refusal_of_terms_burns_the_id_whatever_changes_later() {
    check(
        "account alice 10
         account bob    0
         tab t1 alice bob 1 x 11 now 1   -> insufficient_funds
         issue i1 alice 90               -> issued
         tab t1 alice bob 1 x 11 now 2   -> insufficient_funds
         tab t1 alice bob 1 x 10 now 2   -> id_reused
         claim t1 0 1 now 2              -> no_tab
         close t1 alice now 2            -> no_tab
         void t2 alice now 2 expires 60000 -> voided
         tab t2 alice bob 1 x 10 now 2   -> voided
         tab t3 alice bob 1 x 10 now 2   -> opened
         void t3 alice now 2 expires 60000 -> opened # it opened first
         forget
         tab t3 alice bob 1 x 10 now 60000 -> opened
         tab t4 alice bob 1 x 10 now 60000 -> expired
         claim t3 0 1 now 60000          -> claimed
         forget
         tab t3 alice bob 1 x 10 now 60001 -> opened # from the index
         tab t1 alice bob 1 x 11 now 60001 -> insufficient_funds
         tab t3 alice bob 1 x 11 now 60001 -> id_reused
         index behind
         tab t3 alice bob 1 x 10 now 60001 -> busy
         claim t3 1 10 now 60001         -> claimed  # open tabs need no index
         balance bob 10",
    );
}

#[test]
fn each_refusal_of_a_claim_has_its_row() {
    check(
        "account alice 100
         account bob     0
         tab t1 alice bob 2 x 20 now 1     -> opened
         tab t2 alice bob 2 x 20 now 1     -> opened
         claim t1 0 0 now 2                -> stale_claim
         claim t1 0 1 now 2 by alice       -> wrong_submitter
         claim t1 0 1 now 2 by carol       -> wrong_submitter
         claim t1 0 1 now 2 with t2        -> bad_link
         claim t1 1 2 now 2                -> stale_claim  # nothing is claimed yet
         claim t1 0 21 now 2               -> past_end
         claim t1 0 4294967295 now 2       -> gap_too_long
         claim t1 4294967295 4294967295 now 2 -> stale_claim
         claim t1 4294967294 4294967295 now 2 -> past_end
         claim t1 0 5 now 2                -> claimed
         claim t1 0 5 now 3                -> claimed      # the same entry
         claim t1 4 5 now 3                -> claimed      # whatever it goes on from
         claim t1 0 5 now 3 with t2        -> stale_claim
         claim t1 0 6 now 3                -> stale_claim
         claim t1 5 4 now 3                -> stale_claim
         claim t1 4 6 now 3                -> stale_claim
         claim t1 5 6 now 3 with t2        -> bad_link
         claim t1 5 20 now 3               -> claimed
         claim t1 0 5 now 3                -> stale_claim  # only the last is known
         claim t1 20 21 now 3              -> past_end
         claim t1 20 20 now 3              -> stale_claim
         held alice 40
         balance bob 40
         release t1 now 180000             -> released     # nothing is left
         balance alice 20
         held alice 40",
    );
}

#[test]
fn each_refusal_of_a_close_has_its_row() {
    check(
        "account alice 100
         account bob     0
         account carol   0
         tab t1 alice bob 1 x 20 now 1     -> opened
         tab t2 alice bob 1 x 20 now 1     -> opened
         tab t3 alice bob 1 x 999 now 1    -> insufficient_funds
         close t1 alice now 2 from bob     -> wrong_submitter
         close t1 carol now 2              -> wrong_submitter
         close t3 alice now 2              -> no_tab
         close t1 alice now 2              -> closed
         close t1 alice now 3              -> closed   # the same entry
         close t1 bob now 3                -> closed
         close t1 bob now 3                -> closed
         close t1 alice now 4              -> closed   # the payee's, which is the end of it
         close t2 alice now 120000         -> tab_over # it has ended by itself
         close t2 bob now 120000           -> closed
         release t1 now 120000             -> released
         release t2 now 120000             -> released
         balance alice 100",
    );
}

#[test]
fn a_frozen_payers_tabs_are_claimed_closed_and_released() {
    check(
        "account alice 100
         account bob     0
         tab t1 alice bob 1 x 20 now 1     -> opened
         freeze f1 alice                   -> frozen_now
         freeze f2 bob                     -> frozen_now
         claim t1 0 5 now 2                -> claimed
         close t1 alice now 3              -> closed
         claim t1 5 6 now 3                -> claimed
         release t1 now 60003              -> released
         balance alice 94
         balance bob 6
         tab t2 alice bob 1 x 20 now 60003 opens 99999 -> frozen",
    );
}

#[test]
fn claims_are_taken_until_the_release_is_written() {
    check(
        "account alice 100
         account bob     0
         tab t1 alice bob 1 x 20 now 1     -> opened
         claim t1 0 1 now 119999           -> claimed
         release t1 now 119999             -> not_due
         claim t1 1 2 now 120000           -> claimed  # it has ended, and its grace begins
         claim t1 2 3 now 120001           -> claimed
         claim t1 3 4 now 179999           -> claimed
         release t1 now 179999             -> not_due
         claim t1 4 5 now 180000           -> claimed  # over, and not released yet
         release t1 now 180000             -> released
         claim t1 5 6 now 180000           -> no_tab
         balance bob 5
         balance alice 95
         tab t2 alice bob 1 x 20 now 180000 opens 200000 expires 300000 -> opened
         close t2 alice now 290000         -> closed   # the grace is as long as agreed
         claim t2 0 1 now 349999           -> claimed
         release t2 now 349999             -> not_due
         release t2 now 350000             -> released",
    );
}

#[test]
fn no_release_comes_before_a_grace_of_serving_unless_the_payee_has_closed() {
    check(
        "account alice 100
         account bob     0
         tab t1 alice bob 1 x 20 now 1           -> opened
         tab t2 alice bob 1 x 20 now 1 grace 10  -> opened
         tab t3 alice bob 1 x 20 now 1           -> opened
         close t3 bob now 2                      -> closed
         release t3 now 2 since 2                -> released # the payee needs no time
         release t1 now 500000 since 500000      -> not_due
         release t2 now 500000 since 500000      -> not_due
         release t2 now 509999 since 500000      -> not_due
         release t2 now 510000 since 500000      -> released
         release t1 now 559999 since 500000      -> not_due
         claim t1 0 20 now 559999                -> claimed  # in the grace it was promised
         release t1 now 560000 since 500000      -> released
         balance bob 20
         balance alice 80",
    );
}

#[test]
fn both_parties_may_have_tabs_with_each_other() {
    check(
        "account alice 100
         account bob   100
         tab t1 alice bob 1 x 90 now 1     -> opened
         tab t1 bob alice 1 x 90 now 1     -> opened   # ids are the payer's own
         claim t1 0 90 now 2               -> claimed
         balance bob 100
         held bob 90
         settle o1 bob alice 100 now 3 expires 9 -> settled
         settle o2 bob alice 1 now 3 expires 9   -> insufficient_funds # what is held cannot be spent
         balance alice 110",
    );
}

#[test]
fn what_has_a_cap_is_refused_beyond_it_and_has_room_again() {
    let mut world = World::with(&[("alice", 100), ("bob", 0), ("carol", 100)]);
    let alice = key("alice").public();
    world.ledger.caps.tabs_per_payer = 2;
    world.ledger.caps.open_tabs = 3;
    let open = |world: &mut World, id: &str, payer: &str| {
        let tab = world.tab(id, payer, "bob");
        let outcome = world.open_tab(&tab.sign(), &key(payer).public(), 1);
        (tab, outcome)
    };
    let (first, outcome) = open(&mut world, "t1", "alice");
    assert_eq!(outcome, "opened");
    assert_eq!(open(&mut world, "t2", "alice").1, "opened");
    assert_eq!(open(&mut world, "t3", "alice").1, "too_many_tabs");
    assert_eq!(open(&mut world, "t1", "alice").1, "opened", "a known one");
    assert_eq!(open(&mut world, "t3", "carol").1, "opened");
    assert_eq!(
        open(&mut world, "t4", "carol").1,
        "busy",
        "no room for anybody"
    );
    assert_eq!(world.ledger.open_tabs(), 3);
    let close = first.close(&key("bob"));
    assert_eq!(world.close(&close, &key("bob").public(), 2), "closed");
    assert_eq!(
        open(&mut world, "t4", "alice").1,
        "busy",
        "closed is not released"
    );
    assert_eq!(world.release(&first, 2, 0), "released");
    assert_eq!(
        open(&mut world, "t3", "alice").1,
        "opened",
        "nothing was burnt"
    );
    assert_eq!(world.ledger.tabs.of(1), 2);
    // An id needs room as an order's does.
    world.ledger.caps.open_tabs = 9;
    world.ledger.caps.live_ids = 4;
    assert_eq!(open(&mut world, "t5", "carol").1, "busy");
    let (payee, tab) = world
        .ledger
        .tab(&alice, order_id("t3", 60_000))
        .expect("open");
    assert_eq!(
        (payee.name.as_str(), tab.length, tab.held()),
        ("bob", 10, amount(10))
    );
    assert_eq!(world.ledger.tab(&alice, first.id), None);
    assert_eq!(world.ledger.tab(&key("erin").public(), first.id), None);
    world.ledger.caps = Caps::default();
    world.check("all");
    world.check_replay();
}

#[test]
fn sixty_four_tabs_of_one_payer_may_be_open() {
    let mut world = World::with(&[("alice", 1_000), ("bob", 0)]);
    let alice = key("alice").public();
    let outcomes: Vec<_> = (0..=TABS_PER_PAYER_MAX)
        .map(|n| {
            let terms = world.tab(&format!("t{n}"), "alice", "bob").sign();
            world.open_tab(&terms, &alice, 1)
        })
        .collect();
    let (last, first) = outcomes.split_last().expect("some");
    assert!(first.iter().all(|it| it == "opened"));
    assert_eq!(last, "too_many_tabs");
}

#[test]
fn a_claim_of_the_longest_gap_is_taken_and_none_beyond() {
    let mut world = World::with(&[("alice", 1_000_000), ("bob", 0)]);
    let bob = key("bob").public();
    let mut tab = world.tab("t1", "alice", "bob");
    tab.length = 2 * GAP_MAX;
    assert_eq!(
        world.open_tab(&tab.sign(), &key("alice").public(), 1),
        "opened"
    );
    assert_eq!(
        world.claim(&tab, &tab.hashed(0, GAP_MAX), &bob, 1),
        "claimed"
    );
    assert!(Hashed::new(&tab.id, GAP_MAX - 1, tab.mark(2 * GAP_MAX)).is_err());
    assert_eq!(
        world.claim(&tab, &tab.hashed(GAP_MAX, 2 * GAP_MAX), &bob, 1),
        "claimed"
    );
    assert_eq!(world.balance("bob"), u64::from(2 * GAP_MAX));
    world.check("both");
}

#[test]
fn the_largest_hold_is_all_the_money_there_is() {
    check(
        "account alice 0
         account bob   0
         issue i1 alice max                    -> issued
         tab t1 alice bob max x 1 now 1        -> opened
         balance alice 0
         held alice max
         issue i2 bob 1                        -> supply_exceeded
         claim t1 0 1 now 1                    -> claimed
         balance bob max
         held alice 0
         close t1 bob now 1                    -> closed
         release t1 now 1                      -> released
         settle o1 bob treasury max now 1 expires 9 -> settled
         totals max max",
    );
}

#[test]
fn due_tabs_come_with_those_that_payees_closed_first_and_as_many_as_wanted() {
    let mut world = World::with(&[("alice", 1_000), ("bob", 0), ("carol", 1_000)]);
    let mut tabs = Vec::new();
    // Grace, end.
    for (n, (grace, expires)) in [(60, 130), (60, 120), (10, 140), (60, 120), (60, 900)]
        .into_iter()
        .enumerate()
    {
        let payer = if n == 3 { "carol" } else { "alice" };
        let mut tab = world.tab(&format!("t{n}"), payer, "bob");
        (tab.grace, tab.expires) = (grace, LedgerTime::from_millis(expires * 1000));
        assert_eq!(
            world.open_tab(&tab.sign(), &key(payer).public(), 1),
            "opened"
        );
        tabs.push(tab);
    }
    let due = |world: &World, now: u64, since: u64, most: usize| -> Vec<String> {
        let [now, since] = [now, since].map(|it| LedgerTime::from_millis(it * 1000));
        let found = world.ledger.due(now, since, most);
        let name = |(payer, id): &(PublicKey, OrderId)| {
            let same = |tab: &TabDraft| tab.id == *id && tab.payer.public() == *payer;
            format!("t{}", tabs.iter().position(same).expect("one of them"))
        };
        found.iter().map(name).collect()
    };
    assert!(due(&world, 149, 0, 9).is_empty());
    assert_eq!(due(&world, 150, 0, 9), ["t2"]);
    assert_eq!(due(&world, 180, 0, 9), ["t2", "t1", "t3"]);
    assert_eq!(due(&world, 500, 0, 9), ["t2", "t1", "t3", "t0"]);
    assert_eq!(due(&world, 500, 495, 9), [""; 0]);
    assert_eq!(due(&world, 500, 490, 9), ["t2"]);
    assert_eq!(due(&world, 500, 441, 9), ["t2"]);
    assert_eq!(due(&world, 500, 440, 9), ["t2", "t1", "t3", "t0"]);
    let close = tabs[4].close(&key("bob"));
    assert_eq!(world.close(&close, &key("bob").public(), 70_000), "closed");
    assert_eq!(due(&world, 70, 70, 9), ["t4"]);
    assert_eq!(due(&world, 500, 0, 9), ["t4", "t2", "t1", "t3", "t0"]);
    for most in 0..5 {
        let some = due(&world, 500, 0, most);
        assert_eq!(some, ["t4", "t2", "t1", "t3", "t0"][..most]);
    }
    let times = [0, u64::MAX];
    for (now, since) in times
        .into_iter()
        .flat_map(|now| times.map(|since| (now, since)))
    {
        let [now, since] = [now, since].map(LedgerTime::from_millis);
        for (payer, id) in world.ledger.due(now, since, usize::MAX) {
            let fact = world.ledger.decide_release(&payer, id, now, since);
            assert!(fact.is_some(), "{now} since {since}");
        }
    }
}

#[test]
fn a_snapshot_in_slices_holds_each_tab_as_it_was_however_far_it_has_come() {
    let mut world = World::with(&[("alice", 1_000), ("bob", 0)]);
    let (alice, bob) = (key("alice").public(), key("bob").public());
    // Opened in two rounds, and each time something else happens to each.
    let (mut tabs, mut last) = (Vec::new(), 0);
    for round in 0..2 {
        for n in 0..4 {
            let tab = world.tab(&format!("t{}", 2 * n + round), "alice", "bob");
            assert_eq!(world.open_tab(&tab.sign(), &alice, 1), "opened");
            tabs.push(tab);
        }
        for (n, tab) in tabs.iter().enumerate() {
            match (n + round) % 4 {
                0 => {
                    let hashed = tab.hashed(last, last + 1);
                    world.claim(tab, &hashed, &bob, 1);
                }
                1 => drop(world.close(&tab.close(&key("alice")), &alice, 1)),
                2 => {
                    assert_eq!(world.close(&tab.close(&key("bob")), &bob, 1), "closed");
                    assert_eq!(world.release(tab, 1, 0), "released");
                }
                _ => {}
            }
        }
        tabs.retain(|tab| world.ledger.tab(&alice, tab.id).is_some());
        last += 1;
    }
    let parts = 30;
    for from in 1..world.log.len() {
        for before in 0..parts {
            let mut ledger = Ledger::new();
            for entry in &world.log[..from] {
                ledger.apply(entry).expect("its own log");
            }
            let expected = ledger.snapshot();
            ledger.begin_snapshot();
            let (mut taken, mut done) = (Vec::new(), false);
            for _ in 0..before {
                done = ledger.snapshot_slice(1, &mut taken);
            }
            for entry in &world.log[from..] {
                ledger.apply(entry).expect("its own log");
            }
            while !done {
                done = ledger.snapshot_slice(1, &mut taken);
            }
            assert!(
                taken == expected,
                "begun at {from}, {before} slices before the rest"
            );
        }
    }
    world.check("all");
    world.check_replay();
}

#[test]
fn an_open_tab_takes_little_memory() {
    // A node of a tree is at least half full, and has an edge for each entry at most.
    let entry = size_of::<(Which, Open)>() + size_of::<End>();
    assert!(2 * entry <= 350, "{entry} bytes");
}
