//! Who hears of what a durable batch did: the sessions concerned, and the log.

use std::sync::Arc;

use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::tab::Close;
use tracing::{debug, info};

use super::{Committer, Receipts};
use crate::events::{self, Moved};
use crate::ledger::Past;
use crate::logging::AuditLines;

impl Committer {
    /// Tells the sessions concerned, and the log, what a durable batch moved.
    pub(super) fn tell(&self, entries: &[Entry], receipts: Option<&Arc<Receipts>>) {
        let first = self.books.ledger.entries() - entries.len() as u64;
        let mut lines = AuditLines::begin();
        for (index, entry) in (first..).zip(entries) {
            if let Some(lines) = &mut lines {
                self.log(index, &entry.fact, lines);
            }
            match &entry.fact {
                Fact::Freeze(freeze) => {
                    let key = freeze.statement().account;
                    // The batch may have given the account another key since.
                    if let Some(account) = self.books.ledger.account(&key) {
                        self.hub.freeze(account.key, account.is_frozen());
                    }
                }
                Fact::Issue(issue) => {
                    let issue = issue.statement();
                    self.tell_of(index, &issue.account, &issue.directory, receipts);
                }
                Fact::Rotation(_)
                | Fact::Recovery(_)
                | Fact::Objection(_)
                | Fact::Takeover(_)
                | Fact::Lock(_) => self.tell_of_keys(index, &entry.fact),
                fact if events::is_of_tab(fact) || matches!(fact, Fact::Payment(_)) => {
                    if let [Some(payer), Some(payee)] = self.parties(fact) {
                        self.tell_of(index, &payer, &payee, receipts);
                        self.tell_of(index, &payee, &payer, receipts);
                    }
                }
                _ => {}
            }
        }
        if let Some(lines) = lines {
            lines.write();
        }
    }

    /// The line that entry `index` leaves in the log.
    fn log(&self, index: u64, fact: &Fact, lines: &mut AuditLines) {
        match fact {
            Fact::Payment(order) => {
                let order = order.statement();
                let (payer, payee) = (self.name(&order.payer), self.name(&order.payee));
                lines.settled(index, order, payer, payee);
            }
            Fact::Issue(issue) => {
                let issue = issue.statement();
                let (account, amount) = (self.name(&issue.account), issue.amount.units());
                info!(target: "quid_directory::audit", entry = index, %account, amount, "issued");
            }
            Fact::Tab(terms) => {
                let terms = terms.statement();
                let names = (self.name(&terms.payer), self.name(&terms.payee));
                lines.tab("opened", index, terms.id, names, terms.hold());
            }
            Fact::Claim(claim) => {
                let names = (self.name(&claim.payer), self.name(&claim.payee));
                lines.tab("claimed", index, claim.id, names, Some(claim.amount));
            }
            Fact::Close(close) => {
                let [_, payee] = self.parties(fact);
                let close = close.statement();
                let payee = self.name(&payee.unwrap_or(close.by));
                let names = (self.name(&close.payer), payee);
                lines.tab("closed", index, close.id, names, None);
            }
            Fact::Release(release) => {
                let names = (self.name(&release.payer), self.name(&release.payee));
                lines.tab("released", index, release.id, names, Some(release.amount));
            }
            Fact::Refusal(refusal) => {
                let (payer, reason) = (self.name(&refusal.payer), refusal.reason.name());
                info!(
                    target: "quid_directory::audit", entry = index, order = %refusal.id, %payer,
                    reason, "refused"
                );
            }
            fact => debug!(target: "quid_directory::audit", entry = index, ?fact, "logged"),
        }
    }

    /// Tells the sessions of `account`, if it has any that listen.
    fn tell_of(
        &self,
        index: u64,
        account: &PublicKey,
        counterparty: &PublicKey,
        receipts: Option<&Arc<Receipts>>,
    ) {
        if !self.hub.wants(account) {
            return;
        }
        if let Some(proof) = receipts.and_then(|all| all.of(index)) {
            let moved = Moved {
                index,
                receipt: proof.into_receipt(),
                counterparty: self.name(counterparty).clone(),
            };
            self.hub.moved(account, &moved);
        }
    }

    /// The accounts that an entry concerns, by the keys that they have now: of one about a tab its
    /// payer, then its payee.
    pub(super) fn parties(&self, fact: &Fact) -> [Option<PublicKey>; 2] {
        let parties = match (events::parties(fact), fact) {
            // By the payer, and the tab stays open for a while.
            ([payer, None], Fact::Close(close)) => {
                let Close { payer: of, id, .. } = close.statement();
                let open = self.books.ledger.tab(of, *id);
                let payee = open.map(|(payee, _)| payee.key);
                [payer, payee.or_else(|| self.opening_payee(of, *id))]
            }
            (parties, _) => parties,
        };
        parties.map(|party| party.map(|key| self.books.ledger.current(&key)))
    }

    /// The payee of a tab that is no more, as its opening has it.
    fn opening_payee(&self, payer: &PublicKey, id: OrderId) -> Option<PublicKey> {
        let (ledger, old) = (&self.books.ledger, &self.books.old_ids);
        let index = ledger
            .fate(payer, id)
            .or_else(|| match old.find(ledger, payer, id) {
                Past::Entry { index, .. } => Some(index),
                Past::Never | Past::Behind => None,
            })?;
        let (opening, _) = self.books.entry_receipt(index).ok()?;
        opening.terms().map(|terms| terms.statement().payee)
    }

    /// Whose key it is; the treasury's name for one that is nobody's, which no entry has.
    pub(super) fn name(&self, key: &PublicKey) -> &Name {
        let account = self.books.ledger.account(key);
        account.map_or(&self.treasury, |account| &account.name)
    }
}
