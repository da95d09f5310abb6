//! The books as a whole, for the operator: sums and positions, nobody's own.

use quid_common::checkpoint::Checkpoint;
use quid_common::time::LedgerTime;

use crate::books::Books;
use crate::ledger::Totals;

/// The books as of one durable batch.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Number of entries.
    pub entries: u64,
    /// Number of entries under the newest checkpoint.
    pub checkpoint: u64,
    /// That checkpoint.
    pub note: Checkpoint,
    /// The time of the newest entry.
    pub newest: LedgerTime,
    /// Ledger time when this was asked.
    pub time: LedgerTime,
    /// Number of accounts, the treasury not counted.
    pub accounts: usize,
    /// Both sides of the books.
    pub totals: Totals,
    /// Tabs that are open.
    pub open_tabs: usize,
    /// Ids in memory.
    pub live_ids: usize,
    /// Entries that the index holds for good.
    pub indexed: u64,
    /// How many entries this directory has signed, if the log lacks any of them.
    pub signed: Option<u64>,
}

impl Survey {
    /// Adds up `books`: a look at every account.
    pub(super) fn of(books: &Books) -> Self {
        let ledger = &books.ledger;
        Self {
            entries: ledger.entries(),
            checkpoint: books.checkpoint().claim().map_or(0, |head| head.size),
            note: books.checkpoint().clone(),
            newest: ledger.time(),
            time: books.time(),
            accounts: ledger.accounts().len().saturating_sub(1),
            totals: ledger.totals(),
            open_tabs: ledger.open_tabs(),
            live_ids: ledger.live_ids(),
            indexed: books.indexed(),
            signed: books.ahead.as_ref().map(crate::ahead::Ahead::size),
        }
    }

    /// Whether what accounts have is what was issued and not burnt (promise I1).
    #[must_use]
    pub fn balances(&self) -> bool {
        let Totals {
            issued,
            burnt,
            available,
            held,
        } = self.totals;
        let outside = issued.checked_sub(burnt).map(u128::from);
        outside.is_some() && available.checked_add(held) == outside
    }
}

/// What waits for the settlement, and what it had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Jobs of accounts that are trusted.
    pub trusted: usize,
    /// Jobs of accounts under which bad signatures or claims came.
    pub distrusted: usize,
    /// Long claims that wait to be hashed, and what waits behind them.
    pub claims: usize,
    /// Jobs that were answered *busy* for lack of room, since the start.
    pub turned_away: u64,
    /// Of claims and what waits behind them, since the start.
    pub claims_turned_away: u64,
    /// Long claims that were hashed, since the start.
    pub claims_hashed: u64,
}
