//! The payer: finds the payee, signs, writes down, and only then sends.
//!
//! An order goes one way. Once a byte of it may have left for the payee, this node never submits it
//! itself; it asks about it, and voids it if need be. An order of which nothing has left goes to
//! the directory. Which way is durable before the first byte leaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{LIFE_DEFAULT, Memo, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use quid_common::wire::{AskBalance, Message};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::books::Books;
use crate::clock::LedgerClock;
use crate::compare;
use crate::directory::{Directory, Link, REQUEST_WAIT, RequestError, Submission, unexpected};
use crate::fate::{Judgement, Subject};
use crate::journal::{Inserted, JournalError, NewOrder, Purpose};
use crate::peer::{PayeeAnswer, PayeeLink, Payees};
use crate::requests::{Aim, Unpayable};
use crate::resolve::{Follow, Resolver};
use crate::tasks::Tasks;

mod finding;

use finding::Way;

/// Longest time that a payment is waited for unless its [`Payment::wait`] says otherwise.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// How long a payee may take to answer; then the directory is asked instead.
const PAYEE_WAIT: Duration = Duration::from_secs(5);

/// Shortest time that the directory is waited for, however impatient the payer is.
const ASK_WAIT_MIN: Duration = Duration::from_secs(1);

/// Payments being made at once; more wait their turn.
const PAYING_MAX: usize = 1024;

/// A wish to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who is paid.
    pub payee: Name,
    /// How much.
    pub amount: Amount,
    /// A word to the payee.
    pub memo: Memo,
    /// The request that this answers or the order that it refunds.
    pub reference: Option<Reference>,
    /// Longest time [`crate::Node::pay`] waits for the end.
    pub wait: Duration,
}

impl Payment {
    /// Pays `payee` this much, without memo or reference, and waits [`WAIT_DEFAULT`] at most.
    #[must_use]
    pub fn new(payee: Name, amount: Amount) -> Self {
        Self {
            payee,
            amount,
            memo: Memo::default(),
            reference: None,
            wait: WAIT_DEFAULT,
        }
    }
}

/// Which way an order went to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Straight to the payee, who settles it.
    Direct,
    /// By the payer itself, because the payee could not be reached.
    Directory,
}

impl Route {
    /// The name that output and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Directory => "directory",
        }
    }
}

/// How a payment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The order.
    pub order: OrderId,
    /// How much.
    pub amount: Amount,
    /// Who is paid.
    pub payee: Name,
    /// Which way the order went.
    pub route: Route,
    /// Whether money moved.
    pub state: State,
}

/// Whether money moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It did, and this proves it.
    Settled {
        /// The payment's entry in the log.
        entry: u64,
        /// Verified.
        receipt: Box<Receipt>,
    },
    /// It did not and never will by this order.
    Refused {
        /// Why.
        reason: Reason,
        /// The entry that says so, if the refusal is logged.
        entry: Option<u64>,
    },
    /// Not known yet. The node goes on asking; do not pay the same intent again.
    Unknown,
}

/// What became of an order that the journal held open.
pub type Resolved = Outcome;

/// Why nothing was sent and nothing will be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PayError {
    /// Refused before anything was signed: oneself, nobody of that name, zero, or not enough
    /// money.
    #[error("refused: {0}")]
    Local(Reason),
    /// The payee's key is not the one that this home has paid before. Either the payee has a new
    /// key, or somebody poses as the payee: ask them.
    #[error("the key of {name} has changed from {pinned} to {offered}; nothing was sent")]
    KeyChanged {
        /// The payee.
        name: Name,
        /// The key paid before.
        pinned: PublicKey,
        /// The key that the directory names now.
        offered: PublicKey,
    },
    /// Another payment was made of this intent or another tab opened, or is being made: what was asked
    /// now differs from it and was not sent. Take a new intent for it.
    #[error(
        "this was used for {order} already, which pays somebody else, another amount or for \
         something else; nothing was sent"
    )]
    IntentUsed {
        /// The order or tab that was made of it.
        order: OrderId,
    },
    /// The directory has signed two histories: what it settles proves nothing any more. Ask its
    /// operator; once that is settled, move the file away and start the node again, which then trusts
    /// the directory afresh.
    #[error("{}", compare::stopped(.file))]
    Forked {
        /// The file with the proof.
        file: PathBuf,
    },
    /// The request cannot be paid, or the entry not refunded.
    #[error(transparent)]
    Unpayable(#[from] Unpayable),
    /// The directory did not answer, or the journal could not be written.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<JournalError> for PayError {
    fn from(error: JournalError) -> Self {
        Self::Request(error.into())
    }
}

