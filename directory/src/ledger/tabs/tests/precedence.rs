//! Each refusal of terms comes before every later one.

use quid_common::amount::Amount;
use quid_common::id::LedgerId;
use quid_common::time::LedgerTime;

use crate::ledger::testing::{TabDraft, World, amount, check_precedence, key, order_id};

/// What can be wrong with terms, in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Encoding,
    Ledger,
    Submitter,
    IdReused,
    Expired,
    TooFar,
    UnknownAccount,
    ZeroAmount,
    SelfPayment,
    BadTerms,
    Busy,
    TooMany,
    Frozen,
    Funds,
}

use Wrong::*;

const IN_ORDER: [(Wrong, &str); 14] = [
    (Encoding, "encoding"),
    (Ledger, "wrong_ledger"),
    (Submitter, "wrong_submitter"),
    (IdReused, "id_reused"),
    (Expired, "expired"),
    (TooFar, "expiry_too_far"),
    (UnknownAccount, "unknown_account"),
    (ZeroAmount, "zero_amount"),
    (SelfPayment, "self_payment"),
    (BadTerms, "bad_terms"),
    (Busy, "busy"),
    (TooMany, "too_many_tabs"),
    (Frozen, "frozen"),
    (Funds, "insufficient_funds"),
];

/// No terms are both: an id is not past and far ahead, a used one was not too far, and a hold of
/// nothing is always owned.
const NEVER_BOTH: [(Wrong, Wrong); 3] =
    [(IdReused, TooFar), (Expired, TooFar), (ZeroAmount, Funds)];

#[test]
fn every_refusal_comes_before_every_later_one() {
    check_precedence(&IN_ORDER, &NEVER_BOTH, outcome);
    assert_eq!(outcome(&[]), "opened");
}

/// What comes of terms with which all this is wrong at once.
fn outcome(wrong: &[Wrong]) -> String {
    let has = |it| wrong.contains(&it);
    let mut world = World::with(&[("alice", 100), ("bob", 0), ("carol", 0)]);
    let mut tab = draft(&world, wrong);
    if has(IdReused) {
        let first = TabDraft {
            memo: "first".into(),
            ..world.tab("t1", "alice", "bob")
        };
        let outcome = world.open_tab(&first.sign(), &key("alice").public(), 1);
        assert_eq!(outcome, "opened");
    }
    if has(Frozen) {
        assert_eq!(world.freeze("f1", "alice", true), "frozen_now");
    }
    if has(Busy) {
        world.ledger.caps.open_tabs = 0;
    }
    if has(TooMany) {
        world.ledger.caps.tabs_per_payer = 0;
    }
    if has(Encoding) {
        tab.version = 2;
    }
    if has(Ledger) {
        tab.ledger = LedgerId([9; 32]);
    }
    let submitter = if has(Submitter) {
        key("bob")
    } else {
        tab.payer.clone()
    };
    let now = if has(Expired) { 60_000 } else { 1 };
    world.open_tab(&tab.sign(), &submitter.public(), now)
}

fn draft(world: &World, wrong: &[Wrong]) -> TabDraft {
    let has = |it| wrong.contains(&it);
    let nobody = has(SelfPayment) && has(UnknownAccount);
    let payer = if nobody { "erin" } else { "alice" };
    let payee = match () {
        () if has(SelfPayment) => payer,
        () if has(UnknownAccount) => "erin",
        () => "bob",
    };
    let mut tab = world.tab("t1", payer, payee);
    if has(TooFar) {
        tab.id = order_id("t1", LIFE_MAX_MS + 2);
        tab.expires = LedgerTime::from_millis(LIFE_MAX_MS + 60_000);
    }
    if has(ZeroAmount) {
        tab.unit = Amount::ZERO;
    }
    if has(Funds) {
        tab.unit = amount(101);
    }
    if has(BadTerms) {
        tab.grace = 0;
    }
    tab
}

const LIFE_MAX_MS: u64 = 24 * 60 * 60 * 1000;
