//! What earlier versions wrote is opened, and is what it was: each folder in samples/ is a directory
//! and two homes, made by the programs of its time (samples/make.sh).

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// A copy of a sample, to be worked on.
struct Sample {
    name: String,
    expect: Value,
    place: TempDir,
    serving: Option<Child>,
}

impl Sample {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn directory(&self, arguments: &[&str]) -> Output {
        let data = self.path("directory");
        let mut command = Command::new(directory_program());
        command.args(arguments).arg("--data").arg(data);
        command.output().expect("the directory's program runs")
    }

    fn quid(&self, home: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quid"));
        command.env_clear().env("QUID_HOME", self.path(home));
        command.args(arguments).stdin(Stdio::null());
        command.output().expect("quid runs")
    }

    /// The object printed by a command that must succeed.
    fn read(&self, home: &str, arguments: &[&str]) -> Value {
        last(&self.quid(home, arguments), &self.name)
    }

    /// Serves the directory on some port, and tells the homes.
    fn serve(&mut self) {
        let mut child = Command::new(directory_program())
            .args(["serve", "--accept-clock", "--listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(self.path("directory"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("log")).expect("ours"))
            .spawn()
            .expect("the directory's program runs");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("text");
        let log = fs::read_to_string(self.path("log")).expect("ours");
        assert!(address.starts_with("quid://"), "{}: {log}", self.name);
        self.serving = Some(child);
        for home in ["alice", "bob"] {
            let path = self.path(home).join("settings.json");
            let text = fs::read_to_string(&path).expect("every home has settings");
            let mut settings: Value = serde_json::from_str(&text).expect("JSON");
            settings["directory"] = address.trim().into();
            fs::write(&path, settings.to_string()).expect("ours");
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.serving.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Copies of all samples. Adding one is adding a folder.
fn samples() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let mut samples = Vec::new();
    for entry in fs::read_dir(&root).expect("it is in the tree") {
        let from = entry.expect("readable").path();
        let Ok(text) = fs::read_to_string(from.join("expect.json")) else {
            continue;
        };
        let place = tempfile::tempdir().expect("a place for the test's files");
        copy(&from, place.path());
        samples.push(Sample {
            name: from.display().to_string(),
            expect: serde_json::from_str(&text).expect("JSON"),
            place,
            serving: None,
        });
    }
    assert!(samples.len() >= 2, "samples are missing");
    samples
}

/// Copies a folder, for its owner alone, as the programs want it: a tree of sources keeps no modes.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("readable") {
        let from = entry.expect("readable").path();
        let to = to.join(from.file_name().expect("it has a name"));
        if from.is_dir() {
            fs::create_dir(&to).expect("ours");
            copy(&from, &to);
            fs::set_permissions(&to, Permissions::from_mode(0o700)).expect("ours");
        } else {
            fs::copy(&from, &to).expect("readable");
            fs::set_permissions(&to, Permissions::from_mode(0o600)).expect("ours");
        }
    }
}

fn directory_program() -> PathBuf {
    let quid = Path::new(env!("CARGO_BIN_EXE_quid"));
    quid.with_file_name("quid-directory")
}

fn last(output: &Output, what: &str) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {told}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().expect("a line");
    serde_json::from_str(line).expect("JSON")
}

/// Checks that `found` has all that is `expected`.
fn same(expected: &Value, found: &Value, what: &str) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(found.get(name), Some(value), "{name} of {what}");
    }
}

fn audited(sample: &Sample) {
    let audit = sample.directory(&["audit", "--json"]);
    let what = format!("the audit of {}", sample.name);
    same(&sample.expect["audit"], &last(&audit, &what), &what);
}

#[test]
fn balances_history_and_receipts_are_what_they_were() {
    for mut sample in samples() {
        audited(&sample);
        sample.serve();
        for home in ["alice", "bob"] {
            let status = sample.read(home, &["status", "--json"]);
            let what = format!("{home} of {}", sample.name);
            same(&sample.expect[home], &status, &what);
            assert_eq!(status["pending"], 0, "{what}");
        }
        let past = sample.quid("alice", &["history", "--json", "--limit", "500"]);
        let lines = String::from_utf8_lossy(&past.stdout).lines().count();
        assert_eq!(sample.expect["alice_history"], lines, "{}", sample.name);
        let order = sample.expect["order"].as_str().expect("an id");
        let file = sample.path("receipt.txt").display().to_string();
        for receipt in [order, &file] {
            let verified = sample.read("alice", &["receipt", "verify", receipt, "--json"]);
            assert_eq!(verified["ok"], true, "{receipt} of {}", sample.name);
        }
        // It goes on from there.
        let paid = sample.read("alice", &["pay", "bob", "1", "--json"]);
        assert_eq!(paid["state"], "settled", "{}", sample.name);
        sample.stop();
        let again = sample.directory(&["audit", "--json"]);
        assert_eq!(last(&again, &sample.name)["ok"], true);
    }
}

