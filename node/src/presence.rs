//! Who is online, as it changes.
//!
//! The network is always read; what the reader has not taken yet is kept by name, the newest state
//! of each only. So a slow reader costs memory for one state a person and never holds up the
//! connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use quid_common::frame::BODY_LEN_MAX;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::wire::{Message, Person, Subscribe};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backoff::Backoff;
use crate::directory::{Directory, Link};
use crate::stream::{Reader, StreamError, Writer};
use crate::tasks::Tasks;

/// Most people that are followed at once; of more, those who come later are left out.
const PEOPLE_MAX: usize = 200_000;

/// A change of who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody is online, newly, still, or at another address.
    Online(Person),
    /// Somebody has gone.
    Offline {
        /// Who.
        name: Name,
        /// Their key.
        key: PublicKey,
    },
}

/// Who is online: everybody first, then changes. A person who changes more often than this is read
/// appears with the newest state only.
#[derive(Debug)]
pub struct PresenceEvents {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl PresenceEvents {
    /// The next change; `None` once the node is closed or the directory is lost for good.
    ///
    /// # Cancel safety
    /// Safe: a change is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Presence> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut board = self.shared.lock();
                if let Some(change) = board.take() {
                    return Some(change);
                }
                if board.ended {
                    return None;
                }
            }
            changed.await;
        }
    }
}

/// Starts following who is online, on a stream of its own.
pub(crate) fn watch(directory: Arc<Directory>, tasks: &Tasks) -> PresenceEvents {
    let shared = Arc::new(Shared::default());
    let stop = CancellationToken::new();
    let (end, stopped) = (EndOnDrop(Arc::clone(&shared)), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = follow(&directory, &end.0) => {}
            () = stopped.cancelled() => {}
        }
    });
    PresenceEvents {
        shared,
        _stop: stop.drop_guard(),
    }
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However following ends, the reader is told.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

/// What is known, and what the reader does not know yet.
#[derive(Debug, Default)]
struct Board {
    online: BTreeMap<Name, Person>,
    /// Online when the last session ended, and not told again by this one so far.
    doubtful: BTreeMap<Name, PublicKey>,
    /// Changes not taken yet, and the order in which they came.
    pending: BTreeMap<Name, (u64, Presence)>,
    order: BTreeSet<(u64, Name)>,
    count: u64,
    ended: bool,
}

impl Board {
    /// A new session begins: everybody will be told again.
    fn begin(&mut self) {
        let online = self
            .online
            .values()
            .map(|person| (person.name.clone(), person.key));
        self.doubtful = online.collect();
    }

    fn online(&mut self, person: Person) {
        self.doubtful.remove(&person.name);
        let known = self.online.get(&person.name);
        if known == Some(&person) || (known.is_none() && self.online.len() >= PEOPLE_MAX) {
            return;
        }
        self.online.insert(person.name.clone(), person.clone());
        self.push(person.name.clone(), Presence::Online(person));
    }

    fn offline(&mut self, name: Name, key: PublicKey) {
        self.doubtful.remove(&name);
        if self.online.remove(&name).is_some() {
            self.push(name.clone(), Presence::Offline { name, key });
        }
    }

    /// Everybody has been told: who was not is gone.
    fn caught_up(&mut self) {
        for (name, key) in std::mem::take(&mut self.doubtful) {
            self.offline(name, key);
        }
    }

    fn push(&mut self, name: Name, change: Presence) {
        self.count += 1;
        if let Some((number, _)) = self.pending.insert(name.clone(), (self.count, change)) {
            self.order.remove(&(number, name.clone()));
        }
        self.order.insert((self.count, name));
    }

    fn take(&mut self) -> Option<Presence> {
        let (_, name) = self.order.pop_first()?;
        self.pending.remove(&name).map(|(_, change)| change)
    }
}

async fn follow(directory: &Directory, shared: &Shared) {
    let mut backoff = directory.home.backoff();
    while let Some(link) = directory.any_link().await {
        if let Err(error) = subscription(&link, shared, &mut backoff).await {
            tracing::debug!(%error, "presence ended; subscribing again");
        }
        backoff.wait().await;
    }
}

async fn subscription(
    link: &Link,
    shared: &Shared,
    backoff: &mut Backoff,
) -> Result<(), StreamError> {
    let (send, receive) = link.connection.open_bi().await?;
    let (mut writer, mut reader) = (Writer::new(send), Reader::new(receive, BODY_LEN_MAX));
    writer.queue(
        &Subscribe {
            after: None,
            presence: true,
        }
        .into(),
    );
    writer.flush().await?;
    shared.lock().begin();
    while let Some(message) = reader.next().await? {
        {
            let mut board = shared.lock();
            match message {
                Message::Online(online) => board.online(online.person),
                Message::Offline(offline) => board.offline(offline.name, offline.key),
                Message::CaughtUp(_) => {
                    board.caught_up();
                    backoff.reset();
                }
                // Money is not this stream's business.
                Message::Moved(_) => {}
                _ => return Ok(()),
            }
        }
        shared.changed.notify_one();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_the_newest_counts() {
        let mut board = Board::default();
        board.online(person("alice", 1));
        board.online(person("bob", 1));
        board.online(person("alice", 1));
        board.online(person("alice", 2));
        board.offline(name("bob"), person("bob", 1).key);
        assert_eq!(board.take(), Some(Presence::Online(person("alice", 2))));
        assert!(matches!(board.take(), Some(Presence::Offline { .. })));
        assert_eq!(board.take(), None);
    }

    #[test]
    fn who_is_not_told_again_by_the_next_session_is_gone() {
        let mut board = Board::default();
        for who in ["alice", "bob", "carol"] {
            board.online(person(who, 1));
        }
        while board.take().is_some() {}
        board.begin();
        board.online(person("alice", 1));
        board.online(person("carol", 2));
        board.caught_up();
        assert_eq!(board.take(), Some(Presence::Online(person("carol", 2))));
        let gone = Presence::Offline {
            name: name("bob"),
            key: person("bob", 1).key,
        };
        assert_eq!(board.take(), Some(gone));
        assert_eq!(board.take(), None);
    }

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn person(who: &str, port: u16) -> Person {
        let key = PublicKey::from_bytes([who.as_bytes()[0]; 32]);
        Person {
            name: name(who),
            key,
            address: format!("127.0.0.1:{port}"),
        }
    }
}
