//! How far the payee's end of a tab has come, and what may follow on what.

use quid_common::refusal::Reason;

use super::TabOver;

/// How far it has come. It goes down this list only, and may leave out steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tabs) enum Phase {
    /// Payments are taken.
    Open,
    /// This program stops: no more payments are taken in this run, and what was paid is claimed. The
    /// tab stays open for the next run.
    Stopping,
    /// No more payments are taken: what was paid is claimed, then the tab is closed. With a reason,
    /// the payer has nothing to wait for and is told at once.
    Ending(Option<Reason>),
    /// Nothing is left to be claimed or closed.
    Over(Option<Reason>),
}

impl Phase {
    /// Whether payments count.
    pub(super) const fn takes_payments(self) -> bool {
        matches!(self, Self::Open)
    }

    /// What whoever waits for payments is told, if there will be none any more.
    pub(in crate::tabs) const fn over(self) -> Option<TabOver> {
        match self {
            Self::Open | Self::Stopping => None,
            Self::Ending(reason) | Self::Over(reason) => Some(TabOver(reason)),
        }
    }

    /// What follows when this program stops.
    pub(super) const fn stopped(self) -> Self {
        match self {
            Self::Open => Self::Stopping,
            Self::Stopping | Self::Ending(_) | Self::Over(_) => self,
        }
    }

    /// What follows when the tab is to end, for a reason if it is a bad one; none if it ends already.
    pub(super) const fn ended(self, reason: Option<Reason>) -> Option<Self> {
        match self {
            Self::Open | Self::Stopping => Some(Self::Ending(reason)),
            Self::Ending(_) | Self::Over(_) => None,
        }
    }

    /// What follows when nothing of the tab is left at the directory; none if that was known. Units
    /// that were `lost` are the reason, if there is no earlier one.
    pub(super) const fn gone(self, lost: u32) -> Option<Self> {
        let reason = match self {
            Self::Over(_) => return None,
            Self::Ending(Some(reason)) => Some(reason),
            Self::Open | Self::Stopping | Self::Ending(None) if lost > 0 => Some(Reason::NO_TAB),
            Self::Open | Self::Stopping | Self::Ending(None) => None,
        };
        Some(Self::Over(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{Ending, Open, Over, Stopping};
    use super::*;

    const EXPIRED: Option<Reason> = Some(Reason::EXPIRED);
    const NO_TAB: Option<Reason> = Some(Reason::NO_TAB);

    #[test]
    fn a_tab_goes_on_to_its_end_and_ends_once() {
        for (phase, stopped, ended, gone, lost) in [
            (
                Open,
                Stopping,
                Some(Ending(EXPIRED)),
                Some(Over(None)),
                Some(Over(NO_TAB)),
            ),
            (
                Stopping,
                Stopping,
                Some(Ending(EXPIRED)),
                Some(Over(None)),
                Some(Over(NO_TAB)),
            ),
            (
                Ending(None),
                Ending(None),
                None,
                Some(Over(None)),
                Some(Over(NO_TAB)),
            ),
            (
                Ending(EXPIRED),
                Ending(EXPIRED),
                None,
                Some(Over(EXPIRED)),
                Some(Over(EXPIRED)),
            ),
            (Over(None), Over(None), None, None, None),
            (Over(NO_TAB), Over(NO_TAB), None, None, None),
        ] {
            assert_eq!(phase.stopped(), stopped, "{phase:?}, stopped");
            assert_eq!(phase.ended(EXPIRED), ended, "{phase:?}, ended");
            assert_eq!(phase.gone(0), gone, "{phase:?}, gone");
            assert_eq!(phase.gone(3), lost, "{phase:?}, gone with units unclaimed");
        }
    }

    #[test]
    fn payments_count_in_one_phase_only_and_are_waited_for_until_the_end() {
        for (phase, takes, over) in [
            (Open, true, None),
            (Stopping, false, None),
            (Ending(None), false, Some(TabOver(None))),
            (Ending(EXPIRED), false, Some(TabOver(EXPIRED))),
            (Over(NO_TAB), false, Some(TabOver(NO_TAB))),
        ] {
            assert_eq!(
                (phase.takes_payments(), phase.over()),
                (takes, over),
                "{phase:?}"
            );
        }
    }
}
