//! The local socket: how other commands of a home reach the process that listens for it.
//!
//! One connection carries one request. Lines of JSON: the listener says [`Hello`], the command
//! sends a [`Request`], the listener sends [`Answer`]s and ends with [`Answer::Done`] or
//! [`Answer::Failed`]. The socket is 0600 in a home that is 0700, so only the home's owner gets
//! here; every line, wait and number of connections is bounded all the same.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quid_common::amount::Currency;
use quid_node::{Home, HomeError, ListenerLock, Node};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::cli::failure::{Failure, Report};
use crate::cli::item::Item;
use crate::cli::request::Request;
use crate::cli::run::{given_up, run};
use crate::cli::screen::{Output, Sink};

/// The node that answers requests, and whether it receives payments.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) node: Node,
    pub(crate) listening: bool,
}

/// The first line, from the listener.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    /// Version of this protocol.
    quid: u32,
    /// The listener's process.
    pid: u32,
}

/// A line from the listener.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// A result.
    Item(Box<Item>),
    /// A remark.
    Note(String),
    /// The end: it failed.
    Failed(Box<Report>),
    /// The end: all is said.
    Done,
}

/// The socket of a home, bound. Goes away with this, before the lock does.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    _lock: ListenerLock,
}

impl ControlSocket {
    /// Takes the lock and binds the socket of `home`.
    ///
    /// # Errors
    /// Who holds the lock, or which file is in the way.
    pub(crate) fn bind(home: &Home) -> Result<Self, Failure> {
        let lock = home.lock_listener()?;
        let path = home.control_socket();
        let failed = |doing: &str, error: io::Error| {
            Failure::files(format!(
                "cannot {doing} {}: {error}; check the home's permissions",
                path.display()
            ))
        };
        // Whoever bound it is gone, for the lock is ours.
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(&path).map_err(|error| failed("remove the stale", error))?;
            }
            Ok(_) => {
                return Err(Failure::files(format!(
                    "{} is in the way of this home's socket: move it elsewhere",
                    path.display()
                )));
            }
            Err(_) => {}
        }
        let short = ShortPath::new(&path).map_err(|error| failed("open the folder of", error))?;
        let listener =
            UnixListener::bind(&short.path).map_err(|error| failed("make the socket", error))?;
        let socket = Self {
            listener,
            path: path.clone(),
            _lock: lock,
        };
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(|error| failed("set the mode of", error))?;
        Ok(socket)
    }

    /// Answers requests with whatever node is current, until dropped.
    pub(crate) async fn serve(self, current: watch::Receiver<Option<Current>>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(connection(stream, current.clone()));
                        }
                        Err(error) => {
                            // Out of descriptors, most likely: they come back.
                            warn!(%error, "cannot accept on the local socket");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A socket left behind is refused by nobody and removed by the next listener.
        let _ = fs::remove_file(&self.path);
    }
}

async fn connection(stream: UnixStream, mut current: watch::Receiver<Option<Current>>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let hello = Hello {
        quid: VERSION,
        pid: std::process::id(),
    };
    // Whoever goes away in the middle wants nothing more.
    let Ok(()) = send(&mut writer, &hello).await else {
        return;
    };
    let request = match timeout(
        REQUEST_WAIT,
        receive::<Request>(&mut reader, REQUEST_LEN_MAX),
    )
    .await
    {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            let message = format!(
                "the process that listens for this home (process {}) does not understand this \
                 command: {error}; are both of one version?",
                hello.pid
            );
            if let Failure::Told(report) = Failure::other("version", message) {
                let _ = send(&mut writer, &Answer::Failed(report)).await;
            }
            return;
        }
    };
    // One node may just be taking another's place.
    let current = match timeout(NODE_WAIT, current.wait_for(Option::is_some)).await {
        Ok(Ok(current)) => current.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(Current { node, listening }) = current else {
        return;
    };
    let (sink, outputs) = Sink::channel();
    let work = async move { run(&node, listening, request, &sink).await };
    // A command that was stopped closes its end; what only shows something ends with it, while a
    // payment runs to its end.
    let pass_on = async {
        tokio::select! {
            passed = forward(outputs, &mut writer) => passed,
            () = closed(&mut reader) => Err(ErrorKind::BrokenPipe.into()),
        }
    };
    let (worked, passed) = tokio::join!(work, pass_on);
    let last = match worked {
        Ok(()) => Answer::Done,
        Err(Failure::Told(report)) => Answer::Failed(report),
        Err(Failure::Gone) => return,
    };
    if passed.is_ok() {
        let _ = send(&mut writer, &last).await;
    }
}

