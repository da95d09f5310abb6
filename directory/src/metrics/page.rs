//! The dashboard: a page that shows the operator how the directory does, and nobody's payments.
//!
//! `/` is the page with the numbers of the moment written in, so that it says them without scripts
//! too. `/numbers.json` has the same numbers, in the same words, and the samples of the last quarter
//! of an hour; a small script asks it every two seconds. Page, style and script are files beside this
//! one, written by hand and compiled in; nothing is loaded from elsewhere, and [`CONTENT_POLICY`]
//! holds the browser to that.
//!
//! What a page shows comes of sums and counts alone ([`super::Seen`], [`super::recent`]): no name, no
//! key of an account and no address is at hand here.

use serde_json::{Value, json};

use self::words::Words;
use super::health::Complaint;
use super::machine::{Machine, Process};
use super::recent::{self, EVERY, KEPT, Look, Sample};
use super::{Metrics, Seen};
use crate::settlement::Survey;

mod words;

/// What a browser may do with the page: load style, script, icon and numbers from here, and nothing
/// else.
pub(super) const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// A file of the page.
pub(super) struct Asset {
    /// Where it is served.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

/// What the page loads.
pub(super) const ASSETS: [Asset; 3] = [
    Asset {
        path: "/dashboard.css",
        kind: "text/css; charset=utf-8",
        content: include_str!("page/dashboard.css"),
    },
    Asset {
        path: "/dashboard.js",
        kind: "text/javascript; charset=utf-8",
        content: include_str!("page/dashboard.js"),
    },
    Asset {
        path: "/icon.svg",
        kind: "image/svg+xml",
        content: include_str!("page/icon.svg"),
    },
];

/// The page, in which `{{name}}` stands for the number of that name.
const PAGE: &str = include_str!("page/dashboard.html");

impl Metrics {
    /// The page with the numbers of the moment.
    pub(super) async fn page(&self) -> String {
        let shown = self.shown().await;
        let mut page = String::with_capacity(2 * PAGE.len());
        let mut rest = PAGE;
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((name, after)) = behind.split_once("}}") else {
                break;
            };
            page.push_str(before);
            page.push_str(&escaped(shown.text(name)));
            rest = after;
        }
        page.push_str(rest);
        page
    }

    /// The numbers of the moment, with the samples behind that of number `after`.
    pub(super) async fn numbers(&self, after: u64) -> Value {
        let shown = self.shown().await;
        let samples = self.recent.samples(after);
        let samples: Vec<Value> = samples.iter().map(sample).collect();
        json!({
            "began": self.began,
            "every": EVERY.as_secs(),
            "kept": KEPT,
            "shown": shown.words,
            "state": shown.state,
            "agree": shown.agree,
            "trouble": shown.trouble,
            "refused": shown.refused,
            "shed": shown.shed,
            "samples": samples,
        })
    }

    /// The number of the newest sample that whoever asks with this query has; 0 if it has none, or
    /// those of another process.
    pub(super) fn after(&self, query: &str) -> u64 {
        let number = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let mut values = pairs.filter(|(key, _)| *key == name);
            values
                .next()
                .and_then(|(_, value)| value.parse::<u64>().ok())
        };
        match (number("began"), number("after")) {
            (Some(began), Some(after)) if began == self.began => after,
            _ => 0,
        }
    }

    async fn shown(&self) -> Shown {
        let seen = self.look().await;
        let complaints = self.complaints_of(&seen);
        let now = Look::at(&self.directory);
        let oldest = self.recent.oldest();
        let oldest = oldest.as_ref().unwrap_or(&now);
        let newest = self.recent.samples(0).pop();
        let words = Words::new(&self.currency);
        let mut shown = Shown {
            words: serde_json::Map::new(),
            state: state(&seen, &complaints),
            agree: seen.survey.as_ref().map(Survey::balances),
            trouble: complaints.iter().map(ToString::to_string).collect(),
            refused: recent::by_kind(recent::reasons(), &now.refused, &oldest.refused),
            shed: recent::by_kind(recent::causes(), &now.shed, &oldest.shed),
        };
        shown.set("state", state_words(shown.state));
        shown.set("trouble", shown.trouble.join("\n"));
        shown.set("refused_rows", rows(&shown.refused));
        shown.set("shed_rows", rows(&shown.shed));
        shown.set("currency", self.currency.code().to_owned());
        shown.set("version", env!("CARGO_PKG_VERSION").to_owned());
        shown.set("uptime", words.span(self.started.elapsed()));
        shown.flow(newest.as_ref(), &now, &words);
        shown.connections(&self.directory);
        shown.books(&seen, &words);
        shown.machine(&self.machine, &words);
        shown
    }
}

