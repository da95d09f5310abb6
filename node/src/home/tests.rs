use std::fs::Permissions;

use quid_common::id::InstanceId;

use super::*;

#[test]
fn a_home_opens_as_it_was_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/home");
    let made = Home::init(&path, &directory(1)).expect("a new home");
    assert_eq!(made.directory(), &directory(1));
    assert_eq!(
        (made.name(), made.currency(), made.ledger()),
        (None, None, None)
    );
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(KEY_FILE)), 0o600);
    let opened = Home::open(&path).expect("the same home");
    assert_eq!(opened.key(), made.key());
    assert_eq!(opened.directory(), made.directory());
}

#[test]
fn making_a_home_again_changes_nothing() {
    let (_folder, path) = home();
    let key = fs::read(path.join(KEY_FILE)).expect("a key");
    Home::init(&path, &directory(1)).expect("the same directory");
    assert_eq!(fs::read(path.join(KEY_FILE)).expect("a key"), key);
}

#[test]
fn a_directory_that_has_moved_is_found_at_its_new_address() {
    let (_folder, path) = home();
    let key = fs::read(path.join(KEY_FILE)).expect("a key");
    let moved = DirectoryAddress::new(directory(1).key(), "quid.example", 4840);
    let moved = moved.expect("an address");
    let home = Home::init(&path, &moved).expect("the same directory");
    assert_eq!(home.directory(), &moved);
    drop(home);
    assert_eq!(Home::open(&path).expect("a home").directory(), &moved);
    assert_eq!(fs::read(path.join(KEY_FILE)).expect("a key"), key);
    assert_eq!(mode(&path.join(SETTINGS_FILE)), 0o600);
}

#[test]
fn another_directory_is_refused_and_nothing_changes() {
    let (_folder, path) = home();
    let error = Home::init(&path, &directory(2)).expect_err("another directory");
    assert!(matches!(error, HomeError::OtherDirectory { .. }), "{error}");
    assert_eq!(
        Home::open(&path).expect("unchanged").directory(),
        &directory(1)
    );
}

#[test]
fn a_half_made_home_is_completed_with_its_key() {
    let (_folder, path) = home();
    let key = Home::open(&path).expect("a home").key();
    fs::remove_file(path.join(SETTINGS_FILE)).expect("removed");
    assert!(matches!(Home::open(&path), Err(HomeError::Missing { .. })));
    assert_eq!(
        Home::init(&path, &directory(1)).expect("completed").key(),
        key
    );
}

#[test]
fn a_folder_or_key_open_to_others_is_refused_by_name() {
    let (_folder, path) = home();
    for (file, bad, good) in [("", 0o755, 0o700), (KEY_FILE, 0o640, 0o600)] {
        let file = if file.is_empty() {
            path.clone()
        } else {
            path.join(file)
        };
        fs::set_permissions(&file, Permissions::from_mode(bad)).expect("changed");
        let error = Home::open(&path).expect_err("a wrong mode").to_string();
        assert!(
            error.contains(&format!("chmod {good:04o} {}", file.display())),
            "{error}"
        );
        fs::set_permissions(&file, Permissions::from_mode(good)).expect("changed");
    }
    Home::open(&path).expect("mended");
}

#[test]
fn a_missing_empty_cut_or_foreign_file_is_refused_by_name() {
    let (_folder, path) = home();
    for name in [KEY_FILE, SETTINGS_FILE, JOURNAL_FILE] {
        let file = path.join(name);
        let whole = fs::read(&file).expect("readable");
        let cut = &whole[..whole.len() / 2];
        for content in [
            None,
            Some(&b""[..]),
            Some(cut),
            Some(b"\xff\x00 something else"),
        ] {
            fs::remove_file(&file).expect("removed");
            if let Some(content) = content {
                fs::write(&file, content).expect("written");
                fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("changed");
            }
            let error = Home::open(&path).expect_err("damage").to_string();
            assert!(error.contains(name), "{name} {content:x?}: {error}");
            if let Some(content) = content {
                assert!(
                    fs::read(&file).expect("there") == content,
                    "{name} was overwritten"
                );
            } else {
                fs::write(&file, b"").expect("written");
            }
        }
        fs::write(&file, whole).expect("restored");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("changed");
        Home::open(&path).expect("mended");
    }
}

#[test]
fn what_is_no_home_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("absent")] {
        assert!(matches!(Home::open(&path), Err(HomeError::NotHome { .. })));
    }
    let file = folder.path().join("file");
    fs::write(&file, b"x").expect("written");
    assert!(matches!(Home::open(&file), Err(HomeError::NotHome { .. })));
}

#[test]
fn only_one_listens_and_the_other_is_told_who() {
    let (_folder, path) = home();
    let (one, other) = (
        Home::open(&path).expect("a home"),
        Home::open(&path).expect("a home"),
    );
    let lock = one.lock_listener().expect("free");
    match other.lock_listener() {
        Err(HomeError::Held { pid, what }) => {
            assert_eq!(pid, std::process::id());
            assert!(!what.is_empty());
        }
        unexpected => panic!("{unexpected:?}"),
    }
    drop(lock);
    other.lock_listener().expect("free again");
}

#[test]
fn an_instance_is_running_until_its_mark_is_dropped() {
    let (_folder, path) = home();
    let home = Home::open(&path).expect("a home");
    let instance = InstanceId([7; 16]);
    assert!(!home.is_running(instance));
    let mark = home.mark_running(instance).expect("marked");
    assert!(home.is_running(instance));
    home.sweep_marks();
    assert!(home.is_running(instance));
    drop(mark);
    assert!(!home.is_running(instance));
}

#[test]
fn what_was_learnt_is_known_after_reopening() {
    let (_folder, path) = home();
    let home = Home::open(&path).expect("a home");
    let learned = Learned {
        name: Some("alice".parse().expect("a name")),
        currency: Some(Currency::new("QUID", 6).expect("a currency")),
        ledger: Some(LedgerId([9; 32])),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(home.learn(learned)).expect("written");
    drop(home);
    let home = Home::open(&path).expect("a home");
    assert_eq!(home.name().expect("known").as_str(), "alice");
    assert_eq!(home.currency().expect("known").code(), "QUID");
    assert_eq!(home.ledger(), Some(LedgerId([9; 32])));
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("home");
    Home::init(&path, &directory(1)).expect("a new home");
    (folder, path)
}

fn directory(seed: u8) -> DirectoryAddress {
    let key = SecretKey::from_seed(&[seed; 32]).public();
    DirectoryAddress::new(key, "127.0.0.1", 4433).expect("an address")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}
