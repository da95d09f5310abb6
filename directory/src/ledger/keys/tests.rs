//! Tables of what keys say and what comes of it, and forged entries.

use quid_common::account::{Change, Lock, Recovery, Rotation, Takeover};
use quid_common::entry::Entry;
use quid_common::time::LedgerTime;

use crate::ledger::Rule;
use crate::ledger::testing::{World, check, key, name};

mod model;

#[test]
fn a_key_replaces_itself_at_once_and_keeps_what_the_account_owns() {
    check(
        "account alice 100
         account bob     0
         settle o1 alice bob 10 now 1 expires 9000 -> settled
         rotate alice alice alice2 now 2 -> rotated
         key alice alice2
         balance alice 90
         settle o1 alice bob 10 now 3 expires 9000 -> settled           # the first answer, for ever
         settle o1 alice bob 11 now 3 expires 9000 -> id_reused
         settle o2 alice bob 10 now 3 expires 9000 -> key_replaced      # signed by the old key
         settle o3 bob alice  5 now 3 expires 9000 by bob -> key_replaced
         settle o2 alice2 bob 10 now 3 expires 9000 -> settled          # the id was not burnt
         settle o1 alice2 bob 10 now 3 expires 9000 -> id_reused        # ids are the account's
         settle o4 bob alice2 5 now 3 expires 9000 -> settled
         settle o5 alice2 alice 5 now 3 expires 9000 -> self_payment
         balance alice 85
         void o6 alice now 4 expires 9000 -> key_replaced
         void o6 alice2 now 4 expires 9000 -> voided
         settle o6 alice bob 1 now 4 expires 9000 -> voided             # the old key's order too
         register carol key alice -> key_replaced
         register carol key alice2 -> already_registered
         rotate alice alice2 alice3 now 5 -> rotated
         rotate alice alice alice4 now 5 -> key_replaced
         forget
         settle o1 alice bob 10 now 10000 expires 9000 -> settled       # the index knows
         settle o9 alice bob 10 now 10000 expires 9000 -> expired
         totals 100 0",
    );
}

#[test]
fn a_rotation_is_taken_once_and_in_order() {
    check(
        "account alice 100
         account bob     0
         rotate alice alice alice2 now 1 said 7 -> stale_change
         rotate alice bob   alice2 now 1 -> wrong_key
         rotate alice alice bob    now 1 -> key_used
         rotate alice alice alice  now 1 -> key_used
         rotate alice alice alice2 now 1 said 1 -> rotated
         rotate alice alice alice2 now 9 said 1 -> rotated              # its answer was lost
         rotate alice alice2 alice now 9 -> key_used                    # keys never come back
         rotate bob bob alice now 9 -> key_used
         freeze f1 alice -> frozen_now
         rotate alice alice2 alice3 now 9 -> account_frozen
         thaw f2 alice -> thawed
         rotate alice alice2 alice3 now 9 -> rotated
         rotate alice alice alice2 now 9 said 1 -> key_replaced         # no more its last word
         key alice alice3",
    );
}

/// Three days, and thirty.
#[test]
fn a_recovery_takes_its_time_and_the_key_cannot_stop_it_alone() {
    check(
        "register alice recovery safe -> registered
         account bob 0
         issue i1 alice 100 -> issued
         recover alice bob   alice2 now 1 -> wrong_key
         recover alice alice alice2 now 1 -> wrong_key
         recover bob   safe  bob2   now 1 -> wrong_key
         recover alice safe  safe   now 1 -> key_used
         recover alice safe  bob    now 1 -> key_used
         takeover alice alice2 now 1 -> no_recovery
         recover alice safe alice2 now 1000 said 5 -> stale_change
         recover alice safe alice2 now 1000 said 1 -> announced
         recover alice safe alice2 now 2000 said 1 -> announced         # the same once more
         settle o1 alice bob 1 now 2000 expires 9000 -> settled         # the key serves until then
         rotate alice alice alice1 now 3000 -> rotated                  # and can be replaced
         takeover alice alice3 now 3000 -> no_recovery
         takeover alice alice2 now 259_200_999 -> too_early
         takeover alice alice2 now 259_201_000 -> taken_over
         takeover alice alice2 now 259_201_000 -> taken_over
         key alice alice2
         settle o2 alice1 bob 1 now 259_201_000 expires 259_205_000 -> key_replaced
         settle o2 alice2 bob 1 now 259_201_000 expires 259_205_000 -> settled
         balance alice 98
         recover alice safe alice5 now 259_300_000 -> announced
         recover alice safe alice6 now 259_400_000 -> announced         # in the other's place
         takeover alice alice5 now 999_999_999 -> no_recovery
         object alice bob now 259_500_000 -> wrong_key
         object alice alice1 now 259_500_000 -> key_replaced
         object alice alice2 now 259_500_000 announced 1 -> no_recovery
         object alice alice2 now 259_500_000 -> contested
         object alice alice2 now 259_500_000 announced 3 -> no_recovery
         settle o3 alice2 bob 1 now 259_500_000 expires 259_505_000 -> frozen
         unlock alice alice2 now 259_500_000 -> wrong_key
         takeover alice alice6 now 600_000_000 -> too_early
         takeover alice alice6 now 2_851_399_999 -> too_early
         takeover alice alice6 now 2_851_400_000 -> taken_over          # a thief's objection ends
         settle o4 alice6 bob 1 now 2_851_400_000 expires 2_851_405_000 -> frozen
         unlock alice safe now 2_851_400_000 -> unlocked
         settle o5 alice6 bob 1 now 2_851_400_000 expires 2_851_405_000 -> settled",
    );
}

