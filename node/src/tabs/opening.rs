//! Opening a tab: signed, written down, and only then sent to the directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::chain::{Chain, LENGTH_MAX, Link};
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{LIFE_DEFAULT, Memo, STATEMENT_VERSION};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tab::{GRACE_DEFAULT, SignedTerms, Terms};
use quid_common::time::LedgerTime;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Tab, Tabs, hold};
use crate::calls::Lost;
use crate::directory::{Link as Session, REQUEST_WAIT, RequestError, Submission};
use crate::fate::{Judgement, Subject};
use crate::home::TabLock;
use crate::journal::{Inserted, NewTab, TabState};
use crate::pay::{PayError, WAIT_DEFAULT};
use crate::requests::Aim;

/// How long a tab lives unless its payer wants another time.
pub(crate) const EXPIRES_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// A wish to open a tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabOpening {
    /// Who is to be paid.
    pub payee: Name,
    /// What each unit is worth.
    pub unit: Amount,
    /// How many units the tab can pay, at most 1,048,576; all of them are held until it ends.
    pub units: u32,
    /// How long it can be paid on.
    pub expires: Duration,
    /// How long after that the payee may still claim, in whole seconds.
    pub grace: Duration,
    /// A word to the payee.
    pub memo: Memo,
    /// What it is for: something that the payee gave out, or the tab that this goes on from.
    pub reference: Option<Reference>,
    /// Longest time that [`crate::Node::open_tab`] waits for the directory.
    pub wait: Duration,
}

impl TabOpening {
    /// A tab of so many units to `payee`, for an hour, with a minute's grace.
    #[must_use]
    pub fn new(payee: Name, unit: Amount, units: u32) -> Self {
        Self {
            payee,
            unit,
            units,
            expires: EXPIRES_DEFAULT,
            grace: GRACE_DEFAULT,
            memo: Memo::default(),
            reference: None,
            wait: WAIT_DEFAULT,
        }
    }

    /// How soon the tab must be open: a short one soon, or not at all.
    fn opens_within(&self) -> Duration {
        LIFE_DEFAULT.min(self.expires / 2)
    }

    /// Whether `terms`, which nothing but the wish gave a latest time, were drawn for a wish like
    /// this one.
    pub(crate) fn has_made(&self, terms: &Terms) -> bool {
        let goes_on = self.expires.saturating_sub(self.opens_within());
        let stated = terms.expires.since(terms.id.expiry());
        terms.unit == self.unit
            && terms.length == self.units
            // Each end was cut to whole milliseconds.
            && stated.abs_diff(goes_on) <= Duration::from_millis(1)
            && u64::from(terms.grace) == self.grace.as_secs()
            && terms.memo == self.memo
            && terms.reference == self.reference
    }
}

/// What became of a wish to open a tab.
#[derive(Clone, Debug)]
pub struct TabOutcome {
    /// The tab.
    pub tab: OrderId,
    /// What is held for it if it is open.
    pub hold: Amount,
    /// When it ends, in ledger time.
    pub expires: LedgerTime,
    /// Whether it is open.
    pub state: Opened,
}

/// Whether a tab is open.
#[derive(Clone, Debug)]
pub enum Opened {
    /// It is, and the hold is reserved.
    Open(Tab),
    /// It is not and never will be; nothing is held.
    Refused(Reason),
    /// Not known yet. The node goes on asking, and voids it if it can.
    Unknown,
}

/// What became of a wish to open a tab for a purpose.
#[derive(Debug)]
pub(crate) enum MadeTab {
    /// A tab was made for it.
    New(TabOutcome),
    /// This one serves it already; nothing was sent.
    Earlier(OrderId),
}

impl Tabs {
    /// See [`crate::Node::open_tab`].
    pub(crate) async fn open(self: &Arc<Self>, wish: TabOpening) -> Result<TabOutcome, PayError> {
        match self.open_for(wish, None).await? {
            MadeTab::New(outcome) => Ok(outcome),
            MadeTab::Earlier(tab) => {
                let what = format!("tab {tab} was opened for no purpose and serves one");
                Err(RequestError::Local(what).into())
            }
        }
    }

