//! What one account may take up at once, whatever its sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quid_common::key::PublicKey;
use tokio::sync::watch;

use crate::session::STREAMS_MAX;
use crate::settle_stream::IN_FLIGHT_MAX;

/// Most sessions of one account at once. A node needs one, a moment's second after a change of
/// network, and one for each command that runs without it. The next is turned away rather than an
/// old one closed: nothing that runs is disturbed by a script that logs in without end.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 32;

/// Most orders, voids and wishes about tabs of one account whose answers are not written yet, whatever its sessions:
/// as many as one session may have. Some 24 MiB if none of the answers is read.
pub const IN_FLIGHT_PER_ACCOUNT_MAX: usize = 16 * 1024;
const _: () = assert!(IN_FLIGHT_PER_ACCOUNT_MAX == (STREAMS_MAX * IN_FLIGHT_MAX as u32) as usize);

/// All sessions, by account.
#[derive(Debug, Default)]
pub struct Sessions {
    accounts: Mutex<HashMap<PublicKey, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    sessions: usize,
    in_flight: Arc<InFlight>,
    /// Whether its key was replaced.
    ended: watch::Sender<bool>,
}

impl Sessions {
    /// A place for one more session of `account`; `None` if it has as many as it may.
    #[must_use]
    pub fn enter(self: &Arc<Self>, account: PublicKey) -> Option<Place> {
        let mut accounts = self.lock();
        let entry = accounts.entry(account).or_default();
        if entry.sessions >= SESSIONS_PER_ACCOUNT_MAX {
            return None;
        }
        entry.sessions += 1;
        Some(Place {
            in_flight: Arc::clone(&entry.in_flight),
            ended: entry.ended.subscribe(),
            sessions: Arc::clone(self),
            account,
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
pub struct InFlight(AtomicUsize);

impl InFlight {
    /// Whether the account must wait before it submits more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= IN_FLIGHT_PER_ACCOUNT_MAX
    }

    /// Counts so many more.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts so many less.
    pub fn sub(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
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
        let enter = |number| sessions.enter(account(number));
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
        let enter = |number| sessions.enter(account(number)).expect("there is room");
        let (one, two, other) = (enter(1), enter(1), enter(2));
        sessions.end(&account(1));
        sessions.end(&account(3));
        tokio::join!(one.ended(), two.ended());
        assert!(!*other.ended.borrow());
    }

    #[test]
    fn all_sessions_of_an_account_count_together() {
        let sessions = Arc::new(Sessions::default());
        let (one, two) = (sessions.enter(account(1)), sessions.enter(account(1)));
        let of = |place: &Option<Place>| place.as_ref().expect("there is room").in_flight();
        of(&one).add(IN_FLIGHT_PER_ACCOUNT_MAX);
        assert!(of(&two).is_full());
        of(&two).sub(1);
        assert!(!of(&one).is_full());
    }
}
