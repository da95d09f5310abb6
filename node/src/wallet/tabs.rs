//! Opening and closing tabs. Nothing here pays on one: programs do.

use axum::extract::State;
use axum::response::Json;
use quid_common::id::OrderId;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::tab::GRACE_DEFAULT;
use quid_node::Intent;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{done, failed, wrong};
use super::api::{App, PAY_WAIT, field, field_by};
use crate::cli::failure::Failure;
use crate::cli::request::{OpenTabRequest, Request};
use crate::cli::run::currency;
use crate::cli::tab::value;
use crate::cli::value::{AmountText, expires, units};

/// Price of a unit and number of units, as they are typed.
#[derive(Debug, Deserialize)]
pub(super) struct Size {
    unit: String,
    units: String,
}

/// The fields of [`Size`], each sound by itself.
struct Read {
    unit: AmountText,
    units: u32,
}

impl Size {
    /// Reads both fields, and what the whole is worth in what the directory counts.
    async fn read(&self, app: &App) -> Result<(Read, Value), Value> {
        let unit: AmountText = field("unit", &self.unit)?;
        let units = field_by("units", &self.units, units)?;
        let currency = currency(&app.node)
            .await
            .map_err(|error| failed(&error.into()))?;
        unit.in_currency(&currency)
            .map_err(|error| wrong("unit", &error.to_string()))?;
        let (_, hold) = value(&unit, units, &currency).map_err(|failure| match &failure {
            Failure::Told(report) => wrong("units", report.for_page()),
            Failure::Gone => failed(&failure),
        })?;
        let hold = json!({ "hold": currency.format(hold), "currency": currency.code() });
        Ok((Read { unit, units }, hold))
    }
}

/// What would be held for a tab, before anything is opened.
pub(super) async fn hold(State(app): State<App>, Json(size): Json<Size>) -> Json<Value> {
    Json(match size.read(&app).await {
        Ok((_, hold)) => done(hold),
        Err(wrong) => wrong,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Opening {
    intent: String,
    payee: String,
    #[serde(flatten)]
    size: Size,
    life: String,
    #[serde(default)]
    memo: String,
}

/// Opens a tab, one for each intent.
pub(super) async fn open(State(app): State<App>, Json(form): Json<Opening>) -> Json<Value> {
    let read = async {
        let payee = field::<Name>("payee", &form.payee)?;
        let (size, _) = form.size.read(&app).await?;
        Ok::<_, Value>(OpenTabRequest {
            payee,
            unit: size.unit,
            units: size.units,
            expires: field_by("life", &form.life, expires)?,
            grace: GRACE_DEFAULT,
            memo: Memo::new(form.memo.clone())
                .map_err(|error| wrong("memo", &error.to_string()))?,
            reference: None,
            wait: PAY_WAIT,
            intent: Some(field::<Intent>("intent", &form.intent)?),
        })
    };
    match read.await {
        Ok(request) => Json(app.carry_out(Request::OpenTab(request)).await),
        Err(wrong) => Json(wrong),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Tab {
    tab: String,
}

/// Closes a tab. Asked again it says that the tab is closed.
pub(super) async fn close(State(app): State<App>, Json(form): Json<Tab>) -> Json<Value> {
    match field::<OrderId>("tab", &form.tab) {
        Ok(tab) => Json(app.carry_out(Request::CloseTab { tab }).await),
        Err(wrong) => Json(wrong),
    }
}
