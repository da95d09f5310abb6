//! Tabs: streaming payments between two nodes, one hash each. Both ends as ordinary Rust.
//!
//! The payer opens a tab ([`crate::Node::open_tab`]) and pays on it ([`Tab::pay`]); the payee takes
//! tabs as they come ([`crate::Node::next_tab`]) and charges them ([`IncomingTab::charge`]).
//! Nothing in between needs the directory, a signature or the disk.
//!
//! | part | does |
//! |---|---|
//! | `opening` | signs terms, writes them down, has the directory open the tab |
//! | `paying` | what is queued and acknowledged on one tab |
//! | `line` | the payer's stream to one payee |
//! | `desk` | which tabs pay this account, and which are taken |
//! | `policy` | what a payee asks of tabs, and what it risks on each |
//! | `incoming` | what is proven, saved and claimed on one tab, and how far it has come |
//! | `serve` | the payee's side of the stream |
//! | `keeper` | saves, claims and ends tabs in time |
//! | `list` | how they all stand |

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::chain::Chain;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::tab::{Close, Terms};
use quid_common::wire::OpenTab;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::LedgerClock;
use crate::directory::{Answer, RequestError, Submission};
use crate::home::{HomeError, TabLock};
use crate::journal::{TabRow, TabState};
use crate::pay::Payer;
use crate::resolve::Resolver;
use crate::tasks::Tasks;

mod desk;
mod incoming;
mod keeper;
mod line;
mod list;
mod opening;
mod paying;
mod policy;
mod serve;

pub use incoming::{IncomingTab, TabOver};
pub use list::{Role, TabItem, TabStage};
pub use opening::{Opened, TabOpening, TabOutcome};
pub use paying::{Progress, TabError};
pub use policy::{AcceptTab, TabPolicy};

pub(crate) use desk::Desk;
pub(crate) use keeper::{claim_all, keep};
pub(crate) use list::{Asking, list, newest};
pub(crate) use opening::{EXPIRES_DEFAULT, MadeTab};
pub(crate) use serve::serve;

use self::line::{Ground, Line};
use self::paying::Paying;

/// How long a payee is given to close a tab before the payer does it alone.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

/// How long after a tab's end its payee is waited for.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// Lines to payees that are kept though no tab is open on them.
const LINES_MAX: usize = 256;

/// How long a stopping node waits for acknowledgements.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// How long another process of this home is waited for that pays on the same tab.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How often that is looked at.
const LOCK_CHECK: Duration = Duration::from_millis(50);

/// A tab of this account. Clones are handles on the same one; it stays open when they are dropped.
#[derive(Clone, Debug)]
pub struct Tab {
    paying: Arc<Paying>,
    line: Arc<Line>,
    tabs: Arc<Tabs>,
}

/// How a closed tab was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TabClosed {
    /// Units that the payee has acknowledged.
    pub paid: u32,
    /// Whether the rest of the hold is back already; otherwise it comes back by itself at the end
    /// of the grace.
    pub released: bool,
}

