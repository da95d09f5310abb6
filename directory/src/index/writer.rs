//! The writing side of the index: follows the log, writes in large sorted transactions, and knows
//! what of that is durable.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quid_common::id::{LedgerId, OrderId};
use quid_common::key::PublicKey;
use rusqlite::config::DbConfig;
use rusqlite::types::ToSql;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::breath::Breath;
use super::posting::{Moved, Posting};
use super::{
    ACCOUNT, APPLICATION_ID, ENTRIES, FORMAT, GET_META, IndexError, SCHEMA, Shared, condemn,
    number, openings, sql,
};
use crate::folder::{self, Folder, shown};
use crate::store::{LogReader, StoreError};

/// Most accounts whose numbers are remembered; for the others the index is asked, which takes some
/// 3 us. About 80 MiB when full.
const NUMBERS_MAX: usize = 1 << 20;

/// Memory for pages of the index: those of the newest span of history stay in it.
const CACHE_KIB: i64 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    shared: Arc<Shared>,
    /// Entries below this are in the file.
    written: u64,
    /// The leaf hash of the last of them: where another history would differ.
    tip: [u8; 32],
    /// The leaf hash of the last entry in the tail.
    next_tip: [u8; 32],
    accounts: u64,
    numbers: HashMap<PublicKey, u64>,
    /// Whether payments are settled meanwhile.
    aside: bool,
}

impl Writer {
    /// Opens the folder's index of `ledger`, or makes a new one if there is none that fits.
    pub(super) fn open(
        folder: &Folder,
        ledger: LedgerId,
        log: &LogReader,
        shared: Arc<Shared>,
    ) -> Result<Self, IndexError> {
        let path = folder.index();
        let found = match path.try_exists() {
            Ok(false) => None,
            _ => reopen(&path, ledger, log)?,
        };
        let (connection, position) = match found {
            Some(found) => found,
            None => {
                remove(&path)?;
                (
                    make(&path, ledger).map_err(sql("make", &path))?,
                    Position::default(),
                )
            }
        };
        let Position {
            written,
            tip,
            accounts,
        } = position;
        shared.tail().start = written;
        shared.state().followed = written;
        let numbers = HashMap::new();
        let next_tip = tip;
        let mut writer = Self {
            connection,
            path,
            shared,
            written,
            tip,
            next_tip,
            accounts,
            numbers,
            aside: false,
        };
        writer.checkpoint()?;
        Ok(writer)
    }

