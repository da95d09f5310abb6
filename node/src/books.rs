//! Writing down how payments ended, and telling of it: each end once, journal first.

use std::sync::{Arc, OnceLock, Weak};

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::SignedOrder;
use quid_common::receipt::{Proven, Receipt};
use quid_common::refusal::Reason;
use quid_common::tab::{Close, Terms};
use quid_common::time::LedgerTime;

use crate::events::{Event, Hub};
use crate::home::Home;
use crate::journal::{JournalError, Moved, OrderState};
use crate::pay::{Route, State};
use crate::tabs::Desk;
use crate::trust::Trust;

/// The journal, what is proved, and who is told.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) home: Arc<Home>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) hub: Arc<Hub>,
    /// Who hears of tabs that pay this account, if it listens.
    pub(crate) desk: Arc<OnceLock<Weak<Desk>>>,
}

/// A verified entry that moved money from or to this account.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    pub(crate) receipt: Receipt,
    pub(crate) proven: Proven,
    pub(crate) counterparty: Name,
}

impl Books {
    /// Closes an order of this account as settled. The receipt is verified and of these bytes.
    pub(crate) async fn settled(
        &self,
        order: &SignedOrder,
        payee: &Name,
        route: Option<Route>,
        receipt: Box<Receipt>,
        size: u64,
    ) -> State {
        let stated = order.statement();
        let entry = receipt.index;
        match self
            .home
            .journal()
            .settle_order(stated.id, &receipt, size)
            .await
        {
            Ok(true) => tracing::info!(
                order = %stated.id, entry, amount = %self.amount(order.statement().amount), counterparty = %payee,
                route = route.map_or("none", Route::name), "sent"
            ),
            Ok(false) => {}
            // The money has moved all the same, and the journal will ask again.
            Err(error) => tracing::error!(order = %stated.id, %error, "cannot keep a receipt"),
        }
        if let Ok(decoded) = Entry::decode(&receipt.entry) {
            let event = sent(entry, order, payee.clone(), decoded.time);
            self.hub.tell_sent(entry, event);
        }
        State::Settled { entry, receipt }
    }

    /// Closes an order of this account as refused for good.
    pub(crate) async fn refused(
        &self,
        order: &SignedOrder,
        payee: &Name,
        route: Option<Route>,
        reason: Reason,
        entry: Option<u64>,
    ) -> State {
        let id = order.statement().id;
        match self.home.journal().refuse_order(id, reason, entry).await {
            Ok(true) => {
                tracing::info!(
                    order = %id, entry, amount = %self.amount(order.statement().amount), counterparty = %payee,
                    route = route.map_or("none", Route::name), reason = reason.name(), "refused"
                );
                let counterparty = Some(payee.clone());
                self.hub.tell(Event::Refused {
                    order: id,
                    reason,
                    counterparty,
                });
            }
            Ok(false) => {}
            Err(error) => tracing::error!(order = %id, %error, "cannot keep a refusal"),
        }
        State::Refused { reason, entry }
    }

    /// Closes an accepted order to this account as refused for good.
    pub(crate) async fn refused_note(
        &self,
        order: &SignedOrder,
        reason: Reason,
    ) -> Result<(), JournalError> {
        let stated = order.statement();
        if !self
            .home
            .journal()
            .refuse_note(stated.payer, stated.id, reason)
            .await?
        {
            return Ok(());
        }
        let counterparty = self.home.journal().payer_name(stated.payer).await?;
        tracing::info!(
            order = %stated.id, amount = %self.amount(order.statement().amount), payer = %stated.payer.short(),
            reason = reason.name(), "not received"
        );
        self.hub.tell(Event::Refused {
            order: stated.id,
            reason,
            counterparty,
        });
        Ok(())
    }

