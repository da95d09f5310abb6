//! The command `quid`: a thin face on the library `quid_node`.

use std::process::ExitCode;

mod cli;
mod control;
mod shell;

fn main() -> ExitCode {
    cli::start()
}
