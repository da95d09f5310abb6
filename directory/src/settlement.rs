//! Settlement: alone decides when a job is applied, committed and answered.
//!
//! Jobs come in a bounded queue from all sessions, fair between accounts. Whatever queued while the
//! last batch was at work is the next batch: no timers. Two threads take batches in turn, so that
//! one checks signatures while the other commits, as soon as enough waits for a batch of its own; a
//! lone payment passes through one of them. Each
//! batch goes through
//!
//! 1. *check*: all its signatures together;
//! 2. *commit*, one batch at a time and in order: the ledger decides each job, the batch's entries
//!    and one signed checkpoint become durable in one write, and only then are the answers sent
//!    (promise I4). Questions are answered after the same write, so an answer never shows what a
//!    crash could take back.
//!
//! A claim on a tab is proved by its links. Short ones are hashed in the check; long ones before
//! they come into the queue, by a thread that gives way to all others.
//!
//! An error while committing, or a panic anywhere here, ends the process: nobody is answered,
//! nothing is tried again ([`crate::store::give_up`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use quid_common::account::Change;
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
use quid_common::tab::{SignedClose, SignedTerms};
use quid_common::time::LedgerTime;
use quid_common::wire::{KeysStanding, OpenTab};
use tokio::sync::watch;

mod check;
mod committer;
mod counts;
mod hashing;
mod inline;
mod keys;
mod latency;
mod queue;
mod receipts;
mod reply;
mod stage;
mod survey;
mod tabs;
mod tell;
#[cfg(test)]
pub(crate) mod testing;

pub use self::check::{Checked, check};
pub use self::committer::{CommitError, Committer, Conduct};
pub use self::counts::{Counts, Label};
pub use self::hashing::{CLAIMS_LEN_MAX, CLAIMS_PER_ACCOUNT_MAX, Links, SHORT_GAP_MAX};
use self::hashing::{Hasher, Lines};
pub use self::inline::{Inline, start_inline};
pub use self::latency::{Counted, Latency};
use self::queue::Queue;
pub use self::queue::{ACCOUNT_LEN_MAX, QUEUE_LEN_MAX};
pub use self::receipts::{Proof, Receipts};
pub use self::reply::{Outlet, Reply};
use self::stage::Stage;
pub use self::survey::{Survey, Waiting};
pub use self::tabs::{Due, RELEASES_LEN_MAX};
use crate::books::Books;
use crate::events::{Hub, Moved};
use crate::ledger::Account;

/// Most jobs of trusted accounts in one batch, but for the last turn's: bounds how long the first
/// of them waits for the last.
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
pub enum Ask {
    /// Settle an order, or have its decline by the payee logged.
    Order(SignedOrder, Option<SignedDecline>),
    /// Void an order.
    Void(SignedVoid),
    /// Open a tab.
    Tab(SignedTerms),
    /// Claim on the tab of a payer: links that only the payee has.
    Claim(PublicKey, OrderId, Links),
    /// End a tab before its time.
    Close(SignedClose),
    /// The directory's own: give back what is left of tabs that are over.
    Release,
    /// The operator's: the books as a whole. Asking it makes sure that a batch can be durable.
    Survey,
    /// One of these that could not be read; answered with this in its turn like any other.
    Malformed(Reason),
    /// What an account's keys say about it.
    Change(Change),
    /// Where the keys of a name stand.
    Keys(Name),
    /// What replaced a key.
    Successor(PublicKey),
    /// All the keys that the asking account has had.
    AllKeys,
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
    /// What became of an order or a tab by or to the asking account.
    Fate(PublicKey, OrderId),
    /// Where a tab by or to the asking account stands.
    OpenTab(PublicKey, OrderId),
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
    /// About how much work it is to look at, in signatures.
    #[must_use]
    pub fn work(&self) -> u32 {
        match self {
            Self::Claim(_, _, links) => links.work(),
            _ => 1,
        }
    }

    /// Whether somebody signed it.
    const fn is_signed(&self) -> bool {
        matches!(
            self,
            Self::Order(..)
                | Self::Void(_)
                | Self::Register(_)
                | Self::Change(_)
                | Self::Tab(_)
                | Self::Close(_)
        )
    }
}

/// An answer, sent only once everything that it rests on is durable.
#[derive(Debug)]
pub enum Answer {
    /// The order has settled, or the tab is open, claimed or closed.
    Settled(Proof),
    /// The order is void.
    Voided(Proof),
    /// Any other wish is fulfilled, or the entry asked for is here.
    Done(Proof),
    /// No effect; a logged refusal proves itself.
    Refused(Reason, Option<Proof>),
    /// To [`Ask::Login`].
    Account(Box<Standing>),
    /// To [`Ask::Find`].
    Key(PublicKey),
    /// To [`Ask::Keys`].
    Keys(Box<KeysStanding>),
    /// To [`Ask::Successor`]: what replaced the key, if anything did.
    Successor(Option<Receipt>),
    /// To [`Ask::AllKeys`]: the first first.
    AllKeys(Vec<PublicKey>),
    /// To [`Ask::Fate`].
    Fate(Option<Receipt>, LedgerTime),
    /// To [`Ask::OpenTab`].
    OpenTab(Option<OpenTab>, LedgerTime),
    /// To [`Ask::Release`].
    Released,
    /// To [`Ask::Survey`].
    Survey(Box<Survey>),
    /// To [`Ask::Consistency`]: the root over the first entries, and the proof.
    Consistency([u8; 32], Vec<u8>),
    /// To [`Ask::Moved`].
    Moved(Moved),
    /// To [`Ask::Names`], in the order asked.
    Names(Vec<Option<Name>>),
}

