//! `quid-crash`: the real programs, killed at their system calls and on a disk that fails.
//!
//! [`trace`] runs a program so that it can be killed at any call that has an effect, or be told that
//! the call has failed. [`kill`] does the former to a payer, a payee and a directory in turn, and
//! [`disk`] the latter, and has real disks fail. After each fault everybody must know the end.

#![cfg(target_os = "linux")]

mod books;
mod calls;
mod disk;
mod kill;
mod operation;
mod options;
mod point;
mod program;
mod registers;
mod rules;
mod scene;
mod stage;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Command, Options};

/// Why something is wrong, or could not be tried.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Kill(options) => kill::run(&options),
        Command::Disk(options) => disk::run(&options),
        Command::Launch { words } => Err(program::launch(&words)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quid-crash: {error}");
            ExitCode::FAILURE
        }
    }
}
