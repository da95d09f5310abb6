//! `quid-crash disk`: the disk fails below the real programs.
//!
//! A directory that cannot make a batch durable answers nobody and leaves; once the disk is whole
//! again, the next start knows all that was acknowledged, and everybody learns the end.

use std::time::Instant;

use rand::RngExt;
use serde_json::Value;

use crate::Failure;
use crate::operation::refs;
use crate::options::{Disk, DiskFault};
use crate::point::{Operation, Victim};
use crate::stage::Stage;
use crate::trace::Ended;

mod device;
mod errors;
mod full;
mod mounts;
mod power;

/// Runs the faults that were asked for, and says what was found.
///
/// # Errors
/// The first thing that was wrong; or what is missing to try it.
pub(crate) fn run(options: &Disk) -> Result<(), Failure> {
    let seed = options.seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("seed {seed}");
    let faults = match options.faults.as_slice() {
        [] => &[
            DiskFault::Errors,
            DiskFault::Full,
            DiskFault::Device,
            DiskFault::Power,
        ],
        faults => faults,
    };
    for fault in faults {
        let begun = Instant::now();
        let found = match fault {
            DiskFault::Errors => errors::run(seed, options),
            DiskFault::Full => full::run(),
            DiskFault::Device => device::run(),
            DiskFault::Power => power::run(seed),
        };
        match found {
            Ok(found) => println!("{found}; nothing lost, in {:.0?}", begun.elapsed()),
            Err(error) => {
                return Err(format!("disk {fault:?}, seed {seed}: {error}").into());
            }
        }
    }
    Ok(())
}

/// One payment, whatever becomes of it: what its command said.
fn pay(stage: &mut Stage) -> Result<(crate::operation::Ready, Option<Value>), Failure> {
    let ready = stage.ready(Operation::Pay)?;
    let said = ready.home.ask(&refs(&ready.command))?;
    Ok((ready, said.lines.last().cloned()))
}

/// One payment that must settle, since the disk is whole.
fn pay_well(stage: &mut Stage) -> Result<(), Failure> {
    let (ready, said) = pay(stage)?;
    if said.as_ref().is_none_or(|said| said["state"] != "settled") {
        return Err(format!("the disk is whole, but {said:?}").into());
    }
    stage.end(ready, Victim::Directory, said)?;
    Ok(())
}

/// Pays until the directory has left because of its disk, at most so often: the last payment, and
/// what its command said.
fn pay_until_it_leaves(
    stage: &mut Stage,
    payments_max: usize,
) -> Result<(crate::operation::Ready, Option<Value>), Failure> {
    for _ in 0..payments_max {
        let (ready, said) = pay(stage)?;
        if let Some(ended) = stage.scene.directory.running()?.ended()? {
            left(ended, stage)?;
            return Ok((ready, said));
        }
        stage.note(&ready, said.as_ref());
    }
    Err(format!("the directory goes on after {payments_max} payments").into())
}

/// A directory that its disk fails leaves at once, by itself, and says so in a line.
fn left(ended: Ended, stage: &Stage) -> Result<(), Failure> {
    let log = std::fs::read_to_string(stage.scene.folder.path().join("directory.log"))?;
    let said = log.lines().last().unwrap_or_default();
    let right = said.contains("stopping at once") || said.starts_with("quid-directory: ");
    match ended {
        Ended::Code(FILES) if right => Ok(()),
        ended => Err(format!("the directory ended with {ended:?} and said: {said}").into()),
    }
}

/// Starts the directory on a disk that is whole again.
fn start_again(stage: &mut Stage) -> Result<(), Failure> {
    let directory = &mut stage.scene.directory;
    directory.running()?.kill()?;
    directory.start(None)?.ok_or_else(|| {
        let log = std::fs::read_to_string(stage.scene.folder.path().join("directory.log"));
        let log = log.unwrap_or_default();
        format!(
            "it does not start again: {}",
            log.lines().last().unwrap_or_default()
        )
    })?;
    Ok(())
}

/// Starts the payee again, which would else notice in some seconds only that the directory was away.
fn listen_again(stage: &mut Stage) -> Result<(), Failure> {
    let listener = &mut stage.scene.listener;
    listener.running()?.kill()?;
    listener
        .start(None)?
        .ok_or("the payee does not start again")?;
    Ok(())
}

/// The exit code for local files.
const FILES: i32 = 7;
