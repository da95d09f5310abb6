//! What the directory has proved: receipts and checkpoints, each checked before anything rests on
//! it, and all of them held against each other: see [`crate::heads`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use quid_common::checkpoint::{Checkpoint, CheckpointError, Head};
use quid_common::fork::Fork;
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::merkle::Followed;
use quid_common::receipt::{Proven, Receipt, ReceiptError};
use quid_common::refusal::Reason;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::evidence;
use crate::heads::{Finding, Heads, Question, Signed, Source, same_size};

/// Checks receipts and checkpoints of one ledger.
#[derive(Debug)]
pub(crate) struct Trust {
    directory: PublicKey,
    home: PathBuf,
    seen: Mutex<Seen>,
    /// Where the proof is that the directory has signed two histories.
    fork: OnceLock<PathBuf>,
    /// Whether the directory last said that its log lacks entries.
    incomplete: AtomicBool,
    /// Wakes whoever compares heads.
    pub(crate) wake: Notify,
    /// Counts the questions that were answered.
    answered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    ledger: Option<LedgerId>,
    /// Checkpoints whose signature was checked lately: one serves every receipt of its batch.
    checked: VecDeque<Signed>,
    /// How the last receipt was proved.
    followed: Followed,
    /// The longest log seen.
    newest: Option<Signed>,
    heads: Heads,
    /// The newest head known to fit all before it, as the journal has it.
    kept: Option<Head>,
    doubt: Option<String>,
}

impl Trust {
    /// `home` is where the proof of two histories is kept.
    pub(crate) fn new(directory: PublicKey, ledger: Option<LedgerId>, home: &Path) -> Self {
        let trust = Self {
            directory,
            home: home.to_owned(),
            seen: Mutex::new(Seen {
                ledger,
                ..Seen::default()
            }),
            fork: OnceLock::new(),
            incomplete: AtomicBool::new(false),
            wake: Notify::new(),
            answered: watch::Sender::new(0),
        };
        trust.look_for_fork();
        trust
    }

    /// Takes up what an earlier run knew: the newest head that fitted all before it, and the newest
    /// seen.
    pub(crate) fn recall(&self, base: Option<Checkpoint>, newest: Option<Checkpoint>) {
        let verified = |checkpoint: Option<Checkpoint>| {
            let ledger = self.ledger()?;
            let checkpoint = checkpoint?;
            match checkpoint.verify(ledger, &self.directory) {
                Ok(head) => Some(Signed { checkpoint, head }),
                Err(error) => {
                    tracing::error!(%error, "the journal's checkpoint proves nothing");
                    None
                }
            }
        };
        let (base, newest) = (verified(base), verified(newest));
        let mut seen = self.lock();
        seen.kept = base.as_ref().map(|base| base.head);
        seen.newest.clone_from(&newest);
        seen.heads.recall(base, newest);
    }

    /// Takes the ledger's id from the directory itself; it is the same for ever.
    pub(crate) fn set_ledger(&self, ledger: LedgerId) -> Result<(), TrustError> {
        let mut seen = self.lock();
        match seen.ledger {
            Some(known) if known != ledger => Err(TrustError::OtherLedger(known)),
            _ => {
                seen.ledger = Some(ledger);
                Ok(())
            }
        }
    }

    pub(crate) fn ledger(&self) -> Option<LedgerId> {
        self.lock().ledger
    }

    /// What `receipt` proves, from whichever side it came.
    pub(crate) fn prove(&self, receipt: &Receipt, source: Source) -> Result<Proven, TrustError> {
        let head = self.check(&receipt.checkpoint, source)?;
        Ok(receipt.verify_under(head, &mut self.lock().followed)?)
    }

    /// The head of a checkpoint by the directory. Whether it fits the others is found out
    /// afterwards, and if it does not, [`Trust::fork`] says so.
    pub(crate) fn check(
        &self,
        checkpoint: &Checkpoint,
        source: Source,
    ) -> Result<Head, TrustError> {
        let ledger = {
            let seen = self.lock();
            match seen.known(checkpoint) {
                Some(head) if source != Source::Welcome => return Ok(head),
                _ => seen.ledger.ok_or(TrustError::NoLedger)?,
            }
        };
        let head = checkpoint.verify(ledger, &self.directory)?;
        if source == Source::Journal {
            return Ok(head);
        }
        let signed = Signed {
            checkpoint: checkpoint.clone(),
            head,
        };
        let (fork, asks) = {
            let mut seen = self.lock();
            let fork = seen.take(signed, source);
            (fork, seen.heads.has_question(Instant::now()))
        };
        if let Some(fork) = fork {
            self.found(&fork);
        } else if asks {
            self.wake.notify_one();
        }
        Ok(head)
    }

