//! A command on a terminal whose screen can be looked at.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::processes::{Home, directory_program};
pub(crate) use crate::screen::Screen;

impl Screen {
    /// A terminal of so many columns on which `command` runs, in a shell that knows the programs and
    /// the home.
    pub(crate) fn start(home: &Home, columns: usize, variables: &str, command: &str) -> Self {
        let quid = env!("CARGO_BIN_EXE_quid");
        let folder = home.0.parent().expect("homes are in a folder");
        let name = home.0.file_name().expect("it has a name").to_string_lossy();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = directory_program();
        let path = path.parent().expect("programs are in a folder").display();
        let script = format!(
            "export PATH='{path}':\"$PATH\" QUID_HOME='{}' {variables}; '{quid}' {command}; \
             echo \"ended $?\"; exec sleep 1000",
            home.0.display()
        );
        Self::run(
            folder.join(format!("{name}-{number}.tmux")),
            columns,
            &script,
        )
    }
}

/// How many were started: each has a server of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);
