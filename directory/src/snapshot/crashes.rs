//! Whatever is left of snapshot and sections, the books that come of it are those of the log.

use std::fs::{self, OpenOptions};
use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::entry::Entry;
use quid_common::id::LedgerId;
use quid_common::tab::Close;
use tempfile::TempDir;

use super::{Bounds, Snapshot, restore};
use crate::books::Books;
use crate::folder::Folder;
use crate::ledger::Ledger;
use crate::settlement::testing::{claim, commit, order, person, registration, terms};
use crate::settlement::{Ask, Committer};
use crate::store::{LogReader, StoreError};
use crate::tree::Tree;

#[test]
fn a_start_after_a_crash_has_all_but_the_last_section_from_its_files() {
    let world = World::new();
    let mut n = 0;
    for round in 0..12 {
        n = world.pay(n, 150 + 40 * (round % 5));
        let (restored, of) = world.restored();
        assert!(
            of - restored <= 2 * IN_SECTION,
            "{restored} of {of} entries"
        );
    }
}

#[test]
fn what_is_damaged_or_lost_is_read_from_the_log() {
    let world = World::new();
    let mut n = world.pay(0, 400);
    let whole = world.restored().0;
    for round in 0..8_u64 {
        let files = world.files();
        let newest = files.last().expect("there are sections");
        match round % 4 {
            0 => {
                let len = fs::metadata(newest).expect("it is there").len();
                let file = OpenOptions::new().write(true).open(newest);
                let file = file.expect("it is ours");
                file.set_len(len.saturating_sub(7))
                    .expect("it gets shorter");
            }
            1 => fs::remove_file(newest).expect("it is there"),
            2 => fs::write(world.folder.snapshot(), b"rubbish").expect("there is room"),
            _ => fs::write(newest, b"rubbish").expect("there is room"),
        }
        world.restored();
        n = world.pay(n, 300);
        assert!(world.restored().0 > whole, "after round {round}");
    }
}

#[test]
fn of_the_snapshot_before_nothing_stays_also_after_a_crash() {
    let world = World::new();
    let n = world.pay(0, 400);
    let (snapshot, old) = (
        world.folder.snapshot(),
        world.folder.path().join("snapshot.old"),
    );
    assert!(snapshot.exists() && !old.exists());
    // As if the power had gone before the next one took its place.
    fs::hard_link(&snapshot, &old).expect("the same folder");
    world.pay(n, 1);
    assert!(!old.exists());
    let read = Snapshot::read(&world.folder).expect("it can be read");
    assert!(read.is_some(), "it is not whole any more");
}

/// Two people who pay each other, and a keeper with small bounds.
struct World {
    folder: Folder,
    _place: TempDir,
}

/// A payment in short has 82 bytes.
const IN_SECTION: u64 = 8;

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let folder = Folder::create_or_open(&place.path().join("data")).expect("it can be made");
        let world = Self {
            folder,
            _place: place,
        };
        let mut committer = world.open();
        let books = committer.into_books();
        let directory = books.key.public();
        committer = Committer::new(books, Arc::default());
        commit(&mut committer, vec![(0, registration(directory, 0))]);
        commit(&mut committer, vec![(1, registration(directory, 1))]);
        world
    }

    fn open(&self) -> Committer {
        let lock = self.folder.lock("test").expect("nobody else knows it");
        let new = Currency::default();
        let mut books = Books::open(&self.folder, lock, Some(&new), false).expect("it opens");
        books.opening_balance = Amount::new(1_000_000);
        books.bound_snapshots(Bounds {
            section: 82 * IN_SECTION as usize,
            pending: 1 << 20,
            redo: 4_000,
            per_entry: 2_000,
            slice_min: 100,
            slice: 8_000,
        });
        Committer::new(books, Arc::default())
    }

    /// Opens the books, makes `count` payments from number `n` on, and leaves without closing them.
    fn pay(&self, n: u64, count: u64) -> u64 {
        let books = self.open().into_books();
        let ledger = books.ledger.ledger_id();
        let mut committer = Committer::new(books, Arc::default());
        use_tab(&mut committer, ledger, n + count);
        let mut at = n;
        while at < n + count {
            let to = (n + count).min(at + 1 + at % 5);
            let order = |n| (n, Ask::Order(order(ledger, n, 1), None));
            commit(&mut committer, (at..to).map(order).collect());
            at = to;
        }
        at
    }

    /// How many entries the files hold, of how many; they must hold what the log says.
    fn restored(&self) -> (u64, u64) {
        let log = LogReader::open(&self.folder).expect("the log opens");
        let tree = Tree::open(&self.folder, &log).expect("the tree opens");
        let len = log.len().expect("it can be read");
        let Some((mut ledger, _)) = restore(&self.folder, &tree).expect("files can be read") else {
            return (0, len);
        };
        let mut expected = Ledger::new();
        let mut tabs = Vec::new();
        log.scan(0, ledger.entries(), |_, written| {
            let entry = Entry::decode(&written.bytes).expect("an entry");
            tabs.extend(entry.terms().map(|terms| terms.statement().clone()));
            expected.apply(&entry).expect("sound");
            Ok::<_, StoreError>(())
        })
        .expect("the log can be read");
        assert_eq!(ledger.accounts(), expected.accounts());
        assert_eq!(ledger.totals(), expected.totals());
        let now = ledger.time();
        for books in [&mut ledger, &mut expected] {
            while books.forget(now, u64::MAX) > 0 {}
        }
        assert_eq!(ledger.live_ids(), expected.live_ids());
        assert_eq!(ledger.open_tabs(), expected.open_tabs());
        assert!(!tabs.is_empty());
        for tab in tabs {
            let stands = |books: &Ledger| books.tab(&tab.payer, tab.id).map(|(_, tab)| *tab);
            assert_eq!(stands(&ledger), stands(&expected));
        }
        (ledger.entries(), len)
    }

    /// The files of sections, oldest first.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let mut files = self.folder.redos().expect("the folder can be read");
        let number = |path: &std::path::PathBuf| -> u64 {
            let name = path.to_string_lossy();
            let (_, number) = name.rsplit_once('-').expect("its name has one");
            number.parse().expect("a number")
        };
        files.sort_by_key(number);
        files
    }
}

/// Opens a tab with an id made of `n`, claims on it, and leaves it open, closed or released.
fn use_tab(committer: &mut Committer, ledger: LedgerId, n: u64) {
    let n = 2 * (1_000_000 + n);
    let (tab, mut chain) = terms(ledger, n, (1, 9), Duration::from_secs(60));
    let close = |by: u64| {
        let (payer, id) = (tab.statement().payer, tab.statement().id);
        Ask::Close(Close::sign(ledger, payer, id, &person(by)))
    };
    commit(committer, vec![(n, Ask::Tab(tab.clone()))]);
    for (from, to) in [(0, 2), (2, 7)] {
        commit(committer, vec![(n + 1, claim(&tab, &mut chain, from, to))]);
    }
    match n % 3 {
        0 => {}
        1 => commit(committer, vec![(n, close(n))]),
        _ => commit(committer, vec![(n + 1, close(n + 1))]),
    }
}
