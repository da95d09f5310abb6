//! Checkpoints that this directory has signed and its log does not hold.
//!
//! Nodes show the newest checkpoint that they know when they log in. One that is genuine and not of
//! this log means that the log has lost entries (an old backup was restored) or was exchanged.
//! Whatever were written then would be a second history, and what was settled in the lost part
//! would be refused or settled again. So the directory writes nothing more, for anybody, until it
//! has a log that holds the checkpoint; the file `ahead` makes it remember across restarts.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use quid_common::checkpoint::{CHECKPOINT_LEN_MAX, Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::refusal::{Class, Reason};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::folder::{self, Folder, FolderError, Lock, shown};
use crate::ledger::Verdict;
use crate::store::LogReader;
use crate::tree::{Tree, TreeError};

/// A genuine checkpoint that the log does not hold.
#[derive(Clone, Debug)]
pub struct Ahead {
    checkpoint: Checkpoint,
    head: Head,
}

impl Ahead {
    /// `checkpoint`, if it is the directory's own and `tree` does not hold it. Costs a signature
    /// only if it is not held.
    ///
    /// # Errors
    /// [`TreeError`] if the tree cannot tell.
    pub fn of(
        checkpoint: &Checkpoint,
        tree: &Tree,
        ledger: LedgerId,
        directory: &PublicKey,
    ) -> Result<Option<Self>, TreeError> {
        let Some(head) = checkpoint.claim() else {
            return Ok(None);
        };
        if holds(tree, head)? || checkpoint.verify(ledger, directory) != Ok(head) {
            return Ok(None);
        }
        Ok(Some(Self {
            checkpoint: checkpoint.clone(),
            head,
        }))
    }

    /// What the folder remembers to be missing. A checkpoint that the log holds by now is
    /// forgotten.
    ///
    /// # Errors
    /// [`AheadError`] if the file cannot be judged.
    pub fn recall(
        folder: &Folder,
        _: &Lock,
        tree: &Tree,
        ledger: LedgerId,
        directory: &PublicKey,
    ) -> Result<Option<Self>, AheadError> {
        let Some(remembered) = read(folder)? else {
            return Ok(None);
        };
        let damaged = || AheadError::Damaged(folder.ahead());
        let head = remembered
            .verify(ledger, directory)
            .map_err(|_| damaged())?;
        if !holds(tree, head)? {
            let ahead = Self {
                checkpoint: remembered,
                head,
            };
            error!("{}", ahead.explain(tree.size()));
            return Ok(Some(ahead));
        }
        let path = folder.ahead();
        fs::remove_file(&path).map_err(folder::io("remove", &path))?;
        folder::sync_folder(folder.path())?;
        info!(
            entries = head.size,
            "the log holds again what was signed; it is written to as before"
        );
        Ok(None)
    }

    /// Makes the folder remember. A failure is logged: until the process ends it holds all the
    /// same, and the next login brings it back.
    pub fn remember(&self, folder: &Folder, lock: &Lock) {
        let text = self.checkpoint.as_str().as_bytes();
        if let Err(error) = folder.replace(lock, NAME, |file| file.write_all(text)) {
            warn!(%error, "a restart will have to be shown again what the log lacks");
        }
    }

    /// Number of entries that were signed.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.head.size
    }

    /// What is wrong with a log of so many `entries`, and what to do: one line.
    #[must_use]
    pub fn explain(&self, entries: u64) -> String {
        let size = self.head.size;
        let what = match size.checked_sub(1) {
            Some(last) if size > entries => format!(
                "entries {entries} to {last} are missing: this directory has signed {size} \
                 entries and its log has {entries}"
            ),
            _ => format!(
                "the log is not the one that this directory signed: the histories differ within \
                 the first {size} entries"
            ),
        };
        format!(
            "{what}; nothing is written until the newest backup of ledger.db, which must have at \
             least {size} entries, is restored and the directory started again"
        )
    }
}

