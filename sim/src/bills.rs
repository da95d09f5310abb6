//! What was asked for and what was paid for it, held against the log by rules of their own.
//!
//! Only the payments of honest nodes are judged here: whoever pays past a payee, and writes an id
//! under it that is somebody's request, gives money away, and no rule forbids that. But no payee may
//! take it for what it asked for.

use std::collections::BTreeMap;

use quid_common::entry::{Entry, Fact};
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::order::Order;
use quid_common::request::{Request, Wanted};
use quid_common::tab::Terms;

use crate::accounts::Accounts;
use crate::check::{Broken, Log};
use crate::witness::Seen;

/// How often requests, refunds and intents came to something, by the log.
pub type Counts = BTreeMap<&'static str, u64>;

/// What the log has, ordered for these questions.
#[derive(Default)]
struct Paid<'a> {
    /// Payments and tabs of honest nodes that refer to something, by payer and reference.
    by_payer: BTreeMap<(PublicKey, Reference), u64>,
    /// Entries of honest nodes by which a request was paid.
    of_request: BTreeMap<Reference, Vec<u64>>,
    /// Payments, by payee and id: what a refund refers to.
    by_payee: BTreeMap<(PublicKey, OrderId), &'a Order>,
    /// Entries by payer and id.
    settled: BTreeMap<(PublicKey, OrderId), u64>,
    counts: Counts,
}

/// What is broken, if anything: a request is paid exactly or not at all, once if it says so, and
/// once by each payer; a payment is paid back once, exactly, to who made it; an intent pays once.
///
/// # Errors
/// The first broken promise.
pub fn check(log: &Log, seen: &Seen, accounts: &Accounts) -> Result<Counts, Broken> {
    if let Some(what) = seen.broken.first() {
        return Err(what.clone());
    }
    let mut paid = Paid::default();
    for (number, entry) in (0..).zip(&log.entries) {
        let judged = match &entry.fact {
            Fact::Payment(order) => {
                let order = order.statement();
                let refunded = paid.payment(number, entry, order, seen);
                refunded.and_then(|first| {
                    first.map_or(Ok(()), |first| paid.refund(first, order, accounts))
                })
            }
            Fact::Tab(terms) => paid.tab(number, entry, terms.statement(), seen),
            _ => Ok(()),
        };
        judged.map_err(|what| format!("entry {number}: {what}"))?;
    }
    paid.once(seen)?;
    paid.as_listed(log, seen)?;
    paid.intents(seen)?;
    Ok(paid.counts)
}

