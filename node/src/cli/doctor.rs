//! `quid doctor`: one line for each thing that a wallet needs, and what to do about it.
//!
//! It changes nothing. Beside a running `listen` it has a session of its own, and calls that process
//! from outside, as a payer would.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quid_common::address::DirectoryAddress;
use quid_common::refusal::Reason;
use quid_node::{Home, Node, Options, RequestError, Session, directory_key, knock};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::check::{account, answered, clock, judged, space, told, unanswered, unopened};
use super::exit::Exit;
use super::failure::{Failure, Report};
use super::item::{Check, Health};
use super::passphrase;
use super::screen::Sink;
use super::settings::Settings;
use super::words::refused;
use crate::control::Listener;

/// Checks everything, in the order in which one thing needs another.
///
/// # Errors
/// Something is bad: what.
pub(crate) async fn doctor(
    path: &Path,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut told = Told {
        sink,
        bad: Vec::new(),
    };
    tokio::select! {
        checked = all(path, &mut told) => checked?,
        () = stop.cancelled() => {
            return Err(Failure::other("interrupted", "interrupted; nothing was changed"));
        }
    }
    if told.bad.is_empty() {
        return Ok(());
    }
    let message = format!("not well: {}", told.bad.join(", "));
    Err(Report::new(Exit::Unverified, "unwell", message).into())
}

/// Where checks are told, and which of them were bad.
struct Told<'a> {
    sink: &'a Sink,
    bad: Vec<String>,
}

impl Told<'_> {
    async fn tell(&mut self, check: Check) -> Result<(), Failure> {
        if check.state == Health::Bad {
            self.bad.push(check.check.clone());
        }
        Ok(self.sink.item(check).await?)
    }

    /// What cannot be said, since what it needs is not there.
    async fn skip(&mut self, checks: &[&str], without: &str) -> Result<(), Failure> {
        for check in checks {
            let found = format!("not looked at: {without}");
            self.tell(judged(check, Health::Unknown, found, None))
                .await?;
        }
        Ok(())
    }
}

async fn all(path: &Path, told: &mut Told<'_>) -> Result<(), Failure> {
    told.tell(settings(path)).await?;
    let home = match passphrase::open(path) {
        Ok(home) => home,
        Err(error) => {
            let check = unopened(&error);
            let at = PARTS.iter().position(|part| *part == check.check);
            let (before, rest) = PARTS.split_at(at.unwrap_or(0));
            // What stands before it in this order was found sound on the way to it.
            for part in before {
                told.tell(judged(part, Health::Good, "sound", None)).await?;
            }
            told.tell(check).await?;
            let rest = rest.get(1..).unwrap_or_default();
            told.skip(rest, "the home does not open").await?;
            if path.is_dir() {
                told.tell(disk(path)).await?;
            } else {
                told.skip(&["disk"], "there is no home").await?;
            }
            return told.skip(ONLINE, "the home does not open").await;
        }
    };
    told.tell(judged("home", Health::Good, place(path), None))
        .await?;
    told.tell(key(path, &home)).await?;
    told.tell(judged("journal", Health::Good, "sound", None))
        .await?;
    told.tell(disk(path)).await?;
    online(path, home, told).await
}

async fn online(path: &Path, home: Home, told: &mut Told<'_>) -> Result<(), Failure> {
    let progress = told.sink.progress("asking the directory".to_owned());
    let address = home.directory().clone();
    let node = Node::start(home, Options::default()).await?;
    let asked = Instant::now();
    let login = node.login().await;
    let took = asked.elapsed().as_millis();
    let (host, port) = (address.host(), address.port());
    let reached = format!("{host}:{port} answers with the pinned key, in {took} ms");
    let reached = judged("directory", Health::Good, reached, None);
    match login {
        Ok(session) => {
            told.tell(reached).await?;
            told.tell(ledger(&node).await).await?;
            told.tell(time(&node).await).await?;
            told.tell(keys(&node, &session).await).await?;
            told.tell(reachability(path, &node, &session).await).await?;
        }
        Err(RequestError::Unreachable(why)) => {
            told.tell(unreached(&address, &why).await).await?;
            told.skip(OF_DIRECTORY, "the directory is not reached")
                .await?;
        }
        Err(error) => {
            told.tell(reached).await?;
            told.skip(&["ledger", "clock"], "there is no session")
                .await?;
            told.tell(denied(&error)).await?;
            told.skip(&["reachability"], "there is no session").await?;
        }
    }
    drop(progress);
    let _ = timeout(CLOSE_WAIT, node.close()).await;
    Ok(())
}

fn settings(path: &Path) -> Check {
    match Settings::read(Some(path)) {
        Ok(_) => judged(
            "config",
            Health::Good,
            "variables and config file are sound",
            None,
        ),
        Err(report) => judged(
            "config",
            Health::Bad,
            report.message,
            Some("until then other commands stop at it"),
        ),
    }
}

fn place(path: &Path) -> String {
    format!("{}, for its owner alone", path.display())
}

fn key(path: &Path, home: &Home) -> Check {
    let how = if Home::is_sealed(path) {
        "sealed under a passphrase"
    } else {
        "plain (`quid key seal` puts it under a passphrase)"
    };
    let short: String = home.key().to_string().chars().take(8).collect();
    let found = format!("{short}..., for its owner alone, {how}");
    judged("key", Health::Good, found, None)
}

