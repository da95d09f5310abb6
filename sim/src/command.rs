//! The command line: which seeds to run, and what is said about them.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::world::{ORDINARY, Report, SHORT, run};

#[derive(Debug, Parser)]
#[command(about = "Runs the whole of Quid under a seed and holds it against its promises")]
struct Arguments {
    /// One seed, told at length.
    #[arg(long)]
    seed: Option<u64>,
    /// A range of seeds, the end excluded.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Without faults.
    #[arg(long)]
    fair: bool,
    /// With `--seed`: for programs, a value a line, and nothing that differs between two runs.
    #[arg(long)]
    plain: bool,
    /// A short life of two people, as the tests of disks know it.
    #[arg(long)]
    short: bool,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs seeds one after another for hours, beginning with a new one.
    Soak {
        /// How long.
        #[arg(long)]
        hours: f64,
    },
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .try_init();
    let arguments = Arguments::parse();
    match (arguments.seed, arguments.seeds, &arguments.command) {
        (Some(seed), None, None) => one(seed, &arguments),
        (None, Some((from, to)), None) => many(from, to, None),
        (None, None, Some(Task::Soak { hours })) => {
            let from = std::time::UNIX_EPOCH
                .elapsed()
                .unwrap_or_default()
                .as_secs()
                << 16;
            many(
                from,
                u64::MAX,
                Some(Duration::from_secs_f64(hours * 3600.0)),
            )
        }
        _ => {
            eprintln!("quid-sim: say one of --seed N, --seeds A..B, soak --hours H");
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let mut wishes = ORDINARY;
    if arguments.short {
        wishes = SHORT;
    }
    if arguments.fair {
        (wishes.faults, wishes.rogues, wishes.holders) = (false, 0, 0);
    }
    let begun = Instant::now();
    match run(seed, wishes) {
        Ok(report) if arguments.plain => {
            print!("{}", plain(&report));
            ExitCode::SUCCESS
        }
        Ok(report) => {
            println!(
                "seed {seed}: {} entries, digest {}, all known {:?} after the last fault, {:?} simulated in {:?}",
                report.entries,
                report.digest,
                report.known_after,
                report.simulated,
                begun.elapsed()
            );
            for (what, count) in &report.counts {
                println!("{count:7} {what}");
            }
            println!("{:?}\n{:?}", report.datagrams, report.disks);
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}

/// What a range of seeds came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    entries: u64,
    counts: BTreeMap<String, u64>,
    known_after: Duration,
}

impl Sum {
    /// Adds what [`plain`] says of a run.
    fn add(&mut self, plain: &str) {
        self.seeds += 1;
        for line in plain.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(kind), Some(number)) = (words.next(), words.next()) else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or_default();
            match (kind, words.next()) {
                ("entries", None) => self.entries += number,
                ("known_ms", None) => {
                    self.known_after = self.known_after.max(Duration::from_millis(number));
                }
                ("count", Some(what)) => {
                    *self.counts.entry(what.to_owned()).or_default() += number;
                }
                _ => {}
            }
        }
    }
}

impl Sum {
    /// What should have happened and did not.
    fn lacking(&self) -> Vec<&'static str> {
        let unseen = |what: &&str| !self.counts.contains_key(*what);
        DEEP.iter().copied().filter(unseen).collect()
    }
}

/// What a range of seeds must have seen to be worth anything.
const DEEP: &[&str] = &[
    "altered links refused",
    "changes by a replaced key refused",
    "changes by the wrong key refused",
    "claims on a frozen payer's tab, by the log",
    "claims past the end",
    "claims twice",
    "claims with a false link",
    "conflicts: id reused",
    "directory crashes",
    "expired",
    "forgeries refused",
    "freezes among orders of the account, by the log",
    "freezes by a key",
    "freezes by the account's key, by the log",
    "freezes by the operator, by the log",
    "freezes by the recovery key, by the log",
    "intents asked again: told of the first",
    "links of another key refused",
    "links paid after their time refused",
    "links paid again: told of the first payment",
    "links paid once whose payee was away",
    "node crashes",
    "orders by or to a replaced key refused",
    "orders of a frozen account refused",
    "orders withheld",
    "partitions",
    "payments by a thief",
    "payments to a frozen account, by the log",
    "recoveries announced",
    "recoveries before their time refused",
    "recoveries objected to",
    "recoveries that took effect",
    "refunds asked again: told of the first",
    "refunds, by the log",
    "refusals of a frozen account, by the log",
    "releases to a frozen payer, by the log",
    "requests answered by rogues",
    "requests paid once in all, by the log",
    "requests paid, by the log",
    "rotations",
    "rotations of a frozen account refused",
    "second payers of a request declined",
    "tabs of requests, by the log",
    "thaws by a recovery key",
    "unknown for a while",
    "voided",
    "voids that came too late",
    "wall clock jumps",
    "withheld orders that were void",
];

/// Fewer seeds may be shallow.
const DEEP_AFTER: u64 = 20;

/// Runs a range on as many threads as there are processors, until the first violation.
fn many(from: u64, to: u64, limit: Option<Duration>) -> ExitCode {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed)
                    && limit.is_none_or(|limit| begun.elapsed() < limit)
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    match apart(seed) {
                        Ok(plain) => {
                            let mut sum = sum
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner);
                            sum.add(&plain);
                        }
                        Err(said) => {
                            eprintln!(
                                "{said}\nagain: cargo run --release -p quid-sim -- --seed {seed}"
                            );
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let sum = sum
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "{} seeds from {from} on, {} entries, all known {:?} after the last fault at the latest, in {:?}",
        sum.seeds,
        sum.entries,
        sum.known_after,
        begun.elapsed()
    );
    for (what, count) in &sum.counts {
        println!("{count:9} {what}");
    }
    if stop.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    let lacking = sum.lacking();
    if sum.seeds >= DEEP_AFTER && !lacking.is_empty() {
        eprintln!(
            "these runs were shallow: none of them saw {}",
            lacking.join(", nor ")
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs a seed in a process of its own: what one run leaves in a process (tokio counts its
/// runtimes, and draws by that) must not change the next, or no seed of a range could be had again
/// alone. And a run that ends its process names itself.
fn apart(seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--seed", &seed.to_string(), "--plain"])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("seed {seed} failed ({}): {said}", output.status))
    }
}

/// A report for programs.
fn plain(report: &Report) -> String {
    let mut text = format!(
        "digest {}\nentries {}\nknown_ms {}\nsimulated_ms {}\n",
        report.digest,
        report.entries,
        report.known_after.as_millis(),
        report.simulated.as_millis()
    );
    let datagrams = report.datagrams;
    let network = [
        ("datagrams sent", datagrams.sent),
        ("datagrams lost", datagrams.lost),
        ("datagrams doubled", datagrams.doubled),
        ("datagrams late", datagrams.late),
    ];
    for (what, count) in report.counts.iter().chain(&network) {
        text.push_str(&format!("count {count} {what}\n"));
    }
    text
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parsed.ok_or_else(|| "write it as A..B".to_owned())
}
