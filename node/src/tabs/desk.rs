//! The payee's desk: which tabs pay this account, and whether a tab that is offered is taken.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quid_common::chain::Mark;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::STATEMENT_VERSION;
use quid_common::receipt::Proven;
use quid_common::refusal::Reason;
use quid_common::tab::Terms;
use quid_common::time::LedgerTime;
use quid_common::wire::{OpenTab, TabOffer};
use tokio::sync::Notify;

use super::incoming::{Held, IncomingTab};
use super::policy::TabPolicy;
use crate::books::Books;
use crate::clock::LedgerClock;
use crate::directory::Directory;
use crate::events::Event;
use crate::heads::Source;
use crate::journal::{IncomingRow, JournalError};
use crate::node::Decision;
use crate::tasks::Tasks;

/// Open tabs of all payers together; more are declined. Each takes less than 2 KiB.
const TABS_MAX: usize = 65_536;

/// Which tab: its payer and its id.
pub(super) type Which = (PublicKey, OrderId);

/// The tabs that pay one node.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) books: Books,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Arc<LedgerClock>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) policy: TabPolicy,
    open: Mutex<Open>,
    /// Wakes the keeper.
    pub(super) keeper: Arc<Notify>,
    /// Wakes whoever waits for the next tab.
    came: Notify,
}

#[derive(Debug, Default)]
struct Open {
    tabs: HashMap<Which, Arc<Held>>,
    /// How many each payer has.
    count: HashMap<PublicKey, usize>,
    /// Places taken for tabs that are being judged, those of `count` included.
    reserved: usize,
    /// Tabs that the application has not been told of.
    untold: VecDeque<Arc<Held>>,
}

impl Desk {
    pub(crate) fn new(
        books: Books,
        directory: Arc<Directory>,
        clock: Arc<LedgerClock>,
        tasks: Arc<Tasks>,
        policy: TabPolicy,
    ) -> Self {
        Self {
            books,
            directory,
            clock,
            tasks,
            policy,
            open: Mutex::default(),
            keeper: Arc::default(),
            came: Notify::new(),
        }
    }

    /// Takes up the tabs that an earlier run left open.
    pub(crate) async fn resume(&self) {
        let mut backoff = self.books.home.backoff();
        let rows = loop {
            match self.books.home.journal().open_incoming_tabs().await {
                Ok(rows) => break rows,
                Err(error) => tracing::error!(%error, "cannot read the open tabs"),
            }
            backoff.wait().await;
        };
        for row in rows {
            self.put(row, None);
        }
        self.keeper.notify_one();
    }

    /// The next tab that pays this account and was not given out before.
    pub(crate) async fn next(&self) -> IncomingTab {
        loop {
            let came = self.came.notified();
            if let Some(held) = self.lock().untold.pop_front() {
                return IncomingTab { held };
            }
            came.await;
        }
    }

    /// All tabs that pay this account now.
    pub(super) fn all(&self) -> Vec<Arc<Held>> {
        self.lock().tabs.values().cloned().collect()
    }

    pub(super) fn get(&self, which: &Which) -> Option<Arc<Held>> {
        self.lock().tabs.get(which).cloned()
    }

    /// Lets go of a tab of which nothing is left.
    pub(super) fn forget(&self, which: &Which) {
        let mut open = self.lock();
        if open.tabs.remove(which).is_some() {
            open.leave(&which.0);
        }
        open.untold.retain(|held| held.which() != *which);
    }

    /// Judges a tab that its payer, proved by the connection, offers.
    pub(super) async fn offered(
        &self,
        payer: PublicKey,
        offer: TabOffer,
    ) -> Result<Arc<Held>, Declined> {
        if let Some(checkpoint) = &offer.checkpoint
            && let Err(error) = self.books.trust.check(checkpoint, Source::Peer)
        {
            tracing::warn!(payer = %payer.short(), %error, "a payer's checkpoint proves nothing");
        }
        let proven = self
            .books
            .trust
            .prove(&offer.receipt, Source::Peer)
            .map_err(|error| {
                tracing::warn!(payer = %payer.short(), %error, "a tab's receipt proves nothing");
                Declined::new(Reason::ENCODING)
            })?;
        let terms = self.own(&proven, payer).map_err(Declined::new)?;
        match self.judge(terms, &proven, &offer).await {
            Ok(held) => Ok(held),
            // What it paid stands, and the payer may not have heard of all.
            Err(reason) => Err(Declined {
                reason,
                paid: self.paid((payer, terms.id)).await,
            }),
        }
    }

