//! Whether all the log heads that this node meets can be heads of one log: pure rules, no I/O.
//!
//! Two heads of one size must have one root. Of two sizes, the directory is asked how the log goes
//! on from the smaller to the larger: its answer shows that they fit, or proves that they do not,
//! or is worth nothing. Nobody waits for that; a receipt counts by its signature.

use std::collections::VecDeque;
use std::time::Duration;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::consistency;
use quid_common::fork::Fork;
use tokio::time::Instant;

/// Heads of others that wait to be compared; of more, the oldest are let go.
pub(crate) const OTHERS_LEN_MAX: usize = 64;

/// How often the directory's own newest head is compared with the one before, however many
/// receipts come.
const OWN_EVERY: Duration = Duration::from_secs(5);

/// How long the directory may fail to show that a head is of its log before that is told.
pub(crate) const DOUBT_AFTER: Duration = Duration::from_secs(30);

/// A log head and the checkpoint that proves it: its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) head: Head,
}

/// From where a head came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// With the directory's welcome to a new session.
    Welcome,
    /// With an answer of the directory.
    Directory,
    /// From another node.
    Peer,
    /// From this home's own journal: it was compared when it came.
    Journal,
}

/// The heads that are known to fit, and those that are still to be compared.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The newest that is known to fit all before it.
    base: Option<Signed>,
    /// The directory's newest in this run of the program.
    own: Option<Signed>,
    own_compared: Option<Instant>,
    own_doubt: Doubt,
    others: VecDeque<(Signed, Doubt)>,
}

/// Since when the directory has not shown that a head is of its log.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    since: Option<Instant>,
    told: bool,
}

/// What the directory is to be asked: how its log goes on from `older` to `newer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) older: Signed,
    pub(crate) newer: Signed,
    /// Whose fit is asked about; none for the directory's own newest.
    other: Option<Signed>,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// They fit.
    Fits,
    /// The directory has signed two histories, and this proves it.
    Forked(Box<Fork>),
    /// The answer shows nothing.
    Nothing {
        /// Whether a newer head of the directory's might.
        stale: bool,
        /// Whether this has gone on for [`DOUBT_AFTER`] by now, told once for each head.
        doubted: bool,
    },
}

impl Heads {
    /// Takes up what an earlier run knew: the newest head that fitted, and the newest seen.
    pub(crate) fn recall(&mut self, base: Option<Signed>, newest: Option<Signed>) {
        self.base = base.or_else(|| newest.clone());
        if let Some(newest) = newest {
            self.wait(newest);
        }
    }

    /// The newest head that is known to fit all before it.
    pub(crate) const fn base(&self) -> Option<&Signed> {
        self.base.as_ref()
    }

    /// Takes a head whose signature was verified.
    ///
    /// # Errors
    /// The proof, if it is of the size of another head that is held here and has another root.
    pub(crate) fn take(&mut self, seen: Signed, source: Source) -> Result<(), Box<Fork>> {
        let others = self.others.iter().map(|(other, _)| other);
        for known in others.chain(&self.base).chain(&self.own) {
            if let Some(fork) = same_size(known, &seen) {
                return Err(Box::new(fork));
            }
        }
        if self.base.is_none() {
            self.base = Some(seen.clone());
        }
        let longer = self
            .own
            .as_ref()
            .is_none_or(|own| own.head.size < seen.head.size);
        match source {
            Source::Welcome => {
                // What the last session ended with is not passed over.
                if let Some(own) = self.own.replace(seen) {
                    self.wait(own);
                }
                self.own_compared = None;
                self.own_doubt = Doubt::default();
            }
            Source::Directory if longer => self.own = Some(seen),
            Source::Directory => {}
            Source::Peer => self.wait(seen),
            Source::Journal => {}
        }
        Ok(())
    }

    /// Whether there is anything to ask now.
    pub(crate) fn has_question(&self, now: Instant) -> bool {
        self.next(now).is_some()
    }

