//! The account's history: what is in the log, and before that what this home does not know yet.

use quid_common::amount::Amount;
use quid_common::id::{OrderId, Reference};
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_common::wire::{AskHistory, HistoryLine, Message, PAGE_LEN_MAX, history_kind};

use crate::directory::{Directory, RequestError, unexpected};
use crate::journal::{OrderRow, OrderState};

/// One line of the account's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    /// The entry in the log; none while the order's end is unknown.
    pub entry: Option<u64>,
    /// What happened.
    pub kind: Kind,
    /// Whether the account received (true) or paid (false).
    pub incoming: bool,
    /// How much.
    pub amount: Amount,
    /// Who is on the other side.
    pub counterparty: Name,
    /// The payer's words: foreign text.
    pub memo: Memo,
    /// Whether it is settled.
    pub state: HistoryState,
    /// When, in ledger time; for an order of unknown end, when it expires.
    pub time: LedgerTime,
    /// The order, for payments and burns.
    pub order: Option<OrderId>,
    /// The order's reference.
    pub reference: Option<Reference>,
}

/// A payment that this home has sent, as its journal knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentItem {
    /// The order.
    pub order: OrderId,
    /// Who is paid.
    pub payee: Name,
    /// How much.
    pub amount: Amount,
    /// The payer's words.
    pub memo: Memo,
    /// The order's reference.
    pub reference: Option<Reference>,
    /// Whether money moved.
    pub state: SentState,
}

/// Whether the money of a payment moved, without the proof of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentState {
    /// It did.
    Settled {
        /// The payment's entry in the log.
        entry: u64,
    },
    /// It did not and never will by this order.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// Not known yet; the node goes on asking.
    Unknown,
}

/// What a line of history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An order from one account to another.
    Payment,
    /// Money issued by the operator.
    Issue,
    /// An order to the treasury.
    Burn,
    /// A tab was opened by this account.
    Hold,
    /// A payee claimed what a tab paid.
    Claim,
    /// What a tab did not pay came back.
    Release,
    /// Something that this version does not know.
    Other(u8),
}

/// Whether a line of history is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryState {
    /// It is in the log.
    Settled,
    /// Its end is not known yet.
    Unknown,
}

/// Most orders of unknown end that are shown.
pub(crate) const OPEN_MAX: u32 = 1024;

/// See [`crate::Node::history`].
///
/// # Cancel safety
/// Safe.
pub(crate) async fn history(
    directory: &Directory,
    limit: usize,
    after: Option<u64>,
) -> Result<Vec<HistoryItem>, RequestError> {
    // Read before the log: an order that settles in between is in both, and shown as settled.
    let open = directory.home.journal().open_orders(OPEN_MAX).await?;
    let mut items = Vec::new();
    let mut before = None;
    while items.len() < limit {
        let wanted = (limit - items.len()).min(usize::from(PAGE_LEN_MAX));
        let wanted = u16::try_from(wanted).unwrap_or(PAGE_LEN_MAX);
        let ask = AskHistory {
            before,
            after,
            limit: wanted,
        };
        let page = match directory.ask(ask).await? {
            Message::HistoryPage(page) => page,
            answer => return Err(unexpected(&answer)),
        };
        let last = page.lines.last().map(|line| line.entry);
        let descends = page.lines.is_sorted_by(|one, two| one.entry > two.entry)
            && page
                .lines
                .first()
                .is_none_or(|line| before.is_none_or(|before| line.entry < before));
        if !descends {
            return Err(RequestError::Protocol("history out of order".to_owned()));
        }
        items.extend(
            page.lines
                .into_iter()
                .map(settled)
                .take(usize::from(wanted)),
        );
        if last.is_none() || !page.more {
            break;
        }
        before = last;
    }
    let known = |id: &OrderId| items.iter().any(|item| item.order.as_ref() == Some(id));
    let mut all: Vec<HistoryItem> = open
        .into_iter()
        .rev()
        .filter(|row| !known(&row.order.statement().id))
        .map(|row| unknown(&row))
        .collect();
    all.extend(items);
    Ok(all)
}

/// An order of the journal, whatever its state.
pub(crate) fn sent(row: &OrderRow) -> SentItem {
    let stated = row.order.statement();
    SentItem {
        order: stated.id,
        payee: row.payee.clone(),
        amount: stated.amount,
        memo: stated.memo.clone(),
        reference: stated.reference,
        state: match row.state {
            OrderState::Open => SentState::Unknown,
            OrderState::Settled { entry } => SentState::Settled { entry },
            OrderState::Refused { reason, .. } => SentState::Refused { reason },
        },
    }
}

fn settled(line: HistoryLine) -> HistoryItem {
    HistoryItem {
        entry: Some(line.entry),
        kind: match line.kind {
            history_kind::PAYMENT => Kind::Payment,
            history_kind::ISSUE => Kind::Issue,
            history_kind::BURN => Kind::Burn,
            history_kind::HOLD => Kind::Hold,
            history_kind::CLAIM => Kind::Claim,
            history_kind::RELEASE => Kind::Release,
            other => Kind::Other(other),
        },
        incoming: line.incoming,
        amount: line.amount,
        counterparty: line.counterparty,
        memo: line.memo,
        state: HistoryState::Settled,
        time: line.time,
        order: line.order,
        reference: line.reference,
    }
}

/// An order of this home of unknown end.
pub(crate) fn unknown(row: &OrderRow) -> HistoryItem {
    let stated = row.order.statement();
    HistoryItem {
        entry: None,
        kind: Kind::Payment,
        incoming: false,
        amount: stated.amount,
        counterparty: row.payee.clone(),
        memo: stated.memo.clone(),
        state: HistoryState::Unknown,
        time: stated.id.expiry(),
        order: Some(stated.id),
        reference: stated.reference,
    }
}
