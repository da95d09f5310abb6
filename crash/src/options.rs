//! The words of the command `quid-crash`.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// How many scenes run at once
    #[arg(long, value_name = "N", default_value_t = 4)]
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
    /// Choose the same again [default: a new seed, which is printed]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
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
