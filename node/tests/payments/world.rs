//! A real directory process, nodes of the library in this process, and `quid` processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::{Amount, Currency};
use quid_common::id::OrderId;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_node::{Event, Events, Home, Node, Options, Outcome, Payment, Status, TabPolicy};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// What every account begins with.
pub(crate) const OPENING: &str = "100";

/// Longest time in which everything must have its end once all faults are over (promise I10).
pub(crate) const END_WAIT: Duration = Duration::from_secs(30);

/// A directory, and a folder for homes.
pub(crate) struct World {
    folder: TempDir,
    directory: Option<Child>,
    address: String,
    /// What `serve` is told besides.
    settings: &'static [&'static str],
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments for `serve`.
    pub(crate) fn start_with(settings: &'static [&'static str]) -> Self {
        // RUST_LOG=quid_node=debug shows what the nodes did.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = TempDir::new().expect("there is a temporary folder");
        let mut world = Self {
            folder,
            directory: None,
            address: String::new(),
            settings,
        };
        world.serve("127.0.0.1:0");
        world
    }

    fn serve(&mut self, listen: &str) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("directory.log"))
            .expect("the folder is ours");
        let mut child = Command::new(directory_program())
            .arg("serve")
            .arg("--data")
            .arg(self.path("data"))
            .args(["--listen", listen, "--opening-balance", OPENING])
            .args(self.settings)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the directory runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it is text");
        line.trim_end().clone_into(&mut self.address);
        self.directory = Some(child);
        assert!(self.address.starts_with("quid://"), "{}", self.log());
    }

    /// Kills the directory as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.directory.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it was ours");
    }

    /// Serves the same ledger at the same place again.
    pub(crate) fn restart(&mut self) {
        let place = self
            .address
            .rsplit_once('@')
            .expect("an address has a key")
            .1
            .to_owned();
        self.serve(&place);
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.directory.as_ref().expect("it runs").id(), name);
    }

    /// Lets the directory end in order and checks its books.
    pub(crate) fn audit(&mut self) {
        self.kill();
        let output = Command::new(directory_program())
            .args(["audit", "--json", "--data"])
            .arg(self.path("data"))
            .output()
            .expect("the audit runs");
        assert!(output.status.success(), "{output:?}");
    }

    pub(crate) fn address(&self) -> DirectoryAddress {
        self.address
            .parse()
            .expect("the directory prints its address")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn home(&self, name: &str) -> Home {
        Home::init(&self.path(name), &self.address()).expect("a home")
    }

    /// A running node with an account, online if it listens.
    pub(crate) async fn node(&self, name: &str, options: Options) -> Node {
        let node = Node::start(self.home(name), options)
            .await
            .expect("started");
        node.register(&self::name(name)).await.expect("registered");
        node.login().await.expect("logged in");
        node
    }

    /// An account whose node is not running.
    pub(crate) async fn account(&self, name: &str) {
        self.node(name, Options::default()).await.close().await;
    }

    /// A `quid` command on a home.
    pub(crate) fn quid(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quid"));
        command
            .env("QUID_HOME", self.path(name))
            .args(arguments)
            .arg("--json");
        command.stdin(Stdio::null());
        command
    }

    /// A `quid listen` process that is online.
    pub(crate) fn listener(&self, name: &str) -> Process {
        let mut child = self
            .quid(name, &["listen"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("quid runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("it is text");
        assert!(line.contains("\"online\""), "{line}");
        // Its lines go nowhere, but they must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Process(child)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("directory.log")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.directory.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "directory:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
    }
}

/// A process that does not outlive its test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, name: &str) {
        signal(self.0.id(), name);
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status();
    assert!(status.expect("a shell runs").success());
}

/// The directory's program, built beside this one.
fn directory_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_quid")).with_file_name("quid-directory");
    assert!(
        program.exists(),
        "build it first: cargo build -p quid-directory"
    );
    program
}

pub(crate) fn listening() -> Options {
    Options {
        listen: true,
        ..Options::default()
    }
}

/// A payee that asks this of tabs, and risks this on each.
pub(crate) fn listening_for(tabs: TabPolicy) -> Options {
    Options {
        tabs,
        ..listening()
    }
}

/// A payee that saves and claims at once whatever comes.
pub(crate) fn eager() -> Options {
    listening_for(TabPolicy {
        every: Duration::from_millis(20),
        ..TabPolicy::default()
    })
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn amount(text: &str) -> Amount {
    Currency::new("QUID", 6)
        .expect("a currency")
        .parse(text)
        .expect("an amount")
}

pub(crate) fn payment(payee: &str, text: &str) -> Payment {
    let memo = Memo::new("a test").expect("short");
    Payment {
        memo,
        ..Payment::new(name(payee), amount(text))
    }
}

pub(crate) async fn pay(node: &Node, payee: &str, text: &str) -> Outcome {
    node.pay(payment(payee, text)).await.expect("sent")
}

/// The next event that is about money, in `within`.
pub(crate) async fn money(events: &mut Events, within: Duration) -> Option<Event> {
    let wanted = async {
        loop {
            match events.next().await? {
                Event::Online { .. } | Event::Offline { .. } => {}
                event => return Some(event),
            }
        }
    };
    timeout(within, wanted).await.ok().flatten()
}

/// Waits until every order of the node has its end.
pub(crate) async fn ended(node: &Node) -> Status {
    let deadline = Instant::now() + END_WAIT;
    loop {
        if let Ok(status) = node.status().await
            && status.pending == 0
        {
            return status;
        }
        assert!(
            Instant::now() < deadline,
            "still pending {END_WAIT:?} after the last fault"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn last_json(output: &Output) -> serde_json::Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON in {output:?}"))
}

/// What the event says was received.
pub(crate) fn received(event: &Event) -> Option<(OrderId, Amount, &str)> {
    match event {
        Event::Received {
            order,
            amount,
            payer,
            ..
        } => Some((*order, *amount, payer.as_str())),
        _ => None,
    }
}