/// What a directory whose log lacks entries says instead of `verdict`: what is in the log stands,
/// and so does what is wrong with the order itself. Everything else may be otherwise in the lost
/// part, most of all whether an order that has expired had settled.
#[must_use]
pub fn withhold(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Known { entry } => Verdict::Known { entry },
        Verdict::Refuse(reason) if stands(reason) => Verdict::Refuse(reason),
        Verdict::Refuse(_) | Verdict::Append(_) => Verdict::Refuse(Reason::LOG_INCOMPLETE),
    }
}

/// What the operator is told whose command was refused for it, as far as the folder knows more.
#[must_use]
pub fn advice(folder: &Folder) -> String {
    let known = read(folder).ok().flatten().and_then(|checkpoint| {
        let head = checkpoint.claim()?;
        let entries = LogReader::open(folder).ok()?.len().ok()?;
        Some(Ahead { checkpoint, head }.explain(entries))
    });
    known.unwrap_or_else(|| Reason::LOG_INCOMPLETE.explain().to_owned())
}

/// Whether the reason comes before the state of the log in the order of precedence, or rests on an
/// entry that is there.
const fn stands(reason: Reason) -> bool {
    match reason {
        Reason::ZERO_AMOUNT | Reason::SELF_PAYMENT | Reason::BAD_TERMS => false,
        // The lost part may have opened or claimed the tab.
        Reason::NO_TAB | Reason::STALE_CLAIM | Reason::TAB_OVER => false,
        Reason::BAD_DECLINE => true,
        _ => match reason.class() {
            Class::Static | Class::Logged | Class::Request => true,
            Class::Expired | Class::NotFinal => false,
        },
    }
}

fn holds(tree: &Tree, head: Head) -> Result<bool, TreeError> {
    Ok(head.size <= tree.size() && tree.root_at(head.size)? == head.root)
}

fn read(folder: &Folder) -> Result<Option<Checkpoint>, AheadError> {
    let path = folder.ahead();
    let mut text = String::new();
    let read = match File::open(&path) {
        Ok(file) => file
            .take(CHECKPOINT_LEN_MAX as u64 + 1)
            .read_to_string(&mut text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    match read {
        Ok(_) => Checkpoint::try_from(text)
            .map(Some)
            .map_err(|_| AheadError::Damaged(path)),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(AheadError::Damaged(path)),
        Err(error) => Err(folder::io("read", &path)(error).into()),
    }
}

/// Why it cannot be told whether the log lacks entries.
#[derive(Debug, Error)]
pub enum AheadError {
    /// The file cannot be read or removed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The tree cannot tell.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The file holds something else.
    #[error(
        "{} is no checkpoint of this ledger, so what the log lacks is not known; move it away only \
         if the log is whole",
        shown(.0)
    )]
    Damaged(PathBuf),
}

/// The file in the data folder that holds the checkpoint.
pub(crate) const NAME: &str = "ahead";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_otherwise_in_the_lost_part_is_not_said() {
        for reason in [
            Reason::NO_TAB,
            Reason::STALE_CLAIM,
            Reason::TAB_OVER,
            Reason::BAD_TERMS,
            Reason::ZERO_AMOUNT,
            Reason::EXPIRED,
            Reason::TOO_MANY_TABS,
            Reason::BUSY,
        ] {
            let withheld = Verdict::Refuse(Reason::LOG_INCOMPLETE);
            assert_eq!(withhold(Verdict::Refuse(reason)), withheld, "{reason:?}");
        }
        for reason in [
            Reason::BAD_SIGNATURE,
            Reason::WRONG_LEDGER,
            Reason::ID_REUSED,
            Reason::VOIDED,
            Reason::GAP_TOO_LONG,
            Reason::PAST_END,
            Reason::BAD_LINK,
        ] {
            assert_eq!(withhold(Verdict::Refuse(reason)), Verdict::Refuse(reason));
        }
        let known = Verdict::Known { entry: 7 };
        assert_eq!(withhold(known.clone()), known);
    }
}
