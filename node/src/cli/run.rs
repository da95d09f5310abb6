//! Requests carried out on a node; results go into a sink, whoever is at its other end.

use quid_common::amount::{Amount, Currency};
use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use quid_node::{
    HistoryItem, HistoryState, Kind, Node, Outcome, PayError, Payment, Presence, ReceiptId,
    RequestError, RequestId, Resolved, SentItem, SentState, State as End, VoidOutcome, Wanted,
};

use super::away;
use super::exit::Exit;
use super::failure::{Failure, Report, report};
use super::item::{self, Direction, Line, Paid, Person, Registered, Route, State, TabOpened};
use super::likeness::with_meant;
use super::receipt::{Ground, receipt_item};
use super::request::{PayLinkRequest, PayRequest, Request};
use super::requests;
use super::screen::Sink;
use super::tab;
use super::value::ReceiptName;
use super::words::{Advice, Words, refused};

/// Carries out `request` on `node`, which receives payments if `listening`.
///
/// # Cancel safety
/// As the node's own functions: a payment goes on while the node lives, and its journal remembers
/// it. Everything else only asks.
pub(crate) async fn run(
    node: &Node,
    listening: bool,
    request: Request,
    sink: &Sink,
) -> Result<(), Failure> {
    match request {
        Request::Register {
            name,
            invite,
            recovery,
        } => {
            let registered = node
                .register_with(&name, recovery, invite.as_deref())
                .await?;
            sink.item(Registered {
                name: registered.name.to_string(),
                key: registered.key.to_string(),
                entry: registered.entry,
            })
            .await?;
        }
        Request::Status => status(node, listening, sink).await?,
        Request::Who { watch: false } => {
            for person in node.who().await? {
                sink.item(Person {
                    name: person.name.to_string(),
                    key: person.key.to_string(),
                    address: person.address,
                })
                .await?;
            }
        }
        Request::Who { watch: true } => watch(node, sink).await?,
        Request::Pay(request) => pay(node, request, sink).await?,
        Request::Ask(request) => requests::ask(node, listening, request, sink).await?,
        Request::Requests { limit } => requests::list(node, listening, limit, sink).await?,
        Request::Cancel { request } => requests::cancel(node, request, sink).await?,
        Request::Prospect { link } => requests::prospect(node, &link, sink).await?,
        Request::PayLink(request) => requests::pay(node, request, sink).await?,
        Request::Refund(request) => requests::refund(node, request, sink).await?,
        Request::Void { order } => {
            not_a_request(node, order).await?;
            let item = voided(order, node.void(order).await?)?;
            sink.item(item).await?;
        }
        Request::History { limit, after } => {
            let lines = match node.history(limit, after).await {
                Ok(lines) => lines,
                Err(error) => {
                    let request = Request::History { limit, after };
                    return Err(away::told(node, listening, &request, error, sink).await);
                }
            };
            let currency = currency(node).await?;
            for line in lines {
                sink.item(history_line(line, &currency)).await?;
            }
        }
        Request::Receipt { which } => {
            let which = match which {
                ReceiptName::Entry(entry) => ReceiptId::Entry(entry),
                ReceiptName::Order(order) => ReceiptId::Order(order),
            };
            let (receipt, proven) = node.receipt(which).await?;
            let ground = Ground::of_home(node.home());
            sink.item(receipt_item(&ground, &receipt, &proven)).await?;
        }
        Request::OpenTab(request) => tab::open(node, request, sink).await?,
        Request::Tabs => tab::list(node, sink).await?,
        Request::PayTab(request) => tab::pay(node, &request, sink).await?,
        Request::CloseTab { tab } => tab::close(node, tab, sink).await?,
    }
    Ok(())
}

/// What became of an order that the journal held open, in words.
pub(crate) fn resolved(outcome: &Resolved, currency: &Currency) -> String {
    let Outcome { order, payee, .. } = outcome;
    let amount = currency.display(outcome.amount);
    match &outcome.state {
        End::Settled { entry, .. } => {
            format!("an earlier payment of {amount} to {payee} has settled (entry {entry})")
        }
        End::Refused {
            reason: Reason::VOIDED,
            ..
        } => format!("an earlier payment of {amount} to {payee} is void and can never settle"),
        End::Refused { reason, .. } => {
            format!("an earlier payment of {amount} to {payee} was refused: {reason}")
        }
        End::Unknown => format!(
            "an earlier payment of {amount} to {payee} is still unknown: order {order} \
             is being asked about"
        ),
    }
}

