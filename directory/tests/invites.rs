//! Registration by invitation, over real QUIC and through kills of the real program.

mod world;

use std::collections::HashSet;
use std::process::Output;
use std::time::Duration;

use quid_common::refusal::Reason;
use serde_json::Value;
use world::{Directory, run_on};

const BY_INVITATION: [&str; 2] = ["--registration", "invite"];

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("one JSON object a line")
}

/// A new code, made with these arguments.
fn code(directory: &Directory, arguments: &[&str]) -> String {
    let output = directory.run(&[&["invite"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("letters and digits");
    text.trim_end().to_owned()
}

#[tokio::test]
async fn only_who_has_a_good_code_registers_and_is_told_by_name_what_is_wrong_with_another() {
    let directory = Directory::start_told("100", &BY_INVITATION);
    let (alice, bob) = (directory.client(1).await, directory.client(2).await);
    let code_of_alice = code(&directory, &[]);
    let never = "aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa";
    let expired = code(&directory, &["--expires", "1ms"]);
    for (invite, reason) in [
        (None, Reason::UNINVITED),
        (Some("no code"), Reason::INVITE_UNKNOWN),
        (Some(never), Reason::INVITE_UNKNOWN),
        (Some(expired.as_str()), Reason::INVITE_EXPIRED),
    ] {
        assert_eq!(alice.register_with("alice", invite).await, Err(reason));
    }
    let entry = alice.register_with("alice", Some(&code_of_alice)).await;
    assert!(entry.is_ok(), "{entry:?}");
    // The same again, with the code or without, is the same registration and no second use.
    for invite in [Some(code_of_alice.as_str()), None, Some("no code")] {
        assert_eq!(alice.register_with("alice", invite).await, entry);
    }
    let used_up = bob.register_with("bob", Some(&code_of_alice)).await;
    assert_eq!(used_up, Err(Reason::INVITE_USED_UP));
    assert!(alice.log_in(false).await.is_ok());
    assert_eq!(directory.audit()["accounts"], 1);
}

#[tokio::test]
async fn a_registration_that_the_ledger_refuses_uses_nothing() {
    let directory = Directory::start_told("100", &BY_INVITATION);
    let shared = code(&directory, &["--uses", "2"]);
    let clients = [
        directory.client(1).await,
        directory.client(2).await,
        directory.client(3).await,
    ];
    let [alice, bob, carol] = &clients;
    assert!(alice.register_with("alice", Some(&shared)).await.is_ok());
    for name in ["alice", "a1ice", "treasury"] {
        let refused = bob.register_with(name, Some(&shared)).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    // In capitals and without hyphens it is the same code.
    let loud = shared.replace('-', "").to_ascii_uppercase();
    assert!(carol.register_with("carol", Some(&loud)).await.is_ok());
    let used_up = bob.register_with("bob", Some(&shared)).await;
    assert_eq!(used_up, Err(Reason::INVITE_USED_UP));
}

#[tokio::test]
async fn where_nobody_registers_who_has_registered_is_told_again() {
    let directory = Directory::start("100");
    let entry = directory.client(1).await.register("alice").await;
    let place = directory.stop();
    let data = place.path().join("data");
    let code = String::from_utf8(run_on(&data, &["invite"]).stdout).expect("a code");
    let closed = Directory::serve_on(place, &["--registration", "closed"]);
    let (alice, bob) = (closed.client(1).await, closed.client(2).await);
    assert_eq!(alice.register("alice").await, entry);
    let other = alice.register("other").await;
    assert_eq!(other, Err(Reason::ALREADY_REGISTERED));
    let refused = bob.register_with("bob", Some(code.trim_end())).await;
    assert_eq!(refused, Err(Reason::REGISTRATION_CLOSED));
    assert!(alice.log_in(false).await.is_ok());
}

#[tokio::test]
async fn however_the_directory_is_killed_a_code_lets_in_as_many_as_it_is_for() {
    let mut directory = Directory::start_told("100", &BY_INVITATION);
    let mut entries = HashSet::new();
    for (round, letter) in (0..KILLS).zip("abcdefghjkpqstyz".chars()) {
        let invite = code(&directory, &[]);
        let client = directory.client(10 + round).await;
        let name = format!("member-{letter}");
        let message = client.registration(&name, Some(&invite));
        let mut stream = client.open().await;
        stream.send(&message).await;
        // At another moment of the registration in each round, and after it in the last ones.
        tokio::time::sleep(Duration::from_micros(300 * u64::from(round))).await;
        directory = directory.kill_and_restart();
        // Whatever had become of it, the one whose code it is registers with it, and nobody else.
        let again = directory.client(10 + round).await;
        let entry = again.register_with(&name, Some(&invite)).await;
        let entry = entry.expect("no use is lost");
        assert!(entries.insert(entry), "an entry for each");
        let other = directory.client(100 + round).await;
        let other = other.register_with("somebody-else", Some(&invite)).await;
        assert_eq!(other, Err(Reason::INVITE_USED_UP), "no use counts for two");
    }
    assert_eq!(directory.audit()["accounts"], u64::from(KILLS));
}

/// Kills at moments of their own.
const KILLS: u8 = 16;

#[tokio::test]
async fn codes_are_made_once_however_often_the_command_is_repeated() {
    let directory = Directory::start_told("100", &BY_INVITATION);
    let id = "00112233445566778899aabbccddeeff";
    let make = [
        "invite",
        "--uses",
        "2",
        "--expires",
        "1d",
        "--json",
        "--id",
        id,
    ];
    let first = directory.run(&make);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert_eq!(json(&first)["uses"], 2);
    assert_eq!(json(&directory.run(&make)), json(&first));
    let other = directory.run(&["invite", "--uses", "3", "--json", "--id", id]);
    assert_eq!(other.status.code(), Some(3));
    assert_eq!(json(&other)["error"], "operation_reused");
    for wrong in [
        ["--uses", "0"],
        ["--uses", "x"],
        ["--expires", "soon"],
        ["--expires", "0s"],
    ] {
        let refused = directory.run(&[&["invite"], &wrong[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert!(refused.stdout.is_empty());
    }
    // Neither the log nor any file has a code to read.
    let code = json(&first)["code"].as_str().expect("a code").to_owned();
    let letters = code.replace('-', "");
    for file in std::fs::read_dir(directory.data()).expect("it is there") {
        let path = file.expect("it is there").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(&code) && !text.contains(&letters),
            "{}",
            path.display()
        );
    }
    // Somebody's folder without a ledger invites nobody.
    let empty = tempfile::tempdir().expect("a place");
    assert_eq!(run_on(empty.path(), &["invite"]).status.code(), Some(7));
}

/// What `invite --list` says, one object a code.
fn listed(data: &std::path::Path) -> Vec<Value> {
    let output = run_on(data, &["invite", "--list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

#[tokio::test]
async fn codes_are_listed_without_their_secret_and_a_revoked_one_lets_nobody_in() {
    let directory = Directory::start_told("100", &BY_INVITATION);
    let shared = json(&directory.run(&["invite", "--uses", "3", "--expires", "1h", "--json"]));
    let single = json(&directory.run(&["invite", "--json"]));
    let (shared_code, single_code) = (shared["code"].as_str(), single["code"].as_str());
    let alice = directory.client(1).await;
    let entry = alice.register_with("alice", shared_code).await;
    assert!(entry.is_ok(), "{entry:?}");
    let of = |operation: &Value| {
        let all = listed(&directory.data());
        assert_eq!(all.len(), 2);
        let found = all.into_iter().find(|code| code["id"] == *operation);
        found.expect("it is listed")
    };
    let line = of(&shared["id"]);
    assert_eq!((&line["uses"], &line["left"]), (&3.into(), &2.into()));
    assert_eq!(line["state"], "good");
    assert!(line["expires"].as_str().is_some_and(|it| it.ends_with('Z')));
    let plain = String::from_utf8(directory.run(&["invite", "--list"]).stdout).expect("text");
    assert_eq!(plain.lines().count(), 2);
    for secret in [shared_code, single_code] {
        assert!(!plain.contains(secret.expect("a code")), "{plain}");
    }
    // By itself, and by the operation that made it.
    let told = [
        shared_code.expect("a code"),
        single["id"].as_str().expect("an id"),
    ];
    for told in told {
        for _ in 0..2 {
            let revoked = directory.run(&["invite", "--revoke", told, "--json"]);
            assert_eq!(json(&revoked)["state"], "revoked", "{revoked:?}");
        }
    }
    assert_eq!(of(&shared["id"])["state"], "revoked");
    let bob = directory.client(2).await;
    for code in [shared_code, single_code] {
        let refused = bob.register_with("bob", code).await;
        assert_eq!(refused, Err(Reason::INVITE_EXPIRED));
    }
    // Who has registered stays, and is told again.
    assert_eq!(alice.register_with("alice", shared_code).await, entry);
    // Its operation does not make it good again.
    let id = single["id"].as_str().expect("an id");
    let again = directory.run(&["invite", "--id", id]);
    assert_eq!(again.status.code(), Some(3), "{again:?}");
    assert!(again.stdout.is_empty());
    for (told, exit) in [("no code", 2), ("aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa", 3)] {
        let unknown = directory.run(&["invite", "--revoke", told]);
        assert_eq!(unknown.status.code(), Some(exit), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_restored_directory_knows_its_codes_and_what_was_spent_later_is_good_again() {
    let directory = Directory::start_told("100", &BY_INVITATION);
    let before = code(&directory, &[]);
    let after = code(&directory, &["--uses", "2"]);
    let alice = directory.client(1).await;
    assert!(alice.register_with("alice", Some(&before)).await.is_ok());
    let file = directory.place.path().join("backup");
    let told = ["--json", "backup", file.to_str().expect("UTF-8")];
    assert_eq!(json(&directory.run(&told))["codes"], 2);
    // Spent behind the backup, and another made.
    let bob = directory.client(2).await;
    assert!(bob.register_with("bob", Some(&after)).await.is_ok());
    let late = json(&directory.run(&["invite", "--json"]));
    let place = directory.stop();
    let data = place.path().join("data");
    std::fs::rename(&data, place.path().join("lost")).expect("ours");
    let told = ["--json", "restore", file.to_str().expect("UTF-8")];
    assert_eq!(json(&run_on(&data, &told))["codes"], 2);

    let directory = Directory::serve_on(place, &BY_INVITATION);
    let [alice, bob, carol, dave] = [
        directory.client(1).await,
        directory.client(2).await,
        directory.client(3).await,
        directory.client(4).await,
    ];
    // What was spent before stays spent.
    let spent = carol.register_with("carol", Some(&before)).await;
    assert_eq!(spent, Err(Reason::INVITE_USED_UP));
    assert!(alice.log_in(false).await.is_ok());
    // Bob's account is lost, and his use of the code with it: he registers again by the same code,
    // which is good for as many as it was made for and for no more.
    assert!(bob.register_with("bob", Some(&after)).await.is_ok());
    assert!(carol.register_with("carol", Some(&after)).await.is_ok());
    let spent = dave.register_with("dave", Some(&after)).await;
    assert_eq!(spent, Err(Reason::INVITE_USED_UP));
    // A code made later is not known, until its operation makes it again.
    let code = late["code"].as_str();
    let unknown = dave.register_with("dave", code).await;
    assert_eq!(unknown, Err(Reason::INVITE_UNKNOWN));
    let again = directory.run(&["invite", "--id", late["id"].as_str().expect("an id")]);
    assert!(again.status.success(), "{again:?}");
    assert!(dave.register_with("dave", code).await.is_ok());
    assert_eq!(directory.audit()["accounts"], 4);
}
