//! Each write, sync, making, renaming and removing of a file fails in turn: once, or this one and
//! all after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::{left, listen_again, start_again};
use crate::Failure;
use crate::operation::refs;
use crate::options::Disk;
use crate::point::{Operation, Victim};
use crate::program::by;
use crate::rules::{count_disk, fail_at, let_go};
use crate::scene::PATIENCE;
use crate::stage::Stage;
use crate::trace::{Ended, Rule};

/// Fails all calls of a payment, and of a start of the directory, or some of them.
pub(super) fn run(seed: u64, options: &Disk) -> Result<String, Failure> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut report = Vec::new();
    for victim in [Victim::Payer, Victim::Payee, Victim::Directory] {
        let mut failing = Failing {
            stage: Stage::open(victim, None)?,
            victim,
            left: 0,
        };
        let payment = failing.count(|it, rule| it.payment(rule))?;
        report.push(
            failing.all(payment, options, &mut chance, "payment", |it, rule| {
                it.payment(rule)
            })?,
        );
        if victim == Victim::Directory {
            let start = failing.count(|it, rule| it.start(rule))?;
            report.push(
                failing.all(start, options, &mut chance, "start", |it, rule| {
                    it.start(rule)
                })?,
            );
        }
    }
    Ok(report.join("; "))
}

/// A program whose disk fails.
struct Failing {
    stage: Stage,
    victim: Victim,
    /// How often it ended because of that.
    left: usize,
}

/// Something during which the disk fails, under a rule.
type Act = fn(&mut Failing, Rule) -> Result<(), Failure>;

impl Failing {
    /// How many calls on the disk there are when all is well.
    fn count(&mut self, act: Act) -> Result<u64, Failure> {
        let calls = Arc::default();
        act(self, count_disk(&calls))?;
        Ok(AtomicU64::load(&calls, Ordering::Relaxed))
    }

    fn all(
        &mut self,
        calls: u64,
        options: &Disk,
        chance: &mut StdRng,
        name: &str,
        act: Act,
    ) -> Result<String, Failure> {
        let each = (1..=calls).flat_map(|nth| [false, true].map(|lasting| (nth, lasting)));
        let each = each.flat_map(|(nth, lasting)| ERRORS.map(|error| (nth, lasting, error)));
        let all: Vec<_> = each.collect();
        let chosen: Vec<_> = match options.points {
            None => options.part.of(all),
            Some(points) => all.sample(chance, points).copied().collect(),
        };
        self.left = 0;
        for &(nth, lasting, error) in &chosen {
            act(self, fail_at(nth, lasting, error)).map_err(|wrong| {
                let how = if lasting { "and all after it" } else { "alone" };
                let victim = self.victim.name();
                format!("call {nth} of the {victim}'s {name} {how} failed with {error}: {wrong}")
            })?;
        }
        Ok(format!(
            "{} failures in {calls} calls of the {}'s {name}, {} times it left",
            chosen.len(),
            self.victim.name(),
            self.left
        ))
    }

    /// A payment, in which the victim's disk fails; then the disk is whole.
    fn payment(&mut self, rule: Rule) -> Result<(), Failure> {
        let ready = self.stage.ready(Operation::Pay)?;
        let mut command = match self.stage.scene.service(self.victim) {
            None => ready.home.start(&refs(&ready.command), Some(rule))?,
            Some(service) => {
                service
                    .running()?
                    .traced()
                    .ok_or("it is not traced")?
                    .arm(rule);
                ready.home.start(&refs(&ready.command), None)?
            }
        };
        let said = command.finish(PATIENCE)?;
        if !matches!(said.ended, Ended::Code(0 | 1 | 3 | 4 | 6 | 7)) {
            return Err(format!("the payer ended with {:?}", said.ended).into());
        }
        self.left += usize::from(self.victim == Victim::Payer && said.ended == Ended::Code(FILES));
        self.heal()?;
        self.stage
            .end(ready, self.victim, said.lines.last().cloned())?;
        Ok(())
    }

    /// A start of the directory on which its disk fails; then the disk is whole.
    fn start(&mut self, rule: Rule) -> Result<(), Failure> {
        let ready = self.stage.ready(Operation::Pay)?;
        let said = ready.home.ask(&refs(&ready.command))?;
        let directory = &mut self.stage.scene.directory;
        directory.running()?.kill()?;
        let served = directory.start(Some(rule))?.is_some();
        self.heal()?;
        if served {
            listen_again(&mut self.stage)?;
        }
        self.stage
            .end(ready, self.victim, said.lines.last().cloned())?;
        Ok(())
    }

    /// Makes the disk whole, and starts again whoever has left.
    fn heal(&mut self) -> Result<(), Failure> {
        let Some(service) = self.stage.scene.service(self.victim) else {
            return Ok(());
        };
        let running = service.running()?;
        let struck = running.traced().is_some_and(|it| it.struck().is_some());
        if let Some(traced) = running.traced() {
            traced.arm(let_go());
        }
        let ended = match running.ended()? {
            None if struck => self.left_or_sound()?,
            ended => ended,
        };
        let Some(ended) = ended else {
            return Ok(());
        };
        self.left += 1;
        match self.victim {
            Victim::Directory => {
                left(ended, &self.stage)?;
                start_again(&mut self.stage)?;
                listen_again(&mut self.stage)
            }
            _ if ended == Ended::Code(FILES) => {
                let listener = &mut self.stage.scene.listener;
                listener
                    .start(None)?
                    .ok_or("the payee does not start again")?;
                Ok(())
            }
            _ => {
                let said = self.stage.scene.listener.running()?.lines()?;
                let said = said.last().unwrap_or(&Value::Null);
                Err(format!("the payee ended with {ended:?} and said: {said}").into())
            }
        }
    }
}

impl Failing {
    /// A directory or a payee whose disk has failed leaves by itself; one that stays serves as ever.
    fn left_or_sound(&mut self) -> Result<Option<Ended>, Failure> {
        let (scene, victim) = (&mut self.stage.scene, self.victim);
        by(Instant::now() + PATIENCE, || {
            let service = scene.service(victim).ok_or("it does not serve")?;
            if let Some(ended) = service.running()?.ended()? {
                return Ok(Some(ended));
            }
            let said = match victim {
                Victim::Payee => scene.payee.ask(&["status"])?,
                Victim::Payer | Victim::Directory => scene.payer.ask(&["status"])?,
            };
            let serves = match victim {
                Victim::Payee => said.last()["listening"] == true,
                Victim::Payer | Victim::Directory => said.done().is_ok(),
            };
            match serves {
                true => Ok(None),
                false => Err(format!("the {} stays, but {}", victim.name(), said.last()).into()),
            }
        })
    }
}

/// What a disk says.
const ERRORS: [Errno; 2] = [Errno::EIO, Errno::ENOSPC];

/// The exit code for local files.
const FILES: i32 = 7;