/// Sends the listener's output as it comes.
async fn forward(
    mut outputs: mpsc::Receiver<Output>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(output) = outputs.recv().await {
        let answer = match output {
            Output::Item(item) => Answer::Item(item),
            Output::Note(note) | Output::Say(note) => Answer::Note(note),
            Output::Report(report) => Answer::Failed(report),
            Output::Progress(_) | Output::Foot(_) => continue,
        };
        send(writer, &answer).await?;
    }
    Ok(())
}

/// Waits until the other end is closed.
async fn closed(reader: &mut BufReader<OwnedReadHalf>) {
    let mut ignored = [0; 64];
    while let Ok(1..) = reader.read(&mut ignored).await {}
}

/// A listener that has answered: alive, and ready for one request.
#[derive(Debug)]
pub(crate) struct Listener {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    pid: u32,
    currency: Option<Currency>,
}

impl Listener {
    /// The listener of `home`; none if no process listens.
    ///
    /// # Errors
    /// If there is one that cannot be talked to.
    pub(crate) async fn find(home: &Home) -> Result<Option<Self>, Failure> {
        Self::connect(&home.control_socket(), Some(home)).await
    }

    /// As [`Self::find`], for the home at `path`, whose key is sealed.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) async fn find_at(path: &Path) -> Result<Option<Self>, Failure> {
        Self::connect(&Home::control_socket_at(path), None).await
    }

    async fn connect(path: &Path, home: Option<&Home>) -> Result<Option<Self>, Failure> {
        let connected = match ShortPath::new(path) {
            Ok(short) => UnixStream::connect(&short.path).await,
            Err(error) => Err(error),
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::NotFound
                    | ErrorKind::ConnectionRefused
                    | ErrorKind::ConnectionReset => Ok(None),
                    _ => Err(Failure::files(format!(
                        "cannot reach the process that listens for this home through {}: {error}",
                        path.display()
                    ))),
                };
            }
        };
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        match timeout(HELLO_WAIT, receive::<Hello>(&mut reader, REQUEST_LEN_MAX)).await {
            Ok(Ok(Some(hello))) if hello.quid == VERSION => Ok(Some(Self {
                reader,
                writer,
                pid: hello.pid,
                currency: home.and_then(Home::currency),
            })),
            // It was just ending, or was killed before it took the connection.
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
            Ok(Ok(Some(Hello { pid, .. }))) => Err(Failure::files(format!(
                "process {pid} listens for this home and is of another version: restart it"
            ))),
            Ok(Err(_)) => Err(Failure::files(format!(
                "whatever answers at {} is not quid: stop it",
                path.display()
            ))),
            Err(_) => {
                let holder = match home.map(Home::lock_listener) {
                    Some(Err(HomeError::Held { pid, .. })) => format!("process {pid}"),
                    _ => "a process".to_owned(),
                };
                Err(Failure::files(format!(
                    "{holder} listens for this home and does not answer: stop it, or let it go on"
                )))
            }
        }
    }

    /// Has the listener carry out `request`.
    ///
    /// # Cancel safety
    /// The listener carries a payment to its end by itself.
    pub(crate) async fn ask(mut self, request: &Request, sink: &Sink) -> Result<(), Failure> {
        if send(&mut self.writer, request).await.is_err() {
            return Err(self.lost(request, "ended"));
        }
        loop {
            let answer = receive::<Answer>(&mut self.reader, ANSWER_LEN_MAX);
            let answer = match request.patience() {
                Some(patience) => timeout(patience, answer).await,
                None => Ok(tokio::select! {
                    answer = answer => answer,
                    () = sink.gone() => return Err(Failure::Gone),
                }),
            };
            match answer {
                Ok(Ok(Some(Answer::Item(item)))) => sink.send(Output::Item(item)).await?,
                Ok(Ok(Some(Answer::Note(note)))) => sink.send(Output::Note(note)).await?,
                Ok(Ok(Some(Answer::Done))) => return Ok(()),
                Ok(Ok(Some(Answer::Failed(report)))) => return Err(Failure::Told(report)),
                Ok(Ok(None)) => return Err(self.lost(request, "ended")),
                Ok(Err(error)) => return Err(self.lost(request, &error.to_string())),
                Err(_) => return Err(self.lost(request, "does not answer")),
            }
        }
    }

    fn lost(&self, request: &Request, why: &str) -> Failure {
        let what = format!(
            "the process that listens for this home (process {}): {why}",
            self.pid
        );
        given_up(request, self.currency.as_ref(), &what).map_or_else(
            || Failure::other("lost", format!("{what}; try again")),
            Failure::from,
        )
    }
}