#[test]
fn the_operator_dismisses_a_recovery_that_is_contested_and_its_key() {
    check(
        "register alice recovery safe -> registered
         recover alice safe thief now 1000 -> announced
         thaw t0 alice -> thawed                                        # no dispute: nothing of it
         object alice alice now 2000 -> contested
         rotate alice alice alice2 now 2500 -> account_frozen
         thaw t1 alice -> thawed
         takeover alice thief now 9_999_999_999 -> no_recovery
         recover alice safe thief now 9_999_999_999 -> wrong_key
         lock alice safe now 9_999_999_999 -> wrong_key
         rotate alice alice alice2 now 9_999_999_999 -> rotated",
    );
}

#[test]
fn whoever_thaws_in_a_dispute_gives_it_up() {
    check(
        "register alice recovery safe -> registered
         recover alice safe alice2 now 1000 -> announced
         object alice alice now 2000 -> contested
         unlock alice safe now 3000 -> unlocked
         takeover alice alice2 now 9_999_999_999 -> no_recovery
         recover alice safe alice3 now 9_999_999_999 -> announced",
    );
}

#[test]
fn either_key_freezes_and_the_recovery_key_or_the_operator_thaws() {
    check(
        "register alice recovery safe -> registered
         account bob 100
         issue i1 alice 100 -> issued
         tab t1 alice bob 1 x 10 now 1 -> opened
         lock alice bob now 1 -> wrong_key
         lock alice alice now 1 said 9 -> stale_change
         lock alice alice now 1 said 1 -> locked
         lock alice alice now 1 said 1 -> locked                        # the same once more
         settle o1 alice bob 1 now 2 expires 9000 -> frozen
         tab t2 alice bob 1 x 10 now 2 -> frozen
         settle o2 bob alice 1 now 2 expires 9000 -> settled            # it is still paid
         claim t1 0 3 now 2 -> claimed                                  # and pays what it has held
         rotate alice alice alice2 now 3 -> account_frozen
         unlock alice alice now 3 -> wrong_key
         unlock alice safe now 3 -> unlocked
         lock alice alice now 3 said 1 -> locked                        # what it was once: no more
         settle o5 alice bob 1 now 3 expires 9000 -> settled
         lock alice alice now 3 said 2 -> stale_change
         lock alice safe now 4 -> locked
         thaw t1 alice -> thawed
         settle o3 alice bob 1 now 5 expires 9000 -> settled
         freeze f1 alice -> frozen_now
         unlock alice safe now 6 -> unlocked                            # not the operator's word
         settle o4 alice bob 1 now 6 expires 9000 -> frozen",
    );
}

#[test]
fn tabs_opened_before_keep_their_terms_for_both() {
    check(
        "account alice 100
         account bob     0
         tab t1 alice bob 1 x 10 now 1 grace 1 -> opened
         tab t2 alice bob 1 x 10 now 1 grace 1 -> opened
         rotate alice alice alice2 now 2 -> rotated
         rotate bob bob bob2 now 2 -> rotated
         tab t3 alice bob2 1 x 10 now 2 -> key_replaced
         tab t3 alice2 bob 1 x 10 now 2 -> key_replaced
         tab t3 alice2 alice 1 x 10 now 2 -> self_payment
         claim t1 0 3 now 3 by bob2 -> claimed
         balance bob 3
         close t1 bob now 3 -> key_replaced
         close t1 bob2 now 3 -> closed
         release t1 now 4 -> released
         close t2 alice now 5 -> key_replaced
         close t2 alice2 now 5 from alice2 -> closed
         claim t2 0 2 now 6 by bob2 -> claimed
         release t2 now 1100 -> released
         balance alice 95
         held alice 0",
    );
}

