//! What comes of what people try, a table for each rule.

use quid_common::amount::Amount;
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::order::{Decline, Void};
use quid_common::refusal::{Class, Reason};
use quid_common::signed::Signed;

use super::testing::{
    World, amount, check, genesis, key, operation, order_id, registration, swap_key,
};
use super::*;
use quid_common::time::LedgerTime;

#[test]
fn each_refusal_of_an_order_has_its_row() {
    check(
        "account alice 100
         account bob     0
         account carol  10
         freeze f1 carol -> frozen_now
         settle o0 alice bob      1 now 1 expires 9          -> settled
         settle o0 alice bob      1 now 1 expires 9 memo tea -> id_reused
         settle o1 alice bob      1 now 1 expires 9 by carol -> wrong_submitter
         settle o2 alice bob      1 now 9 expires 9          -> expired
         settle o3 alice bob      1 now 9 expires 86400010   -> expiry_too_far
         settle o4 alice erin     1 now 9 expires 99         -> unknown_account
         settle o5 erin  bob      1 now 9 expires 99         -> unknown_account
         settle o6 alice bob      0 now 9 expires 99         -> zero_amount
         settle o7 alice alice    1 now 9 expires 99         -> self_payment
         settle o8 carol bob      1 now 9 expires 99         -> frozen
         settle o9 alice bob      1 now 9 expires 99 declined by bob -> payee_declined
         settle oa alice bob    100 now 9 expires 99         -> insufficient_funds
         settle ob alice bob     99 now 9 expires 99         -> settled
         balance alice 0
         balance bob 100",
    );
}

#[test]
fn a_static_or_open_refusal_leaves_the_id_free() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob      1 now 1 expires 86400005 by carol -> wrong_submitter
         settle o1 alice bob      1 now 1 expires 86400005          -> expiry_too_far
         settle o1 alice erin     1 now 5 expires 86400005          -> unknown_account
         settle o1 alice bob      0 now 5 expires 86400005          -> zero_amount
         settle o1 alice alice    1 now 5 expires 86400005          -> self_payment
         settle o1 alice bob      1 now 5 expires 86400005          -> settled",
    );
}

#[test]
fn a_logged_refusal_burns_the_id_whatever_changes_later() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 101 now 1 expires 9                  -> insufficient_funds
         issue i1 alice 900                                       -> issued
         settle o1 alice bob 101 now 1 expires 9                  -> insufficient_funds
         settle o1 alice bob 100 now 1 expires 9                  -> id_reused
         settle o2 alice bob  10 now 1 expires 9 declined by bob  -> payee_declined
         settle o2 alice bob  10 now 1 expires 9 by bob           -> payee_declined # without its decline
         settle o2 alice bob  11 now 1 expires 9                  -> id_reused
         freeze f1 alice                                          -> frozen_now
         settle o3 alice bob  10 now 1 expires 9                  -> frozen
         thaw f2 alice                                            -> thawed
         settle o3 alice bob  10 now 1 expires 9                  -> frozen
         settle o4 alice bob  10 now 1 expires 9                  -> settled
         balance bob 10",
    );
}

#[test]
fn the_same_bytes_have_one_effect_and_one_answer() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 60 now 1 expires 9          -> settled
         settle o1 alice bob 60 now 1 expires 9          -> settled
         settle o1 alice bob 60 now 8 expires 9 by bob   -> settled
         settle o1 alice bob 60 now 9 expires 9          -> settled      # known before expired
         settle o1 alice bob 60 now 9 expires 9 declined -> settled      # too late to decline
         settle o1 alice bob 61 now 1 expires 9          -> id_reused
         settle o1 bob alice 60 now 8 expires 9          -> settled      # ids are the payer's own
         balance alice 100
         balance bob 0",
    );
}

#[test]
fn expiry_is_the_first_moment_that_is_too_late() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 1 now 8 expires 9 -> settled
         void o2 alice now 8 expires 9         -> voided
         settle o3 alice bob 1 now 9 expires 9 -> expired
         void o3 alice now 9 expires 9         -> expired
         settle o4 alice bob 1 now 10 expires 9 -> expired
         void o4 alice now 10 expires 9        -> expired",
    );
}