impl<'a> Paid<'a> {
    /// Judges a payment; the one that it refunds, if it is of that kind.
    fn payment(
        &mut self,
        number: u64,
        entry: &Entry,
        order: &'a Order,
        seen: &Seen,
    ) -> Result<Option<&'a Order>, Broken> {
        self.settled.insert((order.payer, order.id), number);
        self.by_payee.insert((order.payee, order.id), order);
        let Some(reference) = order
            .reference
            .filter(|_| seen.people.contains(&order.payer))
        else {
            return Ok(None);
        };
        self.first(order.payer, reference, number)?;
        if let Some(request) = seen.requests.get(&reference) {
            let exact = pays(request, order) && entry.time < request.expires();
            if !exact {
                return Err("a request was not paid as its payee asked, or too late".to_owned());
            }
            self.count("requests paid, by the log");
            self.of_request.entry(reference).or_default().push(number);
            return Ok(None);
        }
        let refunded = OrderId::from_bytes(reference.0)
            .and_then(|id| self.by_payee.get(&(order.payer, id)).copied());
        Ok(refunded)
    }

    /// A refund is what was paid, to the account that paid it, whatever its key is now.
    fn refund(&mut self, first: &Order, order: &Order, accounts: &Accounts) -> Result<(), Broken> {
        let back = accounts.number(&order.payee)? == accounts.number(&first.payer)?;
        if !back || order.amount != first.amount {
            return Err("a refund is not what was paid, or to somebody else".to_owned());
        }
        self.count("refunds, by the log");
        Ok(())
    }

    fn tab(
        &mut self,
        number: u64,
        entry: &Entry,
        terms: &Terms,
        seen: &Seen,
    ) -> Result<(), Broken> {
        self.settled.insert((terms.payer, terms.id), number);
        let Some(reference) = terms
            .reference
            .filter(|_| seen.people.contains(&terms.payer))
        else {
            return Ok(());
        };
        self.first(terms.payer, reference, number)?;
        let Some(request) = seen.requests.get(&reference) else {
            return Ok(());
        };
        let wanted = Wanted::Tab {
            unit: terms.unit,
            units: terms.length,
        };
        let exact = request.wanted == wanted
            && terms.payee == request.payee
            && terms.id.expiry() <= request.expires()
            && entry.time < request.expires();
        if !exact {
            return Err("a tab is not as its payee asked, or was opened too late".to_owned());
        }
        self.count("tabs of requests, by the log");
        Ok(())
    }

    /// One home serves a purpose once.
    fn first(&mut self, payer: PublicKey, reference: Reference, number: u64) -> Result<(), Broken> {
        match self.by_payer.insert((payer, reference), number) {
            None => Ok(()),
            Some(before) => Err(format!(
                "{payer} paid for {reference} a second time, after entry {before}"
            )),
        }
    }

    /// A request to be paid once in all was, at most.
    fn once(&mut self, seen: &Seen) -> Result<(), Broken> {
        for (reference, entries) in &self.of_request {
            let once = seen.requests.get(reference).is_some_and(|it| it.once);
            if once && entries.len() > 1 {
                return Err(format!(
                    "{reference} is paid once in all, and entries {entries:?} paid it"
                ));
            }
            if once {
                *self
                    .counts
                    .entry("requests paid once in all, by the log")
                    .or_default() += 1;
            }
        }
        Ok(())
    }

    /// What payees say of their requests, and what their applications were told, is what the log has.
    fn as_listed(&self, log: &Log, seen: &Seen) -> Result<(), Broken> {
        for (reference, request) in &seen.requests {
            let Some(listed) = seen.listed.get(&request.id) else {
                return Err(format!("the request {reference} is lost"));
            };
            if request.once && listed.len() > 1 {
                return Err(format!(
                    "{reference} is paid once in all, and its payee has {listed:?}"
                ));
            }
            for number in listed {
                let index = usize::try_from(*number).unwrap_or(usize::MAX);
                let answers = match log.entries.get(index).map(|entry| &entry.fact) {
                    Some(Fact::Payment(order)) => pays(request, order.statement()),
                    Some(Fact::Tab(terms)) => terms.statement().reference == Some(*reference),
                    _ => false,
                };
                if !answers {
                    return Err(format!(
                        "{reference} is said to be paid by entry {number}, which does not pay it"
                    ));
                }
            }
            let known = self.of_request.get(reference);
            let missing = known.and_then(|it| {
                // Whoever does not listen hears of it the next time.
                it.iter()
                    .filter(|_| seen.listening.contains(&request.payee))
                    .find(|&&entry| entry < seen.known && !listed.contains(&entry))
            });
            if let Some(entry) = missing {
                return Err(format!(
                    "entry {entry} pays {reference}, and its payee does not know it, but {listed:?}"
                ));
            }
        }
        for (reference, entry) in &seen.answered {
            let request = seen.requests.get(reference);
            let listed = request.and_then(|request| seen.listed.get(&request.id));
            if listed.is_some_and(|listed| !listed.contains(entry)) {
                return Err(format!(
                    "an application was told that entry {entry} pays {reference}"
                ));
            }
        }
        Ok(())
    }

    /// An intent pays once at most.
    fn intents(&self, seen: &Seen) -> Result<(), Broken> {
        for ((payer, intent), orders) in &seen.intents {
            let settled = orders
                .iter()
                .filter(|order| self.settled.contains_key(&(*payer, **order)));
            if settled.count() > 1 {
                return Err(format!("the intent {intent} of {payer} paid twice"));
            }
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// Whether an order pays exactly this, to exactly this payee, and cannot settle too late.
fn pays(request: &Request, order: &Order) -> bool {
    let amount = match request.wanted {
        Wanted::Amount(asked) => order.amount == asked,
        Wanted::Open => order.amount.units() > 0,
        Wanted::Tab { .. } => false,
    };
    amount
        && order.reference == Some(request.reference())
        && order.payee == request.payee
        && order.id.expiry() <= request.expires()
}

#[cfg(test)]
mod tests;