    /// Takes the checkpoint that the directory calls its newest; a shorter log than one seen
    /// before means that it has lost or hidden entries, which is logged.
    pub(crate) fn check_newest(&self, checkpoint: &Checkpoint) -> Result<Head, TrustError> {
        let before = self.newest();
        let head = self.check(checkpoint, Source::Welcome)?;
        if let Some(newest) = before
            && head.size < newest.head.size
        {
            tracing::error!(
                newest = ?newest.checkpoint,
                shown = ?checkpoint,
                "the directory shows a shorter log than before: entries are lost or hidden"
            );
        }
        Ok(head)
    }

    /// The checkpoint of the longest log seen.
    pub(crate) fn newest(&self) -> Option<Signed> {
        self.lock().newest.clone()
    }

    /// The file with the proof that the directory has signed two histories. From then on nothing is
    /// paid or accepted.
    pub(crate) fn fork(&self) -> Option<&Path> {
        self.fork.get().map(PathBuf::as_path)
    }

    /// Looks whether another process of this home has found one.
    pub(crate) fn look_for_fork(&self) {
        if self.fork.get().is_none()
            && let Some(file) = evidence::find(&self.home)
        {
            let _ = self.fork.set(file);
        }
    }

    /// What to ask the directory now, if anything.
    pub(crate) fn question(&self) -> Option<Question> {
        self.lock().heads.question(Instant::now())
    }

    /// What the answer to a question comes to; none if it was refused or could not be read.
    pub(crate) fn answered(
        &self,
        question: &Question,
        answer: Option<([u8; 32], Vec<u8>)>,
    ) -> Finding {
        let finding = self.lock().heads.answered(question, answer, Instant::now());
        match &finding {
            Finding::Fits => self.lock().doubt = None,
            Finding::Forked(fork) => self.found(fork),
            Finding::Nothing { doubted: true, .. } => {
                self.lock().doubt = Some(doubt(question));
            }
            Finding::Nothing { .. } => {}
        }
        self.answered.send_modify(|count| *count += 1);
        finding
    }

    /// Waits until there is nothing to ask.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn compared(&self) {
        let mut answered = self.answered.subscribe();
        while self.fork().is_none() && self.lock().heads.has_question(Instant::now()) {
            if answered.changed().await.is_err() {
                return;
            }
        }
    }

    /// The newest head known to fit all before it, if the journal does not have it yet. The caller
    /// keeps it there.
    pub(crate) fn unkept(&self) -> Option<Signed> {
        let mut seen = self.lock();
        let base = seen.heads.base()?.clone();
        let longer = seen.kept.is_none_or(|kept| kept.size < base.head.size);
        longer.then(|| {
            seen.kept = Some(base.head);
            base
        })
    }

    /// Notes whether the directory says that its log lacks entries.
    pub(crate) fn heard(&self, reason: Option<Reason>) {
        let incomplete = reason == Some(Reason::LOG_INCOMPLETE);
        if self.incomplete.swap(incomplete, Ordering::AcqRel) != incomplete && incomplete {
            tracing::warn!("{}", Reason::LOG_INCOMPLETE);
        }
    }

    /// Why the directory's log may not be what it was, for people.
    pub(crate) fn doubt(&self) -> Option<String> {
        if self.incomplete.load(Ordering::Acquire) {
            return Some(Reason::LOG_INCOMPLETE.explain().to_owned());
        }
        self.lock().doubt.clone()
    }

    /// Keeps the proof of two histories. Blocks for one write to the disk.
    fn found(&self, fork: &Fork) {
        let Ok(proved) = fork.verify(&self.directory) else {
            return;
        };
        let file = match evidence::keep(&self.home, fork, proved) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(
                    %error, evidence = fork.to_text(),
                    "the proof of two histories cannot be kept: keep what stands here"
                );
                evidence::place(&self.home, proved)
            }
        };
        tracing::error!(
            file = %file.display(), entries = proved.size(),
            "the directory has signed two histories; nothing is paid or accepted any more"
        );
        let _ = self.fork.set(file);
        self.wake.notify_one();
        self.answered.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn known(&self, checkpoint: &Checkpoint) -> Option<Head> {
        let mut checked = self.checked.iter().rev();
        let known = checked.find(|known| known.checkpoint == *checkpoint);
        known.map(|known| known.head)
    }

    /// Holds a verified checkpoint against all that are known here.
    fn take(&mut self, signed: Signed, source: Source) -> Option<Fork> {
        let known = self.checked.iter().chain(&self.newest);
        let fork = known.filter_map(|known| same_size(known, &signed)).next();
        if self.known(&signed.checkpoint).is_none() {
            if self.checked.len() >= CHECKED_LEN_MAX {
                self.checked.pop_front();
            }
            self.checked.push_back(signed.clone());
        }
        let longer = |newest: &Signed| newest.head.size < signed.head.size;
        if self.newest.as_ref().is_none_or(longer) {
            self.newest = Some(signed.clone());
        }
        let other = self.heads.take(signed, source).err();
        fork.or_else(|| other.map(|fork| *fork))
    }
}

