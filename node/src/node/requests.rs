//! Asking to be paid, paying what somebody asks for, and paying back.

use quid_common::entry::Fact;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Order, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::request::{REQUEST_LIFE_MAX, Request, RequestId, RequestLink, Wanted};
use quid_common::time::LedgerTime;
use quid_common::wire::{AskHistory, Message};
use tokio::time::{Instant, sleep};

use super::{Node, ReceiptId};
use crate::directory::{REQUEST_WAIT, RequestError};
use crate::history::history;
use crate::journal::{OrderState, Purpose, RequestRow, TabState};
use crate::pay::{Made, Outcome, PayError, Payment, State};
use crate::requests::{
    Aim, Answered, AnsweredTab, CancelledRequest, Prospect, Refund, RequestItem, RequestOpening,
    RequestPayment, RequestStage, RequestTerms, Unpayable, due, purpose,
};
use crate::resolve::outcome;
use crate::tabs::{MadeTab, Opened, TabOpening, TabOutcome};

impl Node {
    /// Makes a request to be paid, which this home then remembers: an order that pays it is tied to
    /// it, and one that says so and does not pay exactly it is declined.
    ///
    /// # Errors
    /// [`RequestError`]: no request was made. *Zero amount* and *bad terms* are refused.
    ///
    /// # Cancel safety
    /// Dropping this future may leave a request that nobody has a link to.
    pub async fn request(&self, terms: RequestTerms) -> Result<RequestLink, RequestError> {
        if !terms.wanted.is_sound() {
            let zero = match terms.wanted {
                Wanted::Amount(_) | Wanted::Open => true,
                Wanted::Tab { unit, units } => unit.is_zero() || units == 0,
            };
            let reason = if zero {
                Reason::ZERO_AMOUNT
            } else {
                Reason::BAD_TERMS
            };
            return Err(RequestError::Refused(reason));
        }
        if terms.life.is_zero() || terms.life > REQUEST_LIFE_MAX {
            return Err(RequestError::Refused(Reason::BAD_TERMS));
        }
        let home = &self.parts.home;
        let session = self.parts.directory.link(Instant::now() + REQUEST_WAIT);
        let session = session.await?;
        let mut random = [0; 10];
        let source = &home.surroundings().random;
        source
            .fill(&mut random)
            .map_err(|error| RequestError::Local(error.to_string()))?;
        let now = self.parts.clock.now().unwrap_or(session.welcome.time);
        let request = Request {
            version: STATEMENT_VERSION,
            ledger: session.welcome.ledger,
            id: RequestId::new(now.plus(terms.life), random),
            payee: home.key(),
            name: session.welcome.name.clone(),
            wanted: terms.wanted,
            memo: terms.memo,
            once: terms.once,
        };
        let signed = request.sign(home.secret());
        home.journal().keep_request(signed.clone()).await?;
        RequestLink::new(home.directory().clone(), signed)
            .map_err(|error| RequestError::Local(error.to_string()))
    }