async fn send(writer: &mut OwnedWriteHalf, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    match timeout(SEND_WAIT, writer.write_all(&line)).await {
        Ok(sent) => sent,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// The next line, `None` at the end.
async fn receive<T: DeserializeOwned>(
    reader: &mut BufReader<OwnedReadHalf>,
    len_max: u64,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.take(len_max).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "the line has no end",
        ));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// A path short enough for a socket's address, which has room for 108 bytes: a longer one goes
/// through a descriptor of its folder, kept open as long as this.
#[derive(Debug)]
struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    fn new(path: &Path) -> io::Result<Self> {
        let folder_and_name = path.parent().zip(path.file_name());
        let (Some((folder, name)), true) = (
            folder_and_name,
            path.as_os_str().len() > SOCKET_PATH_LEN_MAX,
        ) else {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        };
        let folder = File::open(folder)?;
        let descriptor = folder.as_raw_fd().to_string();
        Ok(Self {
            path: Path::new("/proc/self/fd").join(descriptor).join(name),
            _folder: Some(folder),
        })
    }
}

/// Version of this protocol; both ends come from one build as a rule.
const VERSION: u32 = 1;

/// Longest request or hello, in bytes.
const REQUEST_LEN_MAX: u64 = 8 * 1024;

/// Longest answer, in bytes: a receipt's text is the longest, and far below.
const ANSWER_LEN_MAX: u64 = 64 * 1024;

/// How many commands are served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// How long a command may take to send its request.
const REQUEST_WAIT: Duration = Duration::from_secs(5);

/// How long a request waits while one node takes another's place.
const NODE_WAIT: Duration = Duration::from_secs(5);

/// How long a listener may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(5);

/// How long one line may wait for its reader: somebody may be reading page by page.
const SEND_WAIT: Duration = Duration::from_secs(3_600);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest path that fits a socket's address everywhere.
const SOCKET_PATH_LEN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_dies_before_it_answers_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = quid_common::key::SecretKey::from_seed(&[1; 32]).public();
        let address = format!("quid://{key}@127.0.0.1:1");
        let address = address.parse().expect("an address");
        let home = Home::init(&folder.path().join("home"), &address).expect("a new home");
        for accepts in [false, true] {
            let path = home.control_socket();
            let listener = UnixListener::bind(&path).expect("the folder is ours");
            let dies = async move {
                if accepts {
                    let (taken, _) = listener.accept().await.expect("somebody comes");
                    drop(taken);
                } else {
                    // Nothing shows that somebody waits to be taken; this is long enough.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let (found, ()) = tokio::join!(Listener::find(&home), dies);
            assert!(matches!(found, Ok(None)), "{accepts}: {found:?}");
            fs::remove_file(&path).expect("it is there");
        }
    }
}
