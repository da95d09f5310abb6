//! The directory's program, in a process of its own on a folder of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use quid_common::address::DirectoryAddress;
use tempfile::TempDir;

use crate::report::Failure;

/// A serving directory; killed when dropped, its folder removed.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) address: DirectoryAddress,
    child: Child,
    place: TempDir,
}

impl Directory {
    /// A new ledger below `parent`, which gives everybody money enough for the whole run.
    pub(crate) fn start(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        Self::start_on(tempfile::tempdir_in(parent)?)
    }

    /// The same with the limits that it has unless it is told otherwise, and a log to be read.
    pub(crate) fn start_besieged(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        Self::start_with(tempfile::tempdir_in(parent)?, &["--log-format", "json"])
    }

    /// The directory on the ledger in `place`, or on a new one. No rate of what members do bounds
    /// what is measured.
    pub(crate) fn start_on(place: TempDir) -> Result<Self, Failure> {
        Self::start_with(place, &UNLIMITED)
    }

    fn start_with(place: TempDir, more: &[&str]) -> Result<Self, Failure> {
        let log = File::create(place.path().join("directory.log"))?;
        let mut child = Command::new(program()?)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--opening-balance",
                OPENING,
                "--data",
            ])
            .arg(place.path().join("data"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().parse().map_err(|_| {
            let log = std::fs::read_to_string(place.path().join("directory.log"));
            format!(
                "the directory did not start: {}",
                log.unwrap_or_default().trim_end()
            )
        })?;
        Ok(Self {
            address,
            child,
            place,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// What it logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.place.path().join("directory.log")
    }

    /// Ends it in order and gives the folder back.
    pub(crate) fn stop(mut self) -> Result<TempDir, Failure> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the directory ended badly: {status}").into());
        }
        self.give_up_place()
    }

    /// Ends it at once and gives the folder back.
    pub(crate) fn kill(mut self) -> Result<TempDir, Failure> {
        self.child.kill()?;
        self.child.wait()?;
        self.give_up_place()
    }

    /// Audits the ledger with the real program; what is wrong with it is a failure.
    pub(crate) fn audit(data: &Path) -> Result<serde_json::Value, Failure> {
        let output = Command::new(program()?)
            .args(["audit", "--json", "--data"])
            .arg(data)
            .output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if !output.status.success() || report["ok"] != true {
            return Err(format!("the audit failed: {report}").into());
        }
        Ok(report)
    }

    /// Entries in the log now, as the real audit counts them; the directory may be serving.
    pub(crate) fn entries(data: &Path) -> Result<u64, Failure> {
        let entries = Self::audit(data)?["entries"].as_u64();
        entries.ok_or_else(|| "the audit counts no entries".into())
    }

    fn give_up_place(&mut self) -> Result<TempDir, Failure> {
        let empty = tempfile::tempdir()?;
        Ok(std::mem::replace(&mut self.place, empty))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory's program beside this one, built if it is not there.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("quid-directory");
    if !beside.exists() {
        eprintln!("building quid-directory");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "-p", "quid-directory", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // stdout is for the report.
        let status = cargo.stdout(Stdio::null()).status()?;
        if !status.success() || !beside.exists() {
            return Err(format!("{} is missing and could not be built", beside.display()).into());
        }
    }
    Ok(beside)
}

/// Without the rates of `serve`.
const UNLIMITED: [&str; 8] = [
    "--registrations-per-network",
    "off",
    "--logins",
    "off",
    "--questions",
    "off",
    "--tab-openings",
    "off",
];

/// What every account starts with: payments of one unit never exhaust it.
const OPENING: &str = "1000000";
