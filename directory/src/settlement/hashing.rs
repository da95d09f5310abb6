//! Claims whose links take long to hash: they wait in lines of their own, beside the queue, and
//! come into it hashed.
//!
//! One claim may cost as much as a hundred signatures. So accounts take turns claim by claim, all
//! hashing is one thread's that gives way to every other and rests while many payments wait, and an
//! account whose claims turn out bad has one at a time, with pauses: the only clock here, on which
//! nothing depends that is decided.
//! What an account claims and closes stays in its order, also beside a long claim.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use quid_common::chain::Mark;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::tab::{self, Hashed};
use tokio::time::Instant;
use tracing::warn;

use super::queue::Queue;
use super::{Answer, Ask, Job, Waiting, stage};

/// Most links that are hashed among the signatures of a batch: about as much work as one of them.
/// A longer claim waits in a line.
pub const SHORT_GAP_MAX: u32 = 512;

/// Most jobs of all accounts in these lines; then *busy*. Some 8 MiB when full, and a minute's
/// work of one core.
pub const CLAIMS_LEN_MAX: usize = 16 * 1024;

/// Most jobs of one account in its line: as many as one settle stream may have in flight. Less once
/// much waits, as in the queue: an eighth of the free room at most.
pub const CLAIMS_PER_ACCOUNT_MAX: usize = 1024;

/// As in the queue.
const SHARE: usize = 8;

/// Least time between two claims of distrusted accounts: the longest take a thirtieth of a core. Even
/// at the lowest priority hashing is felt, where two cores share what they compute with.
const DISTRUSTED_PAUSE: Duration = Duration::from_millis(120);

/// Rest after a long claim while payments wait: hashing then takes a twentieth of a core at most. Low
/// priority alone would not do, since a thread may finish its slice of some milliseconds with a batch
/// of payments waiting behind it. A payment a link is still paid out a million times a second.
const REST_PER_LINK: Duration = Duration::from_micros(1);

/// The links of a claim, on their way to being hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// As the payee showed them: from the units claimed so far to its newest link.
    Shown(u32, Mark),
    /// Hashed.
    Hashed(Hashed),
}

impl Links {
    /// The links from unit `from` to `to`, not hashed yet.
    ///
    /// # Errors
    /// *Stale claim* or *gap too long*, which no link could mend.
    pub fn shown(from: u32, to: Mark) -> Result<Self, Reason> {
        tab::gap(from, to.index).map(|_| Self::Shown(from, to))
    }

    /// About how much work they are, in signatures.
    pub(super) fn work(&self) -> u32 {
        match self {
            Self::Shown(from, to) => {
                tab::gap(*from, to.index).map_or(1, |gap| 1 + gap / SHORT_GAP_MAX)
            }
            Self::Hashed(_) => 1,
        }
    }

    fn are_long(&self) -> bool {
        match self {
            Self::Shown(from, to) => tab::gap(*from, to.index).is_ok_and(|gap| gap > SHORT_GAP_MAX),
            Self::Hashed(_) => false,
        }
    }
}

/// Hashes what `ask` claims, whatever that takes, if it is a claim that is not hashed yet.
pub(super) fn hash(ask: &mut Ask) {
    hash_with(ask, |tab, from, to| Hashed::new(&tab, from, to));
}

fn hash_with(ask: &mut Ask, hash: impl FnOnce(OrderId, u32, Mark) -> Result<Hashed, Reason>) {
    if let Ask::Claim(_, id, links) = ask
        && let Links::Shown(from, to) = *links
    {
        match hash(*id, from, to) {
            Ok(hashed) => *links = Links::Hashed(hashed),
            Err(reason) => *ask = Ask::Malformed(reason),
        }
    }
}

/// The lines of all accounts.
#[derive(Debug, Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    wake: Condvar,
    turned_away: Counter,
    hashed: Counter,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<PublicKey, VecDeque<Job>>,
    /// Accounts whose lines have jobs, in the order of their turns.
    turns: VecDeque<PublicKey>,
    /// Those of them that are distrusted.
    late: VecDeque<PublicKey>,
    /// When the next of those may have its turn.
    late_from: Option<Instant>,
    /// Whose job is at work. Its line is kept meanwhile, so that nothing overtakes it.
    at_work: Option<PublicKey>,
    /// Until when the next is left waiting, since payments waited too when the last was done.
    rest_until: Option<Instant>,
    len: usize,
    closed: bool,
}

