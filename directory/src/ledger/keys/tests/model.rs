//! The keys of one account against a simple model: a list of keys, two flags, and a recovery with a
//! clock. The model knows nothing of statements, entries or numbers.

use proptest::prelude::*;

use crate::ledger::Ledger;
use crate::ledger::testing::{World, key, name, order_id};

const KEYS: [&str; 6] = ["k0", "k1", "k2", "k3", "k4", "safe"];
const SAFE: usize = 5;
const DAY: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Debug)]
enum Try {
    Rotate(usize, usize),
    Recover(usize, usize),
    Object(usize),
    Takeover(usize),
    Lock(usize, bool),
    Operate(bool),
    Pay(usize),
    Wait(u64),
    Restore,
}

struct Model {
    used: Vec<usize>,
    safe: bool,
    frozen: bool,
    locked: bool,
    pending: Option<(usize, u64, bool)>,
    /// The last objection or takeover, as long as the key has said nothing after it.
    last: Option<(&'static str, usize)>,
    now: u64,
}

impl Model {
    fn own(&self, who: usize) -> Result<(), &'static str> {
        match self.used.iter().rposition(|used| *used == who) {
            Some(at) if at + 1 == self.used.len() => Ok(()),
            Some(_) => Err("key_replaced"),
            None => Err("wrong_key"),
        }
    }

    fn free(&self, who: usize) -> Result<(), &'static str> {
        let taken = self.used.contains(&who) || (who == SAFE && self.safe);
        if taken { Err("key_used") } else { Ok(()) }
    }

    fn dispute(&self) -> bool {
        self.pending.is_some_and(|(_, _, contested)| contested)
    }

    fn step(&mut self, step: &Try) -> Result<&'static str, &'static str> {
        match *step {
            Try::Rotate(old, new) => {
                self.own(old)?;
                if self.frozen || self.locked {
                    return Err("account_frozen");
                }
                self.free(new)?;
                self.used.push(new);
                self.last = None;
                Ok("rotated")
            }
            Try::Recover(by, new) => {
                if by != SAFE || !self.safe {
                    return Err("wrong_key");
                }
                self.free(new)?;
                self.pending = Some((new, self.now, false));
                // An objection to what was announced before is none to this.
                self.last = self.last.filter(|(what, _)| *what != "contested");
                Ok("announced")
            }
            Try::Object(by) => {
                if self.last == Some(("contested", by)) && self.pending.is_some() {
                    return Ok("contested");
                }
                self.own(by)?;
                match &mut self.pending {
                    Some((_, _, contested)) if !*contested => *contested = true,
                    _ => return Err("no_recovery"),
                }
                self.locked = true;
                self.last = Some(("contested", by));
                Ok("contested")
            }
            Try::Takeover(new) => {
                if self.last == Some(("taken_over", new)) {
                    return Ok("taken_over");
                }
                let Some((successor, begun, contested)) = self.pending else {
                    return Err("no_recovery");
                };
                if successor != new {
                    return Err("no_recovery");
                }
                if self.now < begun + if contested { 30 * DAY } else { 3 * DAY } {
                    return Err("too_early");
                }
                self.free(new)?;
                self.used.push(new);
                self.pending = None;
                self.last = Some(("taken_over", new));
                Ok("taken_over")
            }
            Try::Lock(by, frozen) => {
                if by == SAFE && self.safe {
                    if !frozen && self.dispute() {
                        self.pending = None;
                    }
                } else {
                    self.own(by)?;
                    if !frozen {
                        return Err("wrong_key");
                    }
                    self.last = None;
                }
                self.locked = frozen;
                Ok(if frozen { "locked" } else { "unlocked" })
            }
            Try::Operate(frozen) => {
                self.frozen = frozen;
                if !frozen {
                    self.locked = false;
                    if self.dispute() {
                        (self.pending, self.safe) = (None, false);
                    }
                }
                Ok(if frozen { "frozen_now" } else { "thawed" })
            }
            Try::Pay(by) => {
                self.own(by).map_err(|why| match why {
                    "wrong_key" => "unknown_account",
                    why => why,
                })?;
                if self.frozen || self.locked {
                    return Err("frozen");
                }
                Ok("settled")
            }
            Try::Wait(_) | Try::Restore => Ok(""),
        }
    }
}

