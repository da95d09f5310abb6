//! The journal's file: made whole, recognised, brought up to this version.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{Advice, fadvise};

use super::JournalError;
use super::steps::BUSY_WAIT;

/// Writes an empty journal to a new file.
pub(super) fn make(path: &Path) -> Result<(), String> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.map_err(|error| error.to_string())?;
    let write = || -> rusqlite::Result<()> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(TABS)?;
        transaction.execute_batch(REQUESTS)?;
        transaction.execute_batch(CANCELLED)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()
    };
    write().map_err(|error| error.to_string())
}

pub(super) fn check_header(path: &Path) -> Result<(), JournalError> {
    let mut header = [0; HEADER_LEN];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let is_ours = header.starts_with(b"SQLite format 3\0")
        && header[APPLICATION_ID_AT..].starts_with(&APPLICATION_ID.to_be_bytes());
    if let (true, Some((version, _))) = (is_ours, header[VERSION_AT..].split_first_chunk()) {
        // Before SQLite carries anything over into it.
        not_newer(path, i32::from_be_bytes(*version))?;
    }
    match read {
        Ok(()) if is_ours => Ok(()),
        Ok(()) => Err(JournalError::at(
            path,
            "it is not a Quid journal".to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(JournalError::at(path, "it is cut short".to_owned()))
        }
        Err(error) => Err(JournalError::at(path, error.to_string())),
    }
}

/// Makes sure that what the system holds of a journal that was not closed is what the disk holds:
/// after a failed sync it may hold more. Writes what a killed process left unwritten, then forgets
/// what it read.
pub(super) fn drop_page_cache(path: &Path) -> Result<(), JournalError> {
    let log = log_of(path);
    if !log.exists() {
        return Ok(());
    }
    let forget = |path: &Path| -> io::Result<()> {
        let file = match File::open(path) {
            // Whoever had it open has closed it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    };
    [path, &log]
        .into_iter()
        .try_for_each(forget)
        .map_err(|error| JournalError::at(path, error.to_string()))
}

/// The write-ahead log beside a journal.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(super) fn check(
    connection: &Connection,
    path: &Path,
) -> rusqlite::Result<Result<(), JournalError>> {
    let version = advance_schema(connection)?;
    if let Err(error) = not_newer(path, version) {
        return Ok(Err(error));
    }
    if version != SCHEMA_VERSION {
        let reason = format!("its format {version} was never written by this program");
        return Ok(Err(JournalError::at(path, reason)));
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(if verdict == "ok" {
        Ok(())
    } else {
        Err(JournalError::at(path, verdict))
    })
}

fn not_newer(path: &Path, version: i32) -> Result<(), JournalError> {
    if version > SCHEMA_VERSION {
        let path = path.to_owned();
        return Err(JournalError::Newer { path, version });
    }
    Ok(())
}

/// Brings a journal of an older version up to this one; the version that it then has.
fn advance_schema(connection: &Connection) -> rusqlite::Result<i32> {
    let version =
        || connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
    if !(WITHOUT_TABS..SCHEMA_VERSION).contains(&version()?) {
        return version();
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been faster.
    let advanced = version().and_then(|found| {
        if !(WITHOUT_TABS..SCHEMA_VERSION).contains(&found) {
            return connection.execute_batch("COMMIT");
        }
        if found == WITHOUT_TABS {
            connection.execute_batch(TABS)?;
        }
        if found < WITH_REQUESTS {
            connection.execute_batch(REQUESTS)?;
        }
        if found < SCHEMA_VERSION {
            connection.execute_batch(CANCELLED)?;
            connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        connection.execute_batch("COMMIT")
    });
    if advanced.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    advanced.and_then(|()| version())
}

/// Marks the file as ours: "Quid" in ASCII.
const APPLICATION_ID: i32 = 0x5175_6964;

/// Length of a database's header, and where in it its version and the application's mark stand
/// (SQLite, "Database File Format").
const HEADER_LEN: usize = 100;
const VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

pub(super) const SCHEMA_VERSION: i32 = 4;

/// The version before there were tabs.
const WITHOUT_TABS: i32 = 1;

/// The first version with requests.
const WITH_REQUESTS: i32 = 3;

const SCHEMA: &str = "
    CREATE TABLE settings (
        what TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Orders of this account. state: 0 open, 1 settled, 2 refused. route: 0 not sent, 1 to the
    -- payee, 2 to the directory. owner: which run of the program follows it while it is open.
    CREATE TABLE orders (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        bytes BLOB NOT NULL,
        payee TEXT NOT NULL,
        route INTEGER NOT NULL,
        state INTEGER NOT NULL,
        reason INTEGER,
        entry INTEGER,
        owner BLOB NOT NULL
    ) STRICT;
    CREATE INDEX open_orders ON orders (number) WHERE state = 0;

    -- Orders to this account. state: 0 accepted, 1 paid, 2 refused.
    CREATE TABLE notes (
        payer BLOB NOT NULL,
        id BLOB NOT NULL,
        bytes BLOB NOT NULL,
        state INTEGER NOT NULL,
        reason INTEGER,
        entry INTEGER,
        PRIMARY KEY (payer, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX open_notes ON notes (payer, id) WHERE state = 0;

    -- Money that came, in the order in which the application is told.
    CREATE TABLE received (
        number INTEGER PRIMARY KEY,
        entry INTEGER NOT NULL UNIQUE,
        payer_name TEXT NOT NULL,
        answers INTEGER NOT NULL
    ) STRICT;

    -- Verified receipts, encoded.
    CREATE TABLE receipts (
        entry INTEGER PRIMARY KEY,
        receipt BLOB NOT NULL
    ) STRICT;

    -- The key to which a name was first paid.
    CREATE TABLE contacts (
        name TEXT PRIMARY KEY,
        key BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Names of payers, as the directory told them.
    CREATE TABLE names (
        key BLOB PRIMARY KEY,
        name TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- References issued, and the order that used each up.
    CREATE TABLE issued_references (
        reference BLOB PRIMARY KEY,
        payer BLOB,
        id BLOB
    ) STRICT, WITHOUT ROWID;
";

/// What version 2 added.
const TABS: &str = "
    -- Tabs of this account. state: 0 opening, 1 open, 2 closed, 3 refused. last: the chain's last
    -- link. paid: what the payee has acknowledged, as far as was written down.
    CREATE TABLE tabs (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        terms BLOB NOT NULL,
        last BLOB NOT NULL,
        payee TEXT NOT NULL,
        address TEXT,
        paid INTEGER NOT NULL,
        state INTEGER NOT NULL,
        reason INTEGER,
        entry INTEGER,
        owner BLOB NOT NULL
    ) STRICT;
    CREATE INDEX open_tabs ON tabs (number) WHERE state < 2;

    -- Tabs to this account. entry: the receipt with the terms. paid, link: the furthest link
    -- written down.
    CREATE TABLE incoming_tabs (
        payer BLOB NOT NULL,
        id BLOB NOT NULL,
        entry INTEGER NOT NULL,
        paid INTEGER NOT NULL,
        link BLOB NOT NULL,
        claimed INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        open INTEGER NOT NULL,
        PRIMARY KEY (payer, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX open_incoming_tabs ON incoming_tabs (payer, id) WHERE open = 1;
";

/// What version 3 added.
const REQUESTS: &str = "
    -- Requests of this account. payer, taken: of one that is paid once, the order or tab that has it.
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        bytes BLOB NOT NULL,
        payer BLOB,
        taken BLOB
    ) STRICT;
    CREATE INDEX taken_requests ON requests (payer, taken) WHERE taken IS NOT NULL;

    -- Entries that paid a request of this account, or opened a tab for it.
    CREATE TABLE request_entries (
        request BLOB NOT NULL,
        entry INTEGER NOT NULL,
        PRIMARY KEY (request, entry)
    ) STRICT, WITHOUT ROWID;

    -- What this account pays once: somebody's request, or the refund of somebody's order; and the
    -- order or tab that does it, or did it last.
    CREATE TABLE purposes (
        of BLOB NOT NULL,
        reference BLOB NOT NULL,
        id BLOB NOT NULL,
        PRIMARY KEY (of, reference)
    ) STRICT, WITHOUT ROWID;
";

/// What version 4 added.
const CANCELLED: &str = "
    -- Requests of this account that it cancelled, and when in ledger time.
    CREATE TABLE cancelled_requests (
        request BLOB PRIMARY KEY,
        time INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";
