//! Orders of this account: one row each, from before it is sent until its end is known.

use quid_common::id::{InstanceId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::SignedOrder;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::requests::{self, Purpose};
use super::{Journal, JournalError, advance_checkpoint, values};
use crate::pay::Route;

/// An order about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) order: SignedOrder,
    pub(crate) payee: Name,
    /// The way it will go; none while that is not decided.
    pub(crate) route: Option<Route>,
    /// The run of the program that follows it.
    pub(crate) owner: InstanceId,
    /// What it is for, if that must not be paid for twice.
    pub(crate) purpose: Option<Purpose>,
}

/// What [`Journal::insert_order`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The order is in the journal and the payee's key is pinned.
    Written,
    /// Nothing was written: the payee was paid under this other key before.
    KeyChanged(PublicKey),
    /// Nothing was written: this other order or tab serves the same purpose.
    Earlier(OrderId),
}

/// An order as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderRow {
    pub(crate) order: SignedOrder,
    pub(crate) payee: Name,
    /// None if no byte of it has left.
    pub(crate) route: Option<Route>,
    pub(crate) state: OrderState,
    pub(crate) owner: InstanceId,
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderState {
    Open,
    Settled { entry: u64 },
    Refused { reason: Reason, entry: Option<u64> },
}

impl Journal {
    /// Writes a new order and pins its payee's key.
    pub(crate) async fn insert_order(&self, new: NewOrder) -> Result<Inserted, JournalError> {
        self.step(move |connection| insert(connection, &new)).await
    }

    /// Says which way an order goes, before its first byte leaves.
    pub(crate) async fn route_order(&self, id: OrderId, route: Route) -> Result<(), JournalError> {
        let sql = "UPDATE orders SET route = ?2 WHERE id = ?1";
        let values = (*id.as_bytes(), route_number(Some(route)));
        self.change(sql, values).await.map(drop)
    }

    /// Closes an order as settled and keeps its receipt; true the first time.
    pub(crate) async fn settle_order(
        &self,
        id: OrderId,
        receipt: &Receipt,
        size: u64,
    ) -> Result<bool, JournalError> {
        // A receipt outweighs everything, also a refusal that was believed before.
        let sql = "UPDATE orders SET state = 1, entry = ?2, reason = NULL
                   WHERE id = ?1 AND state <> 1";
        self.settle(sql, id, receipt, size).await
    }

    /// Keeps a verified receipt in one step with `sql`, which notes its entry at the order or tab
    /// `id`; true if that changed something.
    pub(super) async fn settle(
        &self,
        sql: &'static str,
        id: OrderId,
        receipt: &Receipt,
        size: u64,
    ) -> Result<bool, JournalError> {
        let receipt = receipt.clone();
        self.step(move |connection| {
            keep_proof(connection, &receipt, size)?;
            let changed = connection
                .prepare_cached(sql)?
                .execute(params![id.as_bytes(), receipt.index.cast_signed()])?;
            Ok(changed == 1)
        })
        .await
    }

    /// Closes an open order as refused; true the first time.
    pub(crate) async fn refuse_order(
        &self,
        id: OrderId,
        reason: Reason,
        entry: Option<u64>,
    ) -> Result<bool, JournalError> {
        let sql = "UPDATE orders SET state = 2, reason = ?2, entry = ?3
                   WHERE id = ?1 AND state = 0";
        let values = (*id.as_bytes(), reason.0, entry.map(u64::cast_signed));
        self.change(sql, values).await
    }

    /// An order of this account by its id.
    pub(crate) async fn order(&self, id: OrderId) -> Result<Option<OrderRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM orders WHERE id = ?1"))?
                .query_row([id.as_bytes()], order_row)
                .optional()
        })
        .await
    }

    /// The newest orders, whatever their state: `limit` at most, newest first.
    pub(crate) async fn newest_orders(&self, limit: u32) -> Result<Vec<OrderRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM orders ORDER BY number DESC LIMIT ?1"
                ))?
                .query_map([limit], order_row)?
                .collect()
        })
        .await
    }

    /// The orders of unknown end, oldest first, `limit` at most.
    pub(crate) async fn open_orders(&self, limit: u32) -> Result<Vec<OrderRow>, JournalError> {
        self.step(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM orders WHERE state = 0 ORDER BY number LIMIT ?1"
                ))?
                .query_map([limit], order_row)?
                .collect()
        })
        .await
    }

    /// How many orders have no known end.
    pub(crate) async fn open_orders_count(&self) -> Result<u64, JournalError> {
        self.step(|connection| {
            connection
                .prepare_cached("SELECT count(*) FROM orders WHERE state = 0")?
                .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        })
        .await
    }

    /// Takes an open order over from a run of the program that has ended; false if it is no longer
    /// open or somebody else was first.
    pub(crate) async fn claim_order(
        &self,
        id: OrderId,
        from: InstanceId,
        to: InstanceId,
    ) -> Result<bool, JournalError> {
        let sql = "UPDATE orders SET owner = ?3 WHERE id = ?1 AND owner = ?2 AND state = 0";
        self.change(sql, (*id.as_bytes(), from.0, to.0)).await
    }

    /// The key under which `name` was first paid.
    pub(crate) async fn contact(&self, name: &Name) -> Result<Option<PublicKey>, JournalError> {
        let name = name.clone();
        self.step(move |connection| pinned(connection, &name)).await
    }

    /// The names that have a key, by name.
    pub(crate) async fn contacts(&self) -> Result<Vec<Name>, JournalError> {
        self.step(move |connection| {
            let mut names =
                connection.prepare_cached("SELECT name FROM contacts ORDER BY name LIMIT ?1")?;
            let names = names.query_map([CONTACTS_MAX], |row| row.get::<_, String>(0))?;
            let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
            // Names are checked before they come in here.
            Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
        })
        .await
    }

    /// Pins another key to `name`, because a person has said so.
    pub(crate) async fn repin(&self, name: &Name, key: PublicKey) -> Result<(), JournalError> {
        let sql = "UPDATE contacts SET key = ?2 WHERE name = ?1";
        let values = (name.as_str().to_owned(), *key.as_bytes());
        self.change(sql, values).await.map(drop)
    }

    /// A receipt that was verified before it was kept.
    pub(crate) async fn receipt(&self, entry: u64) -> Result<Option<Receipt>, JournalError> {
        self.step(move |connection| read_receipt(connection, entry))
            .await
    }
}

