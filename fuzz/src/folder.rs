//! The directory's data folder, damaged.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use quid_common::amount::Currency;
use quid_common::chain::{Chain, Link, Mark};
use quid_common::entry::{Entry, Fact, Issue, Registration};
use quid_common::id::{OperationId, OrderId};
use quid_common::key::SecretKey;
use quid_common::order::{Memo, Order, STATEMENT_VERSION, Void};
use quid_common::signed::Signed;
use quid_common::tab::{Claim, Terms, units};
use quid_directory::audit;
use quid_directory::books::{Batch, Books};
use quid_directory::folder::Folder;
use quid_directory::ledger::Account;
use quid_directory::store::{LogEntry, LogReader};
use tempfile::TempDir;

use crate::books::amount;
use crate::patches::{apply, patches};

/// The first byte chooses a file, the rest are changes to it, or to nothing if it is to go.
///
/// The books open as they were after some of their own entries, whatever was damaged, or they do
/// not open; an audit that finds nothing wrong has read genuine entries; a receipt that they give
/// is genuine.
pub fn data_folder(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let sound = &*SOUND;
    let place = scratch();
    let data = place.path().join("data");
    sound.write(&data);
    let (name, content) = &sound.files[usize::from(choice) % sound.files.len()];
    let mut content = content.clone();
    apply(&mut content, &patches(&mut Unstructured::new(rest)));
    fs::write(data.join(name), content).expect("a temporary folder can be written to");
    let Ok(folder) = Folder::open(&data) else {
        return;
    };
    if let Ok(books) = open(&folder) {
        sound.contains(&books);
        books.close();
    }
    if let (Ok(log), Ok(key)) = (LogReader::open_alone(&folder), folder.key())
        && let Ok(report) = audit::audit(&log, &key.public(), None)
    {
        assert!(report.entries <= sound.log.len() as u64);
        for (at, entry) in (0..report.entries).zip(&sound.log) {
            assert_eq!(log.entry(at).expect("audited").bytes, entry.encode());
        }
    }
}

static SOUND: LazyLock<Sound> = LazyLock::new(Sound::new);

/// A folder with a ledger in it.
struct Sound {
    files: Vec<(String, Vec<u8>)>,
    log: Vec<Entry>,
    /// The accounts after so many entries.
    accounts: Vec<Vec<Account>>,
}

impl Sound {
    fn new() -> Self {
        let place = scratch();
        let folder = Folder::create_or_open(&place.path().join("data")).expect("it can be made");
        let mut sound = Self {
            files: Vec::new(),
            log: Vec::new(),
            accounts: vec![Vec::new()],
        };
        let mut books = open(&folder).expect("a new ledger");
        let log = LogReader::open(&folder).expect("it is there");
        let genesis = log.entry(0).expect("the books have begun").bytes;
        sound.log.push(Entry::decode(&genesis).expect("our own"));
        sound.accounts.push(books.ledger.accounts().to_vec());
        sound.live(&mut books);
        drop(log);
        books.close();
        // Whatever is derived while starting is there too.
        open(&folder).expect("it opens again").close();
        let files = fs::read_dir(folder.path()).expect("it is there");
        let mut files: Vec<_> = files
            .map(|file| file.expect("it can be listed"))
            .filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()))
            .map(|file| {
                let content = fs::read(file.path()).expect("it can be read");
                (file.file_name().into_string().expect("ASCII"), content)
            })
            .collect();
        files.sort();
        sound.files = files;
        sound
    }

    /// Some of everything that an account can do.
    fn live(&mut self, books: &mut Books) {
        let (alice, bob) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let (directory, ledger) = (books.key.clone(), books.ledger.ledger_id());
        for (key, name) in [(&alice, "alice"), (&bob, "bob")] {
            let wish = Registration {
                directory: directory.public(),
                name: name.parse().expect("a name"),
                key: key.public(),
                recovery: None,
            };
            self.append(books, Fact::Register(Signed::new(wish, key)));
        }
        let issue = Issue {
            directory: directory.public(),
            ledger,
            operation: OperationId([1; 16]),
            account: alice.public(),
            amount: amount(1_000),
        };
        self.append(books, Fact::Issue(Signed::new(issue, &directory)));
        let expiry = books.time().plus(std::time::Duration::from_secs(3_600));
        for number in 0..8 {
            let order = Order {
                version: STATEMENT_VERSION,
                ledger,
                id: OrderId::new(expiry, [number; 10]),
                payer: alice.public(),
                payee: bob.public(),
                amount: amount(1 + u64::from(number)),
                memo: Memo::default(),
                reference: None,
            };
            self.append(books, Fact::Payment(Signed::new(order, &alice)));
        }
        let void = Void::sign(ledger, OrderId::new(expiry, [100; 10]), &bob);
        self.append(books, Fact::Void(void));
        let id = OrderId::new(expiry, [101; 10]);
        let mut chain = Chain::new(id, 8, Link([3; 32])).expect("within bounds");
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger,
            id,
            payer: alice.public(),
            payee: bob.public(),
            unit: amount(10),
            length: 8,
            anchor: chain.anchor(),
            expires: expiry.plus(std::time::Duration::from_secs(60)),
            grace: 60,
            memo: Memo::default(),
            reference: None,
        };
        self.append(books, Fact::Tab(Signed::new(terms, &alice)));
        let Mark { index, link } = Mark {
            index: 3,
            link: chain.link(3).expect("within the chain"),
        };
        let claim = Claim {
            payer: alice.public(),
            id,
            payee: bob.public(),
            amount: units(amount(10), index).expect("small"),
            from: 0,
            index,
            link,
        };
        self.append(books, Fact::Claim(claim));
    }

    fn append(&mut self, books: &mut Books, fact: Fact) {
        let now = books.now();
        let entry = Entry { time: now, fact };
        books.ledger.apply(&entry).expect("it fits");
        let batch = Batch {
            log: vec![LogEntry::new(entry.encode())],
            entries: vec![entry.clone()],
        };
        books.append(&batch, now).expect("there is room");
        self.log.push(entry);
        self.accounts.push(books.ledger.accounts().to_vec());
    }

    fn write(&self, data: &Path) {
        Folder::create_or_open(data).expect("it can be made");
        for (name, content) in &self.files {
            let path = data.join(name);
            fs::write(&path, content).expect("there is room");
            set_mode(&path);
        }
    }

    fn contains(&self, books: &Books) {
        let entries = usize::try_from(books.ledger.entries()).expect("few");
        let accounts = self.accounts.get(entries);
        let same = accounts.is_some_and(|accounts| accounts == books.ledger.accounts());
        assert!(same, "other balances after {entries} entries");
        assert_eq!(books.ledger.check(), Ok(()));
        for (at, genuine) in (0..books.ledger.entries()).zip(&self.log) {
            if let Ok((entry, receipt)) = books.entry_receipt(at) {
                assert_eq!(entry, *genuine);
                let proven = receipt.verify(books.ledger.ledger_id(), &books.key.public());
                assert!(proven.is_ok_and(|proven| proven.entry() == genuine));
            }
        }
    }
}

fn open(folder: &Folder) -> Result<Books, Box<dyn std::error::Error>> {
    let lock = folder.lock("test")?;
    Ok(Books::open(folder, lock, Some(&Currency::default()), true)?)
}

/// A folder that goes with the run.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Only its owner may read it, as whoever made it had it.
pub(crate) fn set_mode(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, mode).expect("it is ours");
}
