//! The HTTP side: few connections, short requests, little time, nothing but GET.
//!
//! It has a thread and a runtime of its own. Whoever takes all its connections and reads nothing
//! holds up other readers of metrics for some seconds, and nobody else.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Metrics, page};

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// Longest request, in bytes.
const REQUEST_LEN_MAX: usize = 16 * 1024;

/// Most headers in it.
const HEADERS_MAX: usize = 64;

/// Longest time that a request's headers may take.
const HEADERS_DEADLINE: Duration = Duration::from_secs(2);

/// Longest life of a connection, which carries one request: then its slow reader is left alone.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(8);

/// Pause after the system gave no connection.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// A socket on which metrics will be served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Where it listens, with the real port.
    pub address: SocketAddr,
}

/// The thread that serves them.
#[derive(Debug)]
pub struct Serving(JoinHandle<()>);

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// [`ListenError`]: it cannot be had.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|source| ListenError { address, source })
    }

    /// Serves `metrics` until `stop`, on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread or the runtime cannot be made.
    pub fn serve(self, metrics: Metrics, stop: CancellationToken) -> std::io::Result<Serving> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let socket = {
            let _within = runtime.enter();
            tokio::net::TcpListener::from_std(self.socket)?
        };
        let metrics = Arc::new(metrics);
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = serve(&socket, Arc::clone(&metrics)) => {}
                    () = metrics.follow() => {}
                }
            });
        })?;
        Ok(Serving(thread))
    }
}

impl Serving {
    /// Waits until the thread has ended, after its stop.
    pub fn join(self) {
        // A panic in it has been printed; the payments go on without numbers.
        let _ = self.0.join();
    }
}

/// Why metrics cannot be served.
#[derive(Debug, Error)]
#[error("cannot serve metrics on {address}: {source}; choose another address with --metrics")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

async fn serve(socket: &tokio::net::TcpListener, metrics: Arc<Metrics>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match socket.accept().await {
            Ok((stream, _)) => {
                let metrics = Arc::clone(&metrics);
                connections.spawn(async move {
                    let served = converse(stream, metrics);
                    if tokio::time::timeout(CONNECTION_DEADLINE, served)
                        .await
                        .is_err()
                    {
                        debug!("a reader of metrics was too slow");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "the socket for metrics failed; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(stream: TcpStream, metrics: Arc<Metrics>) {
    let service = service_fn(move |request| {
        let metrics = Arc::clone(&metrics);
        async move { Ok::<_, Infallible>(answer(&metrics, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_DEADLINE)
        .keep_alive(false)
        .max_buf_size(REQUEST_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a reader of metrics went away");
    }
}

async fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered\n".into(),
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    let path = request.uri().path();
    if let Some(asset) = page::ASSETS.iter().find(|asset| asset.path == path) {
        return of_page(asset.kind, Bytes::from_static(asset.content.as_bytes()));
    }
    match path {
        "/" => of_page(HTML, metrics.page().await.into()),
        "/numbers.json" => {
            let after = metrics.after(request.uri().query().unwrap_or_default());
            of_page(JSON, metrics.numbers(after).await.to_string().into())
        }
        "/metrics" => {
            let mut found = text(StatusCode::OK, metrics.text().await);
            let kind = HeaderValue::from_static(OPEN_METRICS);
            found.headers_mut().insert(CONTENT_TYPE, kind);
            found
        }
        "/healthz" => {
            let complaints = metrics.complaints().await;
            if complaints.is_empty() {
                return text(StatusCode::OK, "ok\n".into());
            }
            let lines = complaints.iter().map(|complaint| format!("{complaint}\n"));
            text(StatusCode::SERVICE_UNAVAILABLE, lines.collect())
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /, /metrics and /healthz here\n".into(),
        ),
    }
}

/// A part of the dashboard, and what a browser may do with it.
fn of_page(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, page::CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
