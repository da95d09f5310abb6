//! Asking for money, and paying what is asked for, by link or QR code.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use quid_common::order::Memo;
use quid_common::request::{REQUEST_LIFE_MAX, RequestId, RequestLink};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{failed, one, wrong};
use super::api::{App, PAY_WAIT, field, field_by, nothing};
use crate::cli::qr::Squares;
use crate::cli::request::{AskRequest, PayLinkRequest, RefundRequest, Request};
use crate::cli::run::currency;
use crate::cli::value::{AmountText, units};
use crate::cli::words::no_link;

/// A link of a form, or what is wrong with it.
fn link_of(form: &Link) -> Result<RequestLink, Value> {
    let read = form.link.trim().parse();
    read.map_err(|error| wrong("payee", &no_link(&error)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Link {
    link: String,
    #[serde(default)]
    amount: String,
}

/// What a person has to know before a link is paid. Sends nothing but a question.
pub(super) async fn link(State(app): State<App>, Json(form): Json<Link>) -> Json<Value> {
    match link_of(&form) {
        Ok(link) => Json(one(app.collect(Request::Prospect { link }).await)),
        Err(wrong) => Json(wrong),
    }
}

/// Pays a link, or opens the tab that it asks for. The same link pays once, by itself.
pub(super) async fn pay(State(app): State<App>, Json(form): Json<Link>) -> Json<Value> {
    let amount = match app.amount(&form.amount).await {
        Ok(amount) => amount,
        Err(answer) => return Json(answer),
    };
    let link = match link_of(&form) {
        Ok(link) => link,
        Err(wrong) => return Json(wrong),
    };
    let request = Request::PayLink(PayLinkRequest {
        link,
        amount,
        memo: None,
        again: false,
        wait: PAY_WAIT,
    });
    Json(app.carry_out(request).await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    /// What is wanted, or the price of a unit of a tab.
    #[serde(default)]
    amount: String,
    /// Units of a tab, if one is wanted.
    units: Option<String>,
    #[serde(default)]
    memo: String,
    life: u64,
    once: bool,
}

/// The units of the tab that is asked for, if one is.
fn units_of(form: &Ask) -> Result<Option<u32>, Value> {
    let Some(text) = &form.units else {
        return Ok(None);
    };
    if form.amount.trim().is_empty() {
        return Err(wrong("amount", "a tab needs the price of a unit"));
    }
    field_by("units", text, units).map(Some)
}

/// Makes a request.
pub(super) async fn ask(State(app): State<App>, Json(form): Json<Ask>) -> Json<Value> {
    let amount = match app.amount(&form.amount).await {
        Ok(amount) => amount,
        Err(answer) => return Json(answer),
    };
    let units = match units_of(&form) {
        Ok(units) => units,
        Err(answer) => return Json(answer),
    };
    let memo = match Memo::new(form.memo) {
        Ok(memo) => memo,
        Err(error) => return Json(wrong("memo", &error.to_string())),
    };
    let life = Duration::from_secs(form.life);
    if life.is_zero() || life > REQUEST_LIFE_MAX {
        let days = REQUEST_LIFE_MAX.as_secs() / DAY_S;
        return Json(wrong(
            "life",
            &format!("a request lasts from 1 s to {days} days"),
        ));
    }
    let request = Request::Ask(AskRequest {
        amount,
        units,
        memo,
        life,
        once: form.once,
        wait: false,
    });
    Json(app.carry_out(request).await)
}

/// Cancels a request of this home, and tells what that does not undo.
pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Json<Value> {
    match id.parse() {
        Ok(request) => Json(app.carry_out(Request::Cancel { request }).await),
        Err(_) => Json(wrong("request", "that is no request")),
    }
}

/// The QR code of a request of this home.
pub(super) async fn qr(State(app): State<App>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<RequestId>() else {
        return nothing().await;
    };
    let Ok(Some(item)) = app.node.request_item(id).await else {
        return nothing().await;
    };
    match Squares::for_screen(&item.link.to_string()) {
        Ok(squares) => ([(CONTENT_TYPE, "image/svg+xml")], squares.svg()).into_response(),
        Err(_) => nothing().await,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    entry: u64,
}

/// Pays back what an entry brought, once.
pub(super) async fn refund(State(app): State<App>, Json(form): Json<Entry>) -> Json<Value> {
    let request = Request::Refund(RefundRequest {
        entry: form.entry,
        memo: Memo::default(),
        wait: PAY_WAIT,
    });
    Json(app.carry_out(request).await)
}

impl App {
    /// Reads an amount that may be left out, in what the directory counts.
    async fn amount(&self, text: &str) -> Result<Option<AmountText>, Value> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let amount: AmountText = field("amount", text)?;
        let currency = currency(&self.node)
            .await
            .map_err(|error| failed(&error.into()))?;
        amount
            .in_currency(&currency)
            .map_err(|error| wrong("amount", &error.to_string()))?;
        Ok(Some(amount))
    }
}

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;
