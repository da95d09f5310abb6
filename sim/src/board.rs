//! Where requests to be paid are handed around: a board that everybody reads, and letters to one.
//!
//! A link is text that travels beside Quid. So whatever is here outlives power cuts, and nothing on
//! the board vouches for what a link says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::name::Name;
use quid_common::request::RequestLink;
use tokio::sync::Notify;

use crate::dice::Dice;

/// The board, and everybody's letters.
#[derive(Debug)]
pub struct Board {
    /// Who gets letters.
    people: Vec<Name>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<RequestLink>,
    letters: BTreeMap<Name, VecDeque<Letter>>,
}

/// A request for one payer.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What to pay.
    pub link: RequestLink,
    /// How long the payer lets it lie.
    pub lies: Duration,
}

impl Board {
    /// An empty board for these people.
    pub fn new(people: Vec<Name>) -> Self {
        Self {
            people,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Puts a link of `by` on the board, and writes to some others, who mostly read it at once: then
    /// they pay at the same time.
    pub fn post(&self, by: &Name, link: &RequestLink, dice: &mut Dice) {
        let others: Vec<&Name> = self.people.iter().filter(|it| *it != by).collect();
        let letters = dice.number(1..4);
        let mut state = self.state();
        state.links.push(link.clone());
        for _ in 0..letters.min(others.len() as u64) {
            let Some(&to) = others.get(dice.index(others.len())) else {
                break;
            };
            let lies = match dice.happens(300) {
                true => dice.time(1_000..40_000),
                false => Duration::ZERO,
            };
            let link = link.clone();
            let box_of = state.letters.entry(to.clone()).or_default();
            box_of.push_back(Letter { link, lies });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next letter to `name`, which then has it.
    pub async fn letter(&self, name: &Name) -> Letter {
        loop {
            let changed = self.changed.notified();
            let next = self
                .state()
                .letters
                .get_mut(name)
                .and_then(VecDeque::pop_front);
            match next {
                Some(letter) => return letter,
                None => changed.await,
            }
        }
    }

    /// A link from the board.
    pub fn any(&self, dice: &mut Dice) -> Option<RequestLink> {
        let state = self.state();
        let at = dice.index(state.links.len().max(1));
        state.links.get(at).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
