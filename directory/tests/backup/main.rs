//! Backups of the real program, under load, killed, without room, damaged, and made a folder again.

mod kills;
mod room;
#[path = "../world/mod.rs"]
mod world;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quid_common::refusal::Reason;
use tempfile::TempDir;

use self::world::{Directory, Member, run_on};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn backup(data: &Path, file: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["--json", "backup", file.to_str().expect("UTF-8")];
    arguments.extend(more);
    run_on(data, &arguments)
}

fn restore(file: &Path, data: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["--json", "restore", file.to_str().expect("UTF-8")];
    arguments.extend(more);
    run_on(data, &arguments)
}

/// A folder in which five accounts have registered, and nobody serves.
async fn stopped() -> (TempDir, PathBuf) {
    let directory = Directory::start("100");
    for seed in 1..=5 {
        directory.member(seed, &format!("member-{seed}")).await;
    }
    let place = directory.stop();
    let data = place.path().join("data");
    (place, data)
}

/// Pays one unit after the other until told to stop; counts the entries that were acknowledged.
async fn pay(from: Member, to: Member, number: u64, load: Arc<Load>) -> (Member, Member) {
    let mut settle = from.settle().await;
    let mut number = number << 32;
    while !load.stop.load(Ordering::Relaxed) {
        let entry = settle.submit(&from.order(to.key(), 1, number)).await;
        let entry = entry.expect("there is money enough");
        load.entries.fetch_max(entry + 1, Ordering::Relaxed);
        number += 1;
    }
    (from, to)
}

#[derive(Default)]
struct Load {
    entries: AtomicU64,
    stop: AtomicBool,
}

