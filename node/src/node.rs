//! The node: a handle on one socket, one session and the tasks between them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::id::{InstanceId, LedgerId, OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::Order;
use quid_common::time::LedgerTime;
use quid_common::tls::TlsIdentity;
use quid_common::wire::{AskBalance, AskKeys, CloseCode, KeysStanding, Message, Welcome};
use thiserror::Error;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::books::Books;
use crate::clock::LedgerClock;
use crate::collect::Collector;
use crate::compare;
use crate::directory::{
    Directory, PresenceWish, REQUEST_WAIT, RequestError, Session, State, unexpected,
};
use crate::events::{Events, Hub};
use crate::history::{self, HistoryItem, SentItem};
use crate::home::{Home, HomeError, RunningMark};
use crate::inbox;
use crate::journal::JournalError;
use crate::pay::{Outcome, PayError, Payer, Payment, Resolved};
use crate::peer::{self, Payees};
use crate::presence::{self, PresenceEvents};
use crate::quic::{Socket, close_code};
use crate::resolve::Resolver;
use crate::surroundings::Network;
use crate::tabs::{Desk, TabPolicy, Tabs, claim_all, keep};
use crate::tasks::Tasks;
use crate::trust::Trust;
use crate::void::{self, VoidOutcome};

mod failing;
mod intents;
mod people;
mod receipts;
mod requests;
mod tabs;

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
    /// once, or pay a request of [`Node::request`].
    pub require_reference: bool,
    /// Asked about every order that a peer offers, after all checks but before it is noted; none
    /// takes them all.
    pub accept: Option<Accept>,
    /// What this node asks of tabs that pay it, and what it risks on each.
    pub tabs: TabPolicy,
}

/// Judges an order that is offered. It must not block.
pub type Accept = Arc<dyn Fn(&Order) -> Decision + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: false,
            hidden: false,
            bind: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            reconnect: true,
            require_reference: false,
            accept: None,
            tabs: TabPolicy::default(),
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
            .field("tabs", &self.tabs)
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

/// A running node. Clones are handles on the same one; with [`Node::close`], or with the last
/// handle, it ends.
#[derive(Clone, Debug)]
pub struct Node {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    home: Arc<Home>,
    socket: Socket,
    tasks: Arc<Tasks>,
    hub: Arc<Hub>,
    trust: Arc<Trust>,
    clock: Arc<LedgerClock>,
    directory: Arc<Directory>,
    books: Books,
    payer: Arc<Payer>,
    tabs: Arc<Tabs>,
    /// Where tabs pay this account, if it listens.
    desk: Option<Arc<Desk>>,
    resolver: Arc<Resolver>,
    /// Shows other processes that the orders this one owns are being followed.
    _mark: RunningMark,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.tasks.stop().cancel();
        self.socket
            .endpoint()
            .close(close_code(CloseCode::BYE), b"");
    }
}

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
    /// How many tabs of this home are open or may be.
    pub tabs: u64,
    /// The ledger.
    pub ledger: LedgerId,
    /// What is counted.
    pub currency: Currency,
    /// How many of this home's orders have no known end yet.
    pub pending: u64,
    /// Where the proof is that the directory has signed two histories, if it has. Nothing is paid
    /// or accepted then.
    pub fork: Option<PathBuf>,
    /// What the directory does not show of its log, or says that it lacks, for people.
    pub doubt: Option<String>,
}

/// Which receipt is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptId {
    /// That of an entry.
    Entry(u64),
    /// That of an order by or to this account.
    Order(OrderId),
}

impl Node {
    /// Starts a node on `home`. Binds its socket; does not wait for the directory.
    ///
    /// # Errors
    /// [`StartError`]: nothing was sent.
    ///
    /// # Cancel safety
    /// Safe: a node that is not returned ends.
    pub async fn start(home: Home, options: Options) -> Result<Self, StartError> {
        let identity = TlsIdentity::new(&home.secret().seed())?;
        let socket = Socket::bind(bind_address(&home, &options), identity, options.listen)?;
        Self::start_with(home, options, socket).await
    }

