//! The keys of an account: which it has had, what they have said, and what is announced. And the one
//! list of what is wrong with a change, for the decision and for the fold.

use std::time::Duration;

use quid_common::account::{Change, OBJECTION_DELAY, RECOVERY_DELAY};
use quid_common::id::Digest;
use quid_common::key::PublicKey;
use quid_common::order::STATEMENT_VERSION;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;

use super::{Account, Ledger, Rule, TREASURY_AT};

/// What the keys of an account have said since it was registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys that it had before, the oldest first.
    pub replaced: Vec<Replaced>,
    /// Whether its own keys have frozen it.
    pub locked: bool,
    /// The last word of its key, whichever it was then.
    pub own: Option<Said>,
    /// The last word of its recovery key.
    pub recovery: Option<Said>,
    /// A recovery that has been announced.
    pub pending: Option<Pending>,
}

/// A key that an account had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The key.
    pub key: PublicKey,
    /// The entry that replaced it.
    pub by: u64,
}

/// A key's last word about its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its entry.
    pub entry: u64,
    /// The exact statement, so that a repetition is known.
    pub change: Digest,
}

/// A recovery that has been announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry that announced it.
    pub entry: u64,
    /// When it did.
    pub time: LedgerTime,
    /// The key that shall follow.
    pub successor: PublicKey,
    /// Whether the account's key has objected.
    pub contested: bool,
}

/// How long recoveries take. A rule of the log: whoever reads a log must take the same as whoever
/// wrote it, and only tests take others than these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// From the announcement to the effect.
    pub recovery: Duration,
    /// The same if the account's key objects.
    pub contested: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            recovery: RECOVERY_DELAY,
            contested: OBJECTION_DELAY,
        }
    }
}

impl Pending {
    /// From when on the successor may take over.
    #[must_use]
    pub fn due(&self, delays: &Delays) -> LedgerTime {
        self.time.plus(if self.contested {
            delays.contested
        } else {
            delays.recovery
        })
    }
}

