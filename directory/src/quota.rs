//! How many entries that move no money one account may cause in a minute.
//!
//! Refusals that burn an id, and voids, are entries: each costs the log a few hundred bytes for
//! ever and its author nothing. Over the quota the author is told *busy*; the order's fate stays
//! open, and the same bytes may come again.

use std::collections::BTreeMap;

use quid_common::key::PublicKey;
use quid_common::time::LedgerTime;

/// Most logged refusals and voids that one account may cause in one minute of ledger time. A node
/// causes one at a time, and a shop that declines two orders a second is still served.
pub const ENTRIES_PER_MINUTE_MAX: u32 = 120;

/// Most accounts that are counted in one minute: bounds memory at a few megabytes. Past it, those
/// not counted yet wait for the next minute.
pub const ACCOUNTS_PER_MINUTE_MAX: usize = 65_536;

/// Counts, for one minute at a time, what each account caused.
///
/// Minutes are those of ledger time, so a replay in virtual time counts the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    minute: u64,
    used: BTreeMap<PublicKey, u32>,
}

impl Quota {
    /// Whether `account` may cause one more such entry at `now`; counts it if so.
    ///
    /// A new minute forgets all counts. A `now` of an earlier minute counts as the current one's.
    pub fn allow(&mut self, account: &PublicKey, now: LedgerTime) -> bool {
        let minute = now.as_millis() / MINUTE_MS;
        if minute > self.minute {
            self.minute = minute;
            self.used.clear();
        }
        if let Some(used) = self.used.get_mut(account) {
            let allowed = *used < ENTRIES_PER_MINUTE_MAX;
            *used = used.saturating_add(u32::from(allowed));
            return allowed;
        }
        let room = self.used.len() < ACCOUNTS_PER_MINUTE_MAX;
        if room {
            self.used.insert(*account, 1);
        }
        room
    }
}

const MINUTE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_quota_in_every_minute() {
        let mut quota = Quota::default();
        for minute in [0, 1, 2, 50] {
            let now = at(minute * MINUTE_MS + minute);
            for _ in 0..ENTRIES_PER_MINUTE_MAX {
                assert!(quota.allow(&key(1), now));
            }
            assert!(!quota.allow(&key(1), now));
            assert!(!quota.allow(&key(1), at(minute * MINUTE_MS + MINUTE_MS - 1)));
        }
    }

    #[test]
    fn one_account_does_not_spend_anothers_quota() {
        let mut quota = Quota::default();
        while quota.allow(&key(1), at(0)) {}
        assert!(quota.allow(&key(2), at(0)));
    }

    #[test]
    fn an_earlier_minute_does_not_bring_the_quota_back() {
        let mut quota = Quota::default();
        while quota.allow(&key(1), at(MINUTE_MS)) {}
        assert!(!quota.allow(&key(1), at(0)));
        assert!(!quota.allow(&key(1), at(MINUTE_MS)));
    }

    #[test]
    fn memory_is_bounded_and_forgotten_with_the_minute() {
        let mut quota = Quota::default();
        let accounts = u32::try_from(ACCOUNTS_PER_MINUTE_MAX).expect("fits");
        for account in 0..accounts {
            assert!(quota.allow(&key(account), at(0)));
        }
        assert!(
            !quota.allow(&key(accounts), at(0)),
            "no room for another account"
        );
        assert!(quota.allow(&key(0), at(0)), "those counted go on");
        assert!(quota.allow(&key(accounts), at(MINUTE_MS)));
        assert_eq!(quota.used.len(), 1);
    }

    fn at(ms: u64) -> LedgerTime {
        LedgerTime::from_millis(ms)
    }

    fn key(number: u32) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    }
}
