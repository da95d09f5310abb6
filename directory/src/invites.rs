//! Invite codes: who may register where registration is by invitation.
//!
//! A code is 160 bits that only the directory's key and an operation's id make, so a repeated
//! `quid-directory invite --id` prints the same code again and nothing stores one: `invites.db` has
//! their hashes, how often each may be used, and which account used which. It is the operator's file,
//! not part of the log: what it says about an account counts only if the log has that account.
//!
//! A use is noted, durably, *before* the registration is asked of the ledger, and taken back if the
//! ledger refuses. A crash between the two leaves a note of an account that is not there; the next
//! start takes it back ([`Invites::reconcile`]). So no use is lost, and none counts for two.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use quid_common::id::OperationId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::printable::Printable;
use quid_common::refusal::Reason;
use quid_common::sha256::{Sha256, sha256};
use quid_common::time::LedgerTime;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use thiserror::Error;

use crate::folder::Folder;

mod list;
mod saved;

pub use self::list::{Listed, shown_time};
pub use self::saved::{Saved, SavedError};

/// Most uses of one code.
pub const USES_MAX: u32 = 1_000_000;

/// Longest life of a code: ten years.
pub const LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A secret that whoever has it can register with.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; CODE_LEN]);

impl Code {
    /// The code of this operation of the directory whose key is `key`.
    #[must_use]
    pub fn of(key: &SecretKey, operation: OperationId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quid/invite/1\0");
        hash.update(&*key.seed());
        hash.update(&operation.0);
        let mut code = [0; CODE_LEN];
        let hash = hash.finish();
        code.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(code)
    }

    /// What is stored of it.
    fn hash(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

/// In four groups of eight letters and digits.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        for (at, letter) in text.chars().enumerate() {
            if at > 0 && at % GROUP_LEN == 0 {
                f.write_str("-")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// Shows nothing of it.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// Takes it with or without hyphens, in capitals or not.
impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(CodeError);
        }
        let letters: String = text.chars().filter(|letter| *letter != '-').collect();
        let bytes = BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_| CodeError)?;
        Ok(Self(bytes.try_into().map_err(|_| CodeError)?))
    }
}

/// The text is no code.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an invite code is 32 letters and digits, as quid-directory invite printed it")]
pub struct CodeError;

/// How often and how long a code may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Accounts that may register with it.
    pub uses: u32,
    /// From when it is made; for ever without one.
    pub life: Option<Duration>,
}

/// The codes of a data folder.
#[derive(Debug)]
pub struct Invites {
    connection: Connection,
    path: PathBuf,
}

impl Invites {
    /// Opens the folder's file, which is made if need be. A directory that serves and the command
    /// `invite` may have it open at once.
    ///
    /// # Errors
    /// [`InvitesError`] names the file.
    pub fn open(folder: &Folder) -> Result<Self, InvitesError> {
        let path = folder.invites();
        let connection = match prepare(&path).map_err(|source| wrong(&path, source))? {
            Ok(connection) => connection,
            Err(format) => return Err(InvitesError::Newer { path, format }),
        };
        Ok(Self { connection, path })
    }

    /// Makes the code of `operation` good. Again with the same terms it changes nothing.
    ///
    /// # Errors
    /// [`InvitesError::Reused`] if that operation was for other terms, [`InvitesError::Revoked`] if
    /// its code was revoked.
    pub fn make(
        &mut self,
        code: &Code,
        operation: OperationId,
        terms: Terms,
        now: LedgerTime,
    ) -> Result<(), InvitesError> {
        let life = terms.life.map(millis);
        let expires = terms.life.map(|life| signed(now.plus(life)));
        let known = self.transact(|transaction| {
            transaction.execute(
                "INSERT INTO codes (hash, operation, uses, uses_left, life, expires)
                 VALUES (?1, ?2, ?3, ?3, ?4, ?5) ON CONFLICT (hash) DO NOTHING",
                params![code.hash(), operation.0, terms.uses, life, expires],
            )?;
            transaction.query_row(
                "SELECT uses, life, expires FROM codes WHERE hash = ?1",
                [code.hash()],
                |row| {
                    let terms: (u32, Option<i64>) = (row.get(0)?, row.get(1)?);
                    Ok((terms, list::is_revoked(row.get(2)?)))
                },
            )
        })?;
        match known {
            (terms_then, _) if terms_then != (terms.uses, life) => {
                Err(InvitesError::Reused(operation))
            }
            (_, true) => Err(InvitesError::Revoked(operation)),
            _ => Ok(()),
        }
    }