#[test]
fn a_life_of_a_day_is_the_longest() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 1 now 1 expires 86_400_002 -> expiry_too_far
         void o1 alice now 1 expires 86_400_002         -> expiry_too_far
         settle o1 alice bob 1 now 1 expires 86_400_001 -> settled
         void o2 alice now 1 expires 86_400_001         -> voided
         settle o3 alice bob 1 now 2 expires 86_400_002 -> settled",
    );
}

#[test]
fn a_void_meets_every_state() {
    check(
        "account alice 100
         account bob     0
         void o1 alice now 1 expires 9                    -> voided
         void o1 alice now 8 expires 9                    -> voided          # the first tombstone
         settle o1 alice bob 1 now 1 expires 9            -> voided
         settle o1 alice bob 2 now 1 expires 9 by bob     -> voided          # any bytes
         settle o2 alice bob 1 now 1 expires 9            -> settled
         void o2 alice now 1 expires 9                    -> settled         # it settled first
         settle o3 alice bob 999 now 1 expires 9          -> insufficient_funds
         void o3 alice now 1 expires 9                    -> insufficient_funds
         void o4 alice now 1 expires 9 by bob             -> wrong_submitter # not even the payee
         void o5 erin now 1 expires 9                     -> unknown_account
         void o6 treasury now 1 expires 9                 -> unknown_account
         freeze f1 alice                                  -> frozen_now
         void o7 alice now 1 expires 9                    -> voided          # frozen or not
         void o8 alice now 10 expires 9                   -> expired
         void o2 alice now 10 expires 9                   -> settled
         void o1 alice now 10 expires 9                   -> voided",
    );
}

#[test]
fn what_has_left_memory_is_answered_by_the_index() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 1 now 1 expires 9           -> settled
         settle o2 alice bob 999 now 1 expires 9         -> insufficient_funds
         void o3 alice now 1 expires 9                   -> voided
         settle o4 alice bob 1 now 20 expires 29         -> settled
         forget
         settle o1 alice bob 1 now 20 expires 9          -> settled
         settle o1 alice bob 2 now 20 expires 9          -> id_reused
         settle o2 alice bob 999 now 20 expires 9        -> insufficient_funds
         settle o2 alice bob 1 now 20 expires 9          -> id_reused
         settle o3 alice bob 1 now 20 expires 9          -> voided
         void o1 alice now 20 expires 9                  -> settled
         void o2 alice now 20 expires 9                  -> insufficient_funds
         void o3 alice now 20 expires 9                  -> voided
         settle o5 alice bob 1 now 20 expires 9          -> expired
         void o5 alice now 20 expires 9                  -> expired
         index behind
         settle o1 alice bob 1 now 20 expires 9          -> busy
         void o1 alice now 20 expires 9                  -> busy
         settle o5 alice bob 1 now 20 expires 9          -> busy
         settle o6 erin  bob 1 now 20 expires 9          -> expired # never had an order: no need to ask
         settle o1 alice bob 1 now 20 expires 9 by carol -> wrong_submitter
         settle o4 alice bob 1 now 30 expires 29         -> settled # still in memory
         settle o7 alice bob 1 now 20 expires 29         -> settled # not past: memory is exact",
    );
}

#[test]
fn memory_lets_go_only_of_what_is_past_and_indexed() {
    let mut world = World::with(&[("alice", 100), ("bob", 0)]);
    for (id, expires) in [("o1", 10), ("o2", 20), ("o3", 30)] {
        let mut order = world.order(id, "alice", "bob");
        order.id = order_id(id, expires);
        assert_eq!(
            world.settle(&order.sign(), None, &key("alice").public(), 1),
            "settled"
        );
    }
    let fate = |world: &World, id, expires| {
        world
            .ledger
            .fate(&key("alice").public(), order_id(id, expires))
    };
    assert_eq!(
        (fate(&world, "o1", 10), fate(&world, "o3", 30)),
        (Some(4), Some(6))
    );
    assert_eq!(
        world.ledger.forget(LedgerTime::default(), u64::MAX),
        0,
        "none is past"
    );
    let late = world.order("o4", "alice", "bob").sign();
    assert_eq!(
        world.settle(&late, None, &key("alice").public(), 20),
        "settled"
    );
    assert_eq!(
        world.ledger.forget(LedgerTime::default(), 4),
        0,
        "none is indexed"
    );
    assert_eq!(world.ledger.forgotten_through(), 0);
    assert_eq!(world.ledger.forget(LedgerTime::default(), 5), 1);
    assert_eq!(
        (world.ledger.forgotten_through(), fate(&world, "o1", 10)),
        (5, None)
    );
    assert_eq!(
        world.ledger.forget(LedgerTime::default(), u64::MAX),
        1,
        "expiry at the last entry's time is past"
    );
    assert_eq!(
        (world.ledger.forgotten_through(), fate(&world, "o2", 20)),
        (6, None)
    );
    assert_eq!(
        (world.ledger.live_ids(), fate(&world, "o3", 30)),
        (2, Some(6))
    );
}

