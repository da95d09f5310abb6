//! Programs that are killed, stopped and started again, and what they said until then.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::processes::{Home, World, signal, wait};

/// How long everything may take to heal once the last fault has ended (promise I10).
pub(crate) const HEALING: Duration = Duration::from_secs(30);

/// Longest time for what takes moments as a rule.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest time that `quid pay` may run: its wait, and before that a login and what the journal
/// holds open.
const PAY_MAX: Duration = Duration::from_secs(30);

/// How often something is looked at that should come soon.
const GLANCE: Duration = Duration::from_millis(50);

/// The choices of one run, all from one seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// The seed in `QUID_SEED`, or a new one; printed, and so shown with a failure.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("QUID_SEED").map_or_else(
            |_| {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).expect("the system has randomness");
                u64::from_le_bytes(bytes)
            },
            |seed| seed.parse().expect("QUID_SEED is a number"),
        );
        eprintln!("QUID_SEED={seed}");
        Self(seed)
    }

    /// Choices for somebody who chooses at the same time as others.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(from.len() as u64)).expect("small");
        &from[at]
    }

    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).expect("short") + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How many directories this process has started.
static WORLDS: AtomicU64 = AtomicU64::new(0);

/// A directory at a port that no other socket is given while it is down.
pub(crate) fn world(opening: &str) -> World {
    let flags = ["--opening-balance", opening];
    let mut world = World::start(&flags);
    world.kill();
    // Below the ports that the system gives to those who ask for any.
    let place = Chance(u64::from(std::process::id())).below(10_000);
    // Tests of one process start at places of their own: a port that was free when it was tried
    // may be another test's a moment later.
    let mut port = 20_000 + (place + 100 * WORLDS.fetch_add(1, Ordering::Relaxed)) % 12_000;
    while UdpSocket::bind(format!("127.0.0.1:{port}")).is_err() {
        port += 1;
    }
    world.serve(&format!("127.0.0.1:{port}"), &flags);
    world
}

/// Kills the directory; its log is kept.
pub(crate) fn kill(world: &mut World) {
    world.kill();
    let log = fs::read(world.path("directory.log")).expect("it logs");
    append(Path::new(&world.path("directory.old.log")), &log);
}

/// Copies the homes, the books and all logs to where they can be looked at after a failure.
pub(crate) struct Evidence(pub(crate) PathBuf);

impl Drop for Evidence {
    fn drop(&mut self) {
        if thread::panicking() {
            let to = Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("chaos-{}", std::process::id()));
            let copied = Command::new("cp").arg("-r").arg(&self.0).arg(&to).status();
            eprintln!("everything is in {} ({copied:?})", to.display());
        }
    }
}

/// A member of the community.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) home: Home,
}

impl Member {
    pub(crate) fn join(world: &World, name: &'static str) -> Self {
        let home = world.account(name);
        Self { name, home }
    }

    /// The answer of a command, if it was carried out.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let output = self.home.quid(&[&["--json"], arguments].concat());
        let shown = || format!("{} {arguments:?}: {output:?}", self.name);
        if !output.status.success() {
            return Err(shown());
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let lines: Result<Vec<Value>, _> = stdout.lines().map(serde_json::from_str).collect();
        lines.map_err(|_| shown())
    }

    pub(crate) fn status(&self) -> Result<Value, String> {
        let mut lines = self.ask(&["status"])?;
        lines.pop().ok_or_else(|| "no status".to_owned())
    }

    /// The home's journal, read beside whoever writes it.
    pub(crate) fn journal(&self) -> Journal {
        let path = self.home.0.join("journal.sqlite3");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(path, flags).expect("a home has a journal");
        connection
            .busy_timeout(PATIENCE)
            .expect("it is a number of milliseconds");
        Journal(connection)
    }
}

/// What a home knows, whatever its programs say.
pub(crate) struct Journal(Connection);

