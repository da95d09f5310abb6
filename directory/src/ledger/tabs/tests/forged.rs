//! Entries about tabs that no decision makes: the fold names the rule they break and keeps its books.

use quid_common::amount::Amount;
use quid_common::chain::{GAP_MAX, Link};
use quid_common::entry::{Entry, Fact};
use quid_common::id::LedgerId;
use quid_common::signed::Signed;
use quid_common::tab::{Claim, Close, Release};
use quid_common::time::LedgerTime;

use crate::ledger::testing::{TabDraft, World, amount, key, order_id};
use crate::ledger::{Fault, Ledger, Rule};

/// One line a row, which the formatter leaves alone.
macro_rules! rows {
    ($($what:literal => $row:expr;)+) => { vec![$(($what, $row)),+] };
}

#[test]
fn an_entry_that_breaks_a_rule_is_a_fault_and_changes_nothing() {
    let world = world();
    let mut all = forged_terms(&world);
    all.extend(forged_claims(&world));
    all.extend(forged_closes(&world));
    all.extend(forged_releases(&world));
    for (what, (rule, entry)) in all {
        let mut ledger = world.ledger.clone();
        let fault = ledger.apply(&entry).expect_err(what);
        let index = world.ledger.entries();
        assert_eq!(fault, Fault { index, rule }, "{what}");
        assert!(ledger == world.ledger, "{what} changed the books");
    }
    for (what, entry) in sound(&world) {
        let mut ledger = world.ledger.clone();
        assert_eq!(ledger.apply(&entry), Ok(world.ledger.entries()), "{what}");
        assert_eq!(ledger.check(), Ok(()), "{what}");
        assert_eq!(Ledger::restore(&ledger.snapshot()), Ok(ledger), "{what}");
    }
}

#[test]
fn a_forged_link_is_for_whoever_hashes_to_find() {
    let world = world();
    let below = |claim: &Claim| claim.link.down(&claim.id, claim.index - claim.from);
    let claim = claim_of(&world, |_| {});
    assert_eq!(world.ledger.check_link(&claim, &below(&claim)), Ok(()));
    let forged = claim_of(&world, |it| it.link = Link([9; 32]));
    let link = world.ledger.check_link(&forged, &below(&forged));
    assert_eq!(link, Err(Rule::Link));
    // What breaks another rule is named by that.
    for change in [
        (|it| it.from = 3) as fn(&mut Claim),
        |it| it.id = order_id("t9", 60_000),
        |it| it.payer = key("erin").public(),
    ] {
        let forged = claim_of(&world, change);
        assert_eq!(world.ledger.check_link(&forged, &below(&forged)), Ok(()));
        let applied = world.ledger.clone().apply(&at(NOW, Fact::Claim(forged)));
        assert!(applied.is_err());
    }
}

#[test]
fn counters_at_their_end_are_a_fault() {
    let world = world();
    let claim = at(NOW, Fact::Claim(claim_of(&world, |_| {})));
    let release = at(NOW, Fact::Release(release_of(&world, |_| {})));
    let terms = at(NOW, open(&world, |_| {}));
    for (what, entry, change, rule) in [
        (
            "claim",
            &claim,
            (|it| it.accounts[2].available = Amount::MAX) as fn(&mut Ledger),
            Rule::Overflow,
        ),
        (
            "claim",
            &claim,
            |it| it.accounts[2].held = Amount::MAX,
            Rule::Overflow,
        ),
        (
            "claim",
            &claim,
            |it| it.accounts[1].held = amount(1),
            Rule::Funds,
        ),
        (
            "release",
            &release,
            |it| it.accounts[1].available = Amount::MAX,
            Rule::Overflow,
        ),
        (
            "release",
            &release,
            |it| it.accounts[1].held = amount(9),
            Rule::Funds,
        ),
        (
            "terms",
            &terms,
            |it| it.accounts[1].held = Amount::MAX,
            Rule::Overflow,
        ),
    ] {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        let broken = ledger.clone();
        let fault = ledger.apply(entry).expect_err(what);
        assert_eq!(fault.rule, rule, "{what}");
        assert!(ledger == broken, "{what} changed the books");
    }
}

#[test]
fn holds_that_are_not_their_accounts_are_found() {
    let world = world();
    let change = |change: fn(&mut Ledger)| {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        ledger.check().expect_err("wrong").rule
    };
    // The sums of both sides still agree.
    let moved = change(|it| {
        it.accounts[1].held = amount(it.accounts[1].held.units() - 1);
        it.accounts[1].available = amount(it.accounts[1].available.units() + 1);
    });
    assert_eq!(moved, Rule::Holds);
    let lost = change(|it| {
        it.tabs.remove((order_id("t1", 60_000), 1)).expect("open");
    });
    assert_eq!(lost, Rule::Holds);
    assert_eq!(world.ledger.check(), Ok(()));
}

