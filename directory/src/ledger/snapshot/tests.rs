//! Nothing is lost in a snapshot, and nothing else is taken for one.

use std::num::NonZero;

use proptest::prelude::*;
use quid_common::chain::{LENGTH_MAX, Link, Mark};
use quid_common::tab::Tab;

use super::super::Rule;
use super::super::tabs::Open;
use super::*;
use crate::ledger::keys::{Keys, Pending, Replaced, Said};
use crate::ledger::testing::{World, amount, key, name, order_id};

#[test]
fn every_part_of_the_books_comes_back() {
    let world = world();
    let restored = Ledger::restore(&world.ledger.snapshot()).expect("our own snapshot");
    assert_eq!(restored, world.ledger);
    assert_eq!(restored.snapshot(), world.ledger.snapshot());
    assert!(restored.forgotten_through() > 0);
    assert_eq!(restored.ids.long(1), 1, "counted again");
}

#[test]
fn no_prefix_is_a_snapshot_and_nothing_may_follow() {
    let mut bytes = world().ledger.snapshot();
    for end in 0..bytes.len() {
        let cut = Ledger::restore(&bytes[..end]);
        assert_eq!(cut, Err(SnapshotError::Truncated), "{end} bytes");
    }
    bytes.push(0);
    assert_eq!(Ledger::restore(&bytes), Err(SnapshotError::Trailing));
    assert_eq!(
        Ledger::restore(&[VERSION + 1]),
        Err(SnapshotError::Version(VERSION + 1))
    );
    let mut empty = Ledger::new().snapshot();
    empty.push(0);
    assert_eq!(Ledger::restore(&empty), Err(SnapshotError::Trailing));
}

#[test]
fn a_flipped_bit_is_refused_or_is_the_snapshot_of_other_books() {
    let bytes = world().ledger.snapshot();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(ledger) = Ledger::restore(&flipped) {
            assert_eq!(
                ledger.snapshot(),
                flipped,
                "bit {bit}: two snapshots of one state"
            );
            assert_eq!(ledger.check(), Ok(()));
        }
    }
}

#[test]
fn a_count_of_more_than_follows_is_refused() {
    let mut bytes = World::new().ledger.snapshot();
    // Accounts, ids, operations and tabs: the four counts at the end of an empty directory's.
    let end = bytes.len();
    for at in [end - 32, end - 24, end - 16, end - 8] {
        for count in [1, 1 << 40, u64::MAX] {
            bytes[at..at + 8].copy_from_slice(&count.to_be_bytes());
            let refused = Ledger::restore(&bytes).expect_err("too few follow");
            // The later counts, of nothing, are no id either.
            let told = [SnapshotError::Truncated, SnapshotError::Field].contains(&refused);
            assert!(told, "{refused}");
        }
        bytes[at..at + 8].fill(0);
    }
    assert!(Ledger::restore(&bytes).is_ok());
}

#[test]
fn what_no_fold_holds_is_refused() {
    let world = world();
    let refused = |change: fn(&mut Ledger), error: SnapshotError| {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        assert_eq!(Ledger::restore(&ledger.snapshot()), Err(error));
    };
    let books = |rule| {
        SnapshotError::Books(Fault {
            index: world.ledger.entries() - 1,
            rule,
        })
    };
    refused(|it| it.issued += 1, books(Rule::Conservation));
    refused(
        |it| it.accounts[1].key = it.accounts[2].key,
        SnapshotError::Field,
    );
    refused(
        |it| it.accounts[1].key = it.origin.directory,
        SnapshotError::Field,
    );
    refused(
        |it| it.accounts[1].name = it.accounts[2].name.clone(),
        SnapshotError::Field,
    );
    for reserved in ["treasury", "admin"] {
        let mut ledger = world.ledger.clone();
        ledger.accounts[1].name = name(reserved);
        assert_eq!(
            Ledger::restore(&ledger.snapshot()),
            Err(SnapshotError::Field)
        );
    }
    refused(
        |it| it.accounts[1].registered = it.entries,
        SnapshotError::Field,
    );
    refused(|it| it.accounts[2].registered = 1, SnapshotError::Order);
    refused(
        |it| it.ids.set_forgotten_through(it.entries + 1),
        SnapshotError::Field,
    );
    let accounts = 3;
    assert_eq!(world.ledger.accounts().len(), 3);
    for (account, entry) in [(TREASURY, 1), (accounts, 1), (1, 0)] {
        let (order, long) = (None, false);
        let mut ledger = world.ledger.clone();
        let used = Used { entry, order, long };
        ledger.ids.insert(order_id("stray", 5), account, used);
        let id = Ledger::restore(&ledger.snapshot());
        assert_eq!(id, Err(SnapshotError::Field));
        let mut ledger = world.ledger.clone();
        let effect = Effect::Froze(true);
        let operation = Operation {
            entry,
            account,
            effect,
        };
        ledger.operations.insert(OperationId([9; 16]), operation);
        let operation = Ledger::restore(&ledger.snapshot());
        assert_eq!(operation, Err(SnapshotError::Field));
    }
}

