//! The command `quid` where no directory answers: wrong arguments, wrong homes, nobody there.
//!
//! Each failure is one line on stderr without control characters, the documented exit code, and
//! nothing written. Here are failures in general and what follows when nobody answers; wrong arguments
//! are in `grammar` and `tabs`, wrong homes in `homes`.

use std::ffi::OsStr;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

mod grammar;
mod homes;
mod tabs;

const KEY: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena";
const ORDER: &str = "019aab12-3456-7abc-8def-0123456789ab";

/// One of each command that comes to nothing without the directory.
const ASK_THE_DIRECTORY: [&[&str]; 10] = [
    &["status"],
    &["who"],
    &["who", "--watch"],
    &["register", "alice"],
    &["pay", "bob", "1"],
    &["void", ORDER],
    &["history"],
    &["receipt", "show", "1"],
    &["tab", "open", "bob", "--unit", "1", "--units", "1"],
    &["tab", "close", ORDER],
];

#[test]
fn json_failures_are_one_object_with_error_and_message() {
    let world = World::new();
    let home = world.home("none");
    for (arguments, code, error) in [
        (&["--json", "pay", "bob", "1e3"][..], 2, "usage"),
        (&["pay", "bob", "1e3", "--json"], 2, "usage"),
        (&["--json"], 2, "usage"),
        (&["--json", "status", "--json"], 2, "usage"),
        (&["--json", "nonsense\u{9b}"], 2, "usage"),
        (&["--json", "status"], 7, "files"),
        (
            &["init", "--json", "--directory", "quid://127.0.0.1:9"],
            2,
            "usage",
        ),
    ] {
        let output = world.quid(&home, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        assert_eq!(stdout.lines().count(), 1, "{arguments:?}: {stdout}");
        let object: Value = serde_json::from_str(&stdout).expect("the line is JSON");
        assert_eq!(object["error"], error, "{arguments:?}");
        assert!(
            object["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(
            stdout.trim_end().chars().all(|c| !c.is_control()),
            "{stdout:?}"
        );
        one_line(&output.stderr);
    }
}

#[test]
fn help_and_version_are_answers() {
    let world = World::new();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["help"],
        &["pay", "--help"],
        &["help", "pay"],
        &["receipt", "show", "--help"],
        &["tab", "--help"],
        &["tab", "open", "--help"],
        &["help", "tab", "pay"],
    ] {
        let output = world.quid(&world.home("none"), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!world.home("none").exists());
}

#[test]
fn a_directory_that_does_not_answer_is_code_6_in_time() {
    let world = World::new();
    // A socket that is bound and never answers, so that nobody else can.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let home = world.home("alice");
    let address = format!("quid://{KEY}@127.0.0.1:{port}");
    let output = world.quid(&home, &["init", "--directory", &address]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // What a home knows by itself needs nobody, and what nobody has said yet is not guessed.
    let listed = world.quid(&home, &["tab", "list"]);
    assert!(
        listed.status.success() && listed.stdout.is_empty(),
        "{listed:?}"
    );
    let line = check_failure(&world.quid(&home, &["tab", "pay", ORDER, "1"]), 3);
    assert!(line.contains("no open tab"), "{line}");
    let line = check_failure(&world.quid(&home, &["listen", "--exposure", "1"]), 2);
    assert!(line.contains("--exposure"), "{line}");
    let start = Instant::now();
    // All of them at once.
    let running = ASK_THE_DIRECTORY.map(|arguments| {
        world
            .command(arguments)
            .env("QUID_HOME", &home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs")
    });
    for child in running {
        let line = check_failure(&child.wait_with_output().expect("quid ends"), 6);
        assert!(line.contains("directory"), "{line}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_shell_without_a_terminal_reads_lines_and_outlives_errors() {
    let world = World::new();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let home = world.home("alice");
    let address = format!("quid://{KEY}@127.0.0.1:{port}");
    world.quid(&home, &["init", "--directory", &address]);
    let script = "pay bob 1e3\n\n  nonsense\n'open\n--home x status\ninit\n?\nx\nstatus\n";
    let output = world.quid_with_input(&home, &["shell"], script.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).expect("notes are text");
    for part in ["1e3", "nonsense", "never closed", "--home", "who is online"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(
        output.stdout.is_empty() || output.stdout.starts_with(b"offline"),
        "{output:?}"
    );
}

/// `arguments` are refused with code 2 and one line, and nothing is written.
fn check_usage<S: AsRef<OsStr>>(arguments: &[S]) {
    let world = World::new();
    let home = world.home("none");
    let mut command = world.command(arguments);
    let output = command
        .env("QUID_HOME", &home)
        .current_dir(world.0.path())
        .output()
        .expect("quid runs");
    let shown: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    assert_eq!(output.status.code(), Some(2), "{shown:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{shown:?}: {output:?}");
    let line = one_line(&output.stderr);
    assert!(line.len() < 600, "{shown:?}: {line}");
    let left = fs::read_dir(world.0.path())
        .expect("the folder is ours")
        .count();
    assert_eq!(left, 0, "{shown:?} wrote something");
}

/// The one stderr line of a failure with this exit code.
fn check_failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    one_line(&output.stderr)
}

fn one_line(stderr: &[u8]) -> String {
    let text = std::str::from_utf8(stderr).expect("messages are text");
    let line = text.strip_suffix('\n').expect("the line has an end");
    assert!(!line.is_empty());
    assert!(
        !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{line:?}"
    );
    assert!(
        !line.contains("panicked") && !line.contains("backtrace"),
        "{line}"
    );
    line.to_owned()
}

/// A folder for homes, and nothing of the developer's own environment.
struct World(TempDir);

impl World {
    fn new() -> Self {
        Self(TempDir::new().expect("there is a temporary folder"))
    }

    fn home(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A home of a directory where nobody answers.
    fn made(&self, name: &str) -> std::path::PathBuf {
        let home = self.home(name);
        let address = format!("quid://{KEY}@127.0.0.1:9");
        let output = self.quid(&home, &["init", "--directory", &address]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        home
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quid"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn quid(&self, home: &Path, arguments: &[&str]) -> Output {
        self.command(arguments)
            .env("QUID_HOME", home)
            .output()
            .expect("quid runs")
    }

    fn quid_with_input(&self, home: &Path, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write;
        let mut child = self
            .command(arguments)
            .env("QUID_HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input).expect("quid reads");
        drop(stdin);
        child.wait_with_output().expect("quid ends")
    }
}