impl Tab {
    /// Which tab.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.paying.terms.id
    }

    /// What was signed: unit, length, end.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.paying.terms
    }

    /// Who is paid.
    #[must_use]
    pub fn payee(&self) -> &Name {
        &self.paying.payee
    }

    /// The entry that opened it.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.paying.receipt.index
    }

    /// How far the tab is paid.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.paying.progress()
    }

    /// Queues a payment of `units`, each queued one in one write with those before it. Waits while
    /// the payee takes no more for now, and pays in parts if it takes less at once.
    ///
    /// Gives how many units are then paid or queued in all; see [`Self::acknowledged`].
    ///
    /// # Errors
    /// [`TabError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves queued what was; [`Self::progress`] tells how much.
    pub async fn send(&self, units: u32) -> Result<u32, TabError> {
        if let Some(pushed) = self.paying.push(units)? {
            self.wake(pushed.wakes);
            return Ok(pushed.queued);
        }
        let mut reserved = self.paying.reserve(units)?;
        loop {
            let (pushed, whole) = reserved.push()?;
            self.wake(pushed.wakes);
            if whole {
                return Ok(pushed.queued);
            }
            let room = self
                .paying
                .wait(|view| (view.ended.is_some() || view.queued < view.limit).then_some(()));
            tokio::select! {
                () = room => {}
                () = self.tabs.tasks.stop().cancelled() => return Err(TabError::Stopped),
            }
        }
    }

    fn wake(&self, wakes: bool) {
        if wakes {
            self.line.wake();
        }
    }

    /// Waits until the payee has acknowledged `total` units in all.
    ///
    /// # Errors
    /// [`TabError`]: it never will, unless it did.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn acknowledged(&self, total: u32) -> Result<(), TabError> {
        let told = self.paying.wait(|view| {
            if view.paid >= total {
                return Some(Ok(()));
            }
            view.ended.map(|reason| Err(TabError::Ended(reason)))
        });
        tokio::select! {
            told = told => told,
            () = self.tabs.tasks.stop().cancelled() => Err(TabError::Stopped),
        }
    }

    /// Pays `units` and waits until the payee has acknowledged them: the units paid in all.
    ///
    /// # Errors
    /// [`TabError`]. If the tab ended meanwhile, [`Self::progress`] tells what was paid.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the units paid.
    pub async fn pay(&self, units: u32) -> Result<u32, TabError> {
        let total = self.send(units).await?;
        self.acknowledged(total).await?;
        Ok(total)
    }

    /// Waits until the payee takes payments on this tab.
    ///
    /// # Errors
    /// [`TabError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn accepted(&self) -> Result<(), TabError> {
        let told = self.paying.wait(|view| match view.ended {
            Some(reason) => Some(Err(TabError::Ended(reason))),
            None => view.accepted.then_some(Ok(())),
        });
        tokio::select! {
            told = told => told,
            () = self.tabs.tasks.stop().cancelled() => Err(TabError::Stopped),
        }
    }

    /// Ends the tab: the payee claims what was paid and the rest comes back at once; if the payee
    /// cannot be reached within 3 s, at the end of the grace.
    ///
    /// # Errors
    /// [`RequestError`]: the tab may be open still; ask again.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the tab closed.
    pub async fn close(&self) -> Result<TabClosed, RequestError> {
        self.tabs.close(self).await
    }
}

/// The tabs of one account as a payer.
#[derive(Debug)]
pub(crate) struct Tabs {
    ground: Ground,
    clock: Arc<LedgerClock>,
    tasks: Arc<Tasks>,
    payer: Arc<Payer>,
    resolver: Arc<Resolver>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    tabs: HashMap<OrderId, (Arc<Paying>, Arc<Line>)>,
    lines: HashMap<PublicKey, Arc<Line>>,
    /// Closed, and held still until their grace is over.
    ending: HashSet<OrderId>,
}

impl Tabs {
    pub(crate) fn new(
        books: crate::books::Books,
        directory: Arc<crate::directory::Directory>,
        socket: crate::quic::Socket,
        clock: Arc<LedgerClock>,
        tasks: Arc<Tasks>,
        payer: Arc<Payer>,
        resolver: Arc<Resolver>,
    ) -> Self {
        Self {
            ground: Ground {
                books,
                directory,
                socket,
            },
            clock,
            tasks,
            payer,
            resolver,
            open: Mutex::default(),
        }
    }

    /// A tab of this account that is open: from the journal, on a new connection, if this node has
    /// not paid on it yet.
    pub(crate) async fn tab(self: &Arc<Self>, id: OrderId) -> Result<Tab, RequestError> {
        if let Some(tab) = self.get(id) {
            return Ok(tab);
        }
        let row = self.ground.books.home.journal().tab(id).await?;
        let row = row.ok_or(RequestError::Refused(Reason::NO_TAB))?;
        match row.state {
            TabState::Open { entry } => self.take_up_tab(row, entry).await,
            TabState::Opening => Err(RequestError::Unreachable(
                "it has not said yet whether this tab is open".to_owned(),
            )),
            TabState::Refused { reason } => Err(RequestError::Refused(reason)),
            TabState::Closed { .. } => Err(RequestError::Refused(Reason::TAB_OVER)),
        }
    }

