//! The payer's line to one payee: one stream for all tabs between the two, kept up while any is
//! open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::chain::Link;
use quid_common::frame::BODY_LEN_MAX_STRANGER;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::{Class, Reason};
use quid_common::wire::{
    CloseCode, Find, LINKS_MAX, Message, OpenTabs, TabEnd, TabOffer, TabPayRef,
};
use quinn::Connection;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::paying::{Leaving, Paying, Shown};
use crate::books::Books;
use crate::directory::{Directory, found_key};
use crate::peer::REACH_WAIT;
use crate::quic::{Role, Socket, close_code, is_callable};
use crate::silence::silent;
use crate::stream::{Reader, StreamError, Writer};

/// Bytes that are written at once: enough to fill many packets, little enough that what comes
/// meanwhile leaves soon.
const WRITE_LEN: usize = 16 * 1024;

/// How long the directory is asked for the payee's address before the last one known is tried.
const FIND_WAIT: Duration = Duration::from_secs(1);

/// How long a payee that is busy is left alone.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// A line to one payee.
#[derive(Debug)]
pub(super) struct Line {
    payee: PublicKey,
    name: Name,
    address: Mutex<Option<SocketAddr>>,
    tabs: Mutex<Tabs>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Tabs {
    next: u32,
    open: BTreeMap<u32, Arc<Paying>>,
    /// Offered on the connection that is up.
    offered: BTreeSet<u32>,
    /// Of these, the ones that the payee is too busy for: offered again after a while.
    busy: BTreeSet<u32>,
    /// Whether a task runs the line.
    running: bool,
}

/// What a line needs of its node.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) books: Books,
    pub(super) directory: Arc<Directory>,
    pub(super) socket: Socket,
}

