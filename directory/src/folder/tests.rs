//! What a data folder refuses, and what it keeps.

use super::*;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("deep").join("data");
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").mode() & 0o777
}

#[test]
fn a_new_folder_is_its_owners_alone() {
    let (_dir, path) = scratch();
    assert!(matches!(Folder::open(&path), Err(FolderError::Missing(_))));
    let folder = Folder::create_or_open(&path).expect("it can be made");
    assert_eq!(mode(&path), 0o700);
    let same = Folder::open(&path).expect("it is there now");
    assert_eq!(same.path(), folder.path());
    Folder::create_or_open(&path).expect("it is there now");
}

#[test]
fn a_file_in_its_place_is_refused_and_kept() {
    let (dir, _) = scratch();
    let path = dir.path().join("file");
    fs::write(&path, "mine").expect("it can be written");
    let refused = Folder::create_or_open(&path).expect_err("it is no folder");
    assert!(
        refused
            .to_string()
            .starts_with(&format!("{} is not a folder", path.display()))
    );
    assert_eq!(fs::read(&path).expect("it is still there"), b"mine");
}

#[test]
fn an_unused_folder_is_closed_and_a_used_one_refused() {
    let (_dir, path) = scratch();
    fs::create_dir_all(&path).expect("it can be made");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
    let folder = Folder::create_or_open(&path).expect("an empty folder is taken over");
    assert_eq!(mode(&path), 0o700);
    let lock = folder.lock("test").expect("nobody holds it");
    folder
        .key_or_new(&lock, &[1; 32])
        .expect("a new folder gets a key");
    fs::set_permissions(&path, Permissions::from_mode(0o750)).expect("it is ours");
    let refused = Folder::create_or_open(&path).expect_err("others may look into it");
    assert!(
        refused
            .to_string()
            .ends_with(&format!("run `chmod 700 {}`", path.display()))
    );
}

#[test]
fn the_second_to_lock_is_told_who_holds_it() {
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("serve").expect("nobody holds it");
    let refused = folder.lock("issue").expect_err("it is held");
    let holder = format!("is held by process {} (serve);", std::process::id());
    assert!(refused.to_string().contains(&holder), "{refused}");
    drop(lock);
    folder.lock("issue").expect("it is free again");
}

#[test]
fn the_key_is_made_once_and_kept_from_others() {
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("test").expect("nobody holds it");
    assert!(matches!(folder.key(), Err(FolderError::KeyMissing(_))));
    let key = folder
        .key_or_new(&lock, &[1; 32])
        .expect("a new folder gets a key");
    let again = folder.key_or_new(&lock, &[2; 32]).expect("it has one");
    assert_eq!(key.public(), again.public());
    let file = path.join("key");
    assert_eq!(mode(&file), 0o600);

    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
    let refused = folder.key().expect_err("others may read it").to_string();
    assert!(
        refused.ends_with(&format!("run `chmod 600 {}`", file.display())),
        "{refused}"
    );

    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    for damaged in [
        &b""[..],
        b"-----BEGIN PRIVATE KEY-----",
        &[0xff; 64],
        &[b'a'; 9999],
    ] {
        fs::write(&file, damaged).expect("it can be written");
        assert!(matches!(
            folder.key_or_new(&lock, &[2; 32]),
            Err(FolderError::KeyText(_))
        ));
        assert_eq!(fs::read(&file).expect("it is still there"), damaged);
    }
}

#[test]
fn a_key_is_sealed_and_unsealed_and_stays_the_same() {
    let phrase = |text: &str| Some(Passphrase::read(text.as_bytes()).expect("a passphrase"));
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("test").expect("nobody holds it");
    let made = folder.key_or_new(&lock, &[1; 32]);
    let key = made.expect("a new folder gets a key").public();
    let plain = fs::read(path.join("key")).expect("it is there");
    folder
        .seal(&lock, phrase("a").as_ref())
        .expect("it can be written");
    assert!(folder.is_sealed() && mode(&path.join("key")) == 0o600);
    assert!(matches!(folder.key(), Err(FolderError::KeySealed(_))));
    let with = |text| folder.clone().with_passphrase(phrase(text));
    assert!(matches!(with("b").key(), Err(FolderError::Passphrase(_))));
    assert_eq!(with("a").key().expect("it opens").public(), key);
    // Who only reads goes by the address; without one it must be opened.
    assert!(matches!(
        folder.public_key(),
        Err(FolderError::KeySealed(_))
    ));
    let address = format!("quid://{key}@127.0.0.1:1");
    folder
        .write_address(&lock, &address)
        .expect("it can be written");
    assert_eq!(folder.public_key().expect("by the address"), key);
    // Another passphrase needs the one before.
    let refused = folder.seal(&lock, phrase("c").as_ref());
    assert!(matches!(refused, Err(FolderError::KeySealed(_))));
    with("a").seal(&lock, None).expect("it can be written");
    assert_eq!(fs::read(path.join("key")).expect("it is there"), plain);
}

