//! A scene on which operations are carried out one after another, each to an end that everybody
//! knows.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::books::Acknowledged;
use crate::operation::Ready;
use crate::point::{Operation, Victim};
use crate::program::by;
use crate::scene::Scene;

/// A scene, and what has been acknowledged on it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    acknowledged: Acknowledged,
    number: u64,
}

impl Stage {
    /// See [`Scene::open`].
    pub(crate) fn open(victim: Victim, data: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(Self {
            scene: Scene::open(victim, data)?,
            acknowledged: Acknowledged::default(),
            number: 0,
        })
    }

    /// Has everybody run, and the operation ready to begin.
    pub(crate) fn ready(&mut self, operation: Operation) -> Result<Ready, Failure> {
        self.ready_after(operation, |_| Ok(()))
    }

    /// As [`Self::ready`]; `begin` comes once everybody runs, before what the operation begins from.
    pub(crate) fn ready_after(
        &mut self,
        operation: Operation,
        begin: impl FnOnce(&mut Scene) -> Result<(), Failure>,
    ) -> Result<Ready, Failure> {
        self.number += 1;
        self.scene.revive()?;
        if operation != Operation::Register {
            self.scene.online(Instant::now() + KNOWN)?;
        }
        begin(&mut self.scene)?;
        Ready::new(operation, &mut self.scene, self.number)
    }

    /// Remembers what a command has said, which must never be lost.
    pub(crate) fn note(&mut self, ready: &Ready, said: Option<&Value>) {
        if let Some(said) = said {
            self.acknowledged.note(ready.operation, said);
        }
    }

    /// Once the last fault is over: waits until everybody knows the end, and checks that it is the
    /// same one and agrees with what the command said, if it got so far. How long that took.
    pub(crate) fn end(
        &mut self,
        mut ready: Ready,
        victim: Victim,
        said: Option<Value>,
    ) -> Result<Duration, Failure> {
        let over = Instant::now();
        let deadline = over + KNOWN;
        self.note(&ready, said.as_ref());
        let said = said.unwrap_or_default();
        let answer = by(deadline, || {
            self.scene.revive()?;
            ready.ask()
        })?;
        self.acknowledged.note(ready.operation, &answer);
        by(deadline, || {
            self.scene.revive()?;
            let books = self.acknowledged.check(&mut self.scene)?;
            ready.check(&self.scene, victim, &said, &answer, &books)
        })?;
        let known = over.elapsed();
        ready.close(&answer)?;
        Ok(known)
    }
}

/// From the end of the last fault on, everybody knows the end within this (promise 10).
const KNOWN: Duration = Duration::from_secs(30);
