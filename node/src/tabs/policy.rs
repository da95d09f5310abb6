//! What a payee asks of tabs that pay it, and what it risks on each.

use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::tab::Terms;

/// What a payee risks on one tab, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Risk {
    /// Most that are proven and not written down: what a crash loses.
    pub(super) exposure: u32,
    /// So many are not left unclaimed for longer than it takes to claim them.
    pub(super) claim_at: u32,
    /// Most that may be unclaimed; no more are taken beyond it.
    pub(super) unclaimed_max: u32,
}

/// What a payee asks of tabs, and what it risks on each.
#[derive(Clone)]
pub struct TabPolicy {
    /// The most that a crash of this program may lose of one tab: the furthest link is on the disk
    /// before more is taken. So much is also claimed at once. None is a hundredth of the tab, and a
    /// tenth for claims; at least one unit.
    pub exposure: Option<Amount>,
    /// Whatever was paid is saved and claimed after this time at the latest.
    pub every: Duration,
    /// The most that may be paid and not claimed; beyond it payments wait until the directory has
    /// confirmed a claim. None is the whole tab: a payee that cannot reach the directory until the
    /// end of the grace then loses what it has not claimed.
    pub unclaimed: Option<Amount>,
    /// Open tabs of one payer; more are declined.
    pub tabs_per_payer: usize,
    /// The shortest grace that is taken: how long this node may be away after a tab's end and
    /// still claim.
    pub grace: Duration,
    /// Asked about every tab that is offered, after all checks; none takes them all. It must not
    /// block.
    pub accept: Option<AcceptTab>,
}

/// Judges a tab that is offered.
pub type AcceptTab = Arc<dyn Fn(&Terms) -> crate::node::Decision + Send + Sync>;

impl Default for TabPolicy {
    fn default() -> Self {
        Self {
            exposure: None,
            every: Duration::from_secs(10),
            unclaimed: None,
            tabs_per_payer: 64,
            grace: Duration::from_secs(10),
            accept: None,
        }
    }
}

impl std::fmt::Debug for TabPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TabPolicy")
            .field("exposure", &self.exposure)
            .field("every", &self.every)
            .field("unclaimed", &self.unclaimed)
            .field("tabs_per_payer", &self.tabs_per_payer)
            .field("grace", &self.grace)
            .field("accept", &self.accept.is_some())
            .finish()
    }
}

impl TabPolicy {
    /// What is risked on a tab of these terms, in units, at least one.
    pub(super) fn risk(&self, terms: &Terms) -> Risk {
        let count = |amount: Amount| {
            let count = amount.units() / terms.unit.units().max(1);
            u32::try_from(count).unwrap_or(u32::MAX).max(1)
        };
        let part = |of: u32| (terms.length / of).max(1);
        Risk {
            exposure: self.exposure.map_or_else(|| part(100), count),
            claim_at: self.exposure.map_or_else(|| part(10), count),
            unclaimed_max: self.unclaimed.map_or(terms.length, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use quid_common::chain::Link;
    use quid_common::id::{LedgerId, OrderId};
    use quid_common::key::PublicKey;
    use quid_common::order::{Memo, STATEMENT_VERSION};
    use quid_common::time::LedgerTime;

    use super::*;

    const LENGTH: u32 = 1_000;

    #[test]
    fn a_policy_in_money_is_a_number_of_units_at_least_one() {
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: LedgerId([2; 32]),
            id: OrderId::new(LedgerTime::from_millis(1_000), [1; 10]),
            payer: PublicKey::from_bytes([3; 32]),
            payee: PublicKey::from_bytes([4; 32]),
            unit: Amount::new(3).expect("small"),
            length: LENGTH,
            anchor: Link([9; 32]),
            expires: LedgerTime::from_millis(2_000),
            grace: 60,
            memo: Memo::default(),
            reference: None,
        };
        let money = |units| Amount::new(units).expect("small");
        for (exposure, unclaimed, risk) in [
            (None, None, (10, 100, LENGTH)),
            (Some(29), Some(31), (9, 9, 10)),
            (Some(1), Some(0), (1, 1, 1)),
            (
                Some(u64::from(u32::MAX) * 9),
                None,
                (u32::MAX, u32::MAX, LENGTH),
            ),
        ] {
            let policy = TabPolicy {
                exposure: exposure.map(money),
                unclaimed: unclaimed.map(money),
                ..TabPolicy::default()
            };
            let found = policy.risk(&terms);
            let found = (found.exposure, found.claim_at, found.unclaimed_max);
            assert_eq!(found, risk);
        }
    }
}
