//! Tabs: one row for each that this account opened, from before its terms are sent, and one for
//! each opened to it, from before a link is taken.

use quid_common::chain::{Link, Mark};
use quid_common::id::{InstanceId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::tab::{SignedTerms, Terms};
use quid_common::time::LedgerTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::orders::{Inserted, keep_proof, pin};
use super::requests::{self, Answers, Purpose};
use super::{Journal, JournalError, values};

/// A tab about to be opened.
#[derive(Clone, Debug)]
pub(crate) struct NewTab {
    pub(crate) terms: SignedTerms,
    /// The chain's last link, from which all others follow.
    pub(crate) last: Link,
    pub(crate) payee: Name,
    /// Where the payee was last to be found.
    pub(crate) address: Option<String>,
    /// The run of the program that opens it.
    pub(crate) owner: InstanceId,
    /// What it is for, if that must not be opened twice.
    pub(crate) purpose: Option<Purpose>,
}

/// A tab of this account as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TabRow {
    pub(crate) terms: SignedTerms,
    pub(crate) last: Link,
    pub(crate) payee: Name,
    pub(crate) address: Option<String>,
    /// Units that the payee has acknowledged, as far as was written down.
    pub(crate) paid: u32,
    pub(crate) state: TabState,
    pub(crate) owner: InstanceId,
}

/// How a tab of this account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TabState {
    /// Its terms may have been sent; whether it opened is not known.
    Opening,
    Open {
        entry: u64,
    },
    /// Over: no unit of it is held any more.
    Closed {
        entry: u64,
    },
    /// It never opened and never will.
    Refused {
        reason: Reason,
    },
}

/// A tab to this account as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IncomingRow {
    pub(crate) terms: Terms,
    /// The payer's name, once the directory has told it.
    pub(crate) payer: Option<Name>,
    /// The entry that opened it.
    pub(crate) entry: u64,
    /// The furthest link written down.
    pub(crate) mark: Mark,
    /// Units that the directory has confirmed as claimed.
    pub(crate) claimed: u32,
    /// From when on links no longer count; before the terms' time if the payer closed.
    pub(crate) expires: LedgerTime,
    pub(crate) open: bool,
}