impl Account {
    /// Whether its orders are refused, by whoever's word.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen || self.is_locked()
    }

    /// Whether its own keys have frozen it.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.locked)
    }

    /// The recovery that has been announced, if one has.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.keys.as_ref()?.pending.as_ref()
    }

    /// All the keys that it has had, the one that registered it first and its own last.
    pub fn all_keys(&self) -> impl Iterator<Item = PublicKey> {
        self.replaced()
            .iter()
            .map(|it| it.key)
            .chain(std::iter::once(self.key))
    }

    /// The key that registered it: what the index behind knows it by, whatever has happened since.
    #[must_use]
    pub fn first_key(&self) -> PublicKey {
        self.replaced().first().map_or(self.key, |it| it.key)
    }

    /// The key that was its own when entry `entry` was written.
    #[must_use]
    pub fn key_at(&self, entry: u64) -> PublicKey {
        let then = self.replaced().iter().find(|it| entry < it.by);
        then.map_or(self.key, |it| it.key)
    }

    /// The entry that replaced `key`, if it was this account's and is no more.
    #[must_use]
    pub fn replaced_by(&self, key: &PublicKey) -> Option<u64> {
        let replaced = self.replaced().iter().find(|it| it.key == *key);
        replaced.map(|it| it.by)
    }

    /// The entry of its key's last word; its registration if there was none.
    #[must_use]
    pub fn own_said(&self) -> u64 {
        let said = self.keys.as_ref().and_then(|keys| keys.own);
        said.map_or(self.registered, |said| said.entry)
    }

    /// The entry of its recovery key's last word; its registration if there was none.
    #[must_use]
    pub fn recovery_said(&self) -> u64 {
        let said = self.keys.as_ref().and_then(|keys| keys.recovery);
        said.map_or(self.registered, |said| said.entry)
    }

    fn replaced(&self) -> &[Replaced] {
        self.keys.as_ref().map_or(&[], |keys| &keys.replaced)
    }

    /// What entry `index` makes of it. The caller has weighed the change.
    pub(super) fn change(&mut self, index: u64, time: LedgerTime, change: &Change) {
        let (key, was_recovery) = (self.key, self.recovery);
        let said = Said {
            entry: index,
            change: change.digest(),
        };
        let keys = self.keys.get_or_insert_default();
        match change {
            Change::Rotation(rotation) => {
                keys.replaced.push(Replaced { key, by: index });
                keys.own = Some(said);
                self.key = rotation.statement().successor();
            }
            Change::Takeover(takeover) => {
                keys.replaced.push(Replaced { key, by: index });
                keys.own = Some(said);
                keys.pending = None;
                self.key = takeover.statement().key;
            }
            Change::Recovery(recovery) => {
                keys.recovery = Some(said);
                keys.pending = Some(Pending {
                    entry: index,
                    time,
                    successor: recovery.statement().successor,
                    contested: false,
                });
            }
            Change::Objection(_) => {
                keys.own = Some(said);
                keys.locked = true;
                if let Some(pending) = &mut keys.pending {
                    pending.contested = true;
                }
            }
            Change::Lock(lock) => {
                let lock = lock.statement();
                if was_recovery == Some(lock.by) {
                    keys.recovery = Some(said);
                } else {
                    keys.own = Some(said);
                }
                keys.locked = lock.frozen;
                // Whoever thaws an account that is disputed gives the dispute up.
                if !lock.frozen && keys.pending.is_some_and(|pending| pending.contested) {
                    keys.pending = None;
                }
            }
        }
    }

    /// What the operator's freeze or thaw makes of it. A thaw ends also what its own keys froze; in
    /// a dispute it dismisses the recovery, and the recovery key with it.
    pub(super) fn operate(&mut self, frozen: bool) {
        self.frozen = frozen;
        if let Some(keys) = &mut self.keys
            && !frozen
        {
            keys.locked = false;
            if keys.pending.is_some_and(|pending| pending.contested) {
                keys.pending = None;
                self.recovery = None;
            }
        }
    }
}

/// What is wrong with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Version,
    Ledger,
    Account,
    /// It is no key of the account's.
    Key,
    Replaced,
    Frozen,
    Stale,
    NoRecovery,
    Early,
    Used,
    Unsound,
}

impl Wrong {
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Version => Reason::ENCODING,
            Self::Ledger => Reason::WRONG_LEDGER,
            Self::Account => Reason::UNKNOWN_ACCOUNT,
            Self::Key => Reason::WRONG_KEY,
            Self::Replaced => Reason::KEY_REPLACED,
            Self::Frozen => Reason::ACCOUNT_FROZEN,
            Self::Stale => Reason::STALE_CHANGE,
            Self::NoRecovery => Reason::NO_RECOVERY,
            Self::Early => Reason::TOO_EARLY,
            Self::Used => Reason::KEY_USED,
            Self::Unsound => Reason::UNSOUND_KEY,
        }
    }

    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::Version => Rule::Version,
            Self::Ledger => Rule::Ledger,
            Self::Account => Rule::UnknownAccount,
            Self::Key => Rule::WrongKey,
            Self::Replaced => Rule::KeyReplaced,
            Self::Frozen => Rule::Frozen,
            Self::Stale => Rule::Stale,
            Self::NoRecovery => Rule::NoRecovery,
            Self::Early => Rule::Early,
            Self::Used => Rule::KeyUsed,
            Self::Unsound => Rule::UnsoundKey,
        }
    }
}