#[tokio::test]
async fn a_backup_under_load_holds_all_that_was_acknowledged_and_can_be_served() {
    let directory = Directory::start("100");
    let load = Arc::new(Load::default());
    let mut pairs = Vec::new();
    for pair in 0..4_u8 {
        let from = directory
            .member(2 * pair + 1, &format!("payer-{pair}"))
            .await;
        let to = directory
            .member(2 * pair + 2, &format!("payee-{pair}"))
            .await;
        let load = Arc::clone(&load);
        pairs.push(tokio::spawn(pay(from, to, u64::from(pair), load)));
    }
    let file = directory.place.path().join("backup");
    let (data, mut backups) = (directory.data(), Vec::new());
    for round in 0..5 {
        // So much more was paid, then a backup beside the payments.
        while load.entries.load(Ordering::Relaxed) < 100 + 200 * round {
            tokio::task::yield_now().await;
        }
        let acknowledged = load.entries.load(Ordering::Relaxed);
        let (data, file) = (data.clone(), file.with_file_name(format!("backup-{round}")));
        let written = tokio::task::spawn_blocking(move || (backup(&data, &file, &[]), file));
        let (output, file) = written.await.expect("it does not panic");
        backups.push((acknowledged, json(&output), file));
    }
    load.stop.store(true, Ordering::Relaxed);
    for pair in pairs {
        drop(pair.await.expect("every payment settled"));
    }
    let newest = directory.audit();
    for (acknowledged, written, file) in &backups {
        let entries = written["entries"].as_u64().expect("a number");
        assert!(
            entries >= *acknowledged,
            "{entries} of {acknowledged} entries"
        );
        let mode = std::fs::metadata(file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        // The log goes on from it, and it becomes the same books again.
        let saved = file.with_extension("checkpoint");
        std::fs::write(&saved, written["checkpoint"].as_str().expect("text")).expect("writable");
        let against = ["audit", "--json", "--against", &saved.to_string_lossy()];
        assert_eq!(json(&directory.run(&against))["ok"], true);
        let restored = file.with_extension("restored");
        let report = json(&restore(file, &restored, &[]));
        assert_eq!(report["entries"], written["entries"]);
        assert_eq!(report["checkpoint"], written["checkpoint"]);
        let audit = json(&run_on(&restored, &["audit", "--json"]));
        assert_eq!(audit["entries"], written["entries"]);
        assert_eq!(audit["issued"], newest["issued"]);
    }
    serve_an_old_one(directory, &backups[0].2).await;
}

/// The directory with the newest log stops; one with an older log begins, and finds out.
async fn serve_an_old_one(directory: Directory, file: &Path) {
    let newer = directory.client(1).await;
    let newer = newer.log_in(false).await.expect("registered");
    let checkpoint = newer.welcome.checkpoint.clone();
    drop(newer);
    let old = directory.stop();
    let place = tempfile::tempdir().expect("a place for the test's files");
    json(&restore(file, &place.path().join("data"), &[]));
    let more = ["--metrics", "0"];
    let directory = Directory::start_with(place, "100", "127.0.0.1:0", &more);
    let one = directory.client(1).await.log_in(false).await;
    let one = one.expect("registered before the backup");
    let two = directory.client(2).await.log_in(false).await;
    let two = two.expect("registered before the backup");
    let mut settle = one.settle().await;
    assert!(settle.submit(&one.order(two.key(), 1, 1)).await.is_ok());
    let knows = directory.client(3).await;
    let knows = knows.log_in_with(false, Some(checkpoint)).await;
    assert!(knows.is_ok(), "it may still look");
    let refused = settle.submit(&one.order(two.key(), 1, 2)).await;
    assert_eq!(refused, Err(Reason::LOG_INCOMPLETE));
    // A backup of such a log says so, and so does the folder that is made of it.
    let file = directory.place.path().join("incomplete");
    let written = backup(&directory.data(), &file, &[]);
    assert_eq!(json(&written)["incomplete"], true);
    let told = stderr(&written);
    assert!(told.contains("entries") && told.contains("missing") || told.contains("histories"));
    let again = directory.place.path().join("again");
    let restored = restore(&file, &again, &[]);
    assert_eq!(json(&restored)["incomplete"], true);
    assert!(again.join("ahead").exists());
    let health = health(&directory).await;
    assert!(health.contains("503") && health.contains("log_incomplete: "));
    drop(old);
}

async fn health(directory: &Directory) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = directory.metrics.expect("it serves them");
    let mut stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.as_mut().expect("it listens");
    let request = b"GET /healthz HTTP/1.1\r\nHost: quid\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn a_file_that_is_there_is_replaced_only_when_told_so() {
    let (place, data) = stopped().await;
    let file = place.path().join("backup");
    let first = json(&backup(&data, &file, &[]));
    assert_eq!(
        (&first["key"], &first["replaced"]),
        (&"plain".into(), &false.into())
    );
    assert!(run_on(&data, &["issue", "member-1", "1"]).status.success());
    let bytes = std::fs::read(&file).expect("it is there");
    let again = backup(&data, &file, &[]);
    assert_eq!(again.status.code(), Some(7));
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    assert_eq!(std::fs::read(&file).expect("it is there"), bytes);
    let replaced = json(&backup(&data, &file, &["--replace"]));
    assert_eq!(replaced["replaced"], true);
    assert_eq!(
        replaced["entries"],
        first["entries"].as_u64().expect("a number") + 1
    );
    assert!(!place.path().join("backup.part").exists());
    // In words too.
    let file = file.to_string_lossy().into_owned();
    let words = run_on(&data, &["backup", &file, "--replace"]);
    let words = String::from_utf8(words.stdout).expect("text");
    assert!(
        words.starts_with("replaced by a backup: ") && words.contains("with the key"),
        "{words}"
    );
}

#[tokio::test]
async fn without_its_key_a_backup_asks_for_it_and_takes_no_other() {
    let (place, data) = stopped().await;
    let (file, restored) = (place.path().join("backup"), place.path().join("restored"));
    let written = json(&backup(&data, &file, &["--without-key"]));
    assert_eq!(written["key"], "absent");
    let bytes = std::fs::read(&file).expect("it is there");
    let private = b"PRIVATE KEY";
    assert!(!bytes.windows(private.len()).any(|it| it == private));
    let refused = restore(&file, &restored, &[]);
    assert_eq!(refused.status.code(), Some(7));
    assert!(stderr(&refused).contains("--key"), "{}", stderr(&refused));
    let other = stopped().await;
    let other_key = other.1.join("key").to_string_lossy().into_owned();
    let refused = restore(&file, &restored, &["--key", &other_key]);
    assert_eq!(refused.status.code(), Some(7));
    assert!(
        stderr(&refused).contains("not the one"),
        "{}",
        stderr(&refused)
    );
    assert!(!restored.exists(), "nothing was restored");
    let key = data.join("key").to_string_lossy().into_owned();
    json(&restore(&file, &restored, &["--key", &key]));
    let same =
        |name: &str| std::fs::read(data.join(name)).ok() == std::fs::read(restored.join(name)).ok();
    assert!(same("key"));
    json(&run_on(&restored, &["issue", "member-1", "1", "--json"]));
}