    /// From now on this is a thread's work, done beside that of the settlement.
    pub(super) const fn stand_aside(&mut self) {
        self.aside = true;
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Reads the log up to entry `len` into the tail, and writes the tail whenever it is full. Ends
    /// early when it is time to stop.
    pub(super) fn follow(&mut self, log: &LogReader, len: u64) -> Result<(), IndexError> {
        let bounds = self.shared.bounds;
        loop {
            let (from, room) = {
                let tail = self.shared.tail();
                let count = tail.postings.len();
                (tail.start + count as u64, bounds.tail.saturating_sub(count))
            };
            if room == 0 {
                self.write()?;
                if self.written - self.durable() >= bounds.checkpoint {
                    self.checkpoint()?;
                }
                continue;
            }
            let to = len.min(from + READ_LEN.min(room as u64));
            // Nobody waits for a long rebuild at the end: the next start goes on.
            if from >= to || (self.shared.state().stop && len - from > bounds.tail as u64) {
                return Ok(());
            }
            let mut read = Vec::with_capacity(room.min(READ_LEN as usize));
            let fed = self.shared.fed().take(from, room.min((to - from) as usize));
            if fed.is_empty() {
                log.scan(from, to, |_, entry| {
                    read.push(Posting::read(&entry.bytes));
                    self.next_tip = entry.leaf;
                    Ok::<_, StoreError>(())
                })?;
            }
            for (posting, leaf) in fed {
                read.push(posting);
                self.next_tip = leaf;
            }
            self.name_payees(log, &mut read)?;
            let followed = from + read.len() as u64;
            self.shared.tail().postings.extend(read);
            self.shared.state().followed = followed;
        }
    }

    /// Puts the payee into every close of a tab by its payer. One whose opening is not found, as in no
    /// log, concerns the payer alone.
    fn name_payees(&self, log: &LogReader, read: &mut [Posting]) -> Result<(), IndexError> {
        for posting in read {
            match *posting {
                Posting::Opened { payer, payee, id } => {
                    self.shared.tail().opened.insert((payer, id), payee);
                }
                Posting::Closed { payer, id } => {
                    let opened = self.shared.tail().opened.get(&(payer, id)).copied();
                    let payee = match opened {
                        Some(payee) => Some(payee),
                        None => openings::filed(&self.connection, &self.path, log, &payer, id)?,
                    };
                    *posting = Posting::Tab {
                        payer,
                        payee: payee.unwrap_or(payer),
                        moved: Moved::Neither,
                    };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the tail and makes all durable that is written.
    pub(super) fn write_durably(&mut self) -> Result<(), IndexError> {
        self.write()?;
        if self.is_durable() {
            Ok(())
        } else {
            self.checkpoint()
        }
    }

    /// Whether every entry read is durable in the index.
    pub(super) fn is_durable(&self) -> bool {
        self.durable() == self.written && self.shared.tail().postings.is_empty()
    }

    /// Writes the tail in one transaction.
    fn write(&mut self) -> Result<(), IndexError> {
        let postings: Vec<Posting> = self.shared.tail().postings.iter().copied().collect();
        if postings.is_empty() {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql("write", &self.path))?;
        let mut numbers = Numbers {
            known: &mut self.numbers,
            next: self.accounts,
        };
        let mut rows = Rows::new(self.shared.bounds.span);
        let mut breath = Breath::new(self.aside.then_some(&*self.shared), self.written);
        for (entry, posting) in (self.written..).zip(&postings) {
            breath.take();
            rows.add(entry, posting, &mut numbers, &transaction)
                .map_err(sql("write", &self.path))?
                .ok_or_else(|| condemn(&self.path))?;
        }
        let accounts = numbers.next;
        let written = self.written + postings.len() as u64;
        let position = Position {
            written,
            tip: self.next_tip,
            accounts,
        };
        rows.insert(&transaction, &mut breath)
            .and_then(|()| position.store(&transaction))
            .and_then(|()| transaction.commit())
            .map_err(sql("write", &self.path))?;
        Position {
            written: self.written,
            tip: self.tip,
            accounts: self.accounts,
        } = position;
        // Readers look into the tail before the file: what leaves the one is in the other.
        let mut tail = self.shared.tail();
        tail.postings.drain(..postings.len());
        tail.opened.clear();
        tail.start = self.written;
        Ok(())
    }

    /// Carries all that is written into the file and syncs it; then it is durable.
    fn checkpoint(&mut self) -> Result<(), IndexError> {
        let (in_wal, carried): (i64, i64) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })
            .map_err(sql("write", &self.path))?;
        // Otherwise somebody is reading the pages as they were; there will be another time.
        if in_wal == carried {
            self.shared.durable.store(self.written, Ordering::Release);
        }
        Ok(())
    }

    fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }
}

/// How far an index is.
#[derive(Clone, Copy, Default)]
struct Position {
    written: u64,
    tip: [u8; 32],
    accounts: u64,
}

impl Position {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let count = |key| -> rusqlite::Result<u64> {
            let value: i64 = connection.query_row(GET_META, [key], |row| row.get(0))?;
            Ok(value.cast_unsigned())
        };
        let tip = connection.query_row(GET_META, [TIP], |row| row.get(0))?;
        Ok(Self {
            written: count(ENTRIES)?,
            tip,
            accounts: count(ACCOUNTS)?,
        })
    }

    fn store(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut set = transaction.prepare_cached(SET_META)?;
        let (written, accounts) = (number(self.written), number(self.accounts));
        let values: [(&str, &dyn ToSql); 3] =
            [(ENTRIES, &written), (TIP, &self.tip), (ACCOUNTS, &accounts)];
        for (key, value) in values {
            set.execute(params![key, value])?;
        }
        Ok(())
    }
}

/// The numbers of accounts.
struct Numbers<'a> {
    known: &'a mut HashMap<PublicKey, u64>,
    /// The next newcomer's.
    next: u64,
}

impl Numbers<'_> {
    fn add(&mut self, key: PublicKey) -> u64 {
        let account = self.next;
        self.next += 1;
        self.remember(key, account);
        account
    }

    fn of(
        &mut self,
        key: &PublicKey,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Option<u64>> {
        if let Some(account) = self.known.get(key) {
            return Ok(Some(*account));
        }
        let mut find = transaction.prepare_cached(ACCOUNT)?;
        let found: Option<i64> = find
            .query_row([key.as_bytes()], |row| row.get(0))
            .optional()?;
        let found = found.map(i64::cast_unsigned);
        if let Some(account) = found {
            self.remember(*key, account);
        }
        Ok(found)
    }

    fn remember(&mut self, key: PublicKey, account: u64) {
        if self.known.len() >= NUMBERS_MAX {
            self.known.clear();
        }
        self.known.insert(key, account);
    }
}

