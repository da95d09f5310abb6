//! Whom a tab pays that its payer closes: the close does not say, so its opening is looked for.

use std::path::Path;

use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use rusqlite::{Connection, OptionalExtension, params};

use super::posting::Posting;
use super::{ACCOUNT, FIND, IndexError, sql};
use crate::store::{LogReader, StoreError};

/// The entry that used `payer`'s `id`, as the file at `path` has it.
pub(super) fn find(
    file: &Connection,
    path: &Path,
    payer: &PublicKey,
    id: OrderId,
) -> Result<Option<u64>, IndexError> {
    let find = || -> rusqlite::Result<Option<i64>> {
        let Some(account) = account(file, payer)? else {
            return Ok(None);
        };
        let mut find = file.prepare_cached(FIND)?;
        find.query_row(params![id.as_bytes(), account], |row| row.get(0))
            .optional()
    };
    let entry = find().map_err(sql("read", path))?;
    Ok(entry.map(i64::cast_unsigned))
}

/// The number of an account in the file.
pub(super) fn account(file: &Connection, key: &PublicKey) -> rusqlite::Result<Option<i64>> {
    file.prepare_cached(ACCOUNT)?
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()
}

/// The payee of `payer`'s tab `id`, if the file knows its opening.
pub(super) fn filed(
    file: &Connection,
    path: &Path,
    log: &LogReader,
    payer: &PublicKey,
    id: OrderId,
) -> Result<Option<PublicKey>, IndexError> {
    let Some(entry) = find(file, path, payer, id)? else {
        return Ok(None);
    };
    let opening = Posting::read(&log.entry(entry)?.bytes);
    // Under whichever of the account's keys it was opened.
    Ok(opening.opening(id).map(|[_, payee]| payee))
}

/// The payee of `payer`'s tab `id`, if it was opened by one of the entries from number `from` up to
/// but not including `to`.
pub(super) fn logged(
    log: &LogReader,
    (from, to): (u64, u64),
    payer: &PublicKey,
    id: OrderId,
) -> Result<Option<PublicKey>, StoreError> {
    let mut payee = None;
    log.scan(from, to, |_, entry| {
        let opening = Posting::read(&entry.bytes).opening(id);
        payee = payee.or_else(|| opening.filter(|it| it[0] == *payer).map(|it| it[1]));
        Ok::<_, StoreError>(())
    })?;
    Ok(payee)
}