fn disk(path: &Path) -> Check {
    let tried = path.join(format!(".doctor-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&tried)?;
        file.write_all(&[0; 4096])?;
        file.sync_all()
    };
    let written = write();
    let _ = fs::remove_file(&tried);
    if let Err(error) = written {
        let found = format!("{} cannot be written: {error}", path.display());
        let advice =
            "make room, or mount it for writing: nothing is paid that cannot be written down";
        return judged("disk", Health::Bad, found, Some(advice));
    }
    match rustix::fs::statvfs(path) {
        Ok(told) => space(told.f_bavail.saturating_mul(told.f_frsize)),
        Err(error) => judged(
            "disk",
            Health::Unknown,
            format!("no room is told: {error}"),
            None,
        ),
    }
}

/// Whether the log goes on from all that this home knows of it.
async fn ledger(node: &Node) -> Check {
    node.compare().await;
    let status = node.status().await;
    let doubt = node.doubt();
    match status {
        Ok(status) if status.fork.is_some() => judged(
            "ledger",
            Health::Bad,
            "the directory has signed two histories; the proof is in the home",
            Some("pay nothing; show the file to the operator and to others (SECURITY.md)"),
        ),
        Ok(_) => match doubt {
            Some(doubt) => judged(
                "ledger",
                Health::Bad,
                doubt,
                Some("ask the operator whether an old backup was restored"),
            ),
            None => {
                let found = "its log goes on from the checkpoint that this home knows";
                judged("ledger", Health::Good, found, None)
            }
        },
        Err(error) => judged("ledger", Health::Unknown, error.to_string(), None),
    }
}

async fn time(node: &Node) -> Check {
    // An answer with the time in it has just come; the ledger's time goes on from there.
    match (
        node.ledger_time(),
        SystemTime::now().duration_since(UNIX_EPOCH),
    ) {
        (Some(ledger), Ok(system)) => clock(ledger, system),
        (Some(ledger), Err(_)) => clock(ledger, Duration::ZERO),
        (None, _) => judged(
            "clock",
            Health::Unknown,
            "the directory has not said the time",
            None,
        ),
    }
}

async fn keys(node: &Node, session: &Session) -> Check {
    match node.keys(&session.name).await {
        Ok(standing) => {
            let home = node.home();
            account(&standing, &home.key(), home.has_next_key())
        }
        Err(error) => judged("account", Health::Unknown, error.to_string(), None),
    }
}

/// Why the directory gives no session to this key.
fn denied(error: &RequestError) -> Check {
    match error {
        RequestError::NotRegistered => judged(
            "account",
            Health::Bad,
            "this home has no account yet",
            Some("`quid register NAME`"),
        ),
        RequestError::Refused(reason @ Reason::KEY_REPLACED) => judged(
            "account",
            Health::Bad,
            reason.explain(),
            Some("if that was not you: `quid key recover NAME --recovery FILE`"),
        ),
        RequestError::Refused(reason) => {
            told("account", Health::Bad, &refused(*reason).for_command())
        }
        error => told("account", Health::Bad, &error.to_string()),
    }
}

/// What is there instead of the directory.
async fn unreached(address: &DirectoryAddress, why: &str) -> Check {
    let bad = |found: String, advice: &str| judged("directory", Health::Bad, found, Some(advice));
    match directory_key(address.host(), address.port()).await {
        Ok(key) if key != address.key() => bad(
            format!("another key answers at {address}: {key}"),
            "do not trust it: ask the operator whether the directory has moved",
        ),
        Ok(_) => bad(
            format!("{address} answers with its key, but not to this home: {why}"),
            "wait a moment and run it again; then ask the operator",
        ),
        Err(_) => bad(
            format!("{address} does not answer: {why}"),
            "check that this machine is online and lets UDP through, and ask the operator whether it \
             runs",
        ),
    }
}

/// Calls the process that listens for this home, where others are sent.
async fn reachability(path: &Path, node: &Node, session: &Session) -> Check {
    match Listener::find_at(path).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            return judged(
                "reachability",
                Health::Weak,
                format!(
                    "nobody listens for this home, which the directory sees at {}",
                    session.address
                ),
                Some("`quid listen` receives; until then payments wait at the directory"),
            );
        }
        Err(Failure::Told(report)) => return told("reachability", Health::Bad, &report.message),
        Err(Failure::Gone) => {
            return judged("reachability", Health::Unknown, "it has just ended", None);
        }
    }
    let key = node.home().key();
    let people = node.who_is_near(&session.name).await.unwrap_or_default();
    let Some(own) = people.into_iter().find(|person| person.key == key) else {
        return judged(
            "reachability",
            Health::Weak,
            "it listens, but is not in `who`: others pay through the directory",
            Some("leave --hidden out, or type `l` in the shell, to be paid directly"),
        );
    };
    let Ok(address) = own.address.parse::<SocketAddr>() else {
        return judged(
            "reachability",
            Health::Unknown,
            "its address is a host's name",
            None,
        );
    };
    match knock(address, key).await {
        Ok(()) => {
            let directory = node.home().directory();
            answered(&own.address, address.ip(), local(directory))
        }
        Err(error) => unanswered(&own.address, &error.to_string()),
    }
}

/// This machine's address towards the directory. Nothing is sent.
fn local(directory: &DirectoryAddress) -> Option<std::net::IpAddr> {
    let to = (directory.host(), directory.port())
        .to_socket_addrs()
        .ok()?
        .next()?;
    let any: SocketAddr = if to.is_ipv6() {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What a home that opens has shown to be sound, in the order in which opening looks at it.
const PARTS: &[&str] = &["home", "key", "journal"];

/// What needs the directory.
const ONLINE: &[&str] = &["directory", "ledger", "clock", "account", "reachability"];

/// What needs a session with it.
const OF_DIRECTORY: &[&str] = &["ledger", "clock", "account", "reachability"];

/// Longest wait for the goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
