//! The fold of what the keys of an account say about it.

use quid_common::account::Change;
use quid_common::time::LedgerTime;

use super::Rule;
use crate::ledger::Ledger;
use crate::ledger::walk::Walk;

impl Ledger {
    pub(super) fn change_keys(
        &mut self,
        index: u64,
        time: LedgerTime,
        change: &Change,
    ) -> Result<(), Rule> {
        let at = self.weigh(change, time).map_err(|wrong| wrong.rule())?;
        let account = self.accounts.get_mut(at).ok_or(Rule::UnknownAccount)?;

        Walk::keep(&mut self.walk, at, account);
        account.change(index, time, change);
        // Also the keys before stay: they are no other account's, ever.
        self.by_key.insert(account.key, at);
        self.redo.keys(time, account);
        Ok(())
    }
}
