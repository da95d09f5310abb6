//! Receipts that need nothing but the directory's key.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::processes::World;

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