/// What is said when a request that moves money is given up before its end is known: `why`, and
/// what to do. None for one that can simply be repeated.
pub(crate) fn given_up(
    request: &Request,
    currency: Option<&Currency>,
    why: &str,
) -> Option<Report> {
    match request {
        Request::Pay(pay) => Some(pay_given_up(pay, currency, why)),
        Request::OpenTab(open) => Some(tab::open_given_up(open, currency, why)),
        Request::PayTab(pay) => Some(tab::pay_given_up(pay, why)),
        Request::PayLink(pay) => Some(link_given_up(pay, currency, why)),
        Request::Refund(refund) => {
            let item = Paid {
                refunds: Some(refund.entry),
                ..Paid::default()
            };
            Some(not_known(item, format!("unknown: {why}; {SAME_AGAIN}")))
        }
        _ => None,
    }
}

fn link_given_up(request: &PayLinkRequest, currency: Option<&Currency>, why: &str) -> Report {
    let message = format!("unknown: {why}; {SAME_AGAIN}");
    match request.link.request().wanted {
        Wanted::Tab { .. } => {
            tab::opening_unknown(TabOpened::for_link(&request.link, currency), message)
        }
        Wanted::Amount(_) | Wanted::Open => not_known(Paid::for_link(request, currency), message),
    }
}

/// What to do about what is done once for each link and entry.
const SAME_AGAIN: &str = "run the same command again: it tells how it stands, and pays once";

fn pay_given_up(request: &PayRequest, currency: Option<&Currency>, why: &str) -> Report {
    let message = format!(
        "unknown: {why}; `quid history` asks and shows whether the payment was made: do not pay \
         again before that"
    );
    not_known(Paid::asked(request, currency), message)
}

async fn status(node: &Node, listening: bool, sink: &Sink) -> Result<(), Failure> {
    let status = match node.status().await {
        Ok(status) => status,
        Err(error) => {
            return Err(away::told(node, listening, &Request::Status, error, sink).await);
        }
    };
    let (balance, currency) = item::money(&status.currency, status.balance);
    // Worth knowing in time, and no reason to show nothing else.
    let keys = node.keys(&status.name).await.ok();
    let frozen = keys.as_ref().map(|keys| keys.frozen);
    let locked = keys.as_ref().map(|keys| keys.locked);
    let pending = keys.and_then(|keys| keys.pending);
    sink.item(item::Status {
        name: status.name.to_string(),
        balance: Some(balance),
        held: Some(status.currency.format(status.held)),
        tabs: status.tabs,
        currency,
        pending: status.pending,
        listening,
        key: node.home().key().to_string(),
        directory: node.home().directory().to_string(),
        ledger: status.ledger.to_string(),
        frozen,
        locked,
        recovery_due: pending.map(|pending| item::rfc3339(pending.due)),
        fork: status.fork.map(|file| file.display().to_string()),
        doubt: status.doubt,
        ..item::Status::default()
    })
    .await?;
    Ok(())
}

async fn watch(node: &Node, sink: &Sink) -> Result<(), Failure> {
    let mut events = node.watch().await?;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = sink.gone() => return Err(Failure::Gone),
        };
        let item = match event {
            None => {
                return Err(Failure::other(
                    "lost",
                    "the session with the directory ended: run it again",
                ));
            }
            Some(Presence::Online(person)) => item::Presence {
                name: person.name.to_string(),
                key: person.key.to_string(),
                address: Some(person.address),
                online: true,
            },
            Some(Presence::Offline { name, key }) => item::Presence {
                name: name.to_string(),
                key: key.to_string(),
                address: None,
                online: false,
            },
        };
        sink.item(item).await?;
    }
}

async fn pay(node: &Node, request: PayRequest, sink: &Sink) -> Result<(), Failure> {
    let currency = match currency(node).await {
        Ok(currency) => currency,
        Err(error) => return Err(not_paid(Paid::asked(&request, None), report(error)).into()),
    };
    let amount = request.amount.in_currency(&currency)?;
    let item = Paid::asked(&request, Some(&currency));
    let wait_s = request.wait.as_secs();
    let payee = request.payee.clone();
    let payment = Payment {
        payee: request.payee,
        amount,
        memo: request.memo,
        reference: request.reference,
        wait: request.wait,
    };
    let paid = match request.intent {
        Some(intent) => node.pay_once(intent, payment).await.map(|it| it.outcome),
        None => node.pay(payment).await,
    };
    let outcome = match paid {
        Ok(outcome) => outcome,
        Err(error) => {
            let report = with_meant(unsent(error), node, &payee).await;
            return Err(not_paid(item, report).into());
        }
    };
    told(node, outcome, item, wait_s, sink).await
}