#[test]
fn a_payment_to_the_treasury_burns() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice treasury 30 now 1 expires 9             -> settled
         balance alice 70
         balance treasury 0
         totals 100 30
         settle o1 alice treasury 30 now 1 expires 9             -> settled
         settle o2 alice treasury 71 now 1 expires 9             -> insufficient_funds
         settle o3 alice treasury 70 now 1 expires 9 by treasury -> settled
         settle o4 treasury alice  1 now 1 expires 9             -> unknown_account # nobody's purse
         totals 100 100",
    );
}

#[test]
fn an_issue_acts_once_and_never_past_what_amounts_count() {
    check(
        "account alice 0
         account bob   0
         issue i1 alice 100             -> issued
         issue i1 alice 100             -> issued
         balance alice 100
         issue i1 alice 101             -> operation_reused
         issue i1 bob   100             -> operation_reused
         issue i1 erin  100             -> operation_reused
         freeze i1 alice                -> operation_reused
         issue i2 erin  1               -> unknown_account
         issue i2 treasury 1            -> unknown_account
         issue i2 alice 0               -> zero_amount
         issue i2 bob   max             -> supply_exceeded
         issue i2 bob   9223372036854775708 -> supply_exceeded
         issue i2 bob   9223372036854775707 -> issued # the whole supply is out
         issue i3 alice 1               -> supply_exceeded
         settle o1 bob alice 9223372036854775707 now 1 expires 9 -> settled
         settle o2 alice treasury max now 1 expires 9 -> settled
         issue i3 bob   max             -> issued # room again
         settle o3 bob treasury max now 1 expires 9 -> settled
         issue i4 bob   1               -> issued
         issue i5 bob   1               -> supply_exceeded # the counter of all issues is at its end
         balance bob 1",
    );
}

#[test]
fn a_frozen_account_receives_and_thaws() {
    check(
        "account alice 100
         account bob   100
         freeze f1 alice                             -> frozen_now
         freeze f1 alice                             -> frozen_now
         freeze f2 alice                             -> frozen_now # frozen already: an entry all the same
         thaw f1 alice                               -> operation_reused
         freeze f1 bob                               -> operation_reused
         freeze f3 erin                              -> unknown_account
         freeze f3 treasury                          -> unknown_account
         settle o1 alice bob 1 now 1 expires 9       -> frozen
         settle o2 alice treasury 1 now 1 expires 9  -> frozen
         settle o3 bob alice 1 now 1 expires 9       -> settled
         issue i1 alice 1                            -> issued
         thaw f4 alice                               -> thawed
         settle o4 alice bob 102 now 1 expires 9     -> settled
         balance alice 0",
    );
}

#[test]
fn names_and_keys_are_taken_once() {
    check(
        "register alice recovery al-later         -> registered
         register alice recovery al-later         -> registered
         register alice                           -> already_registered
         register alice recovery other            -> already_registered
         register alicia key alice recovery al-later -> already_registered
         register alice key bob                   -> name_taken
         register a1ice key bob                   -> name_looks_taken
         register treasury key bob                -> name_reserved
         register admin key bob                   -> name_reserved
         register adm1n key bob                   -> name_reserved
         register treasury key treasury           -> already_registered
         register money key treasury              -> already_registered
         register bob by alice                    -> wrong_submitter
         register bob recovery bob                -> unsound_key
         register bob recovery alice              -> registered",
    );
}

