//! Each refusal of an order comes before every later one.

use quid_common::amount::Amount;
use quid_common::id::LedgerId;
use quid_common::order::Decline;

use super::testing::{Draft, World, amount, check_precedence, key, order_id};
use super::*;

/// What can be wrong with an order, in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Encoding,
    Ledger,
    BadDecline,
    Submitter,
    IdReused,
    Expired,
    TooFar,
    UnknownAccount,
    ZeroAmount,
    SelfPayment,
    Replaced,
    Busy,
    Frozen,
    Declined,
    Funds,
}

use Wrong::*;

const IN_ORDER: [(Wrong, &str); 15] = [
    (Encoding, "encoding"),
    (Ledger, "wrong_ledger"),
    (BadDecline, "bad_decline"),
    (Submitter, "wrong_submitter"),
    (IdReused, "id_reused"),
    (Expired, "expired"),
    (TooFar, "expiry_too_far"),
    (UnknownAccount, "unknown_account"),
    (ZeroAmount, "zero_amount"),
    (SelfPayment, "self_payment"),
    (Replaced, "key_replaced"),
    (Busy, "busy"),
    (Frozen, "frozen"),
    (Declined, "payee_declined"),
    (Funds, "insufficient_funds"),
];

/// No order is both: an expiry is not past and far ahead, a used id was not too far, an amount
/// that is zero is always owned, and who has no account is neither frozen nor short of money
/// (`UnknownAccount` is then the payee).
const NEVER_BOTH: [(Wrong, Wrong); 3] =
    [(IdReused, TooFar), (Expired, TooFar), (ZeroAmount, Funds)];

#[test]
fn every_refusal_comes_before_every_later_one() {
    check_precedence(&IN_ORDER, &NEVER_BOTH, outcome);
    assert_eq!(outcome(&[]), "settled");
}

#[test]
fn an_id_that_was_used_answers_before_everything_but_who_asks() {
    for wrong in [Expired, Replaced, Busy, Frozen, Declined, Funds] {
        let mut world = World::with(&[("alice", 100), ("bob", 0), ("carol", 0)]);
        let (alice, carol) = (key("alice").public(), key("carol").public());
        let draft = world.order("o1", "alice", "bob");
        let order = draft.sign();
        let other = Draft {
            memo: "other".into(),
            ..draft
        }
        .sign();
        assert_eq!(world.settle(&order, None, &alice, 1), "settled");
        if wrong == Funds {
            let mut rest = world.order("o2", "alice", "bob");
            rest.amount = amount(99);
            assert_eq!(world.settle(&rest.sign(), None, &alice, 1), "settled");
        }
        apply_state(&mut world, &[wrong]);
        let now = if wrong == Expired { 60_000 } else { 2 };
        let decline = (wrong == Declined).then(|| Decline::sign(&order, &key("bob")));
        // The same bytes again: whatever has changed since, the first answer stands.
        assert_eq!(
            world.settle(&order, decline.as_ref(), &alice, now),
            "settled",
            "{wrong:?}"
        );
        assert_eq!(
            world.settle(&other, None, &alice, now),
            "id_reused",
            "{wrong:?}"
        );
        assert_eq!(
            world.settle(&order, None, &carol, now),
            "wrong_submitter",
            "{wrong:?}"
        );
    }
}

/// What comes of an order with which all this is wrong at once.
fn outcome(wrong: &[Wrong]) -> String {
    let has = |it| wrong.contains(&it);
    let far = LIFE_MAX_MS + 2;
    let id = order_id("o1", if has(TooFar) { far } else { 60_000 });
    let (mut world, mut draft) = world_for(wrong, id);
    if has(IdReused) {
        let first = Draft {
            memo: "first".into(),
            ..world.order("o1", "alice", "bob")
        };
        assert_eq!(
            world.settle(&first.sign(), None, &key("alice").public(), 1),
            "settled"
        );
    }
    apply_state(&mut world, wrong);
    if has(Encoding) {
        draft.version = 2;
    }
    if has(Ledger) {
        draft.ledger = LedgerId([9; 32]);
    }
    let order = draft.sign();
    // The payee is whoever the order names, so the decline is the right one's unless it is not.
    let payee = [key("bob"), key("alice"), key("erin")]
        .into_iter()
        .find(|it| it.public() == draft.payee)
        .expect("one of these");
    let decliner = if has(BadDecline) { key("carol") } else { payee };
    let declined = has(Declined) || has(BadDecline);
    let decline = declined.then(|| Decline::sign(&order, &decliner));
    let submitter = if has(Submitter) {
        key("carol")
    } else {
        draft.payer
    };
    let now = if has(Expired) { 60_000 } else { 1 };
    world.settle(&order, decline.as_ref(), &submitter.public(), now)
}

fn world_for(wrong: &[Wrong], id: OrderId) -> (World, Draft) {
    let has = |it| wrong.contains(&it);
    let world = World::with(&[("alice", 100), ("bob", 0), ("carol", 0)]);
    let payer = if has(SelfPayment) && has(UnknownAccount) {
        "erin"
    } else {
        "alice"
    };
    let payee = match () {
        () if has(SelfPayment) => payer,
        () if has(UnknownAccount) => "erin",
        () => "bob",
    };
    let mut draft = world.order("o1", payer, payee);
    draft.id = id;
    if has(ZeroAmount) {
        draft.amount = Amount::ZERO;
    }
    if has(Funds) {
        draft.amount = amount(101);
    }
    (world, draft)
}

fn apply_state(world: &mut World, wrong: &[Wrong]) {
    // A frozen account's key stays.
    if wrong.contains(&Replaced) {
        assert_eq!(world.line("rotate alice alice alice2 now 1"), "rotated");
    }
    if wrong.contains(&Frozen) {
        assert_eq!(world.freeze("f1", "alice", true), "frozen_now");
    }
    if wrong.contains(&Busy) {
        world.ledger.caps.live_ids = 0;
    }
}

const LIFE_MAX_MS: u64 = 24 * 60 * 60 * 1000;
