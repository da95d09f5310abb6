//! What one account may take up at once, whatever its sessions, and all accounts together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quid_common::key::PublicKey;
use tokio::sync::watch;

use crate::sentry::SHARE;
use crate::session::STREAMS_MAX;
use crate::settle_stream::IN_FLIGHT_MAX;
use crate::shares::{Share, Shares};

/// Most sessions of one account at once. A node needs one, a moment's second after a change of
/// network, and one for each command that runs without it. The next is turned away rather than an
/// old one closed: nothing that runs is disturbed by a script that logs in without end.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 32;

/// Most orders, voids and wishes about tabs of one account whose answers are not written yet, whatever its sessions:
/// as many as one session may have. Some 24 MiB if none of the answers is read.
pub const IN_FLIGHT_PER_ACCOUNT_MAX: usize = 16 * 1024;
const _: () = assert!(IN_FLIGHT_PER_ACCOUNT_MAX == (STREAMS_MAX * IN_FLIGHT_MAX as u32) as usize);

/// The same of all accounts together; of what is free, one account may have an eighth. Some 150 MiB
/// if none of the answers is read.
pub const IN_FLIGHT_OF_ALL_MAX: usize = 96 * 1024;

/// Sessions of all accounts beyond the first of each; of what is free, one account may have an
/// eighth. So a few hundred accounts cannot take all connections there are.
pub const MORE_SESSIONS_MAX: usize = 2048;

/// Most sessions of a frozen account at once.
pub const SESSIONS_OF_FROZEN_MAX: usize = 2;

/// Most orders, voids and wishes about tabs of a frozen account whose answers are not written yet.
pub const IN_FLIGHT_OF_FROZEN_MAX: usize = 64;

/// All sessions, by account.
#[derive(Debug)]
pub struct Sessions {
    accounts: Mutex<HashMap<PublicKey, Account>>,
    more: Arc<Shares<PublicKey>>,
    in_flight: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Account {
    sessions: usize,
    in_flight: Arc<InFlight>,
    /// Whether its key was replaced.
    ended: watch::Sender<bool>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            accounts: Mutex::default(),
            more: Arc::new(Shares::new(MORE_SESSIONS_MAX, SHARE)),
            in_flight: Arc::default(),
        }
    }
}

impl Sessions {
    /// A place for one more session of `account`; `None` if it has as many as it may.
    #[must_use]
    pub fn enter(self: &Arc<Self>, account: PublicKey, is_frozen: bool) -> Option<Place> {
        let max = if is_frozen {
            SESSIONS_OF_FROZEN_MAX
        } else {
            SESSIONS_PER_ACCOUNT_MAX
        };
        let mut accounts = self.lock();
        let sessions = accounts.get(&account).map_or(0, |entry| entry.sessions);
        if sessions >= max {
            return None;
        }
        let more = match sessions {
            0 => None,
            _ => Some(self.more.take(account)?),
        };
        let entry = accounts.entry(account).or_insert_with(|| Account {
            sessions: 0,
            in_flight: Arc::new(InFlight {
                own: AtomicUsize::new(0),
                all: Arc::clone(&self.in_flight),
                doubtful: tokio::sync::Mutex::default(),
            }),
            ended: watch::Sender::default(),
        });
        entry.sessions += 1;
        Some(Place {
            in_flight: Arc::clone(&entry.in_flight),
            ended: entry.ended.subscribe(),
            sessions: Arc::clone(self),
            account,
            _more: more,
        })
    }