#[test]
fn an_operator_of_another_directory_is_refused() {
    let world = World::with(&[("alice", 0)]);
    let mut issue = world
        .signed_issue("i1", "alice", amount(1))
        .statement()
        .clone();
    issue.ledger = LedgerId([9; 32]);
    let verdict = world
        .ledger
        .decide_issue(&Signed::new(issue.clone(), &world.directory));
    assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_LEDGER));
    issue.ledger = world.ledger.ledger_id();
    issue.directory = key("alice").public();
    let verdict = world
        .ledger
        .decide_issue(&Signed::new(issue, &key("alice")));
    assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_SUBMITTER));

    let mut freeze = world.signed_freeze("f1", "alice", true).statement().clone();
    freeze.directory = key("alice").public();
    let verdict = world
        .ledger
        .decide_freeze(&Signed::new(freeze, &key("alice")));
    assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_SUBMITTER));

    let mut wish = registration("bob", "bob", None).statement().clone();
    wish.directory = key("alice").public();
    let wish = Signed::new(wish, &key("bob"));
    let verdict = world
        .ledger
        .decide_registration(&wish, &key("bob").public());
    assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_LEDGER));
}

#[test]
fn unsound_keys_are_not_registered() {
    let world = World::new();
    let mut wish = registration("bob", "bob", None).statement().clone();
    wish.recovery = Some(PublicKey::from_bytes([0; 32]));
    let wish = Signed::new(wish, &key("bob"));
    let verdict = world
        .ledger
        .decide_registration(&wish, &key("bob").public());
    assert_eq!(verdict, Verdict::Refuse(Reason::UNSOUND_KEY));
    // Nobody can prove an unsound key by a handshake, but the rule does not rest on that.
    let wish = swap_key(&registration("bob", "bob", None), &key("bob").public());
    let verdict = world
        .ledger
        .decide_registration(&wish, &wish.statement().key);
    assert_eq!(verdict, Verdict::Refuse(Reason::UNSOUND_KEY));
}

#[test]
fn a_decline_is_the_payees_and_for_these_bytes_alone() {
    let mut world = World::with(&[("alice", 100), ("bob", 0), ("carol", 0)]);
    let order = world.order("o1", "alice", "bob").sign();
    let other = world.order("o2", "alice", "bob").sign();
    let alice = key("alice").public();
    let carols = Decline::sign(&order, &key("carol"));
    assert_eq!(
        world.settle(&order, Some(&carols), &alice, 1),
        "bad_decline"
    );
    let others = Decline::sign(&other, &key("bob"));
    assert_eq!(
        world.settle(&order, Some(&others), &alice, 1),
        "bad_decline"
    );
    let bobs = Decline::sign(&order, &key("bob"));
    let carol = key("carol").public();
    assert_eq!(
        world.settle(&order, Some(&bobs), &carol, 1),
        "wrong_submitter"
    );
    let mut foreign = bobs.statement().clone();
    foreign.ledger = LedgerId([9; 32]);
    let foreign = Signed::new(foreign, &key("bob"));
    assert_eq!(
        world.settle(&order, Some(&foreign), &alice, 1),
        "bad_decline"
    );
    let mut later = bobs.statement().clone();
    later.version += 1;
    let later = Signed::new(later, &key("bob"));
    assert_eq!(world.settle(&order, Some(&later), &alice, 1), "bad_decline");
    // The payer may bring it too, and the other order is untouched.
    assert_eq!(
        world.settle(&order, Some(&bobs), &alice, 1),
        "payee_declined"
    );
    assert_eq!(world.settle(&other, None, &alice, 1), "settled");
}

#[test]
fn a_void_for_another_ledger_or_of_a_later_version_is_refused_before_who_submits() {
    let world = World::with(&[("alice", 1)]);
    let sound = Void::sign(world.ledger.ledger_id(), order_id("o1", 9), &key("alice"));
    let never = &mut |_: &PublicKey, _| -> Past { unreachable!("nothing is asked") };
    let now = LedgerTime::from_millis(1);
    let mut decide = |change: fn(&mut Void)| {
        let mut void = sound.statement().clone();
        change(&mut void);
        let void = Signed::new(void, &key("alice"));
        world
            .ledger
            .decide_void(&void, &key("bob").public(), now, never)
    };
    assert_eq!(
        decide(|void| void.version = 2),
        Verdict::Refuse(Reason::ENCODING)
    );
    let foreign = decide(|void| void.ledger = LedgerId([9; 32]));
    assert_eq!(foreign, Verdict::Refuse(Reason::WRONG_LEDGER));
    assert_eq!(decide(|_| {}), Verdict::Refuse(Reason::WRONG_SUBMITTER));
}

