//! The members of a scenario: a process of payees and a process of payers, told what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use quid_common::address::DirectoryAddress;

use crate::directory::Directory;
use crate::latency::Latencies;
use crate::payees;
use crate::payers::{Paid, Stretch};
use crate::report::Failure;
use crate::usage;

/// Payees and payers, logged in and connected.
#[derive(Debug)]
pub(crate) struct Members {
    payees: Process,
    payers: Process,
}

/// What a stretch came to, and what it used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Offers that were answered *busy* and made again.
    pub(crate) busy: u64,
    pub(crate) latencies: Latencies,
    pub(crate) per_second: f64,
    /// CPU microseconds a payment.
    pub(crate) directory: f64,
    pub(crate) payers: f64,
    pub(crate) payees: f64,
}

impl Measured {
    /// Several stretches as one: all their latencies, and the means of the rest.
    pub(crate) fn mean(all: &[Self]) -> Self {
        let mut mean = Self::default();
        let share = 1.0 / all.len() as f64;
        for one in all {
            mean.busy += one.busy;
            mean.latencies.append(one.latencies.clone());
            mean.per_second += one.per_second * share;
            mean.directory += one.directory * share;
            mean.payers += one.payers * share;
            mean.payees += one.payees * share;
        }
        mean
    }
}

impl Members {
    pub(crate) fn start(
        directory: &DirectoryAddress,
        payers: u16,
        payees: u16,
    ) -> Result<Self, Failure> {
        let directory = directory.to_string();
        let (payees, payers) = (payees.to_string(), payers.to_string());
        let mut payees =
            Process::start(&["payees", "--directory", &directory, "--count", &payees])?;
        let mut arguments = vec!["payers", "--directory", &directory, "--count", &payers];
        let addresses = payees::addresses(&mut payees.output)?;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        for address in &addresses {
            arguments.extend(["--payee", address]);
        }
        let mut payers_process = Process::start(&arguments)?;
        payers_process.line()?;
        Ok(Self {
            payees,
            payers: payers_process,
        })
    }

    /// Does a stretch and measures what it used.
    pub(crate) fn pay(
        &mut self,
        directory: &Directory,
        stretch: Stretch,
    ) -> Result<Measured, Failure> {
        let pids = [
            directory.pid(),
            self.payers.child.id(),
            self.payees.child.id(),
        ];
        let before = pids.map(usage::cpu);
        writeln!(self.payers.input, "{}", serde_json::to_string(&stretch)?)?;
        let paid: Paid = serde_json::from_str(&self.payers.line()?)?;
        let count = paid.latencies.len() as f64;
        let mut used = [0.0; 3];
        for ((used, before), pid) in used.iter_mut().zip(before).zip(pids) {
            let spent = usage::cpu(pid)?.saturating_sub(before?);
            *used = spent.as_secs_f64() * 1e6 / count;
        }
        let [of_directory, payers, payees] = used;
        Ok(Measured {
            busy: paid.busy,
            latencies: paid.latencies,
            per_second: count / paid.seconds,
            directory: of_directory,
            payers,
            payees,
        })
    }
}

/// Waits until the directory rests: what follows must not carry what went before.
pub(crate) fn settle_down(directory: &Directory) -> Result<(), Failure> {
    let deadline = Instant::now() + REST_WAIT;
    let mut before = usage::cpu(directory.pid())?;
    while Instant::now() < deadline {
        std::thread::sleep(REST_CHECK);
        let now = usage::cpu(directory.pid())?;
        if now.saturating_sub(before) < REST_CHECK / 20 {
            break;
        }
        before = now;
    }
    Ok(())
}

/// This program in another role.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("a member's process ended: {}", self.child.wait()?).into());
        }
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Longest wait for the directory to rest.
const REST_WAIT: Duration = Duration::from_secs(10);

/// How long it must have rested: in it, it may use a twentieth of one CPU.
const REST_CHECK: Duration = Duration::from_millis(250);