fn insert(connection: &Connection, new: &NewOrder) -> rusqlite::Result<Inserted> {
    let order = new.order.statement();
    if let Some(key) = pin(connection, &new.payee, &order.payee)? {
        return Ok(Inserted::KeyChanged(key));
    }
    if let Some(purpose) = &new.purpose
        && let Some(earlier) = requests::serve(connection, purpose, order.id)?
    {
        return Ok(Inserted::Earlier(earlier));
    }
    connection
        .prepare_cached(
            "INSERT INTO orders (id, bytes, payee, route, state, owner)
             VALUES (?1, ?2, ?3, ?4, 0, ?5)",
        )?
        .execute(params![
            order.id.as_bytes(),
            new.order.bytes(),
            new.payee.as_str(),
            route_number(new.route),
            new.owner.0,
        ])?;
    Ok(Inserted::Written)
}

/// Pins a payee's key; the other one under which it was paid before, if there is one.
pub(super) fn pin(
    connection: &Connection,
    name: &Name,
    key: &PublicKey,
) -> rusqlite::Result<Option<PublicKey>> {
    let before = pinned(connection, name)?;
    if before.is_none() {
        connection
            .prepare_cached("INSERT INTO contacts (name, key) VALUES (?1, ?2)")?
            .execute(params![name.as_str(), key.as_bytes()])?;
    }
    Ok(before.filter(|before| before != key))
}

pub(super) fn pinned(connection: &Connection, name: &Name) -> rusqlite::Result<Option<PublicKey>> {
    connection
        .prepare_cached("SELECT key FROM contacts WHERE name = ?1")?
        .query_row([name.as_str()], |row| values::key(row, 0))
        .optional()
}

/// Keeps a receipt that was proved in a log of `size` entries, and that log's checkpoint.
pub(super) fn keep_proof(
    connection: &Connection,
    receipt: &Receipt,
    size: u64,
) -> rusqlite::Result<()> {
    advance_checkpoint(connection, size, receipt.checkpoint.as_str())?;
    connection
        .prepare_cached("INSERT OR IGNORE INTO receipts (entry, receipt) VALUES (?1, ?2)")?
        .execute(params![
            receipt.index.cast_signed(),
            quid_common::cbor::encode(receipt)
        ])
        .map(drop)
}

pub(super) fn read_receipt(
    connection: &Connection,
    entry: u64,
) -> rusqlite::Result<Option<Receipt>> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT receipt FROM receipts WHERE entry = ?1")?
        .query_row([entry.cast_signed()], |row| row.get(0))
        .optional()?;
    bytes
        .map(|bytes| quid_common::cbor::decode(&bytes))
        .transpose()
        .map_err(|_| values::damaged(0, Type::Blob))
}

fn order_row(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    let bytes: Vec<u8> = row.get(0)?;
    let order = SignedOrder::from_bytes(&bytes).map_err(|_| values::damaged(0, Type::Blob))?;
    let entry = values::entry(row, 5)?;
    let state = match (row.get(3)?, values::reason(row, 4)?, entry) {
        (0, _, _) => OrderState::Open,
        (1, _, Some(entry)) => OrderState::Settled { entry },
        (2, Some(reason), entry) => OrderState::Refused { reason, entry },
        _ => return Err(values::damaged(3, Type::Integer)),
    };
    let route = match row.get(2)? {
        0 => None,
        1 => Some(Route::Direct),
        2 => Some(Route::Directory),
        _ => return Err(values::damaged(2, Type::Integer)),
    };
    let payee = values::name(row, 1)?;
    Ok(OrderRow {
        order,
        payee,
        route,
        state,
        owner: values::instance(row, 6)?,
    })
}

const fn route_number(route: Option<Route>) -> u8 {
    match route {
        None => 0,
        Some(Route::Direct) => 1,
        Some(Route::Directory) => 2,
    }
}

const COLUMNS: &str = "bytes, payee, route, state, reason, entry, owner";

/// Most contacts that are listed.
const CONTACTS_MAX: u32 = 10_000;
