//! What a home knows by itself, for when the directory cannot be asked.
//!
//! None of it is current. Money that moved is only here if this home holds its receipt; what came
//! while nobody listened, and what was claimed and given back of tabs, only the directory knows.

use std::path::{Path, PathBuf};

use quid_common::amount::{Amount, Currency};
use quid_common::entry::Fact;
use quid_common::id::LedgerId;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::time::LedgerTime;

use crate::history::{HistoryItem, HistoryState, Kind, OPEN_MAX, unknown};
use crate::home::Home;
use crate::journal::{JournalError, KnownEntry, OrderRow};
use crate::trust::Trust;

/// The account as a home knows it by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The account's name.
    pub name: Name,
    /// The ledger.
    pub ledger: LedgerId,
    /// What is counted.
    pub currency: Currency,
    /// What the account had when the directory last told it.
    pub had: Option<Had>,
    /// How many tabs of this home are open or may be.
    pub tabs: u64,
    /// How many of this home's orders have no known end yet.
    pub pending: u64,
    /// Where the proof is that the directory has signed two histories, if it has.
    pub fork: Option<PathBuf>,
    /// The ledger time of the newest that this home has heard of the account; none if of nothing.
    pub heard: Option<LedgerTime>,
}

/// What an account had at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Had {
    /// What it could spend.
    pub balance: Amount,
    /// What was reserved for its tabs.
    pub held: Amount,
    /// When, in ledger time.
    pub time: LedgerTime,
}

/// The account; none before the first login.
pub(crate) async fn account(home: &Home, trust: &Trust) -> Result<Option<Known>, JournalError> {
    let (Some(name), Some(ledger), Some(currency)) = (home.name(), home.ledger(), home.currency())
    else {
        return Ok(None);
    };
    let journal = home.journal();
    let had = journal.had().await?;
    let newest = journal.known_entries(None, None, 1).await?;
    let newest = newest.first().map(|known| known.entry.time);
    Ok(Some(Known {
        name,
        ledger,
        currency,
        had,
        tabs: journal.open_tabs().await?.len() as u64,
        pending: journal.open_orders_count().await?,
        fork: trust.fork().map(Path::to_owned),
        heard: had.map(|had| had.time).max(newest),
    }))
}

/// The history, newest first: orders of unknown end, then at most `limit` entries, all above
/// `after`.
pub(crate) async fn history(
    home: &Home,
    limit: usize,
    after: Option<u64>,
) -> Result<Vec<HistoryItem>, JournalError> {
    let journal = home.journal();
    // Read first: an order that settles in between is in both, and shown as settled.
    let open = journal.open_orders(OPEN_MAX).await?;
    let mut items: Vec<HistoryItem> = Vec::new();
    let mut before = None;
    while items.len() < limit {
        let page = journal.known_entries(before, after, PAGE_LEN).await?;
        before = page.last().map(|known| known.index);
        if before.is_none() {
            break;
        }
        items.extend(page.iter().filter_map(|known| item(home, known)));
    }
    items.truncate(limit);
    let known = |row: &OrderRow| {
        let id = row.order.statement().id;
        items.iter().any(|item| item.order == Some(id))
    };
    let mut all: Vec<HistoryItem> = open
        .iter()
        .rev()
        .filter(|row| !known(row))
        .map(unknown)
        .collect();
    all.extend(items);
    Ok(all)
}

/// The line of an entry that moved money of this account, as the directory's history has it.
fn item(home: &Home, known: &KnownEntry) -> Option<HistoryItem> {
    let nothing = HistoryItem {
        entry: Some(known.index),
        kind: Kind::Payment,
        incoming: true,
        amount: Amount::ZERO,
        counterparty: known.counterparty.clone()?,
        memo: Memo::default(),
        state: HistoryState::Settled,
        time: known.entry.time,
        order: None,
        reference: None,
    };
    Some(match &known.entry.fact {
        Fact::Payment(order) => {
            let order = order.statement();
            let kind = if order.payee == home.directory().key() {
                Kind::Burn
            } else {
                Kind::Payment
            };
            HistoryItem {
                kind,
                incoming: !home.is_own(&order.payer),
                amount: order.amount,
                memo: order.memo.clone(),
                order: Some(order.id),
                reference: order.reference,
                ..nothing
            }
        }
        Fact::Issue(issue) => HistoryItem {
            kind: Kind::Issue,
            amount: issue.statement().amount,
            ..nothing
        },
        // Its payee has a line only of what was claimed.
        Fact::Tab(terms) if home.is_own(&terms.statement().payer) => {
            let terms = terms.statement();
            HistoryItem {
                kind: Kind::Hold,
                incoming: false,
                amount: terms.hold()?,
                memo: terms.memo.clone(),
                order: Some(terms.id),
                reference: terms.reference,
                ..nothing
            }
        }
        _ => return None,
    })
}

/// Receipts that are read at once.
const PAGE_LEN: u32 = 256;