impl Lines {
    /// Takes in what of an account's `jobs` must wait here, and lets the others go on into `queue`.
    /// What there is no room for is answered *busy* at once; whether there was any.
    pub(super) fn put(&self, from: PublicKey, jobs: Vec<Job>, queue: &Queue) -> bool {
        if !jobs.iter().any(|job| is_of_a_tab(&job.ask)) {
            return queue.put(from, jobs);
        }
        let most = if queue.distrusts(&from) {
            1
        } else {
            CLAIMS_PER_ACCOUNT_MAX
        };
        let mut refused = Vec::new();
        let mut others = Vec::with_capacity(jobs.len());
        let mut state = self.state();
        for job in jobs {
            let waits = match &job.ask {
                Ask::Claim(_, _, links) => links.are_long() || state.is_before(&from),
                Ask::Close(_) => state.is_before(&from),
                _ => false,
            };
            // Behind a claim that found no room, nothing of a tab goes on.
            let stuck = is_of_a_tab(&job.ask) && !refused.is_empty();
            if !waits && !stuck {
                others.push(job);
            } else if !stuck && state.has_room(&from, most) {
                state.push(from, job);
            } else {
                refused.push(job);
            }
        }
        let reason = if state.closed {
            Reason::STOPPING
        } else {
            Reason::BUSY
        };
        // Before anything that came behind them can be taken from here.
        let all = queue.put(from, others) && refused.is_empty();
        drop(state);
        self.wake.notify_one();
        self.refuse(refused, reason);
        all
    }

    /// The next job whose links are to be hashed, or that waited behind such a one; `None` once the
    /// lines are closed. Say when it is [`Lines::done`].
    fn take(&self, queue: &Queue) -> Option<Job> {
        let mut refused = Vec::new();
        let mut state = self.state();
        let job = loop {
            if state.closed {
                break None;
            }
            let now = Instant::now();
            let rest = match state.rest_until {
                Some(until) if now < until => until.duration_since(now),
                _ => {
                    if let Some(job) = state.take(queue, now, &mut refused) {
                        break Some(job);
                    }
                    state.until_late(now)
                }
            };
            let waited = self.wake.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        self.refuse(refused, Reason::BUSY);
        job
    }

    /// The same without waiting: `None` if no job may be taken now.
    fn take_now(&self, queue: &Queue) -> Option<Job> {
        let mut refused = Vec::new();
        let job = self.state().take(queue, Instant::now(), &mut refused);
        self.refuse(refused, Reason::BUSY);
        job
    }

    /// Whether a job waits, though perhaps not for now.
    pub(super) fn any_waits(&self) -> bool {
        self.state().len > 0
    }

    /// Says that the job that was taken is in the queue, and how many links were hashed for it.
    fn done(&self, links: u32, queue: &Queue) {
        // Looked at once: between batches there is always a moment when nothing waits.
        let rests = queue.is_crowded();
        let mut state = self.state();
        state.rest_until = rests.then(|| Instant::now() + REST_PER_LINK * links);
        if let Some(account) = state.at_work.take() {
            if state.lines.get(&account).is_some_and(VecDeque::is_empty) {
                state.lines.remove(&account);
            } else {
                state.turns.push_back(account);
            }
        }
    }

    /// Nothing is taken in any more, and what waits is answered *stopping*: it has had no effect.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let lines = std::mem::take(&mut state.lines);
        drop(state);
        self.wake.notify_all();
        // Whoever drops a reply says so.
        drop(lines);
    }

    /// Says how much waits here.
    pub(super) fn survey(&self, waiting: &mut Waiting) {
        waiting.claims = self.state().len;
        waiting.claims_turned_away = self.turned_away.get();
        waiting.claims_hashed = self.hashed.get();
    }

