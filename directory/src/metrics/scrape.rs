//! The numbers that are looked up when somebody asks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use quid_common::time::LedgerTime;

use super::Seen;
use super::machine::{Machine, Process};
use crate::member::Directory;
use crate::settlement::Survey;

/// Where they are looked up.
#[derive(Debug)]
pub(super) struct AtScrape {
    pub(super) directory: Directory,
    pub(super) machine: Machine,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Collector for AtScrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.clone();
        if let Some(survey) = &seen.survey {
            books(&mut out, survey)?;
        }
        let age = seen.at.map(|at| at.elapsed().as_secs_f64());
        let help = "Seconds since the settlement last answered, and so could make a batch durable";
        out.gauge_if("quid_survey_age_seconds", help, age)?;
        self.traffic(&mut out)?;
        self.waiting(&mut out)?;
        self.machine(&mut out)?;
        let build = "The version of this program";
        let version = env!("CARGO_PKG_VERSION");
        out.gauges("quid_build_info", build, "version", [(version, 1_u64)])
    }
}

impl AtScrape {
    fn traffic(&self, out: &mut Out<'_>) -> fmt::Result {
        let traffic = &self.directory.traffic;
        let (sessions, accounts) = self.directory.sessions.count();
        let help = "Handshakes in progress";
        out.gauge("quid_handshakes", help, traffic.handshakes.count() as u64)?;
        let help = "Connections that have not logged in";
        out.gauge("quid_strangers", help, traffic.strangers.count() as u64)?;
        let help = "Sessions that have logged in";
        out.gauge("quid_sessions", help, sessions as u64)?;
        let help = "Accounts with a session";
        out.gauge("quid_accounts_connected", help, accounts as u64)?;
        let help = "Accounts that other members can reach";
        let listening = self.directory.presence.len() as u64;
        out.gauge("quid_accounts_listening", help, listening)?;
        let help = "How often somebody was turned away or held back since the start, by cause";
        let sheds = self.directory.sentry.shed.counts();
        let sheds = sheds.map(|(cause, count)| (cause.name(), count));
        out.counters("quid_shed", help, "cause", sheds)
    }

    fn waiting(&self, out: &mut Out<'_>) -> fmt::Result {
        let waiting = self.directory.settlements.waiting();
        let lengths = [
            ("trusted", waiting.trusted as u64),
            ("distrusted", waiting.distrusted as u64),
            ("claims", waiting.claims as u64),
        ];
        let help = "Jobs that wait to be settled, by class";
        out.gauges("quid_queue_jobs", help, "class", lengths)?;
        let turned_away = [
            ("settle", waiting.turned_away),
            ("claims", waiting.claims_turned_away),
        ];
        let help = "Jobs since the start for which there was no room, by queue";
        out.counters("quid_turned_away", help, "queue", turned_away)?;
        let help = "Long claims since the start that were hashed";
        out.counter("quid_claims_hashed", help, waiting.claims_hashed)
    }

    fn machine(&self, out: &mut Out<'_>) -> fmt::Result {
        let help = "Bytes in the data folder, by file";
        out.gauges("quid_disk_bytes", help, "file", self.machine.files())?;
        let help = "Bytes that are free for the data folder";
        out.gauge_if("quid_disk_free_bytes", help, self.machine.free())?;
        let age = self.machine.snapshot_age().map(|age| age.as_secs_f64());
        let help = "Seconds since snapshot or sections were last written";
        out.gauge_if("quid_snapshot_age_seconds", help, age)?;
        let process = Process::now();
        let help = "Bytes of memory in use";
        out.gauge_if("process_resident_memory_bytes", help, process.resident)?;
        let help = "Open files and sockets";
        out.gauge_if("process_open_fds", help, process.fds)?;
        let help = "Most files and sockets that may be open";
        out.gauge_if("process_max_fds", help, process.fds_max)?;
        let help = "Seconds that this process has had of a processor";
        out.counter("process_cpu_seconds", help, process.cpu)
    }
}

fn books(out: &mut Out<'_>, survey: &Survey) -> fmt::Result {
    let wall = wall();
    let totals = &survey.totals;
    let help = "Accounts, the treasury not counted";
    out.gauge("quid_accounts", help, survey.accounts as u64)?;
    let help = "Entries in the log";
    out.gauge("quid_log_entries", help, survey.entries)?;
    let help = "Entries under the newest checkpoint";
    out.gauge("quid_checkpoint_entries", help, survey.checkpoint)?;
    let help = "Seconds of ledger time since the newest checkpoint";
    let age = survey.time.since(survey.newest).as_secs_f64();
    out.gauge("quid_checkpoint_age_seconds", help, age)?;
    let help = "Units issued so far";
    out.gauge("quid_issued_units", help, totals.issued)?;
    let help = "Units burnt so far";
    out.gauge("quid_burnt_units", help, totals.burnt)?;
    let help = "Units that accounts can spend";
    out.gauge("quid_available_units", help, totals.available as f64)?;
    let help = "Units held for open tabs";
    out.gauge("quid_held_units", help, totals.held as f64)?;
    let help = "Whether available and held units are those issued and not burnt";
    let balanced = u64::from(survey.balances());
    out.gauge("quid_books_balanced", help, balanced)?;
    let help = "Open tabs";
    out.gauge("quid_tabs_open", help, survey.open_tabs as u64)?;
    let help = "Ids of orders and tabs in memory";
    out.gauge("quid_live_ids", help, survey.live_ids as u64)?;
    let help = "Entries that the index does not hold for good yet";
    let lag = survey.entries.saturating_sub(survey.indexed);
    out.gauge("quid_index_lag_entries", help, lag)?;
    let help = "Whether the log lacks entries that were signed";
    let incomplete = u64::from(survey.signed.is_some());
    out.gauge("quid_log_incomplete", help, incomplete)?;
    let help = "Seconds by which ledger time is ahead of the wall clock";
    let ahead = survey.time.since(wall).as_secs_f64() - wall.since(survey.time).as_secs_f64();
    out.gauge("quid_clock_skew_seconds", help, ahead)
}

fn wall() -> LedgerTime {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = wall.unwrap_or_default().as_millis();
    LedgerTime::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Writes numbers with their descriptions.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn gauge_if(
        &mut self,
        name: &str,
        help: &str,
        value: Option<impl EncodeGaugeValue>,
    ) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (which, value) in values {
            let labels = [(label, which)];
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (which, value) in values {
            let labels = [(label, which)];
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}