    /// Starts a node as [`Node::start`] does, on a socket that the caller brings.
    /// [`Options::bind`] says nothing then.
    ///
    /// # Errors
    /// [`StartError`]: nothing was sent.
    ///
    /// # Cancel safety
    /// Safe: a node that is not returned ends.
    pub async fn start_on(
        home: Home,
        options: Options,
        network: Network,
    ) -> Result<Self, StartError> {
        let identity = TlsIdentity::new(&home.secret().seed())?;
        let socket = Socket::on(network, identity, options.listen)?;
        Self::start_with(home, options, socket).await
    }

    async fn start_with(home: Home, options: Options, socket: Socket) -> Result<Self, StartError> {
        let home = Arc::new(home);
        home.sweep_marks();
        let mut instance = InstanceId([0; 16]);
        let random = &home.surroundings().random;
        random
            .fill(&mut instance.0)
            .map_err(|error| StartError::Quic(error.to_string()))?;
        let mark = home.mark_running(instance)?;

        let tasks = Arc::new(Tasks::default());
        let trust = Trust::new(home.directory().key(), home.ledger(), home.path());
        let journal = home.journal();
        if trust.fork().is_none() {
            journal.forget_forked().await.map_err(HomeError::from)?;
        }
        let base = journal.base().await.map_err(HomeError::from)?;
        let newest = journal.checkpoint().await.map_err(HomeError::from)?;
        trust.recall(base, newest);
        let trust = Arc::new(trust);
        let hub = Hub::new(Arc::clone(journal), tasks.stop().clone()).map_err(HomeError::from)?;
        let parts = Parts::assemble(home, socket, tasks, trust, Arc::new(hub), mark, &options);
        parts.run(options);
        Ok(Self {
            parts: Arc::new(parts),
        })
    }