#[test]
fn before_the_genesis_everything_is_for_another_ledger() {
    let world = World::with(&[("alice", 1), ("bob", 0)]);
    let empty = Ledger::new();
    let mut order = world.order("o1", "alice", "bob");
    let never = &mut |_: &PublicKey, _| -> Past { unreachable!("nothing is asked") };
    let alice = key("alice").public();
    for ledger in [empty.ledger_id(), world.ledger.ledger_id()] {
        order.ledger = ledger;
        let now = LedgerTime::from_millis(1);
        let verdict = empty.decide_order(&order.sign(), None, &alice, now, never);
        assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_LEDGER));
    }
    let verdict = empty.decide_registration(&registration("alice", "alice", None), &alice);
    assert_eq!(verdict, Verdict::Refuse(Reason::WRONG_LEDGER));
    assert_eq!(empty.check(), Ok(()));
    assert_eq!(Ledger::restore(&empty.snapshot()), Ok(empty));
}

#[test]
fn the_genesis_names_the_ledger() {
    let entry = genesis("treasury", 7);
    let mut ledger = Ledger::new();
    assert_eq!(ledger.apply(&entry), Ok(0));
    let hash = tlog_tiles::record_hash(&entry.encode());
    assert_eq!(ledger.ledger_id(), LedgerId(hash.0));
    assert_ne!(
        ledger.ledger_id(),
        World::new().ledger.ledger_id(),
        "the nonce tells them apart"
    );
    assert_eq!(ledger.directory(), key("treasury").public());
    assert_eq!(ledger.currency(), &Currency::default());
    let treasury = ledger.by_name(&Name::treasury()).expect("account 0");
    assert_eq!(
        (treasury.number, treasury.key),
        (TREASURY, ledger.directory())
    );
}

#[test]
fn accounts_are_found_by_exact_name_and_key() {
    let world = World::with(&[("alice", 5), ("bob", 0)]);
    let alice = world
        .ledger
        .by_name(&"alice".parse().expect("a name"))
        .expect("registered");
    assert_eq!(
        (alice.number, alice.available, alice.registered),
        (1, amount(5), 1)
    );
    assert_eq!(world.ledger.account(&alice.key), Some(alice));
    assert_eq!(
        world.ledger.by_name(&"a1ice".parse().expect("a name")),
        None
    );
    assert_eq!(world.ledger.account(&key("erin").public()), None);
    let numbers: Vec<u64> = world.ledger.accounts().iter().map(|it| it.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn caps_are_busy_or_full_and_leave_no_trace() {
    let mut world = World::with(&[("alice", 100), ("bob", 100)]);
    let alice = key("alice").public();
    world.ledger.caps = Caps {
        long_ids: 1,
        live_ids: 3,
        accounts: 3,
        operations: 2,
        ..Caps::default()
    };
    let long = |world: &World, id, payer| {
        let mut order = world.order(id, payer, if payer == "alice" { "bob" } else { "alice" });
        order.id = order_id(id, 600_002);
        order.sign()
    };
    let order = long(&world, "o1", "alice");
    assert_eq!(world.settle(&order, None, &alice, 1), "settled");
    let order = long(&world, "o2", "alice");
    assert_eq!(world.settle(&order, None, &alice, 1), "busy");
    let void = Void::sign(
        world.ledger.ledger_id(),
        order.statement().id,
        &key("alice"),
    );
    assert_eq!(world.void(&void, &alice, 1), "busy");
    let bobs = long(&world, "o3", "bob");
    assert_eq!(
        world.settle(&bobs, None, &key("bob").public(), 1),
        "settled",
        "his own cap"
    );
    assert_eq!(
        world.settle(&order, None, &alice, 2),
        "settled",
        "ten minutes are not long"
    );
    let short = world.order("o4", "alice", "bob").sign();
    assert_eq!(
        world.settle(&short, None, &alice, 2),
        "busy",
        "no room for anybody"
    );
    assert_eq!(
        world.settle(&order, None, &alice, 2),
        "settled",
        "a known one needs no room"
    );
    assert_eq!(world.register("carol", "carol", None, "carol"), "full");
    assert_eq!(world.issue("i9", "alice", amount(1)), "full");
    assert_eq!(world.freeze("f9", "alice", true), "full");

    // Room comes back as memory lets go.
    world.ledger.caps.live_ids = 4;
    assert_eq!(world.settle(&short, None, &alice, 59_999), "settled");
    let mut last = world.order("o5", "alice", "bob");
    last.id = order_id("o5", 700_000);
    assert_eq!(world.settle(&last.sign(), None, &alice, 100_000), "busy");
    world.ledger.caps.live_ids = 5;
    assert_eq!(world.settle(&last.sign(), None, &alice, 600_002), "settled");
    assert_eq!(world.ledger.forget(LedgerTime::default(), u64::MAX), 4);
    let mut again = world.order("o6", "alice", "bob");
    again.id = order_id("o6", 1_300_000);
    assert_eq!(
        world.settle(&again.sign(), None, &alice, 600_002),
        "settled"
    );
}

#[test]
fn a_time_before_the_last_entrys_counts_as_that() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 1 now 50 expires 99 -> settled
         settle o2 alice bob 1 now 10 expires 40 -> expired
         void o2 alice now 10 expires 40         -> expired
         settle o3 alice bob 1 now 10 expires 51 -> settled",
    );
}

