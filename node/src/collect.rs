//! The payee: takes orders that payers offer, notes them, settles them, and answers.
//!
//! Nothing is owed until the receipt. An order is noted durably before it is submitted, its bytes
//! go to the directory unchanged, and its note is followed to its end: across lost connections,
//! and after a restart by [`Collector::resume`].

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Decline, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::wire::{AskHistory, Message, Offer};
use tokio::sync::{Semaphore, oneshot};

use crate::books::{Books, Movement};
use crate::clock::LedgerClock;
use crate::directory::{Directory, Submission};
use crate::fate::{Judgement, Subject};
use crate::heads::Source;
use crate::journal::{JournalError, NoteState, Noted};
use crate::node::{Decision, Options};
use crate::tasks::Tasks;

/// Orders of all payers that are being settled at once; more are answered *busy*.
const COLLECTING_MAX: usize = 4096;

/// Notes of an earlier run that are taken up in one go.
const RESUMED_MAX: u32 = 1024;

/// How long the directory has to tell by itself who paid before it is asked.
const NAME_WAIT: Duration = Duration::from_secs(2);

/// What an offer came to.
#[derive(Clone, Debug)]
pub(crate) enum Collected {
    /// It settled, and this proves it.
    Paid(Box<Receipt>),
    /// It did not, for this reason.
    Declined(Reason),
    /// Not known: the node stops.
    Unknown,
    /// The payer's fault: it signed wrongly. It is sent away.
    Breach,
}

/// Takes offers for one node.
#[derive(Debug)]
pub(crate) struct Collector {
    books: Books,
    directory: Arc<Directory>,
    clock: Arc<LedgerClock>,
    tasks: Arc<Tasks>,
    options: Options,
    room: Arc<Semaphore>,
    /// Notes being followed to their end.
    following: Mutex<HashSet<(PublicKey, OrderId)>>,
}

impl Collector {
    pub(crate) fn new(
        books: Books,
        directory: Arc<Directory>,
        clock: Arc<LedgerClock>,
        tasks: Arc<Tasks>,
        options: Options,
    ) -> Self {
        let room = Arc::new(Semaphore::new(COLLECTING_MAX));
        Self {
            books,
            directory,
            clock,
            tasks,
            options,
            room,
            following: Mutex::default(),
        }
    }

    /// Takes an offer from the payer that the connection has proved, to its end.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer; an order that was noted is followed all the same.
    pub(crate) async fn offered(self: &Arc<Self>, payer: PublicKey, offer: Offer) -> Collected {
        if let Some(checkpoint) = &offer.checkpoint
            && let Err(error) = self.books.trust.check(checkpoint, Source::Peer)
        {
            tracing::warn!(payer = %payer.short(), %error, "a payer's checkpoint proves nothing");
        }
        let Ok(order) = SignedOrder::from_bytes(&offer.order) else {
            return Collected::Declined(Reason::ENCODING);
        };
        if let Err(reason) = self.screen(order.statement(), payer) {
            return Collected::Declined(reason);
        }
        if self.books.trust.fork().is_some() {
            // Whatever was noted before goes on to its end; nothing new is taken.
            return match self.noted(&order).await {
                Ok(noted) => noted.unwrap_or(Collected::Declined(Reason::BUSY)),
                Err(error) => busy(&error),
            };
        }
        if let Some(accept) = &self.options.accept {
            // An order that was noted before is not judged again: its end stands or will.
            match self.noted(&order).await {
                Ok(None) => {}
                Ok(Some(collected)) => return collected,
                Err(error) => return busy(&error),
            }
            if accept(order.statement()) == Decision::Decline {
                return self.decline(&order);
            }
        }
        match self
            .books
            .home
            .journal()
            .note(order.clone(), self.options.require_reference)
            .await
        {
            Ok(Noted::New) => self.follow(order).await,
            Ok(Noted::Again(NoteState::Accepted)) => self.follow(order).await,
            Ok(Noted::Again(state)) => self.known(&order, state).await,
            Ok(Noted::OtherBytes) => Collected::Declined(Reason::ID_REUSED),
            Ok(Noted::Reference) => self.decline(&order),
            Err(error) => busy(&error),
        }
    }

