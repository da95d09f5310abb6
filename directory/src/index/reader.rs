//! The reading side of the index: joins its file with the tail in memory and the log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use rusqlite::{Connection, OpenFlags, params};

use super::posting::{Posting, Which};
use super::{
    BOUNDS, Bounds, ENTRIES, GET_META, IndexError, Shared, condemn, number, openings, sql,
};
use crate::folder::Folder;
use crate::store::{LogReader, StoreError};

/// Finds entries by account and by order id, on one thread.
#[derive(Debug)]
pub struct IndexReader {
    connection: Connection,
    path: PathBuf,
    log: LogReader,
    bounds: Bounds,
    shared: Option<Arc<Shared>>,
}

/// Which of an account's entries are asked for.
#[derive(Clone, Copy, Debug)]
struct Range {
    which: Which,
    /// The lowest number wanted.
    from: u64,
    /// The first number above those wanted.
    to: u64,
    /// Most numbers wanted, and from which end of the range.
    limit: usize,
    newest_first: bool,
}

impl IndexReader {
    /// Opens the folder's index, without the tail that the directory has in memory: see
    /// [`super::Index::reader`] for that.
    ///
    /// # Errors
    /// [`IndexError`] names the file that cannot be used.
    pub fn open(folder: &Folder) -> Result<Self, IndexError> {
        Self::join(folder, BOUNDS, None)
    }

    pub(super) fn join(
        folder: &Folder,
        bounds: Bounds,
        shared: Option<Arc<Shared>>,
    ) -> Result<Self, IndexError> {
        let path = folder.index();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(sql("open", &path))?;
        connection
            .busy_timeout(BUSY_MAX)
            .map_err(sql("open", &path))?;
        Ok(Self {
            connection,
            path,
            log: LogReader::open(folder)?,
            bounds,
            shared,
        })
    }

    /// The entry that used `payer`'s order id: a payment, a void, a refusal or a tab. Looks only at the
    /// entries in the file, which are at least those below [`super::Index::through`].
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if the index names another entry than the log.
    pub fn find(&self, payer: &PublicKey, id: OrderId) -> Result<Option<u64>, IndexError> {
        let Some(entry) = openings::find(&self.connection, &self.path, payer, id)? else {
            return Ok(None);
        };
        self.verify(entry, |posting| match posting.id() {
            Some((of, used)) if used == id => Ok(of == *payer || self.is_same(&of, payer)?),
            _ => Ok(false),
        })?;
        Ok(Some(entry))
    }

    /// Whether the file has both keys for one account's.
    fn is_same(&self, one: &PublicKey, other: &PublicKey) -> Result<bool, IndexError> {
        let account = |key| openings::account(&self.connection, key);
        account(one)
            .and_then(|one| Ok(one.is_some() && one == account(other)?))
            .map_err(sql("read", &self.path))
    }

    /// The numbers of the entries among the first `end` that moved the money of the account that has,
    /// or had, the keys `owner`, the first of them first; newest first: those below `before` and above `after`, at most `limit`. `end` is the acknowledged length of the log.
    ///
    /// # Errors
    /// - [`IndexError::Behind`] while the index is being made: later it can tell.
    /// - [`IndexError::Damaged`] if the index names another entry than the log.
    pub fn history(
        &self,
        owner: &[PublicKey],
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
        end: u64,
    ) -> Result<Vec<u64>, IndexError> {
        let to = before.map_or(end, |before| before.min(end));
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.entries(
            owner,
            Range {
                which: Which::Moving,
                from,
                to,
                limit,
                newest_first: true,
            },
        )
    }

    /// The numbers of the entries among the first `end` and above `after` that moved `owner`'s
    /// money or concern its tabs, oldest first, at most `limit`.
    ///
    /// # Errors
    /// As for [`IndexReader::history`].
    pub fn concerning(
        &self,
        owner: &[PublicKey],
        after: u64,
        limit: usize,
        end: u64,
    ) -> Result<Vec<u64>, IndexError> {
        let from = after.saturating_add(1);
        self.entries(
            owner,
            Range {
                which: Which::Concerning,
                from,
                to: end,
                limit,
                newest_first: false,
            },
        )
    }

