//! Orders of unknown end: asking about each until its end is known.
//!
//! The directory is asked by the order's id. Settled or refused is final; an order that it has not
//! met is voided, and whichever entry comes first is the end. Nothing is ever guessed, and nothing
//! new is made of the same intent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quid_common::id::{InstanceId, OrderId};
use quid_common::name::Name;
use quid_common::order::{SignedOrder, Void};
use quid_common::refusal::Reason;
use quid_common::wire::{AskFate, Message};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::books::Books;
use crate::calls::Lost;
use crate::clock::LedgerClock;
use crate::directory::{Directory, Link, Submission};
use crate::fate::{Judgement, Subject};
use crate::journal::OrderRow;
use crate::pay::{Outcome, Resolved, Route, State};
use crate::stream;
use crate::tasks::Tasks;

/// How long [`Resolver::resolve`] waits for ends.
const RESOLVE_WAIT: Duration = Duration::from_secs(5);

/// Longest time for asking about one order once.
const FATE_WAIT: Duration = Duration::from_secs(5);

/// Most orders that are taken up in one go; the rest follows with the next.
const ROWS_MAX: u32 = 256;

/// Follows orders of unknown end.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) books: Books,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<LedgerClock>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) instance: InstanceId,
    pub(crate) following: Mutex<HashMap<OrderId, Follow>>,
    /// Held while leftovers are taken up: whoever comes second finds them followed, and waits for
    /// their ends like the first.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

/// An order that a task of this node follows to its end.
#[derive(Clone, Debug)]
pub(crate) enum Follow {
    /// Its payment is still being made.
    Payment,
    /// It was left over; its state appears here.
    Leftover(watch::Receiver<Option<State>>),
}

/// Says that an order is followed, until dropped.
#[derive(Debug)]
pub(crate) struct Following {
    resolver: Arc<Resolver>,
    id: OrderId,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.resolver.lock().remove(&self.id);
    }
}

impl Resolver {
    /// Marks an order as followed by the caller; `None` if it is already.
    pub(crate) fn follow(self: &Arc<Self>, id: OrderId, how: Follow) -> Option<Following> {
        let mut following = self.lock();
        if following.contains_key(&id) {
            return None;
        }
        following.insert(id, how);
        Some(Following {
            resolver: Arc::clone(self),
            id,
        })
    }

    /// Takes up every order that the journal holds open and nobody follows, and tells what is known
    /// of each within [`RESOLVE_WAIT`].
    ///
    /// # Cancel safety
    /// Safe: following goes on by itself.
    pub(crate) async fn resolve(self: &Arc<Self>) -> Vec<Resolved> {
        let deadline = Instant::now() + RESOLVE_WAIT;
        let mut ends = Vec::new();
        for row in self.take_up().await {
            if let Some(Follow::Leftover(end)) = self.how(row.order.statement().id) {
                ends.push((row, end));
            }
        }
        let mut resolved = Vec::with_capacity(ends.len());
        for (row, mut end) in ends {
            let known = timeout_at(deadline, end.wait_for(Option::is_some)).await;
            let state = match known {
                Ok(Ok(state)) => state.clone().unwrap_or(State::Unknown),
                Ok(Err(_)) | Err(_) => State::Unknown,
            };
            resolved.push(outcome(&row, state));
        }
        resolved
    }