    async fn take_up_tab(self: &Arc<Self>, row: TabRow, entry: u64) -> Result<Tab, RequestError> {
        let terms = row.terms.statement().clone();
        let lock = self.lock_tab(terms.id).await?;
        let journal = self.ground.books.home.journal();
        // Another process may have paid since we read the row.
        let paid = journal
            .tab(terms.id)
            .await?
            .map_or(row.paid, |row| row.paid);
        let receipt = journal
            .receipt(entry)
            .await?
            .ok_or_else(|| RequestError::Local("the tab's receipt is missing".to_owned()))?;
        let (id, length, last) = (terms.id, terms.length, row.last);
        let workers = self.ground.books.home.surroundings().workers;
        let chain = workers
            .run(move || Chain::new(id, length, last))
            .await
            .flatten()
            .ok_or_else(|| RequestError::Local("the tab's chain cannot be made".to_owned()))?;
        let address = row.address.and_then(|address| address.parse().ok());
        let paying = Paying::new(terms, row.payee, receipt, chain, paid, lock);
        Ok(self.put(paying, address))
    }

    /// Puts a tab on the line to its payee.
    fn put(self: &Arc<Self>, paying: Paying, address: Option<std::net::SocketAddr>) -> Tab {
        let (payee, name) = (paying.terms.payee, paying.payee.clone());
        let paying = Arc::new(paying);
        let (line, run) = {
            let mut open = self.lock();
            if open.lines.len() >= LINES_MAX {
                open.lines.retain(|_, line| line.is_running());
            }
            let line = open
                .lines
                .entry(payee)
                .or_insert_with(|| Arc::new(Line::new(payee, name, address)));
            let line = Arc::clone(line);
            let run = line.add(Arc::clone(&paying));
            let entry = (Arc::clone(&paying), Arc::clone(&line));
            open.tabs.insert(paying.terms.id, entry);
            (line, run)
        };
        if run {
            self.tasks.spawn(Arc::clone(&line).run(self.ground.clone()));
        }
        self.tasks
            .spawn(Arc::clone(self).follow(Arc::clone(&paying)));
        Tab {
            paying,
            line,
            tabs: Arc::clone(self),
        }
    }

    fn get(self: &Arc<Self>, id: OrderId) -> Option<Tab> {
        let open = self.lock();
        let (paying, line) = open.tabs.get(&id)?;
        Some(Tab {
            paying: Arc::clone(paying),
            line: Arc::clone(line),
            tabs: Arc::clone(self),
        })
    }

    /// Waits for a tab's end, and until nothing of it is held any more.
    async fn follow(self: Arc<Self>, paying: Arc<Paying>) {
        self.end(&paying).await;
        let id = paying.terms.id;
        self.keep_progress(&paying).await;
        self.lock().tabs.remove(&id);
        self.tell(&paying);
        let mut backoff = self.ground.books.home.backoff();
        while self.ground.directory.any_link().await.is_some() {
            match self.ask(id).await {
                Ok(None) => return,
                Ok(Some(open)) => {
                    if open.expires < paying.terms.expires {
                        self.lock().ending.insert(id);
                    }
                    let now = self.clock.now().unwrap_or(open.until);
                    let rest = open.until.since(now).max(Duration::from_secs(1));
                    sleep(rest.min(Duration::from_secs(60))).await;
                }
                Err(_) => backoff.wait().await,
            }
        }
    }

    /// Waits until a tab ends: by its payee's word, or by its time if the payee says nothing.
    async fn end(&self, paying: &Paying) {
        let ended = paying.wait(|view| view.ended.map(drop));
        tokio::pin!(ended);
        loop {
            // The payee ends it first, if it is there, and tells what was paid.
            let last = paying.terms.expires.plus(EXPIRY_SLACK);
            let rest = match self.clock.now() {
                Some(now) if now >= last => return paying.end(Some(Reason::EXPIRED)),
                Some(now) => last.since(now),
                None => EXPIRY_SLACK,
            };
            tokio::select! {
                () = &mut ended => return,
                () = sleep(rest.clamp(Duration::from_millis(10), Duration::from_secs(60))) => {}
            }
        }
    }

    /// Where the directory says that a tab of this account stands; none if it is not open, which
    /// is then written down.
    pub(super) async fn ask(&self, id: OrderId) -> Result<Option<OpenTab>, RequestError> {
        let books = &self.ground.books;
        let payer = books.home.key();
        let tab = self.ground.directory.ask_tab(payer, id).await?;
        if tab.is_none() {
            self.lock().ending.remove(&id);
        }
        if tab.is_none() && books.home.journal().tab_closed(id).await? {
            tracing::info!(tab = %id, "tab over");
        }
        Ok(tab)
    }