    fn entries(&self, owner: &[PublicKey], range: Range) -> Result<Vec<u64>, IndexError> {
        if range.from >= range.to || range.limit == 0 {
            return Ok(Vec::new());
        }
        // The tail first: what leaves it meanwhile is in the file by then.
        let tail = self.tail(owner, range);
        let mut found = Vec::new();
        let filed = |found: &mut Vec<u64>, below: Option<u64>| {
            self.filed(owner, range, below, found)
                .map_err(sql("read", &self.path))
        };
        if range.newest_first
            && let Some(tail) = &tail
        {
            found.extend(self.logged(owner, range, tail.end)?.into_iter().rev());
            found.extend(tail.entries.iter().rev());
            if found.len() < range.limit {
                filed(&mut found, Some(tail.start))?;
            }
        } else if range.newest_first {
            let position = filed(&mut found, None)?;
            found.splice(0..0, self.logged(owner, range, position)?.into_iter().rev());
        } else {
            let position = filed(&mut found, tail.as_ref().map(|tail| tail.start))?;
            if found.len() < range.limit {
                let tail_end = tail.as_ref().map_or(position, |tail| tail.end);
                found.extend(tail.iter().flat_map(|tail| &tail.entries));
                found.extend(self.logged(owner, range, tail_end)?);
            }
        }
        found.truncate(range.limit);
        for entry in &found {
            self.verify(*entry, |posting| {
                self.is_in(*entry, posting, range.which, owner)
            })?;
        }
        Ok(found)
    }

    /// The part of the answer in the tail.
    fn tail(&self, owner: &[PublicKey], range: Range) -> Option<Part> {
        let tail = self.shared.as_ref()?.tail();
        let numbered = (tail.start..).zip(&tail.postings);
        let entries = numbered
            .filter(|(entry, posting)| range.contains(*entry) && posting.is_in(range.which, owner))
            .map(|(entry, _)| entry)
            .collect();
        Some(Part {
            start: tail.start,
            end: tail.end(),
            entries,
        })
    }

    /// Adds the part of the answer in the file, as far as it is below entry `below`; tells how many
    /// entries are in the file.
    fn filed(
        &self,
        owner: &[PublicKey],
        range: Range,
        below: Option<u64>,
        found: &mut Vec<u64>,
    ) -> rusqlite::Result<u64> {
        // One view of the file for its position and its rows.
        let view = self.connection.unchecked_transaction()?;
        let position: i64 = view.query_row(GET_META, [ENTRIES], |row| row.get(0))?;
        let position = position.cast_unsigned();
        // By the first of them: the others may not be in the file yet.
        let first = owner.first().map(|key| openings::account(&view, key));
        let Some(account) = first.transpose()?.flatten() else {
            return Ok(position);
        };
        let to = range.to.min(below.unwrap_or(position));
        if range.from >= to {
            return Ok(position);
        }
        let span_len = self.bounds.span;
        let (first, last) = (range.from / span_len, (to - 1) / span_len);
        let mut select = view.prepare_cached(if range.newest_first { NEWEST } else { OLDEST })?;
        for step in 0..=last - first {
            let span = if range.newest_first {
                last - step
            } else {
                first + step
            };
            let room = range.limit - found.len();
            let row = params![
                number(span),
                account,
                number(range.from),
                number(to),
                number(room as u64),
                range.which == Which::Moving
            ];
            let entries = select.query_map(row, |row| row.get::<_, i64>(0))?;
            for entry in entries {
                found.push(entry?.cast_unsigned());
            }
            if found.len() >= range.limit {
                break;
            }
        }
        Ok(position)
    }

