//! What is read when the directory cannot be asked: the account as the directory last told it, and
//! the entries that this home holds receipts of.

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact};
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use quid_common::time::LedgerTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Journal, JournalError, keep_setting, setting, values};
use crate::known::Had;

/// An entry that this home holds the receipt of, and who is on its other side.
#[derive(Clone, Debug)]
pub(crate) struct KnownEntry {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    /// None of what concerns nobody else, or of whom this home knows no name.
    pub(crate) counterparty: Option<Name>,
}

impl Journal {
    /// Keeps what the account has, unless something newer was kept.
    pub(crate) async fn keep_had(&self, had: Had) -> Result<(), JournalError> {
        self.step(move |connection| {
            if read_had(connection)?.is_none_or(|kept| kept.time <= had.time) {
                keep_setting(connection, HAD, &had_text(had))?;
            }
            Ok(())
        })
        .await
    }

    /// What the account had when the directory last told it.
    pub(crate) async fn had(&self) -> Result<Option<Had>, JournalError> {
        self.step(read_had).await
    }

    /// The newest entries below `before` and above `after` of which there is a receipt, newest
    /// first, `limit` at most.
    pub(crate) async fn known_entries(
        &self,
        before: Option<u64>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<KnownEntry>, JournalError> {
        let before = before.map_or(i64::MAX, u64::cast_signed);
        let after = after.map_or(-1, u64::cast_signed);
        self.step(move |connection| {
            let mut rows = connection.prepare_cached(
                "SELECT receipt FROM receipts WHERE entry < ?1 AND entry > ?2
                 ORDER BY entry DESC LIMIT ?3",
            )?;
            let receipts: Vec<Vec<u8>> = rows
                .query_map(params![before, after, limit], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            receipts
                .iter()
                .map(|receipt| known(connection, receipt))
                .collect()
        })
        .await
    }
}

fn had_text(had: Had) -> String {
    let (balance, held) = (had.balance.units(), had.held.units());
    format!("{balance} {held} {}", had.time.as_millis())
}

fn parse_had(text: &str) -> Option<Had> {
    let mut numbers = text.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Had {
        balance: Amount::new(next()?)?,
        held: Amount::new(next()?)?,
        time: LedgerTime::try_from(next()?).ok()?,
    })
}

fn read_had(connection: &Connection) -> rusqlite::Result<Option<Had>> {
    let text: Option<String> = setting(connection, HAD)?;
    Ok(text.and_then(|text| parse_had(&text)))
}

fn known(connection: &Connection, receipt: &[u8]) -> rusqlite::Result<KnownEntry> {
    let damaged = || values::damaged(0, Type::Blob);
    let receipt: Receipt = quid_common::cbor::decode(receipt).map_err(|_| damaged())?;
    let entry = Entry::decode(&receipt.entry).map_err(|_| damaged())?;
    let counterparty = match &entry.fact {
        Fact::Payment(order) => {
            let id = order.statement().id;
            match name(connection, PAYER, [receipt.index.cast_signed()])? {
                Some(payer) => Some(payer),
                None => name(connection, PAYEE, [id.as_bytes()])?,
            }
        }
        Fact::Issue(_) => name(connection, PAYER, [receipt.index.cast_signed()])?,
        Fact::Tab(terms) => name(connection, TAB_PAYEE, [terms.statement().id.as_bytes()])?,
        _ => None,
    };
    Ok(KnownEntry {
        index: receipt.index,
        entry,
        counterparty,
    })
}

fn name(
    connection: &Connection,
    sql: &str,
    which: impl rusqlite::Params,
) -> rusqlite::Result<Option<Name>> {
    connection
        .prepare_cached(sql)?
        .query_row(which, |row| values::name(row, 0))
        .optional()
}

const PAYER: &str = "SELECT payer_name FROM received WHERE entry = ?1";
const PAYEE: &str = "SELECT payee FROM orders WHERE id = ?1";
const TAB_PAYEE: &str = "SELECT payee FROM tabs WHERE id = ?1";

/// The setting that has what the account had.
const HAD: &str = "had";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_account_had_is_read_as_it_was_written_and_nothing_else_is() {
        let had = Had {
            balance: Amount::new(8_750_000).expect("small"),
            held: Amount::new(50_000).expect("small"),
            time: LedgerTime::from_millis(1_763_000_000_123),
        };
        assert_eq!(had_text(had), "8750000 50000 1763000000123");
        assert_eq!(parse_had(&had_text(had)), Some(had));
        for text in ["", "1", "1 2", "1 2 x", "-1 2 3", "1 2 99999999999999999"] {
            assert_eq!(parse_had(text), None, "{text}");
        }
    }
}