fn play(world: &mut World, model: &Model, step: &Try, number: usize) -> String {
    let now = model.now;
    let pending = world
        .ledger
        .by_name(&name("alice"))
        .and_then(|it| it.pending().copied());
    let words = match *step {
        Try::Rotate(old, new) => format!("rotate alice {} {} now {now}", KEYS[old], KEYS[new]),
        Try::Recover(by, new) => format!("recover alice {} {} now {now}", KEYS[by], KEYS[new]),
        Try::Object(by) => {
            // What is objected to once more is what was.
            let announced = pending.map_or(1, |it| it.entry);
            format!("object alice {} now {now} announced {announced}", KEYS[by])
        }
        Try::Takeover(new) => format!("takeover alice {} now {now}", KEYS[new]),
        Try::Lock(by, frozen) => {
            let what = if frozen { "lock" } else { "unlock" };
            format!("{what} alice {} now {now}", KEYS[by])
        }
        Try::Operate(frozen) => {
            let what = if frozen { "freeze" } else { "thaw" };
            format!("{what} op{number} alice")
        }
        Try::Pay(by) => {
            let mut draft = world.order("", KEYS[by], "bob");
            draft.id = order_id(
                &number.to_string(),
                now.max(world.ledger.time().as_millis()) + 9,
            );
            return world.settle(&draft.sign(), None, &key("bob").public(), now);
        }
        Try::Wait(_) => return String::new(),
        Try::Restore => {
            let restored = Ledger::restore(&world.ledger.snapshot()).expect("our own snapshot");
            assert!(restored == world.ledger);
            world.ledger = restored;
            return String::new();
        }
    };
    world.line(&words)
}

fn step() -> impl Strategy<Value = Try> {
    let who = 0..KEYS.len();
    let next = 0..KEYS.len();
    prop_oneof![
        4 => (who.clone(), next.clone()).prop_map(|(old, new)| Try::Rotate(old, new)),
        2 => (prop_oneof![4 => Just(SAFE), 1 => who.clone()], next).prop_map(|(by, new)| Try::Recover(by, new)),
        3 => who.clone().prop_map(Try::Object),
        4 => who.clone().prop_map(Try::Takeover),
        3 => (who.clone(), any::<bool>()).prop_map(|(by, frozen)| Try::Lock(by, frozen)),
        1 => prop::bool::weighted(0.3).prop_map(Try::Operate),
        3 => who.prop_map(Try::Pay),
        2 => (0..4 * DAY).prop_map(Try::Wait),
        1 => (0..40 * DAY).prop_map(Try::Wait),
        1 => Just(Try::Restore),
    ]
}

proptest! {
    #[test]
    fn keys_do_what_the_model_does(steps in prop::collection::vec(step(), 1..100)) {
        let mut world = World::with(&[("bob", 0)]);
        assert_eq!(world.register("alice", "k0", Some("safe"), "k0"), "registered");
        assert_eq!(world.issue("money", "alice", crate::ledger::testing::amount(1000)), "issued");
        let mut model = Model {
            used: vec![0],
            safe: true,
            frozen: false,
            locked: false,
            pending: None,
            last: None,
            now: 0,
        };
        for (number, step) in steps.iter().enumerate() {
            if let Try::Wait(ms) = step {
                model.now += ms;
            }
            let outcome = play(&mut world, &model, step, number);
            let expected = model.step(step).unwrap_or_else(|refused| refused);
            assert_eq!(outcome, expected, "{step:?} after {:?}", &steps[..number]);
            let account = world.ledger.by_name(&name("alice")).expect("registered");
            assert_eq!(account.key, key(KEYS[*model.used.last().expect("one")]).public());
            assert_eq!(account.is_frozen(), model.frozen || model.locked);
            assert_eq!(account.recovery.is_some(), model.safe);
            assert_eq!(account.all_keys().count(), model.used.len());
        }
        world.check("all steps");
        world.check_replay();
    }
}
