//! The command `quid-directory`; only wires.

use std::process::ExitCode;

use quid_directory::{command, logging};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    no_core_files();
    command::main(logging::start)
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
