//! The fold of what happens to tabs.

use quid_common::chain::{GAP_MAX, Link, Mark};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::tab::{Claim, Release, SignedClose, SignedTerms, Tab, units};
use quid_common::time::LedgerTime;

use super::{Rule, credit};
use crate::ledger::Ledger;
use crate::ledger::ids::{self, Used};
use crate::ledger::tabs::{Open, Which};
use crate::ledger::walk::Walk;

impl Ledger {
    /// That `below`, hashed down from `claim`'s link by as many links as it claims, is the last link
    /// claimed before. To be asked before the claim is applied: an auditor does, and whoever appends
    /// a new one has a [`quid_common::tab::Hashed`].
    ///
    /// A claim that [`Ledger::apply`] refuses anyhow is left to it.
    ///
    /// # Errors
    /// [`Rule::Link`].
    pub fn check_link(&self, claim: &Claim, below: &Link) -> Result<(), Rule> {
        match self.tab(&claim.payer, claim.id) {
            Some((_, tab)) if tab.claimed.index == claim.from && tab.claimed.link != *below => {
                Err(Rule::Link)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open_tab(
        &mut self,
        index: u64,
        time: LedgerTime,
        signed: &SignedTerms,
    ) -> Result<(), Rule> {
        let terms = signed.statement();
        self.check_statement(terms.version, terms.ledger)?;
        let payer_at = self.check_id(&terms.payer, terms.id, time)?;
        let payee_at = self.holder_at(&terms.payee).ok_or(Rule::UnknownAccount)?;
        terms.check().map_err(|reason| match reason {
            Reason::ZERO_AMOUNT => Rule::ZeroAmount,
            Reason::SELF_PAYMENT => Rule::SelfPayment,
            _ => Rule::Terms,
        })?;
        let hold = terms.hold().ok_or(Rule::Terms)?;
        if payer_at == payee_at {
            return Err(Rule::SelfPayment);
        }
        let payee = self.accounts.get(payee_at).ok_or(Rule::UnknownAccount)?;
        if payee.key != terms.payee {
            return Err(Rule::KeyReplaced);
        }
        let payee = payee.number;
        let payer = self
            .accounts
            .get_mut(payer_at)
            .ok_or(Rule::UnknownAccount)?;
        if payer.key != terms.payer {
            return Err(Rule::KeyReplaced);
        }
        if payer.is_frozen() {
            return Err(Rule::Frozen);
        }
        let available = payer.available.checked_sub(hold).ok_or(Rule::Funds)?;
        let held = payer.held.checked_add(hold).ok_or(Rule::Overflow)?;

        Walk::keep(&mut self.walk, payer_at, payer);
        (payer.available, payer.held) = (available, held);
        let order = signed.digest();
        let used = Used {
            entry: index,
            order: Some(order),
            long: ids::is_long(terms.id.expiry(), time),
        };
        self.ids.insert(terms.id, payer.number, used);
        let (which, open) = (
            (terms.id, payer.number),
            Open::new(Tab::open(terms), payee, index),
        );
        self.tabs.put(which, open);
        self.redo.tab(time, which, &open, order);
        Ok(())
    }

    /// Whether the link leads to what was claimed before is for [`Ledger::check_link`]: hashing is
    /// as dear as a signature, and like those is the caller's to verify.
    pub(super) fn claim(
        &mut self,
        index: u64,
        time: LedgerTime,
        claim: &Claim,
    ) -> Result<(), Rule> {
        let (which, open) = self.open_tab_of(&claim.payer, claim.id, &claim.payee)?;
        let tab = &open.tab;
        if claim.from != tab.claimed.index {
            return Err(Rule::Claimed);
        }
        let count = claim
            .index
            .checked_sub(claim.from)
            .filter(|count| (1..=GAP_MAX).contains(count))
            .ok_or(Rule::Gap)?;
        if claim.index > tab.length {
            return Err(Rule::PastEnd);
        }
        if units(tab.unit, count) != Some(claim.amount) {
            return Err(Rule::TabAmount);
        }
        let [payer_at, payee_at] = [which.1, open.payee].map(place);
        let Ok([payer, payee]) = self.accounts.get_disjoint_mut([payer_at, payee_at]) else {
            return Err(Rule::UnknownAccount);
        };
        let held = payer.held.checked_sub(claim.amount).ok_or(Rule::Funds)?;
        let credited = credit(payee, claim.amount)?;

        Walk::keep(&mut self.walk, payer_at, payer);
        Walk::keep(&mut self.walk, payee_at, payee);
        Walk::keep_tab(&mut self.walk, which, &open);
        payer.held = held;
        payee.available = credited;
        let to = Mark {
            index: claim.index,
            link: claim.link,
        };
        self.tabs.put(which, open.claimed(to, index));
        self.redo.claim(time, which, to);
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        index: u64,
        time: LedgerTime,
        signed: &SignedClose,
    ) -> Result<(), Rule> {
        let close = signed.statement();
        self.check_statement(close.version, close.ledger)?;
        let at = self.holder_at(&close.payer).ok_or(Rule::UnknownAccount)?;
        let which = (close.id, number(at));
        let open = *self.tabs.get(which).ok_or(Rule::NoTab)?;
        let payee = self.numbered(open.payee).ok_or(Rule::UnknownAccount)?;
        let by_payee = self.is_same(&close.by, &payee.key);
        if !by_payee && close.by != close.payer {
            return Err(Rule::Stranger);
        }
        if self.current(&close.by) != close.by {
            return Err(Rule::KeyReplaced);
        }
        if !open.can_close(by_payee, time) {
            return Err(Rule::Ended);
        }

        Walk::keep_tab(&mut self.walk, which, &open);
        self.tabs.put(which, open.closed(by_payee, time, index));
        self.redo.close(time, which, by_payee);
        Ok(())
    }

    pub(super) fn release(&mut self, time: LedgerTime, release: &Release) -> Result<(), Rule> {
        let (which, open) = self.open_tab_of(&release.payer, release.id, &release.payee)?;
        if !open.tab.is_over(time) {
            return Err(Rule::NotOver);
        }
        if release.amount != open.tab.held() {
            return Err(Rule::TabAmount);
        }
        let at = place(which.1);
        let payer = self.accounts.get_mut(at).ok_or(Rule::UnknownAccount)?;
        let held = payer.held.checked_sub(release.amount).ok_or(Rule::Funds)?;
        let available = payer
            .available
            .checked_add(release.amount)
            .ok_or(Rule::Overflow)?;

        Walk::keep(&mut self.walk, at, payer);
        Walk::keep_tab(&mut self.walk, which, &open);
        (payer.available, payer.held) = (available, held);
        self.tabs.remove(which);
        self.redo.release(time, which);
        Ok(())
    }

    /// `payer`'s open tab `id`, whose payee must be `payee`: both by the keys that the terms name.
    fn open_tab_of(
        &self,
        payer: &PublicKey,
        id: OrderId,
        payee: &PublicKey,
    ) -> Result<(Which, Open), Rule> {
        let at = self.holder_at(payer).ok_or(Rule::UnknownAccount)?;
        let which = (id, number(at));
        let open = *self.tabs.get(which).ok_or(Rule::NoTab)?;
        let named = |number, key: &PublicKey| {
            self.numbered(number)
                .is_some_and(|it| it.key_at(open.opened) == *key)
        };
        if !named(open.payee, payee) || !named(which.1, payer) {
            return Err(Rule::Payee);
        }
        Ok((which, open))
    }
}

/// The place of the account with this number, and beyond all places if there can be none.
fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The number of the account at this place.
fn number(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}
