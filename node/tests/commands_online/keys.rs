//! `quid key`, and keys that are sealed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use quid_common::key::SecretKey;
use serde_json::Value;

use super::processes::{Home, World, assert_fields, mode};

#[test]
fn a_rotation_keeps_name_money_and_history_and_whoever_pays_is_told() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    bob.ok(&["pay", "alice", "1"]);
    let thief = copy(&world, &alice, "thief");
    let thiefs = thief.listen();
    let before = alice.ok(&["key", "status"]);
    assert_fields(&before, &["name", "account", "key", "frozen", "locked"]);

    let rotated = alice.ok(&["key", "rotate"]);
    assert_eq!(rotated["name"], "alice");
    assert_ne!(rotated["key"], before["key"]);
    assert!(rotated["entry"].is_u64());
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["name"], &status["balance"]),
        (&"alice".into(), &"11.000000".into())
    );
    assert_eq!(status["key"], rotated["key"]);
    let history = alice.lines(&["history"]);
    assert_eq!(history.len(), 2, "{history:?}");
    assert_eq!(history[0]["direction"], "in");
    let old = alice
        .0
        .join(format!("key.old-{}.pem", text(&before["key"])));
    assert_eq!(mode(&old), Some(0o600));
    assert!(!alice.0.join("key.next.pem").exists());

    // The old key is refused by name, and its session has ended.
    thiefs.event("offline");
    drop(thiefs);
    assert_eq!(thief.fails(&["status"], 3)["error"], "key_replaced");
    assert_eq!(
        thief.fails(&["pay", "bob", "1"], 3)["error"],
        "key_replaced"
    );
    assert_eq!(thief.fails(&["key", "rotate"], 3)["error"], "key_replaced");
    assert!(!thief.0.join("key.next.pem").exists());

    // Who has paid the old key is told before anything else is sent, and sees the proof.
    let refused = bob.fails(&["pay", "alice", "1"], 3);
    assert_eq!(refused["error"], "key_changed");
    assert_eq!(
        bob.fails(&["key", "accept", "alice"], 1)["error"],
        "not_confirmed"
    );
    let accepted = bob.ok(&["key", "accept", "alice", "--yes"]);
    assert_fields(&accepted, &["name", "pinned", "key", "proof", "entries"]);
    assert_eq!(accepted["proof"], "rotation");
    assert_eq!(
        (&accepted["pinned"], &accepted["key"]),
        (&before["key"], &rotated["key"])
    );
    assert_eq!(accepted["entries"][0], rotated["entry"]);
    assert_eq!(bob.ok(&["pay", "alice", "1"])["state"], "settled");
    assert_eq!(alice.ok(&["pay", "bob", "2"])["state"], "settled");
    assert_eq!(alice.balance(), "10.000000");
    let listen = alice.listen();
    // What came while nobody listened, under both keys.
    let amounts = [listen.received("bob"), listen.received("bob")];
    assert!(amounts.iter().all(|it| it["amount"] == "1.000000"));
    assert_eq!(alice.fails(&["key", "rotate"], 7)["error"], "held");
    drop(listen);
    world.operate(&["audit"]);
}

#[test]
fn a_rotation_that_was_cut_off_is_found_out_about() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, other) = (world.account("alice"), world.home("other"));
    let (key, next) = (alice.0.join("key.pem"), alice.0.join("key.next.pem"));
    // Killed before the directory heard of it: the old key serves on, and the next try takes the
    // key that was made.
    fs::copy(other.0.join("key.pem"), &next).expect("the folders are ours");
    let before = alice.ok(&["status"]);
    assert!(next.exists());
    let made = other.ok(&["init", "--directory", &world.address]);
    let rotated = alice.ok(&["key", "rotate"]);
    assert_eq!(rotated["key"], made["key"]);
    assert!(!next.exists());
    // Killed before the answer was written down: the next command finds out.
    let old = alice
        .0
        .join(format!("key.old-{}.pem", text(&before["key"])));
    fs::rename(&key, &next).expect("the folder is ours");
    fs::rename(&old, &key).expect("the folder is ours");
    assert_eq!(alice.ok(&["status"])["key"], made["key"]);
    assert!(!next.exists() && old.exists());
    assert_eq!(alice.ok(&["pay", "treasury", "1"])["state"], "settled");
}

