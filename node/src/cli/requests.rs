//! Requests carried out on a node: asking to be paid, paying what is asked for, paying back.

use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::refusal::Reason;
use quid_node::{
    Answered, CancelledRequest, Event, Events, Node, PayError, Refund, Request, RequestId,
    RequestItem, RequestLink, RequestOpening, RequestPayment, RequestStage, RequestTerms, Wanted,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::away;
use super::exit::Exit;
use super::failure::{Failure, Report, report};
use super::item::{self, Paid, Prospect, RequestLine, Requested, TabOpened};
use super::listen::{ended, event_item};
use super::request::{AskRequest, PayLinkRequest, RefundRequest};
use super::run::{currency, not_paid, told, unsent};
use super::screen::Sink;
use super::tab;
use super::words::Advice;

/// What is wanted, in what the directory counts.
///
/// # Errors
/// If an amount is none of `currency`, or the whole of a tab cannot be counted.
pub(crate) fn wanted(request: &AskRequest, currency: &Currency) -> Result<Wanted, Failure> {
    let amount = request.amount.as_ref();
    let amount = amount.map(|amount| amount.in_currency(currency));
    let wanted = match (amount.transpose()?, request.units) {
        (None, _) => Wanted::Open,
        (Some(amount), None) => Wanted::Amount(amount),
        (Some(unit), Some(units)) => Wanted::Tab { unit, units },
    };
    if wanted.is_sound() {
        Ok(wanted)
    } else {
        Err(Failure::usage(
            "the whole tab is more than can be counted: ask for a shorter one",
        ))
    }
}

/// Makes a request and tells its link; if that is wanted, waits until it is paid.
pub(crate) async fn ask(
    node: &Node,
    listening: bool,
    request: AskRequest,
    sink: &Sink,
) -> Result<(), Failure> {
    let currency = currency(node).await?;
    let wanted = wanted(&request, &currency)?;
    if request.wait && !listening {
        return Err(Failure::usage(
            "--wait: this process does not listen, so nobody can pay it: listen first",
        ));
    }
    // Before the request is there, so that no payment of it is missed.
    let events = request.wait.then(|| node.events());
    let terms = RequestTerms {
        wanted,
        memo: request.memo,
        life: request.life,
        once: request.once,
    };
    let end = Instant::now() + request.life + END_SLACK;
    let link = node.request(terms).await?;
    let open = RequestItem {
        link: link.clone(),
        stage: RequestStage::Open,
        entries: Vec::new(),
        cancelled: false,
    };
    sink.item(requested(&open, &currency)).await?;
    match events {
        Some(events) => wait(node, events, (&link, end), &currency, sink).await,
        None => Ok(()),
    }
}

/// Waits until the request of `link` is paid, and tells the event as `listen` does.
async fn wait(
    node: &Node,
    mut events: Events,
    (link, end): (&RequestLink, Instant),
    currency: &Currency,
    sink: &Sink,
) -> Result<(), Failure> {
    let request = link.request();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = sink.gone() => return Err(Failure::Gone),
            () = cancelled(node, request.id) => {
                let message = "refused: the request was cancelled";
                return Err(Report::new(Exit::Refused, "cancelled", message).into());
            }
            () = sleep_until(end) => {
                let message = "refused: the request has expired, and nobody has paid it";
                return Err(Report::new(Exit::Refused, "expired", message).into());
            }
        };
        let paid = match &event {
            None => return Err(ended(node).await),
            Some(Event::Received {
                answers: true,
                reference,
                ..
            }) => *reference == Some(request.reference()),
            Some(Event::Tab(_)) if matches!(request.wanted, Wanted::Tab { .. }) => {
                let item = node.request_item(request.id).await?;
                item.is_some_and(|item| item.stage == RequestStage::Paid)
            }
            Some(_) => false,
        };
        if let (true, Some(event)) = (paid, event) {
            sink.item(event_item(event, currency)).await?;
            return Ok(());
        }
    }
}