#[test]
fn a_tab_that_no_fold_holds_is_refused() {
    let world = world();
    let entries = world.ledger.entries();
    let (which, _) = world.ledger.tabs.after(None).next().expect("it is open");
    let changed = |payer: u64, change: &dyn Fn(&mut Open)| {
        let mut ledger = world.ledger.clone();
        let mut open = ledger.tabs.remove(which).expect("it is open");
        change(&mut open);
        ledger.tabs.put((which.0, payer), open);
        Ledger::restore(&ledger.snapshot()).map(drop)
    };
    assert_eq!(changed(which.1, &|_| {}), Ok(()));
    let after = LedgerTime::MAX;
    let changes: [&dyn Fn(&mut Open); 15] = [
        &|it| it.payee = TREASURY,
        &|it| it.payee = 3,
        &|it| it.payee = which.1,
        &|it| it.tab.unit = Amount::ZERO,
        &|it| it.tab.unit = Amount::MAX,
        &|it| it.tab.length = 0,
        &|it| it.tab.length = LENGTH_MAX + 1,
        &|it| it.tab.claimed.index = it.tab.length + 1,
        &|it| it.tab.claimed.index = 0,
        &|it| it.claimed = None,
        &|it| it.claimed = NonZero::new(entries),
        &|it| it.closed = NonZero::new(entries),
        &|it| it.opened = 0,
        &|it| it.tab.until = after,
        &|it| it.tab.expires = after,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert_eq!(changed(which.1, change), Err(SnapshotError::Field), "{at}");
    }
    for payer in [TREASURY, 3, u64::MAX] {
        assert_eq!(changed(payer, &|_| {}), Err(SnapshotError::Field));
    }
    let holds = |change| {
        let Err(SnapshotError::Books(fault)) = changed(which.1, change) else {
            panic!("its books do not balance")
        };
        assert_eq!(fault.rule, Rule::Holds);
    };
    holds(&|it| it.tab.length += 1);
    holds(&|it| it.tab.unit = amount(it.tab.unit.units() + 1));
    holds(&|it| it.tab.claimed.index += 1);

    // Once more, and one before another.
    let good = world.ledger.snapshot();
    let first = good.len() - 3 * TAB_LEN;
    let mut twice = good.clone();
    twice.copy_within(first..first + TAB_LEN, first + TAB_LEN);
    assert_eq!(Ledger::restore(&twice), Err(SnapshotError::Order));
    let mut backward = good;
    backward[first..].rotate_left(TAB_LEN);
    assert_eq!(Ledger::restore(&backward), Err(SnapshotError::Order));
}

#[test]
fn what_came_of_entries_that_are_not_counted_is_refused() {
    let world = world();
    let bytes = world.ledger.snapshot();
    for entries in 1..world.ledger.entries() {
        let mut fewer = bytes.clone();
        fewer[1..9].copy_from_slice(&entries.to_be_bytes());
        assert_eq!(Ledger::restore(&fewer), Err(SnapshotError::Field));
    }
}