impl Journal {
    /// Writes a new tab and pins its payee's key.
    pub(crate) async fn insert_tab(&self, new: NewTab) -> Result<Inserted, JournalError> {
        self.step(move |connection| {
            let terms = new.terms.statement();
            if let Some(key) = pin(connection, &new.payee, &terms.payee)? {
                return Ok(Inserted::KeyChanged(key));
            }
            if let Some(purpose) = &new.purpose
                && let Some(earlier) = requests::serve(connection, purpose, terms.id)?
            {
                return Ok(Inserted::Earlier(earlier));
            }
            connection
                .prepare_cached(
                    "INSERT INTO tabs (id, terms, last, payee, address, paid, state, owner)
                     VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6)",
                )?
                .execute(params![
                    terms.id.as_bytes(),
                    new.terms.bytes(),
                    new.last.0,
                    new.payee.as_str(),
                    new.address,
                    new.owner.0,
                ])?;
            Ok(Inserted::Written)
        })
        .await
    }

    /// Notes that a tab is open, and keeps what proves it; true the first time.
    pub(crate) async fn tab_opened(
        &self,
        id: OrderId,
        receipt: &Receipt,
        size: u64,
    ) -> Result<bool, JournalError> {
        let sql = "UPDATE tabs SET state = 1, entry = ?2, reason = NULL
                   WHERE id = ?1 AND state IN (0, 3)";
        self.settle(sql, id, receipt, size).await
    }

    /// Notes that a tab never opened.
    pub(crate) async fn tab_refused(
        &self,
        id: OrderId,
        reason: Reason,
    ) -> Result<(), JournalError> {
        let sql = "UPDATE tabs SET state = 3, reason = ?2 WHERE id = ?1 AND state = 0";
        let values = (*id.as_bytes(), reason.0);
        self.change(sql, values).await.map(drop)
    }

    /// Notes that nothing of a tab is held any more; true the first time.
    pub(crate) async fn tab_closed(&self, id: OrderId) -> Result<bool, JournalError> {
        let sql = "UPDATE tabs SET state = 2 WHERE id = ?1 AND state = 1";
        self.change(sql, [*id.as_bytes()]).await
    }

    /// Notes how far a tab is paid, which never goes back.
    pub(crate) async fn tab_paid(&self, id: OrderId, paid: u32) -> Result<(), JournalError> {
        let sql = "UPDATE tabs SET paid = max(paid, ?2) WHERE id = ?1";
        self.change(sql, (*id.as_bytes(), paid)).await.map(drop)
    }

    /// Notes where a payee was last to be found.
    pub(crate) async fn tab_address(
        &self,
        payee: PublicKey,
        payee_name: &Name,
        address: String,
    ) -> Result<(), JournalError> {
        let name = payee_name.clone();
        self.step(move |connection| {
            if super::orders::pinned(connection, &name)? != Some(payee) {
                return Ok(());
            }
            connection
                .prepare_cached("UPDATE tabs SET address = ?2 WHERE payee = ?1 AND state = 1")?
                .execute(params![name.as_str(), address])
                .map(drop)
        })
        .await
    }

    /// A tab of this account.
    pub(crate) async fn tab(&self, id: OrderId) -> Result<Option<TabRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {OUT} FROM tabs WHERE id = ?1"))?
                .query_row([id.as_bytes()], tab_row)
                .optional()
        })
        .await
    }

    /// The tabs of this account that are open or may be, oldest first.
    pub(crate) async fn open_tabs(&self) -> Result<Vec<TabRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {OUT} FROM tabs WHERE state < 2 ORDER BY number LIMIT {ROWS_MAX}"
                ))?
                .query_map([], tab_row)?
                .collect()
        })
        .await
    }

    /// Takes a tab to this account, with what proves that it was opened and the claim that the
    /// directory told. What was written down before stays; the row as it then stands. `None` if the
    /// tab says that it answers a request of this home and does not.
    pub(crate) async fn take_tab(
        &self,
        row: IncomingRow,
        receipt: &Receipt,
        size: u64,
    ) -> Result<Option<IncomingRow>, JournalError> {
        let receipt = receipt.clone();
        self.step(move |connection| {
            let known = incoming(connection, &row.terms.payer, row.terms.id)?;
            if known.is_some() {
                return Ok(known);
            }
            match requests::answer_tab(connection, &row.terms)? {
                Answers::Not => return Ok(None),
                Answers::Now(request) => requests::answered(connection, request, row.entry)?,
                Answers::NoRequest => {}
            }
            keep_proof(connection, &receipt, size)?;
            connection
                .prepare_cached(
                    "INSERT INTO incoming_tabs (payer, id, entry, paid, link, claimed, expires, open)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)",
                )?
                .execute(params![
                    row.terms.payer.as_bytes(),
                    row.terms.id.as_bytes(),
                    row.entry.cast_signed(),
                    row.mark.index,
                    row.mark.link.0,
                    row.claimed,
                    row.expires.as_millis().cast_signed(),
                ])?;
            incoming(connection, &row.terms.payer, row.terms.id)
        })
        .await
    }

    /// A tab to this account, whatever has become of it.
    pub(crate) async fn incoming_tab(
        &self,
        payer: PublicKey,
        id: OrderId,
    ) -> Result<Option<IncomingRow>, JournalError> {
        self.step(move |connection| incoming(connection, &payer, id))
            .await
    }

    /// The tabs of this account, newest first, whatever became of them.
    pub(crate) async fn newest_tabs(&self, limit: u32) -> Result<Vec<TabRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {OUT} FROM tabs ORDER BY number DESC LIMIT ?1"
                ))?
                .query_map([limit], tab_row)?
                .collect()
        })
        .await
    }

    /// The tabs to this account that may still be claimed.
    pub(crate) async fn open_incoming_tabs(&self) -> Result<Vec<IncomingRow>, JournalError> {
        self.step(move |connection| {
            let rows: Vec<(PublicKey, OrderId)> = connection
                .prepare_cached(&format!(
                    "SELECT payer, id FROM incoming_tabs WHERE open = 1 LIMIT {ROWS_MAX}"
                ))?
                .query_map([], |row| {
                    Ok((values::key(row, 0)?, values::order_id(row, 1)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let read = |(payer, id): (PublicKey, OrderId)| incoming(connection, &payer, id);
            let rows: Vec<Option<IncomingRow>> = rows
                .into_iter()
                .map(read)
                .collect::<rusqlite::Result<_>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
        .await
    }

    /// Writes down the furthest links; a mark never goes back.
    pub(crate) async fn save_marks(
        &self,
        marks: Vec<(PublicKey, OrderId, Mark)>,
    ) -> Result<(), JournalError> {
        self.step(move |connection| {
            let mut save = connection.prepare_cached(
                "UPDATE incoming_tabs SET paid = ?3, link = ?4
                 WHERE payer = ?1 AND id = ?2 AND paid < ?3",
            )?;
            for (payer, id, mark) in marks {
                let link = mark.link.0;
                save.execute(params![payer.as_bytes(), id.as_bytes(), mark.index, link])?;
            }
            Ok(())
        })
        .await
    }

    /// Notes what the directory confirmed of a tab to this account.
    pub(crate) async fn tab_claimed(
        &self,
        payer: PublicKey,
        id: OrderId,
        claimed: u32,
    ) -> Result<(), JournalError> {
        let sql = "UPDATE incoming_tabs SET claimed = max(claimed, ?3)
                   WHERE payer = ?1 AND id = ?2";
        let values = (*payer.as_bytes(), *id.as_bytes(), claimed);
        self.change(sql, values).await.map(drop)
    }

    /// Notes that a tab to this account can be claimed no more; true the first time.
    pub(crate) async fn incoming_tab_ended(
        &self,
        payer: PublicKey,
        id: OrderId,
    ) -> Result<bool, JournalError> {
        let sql = "UPDATE incoming_tabs SET open = 0 WHERE payer = ?1 AND id = ?2 AND open = 1";
        self.change(sql, (*payer.as_bytes(), *id.as_bytes())).await
    }

    /// Keeps a name that the directory told of a key.
    pub(crate) async fn learn_name(&self, key: PublicKey, name: &Name) -> Result<(), JournalError> {
        let sql = "INSERT OR IGNORE INTO names (key, name) VALUES (?1, ?2)";
        let values = (*key.as_bytes(), name.as_str().to_owned());
        self.change(sql, values).await.map(drop)
    }
}

fn incoming(
    connection: &Connection,
    payer: &PublicKey,
    id: OrderId,
) -> rusqlite::Result<Option<IncomingRow>> {
    connection
        .prepare_cached(
            "SELECT receipt, name, t.entry, paid, link, claimed, expires, open
             FROM incoming_tabs AS t
             JOIN receipts AS r ON r.entry = t.entry
             LEFT JOIN names AS n ON n.key = t.payer
             WHERE payer = ?1 AND id = ?2",
        )?
        .query_row(params![payer.as_bytes(), id.as_bytes()], incoming_row)
        .optional()
}

fn incoming_row(row: &Row<'_>) -> rusqlite::Result<IncomingRow> {
    let damaged = || values::damaged(0, Type::Blob);
    let receipt: Vec<u8> = row.get(0)?;
    let receipt: Receipt = quid_common::cbor::decode(&receipt).map_err(|_| damaged())?;
    let entry = quid_common::entry::Entry::decode(&receipt.entry).map_err(|_| damaged())?;
    let terms = entry.terms().ok_or_else(damaged)?.statement().clone();
    let payer: Option<String> = row.get(1)?;
    Ok(IncomingRow {
        terms,
        payer: payer.and_then(|name| name.parse().ok()),
        entry: row.get::<_, i64>(2)?.cast_unsigned(),
        mark: Mark {
            index: row.get(3)?,
            link: Link(row.get(4)?),
        },
        claimed: row.get(5)?,
        expires: LedgerTime::from_millis(row.get::<_, i64>(6)?.cast_unsigned()),
        open: row.get(7)?,
    })
}

fn tab_row(row: &Row<'_>) -> rusqlite::Result<TabRow> {
    let terms: Vec<u8> = row.get(0)?;
    let terms = SignedTerms::from_bytes(&terms).map_err(|_| values::damaged(0, Type::Blob))?;
    let entry = values::entry(row, 7)?;
    let state = match (row.get(5)?, values::reason(row, 6)?, entry) {
        (0, _, _) => TabState::Opening,
        (1, _, Some(entry)) => TabState::Open { entry },
        (2, _, Some(entry)) => TabState::Closed { entry },
        (3, Some(reason), _) => TabState::Refused { reason },
        _ => return Err(values::damaged(5, Type::Integer)),
    };
    Ok(TabRow {
        terms,
        last: Link(row.get(1)?),
        payee: values::name(row, 2)?,
        address: row.get(3)?,
        paid: row.get(4)?,
        state,
        owner: values::instance(row, 8)?,
    })
}

const OUT: &str = "terms, last, payee, address, paid, state, reason, entry, owner";

/// Most tabs read at once: many times what a payer may have open, and a payee of more than this
/// many that were left open claims the rest once these have ended.
const ROWS_MAX: u32 = 65_536;

#[cfg(test)]
mod tests;