/// Ends when a request is cancelled that nobody has paid.
async fn cancelled(node: &Node, id: RequestId) {
    loop {
        // Any process on this home may cancel it: only the journal is shared.
        sleep(CANCELLED_PAUSE).await;
        match node.request_item(id).await {
            Ok(Some(item)) if item.stage == RequestStage::Cancelled => return,
            Ok(_) => {}
            // Whatever it is, the events end with it too.
            Err(error) => tracing::debug!(%error, "cannot look after a request"),
        }
    }
}

/// Lists the requests of this home, newest first.
pub(crate) async fn list(
    node: &Node,
    listening: bool,
    limit: u32,
    sink: &Sink,
) -> Result<(), Failure> {
    // Without a session nobody tells the journal of what is paid.
    let requests = async {
        node.login().await?;
        node.requests(limit).await
    };
    let requests = match requests.await {
        Ok(requests) => requests,
        Err(error) => {
            let request = super::request::Request::Requests { limit };
            return Err(away::told(node, listening, &request, error, sink).await);
        }
    };
    if requests.is_empty() {
        return Ok(());
    }
    lines(&requests, &currency(node).await?, sink).await
}

/// A line for each of these requests.
pub(crate) async fn lines(
    requests: &[RequestItem],
    currency: &Currency,
    sink: &Sink,
) -> Result<(), Failure> {
    for request in requests {
        let request = requested(request, currency);
        let line = RequestLine {
            request,
            ..RequestLine::default()
        };
        sink.item(line).await?;
    }
    Ok(())
}

/// Cancels a request of this home, and tells what that does not undo.
pub(crate) async fn cancel(node: &Node, id: RequestId, sink: &Sink) -> Result<(), Failure> {
    let currency = currency(node).await?;
    let Some(cancelled) = node.cancel_request(id).await? else {
        let message =
            format!("refused: {id} is no request of this home; `quid requests` lists them");
        return Err(Report::new(Exit::Refused, Reason::NOT_FOUND.name(), message).into());
    };
    let CancelledRequest {
        item,
        coming,
        asked,
    } = cancelled;
    let coming: Vec<String> = coming.iter().map(ToString::to_string).collect();
    let mut line = RequestLine {
        request: requested(&item, &currency),
        ..RequestLine::default()
    };
    let mut report = if let Some(entry) = item.entries.first() {
        let entries: Vec<String> = item.entries.iter().map(u64::to_string).collect();
        let what = format!(
            "cancelled, but it was paid before (entry {}), and that stands",
            entries.join(", ")
        );
        Report::new(Exit::Refused, "paid", Advice::PayBack(*entry).after(what))
    } else if let Some(order) = coming.first() {
        let what = format!(
            "unknown: cancelled, but a payment was on its way before (order {order}), and may have \
             settled"
        );
        Report::new(Exit::Unknown, "unknown", Advice::CancelAgain.after(what))
    } else if !asked {
        let what = "unknown: cancelled, but the directory cannot be asked whether anybody paid it \
                    before";
        Report::new(Exit::Unknown, "unknown", Advice::CancelAgain.after(what))
    } else {
        line.coming = Some(coming);
        sink.item(line).await?;
        return Ok(());
    };
    line.coming = Some(coming);
    line.error = Some(report.error.clone());
    line.message = Some(report.message.clone());
    report.item = Some(line.into());
    Err(report.into())
}

/// Tells what a person has to know before a request is paid.
pub(crate) async fn prospect(node: &Node, link: &RequestLink, sink: &Sink) -> Result<(), Failure> {
    let currency = currency(node).await?;
    let prospect = node.prospect(link).await.map_err(unsent)?;
    let request = link.request();
    let mut item = Prospect {
        request: request.id.to_string(),
        payee: request.name.to_string(),
        key: prospect.key.to_string(),
        known: prospect.known,
        online: prospect.online,
        memo: request.memo.as_str().to_owned(),
        expires: item::rfc3339(request.expires()),
        once: request.once,
        earlier: prospect.earlier.map(|order| order.to_string()),
        ..Prospect::default()
    };
    (item.amount, item.unit, item.units) = parts(request, &currency);
    item.currency = currency.code().to_owned();
    sink.item(item).await?;
    Ok(())
}

