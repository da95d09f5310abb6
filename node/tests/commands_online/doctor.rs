//! `quid doctor`: what is wrong is found, told apart, and comes with advice.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::processes::{Home, World};

/// The state of every check, and the objects.
fn doctor(home: &Home, code: i32) -> BTreeMap<String, (String, Value)> {
    let output = home.quid(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let stdout = String::from_utf8(output.stdout).expect("JSON is text");
    let checks: BTreeMap<_, _> = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|value| value["check"].is_string())
        .map(|value| {
            let text = |field: &str| value[field].as_str().expect("text").to_owned();
            (text("check"), (text("state"), value))
        })
        .collect();
    assert_eq!(checks.len(), 10, "{checks:?}");
    for (state, value) in checks.values() {
        let advised = value["advice"].is_string();
        assert_eq!(
            advised,
            state == "bad" || state == "weak" || is_sealed(value),
            "{value}"
        );
    }
    checks
}

fn is_sealed(value: &Value) -> bool {
    value["found"]
        .as_str()
        .is_some_and(|found| found.contains("sealed, and no passphrase"))
}

fn state<'c>(checks: &'c BTreeMap<String, (String, Value)>, check: &str) -> &'c str {
    &checks[check].0
}

#[test]
fn a_sound_wallet_is_good_and_one_that_listens_is_reached() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let checks = doctor(&alice, 0);
    for (check, (state, value)) in &checks {
        let expected = if check == "reachability" {
            "weak"
        } else {
            "good"
        };
        assert_eq!(state, expected, "{value}");
    }
    let listener = alice.listen();
    assert_eq!(state(&doctor(&alice, 0), "reachability"), "good");
    drop(listener);
    let hidden = alice.run(&["listen", "--hidden"]);
    hidden.event("online");
    assert_eq!(state(&doctor(&alice, 0), "reachability"), "weak");
    // It has changed nothing.
    let left = fs::read_dir(&alice.0).expect("the home is a folder");
    let left = left.flatten().filter(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with(".doctor")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn what_is_wrong_with_a_home_is_told_apart() {
    let world = World::start(&["--opening-balance", "10"]);
    let none = Home(world.path("none").into());
    assert_eq!(state(&doctor(&none, 5), "home"), "bad");
    assert!(!none.0.exists());

    let alice = world.account("alice");
    let chmod = |file: &str, mode| {
        let path = alice.0.join(file);
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    chmod("key.pem", 0o644);
    let checks = doctor(&alice, 5);
    assert_eq!(
        (state(&checks, "home"), state(&checks, "key")),
        ("good", "bad")
    );
    assert!(
        checks["key"].1["advice"]
            .as_str()
            .expect("text")
            .contains("chmod 0600")
    );
    chmod("key.pem", 0o600);
    chmod("", 0o755);
    assert_eq!(state(&doctor(&alice, 5), "home"), "bad");
    chmod("", 0o700);

    let journal = alice.0.join("journal.sqlite3");
    let kept = fs::read(&journal).expect("it is there");
    fs::write(&journal, &kept[..kept.len() / 3]).expect("it is ours");
    let checks = doctor(&alice, 5);
    assert_eq!(
        (state(&checks, "key"), state(&checks, "journal")),
        ("good", "bad")
    );
    fs::write(&journal, &kept).expect("it is ours");

    let secret = world.path("secret");
    fs::write(&secret, "correct horse\n").expect("the folder is ours");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("it is ours");
    alice.ok(&["key", "seal", "--new-passphrase-file", &secret]);
    assert_eq!(state(&doctor(&alice, 0), "key"), "unknown");
    let mut command = alice.command(&["doctor"]);
    let output = command
        .env("QUID_PASSPHRASE_FILE", &secret)
        .output()
        .expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("sealed under a passphrase"));
}

#[test]
fn what_the_directory_says_of_an_account_is_told() {
    let world = World::start(&["--opening-balance", "10"]);
    let stranger = world.home("stranger");
    let checks = doctor(&stranger, 5);
    assert_eq!(
        (
            state(&checks, "directory"),
            state(&checks, "account"),
            state(&checks, "clock")
        ),
        ("good", "bad", "unknown")
    );
    let alice = world.account("alice");
    world.operate(&["freeze", "alice"]);
    assert_eq!(state(&doctor(&alice, 5), "account"), "bad");
    world.operate(&["thaw", "alice"]);
    assert_eq!(state(&doctor(&alice, 0), "account"), "good");
    // The key was replaced elsewhere.
    let key = fs::read(alice.0.join("key.pem")).expect("it is there");
    alice.ok(&["key", "rotate"]);
    assert_eq!(state(&doctor(&alice, 0), "account"), "good");
    fs::write(alice.0.join("key.pem"), key).expect("it is ours");
    let checks = doctor(&alice, 5);
    assert_eq!(state(&checks, "account"), "bad", "{checks:?}");
}

#[test]
fn another_directory_in_its_place_is_not_trusted() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let place = world
        .address
        .split_once('@')
        .expect("an address")
        .1
        .to_owned();
    world.kill();
    let checks = doctor(&alice, 5);
    let found = checks["directory"].1["found"].as_str().expect("text");
    assert!(found.contains("does not answer"), "{found}");
    assert_eq!(state(&checks, "ledger"), "unknown");
    let mut other = World::start(&[]);
    other.kill();
    other.serve(&place, &[]);
    let checks = doctor(&alice, 5);
    let found = checks["directory"].1["found"].as_str().expect("text");
    assert!(found.contains("another key answers"), "{found}");
}
