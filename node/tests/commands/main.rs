//! The command `quid` where no directory answers: wrong arguments, wrong homes, nobody there.
//!
//! Each failure is one line on stderr without control characters, the documented exit code, and
//! nothing written.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

mod tabs;

const KEY: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena";
const ORDER: &str = "019aab12-3456-7abc-8def-0123456789ab";

#[test]
fn amounts_outside_the_grammar_are_refused() {
    for amount in [
        "",
        " ",
        "1e3",
        "1E3",
        "1,5",
        "1,000.5",
        "+1",
        "-1",
        "-0",
        "-1.5",
        "\u{2212}1",
        " 1",
        "1 ",
        "1\n",
        "1\t",
        "1\u{a0}000",
        "1_000",
        "1'000",
        "0x10",
        "0b1",
        "1/2",
        "50%",
        "$5",
        "5 QUID",
        "QUID",
        "NaN",
        "inf",
        "-inf",
        "1.2.3",
        "1..2",
        ".",
        "..",
        ".5",
        "1.",
        "1.5.",
        "1.0000000001",
        "\u{661}\u{662}",
        "\u{ff11}",
        "\u{b2}",
        "\u{2460}",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
        "0",
        "0.0",
        "00",
        "000.000",
        "--5",
        "\u{1b}[31m1",
        "1\u{202e}5",
        "1\u{200b}",
    ] {
        check_usage(&["pay", "bob", amount]);
    }
    check_usage(&["pay", "bob", &"1".repeat(65)]);
    check_usage(&["pay", "bob", &"9".repeat(100_000)]);
}

#[test]
fn names_outside_the_grammar_are_refused() {
    for name in [
        "",
        "a",
        "ab",
        "Bob",
        "BOB",
        "1bob",
        "-bob",
        "_bob",
        "bob-",
        "bob_",
        "b ob",
        " bob",
        "bob ",
        "bob\n",
        "b\u{f6}b",
        "\u{431}\u{43e}\u{431}",
        "bob.",
        "bob@home",
        "bob/../x",
        "b\u{1b}[2Jb",
        "b\u{9b}b",
        "bob\u{202e}",
        "\u{301}bob",
        "quid://bob",
        "$(id)",
        "*",
    ] {
        check_usage(&["pay", name, "1"]);
        check_usage(&["register", name]);
    }
    check_usage(&["register", &"a".repeat(33)]);
    check_usage(&["register", &"a".repeat(100_000)]);
}

#[test]
fn addresses_outside_the_grammar_are_refused() {
    for address in [
        "",
        "KEY",
        "KEY@h:1",
        "h:1",
        "http://KEY@h:1",
        "QUID://KEY@h:1",
        "quid://KEY@h",
        "quid://KEY@h:",
        "quid://KEY@h:0",
        "quid://KEY@h:65536",
        "quid://KEY@h:+1",
        "quid://KEY@:1",
        "quid://@h:1",
        "quid://abc@h:1",
        "quid://KEYx@h:1",
        "quid://KEY@h:1/",
        "quid://KEY@h:1/request/x",
        "quid://KEY@h:1?a",
        "quid://KEY@h:1#a",
        "quid://KEY@0.0.0.0:1",
        "quid://KEY@::1:1",
        "quid://KEY@[::1",
        "quid://u:p@h:1",
        "quid://KEY@127.1:1",
        " quid://KEY@h:1",
        "quid://KEY@h:1 ",
        "quid://KEY@h\u{1b}:1",
        "quid://KEY@b\u{fc}cher:1",
        "quid://127.0.0.1:9",
    ] {
        check_usage(&["init", "--directory", &address.replace("KEY", KEY)]);
    }
    check_usage(&[
        "init",
        "--directory",
        &format!("quid://{KEY}@{}:1", "h".repeat(100_000)),
    ]);
}

#[test]
fn ids_outside_the_grammar_are_refused() {
    for id in [
        "",
        "12",
        "x",
        "019aab12",
        "019aab1234567abc8def0123456789ab",
        "019AAB12-3456-7ABC-8DEF-0123456789AB",
        "{019aab12-3456-7abc-8def-0123456789ab}",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "019aab12-3456-7abc-8def-0123456789ag",
        "019aab12-3456-7abc-8def-0123456789ab0",
        "\u{1b}[31m",
    ] {
        check_usage(&["void", id]);
    }
    for id in [
        "",
        "x",
        "-1",
        "+1",
        "1.0",
        " 1",
        "18446744073709551616",
        "67e55044",
        "\u{1b}c",
    ] {
        check_usage(&["receipt", "show", id]);
    }
}

