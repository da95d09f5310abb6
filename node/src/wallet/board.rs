//! How things stand, newest state only, for every page that is open.
//!
//! One set of tasks keeps it, however many pages follow. A page that comes late or back gets all of
//! it first and then what changes, so nothing depends on what a page remembers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event as Message;
use futures_util::stream::{self, Stream};
use quid_common::amount::Currency;
use quid_node::{Event, Events, Node, Presence, TabItem, TabStage};
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::answer::{collected, one, shown, visible};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::item::Item;
use crate::cli::listen::event_item;
use crate::cli::request::Request;
use crate::cli::requests::requested;
use crate::cli::run::{run, sent_line};
use crate::cli::tab;

/// The newest state, and the tasks that keep it.
#[derive(Debug)]
pub(super) struct Board {
    kept: Arc<Kept>,
    room: Arc<Semaphore>,
    _tasks: JoinSet<()>,
}

/// The parts by the names under which pages hear of them.
type Parts = BTreeMap<&'static str, Arc<Value>>;

#[derive(Debug)]
struct Kept {
    node: Node,
    newest: watch::Sender<Parts>,
    /// Something has happened after which the account may stand otherwise.
    touched: Notify,
}

impl Board {
    /// Begins to follow `node`.
    pub(super) fn start(node: Node) -> Arc<Self> {
        let kept = Arc::new(Kept {
            node,
            newest: watch::Sender::new(Parts::new()),
            touched: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        // Subscribed before anything is asked, so that no change is missed.
        tasks.spawn(hear(Arc::clone(&kept), kept.node.events()));
        tasks.spawn(keep_status(Arc::clone(&kept)));
        tasks.spawn(keep_journal(Arc::clone(&kept)));
        tasks.spawn(keep_people(Arc::clone(&kept)));
        Arc::new(Self {
            kept,
            room: Arc::new(Semaphore::new(PAGES_MAX)),
            _tasks: tasks,
        })
    }

    /// Has the account looked at again soon.
    pub(super) fn touch(&self) {
        self.kept.touched.notify_one();
    }

    /// Everything, then what changes and what happens; none if too many follow already.
    pub(super) fn follow(&self) -> Option<impl Stream<Item = Result<Message, Infallible>> + use<>> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let follower = Follower {
            node: self.kept.node.clone(),
            newest: self.kept.newest.subscribe(),
            events: self.kept.node.events(),
            told: Parts::new(),
            _place: place,
        };
        self.touch();
        Some(stream::unfold(follower, |mut follower| async move {
            let message = follower.next().await?;
            Some((Ok(message), follower))
        }))
    }
}

impl Kept {
    fn put(&self, name: &'static str, value: Value) {
        self.newest.send_if_modified(|parts| {
            let differs = parts.get(name).is_none_or(|old| **old != value);
            if differs {
                parts.insert(name, Arc::new(value));
            }
            differs
        });
    }

    fn connected(&self, online: bool, reason: &str) {
        self.put(
            "connection",
            visible(json!({ "online": online, "reason": reason })),
        );
    }
}

/// One page.
struct Follower {
    node: Node,
    newest: watch::Receiver<Parts>,
    events: Events,
    told: Parts,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.changed() {
                return Some(message);
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                event = self.events.next() => {
                    let currency = self.node.home().currency().unwrap_or_default();
                    let item = event_item(event?, &currency);
                    return Some(message("event", &shown(&item)));
                }
            }
        }
    }

    /// One part that this page does not know yet.
    fn changed(&mut self) -> Option<Message> {
        let newest = self.newest.borrow_and_update();
        let is_new = |(name, value): &(&&'static str, &Arc<Value>)| {
            let told = self.told.get(*name);
            told.is_none_or(|told| !Arc::ptr_eq(told, value))
        };
        let (name, value) = newest.iter().find(is_new)?;
        self.told.insert(name, Arc::clone(value));
        Some(message(name, value))
    }
}

fn message(name: &str, value: &Value) -> Message {
    Message::default().event(name).data(value.to_string())
}

/// Notes what happens.
async fn hear(kept: Arc<Kept>, mut events: Events) {
    // Who asks waits until it is known either way.
    match kept.node.login().await {
        Ok(_) => kept.connected(true, ""),
        Err(error) => kept.connected(false, &error.to_string()),
    }
    while let Some(event) = events.next().await {
        match &event {
            Event::Online { .. } => kept.connected(true, ""),
            Event::Offline { reason } => kept.connected(false, reason),
            _ => {}
        }
        kept.touched.notify_one();
    }
}

