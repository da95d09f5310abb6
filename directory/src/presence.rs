//! Presence: who is reachable now, and where. It begins when a listening session has logged in and
//! ends the moment its connection ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quid_common::id::InstanceId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::wire::Person;
use tokio::sync::broadcast;

/// Most changes that wait for one watcher; one that falls further behind starts over.
pub const CHANGES_LEN_MAX: usize = 1024;

/// Somebody came, moved or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Reachable, newly or at a new address.
    Online(Person),
    /// Not reachable any more.
    Offline {
        /// Who.
        name: Name,
        /// Their key.
        key: PublicKey,
    },
}

/// Everybody who is reachable.
#[derive(Debug)]
pub struct Presence {
    online: Mutex<Online>,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct Online {
    accounts: BTreeMap<Name, Account>,
    sessions_ever: u64,
}

#[derive(Debug)]
struct Account {
    key: PublicKey,
    /// Oldest first: the last is the one that payers are sent to.
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    instance: InstanceId,
    address: SocketAddr,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            online: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_LEN_MAX),
        }
    }
}

impl Presence {
    /// Makes `name` reachable at `address` for as long as the guard lives.
    #[must_use]
    pub fn enter(
        self: &Arc<Self>,
        name: Name,
        key: PublicKey,
        instance: InstanceId,
        address: SocketAddr,
    ) -> Guard {
        let mut online = self.lock();
        online.sessions_ever += 1;
        let number = online.sessions_ever;
        let account = online
            .accounts
            .entry(name.clone())
            .or_insert_with(|| Account {
                key,
                sessions: Vec::new(),
            });
        account.sessions.push(Session {
            number,
            instance,
            address,
        });
        // Sent under the lock, so that watchers see changes in the order in which they happened.
        let _ = self
            .changes
            .send(Change::Online(person(&name, key, address)));
        drop(online);
        Guard {
            presence: Arc::clone(self),
            name,
            number,
        }
    }

    /// Where payers are sent for `name`: its newest session.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<SocketAddr> {
        self.lock()
            .accounts
            .get(name)?
            .sessions
            .last()
            .map(|session| session.address)
    }

    /// At most `limit` people after `after`, by name, and whether there are more.
    #[must_use]
    pub fn page(&self, after: Option<&Name>, limit: usize) -> (Vec<Person>, bool) {
        let online = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut people = online.accounts.range::<Name, _>((start, Bound::Unbounded));
        let page = people.by_ref().take(limit).filter_map(|(name, account)| {
            let session = account.sessions.last()?;
            Some(person(name, account.key, session.address))
        });
        (page.collect(), people.next().is_some())
    }

    /// Every change from this moment on: with the pages that are read after it, nothing falls
    /// between.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Number of accounts online.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().accounts.len()
    }

    /// Whether nobody is online.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn leave(&self, name: &Name, number: u64) {
        let mut online = self.lock();
        let Some(account) = online.accounts.get_mut(name) else {
            return;
        };
        let key = account.key;
        let newest = account.sessions.last().map(|session| session.number);
        account.sessions.retain(|session| session.number != number);
        let change = match account.sessions.last() {
            // The next newest takes over only if it was the newest that went.
            Some(next) if newest == Some(number) => Change::Online(person(name, key, next.address)),
            Some(_) => return,
            None => {
                online.accounts.remove(name);
                Change::Offline {
                    name: name.clone(),
                    key,
                }
            }
        };
        let _ = self.changes.send(change);
    }

    fn lock(&self) -> MutexGuard<'_, Online> {
        // Every change above leaves the maps whole, also if a thread panicked elsewhere.
        self.online.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one session reachable; presence ends when this is dropped.
#[derive(Debug)]
pub struct Guard {
    presence: Arc<Presence>,
    name: Name,
    number: u64,
}

impl Guard {
    /// The instance that this session belongs to, while it is online.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        let online = self.presence.lock();
        let account = online.accounts.get(&self.name)?;
        let session = account
            .sessions
            .iter()
            .find(|session| session.number == self.number)?;
        Some(session.instance)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.presence.leave(&self.name, self.number);
    }
}

fn person(name: &Name, key: PublicKey, address: SocketAddr) -> Person {
    Person {
        name: name.clone(),
        key,
        address: address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a valid name")
    }

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const INSTANCE: InstanceId = InstanceId([0; 16]);

    #[test]
    fn presence_ends_with_its_own_session_and_the_next_newest_takes_over() {
        let presence = Arc::new(Presence::default());
        let mut changes = presence.watch();
        let first = presence.enter(name("alice"), key(1), INSTANCE, at(1));
        let second = presence.enter(name("alice"), key(1), INSTANCE, at(2));
        let third = presence.enter(name("alice"), key(1), INSTANCE, at(3));
        assert_eq!(presence.find(&name("alice")), Some(at(3)));
        drop(second);
        assert_eq!(presence.find(&name("alice")), Some(at(3)));
        drop(third);
        assert_eq!(presence.find(&name("alice")), Some(at(1)));
        drop(first);
        assert_eq!(presence.find(&name("alice")), None);
        assert!(presence.is_empty());
        let alice = |port| Change::Online(person(&name("alice"), key(1), at(port)));
        for expected in [alice(1), alice(2), alice(3), alice(1)] {
            assert_eq!(changes.try_recv(), Ok(expected));
        }
        let gone = Change::Offline {
            name: name("alice"),
            key: key(1),
        };
        assert_eq!(changes.try_recv(), Ok(gone));
    }

    #[test]
    fn ten_thousand_people_fit_into_pages_without_loss() {
        let presence = Arc::new(Presence::default());
        let guards: Vec<Guard> = (0..10_000_u16)
            .map(|at_port| {
                let name = name(&format!("node-{at_port}"));
                presence.enter(name, key(1), INSTANCE, at(at_port))
            })
            .collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = presence.page(after.as_ref(), 200);
            assert!(page.len() <= 200);
            after = page.last().map(|person| person.name.clone());
            seen.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(seen.len(), guards.len());
        assert!(seen.is_sorted_by_key(|person| person.name.clone()));
    }
}