impl Answer {
    /// Lets go of the batch that its receipt is shared with, if it has one.
    pub fn unshare(&mut self) {
        match self {
            Self::Settled(proof) | Self::Voided(proof) | Self::Done(proof) => proof.unshare(),
            Self::Refused(_, proof) => proof.iter_mut().for_each(Proof::unshare),
            Self::Account(_)
            | Self::Key(_)
            | Self::Keys(_)
            | Self::Successor(_)
            | Self::AllKeys(_)
            | Self::Fate(..)
            | Self::OpenTab(..)
            | Self::Released
            | Self::Survey(_)
            | Self::Consistency(..)
            | Self::Moved(_)
            | Self::Names(_) => {}
        }
    }
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

/// The way to the settlement for everybody: cheap to clone.
#[derive(Clone, Debug)]
pub struct Settlements {
    entrance: Arc<Entrance>,
    durable: Arc<AtomicU64>,
    counts: Counts,
    due: watch::Receiver<Option<Due>>,
}

/// Closes queue and lines when the last who could ask has gone.
#[derive(Debug)]
struct Entrance {
    queue: Arc<Queue>,
    lines: Arc<Lines>,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.lines.close();
        self.queue.close();
    }
}

impl Settlements {
    /// Queues what the account `from` wants, in order; what there is no room for is answered
    /// *busy* at once. Whether there was room for all: if not, ask more slowly.
    #[must_use]
    pub fn submit(&self, from: PublicKey, jobs: Vec<Job>) -> bool {
        let Entrance { queue, lines } = &*self.entrance;
        lines.put(from, jobs, queue)
    }

    /// Asks one question and waits for its answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer, not the job: it may still take effect.
    pub async fn ask(&self, from: PublicKey, ask: Ask) -> Answer {
        let outlet = Arc::new(Outlet::default());
        let reply = Reply::new(0, &outlet);
        // Without room the answer is *busy*.
        let _ = self.submit(from, vec![Job { from, ask, reply }]);
        match outlet.take().await.pop() {
            Some((_, answer)) => answer,
            None => Answer::Refused(Reason::STOPPING, None),
        }
    }

    /// Whether `account` sent bad signatures or claims lately, or asks again and again for what it
    /// was answered.
    #[must_use]
    pub fn distrusts(&self, account: &PublicKey) -> bool {
        self.entrance.queue.distrusts(account)
    }

    /// When [`Ask::Release`] is next worth asking, as long as nothing changes; `None` while no tab
    /// is open.
    #[must_use]
    pub fn due(&self) -> watch::Receiver<Option<Due>> {
        self.due.clone()
    }

    /// What has been settled since the start.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What waits to be settled now.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let Entrance { queue, lines } = &*self.entrance;
        let mut waiting = Waiting::default();
        queue.survey(&mut waiting);
        lines.survey(&mut waiting);
        waiting
    }

    /// Number of entries that are durable and may have been answered for.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

/// The two threads that settle and the two for claims; they end when every [`Settlements`] is gone
/// and the queue is empty.
#[derive(Debug)]
pub struct Threads {
    threads: [JoinHandle<()>; 4],
    stage: Arc<Stage<Committer>>,
}

impl Threads {
    /// Waits for the last batch and gives the committer back.
    ///
    /// # Panics
    /// Never: if one of the threads panicked, the process has left.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a thread that panicked has left the process"
    )]
    pub fn join(self) -> Committer {
        for thread in self.threads {
            thread.join().expect("a settling thread does not panic");
        }
        let stage = Arc::into_inner(self.stage).expect("the threads have ended");
        stage.into_inner()
    }
}

/// Starts the settlement over `books`; `hub` hears of every movement of money.
///
/// # Errors
/// If the system gives no threads.
pub fn start(books: Books, hub: Arc<Hub>) -> std::io::Result<(Settlements, Threads)> {
    let committer = Committer::new(books, hub);
    let (durable, due) = (Arc::clone(&committer.durable), committer.due());
    let counts = committer.counts.clone();
    let (queue, lines) = (Arc::new(Queue::default()), Arc::new(Lines::default()));
    let stage = Arc::new(Stage::new(committer));
    let entrance = Arc::new(Entrance {
        queue: Arc::clone(&queue),
        lines: Arc::clone(&lines),
    });
    let spawn = |name: &str| {
        let (queue, stage) = (Arc::clone(&queue), Arc::clone(&stage));
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || stage::whole_or_leave(|| run(&queue, &stage)))
    };
    let (one, two) = (spawn("settle-1")?, spawn("settle-2")?);
    let (hasher, hashes) = Hasher::start()?;
    let claims = std::thread::Builder::new()
        .name("claims".into())
        .spawn(move || stage::whole_or_leave(|| hashing::run(&lines, &queue, &hasher)))?;
    let settlements = Settlements {
        entrance,
        durable,
        counts,
        due,
    };
    let threads = [one, two, claims, hashes];
    Ok((settlements, Threads { threads, stage }))
}

fn run(queue: &Queue, stage: &Stage<Committer>) {
    while let Some(batch) = queue.take() {
        let number = batch.number;
        let checked = check::check_batch(queue, batch);
        let mut conduct = Vec::new();
        stage.turn(number, |committer| conduct = committer.commit(checked));
        queue.learn(conduct);
        queue.done();
    }
}