#[test]
fn what_stands_twice_or_out_of_order_is_refused() {
    let hex: String = GOLDEN.split_whitespace().collect();
    let golden: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits"))
        .collect();
    assert!(Ledger::restore(&golden).is_ok());
    // The last operation, and the last id, count from the end.
    let operation = golden.len() - 128 - 33;
    let id = operation - 41 - 8 - 33;
    for (at, first) in [(operation, operation - 41), (id, id - 65)] {
        let mut twice = golden.clone();
        twice.copy_within(first..first + 16, at);
        assert_eq!(Ledger::restore(&twice), Err(SnapshotError::Order));
        let mut backward = golden.clone();
        backward.copy_within(first..first + 16, at);
        backward[at + 15] = 0;
        backward[first + 15] = 1;
        assert_eq!(Ledger::restore(&backward), Err(SnapshotError::Order));
    }
}

#[test]
fn the_layout_of_this_version_is_pinned() {
    let mut ledger = Ledger::new();
    ledger.entries = 9;
    ledger.time = LedgerTime::from_millis(0x1234);
    (ledger.issued, ledger.burnt) = (0x50, 0x10);
    ledger.origin.ledger = LedgerId([0xaa; 32]);
    ledger.origin.directory = PublicKey::from_bytes([0xbb; 32]);
    let account = |number, name: Name, key: u8| Account {
        number,
        name,
        key: PublicKey::from_bytes([key; 32]),
        recovery: None,
        available: Amount::ZERO,
        held: Amount::ZERO,
        frozen: false,
        keys: None,
        registered: number,
    };
    let keys = Keys {
        replaced: vec![Replaced {
            key: PublicKey::from_bytes([0x55; 32]),
            by: 2,
        }],
        locked: true,
        own: Some(Said {
            entry: 3,
            change: Digest([0x66; 32]),
        }),
        recovery: None,
        pending: Some(Pending {
            entry: 4,
            time: LedgerTime::from_millis(0x1111),
            successor: PublicKey::from_bytes([0x44; 32]),
            contested: true,
        }),
    };
    let alice = Account {
        recovery: Some(PublicKey::from_bytes([0xdd; 32])),
        available: amount(0x30),
        held: amount(0x10),
        frozen: true,
        keys: Some(Box::new(keys)),
        ..account(1, name("alice"), 0xcc)
    };
    let bob = account(2, name("bob"), 0x99);
    for account in [account(0, Name::treasury(), 0xbb), alice, bob] {
        ledger.restore_account(account).expect("none stands twice");
    }
    ledger.ids.set_forgotten_through(3);
    let order = Some(Digest([0xee; 32]));
    let id = order_id("o1", 0x2345);
    ledger.ids.insert(
        id,
        1,
        Used {
            entry: 4,
            order,
            long: false,
        },
    );
    let id = order_id("o2", 0x2345);
    ledger.ids.insert(
        id,
        1,
        Used {
            entry: 5,
            order: None,
            long: true,
        },
    );
    let issue = Operation {
        entry: 2,
        account: 1,
        effect: Effect::Issued(amount(0x50)),
    };
    ledger.operations.insert(OperationId([1; 16]), issue);
    let freeze = Operation {
        entry: 6,
        account: 1,
        effect: Effect::Froze(true),
    };
    ledger.operations.insert(OperationId([2; 16]), freeze);
    let claimed = Mark {
        index: 1,
        link: Link([0x77; 32]),
    };
    let tab = Tab {
        unit: amount(4),
        length: 5,
        claimed,
        expires: LedgerTime::from_millis(0x3456),
        until: LedgerTime::from_millis(0x4567),
    };
    let open = Open::new(tab, 2, 5).claimed(claimed, 7);
    ledger.tabs.put((order_id("t1", 0x2345), 1), open);

    let hex: String = ledger
        .snapshot()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let golden: String = GOLDEN.split_whitespace().collect();
    assert_eq!(
        hex, golden,
        "changed on purpose? Then change VERSION as well"
    );
    assert_eq!(Ledger::restore(&ledger.snapshot()), Ok(ledger.clone()));
    ledger.ids.set_forgotten_through(ledger.entries);
    assert_eq!(Ledger::restore(&ledger.snapshot()), Ok(ledger));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Ledger::restore(&bytes);
    }

    #[test]
    fn no_damage_panics(damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
        let mut bytes = world().ledger.snapshot();
        for (at, byte) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(ledger) = Ledger::restore(&bytes) {
            prop_assert_eq!(ledger.snapshot(), bytes);
        }
    }
}

