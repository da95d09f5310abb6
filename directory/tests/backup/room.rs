//! File systems that fill up: real ones, of a few KiB, in a mount namespace that is gone afterwards.

use std::path::Path;
use std::process::{Command, Output};

use crate::world::PROGRAM;
use crate::{backup, json, stderr, stopped};

/// Runs the program on a file system of so many KiB mounted at `place`; what is left there comes in
/// the last lines of stdout, behind a mark.
fn with_room(kib: usize, place: &Path, arguments: &[&str]) -> Output {
    let script = "mount -t tmpfs -o size=$1k,mode=700 none \"$2\" || exit 99
                  place=$2; shift 2
                  \"$@\"; code=$?
                  echo left:; ls -A \"$place\"
                  exit $code";
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(kib.to_string())
        .arg(place)
        .arg(PROGRAM)
        .args(arguments)
        .output()
        .expect("unshare is there")
}

fn left(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, left) = text.split_once("left:\n").expect("it was mounted");
    left.trim().to_owned()
}

#[tokio::test]
async fn without_room_there_is_no_backup_and_one_line() {
    let (place, data) = stopped().await;
    let small = place.path().join("small");
    std::fs::create_dir(&small).expect("writable");
    let file = small.join("backup");
    let arguments = [
        "backup",
        file.to_str().expect("UTF-8"),
        "--data",
        data.to_str().expect("UTF-8"),
    ];
    let mut full = 0;
    for kib in (4..200).step_by(8) {
        let output = with_room(kib, &small, &arguments);
        if output.status.success() {
            assert_eq!(left(&output), "backup");
            break;
        }
        full += 1;
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(7), "{kib} KiB: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("full"), "{message}");
        assert_eq!(left(&output), "", "{kib} KiB");
    }
    assert!((2..24).contains(&full), "{full} sizes were too small");
}

#[tokio::test]
async fn without_room_nothing_is_restored_and_one_line() {
    let (place, data) = stopped().await;
    let (file, small) = (place.path().join("backup"), place.path().join("small"));
    json(&backup(&data, &file, &[]));
    std::fs::create_dir(&small).expect("writable");
    let target = small.join("data");
    let arguments = [
        "restore",
        file.to_str().expect("UTF-8"),
        "--data",
        target.to_str().expect("UTF-8"),
    ];
    let mut full = 0;
    for kib in (4..200).step_by(8) {
        let output = with_room(kib, &small, &arguments);
        if output.status.success() {
            assert_eq!(left(&output), "data");
            break;
        }
        full += 1;
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(7), "{kib} KiB: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(left(&output), "", "{kib} KiB");
    }
    assert!((2..24).contains(&full), "{full} sizes were too small");
}