#[tokio::test]
async fn nothing_is_restored_over_anything() {
    let (place, data) = stopped().await;
    let file = place.path().join("backup");
    json(&backup(&data, &file, &[]));
    let before = std::fs::read(data.join("ledger.db")).expect("it is there");
    let other = place.path().join("other");
    std::fs::create_dir(&other).expect("writable");
    std::fs::write(other.join("letter"), "mine").expect("writable");
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o700)).expect("ours");
    for folder in [&data, &other] {
        let refused = restore(&file, folder, &[]);
        assert_eq!(refused.status.code(), Some(7));
        assert!(
            stderr(&refused).contains("is not empty"),
            "{}",
            stderr(&refused)
        );
    }
    assert_eq!(
        std::fs::read(data.join("ledger.db")).expect("there"),
        before
    );
    assert_eq!(std::fs::read_dir(&other).expect("it is there").count(), 1);
    // An empty folder that somebody made is taken.
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).expect("writable");
    json(&restore(&file, &empty, &[]));
    // What is not where it was said to be.
    for (file, word) in [
        (place.path().join("nowhere"), "cannot read"),
        (data.clone(), "is not a Quid backup"),
        (data.join("ledger.db"), "is not a Quid backup"),
        (data.join("key"), "is not a Quid backup"),
        (other.join("letter"), "is not a Quid backup"),
    ] {
        let target = place.path().join("target");
        let refused = restore(&file, &target, &[]);
        assert_eq!(refused.status.code(), Some(7), "{}", stderr(&refused));
        assert!(
            stderr(&refused).contains(word),
            "{file:?}: {}",
            stderr(&refused)
        );
        assert!(!target.exists(), "{file:?} left something behind");
    }
    let nothing = backup(&other, &place.path().join("second"), &[]);
    assert_eq!(nothing.status.code(), Some(7), "{}", stderr(&nothing));
}

#[tokio::test]
async fn a_newer_backup_is_refused_by_its_format_and_left_alone() {
    let (place, data) = stopped().await;
    let file = place.path().join("backup");
    json(&backup(&data, &file, &[]));
    let newer = rusqlite::Connection::open(&file).expect("it is an SQLite file");
    newer
        .pragma_update(None, "user_version", 9)
        .expect("writable");
    drop(newer);
    let bytes = std::fs::read(&file).expect("it is there");
    let target = place.path().join("target");
    let refused = restore(&file, &target, &[]);
    assert_eq!(refused.status.code(), Some(7));
    let message = stderr(&refused);
    assert!(
        message.contains("format 9") && message.contains("use a newer quid-directory"),
        "{message}"
    );
    assert_eq!(std::fs::read(&file).expect("it is there"), bytes);
    assert!(!target.exists());
}

#[tokio::test]
async fn a_damaged_backup_never_becomes_other_books() {
    let (place, data) = stopped().await;
    let file = place.path().join("backup");
    let written = json(&backup(&data, &file, &[]));
    let good = std::fs::read(&file).expect("it is there");
    let (bad, target) = (place.path().join("bad"), place.path().join("target"));
    let mut found = 0;
    let mut tried = |bytes: &[u8], what: String| {
        std::fs::write(&bad, bytes).expect("writable");
        let output = restore(&bad, &target, &[]);
        let message = stderr(&output);
        match output.status.code() {
            // A byte that nothing rests on.
            Some(0) => {
                assert_eq!(json(&output)["checkpoint"], written["checkpoint"], "{what}");
                std::fs::remove_dir_all(&target).expect("ours");
            }
            Some(5 | 7) => {
                assert_eq!(message.lines().count(), 1, "{what}: {message}");
                assert!(!target.exists(), "{what} left something behind");
                found += 1;
            }
            _ => panic!("{what}: {message}"),
        }
    };
    for at in (0..good.len()).step_by(good.len() / 120) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        tried(&bytes, format!("a bit of byte {at}"));
    }
    for len in (0..good.len()).step_by(good.len() / 20) {
        tried(&good[..len], format!("cut to {len}"));
    }
    assert!(found > 40, "only {found} were noticed");
}