impl Ledger {
    /// Takes other delays than the usual. For tests: a log is worth what its readers agree on.
    pub const fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
    }

    /// How long recoveries take.
    #[must_use]
    pub const fn delays(&self) -> &Delays {
        &self.delays
    }

    /// Whether the two keys are, or were, of one account.
    #[must_use]
    pub fn is_same(&self, one: &PublicKey, other: &PublicKey) -> bool {
        let place = |key| self.by_key.get(key);
        one == other || place(one).is_some_and(|at| Some(at) == place(other))
    }

    /// The key by which the account goes now that `key` is, or was, of; `key` itself if it is
    /// nobody's.
    #[must_use]
    pub fn current(&self, key: &PublicKey) -> PublicKey {
        self.account(key).map_or(*key, |account| account.key)
    }

    /// The place of the account that `change` is about, if it may stand at `time`, in the order of
    /// precedence. Signatures are the caller's to verify.
    pub(super) fn weigh(&self, change: &Change, time: LedgerTime) -> Result<usize, Wrong> {
        if change.versions() != [STATEMENT_VERSION; 2] {
            return Err(Wrong::Version);
        }
        if self.entries == 0 || change.ledgers() != [self.origin.ledger; 2] {
            return Err(Wrong::Ledger);
        }
        let at = usize::try_from(change.account()).map_err(|_| Wrong::Account)?;
        let account = self.accounts.get(at).filter(|_| at != TREASURY_AT);
        let account = account.ok_or(Wrong::Account)?;
        match change {
            Change::Rotation(rotation) => {
                let rotation = rotation.statement();
                own(account, &rotation.key)?;
                if account.is_frozen() {
                    return Err(Wrong::Frozen);
                }
                follows(rotation.said, account.own_said())?;
                if rotation.takeover.statement().account != rotation.account {
                    return Err(Wrong::Account);
                }
                self.may_succeed(account, &rotation.successor())?;
            }
            Change::Recovery(recovery) => {
                let recovery = recovery.statement();
                if account.recovery != Some(recovery.recovery) {
                    return Err(Wrong::Key);
                }
                follows(recovery.said, account.recovery_said())?;
                self.may_succeed(account, &recovery.successor)?;
            }
            Change::Objection(objection) => {
                let objection = objection.statement();
                own(account, &objection.key)?;
                let pending = account.pending().filter(|pending| !pending.contested);
                if pending.is_none_or(|pending| pending.entry != objection.announced) {
                    return Err(Wrong::NoRecovery);
                }
            }
            Change::Takeover(takeover) => {
                let takeover = takeover.statement();
                let pending = account.pending();
                let pending = pending.filter(|pending| pending.successor == takeover.key);
                let pending = pending.ok_or(Wrong::NoRecovery)?;
                if time < pending.due(&self.delays) {
                    return Err(Wrong::Early);
                }
                // Meanwhile it may have become another's.
                self.may_succeed(account, &takeover.key)?;
            }
            Change::Lock(lock) => {
                let lock = lock.statement();
                if account.recovery == Some(lock.by) {
                    follows(lock.said, account.recovery_said())?;
                } else {
                    own(account, &lock.by)?;
                    // A thief of the key must not end what its owner began.
                    if !lock.frozen {
                        return Err(Wrong::Key);
                    }
                    follows(lock.said, account.own_said())?;
                }
            }
        }
        Ok(at)
    }

    /// Whether `key` may be the next of `account`: no account's, now or ever, and sound.
    fn may_succeed(&self, account: &Account, key: &PublicKey) -> Result<(), Wrong> {
        if self.by_key.contains_key(key) || account.recovery == Some(*key) {
            return Err(Wrong::Used);
        }
        if !key.is_sound() {
            return Err(Wrong::Unsound);
        }
        Ok(())
    }
}

/// That `key` is the account's own.
fn own(account: &Account, key: &PublicKey) -> Result<(), Wrong> {
    if account.key == *key {
        Ok(())
    } else if account.replaced_by(key).is_some() {
        Err(Wrong::Replaced)
    } else {
        Err(Wrong::Key)
    }
}

/// That what was said last is what the signer knew of.
const fn follows(knew: u64, said: u64) -> Result<(), Wrong> {
    if knew == said {
        Ok(())
    } else {
        Err(Wrong::Stale)
    }
}

#[cfg(test)]
mod tests;
