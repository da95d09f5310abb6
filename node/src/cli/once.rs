//! One request, by whoever can carry it out: the process that listens for the home if there is
//! one, else a node that lives as long as the command.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use quid_common::amount::Currency;
use quid_node::{Home, Node, Options, RequestError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::away;
use super::failure::{Failure, report};
use super::item::Paid;
use super::request::Request;
use super::requests;
use super::run::{given_up, not_paid, resolved, run};
use super::screen::Sink;
use super::tab;
use super::{keys, passphrase};
use crate::control::Listener;

/// Carries out `request` for the home at `path`.
///
/// # Errors
/// [`Failure`]; once `stop` is cancelled, what is not known is *unknown*, not refused.
pub(crate) async fn once(
    path: &Path,
    request: Request,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    // The process that listens has the key: nobody is asked for a passphrase for its sake.
    if Home::is_sealed(path)
        && !passphrase::is_known()
        && let Some(listener) = Listener::find_at(path).await?
    {
        let interrupted = interruption(&request, None);
        return tokio::select! {
            result = listener.ask(&request, sink) => result,
            () = stop.cancelled() => interrupted,
        };
    }
    let home = keys::opened(path).await?;
    check(&request, home.currency().as_ref())?;
    let progress = (!request.is_endless()).then(|| sink.progress(request.progress()));
    let interrupted = interruption(&request, home.currency().as_ref());
    let result = tokio::select! {
        listener = Listener::find(&home) => match listener? {
            Some(listener) => tokio::select! {
                result = listener.ask(&request, sink) => result,
                () = stop.cancelled() => interrupted,
            },
            None => alone(home, request, sink, stop, interrupted).await,
        },
        () = stop.cancelled() => Err(not_begun()),
    };
    drop(progress);
    result
}

/// Refuses what the currency shows to be wrong before anything is asked.
pub(crate) fn check(request: &Request, currency: Option<&Currency>) -> Result<(), Failure> {
    match (request, currency) {
        (Request::Pay(pay), Some(currency)) => {
            pay.amount.in_currency(currency)?;
        }
        (Request::OpenTab(open), Some(currency)) => {
            tab::value(&open.unit, open.units, currency)?;
        }
        (Request::Ask(ask), Some(currency)) => {
            requests::wanted(ask, currency)?;
        }
        (Request::PayLink(pay), Some(currency)) => {
            requests::amount(pay, currency)?;
        }
        _ => {}
    }
    Ok(())
}

async fn alone(
    home: Home,
    request: Request,
    sink: &Sink,
    stop: &CancellationToken,
    interrupted: Result<(), Failure>,
) -> Result<(), Failure> {
    let node = Node::start(home, Options::default()).await?;
    let begun = Cell::new(false);
    let work = async {
        if !request.starts_offline() {
            prepare(&node, &request, sink).await?;
        }
        begun.set(true);
        run(&node, false, request, sink).await
    };
    let result = tokio::select! {
        result = work => result,
        () = stop.cancelled() => if begun.get() { interrupted } else { Err(not_begun()) },
    };
    // What this command has met is held against what is known, and nobody waited for it.
    node.compare().await;
    // Says goodbye, so that the directory need not wait for us to time out.
    let _ = timeout(CLOSE_WAIT, node.close()).await;
    result
}

/// Logs in, and asks about what the journal holds open.
async fn prepare(node: &Node, request: &Request, sink: &Sink) -> Result<(), Failure> {
    let session = match node.login().await {
        Ok(session) => session,
        Err(error) => {
            let currency = node.home().currency();
            return Err(match request {
                Request::Status | Request::History { .. } | Request::Requests { .. } => {
                    away::told(node, false, request, error, sink).await
                }
                _ => not_started(request, currency.as_ref(), error),
            });
        }
    };
    // What is not known by then is asked about by the next command.
    if let Ok(outcomes) = timeout(RESOLVE_WAIT, node.resolve()).await {
        for outcome in outcomes {
            sink.note(resolved(&outcome, &session.currency)).await?;
        }
    }
    Ok(())
}

fn not_started(request: &Request, currency: Option<&Currency>, error: RequestError) -> Failure {
    match request {
        Request::Pay(pay) => not_paid(Paid::asked(pay, currency), report(error)).into(),
        Request::OpenTab(open) => tab::not_opened(open, currency, report(error)).into(),
        Request::PayLink(pay) => not_paid(Paid::for_link(pay, currency), report(error)).into(),
        _ => error.into(),
    }
}

/// How a request ends that was interrupted before anything was asked.
fn not_begun() -> Failure {
    Failure::other("interrupted", "interrupted; nothing was sent")
}

/// How a request ends that was interrupted.
pub(crate) fn interruption(request: &Request, currency: Option<&Currency>) -> Result<(), Failure> {
    if request.is_endless() {
        return Ok(());
    }
    let why = "interrupted before the outcome was known";
    Err(given_up(request, currency, why).map_or_else(
        || Failure::other("interrupted", "interrupted before the answer came"),
        Failure::from,
    ))
}

/// Longest wait for what the journal holds open, before the command itself begins.
const RESOLVE_WAIT: Duration = Duration::from_secs(4);

/// Longest wait for the goodbye, and before it for what was paid on tabs to be acknowledged.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
