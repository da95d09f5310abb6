//! What terms, claims and closes deserve, and which tabs are to be released.

use quid_common::chain::Mark;
use quid_common::entry::{Fact, Refusal};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::order::STATEMENT_VERSION;
use quid_common::refusal::Reason;
use quid_common::tab::{Claim, Hashed, Release, SignedClose, SignedTerms};
use quid_common::time::LedgerTime;

use super::{Past, Verdict};
use crate::ledger::tabs::Open;
use crate::ledger::{Amount, Ledger};

impl Ledger {
    /// What refuses terms whoever signed them; see [`Ledger::screen_order`].
    ///
    /// # Errors
    /// *Encoding* for another version; *wrong ledger*.
    pub fn screen_tab(&self, terms: &SignedTerms) -> Result<(), Reason> {
        if terms.statement().version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        if !self.is_ours(terms.statement().ledger) {
            return Err(Reason::WRONG_LEDGER);
        }
        Ok(())
    }

    /// What refuses a close whoever signed it; see [`Ledger::screen_order`].
    ///
    /// # Errors
    /// *Encoding* for another version; *wrong ledger*.
    pub fn screen_close(&self, close: &SignedClose) -> Result<(), Reason> {
        if close.statement().version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        if !self.is_ours(close.statement().ledger) {
            return Err(Reason::WRONG_LEDGER);
        }
        Ok(())
    }

    /// What `terms` deserve at `now`, submitted by the account key `submitter`, who must be their
    /// payer.
    ///
    /// The caller has verified the signature. A tab to the treasury is to an *unknown account*.
    /// `Known` may be the refusal of these very terms, or a void. The rest is as in
    /// [`Ledger::decide_order`].
    pub fn decide_tab(
        &self,
        terms: &SignedTerms,
        submitter: &PublicKey,
        now: LedgerTime,
        past: &mut dyn FnMut(&PublicKey, OrderId) -> Past,
    ) -> Verdict {
        if let Err(reason) = self.screen_tab(terms) {
            return Verdict::Refuse(reason);
        }
        let digest = terms.digest();
        let stated = terms.statement();
        let now = now.max(self.time);
        if !self.is_same(submitter, &stated.payer) {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }

        let payer = self.holder(&stated.payer);
        if let Some(verdict) = self.meet_id(payer, stated.id, Some(digest), now, past) {
            return verdict;
        }
        let (Some(payer), Some(payee)) = (payer, self.holder(&stated.payee)) else {
            return Verdict::Refuse(Reason::UNKNOWN_ACCOUNT);
        };
        if let Err(reason) = stated.check() {
            return Verdict::Refuse(reason);
        }
        if payer.number == payee.number {
            return Verdict::Refuse(Reason::SELF_PAYMENT);
        }
        if payer.key != stated.payer || payee.key != stated.payee {
            return Verdict::Refuse(Reason::KEY_REPLACED);
        }
        let room = self.tabs.len() < self.caps.open_tabs;
        if !room || !self.has_room(payer, stated.id, now) {
            return Verdict::Refuse(Reason::BUSY);
        }
        if self.tabs.of(payer.number) >= self.caps.tabs_per_payer {
            return Verdict::Refuse(Reason::TOO_MANY_TABS);
        }

        let reason = if payer.is_frozen() {
            Reason::FROZEN
        } else if stated.hold().is_none_or(|hold| payer.available < hold) {
            Reason::INSUFFICIENT_FUNDS
        } else {
            return Verdict::Append(Fact::Tab(terms.clone()));
        };
        Verdict::Append(Fact::Refusal(Refusal {
            payer: stated.payer,
            id: stated.id,
            order: digest,
            reason,
        }))
    }

    /// What a claim by the account key `submitter` on `payer`'s tab `id` deserves, whatever the
    /// time: a tab takes claims until it is released.
    ///
    /// A claim of exactly what the last one claimed is that one's entry. *No tab* can mean that it
    /// has been released. A frozen payer's tabs are claimed like any.
    #[must_use]
    pub fn decide_claim(
        &self,
        payer: &PublicKey,
        id: OrderId,
        hashed: &Hashed,
        submitter: &PublicKey,
    ) -> Verdict {
        let Some((open, [payer, payee])) = self.open(payer, id) else {
            return Verdict::Refuse(Reason::NO_TAB);
        };
        if !self.is_same(submitter, &payee) {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }
        let to = hashed.to();
        if let Some(entry) = open.claimed.filter(|_| to == open.tab.claimed) {
            return Verdict::Known { entry: entry.get() };
        }
        match open.tab.claim(hashed) {
            Ok((amount, _)) => Verdict::Append(claim(payer, id, payee, amount, hashed.from(), to)),
            Err(reason) => Verdict::Refuse(reason),
        }
    }