/// At [`NOW`] alice, with 40 left, has these open with bob, ten units of 1 each: `t1` claimed up to
/// 4, `t2` closed by her, `t3` closed by him and so over, `t4` that has ended; `t0` is released.
/// Carol is frozen with 10.
fn world() -> World {
    let mut world = World::with(&[("alice", 80), ("bob", 0), ("carol", 10)]);
    let (alice, bob) = (key("alice").public(), key("bob").public());
    assert_eq!(world.freeze("f1", "carol", true), "frozen_now");
    for id in ["t0", "t1", "t2", "t3", "t4"] {
        let mut tab = world.tab(id, "alice", "bob");
        if id == "t4" {
            tab.expires = LedgerTime::from_millis(NOW);
            tab.id = order_id(id, NOW - 1);
        }
        assert_eq!(world.open_tab(&tab.sign(), &alice, 1), "opened");
        let close = |world: &mut World, by: &str| {
            let close = tab.close(&key(by));
            assert_eq!(world.close(&close, &key(by).public(), 2), "closed");
        };
        match id {
            "t0" => {
                close(&mut world, "bob");
                assert_eq!(world.release(&tab, 2, 0), "released");
            }
            "t1" => assert_eq!(world.claim(&tab, &tab.hashed(0, 4), &bob, 2), "claimed"),
            "t2" => close(&mut world, "alice"),
            "t3" => close(&mut world, "bob"),
            _ => {}
        }
    }
    // So that time cannot go back before it.
    let order = world.order("o1", "alice", "bob").sign();
    assert_eq!(world.settle(&order, None, &alice, NOW), "settled");
    assert_eq!((world.balance("alice"), world.held("alice")), (39, 36));
    world
}

/// Entries that can stand next, each the good twin of some forged ones.
fn sound(world: &World) -> Vec<(&'static str, Entry)> {
    let claim = |change: fn(&mut Claim)| at(NOW, Fact::Claim(claim_of(world, change)));
    let close = |id, by| at(NOW, Fact::Close(close_of(world, id, by, |_| {})));
    rows! {
        "terms" => at(NOW, open(world, |_| {}));
        "terms of all there is" => at(NOW, open(world, |it| it.length = 39));
        "terms at the last moment" => at(59_999, open(world, |_| {}));
        "terms with other words" => at(NOW, open(world, |it| it.memo = "tea".into()));
        "a claim" => claim(|_| {});
        "a claim of one" => claim(|it| (it.index, it.amount) = (5, amount(1)));
        "a claim of the rest" => claim(|it| (it.index, it.amount) = (10, amount(6)));
        "a claim at the end of time" => Entry { time: LedgerTime::MAX, ..claim(|_| {}) };
        "a close by the payer" => close("t1", "alice");
        "a close by the payee" => close("t1", "bob");
        "a close by the payee after the payer's" => close("t2", "bob");
        "a close by the payee after the end" => close("t4", "bob");
        "a release" => at(NOW, Fact::Release(release_of(world, |_| {})));
        "a late release" => Entry {
            time: LedgerTime::MAX, ..at(NOW, Fact::Release(release_of(world, |_| {})))
        };
        "a release after the grace" => at(180_000, Fact::Release(release_of(world, |it| {
            (it.id, it.amount) = (order_id("t1", 60_000), amount(6));
        })));
    }
}

