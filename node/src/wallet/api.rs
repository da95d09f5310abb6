//! What the page asks for, carried out on the node.
//!
//! Whatever changes something runs in a task of its own: a page that is closed in the middle of it
//! does not stop it, and finds its end in the journal when it is opened again.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request as HttpRequest, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use quid_common::id::OrderId;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_node::{Intent, Node, PICTURE_PIXELS_MAX, read_qr};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{collected, done, failed, one, wrong};
use super::board::Board;
use super::door::{Door, Stop};
use super::{files, ledger, requests, tabs};
use crate::cli::failure::Failure;
use crate::cli::item::Item;
use crate::cli::receipt::{Ground, steps};
use crate::cli::request::{PayRequest, Request};
use crate::cli::run::{currency, run};
use crate::cli::value::{AmountText, ReceiptName};

/// What every answer needs.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) node: Node,
    board: Arc<Board>,
    door: Arc<Door>,
}

/// Everything below the wallet's path, behind its door.
pub(super) fn router(node: Node, board: Arc<Board>, door: Door) -> Router {
    let app = App {
        node,
        board,
        door: Arc::new(door),
    };
    let at = |rest: &str| format!("/{}/{rest}", app.door.path());
    let mut inner = Router::new()
        .route(&at(""), get(page))
        .route(&at("live"), get(live))
        .route(&at("api/history"), get(ledger::history))
        .route(&at("api/history.csv"), get(ledger::csv))
        .route(&at("api/history.json"), get(ledger::json))
        .route(&at("api/curve"), get(ledger::curve))
        .route(&at("api/receipt/{which}"), get(receipt))
        .route(&at("api/receipt-file/{which}"), get(receipt_file))
        .route(&at("api/intent"), post(intent))
        .route(&at("api/pay"), post(pay))
        .route(&at("api/link"), post(requests::link))
        .route(&at("api/pay-link"), post(requests::pay))
        .route(&at("api/request"), post(requests::ask))
        .route(&at("api/request/{id}/qr.svg"), get(requests::qr))
        .route(&at("api/request/{id}/cancel"), post(requests::cancel))
        .route(&at("api/refund"), post(requests::refund))
        .route(&at("api/void"), post(void))
        .route(&at("api/hold"), post(tabs::hold))
        .route(&at("api/open-tab"), post(tabs::open))
        .route(&at("api/close-tab"), post(tabs::close))
        .route(&at("api/register"), post(register))
        .route(&at("api/verify"), post(verify))
        .route(
            &at("api/scan"),
            post(scan).layer(DefaultBodyLimit::max(PICTURE_PIXELS_MAX)),
        );
    for file in files::FILES {
        inner = inner.route(&at(file.name), get(async move || file));
    }
    inner
        .layer(from_fn_with_state(app.clone(), guarded))
        .route(&at("open"), get(open))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(from_fn(with_headers))
        .with_state(app)
}

/// Lets nobody pass whom the door stops.
async fn guarded(State(app): State<App>, request: HttpRequest, next: Next) -> Response {
    let (method, headers) = (request.method(), request.headers());
    let judged = if request.uri().path().ends_with("/api/scan") {
        app.door.may_change(headers, PICTURE)
    } else {
        app.door.judge(method, headers)
    };
    match judged {
        Ok(()) => next.run(request).await,
        Err(stop) => stopped(stop),
    }
}

fn stopped(stop: Stop) -> Response {
    tracing::warn!(?stop, "somebody was not let into the wallet");
    (StatusCode::FORBIDDEN, format!("{}\n", stop.message())).into_response()
}

/// The answer to what is not there.
pub(super) async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

/// What browsers are told about every answer.
async fn with_headers(request: HttpRequest, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Debug, Deserialize)]
struct Key {
    #[serde(default)]
    key: String,
}

/// Exchanges the link's key for the cookie.
async fn open(State(app): State<App>, headers: HeaderMap, Query(key): Query<Key>) -> Response {
    if let Err(stop) = app.door.came_here(&headers) {
        return stopped(stop);
    }
    match app.door.exchange(&key.key) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Html(files::OPENED)).into_response(),
        None => stopped(Stop::Cookie),
    }
}

async fn page(State(app): State<App>) -> Response {
    Html(files::page(app.door.token())).into_response()
}

async fn live(State(app): State<App>) -> Response {
    match app.board.follow() {
        Some(stream) => Sse::new(stream)
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages of this wallet are open\n",
        )
            .into_response(),
    }
}

async fn intent(State(app): State<App>) -> Json<Value> {
    Json(match app.node.intent() {
        Ok(intent) => done(intent.to_string()),
        Err(error) => failed(&error.into()),
    })
}

#[derive(Debug, Deserialize)]
struct PayForm {
    intent: String,
    payee: String,
    amount: String,
    #[serde(default)]
    memo: String,
}

async fn pay(State(app): State<App>, Json(form): Json<PayForm>) -> Json<Value> {
    let currency = match currency(&app.node).await {
        Ok(currency) => currency,
        Err(error) => return Json(failed(&error.into())),
    };
    let read = || -> Result<PayRequest, Value> {
        let amount: AmountText = field("amount", &form.amount)?;
        amount
            .in_currency(&currency)
            .map_err(|error| wrong("amount", &error.to_string()))?;
        Ok(PayRequest {
            payee: field::<Name>("payee", &form.payee)?,
            amount,
            memo: Memo::new(form.memo.clone())
                .map_err(|error| wrong("memo", &error.to_string()))?,
            reference: None,
            wait: PAY_WAIT,
            intent: Some(field::<Intent>("intent", &form.intent)?),
        })
    };
    match read() {
        Ok(request) => Json(app.carry_out(Request::Pay(request)).await),
        Err(wrong) => Json(wrong),
    }
}