    /// The home that this node runs on.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.parts.home
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
        self.register_with(name, None, None).await
    }

    /// As [`Self::register`], with a recovery key, which can name another key for the account one
    /// day and must be the same when this is repeated; and with the code that the operator of a
    /// directory that registers by invitation gave out. Repeated for the same name, it is one use of
    /// the code.
    ///
    /// # Errors
    /// [`RequestError`]; a code that is not good is refused by name.
    ///
    /// # Cancel safety
    /// As [`Self::register`].
    pub async fn register_with(
        &self,
        name: &Name,
        recovery: Option<PublicKey>,
        invite: Option<&str>,
    ) -> Result<Registered, RequestError> {
        self.parts.directory.register(name, recovery, invite).await
    }

    /// Waits until this node is logged in, at most 5 s.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn login(&self) -> Result<Session, RequestError> {
        let link = self
            .parts
            .directory
            .link(Instant::now() + REQUEST_WAIT)
            .await?;
        let Welcome {
            name,
            currency,
            ledger,
            address,
            ..
        } = link.welcome.clone();
        Ok(Session {
            name,
            currency,
            ledger,
            address,
        })
    }

    /// How the account stands.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn status(&self) -> Result<Status, RequestError> {
        let Session {
            name,
            currency,
            ledger,
            ..
        } = self.login().await?;
        let balance = match self.parts.directory.ask(AskBalance {}).await? {
            Message::Balance(balance) => balance,
            answer => return Err(unexpected(&answer)),
        };
        self.parts.clock.observe(balance.time, Instant::now());
        let journal = self.parts.home.journal();
        let pending = journal.open_orders_count().await?;
        let tabs = journal.open_tabs().await?.len() as u64;
        let (balance, held) = (balance.available, balance.held);
        Ok(Status {
            name,
            balance,
            held,
            tabs,
            ledger,
            currency,
            pending,
            fork: self.parts.trust.fork().map(Path::to_owned),
            doubt: self.parts.trust.doubt(),
        })
    }

    /// Where the keys of `name` stand.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keys(&self, name: &Name) -> Result<KeysStanding, RequestError> {
        let name = name.clone();
        match self.parts.directory.ask(AskKeys { name }).await? {
            Message::KeysStanding(standing) => Ok(standing),
            answer => Err(unexpected(&answer)),
        }
    }

    /// What the directory does not show of its log, or says that it lacks, for people; as far as
    /// this node has met it.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        self.parts.trust.doubt()
    }

    /// Waits until the directory has shown that its log goes on from all that this node knows of
    /// it, or has shown that it does not; a second at most. A node that stays need not call it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn compare(&self) {
        let _ = timeout(COMPARE_WAIT, self.parts.trust.compared()).await;
    }

    /// The ledger's time now, as the directory last said it: against the system's it shows which of
    /// the two clocks is off. None before the first login.
    #[must_use]
    pub fn ledger_time(&self) -> Option<LedgerTime> {
        self.parts.clock.now()
    }

    /// Follows who is online: everybody first, then changes.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn watch(&self) -> Result<PresenceEvents, RequestError> {
        self.login().await?;
        Ok(presence::watch(
            Arc::clone(&self.parts.directory),
            &self.parts.tasks,
        ))
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
        self.parts.payer.pay(payment).await
    }

    /// The newest payments that this home has sent, whatever became of them: `limit` at most, newest
    /// first, read from the journal alone.
    ///
    /// # Errors
    /// [`RequestError::Local`] if the journal cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sent(&self, limit: u32) -> Result<Vec<SentItem>, RequestError> {
        let rows = self.parts.home.journal().newest_orders(limit).await?;
        Ok(rows.iter().map(history::sent).collect())
    }

    /// Voids an order of this account that has not settled. Waits 10 s at most.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropping this future may leave the order voided; ask again.
    pub async fn void(&self, order: OrderId) -> Result<VoidOutcome, RequestError> {
        void::void(&self.parts.resolver, order).await
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
        history::history(&self.parts.directory, limit, after).await
    }

    /// Issues a reference that one payment to this home can carry, so that the payment can be told
    /// from all others. Blocks for one write to the disk.
    ///
    /// # Errors
    /// [`JournalError`]: no reference was issued.
    pub fn new_reference(&self) -> Result<Reference, JournalError> {
        let mut reference = Reference([0; 16]);
        let random = &self.parts.home.surroundings().random;
        random
            .fill(&mut reference.0)
            .map_err(|error| JournalError::Failed(error.to_string()))?;
        self.parts.home.journal().issue_reference(reference)?;
        Ok(reference)
    }

    /// This node's events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.parts.hub.events()
    }

    /// Asks about every order that the journal holds open and nobody else follows; tells what is
    /// known of each after 5 s at most.
    ///
    /// # Cancel safety
    /// Safe: asking goes on by itself.
    pub async fn resolve(&self) -> Vec<Resolved> {
        self.parts.resolver.resolve().await
    }

    /// Claims what tabs have paid (2 s at most), ends all tasks, tells peers and directory, and
    /// waits until that is said (a second at most).
    ///
    /// # Panics
    /// If one of the node's tasks did.
    pub async fn close(self) {
        self.parts.tabs.stop().await;
        if let Some(desk) = &self.parts.desk {
            claim_all(desk).await;
        }
        self.parts
            .socket
            .endpoint()
            .close(close_code(CloseCode::BYE), b"");
        self.parts.tasks.close().await;
        self.parts.socket.close(CLOSE_WAIT).await;
    }
}