/// Tells what became of a payment, which was waited for so many seconds.
pub(crate) async fn told(
    node: &Node,
    outcome: Outcome,
    mut item: Paid,
    wait_s: u64,
    sink: &Sink,
) -> Result<(), Failure> {
    item.order = Some(outcome.order.to_string());
    item.route = Some(match outcome.route {
        quid_node::Route::Direct => Route::Direct,
        quid_node::Route::Directory => Route::Directory,
    });
    match outcome.state {
        End::Settled { entry, .. } => {
            item.state = State::Settled;
            item.entry = Some(entry);
            sink.item(item).await?;
            Ok(())
        }
        End::Refused { reason, entry } => {
            item.entry = entry;
            let mut report = with_meant(no(reason), node, &outcome.payee).await;
            if let Some(message) = requests::declined(&item, reason) {
                report.say(message);
            }
            Err(not_paid(item, report).into())
        }
        End::Unknown => {
            let order = outcome.order;
            let why = node.doubt().map(|doubt| format!(" ({doubt})"));
            let what = format!(
                "unknown: not confirmed within {wait_s} s{}",
                why.unwrap_or_default()
            );
            Err(not_known(item, Advice::AskOrVoid(order).after(what)).into())
        }
    }
}

/// What is said about a payment or tab of which nothing was sent.
pub(crate) fn unsent(error: PayError) -> Report {
    match error {
        PayError::Local(reason) => no(reason),
        PayError::KeyChanged { .. } => Report::new(
            Exit::Refused,
            "key_changed",
            Advice::AcceptKey.after(format!("refused: {error}")),
        ),
        PayError::IntentUsed { .. } => {
            Report::new(Exit::Refused, "intent_used", format!("refused: {error}"))
        }
        PayError::Forked { .. } => {
            Report::new(Exit::Refused, "forked", format!("refused: {error}"))
        }
        PayError::Unpayable(unpayable) => Report::new(
            Exit::Refused,
            unpayable.code(),
            format!("refused: {unpayable}"),
        ),
        PayError::Request(error) => report(error),
    }
}

/// What is said about a refusal.
pub(crate) fn no(reason: Reason) -> Report {
    Report::new(Exit::Refused, reason.name(), refused(reason))
}

/// `report`, told with the payment's own fields if it is a refusal.
pub(crate) fn not_paid(mut item: Paid, mut report: Report) -> Report {
    if report.exit == Exit::Refused {
        item.state = State::Refused;
        item.reason = Some(report.error.clone());
        item.error = Some(report.error.clone());
        item.message = Some(report.message.clone());
        report.item = Some(item.into());
    }
    report
}

/// A payment whose end is not known, told with `message`.
fn not_known(mut item: Paid, message: impl Into<Words>) -> Report {
    let mut report = Report::new(Exit::Unknown, "unknown", message);
    item.state = State::Unknown;
    item.error = Some(report.error.clone());
    item.message = Some(report.message.clone());
    report.item = Some(item.into());
    report
}

/// A request's id looks like an order's. To void it would be done, and stop nobody from paying.
async fn not_a_request(node: &Node, id: OrderId) -> Result<(), Failure> {
    let Some(request) = RequestId::from_bytes(*id.as_bytes()) else {
        return Ok(());
    };
    match node.request_item(request).await? {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!(
            "{id} is a request of yours, not an order: cancel it with `quid request --cancel {id}`"
        ))),
    }
}

