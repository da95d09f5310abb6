//! The directory's key under a passphrase: who needs it, who does not, and where it comes from.

mod credential;
#[path = "../../../terminal/tests/screen/mod.rs"]
mod screen;
mod typed;
#[path = "../world/mod.rs"]
mod world;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use world::{Directory, PROGRAM, run_on};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().expect("a line");
    serde_json::from_str(line).expect("one JSON object")
}

/// A file with a passphrase, for its owner alone.
fn phrase(place: &Path, text: &str) -> PathBuf {
    let path = place.join(format!("phrase-{text}"));
    std::fs::write(&path, format!("{text}\n")).expect("writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
    path
}

/// That the command is refused with one line which has `word` in it.
fn refuses(output: &Output, word: &str) {
    let told = stderr(output);
    assert_eq!(output.status.code(), Some(7), "{told}");
    let told: Vec<_> = told.lines().filter(|line| line.contains(word)).collect();
    assert_eq!(told.len(), 1, "{word} in {}", stderr(output));
}

/// A data folder in which alice has an account and whose key is sealed under `text`.
async fn sealed(text: &str) -> (TempDir, PathBuf) {
    let directory = Directory::start("100");
    drop(directory.member(1, "alice").await);
    let place = directory.stop();
    let data = place.path().join("data");
    let file = phrase(place.path(), text);
    let file = file.to_str().expect("UTF-8");
    let sealed = run_on(&data, &["key", "seal", "--new-passphrase-file", file]);
    assert!(sealed.status.success(), "{}", stderr(&sealed));
    (place, data)
}

/// What no refusal may change: the key's file, and how much the log has.
fn kept(data: &Path) -> (Vec<u8>, Value) {
    let report = json(&run_on(data, &["audit", "--json"]));
    assert_eq!(report["ok"], true, "{report}");
    let key = std::fs::read(data.join("key")).expect("it is there");
    (key, report["entries"].clone())
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn a_sealed_key_is_needed_to_sign_and_for_nothing_else() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let key = directory.address.key().to_string();
    let held = directory.run(&["key", "seal", "--new-passphrase-file", "/dev/null"]);
    refuses(&held, "is held by");
    drop(alice);
    let place = directory.stop();
    let data = place.path().join("data");
    let (good, bad) = (phrase(place.path(), "good"), phrase(place.path(), "bad"));
    let [good, bad] = [&good, &bad].map(|path| path.to_str().expect("UTF-8"));
    refuses(
        &run_on(&data, &["key", "seal", "--json"]),
        "--new-passphrase-file",
    );
    refuses(
        &run_on(
            &data,
            &["key", "seal", "--new-passphrase-file", "/dev/null"],
        ),
        "it is empty",
    );
    let sealed = run_on(
        &data,
        &["key", "seal", "--new-passphrase-file", good, "--json"],
    );
    assert_eq!(json(&sealed)["key"], key.as_str());
    let text = std::fs::read_to_string(data.join("key")).expect("it is there");
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));

    // Whoever signs needs it, and is told how to give it.
    for arguments in [&SERVE[..], &["issue", "alice", "1"], &["invite"]] {
        refuses(&run_on(&data, arguments), "--passphrase-file FILE");
        let wrong = [arguments, &["--passphrase-file", bad]].concat();
        refuses(&run_on(&data, &wrong), "does not open");
    }
    let open = phrase(place.path(), "open");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o640)).expect("ours");
    let open = open.to_str().expect("UTF-8");
    let told = [&SERVE[..], &["--passphrase-file", open]].concat();
    refuses(&run_on(&data, &told), "can be read by others (mode 640)");
    let issued = run_on(&data, &["issue", "alice", "1", "--passphrase-file", good]);
    assert!(issued.status.success(), "{}", stderr(&issued));

    // Who only reads does not.
    assert_eq!(json(&run_on(&data, &["audit", "--json"]))["ok"], true);
    let file = place.path().join("backup");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(
        json(&run_on(&data, &["backup", file, "--json"]))["key"],
        "sealed"
    );
    let other = place.path().join("other");
    let restored = run_on(&other, &["restore", file, "--json"]);
    assert_eq!(json(&restored)["key"], "sealed");

    // Beside one that serves, commands need none.
    let place_of = place.path().to_owned();
    let directory = Directory::serve_on(place, &["--passphrase-file", good]);
    assert_eq!(directory.address.key().to_string(), key);
    assert!(directory.run(&["issue", "alice", "2"]).status.success());
    drop(
        directory
            .client(1)
            .await
            .log_in(false)
            .await
            .expect("known"),
    );
    let place = directory.stop();
    assert_eq!(place.path(), place_of);
}

#[tokio::test]
async fn a_key_gets_another_passphrase_by_the_first_and_is_plain_again_without() {
    let place = tempfile::tempdir().expect("a place");
    let (first, second) = (
        phrase(place.path(), "first"),
        phrase(place.path(), "second"),
    );
    let [first, second] = [&first, &second].map(|path| path.to_str().expect("UTF-8").to_owned());
    // A new folder's key is sealed from the start, if a passphrase is given.
    let directory = Directory::serve_on(place, &["--passphrase-file", &first]);
    let key = directory.address.key().to_string();
    let place = directory.stop();
    let data = place.path().join("data");
    let with_environment = |arguments: &[&str], file: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--data").arg(&data);
        command
            .env("QUID_PASSPHRASE_FILE", file)
            .stdin(Stdio::null());
        command.output().expect("it runs")
    };
    let seal = ["key", "seal", "--json", "--new-passphrase-file", &second];
    refuses(&run_on(&data, &seal), "--passphrase-file FILE");
    refuses(&with_environment(&seal, &second), "does not open");
    assert_eq!(json(&with_environment(&seal, &first))["sealed"], true);
    refuses(
        &with_environment(&["key", "unseal"], &first),
        "does not open",
    );
    let plain = with_environment(&["key", "unseal", "--json"], &second);
    assert_eq!(json(&plain)["key"], key.as_str());
    let mode = std::fs::metadata(data.join("key"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let directory = Directory::serve_on(place, &[]);
    assert_eq!(directory.address.key().to_string(), key);
}
