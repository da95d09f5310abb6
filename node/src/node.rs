//! The node: a handle on one socket, one session and the tasks between them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quid_common::amount::{Amount, Currency};
use quid_common::id::{LedgerId, OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Memo, Order};
use quid_common::receipt::{Proven, Receipt};
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_common::wire::Person;
use thiserror::Error;

use crate::directory::{RequestError, Session};
use crate::events::Events;
use crate::home::{Home, HomeError};
use crate::journal::JournalError;
use crate::pay::{Outcome, PayError, Payment, Resolved};
use crate::presence::PresenceEvents;

/// How a node runs.
#[derive(Clone)]
pub struct Options {
    /// Whether this node receives: takes peers' orders, has presence and hears of payments.
    pub listen: bool,
    /// Listening, but neither in `who` nor offered to payers.
    pub hidden: bool,
    /// The UDP address to bind.
    pub bind: SocketAddr,
    /// Whether a lost session is sought again; otherwise the first loss is final.
    pub reconnect: bool,
    /// Whether only orders are taken that answer a reference of [`Node::new_reference`], each
    /// once.
    pub require_reference: bool,
    /// Asked about every order that a peer offers, after all checks but before it is noted.
    pub accept: Option<Arc<dyn Fn(&Order) -> Decision + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: false,
            hidden: false,
            bind: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            reconnect: true,
            require_reference: false,
            accept: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("hidden", &self.hidden)
            .field("bind", &self.bind)
            .field("reconnect", &self.reconnect)
            .field("require_reference", &self.require_reference)
            .field("accept", &self.accept.is_some())
            .finish()
    }
}

/// Whether an offered order is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Settle it.
    Accept,
    /// Decline it for good.
    Decline,
}

/// A running node. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Node {}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The account's name.
    pub name: Name,
    /// Its key.
    pub key: PublicKey,
    /// The registration's entry in the log.
    pub entry: u64,
}

/// How the account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The account's name.
    pub name: Name,
    /// What it can spend.
    pub balance: Amount,
    /// What is reserved for its tabs.
    pub held: Amount,
    /// The ledger.
    pub ledger: LedgerId,
    /// What is counted.
    pub currency: Currency,
    /// How many of this home's orders have no known end yet.
    pub pending: u64,
}

/// How a void ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidOutcome {
    /// The order can never settle.
    Voided {
        /// The tombstone's entry.
        entry: u64,
    },
    /// The order had settled first, as this entry.
    Settled(u64),
    /// The order had been refused for good already.
    Refused {
        /// Why.
        reason: Reason,
        /// The entry that says so, if the refusal is logged.
        entry: Option<u64>,
    },
    /// No answer in time. Ask again.
    Unknown,
}

/// One line of the account's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    /// The entry in the log; none while the order's end is unknown.
    pub entry: Option<u64>,
    /// What happened.
    pub kind: Kind,
    /// Whether the account received (true) or paid (false).
    pub incoming: bool,
    /// How much.
    pub amount: Amount,
    /// Who is on the other side.
    pub counterparty: Name,
    /// The payer's words: foreign text.
    pub memo: Memo,
    /// Whether it is settled.
    pub state: HistoryState,
    /// When, in ledger time; for an order of unknown end, when it expires.
    pub time: LedgerTime,
    /// The order, for payments and burns.
    pub order: Option<OrderId>,
    /// The order's reference.
    pub reference: Option<Reference>,
}

/// What a line of history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An order from one account to another.
    Payment,
    /// Money issued by the operator.
    Issue,
    /// An order to the treasury.
    Burn,
    /// Something that this version does not know.
    Other(u8),
}

/// Whether a line of history is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryState {
    /// It is in the log.
    Settled,
    /// Its end is not known yet.
    Unknown,
}

/// Which receipt is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptId {
    /// That of an entry.
    Entry(u64),
    /// That of an order by or to this account.
    Order(OrderId),
}

#[expect(clippy::unused_async, reason = "stubs")]
impl Node {
    /// Starts a node on `home`. Binds its socket; does not wait for the directory.
    ///
    /// # Errors
    /// [`StartError`]: nothing was sent.
    ///
    /// # Cancel safety
    /// Safe: a node that is not returned ends.
    pub async fn start(home: Home, options: Options) -> Result<Self, StartError> {
        let _ = (home, options);
        todo!()
    }

    /// The home that this node runs on.
    #[must_use]
    pub fn home(&self) -> &Home {
        todo!()
    }

    /// Registers the home's key under `name`. Repeated with the same name, it answers as the first
    /// time.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropping this future may leave the name registered; ask again.
    pub async fn register(&self, name: &Name) -> Result<Registered, RequestError> {
        let _ = name;
        todo!()
    }

    /// Waits until this node is logged in, at most 5 s.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn login(&self) -> Result<Session, RequestError> {
        todo!()
    }

    /// How the account stands.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn status(&self) -> Result<Status, RequestError> {
        todo!()
    }

    /// Everybody who is online, by name.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn who(&self) -> Result<Vec<Person>, RequestError> {
        todo!()
    }

    /// Follows who is online: everybody first, then changes.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn watch(&self) -> Result<PresenceEvents, RequestError> {
        todo!()
    }

    /// Pays, and waits for the end as long as the payment says.
    ///
    /// # Errors
    /// [`PayError`]: nothing was sent and nothing will be.
    ///
    /// # Cancel safety
    /// Dropping this future may leave the order settled; the node follows it to its end and the
    /// journal remembers it.
    pub async fn pay(&self, payment: Payment) -> Result<Outcome, PayError> {
        let _ = payment;
        todo!()
    }

    /// Voids an order of this account that has not settled.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropping this future may leave the order voided; ask again.
    pub async fn void(&self, order: OrderId) -> Result<VoidOutcome, RequestError> {
        let _ = order;
        todo!()
    }

    /// The account's history, newest first: orders of this home of unknown end, then at most
    /// `limit` entries, all above `after`.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn history(
        &self,
        limit: usize,
        after: Option<u64>,
    ) -> Result<Vec<HistoryItem>, RequestError> {
        let _ = (limit, after);
        todo!()
    }

    /// A verified receipt, from the journal if it is there, else from the directory.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn receipt(&self, which: ReceiptId) -> Result<(Receipt, Proven), RequestError> {
        let _ = which;
        todo!()
    }

    /// Issues a reference that one payment to this home can carry, so that the payment can be told
    /// from all others. Blocks for one write to the disk.
    ///
    /// # Errors
    /// [`JournalError`]: no reference was issued.
    pub fn new_reference(&self) -> Result<Reference, JournalError> {
        todo!()
    }

    /// This node's events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        todo!()
    }

    /// Asks about every order that the journal holds open and nobody else follows; tells what is
    /// known of each after a few seconds at most.
    ///
    /// # Cancel safety
    /// Safe: asking goes on by itself.
    pub async fn resolve(&self) -> Vec<Resolved> {
        todo!()
    }

    /// Ends all tasks, tells peers and directory, and waits until that is said (a second at most).
    ///
    /// # Panics
    /// If one of the node's tasks did.
    pub async fn close(self) {
        todo!()
    }
}

/// Why a node did not start. Nothing was sent.
#[derive(Debug, Error)]
pub enum StartError {
    /// The UDP socket could not be opened.
    #[error("cannot open a UDP socket on {address}: {source}; choose another address")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The home's files are not usable.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The TLS or QUIC library refused our key or settings.
    #[error("no QUIC: {0}")]
    Quic(String),
}