    /// Takes verified movements; with `advance`, everything up to them has been told by now.
    pub(crate) async fn moved(
        &self,
        movements: Vec<Movement>,
        advance: bool,
    ) -> Result<(), JournalError> {
        let mut came = Vec::new();
        for movement in movements {
            match &movement.proven.entry().fact {
                Fact::Payment(order) if self.home.is_own(&order.statement().payer) => {
                    self.sent_elsewhere(&movement, order).await?;
                }
                // To or by a key that the account had before it was recovered in this home.
                Fact::Payment(order) if !self.home.is_own(&order.statement().payee) => {
                    tracing::warn!(
                        entry = movement.proven.index(),
                        "a payment under a key that this home never had: `quid history` shows it"
                    );
                }
                Fact::Payment(order) => {
                    let order = Some(order.clone());
                    came.push(incoming(movement, order, advance));
                }
                Fact::Issue(_) => came.push(incoming(movement, None, advance)),
                Fact::Tab(_) | Fact::Claim(_) | Fact::Close(_) | Fact::Release(_) => {
                    self.tab_moved(&movement).await?;
                }
                _ => tracing::error!(
                    entry = movement.proven.index(),
                    "the directory told of an entry without money"
                ),
            }
        }
        if came.is_empty() {
            return Ok(());
        }
        let firsts = self.home.journal().receive(came.clone()).await?;
        for (moved, first) in came.into_iter().zip(firsts) {
            let Some(first) = first else { continue };
            let amount = movement_amount(&moved.receipt).map(|amount| self.amount(amount));
            tracing::info!(
                entry = moved.receipt.index,
                amount,
                counterparty = %moved.counterparty,
                order = moved.order.as_ref().map(|order| order.statement().id.to_string()),
                route = moved.order.as_ref().map(|_| came_by(first.direct).name()),
                "received"
            );
            let Moved {
                receipt,
                counterparty,
                ..
            } = moved;
            self.hub
                .tell_received(first.number, receipt, counterparty, first.answers);
        }
        Ok(())
    }

    /// What the directory tells of a tab to or by this account.
    async fn tab_moved(&self, movement: &Movement) -> Result<(), JournalError> {
        let (home, journal) = (&self.home, self.home.journal());
        let entry = movement.proven.entry();
        match &entry.fact {
            Fact::Tab(terms) if home.is_own(&terms.statement().payee) => {
                let Terms { payer, id, .. } = *terms.statement();
                journal.learn_name(payer, &movement.counterparty).await?;
                self.tell_desk((payer, id), Some(&movement.counterparty), None);
            }
            Fact::Close(close) if !home.is_own(&close.statement().payer) => {
                let Close { payer, id, .. } = *close.statement();
                self.tell_desk((payer, id), None, Some(entry.time));
            }
            Fact::Claim(claim) if home.is_own(&claim.payee) => {
                journal
                    .tab_claimed(claim.payer, claim.id, claim.index)
                    .await?;
            }
            Fact::Release(release) if home.is_own(&release.payer) => {
                journal.tab_closed(release.id).await?;
            }
            Fact::Release(release) => {
                let over = Some(entry.time);
                self.tell_desk((release.payer, release.id), None, over);
            }
            _ => {}
        }
        Ok(())
    }

    fn tell_desk(
        &self,
        which: (PublicKey, OrderId),
        payer: Option<&Name>,
        expires: Option<LedgerTime>,
    ) {
        if let Some(desk) = self.desk.get().and_then(Weak::upgrade) {
            desk.heard(which, payer, expires);
        }
    }

    /// A payment by this account, perhaps by another process or another home with its key.
    async fn sent_elsewhere(
        &self,
        movement: &Movement,
        order: &SignedOrder,
    ) -> Result<(), JournalError> {
        let (id, entry) = (order.statement().id, movement.proven.index());
        let held = self.home.journal().order(id).await?;
        if let Some(row) = held
            && row.order.bytes() == order.bytes()
        {
            // Whoever paid here has been told by the command that did.
            if matches!(row.state, OrderState::Settled { .. }) {
                return Ok(());
            }
            let size = movement.proven.head().size;
            if self
                .home
                .journal()
                .settle_order(id, &movement.receipt, size)
                .await?
            {
                tracing::info!(
                    order = %id, entry, amount = %self.amount(order.statement().amount),
                    counterparty = %movement.counterparty, "sent"
                );
            }
        }
        let time = movement.proven.entry().time;
        let event = sent(entry, order, movement.counterparty.clone(), time);
        self.hub.tell_sent(entry, event);
        Ok(())
    }

    /// The amount with its currency, for logs.
    fn amount(&self, amount: Amount) -> String {
        match self.home.currency() {
            Some(currency) => currency.display(amount),
            None => amount.units().to_string(),
        }
    }
}

fn came_by(direct: bool) -> Route {
    if direct {
        Route::Direct
    } else {
        Route::Directory
    }
}

fn movement_amount(receipt: &Receipt) -> Option<Amount> {
    match Entry::decode(&receipt.entry).ok()?.fact {
        Fact::Payment(order) => Some(order.statement().amount),
        Fact::Issue(issue) => Some(issue.statement().amount),
        _ => None,
    }
}

fn incoming(movement: Movement, order: Option<SignedOrder>, advances: bool) -> Moved {
    Moved {
        size: movement.proven.head().size,
        receipt: movement.receipt,
        order,
        counterparty: movement.counterparty,
        advances,
    }
}

fn sent(entry: u64, order: &SignedOrder, payee: Name, time: LedgerTime) -> Event {
    let stated = order.statement();
    Event::Sent {
        entry,
        order: stated.id,
        amount: stated.amount,
        payee,
        memo: stated.memo.clone(),
        time,
    }
}