#[test]
fn either_key_freezes_and_a_recovery_is_seen_and_contested() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.home("alice"), world.account("bob"));
    let safe = world.path("safe.pem");
    let registered = alice.ok(&["register", "alice", "--recovery", &safe]);
    assert_eq!(mode(Path::new(&safe)), Some(0o600));
    assert_eq!(
        alice.ok(&["register", "alice", "--recovery", &safe]),
        registered
    );
    assert!(alice.ok(&["key", "status"])["recovery"].is_string());

    let frozen = alice.ok(&["key", "freeze"]);
    assert_eq!(frozen["locked"], true);
    assert_eq!(
        frozen["thawed_by"],
        Value::from(vec!["recovery_key", "operator"])
    );
    assert_eq!(
        bob.ok(&["key", "freeze"])["thawed_by"],
        Value::from(vec!["operator"])
    );
    world.operate(&["thaw", "bob"]);
    assert_eq!(
        bob.ok(&["key", "status"])["thawed_by"],
        Value::Array(Vec::new())
    );
    assert_eq!(alice.fails(&["pay", "bob", "1"], 3)["error"], "frozen");
    assert_eq!(bob.ok(&["pay", "alice", "1"])["state"], "settled");
    assert_eq!(
        alice.fails(&["key", "rotate"], 3)["error"],
        "account_frozen"
    );
    assert!(!alice.0.join("key.next.pem").exists());
    assert_eq!(alice.fails(&["key", "thaw"], 2)["error"], "usage");
    assert_eq!(
        alice.ok(&["key", "thaw", "--recovery", &safe])["locked"],
        false
    );
    assert_eq!(alice.ok(&["pay", "bob", "1"])["state"], "settled");

    // The home is lost: another one, with the recovery key.
    let new = world.home("new");
    let arguments = ["key", "recover", "alice", "--recovery", &safe];
    let announced = new.ok(&arguments);
    assert_eq!(
        announced["successor"],
        new.ok(&["init", "--directory", &world.address])["key"]
    );
    assert!(announced["due"].is_string() && announced["entry"].is_u64());
    // Again is only a look at it.
    assert!(new.ok(&arguments)["entry"].is_null());
    assert_eq!(bob.ok(&["key", "status", "alice"])["due"], announced["due"]);
    assert_eq!(alice.ok(&["status"])["recovery_due"], announced["due"]);
    assert_eq!(bob.fails(&["key", "object"], 3)["error"], "no_recovery");
    let contested = alice.ok(&["key", "object"]);
    assert_eq!(
        (&contested["contested"], &contested["locked"]),
        (&true.into(), &true.into())
    );
    assert_ne!(contested["due"], announced["due"]);
    // Whoever objects is told that the account is frozen by that, and what ends it.
    assert_eq!(
        contested["thawed_by"],
        Value::from(vec!["recovery_key", "operator"])
    );
    let told = alice.quid(&["key", "object"]);
    let told = String::from_utf8(told.stdout).expect("text");
    for part in [
        "frozen     by its own keys: it receives, and pays nobody and opens no tab",
        "thawed by  its recovery key (`quid key thaw --recovery FILE`), which withdraws the recovery",
        "or the operator of the directory, who then dismisses the recovery",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(alice.fails(&["pay", "bob", "1"], 3)["error"], "frozen");
    world.operate(&["thaw", "alice"]);
    let dismissed = alice.ok(&["key", "status"]);
    assert!(dismissed["recovery"].is_null() && dismissed.get("due").is_none());
    assert_eq!(new.fails(&arguments, 3)["error"], "wrong_key");
    world.operate(&["audit"]);
}