#[test]
fn a_folder_that_is_made_with_a_passphrase_has_a_sealed_key() {
    let (_dir, path) = scratch();
    let phrase = Passphrase::read(&b"a"[..]).expect("a passphrase");
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let folder = folder.with_passphrase(Some(phrase));
    let lock = folder.lock("test").expect("nobody holds it");
    let made = folder.key_or_new(&lock, &[1; 32]);
    let key = made.expect("a new folder gets a key").public();
    assert!(folder.is_sealed());
    assert_eq!(folder.key().expect("it opens").public(), key);
}

#[test]
fn a_ledger_without_its_key_gets_no_new_one() {
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("test").expect("nobody holds it");
    fs::write(folder.ledger(), "").expect("it can be written");
    let refused = folder.key_or_new(&lock, &[2; 32]);
    assert!(matches!(refused, Err(FolderError::KeyMissing(_))));
}

#[test]
fn the_address_is_replaced_whole() {
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("test").expect("nobody holds it");
    assert!(matches!(
        folder.address(),
        Err(FolderError::AddressMissing(_))
    ));
    // What a crash left behind is in nobody's way.
    fs::write(path.join("address.part"), "quid://hal").expect("it can be written");
    folder
        .write_address(&lock, "quid://k@127.0.0.1:1")
        .expect("it can be written");
    folder
        .write_address(&lock, "quid://k@127.0.0.1:2")
        .expect("it can be replaced");
    assert_eq!(
        folder.address().expect("it was written"),
        "quid://k@127.0.0.1:2"
    );
    assert!(!path.join("address.part").exists());
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let (_dir, path) = scratch();
    let folder = Folder::create_or_open(&path).expect("it can be made");
    let lock = folder.lock("test").expect("nobody holds it");
    folder
        .write_address(&lock, "old")
        .expect("it can be written");
    let failed = folder.replace(&lock, ADDRESS, |file| {
        file.write_all(b"ne")?;
        Err(io::Error::from(ErrorKind::StorageFull))
    });
    assert!(matches!(
        failed,
        Err(FolderError::Io {
            action: "write",
            ..
        })
    ));
    assert_eq!(folder.address().expect("it was written before"), "old");
    assert!(!path.join("address.part").exists());
}

#[test]
fn odd_paths_are_shown_on_one_line() {
    let refused = Folder::open(Path::new("/nowhere/\u{1b}[31m\n")).expect_err("not there");
    let text = refused.to_string();
    assert!(!text.contains(['\u{1b}', '\n']), "{text:?}");
}

#[test]
fn a_file_that_is_to_go_goes_by_parts_and_nobodys_copy_with_it() {
    let place = tempfile::tempdir().expect("a place");
    let (path, copy) = (place.path().join("old"), place.path().join("copy"));
    let parts = |path: &Path| {
        let mut parts = 1;
        while remove_part(path).expect("it is ours") {
            parts += 1;
        }
        parts
    };
    for (len, expected) in [
        (0, 1),
        (PART_REMOVED, 1),
        (PART_REMOVED + 1, 2),
        (7 * PART_REMOVED / 2, 4),
    ] {
        fs::write(&path, vec![7; len as usize]).expect("there is room");
        assert_eq!(parts(&path), expected, "{len} bytes");
        assert!(!path.exists(), "{len} bytes");
    }
    assert_eq!(parts(&path), 1, "gone is gone");
    let content = vec![7; 3 * PART_REMOVED as usize];
    fs::write(&path, &content).expect("there is room");
    fs::hard_link(&path, &copy).expect("the same folder");
    assert_eq!(parts(&path), 1);
    assert!(!path.exists() && fs::read(&copy).expect("it stays") == content);
    fs::create_dir(&path).expect("there is room");
    assert!(matches!(remove_part(&path), Err(FolderError::Io { .. })));
}