    /// Notes, durably, that `account` registers with `code`. Again for the same account it is the
    /// same use.
    ///
    /// # Errors
    /// [`InvitesError`]: the file cannot be written; nothing may be built on it. Inside, a
    /// [`Reason`]: the code is unknown, has expired or is used up.
    pub fn take(
        &mut self,
        code: &str,
        account: &PublicKey,
        now: LedgerTime,
    ) -> Result<Result<(), Reason>, InvitesError> {
        let Ok(code) = code.parse::<Code>() else {
            return Ok(Err(Reason::INVITE_UNKNOWN));
        };
        let (hash, account) = (code.hash(), account.as_bytes());
        self.transact(|transaction| {
            let found = transaction.query_row(
                "SELECT uses_left, expires FROM codes WHERE hash = ?1",
                [hash],
                |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<i64>>(1)?)),
            );
            let Some((left, expires)) = found.optional()? else {
                return Ok(Err(Reason::INVITE_UNKNOWN));
            };
            let before: Option<[u8; 32]> = transaction
                .query_row(
                    "SELECT hash FROM uses WHERE account = ?1",
                    [account],
                    |row| row.get(0),
                )
                .optional()?;
            if before == Some(hash) {
                return Ok(Ok(()));
            }
            if expires.is_some_and(|expires| signed(now) >= expires) {
                return Ok(Err(Reason::INVITE_EXPIRED));
            }
            if left == 0 {
                return Ok(Err(Reason::INVITE_USED_UP));
            }
            give_back(transaction, account)?;
            transaction.execute(
                "UPDATE codes SET uses_left = uses_left - 1 WHERE hash = ?1",
                [hash],
            )?;
            transaction.execute(
                "INSERT INTO uses (account, hash) VALUES (?1, ?2)",
                params![account, hash],
            )?;
            Ok(Ok(()))
        })
    }

    /// Takes back the use that was noted for `account`, which the ledger has not registered.
    ///
    /// # Errors
    /// [`InvitesError`]; the use then counts until the next start.
    pub fn give_back(&mut self, account: &PublicKey) -> Result<(), InvitesError> {
        self.transact(|transaction| give_back(transaction, account.as_bytes()))
    }

    /// Takes back every use by an account that `is_registered` does not know. Nothing may be
    /// registering meanwhile.
    ///
    /// # Errors
    /// [`InvitesError`]; some may have been taken back.
    pub fn reconcile(
        &mut self,
        is_registered: impl Fn(&PublicKey) -> bool,
    ) -> Result<(), InvitesError> {
        self.transact(|transaction| {
            let mut accounts = transaction.prepare("SELECT account FROM uses")?;
            let accounts = accounts.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
            let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
            for account in accounts {
                if !is_registered(&PublicKey::from_bytes(account)) {
                    give_back(transaction, &account)?;
                }
            }
            Ok(())
        })
    }

    /// Does `work` in one durable transaction.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, InvitesError> {
        let path = &self.path;
        let run = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run(&mut self.connection).map_err(|source| wrong(path, source))
    }
}

/// Why the codes cannot be used.
#[derive(Debug, Error)]
pub enum InvitesError {
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", Printable(&.path.to_string_lossy()))]
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A newer program wrote the file.
    #[error(
        "{} has format {format} and this program knows {FORMAT}; use a newer quid-directory",
        Printable(&.path.to_string_lossy())
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
    /// The operation's code was revoked.
    #[error("the code of operation {0} was revoked; leave out --id for a new one")]
    Revoked(OperationId),
    /// The operation's id was used for a code with other terms.
    #[error(
        "operation {0} made a code with other uses or another life; leave out --id for a new one"
    )]
    Reused(OperationId),
}

fn give_back(transaction: &Connection, account: &[u8; 32]) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE codes SET uses_left = uses_left + 1
         WHERE hash = (SELECT hash FROM uses WHERE account = ?1)",
        [account],
    )?;
    transaction.execute("DELETE FROM uses WHERE account = ?1", [account])?;
    Ok(())
}

/// Opens the file, or says which newer format it has.
fn prepare(path: &Path) -> rusqlite::Result<Result<Connection, i64>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_MAX)?;
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format > FORMAT {
        return Ok(Err(format));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(TABLES)?;
    Ok(Ok(connection))
}

fn wrong(path: &Path, source: rusqlite::Error) -> InvitesError {
    InvitesError::File {
        path: path.to_owned(),
        source,
    }
}

/// Ledger times end long before this kind of number does.
fn signed(time: LedgerTime) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn millis(life: Duration) -> i64 {
    i64::try_from(life.as_millis()).unwrap_or(i64::MAX)
}

/// Format 1. Lives and times are in milliseconds.
const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS codes (
        hash BLOB PRIMARY KEY,
        operation BLOB NOT NULL,
        uses INTEGER NOT NULL,
        uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
        life INTEGER,
        expires INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS uses (
        account BLOB PRIMARY KEY,
        hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
    COMMIT;
";

/// The format of the file, kept as its `user_version`.
pub const FORMAT: i64 = 1;

/// How long one process waits for the other.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// 160 bits: nobody guesses one, however long he tries.
const CODE_LEN: usize = 20;

/// Letters between two hyphens.
const GROUP_LEN: usize = 8;

/// A code as text, with room for a hyphen after each letter.
const TEXT_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
