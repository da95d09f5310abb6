//! The ledger against a simple model: balances and holds that may not go wrong in u128, and every id's first
//! answer kept for ever. The model knows nothing of memory, index, snapshot or entries' bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quid_common::entry::Fact;
use quid_common::order::{Decline, Void};

use super::testing::{World, amount, key, order_id};
use super::*;
use quid_common::time::LedgerTime;

#[cfg(test)]
mod tabs;

use self::tabs::TryTab;

/// What a step of the test tries.
#[derive(Clone, Debug)]
enum Try {
    Pay {
        payer: usize,
        payee: usize,
        units: u64,
        id: Id,
        memo: bool,
        declined: bool,
        by: By,
    },
    Void {
        payer: usize,
        id: Id,
        by: By,
    },
    Issue {
        operation: u8,
        to: usize,
        units: u64,
    },
    Freeze {
        operation: u8,
        whom: usize,
        frozen: bool,
    },
    Register {
        who: usize,
    },
    Wait {
        ms: u64,
    },
    Forget {
        behind: u64,
    },
    Restore,
    Tab(TryTab),
}

/// One of a few ids, so that they meet again: which, and when it expires.
type Id = (u8, u64);

#[derive(Clone, Copy, Debug)]
enum By {
    Payer,
    Payee,
    Stranger,
}

/// The last is the treasury, the one before registers only during the test, if at all.
const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "late", "treasury"];
const LATE: usize = 3;
const TREASURY_NAME: usize = 4;

#[derive(Default)]
struct Model {
    balance: BTreeMap<usize, u128>,
    frozen: BTreeMap<usize, bool>,
    issued: u128,
    burnt: u128,
    now: u64,
    tabs: BTreeMap<(usize, Id), tabs::Tab>,
    /// What each id came to, with the bytes (as text) if it was an order or a tab.
    fates: BTreeMap<(usize, Id), (String, Option<Bytes>)>,
    operations: BTreeMap<u8, (usize, Option<u64>, Option<bool>)>,
}

type Bytes = String;

impl Model {
    fn pay(&mut self, step: &Try) -> String {
        let &Try::Pay {
            payer,
            payee,
            units,
            id,
            memo,
            declined,
            by,
        } = step
        else {
            panic!()
        };
        if matches!(by, By::Stranger) {
            return "wrong_submitter".into();
        }
        let bytes = format!("{payee} {units} {memo}");
        if let Some((outcome, first)) = self.fates.get(&(payer, id)) {
            let reused = first.as_ref().is_some_and(|first| *first != bytes);
            return if reused {
                "id_reused".into()
            } else {
                outcome.clone()
            };
        }
        let outcome = self.fresh_pay(payer, payee, units, id, declined);
        if ["settled", "frozen", "payee_declined", "insufficient_funds"].contains(&&*outcome) {
            self.fates
                .insert((payer, id), (outcome.clone(), Some(bytes)));
        }
        outcome
    }

    fn fresh_pay(
        &mut self,
        payer: usize,
        payee: usize,
        units: u64,
        id: Id,
        declined: bool,
    ) -> String {
        let refused = |reason: &str| reason.to_owned();
        if let Some(reason) = self.time_refusal(id) {
            return refused(reason);
        }
        let knows = |who| self.balance.contains_key(&who) || who == TREASURY_NAME;
        if payer == TREASURY_NAME || !knows(payer) || !knows(payee) {
            return refused("unknown_account");
        }
        if units == 0 {
            return refused("zero_amount");
        }
        if payer == payee {
            return refused("self_payment");
        }
        if self.frozen.get(&payer) == Some(&true) {
            return refused("frozen");
        }
        if declined {
            return refused("payee_declined");
        }
        let units = u128::from(units);
        if self.balance[&payer] < units {
            return refused("insufficient_funds");
        }
        *self.balance.get_mut(&payer).expect("known") -= units;
        match self.balance.get_mut(&payee) {
            Some(balance) => *balance += units,
            None => self.burnt += units,
        }
        "settled".into()
    }

    fn void(&mut self, payer: usize, id: Id, by: By) -> String {
        if !matches!(by, By::Payer) {
            return "wrong_submitter".into();
        }
        if let Some((outcome, _)) = self.fates.get(&(payer, id)) {
            return outcome.clone();
        }
        if let Some(reason) = self.time_refusal(id) {
            return reason.into();
        }
        if !self.balance.contains_key(&payer) {
            return "unknown_account".into();
        }
        self.fates.insert((payer, id), ("voided".into(), None));
        "voided".into()
    }

