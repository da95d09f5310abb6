//! A command on a terminal whose screen can be looked at: one of tmux.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::processes::{Home, directory_program};

/// A terminal of its own, with a shell in it that knows the programs and the home.
pub(crate) struct Screen {
    server: String,
    columns: usize,
}

impl Screen {
    /// A terminal of so many columns and 50 lines on which `command` runs.
    pub(crate) fn start(home: &Home, columns: usize, variables: &str, command: &str) -> Self {
        let quid = env!("CARGO_BIN_EXE_quid");
        let folder = home.0.parent().expect("homes are in a folder").display();
        let name = home.0.file_name().expect("it has a name").to_string_lossy();
        let screen = Self {
            server: format!(
                "{folder}/{name}-{}.tmux",
                STARTED.fetch_add(1, Ordering::Relaxed)
            ),
            columns,
        };
        let path = directory_program();
        let path = path.parent().expect("programs are in a folder").display();
        let run = format!(
            "export PATH='{path}':\"$PATH\" QUID_HOME='{}' {variables}; '{quid}' {command}; \
             echo \"ended $?\"; exec sleep 1000",
            home.0.display()
        );
        let columns = columns.to_string();
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            "50",
            "/bin/sh",
            "-c",
            &run,
        ]);
        screen
    }

    /// Types a text.
    pub(crate) fn keys(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses a key that tmux calls so.
    pub(crate) fn key(&self, name: &str) {
        self.tmux(&["send-keys", name]);
    }

    /// What is on the screen once `text` is, colours as escape sequences.
    pub(crate) fn until(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.tmux(&["capture-pane", "-p", "-e"]);
            if shown.contains(text) {
                return shown;
            }
            assert!(Instant::now() < deadline, "no {text:?} on\n{shown}");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether nothing on a screen is wider than it is, and every line is text.
    pub(crate) fn holds(&self, shown: &str) {
        for line in shown.lines() {
            assert!(line.chars().count() <= self.columns, "{line}");
        }
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.server])
            .args(arguments)
            .env_remove("TMUX")
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux is installed: test.sh sees to it");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.server, "kill-server"])
            .output();
    }
}

/// How many were started: each has a server of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Longest wait for anything that should appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the screen is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
