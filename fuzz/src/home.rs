//! A node's home folder, damaged.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Unstructured;
use quid_common::address::DirectoryAddress;
use quid_common::cbor;
use quid_common::key::PublicKey;
use quid_node::{Home, JournalError, Node, Options, ReceiptId, RequestError};
use rusqlite::{Connection, params};
use tokio::time::timeout;

use crate::evidence::Genuine;
use crate::folder::{scratch, set_mode};
use crate::patches::{apply, patches};
use crate::world::{PAYMENT, TAB, order_id};

/// The first byte chooses a file of the home, the second whether the rest replaces it or changes
/// it.
///
/// The home opens with the key and the directory that its files name, or it does not open; and a
/// node on a damaged journal says so instead of showing what cannot be proved.
pub fn home_folder(bytes: &[u8]) {
    let [choice, replace, rest @ ..] = bytes else {
        return;
    };
    let sound = &*SOUND;
    let place = scratch();
    let home = place.path().join("home");
    sound.write(&home);
    let (name, content) = &sound.files[usize::from(*choice) % sound.files.len()];
    let content = if replace % 2 == 0 {
        rest.to_vec()
    } else {
        let mut content = content.clone();
        apply(&mut content, &patches(&mut Unstructured::new(rest)));
        content
    };
    fs::write(home.join(name), &content).expect("a temporary folder can be written to");
    let opened = match Home::open(&home) {
        Ok(opened) => opened,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.is_empty() && !told.contains('\u{1b}'), "{told:?}");
            return;
        }
    };
    if name != "key.pem" {
        assert_eq!(opened.key(), sound.key);
    }
    if name != "settings.json" {
        assert_eq!(*opened.directory(), sound.directory);
    }
    let pinned = opened.directory().to_string();
    let named = String::from_utf8_lossy(&content);
    assert!(name != "settings.json" || names_it(&named, &pinned));
    if name == "journal.sqlite3" {
        run(opened);
    }
}

/// Whether settings name an address, with whatever escapes JSON allows.
fn names_it(settings: &str, pinned: &str) -> bool {
    settings.to_ascii_lowercase().contains(pinned) || settings.contains('\\')
}

/// Runs a node on the home for a moment, its directory unreachable.
fn run(home: Home) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (ledger, directory) = (home.ledger(), home.directory().key());
        let Ok(node) = Node::start(home, Options::default()).await else {
            return;
        };
        for which in [
            ReceiptId::Entry(PAYMENT),
            ReceiptId::Entry(TAB),
            ReceiptId::Order(order_id(1)),
        ] {
            match timeout(MOMENT, node.receipt(which)).await {
                Ok(Ok((receipt, _))) => {
                    let ledger = ledger.expect("nothing is proved before");
                    assert!(receipt.verify(ledger, &directory).is_ok());
                }
                Ok(Err(error)) => alive(&error),
                Err(_) => {}
            }
        }
        if let Ok(Err(error)) = timeout(MOMENT, node.tabs()).await {
            alive(&error);
        }
        node.close().await;
    });
}

/// The journal's thread ends with a panic only.
fn alive(error: &RequestError) {
    let closed = JournalError::Closed.to_string();
    assert!(!error.to_string().contains(&closed), "the journal is gone");
}

/// What is in the journal is answered by then; the rest waits for the directory in vain.
const MOMENT: Duration = Duration::from_millis(20);

static SOUND: LazyLock<Sound> = LazyLock::new(Sound::new);

/// A home with something in its journal.
struct Sound {
    files: Vec<(String, Vec<u8>)>,
    key: PublicKey,
    directory: DirectoryAddress,
}

impl Sound {
    fn new() -> Self {
        let world = &Genuine::get().world;
        let place = scratch();
        let path = place.path().join("home");
        let directory = DirectoryAddress::new(world.directory.public(), "127.0.0.1", 9);
        let directory = directory.expect("an address");
        let home = Home::init(&path, &directory).expect("a home");
        let key = home.key();
        drop(home);
        fill(&path.join("journal.sqlite3")).expect("the journal's own tables");
        let read = |name: &str| {
            let content = fs::read(path.join(name)).expect("it is there");
            (name.to_owned(), content)
        };
        Self {
            files: ["journal.sqlite3", "settings.json", "key.pem"]
                .map(read)
                .into(),
            key,
            directory,
        }
    }

    fn write(&self, home: &Path) {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().mode(0o700).create(home);
        made.expect("a temporary folder can be written to");
        for (name, content) in &self.files {
            fs::write(home.join(name), content).expect("there is room");
            set_mode(&home.join(name));
        }
    }
}

/// Writes a row of each table, as the node itself would have.
fn fill(journal: &Path) -> rusqlite::Result<()> {
    let world = &Genuine::get().world;
    let connection = Connection::open(journal)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| connection.execute(sql, values);
    for (what, value) in [
        ("name", "alice".to_owned()),
        ("currency", "QUID 6".to_owned()),
        ("ledger", world.ledger.to_string()),
        ("checkpoint", world.checkpoint().as_str().to_owned()),
        ("base", world.checkpoint().as_str().to_owned()),
    ] {
        run("INSERT INTO settings VALUES (?1, ?2)", params![what, value])?;
    }
    run("INSERT INTO settings VALUES ('watermark', 4)", params![])?;
    let (alice, bob) = (world.alice.public(), world.bob.public());
    let owner = [7_u8; 16];
    let (order, id) = (world.order(), order_id(1));
    run(
        "INSERT INTO orders VALUES (1, ?1, ?2, 'bob-1_x', 1, 1, NULL, 4, ?3)",
        params![id.as_bytes(), order.bytes(), owner],
    )?;
    run(
        "INSERT INTO orders VALUES (2, ?1, ?2, 'bob-1_x', 0, 0, NULL, NULL, ?3)",
        params![order_id(4).as_bytes(), world.unfunded().bytes(), owner],
    )?;
    run(
        "INSERT INTO notes VALUES (?1, ?2, ?3, 0, NULL, NULL)",
        params![
            bob.as_bytes(),
            order_id(3).as_bytes(),
            world.refund().bytes()
        ],
    )?;
    for (entry, receipt) in [
        (PAYMENT, world.receipt(PAYMENT)),
        (TAB, world.later_receipt(TAB)),
    ] {
        run(
            "INSERT INTO receipts VALUES (?1, ?2)",
            params![entry.cast_signed(), cbor::encode(&receipt)],
        )?;
    }
    run(
        "INSERT INTO contacts VALUES ('bob-1_x', ?1)",
        params![bob.as_bytes()],
    )?;
    run(
        "INSERT INTO names VALUES (?1, 'alice')",
        params![alice.as_bytes()],
    )?;
    run(
        "INSERT INTO tabs VALUES (1, ?1, ?2, ?3, 'bob-1_x', NULL, 1, 1, NULL, 9, ?4)",
        params![
            order_id(6).as_bytes(),
            world.terms().bytes(),
            world.link(4).0,
            owner
        ],
    )?;
    run(
        "INSERT INTO incoming_tabs VALUES (?1, ?2, 9, 1, ?3, 0, 1763003600000, 1)",
        params![alice.as_bytes(), order_id(6).as_bytes(), world.link(1).0],
    )?;
    connection.close().map_err(|(_, error)| error)
}