    fn time_refusal(&self, id: Id) -> Option<&'static str> {
        match id.1 {
            expires if self.now >= expires => Some("expired"),
            expires if expires > self.now + 24 * 60 * 60 * 1000 => Some("expiry_too_far"),
            _ => None,
        }
    }

    fn operate(&mut self, operation: u8, what: (usize, Option<u64>, Option<bool>)) -> String {
        let done = match what.2 {
            Some(true) => "frozen_now",
            Some(false) => "thawed",
            None => "issued",
        };
        if let Some(first) = self.operations.get(&operation) {
            return if *first == what {
                done.into()
            } else {
                "operation_reused".into()
            };
        }
        let Some(balance) = self.balance.get_mut(&what.0) else {
            return "unknown_account".into();
        };
        if let Some(units) = what.1 {
            let units = u128::from(units);
            if units == 0 {
                return "zero_amount".into();
            }
            let supply = self.issued + units - self.burnt;
            if supply > i64::MAX as u128 || self.issued + units > u128::from(u64::MAX) {
                return "supply_exceeded".into();
            }
            self.issued += units;
            *balance += units;
        }
        if let Some(frozen) = what.2 {
            self.frozen.insert(what.0, frozen);
        }
        self.operations.insert(operation, what);
        done.into()
    }

    fn agrees_with(&self, ledger: &Ledger) {
        for (&who, &balance) in &self.balance {
            let account = ledger
                .account(&key(PEOPLE[who]).public())
                .expect("registered");
            assert_eq!(
                u128::from(account.available.units()),
                balance,
                "{}",
                account.name
            );
            assert_eq!(account.frozen, self.frozen.get(&who) == Some(&true));
            let own = self.tabs.iter().filter(|((payer, _), _)| *payer == who);
            let held: u128 = own.map(|(_, tab)| tab.held()).sum();
            assert_eq!(u128::from(account.held.units()), held, "{}", account.name);
        }
        let totals = ledger.totals();
        assert_eq!(u128::from(totals.issued), self.issued);
        assert_eq!(u128::from(totals.burnt), self.burnt);
        let held: u128 = self.tabs.values().map(tabs::Tab::held).sum();
        let sum = self.balance.values().sum::<u128>() + held;
        assert_eq!((totals.available, totals.held), (sum - held, held));
        assert_eq!(ledger.open_tabs(), self.tabs.len());
        assert_eq!(sum, self.issued - self.burnt);
        assert_eq!(ledger.check(), Ok(()));
    }
}

proptest! {
    #[test]
    fn the_ledger_does_what_the_model_does(steps in prop::collection::vec(step(), 1..120)) {
        play_all(&steps);
    }

    #[test]
    fn tabs_do_what_the_model_does(steps in prop::collection::vec(tabs_step(), 1..80)) {
        play_all(&steps);
    }
}

fn play_all(steps: &[Try]) {
    let mut world = World::with(&[("alice", 0), ("bob", 0), ("carol", 0)]);
    let mut model = Model::default();
    // Something to begin with, beyond the operations of the steps.
    for who in 0..LATE {
        model.balance.insert(who, 0);
        let (operation, units) = (100 + who as u8, 200);
        let begin = Try::Issue {
            operation,
            to: who,
            units,
        };
        play(&mut world, &mut model, &begin);
    }
    for step in steps {
        play(&mut world, &mut model, step);
        model.agrees_with(&world.ledger);
    }
    world.check_replay();
    every_id_has_one_effect(&world);
}

fn play(world: &mut World, model: &mut Model, step: &Try) {
    match *step {
        Try::Pay {
            payer,
            payee,
            units,
            id,
            memo,
            declined,
            by,
        } => {
            let mut draft = world.order("", PEOPLE[payer], PEOPLE[payee]);
            draft.id = order_id(&id.0.to_string(), id.1);
            draft.amount = amount(units);
            draft.memo = if memo { "again".into() } else { String::new() };
            let order = draft.sign();
            let decline = declined.then(|| Decline::sign(&order, &key(PEOPLE[payee])));
            let by = submitter(by, payer, payee);
            let outcome = world.settle(&order, decline.as_ref(), &by, model.now);
            assert_eq!(outcome, model.pay(step), "{step:?}");
        }
        Try::Void { payer, id, by } => {
            let id_ = order_id(&id.0.to_string(), id.1);
            let void = Void::sign(world.ledger.ledger_id(), id_, &key(PEOPLE[payer]));
            // For a void the payee is a stranger too.
            let outcome = world.void(&void, &submitter(by, payer, TREASURY_NAME), model.now);
            let by = if payer == TREASURY_NAME && matches!(by, By::Payee) {
                By::Payer
            } else {
                by
            };
            assert_eq!(outcome, model.void(payer, id, by), "{step:?}");
        }
        Try::Issue {
            operation,
            to,
            units,
        } => {
            let outcome = world.issue(&operation.to_string(), PEOPLE[to], amount(units));
            let what = (to, Some(units), None);
            assert_eq!(outcome, model.operate(operation, what), "{step:?}");
        }
        Try::Freeze {
            operation,
            whom,
            frozen,
        } => {
            let outcome = world.freeze(&operation.to_string(), PEOPLE[whom], frozen);
            let what = (whom, None, Some(frozen));
            assert_eq!(outcome, model.operate(operation, what), "{step:?}");
        }
        Try::Register { who } => {
            let name = PEOPLE[who];
            let outcome = world.register(name, name, None, name);
            if who == TREASURY_NAME {
                assert_eq!(outcome, "already_registered");
            } else {
                assert_eq!(outcome, "registered", "the first time and every time");
                model.balance.entry(who).or_default();
            }
        }
        Try::Wait { ms } => model.now += ms,
        Try::Forget { behind } => {
            world.ledger.forget(
                LedgerTime::default(),
                world.ledger.entries().saturating_sub(behind),
            );
        }
        Try::Tab(ref step) => tabs::play(world, model, step),
        Try::Restore => {
            let restored = Ledger::restore(&world.ledger.snapshot()).expect("our own snapshot");
            assert!(restored == world.ledger);
            world.ledger = restored;
        }
    }
}