    /// The terms, if they are the payer's own and to this node.
    fn own<'a>(&self, proven: &'a Proven, payer: PublicKey) -> Result<&'a Terms, Reason> {
        let terms = proven.entry().terms().ok_or(Reason::ENCODING)?.statement();
        if terms.version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        if Some(terms.ledger) != self.books.trust.ledger() {
            return Err(Reason::WRONG_LEDGER);
        }
        if terms.payer != payer || terms.payee != self.books.home.key() {
            return Err(Reason::WRONG_SUBMITTER);
        }
        Ok(terms)
    }

    /// Units that are known to be paid on a tab, whatever has become of it.
    async fn paid(&self, which: Which) -> u32 {
        if let Some(held) = self.get(&which) {
            return held.lock().mark.index;
        }
        let row = self.books.home.journal().incoming_tab(which.0, which.1);
        match row.await {
            Ok(row) => row.map_or(0, |row| row.mark.index.max(row.claimed)),
            Err(error) => {
                tracing::error!(%error, "cannot read what a tab paid");
                0
            }
        }
    }

    async fn judge(
        &self,
        terms: &Terms,
        proven: &Proven,
        offer: &TabOffer,
    ) -> Result<Arc<Held>, Reason> {
        let which = (terms.payer, terms.id);
        if self.books.trust.fork().is_some() {
            return Err(Reason::BUSY);
        }
        if let Some(held) = self.get(&which) {
            return self.known(held).await;
        }
        self.screen(terms)?;
        let place = self.reserve(terms.payer)?;
        let row = self.standing(terms, proven).await?;
        let size = proven.head().size;
        let journal = self.books.home.journal();
        let taken = journal.take_tab(row.clone(), &offer.receipt, size).await;
        let taken = taken.map_err(|error| busy(&error))?;
        let mut taken = taken.ok_or(Reason::PAYEE_DECLINED)?;
        if !taken.open {
            return Err(Reason::TAB_OVER);
        }
        if taken.mark.index < row.mark.index {
            taken.mark = row.mark;
        }
        taken.claimed = taken.claimed.max(row.claimed);
        taken.expires = row.expires;
        // Asked once more: a close that came in between was told to nobody.
        self.known(self.put(taken, Some(place))).await
    }

    /// A tab on the desk, once the directory has said in this run that it is open.
    async fn known(&self, held: Arc<Held>) -> Result<Arc<Held>, Reason> {
        if held.lock().asked {
            return Ok(held);
        }
        let (payer, id) = held.which();
        match self.directory.ask_tab(payer, id).await {
            Ok(Some(open)) => {
                held.lock().asked = true;
                self.heard((payer, id), None, Some(open.expires));
                Ok(held)
            }
            Ok(None) => {
                self.heard((payer, id), None, Some(LedgerTime::default()));
                Err(Reason::NO_TAB)
            }
            Err(error) => {
                tracing::debug!(tab = %id, %error, "cannot ask where a tab stands");
                Err(Reason::BUSY)
            }
        }
    }

    /// What is wrong with a tab that is new here.
    fn screen(&self, terms: &Terms) -> Result<(), Reason> {
        let now = self.clock.now().ok_or(Reason::BUSY)?;
        if now >= terms.expires {
            return Err(Reason::EXPIRED);
        }
        if u64::from(terms.grace) < self.policy.grace.as_secs() {
            return Err(Reason::BAD_TERMS);
        }
        terms.check()
    }

    /// Takes a place for another tab of this payer.
    fn reserve(&self, payer: PublicKey) -> Result<Place<'_>, Reason> {
        let mut open = self.lock();
        let all: usize = open.tabs.len().saturating_add(open.reserved);
        let count = open.count.entry(payer).or_default();
        if all >= TABS_MAX || *count >= self.policy.tabs_per_payer {
            if *count == 0 {
                open.count.remove(&payer);
            }
            return Err(Reason::TOO_MANY_TABS);
        }
        *count += 1;
        open.reserved += 1;
        Ok(Place { desk: self, payer })
    }

    /// Where the directory says that a tab stands, which it must before a link counts.
    async fn standing(&self, terms: &Terms, proven: &Proven) -> Result<IncomingRow, Reason> {
        if let Some(accept) = &self.policy.accept
            && accept(terms) == Decision::Decline
        {
            return Err(Reason::PAYEE_DECLINED);
        }
        let open = self
            .directory
            .ask_tab(terms.payer, terms.id)
            .await
            .map_err(|error| {
                tracing::debug!(tab = %terms.id, %error, "cannot ask where a tab stands");
                Reason::BUSY
            })?
            .ok_or(Reason::NO_TAB)?;
        let now = self.clock.now().ok_or(Reason::BUSY)?;
        if now >= open.expires {
            return Err(Reason::EXPIRED);
        }
        let mark = self.claimed_mark(terms, &open).await?;
        Ok(IncomingRow {
            terms: terms.clone(),
            payer: self.name(terms.payer).await,
            entry: proven.index(),
            mark,
            claimed: open.claimed,
            expires: open.expires,
            open: true,
        })
    }

    /// The mark that the directory names as claimed, which must be of the tab's own chain.
    async fn claimed_mark(&self, terms: &Terms, open: &OpenTab) -> Result<Mark, Reason> {
        let (id, start) = (terms.id, terms.start());
        let mark = Mark {
            index: open.claimed,
            link: open.link,
        };
        if mark.index > terms.length {
            return Err(Reason::BAD_LINK);
        }
        // Up to a million links, in a home that has forgotten what it claimed.
        let workers = self.books.home.surroundings().workers;
        let checked = workers.run(move || mark.lower(&id, 0) == Some(start));
        if checked.await.unwrap_or(false) {
            Ok(mark)
        } else {
            tracing::error!(tab = %id, "the directory names a link that is none of the tab's");
            Err(Reason::BAD_LINK)
        }
    }

    async fn name(&self, key: PublicKey) -> Option<Name> {
        self.books
            .home
            .journal()
            .payer_name(key)
            .await
            .unwrap_or_default()
    }

    /// Puts a tab on the desk, unless it is there.
    fn put(&self, row: IncomingRow, _place: Option<Place<'_>>) -> Arc<Held> {
        let which = (row.terms.payer, row.terms.id);
        let risk = self.policy.risk(&row.terms);
        let (held, new) = {
            let mut open = self.lock();
            if let Some(held) = open.tabs.get(&which) {
                (Arc::clone(held), false)
            } else {
                let held = Arc::new(Held::new(row, risk, Arc::clone(&self.keeper)));
                open.tabs.insert(which, Arc::clone(&held));
                *open.count.entry(which.0).or_default() += 1;
                open.untold.push_back(Arc::clone(&held));
                (held, true)
            }
        };
        if new {
            self.came.notify_waiters();
            self.keeper.notify_one();
            self.tell(&held, None);
        }
        held
    }

    /// Tells the application how a tab stands.
    pub(super) fn tell(&self, held: &Held, entry: Option<u64>) {
        self.books
            .hub
            .tell(Event::Tab(super::list::incoming(held, entry)));
    }

    /// What the directory told of a tab: who its payer is, and when it ends.
    pub(crate) fn heard(&self, which: Which, payer: Option<&Name>, expires: Option<LedgerTime>) {
        let Some(held) = self.get(&which) else {
            return;
        };
        {
            let mut state = held.lock();
            if let Some(payer) = payer {
                state.payer.get_or_insert_with(|| payer.clone());
            }
            if let Some(expires) = expires {
                state.expires = state.expires.min(expires);
            }
        }
        self.keeper.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a tab is not taken, and what was paid on it before, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Declined {
    pub(super) reason: Reason,
    pub(super) paid: u32,
}

impl Declined {
    pub(super) const fn new(reason: Reason) -> Self {
        Self { reason, paid: 0 }
    }
}

/// A place for a tab that is being judged; free again when dropped, as the tab has its own by then.
struct Place<'a> {
    desk: &'a Desk,
    payer: PublicKey,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.desk.lock();
        open.reserved -= 1;
        open.leave(&self.payer);
    }
}

impl Open {
    /// One tab less of a payer.
    fn leave(&mut self, payer: &PublicKey) {
        if let Some(count) = self.count.get_mut(payer) {
            *count -= 1;
            if *count == 0 {
                self.count.remove(payer);
            }
        }
    }
}

fn busy(error: &JournalError) -> Reason {
    tracing::error!(%error, "cannot take a tab");
    Reason::BUSY
}