#[test]
fn orders_worth_twice_the_balance_settle_up_to_the_balance() {
    let (orders, each) = (256, 7);
    // Half of what they ask for, and a rest that pays for none.
    let balance = orders * each / 2 + 3;
    let mut world = World::with(&[("alice", balance), ("bob", 0)]);
    let mut settled = 0;
    for order in 0..orders {
        let mut draft = world.order(&format!("o{order}"), "alice", "bob");
        draft.amount = amount(each);
        match world
            .settle(&draft.sign(), None, &key("bob").public(), 1)
            .as_str()
        {
            "settled" => settled += 1,
            other => assert_eq!(other, "insufficient_funds"),
        }
    }
    assert_eq!(settled, balance / each);
    assert_eq!(
        (world.balance("alice"), world.balance("bob")),
        (3, settled * each)
    );
    world.check("all orders");
    world.check_replay();
}

#[test]
fn every_logged_reason_is_a_void_or_a_refusal_that_applies() {
    for &reason in Reason::ALL
        .iter()
        .filter(|reason| reason.class() == Class::Logged)
    {
        let mut world = World::with(&[("alice", 1), ("bob", 0)]);
        if reason == Reason::FROZEN {
            world.freeze("f1", "alice", true);
        }
        let order = world.order("o1", "alice", "bob").sign();
        let refusal = quid_common::entry::Refusal {
            payer: key("alice").public(),
            id: order.statement().id,
            order: order.digest(),
            reason,
        };
        let fact = quid_common::entry::Fact::Refusal(refusal);
        let entry = quid_common::entry::Entry {
            time: LedgerTime::from_millis(1),
            fact,
        };
        // A void is an entry of its own kind.
        assert_eq!(
            world.apply(entry).is_ok(),
            reason != Reason::VOIDED,
            "{reason:?}"
        );
    }
}

#[test]
fn an_operation_is_remembered_by_its_whole_id() {
    assert_ne!(operation("i1"), operation("i2"));
    let mut world = World::with(&[("alice", 0)]);
    assert_eq!(world.issue("i1", "alice", Amount::MAX), "issued");
    assert_eq!(world.issue("i2", "alice", Amount::MAX), "supply_exceeded");
    assert_eq!(world.issue("i1", "alice", Amount::MAX), "issued");
}

#[test]
fn a_ledger_full_of_past_ids_has_room_again_without_another_entry() {
    let mut world = World::with(&[("alice", 100), ("bob", 0)]);
    let mut order = world.order("o1", "alice", "bob");
    order.id = order_id("o1", 10);
    let order = order.sign();
    assert_eq!(
        world.settle(&order, None, &key("alice").public(), 1),
        "settled"
    );
    let later = LedgerTime::from_millis(10);
    assert_eq!(world.ledger.forget(LedgerTime::default(), u64::MAX), 0);
    assert_eq!(world.ledger.forget(later, u64::MAX), 1);
    assert_eq!(world.ledger.live_ids(), 0);
}