#[test]
fn numbers_outside_the_grammar_are_refused() {
    for number in [
        "",
        "0",
        "-1",
        "+1",
        "x",
        "1.5",
        " 1",
        "1e3",
        "1000001",
        "18446744073709551616",
    ] {
        check_usage(&["history", "--limit", number]);
    }
    for number in ["", "-1", "+1", "x", "1.5", " 1", "18446744073709551616"] {
        check_usage(&["history", "--after", number]);
    }
    for seconds in [
        "",
        "0",
        "-1",
        "x",
        "1.5",
        "10s",
        "3601",
        "18446744073709551616",
    ] {
        check_usage(&["pay", "bob", "1", "--wait", seconds]);
    }
    for reference in [
        "",
        "0",
        "12345678",
        &"f".repeat(31),
        &"f".repeat(33),
        &"F".repeat(32),
    ] {
        check_usage(&["pay", "bob", "1", "--reference", reference]);
    }
    for bind in [
        "",
        "x",
        "0.0.0.0",
        ":1",
        "localhost:1",
        "1.2.3.4:65536",
        "::1:1",
    ] {
        check_usage(&["listen", "--bind", bind]);
    }
    check_usage(&["pay", "bob", "1", "--memo", &"x".repeat(141)]);
    check_usage(&["pay", "bob", "1", "--memo", &"x".repeat(100_000)]);
}

#[test]
fn missing_doubled_and_unknown_arguments_are_refused() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["pya", "bob", "1"],
        &["PAY", "bob", "1"],
        &["\u{1b}[2J"],
        &["init"],
        &["init", "--directory"],
        &["register"],
        &["register", "bob", "alice"],
        &["pay"],
        &["pay", "bob"],
        &["pay", "--memo", "tea"],
        &["pay", "bob", "1", "2"],
        &["pay", "bob", "1", "--yes"],
        &["pay", "bob", "1", "--again"],
        &["pay", "quid://h:1/request/"],
        &["request"],
        &["request", "0"],
        &["request", "1", "--open"],
        &["request", "1", "--tab", "--unit", "1", "--units", "1"],
        &["request", "--tab"],
        &["request", "--tab", "--unit", "1"],
        &["request", "--open", "--units", "1"],
        &["request", "1", "--expires", "0s"],
        &["request", "1", "--expires", "367d"],
        &["request", "1", "--memo", &"x".repeat(141)],
        &["requests", "--limit", "0"],
        &["refund"],
        &["refund", "-1"],
        &["refund", ORDER],
        &["pay", "bob", "1", "--memo"],
        &["pay", "bob", "1", "--memo", "a", "--memo", "b"],
        &["pay", "bob", "1", "--wait", "1", "--wait", "2"],
        &["pay", "bob", "1", "--wiat", "1"],
        &["pay", "bob", "1", "--memos", "a"],
        &["pay", "bob", "1", "-m", "a"],
        &["pay", "bob", "1", "--hidden"],
        &["pay", "bob", "1", "\u{1b}[2J"],
        &["pay", "bob", "1", "--\u{1b}[2J"],
        &["who", "--watch", "--watch"],
        &["who", "--watch=yes"],
        &["who", "bob"],
        &["status", "now"],
        &["void"],
        &["void", ORDER, ORDER],
        &["listen", "--hidden", "--hidden"],
        &["listen", "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0"],
        &["history", "--limit", "1", "--limit", "2"],
        &["history", "5"],
        &["receipt"],
        &["receipt", "nonsense"],
        &["receipt", "show"],
        &["receipt", "show", "1", "--out"],
        &["receipt", "show", "1", "--out", ""],
        &["receipt", "verify"],
        &["receipt", "verify", ""],
        &["receipt", "verify", "a", "b"],
        &["status", "--home", "a", "--home", "b"],
        &["--home", "a", "status", "--home", "b"],
        &["--home", "a", "status", "--home=b"],
        &["status", "--home"],
        &["status", "--home", ""],
        &["status", "--log-format"],
        &["status", "--log-format", "xml"],
        &["--log-format", "json", "status", "--log-format", "human"],
        &["-x", "status"],
        &["tab"],
        &["tab", "nonsense"],
        &["tab", "list", "all"],
        &["tab", "open"],
        &["tab", "open", "bob"],
        &["tab", "open", "bob", "--unit", "1"],
        &["tab", "open", "bob", "--units", "1"],
        &["tab", "open", "bob", "1", "--unit", "1", "--units", "1"],
        &["tab", "pay", ORDER],
        &["tab", "pay", ORDER, "1", "2"],
        &["tab", "pay", "1"],
        &["tab", "close"],
        &["tab", "close", ORDER, ORDER],
    ] {
        check_usage(arguments);
    }
}