    /// The requests of this home, newest first, `limit` at most.
    ///
    /// # Errors
    /// [`RequestError`]: the journal cannot be read, or ledger time is not known yet and the
    /// directory does not tell it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn requests(&self, limit: u32) -> Result<Vec<RequestItem>, RequestError> {
        let rows = self.parts.home.journal().requests(limit).await?;
        let now = Some(self.ledger_now().await?);
        rows.into_iter().map(|row| self.item(row, now)).collect()
    }

    /// A request of this home, and how it stands; none if it is not one.
    ///
    /// # Errors
    /// As [`Self::requests`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn request_item(&self, id: RequestId) -> Result<Option<RequestItem>, RequestError> {
        let Some(row) = self.parts.home.journal().request(id).await? else {
            return Ok(None);
        };
        let now = Some(self.ledger_now().await?);
        self.item(row, now).map(Some)
    }

    /// Cancels a request of this home: from now on an order or a tab that names it is declined, by
    /// whichever process listens for this home. Cancelling it again tells how it stands. None if it
    /// is not a request of this home.
    ///
    /// What paid it before is not undone, and told: also what settled while nobody listened, if it is
    /// among the newest 1,024 lines of history. A payer that does not reach this home can go on
    /// settling at the directory what is not to be paid once; that is then money that came, and
    /// answers nothing.
    ///
    /// # Errors
    /// [`RequestError`]: the journal cannot be written, or the directory's answers make no sense; the
    /// request may be cancelled all the same, so ask again.
    ///
    /// # Cancel safety
    /// Dropping this future may leave it cancelled; ask again.
    pub async fn cancel_request(
        &self,
        id: RequestId,
    ) -> Result<Option<CancelledRequest>, RequestError> {
        let now = self.ledger_now().await?;
        let journal = self.parts.home.journal();
        let Some((mut row, mut coming)) = journal.cancel_request(id, now).await? else {
            return Ok(None);
        };
        let (unheard, asked) = match self.unheard(row.signed.statement()).await {
            Ok(unheard) => (unheard, true),
            Err(RequestError::Unreachable(_)) => (Vec::new(), false),
            Err(error) => return Err(error),
        };
        for (entry, order) in unheard {
            coming.retain(|id| *id != order);
            if !row.entries.contains(&entry) {
                row.entries.push(entry);
            }
        }
        row.entries.sort_unstable();
        let item = self.item(row, Some(now))?;
        Ok(Some(CancelledRequest {
            item,
            coming,
            asked,
        }))
    }

    /// What has paid `request` and this home has not heard of yet, by receipts.
    async fn unheard(&self, request: &Request) -> Result<Vec<(u64, OrderId)>, RequestError> {
        let directory = &self.parts.directory;
        let heard = self.parts.home.journal().watermark().await?;
        let lines = history(directory, UNHEARD_MAX, heard).await?;
        let reference = Some(request.reference());
        let named = lines
            .into_iter()
            .filter(|line| line.incoming && line.reference == reference);
        let mut paid = Vec::new();
        for entry in named.filter_map(|line| line.entry) {
            let (_, proven) = self.receipt(ReceiptId::Entry(entry)).await?;
            if let Fact::Payment(order) = &proven.entry().fact
                && request.answered_by(order.statement())
            {
                paid.push((entry, order.statement().id));
            }
        }
        Ok(paid)
    }

    /// What is known of a request before it is paid. Nothing is sent but a question to the
    /// directory, whose key the name has.
    ///
    /// # Errors
    /// [`PayError`]: it cannot be paid, unless [`Prospect::earlier`] could have told that it was.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn prospect(&self, link: &RequestLink) -> Result<Prospect, PayError> {
        let request = link.request();
        self.check_ground(link).await?;
        let earlier = self.standing(purpose(request, None)).await?;
        if earlier.is_none() {
            self.check_time(request).await?;
        }
        let limit = Instant::now() + REQUEST_WAIT;
        let (key, address) = self.parts.payer.meet(&request.name, limit).await?;
        Aim::answer(request, None).check_key(&request.name, key)?;
        let pinned = self.parts.home.journal().contact(&request.name).await?;
        Ok(Prospect {
            key,
            known: pinned.is_some(),
            online: address.is_some(),
            earlier,
        })
    }

    /// Pays what a request asks for, exactly and to whom it says, and waits for the end as long as
    /// the payment says.
    ///
    /// A link pays once: whoever pays it again from this home, at the same time, from another
    /// process or after a crash, is told of the first payment and how it stands, and nothing is
    /// sent. A payment that was refused does not count.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// As [`Node::pay`].
    pub async fn pay_request(&self, payment: RequestPayment) -> Result<Answered, PayError> {
        let deadline = Instant::now() + payment.wait;
        let request = payment.link.request();
        let amount = due(request, payment.amount)?;
        if request.once && payment.again.is_some() {
            return Err(Unpayable::Once.into());
        }
        self.check_ground(&payment.link).await?;
        if payment.again.is_none()
            && let Some(order) = self.standing(purpose(request, None)).await?
        {
            return self.earlier(order, deadline).await;
        }
        self.check_time(request).await?;
        let wish = Payment {
            payee: request.name.clone(),
            amount,
            memo: payment.memo.unwrap_or_else(|| request.memo.clone()),
            reference: Some(request.reference()),
            wait: payment.wait,
        };
        let aim = Aim::answer(request, payment.again);
        self.pay_for(wish, aim, deadline).await
    }

    /// Opens the tab that a request asks for. As with [`Node::pay_request`], a link opens one tab.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// As [`Node::open_tab`].
    pub async fn open_request(&self, opening: RequestOpening) -> Result<AnsweredTab, PayError> {
        let deadline = Instant::now() + opening.wait;
        let request = opening.link.request();
        let Wanted::Tab { unit, units } = request.wanted else {
            return Err(Unpayable::IsPayment.into());
        };
        if request.once && opening.again.is_some() {
            return Err(Unpayable::Once.into());
        }
        self.check_ground(&opening.link).await?;
        if opening.again.is_none()
            && let Some(tab) = self.standing(purpose(request, None)).await?
        {
            return self.earlier_tab(tab, deadline).await;
        }
        self.check_time(request).await?;
        let wish = TabOpening {
            payee: request.name.clone(),
            unit,
            units,
            expires: opening.expires,
            grace: opening.grace,
            memo: request.memo.clone(),
            reference: Some(request.reference()),
            wait: opening.wait,
        };
        let aim = Aim::answer(request, opening.again);
        match self.parts.tabs.open_for(wish, Some(aim)).await? {
            MadeTab::New(outcome) => Ok(AnsweredTab {
                outcome,
                earlier: false,
            }),
            MadeTab::Earlier(tab) => self.earlier_tab(tab, deadline).await,
        }
    }

    /// Pays back what a payment brought, to who paid it. The order names the payment's as its
    /// reference; a second refund of the same payment is told of the first and sends nothing.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// As [`Node::pay`].
    pub async fn refund(&self, refund: Refund) -> Result<Answered, PayError> {
        let deadline = Instant::now() + refund.wait;
        let entry = refund.entry;
        let none = || Unpayable::NotReceived { entry };
        let (_, proven) = match self.receipt(ReceiptId::Entry(entry)).await {
            Err(RequestError::Refused(Reason::NOT_FOUND)) => return Err(none().into()),
            receipt => receipt?,
        };
        let Fact::Payment(order) = &proven.entry().fact else {
            return Err(none().into());
        };
        let order = order.statement();
        let home = &self.parts.home;
        if !home.is_own(&order.payee) || home.is_own(&order.payer) {
            return Err(none().into());
        }
        let payer = self.payer_of(order, entry).await?.ok_or_else(none)?;
        let pinned = home.journal().contact(&payer).await?;
        let wish = Payment {
            payee: payer,
            amount: order.amount,
            memo: refund.memo,
            reference: Some(Reference(*order.id.as_bytes())),
            wait: refund.wait,
        };
        let aim = Aim::refund(order, pinned.unwrap_or(order.payer));
        self.pay_for(wish, aim, deadline).await
    }

    async fn ledger_now(&self) -> Result<LedgerTime, RequestError> {
        if let Some(now) = self.parts.clock.now() {
            return Ok(now);
        }
        let session = self.parts.directory.link(Instant::now() + REQUEST_WAIT);
        let time = session.await?.welcome.time;
        Ok(self.parts.clock.now().unwrap_or(time))
    }

    /// How a request stands at `now`, or for all that is known by itself.
    pub(super) fn item(
        &self,
        row: RequestRow,
        now: Option<LedgerTime>,
    ) -> Result<RequestItem, RequestError> {
        let expires = row.signed.statement().expires();
        let stage = match now {
            _ if !row.entries.is_empty() => RequestStage::Paid,
            // It may have been paid before it was cancelled.
            None => RequestStage::Unknown,
            Some(_) if row.cancelled => RequestStage::Cancelled,
            Some(now) if now >= expires => RequestStage::Expired,
            Some(_) => RequestStage::Open,
        };
        let link = RequestLink::new(self.parts.home.directory().clone(), row.signed)
            .map_err(|error| RequestError::Local(error.to_string()))?;
        Ok(RequestItem {
            link,
            stage,
            entries: row.entries,
            cancelled: row.cancelled,
        })
    }

    /// Refuses a request that is for another directory, ledger or payer.
    async fn check_ground(&self, link: &RequestLink) -> Result<(), PayError> {
        let home = &self.parts.home;
        let wanted = link.directory().key();
        if wanted != home.directory().key() {
            return Err(Unpayable::WrongDirectory { wanted }.into());
        }
        let ledger = match home.ledger() {
            Some(ledger) => ledger,
            None => self.login().await?.ledger,
        };
        if link.request().ledger != ledger {
            return Err(Unpayable::WrongLedger.into());
        }
        if home.is_own(&link.request().payee) {
            return Err(PayError::Local(Reason::SELF_PAYMENT));
        }
        Ok(())
    }

    async fn check_time(&self, request: &Request) -> Result<(), PayError> {
        if self.ledger_now().await? >= request.expires() {
            return Err(Unpayable::Expired.into());
        }
        Ok(())
    }

    /// Pays for a purpose, or tells of the order that serves it already.
    async fn pay_for(
        &self,
        wish: Payment,
        aim: Aim,
        deadline: Instant,
    ) -> Result<Answered, PayError> {
        match self.parts.payer.pay_for(wish, Some(aim)).await? {
            Made::New(outcome) => Ok(Answered {
                outcome,
                earlier: false,
            }),
            Made::Earlier(order) => self.earlier(order, deadline).await,
        }
    }

    /// The order or tab of this home that serves a purpose, unless it was refused.
    pub(super) async fn standing(&self, purpose: Purpose) -> Result<Option<OrderId>, PayError> {
        let journal = self.parts.home.journal();
        let Some(id) = journal.served(purpose).await? else {
            return Ok(None);
        };
        let order = journal.order(id).await?.map(|row| row.state);
        let tab = journal.tab(id).await?.map(|row| row.state);
        let refused = matches!(order, Some(OrderState::Refused { .. }))
            || matches!(tab, Some(TabState::Refused { .. }));
        Ok((!refused).then_some(id))
    }

    /// An order that was made earlier, once its end is known or the wait is over.
    pub(super) async fn earlier(
        &self,
        id: OrderId,
        deadline: Instant,
    ) -> Result<Answered, PayError> {
        // Whoever made it may be gone.
        self.parts.resolver.take_up().await;
        let journal = self.parts.home.journal();
        let (row, state) = loop {
            let missing = || RequestError::Local(format!("order {id} is missing in the journal"));
            let row = journal.order(id).await?.ok_or_else(missing)?;
            let state = match row.state {
                OrderState::Settled { entry } => {
                    let receipt = journal.receipt(entry).await?.ok_or_else(missing)?;
                    let receipt = Box::new(receipt);
                    State::Settled { entry, receipt }
                }
                OrderState::Refused { reason, entry } => State::Refused { reason, entry },
                OrderState::Open if Instant::now() < deadline => {
                    // Another process may be the one that follows it: only the file is shared.
                    sleep(EARLIER_PAUSE).await;
                    continue;
                }
                OrderState::Open => State::Unknown,
            };
            break (row, state);
        };
        let outcome: Outcome = outcome(&row, state);
        Ok(Answered {
            outcome,
            earlier: true,
        })
    }

    /// A tab that was opened earlier, once it is known whether it is open or the wait is over.
    pub(super) async fn earlier_tab(
        &self,
        id: OrderId,
        deadline: Instant,
    ) -> Result<AnsweredTab, PayError> {
        let missing = || RequestError::Local(format!("tab {id} is missing in the journal"));
        let (row, state) = loop {
            let row = self.parts.home.journal().tab(id).await?;
            let row = row.ok_or_else(missing)?;
            let state = match row.state {
                TabState::Open { .. } => Opened::Open(self.tab(id).await?),
                TabState::Opening if Instant::now() < deadline => {
                    sleep(EARLIER_PAUSE).await;
                    continue;
                }
                TabState::Opening => Opened::Unknown,
                TabState::Refused { reason } => Opened::Refused(reason),
                TabState::Closed { .. } => return Err(Unpayable::TabOver { tab: id }.into()),
            };
            break (row, state);
        };
        let terms = row.terms.statement();
        let outcome = TabOutcome {
            tab: id,
            hold: terms.hold().ok_or_else(missing)?,
            expires: terms.expires,
            state,
        };
        Ok(AnsweredTab {
            outcome,
            earlier: true,
        })
    }

    /// The name of who paid `order`, which is `entry`.
    async fn payer_of(&self, order: &Order, entry: u64) -> Result<Option<Name>, PayError> {
        let payer: PublicKey = order.payer;
        if let Some(name) = self.parts.home.journal().payer_name(payer).await? {
            return Ok(Some(name));
        }
        let ask = AskHistory {
            before: entry.checked_add(1),
            after: entry.checked_sub(1),
            limit: 1,
        };
        match self.parts.directory.ask(ask).await? {
            Message::HistoryPage(page) => {
                let line = page.lines.into_iter().find(|line| line.entry == entry);
                Ok(line.map(|line| line.counterparty))
            }
            answer => Err(crate::directory::unexpected(&answer).into()),
        }
    }
}

/// Lines of history that are looked through for what this home has not heard of.
const UNHEARD_MAX: usize = 1024;

/// How often the end of an order or opening is looked for that another task or process follows.
const EARLIER_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