    /// Starts following what nobody follows; gives all orders that this node follows as leftovers.
    pub(crate) async fn take_up(self: &Arc<Self>) -> Vec<OrderRow> {
        let _turn = self.turn.lock().await;
        let rows = match self.books.home.journal().open_orders(ROWS_MAX).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "cannot read open orders");
                return Vec::new();
            }
        };
        let mut ours = Vec::new();
        for row in rows {
            let id = row.order.statement().id;
            match self.how(id) {
                Some(Follow::Payment) => continue,
                Some(Follow::Leftover(_)) => {}
                None if self.claim(&row).await => self.start(row.clone()),
                None => continue,
            }
            ours.push(row);
        }
        ours
    }

    /// Takes an order over, unless a living process follows it.
    async fn claim(&self, row: &OrderRow) -> bool {
        if row.owner != self.instance && self.books.home.is_running(row.owner) {
            return false;
        }
        let id = row.order.statement().id;
        match self
            .books
            .home
            .journal()
            .claim_order(id, row.owner, self.instance)
            .await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(order = %id, %error, "cannot take an order over");
                false
            }
        }
    }

    fn start(self: &Arc<Self>, row: OrderRow) {
        let (end, ended) = watch::channel(None);
        let id = row.order.statement().id;
        let Some(following) = self.follow(id, Follow::Leftover(ended)) else {
            return;
        };
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tracing::info!(order = %id, counterparty = %row.payee, "asking about an order");
            let state = this.end(&row.order, &row.payee, row.route, None).await;
            drop(following);
            end.send_replace(Some(state));
        });
    }

    /// Asks about an order, and voids it if the directory has not met it, until its end is known
    /// and written down. A void that `hint` explains is told as that.
    pub(crate) async fn end(
        &self,
        order: &SignedOrder,
        payee: &Name,
        route: Option<Route>,
        hint: Option<Reason>,
    ) -> State {
        let (subject, mut backoff) = (Subject::of(order), self.books.home.backoff());
        loop {
            let Some(link) = self.directory.any_link().await else {
                return State::Unknown;
            };
            match self.ask(&link, &subject).await {
                Ok(Judgement::Settled { receipt, size }) => {
                    return self.books.settled(order, payee, route, receipt, size).await;
                }
                Ok(Judgement::Refused { reason, entry }) => {
                    let reason = told_reason(reason, hint);
                    return self.books.refused(order, payee, route, reason, entry).await;
                }
                Ok(Judgement::NotMet | Judgement::Open(_)) | Err(Lost) => backoff.wait().await,
            }
        }
    }

    /// Asks once; voids if need be.
    pub(crate) async fn ask(&self, link: &Link, subject: &Subject<'_>) -> Result<Judgement, Lost> {
        let question = AskFate {
            payer: subject.payer,
            id: subject.id,
        }
        .into();
        let deadline = Instant::now() + FATE_WAIT;
        let judgement = match stream::ask(&link.connection, &question, deadline).await {
            Ok(Message::Fate(fate)) => {
                self.clock.observe(fate.time, Instant::now());
                self.books.trust.heard(None);
                subject.asked(fate.receipt, fate.time, &self.books.trust)
            }
            Ok(Message::Refused(refused)) => {
                self.books.trust.heard(Some(refused.reason));
                Judgement::Open(Some(refused.reason))
            }
            Ok(_) => Judgement::Open(None),
            Err(_) => return Err(Lost),
        };
        match judgement {
            // Its key was replaced before this session began: nothing settles it any more.
            Judgement::NotMet if subject.payer != self.books.home.key() => Ok(Judgement::Refused {
                reason: Reason::KEY_REPLACED,
                entry: None,
            }),
            Judgement::NotMet => self.void(link, subject).await,
            known => Ok(known),
        }
    }

    /// Voids an order once.
    pub(crate) async fn void(&self, link: &Link, subject: &Subject<'_>) -> Result<Judgement, Lost> {
        let ledger = link.welcome.ledger;
        let void = Void::sign(ledger, subject.id, self.books.home.secret()).into_bytes();
        let answer = link.submit(Submission::Void(void)).await?;
        Ok(subject.voided(answer, &self.books.trust))
    }

    fn how(&self, id: OrderId) -> Option<Follow> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, Follow>> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an order's row says of it, with a state that may be newer.
pub(crate) fn outcome(row: &OrderRow, state: State) -> Outcome {
    let stated = row.order.statement();
    Outcome {
        order: stated.id,
        amount: stated.amount,
        payee: row.payee.clone(),
        route: row.route.unwrap_or(Route::Directory),
        state,
    }
}

/// A void answers something; what it answered is the better reason.
const fn told_reason(reason: Reason, hint: Option<Reason>) -> Reason {
    match hint {
        Some(hint) if reason.0 == Reason::VOIDED.0 => hint,
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use quid_common::address::DirectoryAddress;
    use quid_common::amount::Amount;
    use quid_common::id::LedgerId;
    use quid_common::key::SecretKey;
    use quid_common::order::{Memo, Order, STATEMENT_VERSION};
    use quid_common::signed::Signed;
    use quid_common::time::LedgerTime;
    use tokio::time::timeout;

    use super::*;
    use crate::journal::NewOrder;
    use crate::{Home, Node, Options};

    #[tokio::test]
    async fn whoever_asks_at_one_time_waits_for_the_same_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = SecretKey::from_seed(&[1; 32]).public();
        let address = DirectoryAddress::new(directory, "127.0.0.1", 9).expect("an address");
        let home = Home::init(&folder.path().join("home"), &address).expect("a home");
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: LedgerId([1; 32]),
            id: OrderId::new(LedgerTime::from_millis(1), [1; 10]),
            payer: home.key(),
            payee: SecretKey::from_seed(&[2; 32]).public(),
            amount: Amount::new(1).expect("small"),
            memo: Memo::default(),
            reference: None,
        };
        let left_over = NewOrder {
            order: Signed::new(order, home.secret()),
            payee: "bob".parse().expect("a name"),
            route: Some(Route::Direct),
            owner: InstanceId([1; 16]),
            intent: None,
        };
        let written = home.journal().insert_order(left_over).await;
        written.expect("the journal is new");
        // Nobody is there to ask, so the end is waited for.
        let node = Node::start(home, Options::default()).await.expect("a node");
        let wait = || timeout(Duration::from_millis(200), node.resolve());
        let (one, other) = tokio::join!(wait(), wait());
        assert!(one.is_err() && other.is_err(), "{one:?} {other:?}");
        node.close().await;
    }

    #[test]
    fn a_hint_explains_a_void_and_nothing_else() {
        let declined = Some(Reason::PAYEE_DECLINED);
        for (reason, hint, told) in [
            (Reason::VOIDED, None, Reason::VOIDED),
            (Reason::VOIDED, declined, Reason::PAYEE_DECLINED),
            (Reason::FROZEN, declined, Reason::FROZEN),
            (Reason::EXPIRED, declined, Reason::EXPIRED),
        ] {
            assert_eq!(told_reason(reason, hint), told);
        }
    }
}
