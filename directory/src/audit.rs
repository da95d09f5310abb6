//! The audit: rebuilds everything from the log's entries alone and believes nothing else.
//!
//! It reads the log beside a serving directory, applies every entry to an empty ledger under all
//! its rules, checks every signature, every link of a tab, the tree and every stored checkpoint, and names the first
//! entry that is wrong.
//!
//! **Three stages**, so that all cores are busy and memory is bounded however long the log is:
//!
//! 1. the calling thread reads the log, in pieces (`audit/piece.rs`);
//! 2. a thread for each core decodes a piece, judges its signatures together, those of its
//!    checkpoints too, and hashes its claims;
//! 3. one thread takes the pieces in the order of the log and applies them.
//!
//! The last stage meets every fault, whichever stage found it, at the entry where it belongs: so
//! the one that is named is the first, whatever kind it is.

use std::io::IsTerminal;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use quid_common::amount::Currency;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{EntryError, Fact};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use thiserror::Error;

use self::piece::{EntryFault, Judged, JudgedEntry, Piece};
use self::progress::Progress;
use crate::ledger::{Ledger, Totals};
use crate::store::{LogReader, StoreError};
use crate::tree::Frontier;

mod piece;
mod progress;
#[cfg(test)]
mod tests;

/// What a sound log amounts to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Number of entries.
    pub entries: u64,
    /// Number of accounts, the treasury not counted.
    pub accounts: usize,
    /// What is counted.
    pub currency: Currency,
    /// The ledger's id.
    pub ledger: LedgerId,
    /// Both sides of the books.
    pub totals: Totals,
    /// The newest checkpoint.
    pub checkpoint: Checkpoint,
}

/// Why a log is not sound.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The log cannot be read, or an entry in it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is wrong.
    #[error("entry {entry} is wrong: {reason}")]
    Entry {
        /// The first wrong entry.
        entry: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry is of a kind or version that this program does not know: nothing is said against it.
    #[error("entry {entry}: {reason}; audit it with a newer quid-directory")]
    Newer {
        /// The first such entry.
        entry: u64,
        /// What is not known.
        reason: EntryError,
    },
    /// The log does not contain what a saved checkpoint says.
    #[error("the log does not agree with the checkpoint given: {0}")]
    Against(String),
    /// The books do not balance.
    #[error("the books do not balance: {0}")]
    Balance(String),
    /// There is nothing in the log.
    #[error("the log is empty")]
    Empty,
}

impl AuditError {
    /// The entry named, if one is.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Entry { entry, .. } | Self::Newer { entry, .. } => Some(*entry),
            Self::Store(StoreError::Entry { entry, .. }) => Some(*entry),
            Self::Store(_) | Self::Against(_) | Self::Balance(_) | Self::Empty => None,
        }
    }
}

