//! Requests: those that this home made, with what pays them, and what it does itself for a purpose
//! that must not be paid for twice.
//!
//! A purpose is somebody else's request, the refund of somebody's payment, or an intent of this home's
//! own. Which order or tab
//! serves it is written in the step that writes the order itself, so that two commands, or one after
//! a crash, cannot both pay.

use quid_common::entry::Entry;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::order::{Order, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::request::{RequestId, SignedRequest};
use quid_common::tab::Terms;
use quid_common::time::LedgerTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Journal, JournalError, values};

/// A purpose for which money is sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// Whose request it is, or whose payment is refunded; this home's own key for an intent.
    pub(crate) of: PublicKey,
    /// The request, the order that is refunded, or the intent.
    pub(crate) reference: Reference,
    /// The order or tab that served it before and that another one may follow.
    pub(crate) after: Option<OrderId>,
}

/// A request of this home as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestRow {
    pub(crate) signed: SignedRequest,
    /// The entries that paid it, or that opened tabs for it, oldest first.
    pub(crate) entries: Vec<u64>,
    /// Whether this home cancelled it.
    pub(crate) cancelled: bool,
}

/// What an order or a tab means to a request of this home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// It pays what was asked for.
    Now(RequestId),
    /// It pays something else, or somebody else has it already.
    Not,
    /// The reference is to no request of this home.
    NoRequest,
}

impl Journal {
    /// Keeps a request that this home makes.
    pub(crate) async fn keep_request(&self, signed: SignedRequest) -> Result<(), JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached("INSERT INTO requests (id, bytes) VALUES (?1, ?2)")?
                .execute(params![signed.statement().id.as_bytes(), signed.bytes()])
                .map(drop)
        })
        .await
    }

    /// The requests of this home, newest first, `limit` at most.
    pub(crate) async fn requests(&self, limit: u32) -> Result<Vec<RequestRow>, JournalError> {
        self.step(move |connection| {
            let rows: Vec<SignedRequest> = connection
                .prepare_cached("SELECT bytes FROM requests ORDER BY number DESC LIMIT ?1")?
                .query_map([limit], request_row)?
                .collect::<rusqlite::Result<_>>()?;
            rows.into_iter()
                .map(|signed| with_entries(connection, signed))
                .collect()
        })
        .await
    }

    /// A request of this home.
    pub(crate) async fn request(&self, id: RequestId) -> Result<Option<RequestRow>, JournalError> {
        self.step(move |connection| {
            read(connection, id)?
                .map(|signed| with_entries(connection, signed))
                .transpose()
        })
        .await
    }

    /// Cancels a request of this home, from the ledger time `now` on: no order and no tab that comes
    /// later answers it. Gives it as it then stands, and the orders that answer it and were accepted
    /// before; none if it is not one of this home.
    pub(crate) async fn cancel_request(
        &self,
        id: RequestId,
        now: LedgerTime,
    ) -> Result<Option<(RequestRow, Vec<OrderId>)>, JournalError> {
        self.step(move |connection| {
            let Some(signed) = read(connection, id)? else {
                return Ok(None);
            };
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO cancelled_requests (request, time) VALUES (?1, ?2)",
                )?
                .execute(params![id.as_bytes(), now.as_millis().cast_signed()])?;
            let coming = coming(connection, &signed)?;
            Ok(Some((with_entries(connection, signed)?, coming)))
        })
        .await
    }

    /// The order or tab that served a purpose last, whatever became of it.
    pub(crate) async fn served(&self, purpose: Purpose) -> Result<Option<OrderId>, JournalError> {
        self.step(move |connection| served(connection, &purpose))
            .await
    }
}

/// What already serves `purpose`, or is on its way to: then nothing new may. Otherwise `id` serves it
/// from now on.
pub(super) fn serve(
    connection: &Connection,
    purpose: &Purpose,
    id: OrderId,
) -> rusqlite::Result<Option<OrderId>> {
    if let Some(before) = served(connection, purpose)? {
        let (stands, ended): (bool, bool) = connection
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE state <> refused) > 0,
                        count(*) FILTER (WHERE state = ended) > 0
                 FROM (SELECT state, 2 AS refused, 1 AS ended FROM orders WHERE id = ?1
                       UNION ALL SELECT state, 3, 2 FROM tabs WHERE id = ?1)",
            )?
            .query_row([before.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let may_follow = ended && purpose.after == Some(before);
        if stands && !may_follow {
            return Ok(Some(before));
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO purposes (of, reference, id) VALUES (?1, ?2, ?3)
             ON CONFLICT (of, reference) DO UPDATE SET id = excluded.id",
        )?
        .execute(params![
            purpose.of.as_bytes(),
            purpose.reference.0,
            id.as_bytes()
        ])?;
    Ok(None)
}

/// Whether `order` answers a request of this home, which it then has. `receipt` is there if it has
/// settled.
pub(super) fn answer(
    connection: &Connection,
    order: &Order,
    receipt: Option<&Receipt>,
) -> rusqlite::Result<Answers> {
    let which = (order.payer, order.id);
    take(connection, order.reference, which, receipt, |it| {
        it.statement().answered_by(order)
    })
}

/// Whether a tab with these terms is one that this home asked for, which it then has.
pub(super) fn answer_tab(connection: &Connection, terms: &Terms) -> rusqlite::Result<Answers> {
    let which = (terms.payer, terms.id);
    take(connection, terms.reference, which, None, |it| {
        it.statement().opened_by(terms)
    })
}

/// Notes the entry that paid a request of this home.
pub(super) fn answered(
    connection: &Connection,
    request: RequestId,
    entry: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO request_entries (request, entry) VALUES (?1, ?2)")?
        .execute(params![request.as_bytes(), entry.cast_signed()])
        .map(drop)
}

/// Gives a request that is paid once back, since the order that had it is refused.
pub(super) fn let_go(
    connection: &Connection,
    payer: PublicKey,
    id: OrderId,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE requests SET payer = NULL, taken = NULL WHERE payer = ?1 AND taken = ?2",
        )?
        .execute(params![payer.as_bytes(), id.as_bytes()])
        .map(drop)
}