    /// The part of the answer in the log from entry `start` on, oldest first.
    fn logged(
        &self,
        owner: &[PublicKey],
        range: Range,
        start: u64,
    ) -> Result<Vec<u64>, IndexError> {
        let from = range.from.max(start);
        let entries = range.to.saturating_sub(from);
        if entries > self.bounds.behind {
            return Err(IndexError::Behind { entries });
        }
        // The payees of the tabs opened here, so that few are looked for elsewhere.
        let mut opened = HashMap::new();
        let (mut found, mut closed) = (Vec::new(), Vec::new());
        let concerning = range.which == Which::Concerning;
        self.log.scan(from, range.to, |entry, bytes| {
            let posting = Posting::read(&bytes.bytes);
            if posting.is_in(range.which, owner) {
                found.push(entry);
            }
            match posting {
                Posting::Opened { payer, payee, id } => drop(opened.insert((payer, id), payee)),
                Posting::Closed { payer, id } if concerning && !owner.contains(&payer) => {
                    match opened.get(&(payer, id)) {
                        Some(payee) if owner.contains(payee) => found.push(entry),
                        Some(_) => {}
                        None => closed.push((entry, posting)),
                    }
                }
                _ => {}
            }
            Ok::<_, StoreError>(())
        })?;
        for (entry, posting) in closed {
            if self.is_in(entry, &posting, range.which, owner)? {
                found.push(entry);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Whether `which` of `account`'s entries hold entry `entry`, which means `posting`.
    fn is_in(
        &self,
        entry: u64,
        posting: &Posting,
        which: Which,
        owner: &[PublicKey],
    ) -> Result<bool, IndexError> {
        match *posting {
            Posting::Closed { payer, id }
                if which == Which::Concerning && !owner.contains(&payer) =>
            {
                let payee = self.payee(&payer, id, entry)?;
                Ok(payee.is_some_and(|payee| owner.contains(&payee)))
            }
            _ => Ok(posting.is_in(which, owner)),
        }
    }

    /// The payee of `payer`'s tab `id`, opened before entry `before`.
    fn payee(
        &self,
        payer: &PublicKey,
        id: OrderId,
        before: u64,
    ) -> Result<Option<PublicKey>, IndexError> {
        // In the tail, then the file: what leaves the one meanwhile is in the other by then.
        let (end, opened) = match &self.shared {
            Some(shared) => {
                let tail = shared.tail();
                (tail.end(), tail.opened.get(&(*payer, id)).copied())
            }
            None => (self.position()?, None),
        };
        if opened.is_some() {
            return Ok(opened);
        }
        let filed = openings::filed(&self.connection, &self.path, &self.log, payer, id)?;
        if filed.is_some() {
            return Ok(filed);
        }
        Ok(openings::logged(&self.log, (end, before), payer, id)?)
    }

    /// How many entries are in the file.
    fn position(&self) -> Result<u64, IndexError> {
        let position: i64 = self
            .connection
            .query_row(GET_META, [ENTRIES], |row| row.get(0))
            .map_err(sql("read", &self.path))?;
        Ok(position.cast_unsigned())
    }

    /// That the log says of `entry` what the index says.
    fn verify(
        &self,
        entry: u64,
        agrees: impl Fn(&Posting) -> Result<bool, IndexError>,
    ) -> Result<(), IndexError> {
        match self.log.entry(entry) {
            Ok(logged) if agrees(&Posting::read(&logged.bytes))? => Ok(()),
            Ok(_) => Err(condemn(&self.path)),
            // The log has fewer entries than the index says: then the index is wrong.
            Err(StoreError::Entry { .. }) if self.log.len()? <= entry => Err(condemn(&self.path)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Range {
    const fn contains(&self, entry: u64) -> bool {
        self.from <= entry && entry < self.to
    }
}

/// What the tail holds of an answer.
struct Part {
    /// The tail's first entry.
    start: u64,
    /// The first entry after the tail.
    end: u64,
    entries: Vec<u64>,
}

/// How long a reader waits while the file is being opened by others.
const BUSY_MAX: std::time::Duration = std::time::Duration::from_secs(5);

const NEWEST: &str = "SELECT entry FROM history
    WHERE span = ?1 AND account = ?2 AND entry >= ?3 AND entry < ?4 AND moved >= ?6
    ORDER BY entry DESC LIMIT ?5";
const OLDEST: &str = "SELECT entry FROM history
    WHERE span = ?1 AND account = ?2 AND entry >= ?3 AND entry < ?4 AND moved >= ?6
    ORDER BY entry LIMIT ?5";
