//! Receipts that need nothing but the directory's key, and directories that show another history
//! than before: two copies of one ledger, each with its own continuation, and a backup restored.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::processes::{Home, World, mode};

#[test]
fn a_receipt_needs_nothing_but_the_directorys_key() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let status = alice.ok(&["status"]);
    let address = status["directory"].as_str().expect("text");
    let key = &address["quid://".len()..address.find('@').expect("an address")];
    let paid = alice.ok(&["pay", "bob", "1.5"]);
    let order = paid["order"].as_str().expect("text");
    let file = world.path("receipt");
    alice.ok(&["receipt", "show", order, "--out", &file]);
    world.kill();
    for directory in [key, address] {
        let verdict = verify(&file, directory, 0);
        assert_eq!(verdict["ok"], true, "{verdict}");
        assert_eq!(verdict["kind"], "payment");
        assert_eq!(verdict["ledger"], status["ledger"]);
        for field in ["entry", "order"] {
            assert_eq!(verdict[field], paid[field], "{field}");
        }
        assert_eq!(verdict["payer"], status["key"]);
        assert!(verdict["payee"].is_string(), "{verdict}");
        // What the units are worth is not in a receipt.
        assert!(verdict["amount"].is_null(), "{verdict}");
    }
    let verdict = bob.ok(&["receipt", "verify", &file]);
    assert_eq!(
        (&verdict["amount"], &verdict["currency"]),
        (&"1.500000".into(), &"QUID".into())
    );
    // By id the home is asked for the receipt, and the key judges it.
    let verdict = alice.ok(&["receipt", "verify", order, "--directory", key]);
    assert_eq!(verdict["ok"], true);
    let elsewhere = World::start(&[]);
    let other = elsewhere
        .home("eve")
        .ok(&["init", "--directory", &elsewhere.address]);
    let other = other["directory"].as_str().expect("text");
    let verdict = verify(&file, other, 5);
    assert_eq!(verdict["reason"], "checkpoint_signature", "{verdict}");
    let text = fs::read(&file).expect("it was written");
    let damaged = world.path("damaged");
    for at in (0..text.len()).step_by(37) {
        let mut bytes = text.clone();
        bytes[at] ^= 2;
        fs::write(&damaged, bytes).expect("the folder is ours");
        let verdict = verify(&damaged, key, 5);
        assert!(verdict["reason"].is_string(), "byte {at}: {verdict}");
    }
}

/// A world whose directory goes on with another history than the one that alice and bob met, and in
/// which carol has paid alice.
pub(crate) fn forked() -> (World, [Home; 3]) {
    let mut world = World::start(&["--opening-balance", "10"]);
    let homes = ["alice", "bob", "carol"].map(|name| world.account(name));
    let [alice, bob, carol] = &homes;
    // Two copies of one ledger, each of which goes on by itself.
    world.kill();
    copy(&world.path("data"), &world.path("other"));
    world.restart();
    alice.ok(&["pay", "bob", "1"]);
    bob.ok(&["status"]);
    world.kill();
    exchange(&world, "other");
    world.restart();
    for amount in ["1", "2", "3"] {
        carol.ok(&["pay", "alice", amount]);
    }
    (world, homes)
}

