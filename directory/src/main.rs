//! The command `quid-directory`; only wires.

use std::process::ExitCode;

use quid_directory::{command, logging};

fn main() -> ExitCode {
    command::main(logging::start)
}
