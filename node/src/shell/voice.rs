//! Where a shell's announcements go, and which of them are one line too many: the end of a payment that
//! a command has just told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::cli::item::{Item, State, TabChange, TabState};
use crate::cli::screen::{Output, Sink};

/// Where announcements go: among the output of the command that runs, else above the line being
/// typed.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    above: Sink,
    command: Arc<Mutex<Option<Sink>>>,
    ends: Arc<Mutex<Ends>>,
}

/// The orders whose end was told, and tabs that were told to be open; and what is not announced before a command has told its own.
#[derive(Debug, Default)]
struct Ends {
    told: VecDeque<String>,
    /// While a command runs that tells such an end: what would be announced.
    held: Option<Vec<Output>>,
}

impl Voice {
    pub(super) fn new(above: Sink) -> Self {
        Self {
            above,
            command: Arc::default(),
            ends: Arc::default(),
        }
    }

    pub(super) fn speak_through(&self, command: Option<Sink>) {
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) = command;
    }

    fn place(&self) -> Sink {
        let command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        command.as_ref().unwrap_or(&self.above).clone()
    }

    pub(super) async fn announce(self, mut outputs: mpsc::Receiver<Output>) {
        while let Some(output) = outputs.recv().await {
            let output = self.ends().judge(output);
            if let Some(output) = output {
                self.say(output).await;
            }
        }
    }

    async fn say(&self, output: Output) {
        // A place that has just gone takes nothing more; the next is asked for anew.
        let _ = self.place().send(output).await;
    }

    /// Passes on what a command says that tells how a payment ended. The ends that are announced
    /// meanwhile wait for [`Self::release`].
    pub(super) async fn pass_on(&self, mut outputs: mpsc::Receiver<Output>, sink: &Sink) {
        self.ends().held.get_or_insert_default();
        while let Some(output) = outputs.recv().await {
            if let Output::Item(item) = &output {
                self.note(item);
            }
            if sink.send(output).await.is_err() {
                return;
            }
        }
    }

    /// Notes whose end `item` tells, if it tells one. What is unknown has none yet, and its end is
    /// announced.
    pub(super) fn note(&self, item: &Item) {
        let told = match item {
            Item::Paid(paid) if paid.state != State::Unknown => paid.order.clone(),
            Item::Void(void) if void.state != State::Unknown => Some(void.order.clone()),
            Item::TabOpened(tab) if tab.state == TabState::Open => tab.tab.clone(),
            _ => return,
        };
        if let Some(order) = told {
            let mut ends = self.ends();
            ends.told.push_back(order);
            if ends.told.len() > TOLD_MAX {
                ends.told.pop_front();
            }
        }
    }

    /// Announces what had to wait for a command, which is over and has told everything.
    pub(super) async fn release(&self) {
        let held = self.ends().held.take().unwrap_or_default();
        for output in held {
            let output = self.ends().judge(output);
            if let Some(output) = output {
                self.say(output).await;
            }
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// What is to be announced of `output` now.
    fn judge(&mut self, output: Output) -> Option<Output> {
        let Some(order) = order_ended(&output) else {
            return Some(output);
        };
        if self.told.iter().any(|told| told == order) {
            return None;
        }
        match &mut self.held {
            Some(held) if held.len() < HELD_MAX => {
                held.push(output);
                None
            }
            _ => Some(output),
        }
    }
}

/// The order whose end is announced, or the tab that has opened.
fn order_ended(output: &Output) -> Option<&str> {
    match output {
        Output::Item(item) => match &**item {
            Item::Sent(sent) => Some(&sent.order),
            Item::Refused(refused) => Some(&refused.order),
            Item::TabEvent(tab) if tab.change == TabChange::Opened => Some(&tab.tab.tab),
            _ => None,
        },
        _ => None,
    }
}

/// Most orders that are remembered as told. Their ends are announced within moments of it.
const TOLD_MAX: usize = 64;

/// Most announcements that wait for a command; more of them are made at once.
const HELD_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::item::{Paid, Sent};

    fn paid(order: &str, state: State) -> Item {
        Item::from(Paid {
            order: Some(order.to_owned()),
            state,
            ..Paid::default()
        })
    }

    fn sent(order: &str) -> Output {
        let order = order.to_owned();
        Output::Item(Box::new(
            Sent {
                order,
                ..Sent::default()
            }
            .into(),
        ))
    }

    #[tokio::test]
    async fn an_end_is_told_once_whichever_comes_first_and_an_unknown_one_is_announced() {
        let (above, mut said) = Sink::channel();
        let voice = Voice::new(above.clone());
        let (announced, outputs) = Sink::channel();
        let (command, says) = Sink::channel();
        let speak = async {
            // Told by the command after it was announced, and before.
            announced.send(sent("one")).await.expect("it is taken");
            announced.send(sent("unknown")).await.expect("it is taken");
            announced
                .send(sent("another's"))
                .await
                .expect("it is taken");
            drop(announced);
            tokio::task::yield_now().await;
            for (order, state) in [("one", State::Settled), ("two", State::Refused)] {
                let told = command.item(paid(order, state)).await;
                told.expect("it is taken");
            }
            let told = command.item(paid("unknown", State::Unknown)).await;
            told.expect("it is taken");
            drop(command);
        };
        let passed = voice.pass_on(says, &above);
        tokio::join!(passed, voice.clone().announce(outputs), speak);
        voice.release().await;
        let (late, outputs) = Sink::channel();
        late.send(sent("two")).await.expect("it is taken");
        late.send(sent("three")).await.expect("it is taken");
        drop(late);
        voice.clone().announce(outputs).await;
        drop((voice, above));
        let mut lines = Vec::new();
        while let Some(Output::Item(item)) = said.recv().await {
            lines.push(match *item {
                Item::Paid(paid) => format!("paid {}", paid.order.unwrap_or_default()),
                Item::Sent(sent) => format!("sent {}", sent.order),
                other => panic!("{other:?}"),
            });
        }
        let expected = [
            "paid one",
            "paid two",
            "paid unknown",
            "sent unknown",
            "sent another's",
            "sent three",
        ];
        assert_eq!(lines, expected);
    }
}
