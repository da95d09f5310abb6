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

use rustix::process::{Resource, Rlimit, setrlimit};

mod cli;
mod control;
mod shell;
mod wallet;

fn main() -> ExitCode {
    no_core_files();
    cli::start()
}

/// No core file shall hold a key. A limit of one byte also stops what is piped to a program, which a
/// limit of none does not (core(5)).
fn no_core_files() {
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // Where the limit is lower already, none is the best there is.
    if setrlimit(Resource::Core, limit(1)).is_err() {
        let _ = setrlimit(Resource::Core, limit(0));
    }
}