    async fn close(&self, tab: &Tab) -> Result<TabClosed, RequestError> {
        let paying = &tab.paying;
        if timeout(CLOSE_WAIT, tab.accepted()).await.is_ok() {
            paying.want_close();
            tab.line.wake();
            let ended = paying.wait(|view| view.ended);
            let _ = timeout(CLOSE_WAIT, ended).await;
        }
        let released = match self.ask(tab.id()).await? {
            None => true,
            Some(_) => {
                self.close_alone(tab.id()).await?;
                self.ask(tab.id()).await?.is_none()
            }
        };
        if !released {
            self.lock().ending.insert(tab.id());
        }
        paying.end(None);
        tab.line.wake();
        self.keep_progress(paying).await;
        Ok(TabClosed {
            paid: paying.progress().paid,
            released,
        })
    }

    /// Has the directory end the tab: the payee can claim for as long as the grace lasts.
    async fn close_alone(&self, id: OrderId) -> Result<(), RequestError> {
        let deadline = Instant::now() + crate::directory::REQUEST_WAIT;
        let mut backoff = self.ground.books.home.backoff();
        loop {
            let link = self.ground.directory.link(deadline).await?;
            let home = &self.ground.books.home;
            let close = Close::sign(link.welcome.ledger, home.key(), id, home.secret());
            match link.submit(Submission::Close(close.into_bytes())).await {
                Ok(Answer::Settled(_)) | Ok(Answer::Refused(Reason::NO_TAB, _)) => return Ok(()),
                Ok(Answer::Refused(Reason::BUSY | Reason::STOPPING, _)) | Err(_) => {}
                Ok(Answer::Refused(reason, _)) => return Err(RequestError::Refused(reason)),
                Ok(Answer::Voided(_)) => {
                    return Err(RequestError::Protocol("a close was voided".to_owned()));
                }
            }
            if timeout(
                deadline.saturating_duration_since(Instant::now()),
                backoff.wait(),
            )
            .await
            .is_err()
            {
                return Err(RequestError::Unreachable("no answer in time".to_owned()));
            }
        }
    }

    /// Whether a tab is known to be closed though its rest is not back yet.
    pub(super) fn is_ending(&self, id: OrderId) -> bool {
        self.lock().ending.contains(&id)
    }

    async fn keep_progress(&self, paying: &Paying) {
        let paid = paying.progress().paid;
        let journal = self.ground.books.home.journal();
        if let Err(error) = journal.tab_paid(paying.terms.id, paid).await {
            tracing::error!(%error, "cannot note how far a tab is paid");
        }
    }

    /// Waits shortly for what is queued to be acknowledged, and notes how far each tab is paid:
    /// what a node does before it stops.
    pub(crate) async fn stop(&self) {
        let all: Vec<Arc<Paying>> = {
            let open = self.lock();
            open.tabs.values().map(|(tab, _)| Arc::clone(tab)).collect()
        };
        let deadline = Instant::now() + LAST_WAIT;
        for paying in all {
            let rest = deadline.saturating_duration_since(Instant::now());
            let quiet = paying.wait(|view| {
                let quiet = !view.accepted || view.paid >= view.queued || view.ended.is_some();
                quiet.then_some(())
            });
            let _ = timeout(rest, quiet).await;
            self.keep_progress(&paying).await;
        }
    }

    async fn lock_tab(&self, id: OrderId) -> Result<TabLock, RequestError> {
        let deadline = Instant::now() + LOCK_WAIT;
        let local = |error: HomeError| RequestError::Local(error.to_string());
        loop {
            if let Some(lock) = self.ground.books.home.lock_tab(id).map_err(local)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                let busy = "another process of this home pays on this tab; try again later";
                return Err(RequestError::Local(busy.to_owned()));
            }
            sleep(LOCK_CHECK).await;
        }
    }

    fn tell(&self, paying: &Paying) {
        let event = crate::events::Event::Tab(list::own(paying));
        self.ground.books.hub.tell(event);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the whole of a tab is worth.
fn hold(terms: &Terms) -> Amount {
    terms.hold().unwrap_or(Amount::MAX)
}