#[test]
fn an_account_that_has_had_all_its_keys_can_still_be_recovered() {
    let mut world = World::new();
    assert_eq!(
        world.register("alice", "k0", Some("safe"), "k0"),
        "registered"
    );
    let rotate = |world: &mut World, at: usize| {
        let account = world.ledger.by_name(&name("alice")).expect("registered");
        let (old, new) = (key(&format!("k{at}")), key(&format!("k{}", at + 1)));
        let (ledger, said) = (world.ledger.ledger_id(), account.own_said());
        let rotation = Rotation::sign(ledger, account.number, said, &old, &new);
        world.change(&Change::Rotation(rotation), 1)
    };
    let most = quid_common::account::KEYS_PER_ACCOUNT_MAX;
    for at in 0..most - 1 {
        assert_eq!(rotate(&mut world, at), "rotated");
    }
    assert_eq!(rotate(&mut world, most - 1), "full");
    let account = world.ledger.by_name(&name("alice")).expect("registered");
    assert_eq!(account.all_keys().count(), most);
    let (ledger, number, said) = (
        world.ledger.ledger_id(),
        account.number,
        account.recovery_said(),
    );
    let recovery = Recovery::sign(ledger, number, said, key("new").public(), &key("safe"));
    assert_eq!(world.change(&Change::Recovery(recovery), 1), "announced");
    let takeover = Takeover::sign(ledger, number, &key("new"));
    assert_eq!(
        world.change(&Change::Takeover(takeover), 259_200_001),
        "taken_over"
    );
    world.check("the recovery");
    world.check_replay();
}

#[test]
fn forged_changes_of_keys_are_faults() {
    let mut world = World::with(&[("alice", 10), ("bob", 0)]);
    let ledger = world.ledger.ledger_id();
    let entry = |change: Change| Entry {
        time: LedgerTime::from_millis(9),
        fact: change.into_fact(),
    };
    let rotation = |account, said, old: &str, new: &str| {
        entry(Change::Rotation(Rotation::sign(
            ledger,
            account,
            said,
            &key(old),
            &key(new),
        )))
    };
    let mut twisted = Rotation::sign(ledger, 1, 1, &key("alice"), &key("alice2"));
    let mut statement = twisted.statement().clone();
    statement.takeover = Takeover::sign(ledger, 3, &key("alice2"));
    twisted = quid_common::signed::Signed::new(statement, &key("alice"));
    let other = quid_common::id::LedgerId([9; 32]);
    let forged = [
        (rotation(1, 1, "bob", "alice2"), Rule::WrongKey),
        (rotation(0, 0, "treasury", "alice2"), Rule::UnknownAccount),
        (rotation(9, 1, "alice", "alice2"), Rule::UnknownAccount),
        (rotation(1, 2, "alice", "alice2"), Rule::Stale),
        (rotation(1, 1, "alice", "bob"), Rule::KeyUsed),
        (rotation(1, 1, "alice", "treasury"), Rule::KeyUsed),
        (entry(Change::Rotation(twisted)), Rule::UnknownAccount),
        (
            entry(Change::Takeover(Takeover::sign(ledger, 1, &key("alice2")))),
            Rule::NoRecovery,
        ),
        (
            entry(Change::Takeover(Takeover::sign(other, 1, &key("alice2")))),
            Rule::Ledger,
        ),
        (
            entry(Change::Lock(Lock::sign(ledger, 1, 1, false, &key("alice")))),
            Rule::WrongKey,
        ),
    ];
    for (entry, rule) in forged {
        let before = world.ledger.clone();
        let fault = world.apply(entry.clone()).expect_err("it is forged");
        assert_eq!(fault.rule, rule, "{entry:?}");
        assert!(world.ledger == before, "a fault changes nothing");
    }
    assert_eq!(
        world
            .apply(rotation(1, 1, "alice", "alice2"))
            .map_err(|it| it.rule),
        Ok(4)
    );
    let late = world.order("o1", "alice", "bob").sign();
    let late = Entry {
        time: LedgerTime::from_millis(9),
        fact: quid_common::entry::Fact::Payment(late),
    };
    assert_eq!(
        world.apply(late).expect_err("by the old key").rule,
        Rule::KeyReplaced
    );
}
