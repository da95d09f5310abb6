//! Orders to this account, money that came, and references.
//!
//! A note is written before its order is submitted and goes from accepted to paid once; only that
//! step, [`Journal::receive`], tells the application that it was paid. A payment that the payer
//! settled while nobody was here becomes a paid note in the same step.

use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Order, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::request::RequestId;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::orders::{keep_proof, read_receipt};
use super::requests::{self, Answers};
use super::{Journal, JournalError, WATERMARK, advance, values};

/// What [`Journal::note`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// The order is new and noted.
    New,
    /// These very bytes were noted before.
    Again(NoteState),
    /// Other bytes were noted under this id.
    OtherBytes,
    /// The order's reference is used up, or it does not pay the request that it names, or it has
    /// no reference of ours where one is demanded. Nothing was noted.
    Reference,
}

/// How a note stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteState {
    Accepted,
    Paid { entry: u64 },
    Refused { reason: Reason },
}

/// A note as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) order: SignedOrder,
    pub(crate) state: NoteState,
}

/// A verified entry that brought money: a payment with its order, or an issue without.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) receipt: Receipt,
    pub(crate) order: Option<SignedOrder>,
    pub(crate) counterparty: Name,
    /// The size of the log under whose checkpoint it was proved.
    pub(crate) size: u64,
    /// Whether everything up to this entry has been told by now.
    pub(crate) advances: bool,
}

/// Money that came, as [`Journal::received_after`] tells it again.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) number: i64,
    pub(crate) receipt: Receipt,
    pub(crate) payer: Name,
    pub(crate) answers: bool,
}

/// What [`Journal::receive`] did with one entry that was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    /// Its place among all that came.
    pub(crate) number: i64,
    /// Whether the order carries a reference that this home issued, as the first to do so, or pays
    /// a request of this home.
    pub(crate) answers: bool,
    /// Whether the payer had handed the order to this home.
    pub(crate) direct: bool,
}

impl Journal {
    /// Notes an order before it is submitted, and uses its reference up.
    pub(crate) async fn note(
        &self,
        order: SignedOrder,
        demand_reference: bool,
    ) -> Result<Noted, JournalError> {
        self.step(move |connection| note(connection, &order, demand_reference))
            .await
    }

    /// Closes an accepted note as refused, and frees its reference; true the first time.
    pub(crate) async fn refuse_note(
        &self,
        payer: PublicKey,
        id: OrderId,
        reason: Reason,
    ) -> Result<bool, JournalError> {
        self.step(move |connection| {
            let changed = connection
                .prepare_cached(
                    "UPDATE notes SET state = 2, reason = ?3
                     WHERE payer = ?1 AND id = ?2 AND state = 0",
                )?
                .execute(params![payer.as_bytes(), id.as_bytes(), reason.0])?;
            connection
                .prepare_cached(
                    "UPDATE issued_references SET payer = NULL, id = NULL
                     WHERE ?3 = 1 AND payer = ?1 AND id = ?2",
                )?
                .execute(params![payer.as_bytes(), id.as_bytes(), changed == 1])?;
            if changed == 1 {
                requests::let_go(connection, payer, id)?;
            }
            Ok(changed == 1)
        })
        .await
    }

    /// Takes verified entries that brought money. For each it tells whether it is new: only then
    /// may the application be told.
    pub(crate) async fn receive(
        &self,
        moved: Vec<Moved>,
    ) -> Result<Vec<Option<First>>, JournalError> {
        self.step(move |connection| {
            moved
                .iter()
                .map(|moved| receive(connection, moved))
                .collect()
        })
        .await
    }

