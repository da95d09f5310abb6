//! Whether this directory settles: what `/healthz` says.

use std::fmt;
use std::time::{Duration, Instant};

use super::Seen;

/// Why the directory does not settle, or soon will not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The log lacks entries that this directory has signed; nothing is written.
    LogIncomplete {
        /// How many entries it has signed.
        signed: u64,
        /// How many the log has.
        entries: u64,
    },
    /// No batch has become durable for so long, although one was asked for.
    Stuck(Duration),
    /// What accounts have is not what was issued.
    Unbalanced,
    /// So many bytes are free for the data folder.
    DiskFull(u64),
}

impl Complaint {
    /// A stable word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogIncomplete { .. } => "log_incomplete",
            Self::Stuck(_) => "stuck",
            Self::Unbalanced => "unbalanced",
            Self::DiskFull(_) => "disk_full",
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::LogIncomplete { signed, entries } => write!(
                f,
                "{name}: {signed} entries were signed and the log has {entries}; nothing is \
                 written until the newest backup is restored"
            ),
            Self::Stuck(since) => write!(
                f,
                "{name}: no batch could be made durable for {} s; see to the disk",
                since.as_secs()
            ),
            Self::Unbalanced => write!(
                f,
                "{name}: the sums of all accounts are not what was issued; run `quid-directory \
                 audit`"
            ),
            Self::DiskFull(free) => write!(
                f,
                "{name}: {} MiB are free for the data folder; make room",
                free >> 20
            ),
        }
    }
}

/// What is wrong at `now`, going by the newest survey and what is `free` on the disk.
pub(super) fn complaints(seen: &Seen, free: Option<u64>, now: Instant) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if let Some(since) = seen.silent_since {
        complaints.push(Complaint::Stuck(now.saturating_duration_since(since)));
    }
    if let Some(survey) = &seen.survey {
        if let Some(signed) = survey.signed {
            let entries = survey.entries;
            complaints.push(Complaint::LogIncomplete { signed, entries });
        }
        if !survey.balances() {
            complaints.push(Complaint::Unbalanced);
        }
    }
    if let Some(free) = free.filter(|free| *free < FREE_MIN) {
        complaints.push(Complaint::DiskFull(free));
    }
    complaints
}

/// Free bytes below which the disk counts as full: as much as the write-ahead log may take before
/// batches wait for it to be carried over.
pub(super) const FREE_MIN: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use quid_common::checkpoint::{Checkpoint, Head};
    use quid_common::id::LedgerId;
    use quid_common::key::SecretKey;
    use quid_common::time::LedgerTime;

    use super::*;
    use crate::ledger::Totals;
    use crate::settlement::Survey;

    fn seen(available: u128, signed: Option<u64>) -> Seen {
        let survey = Survey {
            entries: 10,
            checkpoint: 10,
            note: Checkpoint::sign(
                LedgerId([7; 32]),
                Head {
                    size: 10,
                    root: [1; 32],
                },
                &SecretKey::from_seed(&[3; 32]),
            ),
            newest: LedgerTime::from_millis(1),
            time: LedgerTime::from_millis(2),
            accounts: 3,
            totals: Totals {
                issued: 100,
                burnt: 10,
                available,
                held: 20,
            },
            open_tabs: 1,
            live_ids: 1,
            indexed: 10,
            signed,
        };
        Seen {
            survey: Some(survey),
            at: None,
            silent_since: None,
        }
    }

    #[test]
    fn each_trouble_is_named_and_no_trouble_is_none() {
        let now = Instant::now();
        let says = |seen: &Seen, free| -> Vec<&'static str> {
            let found = complaints(seen, free, now + Duration::from_secs(7));
            found.into_iter().map(Complaint::name).collect()
        };
        let well = seen(70, None);
        assert!(says(&well, Some(FREE_MIN)).is_empty());
        assert!(says(&well, None).is_empty());
        assert!(says(&Seen::default(), None).is_empty());
        assert_eq!(says(&seen(71, None), None), ["unbalanced"]);
        assert_eq!(says(&seen(70, Some(12)), None), ["log_incomplete"]);
        assert_eq!(says(&well, Some(FREE_MIN - 1)), ["disk_full"]);
        let stuck = Seen {
            silent_since: Some(now),
            ..well
        };
        assert_eq!(says(&stuck, None), ["stuck"]);
        let since = Complaint::Stuck(Duration::from_secs(7)).to_string();
        assert!(since.contains("for 7 s"), "{since}");
    }
}
