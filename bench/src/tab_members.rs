//! The two sides of tabs, each in a process of its own, and what must be true of them at the end.

use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::directory::Directory;
use crate::members::Process;
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::tab_payee::Standing;
use crate::tab_payers::{Done, Wish};
use crate::usage;

/// What the payee risks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Units of a tab that a crash may lose.
    pub(crate) exposure: u32,
    /// Units of a tab that may be unclaimed.
    pub(crate) unclaimed: u32,
    /// Milliseconds after which everything is saved and claimed.
    pub(crate) every: u64,
}

/// A directory, payers and the payee.
#[derive(Debug)]
pub(crate) struct TabMembers {
    pub(crate) directory: Directory,
    payee: Process,
    payers: Process,
    /// Units paid in all, as the payers count them.
    paid: u64,
    tabs: u64,
    /// Holds the homes.
    _place: TempDir,
}

/// CPU seconds of the directory, the payers' process and the payee's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) directory: f64,
    pub(crate) payers: f64,
    pub(crate) payee: f64,
}

impl TabMembers {
    /// Starts all of them, so many payers in one process.
    pub(crate) fn start(options: &Options, payers: u16, policy: Policy) -> Result<Self, Failure> {
        let directory = Directory::start(options.place.as_deref())?;
        let parent = options.place.as_deref();
        let place = tempfile::tempdir_in(parent.map_or_else(std::env::temp_dir, Path::to_owned))?;
        let address = directory.address.to_string();
        let folder = |name: &str| place.path().join(name).display().to_string();
        let (home, homes) = (folder("payee"), folder("payers"));
        std::fs::create_dir(&homes)?;
        let policy = [
            policy.exposure.to_string(),
            policy.unclaimed.to_string(),
            policy.every.to_string(),
        ];
        let [exposure, unclaimed, every] = policy.each_ref();
        let mut payee = Process::start(&[
            "tab-payee",
            "--directory",
            &address,
            "--home",
            &home,
            "--exposure",
            exposure,
            "--unclaimed",
            unclaimed,
            "--every",
            every,
        ])?;
        payee.line()?;
        let count = payers.to_string();
        let mut payers = Process::start(&[
            "tab-payers",
            "--directory",
            &address,
            "--homes",
            &homes,
            "--count",
            &count,
        ])?;
        payers.line()?;
        Ok(Self {
            directory,
            payee,
            payers,
            paid: 0,
            tabs: 0,
            _place: place,
        })
    }

    /// Has the payers do something.
    pub(crate) fn ask(&mut self, wish: Wish) -> Result<Done, Failure> {
        writeln!(self.payers.input, "{}", serde_json::to_string(&wish)?)?;
        let done: Done = serde_json::from_str(&self.payers.line()?)?;
        if !matches!(wish, Wish::Close) {
            self.paid += done.payments;
            self.tabs += done.tabs;
        }
        Ok(done)
    }

    /// Where the payee stands.
    pub(crate) fn standing(&mut self) -> Result<Standing, Failure> {
        writeln!(self.payee.input)?;
        Ok(serde_json::from_str(&self.payee.line()?)?)
    }

    /// CPU that has been used so far.
    pub(crate) fn used(&self) -> Result<Used, Failure> {
        let cpu = |pid| Ok::<_, Failure>(usage::cpu(pid)?.as_secs_f64());
        Ok(Used {
            directory: cpu(self.directory.pid())?,
            payers: cpu(self.payers.child.id())?,
            payee: cpu(self.payee.child.id())?,
        })
    }

    /// Memory that the payers' process and the payee's hold now.
    pub(crate) fn memory(&self) -> Result<[u64; 2], Failure> {
        let (payers, _) = usage::memory(self.payers.child.id())?;
        let (payee, _) = usage::memory(self.payee.child.id())?;
        Ok([payers, payee])
    }

    /// Closes all tabs and checks that both sides, the balances and the log agree on what was paid,
    /// and that the audit finds nothing wrong. Adds what is told of every scenario of tabs.
    pub(crate) fn finish(mut self, report: &mut Report) -> Result<(), Failure> {
        self.ask(Wish::Close)?;
        let standing = self.standing()?;
        let (paid, tabs) = (self.paid, self.tabs);
        if standing.tabs != tabs {
            return Err(format!("{tabs} tabs were opened: {standing:?}").into());
        }
        for units in [standing.paid, standing.claimed, standing.earned] {
            if units != paid {
                return Err(format!("{paid} units were paid: {standing:?}").into());
            }
        }
        let (_, peak) = usage::memory(self.directory.pid())?;
        report.count("rss_bytes_directory", peak);
        drop((self.payers, self.payee));
        let data = self.directory.data();
        // Held until the audit is done.
        let _place = self.directory.stop()?;
        let audit = Directory::audit(&data)?;
        let held = audit["held"].as_str().ok_or("the audit names no holds")?;
        if held.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
            return Err(format!("all tabs are closed, and {held} is held").into());
        }
        let entries = audit["entries"].as_u64();
        report.count(
            "audited_entries",
            entries.ok_or("the audit counts no entries")?,
        );
        Ok(())
    }
}

impl Used {
    /// Adds what was used since `before` as microseconds for each of `count`.
    pub(crate) fn put_since(&self, before: &Self, count: u64, report: &mut Report) {
        let each = |now: f64, before: f64| (now - before) * 1e6 / count as f64;
        report.put("cpu_us_directory", each(self.directory, before.directory));
        report.put("cpu_us_payers", each(self.payers, before.payers));
        report.put("cpu_us_payees", each(self.payee, before.payee));
    }
}
