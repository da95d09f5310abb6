//! What a running node tells its application.
//!
//! Money that came is told from the journal's count of it: the channel is bounded, and what a slow
//! reader missed there is read again from the journal, in order, each once.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact};
use quid_common::id::{OrderId, Reference};
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, JournalError};
use crate::tabs::TabItem;

/// Something that happened to this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Logged in: peers and the directory can be reached.
    Online {
        /// The account's name.
        name: Name,
        /// The address from which the directory sees this node, HOST:PORT.
        address: String,
    },
    /// The session with the directory ended; the node tries to get it back.
    Offline {
        /// Why, for people.
        reason: String,
    },
    /// The directory has signed two histories. From now on nothing is paid or accepted.
    Forked {
        /// The file with the proof, which anybody can verify.
        file: PathBuf,
    },
    /// For 30 s the directory has not shown that its log holds what it signed. Nothing stops for
    /// that; ask its operator.
    Doubted {
        /// What it does not show, for people.
        reason: String,
    },
    /// Money came, settled beyond doubt. Told once for each payment.
    Received {
        /// The payment's entry in the log.
        entry: u64,
        /// The payer's order.
        order: OrderId,
        /// How much.
        amount: Amount,
        /// Who paid.
        payer: Name,
        /// The payer's words: foreign text.
        memo: Memo,
        /// The order's reference, whatever it refers to.
        reference: Option<Reference>,
        /// Whether `reference` was issued by [`crate::Node::new_reference`] on this home and this
        /// is the first payment to carry it, or is that of a request of this home
        /// ([`crate::Node::request`]) which this pays. Hand over goods only if so.
        answers: bool,
        /// Proves it.
        receipt: Box<Receipt>,
        /// When, in ledger time.
        time: LedgerTime,
    },
    /// A payment by this account settled.
    Sent {
        /// The payment's entry in the log.
        entry: u64,
        /// The order.
        order: OrderId,
        /// How much.
        amount: Amount,
        /// Who was paid.
        payee: Name,
        /// The payer's words.
        memo: Memo,
        /// When, in ledger time.
        time: LedgerTime,
    },
    /// An order by or to this account was refused for good; no money moved.
    Refused {
        /// The order.
        order: OrderId,
        /// Why.
        reason: Reason,
        /// Who is on the other side, if known.
        counterparty: Option<Name>,
    },
    /// A tab opened, was claimed or ended, at either end of it.
    Tab(TabItem),
    /// The operator issued money to this account.
    Issued {
        /// The entry in the log.
        entry: u64,
        /// How much.
        amount: Amount,
        /// When, in ledger time.
        time: LedgerTime,
    },
}

/// A node's events from the moment [`crate::Node::events`] was called.
pub struct Events {
    told: broadcast::Receiver<Told>,
    journal: Arc<Journal>,
    stop: CancellationToken,
    /// The last of the money that came that this reader was told of.
    last: i64,
    /// What the channel could not hold.
    backlog: VecDeque<(i64, Event)>,
    /// Whether the journal may hold more of it.
    more: bool,
}

