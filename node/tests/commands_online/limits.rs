//! Files that may not grow any more (`ulimit -f`): the disk fails each write beyond, in the middle of
//! whatever is being committed. Nobody is told what is not on the disk, whoever cannot write leaves
//! with a line that says so, and nothing is lost.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::processes::{Home, World, directory_program, limit_files};

#[test]
fn a_listener_whose_journal_cannot_be_written_leaves_and_says_so() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let mut listen = bob.listen();
    limit_files(listen.id(), 0);
    let paid = alice.quid(&["pay", "bob", "1", "--json"]);
    let code = paid.status.code();
    assert!(matches!(code, Some(0 | 3 | 4)), "{paid:?}");
    assert_eq!(listen.wait(), Some(7));
    let told = listen.until("why", |line| line["error"] == "files");
    let message = told["message"].as_str().expect("it is text");
    assert!(
        message.contains("the journal cannot be written"),
        "{message}"
    );
    let said = listen.stderr();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("quid: "))
        .collect();
    assert_eq!(lines, [format!("quid: {message}")], "{said}");
    // Whatever became of the payment, both learn it; the next one is taken again.
    let listen = bob.listen();
    settle(&[&alice, &bob], 20);
    assert_eq!(alice.ok(&["pay", "bob", "2"])["route"], "direct");
    listen.until("the payment", |line| line["amount"] == "2.000000");
    settle(&[&alice, &bob], 20);
}

#[test]
fn a_shell_whose_journal_cannot_be_written_leaves_as_well() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let mut shell = bob.run(&["shell"]);
    shell.type_line("status");
    shell.until("the status", |line| line["listening"] == true);
    limit_files(shell.id(), 0);
    alice.quid(&["pay", "bob", "1", "--json"]);
    assert_eq!(shell.wait(), Some(7));
    assert!(shell.stderr().contains("the journal cannot be written"));
    settle(&[&alice, &bob], 20);
}

#[test]
fn a_payer_at_any_file_size_limit_knows_what_became_of_its_payment() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let mut codes = BTreeMap::new();
    // The journal's index of its log is 32 KiB; its log begins anew with each command.
    for kib in [0, 32, 40, 48, 56, 64, 96, 256] {
        let mut pay = limited(env!("CARGO_BIN_EXE_quid"), kib);
        pay.env_clear().env("QUID_HOME", &alice.0);
        let said = pay
            .args(["pay", "bob", "0.1", "--json", "--wait", "3"])
            .output()
            .expect("a shell runs");
        let code = said.status.code();
        assert!(
            matches!(code, Some(0 | 4 | 7)),
            "{kib} KiB: {:?}: {said:?}",
            said.status.signal()
        );
        *codes.entry(code).or_insert(0) += 1;
        let line = String::from_utf8(said.stdout).expect("JSON is text");
        let line: Value =
            serde_json::from_str(line.lines().last().expect("it says something")).expect("JSON");
        let before = alice.balance();
        settle(&[&alice, &bob], 20);
        if let Some(entry) = line["entry"].as_u64() {
            // What was shown is so, and whoever was refused has lost nothing.
            let history = alice.lines(&["history"]);
            assert!(history.iter().any(|it| it["entry"] == entry), "{line}");
        } else if code == Some(7) && line["order"].is_null() {
            assert_eq!(alice.balance(), before, "{kib} KiB: {line}");
        }
    }
    assert!(codes.len() > 1, "no limit was met, or all were: {codes:?}");
}

#[test]
fn a_directory_at_its_file_size_limit_answers_nobody_and_loses_nothing() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    // A payment is some five pages, and the log is written from its start again after a restart. At
    // first the directory's own log has no room either.
    for room in [0, 24 * 1024, 80 * 1024] {
        world.limit_files(room);
        let mut shown = Vec::new();
        for _ in 0..PAYMENTS_MAX {
            let paid = alice.quid(&["pay", "bob", "0.01", "--json", "--wait", "2"]);
            if paid.status.success() {
                let line: Value = serde_json::from_slice(&paid.stdout).expect("one line of JSON");
                shown.push(line["entry"].clone());
            }
            if world.has_left() {
                break;
            }
        }
        let (code, line) = world.left();
        assert_eq!(code, Some(7), "{room}: {line}");
        assert!(
            room == 0 || line.contains("stopping at once"),
            "{room}: {line}"
        );
        world.restart();
        settle(&[&alice, &bob], 20);
        let history = alice.lines(&["history", "--limit", "1000"]);
        for entry in shown {
            assert!(
                history.iter().any(|line| line["entry"] == entry),
                "{room}: entry {entry} was shown, and is lost"
            );
        }
        world.operate(&["audit"]);
    }
}

#[test]
fn a_directory_that_may_not_write_at_all_says_so_at_its_start() {
    let world = World::start(&["--opening-balance", "10"]);
    let data = world.path("none");
    let started = limited(directory_program().to_str().expect("it is text"), 0)
        .args(["serve", "--data", &data, "--listen", "127.0.0.1:0"])
        .output()
        .expect("a shell runs");
    assert_eq!(started.status.code(), Some(7), "{started:?}");
    let said = String::from_utf8(started.stderr).expect("it is text");
    let said = said.lines().last().unwrap_or_default();
    assert!(said.starts_with("quid-directory: "), "{said}");
}

/// `program` with files of at most so many KiB, whose results go to pipes.
fn limited(program: &str, kib: u64) -> Command {
    let mut command = Command::new("/bin/sh");
    // POSIX counts blocks of 512 bytes.
    command
        .args(["-c", "ulimit -f \"$1\"; shift; exec \"$@\"", "limited"])
        .arg((kib * 2).to_string())
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Waits until these homes know the end of everything, and own `quids` in all.
fn settle(homes: &[&Home], quids: u64) {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let all: Vec<Value> = homes.iter().map(|home| home.ok(&["status"])).collect();
        let owned: u64 = all.iter().map(|status| units(&status["balance"])).sum();
        if owned == quids * 1_000_000 && all.iter().all(|status| status["pending"] == 0) {
            return;
        }
        assert!(Instant::now() < deadline, "unknown still: {all:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// An amount with six decimals in its smallest unit.
fn units(amount: &Value) -> u64 {
    let text = amount.as_str().expect("an amount is text");
    text.replace('.', "").parse().expect("digits")
}

/// Most payments until a limit just ahead must have been met.
const PAYMENTS_MAX: usize = 20;

/// How long any end may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