fn forged_terms(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let terms = |change: fn(&mut TabDraft)| at(NOW, open(world, change));
    let fate = |id| {
        let used = world
            .ledger
            .fate(&key("alice").public(), order_id(id, 60_000));
        Rule::IdUsed {
            entry: used.expect("used"),
        }
    };
    rows! {
        "time below the last" => (Rule::TimeBackward, at(NOW - 1, open(world, |_| {})));
        "a later version" => (Rule::Version, terms(|it| it.version = 2));
        "another ledger" => (Rule::Ledger, terms(|it| it.ledger = LedgerId([9; 32])));
        "from nobody" => (Rule::UnknownAccount, terms(|it| it.payer = key("erin")));
        "from the treasury" => (Rule::UnknownAccount, terms(|it| it.payer = key("treasury")));
        "from the frozen" => (Rule::Frozen, terms(|it| it.payer = key("carol")));
        "to nobody" => (Rule::UnknownAccount, terms(|it| it.payee = key("erin").public()));
        "to the treasury" => (Rule::UnknownAccount, terms(|it| it.payee = key("treasury").public()));
        "to oneself" => (Rule::SelfPayment, terms(|it| it.payee = key("alice").public()));
        "an open tab's id" => (fate("t1"), terms(|it| it.id = order_id("t1", 60_000)));
        "a released tab's id" => (fate("t0"), terms(|it| it.id = order_id("t0", 60_000)));
        "an order's id" => (fate("o1"), terms(|it| it.id = order_id("o1", 60_000)));
        "at the last moment to open" => (Rule::Expired, at(60_000, open(world, |_| {})));
        "too far ahead" => (Rule::ExpiryTooFar, terms(|it| {
            it.id = order_id("t9", NOW + DAY + 1);
            it.expires = LedgerTime::from_millis(NOW + DAY + 2);
        }));
        "units of nothing" => (Rule::ZeroAmount, terms(|it| it.unit = Amount::ZERO));
        "no units" => (Rule::ZeroAmount, terms(|it| it.length = 0));
        "more units than a chain has" => (Rule::Terms, terms(|it| it.length = 1_048_577));
        "the most units" => (Rule::Terms, terms(|it| it.length = u32::MAX));
        "a hold beyond counting" => (Rule::Terms, terms(|it| it.unit = Amount::MAX));
        "a hold of more than there is" => (Rule::Funds, terms(|it| it.length = 40));
        "an end before it opens" => (Rule::Terms, terms(|it| it.expires = it.id.expiry()));
        "an end at no time" => (Rule::Terms, terms(|it| it.expires = LedgerTime::default()));
        "an end too far" => (Rule::Terms, terms(|it| it.expires = LedgerTime::from_millis(60_001 + DAY)));
        "an end at the end of time" => (Rule::Terms, terms(|it| it.expires = LedgerTime::MAX));
        "no grace" => (Rule::Terms, terms(|it| it.grace = 0));
        "too much grace" => (Rule::Terms, terms(|it| it.grace = 3_601));
        "the most grace" => (Rule::Terms, terms(|it| it.grace = u32::MAX));
    }
}

fn forged_claims(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let claim = |change: fn(&mut Claim)| at(NOW, Fact::Claim(claim_of(world, change)));
    rows! {
        "a claim on nobody" => (Rule::UnknownAccount, claim(|it| it.payer = key("erin").public()));
        "a claim on the treasury" => (Rule::UnknownAccount, claim(|it| it.payer = key("treasury").public()));
        "a claim on another payer" => (Rule::NoTab, claim(|it| it.payer = key("bob").public()));
        "a claim on no tab" => (Rule::NoTab, claim(|it| it.id = order_id("t9", 60_000)));
        "a claim on a released tab" => (Rule::NoTab, claim(|it| it.id = order_id("t0", 60_000)));
        "a claim by another" => (Rule::Payee, claim(|it| it.payee = key("carol").public()));
        "a claim by nobody" => (Rule::Payee, claim(|it| it.payee = key("erin").public()));
        "a claim by the payer" => (Rule::Payee, claim(|it| it.payee = it.payer));
        "a unit too much" => (Rule::TabAmount, claim(|it| it.amount = amount(3)));
        "a unit too little" => (Rule::TabAmount, claim(|it| it.amount = amount(1)));
        "an amount of nothing" => (Rule::TabAmount, claim(|it| it.amount = Amount::ZERO));
        "the largest amount" => (Rule::TabAmount, claim(|it| it.amount = Amount::MAX));
        "from before" => (Rule::Claimed, claim(|it| it.from = 3));
        "from the beginning" => (Rule::Claimed, claim(|it| it.from = 0));
        "from behind" => (Rule::Claimed, claim(|it| it.from = 5));
        "from the last number" => (Rule::Claimed, claim(|it| it.from = u32::MAX));
        "no links" => (Rule::Gap, claim(|it| (it.index, it.amount) = (4, Amount::ZERO)));
        "links taken back" => (Rule::Gap, claim(|it| it.index = 3));
        "index 0" => (Rule::Gap, claim(|it| it.index = 0));
        "past the end" => (Rule::PastEnd, claim(|it| (it.index, it.amount) = (11, amount(7))));
        "the longest gap" => (Rule::PastEnd, claim(|it| it.index = 4 + GAP_MAX));
        "a longer gap" => (Rule::Gap, claim(|it| it.index = 5 + GAP_MAX));
        "the last number" => (Rule::Gap, claim(|it| it.index = u32::MAX));
    }
}

