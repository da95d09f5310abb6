//! The model of tabs: what each holds, counted in u128, and what everybody has had of it.

use quid_common::chain::{Link, Mark};
use quid_common::tab::Hashed;

use super::*;
use crate::ledger::testing::TabDraft;

/// What a step of the test tries with a tab.
#[derive(Clone, Debug)]
pub(super) enum TryTab {
    Open {
        payer: usize,
        payee: usize,
        unit: u64,
        length: u32,
        id: Id,
        life_ms: u64,
        grace: u32,
        by: By,
    },
    /// On one of the open tabs.
    Claim {
        pick: usize,
        /// From where the last ended, or not.
        from: i8,
        count: u32,
        forged: bool,
        by: By,
    },
    Close {
        pick: usize,
        by: By,
    },
    Release {
        pick: usize,
        served_ms: u64,
    },
}

/// An open tab.
pub(super) struct Tab {
    payee: usize,
    draft: TabDraft,
    claimed: u32,
    received: u128,
    expires: u64,
    until: u64,
    closed: bool,
    closed_by_payee: bool,
}

impl Tab {
    fn hold(&self) -> u128 {
        u128::from(self.draft.unit.units()) * u128::from(self.draft.length)
    }

    pub(super) fn held(&self) -> u128 {
        self.hold() - self.received
    }
}

pub(super) fn play(world: &mut World, model: &mut Model, step: &TryTab) {
    match *step {
        TryTab::Open { .. } => open(world, model, step),
        TryTab::Claim {
            pick,
            from,
            count,
            forged,
            by,
        } => {
            let (which, draft) = model.pick(world, pick);
            let claimed = model.tabs.get(&which).map_or(0, |tab| tab.claimed);
            let from = claimed.saturating_add_signed(from.into());
            let mut mark = draft.mark(from + count);
            if forged {
                mark.link = Link([9; 32]);
            }
            let payee = model.tabs.get(&which).map_or(0, |tab| tab.payee);
            let submitter = submitter(by, which.0, payee);
            let outcome = match Hashed::new(&draft.id, from, mark) {
                Ok(hashed) => world.claim(&draft, &hashed, &submitter, model.now),
                Err(reason) => reason.name().into(),
            };
            assert_eq!(
                outcome,
                model.claim(which, from, mark, forged, by),
                "{step:?}"
            );
        }
        TryTab::Close { pick, by } => {
            let (which, draft) = model.pick(world, pick);
            let payee = model.tabs.get(&which).map_or(0, |tab| tab.payee);
            let name = match by {
                By::Payer => PEOPLE[which.0],
                By::Payee => PEOPLE[payee],
                By::Stranger => "stranger",
            };
            let close = draft.close(&key(name));
            let outcome = world.close(&close, &key(name).public(), model.now);
            assert_eq!(outcome, model.close(which, by), "{step:?}");
        }
        TryTab::Release { pick, served_ms } => {
            let (which, draft) = model.pick(world, pick);
            let since = model.now.saturating_sub(served_ms);
            let outcome = world.release(&draft, model.now, since);
            assert_eq!(outcome, model.release(which, model.now - since), "{step:?}");
        }
    }
}

fn open(world: &mut World, model: &mut Model, step: &TryTab) {
    let &TryTab::Open {
        payer,
        payee,
        unit,
        length,
        id,
        life_ms,
        grace,
        by,
    } = step
    else {
        panic!()
    };
    let mut draft = world.tab("", PEOPLE[payer], PEOPLE[payee]);
    draft.id = order_id(&id.0.to_string(), id.1);
    (draft.unit, draft.length, draft.grace) = (amount(unit), length, grace);
    draft.expires = LedgerTime::from_millis(id.1 + life_ms);
    let outcome = world.open_tab(&draft.sign(), &submitter(by, payer, payee), model.now);
    assert_eq!(outcome, model.open(step, draft), "{step:?}");
}

impl Model {
    /// One of the open tabs; if there are none, one that never was.
    fn pick(&self, world: &World, pick: usize) -> ((usize, Id), TabDraft) {
        match self.tabs.iter().nth(pick % self.tabs.len().max(1)) {
            Some((which, tab)) => (*which, tab.draft.clone()),
            None => ((0, (9, 60_000)), world.tab("none", PEOPLE[0], PEOPLE[1])),
        }
    }

    fn open(&mut self, step: &TryTab, draft: TabDraft) -> String {
        let &TryTab::Open {
            payer,
            payee,
            id,
            by,
            ..
        } = step
        else {
            panic!()
        };
        // The payee is nobody to open it.
        if submitter(by, payer, payee) != key(PEOPLE[payer]).public() {
            return "wrong_submitter".into();
        }
        let bytes = format!("{step:?}").replace(&format!("{by:?}"), "");
        if let Some((outcome, first)) = self.fates.get(&(payer, id)) {
            let reused = first.as_ref().is_some_and(|first| *first != bytes);
            return if reused {
                "id_reused".into()
            } else {
                outcome.clone()
            };
        }
        let outcome = self.fresh_open(step, draft);
        if ["opened", "frozen", "insufficient_funds"].contains(&outcome) {
            self.fates
                .insert((payer, id), (outcome.to_owned(), Some(bytes)));
        }
        outcome.into()
    }