fn doubt(question: &Question) -> String {
    format!(
        "the directory does not show that its log of {} entries begins with that of {}, both of \
         which it signed",
        question.newer.head.size, question.older.head.size
    )
}

/// Why something proves nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TrustError {
    /// The ledger is not known yet: this home has never logged in.
    #[error("the directory's ledger is not known yet; log in first")]
    NoLedger,
    /// The directory speaks of another ledger than this home has known.
    #[error("the directory now serves another ledger; this home belongs to ledger {0}")]
    OtherLedger(LedgerId),
    /// The receipt proves nothing.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The checkpoint proves nothing.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Most checkpoints remembered as checked.
const CHECKED_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use quid_common::key::SecretKey;

    use super::*;

    const LEDGER: LedgerId = LedgerId([2; 32]);

    #[test]
    fn only_the_directorys_checkpoints_count_and_the_longest_is_kept() {
        let (_home, key, trust) = trust(None);
        let check = |trust: &Trust, checkpoint| trust.check(&checkpoint, Source::Directory);
        assert_eq!(check(&trust, signed(1, 1, &key)), Err(TrustError::NoLedger));
        trust.set_ledger(LEDGER).expect("the first");
        assert_eq!(
            trust.set_ledger(LedgerId([3; 32])),
            Err(TrustError::OtherLedger(LEDGER))
        );
        for size in [5, 9, 7] {
            let head = check(&trust, signed(size, size as u8, &key));
            assert_eq!(head.map(|head| head.size), Ok(size));
        }
        assert_eq!(trust.newest().map(|newest| newest.head.size), Some(9));
        let stranger = SecretKey::from_seed(&[4; 32]);
        assert!(check(&trust, signed(10, 10, &stranger)).is_err());
        assert_eq!(trust.newest().map(|newest| newest.head.size), Some(9));
        assert_eq!(trust.fork(), None);
    }

    #[test]
    fn the_memory_of_checked_checkpoints_is_bounded() {
        let (_home, key, trust) = trust(Some(LEDGER));
        for size in 1..=CHECKED_LEN_MAX as u64 * 2 {
            trust
                .check(&signed(size, 0, &key), Source::Directory)
                .expect("signed");
        }
        assert_eq!(trust.lock().checked.len(), CHECKED_LEN_MAX);
    }

    #[test]
    fn two_roots_of_one_size_are_proved_kept_and_remembered() {
        for source in [Source::Directory, Source::Peer, Source::Welcome] {
            let (home, key, trust) = trust(Some(LEDGER));
            for size in [3, 7, 9] {
                let checked = trust.check(&signed(size, 1, &key), Source::Directory);
                checked.expect("signed");
            }
            assert_eq!(trust.fork(), None);
            // A receipt under it holds all the same.
            assert!(trust.check(&signed(7, 2, &key), source).is_ok());
            let file = trust.fork().expect("a fork");
            let text = std::fs::read_to_string(file).expect("it was kept");
            let fork = Fork::from_text(&text).expect("a fork");
            let proved = fork.verify(&key.public()).expect("a proof");
            assert_eq!((proved.ledger(), proved.size()), (LEDGER, 7));
            let again = Trust::new(key.public(), Some(LEDGER), home.path());
            assert_eq!(again.fork(), Some(file));
        }
    }

    #[test]
    fn what_an_earlier_run_knew_is_held_against_what_comes() {
        let (_home, key, trust) = trust(Some(LEDGER));
        trust.recall(Some(signed(5, 1, &key)), Some(signed(8, 1, &key)));
        assert_eq!(trust.newest().map(|newest| newest.head.size), Some(8));
        assert_eq!(trust.unkept(), None);
        let welcome = trust.check_newest(&signed(8, 2, &key));
        assert_eq!(welcome.map(|head| head.size), Ok(8));
        assert!(trust.fork().is_some());
    }

    fn trust(ledger: Option<LedgerId>) -> (tempfile::TempDir, SecretKey, Trust) {
        let home = tempfile::tempdir().expect("a folder");
        let key = SecretKey::from_seed(&[1; 32]);
        let trust = Trust::new(key.public(), ledger, home.path());
        (home, key, trust)
    }

    fn signed(size: u64, root: u8, key: &SecretKey) -> Checkpoint {
        let root = [root; 32];
        Checkpoint::sign(LEDGER, Head { size, root }, key)
    }
}
