//! The lines of long claims, and the thread that hashes them.

use std::sync::Arc;

use quid_common::chain::{Chain, GAP_MAX, Link};
use quid_common::id::LedgerId;
use quid_common::key::SecretKey;
use quid_common::tab::Close;
use quid_common::time::LedgerTime;

use super::*;
use crate::settlement::{Outlet, Reply};

#[test]
fn long_claims_wait_here_and_what_follows_of_tabs_keeps_its_order() {
    let mut world = World::new();
    // Short ones and other jobs go past.
    let others = world.put(1, vec![short(1), Ask::Balance, close(1)]);
    assert_eq!(others, [0, 1, 2]);
    let others = world.put(1, vec![short(1), long(1), short(1), Ask::Balance, close(1)]);
    assert_eq!(others, [3, 6]);
    assert_eq!(
        world.put(2, vec![short(2), close(2)]),
        [8, 9],
        "another account's"
    );
    for number in [4, 5, 7] {
        assert!(
            world.put(1, vec![short(1)]).is_empty(),
            "it overtook {number}"
        );
        assert_eq!(world.take(), number);
    }
    for number in 10..13 {
        assert_eq!(world.take(), number);
    }
    assert_eq!(world.put(1, vec![short(1)]), [13]);
}

#[test]
fn accounts_take_turns_claim_by_claim() {
    let mut world = World::new();
    world.put(1, (0..100).map(|_| long(1)).collect());
    world.put(2, vec![long(2), long(2)]);
    let taken: Vec<u64> = (0..5).map(|_| world.take()).collect();
    assert_eq!(taken, [0, 100, 1, 101, 2]);
}

#[test]
fn past_its_bound_an_account_is_busy_and_nothing_goes_on_behind_a_refused_claim() {
    let mut world = World::new();
    world.put(1, (0..CLAIMS_PER_ACCOUNT_MAX).map(|_| long(1)).collect());
    assert!(world.busy().is_empty());
    let first = CLAIMS_PER_ACCOUNT_MAX as u64;
    let others = world.put(1, vec![long(1), Ask::Balance, short(1), close(1)]);
    assert_eq!(others, [first + 1]);
    assert_eq!(world.busy(), [first, first + 2, first + 3]);
    world.put(2, vec![long(2)]);
    assert!(world.busy().is_empty());
}

#[test]
fn however_many_claim_too_much_there_is_room_for_a_newcomer_and_the_lines_are_bounded() {
    let mut world = World::new();
    for greedy in 0..20 {
        world.put(
            greedy,
            (0..CLAIMS_PER_ACCOUNT_MAX).map(|_| long(1)).collect(),
        );
        world.busy();
    }
    let len = world.lines.state().len;
    assert!(len > CLAIMS_LEN_MAX / 2 && len < CLAIMS_LEN_MAX, "{len}");
    world.put(200, (0..8).map(|_| long(1)).collect());
    assert!(world.busy().is_empty());
}

#[test]
fn a_claim_counts_by_its_links() {
    let work = |index| claim(1, index).work();
    for (index, signatures) in [(1, 1), (511, 1), (512, 2), (GAP_MAX, 129)] {
        assert_eq!(work(index), signatures, "{index} links");
    }
}

#[test]
fn a_distrusted_account_has_one_claim_at_a_time_with_pauses_and_holds_up_nobody() {
    let mut world = World::new();
    world.put(1, (0..10).map(|_| long(1)).collect());
    world.put(2, (0..40).map(|_| long(2)).collect());
    world.queue.judge(&account(1), 0, 1);
    let mut taken = vec![world.take(), world.take()];
    assert!(taken.contains(&0), "{taken:?}");
    let begun = Instant::now();
    assert_eq!(world.busy(), (1..10).collect::<Vec<u64>>());
    world.put(1, vec![long(1), long(1)]);
    assert_eq!(world.busy(), [51]);
    // The others do not wait for it, nor it for all of them.
    taken.extend((0..40).map(|_| world.take()));
    taken.sort_unstable();
    let all = [0].into_iter().chain(10..51);
    assert!(taken.into_iter().eq(all));
    world.put(1, vec![long(1)]);
    assert_eq!(world.take(), 52);
    assert!(begun.elapsed() >= DISTRUSTED_PAUSE, "no pause");
    assert!(world.lines.state().lines.is_empty());
}

#[test]
fn while_payments_wait_hashing_rests_after_each_claim() {
    let mut world = World::new();
    world.put(1, vec![long(1), long(1), long(1)]);
    let take = |world: &World| {
        world
            .lines
            .take(&world.queue)
            .expect("jobs wait")
            .reply
            .number
    };
    assert_eq!(take(&world), 0);
    // Half an hour's rest, if there were any.
    world.lines.done(u32::MAX, &world.queue);
    assert_eq!(take(&world), 1);
    let payments = (0..64).map(|_| Job {
        from: account(3),
        ask: Ask::Balance,
        reply: Reply::new(PROBE, &world.outlet),
    });
    assert!(world.queue.put(account(3), payments.collect()));
    world.lines.done(GAP_MAX, &world.queue);
    let begun = Instant::now();
    // Between two batches is a moment when nothing waits.
    let batch = world.queue.take().expect("it is open");
    world.queue.done();
    assert_eq!(batch.trusted.into_iter().map(number).count(), 64);
    assert_eq!(take(&world), 2);
    assert!(begun.elapsed() >= REST_PER_LINK * GAP_MAX, "no rest");
}

