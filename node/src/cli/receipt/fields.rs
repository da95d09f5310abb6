//! What a receipt proves, field by field.

use quid_common::amount::Amount;
use quid_common::entry::Fact;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::receipt::{Proven, Receipt as Proof};

use super::Ground;
use crate::cli::item::{self, Receipt};

/// What a receipt proves, field by field.
pub(crate) fn receipt_item(ground: &Ground, receipt: &Proof, proven: &Proven) -> Receipt {
    let entry = proven.entry();
    let mut item = Receipt {
        entry: proven.index(),
        kind: kind(&entry.fact, ground.directory).to_owned(),
        time: item::rfc3339(entry.time),
        ledger: ground.ledger.map(|ledger| ledger.to_string()),
        entries: proven.head().size,
        receipt: receipt.to_text(),
        ..Receipt::default()
    };
    let moved = amount(&entry.fact).and_then(|amount| money(ground, amount));
    (item.amount, item.currency) = moved.unzip();
    match &entry.fact {
        Fact::Genesis(_) => {}
        Fact::Register(fact) => {
            item.name = Some(fact.statement().name.to_string());
            item.payee = Some(fact.statement().key.to_string());
        }
        Fact::Issue(fact) => {
            item.payee = Some(fact.statement().account.to_string());
        }
        Fact::Payment(order) => {
            let order = order.statement();
            item.order = Some(order.id.to_string());
            item.payer = Some(order.payer.to_string());
            item.payee = Some(order.payee.to_string());
            item.memo = Some(order.memo.as_str().to_owned());
            item.reference = order.reference.map(|reference| reference.to_string());
        }
        Fact::Void(void) => {
            item.order = Some(void.statement().id.to_string());
            item.payer = Some(void.statement().payer.to_string());
        }
        Fact::Freeze(fact) => item.payer = Some(fact.statement().account.to_string()),
        Fact::Refusal(refusal) => {
            item.order = Some(refusal.id.to_string());
            item.payer = Some(refusal.payer.to_string());
            item.reason = Some(refusal.reason.name().to_owned());
        }
        Fact::Tab(_) | Fact::Claim(_) | Fact::Close(_) | Fact::Release(_) => {
            of_tab(&mut item, ground, &entry.fact);
        }
        Fact::Rotation(_)
        | Fact::Recovery(_)
        | Fact::Objection(_)
        | Fact::Takeover(_)
        | Fact::Lock(_) => of_keys(&mut item, &entry.fact),
    }
    item
}

/// What an entry moves or holds, if it does either.
pub(super) fn amount(fact: &Fact) -> Option<Amount> {
    match fact {
        Fact::Issue(fact) => Some(fact.statement().amount),
        Fact::Payment(order) => Some(order.statement().amount),
        Fact::Tab(terms) => terms.statement().hold(),
        Fact::Claim(claim) => Some(claim.amount),
        Fact::Release(release) => Some(release.amount),
        _ => None,
    }
}

/// The fields of an entry about a tab.
fn of_tab(item: &mut Receipt, ground: &Ground, fact: &Fact) {
    let mut sides = |tab: &OrderId, payer: &PublicKey, payee: Option<&PublicKey>| {
        item.tab = Some(tab.to_string());
        item.payer = Some(payer.to_string());
        item.payee = payee.map(PublicKey::to_string);
    };
    match fact {
        Fact::Tab(terms) => {
            let terms = terms.statement();
            sides(&terms.id, &terms.payer, Some(&terms.payee));
            item.unit = money(ground, terms.unit).map(|(unit, _)| unit);
            item.units = Some(terms.length);
            item.expires = Some(item::rfc3339(terms.expires));
            item.memo = Some(terms.memo.as_str().to_owned());
            item.reference = terms.reference.map(|reference| reference.to_string());
        }
        Fact::Claim(claim) => {
            sides(&claim.id, &claim.payer, Some(&claim.payee));
            item.units = Some(claim.index.saturating_sub(claim.from));
            item.claimed = Some(claim.index);
        }
        Fact::Close(close) => {
            let close = close.statement();
            sides(&close.id, &close.payer, None);
            item.by = Some(close.by.to_string());
        }
        Fact::Release(release) => {
            sides(&release.id, &release.payer, Some(&release.payee));
        }
        _ => {}
    }
}

/// The fields of an entry about an account's keys.
fn of_keys(item: &mut Receipt, fact: &Fact) {
    match fact {
        Fact::Rotation(fact) => {
            item.by = Some(fact.statement().key.to_string());
            item.payee = Some(fact.statement().successor().to_string());
        }
        Fact::Recovery(fact) => {
            item.by = Some(fact.statement().recovery.to_string());
            item.payee = Some(fact.statement().successor.to_string());
        }
        Fact::Objection(fact) => item.by = Some(fact.statement().key.to_string()),
        Fact::Takeover(fact) => item.payee = Some(fact.statement().key.to_string()),
        Fact::Lock(fact) => item.by = Some(fact.statement().by.to_string()),
        _ => {}
    }
}

/// An amount and its currency's code; none while nobody knows what is counted.
fn money(ground: &Ground, amount: Amount) -> Option<(String, String)> {
    let currency = ground.currency.as_ref();
    currency.map(|currency| item::money(currency, amount))
}

/// The one word for an entry's kind.
pub(crate) fn kind(fact: &Fact, directory: PublicKey) -> &'static str {
    match fact {
        Fact::Genesis(_) => "genesis",
        Fact::Register(_) => "registration",
        Fact::Issue(_) => "issue",
        // The treasury's key is the directory's.
        Fact::Payment(order) if order.statement().payee == directory => "burn",
        Fact::Payment(_) => "payment",
        Fact::Void(_) => "void",
        Fact::Freeze(fact) if fact.statement().frozen => "freeze",
        Fact::Freeze(_) => "thaw",
        Fact::Refusal(_) => "refusal",
        Fact::Tab(_) => "hold",
        Fact::Claim(_) => "claim",
        Fact::Close(_) => "close",
        Fact::Release(_) => "release",
        Fact::Rotation(_) => "rotation",
        Fact::Recovery(_) => "recovery",
        Fact::Objection(_) => "objection",
        Fact::Takeover(_) => "takeover",
        Fact::Lock(fact) if fact.statement().frozen => "lock",
        Fact::Lock(_) => "unlock",
    }
}
