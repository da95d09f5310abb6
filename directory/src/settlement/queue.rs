//! The queue in front of the settlement: bounded, and fair between accounts.
//!
//! Each account has a line of its own; batches are taken from all lines in turn. So a member that
//! sends more than its share waits for itself alone, and past its own bound is told *busy*. That
//! bound shrinks as the queue fills, so that there is room for a newcomer however many send too
//! much. An account under which a bad signature or claim came, or what was others' to submit, is
//! distrusted for a while: its jobs are few in a batch and checked apart, so that they cost the
//! others next to nothing. So is one that asks again and again for what was answered, since each
//! such answer is read off the disk, while it does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};

use prometheus_client::metrics::counter::Counter;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use tokio::sync::Notify;

use super::{Answer, BATCH_LEN_MAX, Conduct, Job, Waiting};

/// Jobs that wait or are at work when there is a crowd. Without load there are a few at most.
const CROWD_LEN: usize = 64;

/// Most jobs of all accounts that wait; beyond that a submitter is told *busy*. Some 20 MiB when
/// full, and one second's work of one core.
pub const QUEUE_LEN_MAX: usize = 32 * 1024;

/// Most jobs of one account that wait, whatever its sessions: twice what one settle stream may
/// have in flight. Less once the queue is half full: an eighth of the free room at most.
pub const ACCOUNT_LEN_MAX: usize = 2048;

/// The part of the free room that one account's waiting jobs may be as many as: an eighth. However
/// many ask without end, they come to rest where an eighth of what is free is as much as each has.
const SHARE: usize = 8;

/// Jobs that must wait for a batch to be begun while another is at work. Below it they gain more
/// from a larger batch, since every batch costs each node that it concerns a signature to verify.
const AHEAD_LEN: usize = 512;

/// Jobs taken from one line before it is the next one's turn.
const TURN_LEN: usize = 64;

/// Jobs taken from a distrusted line for one batch.
const DISTRUSTED_TURN_LEN: usize = 4;

/// Jobs of all distrusted accounts in one batch, at most. Checked one by one, they cost it some
/// 0.3 ms, which is what a payment that comes alone takes.
const DISTRUSTED_LEN_MAX: usize = 8;

/// What one bad signature costs in trust: so many good ones from the same account make up for it.
const DISTRUST: u32 = 64;

/// What an answer that had to be found again costs in trust, beside the good signature that it comes
/// with.
const REPEAT: u32 = 2;

/// The most that can be lost.
const DISTRUST_MAX: u32 = 16 * DISTRUST;

/// Most distrusted accounts without a job that are remembered; some 100 KiB.
const DISTRUSTED_MAX: usize = 1024;

/// Jobs on their way into a batch.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Woken as well, where no thread waits.
    due: OnceLock<Notify>,
    turned_away: Counter,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<PublicKey, Line>,
    /// Accounts whose lines have jobs, in the order of their turns.
    turns: VecDeque<PublicKey>,
    /// Distrusted accounts without a job, by when they came to rest; kept while there is room.
    idle: BTreeMap<u64, PublicKey>,
    /// Counts how often an account came to rest.
    rests: u64,
    /// Threads that wait for a batch.
    resting: Vec<Thread>,
    /// Whether one of them was woken and has not come yet.
    called: bool,
    len: usize,
    /// Those of distrusted accounts among them.
    distrusted: usize,
    taken: u64,
    /// Batches taken and not done with.
    at_work: usize,
    /// Jobs of the batch that was taken last.
    last_len: usize,
    closed: bool,
}

#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Job>,
    distrust: u32,
    /// Where it stands among the idle, if it does.
    idle: Option<u64>,
}

/// What is to be settled together.
#[derive(Debug)]
pub(super) struct Taken {
    /// Counts the batches: they are committed in this order.
    pub(super) number: u64,
    /// Of accounts that are trusted.
    pub(super) trusted: Vec<Job>,
    /// Of those that are not.
    pub(super) distrusted: Vec<Job>,
}

