//! What can be asked of the bench, and the roles in which it starts itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use quid_common::address::DirectoryAddress;
use quid_common::chain::LENGTH_MAX;

use crate::flooder::Kind;

/// Measures a Quid directory on this machine, beside the floors that bound it.
#[derive(Debug, Parser)]
#[command(name = "quid-bench", version, max_term_width = 100)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Many payers pay many payees, as fast as it goes, and at 70 % of that.
    Settle(Options),
    /// All pay one account; the rate beside that of the spread case in the same run.
    Hot(Options),
    /// One payment at a time.
    Latency(Options),
    /// Handshake, login and presence, beside bare handshakes.
    Login(Options),
    /// Nodes online that do nothing: the directory's memory and CPU.
    Idle(Options),
    /// A million accounts and ten million entries: starts, after a stop and a kill, and the rate
    /// beside that of a small ledger.
    Large(Options),
    /// Starts after SIGKILL under load at a hundred thousand entries, which may take 2 s to the first
    /// settlement: more is an error.
    Restart(Options),
    /// The audit of a filled ledger.
    Audit(Options),
    /// A stream of payments on tabs from one payer to one payee, unit by unit, as fast as it goes.
    Tab(Options),
    /// Payments on a tab, each awaited; beside bare requests and replies, in turns.
    Tick(Options),
    /// A thousand tabs open at one payee: what each costs payer and payee in memory.
    Tabs(Options),
    /// Claims as long as they may be: the directory's CPU, and what they take from payments of
    /// others.
    Claim(Options),
    /// Floods by strangers and accounts: what they leave of an honest pair's pace, and what memory
    /// they take. Prints a report of each.
    Flood(FloodOptions),
    /// A process that floods, started by `flood`.
    #[command(hide = true)]
    Flooder(Flooder),
    /// A process of payees, started by the scenarios.
    #[command(hide = true)]
    Payees(Payees),
    /// A process of payers, started by the scenarios.
    #[command(hide = true)]
    Payers(Payers),
    /// A payee of tabs, started by the scenarios.
    #[command(hide = true)]
    TabPayee(TabPayee),
    /// A process of payers of tabs, started by the scenarios.
    #[command(hide = true)]
    TabPayers(TabPayers),
    /// Takes connections, for the rate of bare handshakes.
    #[command(hide = true)]
    Greet,
    /// Answers requests, for the floor of a round trip.
    #[command(hide = true)]
    Echo,
}

/// How long and with whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Take less than a minute.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seconds for each measured stretch. [default: 10, quick 4]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: Option<u64>,
    /// Accounts that pay.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) payers: u16,
    /// Accounts that are paid.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) payees: u16,
    /// Payments that wait for their receipts at once, of all payers together.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: u32,
    /// Nodes that are online at once (`idle`).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) nodes: Option<u32>,
    /// Units of each tab. [default: tab 262,144, tick 1,048,576, tabs 50,000; claim always takes
    /// the longest]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(LENGTH_MAX)))]
    pub(crate) length: Option<u32>,
    /// Units that a crash of the payee may lose of a tab (`tab`).
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) exposure: u32,
    /// Where the ledger is put while it is measured, and removed afterwards. [default: the
    /// system's folder for temporary files; it must be on the disk that is to be measured]
    #[arg(long, value_name = "DIR")]
    pub(crate) place: Option<PathBuf>,
}

impl Options {
    pub(crate) fn seconds(&self) -> Duration {
        let default = if self.quick { 4 } else { 10 };
        Duration::from_secs(self.seconds.unwrap_or(default))
    }
}

/// Which flood.
#[derive(Clone, Debug, Args)]
pub(crate) struct FloodOptions {
    /// Its name (bench/README.md has them all), or `all`.
    #[arg(default_value = "all")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A process that floods.
#[derive(Clone, Debug, Args)]
pub(crate) struct Flooder {
    #[arg(long)]
    pub(crate) directory: DirectoryAddress,
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    /// A tenth of the accounts and connections.
    #[arg(long)]
    pub(crate) small: bool,
}

/// A process of payees.
#[derive(Clone, Debug, Args)]
pub(crate) struct Payees {
    #[arg(long)]
    pub(crate) directory: DirectoryAddress,
    #[arg(long)]
    pub(crate) count: u16,
}

/// A process of payers.
#[derive(Clone, Debug, Args)]
pub(crate) struct Payers {
    #[arg(long)]
    pub(crate) directory: DirectoryAddress,
    #[arg(long)]
    pub(crate) count: u16,
    /// Where the payees listen, in the order of their numbers.
    #[arg(long, required = true)]
    pub(crate) payee: Vec<SocketAddr>,
}

/// A payee of tabs: the library's node in a process of its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct TabPayee {
    #[arg(long)]
    pub(crate) directory: DirectoryAddress,
    /// The folder of its home, which is made.
    #[arg(long)]
    pub(crate) home: PathBuf,
    /// Units that a crash may lose of a tab.
    #[arg(long)]
    pub(crate) exposure: u32,
    /// Units of a tab that may be paid and not claimed.
    #[arg(long)]
    pub(crate) unclaimed: u32,
    /// Milliseconds after which everything is saved and claimed.
    #[arg(long)]
    pub(crate) every: u64,
}

/// Payers of tabs: so many of the library's nodes in one process.
#[derive(Clone, Debug, Args)]
pub(crate) struct TabPayers {
    #[arg(long)]
    pub(crate) directory: DirectoryAddress,
    /// The folder in which their homes are made.
    #[arg(long)]
    pub(crate) homes: PathBuf,
    #[arg(long)]
    pub(crate) count: u16,
}
