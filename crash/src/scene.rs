//! A directory, a payer and a payee that listens: the real programs, any of which may be killed and
//! comes back.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;

use crate::Failure;
use crate::point::Victim;
use crate::program::{Program, Running, Said, by};
use crate::rules;
use crate::trace::Rule;

/// The programs of one community, on a folder of their own.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    /// The directory's own folder.
    pub(crate) data: PathBuf,
    pub(crate) directory: Service,
    pub(crate) payer: Home,
    pub(crate) payee: Home,
    pub(crate) listener: Service,
    /// The tab that is paid on.
    pub(crate) tab: Option<String>,
    /// Accounts beside those two.
    pub(crate) others: usize,
    /// Keeps the directory's port for it.
    _port: TcpListener,
}

impl Scene {
    /// A payer and a payee with [`OPENING`] each. The one who is to be killed is traced. The books
    /// are in the folder `data`, or in one of the scene's own.
    pub(crate) fn open(victim: Victim, data: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("quid-crash-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let data = data.unwrap_or_else(|| at("data"));
        let (port, held) = free_port()?;
        let serve = Program::new("quid-directory", at("directory"))?
            .with(["serve", "--opening-balance", OPENING, "--listen"])
            .with([format!("127.0.0.1:{port}")])
            .with(["--data".into(), data.clone()]);
        let mut directory = Service {
            program: serve,
            traced: victim == Victim::Directory,
            ready: |line| {
                line.as_str()
                    .is_some_and(|line| line.starts_with("quid://"))
            },
            running: None,
            restarts: 0,
        };
        let line = directory
            .start(None)?
            .ok_or("the directory ended at once")?;
        let address = line.as_str().unwrap_or_default().to_owned();
        let home = |name: &str| -> Result<Home, Failure> {
            let home = Home::new(at(name));
            home.done(&["init", "--directory", &address])?;
            home.done(&["register", name])?;
            Ok(home)
        };
        let (payer, payee) = (home("alice")?, home("bob")?);
        let listen = payee.program_to(at("listener"))?;
        let listen = listen.with(["listen", "--claim-every", "1"]);
        let mut listener = Service {
            program: listen,
            traced: victim == Victim::Payee,
            ready: |line| line["event"] == "online",
            running: None,
            restarts: 0,
        };
        listener.start(None)?.ok_or("the payee ended at once")?;
        Ok(Self {
            folder,
            data,
            directory,
            payer,
            payee,
            listener,
            tab: None,
            others: 0,
            _port: held,
        })
    }

    /// A home without an account.
    pub(crate) fn stranger(&mut self) -> Result<Home, Failure> {
        self.others += 1;
        let home = Home::new(self.folder.path().join(format!("other-{}", self.others)));
        let address = fs::read_to_string(self.data.join("address"))?;
        home.done(&["init", "--directory", address.trim_end()])?;
        Ok(home)
    }

    /// The service that is the victim, if it is one.
    pub(crate) fn service(&mut self, victim: Victim) -> Option<&mut Service> {
        match victim {
            Victim::Payer => None,
            Victim::Payee => Some(&mut self.listener),
            Victim::Directory => Some(&mut self.directory),
        }
    }

    /// Starts again whoever has ended.
    pub(crate) fn revive(&mut self) -> Result<(), Failure> {
        self.directory.revive(None)?;
        self.listener.revive(None)?;
        Ok(())
    }

    /// Waits until the payee can be found by whoever pays.
    pub(crate) fn online(&self, deadline: Instant) -> Result<(), Failure> {
        by(deadline, || {
            let who = self.payer.ask(&["who"])?;
            match who.lines.iter().any(|line| line["name"] == "bob") {
                true => Ok(()),
                false => Err("the payee is not online".into()),
            }
        })
    }

    /// The directory's own audit, which must find the books sound; checks them against `before`, a
    /// checkpoint of an earlier audit.
    pub(crate) fn audit(&self, before: Option<&str>) -> Result<Value, Failure> {
        let path = |name: &str| self.folder.path().join(name);
        let mut audit = Program::new("quid-directory", path("audit"))?
            .with(["--json", "audit", "--data"])
            .with([self.data.clone()]);
        if let Some(before) = before {
            fs::write(path("checkpoint"), before)?;
            audit = audit.with(["--against".into(), path("checkpoint")]);
        }
        let said = audit.start(None)?.finish(PATIENCE)?;
        match said.last()["ok"] == true {
            true => Ok(said.last().clone()),
            false => Err(format!("the audit failed: {}", said.last()).into()),
        }
    }
}

/// A program that serves until it is killed, and is started again.
#[derive(Debug)]
pub(crate) struct Service {
    program: Program,
    traced: bool,
    ready: fn(&Value) -> bool,
    running: Option<Running>,
    pub(crate) restarts: u64,
}

impl Service {
    /// Starts it, and waits until it is ready: the line that says so. `None` if it ended before,
    /// by the rule.
    pub(crate) fn start(&mut self, rule: Option<Rule>) -> Result<Option<Value>, Failure> {
        let rule = match self.traced {
            true => Some(rule.unwrap_or_else(rules::let_go)),
            false => rule,
        };
        let running = self.running.insert(self.program.start(rule)?);
        running.line(PATIENCE, self.ready)
    }