    /// Opens a tab as [`Self::open`] does; with an aim, for nobody else than it says, in time, and
    /// only if nothing serves its purpose yet.
    pub(crate) async fn open_for(
        self: &Arc<Self>,
        wish: TabOpening,
        aim: Option<Aim>,
    ) -> Result<MadeTab, PayError> {
        let begun = Instant::now();
        // No wait is longer than the terms can stay unopened.
        let deadline = begun + wish.wait.min(LIFE_DEFAULT);
        let limit = begun + wish.wait.clamp(Duration::from_secs(1), REQUEST_WAIT);
        let (payee, address) = self.payer.meet(&wish.payee, limit).await?;
        if let Some(aim) = &aim {
            aim.check_key(&wish.payee, payee)?;
        }
        let session = self.ground.directory.link(limit).await?;
        let until = aim.as_ref().and_then(|aim| aim.until);
        let (terms, chain, last) = self.draw(&session, payee, &wish, until).await?;
        let stated = terms.statement();
        stated.check().map_err(PayError::Local)?;
        self.payer.check_funds(hold(stated), limit).await?;

        let id = stated.id;
        let lock = self.lock_tab(id).await?;
        let new = NewTab {
            terms: terms.clone(),
            last,
            payee: wish.payee.clone(),
            address: address.map(|address| address.to_string()),
            owner: self.ground.directory.presence.instance,
            purpose: aim.map(|aim| aim.purpose),
        };
        match self.ground.books.home.journal().insert_tab(new).await? {
            Inserted::Written => {}
            Inserted::Earlier(tab) => return Ok(MadeTab::Earlier(tab)),
            Inserted::KeyChanged(pinned) => {
                return Err(PayError::KeyChanged {
                    name: wish.payee,
                    pinned,
                    offered: payee,
                });
            }
        }
        let (hold, expires) = (hold(stated), stated.expires);
        let ready = Ready {
            payee: wish.payee,
            chain,
            address,
            lock,
        };
        // In a task of its own: whoever waits may stop waiting, the opening goes to its end.
        let (tell, told) = oneshot::channel();
        self.tasks
            .spawn(Arc::clone(self).conclude(terms, ready, deadline, tell));
        Ok(MadeTab::New(TabOutcome {
            tab: id,
            hold,
            expires,
            state: told.await.unwrap_or(Opened::Unknown),
        }))
    }

    /// Submits an opening that is written down and follows it to its end; `tell` hears how it stands
    /// at the deadline.
    async fn conclude(
        self: Arc<Self>,
        terms: SignedTerms,
        ready: Ready,
        deadline: Instant,
        tell: oneshot::Sender<Opened>,
    ) {
        match timeout_at(deadline, self.submit(&terms)).await {
            Ok(Judgement::Settled { receipt, size }) => {
                let tab = self.opened(&terms, *receipt, size, ready).await;
                let _ = tell.send(Opened::Open(tab));
            }
            Ok(Judgement::Refused { reason, .. }) => {
                self.refused(terms.statement().id, reason).await;
                let _ = tell.send(Opened::Refused(reason));
            }
            Ok(Judgement::NotMet | Judgement::Open(_)) | Err(_) => {
                let _ = tell.send(Opened::Unknown);
                self.find_out(terms, ready.lock).await;
            }
        }
    }

    /// Takes up the openings of unknown end that an earlier run left over.
    pub(crate) async fn take_up(self: &Arc<Self>) {
        let home = &self.ground.books.home;
        let rows = match home.journal().open_tabs().await {
            Ok(rows) => rows,
            Err(error) => return tracing::error!(%error, "cannot read the open tabs"),
        };
        let now = self.clock.now();
        for row in rows {
            let stated = row.terms.statement();
            if row.state == TabState::Opening && !home.is_running(row.owner) {
                // Whoever else takes it up has the lock.
                if let Ok(Some(lock)) = home.lock_tab(stated.id) {
                    let this = Arc::clone(self);
                    self.tasks
                        .spawn(async move { this.find_out(row.terms, lock).await });
                }
            } else if now.is_some_and(|now| now >= stated.until()) {
                // What is left of it came back, or does so now.
                let _ = self.ask(stated.id).await;
            }
        }
    }