fn forged_closes(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let close =
        |id, by, change: fn(&mut Close)| at(NOW, Fact::Close(close_of(world, id, by, change)));
    rows! {
        "a close of a later version" => (Rule::Version, close("t1", "bob", |it| it.version = 2));
        "a close elsewhere" => (Rule::Ledger, close("t1", "bob", |it| it.ledger = LedgerId([9; 32])));
        "a close of nobody's" => (Rule::UnknownAccount, close("t1", "bob", |it| it.payer = key("erin").public()));
        "a close of another payer's" => (Rule::NoTab, close("t1", "bob", |it| it.payer = it.by));
        "a close of no tab" => (Rule::NoTab, close("t9", "bob", |_| {}));
        "a close of a released tab" => (Rule::NoTab, close("t0", "bob", |_| {}));
        "a close by another" => (Rule::Stranger, close("t1", "carol", |_| {}));
        "a close by nobody" => (Rule::Stranger, close("t1", "erin", |_| {}));
        "a close by the treasury" => (Rule::Stranger, close("t1", "treasury", |_| {}));
        "a payer's close again" => (Rule::Ended, close("t2", "alice", |_| {}));
        "a payer's close after the payee's" => (Rule::Ended, close("t3", "alice", |_| {}));
        "a payer's close after the end" => (Rule::Ended, close("t4", "alice", |_| {}));
        "a payee's close again" => (Rule::Ended, close("t3", "bob", |_| {}));
    }
}

fn forged_releases(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let release = |change: fn(&mut Release)| at(NOW, Fact::Release(release_of(world, change)));
    let of = |ms, id, units| {
        let mut release = release_of(world, |_| {});
        (release.id, release.amount) = (order_id(id, 60_000), amount(units));
        at(ms, Fact::Release(release))
    };
    rows! {
        "a release of nobody's" => (Rule::UnknownAccount, release(|it| it.payer = key("erin").public()));
        "a release of another payer's" => (Rule::NoTab, release(|it| it.payer = key("bob").public()));
        "a release of no tab" => (Rule::NoTab, release(|it| it.id = order_id("t9", 60_000)));
        "a release again" => (Rule::NoTab, release(|it| it.id = order_id("t0", 60_000)));
        "a release of another payee's" => (Rule::Payee, release(|it| it.payee = key("carol").public()));
        "a release of too much" => (Rule::TabAmount, release(|it| it.amount = amount(11)));
        "a release of too little" => (Rule::TabAmount, release(|it| it.amount = amount(9)));
        "a release of nothing" => (Rule::TabAmount, release(|it| it.amount = Amount::ZERO));
        "a release of the most" => (Rule::TabAmount, release(|it| it.amount = Amount::MAX));
        "a release of what was claimed too" => (Rule::TabAmount, of(180_000, "t1", 10));
        "a release of an open tab" => (Rule::NotOver, of(NOW, "t1", 6));
        "a release at the end" => (Rule::NotOver, of(120_000, "t1", 6));
        "a release in the grace" => (Rule::NotOver, of(179_999, "t1", 6));
        "a release in the grace after a close" => (Rule::NotOver, of(60_001, "t2", 10));
    }
}

fn at(ms: u64, fact: Fact) -> Entry {
    Entry {
        time: LedgerTime::from_millis(ms),
        fact,
    }
}

fn open(world: &World, change: impl FnOnce(&mut TabDraft)) -> Fact {
    let mut tab = world.tab("t9", "alice", "bob");
    change(&mut tab);
    Fact::Tab(tab.sign())
}

/// Of two units on `t1`.
fn claim_of(world: &World, change: impl FnOnce(&mut Claim)) -> Claim {
    let tab = world.tab("t1", "alice", "bob");
    let mut claim = Claim {
        payer: tab.payer.public(),
        id: tab.id,
        payee: tab.payee,
        amount: amount(2),
        from: 4,
        index: 6,
        link: tab.mark(6).link,
    };
    change(&mut claim);
    claim
}

fn close_of(world: &World, id: &str, by: &str, change: impl FnOnce(&mut Close)) -> Signed<Close> {
    let mut tab = world.tab(id, "alice", "bob");
    if id == "t4" {
        tab.id = order_id(id, NOW - 1);
    }
    let mut close = tab.close(&key(by)).statement().clone();
    change(&mut close);
    Signed::new(close, &key(by))
}

/// Of `t3`.
fn release_of(world: &World, change: impl FnOnce(&mut Release)) -> Release {
    let tab = world.tab("t3", "alice", "bob");
    let mut release = Release {
        payer: tab.payer.public(),
        id: tab.id,
        payee: tab.payee,
        amount: amount(10),
    };
    change(&mut release);
    release
}

const NOW: u64 = 10_000;
const DAY: u64 = 24 * 60 * 60 * 1000;