    /// What `close` deserves at `now`, submitted by the account key `submitter`, who must have
    /// signed it and be the tab's payer or payee. A frozen account may close.
    ///
    /// The caller has verified the signature. `Known` is the entry that closed the tab, maybe by
    /// the other. *Tab over* if the payer closes what has ended by itself.
    #[must_use]
    pub fn decide_close(
        &self,
        close: &SignedClose,
        submitter: &PublicKey,
        now: LedgerTime,
    ) -> Verdict {
        if let Err(reason) = self.screen_close(close) {
            return Verdict::Refuse(reason);
        }
        let stated = close.statement();
        let now = now.max(self.time);
        if *submitter != stated.by {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }
        let Some((open, [_, payee])) = self.open(&stated.payer, stated.id) else {
            return Verdict::Refuse(Reason::NO_TAB);
        };
        let by_payee = self.is_same(&stated.by, &payee);
        if !by_payee && stated.by != stated.payer {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }
        if self.current(&stated.by) != stated.by {
            return Verdict::Refuse(Reason::KEY_REPLACED);
        }
        if open.can_close(by_payee, now) {
            return Verdict::Append(Fact::Close(close.clone()));
        }
        match open.closed {
            Some(entry) => Verdict::Known { entry: entry.get() },
            None => Verdict::Refuse(Reason::TAB_OVER),
        }
    }

    /// The release of `payer`'s tab `id`, if it is due at `now` at a directory that has been
    /// serving since `served_since`: the tab is over, and its payee has closed it or has had the
    /// whole grace to come and claim.
    #[must_use]
    pub fn decide_release(
        &self,
        payer: &PublicKey,
        id: OrderId,
        now: LedgerTime,
        served_since: LedgerTime,
    ) -> Option<Fact> {
        let (open, [payer, payee]) = self.open(payer, id)?;
        let now = now.max(self.time);
        open.is_due(now, served_since).then(|| {
            Fact::Release(Release {
                payer,
                id,
                payee,
                amount: open.tab.held(),
            })
        })
    }

    /// At most `most` of the tabs for which [`Ledger::decide_release`] has a release, by payer and
    /// id: first those that their payees have closed, then by length of grace, each time those
    /// first that were over first.
    ///
    /// Cheap however many tabs are open: the work is one step for each found, and one for each
    /// different grace.
    #[must_use]
    pub fn due(
        &self,
        now: LedgerTime,
        served_since: LedgerTime,
        most: usize,
    ) -> Vec<(PublicKey, OrderId)> {
        let due = self.tabs.due(now.max(self.time), served_since, most);
        due.into_iter()
            .filter_map(|(id, payer)| Some((self.numbered(payer)?.key, id)))
            .collect()
    }

    /// When [`Ledger::due`] has something next, if no tab changes; it may be past. `None` if no tab is
    /// open. One step for each different grace.
    #[must_use]
    pub fn next_due(&self, served_since: LedgerTime) -> Option<LedgerTime> {
        self.tabs.next_due(served_since)
    }

    /// An open tab, and the keys of payer and payee that its terms name.
    fn open(&self, payer: &PublicKey, id: OrderId) -> Option<(&Open, [PublicKey; 2])> {
        let payer = self.account(payer)?;
        let open = self.tabs.get((id, payer.number))?;
        let payee = self.numbered(open.payee)?;
        Some((
            open,
            [payer, payee].map(|account| account.key_at(open.opened)),
        ))
    }
}

const fn claim(
    payer: PublicKey,
    id: OrderId,
    payee: PublicKey,
    amount: Amount,
    from: u32,
    to: Mark,
) -> Fact {
    Fact::Claim(Claim {
        payer,
        id,
        payee,
        amount,
        from,
        index: to.index,
        link: to.link,
    })
}
