//! What a signed wish deserves: an entry, the entry it already has, or a refusal.
//!
//! Deciding changes nothing; the caller applies what is to be appended. Each function is one flat
//! list in the order of precedence (PROTOCOL.md, "Refusals").

use quid_common::entry::{Fact, Freeze, Issue, Refusal, Registration};
use quid_common::id::{Digest, LedgerId, OperationId, OrderId};
use quid_common::key::PublicKey;
use quid_common::order::{LIFE_MAX, STATEMENT_VERSION, SignedDecline, SignedOrder, SignedVoid};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;

use super::{Account, Amount, Effect, Ledger, Operation, TREASURY, ids};

mod keys;
mod tabs;

/// What a wish comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the usual one, and none is kept"
)]
pub enum Verdict {
    /// This is to be appended; it has its effect once it is applied and durable.
    ///
    /// For an order or a tab's terms it can be a [`Fact::Refusal`]: final, and the answer once it is durable.
    Append(Fact),
    /// It has had its one effect. The entry is the answer: a payment's receipt, *voided*, or the
    /// refusal of these very bytes. It may stand in the batch still open; wait for that.
    Known {
        /// The entry.
        entry: u64,
    },
    /// Refused without a trace: asking again costs and changes nothing.
    Refuse(Reason),
}

/// What the index behind knows of an id that has left memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It was never used. Only an index that has durably taken over all entries below
    /// [`Ledger::forgotten_through`] may say so.
    Never,
    /// It was used.
    Entry {
        /// By this entry.
        index: u64,
        /// The order or terms that the entry settled, opened or refused; `None` for a void.
        order: Option<Digest>,
    },
    /// The index has not come far enough to know.
    Behind,
}

impl Ledger {
    /// What refuses an order whoever signed it, so before its signature is worth verifying.
    /// [`Ledger::decide_order`] asks again.
    ///
    /// # Errors
    /// *Encoding* for another version; *wrong ledger*; *bad decline* for one that is not this
    /// payee's or not of this order.
    pub fn screen_order(
        &self,
        order: &SignedOrder,
        decline: Option<&SignedDecline>,
    ) -> Result<(), Reason> {
        let stated = order.statement();
        if stated.version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        if !self.is_ours(stated.ledger) {
            return Err(Reason::WRONG_LEDGER);
        }
        // The order may be in order without it: nothing is said about the order.
        let fits = |decline: &SignedDecline| {
            let declined = decline.statement();
            declined.version == STATEMENT_VERSION
                && self.is_ours(declined.ledger)
                && declined.payee == stated.payee
                && declined.order == order.digest()
        };
        if decline.is_some_and(|decline| !fits(decline)) {
            return Err(Reason::BAD_DECLINE);
        }
        Ok(())
    }

    /// What refuses a void whoever signed it; see [`Ledger::screen_order`].
    ///
    /// # Errors
    /// *Encoding* for another version; *wrong ledger*.
    pub fn screen_void(&self, void: &SignedVoid) -> Result<(), Reason> {
        if void.statement().version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        if !self.is_ours(void.statement().ledger) {
            return Err(Reason::WRONG_LEDGER);
        }
        Ok(())
    }

    /// What `order` deserves at `now`, submitted by the account key `submitter`, if need be with
    /// the payee's `decline`.
    ///
    /// The caller has verified both signatures. Nobody orders from the treasury: *unknown
    /// account*. `past` is asked at most once, and only for an id past its expiry, of a payer with
    /// an account, that is not in memory. A `now` before [`Ledger::time`] counts as that.
    pub fn decide_order(
        &self,
        order: &SignedOrder,
        decline: Option<&SignedDecline>,
        submitter: &PublicKey,
        now: LedgerTime,
        past: &mut dyn FnMut(&PublicKey, OrderId) -> Past,
    ) -> Verdict {
        if let Err(reason) = self.screen_order(order, decline) {
            return Verdict::Refuse(reason);
        }
        let digest = order.digest();
        let stated = order.statement();
        let now = now.max(self.time);
        if !self.is_same(submitter, &stated.payer) && !self.is_same(submitter, &stated.payee) {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }

        let payer = self.holder(&stated.payer);
        if let Some(verdict) = self.meet_id(payer, stated.id, Some(digest), now, past) {
            return verdict;
        }
        let (Some(payer), Some(payee)) = (payer, self.account(&stated.payee)) else {
            return Verdict::Refuse(Reason::UNKNOWN_ACCOUNT);
        };
        if stated.amount.is_zero() {
            return Verdict::Refuse(Reason::ZERO_AMOUNT);
        }
        if payer.number == payee.number {
            return Verdict::Refuse(Reason::SELF_PAYMENT);
        }
        if payer.key != stated.payer || payee.key != stated.payee {
            return Verdict::Refuse(Reason::KEY_REPLACED);
        }
        if !self.has_room(payer, stated.id, now) {
            return Verdict::Refuse(Reason::BUSY);
        }

        let reason = if payer.is_frozen() {
            Reason::FROZEN
        } else if decline.is_some() {
            Reason::PAYEE_DECLINED
        } else if payer.available < stated.amount {
            Reason::INSUFFICIENT_FUNDS
        } else {
            return Verdict::Append(Fact::Payment(order.clone()));
        };
        let (payer, id) = (stated.payer, stated.id);
        Verdict::Append(Fact::Refusal(Refusal {
            payer,
            id,
            order: digest,
            reason,
        }))
    }

