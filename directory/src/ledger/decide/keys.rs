//! What a change of an account's keys deserves.

use quid_common::account::{Change, KEYS_PER_ACCOUNT_MAX};
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;

use super::Verdict;
use crate::ledger::keys::Wrong;
use crate::ledger::{Account, Ledger};

impl Ledger {
    /// What is wrong with a change whoever signed it; see [`Ledger::screen_order`].
    ///
    /// # Errors
    /// *Encoding* for another version; *wrong ledger*.
    pub fn screen_change(&self, change: &Change) -> Result<(), Reason> {
        match self.weigh(change, LedgerTime::MAX) {
            Err(wrong @ (Wrong::Version | Wrong::Ledger)) => Err(wrong.reason()),
            _ => Ok(()),
        }
    }

    /// What `change` deserves at `now`, whoever submits it.
    ///
    /// The caller has verified its signatures. The last word of either key again is that word's
    /// entry. A `now` before [`Ledger::time`] counts as that.
    #[must_use]
    pub fn decide_change(&self, change: &Change, now: LedgerTime) -> Verdict {
        let now = now.max(self.time);
        let about = usize::try_from(change.account()).ok();
        let account = about.and_then(|at| self.accounts.get(at));
        if let Some(entry) = account.and_then(|account| said(account, change)) {
            return Verdict::Known { entry };
        }
        if let Err(wrong) = self.weigh(change, now) {
            return Verdict::Refuse(wrong.reason());
        }
        let spent = |account: &Account| account.all_keys().count() >= KEYS_PER_ACCOUNT_MAX;
        let full = self.by_key.len() >= self.caps.keys
            || (matches!(change, Change::Rotation(_)) && account.is_some_and(spent));
        if full {
            return Verdict::Refuse(Reason::FULL);
        }
        Verdict::Append(change.clone().into_fact())
    }
}

/// The entry in which a key of `account` said exactly this, if it was its last word.
fn said(account: &Account, change: &Change) -> Option<u64> {
    let keys = account.keys.as_ref()?;
    let digest = change.digest();
    let mut last = [keys.own, keys.recovery].into_iter().flatten();
    last.find(|said| said.change == digest)
        .map(|said| said.entry)
}