impl Journal {
    /// One number.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        let read = self
            .0
            .prepare_cached(sql)
            .and_then(|mut query| query.query_row([], |row| row.get(0)));
        read.expect("the journal can be read")
    }

    pub(crate) fn rows<T>(&self, sql: &str, row: fn(&rusqlite::Row<'_>) -> T) -> Vec<T> {
        let mut query = self.0.prepare(sql).expect("the journal's own tables");
        let rows = query.query_map([], |found| Ok(row(found)));
        rows.expect("the journal can be read")
            .collect::<Result<_, _>>()
            .expect("the journal can be read")
    }

    /// Waits until the count is more than it was; false if `child` ended before.
    pub(crate) fn grows(&self, sql: &str, than: i64, child: &mut Child) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.count(sql) <= than {
            assert!(Instant::now() < deadline, "{sql} stays {than}");
            if child.try_wait().expect("it is ours").is_some() {
                return false;
            }
            sleep(Duration::from_micros(200));
        }
        true
    }
}

/// A `quid listen` that comes back when it was killed.
pub(crate) struct Listener {
    pub(crate) who: Arc<Member>,
    log: PathBuf,
    child: Option<Child>,
    /// What all runs told, each line with the number of its run.
    told: Arc<Mutex<Vec<(usize, Value)>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(world: &World, who: &Arc<Member>) -> Self {
        let mut listener = Self {
            who: Arc::clone(who),
            log: PathBuf::from(world.path(&format!("{}.log", who.name))),
            child: None,
            told: Arc::default(),
            readers: Vec::new(),
        };
        listener.restart();
        listener.online();
        listener
    }

    pub(crate) fn restart(&mut self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the folder is ours");
        let mut child = self
            .who
            .home
            .command(&["--json", "-vv", "listen"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("quid runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (told, run) = (Arc::clone(&self.told), self.readers.len());
        self.readers.push(thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.expect("it is text");
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|_| panic!("no whole line of JSON: {line}"));
                lock(&told).push((run, value));
            }
        }));
        self.child = Some(child);
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("it runs").id(), name);
    }

    /// Something that sends a signal to this process as soon as it is told to.
    pub(crate) fn fuse(&self, name: &str) -> Fuse {
        Fuse::new(name, self.child.as_ref().expect("it runs"))
    }

    /// Waits until this run is online.
    pub(crate) fn online(&self) {
        let run = self.readers.len() - 1;
        soon(PATIENCE, || {
            let told = lock(&self.told);
            let online = told
                .iter()
                .any(|(of, line)| *of == run && line["event"] == "online");
            online
                .then_some(())
                .ok_or_else(|| format!("{} is not online", self.who.name))
        });
    }

    /// Ends it as a person would; gives what all its runs told.
    pub(crate) fn stop(mut self) -> Vec<(usize, Value)> {
        let mut child = self.child.take().expect("it runs");
        signal(child.id(), "TERM");
        assert_eq!(wait(&mut child), Some(0), "{} ends well", self.who.name);
        for reader in self.readers.drain(..) {
            reader.join().expect("every line is JSON");
        }
        std::mem::take(&mut *lock(&self.told))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A shell that has only to send a signal: much faster than starting one.
pub(crate) struct Fuse(Child);

impl Fuse {
    fn new(name: &str, child: &Child) -> Self {
        let script = format!("read word; kill -{name} {}; echo", child.id());
        let shell = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(shell.expect("a shell runs"))
    }

    /// Sends the signal.
    pub(crate) fn light(mut self) {
        let mut stdin = self.0.stdin.take().expect("it is piped");
        stdin.write_all(b"now\n").expect("the shell reads");
        assert_eq!(wait(&mut self.0), Some(0), "the signal was sent");
    }
}

/// How a payment ended as far as its own process said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Settled(u64),
    Refused,
    /// Unknown, or killed before it said anything.
    Unknown,
    /// The directory cannot be reached, and nothing was sent.
    Unreachable,
    /// Against the contract.
    Nonsense,
}

