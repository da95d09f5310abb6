//! What the settlement has done since the start, in numbers for the operator. None of them says who
//! did it, with whom, or how much money moved.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use quid_common::entry::{Entry, Fact};
use quid_common::refusal::Reason;

use super::{Answer, Latency};

/// One label and its value, out of a set that this program fixes.
pub type Label = [(&'static str, &'static str); 1];

/// Numbers that only grow; cheap to clone, and every clone counts on.
#[derive(Clone, Debug)]
pub struct Counts {
    /// New entries, by kind.
    pub entries: Family<Label, Counter>,
    /// Answers that refuse, by reason.
    pub refused: Family<Label, Counter>,
    /// Jobs in each batch.
    pub batch: Histogram,
    /// Seconds in which a batch with entries became durable.
    pub commit: Histogram,
    /// Seconds from a wish's coming to the answer that its new entry is durable.
    pub settle: Histogram,
    /// The same, more finely.
    pub latency: Latency,
}

impl Default for Counts {
    fn default() -> Self {
        let counts = Self {
            entries: Family::default(),
            refused: Family::default(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, BATCH_BUCKETS)),
            commit: Histogram::new(exponential_buckets(SECONDS_MIN, 2.0, SECONDS_BUCKETS)),
            settle: Histogram::new(exponential_buckets(SECONDS_MIN, 2.0, SECONDS_BUCKETS)),
            latency: Latency::default(),
        };
        // What is shown from the start at zero can be watched for its first step.
        for kind in KINDS {
            drop(counts.entries.get_or_create(&[("kind", kind)]));
        }
        for reason in Reason::ALL {
            drop(counts.refused.get_or_create(&[("reason", reason.name())]));
        }
        counts
    }
}

impl Counts {
    /// Counts a batch that is durable now.
    pub(super) fn committed(&self, jobs: usize, entries: &[Entry], took: Duration) {
        self.batch.observe(jobs as f64);
        if entries.is_empty() {
            return;
        }
        self.commit.observe(took.as_secs_f64());
        for run in entries.chunk_by(|one, other| kind(&one.fact) == kind(&other.fact)) {
            if let Some(first) = run.first() {
                let label = [("kind", kind(&first.fact))];
                self.entries.get_or_create(&label).inc_by(run.len() as u64);
            }
        }
    }

    /// Counts an answer to what was asked at `since`; `new` if it reports a new entry.
    pub(super) fn answered(&self, answer: &Answer, new: bool, since: Instant, now: Instant) {
        if let Answer::Refused(reason, _) = answer {
            let label = [("reason", reason.name())];
            self.refused.get_or_create(&label).inc();
        } else if new {
            let took = now.saturating_duration_since(since);
            self.settle.observe(took.as_secs_f64());
            self.latency.observe(took);
        }
    }
}

/// An entry's kind as a label.
const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Genesis(_) => "genesis",
        Fact::Register(_) => "register",
        Fact::Issue(_) => "issue",
        Fact::Payment(_) => "payment",
        Fact::Void(_) => "void",
        Fact::Freeze(_) => "freeze",
        Fact::Refusal(_) => "refusal",
        Fact::Tab(_) => "tab",
        Fact::Claim(_) => "claim",
        Fact::Close(_) => "close",
        Fact::Release(_) => "release",
        Fact::Rotation(_) => "rotation",
        Fact::Recovery(_) => "recovery",
        Fact::Objection(_) => "objection",
        Fact::Takeover(_) => "takeover",
        Fact::Lock(_) => "lock",
    }
}

/// The kinds that a serving directory can write.
const KINDS: [&str; 15] = [
    "register",
    "issue",
    "payment",
    "void",
    "freeze",
    "refusal",
    "tab",
    "claim",
    "close",
    "release",
    "rotation",
    "recovery",
    "objection",
    "takeover",
    "lock",
];

/// Up to 1024 jobs, in powers of two.
const BATCH_BUCKETS: u16 = 11;

/// From 0.1 ms to some 6.5 s, in powers of two.
const SECONDS_MIN: f64 = 0.0001;
const SECONDS_BUCKETS: u16 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_kind_is_shown_before_it_first_comes() {
        let counts = Counts::default();
        for reason in Reason::ALL {
            let label = [("reason", reason.name())];
            assert!(counts.refused.get(&label).is_some(), "{reason:?}");
        }
        for kind in KINDS {
            assert!(counts.entries.get(&[("kind", kind)]).is_some(), "{kind}");
        }
        let busy = Answer::Refused(Reason::BUSY, None);
        let now = Instant::now();
        counts.answered(&busy, false, now, now);
        counts.answered(&busy, true, now, now);
        let label = [("reason", "busy")];
        assert_eq!(counts.refused.get_or_create(&label).get(), 2);
    }
}
