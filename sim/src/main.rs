//! Runs seeds: `--seed N` one again, `--seeds A..B` a range (B excluded), `soak --hours H` for hours.

use std::process::ExitCode;

fn main() -> ExitCode {
    quid_sim::command::main()
}
