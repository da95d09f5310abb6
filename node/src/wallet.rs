//! `quid wallet`: a node that stays, and a page in the browser on it.
//!
//! The page is a face like the command line: what it asks for are the same [`Request`]s, and what it
//! is told are the same items, made visible by the same type. It keeps nothing of its own: how
//! payments stand is read from the node's journal, each time.
//!
//! | part | does |
//! |---|---|
//! | `door` | who may ask: host, origin, cookie, token |
//! | `server` | the socket: few connections, short requests |
//! | `files` | what the page is made of |
//! | `api` | requests of the page, carried out on the node |
//! | `answer` | what the page is told, with nothing in it that acts |
//! | `board` | the newest state, and who follows it |
//! | `requests` | links and QR codes: asking for money, and paying what is asked for |
//! | `tabs` | opening and closing tabs |
//! | `ledger` | history, its export, and the curve of the balance |
//!
//! [`Request`]: crate::cli::request::Request

mod answer;
mod api;
mod board;
mod door;
mod files;
mod ledger;
mod requests;
mod server;
mod tabs;

use std::path::Path;
use std::process::Stdio;

use quid_node::{Events, Node, RequestError};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::cli::Wallet;
use crate::cli::failure::Failure;
use crate::cli::item::{EventName, Serving};
use crate::cli::listen::{Station, ended, hear, options, tell};
use crate::cli::screen::Sink;
use crate::control::Current;
use board::Board;
use door::Door;
use server::Server;

/// Serves the page and receives until stopped, telling one event per line.
///
/// # Errors
/// If the port is taken, or the home's lock; else as `listen`.
pub(crate) async fn wallet(
    path: &Path,
    args: &Wallet,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let server = Server::bind(args.listen)?;
    let station = Station::open(path, |home| options(home, &args.node, true)).await?;
    let Current { node, .. } = station.current()?;
    // Before anything takes time, so that the login is told too.
    let events = node.events();
    let door = Door::new(server.address())?;
    let (link, opened) = (door.link(), door.link_to_open());
    let board = Board::start(node.clone());
    let serving = server.serve(api::router(node.clone(), board, door));
    let result = tokio::select! {
        biased;
        // It ends the node too, which then has nothing more to tell.
        error = station.failed() => Err(Failure::files(error.to_string())),
        result = show((link, opened), args.no_open, (&node, events), sink) => result,
        () = stop.cancelled() => Ok(()),
        () = sink.gone() => Err(Failure::Gone),
    };
    drop(serving);
    station.close().await;
    result
}

/// Says where the page is, opens it, and tells what the node does.
async fn show(
    (link, opened): (String, String),
    no_open: bool,
    (node, mut events): (&Node, Events),
    sink: &Sink,
) -> Result<(), Failure> {
    sink.item(Serving {
        event: EventName::Wallet,
        link,
    })
    .await?;
    if !no_open && !open(&opened).await {
        sink.note("no browser was found to open it: open the link yourself")
            .await?;
    }
    if matches!(node.login().await, Err(RequestError::NotRegistered)) {
        sink.note("this home has no account yet: the page asks for a name")
            .await?;
        tell(&mut events, node, sink, true).await?;
        return Err(ended(node).await);
    }
    hear(events, node, sink, true).await
}

/// Opens `link` in the browser of whoever runs this, if there is one.
async fn open(link: &str) -> bool {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = Command::new(opener)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        return false;
    };
    // A browser may stay in front as long as it runs, which is well too.
    match tokio::time::timeout(OPEN_WAIT, child.wait()).await {
        Ok(ended) => ended.is_ok_and(|status| status.success()),
        Err(_) => true,
    }
}

/// How long whatever opens links may take to say that it cannot.
const OPEN_WAIT: std::time::Duration = std::time::Duration::from_secs(3);