fn submitter(by: By, payer: usize, payee: usize) -> PublicKey {
    let name = match by {
        By::Payer => PEOPLE[payer],
        By::Payee => PEOPLE[payee],
        By::Stranger => "stranger",
    };
    key(name).public()
}

/// Promise I3, read from the log.
fn every_id_has_one_effect(world: &World) {
    let mut ids: Vec<_> = world
        .log
        .iter()
        .filter_map(|entry| entry.fact.used_id())
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    let paid = world
        .log
        .iter()
        .filter(|entry| matches!(entry.fact, Fact::Payment(_)))
        .count();
    assert!(paid <= all);
}

fn step() -> impl Strategy<Value = Try> {
    let who = 0..PEOPLE.len();
    // A few expiries, spread over what the steps wait for, and one that is always too far.
    let expires = prop_oneof![
        8 => (1_u64..30).prop_map(|tens| tens * 10),
        2 => (1_u64..8).prop_map(|seconds| seconds * 1000),
        2 => Just(700_000_u64),
        1 => Just(u64::from(u32::MAX)),
    ];
    let id = (0_u8..3, expires);
    let units = prop_oneof![8 => 0_u64..40, 1 => Just(i64::MAX as u64), 1 => 0..=i64::MAX as u64];
    let by = prop_oneof![6 => Just(By::Payer), 4 => Just(By::Payee), 1 => Just(By::Stranger)];
    let pay = (
        (who.clone(), who.clone(), units.clone(), id.clone()),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        by.clone(),
    )
        .prop_map(|((payer, payee, units, id), memo, declined, by)| Try::Pay {
            payer,
            payee,
            units,
            id,
            memo,
            declined,
            by,
        });
    let tab = tabs::step(id.clone());
    let void = (who.clone(), id, by).prop_map(|(payer, id, by)| Try::Void { payer, id, by });
    let issue = (0_u8..30, who.clone(), units).prop_map(|(operation, to, units)| Try::Issue {
        operation,
        to,
        units,
    });
    let freeze =
        (0_u8..30, who.clone(), prop::bool::weighted(0.4)).prop_map(|(operation, whom, frozen)| {
            Try::Freeze {
                operation,
                whom,
                frozen,
            }
        });
    prop_oneof![
        20 => pay,
        3 => void,
        4 => issue,
        1 => freeze,
        1 => who.prop_map(|who| Try::Register { who }),
        20 => tab.prop_map(Try::Tab),
        3 => (0_u64..15).prop_map(|ms| Try::Wait { ms }),
        1 => (0_u64..1_500).prop_map(|ms| Try::Wait { ms }),
        2 => (0_u64..4).prop_map(|behind| Try::Forget { behind }),
        1 => Just(Try::Restore),
    ]
}

/// Mostly with tabs, whose ids outlive a few waits.
fn tabs_step() -> impl Strategy<Value = Try> {
    let expires = (1_u64..8).prop_map(|seconds| seconds * 1000);
    prop_oneof![
        20 => tabs::step((0_u8..8, expires)).prop_map(Try::Tab),
        1 => (0_u64..15).prop_map(|ms| Try::Wait { ms }),
        1 => (0_u64..1_500).prop_map(|ms| Try::Wait { ms }),
        1 => (0_u64..4).prop_map(|behind| Try::Forget { behind }),
        1 => Just(Try::Restore),
    ]
}
