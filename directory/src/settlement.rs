//! Settlement: alone decides when a job is applied, committed and answered.
//!
//! Jobs come in a bounded queue from all sessions. Whatever queued while the last batch was
//! committing is the next batch: no timers. A batch passes two threads:
//!
//! 1. *verify*: all signatures of the batch together, while the batch before commits;
//! 2. *commit*: the ledger decides each job in order, the batch's entries and one signed checkpoint
//!    become durable in one write, and only then are the answers sent (promise I4). Questions are
//!    answered after the same write, so an answer never shows what a crash could take back.
//!
//! An error while committing ends the process: nobody is answered, nothing is tried again
//! ([`crate::store::give_up`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use quid_common::amount::{Amount, Currency};
use quid_common::checkpoint::Checkpoint;
use quid_common::entry::Registration;
use quid_common::id::{LedgerId, OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{SignedDecline, SignedOrder, SignedVoid};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use tokio::sync::mpsc;

mod committer;

pub use self::committer::Committer;
use crate::books::Books;
use crate::events::{Hub, Moved};
use crate::ledger::Account;
use crate::verify::{self, Claim};

/// Most jobs that wait; beyond that a submitter is told *busy*.
pub const QUEUE_LEN_MAX: usize = 8 * 1024;

/// Most jobs in one batch: bounds how long the first of them waits for the last.
pub const BATCH_LEN_MAX: usize = 1024;

/// Something that a session or the operator wants of the ledger.
#[derive(Debug)]
pub struct Job {
    /// The account key of the asking session, proved by its connection.
    pub from: PublicKey,
    /// What is wanted.
    pub ask: Ask,
    /// Where the answer goes.
    pub reply: Reply,
}

/// What can be wanted of the ledger.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are orders, the largest"
)]
pub enum Ask {
    /// Settle an order, or have its decline by the payee logged.
    Order(SignedOrder, Option<SignedDecline>),
    /// Void an order.
    Void(SignedVoid),
    /// An order or void that could not be read; answered with this in its turn like any other.
    Malformed(Reason),
    /// Tie a key to a name.
    Register(Signed<Registration>),
    /// The operator's: issue money to a name.
    Issue(OperationId, Name, Amount),
    /// The operator's: freeze (true) or thaw an account.
    Freeze(OperationId, Name, bool),
    /// Everything that a login answers; with the newest checkpoint that the account has seen.
    Login(Option<Checkpoint>),
    /// The asking account's balance.
    Balance,
    /// The key of a name.
    Find(Name),
    /// What became of an order by or to the asking account.
    Fate(PublicKey, OrderId),
    /// The receipt of an entry that concerns the asking account.
    Prove(u64),
    /// How the log goes on from its first entries to more of them.
    Consistency(u64, u64),
    /// What an entry moved to or from the asking account.
    Moved(u64),
    /// The names of these keys.
    Names(Vec<PublicKey>),
}

impl Ask {
    const fn is_question(&self) -> bool {
        !matches!(
            self,
            Self::Order(..)
                | Self::Void(_)
                | Self::Malformed(_)
                | Self::Register(_)
                | Self::Issue(..)
                | Self::Freeze(..)
        )
    }
}

/// An answer, sent only once everything that it rests on is durable.
#[derive(Debug)]
pub enum Answer {
    /// The order has settled.
    Settled(Receipt),
    /// The order is void.
    Voided(Receipt),
    /// Any other wish is fulfilled, or the entry asked for is here.
    Done(Receipt),
    /// No effect; a logged refusal proves itself.
    Refused(Reason, Option<Receipt>),
    /// To [`Ask::Login`].
    Account(Box<Standing>),
    /// To [`Ask::Find`].
    Key(PublicKey),
    /// To [`Ask::Fate`].
    Fate(Option<Receipt>, LedgerTime),
    /// To [`Ask::Consistency`]: the root over the first entries, and the proof.
    Consistency([u8; 32], Vec<u8>),
    /// To [`Ask::Moved`].
    Moved(Moved),
    /// To [`Ask::Names`], in the order asked.
    Names(Vec<Option<Name>>),
}

/// An account and its ledger, as of one durable log head.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The account.
    pub account: Account,
    /// What is counted.
    pub currency: Currency,
    /// The ledger.
    pub ledger: LedgerId,
    /// Its time.
    pub time: LedgerTime,
    /// Its newest checkpoint.
    pub checkpoint: Checkpoint,
}

/// Room for one answer, reserved before the question was read.
#[derive(Debug)]
pub struct Reply {
    number: u64,
    room: mpsc::OwnedPermit<(u64, Answer)>,
}

impl Reply {
    /// The answer will carry the asker's own `number`.
    #[must_use]
    pub const fn new(number: u64, room: mpsc::OwnedPermit<(u64, Answer)>) -> Self {
        Self { number, room }
    }

    /// Sends the answer; never blocks. An asker that has gone is not missed.
    pub fn send(self, answer: Answer) {
        self.room.send((self.number, answer));
    }
}