impl Line {
    pub(super) fn new(payee: PublicKey, name: Name, address: Option<SocketAddr>) -> Self {
        Self {
            payee,
            name,
            address: Mutex::new(address),
            tabs: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Adds a tab; true if the line has to be run from now on.
    pub(super) fn add(&self, tab: Arc<Paying>) -> bool {
        let mut tabs = self.lock();
        let number = tabs.next;
        tabs.next = tabs.next.wrapping_add(1);
        tabs.open.insert(number, tab);
        let run = !tabs.running;
        tabs.running = true;
        drop(tabs);
        self.wake.notify_one();
        run
    }

    /// Whether a tab is open on it.
    pub(super) fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Has what is queued sent.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Keeps the line up until no tab is open any more.
    pub(super) async fn run(self: Arc<Self>, ground: Ground) {
        let mut backoff = ground.books.home.backoff();
        while self.has_work() {
            if let Some(connection) = self.connect(&ground).await {
                let begun = Instant::now();
                let error = self.drive(&connection, &ground).await;
                self.disconnected();
                connection.close(close_code(CloseCode::BYE), b"");
                match error {
                    Ok(()) => continue,
                    Err(error) => tracing::debug!(payee = %self.name, %error, "a tab line ended"),
                }
                if begun.elapsed() > Duration::from_secs(5) {
                    backoff.reset();
                }
            }
            backoff.wait().await;
        }
    }

    /// Whether a tab is open; if none is, the line is no longer run.
    fn has_work(&self) -> bool {
        let mut tabs = self.lock();
        tabs.open.retain(|_, tab| !tab.has_ended());
        tabs.running = !tabs.open.is_empty();
        tabs.running
    }

    /// A connection to the payee, at the address that the directory names or the last one known.
    async fn connect(&self, ground: &Ground) -> Option<Connection> {
        let known = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.find(ground).await;
        let called = [found, known.filter(|known| Some(*known) != found)];
        for to in called.into_iter().flatten() {
            let call = ground.socket.call(to, self.payee, Role::Payee, REACH_WAIT);
            match call.await {
                Ok(connection) => {
                    self.keep_address(to, ground).await;
                    return Some(connection);
                }
                Err(error) => tracing::debug!(payee = %self.name, %error, "not reached"),
            }
        }
        None
    }

    async fn find(&self, ground: &Ground) -> Option<SocketAddr> {
        let ask = Find {
            name: self.name.clone(),
        };
        let deadline = Instant::now() + FIND_WAIT;
        let answer = ground.directory.ask_until(ask, deadline).await.ok()?;
        let (key, address) = found_key(answer).ok()?;
        if key != self.payee {
            tracing::error!(name = %self.name, "the payee's key has changed: the tab goes to the old one");
            return None;
        }
        address?.parse().ok().filter(is_callable)
    }

    async fn keep_address(&self, to: SocketAddr, ground: &Ground) {
        {
            let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
            if *address == Some(to) {
                return;
            }
            *address = Some(to);
        }
        let journal = ground.books.home.journal();
        let kept = journal.tab_address(self.payee, &self.name, to.to_string());
        if let Err(error) = kept.await {
            tracing::error!(%error, "cannot keep a payee's address");
        }
    }

    /// Pays on one connection, until it is lost or nothing is open any more.
    async fn drive(&self, connection: &Connection, ground: &Ground) -> Result<(), StreamError> {
        let (send, receive) = connection.open_bi().await?;
        let mut reader = Reader::new(receive, BODY_LEN_MAX_STRANGER);
        tokio::select! {
            written = self.write(Writer::new(send), ground) => written,
            read = self.read(&mut reader) => read,
            () = silent(connection) => Err(StreamError::Deadline),
            () = self.offer_again() => Ok(()),
        }
    }

    /// Has tabs offered again that the payee was too busy for. Never ends.
    async fn offer_again(&self) {
        loop {
            sleep(BUSY_WAIT).await;
            let busy = std::mem::take(&mut self.lock().busy);
            if !busy.is_empty() {
                self.lock().offered.retain(|number| !busy.contains(number));
                self.wake.notify_one();
            }
        }
    }

    async fn write(&self, mut writer: Writer, ground: &Ground) -> Result<(), StreamError> {
        writer.queue(&OpenTabs {}.into());
        loop {
            let woken = self.wake.notified();
            let open = self.open();
            if open.is_empty() {
                writer.flush().await?;
                return Ok(());
            }
            for (number, tab, offered) in open {
                if !offered {
                    writer.queue(&self.offer(number, &tab, ground));
                    continue;
                }
                if !tab.accept() {
                    // A payee that shows a foreign link could have us pay into the void.
                    tracing::error!(payee = %self.name, tab = %tab.terms.id, "the payee shows a link of another tab");
                    tab.end(Some(Reason::BAD_LINK));
                    continue;
                }
                while writer.queued_len() < WRITE_LEN
                    && let Some(leaving) = tab.leave(LINKS_MAX as u32)
                {
                    queue_payment(&mut writer, number, &tab, leaving);
                }
                if tab.takes_close() {
                    writer.queue(&TabEnd { number }.into());
                }
            }
            if writer.queued_len() == 0 {
                woken.await;
                continue;
            }
            let more = writer.queued_len() >= WRITE_LEN;
            writer.flush().await?;
            if more {
                // The answers have their turn too.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn read(&self, reader: &mut Reader) -> Result<(), StreamError> {
        while let Some(message) = reader.next().await? {
            self.take(message)?;
            while let Some(message) = reader.ready()? {
                self.take(message)?;
            }
        }
        Err(StreamError::Closed)
    }

    fn take(&self, message: Message) -> Result<(), StreamError> {
        match message {
            Message::TabPaid(told) => {
                if let Some(tab) = self.get(told.number)
                    && tab.acknowledge(told.paid, Some(told.limit))
                {
                    self.wake.notify_one();
                }
            }
            Message::TabAccepted(told) => {
                if let Some(tab) = self.get(told.number) {
                    tab.show(Shown {
                        paid: told.paid,
                        link: told.link,
                        limit: told.limit,
                    });
                    self.wake.notify_one();
                }
            }
            Message::TabEnded(told) => self.ended(told.number, told.paid, told.reason),
            _ => return Err(StreamError::Unasked),
        }
        Ok(())
    }

    /// The payee takes no more for a tab; or none for now.
    fn ended(&self, number: u32, paid: u32, reason: Option<Reason>) {
        let Some(tab) = self.get(number) else { return };
        if reason.is_some_and(|reason| {
            reason.class() == Class::NotFinal && reason != Reason::TOO_MANY_TABS
        }) {
            tracing::debug!(payee = %self.name, ?reason, "the payee takes the tab later");
            self.lock().busy.insert(number);
            return;
        }
        tab.acknowledge(paid, None);
        tab.end(reason);
        self.wake.notify_one();
    }

    fn offer(&self, number: u32, tab: &Paying, ground: &Ground) -> Message {
        self.lock().offered.insert(number);
        let newest = ground.books.trust.newest();
        TabOffer {
            number,
            receipt: tab.receipt.clone(),
            checkpoint: newest.map(|newest| newest.checkpoint),
        }
        .into()
    }

    /// The open tabs, and whether each was offered on this connection.
    fn open(&self) -> Vec<(u32, Arc<Paying>, bool)> {
        let mut tabs = self.lock();
        tabs.open.retain(|_, tab| !tab.has_ended());
        let Tabs { open, offered, .. } = &*tabs;
        open.iter()
            .map(|(number, tab)| (*number, Arc::clone(tab), offered.contains(number)))
            .collect()
    }

    fn get(&self, number: u32) -> Option<Arc<Paying>> {
        self.lock().open.get(&number).cloned()
    }

    fn disconnected(&self) {
        let mut tabs = self.lock();
        tabs.offered.clear();
        tabs.busy.clear();
        for tab in tabs.open.values() {
            tab.disconnect();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tabs> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes payments down, each with its own link.
fn queue_payment(writer: &mut Writer, number: u32, tab: &Paying, leaving: Leaving) {
    let Leaving { first, step, count } = leaving;
    let mut links = [[0; Link::LEN]; LINKS_MAX];
    let places = links.get_mut(..count as usize).unwrap_or_default();
    let copied = tab.lock_chain().copy(first, step, places);
    let links = links.get(..copied).unwrap_or_default().as_flattened();
    writer.queue_pay(TabPayRef {
        number,
        first,
        step,
        links,
    });
}
