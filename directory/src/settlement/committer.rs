//! The one writer: decides each job of a batch in order, makes the batch durable, then answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact, Freeze, Issue};
use quid_common::id::{OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use thiserror::Error;
use tokio::sync::watch;
use tracing::warn;

use super::{
    Answer, Ask, Checked, Counts, Due, Job, Links, Proof, Receipts, Reply, Standing, Survey, tabs,
};
use crate::ahead;
use crate::books::{AppendError, Batch, Books};
use crate::events::{Hub, Moved};
use crate::ledger::{Fault, Past, Verdict};
use crate::quota::Quota;
use crate::store::{self, LogEntry};
use crate::tree::TreeError;

/// The one writer: the ledger, its log and its tree, in step.
#[derive(Debug)]
pub struct Committer {
    pub(super) books: Books,
    pub(super) hub: Arc<Hub>,
    quota: Quota,
    pub(super) treasury: Name,
    pub(super) durable: Arc<AtomicU64>,
    pub(super) counts: Counts,
    /// Before this, nobody could claim.
    pub(super) served_since: LedgerTime,
    pub(super) due: watch::Sender<Option<Due>>,
}

/// What the queue should know of somebody who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It claimed on a tab; whether the links were worth hashing.
    Claimed(bool),
    /// It was told again what it had been told.
    Repeated,
    /// It submitted what others signed for others, or what cannot be read, which no honest program
    /// does.
    Intruded,
}

/// Why a batch came to nothing: whoever settles answers nobody any more and leaves the process
/// ([`crate::store::give_up`]).
#[derive(Debug, Error)]
pub enum CommitError {
    /// The batch could not be made durable; what the log holds of it is not known.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The fold checks again what was decided: a difference is a bug that could cost money.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What a job came to, before the batch is durable.
enum Outcome {
    /// A new entry of the open batch.
    New(u64, Effect),
    /// An entry that was there before; it may stand in the open batch too.
    Known(u64),
    Refused(Reason),
    /// To be answered from the state after the batch.
    Question,
}

/// What an entry means to whoever asked for it.
#[derive(Clone, Copy)]
enum Effect {
    Payment,
    Void,
    /// A tab is open, claimed or closed.
    Tab,
    Refusal(Reason),
    Other,
}

impl Effect {
    const fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Payment(_) => Self::Payment,
            Fact::Void(_) => Self::Void,
            Fact::Tab(_) | Fact::Claim(_) | Fact::Close(_) => Self::Tab,
            Fact::Refusal(refusal) => Self::Refusal(refusal.reason),
            Fact::Genesis(_)
            | Fact::Register(_)
            | Fact::Issue(_)
            | Fact::Freeze(_)
            | Fact::Release(_)
            | Fact::Rotation(_)
            | Fact::Recovery(_)
            | Fact::Objection(_)
            | Fact::Takeover(_)
            | Fact::Lock(_) => Self::Other,
        }
    }
}

impl Outcome {
    /// What the queue should know of whoever had something signed come to this.
    const fn conduct_of_signed(&self) -> Option<Conduct> {
        match self {
            Self::Known(_) => Some(Conduct::Repeated),
            Self::Refused(Reason::WRONG_SUBMITTER) => Some(Conduct::Intruded),
            Self::Refused(_) | Self::New(..) | Self::Question => None,
        }
    }

    /// Whether a claim that came to this was an honest one's.
    const fn is_worth_hashing(&self) -> bool {
        match self {
            Self::Refused(reason) => !matches!(
                *reason,
                Reason::NO_TAB
                    | Reason::WRONG_SUBMITTER
                    | Reason::STALE_CLAIM
                    | Reason::PAST_END
                    | Reason::BAD_LINK
            ),
            Self::New(..) | Self::Known(_) | Self::Question => true,
        }
    }
}

impl Committer {
    /// The writer of `books`, which serves from now on.
    #[must_use]
    pub fn new(mut books: Books, hub: Arc<Hub>) -> Self {
        let durable = Arc::new(AtomicU64::new(books.ledger.entries()));
        let served_since = books.now();
        let next = books.ledger.next_due(served_since);
        let due = next.map(|time| Due::new(time, served_since));
        let frozen = books.ledger.accounts().iter().filter(|it| it.is_frozen());
        frozen.for_each(|account| hub.freeze(account.key, true));
        Self {
            books,
            hub,
            quota: Quota::default(),
            treasury: Name::treasury(),
            durable,
            counts: Counts::default(),
            served_since,
            due: watch::Sender::new(due),
        }
    }

