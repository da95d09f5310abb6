//! What a log says of the ids that payers used, for the targets that play with the rules.

use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_directory::ledger::Past;

/// The id that an entry used up, with its payer.
pub(crate) fn id_of(fact: &Fact) -> Option<(PublicKey, OrderId)> {
    match fact {
        Fact::Payment(order) => Some((order.statement().payer, order.statement().id)),
        Fact::Void(void) => Some((void.statement().payer, void.statement().id)),
        Fact::Refusal(refusal) => Some((refusal.payer, refusal.id)),
        Fact::Tab(terms) => Some((terms.statement().payer, terms.statement().id)),
        _ => None,
    }
}

/// What a perfect index behind the books says of the id that `is_it` knows.
pub(crate) fn past(log: &[Entry], is_it: impl Fn(PublicKey, OrderId) -> bool) -> Past {
    let used = |entry: &Entry| id_of(&entry.fact).is_some_and(|(payer, id)| is_it(payer, id));
    let Some(at) = log.iter().position(used) else {
        return Past::Never;
    };
    let order = match &log[at].fact {
        Fact::Payment(order) => Some(order.digest()),
        Fact::Refusal(refusal) => Some(refusal.order),
        Fact::Tab(terms) => Some(terms.digest()),
        _ => None,
    };
    let index = at as u64;
    Past::Entry { index, order }
}
