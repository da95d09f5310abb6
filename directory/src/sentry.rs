//! Who is let in, and how often one may ask: the limits that all sessions share.
//!
//! When there is too much, strangers wait first, then the account or network that asks most.
//! Payments of members are never among what waits for these limits; they have the settlement's own
//! ([`crate::settlement`]). What was shed is counted in [`Sentry::shed`].

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

use crate::limits::{Admission, Limits};
use crate::network::Network;
use crate::rates::{Rate, Rates};
use crate::shares::{Share, Shares};
use crate::shed::{Cause, Shed};

/// Connections that have not logged in, handshakes included. One network has half of what is free.
/// Some 250 MiB when all are there, for the 10 s that a stranger has.
pub const STRANGERS_MAX: usize = 8192;

/// Strangers whose registration or login is being decided; the others wait for their turn. So a
/// crowd of them adds a fraction of a millisecond to a batch of payments.
pub const STRANGERS_ASKING_MAX: usize = 4;

/// Connections that do not take what is written to them, or are not read because too much of theirs
/// waits: each holds what its windows allow. One more is closed. 128 MiB.
pub const SLOW_MAX: usize = 512;

/// How long a write may wait before its connection counts as slow.
pub const SLOW_AFTER: Duration = Duration::from_millis(250);

/// Connections with the wide window of [`crate::session::RECEIVE_WINDOW`]; 128 MiB if all are full.
pub const WIDE_MAX: usize = 512;

/// While members pay, there is so much time from one handshake to the next, so that a crowd at the
/// door costs them an eighth of the socket thread at most.
pub const HANDSHAKE_GAP: Duration = Duration::from_millis(2);

/// Members count as paying for so long after they last submitted something.
pub const PAYING: Duration = Duration::from_millis(100);

/// Longest time that a question waits for its account's rate; then *busy*.
pub const QUESTION_WAIT_MAX: Duration = Duration::from_secs(5);

/// What distrusted accounts may submit in a second, all together, in signatures' worth of work; the
/// next is not read before there is room. A bad signature costs 33 us, an answer that must be found
/// again three times that, the longest claim a hundred times, and each may come on a stream of its
/// own.
pub const DOUBTFUL: Rate = Rate::per_second(1000);

/// What all accounts may ask in a second at their own rates. Each question costs the directory's one
/// thread of sockets some 20 us, so this leaves nine tenths of it to payments.
pub const QUESTIONS_AT_EASE: Rate = Rate::per_second(5000);

/// What one account may ask in a second while all together ask more than that.
pub const QUESTIONS_CROWDED: Rate = Rate::per_second(50);

/// How many times as much a question of a frozen account counts.
pub const FROZEN_COST: u32 = 10;

/// The limits that all sessions share.
#[derive(Debug)]
pub struct Sentry {
    /// What was shed.
    pub shed: Shed,
    admission: Admission,
    registrations: Rates,
    registrations_of_network: Rates,
    logins: Rates,
    questions: Rates,
    questions_at_ease: Rates,
    questions_crowded: Rates,
    openings: Rates,
    strangers: Arc<Shares<Network>>,
    slow: Arc<Shares<PublicKey>>,
    wide: Arc<Shares<PublicKey>>,
    asking: Semaphore,
    /// What of [`DOUBTFUL`] is used, for one at a time in the order in which they come.
    doubtful: Mutex<Rates>,
    begun: Instant,
    /// When members last submitted something, in milliseconds since it began.
    paid: AtomicU64,
}

