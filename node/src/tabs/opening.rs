//! Opening a tab: signed, written down, and only then sent to the directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::chain::{Chain, LENGTH_MAX, Link};
use quid_common::entry::Fact;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{LIFE_DEFAULT, Memo, STATEMENT_VERSION, Void};
use quid_common::receipt::Receipt;
use quid_common::refusal::{Class, Reason};
use quid_common::signed::Signed;
use quid_common::tab::{GRACE_DEFAULT, SignedTerms, Terms};
use quid_common::time::LedgerTime;
use quid_common::wire::{AskFate, Message};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Tab, Tabs, hold};
use crate::backoff::Backoff;
use crate::directory::{Answer, Link as Session, REQUEST_WAIT, RequestError, Submission};
use crate::heads::Source;
use crate::home::TabLock;
use crate::journal::{Inserted, NewTab, TabState};
use crate::pay::{PayError, WAIT_DEFAULT};
use crate::trust::Trust;

/// How long a tab lives unless its payer wants another time.
const EXPIRES_DEFAULT: Duration = Duration::from_secs(60 * 60);

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

/// What the directory's answer means for an opening.
enum Told {
    Open(Box<Receipt>, u64),
    Refused(Reason),
    NotMet,
    Again,
}

impl Tabs {
    /// See [`crate::Node::open_tab`].
    pub(crate) async fn open(self: &Arc<Self>, wish: TabOpening) -> Result<TabOutcome, PayError> {
        let begun = Instant::now();
        // No wait is longer than the terms can stay unopened.
        let deadline = begun + wish.wait.min(LIFE_DEFAULT);
        let limit = begun + wish.wait.clamp(Duration::from_secs(1), REQUEST_WAIT);
        let (payee, address) = self.payer.meet(&wish.payee, limit).await?;
        let session = self.ground.directory.link(limit).await?;
        let (terms, chain, last) = self.draw(&session, payee, &wish).await?;
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
        };
        match self.ground.books.home.journal().insert_tab(new).await? {
            Inserted::Written => {}
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
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            match timeout_at(deadline, this.submit(&terms)).await {
                Ok(Told::Open(receipt, size)) => {
                    let tab = this.opened(&terms, *receipt, size, ready).await;
                    let _ = tell.send(Opened::Open(tab));
                }
                Ok(Told::Refused(reason)) => {
                    this.refused(id, reason).await;
                    let _ = tell.send(Opened::Refused(reason));
                }
                Ok(Told::NotMet | Told::Again) | Err(_) => {
                    let _ = tell.send(Opened::Unknown);
                    this.find_out(terms, ready.lock).await;
                }
            }
        });
        Ok(TabOutcome {
            tab: id,
            hold,
            expires,
            state: told.await.unwrap_or(Opened::Unknown),
        })
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
    ) -> Result<(SignedTerms, Chain, Link), PayError> {
        if wish.units == 0 || wish.unit.is_zero() {
            return Err(PayError::Local(Reason::ZERO_AMOUNT));
        }
        if wish.units > LENGTH_MAX {
            return Err(PayError::Local(Reason::BAD_TERMS));
        }
        let local = |error: &dyn std::fmt::Display| RequestError::Local(error.to_string());
        let (mut random, mut last) = ([0; 10], [0; 32]);
        getrandom::fill(&mut random).map_err(|error| local(&error))?;
        getrandom::fill(&mut last).map_err(|error| local(&error))?;
        let last = Link(last);
        let now = self.clock.now().unwrap_or(session.welcome.time);
        // A short tab must be open soon, or not at all.
        let id = OrderId::new(now.plus(LIFE_DEFAULT.min(wish.expires / 2)), random);
        let length = wish.units;
        let chain = tokio::task::spawn_blocking(move || Chain::new(id, length, last))
            .await
            .ok()
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

    /// Submits the same terms until the answer is final.
    async fn submit(&self, terms: &SignedTerms) -> Told {
        let mut backoff = Backoff::default();
        loop {
            let Some(link) = self.ground.directory.any_link().await else {
                return Told::Again;
            };
            let submission = Submission::Tab(terms.bytes().to_vec());
            if let Ok(answer) = link.submit(submission).await {
                match submitted(terms, answer, &self.ground.books.trust) {
                    Told::Again | Told::NotMet => {}
                    told => return told,
                }
            }
            backoff.wait().await;
        }
    }

    /// Asks what became of terms that may have been sent, and voids them if nothing did.
    async fn find_out(self: &Arc<Self>, terms: SignedTerms, _lock: TabLock) {
        let stated = terms.statement();
        let trust = &self.ground.books.trust;
        let mut backoff = Backoff::default();
        while let Some(link) = self.ground.directory.any_link().await {
            let ask = AskFate {
                payer: stated.payer,
                id: stated.id,
            };
            let mut told = match self.ground.directory.ask(ask).await {
                Ok(Message::Fate(fate)) => match fate.receipt {
                    Some(receipt) => judged(&terms, receipt, trust),
                    None if fate.time >= stated.id.expiry() => Told::Refused(Reason::EXPIRED),
                    None => Told::NotMet,
                },
                Ok(_) | Err(_) => Told::Again,
            };
            if matches!(told, Told::NotMet) {
                let secret = self.ground.books.home.secret();
                let void = Void::sign(stated.ledger, stated.id, secret);
                let submission = Submission::Void(void.into_bytes());
                told = match link.submit(submission).await {
                    Ok(answer) => submitted(&terms, answer, trust),
                    Err(_) => Told::Again,
                };
            }
            match told {
                Told::Open(receipt, size) => return self.note_open(&terms, &receipt, size).await,
                Told::Refused(reason) => return self.refused(stated.id, reason).await,
                Told::NotMet | Told::Again => backoff.wait().await,
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

fn submitted(terms: &SignedTerms, answer: Answer, trust: &Trust) -> Told {
    trust.heard(match &answer {
        Answer::Refused(reason, _) => Some(*reason),
        Answer::Settled(_) | Answer::Voided(_) => None,
    });
    match answer {
        Answer::Settled(receipt) | Answer::Voided(receipt) => judged(terms, receipt, trust),
        Answer::Refused(reason, receipt) => match (reason.class(), receipt) {
            (Class::Logged, Some(receipt)) => judged(terms, receipt, trust),
            (Class::Logged | Class::Static | Class::Expired, _) => Told::Refused(reason),
            // The same terms will not fare better while these stay open.
            (Class::NotFinal, _) if reason == Reason::TOO_MANY_TABS => Told::Refused(reason),
            (Class::NotFinal | Class::Request, _) => Told::Again,
        },
    }
}

/// What a receipt says of the terms, whoever brought it.
fn judged(terms: &SignedTerms, receipt: Receipt, trust: &Trust) -> Told {
    let stated = terms.statement();
    let proven = match trust.prove(&receipt, Source::Directory) {
        Ok(proven) => proven,
        Err(error) => {
            tracing::error!(tab = %stated.id, %error, "a receipt that proves nothing was given");
            return Told::Again;
        }
    };
    let ours = |payer: PublicKey, id: OrderId| (payer, id) == (stated.payer, stated.id);
    match &proven.entry().fact {
        Fact::Tab(opened) if opened.bytes() == terms.bytes() => {
            Told::Open(Box::new(receipt), proven.head().size)
        }
        Fact::Tab(other) if ours(other.statement().payer, other.statement().id) => {
            Told::Refused(Reason::ID_REUSED)
        }
        Fact::Payment(other) if ours(other.statement().payer, other.statement().id) => {
            Told::Refused(Reason::ID_REUSED)
        }
        Fact::Void(void) if ours(void.statement().payer, void.statement().id) => {
            Told::Refused(Reason::VOIDED)
        }
        Fact::Refusal(refusal) if ours(refusal.payer, refusal.id) => {
            let same = refusal.order == terms.digest();
            Told::Refused(if same {
                refusal.reason
            } else {
                Reason::ID_REUSED
            })
        }
        _ => {
            tracing::error!(tab = %stated.id, "a receipt about something else was given");
            Told::Again
        }
    }
}