    /// Makes and signs the terms: the chain of a million links takes 60 ms.
    async fn draw(
        &self,
        session: &Session,
        payee: PublicKey,
        wish: &TabOpening,
        until: Option<LedgerTime>,
    ) -> Result<(SignedTerms, Chain, Link), PayError> {
        if wish.units == 0 || wish.unit.is_zero() {
            return Err(PayError::Local(Reason::ZERO_AMOUNT));
        }
        if wish.units > LENGTH_MAX {
            return Err(PayError::Local(Reason::BAD_TERMS));
        }
        let local = |error: &dyn std::fmt::Display| RequestError::Local(error.to_string());
        let (mut random, mut last) = ([0; 10], [0; 32]);
        let surroundings = self.ground.books.home.surroundings();
        let source = &surroundings.random;
        source.fill(&mut random).map_err(|error| local(&error))?;
        source.fill(&mut last).map_err(|error| local(&error))?;
        let last = Link(last);
        let now = self.clock.now().unwrap_or(session.welcome.time);
        let opens = now.plus(wish.opens_within());
        let id = OrderId::new(until.map_or(opens, |until| until.min(opens)), random);
        let length = wish.units;
        let workers = surroundings.workers;
        let chain = workers
            .run(move || Chain::new(id, length, last))
            .await
            .flatten()
            .ok_or_else(|| local(&"the chain cannot be made"))?;
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: session.welcome.ledger,
            id,
            payer: self.ground.books.home.key(),
            payee,
            unit: wish.unit,
            length,
            anchor: chain.anchor(),
            expires: now.plus(wish.expires),
            grace: u32::try_from(wish.grace.as_secs()).unwrap_or(u32::MAX),
            memo: wish.memo.clone(),
            reference: wish.reference,
        };
        let terms = Signed::new(terms, self.ground.books.home.secret());
        Ok((terms, chain, last))
    }

    /// Submits the same terms until the answer is final; not so without a directory.
    async fn submit(&self, terms: &SignedTerms) -> Judgement {
        let (subject, mut backoff) = (Subject::of_tab(terms), self.ground.books.home.backoff());
        loop {
            let Some(link) = self.ground.directory.any_link().await else {
                return Judgement::Open(None);
            };
            let submission = Submission::Tab(terms.bytes().to_vec());
            if let Ok(answer) = link.submit(submission).await {
                match subject.submitted(answer, &self.ground.books.trust) {
                    // The same terms will not fare better while those tabs stay open.
                    Judgement::Open(Some(reason @ Reason::TOO_MANY_TABS)) => {
                        return Judgement::Refused {
                            reason,
                            entry: None,
                        };
                    }
                    Judgement::NotMet | Judgement::Open(_) => {}
                    end => return end,
                }
            }
            backoff.wait().await;
        }
    }

    /// Asks what became of terms that may have been sent, and voids them if nothing did.
    async fn find_out(self: &Arc<Self>, terms: SignedTerms, _lock: TabLock) {
        let (subject, mut backoff) = (Subject::of_tab(&terms), self.ground.books.home.backoff());
        while let Some(link) = self.ground.directory.any_link().await {
            match self.resolver.ask(&link, &subject).await {
                Ok(Judgement::Settled { receipt, size }) => {
                    return self.note_open(&terms, &receipt, size).await;
                }
                Ok(Judgement::Refused { reason, .. }) => {
                    return self.refused(subject.id, reason).await;
                }
                Ok(Judgement::NotMet | Judgement::Open(_)) | Err(Lost) => backoff.wait().await,
            }
        }
    }

    async fn opened(
        self: &Arc<Self>,
        terms: &SignedTerms,
        receipt: Receipt,
        size: u64,
        ready: Ready,
    ) -> Tab {
        self.note_open(terms, &receipt, size).await;
        let Ready {
            payee,
            chain,
            address,
            lock,
        } = ready;
        let stated = terms.statement().clone();
        let paying = super::Paying::new(stated, payee, receipt, chain, 0, lock);
        let tab = self.put(paying, address);
        self.tell(&tab.paying);
        tab
    }

    async fn note_open(&self, terms: &SignedTerms, receipt: &Receipt, size: u64) {
        let id = terms.statement().id;
        let journal = self.ground.books.home.journal();
        match journal.tab_opened(id, receipt, size).await {
            Ok(true) => tracing::info!(tab = %id, entry = receipt.index, "tab open"),
            Ok(false) => {}
            // The money is held all the same, and the journal will ask again.
            Err(error) => tracing::error!(tab = %id, %error, "cannot keep a tab's receipt"),
        }
    }

    async fn refused(&self, id: OrderId, reason: Reason) {
        tracing::info!(tab = %id, reason = reason.name(), "tab refused");
        let journal = self.ground.books.home.journal();
        if let Err(error) = journal.tab_refused(id, reason).await {
            tracing::error!(tab = %id, %error, "cannot keep a refusal");
        }
    }
}

/// What a tab needs once it is open.
struct Ready {
    payee: Name,
    chain: Chain,
    address: Option<SocketAddr>,
    lock: TabLock,
}