impl Events {
    /// The next event; `None` once the node is closed or has ended ([`crate::Node::failed`]).
    ///
    /// A reader that falls more than 1,024 events behind misses the oldest of them, but never one
    /// about money that came.
    ///
    /// # Cancel safety
    /// Safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((number, event)) = self.backlog.pop_front() {
                self.last = number;
                return Some(event);
            }
            if self.more {
                self.read_backlog().await;
                continue;
            }
            let told = tokio::select! {
                biased;
                told = self.told.recv() => told,
                () = self.stop.cancelled() => return None,
            };
            match told {
                Ok(Told {
                    number: None,
                    event,
                }) => return Some(event),
                Ok(Told {
                    number: Some(number),
                    ..
                }) if number <= self.last => {}
                Ok(Told {
                    number: Some(number),
                    event,
                }) if number == self.last + 1 => {
                    self.last = number;
                    return Some(event);
                }
                // Two steps of the journal may be told in either order; it knows the right one.
                Ok(_) => self.more = true,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "an application reads its events too slowly");
                    self.more = true;
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    async fn read_backlog(&mut self) {
        match self
            .journal
            .received_after(self.last, BACKLOG_LEN_MAX)
            .await
        {
            Ok(received) => {
                self.more = received.len() == BACKLOG_LEN_MAX as usize;
                self.backlog
                    .extend(received.into_iter().filter_map(|received| {
                        let event =
                            money_event(received.receipt, received.payer, received.answers)?;
                        Some((received.number, event))
                    }));
            }
            Err(error) => {
                self.more = false;
                tracing::error!(%error, "cannot read from the journal what came");
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Where a node's parts tell their events.
#[derive(Debug)]
pub(crate) struct Hub {
    told: broadcast::Sender<Told>,
    journal: Arc<Journal>,
    stop: CancellationToken,
    last: AtomicI64,
    /// Entries told as sent: the payer's own task and the directory's events both know of them.
    sent: Mutex<BTreeSet<u64>>,
}

#[derive(Clone, Debug)]
struct Told {
    /// The count of money that came, if this is about some.
    number: Option<i64>,
    event: Event,
}

impl Hub {
    pub(crate) fn new(
        journal: Arc<Journal>,
        stop: CancellationToken,
    ) -> Result<Self, JournalError> {
        let last = AtomicI64::new(journal.received_last()?);
        let told = broadcast::Sender::new(EVENTS_LEN_MAX);
        Ok(Self {
            told,
            journal,
            stop,
            last,
            sent: Mutex::default(),
        })
    }

    pub(crate) fn events(&self) -> Events {
        // Subscribed first: what is told in between comes twice and is then left out.
        let told = self.told.subscribe();
        Events {
            told,
            journal: Arc::clone(&self.journal),
            stop: self.stop.clone(),
            last: self.last.load(Ordering::Acquire),
            backlog: VecDeque::new(),
            more: false,
        }
    }

    /// Tells everybody; never waits.
    pub(crate) fn tell(&self, event: Event) {
        // Nobody may listen.
        let _ = self.told.send(Told {
            number: None,
            event,
        });
    }

    /// Tells of money that came as the `number`th.
    pub(crate) fn tell_received(&self, number: i64, receipt: Receipt, payer: Name, answers: bool) {
        self.last.fetch_max(number, Ordering::AcqRel);
        if let Some(event) = money_event(receipt, payer, answers) {
            let _ = self.told.send(Told {
                number: Some(number),
                event,
            });
        }
    }

    /// Tells that a payment by this account settled, once for each entry.
    pub(crate) fn tell_sent(&self, entry: u64, event: Event) {
        {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            if !sent.insert(entry) {
                return;
            }
            if sent.len() > SENT_LEN_MAX {
                // Both sources tell within moments; an entry this old comes from neither again.
                sent.pop_first();
            }
        }
        self.tell(event);
    }
}

/// The event of a verified receipt that brought money.
fn money_event(receipt: Receipt, payer: Name, answers: bool) -> Option<Event> {
    let entry = receipt.index;
    let decoded = Entry::decode(&receipt.entry).ok()?;
    match decoded.fact {
        Fact::Payment(order) => {
            let order = order.statement();
            Some(Event::Received {
                entry,
                order: order.id,
                amount: order.amount,
                payer,
                memo: order.memo.clone(),
                reference: order.reference,
                answers,
                receipt: Box::new(receipt),
                time: decoded.time,
            })
        }
        Fact::Issue(issue) => Some(Event::Issued {
            entry,
            amount: issue.statement().amount,
            time: decoded.time,
        }),
        _ => None,
    }
}

/// Most events that wait for one reader.
const EVENTS_LEN_MAX: usize = 1024;

/// Most events read from the journal at once.
const BACKLOG_LEN_MAX: u32 = 256;

/// Most entries remembered as told.
const SENT_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use quid_common::checkpoint::{Checkpoint, Head};
    use quid_common::entry::Issue;
    use quid_common::id::{LedgerId, OperationId};
    use quid_common::key::SecretKey;
    use quid_common::signed::Signed;

    use super::*;
    use crate::journal::Moved;
    use crate::surroundings::Workers;

    #[tokio::test]
    async fn a_slow_reader_misses_no_money_and_hears_it_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.sqlite3");
        Journal::create(&path).expect("made");
        let journal = Arc::new(Journal::open(&path, Workers::Threads).expect("a journal"));
        let hub = Hub::new(Arc::clone(&journal), CancellationToken::new()).expect("a hub");
        let mut events = hub.events();
        let count = EVENTS_LEN_MAX as u64 * 2 + 10;
        let moved: Vec<Moved> = (0..count).map(moved).collect();
        let firsts = journal.receive(moved.clone()).await.expect("written");
        // Told in another order than written, as two tasks may do.
        for (moved, first) in moved.into_iter().zip(firsts).rev() {
            let number = first.expect("new").number;
            hub.tell_received(number, moved.receipt, moved.counterparty, false);
        }
        for entry in 0..count {
            match events.next().await {
                Some(Event::Issued { entry: told, .. }) => assert_eq!(told, entry),
                other => panic!("{other:?} instead of {entry}"),
            }
        }
        hub.tell(Event::Offline {
            reason: "the end".to_owned(),
        });
        assert!(matches!(events.next().await, Some(Event::Offline { .. })));
    }

    #[tokio::test]
    async fn what_was_told_before_is_not_told_again_and_the_end_is_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.sqlite3");
        Journal::create(&path).expect("made");
        let journal = Arc::new(Journal::open(&path, Workers::Threads).expect("a journal"));
        journal.receive(vec![moved(1)]).await.expect("written");
        let stop = CancellationToken::new();
        let hub = Hub::new(Arc::clone(&journal), stop.clone()).expect("a hub");
        let mut events = hub.events();
        let firsts = journal.receive(vec![moved(2)]).await.expect("written");
        let (first, told) = (firsts[0].expect("new"), moved(2));
        hub.tell_received(first.number, told.receipt, told.counterparty, false);
        assert!(matches!(
            events.next().await,
            Some(Event::Issued { entry: 2, .. })
        ));
        stop.cancel();
        assert_eq!(events.next().await, None);
    }

    #[test]
    fn an_entry_is_told_as_sent_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.sqlite3");
        Journal::create(&path).expect("made");
        let journal = Arc::new(Journal::open(&path, Workers::Threads).expect("a journal"));
        let hub = Hub::new(journal, CancellationToken::new()).expect("a hub");
        let mut told = hub.told.subscribe();
        for entry in [7, 8, 7] {
            hub.tell_sent(
                entry,
                Event::Offline {
                    reason: entry.to_string(),
                },
            );
        }
        assert!(told.try_recv().is_ok() && told.try_recv().is_ok() && told.try_recv().is_err());
    }

    fn moved(index: u64) -> Moved {
        let key = SecretKey::from_seed(&[1; 32]);
        let ledger = LedgerId([7; 32]);
        let issue = Issue {
            directory: key.public(),
            ledger,
            operation: OperationId([index as u8; 16]),
            account: SecretKey::from_seed(&[2; 32]).public(),
            amount: Amount::new(index).expect("small"),
        };
        let fact = Fact::Issue(Signed::new(issue, &key));
        let entry = Entry {
            time: LedgerTime::from_millis(1),
            fact,
        }
        .encode()
        .into();
        let checkpoint = Checkpoint::sign(
            ledger,
            Head {
                size: index + 1,
                root: [0; 32],
            },
            &key,
        );
        Moved {
            receipt: Receipt {
                entry,
                index,
                path: Vec::new().into(),
                checkpoint,
            },
            order: None,
            counterparty: Name::treasury(),
            size: index + 1,
            advances: true,
        }
    }
}