/// Makes a node's payments.
#[derive(Debug)]
pub(crate) struct Payer {
    books: Books,
    directory: Arc<Directory>,
    clock: Arc<LedgerClock>,
    tasks: Arc<Tasks>,
    payees: Payees,
    resolver: Arc<Resolver>,
    room: Arc<Semaphore>,
    /// What the account could spend when last asked, less what was tried since.
    spendable: AtomicU64,
}

/// A payment on its way.
struct Task {
    order: SignedOrder,
    payee: Name,
    way: Way,
    purpose: Option<Purpose>,
}

/// What became of a wish to pay for a purpose.
#[derive(Debug)]
pub(crate) enum Made {
    /// An order was made for it.
    New(Outcome),
    /// This order or tab serves it already; nothing was sent.
    Earlier(OrderId),
}

/// Why an order is not in the journal.
enum NotWritten {
    /// This one serves the same purpose.
    Earlier(OrderId),
    Error(PayError),
}

/// What the waiting caller hears from the payment's task.
struct Waited {
    /// The journal holds the order; or it does not, and nothing was sent.
    written: oneshot::Receiver<Result<(), NotWritten>>,
    /// The way that it goes.
    routed: oneshot::Receiver<Route>,
    ended: oneshot::Receiver<State>,
}

struct Telling {
    written: Option<oneshot::Sender<Result<(), NotWritten>>>,
    routed: Option<oneshot::Sender<Route>>,
    ended: oneshot::Sender<State>,
}

