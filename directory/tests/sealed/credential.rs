//! The passphrase as the service manager gives it: a file in a folder that `CREDENTIALS_DIRECTORY`
//! names, which the service's user reads by what looks like a mode for the group.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::world::{Directory, PROGRAM};
use super::{SERVE, kept, refuses, sealed, stderr};

/// Writes a credential as systemd does, in a folder that it names so.
fn credential(folder: &Path, name: &str, text: &str) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).expect("ours");
    path
}

/// Runs a command with the variables that a unit with `LoadCredential=` and
/// `Environment=QUID_PASSPHRASE_FILE=%d/...` gives it.
fn run(data: &Path, arguments: &[&str], folder: Option<&Path>, file: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--data").arg(data);
    command
        .env("QUID_PASSPHRASE_FILE", file)
        .env_remove("CREDENTIALS_DIRECTORY")
        .stdin(Stdio::null());
    if let Some(folder) = folder {
        command.env("CREDENTIALS_DIRECTORY", folder);
    }
    command.output().expect("it runs")
}

#[tokio::test]
async fn a_credential_opens_the_key_of_a_service() {
    let (place, data) = sealed("sesame").await;
    let folder = place.path().join("credentials");
    let file = credential(&folder, "passphrase", "sesame");
    let before = kept(&data);
    let issued = run(&data, &["issue", "alice", "1"], Some(&folder), &file);
    assert!(issued.status.success(), "{}", stderr(&issued));
    assert_ne!(kept(&data).1, before.1);
    let variables = [
        ("CREDENTIALS_DIRECTORY", folder.as_path()),
        ("QUID_PASSPHRASE_FILE", &file),
    ];
    let directory = Directory::serve_with(place, &variables);
    let client = directory.client(1).await;
    drop(client.log_in(false).await.expect("alice is known"));
    drop(directory.stop());
}

#[tokio::test]
async fn a_credential_that_is_none_is_refused_and_nothing_is_lost() {
    let (place, data) = sealed("sesame").await;
    let folder = place.path().join("credentials");
    let good = credential(&folder, "passphrase", "sesame\n");
    let wrong = credential(&folder, "wrong", "tahini");
    let empty = credential(&folder, "empty", "");
    let missing = folder.join("missing");
    let outside = credential(place.path(), "outside", "sesame");
    let below = credential(&folder.join("below"), "passphrase", "sesame");
    let before = kept(&data);
    for arguments in [&SERVE[..], &["issue", "alice", "1"], &["key", "unseal"]] {
        let with = |file: &Path, word| {
            refuses(&run(&data, arguments, Some(&folder), file), word);
        };
        with(&wrong, "does not open");
        with(&missing, "No such file");
    }
    let open = "can be read by others (mode 440)";
    for (file, word) in [
        (&empty, "it is empty"),
        (&folder, "it is no file"),
        (&outside, open),
        (&below, open),
    ] {
        refuses(&run(&data, &SERVE, Some(&folder), file), word);
    }
    // Without the variable, or with one that is no whole path, it is a file like any other.
    for folder in [None, Some(Path::new("credentials"))] {
        refuses(&run(&data, &SERVE, folder, &good), open);
    }
    assert_eq!(kept(&data), before);
    let issued = run(&data, &["issue", "alice", "1"], Some(&folder), &good);
    assert!(issued.status.success(), "{}", stderr(&issued));
}
