//! The operator's commands, beside a serving directory and without one.

mod world;

use std::process::{Command, Output};

use serde_json::Value;
use world::{Directory, PROGRAM, run_on};

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("one JSON object a line")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

#[tokio::test]
async fn money_is_issued_once_however_often_the_command_is_repeated() {
    let directory = Directory::start("0");
    let alice = directory.member(1, "alice").await;
    let id = "00112233445566778899aabbccddeeff";
    let issue = ["issue", "alice", "12.5", "--json", "--id", id];
    let first = directory.run(&issue);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert!(
        stderr(&first).contains(id),
        "the id is told before the operation is sent"
    );
    assert_eq!(json(&first)["amount"], "12.500000");
    let again = directory.run(&issue);
    assert_eq!(json(&again), json(&first));
    let other = directory.run(&["issue", "alice", "13", "--json", "--id", id]);
    assert_eq!(other.status.code(), Some(3));
    assert_eq!(json(&other)["error"], "operation_reused");
    assert_eq!(alice.balance().await, 12_500_000);
    let report = directory.audit();
    assert_eq!(report["issued"], "12.500000");
    assert_eq!(report["accounts"], 1);
}

#[tokio::test]
async fn a_frozen_account_receives_and_does_not_pay_until_it_is_thawed() {
    use quid_common::refusal::Reason;
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    assert!(directory.run(&["freeze", "alice"]).status.success());
    let (mut from_alice, mut from_bob) = (alice.settle().await, bob.settle().await);
    let refused = alice.order(bob.key(), 1, 1);
    assert_eq!(from_alice.submit(&refused).await, Err(Reason::FROZEN));
    assert!(from_bob.submit(&bob.order(alice.key(), 1, 1)).await.is_ok());
    assert!(directory.run(&["thaw", "alice"]).status.success());
    // What was refused stays refused; a new order is judged anew.
    assert_eq!(from_alice.submit(&refused).await, Err(Reason::FROZEN));
    assert!(
        from_alice
            .submit(&alice.order(bob.key(), 1, 2))
            .await
            .is_ok()
    );
    directory.audit();
}

#[tokio::test]
async fn every_command_works_without_a_serving_directory_too() {
    let directory = Directory::start("0");
    directory.member(1, "alice").await;
    let place = directory.stop();
    let data = place.path().join("data");
    let issue = run_on(&data, &["issue", "alice", "1", "--json"]);
    assert_eq!(issue.status.code(), Some(0), "{}", stderr(&issue));
    assert!(run_on(&data, &["freeze", "alice"]).status.success());
    let address = run_on(&data, &["address"]);
    assert!(String::from_utf8_lossy(&address.stdout).starts_with("quid://"));
    let audit = run_on(&data, &["audit", "--json"]);
    assert_eq!(json(&audit)["available"], "1.000000");
}

#[tokio::test]
async fn a_second_serve_is_told_who_holds_the_folder() {
    let directory = Directory::start("0");
    let second = directory.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(7));
    assert!(
        stderr(&second).contains("held by process"),
        "{}",
        stderr(&second)
    );
    assert!(second.stdout.is_empty());
}

#[tokio::test]
async fn a_port_that_is_taken_makes_no_ledger_and_harms_none() {
    let directory = Directory::start("0");
    let listen = format!("127.0.0.1:{}", directory.address.port());
    let serve = ["serve", "--listen", listen.as_str()];
    let parent = directory.place.path().join("new");
    let second = run_on(&parent.join("data"), &serve);
    assert_eq!(second.status.code(), Some(2));
    let message = stderr(&second);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains(&listen), "{message}");
    assert!(message.contains("--listen"), "{message}");
    assert!(second.stdout.is_empty());
    assert!(!parent.exists(), "something was left behind");

    // On the folder that is served there, the reason is who serves it.
    let same = directory.run(&serve);
    assert_eq!(same.status.code(), Some(7));
    assert!(stderr(&same).contains("held by process"));
    directory.member(1, "alice").await;

    // A ledger that was there before is as it was.
    let other = Directory::start("0");
    let before = other.audit();
    let place = other.stop();
    let data = place.path().join("data");
    let address = std::fs::read(data.join("address")).expect("it has served");
    assert_eq!(run_on(&data, &serve).status.code(), Some(2));
    let after = std::fs::read(data.join("address")).expect("still there");
    assert_eq!(after, address);
    let audit = run_on(&data, &["audit", "--json"]);
    assert_eq!(json(&audit)["checkpoint"], before["checkpoint"]);
}

#[tokio::test]
async fn an_audit_names_the_first_damaged_entry_and_holds_the_log_against_a_checkpoint() {
    let directory = Directory::start("100");
    for seed in 1..=5 {
        directory.member(seed, &format!("member-{seed}")).await;
    }
    let saved = directory.place.path().join("checkpoint");
    let report = directory.audit();
    std::fs::write(&saved, report["checkpoint"].as_str().expect("text")).expect("writable");
    let saved = saved.to_string_lossy().into_owned();
    directory.member(6, "member-6").await;
    let sound = directory.run(&["audit", "--json", "--against", &saved]);
    assert_eq!(json(&sound)["ok"], true, "{}", stderr(&sound));

    let place = directory.stop();
    let data = place.path().join("data");
    let database = rusqlite::Connection::open(data.join("ledger.db")).expect("the log");
    let damage = "UPDATE entries SET bytes = zeroblob(length(bytes)) WHERE n = 3";
    assert_eq!(database.execute(damage, []).expect("writable"), 1);
    drop(database);
    let audit = run_on(&data, &["audit", "--json"]);
    assert_eq!(audit.status.code(), Some(5));
    assert_eq!(json(&audit)["entry"], 3, "{}", stderr(&audit));
    assert_eq!(json(&audit)["ok"], false);
}

