//! A terminal whose screen can be looked at, for the tests of programs that are typed to: one of
//! tmux.

#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A terminal of its own, until it is dropped.
pub(crate) struct Screen {
    server: PathBuf,
    columns: usize,
}

impl Screen {
    /// A terminal of so many columns and 50 lines in which the shell runs `script`. `server` is a
    /// path that nothing has yet.
    pub(crate) fn run(server: PathBuf, columns: usize, script: &str) -> Self {
        let screen = Self { server, columns };
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
            script,
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
            .arg("-S")
            .arg(&self.server)
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
            .arg("-S")
            .arg(&self.server)
            .arg("kill-server")
            .output();
    }
}

/// Longest wait for anything that should appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the screen is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
