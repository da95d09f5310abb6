//! The command `quid`: a thin face on the library `quid_node`.
#![forbid(unsafe_code)]
// Foreign bytes pass through here, and a panic ends the program. Not in the tests, which may.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::missing_panics_doc,
        clippy::panic,
        clippy::panic_in_result_fn,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use std::process::ExitCode;

mod cli;
mod control;
mod shell;

fn main() -> ExitCode {
    cli::start()
}