/// Pays what a request asks for, or opens the tab.
pub(crate) async fn pay(node: &Node, request: PayLinkRequest, sink: &Sink) -> Result<(), Failure> {
    let currency = match currency(node).await {
        Ok(currency) => currency,
        Err(error) => return Err(not_paid(Paid::for_link(&request, None), report(error)).into()),
    };
    if let Wanted::Tab { .. } = request.link.request().wanted {
        return open(node, request, &currency, sink).await;
    }
    let amount = amount(&request, &currency)?;
    let mut item = Paid::for_link(&request, Some(&currency));
    let wait_s = request.wait.as_secs();
    let payment = async {
        let again = before(node, &request).await?;
        let payment = RequestPayment {
            amount,
            memo: request.memo,
            again,
            wait: request.wait,
            ..RequestPayment::new(request.link)
        };
        node.pay_request(payment).await
    };
    match payment.await {
        Ok(Answered { outcome, earlier }) => {
            item.earlier = Some(earlier);
            (item.amount, _) = item::money(&currency, outcome.amount);
            told(node, outcome, item, wait_s, sink).await
        }
        Err(error) => Err(not_paid(item, unsent(error)).into()),
    }
}

async fn open(
    node: &Node,
    request: PayLinkRequest,
    currency: &Currency,
    sink: &Sink,
) -> Result<(), Failure> {
    if request.amount.is_some() {
        return Err(Failure::usage(
            "the request asks for a tab: pay it without an amount",
        ));
    }
    let mut item = TabOpened::for_link(&request.link, Some(currency));
    let wait_s = request.wait.as_secs();
    let opening = async {
        let again = before(node, &request).await?;
        let opening = RequestOpening {
            again,
            wait: request.wait,
            ..RequestOpening::new(request.link)
        };
        node.open_request(opening).await
    };
    let answered = match opening.await {
        Ok(answered) => answered,
        Err(error) => return Err(tab::opening_refused(item, unsent(error)).into()),
    };
    item.earlier = Some(answered.earlier);
    tab::told(node, answered.outcome, item, (currency, wait_s), sink).await
}

/// The order or tab that answered the same link before, if it is to be answered again.
async fn before(
    node: &Node,
    request: &PayLinkRequest,
) -> Result<Option<quid_common::id::OrderId>, PayError> {
    if request.again {
        Ok(node.prospect(&request.link).await?.earlier)
    } else {
        Ok(None)
    }
}

/// Pays back what an entry brought.
pub(crate) async fn refund(
    node: &Node,
    request: RefundRequest,
    sink: &Sink,
) -> Result<(), Failure> {
    let currency = currency(node).await?;
    let wait_s = request.wait.as_secs();
    let refund = Refund {
        memo: request.memo,
        wait: request.wait,
        ..Refund::new(request.entry)
    };
    let mut item = Paid {
        refunds: Some(request.entry),
        currency: Some(currency.code().to_owned()),
        ..Paid::default()
    };
    match node.refund(refund).await {
        Ok(Answered { outcome, earlier }) => {
            item.earlier = Some(earlier);
            item.payee = outcome.payee.to_string();
            (item.amount, _) = item::money(&currency, outcome.amount);
            told(node, outcome, item, wait_s, sink).await
        }
        Err(error) => Err(not_paid(item, unsent(error)).into()),
    }
}

/// What is said when the payee declines a request's payment.
pub(crate) fn declined(item: &Paid, reason: Reason) -> Option<String> {
    (item.request.is_some() && reason == Reason::PAYEE_DECLINED).then(|| {
        format!(
            "refused: {reason} to be paid for this request: it may have been paid already, have \
             expired, or been cancelled; ask {} for another",
            item.payee
        )
    })
}