/// Everything on the page, as text.
struct Shown {
    words: serde_json::Map<String, Value>,
    state: &'static str,
    /// Whether the books agree; `None` before they were looked at.
    agree: Option<bool>,
    trouble: Vec<String>,
    refused: Vec<(&'static str, u64, u64)>,
    shed: Vec<(&'static str, u64, u64)>,
}

impl Shown {
    fn set(&mut self, name: &str, text: String) {
        self.words.insert(name.to_owned(), Value::String(text));
    }

    fn text(&self, name: &str) -> &str {
        self.words.get(name).and_then(Value::as_str).unwrap_or(NONE)
    }

    fn flow(&mut self, newest: Option<&Sample>, now: &Look, words: &Words<'_>) {
        let rate = newest.map(|sample| words.rate(sample.payments));
        self.set("payments", rate.unwrap_or_else(|| NONE.to_owned()));
        let seconds = |of: fn(&Sample) -> Option<f64>| {
            let seconds = newest.and_then(of).map(|seconds| words.seconds(seconds));
            seconds.unwrap_or_else(|| NONE.to_owned())
        };
        self.set("half", seconds(|sample| sample.half));
        self.set("most", seconds(|sample| sample.most));
        self.set("online", words.count(now.online as u64));
        self.set("queue", words.count(now.queue as u64));
        let refusals = newest.map(|sample| words.rate(sample.refusals));
        self.set("refusals", refusals.unwrap_or_else(|| NONE.to_owned()));
    }

    fn connections(&mut self, directory: &crate::member::Directory) {
        let (sessions, accounts) = directory.sessions.count();
        let traffic = &directory.traffic;
        for (name, count) in [
            ("sessions", sessions),
            ("connected", accounts),
            ("strangers", traffic.strangers.count()),
            ("handshakes", traffic.handshakes.count()),
        ] {
            self.set(name, words::count(count as u64));
        }
        let waiting = directory.settlements.waiting();
        for (name, count) in [
            ("queue_trusted", waiting.trusted),
            ("queue_distrusted", waiting.distrusted),
            ("queue_claims", waiting.claims),
        ] {
            self.set(name, words::count(count as u64));
        }
        let away = waiting.turned_away + waiting.claims_turned_away;
        self.set("turned_away", words::count(away));
    }

    fn books(&mut self, seen: &Seen, words: &Words<'_>) {
        let agreement = match self.agree {
            Some(true) => "They agree.",
            Some(false) => "They do not agree: stop the directory, keep all files, run audit.",
            None => "Not looked at yet.",
        };
        self.set("agreement", agreement.to_owned());
        let age = seen.at.map(|at| words.span(at.elapsed()));
        self.set("survey_age", age.unwrap_or_else(|| NONE.to_owned()));
        let Some(survey) = &seen.survey else { return };
        let totals = survey.totals;
        let (issued, burnt) = (u128::from(totals.issued), u128::from(totals.burnt));
        for (name, units) in [
            ("issued", issued),
            ("burnt", burnt),
            ("outside", issued.saturating_sub(burnt)),
            ("available", totals.available),
            ("held", totals.held),
            ("owned", totals.available.saturating_add(totals.held)),
        ] {
            self.set(name, words.units(units));
        }
        for (name, count) in [
            ("accounts", survey.accounts as u64),
            ("tabs", survey.open_tabs as u64),
            ("entries", survey.entries),
            ("checkpoint_entries", survey.checkpoint),
            ("index_lag", survey.entries.saturating_sub(survey.indexed)),
        ] {
            self.set(name, words::count(count));
        }
        self.set("checkpoint", survey.note.as_str().trim_end().to_owned());
        let age = survey.time.since(survey.newest);
        self.set("checkpoint_age", words.span(age));
    }

    fn machine(&mut self, machine: &Machine, words: &Words<'_>) {
        let free = machine.free().map(|free| words.bytes(free));
        self.set("disk_free", free.unwrap_or_else(|| NONE.to_owned()));
        let files = machine.files();
        let used = files.iter().map(|(_, len)| len).sum();
        self.set("disk_used", words.bytes(used));
        let of = |wanted: &[&str]| {
            let wanted = files.iter().filter(|(name, _)| wanted.contains(name));
            words.bytes(wanted.map(|(_, len)| len).sum())
        };
        self.set("disk_ledger", of(&["ledger", "ledger_wal"]));
        self.set("disk_index", of(&["index", "index_wal"]));
        self.set("disk_rest", of(&["tree", "snapshot", "redo"]));
        let process = Process::now();
        let memory = process.resident.map(|bytes| words.bytes(bytes));
        self.set("memory", memory.unwrap_or_else(|| NONE.to_owned()));
        let open = process.fds.map(words::count);
        self.set("open_files", open.unwrap_or_else(|| NONE.to_owned()));
    }
}

/// How the directory does, as a stable word.
fn state(seen: &Seen, complaints: &[Complaint]) -> &'static str {
    match (complaints.is_empty(), &seen.survey) {
        (false, _) => "trouble",
        (true, Some(_)) => "well",
        (true, None) => "starting",
    }
}

fn state_words(state: &str) -> String {
    match state {
        "well" => "Settling",
        "trouble" => "Trouble",
        _ => "Starting",
    }
    .to_owned()
}

fn sample(sample: &Sample) -> Value {
    let millis = |seconds: Option<f64>| seconds.map(|seconds| rounded(seconds * 1e3));
    json!([
        sample.number,
        rounded(sample.payments),
        millis(sample.half),
        millis(sample.most),
        sample.online,
        sample.queue,
        rounded(sample.refusals),
    ])
}

/// What a chart can show of a number.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Rows of a table as text, for the page without scripts.
fn rows(rows: &[(&str, u64, u64)]) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let told = rows.iter().map(|(name, all, lately)| {
        format!(
            "{}: {} lately, {} in all",
            name.replace('_', " "),
            words::count(*lately),
            words::count(*all)
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Text as it may stand in the page. What stands there is this program's own; it is escaped all the
/// same.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Stands for what is not known.
const NONE: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_the_page_is_never_markup() {
        assert_eq!(
            escaped("<b title=\"x\">'&'</b>"),
            "&lt;b title=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/b&gt;"
        );
    }

    #[test]
    fn the_page_names_nothing_elsewhere_and_has_no_script_or_style_within() {
        let all = ASSETS.iter().map(|asset| asset.content).chain([PAGE]);
        for text in all {
            for (at, _) in text.match_indices("://") {
                let rest = &text[at..];
                assert!(rest.starts_with("://www.w3.org/"), "{}", &rest[..30]);
            }
        }
        for within in ["<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!PAGE.contains(within), "{within}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(PAGE.contains("<script src=\"dashboard.js\" defer></script>"));
    }
}
