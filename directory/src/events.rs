//! Who hears of which entry, and who wants to: the subscriptions of the sessions that are connected
//! now. And which accounts are frozen, which the sessions must know too.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use quid_common::entry::Fact;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use tokio::sync::mpsc;

use crate::sessions::Sessions;

/// Most movements that wait for one session; one that falls further behind is told to catch up
/// from the log instead.
pub const EVENTS_LEN_MAX: usize = 256;

/// Most movements that wait for all sessions together; past its part of what is free, a session is
/// told to catch up from the log instead. Some 100 MiB.
pub const EVENTS_OF_ALL_MAX: usize = 64 * 1024;

/// The part of the free room that one event stream's movements may be as many as. Small, since an
/// account may have hundreds of streams.
const EVENTS_SHARE: usize = 64;

/// Money came to an account or left it, or something happened to a tab of its.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The entry's number.
    pub index: u64,
    /// Its proof.
    pub receipt: Receipt,
    /// Who is on the other side.
    pub counterparty: Name,
}

/// The accounts that an entry concerns and that may ask for it: who pays first, then who receives.
///
/// A tab's payer that closes it does not say whom it paid; the books know while the tab is open.
#[must_use]
pub fn parties(fact: &Fact) -> [Option<PublicKey>; 2] {
    match fact {
        Fact::Payment(order) => [Some(order.statement().payer), Some(order.statement().payee)],
        Fact::Tab(terms) => [Some(terms.statement().payer), Some(terms.statement().payee)],
        Fact::Claim(claim) => [Some(claim.payer), Some(claim.payee)],
        Fact::Close(close) => {
            let close = close.statement();
            let payee = (close.by != close.payer).then_some(close.by);
            [Some(close.payer), payee]
        }
        Fact::Release(release) => [Some(release.payer), Some(release.payee)],
        Fact::Register(registration) => [Some(registration.statement().key), None],
        Fact::Issue(issue) => [Some(issue.statement().account), None],
        Fact::Freeze(freeze) => [Some(freeze.statement().account), None],
        Fact::Void(void) => [Some(void.statement().payer), None],
        Fact::Refusal(refusal) => [Some(refusal.payer), None],
        Fact::Rotation(rotation) => [Some(rotation.statement().key), None],
        Fact::Objection(objection) => [Some(objection.statement().key), None],
        Fact::Takeover(takeover) => [Some(takeover.statement().key), None],
        // Their signers are no accounts' keys, or need not be.
        Fact::Genesis(_) | Fact::Recovery(_) | Fact::Lock(_) => [None, None],
    }
}

/// Whether the entry is about a tab: both parties then hear of it, whoever's money it moved, because
/// that is how they follow their tabs.
#[must_use]
pub const fn is_of_tab(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Tab(_) | Fact::Claim(_) | Fact::Close(_) | Fact::Release(_)
    )
}

/// The subscriptions of all sessions, by account, and the sessions themselves, some of which end when
/// a key is replaced.
#[derive(Debug, Default)]
pub struct Hub {
    sessions: Arc<Sessions>,
    subscribers: Mutex<HashMap<PublicKey, Vec<mpsc::Sender<Moved>>>>,
    /// Movements that wait for a session.
    waiting: AtomicUsize,
    frozen: Mutex<HashSet<PublicKey>>,
}