    /// What to ask the directory now, if anything.
    pub(crate) fn question(&self, now: Instant) -> Option<Question> {
        let (own, with, is_own) = self.next(now)?;
        let (older, newer) = if own.head.size <= with.head.size {
            (own, with)
        } else {
            (with, own)
        };
        Some(Question {
            older: older.clone(),
            newer: newer.clone(),
            other: (!is_own).then(|| with.clone()),
        })
    }

    /// The directory's newest, what to compare it with, and whether that is the directory's own.
    fn next(&self, now: Instant) -> Option<(&Signed, &Signed, bool)> {
        let (own, base) = (self.own.as_ref()?, self.base.as_ref()?);
        let due = self
            .own_compared
            .is_none_or(|last| now.saturating_duration_since(last) >= OWN_EVERY);
        if due && own.head != base.head {
            return Some((own, base, true));
        }
        let (other, _) = self.others.front()?;
        Some((own, other, false))
    }

    /// What the answer to a question comes to: the root and proof that it showed, or none if it
    /// was refused or could not be read.
    pub(crate) fn answered(
        &mut self,
        question: &Question,
        answer: Option<([u8; 32], Vec<u8>)>,
        now: Instant,
    ) -> Finding {
        let Question {
            older,
            newer,
            other,
        } = question;
        if other.is_none() {
            self.own_compared = Some(now);
        }
        if let Some((root, proof)) = answer {
            let fits = root == older.head.root
                && consistency::check(older.head, newer.head, &proof).is_ok();
            if fits {
                self.fits(newer, other.as_ref());
                return Finding::Fits;
            }
            let fork = Fork::between(
                (&older.checkpoint, older.head),
                (&newer.checkpoint, newer.head),
                root,
                proof,
            );
            if let Some(fork) = fork {
                return Finding::Forked(Box::new(fork));
            }
        }
        let doubted = match other {
            None => self.own_doubt.grows(now),
            Some(other) => self.put_off(other, now),
        };
        Finding::Nothing {
            stale: other.as_ref() == Some(newer),
            doubted,
        }
    }

    fn fits(&mut self, newer: &Signed, other: Option<&Signed>) {
        match other {
            None => {
                self.own_doubt = Doubt::default();
                self.base = Some(newer.clone());
            }
            Some(other) => {
                self.others.retain(|(waiting, _)| waiting != other);
                // The directory's log holds it, and everything of its own below.
                let longer = |own: &Signed| own.head.size < newer.head.size;
                if self.own.as_ref().is_some_and(longer) {
                    self.own = Some(newer.clone());
                }
            }
        }
    }

    fn wait(&mut self, seen: Signed) {
        let others = self.others.iter().map(|(other, _)| other);
        let mut known = others.chain(&self.base).chain(&self.own);
        if known.any(|known| known.head == seen.head) {
            return;
        }
        if self.others.len() >= OTHERS_LEN_MAX {
            self.others.pop_front();
        }
        self.others.push_back((seen, Doubt::default()));
    }

    /// Lets the others go first.
    fn put_off(&mut self, other: &Signed, now: Instant) -> bool {
        let place = self.others.iter().position(|(waiting, _)| waiting == other);
        let Some((waiting, mut doubt)) = place.and_then(|place| self.others.remove(place)) else {
            return false;
        };
        let doubted = doubt.grows(now);
        self.others.push_back((waiting, doubt));
        doubted
    }
}

impl Doubt {
    fn grows(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let tells = !self.told && now.saturating_duration_since(since) >= DOUBT_AFTER;
        self.told |= tells;
        tells
    }
}

/// The proof that two heads of one size are of two histories, if they are.
pub(crate) fn same_size(one: &Signed, two: &Signed) -> Option<Fork> {
    Fork::between(
        (&one.checkpoint, one.head),
        (&two.checkpoint, two.head),
        two.head.root,
        Vec::new(),
    )
}

#[cfg(test)]
mod tests;