    /// Takes up what an earlier run noted and did not see the end of.
    pub(crate) async fn resume(self: &Arc<Self>) {
        let notes = match self.books.home.journal().open_notes(RESUMED_MAX).await {
            Ok(notes) => notes,
            Err(error) => return tracing::error!(%error, "cannot read open notes"),
        };
        for note in notes {
            self.spawn(note.order, None);
        }
    }

    /// What is wrong with an order whoever wants it, in the order of precedence.
    fn screen(&self, order: &Order, payer: PublicKey) -> Result<(), Reason> {
        let checks = [
            (order.version == STATEMENT_VERSION, Reason::ENCODING),
            (
                Some(order.ledger) == self.books.trust.ledger(),
                Reason::WRONG_LEDGER,
            ),
            (order.payer == payer, Reason::WRONG_SUBMITTER),
            (
                order.payee == self.books.home.key(),
                Reason::WRONG_SUBMITTER,
            ),
            (
                self.clock.now().is_none_or(|now| now < order.id.expiry()),
                Reason::EXPIRED,
            ),
            (!order.amount.is_zero(), Reason::ZERO_AMOUNT),
            (order.payer != order.payee, Reason::SELF_PAYMENT),
        ];
        checks
            .into_iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, reason)| Err(reason))
    }

    async fn noted(
        self: &Arc<Self>,
        order: &SignedOrder,
    ) -> Result<Option<Collected>, JournalError> {
        let stated = order.statement();
        let notes = self.books.home.journal().notes(stated.id).await?;
        let note = notes
            .into_iter()
            .find(|note| note.order.statement().payer == stated.payer);
        Ok(match note {
            None => None,
            Some(note) if note.order.bytes() != order.bytes() => {
                Some(Collected::Declined(Reason::ID_REUSED))
            }
            Some(note) if note.state == NoteState::Accepted => {
                Some(self.follow(order.clone()).await)
            }
            Some(note) => Some(self.known(order, note.state).await),
        })
    }

    /// The end of an order that was noted before.
    async fn known(&self, order: &SignedOrder, state: NoteState) -> Collected {
        match state {
            NoteState::Accepted => Collected::Unknown,
            NoteState::Refused { reason } => Collected::Declined(reason),
            NoteState::Paid { entry } => match self.books.home.journal().receipt(entry).await {
                Ok(Some(receipt)) => Collected::Paid(Box::new(receipt)),
                Ok(None) => {
                    tracing::error!(order = %order.statement().id, entry, "a receipt is missing");
                    Collected::Declined(Reason::BUSY)
                }
                Err(error) => busy(&error),
            },
        }
    }

    /// Says no, and lets the directory log it, so that the payer need not believe us.
    fn decline(self: &Arc<Self>, order: &SignedOrder) -> Collected {
        let decline = Decline::sign(order, self.books.home.secret()).into_bytes();
        let submission = Submission::Order(order.bytes().to_vec(), Some(decline));
        tracing::info!(
            order = %order.statement().id, payer = %order.statement().payer.short(), "declined"
        );
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            let this = Arc::clone(self);
            self.tasks.spawn(async move {
                let _place = place;
                // Once is enough: the payer voids the order anyway.
                if let Some(link) = this.directory.any_link().await {
                    let _ = link.submit(submission).await;
                }
            });
        }
        Collected::Declined(Reason::PAYEE_DECLINED)
    }

    /// Follows a noted order to its end and tells it.
    async fn follow(self: &Arc<Self>, order: SignedOrder) -> Collected {
        let (end, ended) = oneshot::channel();
        self.spawn(order, Some(end));
        ended.await.unwrap_or(Collected::Unknown)
    }

    /// Follows a noted order in a task of its own: the payer's connection may end before.
    fn spawn(self: &Arc<Self>, order: SignedOrder, end: Option<oneshot::Sender<Collected>>) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            if let Some(end) = end {
                let _ = end.send(Collected::Declined(Reason::BUSY));
            }
            return;
        };
        let stated = order.statement();
        let which = (stated.payer, stated.id);
        let new = self
            .following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(which);
        if !new && end.is_none() {
            return;
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let _place = place;
            // Two offers of one order are submitted twice: the same bytes give the same answer.
            let collected = this.settle(&order).await;
            this.following
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&which);
            if let Some(end) = end {
                let _ = end.send(collected);
            }
        });
    }

    /// Submits the same bytes until the directory's answer is final.
    async fn settle(self: &Arc<Self>, order: &SignedOrder) -> Collected {
        let subject = Subject::of(order);
        let mut backoff = self.books.home.backoff();
        loop {
            let Some(link) = self.directory.any_link().await else {
                return Collected::Unknown;
            };
            let submission = Submission::Order(order.bytes().to_vec(), None);
            let Ok(answer) = link.submit(submission).await else {
                backoff.wait().await;
                continue;
            };
            match subject.submitted(answer, &self.books.trust) {
                Judgement::Settled { receipt, .. } => {
                    // The payer need not wait until we have written that down.
                    let (this, payer) = (Arc::clone(self), order.statement().payer);
                    let paid = receipt.clone();
                    self.tasks
                        .spawn(async move { this.paid(payer, *paid).await });
                    return Collected::Paid(receipt);
                }
                Judgement::Refused { reason, .. } => {
                    if let Err(error) = self.books.refused_note(order, reason).await {
                        tracing::error!(%error, "cannot keep a refusal");
                    }
                    let caught = reason == Reason::BAD_SIGNATURE;
                    return if caught {
                        Collected::Breach
                    } else {
                        Collected::Declined(reason)
                    };
                }
                Judgement::NotMet | Judgement::Open(_) => backoff.wait().await,
            }
        }
    }

    /// Turns the note into money that came. The step needs the payer's name, which the directory's
    /// events bring; a payer known before need not wait for them, and one that they do not bring
    /// is asked for.
    async fn paid(&self, payer: PublicKey, receipt: Receipt) {
        match self.books.home.journal().payer_name(payer).await {
            Ok(Some(name)) => return self.came(receipt, name).await,
            Ok(None) => {}
            Err(error) => return tracing::error!(%error, "cannot read a payer's name"),
        }
        tokio::time::sleep(NAME_WAIT).await;
        if let Some(name) = self.ask_name(receipt.index).await {
            self.came(receipt, name).await;
        }
    }

    async fn came(&self, receipt: Receipt, counterparty: Name) {
        let Ok(proven) = self.books.trust.prove(&receipt, Source::Directory) else {
            return;
        };
        let movement = Movement {
            receipt,
            proven,
            counterparty,
        };
        if let Err(error) = self.books.moved(vec![movement], false).await {
            tracing::error!(%error, "cannot keep a receipt");
        }
    }

    async fn ask_name(&self, entry: u64) -> Option<Name> {
        let mut backoff = self.books.home.backoff();
        loop {
            let ask = AskHistory {
                before: entry.checked_add(1),
                after: entry.checked_sub(1),
                limit: 1,
            };
            match self.directory.ask(ask).await {
                Ok(Message::HistoryPage(page)) => {
                    let line = page.lines.into_iter().find(|line| line.entry == entry);
                    return line.map(|line| line.counterparty);
                }
                Ok(_) => return None,
                Err(error) => tracing::debug!(%error, entry, "cannot ask who paid"),
            }
            self.directory.any_link().await?;
            backoff.wait().await;
        }
    }
}

fn busy(error: &JournalError) -> Collected {
    tracing::error!(%error, "cannot take an offer");
    Collected::Declined(Reason::BUSY)
}
