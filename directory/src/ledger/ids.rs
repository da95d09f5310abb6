//! The ids in memory: every one whose order has not expired, and past ones until the index behind
//! has taken them over.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use quid_common::id::{Digest, OrderId};
use quid_common::time::LedgerTime;

/// Orders that live longer than this are counted per account ([`super::LONG_IDS_MAX`]): by then
/// the default life has passed ten times.
pub const LIFE_LONG: Duration = Duration::from_secs(10 * 60);

/// Most ids forgotten in one call: about two milliseconds, and many times what a batch adds.
pub const FORGET_MAX: usize = 16_384;

/// Which ids are used, by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// By id, then account number. Ids begin with their expiry, so the oldest stand in front.
    used: BTreeMap<(OrderId, u64), Used>,
    /// How many long-lived ones each account has; no zeros. Follows from `used`.
    long: BTreeMap<u64, u32>,
    forgotten_through: u64,
}

/// What used an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) entry: u64,
    /// The order settled or refused; `None` for a void.
    pub(super) order: Option<Digest>,
    /// Whether more than [`LIFE_LONG`] was left when it was used.
    pub(super) long: bool,
}

impl Ids {
    pub(super) fn get(&self, id: OrderId, account: u64) -> Option<&Used> {
        self.used.get(&(id, account))
    }

    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// How many long-lived ids `account` has in memory.
    pub(super) fn long(&self, account: u64) -> u32 {
        self.long.get(&account).copied().unwrap_or(0)
    }

    pub(super) const fn forgotten_through(&self) -> u64 {
        self.forgotten_through
    }

    /// Those behind `last`, in the order of the ids, then of the accounts' numbers.
    pub(super) fn after(
        &self,
        last: Option<(OrderId, u64)>,
    ) -> impl Iterator<Item = (OrderId, u64, &Used)> {
        self.used
            .range((last.map_or(Unbounded, Excluded), Unbounded))
            .map(|(&(id, account), used)| (id, account, used))
    }

    /// Remembers what used the id; whether it was unused, which the caller of a new entry knows.
    pub(super) fn insert(&mut self, id: OrderId, account: u64, used: Used) -> bool {
        if used.long {
            let count = self.long.entry(account).or_default();
            *count = count.saturating_add(1);
        }
        self.used.insert((id, account), used).is_none()
    }

    /// Takes the place of an empty one: ids ascending.
    pub(super) fn fill(&mut self, used: Vec<((OrderId, u64), Used)>) {
        for ((_, account), _) in used.iter().filter(|(_, used)| used.long) {
            let count = self.long.entry(*account).or_default();
            *count = count.saturating_add(1);
        }
        self.used = used.into_iter().collect();
    }

    /// See [`super::Ledger::forget`].
    pub(super) fn forget(&mut self, now: LedgerTime, indexed: u64) -> usize {
        let mut count = 0_usize;
        while count < FORGET_MAX {
            let Some(oldest) = self.used.first_entry() else {
                break;
            };
            let &(id, account) = oldest.key();
            if id.expiry() > now || oldest.get().entry >= indexed {
                break;
            }
            let used = oldest.remove();
            self.forgotten_through = self.forgotten_through.max(used.entry.saturating_add(1));
            if used.long {
                self.forget_long(account);
            }
            count = count.saturating_add(1);
        }
        count
    }

    /// For restoring only.
    pub(super) const fn set_forgotten_through(&mut self, entry: u64) {
        self.forgotten_through = entry;
    }

    fn forget_long(&mut self, account: u64) {
        match self.long.get_mut(&account) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) => drop(self.long.remove(&account)),
            None => {}
        }
    }
}

/// Whether an order that expires at `expiry` and meets the ledger at `now` counts as long-lived.
pub(super) fn is_long(expiry: LedgerTime, now: LedgerTime) -> bool {
    expiry.since(now) > LIFE_LONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_forgets_so_many_and_no_more() {
        let mut ids = Ids::default();
        let count = FORGET_MAX + 1;
        for number in 0..count as u64 {
            ids.insert(id(1), number, used(number, false));
        }
        let now = LedgerTime::from_millis(1);
        assert_eq!(ids.forget(now, u64::MAX), FORGET_MAX);
        assert_eq!((ids.len(), ids.forgotten_through()), (1, FORGET_MAX as u64));
        assert_eq!(ids.forget(now, u64::MAX), 1);
        assert_eq!((ids.len(), ids.forgotten_through()), (0, count as u64));
        assert_eq!(ids.forget(now, u64::MAX), 0);
    }

    #[test]
    fn long_lived_ids_are_counted_until_they_are_forgotten() {
        let mut ids = Ids::default();
        for (expiry, account, long) in [
            (1, 7, true),
            (2, 7, false),
            (3, 7, true),
            (4, 8, true),
            (5, 7, true),
        ] {
            ids.insert(id(expiry), account, used(expiry, long));
        }
        assert_eq!((ids.long(7), ids.long(8), ids.long(9)), (3, 1, 0));
        for (now, left) in [
            (1, (2, 1)),
            (2, (2, 1)),
            (3, (1, 1)),
            (4, (1, 0)),
            (5, (0, 0)),
        ] {
            assert_eq!(ids.forget(LedgerTime::from_millis(now), u64::MAX), 1);
            assert_eq!((ids.long(7), ids.long(8)), left, "at {now}");
        }
        assert!(ids.long.is_empty(), "no zeros are kept");
    }

    #[test]
    fn the_oldest_waits_for_the_index_and_all_wait_for_it() {
        let mut ids = Ids::default();
        for (expiry, entry) in [(1, 9), (2, 3), (3, 4)] {
            ids.insert(id(expiry), 7, used(entry, false));
        }
        let now = LedgerTime::from_millis(9);
        assert_eq!(ids.forget(now, 9), 0);
        assert_eq!(ids.forget(now, 10), 3);
        assert_eq!(ids.forgotten_through(), 10);
    }

    #[test]
    fn ten_minutes_are_not_long() {
        let now = LedgerTime::from_millis(5);
        assert!(!is_long(now.plus(LIFE_LONG), now));
        assert!(is_long(now.plus(LIFE_LONG + Duration::from_millis(1)), now));
        assert!(!is_long(LedgerTime::from_millis(1), now));
    }

    fn id(expiry: u64) -> OrderId {
        OrderId::new(LedgerTime::from_millis(expiry), [0; 10])
    }

    fn used(entry: u64, long: bool) -> Used {
        Used {
            entry,
            order: None,
            long,
        }
    }
}
