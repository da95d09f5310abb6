//! What happened to an account before: pages of history and the numbers of its entries, read off
//! the index on a thread that may block.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quid_common::entry::Entry;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::wire::{AskHistory, HistoryPage, PAGE_LEN_MAX};
use tracing::warn;

use self::line::line;
use crate::events::parties;
use crate::index::IndexReader;
use crate::settlement::{Answer, Ask, Settlements};
use crate::store::LogReader;
use crate::surroundings::Workers;

mod line;

/// Reads history; cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    files: Arc<Mutex<Files>>,
    treasury: PublicKey,
    workers: Workers,
}

#[derive(Debug)]
struct Files {
    index: IndexReader,
    log: LogReader,
}

impl History {
    /// Reads from `index` and `log`, which it keeps to itself; `treasury` is the directory's key.
    #[must_use]
    pub fn new(index: IndexReader, log: LogReader, treasury: PublicKey) -> Self {
        Self {
            files: Arc::new(Mutex::new(Files { index, log })),
            treasury,
            workers: Workers::Threads,
        }
    }

    /// The same history, read by `workers`.
    #[must_use]
    pub const fn read_by(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// The page of `account`'s history that `ask` wants, of the first `end` entries; `None` if the
    /// files cannot be read now.
    pub async fn page(
        &self,
        settlements: &Settlements,
        account: PublicKey,
        ask: &AskHistory,
        end: u64,
    ) -> Option<HistoryPage> {
        let limit = usize::from(ask.limit.clamp(1, PAGE_LEN_MAX));
        let before = Some(ask.before.map_or(end, |before| before.min(end)));
        let after = ask.after;
        let owner = owner(settlements, account).await?;
        let keys = owner.clone();
        let mut entries = self
            .blocking(move |files| {
                let numbers = files.index.history(&keys, before, after, limit + 1, end)?;
                numbers
                    .into_iter()
                    .map(|number| Ok((number, files.log.entry(number)?.bytes)))
                    .collect::<Result<Vec<_>, crate::index::IndexError>>()
            })
            .await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let moves: Vec<(u64, Entry)> = entries
            .into_iter()
            .filter_map(|(number, bytes)| Some((number, Entry::decode(&bytes).ok()?)))
            .collect();
        let names = self.names(settlements, &moves).await?;
        let name = |key: &PublicKey| names.get(key).cloned().unwrap_or_else(Name::treasury);
        let lines = moves
            .iter()
            .filter_map(|(number, entry)| line(*number, entry, &owner, &self.treasury, name))
            .collect();
        Some(HistoryPage { lines, more })
    }

    /// The numbers of the entries above `after` and below `end` that moved `account`'s money or
    /// concern its tabs, in order, at most one page of them; `None` if the files cannot be read now.
    pub async fn after(
        &self,
        settlements: &Settlements,
        account: PublicKey,
        after: u64,
        end: u64,
    ) -> Option<Vec<u64>> {
        let limit = usize::from(PAGE_LEN_MAX);
        let owner = owner(settlements, account).await?;
        self.blocking(move |files| files.index.concerning(&owner, after, limit, end))
            .await
    }

    async fn names(
        &self,
        settlements: &Settlements,
        moves: &[(u64, Entry)],
    ) -> Option<BTreeMap<PublicKey, Name>> {
        let mut keys: Vec<PublicKey> = moves
            .iter()
            .flat_map(|(_, entry)| parties(&entry.fact))
            .flatten()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        match settlements
            .ask(self.treasury, Ask::Names(keys.clone()))
            .await
        {
            Answer::Names(names) => Some(
                keys.into_iter()
                    .zip(names)
                    .filter_map(|(k, n)| Some((k, n?)))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// Runs `work` where it may wait for the disk; one at a time, since all share the files.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> Result<T, crate::index::IndexError> + Send + 'static,
    ) -> Option<T> {
        let files = Arc::clone(&self.files);
        let work = move || work(&mut files.lock().unwrap_or_else(PoisonError::into_inner));
        let done = match self.workers {
            Workers::Threads => tokio::task::spawn_blocking(work).await,
            Workers::Caller => Ok(work()),
        };
        match done {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                warn!(%error, "history cannot be read now");
                None
            }
            Err(error) => {
                warn!(%error, "history cannot be read now");
                None
            }
        }
    }
}

/// All the keys that the account of the key `account` has had, the first first: entries name it by
/// the one that it had then.
async fn owner(settlements: &Settlements, account: PublicKey) -> Option<Vec<PublicKey>> {
    match settlements.ask(account, Ask::AllKeys).await {
        Answer::AllKeys(keys) => Some(keys),
        _ => None,
    }
}