/// Books with something in every part: a burn, a refusal, a void, tabs, a long-lived id, one that
/// is forgotten, a recovery key, a frozen account, an issue, a freeze and a thaw.
fn world() -> World {
    let mut world = World::with(&[("alice", 100)]);
    assert_eq!(
        world.register("bob", "bob", Some("bob-later"), "bob"),
        "registered"
    );
    let alice = key("alice").public();
    for (id, expires, payee, units) in [
        ("o1", 10, "bob", 1),
        ("o2", 50, "treasury", 2),
        ("o3", 60, "bob", 999),
        ("o4", 700_000, "bob", 3),
    ] {
        let mut draft = world.order(id, "alice", payee);
        draft.id = order_id(id, expires);
        draft.amount = amount(units);
        world.settle(&draft.sign(), None, &alice, 1);
    }
    assert_eq!(world.freeze("f1", "bob", true), "frozen_now");
    assert_eq!(world.freeze("f2", "alice", false), "thawed");
    let ledger = world.ledger.ledger_id();
    let void = quid_common::order::Void::sign(ledger, order_id("o5", 90), &key("alice"));
    assert_eq!(world.void(&void, &alice, 20), "voided");
    // Open tabs: claimed, closed by the payer, closed by the payee.
    for id in ["t1", "t2", "t3"] {
        let mut tab = world.tab(id, "alice", "bob");
        tab.unit = amount(2);
        assert_eq!(world.open_tab(&tab.sign(), &alice, 20), "opened");
        let bob = key("bob");
        let outcome = match id {
            "t1" => world.claim(&tab, &tab.hashed(0, 3), &bob.public(), 20),
            "t2" => world.close(&tab.close(&key("alice")), &alice, 20),
            _ => world.close(&tab.close(&bob), &bob.public(), 20),
        };
        assert!(["claimed", "closed"].contains(&&*outcome), "{outcome}");
    }
    assert_eq!(world.ledger.forget(LedgerTime::default(), u64::MAX), 1);
    assert_eq!(world.ledger.live_ids(), 7);
    world
}

const GOLDEN: &str = "
    03 0000000000000009
    0000000000001234 0000000000000050 0000000000000010 0000000000000003
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    04 51554944 06
    0000000000000002
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
    05 616c696365
    01 dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
    0000000000000030 0000000000000010 01 0000000000000001
    01 0000000000000001
    5555555555555555555555555555555555555555555555555555555555555555 0000000000000002
    01
    01 0000000000000003 6666666666666666666666666666666666666666666666666666666666666666
    00
    01 0000000000000004 0000000000001111
    4444444444444444444444444444444444444444444444444444444444444444 01
    9999999999999999999999999999999999999999999999999999999999999999
    03 626f62 00 0000000000000000 0000000000000000 00 0000000000000002 00
    0000000000000002
    0000000023457f318000000000000000 0000000000000001 0000000000000004
    02 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
    0000000023457f328000000000000000 0000000000000001 0000000000000005 01
    0000000000000002
    01010101010101010101010101010101 0000000000000001 0000000000000002 01 0000000000000050
    02020202020202020202020202020202 0000000000000001 0000000000000006 02
    0000000000000001
    00000000234574318000000000000000 0000000000000001 0000000000000002
    0000000000000004 00000005 00000001
    7777777777777777777777777777777777777777777777777777777777777777
    0000000000003456 0000000000004567
    0000000000000005 0000000000000007 0000000000000000";