/// The rows of one transaction.
struct Rows {
    span_len: u64,
    /// Span, account, entry, whether it moved the account's money.
    history: Vec<(u64, u64, u64, bool)>,
    /// Id, account, entry.
    ids: Vec<(OrderId, u64, u64)>,
}

impl Rows {
    const fn new(span_len: u64) -> Self {
        Self {
            span_len,
            history: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Notes what `posting`, of `entry`, adds; `None` if it names an account that does not exist.
    fn add(
        &mut self,
        entry: u64,
        posting: &Posting,
        numbers: &mut Numbers<'_>,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<Option<()>> {
        if let Posting::Account(key) = posting {
            let account = numbers.add(*key);
            let mut insert = transaction.prepare_cached(INSERT_ACCOUNT)?;
            insert.execute(params![key.as_bytes(), number(account)])?;
        }
        if let Posting::Key { account, key } = posting {
            numbers.remember(*key, *account);
            let mut insert = transaction.prepare_cached(INSERT_ACCOUNT)?;
            insert.execute(params![key.as_bytes(), number(*account)])?;
        }
        for (key, moved) in posting.parties().into_iter().flatten() {
            let Some(account) = numbers.of(&key, transaction)? else {
                return Ok(None);
            };
            let span = entry / self.span_len;
            self.history.push((span, account, entry, moved));
        }
        if let Some((payer, id)) = posting.id() {
            let Some(account) = numbers.of(&payer, transaction)? else {
                return Ok(None);
            };
            self.ids.push((id, account, entry));
        }
        Ok(Some(()))
    }

    fn insert(
        mut self,
        transaction: &Transaction<'_>,
        breath: &mut Breath<'_>,
    ) -> rusqlite::Result<()> {
        // In the order of the pages.
        self.history.sort_unstable();
        self.ids.sort_unstable();
        let mut insert = transaction.prepare_cached(INSERT_HISTORY)?;
        for (span, account, entry, moved) in self.history {
            breath.take();
            insert.execute(params![number(span), number(account), number(entry), moved])?;
        }
        let mut insert = transaction.prepare_cached(INSERT_ID)?;
        for (id, account, entry) in self.ids {
            breath.take();
            insert.execute(params![id.as_bytes(), number(account), number(entry)])?;
        }
        Ok(())
    }
}

/// Removes an index and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(folder::io("remove", &file)(error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The index at `path`, if it is one of `ledger` and agrees with its log.
fn reopen(
    path: &Path,
    ledger: LedgerId,
    log: &LogReader,
) -> Result<Option<(Connection, Position)>, IndexError> {
    let inspect = || {
        let connection = connect(path)?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let own = pragma("application_id")? == APPLICATION_ID && pragma("user_version")? == FORMAT;
        if !own {
            return Ok(None);
        }
        let of: [u8; 32] = connection.query_row(GET_META, [LEDGER], |row| row.get(0))?;
        let position = Position::load(&connection)?;
        Ok((of == ledger.0).then_some((connection, position)))
    };
    let why = match inspect() {
        Ok(Some((connection, position))) => {
            let last = position.written.checked_sub(1);
            if position.written > log.len()? {
                "it is ahead of the log"
            } else if last
                .map(|last| log.entry(last))
                .transpose()?
                .is_some_and(|last| last.leaf != position.tip)
            {
                "it is of another history"
            } else {
                return Ok(Some((connection, position)));
            }
        }
        Ok(None) => "it is of another ledger or version",
        Err::<_, rusqlite::Error>(error) => {
            tracing::warn!(file = %shown(path), %error, "the index cannot be read");
            "it is damaged"
        }
    };
    tracing::warn!(file = %shown(path), "the index is made anew: {why}");
    Ok(None)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

fn make(path: &Path, ledger: LedgerId) -> rusqlite::Result<Connection> {
    let mut connection = connect(path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(SET_META, params![LEDGER, ledger.0])?;
    Position::default().store(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(connection)
}

/// Entries read from the log at once: readers of the tail do not wait for more.
const READ_LEN: u64 = 1024;

/// Rows of `meta`, beside [`ENTRIES`].
const LEDGER: &str = "ledger";
const TIP: &str = "tip";
const ACCOUNTS: &str = "accounts";

const SET_META: &str = "INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const INSERT_ACCOUNT: &str = "INSERT OR IGNORE INTO accounts (key, account) VALUES (?1, ?2)";
const INSERT_HISTORY: &str =
    "INSERT OR IGNORE INTO history (span, account, entry, moved) VALUES (?1, ?2, ?3, ?4)";
/// The first entry wins.
const INSERT_ID: &str = "INSERT OR IGNORE INTO ids (id, account, entry) VALUES (?1, ?2, ?3)";