#[derive(Debug, Deserialize)]
struct Order {
    order: String,
}

async fn void(State(app): State<App>, Json(form): Json<Order>) -> Json<Value> {
    match field::<OrderId>("order", &form.order) {
        Ok(order) => Json(app.carry_out(Request::Void { order }).await),
        Err(wrong) => Json(wrong),
    }
}

#[derive(Debug, Deserialize)]
struct Register {
    name: String,
    #[serde(default)]
    invite: String,
}

async fn register(State(app): State<App>, Json(form): Json<Register>) -> Json<Value> {
    let name = match field::<Name>("name", &form.name) {
        Ok(name) => name,
        Err(wrong) => return Json(wrong),
    };
    let invite = Some(form.invite.trim().to_owned()).filter(|code| !code.is_empty());
    let request = Request::Register {
        name,
        invite,
        recovery: None,
    };
    let answer = app.carry_out(request).await;
    // The session that was refused for want of a name is sought again.
    let _ = app.node.login().await;
    app.board.touch();
    Json(answer)
}

/// The receipt of an entry or order, and how it is verified here and now, by what this home knows.
async fn receipt(State(app): State<App>, Path(which): Path<String>) -> Json<Value> {
    match app.receipt(&which).await {
        Ok(receipt) => {
            let ground = Ground::of_home(app.node.home());
            let steps = steps(receipt.receipt.as_bytes(), &ground);
            Json(done(
                serde_json::json!({ "receipt": receipt, "steps": steps }),
            ))
        }
        Err(answer) => Json(answer),
    }
}

async fn receipt_file(State(app): State<App>, Path(which): Path<String>) -> Response {
    match app.receipt(&which).await {
        Ok(receipt) => {
            let name = format!("quid-receipt-{}.txt", receipt.entry);
            download("text/plain; charset=utf-8", &name, receipt.receipt)
        }
        Err(answer) => (StatusCode::NOT_FOUND, Json(answer)).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct Text {
    text: String,
}

/// Verifies a receipt that somebody has shown.
async fn verify(State(app): State<App>, Json(form): Json<Text>) -> Json<Value> {
    let ground = Ground::of_home(app.node.home());
    let steps = steps(form.text.trim_start().as_bytes(), &ground);
    Json(done(serde_json::json!({ "steps": steps })))
}

#[derive(Debug, Deserialize)]
struct Width {
    width: usize,
}

/// Reads the QR code in a picture.
async fn scan(Query(size): Query<Width>, pixels: Bytes) -> Json<Value> {
    // A thread of its own: payments do not wait for pictures.
    let read = tokio::task::spawn_blocking(move || read_qr(size.width, &pixels));
    Json(match read.await {
        Ok(Ok(text)) => done(text),
        Ok(Err(error)) => failed(&Failure::other("no_code", error.to_string())),
        Err(_) => failed(&Failure::other("no_code", "this picture cannot be read")),
    })
}

impl App {
    /// Carries out what changes something, to its end even if nobody waits for it any more.
    pub(super) async fn carry_out(&self, request: Request) -> Value {
        let this = self.clone();
        let work = tokio::spawn(async move {
            let told = this.collect(request).await;
            this.board.touch();
            one(told)
        });
        work.await
            .unwrap_or_else(|_| failed(&Failure::other("closed", "the wallet is ending")))
    }

    /// Carries out a request; what it says.
    pub(super) async fn collect(&self, request: Request) -> (Result<(), Failure>, Vec<Item>) {
        let node = &self.node;
        collected(|sink| async move { run(node, true, request, &sink).await }).await
    }

    async fn receipt(&self, which: &str) -> Result<crate::cli::item::Receipt, Value> {
        let which = field::<ReceiptName>("receipt", which)?;
        let told = self.collect(Request::Receipt { which }).await;
        match told {
            (Ok(()), items) => items
                .into_iter()
                .find_map(|item| match item {
                    Item::Receipt(receipt) => Some(receipt),
                    _ => None,
                })
                .ok_or_else(|| failed(&Failure::other("internal", "the answer held no receipt"))),
            (Err(failure), _) => Err(failed(&failure)),
        }
    }
}

/// Reads a field of a form.
pub(super) fn field<T: FromStr<Err: ToString>>(name: &str, text: &str) -> Result<T, Value> {
    field_by(name, text, T::from_str)
}

/// Reads a field of a form as the command line reads the same.
pub(super) fn field_by<T, E: ToString>(
    name: &str,
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Value> {
    read(text.trim()).map_err(|error| wrong(name, &error.to_string()))
}

/// A file to be saved.
pub(super) fn download(kind: &'static str, name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    (
        [
            (CONTENT_TYPE, kind.to_owned()),
            (CONTENT_DISPOSITION, disposition),
        ],
        text,
    )
        .into_response()
}

/// What browsers are told about every answer: what a page may load (our own files), do (no plug-ins,
/// no forms of its own, no markup made by scripts), and who may frame or embed it (nobody).
const HEADERS: [(HeaderName, &str); 8] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// The kind of content of a picture: one byte of brightness a pixel.
const PICTURE: &str = "application/octet-stream";

/// Longest form, in bytes: the text of a receipt is the longest.
const BODY_LEN_MAX: usize = 64 * 1024;

/// How long a payment is waited for before the page is told that its end is not known yet.
pub(super) const PAY_WAIT: Duration = Duration::from_secs(10);

/// How often a page that hears nothing is told that the wallet lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
