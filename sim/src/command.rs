//! The command line: which seeds to run, and what is said about them.

use std::collections::BTreeMap;
use std::process::ExitCode;
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
    /// A short life of two people, as the tests of disks know it.
    #[arg(long)]
    short: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    match (arguments.seed, arguments.seeds, arguments.command) {
        (Some(seed), None, None) => one(seed, arguments.fair, arguments.short),
        (None, Some((from, to)), None) => many(from, to, None),
        (None, None, Some(Command::Soak { hours })) => {
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

fn one(seed: u64, fair: bool, short: bool) -> ExitCode {
    let mut wishes = ORDINARY;
    if short {
        wishes = SHORT;
    }
    if fair {
        (wishes.faults, wishes.rogues) = (false, 0);
    }
    let begun = Instant::now();
    match run(seed, wishes) {
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
    entries: usize,
    counts: BTreeMap<&'static str, u64>,
    known_after: Duration,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.entries += report.entries;
        for (what, count) in &report.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.known_after = self.known_after.max(report.known_after);
    }
}

impl Sum {
    /// What should have happened and did not.
    fn lacking(&self) -> Vec<&'static str> {
        let seen = |what: &&str| !self.counts.contains_key(what);
        DEEP.iter().copied().filter(seen).collect()
    }
}

/// What a range of seeds must have seen to be worth anything.
const DEEP: &[&str] = &[
    "claims past the end",
    "claims twice",
    "claims with a false link",
    "conflicts: id reused",
    "directory crashes",
    "expired",
    "forgeries refused",
    "node crashes",
    "orders withheld",
    "partitions",
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
                while !stop.load(Ordering::Relaxed) && limit.is_none_or(|limit| begun.elapsed() < limit) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    match run(seed, ORDINARY) {
                        Ok(report) => {
                            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            sum.add(&report);
                        }
                        Err(violation) => {
                            eprintln!("{violation}\nagain: cargo run --release -p quid-sim -- --seed {seed}");
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

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parsed.ok_or_else(|| "write it as A..B".to_owned())
}