fn take(
    connection: &Connection,
    reference: Option<Reference>,
    (payer, id): (PublicKey, OrderId),
    receipt: Option<&Receipt>,
    fits: impl FnOnce(&SignedRequest) -> bool,
) -> rusqlite::Result<Answers> {
    let Some(request) = reference.and_then(|it| RequestId::from_bytes(it.0)) else {
        return Ok(Answers::NoRequest);
    };
    let Some(signed) = read(connection, request)? else {
        return Ok(Answers::NoRequest);
    };
    if !fits(&signed) || is_too_late(connection, request, (payer, id), receipt)? {
        return Ok(Answers::Not);
    }
    if !signed.statement().once {
        return Ok(Answers::Now(request));
    }
    connection
        .prepare_cached(
            "UPDATE requests SET payer = ?2, taken = ?3 WHERE id = ?1 AND taken IS NULL",
        )?
        .execute(params![request.as_bytes(), payer.as_bytes(), id.as_bytes()])?;
    let has = connection
        .prepare_cached("SELECT payer, taken FROM requests WHERE id = ?1")?
        .query_row([request.as_bytes()], |row| {
            Ok((values::key(row, 0)?, values::order_id(row, 1)?))
        })?;
    Ok(if has == (payer, id) {
        Answers::Now(request)
    } else {
        Answers::Not
    })
}

/// Whether an order or tab comes after its request was cancelled: it was not accepted before, and did
/// not settle before.
fn is_too_late(
    connection: &Connection,
    request: RequestId,
    (payer, id): (PublicKey, OrderId),
    receipt: Option<&Receipt>,
) -> rusqlite::Result<bool> {
    let cancelled: Option<i64> = connection
        .prepare_cached("SELECT time FROM cancelled_requests WHERE request = ?1")?
        .query_row([request.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(cancelled) = cancelled else {
        return Ok(false);
    };
    let settled = receipt.and_then(|receipt| Entry::decode(&receipt.entry).ok());
    if settled.is_some_and(|entry| entry.time.as_millis() < cancelled.cast_unsigned()) {
        return Ok(false);
    }
    let accepted = connection
        .prepare_cached("SELECT 1 FROM notes WHERE payer = ?1 AND id = ?2 AND state <> 2")?
        .exists(params![payer.as_bytes(), id.as_bytes()])?;
    Ok(!accepted)
}

/// The orders that answer a request and were accepted, and whose end is not known.
fn coming(connection: &Connection, signed: &SignedRequest) -> rusqlite::Result<Vec<OrderId>> {
    let mut rows = connection.prepare_cached("SELECT bytes FROM notes WHERE state = 0")?;
    let orders = rows.query_map([], |row| {
        let bytes: Vec<u8> = row.get(0)?;
        SignedOrder::from_bytes(&bytes).map_err(|_| values::damaged(0, Type::Blob))
    })?;
    let request = signed.statement();
    let reference = Some(request.reference());
    let answers = |order: &Order| order.reference == reference && request.answered_by(order);
    let orders = orders.filter_map(|order| match order {
        Ok(order) => {
            let order = order.statement();
            answers(order).then_some(Ok(order.id))
        }
        Err(error) => Some(Err(error)),
    });
    orders.collect()
}

fn served(connection: &Connection, purpose: &Purpose) -> rusqlite::Result<Option<OrderId>> {
    connection
        .prepare_cached("SELECT id FROM purposes WHERE of = ?1 AND reference = ?2")?
        .query_row(params![purpose.of.as_bytes(), purpose.reference.0], |row| {
            values::order_id(row, 0)
        })
        .optional()
}

fn read(connection: &Connection, id: RequestId) -> rusqlite::Result<Option<SignedRequest>> {
    connection
        .prepare_cached("SELECT bytes FROM requests WHERE id = ?1")?
        .query_row([id.as_bytes()], request_row)
        .optional()
}

fn with_entries(connection: &Connection, signed: SignedRequest) -> rusqlite::Result<RequestRow> {
    let entries = connection
        .prepare_cached(
            "SELECT entry FROM request_entries WHERE request = ?1 ORDER BY entry LIMIT ?2",
        )?
        .query_map(
            params![signed.statement().id.as_bytes(), ENTRIES_MAX],
            |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()),
        )?
        .collect::<rusqlite::Result<_>>()?;
    let cancelled = connection
        .prepare_cached("SELECT 1 FROM cancelled_requests WHERE request = ?1")?
        .exists([signed.statement().id.as_bytes()])?;
    Ok(RequestRow {
        signed,
        entries,
        cancelled,
    })
}

fn request_row(row: &Row<'_>) -> rusqlite::Result<SignedRequest> {
    let bytes: Vec<u8> = row.get(0)?;
    SignedRequest::from_vec(bytes).map_err(|_| values::damaged(0, Type::Blob))
}

/// Most entries that are told of one request; history has them all.
const ENTRIES_MAX: u32 = 256;

#[cfg(test)]
mod tests;