    /// The books, once nothing is to be settled any more.
    #[must_use]
    pub fn into_books(self) -> Books {
        self.books
    }

    /// Decides, commits and answers one batch. Callable on any one thread. Returns what the queue
    /// should know of who asked. After an error it leaves the process.
    pub fn commit(&mut self, batch: Vec<Checked>) -> Vec<(PublicKey, Conduct)> {
        match self.try_commit(batch) {
            Ok(conduct) => conduct,
            Err(error) => store::give_up(&error),
        }
    }

    /// The same for whoever can end without ending the process.
    ///
    /// # Errors
    /// [`CommitError`]: nobody was answered and nobody may be any more; nothing may be tried again.
    pub fn try_commit(
        &mut self,
        batch: Vec<Checked>,
    ) -> Result<Vec<(PublicKey, Conduct)>, CommitError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let result = self.commit_into(batch, &mut outcomes);
        if result.is_err() {
            // A reply that is dropped says *stopping*, and that is an answer.
            std::mem::forget(outcomes);
        }
        result
    }

    fn commit_into(
        &mut self,
        batch: Vec<Checked>,
        outcomes: &mut Vec<(Job, Outcome)>,
    ) -> Result<Vec<(PublicKey, Conduct)>, CommitError> {
        let now = self.books.now();
        let mut open = Batch::default();
        let mut conduct = Vec::new();
        let mut batch = batch.into_iter();
        while let Some(Checked { job, forged }) = batch.next() {
            let decided = match forged {
                None => self.decide(&job, now, &mut open),
                Some(reason) => Ok(Outcome::Refused(self.screen(&job.ask).unwrap_or(reason))),
            };
            let outcome = match decided {
                Ok(outcome) => outcome,
                Err(fault) => {
                    // As in `try_commit`.
                    std::mem::forget((job, batch));
                    return Err(fault.into());
                }
            };
            if matches!(job.ask, Ask::Claim(..)) {
                conduct.push((job.from, Conduct::Claimed(outcome.is_worth_hashing())));
            } else if matches!(job.ask, Ask::Malformed(_)) {
                conduct.push((job.from, Conduct::Intruded));
            } else if job.ask.is_signed() {
                let seen = outcome.conduct_of_signed();
                conduct.extend(seen.map(|seen| (job.from, seen)));
            }
            outcomes.push((job, outcome));
        }
        let begun = Instant::now();
        self.books.append(&open, now)?;
        self.durable
            .store(self.books.ledger.entries(), Ordering::Release);
        let Batch { entries, log } = open;
        let now = Instant::now();
        self.counts
            .committed(outcomes.len(), &entries, now.duration_since(begun));
        let receipts = self.receipts(log);
        let answers = outcomes.drain(..).map(|(job, outcome)| {
            let new = matches!(outcome, Outcome::New(..));
            let answer = self.answer(&job, outcome, receipts.as_ref());
            self.counts.answered(&answer, new, job.reply.since, now);
            (job.reply, answer)
        });
        Reply::send_all(answers);
        self.tell(&entries, receipts.as_ref());
        self.books.tidy();
        Ok(conduct)
    }

    /// The receipts of a batch that is durable now; `None` if they cannot be made, which is loud.
    fn receipts(&self, entries: Vec<LogEntry>) -> Option<Arc<Receipts>> {
        let first = self.books.ledger.entries() - entries.len() as u64;
        match self.books.paths(first) {
            Ok(paths) => Some(Arc::new(Receipts {
                first,
                entries,
                paths,
                checkpoint: self.books.checkpoint().clone(),
            })),
            Err(error) => {
                warn!(entry = first, %error, "cannot prove a batch");
                None
            }
        }
    }

    /// The entry, known or new, that a job comes to.
    fn decide(&mut self, job: &Job, now: LedgerTime, open: &mut Batch) -> Result<Outcome, Fault> {
        let Some(verdict) = self.verdict(job, now) else {
            match &job.ask {
                Ask::Release => self.release_due(now, open)?,
                Ask::Login(Some(seen)) => self.books.compare(seen),
                _ => {}
            }
            return Ok(Outcome::Question);
        };
        let verdict = match &self.books.ahead {
            Some(_) => ahead::withhold(verdict),
            None => verdict,
        };
        match verdict {
            Verdict::Known { entry } => Ok(Outcome::Known(entry)),
            Verdict::Refuse(reason) => Ok(Outcome::Refused(reason)),
            Verdict::Append(fact) => self.append(job, fact, now, open),
        }
    }

    /// What the rules say to a job; none to one that only asks.
    fn verdict(&self, job: &Job, now: LedgerTime) -> Option<Verdict> {
        let ledger = &self.books.ledger;
        let old = &self.books.old_ids;
        let mut past = |payer: &PublicKey, id: OrderId| -> Past { old.find(ledger, payer, id) };
        Some(match &job.ask {
            Ask::Order(order, decline) => {
                ledger.decide_order(order, decline.as_ref(), &job.from, now, &mut past)
            }
            Ask::Void(void) => ledger.decide_void(void, &job.from, now, &mut past),
            Ask::Register(registration) => ledger.decide_registration(registration, &job.from),
            Ask::Change(change) => ledger.decide_change(change, now),
            Ask::Issue(operation, name, amount) => self.decide_issue(*operation, name, *amount),
            Ask::Freeze(operation, name, frozen) => self.decide_freeze(*operation, name, *frozen),
            Ask::Tab(terms) => ledger.decide_tab(terms, &job.from, now, &mut past),
            Ask::Claim(payer, id, Links::Hashed(hashed)) => {
                ledger.decide_claim(payer, *id, hashed, &job.from)
            }
            // No check lets one pass; it may come again.
            Ask::Claim(_, _, Links::Shown(..)) => Verdict::Refuse(Reason::BUSY),
            Ask::Close(close) => ledger.decide_close(close, &job.from, now),
            Ask::Malformed(reason) => Verdict::Refuse(*reason),
            Ask::Release
            | Ask::Login(_)
            | Ask::Survey
            | Ask::Balance
            | Ask::Keys(_)
            | Ask::Successor(_)
            | Ask::AllKeys
            | Ask::Find(_)
            | Ask::Fate(..)
            | Ask::OpenTab(..)
            | Ask::Prove(_)
            | Ask::Consistency(..)
            | Ask::Moved(_)
            | Ask::Names(_) => return None,
        })
    }

    /// Appends what a job comes to and what follows on it, if its account has a share left of what
    /// costs nobody money.
    fn append(
        &mut self,
        job: &Job,
        fact: Fact,
        now: LedgerTime,
        open: &mut Batch,
    ) -> Result<Outcome, Fault> {
        let scarce = match &job.ask {
            _ if matches!(fact, Fact::Refusal(_) | Fact::Void(_)) => Some(job.from),
            // Anybody may submit it, and the account's key may be another each time.
            Ask::Change(change) => self.first_key(change.account()),
            _ => None,
        };
        if scarce.is_some_and(|account| !self.quota.allow(&account, now)) {
            return Ok(Outcome::Refused(Reason::BUSY));
        }
        let effect = Effect::of(&fact);
        let newcomer = match &fact {
            Fact::Register(registration) => Some(registration.statement().key),
            _ => None,
        };
        let tab = tabs::ends(&fact);
        let index = self.apply(fact, now, open)?;
        if let Some((payer, id)) = tab {
            self.follow(&payer, id, now, open)?;
        }
        if let Some(grant) = newcomer.and_then(|key| self.opening_grant(key)) {
            self.apply(grant, now, open)?;
        }
        Ok(Outcome::New(index, effect))
    }

    /// What is wrong with a job before its signature counts.
    fn screen(&self, ask: &Ask) -> Option<Reason> {
        match ask {
            Ask::Order(order, _) => self.books.ledger.screen_order(order, None).err(),
            Ask::Void(void) => self.books.ledger.screen_void(void).err(),
            Ask::Tab(terms) => self.books.ledger.screen_tab(terms).err(),
            Ask::Close(close) => self.books.ledger.screen_close(close).err(),
            Ask::Change(change) => self.books.ledger.screen_change(change).err(),
            _ => None,
        }
    }

    pub(super) fn apply(
        &mut self,
        fact: Fact,
        now: LedgerTime,
        open: &mut Batch,
    ) -> Result<u64, Fault> {
        let entry = Entry { time: now, fact };
        let index = self.books.ledger.apply(&entry)?;
        open.log.push(LogEntry::new(entry.encode()));
        open.entries.push(entry);
        Ok(index)
    }

    /// What a newcomer receives, on directories that give an opening balance.
    fn opening_grant(&self, newcomer: PublicKey) -> Option<Fact> {
        let amount = self
            .books
            .opening_balance
            .filter(|amount| !amount.is_zero())?;
        // One grant for one key: its first bytes are the operation's id.
        let (operation, _) = newcomer.as_bytes().split_first_chunk()?;
        let issue = self.issue(OperationId(*operation), newcomer, amount);
        match self.books.ledger.decide_issue(&issue) {
            Verdict::Append(fact) => Some(fact),
            Verdict::Known { .. } | Verdict::Refuse(_) => None,
        }
    }

    fn decide_issue(&self, operation: OperationId, name: &Name, amount: Amount) -> Verdict {
        let Some(account) = self.books.ledger.by_name(name) else {
            return Verdict::Refuse(Reason::UNKNOWN_ACCOUNT);
        };
        self.books
            .ledger
            .decide_issue(&self.issue(operation, account.key, amount))
    }

    fn issue(&self, operation: OperationId, account: PublicKey, amount: Amount) -> Signed<Issue> {
        let directory = self.books.key.public();
        let ledger = self.books.ledger.ledger_id();
        Signed::new(
            Issue {
                directory,
                ledger,
                operation,
                account,
                amount,
            },
            &self.books.key,
        )
    }

    fn decide_freeze(&self, operation: OperationId, name: &Name, frozen: bool) -> Verdict {
        let Some(account) = self.books.ledger.by_name(name) else {
            return Verdict::Refuse(Reason::UNKNOWN_ACCOUNT);
        };
        let directory = self.books.key.public();
        let ledger = self.books.ledger.ledger_id();
        let account = account.key;
        let freeze = Freeze {
            directory,
            ledger,
            operation,
            account,
            frozen,
        };
        self.books
            .ledger
            .decide_freeze(&Signed::new(freeze, &self.books.key))
    }

    /// The answer to a job, now that its batch is durable.
    fn answer(&self, job: &Job, outcome: Outcome, receipts: Option<&Arc<Receipts>>) -> Answer {
        match outcome {
            Outcome::Refused(reason) => Answer::Refused(reason, None),
            Outcome::Question => self.answer_question(&job.from, &job.ask),
            Outcome::New(index, effect) => match receipts.and_then(|all| all.of(index)) {
                Some(proof) => answer_for(&job.ask, effect, proof),
                // The entry stands, but its receipt cannot be made now: not final.
                None => Answer::Refused(Reason::BUSY, None),
            },
            Outcome::Known(index) => match self.books.entry_receipt(index) {
                Ok((entry, receipt)) => {
                    let effect = Effect::of(&entry.fact);
                    answer_for(&job.ask, effect, Proof::Own(receipt))
                }
                Err(error) => unprovable(index, &error),
            },
        }
    }

    fn answer_question(&self, from: &PublicKey, ask: &Ask) -> Answer {
        let ledger = &self.books.ledger;
        match ask {
            Ask::Find(name) => match ledger.by_name(name) {
                Some(account) => Answer::Key(account.key),
                None => Answer::Refused(Reason::UNKNOWN_ACCOUNT, None),
            },
            Ask::Keys(name) => self.keys(name),
            Ask::Successor(key) => self.successor(key),
            Ask::AllKeys => Answer::AllKeys(match ledger.account(from) {
                Some(account) => account.all_keys().collect(),
                None => vec![*from],
            }),
            Ask::Fate(payer, id) => self.fate(from, payer, *id),
            Ask::OpenTab(payer, id) => self.open_tab(from, payer, *id),
            Ask::Release => Answer::Released,
            Ask::Survey => Answer::Survey(Box::new(Survey::of(&self.books))),
            Ask::Prove(index) => self.prove(from, *index),
            Ask::Consistency(from, to) => match self.books.consistency(*from, *to) {
                Ok((root, proof)) => Answer::Consistency(root, proof),
                Err(TreeError::Range { .. }) => Answer::Refused(Reason::NOT_FOUND, None),
                Err(error) => unprovable(*from, &error),
            },
            Ask::Moved(index) => self.moved(from, *index),
            Ask::Names(keys) => Answer::Names(
                keys.iter()
                    .map(|key| ledger.account(key).map(|a| a.name.clone()))
                    .collect(),
            ),
            Ask::Login(_) | Ask::Balance => match ledger.account(from) {
                Some(account) if account.key != *from => {
                    Answer::Refused(Reason::KEY_REPLACED, None)
                }
                Some(account) => Answer::Account(Box::new(Standing {
                    account: account.clone(),
                    currency: ledger.currency().clone(),
                    ledger: ledger.ledger_id(),
                    time: self.books.time(),
                    checkpoint: self.books.checkpoint().clone(),
                })),
                None => Answer::Refused(Reason::NOT_REGISTERED, None),
            },
            // The wishes were decided before the batch was written.
            _ => Answer::Refused(Reason::ENCODING, None),
        }
    }

    /// What became of an order or a tab, told to its payer and to whom it was offered: nobody else can know
    /// the 74 random bits of its id.
    fn fate(&self, from: &PublicKey, payer: &PublicKey, id: OrderId) -> Answer {
        let ledger = &self.books.ledger;
        let now = self.books.time();
        let entry = match ledger.fate(payer, id) {
            Some(entry) => Some(entry),
            None if id.expiry() <= now => match self.books.old_ids.find(ledger, payer, id) {
                Past::Entry { index, .. } => Some(index),
                Past::Never => None,
                Past::Behind => return Answer::Refused(Reason::BUSY, None),
            },
            None => None,
        };
        let Some(entry) = entry else {
            // Without the lost part nobody knows that it has not settled.
            return match &self.books.ahead {
                Some(_) => Answer::Refused(Reason::LOG_INCOMPLETE, None),
                None => Answer::Fate(None, now),
            };
        };
        match self.books.entry_receipt(entry) {
            Ok((entry, _)) if !self.may_know(&entry.fact, from, payer) => Answer::Fate(None, now),
            Ok((_, receipt)) => Answer::Fate(Some(receipt), now),
            Err(error) => unprovable(entry, &error),
        }
    }

    /// Whether `from` may know what became of an id of `payer`'s: of an order or a tab only whose they
    /// are.
    fn may_know(&self, fact: &Fact, from: &PublicKey, payer: &PublicKey) -> bool {
        let payee = match fact {
            Fact::Payment(order) => order.statement().payee,
            Fact::Tab(terms) => terms.statement().payee,
            _ => return true,
        };
        let ledger = &self.books.ledger;
        ledger.is_same(from, payer) || ledger.is_same(from, &payee)
    }

    fn prove(&self, from: &PublicKey, index: u64) -> Answer {
        if index >= self.books.ledger.entries() {
            return Answer::Refused(Reason::NOT_FOUND, None);
        }
        match self.books.entry_receipt(index) {
            Ok((entry, receipt)) if self.parties(&entry.fact).contains(&Some(*from)) => {
                Answer::Done(Proof::Own(receipt))
            }
            // Somebody else's entry and none look the same.
            Ok(_) => Answer::Refused(Reason::NOT_FOUND, None),
            Err(error) => unprovable(index, &error),
        }
    }

    fn moved(&self, from: &PublicKey, index: u64) -> Answer {
        match self.prove(from, index) {
            Answer::Done(proof) => {
                let receipt = proof.into_receipt();
                let other = Entry::decode(&receipt.entry).ok().and_then(|entry| {
                    self.parties(&entry.fact)
                        .into_iter()
                        .flatten()
                        .find(|party| party != from)
                });
                let counterparty = other.map_or_else(Name::treasury, |key| self.name(&key).clone());
                Answer::Moved(Moved {
                    index,
                    receipt,
                    counterparty,
                })
            }
            other => other,
        }
    }
}

fn answer_for(ask: &Ask, effect: Effect, receipt: Proof) -> Answer {
    match effect {
        Effect::Payment | Effect::Tab => Answer::Settled(receipt),
        Effect::Void if matches!(ask, Ask::Order(..) | Ask::Tab(_)) => {
            Answer::Refused(Reason::VOIDED, Some(receipt))
        }
        Effect::Void => Answer::Voided(receipt),
        Effect::Refusal(reason) => Answer::Refused(reason, Some(receipt)),
        Effect::Other => Answer::Done(receipt),
    }
}

/// The entry stands, but its receipt cannot be made now: not final, and loud.
pub(super) fn unprovable(index: u64, error: &dyn std::error::Error) -> Answer {
    warn!(entry = index, %error, "cannot prove an entry");
    Answer::Refused(Reason::BUSY, None)
}
