//! The words of the command `quid-crash`.

use std::ffi::OsString;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Failure;
use crate::point::Wanted;

/// Kills the real Quid programs at any of their system calls, and breaks their disk: afterwards
/// nothing may be lost, and everybody must know the end of every payment.
#[derive(Debug, Parser)]
#[command(name = "quid-crash", version, max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Kill the payer, the payee or the directory during an operation, and again while it starts
    Kill(Kill),
    /// Break the disk, and see that nobody is told what the disk does not hold
    Disk(Disk),
    /// Become a program that is traced
    #[command(hide = true)]
    Launch {
        /// The program, and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// `quid-crash kill`
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// OPERATION, OPERATION/VICTIM or OPERATION/VICTIM/CALL[+CALL OF THE RESTART] [default: all]
    #[arg(value_name = "WHERE")]
    pub(crate) wanted: Vec<Wanted>,
    /// How many points to try, spread over operations and victims
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) points: usize,
    /// Choose the same points again [default: a new seed, which is printed]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Try every call of each operation and of each restart instead
    #[arg(long, conflicts_with = "points")]
    pub(crate) all: bool,
    /// With --all: only the K-th of N parts, so that a long run can be made in pieces
    #[arg(long, value_name = "K/N", requires = "all", default_value = "1/1")]
    pub(crate) part: Part,
    /// How many scenes run at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) jobs: usize,
}

/// `quid-crash disk`
#[derive(Debug, Args)]
pub(crate) struct Disk {
    /// Which faults [default: all]
    #[arg(value_enum, value_name = "FAULT")]
    pub(crate) faults: Vec<DiskFault>,
    /// How many calls of each program and error to fail; all unless said
    #[arg(long, value_name = "N")]
    pub(crate) points: Option<usize>,
    /// Only the K-th of N parts of all calls, so that a long run can be made in pieces
    #[arg(
        long,
        value_name = "K/N",
        conflicts_with = "points",
        default_value = "1/1"
    )]
    pub(crate) part: Part,
    /// Choose the same again [default: a new seed, which is printed]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
}

/// A part of a complete run: every so many points one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 1.
    nth: usize,
    of: usize,
}

impl Part {
    /// The points that are in this part.
    pub(crate) fn of<T>(self, points: impl IntoIterator<Item = T>) -> Vec<T> {
        points
            .into_iter()
            .skip(self.nth - 1)
            .step_by(self.of)
            .collect()
    }
}

impl FromStr for Part {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (nth, of) = text
            .split_once('/')
            .ok_or("it is written K/N, the K-th of N")?;
        let (nth, of) = (nth.parse()?, of.parse()?);
        match (1..=of).contains(&nth) {
            true => Ok(Self { nth, of }),
            false => Err("there is no such part".into()),
        }
    }
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskFault {
    /// Each write and sync of payer, payee and directory fails in turn, once and for good
    Errors,
    /// A small disk is full (root: a tmpfs)
    Full,
    /// The block device below fails every write (root, nbdkit, nbdfuse)
    Device,
    /// The power fails: what was not synced is gone (root: ext4 on a loop device)
    Power,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_and_share_nothing() {
        for of in 1..7 {
            let parts = (1..=of).map(|nth| format!("{nth}/{of}").parse::<Part>().expect("a part"));
            let mut all: Vec<u32> = parts.flat_map(|part| part.of(0..20)).collect();
            all.sort_unstable();
            assert_eq!(all, Vec::from_iter(0..20), "in {of} parts");
        }
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