impl Queue {
    /// Queues what one account wants, in order. What there is no room for is answered *busy* at
    /// once; whether there was any.
    pub(super) fn put(&self, from: PublicKey, jobs: Vec<Job>) -> bool {
        let mut jobs = jobs.into_iter();
        let mut state = self.state();
        let refused = if state.closed {
            Reason::STOPPING
        } else {
            state.put(from, &mut jobs);
            Reason::BUSY
        };
        let due = state.is_due();
        let woken = state.call();
        drop(state);
        wake(woken);
        if due && let Some(due) = self.due.get() {
            due.notify_one();
        }
        let mut all = true;
        for job in jobs {
            all = false;
            self.turned_away.inc();
            job.reply.send(Answer::Refused(refused, None));
        }
        all
    }

    /// The next batch, waiting for its first job; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.state();
        while !state.is_due() {
            if state.closed && state.len == 0 {
                return None;
            }
            let own = thread::current();
            let id = own.id();
            state.resting.push(own);
            drop(state);
            thread::park();
            state = self.state();
            // Whoever woke it has taken it off, unless nobody did.
            state.resting.retain(|thread| thread.id() != id);
            state.called = false;
        }
        let taken = state.take();
        let woken = state.call();
        drop(state);
        wake(woken);
        Some(taken)
    }

    /// The next batch, if it is time for one.
    pub(super) fn take_now(&self) -> Option<Taken> {
        let mut state = self.state();
        state.is_due().then(|| state.take())
    }

    /// Waits until [`Queue::take_now`] is worth trying. For one who waits.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn due(&self) {
        self.due.get_or_init(Notify::new).notified().await;
    }

    /// Says that a batch that was taken is done with. Wakes nobody: whoever says so comes for the next.
    pub(super) fn done(&self) {
        let mut state = self.state();
        state.at_work = state.at_work.saturating_sub(1);
        if state.closed {
            state.wake_all();
        }
    }

    /// Lets `account` be distrusted for another bad signature or claim, or trusted again for a good
    /// one.
    pub(super) fn judge(&self, account: &PublicKey, good: u32, bad: u32) {
        self.state().judge(account, good, bad);
    }

    /// Hears how those of a batch behaved.
    pub(super) fn learn(&self, conduct: Vec<(PublicKey, Conduct)>) {
        for (from, conduct) in conduct {
            match conduct {
                Conduct::Claimed(good) => self.judge(&from, u32::from(good), u32::from(!good)),
                Conduct::Repeated => self.repeats(&from, 1),
                Conduct::Intruded => self.judge(&from, 0, 1),
            }
        }
    }

    /// Takes a little trust from `account`, which was answered `times` with what it had been told
    /// before.
    fn repeats(&self, account: &PublicKey, times: u32) {
        self.state().weigh(account, 0, times.saturating_mul(REPEAT));
    }

    /// Whether `account` is distrusted now.
    pub(super) fn distrusts(&self, account: &PublicKey) -> bool {
        let state = self.state();
        let line = state.lines.get(account);
        line.is_some_and(|line| line.distrust > 0)
    }

    /// Whether there is so much to settle that whatever else the machine does is felt. The last batch
    /// counts also once it is settled: there are moments between two.
    pub(super) fn is_crowded(&self) -> bool {
        let state = self.state();
        state.len + state.last_len >= CROWD_LEN
    }

    /// Says how much waits here.
    pub(super) fn survey(&self, waiting: &mut Waiting) {
        let state = self.state();
        let distrusted = state.lines.values().filter(|line| line.distrust > 0);
        waiting.distrusted = distrusted.map(|line| line.jobs.len()).sum();
        waiting.trusted = state.len.saturating_sub(waiting.distrusted);
        waiting.turned_away = self.turned_away.get();
    }

    /// No job is taken in any more; those that wait are still settled.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether it is time for the next batch: nothing is at work, or enough that is trusted waits
    /// already for a batch of its own.
    const fn is_due(&self) -> bool {
        if self.at_work == 0 {
            self.len > 0
        } else {
            self.len - self.distrusted >= AHEAD_LEN
        }
    }

    /// The thread to wake, if it is time for a batch and none is on its way: the last that came to
    /// rest, since what it works with is still in its processor's cache.
    fn call(&mut self) -> Option<Thread> {
        if self.called || !self.is_due() {
            return None;
        }
        let woken = self.resting.pop();
        self.called = woken.is_some();
        woken
    }

    fn wake_all(&mut self) {
        wake(self.resting.drain(..));
    }

    /// Takes as many of `jobs` as there is room for.
    fn put(&mut self, from: PublicKey, jobs: &mut impl Iterator<Item = Job>) {
        let free = QUEUE_LEN_MAX.saturating_sub(self.len);
        let line = self.lines.entry(from).or_default();
        let before = line.jobs.len();
        // After this many more it holds its share of what it leaves free.
        let share = free.saturating_sub(SHARE * before).div_ceil(SHARE + 1);
        let room = share.min(ACCOUNT_LEN_MAX.saturating_sub(before));
        line.jobs.extend(jobs.take(room));
        let added = line.jobs.len() - before;
        self.len += added;
        if line.distrust > 0 {
            self.distrusted += added;
        }
        if before == 0 && added > 0 {
            if let Some(place) = line.idle.take() {
                self.idle.remove(&place);
            }
            self.turns.push_back(from);
        } else if before == 0 && line.distrust == 0 {
            self.lines.remove(&from);
        }
    }

    fn take(&mut self) -> Taken {
        let mut taken = Taken {
            number: self.taken,
            trusted: Vec::with_capacity(self.len.min(BATCH_LEN_MAX)),
            distrusted: Vec::new(),
        };
        self.taken += 1;
        self.at_work += 1;
        // Distrusted accounts with jobs left: those that had their turn, and those without one.
        let (mut served, mut passed) = (Vec::new(), Vec::new());
        while taken.trusted.len() < BATCH_LEN_MAX
            && let Some(account) = self.turns.pop_front()
        {
            let Some(line) = self.lines.get_mut(&account) else {
                continue;
            };
            let (into, turn) = if line.distrust > 0 {
                let room = DISTRUSTED_LEN_MAX.saturating_sub(taken.distrusted.len());
                (&mut taken.distrusted, DISTRUSTED_TURN_LEN.min(room))
            } else {
                (&mut taken.trusted, TURN_LEN)
            };
            let turn = turn.min(line.jobs.len());
            into.extend(line.jobs.drain(..turn));
            self.len -= turn;
            if line.distrust > 0 {
                self.distrusted -= turn;
            }
            match (line.jobs.is_empty(), line.distrust > 0) {
                (true, false) => drop(self.lines.remove(&account)),
                (true, true) => self.rest(account),
                (false, true) if turn == 0 => passed.push(account),
                // Its turn in this batch is over.
                (false, true) => served.push(account),
                (false, false) => self.turns.push_back(account),
            }
        }
        self.turns.extend(served);
        for account in passed.into_iter().rev() {
            self.turns.push_front(account);
        }
        self.last_len = taken.trusted.len() + taken.distrusted.len();
        taken
    }

    fn judge(&mut self, account: &PublicKey, good: u32, bad: u32) {
        self.weigh(account, good, bad.saturating_mul(DISTRUST));
    }

    /// Lets `account` have so much trust back, and then takes so much.
    fn weigh(&mut self, account: &PublicKey, back: u32, lost: u32) {
        if lost == 0 && !self.lines.contains_key(account) {
            return;
        }
        let line = self.lines.entry(*account).or_default();
        let before = line.distrust;
        line.distrust = before
            .saturating_sub(back)
            .saturating_add(lost)
            .min(DISTRUST_MAX);
        match (before > 0, line.distrust > 0) {
            (false, true) => self.distrusted += line.jobs.len(),
            (true, false) => self.distrusted -= line.jobs.len(),
            _ => {}
        }
        if !line.jobs.is_empty() {
            return;
        }
        if line.distrust == 0 {
            if let Some(place) = line.idle {
                self.idle.remove(&place);
            }
            self.lines.remove(account);
        } else {
            self.rest(*account);
        }
    }

    /// Keeps a distrusted line without jobs in mind, and forgets the one that has rested longest
    /// when there are too many.
    fn rest(&mut self, account: PublicKey) {
        let Some(line) = self.lines.get_mut(&account) else {
            return;
        };
        self.rests += 1;
        if let Some(before) = line.idle.replace(self.rests) {
            self.idle.remove(&before);
        }
        self.idle.insert(self.rests, account);
        if self.idle.len() > DISTRUSTED_MAX
            && let Some((_, oldest)) = self.idle.pop_first()
        {
            self.lines.remove(&oldest);
        }
    }
}

