use super::*;

const ONCE: Terms = Terms {
    uses: 1,
    life: None,
};

struct World {
    _place: tempfile::TempDir,
    folder: Folder,
    key: SecretKey,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let folder = Folder::create_or_open(&place.path().join("data")).expect("a folder");
        Self {
            _place: place,
            folder,
            key: SecretKey::from_seed(&[1; 32]),
        }
    }

    fn open(&self) -> Invites {
        Invites::open(&self.folder).expect("it opens")
    }

    fn code(&self, operation: u8) -> Code {
        Code::of(&self.key, OperationId([operation; 16]))
    }

    fn make(&self, operation: u8, terms: Terms) -> String {
        let code = self.code(operation);
        let made = self
            .open()
            .make(&code, OperationId([operation; 16]), terms, at(0));
        made.expect("made");
        code.to_string()
    }
}

fn at(ms: u64) -> LedgerTime {
    LedgerTime::from_millis(ms)
}

fn account(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn take(invites: &mut Invites, code: &str, number: u8) -> Result<(), Reason> {
    invites
        .take(code, &account(number), at(1))
        .expect("the file works")
}

#[test]
fn a_code_reads_back_and_hides_from_logs() {
    let world = World::new();
    let code = world.code(1);
    let text = code.to_string();
    assert_eq!(text.len(), 32 + 3);
    for written in [
        text.clone(),
        text.replace('-', ""),
        text.to_ascii_uppercase(),
    ] {
        assert_eq!(written.parse::<Code>().as_ref(), Ok(&code));
    }
    for wrong in [
        "",
        "-",
        "no code",
        &text[..30],
        &format!("{text}a"),
        &"a".repeat(4000),
        "ä",
    ] {
        assert_eq!(wrong.parse::<Code>().err(), Some(CodeError), "{wrong}");
    }
    assert_eq!(format!("{code:?}"), "Code(..)");
    assert_eq!(world.code(1), code);
    assert_ne!(world.code(2), code);
    let other = SecretKey::from_seed(&[2; 32]);
    assert_ne!(Code::of(&other, OperationId([1; 16])), code);
}

#[test]
fn a_code_is_used_as_often_as_it_may_and_by_one_account_once() {
    let world = World::new();
    let code = world.make(1, Terms { uses: 2, ..ONCE });
    let mut invites = world.open();
    for _ in 0..3 {
        assert_eq!(take(&mut invites, &code, 1), Ok(()));
    }
    assert_eq!(take(&mut invites, &code, 2), Ok(()));
    assert_eq!(take(&mut invites, &code, 3), Err(Reason::INVITE_USED_UP));
    // Those who have used it are not in question, also after another start.
    drop(invites);
    let mut invites = world.open();
    assert_eq!(take(&mut invites, &code, 1), Ok(()));
    assert_eq!(take(&mut invites, &code, 3), Err(Reason::INVITE_USED_UP));
    invites.give_back(&account(2)).expect("the file works");
    invites.give_back(&account(2)).expect("the file works");
    assert_eq!(take(&mut invites, &code, 3), Ok(()));
    assert_eq!(take(&mut invites, &code, 4), Err(Reason::INVITE_USED_UP));
}

#[test]
fn a_code_is_good_until_its_time() {
    let world = World::new();
    let life = Some(Duration::from_millis(100));
    let code = world.make(1, Terms { uses: 9, life });
    let mut invites = world.open();
    let mut take = |number, ms| {
        invites
            .take(&code, &account(number), at(ms))
            .expect("the file works")
    };
    assert_eq!(take(1, 99), Ok(()));
    assert_eq!(take(2, 100), Err(Reason::INVITE_EXPIRED));
    assert_eq!(take(1, 100), Ok(()), "it was in time");
}

#[test]
fn what_nobody_gave_out_is_unknown() {
    let world = World::new();
    world.make(1, ONCE);
    let mut invites = world.open();
    let never_made = world.code(2).to_string();
    for code in ["", "let me in", &never_made, &"a".repeat(4000)] {
        assert_eq!(
            take(&mut invites, code, 1),
            Err(Reason::INVITE_UNKNOWN),
            "{code}"
        );
    }
}

#[test]
fn an_operation_makes_one_code_however_often_it_is_repeated() {
    let world = World::new();
    let code = world.make(1, ONCE);
    let mut invites = world.open();
    assert_eq!(take(&mut invites, &code, 1), Ok(()));
    assert_eq!(world.make(1, ONCE), code);
    assert_eq!(take(&mut invites, &code, 2), Err(Reason::INVITE_USED_UP));
    let other = invites.make(
        &world.code(1),
        OperationId([1; 16]),
        Terms { uses: 2, ..ONCE },
        at(5),
    );
    assert!(matches!(other, Err(InvitesError::Reused(_))));
}

#[test]
fn a_use_noted_for_an_account_that_never_came_to_be_is_taken_back_at_the_next_start() {
    let world = World::new();
    let code = world.make(1, Terms { uses: 2, ..ONCE });
    let mut invites = world.open();
    assert_eq!(take(&mut invites, &code, 1), Ok(()));
    assert_eq!(take(&mut invites, &code, 2), Ok(()));
    // The process dies before the ledger hears of account 2.
    drop(invites);
    let mut invites = world.open();
    let reconciled = invites.reconcile(|key| *key == account(1));
    reconciled.expect("the file works");
    assert_eq!(take(&mut invites, &code, 3), Ok(()));
    assert_eq!(take(&mut invites, &code, 4), Err(Reason::INVITE_USED_UP));
}

#[test]
fn whoever_changes_codes_takes_one_use_only() {
    let world = World::new();
    let (one, two) = (world.make(1, ONCE), world.make(2, ONCE));
    let mut invites = world.open();
    assert_eq!(take(&mut invites, &one, 1), Ok(()));
    assert_eq!(take(&mut invites, &two, 1), Ok(()));
    assert_eq!(take(&mut invites, &one, 2), Ok(()));
    assert_eq!(take(&mut invites, &two, 3), Err(Reason::INVITE_USED_UP));
}

#[test]
fn what_a_backup_has_of_the_codes_is_what_was_written_or_nothing() {
    let world = World::new();
    let code = world.make(
        1,
        Terms {
            uses: 2,
            life: Some(Duration::from_secs(9)),
        },
    );
    world.make(2, ONCE);
    take(&mut world.open(), &code, 7).expect("it is good");
    world
        .open()
        .revoke(None, Some(OperationId([2; 16])))
        .expect("it works");
    let saved = Saved::of(&world.folder)
        .expect("it reads")
        .expect("there are codes");
    assert_eq!(saved.codes(), 2);
    let other = World::new();
    saved.restore(&other.folder).expect("it writes");
    assert_eq!(
        other.open().list().expect("it reads"),
        world.open().list().expect("it reads")
    );
    let again = Saved::of(&other.folder)
        .expect("it reads")
        .expect("there are codes");
    assert_eq!(again.bytes(), saved.bytes());
    for at in 0..saved.bytes().len() {
        let mut bytes = saved.bytes().to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert_eq!(Saved::read(bytes).err(), Some(SavedError), "byte {at}");
        let cut = saved.bytes()[..at].to_vec();
        assert_eq!(Saved::read(cut).err(), Some(SavedError), "cut to {at}");
    }
    // With the right sum, but nothing that this program writes.
    for json in [
        "{}",
        r#"{"codes":[],"uses":[],"more":1}"#,
        r#"{"codes":[],"uses":[{"account":"00","hash":"00"}]}"#,
    ] {
        let sum = data_encoding::HEXLOWER.encode(&sha256(json.as_bytes()));
        let text = format!("quid invites 1 {sum}\n{json}");
        assert_eq!(Saved::read(text.into()).err(), Some(SavedError), "{json}");
    }
    assert!(Saved::of(&World::new().folder).expect("it reads").is_none());
}

#[test]
fn a_newer_file_is_refused_by_its_format_and_left_alone() {
    let world = World::new();
    world.make(1, ONCE);
    let newer = Connection::open(world.folder.invites()).expect("an SQLite file");
    newer.pragma_update(None, "user_version", 9).expect("ours");
    drop(newer);
    let before = std::fs::read(world.folder.invites()).expect("it is there");
    let refused = Invites::open(&world.folder).expect_err("it is newer");
    assert!(refused.to_string().contains("format 9"), "{refused}");
    let after = std::fs::read(world.folder.invites()).expect("it is there");
    assert_eq!(before, after);
}
