//! Intents: what a person wants once is done once, however often it is asked.

use quid_common::id::OrderId;
use tokio::time::Instant;

use super::Node;
use crate::directory::RequestError;
use crate::intent::Intent;
use crate::pay::{Made, PayError, Payment};
use crate::requests::{Aim, Answered, AnsweredTab};
use crate::tabs::{MadeTab, TabOpening};

impl Node {
    /// A new intent, of which [`Self::pay_once`] makes one payment at most.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the system gives no randomness.
    pub fn intent(&self) -> Result<Intent, RequestError> {
        let mut random = [0; 16];
        let source = &self.parts.home.surroundings().random;
        source
            .fill(&mut random)
            .map_err(|error| RequestError::Local(error.to_string()))?;
        Ok(Intent::new(random))
    }

    /// Pays as [`Self::pay`] does, once for each intent: asked again, also at the same moment or
    /// after a crash, it answers with the payment that was made of the intent before and how that
    /// stands now. Only a payment that was refused may be followed by another.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent by this call; [`PayError::IntentUsed`] if a payment was made of
    /// the intent that is not this one.
    ///
    /// # Cancel safety
    /// As [`Self::pay`]; ask again with the same intent.
    pub async fn pay_once(&self, intent: Intent, payment: Payment) -> Result<Answered, PayError> {
        let deadline = Instant::now() + payment.wait;
        let aim = Aim::intend(self.parts.home.key(), intent);
        if let Some(order) = self.standing(aim.purpose).await? {
            return self.intended(order, &payment, deadline).await;
        }
        match self.parts.payer.pay_for(payment.clone(), Some(aim)).await? {
            Made::New(outcome) => Ok(Answered {
                outcome,
                earlier: false,
            }),
            Made::Earlier(order) => self.intended(order, &payment, deadline).await,
        }
    }

    /// The payment that was made of an intent, which must be what is asked now.
    async fn intended(
        &self,
        order: OrderId,
        payment: &Payment,
        deadline: Instant,
    ) -> Result<Answered, PayError> {
        let row = self.parts.home.journal().order(order).await?;
        let same = row.is_some_and(|row| {
            let stated = row.order.statement();
            row.payee == payment.payee
                && stated.amount == payment.amount
                && stated.memo == payment.memo
                && stated.reference == payment.reference
        });
        if same {
            self.earlier(order, deadline).await
        } else {
            Err(PayError::IntentUsed { order })
        }
    }

    /// Opens a tab as [`Self::open_tab`] does, once for each intent: asked again, also at the same
    /// moment or after a crash, it answers with the tab that was opened of the intent before and how
    /// that stands now. Only a tab that was refused may be followed by another.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent by this call; [`PayError::IntentUsed`] if the intent was used
    /// for something that is not this, and [`Unpayable::TabOver`](crate::Unpayable::TabOver) if its
    /// tab is over.
    ///
    /// # Cancel safety
    /// As [`Self::open_tab`]; ask again with the same intent.
    pub async fn open_tab_once(
        &self,
        intent: Intent,
        wish: TabOpening,
    ) -> Result<AnsweredTab, PayError> {
        let deadline = Instant::now() + wish.wait;
        let aim = Aim::intend(self.parts.home.key(), intent);
        if let Some(tab) = self.standing(aim.purpose).await? {
            return self.intended_tab(tab, &wish, deadline).await;
        }
        match self.parts.tabs.open_for(wish.clone(), Some(aim)).await? {
            MadeTab::New(outcome) => Ok(AnsweredTab {
                outcome,
                earlier: false,
            }),
            MadeTab::Earlier(tab) => self.intended_tab(tab, &wish, deadline).await,
        }
    }

    /// The tab that was opened of an intent, which must be what is asked now.
    async fn intended_tab(
        &self,
        tab: OrderId,
        wish: &TabOpening,
        deadline: Instant,
    ) -> Result<AnsweredTab, PayError> {
        let row = self.parts.home.journal().tab(tab).await?;
        let same =
            row.is_some_and(|row| row.payee == wish.payee && wish.has_made(row.terms.statement()));
        if same {
            self.earlier_tab(tab, deadline).await
        } else {
            Err(PayError::IntentUsed { order: tab })
        }
    }
}