#[test]
fn a_directory_with_two_histories_is_found_out_and_nobody_pays_any_more() {
    let (world, [alice, bob, carol]) = forked();
    let address = world.address.clone();

    // Alice knows the one and meets the other.
    let mut listen = alice.run(&["listen"]);
    let forked = listen.event("forked");
    let file = forked["file"].as_str().expect("text").to_owned();
    assert!(file.starts_with(alice.0.to_str().expect("text")), "{file}");
    assert_eq!(mode(Path::new(&file)), Some(0o600));
    let status = alice.ok(&["status"]);
    assert_eq!(status["fork"], *file, "{status}");
    assert_eq!(status["directory"], *address, "{status}");
    check_stopped(&alice.fails(&["pay", "bob", "1"], 3), &file);
    listen.signal("TERM");
    assert_eq!(listen.wait(), Some(0));
    check_stopped(&alice.fails(&["pay", "bob", "1"], 3), &file);
    // Whoever listens again is told again.
    let again = alice.run(&["listen"]);
    assert_eq!(again.event("forked")["file"], *file);
    drop(again);
    // A command that ends at once finds it out as well.
    bob.ok(&["status"]);
    let found = bob.ok(&["status"]);
    assert!(found["fork"].is_string(), "{found}");

    // The proof needs nothing but the directory's key.
    let verdict = verify(&file, &address, 0);
    assert_eq!(
        (&verdict["ok"], &verdict["kind"]),
        (&true.into(), &"fork".into())
    );
    assert!(
        verdict["fork"].is_u64() && verdict["ledger"].is_string(),
        "{verdict}"
    );
    assert_eq!(
        carol.ok(&["receipt", "verify", &file])["fork"],
        verdict["fork"]
    );
    let elsewhere = World::start(&[]);
    assert_eq!(verify(&file, &elsewhere.address, 5)["reason"], "older");
    let text = fs::read(&file).expect("it was written");
    let damaged = world.path("damaged");
    for at in (0..text.len()).step_by(37) {
        let mut bytes = text.clone();
        bytes[at] ^= 2;
        fs::write(&damaged, bytes).expect("the folder is ours");
        let verdict = verify(&damaged, &address, 5);
        assert!(verdict["reason"].is_string(), "byte {at}: {verdict}");
    }

    // Whoever has settled it moves the file away.
    fs::rename(&file, world.path("settled")).expect("it is ours");
    for _ in 0..2 {
        assert!(alice.ok(&["status"])["fork"].is_null());
    }
}

#[test]
fn an_old_backup_is_noticed_by_all_and_the_right_ledger_heals_it() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    world.kill();
    copy(&world.path("data"), &world.path("backup"));
    world.restart();
    alice.ok(&["pay", "bob", "1"]);
    world.kill();
    exchange(&world, "backup");
    world.restart();
    // Alice has seen what is missing, so nothing is written for anybody.
    assert_eq!(alice.balance(), "10.000000");
    for home in [&alice, &bob] {
        let unknown = home.fails(&["pay", "treasury", "2", "--wait", "1"], 4);
        let message = unknown["message"].as_str().expect("text");
        assert!(message.contains("lacks entries"), "{message}");
    }
    world.kill();
    world.restart();
    assert_eq!(
        world.home("carol").fails(&["register", "carol"], 3)["error"],
        "log_incomplete"
    );
    world.kill();
    // What was written since the backup is the ledger.
    fs::rename(world.path("data"), world.path("wrong")).expect("it is ours");
    fs::rename(world.path("data-before-backup"), world.path("data")).expect("it is ours");
    fs::copy(
        world.path("wrong") + "/ahead",
        world.path("data") + "/ahead",
    )
    .expect("remembered");
    world.restart();
    assert!(!Path::new(&world.path("data")).join("ahead").exists());
    bob.ok(&["pay", "alice", "0.5"]);
    for home in [&alice, &bob] {
        home.ok(&["history"]);
        let status = home.ok(&["status"]);
        assert_eq!(status["pending"], 0, "{status}");
        assert!(
            status["doubt"].is_null() && status["fork"].is_null(),
            "{status}"
        );
    }
    assert_eq!(alice.balance(), "9.500000");
}

fn check_stopped(refused: &Value, file: &str) {
    assert_eq!(refused["error"], "forked", "{refused}");
    let message = refused["message"].as_str().expect("text");
    assert!(message.contains(file), "{message}");
}

/// Verifies a file where there is no home at all.
fn verify(file: &str, directory: &str, code: i32) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_quid"))
        .env_clear()
        .args([
            "receipt",
            "verify",
            file,
            "--json",
            "--directory",
            directory,
        ])
        .output()
        .expect("quid runs");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let stdout = String::from_utf8(output.stdout).expect("JSON is text");
    serde_json::from_str(stdout.lines().last().unwrap_or_default()).expect("JSON")
}

/// Serves `with` instead of the data, which is kept under a name of its own.
pub(crate) fn exchange(world: &World, with: &str) {
    let kept = world.path(&format!("data-before-{with}"));
    fs::rename(world.path("data"), kept).expect("it is ours");
    fs::rename(world.path(with), world.path("data")).expect("it is ours");
}

pub(crate) fn copy(from: &str, to: &str) {
    fs::create_dir(to).expect("it is new");
    fs::set_permissions(to, Permissions::from_mode(0o700)).expect("it is ours");
    for file in fs::read_dir(from).expect("it is there").flatten() {
        if file.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(file.path(), Path::new(to).join(file.file_name())).expect("it can be read");
        }
    }
}
