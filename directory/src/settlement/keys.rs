//! The keys of accounts: where they stand, what replaced which, and whose sessions end.

use quid_common::entry::Fact;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::wire::{KeysStanding, PendingRecovery};
use tracing::info;

use super::committer::unprovable;
use super::{Answer, Committer};
use crate::ledger::{Account, TREASURY};

impl Committer {
    /// Where the keys of `name` stand, told to anybody: that a recovery is announced is of use only
    /// if it can be seen.
    pub(super) fn keys(&self, name: &Name) -> Answer {
        let ledger = &self.books.ledger;
        let account = ledger.by_name(name).filter(|it| it.number != TREASURY);
        let Some(account) = account else {
            return Answer::Refused(Reason::UNKNOWN_ACCOUNT, None);
        };
        // The lost part may have changed them.
        if self.books.ahead.is_some() {
            return Answer::Refused(Reason::LOG_INCOMPLETE, None);
        }
        let pending = account.pending().map(|pending| PendingRecovery {
            announced: pending.entry,
            successor: pending.successor,
            due: pending.due(ledger.delays()),
            contested: pending.contested,
        });
        Answer::Keys(Box::new(KeysStanding {
            ledger: ledger.ledger_id(),
            time: self.books.time(),
            account: account.number,
            key: account.key,
            recovery: account.recovery,
            frozen: account.frozen,
            locked: account.is_locked(),
            said: account.own_said(),
            recovery_said: account.recovery_said(),
            pending,
        }))
    }

    /// The entry by which another key followed `key`, told to anybody: who has paid the old one wants
    /// to know.
    pub(super) fn successor(&self, key: &PublicKey) -> Answer {
        let Some(account) = self.books.ledger.account(key) else {
            return Answer::Refused(Reason::UNKNOWN_ACCOUNT, None);
        };
        let Some(entry) = account.replaced_by(key) else {
            return Answer::Successor(None);
        };
        match self.books.entry_receipt(entry) {
            Ok((_, receipt)) => Answer::Successor(Some(receipt)),
            Err(error) => unprovable(entry, &error),
        }
    }

    /// The key by which the account with this number is counted, whatever key it has now.
    pub(super) fn first_key(&self, account: u64) -> Option<PublicKey> {
        self.numbered(account).map(Account::first_key)
    }

    /// Ends the sessions of the key that entry `index` replaced, and says in the log what it did.
    pub(super) fn tell_of_keys(&self, index: u64, fact: &Fact) {
        let (account, what) = match fact {
            Fact::Rotation(it) => (it.statement().account, "key rotated"),
            Fact::Takeover(it) => (it.statement().account, "key recovered"),
            Fact::Recovery(it) => (it.statement().account, "recovery announced"),
            Fact::Objection(it) => (it.statement().account, "recovery contested"),
            Fact::Lock(it) if it.statement().frozen => (it.statement().account, "frozen by key"),
            Fact::Lock(it) => (it.statement().account, "thawed by key"),
            _ => return,
        };
        let Some(account) = self.numbered(account) else {
            return;
        };
        self.hub.freeze(account.key, account.is_frozen());
        let name = &account.name;
        info!(target: "quid_directory::audit", entry = index, account = %name, "{what}");
        let keys = account.keys.iter().flat_map(|keys| &keys.replaced);
        for replaced in keys.filter(|it| it.by == index) {
            // It is nobody's key any more; only the account's own is looked for.
            self.hub.freeze(replaced.key, false);
            self.hub.sessions().end(&replaced.key);
        }
    }

    fn numbered(&self, account: u64) -> Option<&Account> {
        let at = usize::try_from(account).ok()?;
        self.books.ledger.accounts().get(at)
    }
}

#[cfg(test)]
mod tests;
