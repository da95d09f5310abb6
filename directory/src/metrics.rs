//! Numbers for the operator: `/metrics` for Prometheus, `/healthz` for whoever restarts or alerts, and
//! `/`, a page for people (`metrics/page.rs`). docs/operating.md has the table of all of them, and a
//! test holds it.
//!
//! No number says who paid whom, no name, key or address is a label, and every set of labels is
//! fixed by this program.
//!
//! All of it runs on a thread of its own (`metrics/http.rs`): reading files and answering slow
//! readers must not hold up the sockets that carry payments. What the ledger holds is asked of the
//! settlement like any other question ([`Ask::Survey`]), at most once a second. So whoever looks
//! also makes sure that batches still become durable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use quid_common::amount::Currency;
use quid_common::refusal::Reason;
use tokio::time::MissedTickBehavior;

use crate::folder::Folder;
use crate::member::Directory;
use crate::settlement::{Answer, Ask, Survey};

mod health;
mod http;
mod machine;
mod page;
mod recent;
mod scrape;

pub use self::health::Complaint;
pub use self::http::{ListenError, Listener, Serving};
use self::machine::Machine;
use self::recent::{Look, Recent};
use self::scrape::AtScrape;

/// The numbers of one serving directory.
#[derive(Debug)]
pub struct Metrics {
    directory: Directory,
    machine: Machine,
    registry: Registry,
    seen: Arc<Mutex<Seen>>,
    /// Held while a survey is asked for, so that many who ask at once cost one.
    asking: tokio::sync::Mutex<()>,
    /// What the ledger counts.
    currency: Currency,
    recent: Recent,
    started: Instant,
    /// Tells this process from the one before, whose samples were counted too.
    began: u64,
}

/// The newest survey, and what came of asking for one.
#[derive(Clone, Debug, Default)]
struct Seen {
    survey: Option<Survey>,
    /// When that was answered.
    at: Option<Instant>,
    /// Since when no answer has come.
    silent_since: Option<Instant>,
}

impl Metrics {
    /// The numbers of `directory`, whose data is in `folder` and counts `currency`.
    #[must_use]
    pub fn new(directory: Directory, folder: &Folder, currency: &Currency) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let machine = Machine::new(folder);
        let mut registry = Registry::default();
        let counts = directory.settlements.counts();
        let entries = "New entries since the start, by kind";
        registry.register("quid_entries", entries, counts.entries.clone());
        let refused = "Answers since the start that refuse, by reason";
        registry.register("quid_refused", refused, counts.refused.clone());
        let batch = "Jobs settled together";
        registry.register("quid_batch_jobs", batch, counts.batch.clone());
        let commit = "Time in which a batch with entries became durable";
        registry.register("quid_commit_seconds", commit, counts.commit.clone());
        let settle = "Time from a wish to the answer that its new entry is durable";
        registry.register("quid_settle_seconds", settle, counts.settle.clone());
        registry.register_collector(Box::new(AtScrape {
            directory: directory.clone(),
            machine: machine.clone(),
            seen: Arc::clone(&seen),
        }));
        Self {
            directory,
            machine,
            registry,
            seen,
            asking: tokio::sync::Mutex::new(()),
            currency: currency.clone(),
            recent: Recent::default(),
            started: Instant::now(),
            began: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        }
    }

    /// All numbers, in the text format of OpenMetrics. Those of the ledger may be a second old, or
    /// older if the settlement does not answer.
    pub async fn text(&self) -> String {
        self.look().await;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// What keeps this directory from settling, or is about to; nothing if all is well.
    pub async fn complaints(&self) -> Vec<Complaint> {
        let seen = self.look().await;
        self.complaints_of(&seen)
    }

    fn complaints_of(&self, seen: &Seen) -> Vec<Complaint> {
        health::complaints(seen, self.machine.free(), Instant::now())
    }

    /// Looks at the counts every [`recent::EVERY`], for ever.
    async fn follow(&self) {
        let mut looked = Instant::now();
        self.recent.add(Look::at(&self.directory), recent::EVERY);
        let mut times = tokio::time::interval(recent::EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.tick().await;
        loop {
            times.tick().await;
            self.recent.add(Look::at(&self.directory), looked.elapsed());
            looked = Instant::now();
        }
    }

    /// Asks for a survey, unless there is one that is new enough.
    async fn look(&self) -> Seen {
        let _asking = self.asking.lock().await;
        let begun = Instant::now();
        let before = self.seen().clone();
        if before.at.is_some_and(|at| begun - at < SURVEY_AGE) {
            return before;
        }
        let question = self
            .directory
            .settlements
            .ask(self.directory.key, Ask::Survey);
        let answer = tokio::time::timeout(SURVEY_DEADLINE, question).await;
        let mut seen = self.seen();
        match answer {
            Ok(Answer::Survey(survey)) => {
                *seen = Seen {
                    survey: Some(*survey),
                    at: Some(Instant::now()),
                    silent_since: None,
                };
            }
            // There was no room for the question: then much is being settled.
            Ok(Answer::Refused(Reason::BUSY, _)) => {}
            _ => {
                seen.silent_since.get_or_insert(begun);
            }
        }
        seen.clone()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A survey may be so old: to add up all accounts keeps the settlement from other work, so however
/// many look, it is done no more often.
const SURVEY_AGE: Duration = Duration::from_secs(1);

/// How long an answer is waited for. A batch takes milliseconds; a disk that needs more than this is
/// worth an alert.
const SURVEY_DEADLINE: Duration = Duration::from_secs(2);