#[test]
fn a_sealed_key_needs_its_passphrase_and_nothing_of_either_is_ever_written() {
    let world = World::start(&["--opening-balance", "10"]);
    let (file, wrong) = (
        secret_file(&world, "pass", PASSPHRASE),
        secret_file(&world, "wrong", "x"),
    );
    let alice = Home(PathBuf::from(world.path("home-alice")));
    let init = ["init", "--directory", &world.address];
    assert_eq!(
        alice.fails(&[&init[..], &["--seal"]].concat(), 7)["error"],
        "files"
    );
    let with = |arguments: &[&'static str]| -> Vec<&str> {
        [arguments, &["--passphrase-file", &file]].concat()
    };
    let made = alice.ok(&[&init[..], &["--passphrase-file", &file]].concat());
    let pem = fs::read_to_string(alice.0.join("key.pem")).expect("it is there");
    assert!(
        pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
        "{pem}"
    );
    assert_eq!(mode(&alice.0.join("key.pem")), Some(0o600));
    assert_eq!(alice.ok(&with(&["register", "alice"]))["key"], made["key"]);

    let refused = alice.fails(&["status"], 7);
    assert!(
        text(&refused["message"]).contains("--passphrase-file"),
        "{refused}"
    );
    let arguments = ["status", "--passphrase-file", &wrong];
    let refused = alice.fails(&arguments, 7);
    assert!(
        text(&refused["message"]).contains("does not open"),
        "{refused}"
    );
    assert_eq!(
        alice
            .quid(&arguments)
            .stderr
            .iter()
            .filter(|it| **it == b'\n')
            .count(),
        1
    );
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert!(text(&alice.fails(&arguments, 7)["message"]).contains("mode"));
    fs::set_permissions(alice.0.join("key.pem"), fs::Permissions::from_mode(0o640)).expect("ours");
    assert!(text(&alice.fails(&with(&["status"]), 7)["message"]).contains("chmod"));
    fs::set_permissions(alice.0.join("key.pem"), fs::Permissions::from_mode(0o600)).expect("ours");

    // The process that listens has the key: beside it nobody is asked.
    let mut listen = alice.run(&with(&["listen", "-vv"]));
    listen.event("online");
    assert_eq!(alice.ok(&["status"])["listening"], true);
    assert_eq!(alice.ok(&["pay", "treasury", "1"])["state"], "settled");
    let limits = fs::read_to_string(format!("/proc/{}/limits", listen.id())).expect("it runs");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert!(
        words[4..6].iter().all(|it| ["0", "1"].contains(it)),
        "{words:?}"
    );
    listen.signal("TERM");
    assert_eq!(listen.wait(), Some(0));
    let mut told = vec![listen.stderr().into_bytes()];

    // The seed, read from the key as it is written plainly, is nowhere else.
    for arguments in [
        &["key", "rotate", "-vvv", "--log-format", "json"][..],
        &["status", "-vvv"],
        &["key", "status", "-vvv", "--json"],
        &["pay", "treasury", "1", "-vvv"],
    ] {
        let output = alice.quid(&with(arguments));
        assert!(output.status.success(), "{output:?}");
        told.extend([output.stdout, output.stderr]);
    }
    assert_ne!(alice.ok(&with(&["status"]))["key"], made["key"]);
    let next = fs::read_to_string(alice.0.join("key.pem")).expect("it is there");
    assert!(
        next.starts_with("-----BEGIN ENCRYPTED"),
        "sealed as the one before"
    );
    let plain = copy(&world, &alice, "plain");
    plain.ok(&with(&["key", "unseal"]));
    let seed = seed_of(&plain.0.join("key.pem"));
    fs::remove_dir_all(&plain.0).expect("it is ours");
    fs::remove_file(&file).expect("it is ours");
    let planted = forms(&seed);
    let mut files = 0;
    let mut look = |path: &Path, bytes: &[u8]| {
        files += 1;
        for secret in &planted {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds a secret", path.display());
        }
    };
    for output in &told {
        look(Path::new("what a command said"), output);
    }
    grep(Path::new(&world.path("")), &mut look);
    assert!(files > 10, "there is something to look through");
}

