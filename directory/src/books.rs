//! The books: log, tree, ledger, index and clock of one data folder, opened together and kept in
//! step.

use std::path::Path;

use quid_common::amount::{Amount, Currency};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, EntryError, Fact, Genesis};
use quid_common::id::OrderId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::random::Random;
use quid_common::receipt::Receipt;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use serde_bytes::ByteBuf;
use thiserror::Error;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::ahead::{Ahead, AheadError};
use crate::clock::{Clock, ClockError};
use crate::folder::{Folder, FolderError, Lock};
use crate::index::{Index, IndexError, IndexReader};
use crate::ledger::{Account, Ledger, Past};
use crate::snapshot::{self, Chain, Keeper};
use crate::store::{self, LogEntry, LogReader, Store, StoreError};
use crate::surroundings::{Surroundings, Workers};
use crate::tree::{Tree, TreeError};

/// The ledger of a data folder, in memory and on disk.
#[derive(Debug)]
pub struct Books {
    /// The directory's key.
    pub key: SecretKey,
    /// The fold of the log.
    pub ledger: Ledger,
    /// What became of ids that have left memory.
    pub old_ids: OldIds,
    /// What newcomers are given.
    pub opening_balance: Option<Amount>,
    /// Proof that nobody else writes.
    pub lock: Lock,
    /// What the log lacks; while there is anything, nothing may be written.
    pub ahead: Option<Ahead>,
    folder: Folder,
    store: Store,
    log: LogReader,
    tree: Tree,
    index: Index,
    clock: Clock,
    checkpoint: Checkpoint,
    snapshots: Keeper,
}

/// The entries of a batch: what they mean and how they are written, in the same order.
#[derive(Debug, Default)]
pub struct Batch {
    /// What they mean.
    pub entries: Vec<Entry>,
    /// How they are written.
    pub log: Vec<LogEntry>,
}

impl Books {
    /// Opens the books in `folder`. If there are none, `new` says what they shall count, and they
    /// begin with their first entry.
    ///
    /// # Errors
    /// [`OpenError`] names what is wrong and what to do; nothing was changed.
    pub fn open(
        folder: &Folder,
        lock: Lock,
        new: Option<&Currency>,
        trust_clock: bool,
    ) -> Result<Self, OpenError> {
        Self::open_in(folder, lock, new, trust_clock, Surroundings::system())
    }

    /// Opens the books as [`Books::open`] does, with clocks, randomness and workers of the
    /// caller's.
    ///
    /// # Errors
    /// [`OpenError`], as there.
    pub fn open_in(
        folder: &Folder,
        lock: Lock,
        new: Option<&Currency>,
        trust_clock: bool,
        surroundings: Surroundings,
    ) -> Result<Self, OpenError> {
        let Surroundings {
            clocks,
            random,
            workers,
        } = surroundings;
        let mut seed = Zeroizing::new([0; 32]);
        random
            .fill(&mut *seed)
            .map_err(|error| OpenError::Randomness(error.to_string()))?;
        let key = match new {
            Some(_) => folder.key_or_new(&lock, &seed)?,
            None => folder.key()?,
        };
        let (mut store, opened) = Store::open(folder, &lock)?;
        let mut clock = Clock::new(clocks, opened.mark, trust_clock)?;
        if opened.entries == 0 {
            let currency = new.ok_or(OpenError::Empty)?;
            begin(&mut store, &mut clock, &key, currency, &random)?;
        }
        let log = LogReader::open(folder)?;
        let tree = Tree::open(folder, &log)?;
        let (mut ledger, chain) = restore(folder, &log, &tree)?;
        if ledger.directory() != key.public() {
            return Err(OpenError::OtherKey);
        }
        let checkpoint = verified_checkpoint(&log, &tree, &ledger, &key)?;
        let ahead = Ahead::recall(folder, &lock, &tree, ledger.ledger_id(), &key.public())?;
        let index = Index::start(folder, ledger.ledger_id(), workers)?;
        let old_ids = OldIds {
            index: IndexReader::open(folder)?,
            log: LogReader::open(folder)?,
            through: index.watch(),
        };
        if workers == Workers::Threads {
            store
                .checkpoint_in_background()
                .map_err(OpenError::Thread)?;
        }
        let snapshots =
            Keeper::start(folder, &mut ledger, chain, workers).map_err(OpenError::Thread)?;
        Ok(Self {
            key,
            ledger,
            old_ids,
            opening_balance: None,
            lock,
            ahead,
            folder: folder.clone(),
            store,
            log,
            tree,
            index,
            clock,
            checkpoint,
            snapshots,
        })
    }