#[test]
fn without_what_is_derived_the_books_are_the_same() {
    for mut sample in samples() {
        let derived = ["index.db", "index.db-wal", "tree", "snapshot", "address"];
        let mut removed = 0;
        for entry in fs::read_dir(sample.path("directory")).expect("readable") {
            let entry = entry.expect("readable");
            let name = entry.file_name().into_string().expect("text");
            if derived.contains(&name.as_str()) || name.starts_with("redo-") {
                fs::remove_file(entry.path()).expect("ours");
                removed += 1;
            }
        }
        assert!(removed >= 4, "{}: {removed}", sample.name);
        sample.serve();
        for home in ["alice", "bob"] {
            let status = sample.read(home, &["status", "--json"]);
            let what = format!("{home} of {}", sample.name);
            same(&sample.expect[home], &status, &what);
        }
        sample.stop();
        audited(&sample);
    }
}

#[test]
fn a_checkpoint_that_was_remembered_is_forgotten_by_a_log_that_holds_it() {
    for mut sample in samples() {
        let ahead = sample.path("directory").join("ahead");
        let checkpoint = sample.expect["audit"]["checkpoint"].as_str();
        fs::write(&ahead, checkpoint.expect("text")).expect("ours");
        sample.serve();
        assert!(!ahead.exists(), "{}", sample.name);
    }
}

#[test]
fn backups_are_restored_to_the_books_that_they_were() {
    let mut backups = 0;
    for sample in samples() {
        let file = sample.path("backup.quid");
        if !file.exists() {
            continue;
        }
        backups += 1;
        fs::remove_dir_all(sample.path("directory")).expect("ours");
        let file = file.display().to_string();
        let restored = last(
            &sample.directory(&["restore", &file, "--json"]),
            &sample.name,
        );
        same(
            &sample.expect["audit"],
            &last(&sample.directory(&["audit", "--json"]), ""),
            &file,
        );
        assert_eq!(restored["entries"], sample.expect["audit"]["entries"]);
    }
    assert!(backups >= 1, "no sample has a backup");
}

/// Makes a file of a format that no program knows yet.
fn age(file: &Path) {
    let connection = Connection::open(file).expect("an SQLite file");
    let mode = connection.pragma_update(None, "journal_mode", "DELETE");
    mode.expect("nobody else has it open");
    let version = connection.pragma_update(None, "user_version", 99);
    version.expect("ours");
}

fn refuses(output: &Output, words: &[&str], file: &Path, before: &[u8]) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    for word in words {
        assert!(told.contains(word), "{word} in {told}");
    }
    assert_eq!(fs::read(file).expect("still there"), before, "{file:?}");
}

#[test]
fn newer_files_are_refused_by_their_format_and_left_alone() {
    for sample in samples() {
        let ledger = sample.path("directory").join("ledger.db");
        age(&ledger);
        let before = fs::read(&ledger).expect("it is there");
        let words = ["format 99", "use a newer quid-directory"];
        let saved = sample.path("saved").display().to_string();
        let serve = ["serve", "--accept-clock", "--listen", "127.0.0.1:0"];
        for arguments in [
            &serve[..],
            &["audit"],
            &["backup", &saved],
            &["issue", "bob", "1"],
        ] {
            refuses(&sample.directory(arguments), &words, &ledger, &before);
        }
        let journal = sample.path("alice").join("journal.sqlite3");
        age(&journal);
        let before = fs::read(&journal).expect("it is there");
        let words = ["format 99", "use a newer quid"];
        refuses(
            &sample.quid("alice", &["status"]),
            &words,
            &journal,
            &before,
        );
        let settings = sample.path("bob").join("settings.json");
        let text = fs::read_to_string(&settings).expect("it is there");
        let mut newer: Value = serde_json::from_str(&text).expect("JSON");
        newer["version"] = 99.into();
        fs::write(&settings, newer.to_string()).expect("ours");
        let before = fs::read(&settings).expect("it is there");
        let words = ["version 99", "use a newer quid"];
        refuses(&sample.quid("bob", &["status"]), &words, &settings, &before);
        let backup = sample.path("backup.quid");
        if backup.exists() {
            age(&backup);
            let before = fs::read(&backup).expect("it is there");
            let file = backup.display().to_string();
            fs::remove_dir_all(sample.path("directory")).expect("ours");
            let words = ["format 99", "use a newer quid-directory"];
            refuses(
                &sample.directory(&["restore", &file]),
                &words,
                &backup,
                &before,
            );
        }
    }
}