#[test]
fn closed_lines_answer_that_the_directory_stops() {
    let mut world = World::new();
    world.put(1, vec![long(1), close(1)]);
    world.lines.close();
    world.put(1, vec![long(1)]);
    assert!(world.lines.take(&world.queue).is_none());
    let stopping =
        |(_, answer): &(u64, Answer)| matches!(answer, Answer::Refused(Reason::STOPPING, None));
    let mut answers = world.outlet.take_now();
    answers.retain(|(number, _)| *number != PROBE);
    assert!(
        answers.len() == 3 && answers.iter().all(stopping),
        "{answers:?}"
    );
}

#[test]
fn the_thread_hashes_as_the_check_does_and_ends_with_its_hasher() {
    let (hasher, thread) = Hasher::start().expect("the system gives a thread");
    for number in [1, 2, 600, 70_000] {
        let mut chain = chain(number);
        let mut mark = |index| Mark {
            index,
            link: chain.link(index).expect("within the chain"),
        };
        let to = mark(number);
        let from = number.saturating_sub(65_536);
        let hashed = hasher.hash(tab(), from, to);
        assert_eq!(hashed, Hashed::new(&tab(), from, to));
        assert!(hashed.is_ok());
    }
    drop(hasher);
    thread.join().expect("it ends");
}

#[test]
#[cfg(target_os = "linux")]
fn the_hashing_thread_alone_gives_way() {
    let nice = || rustix::process::getpriority_process(None).expect("Linux says");
    let before = nice();
    std::thread::spawn(move || {
        give_way().expect("anybody may");
        assert_eq!(nice(), LOWEST);
    })
    .join()
    .expect("it gave way");
    assert_eq!(nice(), before);
}

/// The number of a job that tells nothing.
const PROBE: u64 = u64::MAX;

struct World {
    lines: Lines,
    queue: Queue,
    outlet: Arc<Outlet>,
    number: u64,
}

impl World {
    fn new() -> Self {
        Self {
            lines: Lines::default(),
            queue: Queue::default(),
            outlet: Arc::default(),
            number: 0,
        }
    }

    /// Puts jobs with the next numbers; those of them that go on to the queue.
    fn put(&mut self, from: u8, asks: Vec<Ask>) -> Vec<u64> {
        let jobs = asks.into_iter().map(|ask| {
            let reply = Reply::new(self.number, &self.outlet);
            self.number += 1;
            Job {
                from: account(from),
                ask,
                reply,
            }
        });
        let _ = self.lines.put(account(from), jobs.collect(), &self.queue);
        // The queue waits for a first job.
        let probe = Job {
            from: account(255),
            ask: Ask::Balance,
            reply: Reply::new(PROBE, &self.outlet),
        };
        assert!(self.queue.put(probe.from, vec![probe]));
        let taken = self.queue.take().expect("it is open");
        self.queue.done();
        let numbers = taken.trusted.into_iter().chain(taken.distrusted);
        let numbers = numbers.map(number).filter(|number| *number != PROBE);
        numbers.collect()
    }

    /// The number of the next job, done with at once.
    fn take(&self) -> u64 {
        let job = self.lines.take(&self.queue).expect("jobs wait");
        self.lines.done(SHORT_GAP_MAX, &self.queue);
        number(job)
    }

    /// The numbers of those that were told busy.
    fn busy(&self) -> Vec<u64> {
        let answers = self.outlet.take_now();
        let busy = |(number, answer)| match answer {
            Answer::Refused(Reason::BUSY, None) => Some(number),
            Answer::Released => None,
            other => panic!("another answer: {other:?}"),
        };
        answers.into_iter().filter_map(busy).collect()
    }
}

/// A job's number; it is answered with anything.
fn number(job: Job) -> u64 {
    let number = job.reply.number;
    job.reply.send(Answer::Released);
    number
}

fn account(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn tab() -> OrderId {
    OrderId::new(LedgerTime::from_millis(9), [9; 10])
}

fn chain(length: u32) -> Chain {
    Chain::new(tab(), length, Link([7; 32])).expect("within bounds")
}

fn short(payer: u8) -> Ask {
    claim(payer, SHORT_GAP_MAX)
}

fn long(payer: u8) -> Ask {
    claim(payer, SHORT_GAP_MAX + 1)
}

fn claim(payer: u8, index: u32) -> Ask {
    let to = Mark {
        index,
        link: Link([7; 32]),
    };
    Ask::Claim(account(payer), tab(), Links::shown(0, to).expect("sound"))
}

fn close(payer: u8) -> Ask {
    let key = SecretKey::from_seed(&[1; 32]);
    Ask::Close(Close::sign(LedgerId([0; 32]), account(payer), tab(), &key))
}