/// Audits the log up to its newest checkpoint, and holds it against `saved` if there is one.
///
/// # Errors
/// [`AuditError`], naming the first entry that is wrong.
pub fn audit(
    log: &LogReader,
    key: &PublicKey,
    saved: Option<&Checkpoint>,
) -> Result<Report, AuditError> {
    // What is behind this checkpoint belongs to batches committed since.
    let Some((size, newest)) = log.latest_checkpoint()? else {
        return Err(AuditError::Empty);
    };
    let progress = Progress::new(size, std::io::stderr().is_terminal());
    let auditor = Auditor::new(*key, saved, size, progress)?;
    // What entry 0 has to be, and the checkpoints have to name: see `LedgerId`.
    let ledger = LedgerId(log.entry(0)?.leaf);
    let workers = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(WORKERS_MAX);
    thread::scope(|scope| {
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (to_worker, pieces) = sync_channel::<Piece>(QUEUE_LEN);
            let (judged, from_worker) = sync_channel(QUEUE_LEN);
            scope.spawn(move || {
                for piece in pieces {
                    if judged.send(piece.judge(ledger, key)).is_err() {
                        return;
                    }
                }
            });
            to_workers.push(to_worker);
            from_workers.push(from_worker);
        }
        let last = scope.spawn(move || auditor.follow(&from_workers, newest));
        read(log, size, &to_workers);
        drop(to_workers);
        last.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Hands the log to the workers, a piece to each in turn, until its end or a fault of the file, or
/// until nobody takes any more.
fn read(log: &LogReader, size: u64, workers: &[SyncSender<Piece>]) {
    let mut from = 0;
    for worker in workers.iter().cycle() {
        let to = size.min(from + PIECE_LEN);
        let piece = Piece::read(log, from, to);
        let last = to == size || piece.is_broken();
        if worker.send(piece).is_err() || last {
            return;
        }
        from = to;
    }
}

/// The last stage: what the log comes to so far.
struct Auditor {
    key: PublicKey,
    ledger: Ledger,
    frontier: Frontier,
    /// Entries that a checkpoint vouches for.
    vouched: u64,
    saved: Option<Head>,
    size: u64,
    progress: Progress,
}

impl Auditor {
    fn new(
        key: PublicKey,
        saved: Option<&Checkpoint>,
        size: u64,
        progress: Progress,
    ) -> Result<Self, AuditError> {
        let saved = saved.map(|saved| head_of(saved, &key)).transpose()?;
        if let Some(saved) = saved.filter(|saved| saved.size > size) {
            return Err(AuditError::Against(format!(
                "it is of {} entries, and the log has {size}: entries from {size} on are missing",
                saved.size
            )));
        }
        Ok(Self {
            key,
            ledger: Ledger::new(),
            frontier: Frontier::new(),
            vouched: 0,
            saved,
            size,
            progress,
        })
    }

    /// Takes the pieces from the workers in the order in which they were handed out.
    #[expect(
        clippy::expect_used,
        reason = "the reader sends the whole log or the fault that ends it"
    )]
    fn follow(
        mut self,
        workers: &[Receiver<Judged>],
        newest: Checkpoint,
    ) -> Result<Report, AuditError> {
        for worker in workers.iter().cycle() {
            if self.ledger.entries() == self.size {
                break;
            }
            let judged = worker
                .recv()
                .expect("the reader sends the whole log or the fault that ends it");
            self.piece(judged)?;
            self.progress.at(self.ledger.entries());
        }
        self.finish(newest)
    }

    fn piece(&mut self, judged: Judged) -> Result<(), AuditError> {
        let mut checkpoints = judged.checkpoints.into_iter().peekable();
        for JudgedEntry { entry, leaf, below } in judged.entries {
            let index = self.ledger.entries();
            let wrong = |reason: String| AuditError::Entry {
                entry: index,
                reason,
            };
            let entry = entry.map_err(|fault| match fault {
                EntryFault::Wrong(reason) => wrong(reason),
                EntryFault::Newer(reason) => AuditError::Newer {
                    entry: index,
                    reason,
                },
            })?;
            if let (Fact::Claim(claim), Some(below)) = (&entry.fact, below) {
                let linked = self.ledger.check_link(claim, &below);
                linked.map_err(|rule| wrong(rule.to_string()))?;
            }
            self.ledger
                .apply(&entry)
                .map_err(|fault| wrong(fault.rule.to_string()))?;
            if index == 0 && self.ledger.directory() != self.key {
                return Err(wrong(
                    "the ledger was begun by another directory's key".into(),
                ));
            }
            self.frontier.append(leaf);
            // An auditor answers nobody, so it needs no id past its expiry.
            self.ledger.forget(entry.time, u64::MAX);
            while let Some((_, head)) = checkpoints.next_if(|(size, _)| *size == index + 1) {
                self.compare(index, head)?;
            }
            self.compare_saved()?;
        }
        judged.broken.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Holds the tree after entry `index` against what a checkpoint of that size says.
    fn compare(&mut self, index: u64, found: Result<Head, String>) -> Result<(), AuditError> {
        let wrong = |reason| AuditError::Entry {
            entry: index,
            reason,
        };
        let head = found.map_err(|error| wrong(format!("after it, {error}")))?;
        if head != self.head() {
            let since = self.vouched;
            return Err(wrong(format!(
                "it or one before it, from entry {since} on, is not what its checkpoint says"
            )));
        }
        self.vouched = index + 1;
        Ok(())
    }

    fn compare_saved(&self) -> Result<(), AuditError> {
        let size = self.ledger.entries();
        if self
            .saved
            .is_some_and(|saved| saved.size == size && saved != self.head())
        {
            return Err(AuditError::Against(format!(
                "at {size} entries the roots differ: history was rewritten"
            )));
        }
        Ok(())
    }

    fn head(&self) -> Head {
        Head {
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    fn finish(self, checkpoint: Checkpoint) -> Result<Report, AuditError> {
        if self.vouched != self.size {
            // Nobody but a forger leaves a checkpoint under another size than its own.
            return Err(AuditError::Entry {
                entry: self.size.saturating_sub(1),
                reason: "the checkpoint stored after it is missing".into(),
            });
        }
        self.ledger
            .check()
            .map_err(|fault| AuditError::Balance(fault.to_string()))?;
        Ok(Report {
            entries: self.size,
            accounts: self.ledger.accounts().len().saturating_sub(1),
            currency: self.ledger.currency().clone(),
            ledger: self.ledger.ledger_id(),
            totals: self.ledger.totals(),
            checkpoint,
        })
    }
}

/// The head in a saved checkpoint, whose ledger is not known before the log is read.
fn head_of(saved: &Checkpoint, key: &PublicKey) -> Result<Head, AuditError> {
    let ledger = saved
        .ledger()
        .ok_or_else(|| AuditError::Against("it is not a checkpoint of a Quid ledger".into()))?;
    saved
        .verify(ledger, key)
        .map_err(|error| AuditError::Against(error.to_string()))
}

/// Entries in a piece: their signatures are judged together, the cheaper the more there are. In the
/// tests so few that a short log has many pieces.
const PIECE_LEN: u64 = if cfg!(test) { 128 } else { 2048 };

/// Pieces that wait before and behind each worker. With those in work, some 12 MiB a worker.
const QUEUE_LEN: usize = 2;

/// Most workers: the last stage keeps no more than about so many busy.
const WORKERS_MAX: usize = 64;
