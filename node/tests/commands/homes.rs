//! Homes: made without a network, their owner's alone, and named when they cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::{ASK_THE_DIRECTORY, KEY, ORDER, World, check_failure};

#[test]
fn a_home_needs_no_network_and_is_its_owners_alone() {
    let world = World::new();
    let home = world.home("alice");
    let address = format!("quid://{KEY}@directory.invalid:4433");
    let output = world.quid(&home, &["init", "--directory", &address, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(made["directory"], address.as_str());
    assert_eq!(made["key"].as_str().map(str::len), Some(52));
    assert_eq!(mode(&home), 0o700);
    for file in fs::read_dir(&home).expect("the home is a folder") {
        let file = file.expect("the home can be read").path();
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    // The same again changes nothing; another directory is refused.
    let again = world.quid(&home, &["init", "--directory", &address, "--json"]);
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(again.stdout, output.stdout);
    let own = made["key"].as_str().expect("it is text");
    let other = address.replace(KEY, own);
    let refused = world.quid(&home, &["init", "--directory", &other]);
    check_failure(&refused, 7);
    // A directory is known by its key: one that has moved, or was mistyped, is taken at its word.
    let moved = address.replace("4433", "4434");
    let output = world.quid(&home, &["init", "--directory", &moved, "--json"]);
    let again: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(
        (&again["directory"], &again["key"]),
        (&moved.into(), &made["key"])
    );
}

#[test]
fn homes_that_cannot_be_used_are_named() {
    let world = World::new();
    let home = world.home("none");
    let others: [&[&str]; 5] = [
        &["receipt", "verify", "1"],
        &["tab", "list"],
        &["tab", "pay", ORDER, "1"],
        &["listen"],
        &["shell"],
    ];
    for arguments in ASK_THE_DIRECTORY.into_iter().chain(others) {
        let line = check_failure(&world.quid(&home, arguments), 7);
        assert!(line.contains("none"), "{line}");
        assert!(!home.exists(), "{arguments:?} made a home");
    }
    // A file where the home belongs.
    let file = world.home("file");
    fs::write(&file, "x").expect("the temporary folder is ours");
    check_failure(&world.quid(&file, &["status"]), 7);
    let address = format!("quid://{KEY}@127.0.0.1:9");
    check_failure(&world.quid(&file, &["init", "--directory", &address]), 7);
    assert_eq!(fs::read(&file).expect("the file is left"), b"x");
    // A home that is open to others, or whose files are.
    for open in ["home", "key"] {
        let home = world.made(open);
        let target = if open == "home" {
            home.clone()
        } else {
            key_file(&home)
        };
        fs::set_permissions(&target, Permissions::from_mode(0o755)).expect("it is ours");
        let line = check_failure(&world.quid(&home, &["status"]), 7);
        assert!(line.contains(&*home.to_string_lossy()), "{line}");
    }
    // A key that is missing, cut or a folder.
    for (name, harm) in [
        (
            "missing",
            (|key| fs::remove_file(key)) as fn(&Path) -> std::io::Result<()>,
        ),
        ("empty", |key| fs::write(key, "")),
        ("noise", |key| fs::write(key, [0xff; 200])),
        ("folder", |key| {
            fs::remove_file(key).and_then(|()| fs::create_dir(key))
        }),
    ] {
        let home = world.made(name);
        harm(&key_file(&home)).expect("the key is ours");
        let line = check_failure(&world.quid(&home, &["status"]), 7);
        assert!(line.contains(&*home.to_string_lossy()), "{line}");
    }
}

#[test]
fn a_process_without_any_home_says_so() {
    let world = World::new();
    let output = world
        .command(&["status"])
        .env_remove("HOME")
        .output()
        .expect("quid runs");
    let line = check_failure(&output, 7);
    assert!(line.contains("--home"), "{line}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("the path is there")
        .permissions()
        .mode()
        & 0o777
}

/// The file in `home` that holds the secret key.
fn key_file(home: &Path) -> std::path::PathBuf {
    fs::read_dir(home)
        .expect("the home is a folder")
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|file| {
            fs::read(file)
                .is_ok_and(|bytes| bytes.windows(11).any(|window| window == b"PRIVATE KEY"))
        })
        .expect("the home has a key")
}