#[test]
fn a_passphrase_is_typed_unseen_and_twice_when_it_is_new() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let Some(mut sealing) = alice.on_terminal("key seal") else {
        return;
    };
    sealing.until("(it is not shown):");
    sealing.keys("correct horse\n");
    sealing.until("The same again:");
    sealing.keys("correct h0rse\n");
    assert!(!sealing.until("differ").contains("horse"));
    assert_eq!(sealing.wait(), Some(7));
    assert_eq!(alice.balance(), "10.000000", "nothing was written");

    let mut sealing = alice.on_terminal("key seal").expect("as before");
    for prompt in ["(it is not shown):", "The same again:"] {
        assert!(!sealing.until(prompt).contains("horse"));
        sealing.keys("correct horse\n");
    }
    assert!(
        !sealing
            .until("sealed under its passphrase")
            .contains("horse")
    );
    assert_eq!(sealing.wait(), Some(0));
    assert_eq!(alice.fails(&["status"], 7)["error"], "files");

    let mut status = alice.on_terminal("status").expect("as before");
    status.until("(it is not shown):");
    status.keys("correct horse\n");
    assert!(!status.until("balance    10.000000 QUID").contains("horse"));
    assert_eq!(status.wait(), Some(0));
    let mut status = alice.on_terminal("status").expect("as before");
    status.until("(it is not shown):");
    status.keys("wrong\n");
    status.until("the passphrase does not open");
    assert_eq!(status.wait(), Some(7));
}

/// What must be found nowhere: the seed in each of its forms, and the passphrase.
fn forms(seed: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |alphabet: &[u8; 64]| -> Vec<u8> {
        let groups = seed.chunks_exact(3).flat_map(|three| {
            let bits = three
                .iter()
                .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| alphabet[bits >> shift & 63])
        });
        groups.collect()
    };
    let standard = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let url = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // A key as text is base32; forty bits of it are eight characters.
    let base32: Vec<u8> = seed[..30]
        .chunks_exact(5)
        .flat_map(|five| {
            let bits = five
                .iter()
                .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            [35, 30, 25, 20, 15, 10, 5, 0]
                .map(|shift| b"abcdefghijklmnopqrstuvwxyz234567"[(bits >> shift & 31) as usize])
        })
        .collect();
    vec![
        seed.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        base64(standard),
        base64(url),
        base32.to_ascii_uppercase(),
        base32,
        PASSPHRASE.as_bytes().to_vec(),
    ]
}

/// The seed in a plain key file.
fn seed_of(path: &Path) -> Vec<u8> {
    let pem = fs::read_to_string(path).expect("it is there");
    let key = SecretKey::from_pem(&pem).expect("it is plain");
    key.seed().to_vec()
}

fn grep(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for file in fs::read_dir(folder).expect("it is ours").flatten() {
        let (path, kind) = (file.path(), file.file_type().expect("it has one"));
        if kind.is_dir() {
            grep(&path, look);
        } else if kind.is_file() {
            look(&path, &fs::read(&path).expect("it is ours"));
        }
    }
}

fn secret_file(world: &World, name: &str, content: &str) -> String {
    let path = world.path(name);
    fs::write(&path, format!("{content}\n")).expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}

/// A copy of a home, as a thief has it.
fn copy(world: &World, home: &Home, name: &str) -> Home {
    let to = PathBuf::from(world.path(&format!("home-{name}")));
    let copied = Command::new("cp").arg("-a").arg(&home.0).arg(&to).status();
    assert!(copied.expect("cp runs").success());
    Home(to)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

const PASSPHRASE: &str = "correct-horse-battery-staple-7f3a";

#[test]
fn status_says_that_the_account_is_frozen_by_whom_and_what_to_do() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let table = || {
        let output = alice.quid(&["status"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    assert!(!table().contains("frozen"), "{}", table());
    for (by, frozen, locked) in [
        ("by its own keys", false, true),
        ("by the operator", true, false),
        ("by the operator and by its own keys", true, true),
    ] {
        if locked {
            alice.ok(&["key", "freeze"]);
        }
        if frozen {
            world.operate(&["freeze", "alice"]);
        }
        let status = alice.ok(&["status"]);
        assert_eq!(
            (&status["frozen"], &status["locked"]),
            (&frozen.into(), &locked.into())
        );
        let refused = alice.fails(&["pay", "bob", "1"], 3);
        let (_, advice) = text(&refused["message"])
            .split_once("; ")
            .expect("it says what to do");
        let row = format!("\nfrozen     {by}, so nothing is paid from it; {advice}\n");
        let table = format!("{}\n", table().trim_end());
        assert!(table.contains(&row), "{table}{row}");
        world.operate(&["thaw", "alice"]);
    }
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["frozen"], &status["locked"]),
        (&false.into(), &false.into())
    );
}
