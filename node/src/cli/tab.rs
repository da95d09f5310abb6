//! `quid tab`: tabs opened, listed, paid and closed on a node.

use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use quid_common::tab::units;
use quid_node::{
    Node, Opened, RequestError, Role, Tab, TabError, TabItem, TabOpening, TabOutcome, TabStage,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::exit::Exit;
use super::failure::{Failure, Report, report};
use super::item::{self, Item, TabClosed, TabLine, TabOpened, TabPaid, TabRole, TabState};
use super::likeness::with_meant;
use super::request::{OpenTabRequest, PayTabRequest};
use super::run::{currency, no, unsent};
use super::screen::Sink;
use super::value::AmountText;
use super::words::{Advice, Words};

/// What a unit and the whole of a tab are worth.
///
/// # Errors
/// If the unit is no amount of `currency`, or the whole cannot be counted.
pub(crate) fn value(
    unit: &AmountText,
    count: u32,
    currency: &Currency,
) -> Result<(Amount, Amount), Failure> {
    let unit = unit.in_currency(currency)?;
    let hold = units(unit, count).ok_or_else(|| {
        Failure::usage(format!(
            "{count} units of {} are more than can be counted: open a shorter tab",
            currency.display(unit)
        ))
    })?;
    Ok((unit, hold))
}

/// Opens a tab, and waits shortly for the payee to take it.
pub(crate) async fn open(node: &Node, request: OpenTabRequest, sink: &Sink) -> Result<(), Failure> {
    let currency = match currency(node).await {
        Ok(currency) => currency,
        Err(error) => return Err(not_opened(&request, None, report(error)).into()),
    };
    let (unit, _) = value(&request.unit, request.units, &currency)?;
    let mut item = TabOpened::asked(&request, Some(&currency));
    let wait_s = request.wait.as_secs();
    let payee = request.payee.clone();
    let wish = TabOpening {
        expires: request.expires,
        grace: request.grace,
        memo: request.memo,
        reference: request.reference,
        wait: request.wait,
        ..TabOpening::new(request.payee, unit, request.units)
    };
    let opened = match request.intent {
        Some(intent) => node.open_tab_once(intent, wish).await.map(|answered| {
            item.earlier = Some(answered.earlier);
            answered.outcome
        }),
        None => node.open_tab(wish).await,
    };
    let outcome = match opened {
        Ok(outcome) => outcome,
        Err(error) => {
            let report = with_meant(unsent(error), node, &payee).await;
            return Err(refused(item, report).into());
        }
    };
    told(node, outcome, item, (&currency, wait_s), sink).await
}

/// Tells what became of a wish to open a tab, which was waited for so many seconds.
pub(crate) async fn told(
    node: &Node,
    outcome: TabOutcome,
    mut item: TabOpened,
    (currency, wait_s): (&Currency, u64),
    sink: &Sink,
) -> Result<(), Failure> {
    item.tab = Some(outcome.tab.to_string());
    item.expires = Some(item::rfc3339(outcome.expires));
    match outcome.state {
        Opened::Open(tab) => opened(&tab, item, currency, sink).await,
        Opened::Refused(reason) => Err(refused(item, no(reason)).into()),
        Opened::Unknown => {
            let why = node.doubt().map(|doubt| format!(" ({doubt})"));
            let what = format!(
                "unknown: the directory did not say within {wait_s} s whether tab {} is open{}",
                outcome.tab,
                why.unwrap_or_default()
            );
            Err(unknown(item, Advice::AskForTab.after(what)).into())
        }
    }
}

/// The directory has opened the tab; the payee has its say.
async fn opened(
    tab: &Tab,
    mut item: TabOpened,
    currency: &Currency,
    sink: &Sink,
) -> Result<(), Failure> {
    item.state = TabState::Open;
    item.entry = Some(tab.entry());
    match timeout(ACCEPT_WAIT, tab.accepted()).await {
        Ok(Ok(())) => item.accepted = true,
        Ok(Err(TabError::Ended(reason))) => {
            let report = declined(tab, reason, currency).await;
            return Err(refused(item, report).into());
        }
        Ok(Err(TabError::Spent { .. } | TabError::Stopped)) | Err(_) => {
            sink.note(format!(
                "{} has not taken the tab yet: it can be paid on once they are online",
                tab.payee()
            ))
            .await?;
        }
    }
    sink.item(item).await?;
    Ok(())
}

/// Gives back the hold of a tab that the payee does not take; what is then said.
async fn declined(tab: &Tab, reason: Option<Reason>, currency: &Currency) -> Report {
    let reason = reason.unwrap_or(Reason::PAYEE_DECLINED);
    let (id, payee) = (tab.id(), tab.payee());
    let hold = currency.display(tab.terms().hold().unwrap_or(Amount::MAX));
    let what = format!("refused: {payee} does not take the tab: {reason}; the {hold} held for it");
    let words = match tab.close().await {
        Ok(closed) if closed.released => format!("{what} are back").into(),
        Ok(_) => format!("{what} come back in {} s", tab.terms().grace).into(),
        Err(error) => Advice::CloseTab(id).after(format!("{what} are held still ({error})")),
    };
    Report::new(Exit::Refused, reason.name(), words)
}

/// Lists the open tabs of the account, also without the directory.
pub(crate) async fn list(node: &Node, sink: &Sink) -> Result<(), Failure> {
    let tabs = node.tabs().await?;
    if tabs.is_empty() {
        return Ok(());
    }
    let currency = currency(node).await?;
    for tab in &tabs {
        sink.item(line(tab, &currency)).await?;
    }
    Ok(())
}

/// How a tab stands.
pub(crate) fn line(tab: &TabItem, currency: &Currency) -> TabLine {
    let (amount, code) = item::money(currency, units(tab.unit, tab.paid).unwrap_or(tab.hold));
    TabLine {
        tab: tab.tab.to_string(),
        role: match tab.role {
            Role::Payer => TabRole::Payer,
            Role::Payee => TabRole::Payee,
        },
        peer: tab.peer.as_ref().map(ToString::to_string),
        key: tab.key.to_string(),
        state: match tab.stage {
            TabStage::Opening => TabState::Opening,
            TabStage::Open => TabState::Open,
            TabStage::Ending => TabState::Ending,
            TabStage::Over => TabState::Over,
        },
        unit: currency.format(tab.unit),
        units: tab.units,
        paid: tab.paid,
        claimed: tab.claimed,
        amount,
        at_risk: currency.format(tab.at_risk),
        exposure: tab.exposure.map(|exposure| currency.format(exposure)),
        hold: currency.format(tab.hold),
        currency: code,
        expires: item::rfc3339(tab.expires),
        reason: tab.reason.map(|reason| reason.name().to_owned()),
    }
}

/// Pays on a tab, and waits until the payee has acknowledged it.
pub(crate) async fn pay(node: &Node, request: &PayTabRequest, sink: &Sink) -> Result<(), Failure> {
    let deadline = Instant::now() + request.wait;
    let item = TabPaid::asked(request);
    let tab = match find(node, request.tab, deadline).await {
        Ok(tab) => tab,
        Err(error) => return Err(refused(item, of_tab(error)).into()),
    };
    let currency = currency(node).await?;
    let mut payment = Underway::new(tab, item, request, &currency);
    let wait_s = request.wait.as_secs();
    payment.check_left(payment.queued())?;
    match timeout_at(deadline, payment.tab.accepted()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(payment.ended(error)),
        // Nothing is queued before the payee takes the tab, so nothing will be paid.
        Err(_) => return Err(payment.not_reached(wait_s)),
    }
    payment.begin();
    match timeout_at(deadline, payment.tab.send(request.units)).await {
        Ok(Ok(total)) => payment.start = total - request.units,
        Ok(Err(TabError::Spent { left })) => {
            payment.check_left(payment.tab.terms().length - left)?;
        }
        Ok(Err(error)) => return Err(payment.ended(error)),
        Err(_) => return Err(payment.unknown(wait_s)),
    }
    let total = payment.start + request.units;
    match timeout_at(deadline, payment.tab.acknowledged(total)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(payment.ended(error)),
        Err(_) => return Err(payment.unknown(wait_s)),
    }
    payment.item.state = TabState::Paid;
    let item = payment.stand();
    sink.item(item).await?;
    Ok(())
}

/// A payment on a tab that may have begun.
struct Underway {
    tab: Tab,
    item: TabPaid,
    units: u32,
    /// Units that were paid or queued before this payment.
    start: u32,
}

impl Underway {
    fn new(tab: Tab, mut item: TabPaid, request: &PayTabRequest, currency: &Currency) -> Self {
        item.payee = Some(tab.payee().to_string());
        let amount = units(tab.terms().unit, request.units);
        (item.amount, item.currency) = amount.map(|amount| item::money(currency, amount)).unzip();
        let start = tab.progress().queued;
        Self {
            tab,
            item,
            units: request.units,
            start,
        }
    }

    fn queued(&self) -> u32 {
        self.tab.progress().queued
    }

    /// The payee takes payments, and has shown how much it had already.
    fn begin(&mut self) {
        self.start = self.queued();
    }

    /// The item as the tab stands now.
    fn stand(&self) -> TabPaid {
        let progress = self.tab.progress();
        let mut item = self.item.clone();
        item.paid = Some(progress.paid);
        item.left = Some(self.tab.terms().length.saturating_sub(progress.queued));
        item.acknowledged = progress.paid.saturating_sub(self.start).min(self.units);
        item
    }

    /// Refuses more than is left of the tab when `used` units of it are paid or queued.
    fn check_left(&self, used: u32) -> Result<(), Failure> {
        let left = self.tab.terms().length.saturating_sub(used);
        if self.units <= left {
            return Ok(());
        }
        let advice = match left {
            0 => "open another with `quid tab open`",
            _ => "pay no more than that, or open another with `quid tab open`",
        };
        let message = format!("refused: the tab has {left} units left; {advice}");
        let mut item = self.stand();
        item.left = Some(left);
        Err(refused(item, Report::new(Exit::Refused, "tab_spent", message)).into())
    }

    fn not_reached(&self, wait_s: u64) -> Failure {
        let payee = self.tab.payee();
        let message = format!(
            "{payee} could not be reached within {wait_s} s: nothing was paid; try again when \
             they are online"
        );
        Report::new(Exit::Unreachable, "payee_unreachable", message).into()
    }

    /// The tab takes no more: what was acknowledged is paid, and no more is.
    fn ended(&self, error: TabError) -> Failure {
        let item = self.stand();
        let reason = match error {
            TabError::Ended(reason) => reason.unwrap_or(Reason::TAB_OVER),
            TabError::Spent { .. } => Reason::TAB_OVER,
            TabError::Stopped => return self.unknown_for("this node is being stopped"),
        };
        let progress = self.tab.progress();
        if progress.sent > progress.paid {
            // It may have taken what it did not acknowledge.
            let why = explained("", reason).for_command();
            return self.unknown_for(&format!("the tab has ended ({why})"));
        }
        let paid = match item.acknowledged {
            0 => "nothing was paid".to_owned(),
            count => format!("{count} of the {} units were paid", self.units),
        };
        let why = explained("refused: ", reason).for_command();
        let message = format!("{why}; {paid}");
        refused(item, Report::new(Exit::Refused, reason.name(), message)).into()
    }

    fn unknown(&self, wait_s: u64) -> Failure {
        let payee = self.tab.payee();
        self.unknown_for(&format!(
            "{payee} did not acknowledge everything within {wait_s} s"
        ))
    }

    fn unknown_for(&self, why: &str) -> Failure {
        let item = self.stand();
        let rest = self.units - item.acknowledged;
        let message = format!(
            "unknown: {why}: {} of the {} units are paid for certain, {} in all, and the other \
             {rest} may be or become so; {LIST_FIRST}",
            item.acknowledged,
            self.units,
            item.paid.unwrap_or_default(),
        );
        unknown(item, message).into()
    }
}

/// Ends a tab.
pub(crate) async fn close(node: &Node, id: OrderId, sink: &Sink) -> Result<(), Failure> {
    // Nothing is sent, and that is said, if there is no directory to tell.
    let currency = node.login().await?.currency;
    let mut item = TabClosed {
        tab: id.to_string(),
        state: TabState::Closed,
        released: true,
        ..TabClosed::default()
    };
    let tab = match find(node, id, Instant::now() + CLOSE_FIND_WAIT).await {
        Ok(tab) => tab,
        // Closed before, perhaps by the same command, whose answer was lost.
        Err(RequestError::Refused(Reason::TAB_OVER)) => return Ok(sink.item(item).await?),
        Err(error) => return Err(of_tab(error).into()),
    };
    item.payee = Some(tab.payee().to_string());
    let closed = match tab.close().await {
        Ok(closed) => closed,
        Err(RequestError::Unreachable(reason)) => {
            let what = format!(
                "unknown: the tab may be open still, for the directory was lost meanwhile ({reason})"
            );
            item.released = false;
            return Err(unknown(item, Advice::CloseTab(id).after(what)).into());
        }
        Err(error) => return Err(of_tab(error).into()),
    };
    let terms = tab.terms();
    let hold = terms.hold().unwrap_or(Amount::MAX);
    let amount = units(terms.unit, closed.paid).unwrap_or(hold);
    let rest = hold.checked_sub(amount).unwrap_or(Amount::ZERO);
    item.paid = Some(closed.paid);
    item.amount = Some(currency.format(amount));
    item.returned = Some(currency.format(rest));
    item.currency = Some(currency.code().to_owned());
    item.released = closed.released;
    item.grace = (!closed.released).then_some(terms.grace);
    sink.item(item).await?;
    Ok(())
}

/// An open tab of this account. Waits while it is not known whether it is open.
async fn find(node: &Node, id: OrderId, deadline: Instant) -> Result<Tab, RequestError> {
    loop {
        match node.tab(id).await {
            Err(RequestError::Unreachable(_)) if Instant::now() + FIND_PAUSE < deadline => {
                sleep(FIND_PAUSE).await;
            }
            found => return found,
        }
    }
}

/// What is said when there is no tab to pay on or to close.
fn of_tab(error: RequestError) -> Report {
    match error {
        RequestError::Refused(reason) => {
            Report::new(Exit::Refused, reason.name(), explained("refused: ", reason))
        }
        error => report(error),
    }
}

/// Why a tab pays no more, after `before`, and what to do.
fn explained(before: &str, reason: Reason) -> Words {
    let (what, advice) = match reason {
        Reason::EXPIRED => ("the tab's time is over", Advice::AnotherTab),
        Reason::TAB_OVER => ("the tab is over", Advice::AnotherTab),
        Reason::NO_TAB => (reason.explain(), Advice::OpenTabs),
        reason => return format!("{before}{reason}").into(),
    };
    advice.after(format!("{before}{what}"))
}

/// What is said when a tab was not opened and nothing was sent.
pub(crate) fn not_opened(
    request: &OpenTabRequest,
    currency: Option<&Currency>,
    report: Report,
) -> Report {
    refused(TabOpened::asked(request, currency), report)
}

/// `report`, told with the fields of a tab that a request asks for.
pub(crate) fn opening_refused(item: TabOpened, report: Report) -> Report {
    refused(item, report)
}

/// What is said when an opening for a request is given up before its end is known.
pub(crate) fn opening_unknown(item: TabOpened, message: String) -> Report {
    unknown(item, message)
}

/// What is said when an opening is given up before its end is known.
pub(crate) fn open_given_up(
    request: &OpenTabRequest,
    currency: Option<&Currency>,
    why: &str,
) -> Report {
    let message = Advice::AskForTab.after(format!("unknown: {why}"));
    unknown(TabOpened::asked(request, currency), message)
}

/// What is said when a payment on a tab is given up before its end is known.
pub(crate) fn pay_given_up(request: &PayTabRequest, why: &str) -> Report {
    let message = format!(
        "unknown: {why}; any of the {} units may be paid; {LIST_FIRST}",
        request.units
    );
    unknown(TabPaid::asked(request), message)
}

/// The result of a wish about a tab that did not come true.
trait Failed: Into<Item> {
    /// Says how it stands, and repeats what `report` says.
    fn fail(&mut self, state: TabState, report: &Report);
}

macro_rules! failed {
    ($($item:ty { $($reason:ident)? })+) => {
        $(impl Failed for $item {
            fn fail(&mut self, state: TabState, report: &Report) {
                $(if state == TabState::Refused {
                    self.$reason = Some(report.error.clone());
                })?
                self.state = state;
                self.error = Some(report.error.clone());
                self.message = Some(report.message.clone());
            }
        })+
    };
}

failed! {
    TabOpened { reason }
    TabPaid { reason }
    TabClosed {}
}

fn unknown(mut item: impl Failed, message: impl Into<Words>) -> Report {
    let mut report = Report::new(Exit::Unknown, "unknown", message);
    item.fail(TabState::Unknown, &report);
    report.item = Some(item.into());
    report
}

/// `report`, told with the tab's or payment's own fields if it is a refusal: nothing more comes of
/// it.
fn refused(mut item: impl Failed, mut report: Report) -> Report {
    if report.exit == Exit::Refused {
        item.fail(TabState::Refused, &report);
        report.item = Some(item.into());
    }
    report
}

impl TabOpened {
    /// What is known before anything has happened. Without a currency the unit stays as it was
    /// typed.
    fn asked(request: &OpenTabRequest, currency: Option<&Currency>) -> Self {
        let mut item = Self {
            payee: request.payee.to_string(),
            unit: request.unit.to_string(),
            units: request.units,
            ..Self::default()
        };
        if let Some(currency) = currency
            && let Ok((unit, hold)) = value(&request.unit, request.units, currency)
        {
            item.unit = currency.format(unit);
            item.hold = Some(currency.format(hold));
            item.currency = Some(currency.code().to_owned());
        }
        item
    }
}

impl TabPaid {
    fn asked(request: &PayTabRequest) -> Self {
        Self {
            tab: request.tab.to_string(),
            units: request.units,
            ..Self::default()
        }
    }
}

/// What to do before anything is paid again.
const LIST_FIRST: &str = "before you pay any of them again, see with `quid tab list` what is paid \
                          in all, once the payee has claimed it";

/// How long a payee may take to say that it takes a tab: reached within 3 s or not just now.
const ACCEPT_WAIT: Duration = Duration::from_secs(3);

/// How long a close waits to learn whether the tab is open at all.
const CLOSE_FIND_WAIT: Duration = Duration::from_secs(5);

/// Pause before it is asked again whether a tab is open.
const FIND_PAUSE: Duration = Duration::from_millis(200);