#[test]
fn arguments_that_are_not_utf8_are_refused() {
    for bytes in [
        &b"\xff"[..],
        b"b\xffb",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\x9b31m\xfe",
        b"\xff\x1b[2J",
    ] {
        let bad = OsString::from_vec(bytes.to_vec());
        for arguments in [
            vec![bad.clone()],
            vec!["pay".into(), bad.clone(), "1".into()],
            vec!["pay".into(), "bob".into(), bad.clone()],
            vec![
                "pay".into(),
                "bob".into(),
                "1".into(),
                "--memo".into(),
                bad.clone(),
            ],
            vec!["receipt".into(), "verify".into(), bad.clone()],
        ] {
            check_usage(&arguments);
        }
    }
}

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
fn a_home_needs_no_network_and_is_its_owners_alone() {
    let world = World::new();
    let home = world.home("alice");
    let address = format!("quid://{KEY}@directory.invalid:4433");
    let output = world.quid(&home, &["init", "--directory", &address, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(made["directory"], address.as_str());
    assert_eq!(made["key"].as_str().map(str::len), Some(52));
    assert_eq!(mode(&home), 0o700);
    for file in fs::read_dir(&home).expect("the home is a folder") {
        let file = file.expect("the home can be read").path();
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    // The same again changes nothing; another directory is refused.
    let again = world.quid(&home, &["init", "--directory", &address, "--json"]);
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(again.stdout, output.stdout);
    let other = address.replace("4433", "4434");
    let refused = world.quid(&home, &["init", "--directory", &other]);
    check_failure(&refused, 7);
}

#[test]
fn homes_that_cannot_be_used_are_named() {
    let world = World::new();
    let home = world.home("none");
    for arguments in [
        &["status"][..],
        &["who"],
        &["who", "--watch"],
        &["register", "alice"],
        &["pay", "bob", "1"],
        &["void", ORDER],
        &["history"],
        &["receipt", "show", "1"],
        &["receipt", "verify", "1"],
        &["tab", "open", "bob", "--unit", "1", "--units", "1"],
        &["tab", "list"],
        &["tab", "pay", ORDER, "1"],
        &["tab", "close", ORDER],
        &["listen"],
        &["shell"],
    ] {
        let line = check_failure(&world.quid(&home, arguments), 7);
        assert!(line.contains("none"), "{line}");
        assert!(!home.exists(), "{arguments:?} made a home");
    }
    // A file where the home belongs.
    let file = world.home("file");
    fs::write(&file, "x").expect("the temporary folder is ours");
    check_failure(&world.quid(&file, &["status"]), 7);
    let address = format!("quid://{KEY}@127.0.0.1:9");
    check_failure(&world.quid(&file, &["init", "--directory", &address]), 7);
    assert_eq!(fs::read(&file).expect("the file is left"), b"x");
    // A home that is open to others, or whose files are.
    for open in ["home", "key"] {
        let home = world.made(open);
        let target = if open == "home" {
            home.clone()
        } else {
            key_file(&home)
        };
        fs::set_permissions(&target, Permissions::from_mode(0o755)).expect("it is ours");
        let line = check_failure(&world.quid(&home, &["status"]), 7);
        assert!(line.contains(&*home.to_string_lossy()), "{line}");
    }
    // A key that is missing, cut or a folder.
    for (name, harm) in [
        (
            "missing",
            (|key| fs::remove_file(key)) as fn(&Path) -> std::io::Result<()>,
        ),
        ("empty", |key| fs::write(key, "")),
        ("noise", |key| fs::write(key, [0xff; 200])),
        ("folder", |key| {
            fs::remove_file(key).and_then(|()| fs::create_dir(key))
        }),
    ] {
        let home = world.made(name);
        harm(&key_file(&home)).expect("the key is ours");
        let line = check_failure(&world.quid(&home, &["status"]), 7);
        assert!(line.contains(&*home.to_string_lossy()), "{line}");
    }
}

#[test]
fn a_process_without_any_home_says_so() {
    let world = World::new();
    let output = world
        .command(&["status"])
        .env_remove("HOME")
        .output()
        .expect("quid runs");
    let line = check_failure(&output, 7);
    assert!(line.contains("--home"), "{line}");
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
    let running: Vec<_> = [
        &["status"][..],
        &["who"],
        &["who", "--watch"],
        &["register", "alice"],
        &["pay", "bob", "1"],
        &["void", ORDER],
        &["history"],
        &["receipt", "show", "1"],
        &["tab", "open", "bob", "--unit", "1", "--units", "1"],
        &["tab", "close", ORDER],
    ]
    .into_iter()
    .map(|arguments| {
        world
            .command(arguments)
            .env("QUID_HOME", &home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs")
    })
    .collect();
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

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("the path is there")
        .permissions()
        .mode()
        & 0o777
}

/// The file in `home` that holds the secret key.
fn key_file(home: &Path) -> std::path::PathBuf {
    fs::read_dir(home)
        .expect("the home is a folder")
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|file| {
            fs::read(file)
                .is_ok_and(|bytes| bytes.windows(11).any(|window| window == b"PRIVATE KEY"))
        })
        .expect("the home has a key")
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