impl Payer {
    pub(crate) fn new(
        books: Books,
        directory: Arc<Directory>,
        clock: Arc<LedgerClock>,
        tasks: Arc<Tasks>,
        payees: Payees,
        resolver: Arc<Resolver>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(PAYING_MAX));
        let spendable = AtomicU64::new(0);
        Self {
            books,
            directory,
            clock,
            tasks,
            payees,
            resolver,
            room,
            spendable,
        }
    }

    /// See [`crate::Node::pay`].
    pub(crate) async fn pay(self: &Arc<Self>, payment: Payment) -> Result<Outcome, PayError> {
        match self.pay_for(payment, None).await? {
            Made::New(outcome) => Ok(outcome),
            Made::Earlier(order) => {
                let what = format!("order {order} was made for no purpose and serves one");
                Err(RequestError::Local(what).into())
            }
        }
    }

    /// Pays as [`Self::pay`] does; with an aim, nobody else than it says, in time, by its way, and
    /// only if nothing serves its purpose yet.
    pub(crate) async fn pay_for(
        self: &Arc<Self>,
        payment: Payment,
        aim: Option<Aim>,
    ) -> Result<Made, PayError> {
        let begun = Instant::now();
        let deadline = begun + payment.wait;
        if payment.amount.is_zero() {
            return Err(PayError::Local(Reason::ZERO_AMOUNT));
        }
        self.check_payee(&payment.payee)?;
        // Nothing is sent before this time, or nothing at all.
        let limit = begun + payment.wait.clamp(ASK_WAIT_MIN, REQUEST_WAIT);
        let link = self.directory.link(limit).await?;
        let place = timeout_at(limit, Arc::clone(&self.room).acquire_owned())
            .await
            .map_err(|_| RequestError::Local("too many payments at once; try again".to_owned()))?
            .map_err(|_| closed())?;
        let (key, way) = self.find(&payment.payee, limit).await?;
        if key == self.books.home.key() {
            return Err(PayError::Local(Reason::SELF_PAYMENT));
        }
        let way = self
            .check_aim(aim.as_ref(), (&payment.payee, key), way)
            .await?;
        self.check_funds(payment.amount, limit).await?;
        let until = aim.as_ref().and_then(|aim| aim.until);
        let order = self.sign(&link, key, &payment, until)?;
        let id = order.statement().id;

        let (telling, mut waited) = telling();
        let task = Task {
            order,
            payee: payment.payee.clone(),
            way,
            purpose: aim.map(|aim| aim.purpose),
        };
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let _place = place;
            this.run(task, telling).await;
        });
        match (&mut waited.written).await.map_err(|_| closed())? {
            Ok(()) => {}
            Err(NotWritten::Earlier(order)) => return Ok(Made::Earlier(order)),
            Err(NotWritten::Error(error)) => return Err(error),
        }
        let state = match timeout_at(deadline, &mut waited.ended).await {
            Ok(Ok(state)) => state,
            Ok(Err(_)) | Err(_) => State::Unknown,
        };
        // Not decided yet means that the payee is still being looked for.
        let route = waited.routed.try_recv().unwrap_or(Route::Direct);
        Ok(Made::New(Outcome {
            order: id,
            amount: payment.amount,
            payee: payment.payee,
            route,
            state,
        }))
    }

    /// Refuses what the account surely cannot pay, so that no id is burnt for it.
    pub(crate) async fn check_funds(&self, amount: Amount, limit: Instant) -> Result<(), PayError> {
        if self.spend(amount) {
            return Ok(());
        }
        // The last figure is too small, but money may have come since.
        let available = match self.directory.ask_until(AskBalance {}, limit).await? {
            Message::Balance(balance) => {
                self.clock.observe(balance.time, Instant::now());
                balance.available
            }
            answer => return Err(unexpected(&answer).into()),
        };
        self.spendable.store(available.units(), Ordering::Release);
        if self.spend(amount) {
            Ok(())
        } else {
            Err(PayError::Local(Reason::INSUFFICIENT_FUNDS))
        }
    }

    fn spend(&self, amount: Amount) -> bool {
        let less = |spendable: u64| spendable.checked_sub(amount.units());
        self.spendable
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    fn sign(
        &self,
        link: &Link,
        payee: PublicKey,
        payment: &Payment,
        until: Option<LedgerTime>,
    ) -> Result<SignedOrder, PayError> {
        let mut random = [0; 10];
        let source = &self.books.home.surroundings().random;
        source
            .fill(&mut random)
            .map_err(|error| RequestError::Local(error.to_string()))?;
        let now = self.clock.now().unwrap_or(link.welcome.time);
        let expiry = now.plus(LIFE_DEFAULT);
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: link.welcome.ledger,
            id: OrderId::new(until.map_or(expiry, |until| until.min(expiry)), random),
            payer: self.books.home.key(),
            payee,
            amount: payment.amount,
            memo: payment.memo.clone(),
            reference: payment.reference,
        };
        Ok(Signed::new(order, self.books.home.secret()))
    }

    /// Writes the order down and follows it to its end.
    async fn run(&self, task: Task, mut telling: Telling) {
        let id = task.order.statement().id;
        let Some(following) = self.resolver.follow(id, Follow::Payment) else {
            return;
        };
        let new = NewOrder {
            order: task.order.clone(),
            payee: task.payee.clone(),
            route: match task.way {
                Way::Open(_) => Some(Route::Direct),
                Way::Address(_) => None,
                Way::Offline => Some(Route::Directory),
            },
            owner: self.resolver.instance,
            purpose: task.purpose,
        };
        let written = match self.books.home.journal().insert_order(new).await {
            Ok(Inserted::Written) => Ok(()),
            Ok(Inserted::KeyChanged(pinned)) => Err(NotWritten::Error(PayError::KeyChanged {
                name: task.payee.clone(),
                pinned,
                offered: task.order.statement().payee,
            })),
            Ok(Inserted::Earlier(order)) => Err(NotWritten::Earlier(order)),
            Err(error) => Err(NotWritten::Error(error.into())),
        };
        let failed = written.is_err();
        if let Some(tell) = telling.written.take() {
            let _ = tell.send(written);
        }
        if failed {
            return;
        }
        let state = self.send(task, &mut telling).await;
        drop(following);
        // The payer may have stopped waiting; the journal knows the end.
        let _ = telling.ended.send(state);
    }

    /// Chooses the way, and sends.
    async fn send(&self, task: Task, telling: &mut Telling) -> State {
        let Task {
            order, payee, way, ..
        } = task;
        let stated = order.statement();
        let mut routed = |route| telling.routed.take().map(|tell| tell.send(route));
        let (open, decided) = match way {
            Way::Open(open) => (Some(open), true),
            Way::Address(address) => (self.payees.reach(stated.payee, address).await, false),
            Way::Offline => (None, true),
        };
        let route = if open.is_some() {
            Route::Direct
        } else {
            Route::Directory
        };
        if !decided
            && let Err(error) = self
                .books
                .home
                .journal()
                .route_order(stated.id, route)
                .await
        {
            tracing::error!(order = %stated.id, %error, "cannot write which way an order goes");
            return self.resolver.end(&order, &payee, None, None).await;
        }
        let _ = routed(route);
        match open {
            Some(open) => self.offer(&open, &order, &payee).await,
            None => self.submit(&order, &payee).await,
        }
    }

    /// Hands the order to the payee. Whatever it says short of a receipt is only a hint.
    async fn offer(&self, open: &PayeeLink, order: &SignedOrder, payee: &Name) -> State {
        let route = Some(Route::Direct);
        let hint = match timeout(PAYEE_WAIT, open.offer(order)).await {
            Ok(Ok(PayeeAnswer::Paid(receipt))) => {
                match Subject::of(order).proved(receipt, &self.books.trust) {
                    Judgement::Settled { receipt, size } => {
                        return self.books.settled(order, payee, route, receipt, size).await;
                    }
                    _ => {
                        tracing::warn!(
                            order = %order.statement().id, payee = %payee,
                            "the payee's receipt does not prove this payment"
                        );
                        None
                    }
                }
            }
            // Only this the payee decides by itself; all else it could only pass on.
            Ok(Ok(PayeeAnswer::Declined(Reason::PAYEE_DECLINED))) => Some(Reason::PAYEE_DECLINED),
            Ok(Ok(PayeeAnswer::Declined(reason))) => {
                tracing::debug!(order = %order.statement().id, ?reason, "the payee said no");
                None
            }
            Ok(Err(_)) | Err(_) => {
                self.payees.forget(&order.statement().payee).await;
                None
            }
        };
        self.resolver.end(order, payee, route, hint).await
    }

    /// Submits the same bytes until the directory's answer is final.
    async fn submit(&self, order: &SignedOrder, payee: &Name) -> State {
        let (subject, route) = (Subject::of(order), Some(Route::Directory));
        let mut backoff = self.books.home.backoff();
        loop {
            let Some(link) = self.directory.any_link().await else {
                return State::Unknown;
            };
            let submission = Submission::Order(order.bytes().to_vec(), None);
            let Ok(answer) = link.submit(submission).await else {
                backoff.wait().await;
                continue;
            };
            match subject.submitted(answer, &self.books.trust) {
                Judgement::Settled { receipt, size } => {
                    return self.books.settled(order, payee, route, receipt, size).await;
                }
                Judgement::Refused { reason, entry } => {
                    return self.books.refused(order, payee, route, reason, entry).await;
                }
                Judgement::Open(Some(
                    hint @ (Reason::UNKNOWN_ACCOUNT | Reason::EXPIRY_TOO_FAR),
                )) => {
                    // Not final, but the same bytes will not fare better before they expire.
                    return self.resolver.end(order, payee, route, Some(hint)).await;
                }
                Judgement::NotMet | Judgement::Open(_) => backoff.wait().await,
            }
        }
    }
}

fn telling() -> (Telling, Waited) {
    let (tell_written, written) = oneshot::channel();
    let (tell_routed, routed) = oneshot::channel();
    let (tell_ended, ended) = oneshot::channel();
    let telling = Telling {
        written: Some(tell_written),
        routed: Some(tell_routed),
        ended: tell_ended,
    };
    (
        telling,
        Waited {
            written,
            routed,
            ended,
        },
    )
}

fn closed() -> PayError {
    JournalError::Closed.into()
}