    /// How many sessions there are, and of how many accounts. Looks at each account.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let accounts = self.lock();
        let sessions = accounts.values().map(|account| account.sessions).sum();
        (sessions, accounts.len())
    }

    /// Ends the sessions that the key `account` has, because it was replaced.
    pub fn end(&self, account: &PublicKey) {
        if let Some(entry) = self.lock().get(account) {
            entry.ended.send_replace(true);
        }
    }

    fn leave(&self, account: &PublicKey) {
        let mut accounts = self.lock();
        if let Some(entry) = accounts.get_mut(account) {
            entry.sessions -= 1;
            if entry.sessions == 0 {
                accounts.remove(account);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Account>> {
        // Every change above leaves the map whole, also if a thread panicked elsewhere.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    sessions: Arc<Sessions>,
    account: PublicKey,
    in_flight: Arc<InFlight>,
    /// Held by all but the account's first.
    _more: Option<Share<PublicKey>>,
    ended: watch::Receiver<bool>,
}

impl Place {
    /// What of this account waits for its answers, on all its sessions.
    #[must_use]
    pub fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    /// Waits until the session must end, because its key was replaced since this place was taken.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender lives as long as this place.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.leave(&self.account);
    }
}

/// How many orders, voids and wishes about tabs of one account wait for their answers to be written.
#[derive(Debug, Default)]
pub struct InFlight {
    own: AtomicUsize,
    /// Those of all accounts.
    all: Arc<AtomicUsize>,
    doubtful: tokio::sync::Mutex<()>,
}

impl InFlight {
    /// Whether the account must wait before it submits more.
    #[must_use]
    pub fn is_full(&self, is_frozen: bool) -> bool {
        let own = self.own.load(Ordering::Relaxed);
        let free = IN_FLIGHT_OF_ALL_MAX.saturating_sub(self.all.load(Ordering::Relaxed));
        let max = if is_frozen {
            IN_FLIGHT_OF_FROZEN_MAX
        } else {
            IN_FLIGHT_PER_ACCOUNT_MAX
        };
        own >= max || own.saturating_mul(SHARE) >= free
    }

    /// Waits until no other stream of the account, which is distrusted, waits for its turn to submit.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.doubtful.lock().await
    }

    /// Counts so many more.
    pub fn add(&self, count: usize) {
        self.own.fetch_add(count, Ordering::Relaxed);
        self.all.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts so many less.
    pub fn sub(&self, count: usize) {
        self.own.fetch_sub(count, Ordering::Relaxed);
        self.all.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn an_account_has_so_many_sessions_and_no_more_until_one_ends() {
        let sessions = Arc::new(Sessions::default());
        let enter = |number| sessions.enter(account(number), false);
        let mut places: Vec<Place> = (0..SESSIONS_PER_ACCOUNT_MAX)
            .map(|_| enter(1).expect("there is room"))
            .collect();
        assert!(enter(1).is_none());
        let other = enter(2).expect("others have room of their own");
        drop(places.pop());
        places.push(enter(1).expect("one has gone"));
        assert!(enter(1).is_none());
        assert_eq!(sessions.count(), (SESSIONS_PER_ACCOUNT_MAX + 1, 2));
        drop((places, other));
        assert!(sessions.lock().is_empty());
    }

    #[tokio::test]
    async fn sessions_of_a_replaced_key_end_and_no_others() {
        let sessions = Arc::new(Sessions::default());
        let enter = |number| {
            sessions
                .enter(account(number), false)
                .expect("there is room")
        };
        let (one, two, other) = (enter(1), enter(1), enter(2));
        sessions.end(&account(1));
        sessions.end(&account(3));
        tokio::join!(one.ended(), two.ended());
        assert!(!*other.ended.borrow());
    }

    #[test]
    fn hundreds_of_accounts_leave_a_first_session_to_everybody() {
        let sessions = Arc::new(Sessions::default());
        let mut places = Vec::new();
        for number in 0..200 {
            let of = std::iter::from_fn(|| sessions.enter(account(number), false));
            places.extend(of);
        }
        assert!(places.len() <= 200 + MORE_SESSIONS_MAX, "{}", places.len());
        assert!(sessions.enter(account(201), false).is_some());
        drop(places);
        assert!(sessions.more.is_empty());
    }

    #[test]
    fn a_frozen_account_has_little_of_everything() {
        let sessions = Arc::new(Sessions::default());
        let places: Vec<Place> = std::iter::from_fn(|| sessions.enter(account(1), true)).collect();
        assert_eq!(places.len(), SESSIONS_OF_FROZEN_MAX);
        let in_flight = places.first().map(Place::in_flight).expect("there is room");
        in_flight.add(IN_FLIGHT_OF_FROZEN_MAX);
        assert!(in_flight.is_full(true) && !in_flight.is_full(false));
    }

    #[test]
    fn what_all_accounts_have_unread_together_is_bounded_and_a_newcomer_has_room() {
        let sessions = Arc::new(Sessions::default());
        let places: Vec<Place> = (0..200)
            .filter_map(|number| sessions.enter(account(number), false))
            .collect();
        let mut all = 0;
        // In turn, as many accounts would ask that are answered and read nothing.
        for _ in 0..1000 {
            for place in &places {
                let in_flight = place.in_flight();
                if !in_flight.is_full(false) {
                    in_flight.add(16);
                    all += 16;
                }
            }
        }
        assert!(all <= IN_FLIGHT_OF_ALL_MAX, "{all}");
        let newcomer = sessions.enter(account(201), false).expect("there is room");
        assert!(!newcomer.in_flight().is_full(false));
        let of_one = places
            .first()
            .map(Place::in_flight)
            .expect("there are many");
        assert!(of_one.is_full(false));
    }

    #[test]
    fn all_sessions_of_an_account_count_together() {
        let sessions = Arc::new(Sessions::default());
        let enter = || sessions.enter(account(1), false);
        let (one, two) = (enter(), enter());
        let of = |place: &Option<Place>| place.as_ref().expect("there is room").in_flight();
        let most = IN_FLIGHT_OF_ALL_MAX.div_ceil(SHARE + 1);
        assert!(most < IN_FLIGHT_PER_ACCOUNT_MAX);
        of(&one).add(most);
        assert!(of(&two).is_full(false));
        of(&two).sub(1);
        assert!(!of(&one).is_full(false));
    }
}