/// Keeps balance and what is held.
async fn keep_status(kept: Arc<Kept>) {
    loop {
        let node = &kept.node;
        let ask = |sink| async move { run(node, true, Request::Status, &sink).await };
        let (result, items) = collected(ask).await;
        // A directory that is away is told of as such, and the last balance stays.
        let lost =
            matches!(&result, Err(Failure::Told(report)) if report.exit == Exit::Unreachable);
        if !lost {
            kept.put("status", one((result, items)));
        }
        tokio::select! {
            () = kept.touched.notified() => sleep(TOGETHER).await,
            () = sleep(STATUS_EVERY) => {}
        }
    }
}

/// Keeps what the journal knows: payments sent, tabs, contacts. Nobody is asked for it.
async fn keep_journal(kept: Arc<Kept>) {
    let mut ticks = interval(JOURNAL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if kept.newest.receiver_count() == 0 {
            continue;
        }
        let currency = kept.node.home().currency().unwrap_or_default();
        if let Ok(sent) = kept.node.sent(SENT_MAX).await {
            let lines = sent.into_iter().map(|item| sent_line(item, &currency));
            let lines: Vec<Value> = lines.map(|line| shown(&Item::from(line))).collect();
            kept.put("sent", lines.into());
        }
        if let Ok(tabs) = kept.node.tabs_at_hand().await {
            kept.put("tabs", tab_lines(&tabs, &currency));
        }
        if let Ok(mut tabs) = kept.node.opened_tabs(TABS_MAX).await {
            tabs.retain(|tab| tab.stage == TabStage::Over);
            kept.put("ended", tab_lines(&tabs, &currency));
        }
        if let Ok(items) = kept.node.requests(REQUESTS_MAX).await {
            let lines = items.iter().map(|item| requested(item, &currency));
            let lines: Vec<Value> = lines.map(|line| shown(&Item::from(line))).collect();
            kept.put("requests", lines.into());
        }
        if let Ok(contacts) = kept.node.home().contacts().await {
            let names: Vec<String> = contacts.iter().map(ToString::to_string).collect();
            kept.put("contacts", names.into());
        }
    }
}

fn tab_lines(tabs: &[TabItem], currency: &Currency) -> Value {
    let lines = tabs.iter().map(|tab| tab::line(tab, currency));
    let lines: Vec<Value> = lines.map(|line| shown(&Item::from(line))).collect();
    lines.into()
}

/// Keeps who is online, asking again whenever the directory was lost.
async fn keep_people(kept: Arc<Kept>) {
    loop {
        if let Ok(mut presence) = kept.node.watch().await {
            let mut people = BTreeMap::new();
            while let Some(change) = presence.next().await {
                match change {
                    Presence::Online(person) => {
                        people.insert(person.name.to_string(), person.key.to_string());
                    }
                    Presence::Offline { name, .. } => {
                        people.remove(name.as_str());
                    }
                }
                let shown = people.iter().take(PEOPLE_MAX);
                let shown: Vec<Value> = shown
                    .map(|(name, key)| json!({ "name": name, "key": key }))
                    .collect();
                kept.put("people", shown.into());
            }
            kept.put("people", Value::Array(Vec::new()));
        }
        sleep(WATCH_PAUSE).await;
    }
}

/// Pages that may follow at once.
const PAGES_MAX: usize = 16;

/// Most people who are shown as online; a name is paid all the same.
const PEOPLE_MAX: usize = 1_000;

/// Payments sent that are shown with their state.
const SENT_MAX: u32 = 20;

/// Tabs opened last, of which those that are over are shown with their end.
const TABS_MAX: u32 = 20;

/// Requests of this home that are shown.
const REQUESTS_MAX: u32 = 20;

/// What happens within this is looked at once.
const TOGETHER: Duration = Duration::from_millis(50);

/// How often the account is looked at though nothing has happened.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// How often the journal is looked at while a page is open: as fast as a meter should move.
const JOURNAL_EVERY: Duration = Duration::from_millis(400);

/// Pause before who is online is followed anew.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