    /// What runs now.
    pub(crate) fn running(&mut self) -> Result<&mut Running, Failure> {
        self.running
            .as_mut()
            .ok_or_else(|| "it was never started".into())
    }

    /// Starts it again if it has ended; whether it had.
    pub(crate) fn revive(&mut self, rule: Option<Rule>) -> Result<bool, Failure> {
        if self.running()?.ended()?.is_none() {
            return Ok(false);
        }
        self.restarts += 1;
        self.start(rule)?;
        Ok(true)
    }
}

/// A home, and the commands on it.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// `quid` on this home, with its results at the end of `out`.
    fn program_to(&self, out: PathBuf) -> Result<Program, Failure> {
        let program = Program::new("quid", out)?;
        Ok(program.with([
            "--json".into(),
            "-v".into(),
            "--home".into(),
            self.0.clone(),
        ]))
    }

    pub(crate) fn start(&self, arguments: &[&str], rule: Option<Rule>) -> Result<Running, Failure> {
        let program = self.program_to(self.0.with_extension("out"))?;
        program.with(arguments.iter().copied()).start(rule)
    }

    /// What a command says that is left alone.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Said, Failure> {
        self.start(arguments, None)?.finish(PATIENCE)
    }

    /// The result of a command that must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let said = self.ask(arguments)?;
        let done = said.done().cloned();
        done.map_err(|error| format!("{arguments:?}: {error}").into())
    }

    /// All lines of a command that must succeed.
    pub(crate) fn list(&self, arguments: &[&str]) -> Result<Vec<Value>, Failure> {
        let said = self.ask(arguments)?;
        said.done()
            .map_err(|error| format!("{arguments:?}: {error}"))?;
        Ok(said.lines)
    }

    /// The home's journal, read beside whoever writes it.
    pub(crate) fn journal(&self, patience: Duration) -> Result<Connection, Failure> {
        let path = self.0.join("journal.sqlite3");
        let journal = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        journal.busy_timeout(patience)?;
        Ok(journal)
    }
}

/// A port that no other socket is given while the directory is down: below those that the system
/// gives to whoever asks for any. Other scenes, of other processes too, leave it alone as long as the
/// listener is held, which has the same number of TCP and hears nobody.
fn free_port() -> Result<(u16, TcpListener), Failure> {
    let first = u16::try_from(std::process::id() % 10_000)?;
    for _ in 0..10_000 {
        let port = 21_000 + (first + PORTS.fetch_add(1, Ordering::Relaxed)) % 11_000;
        if let Ok(held) = TcpListener::bind(("127.0.0.1", port))
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        {
            return Ok((port, held));
        }
    }
    Err("there is no free port".into())
}

static PORTS: AtomicU16 = AtomicU16::new(0);

/// What everybody begins with.
pub(crate) const OPENING: &str = "1000";
/// The same in the smallest unit.
pub(crate) const OPENING_UNITS: u128 = 1_000_000_000;

/// How long anything may take that takes moments as a rule.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