/// One payment.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) payer: &'static str,
    pub(crate) payee: &'static str,
    pub(crate) amount: String,
    pub(crate) memo: String,
    pub(crate) said: Said,
    /// Whether its process was killed.
    pub(crate) killed: bool,
    /// Exit code, last line, what was on stderr, and how long it took.
    pub(crate) shown: String,
}

/// A `quid pay` under way.
pub(crate) struct Paying {
    attempt: Attempt,
    begun: Instant,
    pub(crate) child: Child,
}

impl Paying {
    pub(crate) fn start(
        payer: &Member,
        payee: &'static str,
        amount: &str,
        memo: &str,
        wait: &str,
    ) -> Self {
        let arguments = [
            "--json", "pay", payee, amount, "--memo", memo, "--wait", wait,
        ];
        let child = payer
            .home
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs");
        let attempt = Attempt {
            payer: payer.name,
            payee,
            amount: amount.to_owned(),
            memo: memo.to_owned(),
            said: Said::Nonsense,
            killed: false,
            shown: String::new(),
        };
        Self {
            attempt,
            begun: Instant::now(),
            child,
        }
    }

    /// Waits for its end, or kills it after a while.
    pub(crate) fn end(mut self, kill_after: Option<Duration>) -> Attempt {
        let finished = finish(self.child, self.begun, kill_after);
        let (code, last) = (finished.code, finished.last.as_ref());
        self.attempt.said = said(code, last, kill_after.is_some());
        self.attempt.killed = finished.killed;
        self.attempt.shown = finished.shown;
        self.attempt
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    /// The last line, if it is whole.
    pub(crate) last: Option<Value>,
    /// Whether it was killed before its end.
    pub(crate) killed: bool,
    /// Exit code, lines, what was on stderr, and how long it took.
    shown: String,
}

/// Waits for a command's end, or kills it after a while.
pub(crate) fn finish(mut child: Child, begun: Instant, kill_after: Option<Duration>) -> Finished {
    let deadline = begun + kill_after.unwrap_or(PAY_MAX);
    while child.try_wait().expect("it is ours").is_none() {
        let now = Instant::now();
        if now >= deadline {
            child.kill().expect("it is ours");
            break;
        }
        sleep((deadline - now).min(Duration::from_millis(5)));
    }
    let took = begun.elapsed();
    let output = child.wait_with_output().expect("it is ours");
    let stdout = String::from_utf8_lossy(&output.stdout);
    // A killed process may have got half a line out.
    let last = stdout.lines().last();
    let last = last.and_then(|line| serde_json::from_str(line).ok());
    let code = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr);
    Finished {
        code,
        last,
        killed: code.is_none(),
        shown: format!("{code:?} {} {} {took:?}", stdout.trim(), stderr.trim()),
    }
}

/// Holds exit code and last line to the contract.
fn said(code: Option<i32>, last: Option<&Value>, killed: bool) -> Said {
    let Some(last) = last else {
        return match code {
            None if killed => Said::Unknown,
            _ => Said::Nonsense,
        };
    };
    match (last["state"].as_str(), last["error"].as_str()) {
        (Some("settled"), None) if matches!(code, Some(0) | None) => {
            last["entry"].as_u64().map_or(Said::Nonsense, Said::Settled)
        }
        (Some("refused"), Some(_)) if matches!(code, Some(3) | None) => Said::Refused,
        (Some("unknown"), Some("unknown")) if matches!(code, Some(4) | None) => Said::Unknown,
        (None, Some("unreachable")) if matches!(code, Some(6) | None) => Said::Unreachable,
        _ => Said::Nonsense,
    }
}

/// Waits until something holds, and says what did not if it never does.
pub(crate) fn soon<T>(patience: Duration, what: impl FnMut() -> Result<T, String>) -> T {
    by(Instant::now() + patience, what)
}

pub(crate) fn by<T>(deadline: Instant, mut what: impl FnMut() -> Result<T, String>) -> T {
    loop {
        match what() {
            Ok(found) => return found,
            Err(missing) => assert!(Instant::now() < deadline, "too late: {missing}"),
        }
        sleep(GLANCE);
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .expect("the folder is ours");
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