    fn refuse(&self, jobs: Vec<Job>, reason: Reason) {
        for job in jobs {
            self.turned_away.inc();
            job.reply.send(Answer::Refused(reason, None));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether something of `account` is here.
    fn is_before(&self, account: &PublicKey) -> bool {
        self.lines.contains_key(account)
    }

    fn has_room(&self, account: &PublicKey, most: usize) -> bool {
        let before = self.lines.get(account).map_or(0, VecDeque::len);
        let free = CLAIMS_LEN_MAX.saturating_sub(self.len);
        !self.closed && before < most && SHARE * before < free
    }

    fn push(&mut self, account: PublicKey, job: Job) {
        let line = self.lines.entry(account).or_default();
        if line.is_empty() && self.at_work != Some(account) {
            self.turns.push_back(account);
        }
        line.push_back(job);
        self.len += 1;
    }

    /// The next job, if any waits. Lines of accounts that have come to be distrusted go to `refused`
    /// but for their first job.
    fn take(&mut self, queue: &Queue, now: Instant, refused: &mut Vec<Job>) -> Option<Job> {
        if let Some(job) = self.take_late(now) {
            return Some(job);
        }
        while let Some(account) = self.turns.pop_front() {
            if !queue.distrusts(&account) {
                return self.serve(account);
            }
            if let Some(line) = self.lines.get_mut(&account) {
                let before = refused.len();
                refused.extend(line.drain(line.len().min(1)..));
                self.len -= refused.len() - before;
            }
            self.late.push_back(account);
        }
        self.take_late(now)
    }

    /// The next job of a distrusted account, unless the last was just now.
    fn take_late(&mut self, now: Instant) -> Option<Job> {
        if self.late_from.is_some_and(|from| now < from) {
            return None;
        }
        let account = self.late.pop_front()?;
        self.late_from = Some(now + DISTRUSTED_PAUSE);
        self.serve(account)
    }

    /// How long no distrusted account has its turn.
    fn until_late(&self, now: Instant) -> Duration {
        match self.late_from {
            Some(from) if !self.late.is_empty() => from.saturating_duration_since(now),
            _ => FOREVER,
        }
    }

    fn serve(&mut self, account: PublicKey) -> Option<Job> {
        let job = self.lines.get_mut(&account)?.pop_front()?;
        self.len -= 1;
        self.at_work = Some(account);
        Some(job)
    }
}

fn is_of_a_tab(ask: &Ask) -> bool {
    matches!(ask, Ask::Claim(..) | Ask::Close(_))
}

/// Hashes what comes into `lines` and hands it to `queue`, until the lines are closed.
pub(super) fn run(lines: &Lines, queue: &Queue, hasher: &Hasher) {
    while let Some(mut job) = lines.take(queue) {
        let mut links = 0;
        hash_with(&mut job.ask, |tab, from, to| {
            links = to.index.saturating_sub(from);
            lines.hashed.inc();
            hasher.hash(tab, from, to)
        });
        let from = job.from;
        // Without room there it is answered *busy*.
        let _ = queue.put(from, vec![job]);
        lines.done(links, queue);
    }
}

/// Hashes the next job of `lines` here and hands it to `queue`; whether there was one.
pub(super) fn step(lines: &Lines, queue: &Queue) -> bool {
    let Some(mut job) = lines.take_now(queue) else {
        return false;
    };
    hash(&mut job.ask);
    let from = job.from;
    // Without room there it is answered *busy*.
    let _ = queue.put(from, vec![job]);
    // Whoever hashes here has held up the payments already.
    lines.done(0, queue);
    true
}

/// A thread that hashes and does nothing else. It holds no lock that anybody waits for, since it
/// may be left without a processor for long.
#[derive(Debug)]
pub(super) struct Hasher {
    work: SyncSender<(OrderId, u32, Mark)>,
    hashed: Receiver<Result<Hashed, Reason>>,
}

impl Hasher {
    /// Starts the thread, which ends when the [`Hasher`] is dropped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let (work, todo) = sync_channel(1);
        let (done, hashed) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("hash-claims".into())
            .spawn(move || stage::whole_or_leave(|| hash_all(&todo, &done)))?;
        Ok((Self { work, hashed }, thread))
    }

    fn hash(&self, tab: OrderId, from: u32, to: Mark) -> Result<Hashed, Reason> {
        let sent = self.work.send((tab, from, to)).is_ok();
        match self.hashed.recv() {
            Ok(hashed) if sent => hashed,
            // The thread ends with this alone, or the process with the thread.
            _ => Err(Reason::STOPPING),
        }
    }
}

fn hash_all(todo: &Receiver<(OrderId, u32, Mark)>, done: &SyncSender<Result<Hashed, Reason>>) {
    if let Err(error) = give_way() {
        warn!(%error, "claims are hashed at the priority of everything else");
    }
    while let Ok((tab, from, to)) = todo.recv() {
        if done.send(Hashed::new(&tab, from, to)).is_err() {
            return;
        }
    }
}

/// Lets this thread alone have the lowest priority. On systems other than Linux a process has but
/// one priority, which stays as it is.
fn give_way() -> rustix::io::Result<()> {
    if cfg!(target_os = "linux") {
        rustix::process::setpriority_process(None, LOWEST)
    } else {
        Ok(())
    }
}

const LOWEST: i32 = 19;

/// Until something is put in.
const FOREVER: Duration = Duration::MAX;

#[cfg(test)]
mod tests;