/// How much, as the payer says, in what the directory counts.
///
/// # Errors
/// If that is no amount of `currency`.
pub(crate) fn amount(
    request: &PayLinkRequest,
    currency: &Currency,
) -> Result<Option<Amount>, Failure> {
    let amount = request.amount.as_ref();
    let amount = amount.map(|amount| amount.in_currency(currency));
    Ok(amount.transpose()?)
}

impl Paid {
    /// What is known of a request's payment before anything has happened.
    pub(crate) fn for_link(request: &PayLinkRequest, currency: Option<&Currency>) -> Self {
        let asked = request.link.request();
        let due = match (asked.wanted, currency) {
            (Wanted::Amount(due), Some(currency)) => Some(currency.format(due)),
            _ => request.amount.as_ref().map(ToString::to_string),
        };
        Self {
            amount: due.unwrap_or_default(),
            currency: currency.map(|currency| currency.code().to_owned()),
            payee: asked.name.to_string(),
            request: Some(asked.id.to_string()),
            ..Self::default()
        }
    }
}

impl TabOpened {
    /// What is known of a request's tab before anything has happened.
    pub(crate) fn for_link(link: &RequestLink, currency: Option<&Currency>) -> Self {
        let asked = link.request();
        let mut item = Self {
            payee: asked.name.to_string(),
            currency: currency.map(|currency| currency.code().to_owned()),
            request: Some(asked.id.to_string()),
            ..Self::default()
        };
        if let (Wanted::Tab { unit, units }, Some(currency)) = (asked.wanted, currency) {
            item.unit = currency.format(unit);
            item.units = units;
            let hold = quid_common::tab::units(unit, units);
            item.hold = hold.map(|hold| currency.format(hold));
        }
        item
    }
}

/// How a request of this home stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestedState {
    /// Nobody has paid it yet.
    #[default]
    Open,
    /// It was paid.
    Paid,
    /// It was cancelled, and nobody had paid it.
    Cancelled,
    /// Its time is over, and nobody paid it.
    Expired,
    /// The directory cannot be asked whether somebody paid it.
    Unknown,
}

/// A request of this home, and how it stands.
pub(crate) fn requested(request: &RequestItem, currency: &Currency) -> Requested {
    let asked: &Request = request.link.request();
    let (amount, unit, units) = parts(asked, currency);
    Requested {
        request: asked.id.to_string(),
        state: match request.stage {
            RequestStage::Open => RequestedState::Open,
            RequestStage::Paid => RequestedState::Paid,
            RequestStage::Cancelled => RequestedState::Cancelled,
            RequestStage::Expired => RequestedState::Expired,
            RequestStage::Unknown => RequestedState::Unknown,
        },
        kind: kind(asked.wanted).to_owned(),
        amount,
        unit,
        units,
        currency: currency.code().to_owned(),
        memo: asked.memo.as_str().to_owned(),
        expires: item::rfc3339(asked.expires()),
        once: asked.once,
        cancelled: request.cancelled,
        entries: request.entries.clone(),
        link: request.link.to_string(),
        file: None,
    }
}

const fn kind(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Amount(_) => "amount",
        Wanted::Open => "open",
        Wanted::Tab { .. } => "tab",
    }
}

/// Amount, unit and units of what is wanted. The amount of a tab is what all of it is worth.
fn parts(asked: &Request, currency: &Currency) -> (Option<String>, Option<String>, Option<u32>) {
    match asked.wanted {
        Wanted::Amount(amount) => (Some(currency.format(amount)), None, None),
        Wanted::Open => (None, None, None),
        Wanted::Tab { unit, units } => {
            let whole = quid_common::tab::units(unit, units);
            let whole = whole.map(|whole| currency.format(whole));
            (whole, Some(currency.format(unit)), Some(units))
        }
    }
}

/// How often it is looked whether a request that is waited for was cancelled.
const CANCELLED_PAUSE: Duration = Duration::from_millis(500);

/// How long after a request's end a payment of its last moment may take to be told.
const END_SLACK: Duration = Duration::from_secs(5);