    /// What `void` deserves at `now`, submitted by the account key `submitter`, who must be its
    /// payer. A frozen account may void.
    ///
    /// `Known` may be a payment: it settled first. The rest is as in [`Ledger::decide_order`].
    pub fn decide_void(
        &self,
        void: &SignedVoid,
        submitter: &PublicKey,
        now: LedgerTime,
        past: &mut dyn FnMut(&PublicKey, OrderId) -> Past,
    ) -> Verdict {
        if let Err(reason) = self.screen_void(void) {
            return Verdict::Refuse(reason);
        }
        let stated = void.statement();
        let now = now.max(self.time);
        if !self.is_same(submitter, &stated.payer) {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }

        let payer = self.holder(&stated.payer);
        if let Some(verdict) = self.meet_id(payer, stated.id, None, now, past) {
            return verdict;
        }
        let Some(payer) = payer else {
            return Verdict::Refuse(Reason::UNKNOWN_ACCOUNT);
        };
        if payer.key != stated.payer {
            return Verdict::Refuse(Reason::KEY_REPLACED);
        }
        if !self.has_room(payer, stated.id, now) {
            return Verdict::Refuse(Reason::BUSY);
        }
        Verdict::Append(Fact::Void(void.clone()))
    }

    /// What `registration` deserves from a connection that proved the key `connected`.
    ///
    /// The same key, name and recovery key again are the first registration's entry.
    #[must_use]
    pub fn decide_registration(
        &self,
        registration: &Signed<Registration>,
        connected: &PublicKey,
    ) -> Verdict {
        let wish = registration.statement();
        if !self.has_begun() || wish.directory != self.origin.directory {
            return Verdict::Refuse(Reason::WRONG_LEDGER);
        }
        if *connected != wish.key {
            return Verdict::Refuse(Reason::WRONG_SUBMITTER);
        }
        if let Some(account) = self.account(&wish.key) {
            if account.key != wish.key {
                return Verdict::Refuse(Reason::KEY_REPLACED);
            }
            // The treasury came with the genesis and was never registered.
            let same = account.name == wish.name && account.recovery == wish.recovery;
            return if same && account.number != TREASURY {
                Verdict::Known {
                    entry: account.registered,
                }
            } else {
                Verdict::Refuse(Reason::ALREADY_REGISTERED)
            };
        }
        if wish.name.is_reserved() {
            return Verdict::Refuse(Reason::NAME_RESERVED);
        }
        if let Some(other) = self.look_alike(&wish.name) {
            let same = other.name == wish.name;
            return Verdict::Refuse(if same {
                Reason::NAME_TAKEN
            } else {
                Reason::NAME_LOOKS_TAKEN
            });
        }
        if self.accounts.len() >= self.caps.accounts {
            return Verdict::Refuse(Reason::FULL);
        }
        // Last, because it costs more than all the rest.
        if wish.recovery == Some(wish.key)
            || !wish.key.is_sound()
            || wish.recovery.is_some_and(|key| !key.is_sound())
        {
            return Verdict::Refuse(Reason::UNSOUND_KEY);
        }
        Verdict::Append(Fact::Register(registration.clone()))
    }

