//! docs/tutorial.md is true: its commands are run as they stand there, each in the terminal that it
//! is for, and print what it says. The code that it shows is the examples' own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn every_command_of_the_tutorial_prints_what_it_says() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let mut terminals = BTreeMap::new();
    let mut commands = 0;
    for (language, block) in blocks() {
        let Some(name) = language.strip_prefix("console ") else {
            continue;
        };
        let terminal = terminals
            .entry(name.to_owned())
            .or_insert_with(|| Terminal::start(folder.path()));
        for (command, expected) in steps(&block) {
            if let Some(command) = &command {
                terminal.run(command);
                commands += 1;
            }
            terminal.shows(&expected, command.as_deref().unwrap_or("(more)"));
        }
    }
    assert!(commands > 20, "the tutorial is not read any more");
}

#[test]
fn the_code_of_the_tutorial_is_in_the_examples() {
    let shop = fs::read_to_string(root().join("examples/src/shop.rs")).expect("it is there");
    let mut shown = 0;
    for (_, block) in blocks().into_iter().filter(|(it, _)| it == "rust") {
        assert!(
            shop.contains(&block),
            "not in examples/src/shop.rs:\n{block}"
        );
        shown += 1;
    }
    assert!(shown > 0, "the tutorial shows no code any more");
    let lines = shop.lines().count();
    assert!(
        tutorial().contains(&format!("is {lines} lines")),
        "it has {lines} lines"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tutorial() -> String {
    fs::read_to_string(root().join("docs/tutorial.md")).expect("it is there")
}

/// The fenced blocks, with what stands behind the fence.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in tutorial().lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The commands of a block, each with the lines that it is to print; without a command, what the one
/// before prints now.
fn steps(block: &str) -> Vec<(Option<String>, Vec<String>)> {
    let mut steps: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((Some(command.to_owned()), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => steps.push((None, vec![line.to_owned()])),
        }
    }
    steps
}

/// A shell in which commands run one after another.
struct Terminal {
    shell: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// Whether the last command may still be running.
    runs: bool,
    /// The code that it must end with.
    code: i32,
}

impl Terminal {
    fn start(folder: &Path) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_shop")).parent();
        let programs = programs.expect("programs are in a folder");
        for program in ["quid", "quid-directory"] {
            let built = programs.join(program).exists();
            assert!(built, "build it first: cargo build --workspace --bins");
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash")
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", programs.display()))
            // Any free port instead of the usual one.
            .env("QUID_DIRECTORY_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("there is bash");
        let mut stdin = shell.stdin.take().expect("it is piped");
        writeln!(stdin, "exec 2>&1").expect("bash reads");
        let stdout = shell.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            shell,
            stdin,
            lines,
            runs: false,
            code: 0,
        }
    }

    /// Runs a command, once the one before has ended as it must.
    fn run(&mut self, command: &str) {
        self.wait();
        writeln!(
            self.stdin,
            "{{ {command}; }} </dev/null\necho \"{ENDED}$?\""
        )
        .expect("bash reads");
        self.runs = true;
    }

    /// Waits for these lines, in order; others may stand between.
    fn shows(&mut self, expected: &[String], command: &str) {
        let refused = expected.iter().any(|line| line.starts_with("refused"));
        self.code = if refused { 3 } else { 0 };
        for expected in expected.iter().filter(|line| *line != "…") {
            let mut seen = Vec::new();
            loop {
                let line = self.next(command, &seen);
                if fits(expected, &line) {
                    break;
                }
                assert!(
                    !line.starts_with(ENDED),
                    "{command} ended without {expected:?}:\n{}",
                    seen.join("\n")
                );
                seen.push(line);
            }
        }
        if expected.is_empty() {
            self.wait();
        }
    }

    fn wait(&mut self) {
        while self.runs {
            let line = self.next("the end", &[]);
            if let Some(code) = line.strip_prefix(ENDED) {
                assert_eq!(code, self.code.to_string(), "the command's exit code");
                self.runs = false;
            }
        }
    }

    fn next(&self, what: &str, seen: &[String]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left);
        line.unwrap_or_else(|_| {
            panic!("{what}: no more in {PATIENCE:?} after\n{}", seen.join("\n"))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
    }
}

/// Whether a line is as expected, where `…` stands for anything.
fn fits(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.trim_end().is_empty();
    };
    for part in between {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    last.is_empty() || rest.trim_end().ends_with(last)
}

/// What stands before the exit code of a command that has ended.
const ENDED: &str = "--ended ";

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);