impl Parts {
    fn assemble(
        home: Arc<Home>,
        socket: Socket,
        tasks: Arc<Tasks>,
        trust: Arc<Trust>,
        hub: Arc<Hub>,
        mark: RunningMark,
        options: &Options,
    ) -> Self {
        let clock = Arc::new(LedgerClock::default());
        let directory = Arc::new(Directory {
            home: Arc::clone(&home),
            socket: socket.clone(),
            trust: Arc::clone(&trust),
            clock: Arc::clone(&clock),
            hub: Arc::clone(&hub),
            tasks: Arc::clone(&tasks),
            presence: PresenceWish {
                instance: mark.instance(),
                listening: options.listen,
                hidden: options.hidden,
            },
            reconnect: options.reconnect,
            state: watch::Sender::new(State::Seeking("not connected yet".to_owned())),
            turn: Mutex::default(),
            kick: Notify::new(),
        });
        let books = Books {
            home: Arc::clone(&home),
            trust: Arc::clone(&trust),
            hub: Arc::clone(&hub),
            desk: Arc::default(),
        };
        let resolver = Arc::new(Resolver {
            books: books.clone(),
            directory: Arc::clone(&directory),
            clock: Arc::clone(&clock),
            tasks: Arc::clone(&tasks),
            instance: mark.instance(),
            following: std::sync::Mutex::default(),
            turn: Mutex::default(),
        });
        let payees = Payees::new(socket.clone(), Arc::clone(&tasks), Arc::clone(&trust));
        let payer = Arc::new(Payer::new(
            books.clone(),
            Arc::clone(&directory),
            Arc::clone(&clock),
            Arc::clone(&tasks),
            payees,
            Arc::clone(&resolver),
        ));
        let tabs = Arc::new(Tabs::new(
            books.clone(),
            Arc::clone(&directory),
            socket.clone(),
            Arc::clone(&clock),
            Arc::clone(&tasks),
            Arc::clone(&payer),
            Arc::clone(&resolver),
        ));
        let desk = options.listen.then(|| {
            Arc::new(Desk::new(
                books.clone(),
                Arc::clone(&directory),
                Arc::clone(&clock),
                Arc::clone(&tasks),
                options.tabs.clone(),
            ))
        });
        if let Some(desk) = &desk {
            let _ = books.desk.set(Arc::downgrade(desk));
        }
        Self {
            home,
            socket,
            tasks,
            hub,
            trust,
            clock,
            directory,
            books,
            payer,
            tabs,
            desk,
            resolver,
            _mark: mark,
        }
    }

    /// Starts the node's tasks. None of them holds the parts, so that the last handle can end them.
    fn run(&self, options: Options) {
        let tasks = &self.tasks;
        tasks.spawn(Arc::clone(&self.directory).supervise());
        tasks.spawn(compare::follow(
            Arc::clone(&self.directory),
            self.books.clone(),
        ));
        let collector = options.listen.then(|| {
            Arc::new(Collector::new(
                self.books.clone(),
                Arc::clone(&self.directory),
                Arc::clone(&self.clock),
                Arc::clone(tasks),
                options,
            ))
        });
        if let Some(collector) = &collector {
            let serve = peer::serve(
                self.socket.clone(),
                Arc::clone(collector),
                self.desk.clone(),
                Arc::clone(tasks),
            );
            tasks.spawn(serve);
            tasks.spawn(inbox::follow(
                Arc::clone(&self.directory),
                self.books.clone(),
            ));
            tasks.spawn(failing::end_with_journal(
                Arc::clone(&self.home),
                self.socket.clone(),
                tasks.stop().clone(),
            ));
        }
        if let Some(desk) = &self.desk {
            tasks.spawn(keep(Arc::clone(desk)));
        }
        let (directory, resolver) = (Arc::clone(&self.directory), Arc::clone(&self.resolver));
        let tabs = Arc::clone(&self.tabs);
        tasks.spawn(take_up_leftovers(directory, resolver, collector, tabs));
    }
}

/// Takes up what earlier runs left over: after each login, and now and then.
async fn take_up_leftovers(
    directory: Arc<Directory>,
    resolver: Arc<Resolver>,
    collector: Option<Arc<Collector>>,
    tabs: Arc<Tabs>,
) {
    while directory.any_link().await.is_some() {
        if let Some(collector) = &collector {
            collector.resume().await;
        }
        resolver.take_up().await;
        tabs.take_up().await;
        let mut state = directory.state.subscribe();
        state.mark_unchanged();
        tokio::select! {
            _ = state.changed() => {}
            () = sleep(LEFTOVERS_EVERY) => {}
        }
    }
}

/// The address to bind: one that can reach the directory, unless the caller chose.
fn bind_address(home: &Home, options: &Options) -> SocketAddr {
    let chosen = options.bind;
    let v6 = home
        .directory()
        .host()
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_ipv6());
    if v6 && chosen == SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) {
        return SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    }
    chosen
}

/// How often leftovers are looked for while a session lasts.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(5);

/// How long [`Node::compare`] waits.
const COMPARE_WAIT: Duration = Duration::from_secs(1);

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

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