fn voided(order: OrderId, outcome: VoidOutcome) -> Result<item::Void, Failure> {
    let mut item = item::Void {
        order: order.to_string(),
        ..item::Void::default()
    };
    let (exit, error, message) = match outcome {
        VoidOutcome::Voided { entry } => {
            item.state = State::Voided;
            item.entry = Some(entry);
            return Ok(item);
        }
        VoidOutcome::Settled(entry) => {
            item.state = State::Settled;
            item.entry = Some(entry);
            return Ok(item);
        }
        VoidOutcome::Refused { reason, entry } => {
            item.state = State::Refused;
            item.entry = entry;
            item.reason = Some(reason.name().to_owned());
            let message = format!("the order was refused already: {reason}; it can never settle");
            (Exit::Refused, reason.name(), message.into())
        }
        VoidOutcome::Unknown => {
            let what = "unknown: the directory did not answer in time";
            (
                Exit::Unknown,
                "unknown",
                Advice::VoidAgain(order).after(what),
            )
        }
    };
    let mut report = Report::new(exit, error, message);
    item.error = Some(report.error.clone());
    item.message = Some(report.message.clone());
    report.item = Some(item.into());
    Err(report.into())
}

/// A line of history.
pub(crate) fn history_line(line: HistoryItem, currency: &Currency) -> Line {
    let (amount, code) = item::money(currency, line.amount);
    let change = match (line.state, line.kind, line.incoming) {
        (HistoryState::Unknown, ..) | (_, Kind::Other(_), _) => None,
        // Out of what the hold had taken from the balance.
        (_, Kind::Claim, false) => Some(currency.format(Amount::ZERO)),
        (_, _, true) => Some(amount.clone()),
        (_, _, false) => Some(format!("-{amount}")),
    };
    Line {
        entry: line.entry,
        kind: match line.kind {
            Kind::Payment => "payment".to_owned(),
            Kind::Issue => "issue".to_owned(),
            Kind::Burn => "burn".to_owned(),
            Kind::Hold => "hold".to_owned(),
            Kind::Claim => "claim".to_owned(),
            Kind::Release => "release".to_owned(),
            Kind::Other(number) => format!("other_{number}"),
        },
        direction: if line.incoming {
            Direction::In
        } else {
            Direction::Out
        },
        amount,
        change,
        currency: code,
        counterparty: line.counterparty.to_string(),
        memo: line.memo.as_str().to_owned(),
        state: match line.state {
            HistoryState::Settled => State::Settled,
            HistoryState::Unknown => State::Unknown,
        },
        time: item::rfc3339(line.time),
        order: line.order.map(|order| order.to_string()),
        reference: line.reference.map(|reference| reference.to_string()),
        reason: None,
    }
}

/// A payment that this home has sent, as a line of history: also one that was refused, of which
/// there is none in the log.
pub(crate) fn sent_line(sent: SentItem, currency: &Currency) -> Line {
    let (amount, code) = item::money(currency, sent.amount);
    let (state, entry, reason) = match sent.state {
        SentState::Settled { entry } => (State::Settled, Some(entry), None),
        SentState::Refused {
            reason: Reason::VOIDED,
        } => (State::Voided, None, None),
        SentState::Refused { reason } => (State::Refused, None, Some(reason.name().to_owned())),
        SentState::Unknown => (State::Unknown, None, None),
    };
    let change = match state {
        State::Settled => Some(format!("-{amount}")),
        State::Refused | State::Voided => Some(currency.format(Amount::ZERO)),
        State::Unknown => None,
    };
    Line {
        entry,
        kind: "payment".to_owned(),
        direction: Direction::Out,
        amount,
        change,
        currency: code,
        counterparty: sent.payee.to_string(),
        memo: sent.memo.as_str().to_owned(),
        state,
        time: item::rfc3339(sent.order.expiry()),
        order: Some(sent.order.to_string()),
        reference: sent.reference.map(|reference| reference.to_string()),
        reason,
    }
}

impl Paid {
    /// What is known before anything has happened. Without a currency the amount stays as it was
    /// typed.
    pub(crate) fn asked(request: &PayRequest, currency: Option<&Currency>) -> Self {
        let money = currency.and_then(|currency| {
            let amount = request.amount.in_currency(currency).ok()?;
            Some(item::money(currency, amount))
        });
        let (amount, currency) = match money {
            Some((amount, code)) => (amount, Some(code)),
            None => (request.amount.to_string(), None),
        };
        Self {
            amount,
            currency,
            payee: request.payee.to_string(),
            ..Self::default()
        }
    }
}

/// What the directory counts in: known, or asked for.
pub(crate) async fn currency(node: &Node) -> Result<Currency, RequestError> {
    match node.home().currency() {
        Some(currency) => Ok(currency),
        None => Ok(node.login().await?.currency),
    }
}
