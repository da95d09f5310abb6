//! Floods: what an honest pair's payments and the directory's memory come to while somebody does his
//! worst.
//!
//! Each flood meets a directory of its own, with the limits that `serve` has unless it is told
//! otherwise. The pair pays one payment at a time, before the flood, beside it, and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::directory::Directory;
use crate::flooder::{Did, Kind};
use crate::floors::Floors;
use crate::members::{Members, Process, settle_down};
use crate::options::{FloodOptions, Options};
use crate::payers::Stretch;
use crate::report::{Failure, Report};
use crate::usage;

/// Runs the floods asked for, and prints a report of each.
pub(crate) fn floods(options: &FloodOptions) -> Result<(), Failure> {
    let kinds: Vec<Kind> = match options.name.as_str() {
        "all" => Kind::value_variants().to_vec(),
        name => vec![Kind::from_str(name, false)?],
    };
    let floors = Floors::measure(options.options.place.as_deref())?;
    for kind in kinds {
        let mut report = flood(&options.options, kind)?;
        floors.put(&mut report);
        report.print()?;
    }
    Ok(())
}

fn flood(options: &Options, kind: Kind) -> Result<Report, Failure> {
    let mut report = Report::new("flood");
    report.word("flood", &kind.name());
    let directory = Directory::start_besieged(options.place.as_deref())?;
    let mut members = Members::start(&directory.address, 1, 1)?;
    let seconds = options.seconds().as_secs_f64();
    let alone = |seconds| Stretch {
        seconds,
        in_flight: 1,
        rate: None,
        hot: false,
    };
    members.pay(&directory, alone(1.0))?;
    let mut flooder = start(&directory, kind, options.quick)?;
    settle_down(&directory)?;
    let before = members.pay(&directory, alone(seconds))?.latencies.summary();
    let (rss, _) = usage::memory(directory.pid())?;
    tell(&mut flooder, "begin")?;
    let watch = Watch::begin(directory.pid());
    std::thread::sleep(WARM_UP);
    let beside = members.pay(&directory, alone(seconds))?.latencies.summary();
    let did = tell(&mut flooder, "tell")?;
    let most = watch.end();
    // Killed, it leaves what it had open to the directory.
    drop(flooder);
    settle_down(&directory)?;
    let after = members.pay(&directory, alone(seconds))?.latencies.summary();
    let quiet = f64::from(before.p99_us + after.p99_us) / 2.0;
    report.count("payments", beside.count);
    report.count("p50_us", beside.p50_us.into());
    report.put(
        "p50_quiet_us",
        f64::from(before.p50_us + after.p50_us) / 2.0,
    );
    report.put("p99_quiet_us", quiet);
    report.count("p99_us", beside.p99_us.into());
    report.put("ratio_flood_p99", f64::from(beside.p99_us) / quiet);
    report.count("flood_done", did.done);
    report.count("flood_refused", did.refused);
    report.count("flood_open", did.open);
    report.count("rss_bytes_directory", most);
    if kind == Kind::Strangers && did.open > 0 {
        let each = most.saturating_sub(rss) as f64 / did.open as f64;
        report.put("bytes_per_stranger", each);
    }
    drop(members);
    let (log, data) = (directory.log(), directory.data());
    let _place = directory.stop()?;
    for (cause, count) in shed(&std::fs::read_to_string(log)?) {
        report.count(&format!("shed_{cause}"), count);
    }
    report.count("audited_entries", entries(&data)?);
    if beside.count == 0 {
        return Err(format!("nobody could pay beside {}", kind.name()).into());
    }
    Ok(report)
}

fn entries(data: &std::path::Path) -> Result<u64, Failure> {
    let entries = Directory::audit(data)?["entries"].as_u64();
    entries.ok_or_else(|| "the audit counts no entries".into())
}

fn start(directory: &Directory, kind: Kind, small: bool) -> Result<Process, Failure> {
    let (address, name) = (directory.address.to_string(), kind.name());
    let mut arguments = vec!["flooder", "--directory", &address, "--kind", &name];
    if small {
        arguments.push("--small");
    }
    let mut flooder = Process::start(&arguments)?;
    flooder.line()?;
    Ok(flooder)
}

fn tell(flooder: &mut Process, what: &str) -> Result<Did, Failure> {
    use std::io::Write;
    writeln!(flooder.input, "{what}")?;
    Ok(serde_json::from_str(&flooder.line()?)?)
}

/// What the directory's log says at its end that it has shed, by cause.
fn shed(log: &str) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let field = |name: &str| {
            line.get(name)
                .or_else(|| line.get("fields")?.get(name))
                .cloned()
        };
        let (Some(Value::String(cause)), Some(count)) = (field("cause"), field("count")) else {
            continue;
        };
        let Some(count) = count.as_u64() else {
            continue;
        };
        counts.retain(|(known, _)| *known != cause);
        counts.push((cause, count));
    }
    counts
}

/// Looks at a process's memory until it is ended.
struct Watch {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn begin(pid: u32) -> Self {
        let (stop, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((rss, _)) = usage::memory(pid) {
                    seen.fetch_max(rss, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        Self { stop, most, thread }
    }

    /// The most that was seen, in bytes.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}

/// Between the flood's beginning and the measuring.
const WARM_UP: Duration = Duration::from_secs(3);

/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(50);
