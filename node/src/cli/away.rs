//! What a home knows by itself, told when the directory does not answer.
//!
//! The command fails all the same, as unreachable: nobody is told how things stand now, and a script
//! can tell this from a full answer by its exit code.

use quid_node::{Known, Node, RequestError};

use super::exit::Exit;
use super::failure::{Failure, Report};
use super::item;
use super::request::Request;
use super::requests::lines;
use super::run::history_line;
use super::screen::Sink;
use super::words::Advice;

/// What is said of a request that `error` has left without an answer: with what the home of `node`,
/// which receives payments if `listening`, knows of it by itself, if that is something.
pub(crate) async fn told(
    node: &Node,
    listening: bool,
    request: &Request,
    error: RequestError,
    sink: &Sink,
) -> Failure {
    if !matches!(error, RequestError::Unreachable(_)) {
        return error.into();
    }
    match answer(node, listening, request, &error, sink).await {
        Ok(Some(report)) => report.into(),
        Ok(None) => error.into(),
        Err(failure) => failure,
    }
}

async fn answer(
    node: &Node,
    listening: bool,
    request: &Request,
    error: &RequestError,
    sink: &Sink,
) -> Result<Option<Report>, Failure> {
    let Some(known) = node.known().await? else {
        return Ok(None);
    };
    let heard = match request {
        Request::Status => known.had.map(|had| had.time).or(known.heard),
        _ => known.heard,
    };
    let words = Advice::OfItself(heard).after(error.to_string());
    let mut report = Report::new(Exit::Unreachable, "unreachable", words);
    let as_of = heard.map(item::rfc3339);
    let last = item::Away {
        as_of: as_of.clone(),
        error: report.error.clone(),
        message: report.message.clone(),
    };
    report.item = Some(match request {
        Request::Status => {
            let mut status = status(node, listening, known);
            status.as_of = as_of;
            status.error = Some(last.error);
            status.message = Some(last.message);
            status.into()
        }
        Request::History { limit, after } => {
            for line in node.known_history(*limit, *after).await? {
                sink.item(history_line(line, &known.currency)).await?;
            }
            last.into()
        }
        Request::Requests { limit } => {
            let requests = node.known_requests(*limit).await?;
            lines(&requests, &known.currency, sink).await?;
            last.into()
        }
        _ => return Ok(None),
    });
    Ok(Some(report))
}

fn status(node: &Node, listening: bool, known: Known) -> item::Status {
    let currency = &known.currency;
    let home = node.home();
    item::Status {
        name: known.name.to_string(),
        currency: currency.code().to_owned(),
        tabs: known.tabs,
        pending: known.pending,
        listening,
        key: home.key().to_string(),
        directory: home.directory().to_string(),
        ledger: known.ledger.to_string(),
        last_balance: known.had.map(|had| currency.format(had.balance)),
        last_held: known.had.map(|had| currency.format(had.held)),
        fork: known.fork.map(|file| file.display().to_string()),
        doubt: node.doubt(),
        ..item::Status::default()
    }
}
