//! The codes in a backup: one text that checks itself.
//!
//! Read after the log that it lies beside, so that it has the use of every account in that log. Uses
//! by accounts that the log lacks are taken back at the first start, as after a crash.

use data_encoding::HEXLOWER;
use quid_common::sha256::sha256;
use quid_common::time::LedgerTime;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Invites, InvitesError, USES_MAX, signed, wrong};
use crate::folder::Folder;

/// The codes and their uses, as one text.
#[derive(Clone, Debug)]
pub struct Saved(Vec<u8>);

/// The text is not what was written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("its invite codes are not those that were written")]
pub struct SavedError;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    codes: Vec<SavedCode>,
    uses: Vec<SavedUse>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCode {
    hash: String,
    operation: String,
    uses: u32,
    left: u32,
    life: Option<i64>,
    expires: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedUse {
    account: String,
    hash: String,
}

impl Saved {
    /// The codes of `folder`; none if it has no file of them.
    ///
    /// # Errors
    /// [`InvitesError`] names the file.
    pub fn of(folder: &Folder) -> Result<Option<Self>, InvitesError> {
        if !folder.invites().exists() {
            return Ok(None);
        }
        let mut invites = Invites::open(folder)?;
        let path = invites.path.clone();
        // In one look: a code and its uses belong together.
        let content = invites.transact(|transaction| {
            let mut codes = transaction.prepare(
                "SELECT hash, operation, uses, uses_left, life, expires FROM codes ORDER BY hash",
            )?;
            let codes = codes.query_map([], |row| {
                Ok(SavedCode {
                    hash: HEXLOWER.encode(&row.get::<_, [u8; 32]>(0)?),
                    operation: HEXLOWER.encode(&row.get::<_, [u8; 16]>(1)?),
                    uses: row.get(2)?,
                    left: row.get(3)?,
                    life: row.get(4)?,
                    expires: row.get(5)?,
                })
            })?;
            let codes = codes.collect::<Result<_, _>>()?;
            let mut uses =
                transaction.prepare("SELECT account, hash FROM uses ORDER BY account")?;
            let uses = uses.query_map([], |row| {
                Ok(SavedUse {
                    account: HEXLOWER.encode(&row.get::<_, [u8; 32]>(0)?),
                    hash: HEXLOWER.encode(&row.get::<_, [u8; 32]>(1)?),
                })
            })?;
            let uses = uses.collect::<Result<_, _>>()?;
            Ok(Content { codes, uses })
        })?;
        let wrote = serde_json::to_vec(&content);
        let json = wrote.map_err(|error| {
            wrong(
                &path,
                rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
            )
        })?;
        let mut text = format!("{TITLE}{}\n", HEXLOWER.encode(&sha256(&json))).into_bytes();
        text.extend(json);
        Ok(Some(Self(text)))
    }

    /// Takes a text that [`Self::bytes`] gave once.
    ///
    /// # Errors
    /// [`SavedError`] if it has changed.
    pub fn read(text: Vec<u8>) -> Result<Self, SavedError> {
        let saved = Self(text);
        saved.content()?;
        Ok(saved)
    }

    /// How many codes it has.
    #[must_use]
    pub fn codes(&self) -> usize {
        self.content().map_or(0, |content| content.codes.len())
    }

    /// The text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes the folder's file of codes of it; the folder must have none.
    ///
    /// # Errors
    /// [`InvitesError`] names the file.
    pub fn restore(&self, folder: &Folder) -> Result<(), InvitesError> {
        let content = self.content().unwrap_or_default();
        let mut invites = Invites::open(folder)?;
        invites.transact(|transaction| {
            let mut insert = transaction.prepare(
                "INSERT INTO codes (hash, operation, uses, uses_left, life, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for code in &content.codes {
                let (hash, operation) = (bytes::<32>(&code.hash), bytes::<16>(&code.operation));
                insert.execute(params![
                    hash,
                    operation,
                    code.uses,
                    code.left,
                    code.life,
                    code.expires
                ])?;
            }
            let mut insert =
                transaction.prepare("INSERT INTO uses (account, hash) VALUES (?1, ?2)")?;
            for used in &content.uses {
                insert.execute(params![bytes::<32>(&used.account), bytes::<32>(&used.hash)])?;
            }
            Ok(())
        })?;
        let path = invites.path.clone();
        let closed = invites.connection.close();
        closed.map_err(|(_, source)| wrong(&path, source))
    }

    fn content(&self) -> Result<Content, SavedError> {
        let rest = self.0.strip_prefix(TITLE.as_bytes()).ok_or(SavedError)?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (sum, json) = end
            .and_then(|end| rest.split_at_checked(end))
            .ok_or(SavedError)?;
        let json = json.strip_prefix(b"\n").ok_or(SavedError)?;
        if HEXLOWER.encode(&sha256(json)).as_bytes() != sum {
            return Err(SavedError);
        }
        let content: Content = serde_json::from_slice(json).map_err(|_| SavedError)?;
        let last = signed(LedgerTime::from_millis(u64::MAX));
        let sound = content.codes.iter().all(|code| {
            let times = [code.life, code.expires];
            bytes::<32>(&code.hash).is_some()
                && bytes::<16>(&code.operation).is_some()
                && code.uses <= USES_MAX
                && code.left <= code.uses
                && times.iter().flatten().all(|time| (0..=last).contains(time))
        });
        let sound = sound
            && content.uses.iter().all(|used| {
                bytes::<32>(&used.account).is_some() && bytes::<32>(&used.hash).is_some()
            });
        if sound { Ok(content) } else { Err(SavedError) }
    }
}

fn bytes<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// How the text begins; what follows on the line is the SHA-256 of the rest.
const TITLE: &str = "quid invites 1 ";
