//! The command `quid-directory`; only wires.

use std::process::ExitCode;
use std::sync::Arc;

use quid_directory::{command, logging};
use rustix::process::{Resource, Rlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

fn main() -> ExitCode {
    no_core_files();
    outlive_file_size_limit();
    command::main(logging::start)
}

/// A file that may not grow any more (`ulimit -f`) fails the write, as a full disk does, instead of
/// ending the process without a word.
fn outlive_file_size_limit() {
    // Taking the signal is all. A system that does not let us leaves things as they were.
    let _ = flag::register(SIGXFSZ, Arc::default());
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