    /// Money that came after the `number`th time, in order, `limit` at most.
    pub(crate) async fn received_after(
        &self,
        number: i64,
        limit: u32,
    ) -> Result<Vec<Received>, JournalError> {
        self.step(move |connection| {
            let mut rows = connection.prepare_cached(
                "SELECT number, payer_name, answers, entry FROM received
                 WHERE number > ?1 ORDER BY number LIMIT ?2",
            )?;
            let rows = rows.query_map(params![number, limit], |row| {
                let entry = values::entry(row, 3)?.unwrap_or_default();
                let receipt = read_receipt(connection, entry)?
                    .ok_or_else(|| values::damaged(3, Type::Integer))?;
                let payer = values::name(row, 1)?;
                Ok(Received {
                    number: row.get(0)?,
                    receipt,
                    payer,
                    answers: row.get(2)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// How many times money has come so far.
    pub(crate) fn received_last(&self) -> Result<i64, JournalError> {
        self.step_blocking(|connection| {
            connection
                .prepare_cached("SELECT coalesce(max(number), 0) FROM received")?
                .query_row([], |row| row.get(0))
        })
    }

    /// Accepted notes, whose end is not known, `limit` at most.
    pub(crate) async fn open_notes(&self, limit: u32) -> Result<Vec<Note>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(
                    "SELECT bytes, state, reason, entry FROM notes WHERE state = 0 LIMIT ?1",
                )?
                .query_map([limit], note_row)?
                .collect()
        })
        .await
    }

    /// The notes under an order id, by whichever payers.
    pub(crate) async fn notes(&self, id: OrderId) -> Result<Vec<Note>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(
                    "SELECT bytes, state, reason, entry FROM notes WHERE id = ?1 LIMIT 16",
                )?
                .query_map([id.as_bytes()], note_row)?
                .collect()
        })
        .await
    }

    /// The name that the directory has told for a payer's key.
    pub(crate) async fn payer_name(&self, key: PublicKey) -> Result<Option<Name>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached("SELECT name FROM names WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| values::name(row, 0))
                .optional()
        })
        .await
    }

    /// Issues a reference; blocks until it is durable.
    pub(crate) fn issue_reference(&self, reference: Reference) -> Result<(), JournalError> {
        self.step_blocking(move |connection| {
            connection
                .prepare_cached("INSERT INTO issued_references (reference) VALUES (?1)")?
                .execute([reference.0])
                .map(drop)
        })
    }
}

fn note(
    connection: &Connection,
    order: &SignedOrder,
    demand_reference: bool,
) -> rusqlite::Result<Noted> {
    let statement = order.statement();
    if let Some(note) = read_note(connection, statement.payer, statement.id)? {
        let same = note.order.bytes() == order.bytes();
        return Ok(if same {
            Noted::Again(note.state)
        } else {
            Noted::OtherBytes
        });
    }
    match use_reference(connection, statement, None)? {
        Taken::Used => return Ok(Noted::Reference),
        Taken::NotOurs if demand_reference => return Ok(Noted::Reference),
        Taken::NotOurs | Taken::Now | Taken::Request(_) => {}
    }
    connection
        .prepare_cached("INSERT INTO notes (payer, id, bytes, state) VALUES (?1, ?2, ?3, 0)")?
        .execute(params![
            statement.payer.as_bytes(),
            statement.id.as_bytes(),
            order.bytes()
        ])?;
    Ok(Noted::New)
}

