//! The socket of the page: loopback, few connections, short headers, small bodies.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use crate::cli::failure::Failure;

/// A socket on which the page will be served.
#[derive(Debug)]
pub(super) struct Server {
    socket: tokio::net::TcpListener,
    address: SocketAddr,
}

/// Serves while it lives.
#[derive(Debug)]
pub(super) struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Binds `address`.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let bind = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            let socket = tokio::net::TcpListener::from_std(socket)?;
            Ok(Self { socket, address })
        };
        bind().map_err(|error: std::io::Error| {
            Failure::other(
                "listen",
                format!(
                    "cannot serve the wallet on {address}: {error}; choose another port, or leave \
                     --listen out and any free one is taken"
                ),
            )
        })
    }

    /// Where it listens, with the real port.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until what this gives is dropped.
    pub(super) fn serve(self, router: Router) -> Serving {
        Serving(tokio::spawn(serve(self.socket, router)).abort_handle())
    }
}

async fn serve(socket: tokio::net::TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, router.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: they come back.
                    warn!(%error, "cannot accept a connection of the page");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    // A page waits for every answer: no packet is held back to be filled.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_DEADLINE)
        .max_buf_size(HEADERS_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection of the page ended early");
    }
}

/// Connections served at once: a browser makes six, and more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// Longest time until a request's headers are there; also how long a silent connection is kept.
const HEADERS_DEADLINE: Duration = Duration::from_secs(30);

/// Longest headers, in bytes; the buffer for bodies too, which have limits of their own.
const HEADERS_LEN_MAX: usize = 16 * 1024;

/// Most headers.
const HEADERS_MAX: usize = 64;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