    fn fresh_open(&mut self, step: &TryTab, draft: TabDraft) -> &'static str {
        let &TryTab::Open {
            payer,
            payee,
            unit,
            length,
            id,
            life_ms,
            grace,
            ..
        } = step
        else {
            panic!()
        };
        if let Some(reason) = self.time_refusal(id) {
            return reason;
        }
        if !self.balance.contains_key(&payer) || !self.balance.contains_key(&payee) {
            return "unknown_account";
        }
        if unit == 0 || length == 0 {
            return "zero_amount";
        }
        if payer == payee {
            return "self_payment";
        }
        let hold = u128::from(unit) * u128::from(length);
        if hold > i64::MAX as u128 || life_ms == 0 || grace == 0 {
            return "bad_terms";
        }
        if self.frozen.get(&payer) == Some(&true) {
            return "frozen";
        }
        let balance = self.balance.get_mut(&payer).expect("known");
        if *balance < hold {
            return "insufficient_funds";
        }
        *balance -= hold;
        let expires = id.1 + life_ms;
        let tab = Tab {
            payee,
            draft,
            claimed: 0,
            received: 0,
            expires,
            until: expires + 1000 * u64::from(grace),
            closed: false,
            closed_by_payee: false,
        };
        assert!(self.tabs.insert((payer, id), tab).is_none());
        "opened"
    }

    fn claim(
        &mut self,
        which: (usize, Id),
        from: u32,
        to: Mark,
        forged: bool,
        by: By,
    ) -> &'static str {
        if to.index <= from {
            return "stale_claim";
        }
        let Some(tab) = self.tabs.get_mut(&which) else {
            return "no_tab";
        };
        if !matches!(by, By::Payee) {
            return "wrong_submitter";
        }
        if to.index == tab.claimed && !forged {
            return "claimed";
        }
        if to.index > tab.draft.length {
            return "past_end";
        }
        if from != tab.claimed {
            return "stale_claim";
        }
        if forged {
            return "bad_link";
        }
        let units = u128::from(tab.draft.unit.units()) * u128::from(to.index - from);
        (tab.claimed, tab.received) = (to.index, tab.received + units);
        assert!(tab.received <= tab.hold(), "never more than it holds");
        *self.balance.get_mut(&tab.payee).expect("known") += units;
        "claimed"
    }

    fn close(&mut self, which: (usize, Id), by: By) -> &'static str {
        let now = self.now;
        let Some(tab) = self.tabs.get_mut(&which) else {
            return "no_tab";
        };
        match by {
            By::Stranger => return "wrong_submitter",
            By::Payee if tab.closed_by_payee => {}
            By::Payee => {
                tab.until = tab.until.min(now);
                tab.expires = tab.until;
                tab.closed_by_payee = true;
            }
            By::Payer if now >= tab.expires && !tab.closed => return "tab_over",
            By::Payer if now >= tab.expires => {}
            By::Payer => {
                tab.until = now + (tab.until - tab.expires);
                tab.expires = now;
            }
        }
        tab.closed = true;
        "closed"
    }

    fn release(&mut self, which: (usize, Id), served_ms: u64) -> &'static str {
        let now = self.now;
        let due = |tab: &Tab| {
            let grace_ms = 1000 * u64::from(tab.draft.grace);
            now >= tab.until && (tab.closed_by_payee || served_ms >= grace_ms)
        };
        let Some(tab) = self.tabs.get(&which).filter(|tab| due(tab)) else {
            return "not_due";
        };
        // Promise I6: what was claimed and what goes back are the hold.
        let returned = tab.hold() - tab.received;
        *self.balance.get_mut(&which.0).expect("known") += returned;
        self.tabs.remove(&which);
        "released"
    }
}

pub(super) fn step(id: impl Strategy<Value = Id>) -> impl Strategy<Value = TryTab> {
    let who = prop_oneof![6 => 0..LATE, 1 => 0..PEOPLE.len()];
    let unit = prop_oneof![
        8 => 1_u64..5,
        1 => Just(0),
        1 => Just(i64::MAX as u64),
        1 => 0..=i64::MAX as u64
    ];
    let length = prop_oneof![9 => 1_u32..12, 1 => Just(0), 1 => Just(500)];
    let life_ms = prop_oneof![9 => 1_u64..60, 1 => Just(0)];
    let grace = prop_oneof![9 => 1_u32..3, 1 => Just(0)];
    let by = |payer, payee| {
        prop_oneof![
            payer => Just(By::Payer),
            payee => Just(By::Payee),
            1 => Just(By::Stranger)
        ]
    };
    let open = (
        who.clone(),
        who,
        unit,
        length,
        id,
        life_ms,
        grace,
        by(12, 1),
    )
        .prop_map(
            |(payer, payee, unit, length, id, life_ms, grace, by)| TryTab::Open {
                payer,
                payee,
                unit,
                length,
                id,
                life_ms,
                grace,
                by,
            },
        );
    let from = prop_oneof![8 => Just(0_i8), 1 => Just(1), 2 => Just(-1)];
    let claim = (
        any::<usize>(),
        from,
        0_u32..6,
        prop::bool::weighted(0.1),
        by(1, 9),
    )
        .prop_map(|(pick, from, count, forged, by)| TryTab::Claim {
            pick,
            from,
            count,
            forged,
            by,
        });
    let close = (any::<usize>(), by(4, 4)).prop_map(|(pick, by)| TryTab::Close { pick, by });
    let served = prop_oneof![Just(0), 0_u64..4_000];
    let release =
        (any::<usize>(), served).prop_map(|(pick, served_ms)| TryTab::Release { pick, served_ms });
    prop_oneof![6 => open, 8 => claim, 2 => close, 4 => release]
}
