//! What an entry says in the history of one account.

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Memo, Order};
use quid_common::tab::Terms;
use quid_common::wire::{HistoryLine, history_kind};

/// The line of entry `number` in the history of the account that has, or had, the keys `owner`;
/// `None` if it moved none of its money.
/// `name` knows everybody in the entry.
pub(super) fn line(
    number: u64,
    entry: &Entry,
    owner: &[PublicKey],
    treasury: &PublicKey,
    name: impl Fn(&PublicKey) -> Name,
) -> Option<HistoryLine> {
    let line = |kind, incoming, amount: Amount, other: &PublicKey| HistoryLine {
        entry: number,
        time: entry.time,
        kind,
        incoming,
        amount,
        counterparty: name(other),
        memo: Memo::default(),
        order: None,
        reference: None,
    };
    match &entry.fact {
        Fact::Payment(order) => {
            let order = order.statement();
            let incoming = owner.contains(&order.payee);
            let other = if incoming { &order.payer } else { &order.payee };
            let line = line(kind_of(order, treasury), incoming, order.amount, other);
            Some(HistoryLine {
                memo: order.memo.clone(),
                order: Some(order.id),
                reference: order.reference,
                ..line
            })
        }
        Fact::Issue(issue) => {
            let amount = issue.statement().amount;
            Some(line(history_kind::ISSUE, true, amount, treasury))
        }
        Fact::Tab(terms) if owner.contains(&terms.statement().payer) => {
            let terms = terms.statement();
            let line = line(history_kind::HOLD, false, hold(terms), &terms.payee);
            Some(HistoryLine {
                memo: terms.memo.clone(),
                order: Some(terms.id),
                reference: terms.reference,
                ..line
            })
        }
        Fact::Claim(claim) => {
            let incoming = owner.contains(&claim.payee);
            let other = if incoming { &claim.payer } else { &claim.payee };
            Some(HistoryLine {
                order: Some(claim.id),
                ..line(history_kind::CLAIM, incoming, claim.amount, other)
            })
        }
        Fact::Release(release) if owner.contains(&release.payer) && !release.amount.is_zero() => {
            Some(HistoryLine {
                order: Some(release.id),
                ..line(history_kind::RELEASE, true, release.amount, &release.payee)
            })
        }
        Fact::Genesis(_)
        | Fact::Register(_)
        | Fact::Void(_)
        | Fact::Freeze(_)
        | Fact::Refusal(_)
        | Fact::Tab(_)
        | Fact::Close(_)
        | Fact::Release(_)
        | Fact::Rotation(_)
        | Fact::Recovery(_)
        | Fact::Objection(_)
        | Fact::Takeover(_)
        | Fact::Lock(_) => None,
    }
}

fn kind_of(order: &Order, treasury: &PublicKey) -> u8 {
    if order.payee == *treasury {
        history_kind::BURN
    } else {
        history_kind::PAYMENT
    }
}

/// What the log holds for terms can be counted.
fn hold(terms: &Terms) -> Amount {
    terms.hold().unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests;