fn wake(threads: impl IntoIterator<Item = Thread>) {
    threads.into_iter().for_each(|thread| thread.unpark());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settlement::{Ask, Outlet, Reply};

    fn account(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn put(queue: &Queue, from: u8, count: usize, outlet: &Arc<Outlet>) -> bool {
        let job = |number| Job {
            from: account(from),
            ask: Ask::Balance,
            reply: Reply::new(number, outlet),
        };
        queue.put(account(from), (0..count as u64).map(job).collect())
    }

    /// A batch, done with at once.
    fn take(queue: &Queue) -> Taken {
        let taken = queue.take().expect("jobs wait");
        queue.done();
        taken
    }

    fn count(jobs: &[Job], from: u8) -> usize {
        jobs.iter().filter(|job| job.from == account(from)).count()
    }

    #[test]
    fn one_who_asks_much_waits_for_itself_alone() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        assert!(put(&queue, 1, ACCOUNT_LEN_MAX, &outlet));
        assert!(put(&queue, 2, 10, &outlet));
        let taken = queue.take().expect("it is open");
        assert_eq!(count(&taken.trusted, 2), 10);
        assert!((BATCH_LEN_MAX..BATCH_LEN_MAX + TURN_LEN).contains(&taken.trusted.len()));
    }

    #[test]
    fn a_batch_is_begun_beside_another_once_it_is_worth_it() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        assert!(put(&queue, 1, 1, &outlet));
        assert!(queue.state().is_due(), "nothing is at work");
        assert_eq!(queue.take().map(|taken| taken.number), Some(0));
        assert!(put(&queue, 1, AHEAD_LEN - 1, &outlet));
        assert!(!queue.state().is_due());
        assert!(put(&queue, 2, 1, &outlet));
        assert!(queue.state().is_due());
        assert_eq!(queue.take().map(|taken| taken.number), Some(1));
        assert!(put(&queue, 2, 1, &outlet));
        queue.done();
        assert!(!queue.state().is_due());
        queue.done();
        assert!(queue.state().is_due());
    }

    #[test]
    fn past_its_bound_an_account_is_busy_and_others_are_not() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        assert!(!put(&queue, 1, ACCOUNT_LEN_MAX + 3, &outlet));
        assert_eq!(outlet.take_now().len(), 3);
        assert!(put(&queue, 2, 1, &outlet));
    }

    #[test]
    fn however_many_ask_too_much_there_is_room_for_a_newcomer_and_the_queue_is_bounded() {
        let (queue, outlet) = (Queue::default(), Arc::<Outlet>::default());
        for round in 0..100 {
            if round > 0 {
                drop((take(&queue), outlet.take_now()));
            }
            for greedy in 0..20 {
                let _ = put(&queue, greedy, 256, &outlet);
            }
        }
        let len = queue.state().len;
        assert!(len > QUEUE_LEN_MAX / 2, "{len}");
        assert!(put(&queue, 200, 256, &outlet));
        for newcomer in 0..u32::MAX {
            let mut key = [0xff; 32];
            key[..4].copy_from_slice(&newcomer.to_be_bytes());
            let from = PublicKey::from_bytes(key);
            let reply = Reply::new(0, &outlet);
            let ask = Ask::Balance;
            if !queue.put(from, vec![Job { from, ask, reply }]) {
                break;
            }
        }
        assert_eq!(queue.state().len, QUEUE_LEN_MAX);
    }

    #[test]
    fn a_distrusted_account_has_few_jobs_apart_until_it_has_made_up_for_it() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        queue.judge(&account(1), 0, 1);
        assert!(put(&queue, 1, 100, &outlet));
        assert!(put(&queue, 2, 100, &outlet));
        for _ in 0..DISTRUST as usize / DISTRUSTED_TURN_LEN {
            let taken = take(&queue);
            assert_eq!(taken.distrusted.len(), DISTRUSTED_TURN_LEN);
            assert_eq!(count(&taken.trusted, 1), 0);
            queue.judge(&account(1), DISTRUSTED_TURN_LEN as u32, 0);
        }
        let taken = queue.take().expect("jobs wait");
        assert_eq!(count(&taken.trusted, 1), 100 - DISTRUST as usize);
        assert!(queue.state().lines.is_empty());
    }

    #[test]
    fn what_is_distrusted_does_not_begin_a_batch_beside_another() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        for from in 0..20 {
            assert!(put(&queue, from, AHEAD_LEN, &outlet));
            queue.judge(&account(from), 0, 1);
        }
        assert_eq!(
            queue.take().map(|taken| taken.distrusted.len()),
            Some(DISTRUSTED_LEN_MAX)
        );
        assert!(!queue.state().is_due());
        assert!(put(&queue, 100, AHEAD_LEN, &outlet));
        assert!(queue.state().is_due());
        let taken = queue.take().expect("jobs wait");
        assert_eq!(count(&taken.trusted, 100), AHEAD_LEN);
        // Trusted again, they count again.
        for from in 0..20 {
            queue.judge(&account(from), DISTRUST, 0);
        }
        assert_eq!(queue.state().distrusted, 0);
        assert!(queue.state().is_due());
    }

    #[test]
    fn who_asks_again_for_what_was_answered_goes_slowly_while_it_does() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        // One repetition is made up for by the next order.
        queue.judge(&account(1), 1, 0);
        queue.repeats(&account(1), 1);
        assert!(queue.distrusts(&account(1)));
        queue.judge(&account(1), REPEAT, 0);
        assert!(!queue.distrusts(&account(1)));
        // Those of a flood are as good as their signatures, and gain nothing by it.
        for _ in 0..100 {
            queue.judge(&account(1), 64, 0);
            queue.repeats(&account(1), 64);
        }
        assert!(put(&queue, 1, 100, &outlet));
        assert_eq!(take(&queue).distrusted.len(), DISTRUSTED_TURN_LEN);
    }

    #[test]
    fn distrust_is_remembered_for_so_many_accounts_and_no_more() {
        let queue = Queue::default();
        for number in 0..2 * DISTRUSTED_MAX as u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            queue.judge(&PublicKey::from_bytes(key), 0, 1);
        }
        assert_eq!(queue.state().lines.len(), DISTRUSTED_MAX);
        assert_eq!(queue.state().idle.len(), DISTRUSTED_MAX);
    }

    #[test]
    fn an_account_that_rests_again_and_again_is_not_forgotten_for_it() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        queue.judge(&account(2), 0, 1);
        queue.judge(&account(1), 0, 1);
        for _ in 0..2 * DISTRUSTED_MAX {
            assert!(put(&queue, 1, 1, &outlet));
            let taken = take(&queue);
            assert_eq!(taken.distrusted.len(), 1, "it was forgiven");
            queue.judge(&account(1), 0, 1);
        }
        assert_eq!(queue.state().idle.len(), 2);
        assert!(queue.state().lines.contains_key(&account(2)));
    }

    #[test]
    fn distrusted_accounts_take_turns_among_themselves() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        let accounts = 1 + (DISTRUSTED_LEN_MAX / DISTRUSTED_TURN_LEN) as u8;
        for from in 0..accounts {
            queue.judge(&account(from), 0, 1);
            assert!(put(&queue, from, 100, &outlet));
        }
        let mut served = vec![0; usize::from(accounts)];
        for _ in 0..accounts {
            let taken = take(&queue);
            for (from, served) in (0..).zip(&mut served) {
                *served += count(&taken.distrusted, from);
            }
        }
        assert_eq!(served, vec![DISTRUSTED_LEN_MAX; usize::from(accounts)]);
    }

    #[test]
    fn jobs_that_come_alone_are_all_for_the_thread_that_rested_last() {
        let (queue, outlet) = (Arc::new(Queue::default()), Arc::default());
        let (took, taken) = std::sync::mpsc::channel();
        let threads = [0, 1].map(|number| {
            let (queue, took) = (Arc::clone(&queue), took.clone());
            thread::spawn(move || {
                while queue.take().is_some() {
                    took.send(number).expect("somebody counts");
                    queue.done();
                }
            })
        });
        let mut all = Vec::new();
        for _ in 0..50 {
            while queue.state().resting.len() < 2 {
                thread::yield_now();
            }
            assert!(put(&queue, 1, 1, &outlet));
            all.push(taken.recv().expect("a thread takes it"));
        }
        assert_eq!(all, vec![all[0]; 50]);
        queue.close();
        for thread in threads {
            thread.join().expect("it ends with the queue");
        }
    }

    #[test]
    fn a_closed_queue_takes_nothing_in_and_gives_the_rest() {
        let (queue, outlet) = (Queue::default(), Arc::default());
        assert!(put(&queue, 1, 2, &outlet));
        queue.close();
        assert!(!put(&queue, 1, 1, &outlet));
        assert_eq!(queue.take().map(|taken| taken.trusted.len()), Some(2));
        queue.done();
        assert!(queue.take().is_none());
    }
}