    /// The time for a batch that begins now; never below the ledger's own.
    pub fn now(&mut self) -> LedgerTime {
        self.clock.now();
        if let Some(step) = self.clock.step() {
            warn!("{step}");
        }
        self.time()
    }

    /// The time of the last batch, which may be told: its mark is durable.
    #[must_use]
    pub fn time(&self) -> LedgerTime {
        self.clock.last().max(self.ledger.time())
    }

    /// The newest durable checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Makes a batch of entries, already applied to the ledger, durable together with the
    /// checkpoint of the log that ends with them, and with the time mark for `now`.
    ///
    /// # Errors
    /// [`AppendError`]: answer nobody and leave the process.
    pub fn append(&mut self, batch: &Batch, now: LedgerTime) -> Result<(), AppendError> {
        let Batch {
            entries,
            log: batch,
        } = batch;
        let mark = self.clock.mark_needed(now);
        if batch.is_empty() && mark.is_none() {
            return Ok(());
        }
        let first = self.store.len();
        let checkpoint = if batch.is_empty() {
            None
        } else {
            for entry in batch {
                self.tree.append(entry.leaf);
            }
            let head = Head {
                size: self.tree.size(),
                root: self.tree.root(),
            };
            Some(Checkpoint::sign(self.ledger.ledger_id(), head, &self.key))
        };
        self.store.append(first, batch, checkpoint.as_ref(), mark)?;
        if let Some(mark) = mark {
            self.clock.marked(mark);
        }
        if let Some(checkpoint) = checkpoint {
            self.checkpoint = checkpoint;
            self.index.feed(first, entries, batch);
        }
        Ok(())
    }

    /// The inclusion paths of all entries from `first` on, under the newest checkpoint.
    ///
    /// # Errors
    /// [`TreeError`] if they cannot be made.
    pub fn paths(&self, first: u64) -> Result<Vec<Vec<u8>>, TreeError> {
        self.tree.paths(first)
    }

    /// The receipt of entry `index`, whose bytes the caller has at hand.
    ///
    /// # Errors
    /// [`TreeError`] if the path cannot be made.
    pub fn receipt(&self, index: u64, entry: Vec<u8>) -> Result<Receipt, TreeError> {
        let path = self.tree.path(index, self.tree.size())?;
        let checkpoint = self.checkpoint.clone();
        Ok(Receipt {
            entry: entry.into(),
            index,
            path: ByteBuf::from(path),
            checkpoint,
        })
    }

    /// Entry `index` and its receipt, read from the log.
    ///
    /// # Errors
    /// [`ProveError`] if log or tree cannot give it.
    pub fn entry_receipt(&self, index: u64) -> Result<(Entry, Receipt), ProveError> {
        let bytes = self.log.entry(index)?.bytes;
        let entry = Entry::decode(&bytes).map_err(|error| ProveError::Entry(error.to_string()))?;
        Ok((entry, self.receipt(index, bytes)?))
    }

    /// The root over the first `from` entries, and the proof that the first `to` begin with them.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `1 <= from <= to` and the log has so many; else the tree cannot
    /// answer.
    pub fn consistency(&self, from: u64, to: u64) -> Result<([u8; 32], Vec<u8>), TreeError> {
        self.tree.consistency(from, to)
    }