/// The way to the settlement for everybody: cheap to clone.
#[derive(Clone, Debug)]
pub struct Settlements {
    queue: mpsc::Sender<Job>,
    durable: Arc<AtomicU64>,
}

impl Settlements {
    /// Queues `job`; a full queue answers it *busy* at once, a stopping one *stopping*.
    pub fn submit(&self, job: Job) {
        match self.queue.try_reserve() {
            Ok(room) => room.send(job),
            Err(mpsc::error::TrySendError::Full(())) => {
                job.reply.send(Answer::Refused(Reason::BUSY, None));
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                job.reply.send(Answer::Refused(Reason::STOPPING, None));
            }
        }
    }

    /// Asks one question and waits for its answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer, not the job: it may still take effect.
    pub async fn ask(&self, from: PublicKey, ask: Ask) -> Answer {
        let (sender, mut receiver) = mpsc::channel(1);
        let room = sender
            .reserve_owned()
            .await
            .expect("the receiver is held here");
        self.submit(Job {
            from,
            ask,
            reply: Reply::new(0, room),
        });
        match receiver.recv().await {
            Some((_, answer)) => answer,
            None => Answer::Refused(Reason::STOPPING, None),
        }
    }

    /// Number of entries that are durable and may have been answered for.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

/// The two threads; they end when every [`Settlements`] is gone and the queue is empty.
#[derive(Debug)]
pub struct Threads {
    verify: JoinHandle<()>,
    commit: JoinHandle<Committer>,
}

impl Threads {
    /// Waits for the last batch and gives the committer back.
    ///
    /// # Panics
    /// If one of the threads panicked: the ledger's state in memory is then not to be trusted.
    #[must_use]
    pub fn join(self) -> Committer {
        self.verify
            .join()
            .expect("the verifying thread does not panic");
        self.commit
            .join()
            .expect("the committing thread does not panic")
    }
}

/// Starts the settlement over `books`; `hub` hears of every movement of money.
///
/// # Errors
/// If the system gives no threads.
pub fn start(books: Books, hub: Arc<Hub>) -> std::io::Result<(Settlements, Threads)> {
    let mut committer = Committer::new(books, hub);
    let durable = Arc::clone(&committer.durable);
    let (queue, jobs) = mpsc::channel(QUEUE_LEN_MAX);
    // Room for one batch: the verifier is never more than one batch ahead.
    let (verified, batches): (SyncSender<Vec<Checked>>, Receiver<Vec<Checked>>) = sync_channel(1);
    let verify = std::thread::Builder::new()
        .name("verify".into())
        .spawn(move || run_verifier(jobs, &verified))?;
    let commit = std::thread::Builder::new()
        .name("commit".into())
        .spawn(move || {
            while let Ok(batch) = batches.recv() {
                committer.commit(batch);
            }
            committer
        })?;
    Ok((Settlements { queue, durable }, Threads { verify, commit }))
}

fn run_verifier(mut jobs: mpsc::Receiver<Job>, verified: &SyncSender<Vec<Checked>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_LEN_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        if verified.send(check(batch)).is_err() {
            return;
        }
    }
}

/// A job whose signatures have been judged.
#[derive(Debug)]
pub struct Checked {
    job: Job,
    /// What the signatures refuse, if anything.
    forged: Option<Reason>,
}

/// Judges the signatures of a batch.
#[must_use]
pub fn check(batch: Vec<Job>) -> Vec<Checked> {
    let mut claims: Vec<Claim> = Vec::with_capacity(batch.len());
    // For each claim whose it is, and what its failing means.
    let mut owners = Vec::with_capacity(batch.len());
    for (at, job) in batch.iter().enumerate() {
        match &job.ask {
            Ask::Order(order, decline) => {
                claims.push(claim(order));
                owners.push((at, Reason::BAD_SIGNATURE));
                if let Some(decline) = decline {
                    claims.push(claim(decline));
                    owners.push((at, Reason::BAD_DECLINE));
                }
            }
            Ask::Void(void) => {
                claims.push(claim(void));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            Ask::Register(registration) => {
                claims.push(claim(registration));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            // The operator's socket and plain questions carry no signature.
            Ask::Issue(..) | Ask::Freeze(..) | Ask::Malformed(_) => {}
            ask => debug_assert!(ask.is_question()),
        }
    }
    let mut checked: Vec<Checked> = batch
        .into_iter()
        .map(|job| Checked { job, forged: None })
        .collect();
    for ((owner, reason), genuine) in owners
        .into_iter()
        .zip(verify::verify(&claims, &mut rand::rng()))
    {
        if let Some(job) = checked.get_mut(owner).filter(|_| !genuine) {
            job.forged.get_or_insert(reason);
        }
    }
    checked
}

fn claim<T: quid_common::signed::Statement>(fact: &Signed<T>) -> Claim {
    (fact.statement().signer(), fact.message(), *fact.signature())
}