#[tokio::test]
async fn a_log_cut_short_is_found_out_by_a_saved_checkpoint() {
    let directory = Directory::start("0");
    directory.member(1, "alice").await;
    let place = directory.stop();
    let data = place.path().join("data");
    let older = place.path().join("older");
    std::fs::create_dir(&older).expect("writable");
    for file in ["key", "ledger.db", "ledger.db-wal", "address"] {
        if data.join(file).exists() {
            std::fs::copy(data.join(file), older.join(file)).expect("readable");
        }
    }
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&older, private).expect("ours");
    assert!(run_on(&data, &["issue", "alice", "1"]).status.success());
    let newer = json(&run_on(&data, &["audit", "--json"]));
    let saved = place.path().join("checkpoint");
    std::fs::write(&saved, newer["checkpoint"].as_str().expect("text")).expect("writable");
    let audit = run_on(
        &older,
        &["audit", "--json", "--against", &saved.to_string_lossy()],
    );
    assert_eq!(audit.status.code(), Some(5));
    assert!(stderr(&audit).contains("missing"), "{}", stderr(&audit));
}

#[test]
fn the_service_manager_hears_when_sessions_are_accepted_and_of_the_stop() {
    let place = tempfile::tempdir().expect("a place for the test's files");
    let path = place.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a free name");
    let deadline = Some(std::time::Duration::from_secs(30));
    socket.set_read_timeout(deadline).expect("a sound deadline");
    let hear = || {
        let mut message = [0; 64];
        let len = socket.recv(&mut message).expect("it tells in time");
        String::from_utf8(message[..len].to_vec()).expect("text")
    };
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(place.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the directory's program runs");
    assert_eq!(hear(), "READY=1\n");
    let address = run_on(&place.path().join("data"), &["address"]);
    assert!(address.status.success(), "whoever hears it can connect");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(hear(), "STOPPING=1\n");
    assert!(child.wait().expect("it was ours").success());
}

#[test]
fn bad_arguments_get_one_line_and_change_nothing() {
    let place = tempfile::tempdir().expect("a place for the test's files");
    let data = place.path().join("data");
    let table: &[(&[&str], i32)] = &[
        (&["serve", "--listen", "nowhere"], 2),
        (&["serve", "--listen", "0.0.0.0:0"], 2),
        (&["serve", "--listen", "127.0.0.1:0", "--decimals", "10"], 2),
        (
            &["serve", "--listen", "127.0.0.1:0", "--currency", "quid"],
            2,
        ),
        (
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--opening-balance",
                "1e3",
            ],
            2,
        ),
        (
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--opening-balance",
                "-1",
            ],
            2,
        ),
        (
            &["serve", "--listen", "127.0.0.1:0", "--advertise", "a b"],
            2,
        ),
        (&["serve", "--listen", "127.0.0.1:0", "--frobnicate"], 2),
        (&["issue", "alice", "1"], 7),
        (&["issue", "ALICE", "1"], 2),
        (&["issue", "alice", "1,5"], 2),
        (&["issue", "alice", "1", "--id", "xyz"], 2),
        (&["issue", "alice"], 2),
        (&["freeze", "alice"], 7),
        (&["thaw", "a\u{1b}[31m"], 2),
        (&["audit"], 7),
        (&["audit", "--against", "/nowhere/at/all"], 7),
        (&["address"], 7),
        (&["frobnicate"], 2),
    ];
    for (arguments, code) in table {
        let output = run_on(&data, arguments);
        let message = stderr(&output);
        assert_eq!(
            output.status.code(),
            Some(*code),
            "{arguments:?}: {message}"
        );
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
        assert!(
            !message.trim_end().chars().any(char::is_control),
            "{message:?}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!data.exists(), "{arguments:?} left something behind");
    }
    let help = Command::new(PROGRAM)
        .arg("--help")
        .output()
        .expect("it runs");
    assert!(help.status.success());
}

#[tokio::test]
async fn a_ledger_that_can_only_be_read_is_not_served() {
    let place = Directory::start("100").stop();
    let data = place.path().join("data");
    // In a mount namespace that is gone afterwards; whoever serves after all is ended.
    let script = "mount --bind \"$1/ledger.db\" \"$1/ledger.db\" || exit 99
                  mount -o remount,bind,ro \"$1/ledger.db\" || exit 99
                  exec timeout 20 \"$2\" serve --listen 127.0.0.1:0 --data \"$1\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([data.as_os_str(), PROGRAM.as_ref()])
        .output()
        .expect("unshare is there");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(7), "{message}");
    assert_eq!(output.stdout, b"", "it said where it serves");
    assert!(message.contains("cannot be written"), "{message}");
}