    /// Looks at a checkpoint that a node was given before. From one that is genuine and not of this
    /// log on, [`Books::ahead`] says what is lacking.
    pub fn compare(&mut self, checkpoint: &Checkpoint) {
        if *checkpoint == self.checkpoint {
            return;
        }
        let (ledger, directory) = (self.ledger.ledger_id(), self.key.public());
        match Ahead::of(checkpoint, &self.tree, ledger, &directory) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let known = self
                    .ahead
                    .as_ref()
                    .is_some_and(|it| it.size() >= found.size());
                if !known {
                    error!("{}", found.explain(self.tree.size()));
                    found.remember(&self.folder, &self.lock);
                    self.ahead = Some(found);
                }
            }
            Err(error) => warn!(%error, "cannot compare a checkpoint with the log"),
        }
    }

    /// What may wait until the answers are out: ids that nobody can use any more leave memory, the
    /// tree's old part goes to its file, and the snapshot is kept up. Far less than a millisecond.
    pub fn tidy(&mut self) {
        self.ledger.forget(self.time(), self.index.through());
        if let Err(error) = self.tree.flush() {
            warn!(%error, "the tree's file cannot be written; its nodes stay in memory");
        }
        self.snapshots.step(&mut self.ledger, self.tree.root());
    }

    /// What reads accounts' past beside the books: the index with its newest part, and the log.
    ///
    /// # Errors
    /// [`OpenError`] if the files cannot be opened once more.
    pub fn readers(&self) -> Result<(IndexReader, LogReader), OpenError> {
        Ok((self.index.reader()?, LogReader::open(&self.folder)?))
    }

    /// How many entries the index holds for good.
    #[must_use]
    pub fn indexed(&self) -> u64 {
        self.index.through()
    }

    /// Lets a test see in little what large books do.
    #[cfg(test)]
    pub(crate) fn bound_snapshots(&mut self, bounds: snapshot::Bounds) {
        self.snapshots.bounds = bounds;
    }

    /// Leaves everything as a quick next start wants it. After an error it leaves the process.
    pub fn close(self) {
        if let Err(error) = self.try_close() {
            store::give_up(&error);
        }
    }

    /// The same for whoever can end without ending the process.
    ///
    /// # Errors
    /// [`AppendError`]: nothing may be tried again.
    pub fn try_close(mut self) -> Result<(), AppendError> {
        self.snapshots
            .close(&mut self.ledger, self.tree.root(), &self.folder);
        // The next start need not begin ahead of the wall clock.
        let mark = self.clock.final_mark().max(self.ledger.time());
        self.store.append(self.store.len(), &[], None, Some(mark))?;
        self.index.stop();
        Ok(())
    }
}

/// What became of ids that have left memory, as the index behind the log knows it.
#[derive(Debug)]
pub struct OldIds {
    index: IndexReader,
    log: LogReader,
    through: crate::index::Through,
}

impl OldIds {
    /// The fate of `payer`'s order `id`, whose expiry has passed and which `ledger` does not hold.
    pub fn find(&self, ledger: &Ledger, payer: &PublicKey, id: OrderId) -> Past {
        if self.through.get() < ledger.forgotten_through() {
            return Past::Behind;
        }
        // Entries name an account by the key that it had then; the index knows it by its first.
        let first = ledger.account(payer).map(Account::first_key);
        match self.look(&first.unwrap_or(*payer), id) {
            Ok(past) => past,
            Err(error) => {
                warn!(%error, order = %id, "the index cannot be read");
                Past::Behind
            }
        }
    }

    fn look(&self, payer: &PublicKey, id: OrderId) -> Result<Past, ProveError> {
        let Some(index) = self.index.find(payer, id)? else {
            return Ok(Past::Never);
        };
        let bytes = self.log.entry(index)?.bytes;
        let entry = Entry::decode(&bytes).map_err(|error| ProveError::Entry(error.to_string()))?;
        let order = entry.fact.order_digest();
        Ok(Past::Entry { index, order })
    }
}

/// The currency of the ledger in the folder at `path`; `None` if there is no ledger yet.
///
/// # Errors
/// [`OpenError`] if there is one and it cannot be read.
pub fn currency(path: &Path) -> Result<Option<Currency>, OpenError> {
    if !path.join("ledger.db").exists() {
        return Ok(None);
    }
    let log = LogReader::open(&Folder::open(path)?)?;
    if log.is_empty()? {
        return Ok(None);
    }
    let entry = Entry::decode(&log.entry(0)?.bytes);
    match entry
        .map_err(|error| OpenError::Entry {
            index: 0,
            reason: error.to_string(),
        })?
        .fact
    {
        Fact::Genesis(genesis) => Ok(Some(genesis.statement().currency.clone())),
        _ => Err(OpenError::Entry {
            index: 0,
            reason: "it does not begin a ledger".into(),
        }),
    }
}

