//! Real processes: a directory, homes, and commands on them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

/// A running directory, and a folder for homes.
pub(crate) struct World {
    folder: TempDir,
    directory: Option<Child>,
    pub(crate) address: String,
}

impl World {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut world = Self {
            folder: TempDir::new().expect("there is a temporary folder"),
            directory: None,
            address: String::new(),
        };
        world.serve("127.0.0.1:0", flags);
        world
    }

    pub(crate) fn serve(&mut self, listen: &str, flags: &[&str]) {
        let mut child = Command::new(directory_program())
            .args(["serve", "--data", &self.path("data"), "--listen", listen])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("directory.log")).expect("the folder is ours"))
            .spawn()
            .expect("the directory runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it is text");
        line.trim_end().clone_into(&mut self.address);
        let log = fs::read_to_string(self.path("directory.log")).unwrap_or_default();
        assert!(self.address.starts_with("quid://"), "{line}{log}");
        self.directory = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.directory.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it was ours");
    }

    pub(crate) fn restart(&mut self) {
        let place = self
            .address
            .rsplit_once('@')
            .expect("an address has a key")
            .1
            .to_owned();
        self.serve(&place, &["--opening-balance", "10"]);
    }

    pub(crate) fn signal(&self, name: &str) {
        let child = self.directory.as_ref().expect("it runs");
        signal(child.id(), name);
    }

    /// From now on no file of the directory's may grow beyond so many bytes.
    pub(crate) fn limit_files(&self, bytes: u64) {
        limit_files(self.directory.as_ref().expect("it runs").id(), bytes);
    }

    /// Whether the directory has left by itself.
    pub(crate) fn has_left(&mut self) -> bool {
        let child = self.directory.as_mut().expect("it was started");
        child.try_wait().expect("it is ours").is_some()
    }

    /// Waits for the directory to leave by itself: its exit code, and the last line of its log.
    pub(crate) fn left(&mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.directory.take().expect("it was started"));
        let log = fs::read_to_string(self.path("directory.log")).expect("it has a log");
        (code, log.lines().last().unwrap_or_default().to_owned())
    }

    /// What a command of the operator prints, which must succeed.
    pub(crate) fn operate(&self, arguments: &[&str]) -> String {
        let output = Command::new(directory_program())
            .args(arguments)
            .args(["--data", &self.path("data")])
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder
            .path()
            .join(name)
            .to_str()
            .expect("it is text")
            .to_owned()
    }

    /// A home without an account.
    pub(crate) fn home(&self, name: &str) -> Home {
        let home = Home(PathBuf::from(self.path(&format!("home-{name}"))));
        home.ok(&["init", "--directory", &self.address]);
        home
    }

    /// A home with an account of that name.
    pub(crate) fn account(&self, name: &str) -> Home {
        let home = self.home(name);
        home.ok(&["register", name]);
        home
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.directory.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A home's folder.
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quid"));
        command
            .env_clear()
            .env("QUID_HOME", &self.0)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn quid(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("quid runs")
    }

    /// The last line of JSON, and this exit code.
    fn answer(&self, arguments: &[&str], code: i32) -> Value {
        let mut arguments = arguments.to_vec();
        if !arguments.contains(&"--json") {
            arguments.push("--json");
        }
        let output = self.quid(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        let line = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| panic!("{arguments:?}: {stdout}"))
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        self.answer(arguments, 0)
    }

    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> Value {
        let value = self.answer(arguments, code);
        assert_fields(&value, &["error", "message"]);
        value
    }

    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.quid(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    pub(crate) fn balance(&self) -> String {
        self.ok(&["status"])["balance"]
            .as_str()
            .expect("it is text")
            .to_owned()
    }

    /// Starts a command that stays.
    pub(crate) fn run(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(arguments)
            .arg("--json")
            .args(["--log-format", "human"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender
                    .send(serde_json::from_str(&line).expect("JSON"))
                    .is_err()
                {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Running {
            child,
            stdin,
            lines,
        }
    }

    /// Listens, and is online.
    pub(crate) fn listen(&self) -> Running {
        let listen = self.run(&["listen"]);
        let online = listen.event("online");
        assert_fields(&online, &["name", "address"]);
        listen
    }

    /// Starts a command on a terminal of its own; none where there is no program `script`.
    pub(crate) fn on_terminal(&self, command: &str) -> Option<OnTerminal> {
        let program = "/usr/bin/script";
        if !Path::new(program).exists() {
            println!("skipped: there is no {program}");
            return None;
        }
        let quid = format!(
            "stty cols 200; exec '{}' {command}",
            env!("CARGO_BIN_EXE_quid")
        );
        let mut child = Command::new(program)
            .args(["-qefc", &quid, "/dev/null"])
            .env("QUID_HOME", &self.0)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(len @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().expect("it is piped");
        let unread = Vec::new();
        Some(OnTerminal {
            child,
            stdin,
            shown,
            unread,
        })
    }

    /// Watches who is online.
    pub(crate) fn watch(&self) -> Running {
        self.run(&["who", "--watch"])
    }
}

/// A command that stays, and its lines.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn next(&self, what: &str) -> Value {
        self.next_before(what, Instant::now() + PATIENCE)
    }

    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.next_before(what, deadline);
            if wanted(&value) {
                return value;
            }
        }
    }

    pub(crate) fn says_nothing_for(&self, time: Duration) {
        match self.lines.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("it ended"),
            Ok(value) => panic!("it said {value}"),
        }
    }

    fn next_before(&self, what: &str, deadline: Instant) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("no {what} in {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended before {what}"),
        }
    }

    pub(crate) fn event(&self, name: &str) -> Value {
        self.until(name, |value| value["event"] == name)
    }

    /// The next payment that came from `name`, past what came before this command began.
    pub(crate) fn received(&self, name: &str) -> Value {
        self.until("a payment", |line| {
            line["event"] == "received" && line["counterparty"] == name
        })
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("quid reads");
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }

    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut text).expect("it is text");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command on a terminal of its own.
pub(crate) struct OnTerminal {
    child: Child,
    stdin: ChildStdin,
    shown: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl OnTerminal {
    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.stdin
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// What the terminal was sent, up to and with `text`.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some(at) = seen.find(text) {
                let end = at + text.len();
                self.unread = seen.as_bytes()[end..].to_vec();
                return seen[..end].to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.unread.extend(bytes),
                Err(_) => panic!("no {text:?} in {seen:?}"),
            }
        }
    }

    /// The exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status()
        .expect("a shell runs");
    assert!(status.success());
}

/// From now on no file of this process's may grow beyond so many bytes.
pub(crate) fn limit_files(process: u32, bytes: u64) {
    let process = Pid::from_raw(process.cast_signed());
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    prlimit(process, Resource::Fsize, limit).expect("the process is ours");
}

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory's program, built beside this one.
pub(crate) fn directory_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_quid")).with_file_name("quid-directory");
    assert!(
        program.exists(),
        "build it first: cargo build -p quid-directory"
    );
    program
}

pub(crate) fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

pub(crate) fn assert_fields(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!value[field].is_null(), "no {field} in {value}");
    }
}
