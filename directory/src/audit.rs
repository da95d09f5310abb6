//! The audit: rebuilds everything from the log's entries alone and believes nothing else.
//!
//! It reads the log beside a serving directory, applies every entry to an empty ledger under all
//! its rules, checks every signature, the tree and every stored checkpoint, and names the first
//! entry that is wrong.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use quid_common::amount::Currency;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::Entry;
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use thiserror::Error;

use crate::ledger::{Ledger, Totals};
use crate::store::{LogEntry, LogReader, StoreError};
use crate::tree::Frontier;
use crate::verify::{self, Claim};

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
            Self::Entry { entry, .. } => Some(*entry),
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
    let mut auditor = Auditor::new(*key, saved, size)?;
    let mut from = 0;
    while from < size {
        let to = size.min(from.saturating_add(WINDOW_LEN));
        auditor.checkpoints = checkpoints(log, from, to)?;
        log.scan(from, to, |index, entry| auditor.entry(index, &entry))?;
        from = to;
    }
    auditor.finish(newest)
}

/// The checkpoints of sizes above `from`, up to and including `to`.
fn checkpoints(
    log: &LogReader,
    from: u64,
    to: u64,
) -> Result<VecDeque<(u64, Checkpoint)>, AuditError> {
    let mut window = VecDeque::new();
    let all: Result<(), Stop> = log.checkpoints(from.saturating_add(1), |size, checkpoint| {
        if size > to {
            return Err(Stop::Enough);
        }
        window.push_back((size, checkpoint));
        Ok(())
    });
    match all {
        Ok(()) | Err(Stop::Enough) => Ok(window),
        Err(Stop::Failed(error)) => Err(error.into()),
    }
}

/// Why a walk over the checkpoints ends before their last.
enum Stop {
    Enough,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

struct Auditor {
    key: PublicKey,
    ledger: Ledger,
    frontier: Frontier,
    /// Those of the window of entries that is being read.
    checkpoints: VecDeque<(u64, Checkpoint)>,
    saved: Option<Head>,
    saved_seen: bool,
    claims: Vec<Claim>,
    owners: Vec<u64>,
    size: u64,
    progress: Progress,
}

impl Auditor {
    fn new(key: PublicKey, saved: Option<&Checkpoint>, size: u64) -> Result<Self, AuditError> {
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
            checkpoints: VecDeque::new(),
            saved,
            saved_seen: false,
            claims: Vec::new(),
            owners: Vec::new(),
            size,
            progress: Progress::new(size),
        })
    }

    fn entry(&mut self, index: u64, written: &LogEntry) -> Result<(), AuditError> {
        let wrong = |reason: String| AuditError::Entry {
            entry: index,
            reason,
        };
        let entry = Entry::decode(&written.bytes).map_err(|error| wrong(error.to_string()))?;
        if let Some((key, message, signature)) = entry.fact.signature() {
            self.claims.push(Claim {
                from: key,
                key,
                message,
                signature,
            });
            self.owners.push(index);
        }
        self.ledger
            .apply(&entry)
            .map_err(|fault| wrong(fault.to_string()))?;
        if index == 0 && self.ledger.directory() != self.key {
            return Err(wrong(
                "the ledger was begun by another directory's key".into(),
            ));
        }
        self.frontier.append(written.leaf);
        if self.claims.len() >= CLAIMS_LEN {
            self.judge()?;
        }
        // An auditor answers nobody, so it needs no id past its expiry.
        self.ledger.forget(entry.time, u64::MAX);
        self.compare(index)?;
        self.progress.at(index);
        Ok(())
    }

    /// Holds the tree after `index` against the checkpoints of that size.
    fn compare(&mut self, index: u64) -> Result<(), AuditError> {
        let size = index + 1;
        while let Some((_, checkpoint)) = self.checkpoints.pop_front_if(|(at, _)| *at == size) {
            let head = checkpoint
                .verify(self.ledger.ledger_id(), &self.key)
                .map_err(|error| AuditError::Entry {
                    entry: index,
                    reason: format!("after it, {error}"),
                })?;
            if head
                != (Head {
                    size,
                    root: self.frontier.root(),
                })
            {
                return Err(AuditError::Entry {
                    entry: index,
                    reason: "at or before it, the log is not what its checkpoint says".into(),
                });
            }
        }
        if let Some(saved) = self.saved.filter(|saved| saved.size == size) {
            if saved.root != self.frontier.root() {
                return Err(AuditError::Against(format!(
                    "at {size} entries the roots differ: history was rewritten"
                )));
            }
            self.saved_seen = true;
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), AuditError> {
        let verdicts = verify::verify(&self.claims, &mut rand::rng());
        let bad = verdicts
            .into_iter()
            .zip(&self.owners)
            .find(|(genuine, _)| !genuine);
        if let Some((_, owner)) = bad {
            let reason = "its signature is not the signer's".into();
            return Err(AuditError::Entry {
                entry: *owner,
                reason,
            });
        }
        self.claims.clear();
        self.owners.clear();
        Ok(())
    }

    fn finish(mut self, checkpoint: Checkpoint) -> Result<Report, AuditError> {
        self.judge()?;
        self.ledger
            .check()
            .map_err(|fault| AuditError::Balance(fault.to_string()))?;
        if self.saved.is_some() && !self.saved_seen {
            return Err(AuditError::Against("its size was never reached".into()));
        }
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

/// Tells a person at a terminal how far a long audit is.
struct Progress {
    size: u64,
    next: Instant,
    shown: bool,
}

impl Progress {
    fn new(size: u64) -> Self {
        Self {
            size,
            next: Instant::now() + Duration::from_secs(1),
            shown: false,
        }
    }

    fn at(&mut self, index: u64) {
        if index.is_multiple_of(1024) && Instant::now() >= self.next {
            self.next = Instant::now() + Duration::from_millis(200);
            if std::io::stderr().is_terminal() {
                eprint!("\raudited {index} of {} entries", self.size);
                self.shown = true;
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Signatures that are judged together.
const CLAIMS_LEN: usize = 512;

/// Entries whose checkpoints are held in memory at once.
const WINDOW_LEN: u64 = 8192;