/// Why the books cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data folder is in the way.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log is in the way, or an entry in it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock is far ahead.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The tree cannot be made from the log.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The index cannot be made.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What the log lacks cannot be told.
    #[error(transparent)]
    Ahead(#[from] AheadError),
    /// An entry breaks the rules.
    #[error("entry {index} of the log is wrong: {reason}; restore the ledger from a backup")]
    Entry {
        /// The entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// An entry is of a kind or version that this program does not know.
    #[error("entry {index} of the log: {reason}; use a newer quid-directory")]
    Newer {
        /// The entry.
        index: u64,
        /// What is not known.
        reason: EntryError,
    },
    /// The log does not end as its last checkpoint says.
    #[error("the log is not what its last checkpoint says ({0}); restore it from a backup")]
    Checkpoint(String),
    /// The ledger was begun with another key than the folder's.
    #[error("the key in this folder is not the one that this ledger began with")]
    OtherKey,
    /// There is no ledger yet.
    #[error("there is no ledger in this folder yet; `quid-directory serve` begins one")]
    Empty,
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
    /// The system gives no thread.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
}

/// Why a batch could not be made durable.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an entry cannot be proved.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The path cannot be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The entry cannot be read.
    #[error("the entry cannot be read: {0}")]
    Entry(String),
}

/// Writes entry 0.
fn begin(
    store: &mut Store,
    clock: &mut Clock,
    key: &SecretKey,
    currency: &Currency,
    random: &Random,
) -> Result<(), OpenError> {
    let mut nonce = [0; 16];
    random
        .fill(&mut nonce)
        .map_err(|error| OpenError::Randomness(error.to_string()))?;
    let genesis = Genesis {
        directory: key.public(),
        currency: currency.clone(),
        nonce,
    };
    let time = clock.now();
    let entry = Entry {
        time,
        fact: Fact::Genesis(Signed::new(genesis, key)),
    };
    let mut ledger = Ledger::new();
    ledger.apply(&entry).map_err(|fault| OpenError::Entry {
        index: 0,
        reason: fault.to_string(),
    })?;
    let written = LogEntry::new(entry.encode());
    // The tree of one leaf has the leaf as its root (RFC 6962, section 2.1).
    let head = Head {
        size: 1,
        root: written.leaf,
    };
    let checkpoint = Checkpoint::sign(ledger.ledger_id(), head, key);
    let mark = clock.mark_needed(time);
    store.append(0, &[written], Some(&checkpoint), mark)?;
    if let Some(mark) = mark {
        clock.marked(mark);
    }
    info!(ledger = %ledger.ledger_id(), "began a new ledger");
    Ok(())
}

/// The fold of the log: what the derived files hold of it, and what came after.
fn restore(
    folder: &Folder,
    log: &LogReader,
    tree: &Tree,
) -> Result<(Ledger, Option<Chain>), OpenError> {
    let (mut ledger, chain) = match snapshot::restore(folder, tree)? {
        Some((ledger, chain)) => (ledger, Some(chain)),
        None => (Ledger::new(), None),
    };
    let from = ledger.entries();
    let to = tree.size();
    log.scan(from, to, |index, written| {
        let wrong = |reason: String| OpenError::Entry { index, reason };
        let entry = Entry::decode(&written.bytes).map_err(|reason| match reason {
            reason if reason.is_newer() => OpenError::Newer { index, reason },
            reason => wrong(reason.to_string()),
        })?;
        ledger
            .apply(&entry)
            .map_err(|fault| wrong(fault.to_string()))?;
        // Ids long expired need no room in memory: the index is asked for them, once it is ready.
        ledger.forget(entry.time, u64::MAX);
        Ok::<(), OpenError>(())
    })?;
    ledger.check().map_err(|fault| OpenError::Entry {
        index: to.saturating_sub(1),
        reason: fault.to_string(),
    })?;
    info!(entries = to, applied = to - from, "the ledger is in memory");
    Ok((ledger, chain))
}

/// The newest checkpoint, which must be the directory's own and of exactly this log.
fn verified_checkpoint(
    log: &LogReader,
    tree: &Tree,
    ledger: &Ledger,
    key: &SecretKey,
) -> Result<Checkpoint, OpenError> {
    let wrong = |reason: &str| OpenError::Checkpoint(reason.to_owned());
    let (_, checkpoint) = log
        .latest_checkpoint()?
        .ok_or_else(|| wrong("there is none"))?;
    let head = checkpoint
        .verify(ledger.ledger_id(), &key.public())
        .map_err(|error| wrong(&error.to_string()))?;
    if head
        != (Head {
            size: tree.size(),
            root: tree.root(),
        })
    {
        return Err(wrong("size or root differ"));
    }
    Ok(checkpoint)
}