impl Sentry {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            shed: Shed::default(),
            admission: limits.registration,
            registrations: Rates::new(limits.registrations),
            registrations_of_network: Rates::new(limits.registrations_per_network),
            logins: Rates::new(limits.logins),
            questions: Rates::new(limits.questions),
            // Without a limit of each there is none of all.
            questions_at_ease: Rates::new(match limits.questions {
                Rate::OFF => Rate::OFF,
                _ => QUESTIONS_AT_EASE,
            }),
            questions_crowded: Rates::new(QUESTIONS_CROWDED),
            openings: Rates::new(limits.tab_openings),
            strangers: Arc::new(Shares::new(STRANGERS_MAX, 1)),
            slow: Arc::new(Shares::new(SLOW_MAX, SHARE)),
            wide: Arc::new(Shares::new(WIDE_MAX, SHARE)),
            asking: Semaphore::new(STRANGERS_ASKING_MAX),
            doubtful: Mutex::new(Rates::new(DOUBTFUL)),
            begun: Instant::now(),
            paid: AtomicU64::new(0),
        }
    }

    /// A place among the strangers; `None` if the network has its share.
    #[must_use]
    pub fn stranger(&self, network: Network) -> Option<Share<Network>> {
        let place = self.strangers.take(network);
        if place.is_none() {
            self.shed.count(Cause::Strangers);
        }
        place
    }

    /// Waits for a stranger's turn to ask the settlement something.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.asking.acquire().await.ok()
    }

    /// Who may register.
    #[must_use]
    pub const fn admission(&self) -> Admission {
        self.admission
    }

    /// Whether somebody at `address` may try to register now.
    ///
    /// # Errors
    /// *Busy*: too many tries came from its network.
    pub fn try_registration(&self, address: IpAddr) -> Result<(), Reason> {
        let network = Network::of(address);
        self.allow(
            &self.registrations_of_network,
            &network,
            Cause::RegistrationsOfNetwork,
        )
    }

    /// Whether one more may register who was not invited.
    ///
    /// # Errors
    /// *Busy*: too many have.
    pub fn register(&self) -> Result<(), Reason> {
        self.allow(&self.registrations, &(), Cause::Registrations)
    }

    /// Whether `account` may log in now.
    ///
    /// # Errors
    /// *Busy*: it does so too often.
    pub fn log_in(&self, account: &PublicKey) -> Result<(), Reason> {
        self.allow(&self.logins, account, Cause::Logins)
    }

    /// Whether `account` may open a tab now.
    ///
    /// # Errors
    /// *Busy*: it opens too many.
    pub fn open_tab(&self, account: &PublicKey) -> Result<(), Reason> {
        self.allow(&self.openings, account, Cause::Openings)
    }

    /// Waits until `account` may ask something that costs as much as `cost` plain questions: at its
    /// own rate, and while all ask too much at the lower one that each has then. At once, if the
    /// operator wants no limit.
    ///
    /// # Errors
    /// *Busy*, after [`QUESTION_WAIT_MAX`].
    pub async fn question(&self, account: &PublicKey, cost: u32) -> Result<(), Reason> {
        let until = Instant::now() + QUESTION_WAIT_MAX;
        self.wait_for(&self.questions, account, cost, until).await?;
        if self.questions_at_ease.take(&(), cost).is_ok() {
            return Ok(());
        }
        let rates = &self.questions_crowded;
        self.wait_for(rates, account, cost, until).await
    }

    async fn wait_for(
        &self,
        rates: &Rates,
        account: &PublicKey,
        cost: u32,
        until: Instant,
    ) -> Result<(), Reason> {
        loop {
            let Err(wait) = rates.take(account, cost) else {
                return Ok(());
            };
            if Instant::now() + wait > until {
                self.shed.count(Cause::Questions);
                return Err(Reason::BUSY);
            }
            sleep(wait).await;
        }
    }

    /// Waits until a distrusted account may submit what is so much work ([`Ask::work`]).
    ///
    /// [`Ask::work`]: crate::settlement::Ask::work
    pub async fn doubtful(&self, work: u32) {
        self.shed.count(Cause::Distrusted);
        let rates = self.doubtful.lock().await;
        while let Err(wait) = rates.take(&(), work) {
            sleep(wait).await;
        }
    }

    /// A place among the slow connections of `account`; `None` if this one is to be closed.
    #[must_use]
    pub fn slow(&self, account: PublicKey) -> Option<Share<PublicKey>> {
        self.slow.take(account)
    }

    /// A place among the connections with a wide window, if there is one.
    #[must_use]
    pub fn wide(&self, account: PublicKey) -> Option<Share<PublicKey>> {
        self.wide.take(account)
    }

    /// Says that a member has submitted something now.
    pub fn pays(&self) {
        self.paid.store(self.millis(), Ordering::Relaxed);
    }

    /// How long the next handshake is to wait after the last.
    #[must_use]
    pub fn handshake_gap(&self) -> Duration {
        let paid = self.paid.load(Ordering::Relaxed);
        let since = self.millis().saturating_sub(paid);
        if paid > 0 && u128::from(since) < PAYING.as_millis() {
            HANDSHAKE_GAP
        } else {
            Duration::ZERO
        }
    }

    fn allow<T: std::hash::Hash>(
        &self,
        rates: &Rates,
        who: &T,
        cause: Cause,
    ) -> Result<(), Reason> {
        rates.take(who, 1).map_err(|_| {
            self.shed.count(cause);
            Reason::BUSY
        })
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The part of what is free that one account may have, of what all share: an eighth.
pub const SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_many_ask_too_much_each_is_slower_and_nobody_is_left_out() {
        let sentry = Sentry::new(&Limits::default());
        let account = |n: u8| PublicKey::from_bytes([n; 32]);
        let begun = Instant::now();
        for n in 0..50 {
            for _ in 0..100 {
                assert_eq!(sentry.question(&account(n), 1).await, Ok(()));
            }
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "at ease");
        for _ in 0..50 {
            assert_eq!(sentry.question(&account(1), 1).await, Ok(()));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "who asks seldom waits");
        assert_eq!(sentry.question(&account(1), 1).await, Ok(()));
        assert!(begun.elapsed() >= Duration::from_millis(19), "no limit");
        let asked = Instant::now();
        assert_eq!(sentry.question(&account(99), 50).await, Ok(()));
        assert_eq!(asked.elapsed(), Duration::ZERO, "a newcomer was left out");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_too_much_waits_and_then_is_told_busy() {
        let limits = Limits {
            questions: "10/s:10".parse().expect("a rate"),
            ..Limits::default()
        };
        let sentry = Sentry::new(&limits);
        let (alice, bob) = (
            PublicKey::from_bytes([1; 32]),
            PublicKey::from_bytes([2; 32]),
        );
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(sentry.question(&alice, 1).await, Ok(()));
        }
        let took = begun.elapsed();
        assert!((900..1200).contains(&took.as_millis()), "{took:?}");
        // A page as large as the burst takes its time, and leaves nothing to another that is to
        // come within the longest wait.
        assert_eq!(sentry.question(&alice, 10).await, Ok(()));
        let all = (0..8).map(|_| sentry.question(&alice, 10));
        let ended = futures_of(all).await;
        assert!(ended.contains(&Ok(())) && ended.contains(&Err(Reason::BUSY)));
        assert_eq!(sentry.question(&bob, 10).await, Ok(()));
        assert!(sentry.shed.of(Cause::Questions) > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_give_way_to_payments_and_to_nothing_else() {
        let sentry = Sentry::new(&Limits::default());
        assert_eq!(sentry.handshake_gap(), Duration::ZERO);
        tokio::time::advance(Duration::from_millis(5)).await;
        sentry.pays();
        assert_eq!(sentry.handshake_gap(), HANDSHAKE_GAP);
        tokio::time::advance(PAYING).await;
        assert_eq!(sentry.handshake_gap(), Duration::ZERO);
    }

    /// Runs futures beside each other, for as long as the slowest takes.
    async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut ended = Vec::new();
        std::future::poll_fn(|context| {
            all.retain_mut(|one| match one.as_mut().poll(context) {
                std::task::Poll::Ready(output) => {
                    ended.push(output);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if all.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        ended
    }
}
