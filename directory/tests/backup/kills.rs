//! SIGKILL at every step: at each system call that changes anything, or comes before such a one.

use std::path::Path;
use std::process::Command;

use crate::world::PROGRAM;
use crate::{backup, json, restore, run_on, stopped};

/// The calls; how often each is made is counted by itself, and in each thread.
const CALLS: [&str; 14] = [
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "fchmod",
    "fsync",
    "flock",
    "fadvise64",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "close",
];

/// More of one kind than either command makes on these small books.
const STEPS_MAX: usize = 500;

/// Runs the program and kills it as it begins its call number `when`; whether it came so far.
fn killed_at(call: &str, when: usize, arguments: &[&str], data: &Path) -> bool {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={when}"))
        .arg(PROGRAM)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output();
    !output.expect("strace is installed").status.success()
}

/// Kills a command at every step: `each` is told after each kill, with what it was at, and after
/// each run to the end. Returns the number of kills.
fn kill_everywhere(arguments: &[&str], data: &Path, mut each: impl FnMut(&str)) -> usize {
    let mut kills = 0;
    for call in CALLS {
        for when in 1..STEPS_MAX {
            let killed = killed_at(call, when, arguments, data);
            each(&format!("{call} {when}"));
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn a_backup_killed_at_any_step_is_not_there_or_whole() {
    let (place, data) = stopped().await;
    let (file, target) = (place.path().join("backup"), place.path().join("target"));
    let (mut absent, mut whole) = (0, 0);
    let kills = kill_everywhere(&["backup", text(&file)], &data, |at| {
        if !file.exists() {
            absent += 1;
            return;
        }
        whole += 1;
        assert!(restore(&file, &target, &[]).status.success(), "{at}");
        std::fs::remove_dir_all(&target).expect("ours");
        std::fs::remove_file(&file).expect("ours");
    });
    assert!(
        kills > 60 && absent > 50 && whole > CALLS.len(),
        "{absent}, {whole}"
    );
    // What the last kill left is in nobody's way.
    json(&backup(&data, &file, &[]));
    assert!(!place.path().join("backup.part").exists());
}

#[tokio::test]
async fn a_backup_that_replaces_one_leaves_one_or_the_other() {
    let (place, data) = stopped().await;
    let (file, target) = (place.path().join("backup"), place.path().join("target"));
    json(&backup(&data, &file, &[]));
    let old = std::fs::read(&file).expect("it is there");
    let issued = run_on(&data, &["issue", "member-1", "1"]);
    assert!(issued.status.success());
    let (mut kept, mut replaced) = (0, 0);
    let kills = kill_everywhere(&["backup", "--replace", text(&file)], &data, |at| {
        if std::fs::read(&file).expect("always there") == old {
            kept += 1;
            return;
        }
        replaced += 1;
        assert!(restore(&file, &target, &[]).status.success(), "{at}");
        std::fs::remove_dir_all(&target).expect("ours");
        std::fs::write(&file, &old).expect("ours");
    });
    assert!(
        kills > 60 && kept > 50 && replaced > CALLS.len(),
        "{kept}, {replaced}"
    );
}

#[tokio::test]
async fn a_restore_killed_at_any_step_is_repeated_and_serves_nothing_before() {
    let (place, data) = stopped().await;
    let (file, target) = (place.path().join("backup"), place.path().join("target"));
    let written = json(&backup(&data, &file, &[]));
    let key = std::fs::read(data.join("key")).expect("it is there");
    let (mut refused, mut complete) = (0, 0);
    kill_everywhere(&["restore", text(&file)], &target, |at| {
        if target.join("key").exists() {
            complete += 1;
        } else {
            if target.join("restore.part").exists() || target.join("ledger.db").exists() {
                refused += 1;
                let serve = ["serve", "--listen", "127.0.0.1:0"];
                let output = run_on(&target, &serve);
                assert_eq!(output.status.code(), Some(7), "{at}: it begins anew");
                assert!(output.stdout.is_empty());
            }
            json(&restore(&file, &target, &[]));
        }
        let audit = json(&run_on(&target, &["audit", "--json"]));
        assert_eq!(audit["checkpoint"], written["checkpoint"], "{at}");
        assert_eq!(std::fs::read(target.join("key")).ok().as_ref(), Some(&key));
        std::fs::remove_dir_all(&target).expect("ours");
    });
    assert!(
        refused > 30 && complete > CALLS.len(),
        "{refused}, {complete}"
    );
}