impl Hub {
    /// Says that `account` is frozen now, or is not any more.
    pub fn freeze(&self, account: PublicKey, is_frozen: bool) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if is_frozen {
            frozen.insert(account);
        } else {
            frozen.remove(&account);
        }
    }

    /// Whether `account` is frozen.
    #[must_use]
    pub fn is_frozen(&self, account: &PublicKey) -> bool {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        frozen.contains(account)
    }

    /// Who has how many sessions.
    #[must_use]
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }

    /// Every movement on `account` from now on, until the subscription is dropped. The channel
    /// closes early when [`EVENTS_LEN_MAX`] movements wait: subscribe again and read the log.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, account: PublicKey) -> Subscription {
        let (sender, moved) = mpsc::channel(EVENTS_LEN_MAX);
        self.lock().entry(account).or_default().push(sender);
        Subscription {
            account,
            hub: Arc::downgrade(self),
            moved,
        }
    }

    /// Whether anybody listens for `account`, so that no receipt is made in vain.
    #[must_use]
    pub fn wants(&self, account: &PublicKey) -> bool {
        self.lock().contains_key(account)
    }

    /// Tells the sessions of `account`; never waits.
    pub fn moved(&self, account: &PublicKey, moved: &Moved) {
        let mut subscribers = self.lock();
        if let Some(sessions) = subscribers.get_mut(account) {
            sessions.retain(|session| self.send(session, moved));
            if sessions.is_empty() {
                subscribers.remove(account);
            }
        }
    }

    /// Lets `moved` wait for a session, if it has room for it.
    fn send(&self, session: &mpsc::Sender<Moved>, moved: &Moved) -> bool {
        let free = EVENTS_OF_ALL_MAX.saturating_sub(self.waiting.load(Ordering::Relaxed));
        let own = EVENTS_LEN_MAX.saturating_sub(session.capacity());
        if own.saturating_mul(EVENTS_SHARE) >= free {
            return false;
        }
        // Counted first: the session may take it at once.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = session.try_send(moved.clone()).is_ok();
        if !sent {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PublicKey, Vec<mpsc::Sender<Moved>>>> {
        // The map is whole between any two statements above, also after a panic elsewhere.
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's subscription; ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    account: PublicKey,
    hub: Weak<Hub>,
    moved: mpsc::Receiver<Moved>,
}

impl Subscription {
    /// The next movement; `None` if too many waited.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Moved> {
        let moved = self.moved.recv().await;
        if moved.is_some()
            && let Some(hub) = self.hub.upgrade()
        {
            hub.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        moved
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.moved.close();
        if let Some(hub) = self.hub.upgrade() {
            // Nothing is sent to a channel that is closed.
            let mut left = 0;
            while self.moved.try_recv().is_ok() {
                left += 1;
            }
            hub.waiting.fetch_sub(left, Ordering::Relaxed);
            let mut subscribers = hub.lock();
            if let Some(sessions) = subscribers.get_mut(&self.account) {
                sessions.retain(|session| !session.is_closed());
                if sessions.is_empty() {
                    subscribers.remove(&self.account);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quid_common::checkpoint::{Checkpoint, Head};
    use quid_common::id::LedgerId;
    use quid_common::key::SecretKey;

    use super::*;

    fn moved(index: u64) -> Moved {
        let key = SecretKey::from_seed(&[1; 32]);
        let checkpoint = Checkpoint::sign(
            LedgerId([0; 32]),
            Head {
                size: 1,
                root: [0; 32],
            },
            &key,
        );
        let receipt = Receipt {
            entry: Vec::new().into(),
            index,
            path: Vec::new().into(),
            checkpoint,
        };
        Moved {
            index,
            receipt,
            counterparty: Name::treasury(),
        }
    }

    #[tokio::test]
    async fn a_session_hears_its_own_account_until_it_leaves() {
        let hub = Arc::new(Hub::default());
        let (mine, other) = (
            PublicKey::from_bytes([1; 32]),
            PublicKey::from_bytes([2; 32]),
        );
        let mut subscription = hub.subscribe(mine);
        assert!(hub.wants(&mine) && !hub.wants(&other));
        hub.moved(&other, &moved(1));
        hub.moved(&mine, &moved(2));
        assert_eq!(subscription.next().await.map(|moved| moved.index), Some(2));
        drop(subscription);
        assert!(!hub.wants(&mine));
    }

    #[tokio::test]
    async fn what_waits_for_all_sessions_together_is_bounded_and_forgotten_with_them() {
        let hub = Arc::new(Hub::default());
        let mine = PublicKey::from_bytes([1; 32]);
        let streams: Vec<Subscription> = (0..1000).map(|_| hub.subscribe(mine)).collect();
        for index in 0..EVENTS_LEN_MAX as u64 {
            hub.moved(&mine, &moved(index));
        }
        let waiting = hub.waiting.load(Ordering::Relaxed);
        assert!(waiting <= EVENTS_OF_ALL_MAX, "{waiting}");
        let other = PublicKey::from_bytes([2; 32]);
        let mut newcomer = hub.subscribe(other);
        hub.moved(&other, &moved(1));
        assert_eq!(newcomer.next().await.map(|moved| moved.index), Some(1));
        drop(streams);
        assert_eq!(hub.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_session_that_falls_behind_is_cut_off_and_told() {
        let hub = Arc::new(Hub::default());
        let mine = PublicKey::from_bytes([1; 32]);
        let mut subscription = hub.subscribe(mine);
        for index in 0..=EVENTS_LEN_MAX as u64 {
            hub.moved(&mine, &moved(index));
        }
        assert!(!hub.wants(&mine));
        for index in 0..EVENTS_LEN_MAX as u64 {
            assert_eq!(
                subscription.next().await.map(|moved| moved.index),
                Some(index)
            );
        }
        assert!(subscription.next().await.is_none());
    }
}