    /// What the operator's `issue` deserves. The treasury is nobody to issue to: *unknown
    /// account*.
    #[must_use]
    pub fn decide_issue(&self, issue: &Signed<Issue>) -> Verdict {
        let stated = issue.statement();
        let effect = Effect::Issued(stated.amount);
        let met = self.meet_operation(
            &stated.directory,
            stated.ledger,
            stated.operation,
            &stated.account,
            effect,
        );
        if let Some(verdict) = met {
            return verdict;
        }
        if stated.amount.is_zero() {
            return Verdict::Refuse(Reason::ZERO_AMOUNT);
        }
        let supply = self
            .issued
            .checked_add(stated.amount.units())
            .and_then(|issued| issued.checked_sub(self.burnt))
            .and_then(Amount::new);
        if supply.is_none() {
            return Verdict::Refuse(Reason::SUPPLY_EXCEEDED);
        }
        Verdict::Append(Fact::Issue(issue.clone()))
    }

    /// What the operator's `freeze` deserves. Into the state that the account already has it is
    /// an entry too; the treasury is *unknown account*.
    #[must_use]
    pub fn decide_freeze(&self, freeze: &Signed<Freeze>) -> Verdict {
        let stated = freeze.statement();
        let effect = Effect::Froze(stated.frozen);
        let met = self.meet_operation(
            &stated.directory,
            stated.ledger,
            stated.operation,
            &stated.account,
            effect,
        );
        met.unwrap_or_else(|| Verdict::Append(Fact::Freeze(freeze.clone())))
    }

    /// The answer that an order id already has, or that its expiry gives: `None` if it is unused
    /// and may be used at `now`. `order` is what is asked about; `None`, a void, asks for whatever
    /// came of it.
    fn meet_id(
        &self,
        payer: Option<&Account>,
        id: OrderId,
        order: Option<Digest>,
        now: LedgerTime,
        past: &mut dyn FnMut(&PublicKey, OrderId) -> Past,
    ) -> Option<Verdict> {
        let known = |entry: u64, first: Option<Digest>| match (first, order) {
            (Some(first), Some(order)) if first != order => Verdict::Refuse(Reason::ID_REUSED),
            _ => Verdict::Known { entry },
        };
        if let Some(used) = payer.and_then(|payer| self.ids.get(id, payer.number)) {
            return Some(known(used.entry, used.order));
        }
        if now >= id.expiry() {
            // A key without an account never had an order in the log: no need to ask.
            let met = payer.map_or(Past::Never, |payer| past(&payer.first_key(), id));
            return Some(match met {
                Past::Never => Verdict::Refuse(Reason::EXPIRED),
                Past::Entry { index, order } => known(index, order),
                Past::Behind => Verdict::Refuse(Reason::BUSY),
            });
        }
        (id.expiry().since(now) > LIFE_MAX).then_some(Verdict::Refuse(Reason::EXPIRY_TOO_FAR))
    }

    /// The answer that an operation already has, or that its names give; `None` if it is new and
    /// sound so far.
    fn meet_operation(
        &self,
        directory: &PublicKey,
        ledger: LedgerId,
        id: OperationId,
        named: &PublicKey,
        effect: Effect,
    ) -> Option<Verdict> {
        if !self.is_ours(ledger) {
            return Some(Verdict::Refuse(Reason::WRONG_LEDGER));
        }
        if *directory != self.origin.directory {
            return Some(Verdict::Refuse(Reason::WRONG_SUBMITTER));
        }
        let account = self.holder(named);
        if let Some(&Operation {
            entry,
            account: first,
            effect: had,
        }) = self.operations.get(&id)
        {
            let same = account.is_some_and(|account| account.number == first) && had == effect;
            return Some(if same {
                Verdict::Known { entry }
            } else {
                Verdict::Refuse(Reason::OPERATION_REUSED)
            });
        }
        let Some(account) = account else {
            return Some(Verdict::Refuse(Reason::UNKNOWN_ACCOUNT));
        };
        if account.key != *named {
            return Some(Verdict::Refuse(Reason::KEY_REPLACED));
        }
        let full = self.operations.len() >= self.caps.operations;
        full.then_some(Verdict::Refuse(Reason::FULL))
    }

    /// Whether memory has room for one more id of `payer`.
    fn has_room(&self, payer: &Account, id: OrderId, now: LedgerTime) -> bool {
        self.ids.len() < self.caps.live_ids
            && (!ids::is_long(id.expiry(), now) || self.ids.long(payer.number) < self.caps.long_ids)
    }

    fn is_ours(&self, ledger: LedgerId) -> bool {
        self.has_begun() && ledger == self.origin.ledger
    }

    const fn has_begun(&self) -> bool {
        self.entries > 0
    }
}
