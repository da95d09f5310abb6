//! What the operator sees of the codes, and how one is made bad.

use quid_common::id::OperationId;
use quid_common::time::LedgerTime;
use rusqlite::params;

use super::{Code, Invites, InvitesError, signed, wrong};

/// A code, without the code: its secret is in nobody's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The operation that made it, which makes it again.
    pub operation: OperationId,
    /// Accounts that might register with it.
    pub uses: u32,
    /// How many still may.
    pub left: u32,
    /// When it ends, if it does. Of a revoked one this is not kept.
    pub expires: Option<LedgerTime>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Listed {
    /// What a code is good for at `now`, as a stable word.
    #[must_use]
    pub fn state(&self, now: LedgerTime) -> &'static str {
        if self.revoked {
            "revoked"
        } else if self.left == 0 {
            "used_up"
        } else if self.expires.is_some_and(|expires| now >= expires) {
            "expired"
        } else {
            "good"
        }
    }
}

impl Invites {
    /// All codes, by their operations.
    ///
    /// # Errors
    /// [`InvitesError`] names the file.
    pub fn list(&self) -> Result<Vec<Listed>, InvitesError> {
        let list = || {
            let mut codes = self.connection.prepare(
                "SELECT operation, uses, uses_left, expires FROM codes ORDER BY operation",
            )?;
            let rows = codes.query_map([], |row| {
                let expires: Option<i64> = row.get(3)?;
                Ok(Listed {
                    operation: OperationId(row.get(0)?),
                    uses: row.get(1)?,
                    left: row.get(2)?,
                    expires: expires
                        .filter(|expires| *expires != REVOKED)
                        .map(|expires| LedgerTime::from_millis(expires.cast_unsigned())),
                    revoked: expires == Some(REVOKED),
                })
            })?;
            rows.collect::<Result<_, _>>()
        };
        list().map_err(|source| wrong(&self.path, source))
    }

    /// Makes a code bad, durably, for all who have not registered with it: the `code`, or that of the
    /// `operation`. Again it changes nothing. Returns its operation; `None` if there is no such code.
    ///
    /// # Errors
    /// [`InvitesError`]; the code may still be good.
    pub fn revoke(
        &mut self,
        code: Option<&Code>,
        operation: Option<OperationId>,
    ) -> Result<Option<OperationId>, InvitesError> {
        let hash = code.map(Code::hash);
        let operation = operation.map(|operation| operation.0);
        self.transact(|transaction| {
            let mut update = transaction.prepare(
                "UPDATE codes SET expires = ?1 WHERE hash = ?2 OR operation = ?3
                 RETURNING operation",
            )?;
            let mut found = update.query_map(params![REVOKED, hash, operation], |row| {
                Ok(OperationId(row.get(0)?))
            })?;
            found.next().transpose()
        })
    }
}

/// Whether a code that expires then was revoked.
pub(super) fn is_revoked(expires: Option<i64>) -> bool {
    expires == Some(REVOKED)
}

/// The end of a revoked code: no code that was only made can have it, and every program, this one or
/// an older one, finds it past.
const REVOKED: i64 = 0;

/// What is wanted of a time that an operator reads.
#[must_use]
pub fn shown_time(time: LedgerTime) -> String {
    let since = std::time::Duration::from_millis(signed(time).cast_unsigned());
    // Years of five digits cannot be written so.
    let time = std::time::UNIX_EPOCH.checked_add(since.min(LAST));
    time.map_or_else(String::new, |time| {
        humantime::format_rfc3339_seconds(time).to_string()
    })
}

/// The last second of the year 9999.
const LAST: std::time::Duration = std::time::Duration::from_secs(253_402_300_799);
