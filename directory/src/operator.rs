//! The operator's way in: a Unix socket in the data folder, open to the folder's owner alone.
//!
//! One connection carries one operation and its answer, each a line of JSON. An operation carries
//! an id chosen by the asker, so that one whose answer was lost can be sent again (promise I3).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::OperationId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::settlement::{Answer, Ask, Settlements};

/// Longest line on the socket, in bytes.
pub const LINE_LEN_MAX: u64 = 4096;

/// Longest time that an operation may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Time between two tries to take a connection when the system gives none.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Something that only the operator may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Makes a repetition harmless.
    pub id: OperationId,
    /// To whom.
    pub name: Name,
    /// What.
    pub act: Act,
}

/// What the operator does to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Issue money to it.
    Issue(Amount),
    /// Freeze it.
    Freeze,
    /// Thaw it.
    Thaw,
}

impl Operation {
    /// The question to the settlement.
    #[must_use]
    pub fn ask(self) -> Ask {
        match self.act {
            Act::Issue(amount) => Ask::Issue(self.id, self.name, amount),
            Act::Freeze => Ask::Freeze(self.id, self.name, true),
            Act::Thaw => Ask::Freeze(self.id, self.name, false),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is this entry, now or since an earlier try.
    Done {
        /// The entry's number.
        entry: u64,
    },
    /// It did not take effect.
    Refused(Reason),
}

impl From<Answer> for Ended {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done(proof) => Self::Done {
                entry: proof.borrow().index,
            },
            Answer::Refused(reason, _) => Self::Refused(reason),
            _ => Self::Refused(Reason::BUSY),
        }
    }
}

/// Serves operations on `listener` until `stop`, one after another.
pub async fn serve(
    listener: UnixListener,
    operator: PublicKey,
    settlements: Settlements,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, most likely: that passes.
                    warn!(%error, "the operator's socket failed; trying again");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        let work = serve_one(stream, operator, &settlements, &stop);
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "an operation was not answered"),
            Err(_) => debug!("an operation took too long"),
        }
    }
}

async fn serve_one(
    mut stream: tokio::net::UnixStream,
    operator: PublicKey,
    settlements: &Settlements,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new(read.take(LINE_LEN_MAX));
    tokio::select! {
        // Whoever has not said what it wants is not waited for.
        () = stop.cancelled() => return Ok(()),
        read = read.read_line(&mut line) => read?,
    };
    let reply = match serde_json::from_str::<Line>(&line)
        .ok()
        .and_then(Line::operation)
    {
        Some(operation) => {
            info!(target: "quid_directory::audit", ?operation, "operator");
            let ended = Ended::from(settlements.ask(operator, operation.ask()).await);
            ReplyLine::from(ended)
        }
        None => ReplyLine {
            entry: None,
            refused: Some(Reason::ENCODING.0),
        },
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Sends `operation` to the directory that serves behind `socket`.
///
/// # Errors
/// [`SendError::Absent`]: nobody serves there; nothing was sent. [`SendError::Unknown`]: it was
/// sent, and may have taken effect: send it again with the same id.
pub fn send(socket: &Path, operation: &Operation) -> Result<Ended, SendError> {
    let mut stream = UnixStream::connect(socket).map_err(|_| SendError::Absent)?;
    let unknown = |error: std::io::Error| SendError::Unknown(error.to_string());
    // A little longer than the directory takes at most.
    stream
        .set_read_timeout(Some(DEADLINE + Duration::from_secs(2)))
        .map_err(unknown)?;
    let mut line = serde_json::to_string(&Line::from(operation))
        .map_err(|error| SendError::Unknown(error.to_string()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(unknown)?;
    let mut reply = String::new();
    BufReader::new(stream.take(LINE_LEN_MAX))
        .read_line(&mut reply)
        .map_err(unknown)?;
    let reply: ReplyLine = serde_json::from_str(&reply)
        .map_err(|_| SendError::Unknown("the directory stopped before it answered".into()))?;
    Ok(match (reply.entry, reply.refused) {
        (Some(entry), _) => Ended::Done { entry },
        (None, reason) => Ended::Refused(Reason(reason.unwrap_or(Reason::BUSY.0))),
    })
}

/// Why an operation has no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Nobody serves; nothing was sent.
    #[error("no directory serves this folder")]
    Absent,
    /// Sent; the answer did not come.
    #[error("the answer did not come ({0}); the operation may have taken effect")]
    Unknown(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    act: String,
    id: String,
    name: Name,
    amount: Option<Amount>,
}

impl Line {
    fn operation(self) -> Option<Operation> {
        let act = match (self.act.as_str(), self.amount) {
            ("issue", Some(amount)) => Act::Issue(amount),
            ("freeze", None) => Act::Freeze,
            ("thaw", None) => Act::Thaw,
            _ => return None,
        };
        Some(Operation {
            id: self.id.parse().ok()?,
            name: self.name,
            act,
        })
    }
}

impl From<&Operation> for Line {
    fn from(operation: &Operation) -> Self {
        let (act, amount) = match operation.act {
            Act::Issue(amount) => ("issue", Some(amount)),
            Act::Freeze => ("freeze", None),
            Act::Thaw => ("thaw", None),
        };
        let id = operation.id.to_string();
        Self {
            act: act.into(),
            id,
            name: operation.name.clone(),
            amount,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ReplyLine {
    entry: Option<u64>,
    refused: Option<u16>,
}

impl From<Ended> for ReplyLine {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Done { entry } => Self {
                entry: Some(entry),
                refused: None,
            },
            Ended::Refused(reason) => Self {
                entry: None,
                refused: Some(reason.0),
            },
        }
    }
}
