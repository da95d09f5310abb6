//! Our identifiers as SQLite columns. A value that is none means a damaged file.

use quid_common::id::{InstanceId, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use rusqlite::types::Type;
use rusqlite::{Error, Row};

pub(super) fn order_id(row: &Row<'_>, column: usize) -> rusqlite::Result<OrderId> {
    let bytes: [u8; 16] = row.get(column)?;
    OrderId::from_bytes(bytes).ok_or_else(|| damaged(column, Type::Blob))
}

pub(super) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<PublicKey> {
    row.get(column).map(PublicKey::from_bytes)
}

pub(super) fn instance(row: &Row<'_>, column: usize) -> rusqlite::Result<InstanceId> {
    row.get(column).map(InstanceId)
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| damaged(column, Type::Text))
}

pub(super) fn reason(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Reason>> {
    Ok(row.get::<_, Option<u16>>(column)?.map(Reason))
}

pub(super) fn entry(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
}

pub(super) fn damaged(column: usize, found: Type) -> Error {
    Error::FromSqlConversionFailure(column, found, "the journal is damaged here".into())
}