fn receive(connection: &Connection, moved: &Moved) -> rusqlite::Result<Option<First>> {
    let entry = moved.receipt.index;
    keep_proof(connection, &moved.receipt, moved.size)?;
    if moved.advances {
        advance(connection, WATERMARK, entry)?;
    }
    let (mut answers, mut direct) = (false, false);
    if let Some(order) = &moved.order {
        let statement = order.statement();
        // What did not answer when it came does not later, when somebody else has given way.
        if !is_received(connection, entry)? {
            match use_reference(connection, statement, Some(&moved.receipt))? {
                Taken::Now => answers = true,
                Taken::Request(request) => {
                    answers = true;
                    requests::answered(connection, request, entry)?;
                }
                Taken::Used | Taken::NotOurs => {}
            }
        }
        direct = read_note(connection, statement.payer, statement.id)?.is_some();
        // A receipt outweighs everything, also a refusal that was believed before.
        connection
            .prepare_cached(
                "INSERT INTO notes (payer, id, bytes, state, entry) VALUES (?1, ?2, ?3, 1, ?4)
                 ON CONFLICT (payer, id)
                 DO UPDATE SET state = 1, reason = NULL, entry = excluded.entry,
                               bytes = excluded.bytes",
            )?
            .execute(params![
                statement.payer.as_bytes(),
                statement.id.as_bytes(),
                order.bytes(),
                entry.cast_signed(),
            ])?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO names (key, name) VALUES (?1, ?2)")?
            .execute(params![
                statement.payer.as_bytes(),
                moved.counterparty.as_str()
            ])?;
    }
    let first = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO received (entry, payer_name, answers) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![
            entry.cast_signed(),
            moved.counterparty.as_str(),
            answers
        ])?;
    let number = connection.last_insert_rowid();
    Ok((first == 1).then_some(First {
        number,
        answers,
        direct,
    }))
}

fn is_received(connection: &Connection, entry: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM received WHERE entry = ?1")?
        .exists([entry.cast_signed()])
}

/// Whether a reference could be used up by an order.
enum Taken {
    /// It is this order's, now or since before.
    Now,
    /// The order pays this request.
    Request(RequestId),
    /// Another order used it up, or it is a request's that this one does not pay.
    Used,
    /// This home did not issue it.
    NotOurs,
}

fn use_reference(
    connection: &Connection,
    order: &Order,
    receipt: Option<&Receipt>,
) -> rusqlite::Result<Taken> {
    let Some(reference) = order.reference else {
        return Ok(Taken::NotOurs);
    };
    match requests::answer(connection, order, receipt)? {
        Answers::Now(request) => return Ok(Taken::Request(request)),
        Answers::Not => return Ok(Taken::Used),
        Answers::NoRequest => {}
    }
    let (payer, id) = (order.payer, order.id);
    let user: Option<Option<(PublicKey, OrderId)>> = connection
        .prepare_cached("SELECT payer, id FROM issued_references WHERE reference = ?1")?
        .query_row([reference.0], |row| {
            if row.get_ref(0)? == rusqlite::types::ValueRef::Null {
                return Ok(None);
            }
            Ok(Some((values::key(row, 0)?, values::order_id(row, 1)?)))
        })
        .optional()?;
    match user {
        None => Ok(Taken::NotOurs),
        Some(Some(user)) if user == (payer, id) => Ok(Taken::Now),
        Some(Some(_)) => Ok(Taken::Used),
        Some(None) => {
            connection
                .prepare_cached(
                    "UPDATE issued_references SET payer = ?2, id = ?3 WHERE reference = ?1",
                )?
                .execute(params![reference.0, payer.as_bytes(), id.as_bytes()])?;
            Ok(Taken::Now)
        }
    }
}

fn read_note(
    connection: &Connection,
    payer: PublicKey,
    id: OrderId,
) -> rusqlite::Result<Option<Note>> {
    connection
        .prepare_cached(
            "SELECT bytes, state, reason, entry FROM notes WHERE payer = ?1 AND id = ?2",
        )?
        .query_row(params![payer.as_bytes(), id.as_bytes()], note_row)
        .optional()
}

fn note_row(row: &Row<'_>) -> rusqlite::Result<Note> {
    let bytes: Vec<u8> = row.get(0)?;
    let order = SignedOrder::from_bytes(&bytes).map_err(|_| values::damaged(0, Type::Blob))?;
    let state = match (row.get(1)?, values::reason(row, 2)?, values::entry(row, 3)?) {
        (0, _, _) => NoteState::Accepted,
        (1, _, Some(entry)) => NoteState::Paid { entry },
        (2, Some(reason), _) => NoteState::Refused { reason },
        _ => return Err(values::damaged(1, Type::Integer)),
    };
    Ok(Note { order, state })
}
