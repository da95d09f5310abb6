//! `quid listen`, and what the shell shares with it: a node that stays, its events, and the local
//! socket through which other commands of the home reach it.

use std::future::{pending, ready};
use std::path::Path;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::name::Name;
use quid_common::time::LedgerTime;
use quid_node::{
    Event, Events, Home, JournalError, Node, Options, PayError, RequestError, StartError, TabItem,
    TabPolicy, TabStage,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Listen;
use super::failure::{Failure, Gone};
use super::item::{self, EventName, Item, TabChange};
use super::live;
use super::log::LogTarget;
use super::screen::{Output, Sink};
use super::tab;
use super::{keys, passphrase};
use crate::control::{ControlSocket, Current};

/// Receives until stopped, telling one event per line; on a terminal with the running tabs below
/// them.
pub(crate) async fn listen(
    path: &Path,
    args: &Listen,
    sink: &Sink,
    log: Option<&LogTarget>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let station = Station::open(path, |home| options(home, args, true)).await?;
    if let Some(log) = log {
        log.lead(Some(sink.clone()));
    }
    let result = tokio::select! {
        biased;
        // It ends the node too, which then has nothing more to tell.
        error = station.failed() => Err(Failure::files(error.to_string())),
        result = receive(&station, sink, log.is_some()) => result,
        () = show_tabs(&station, sink), if log.is_some() => Ok(()),
        () = stop.cancelled() => Ok(()),
        () = sink.gone() => Err(Failure::Gone),
    };
    if let Some(log) = log {
        sink.try_send(Output::Foot(Vec::new()));
        log.lead(None);
    }
    station.close().await;
    result
}

async fn show_tabs(station: &Station, sink: &Sink) {
    if let Ok(Current { node, .. }) = station.current() {
        live::show(&node, sink).await;
    }
    // What receives says why the node has ended.
    pending().await
}

/// Waits for the login and tells what happens; see [`tell`] for `brief`.
pub(crate) async fn receive(station: &Station, sink: &Sink, brief: bool) -> Result<(), Failure> {
    let Current { node, .. } = station.current()?;
    hear(node.events(), &node, sink, brief).await
}

/// Does as [`receive`], of events that are followed already.
pub(crate) async fn hear(
    mut events: Events,
    node: &Node,
    sink: &Sink,
    brief: bool,
) -> Result<(), Failure> {
    // A home without an account would wait for ever; a directory that is away comes back.
    let progress = sink.progress("logging in".to_owned());
    match node.login().await {
        Ok(_) => {}
        Err(RequestError::Unreachable(reason)) => {
            sink.item(offline(reason)).await?;
        }
        Err(error) => return Err(error.into()),
    }
    drop(progress);
    tell(&mut events, node, sink, brief).await?;
    Err(ended(node).await)
}

/// Why `node`, which has nothing more to tell, has ended. Whoever waits for the journal's failure
/// and for that end may see the end first.
pub(crate) async fn ended(node: &Node) -> Failure {
    tokio::select! {
        biased;
        error = node.failed() => Failure::files(error.to_string()),
        () = ready(()) => Failure::other("closed", "the node has ended"),
    }
}

/// Tells `node`'s events until it is closed; if `brief`, without the claims on tabs, of which a
/// busy tab has many and a person wants none.
pub(crate) async fn tell(
    events: &mut Events,
    node: &Node,
    sink: &Sink,
    brief: bool,
) -> Result<(), Gone> {
    while let Some(event) = events.next().await {
        if brief && matches!(&event, Event::Tab(told) if change(told) == TabChange::Claimed) {
            continue;
        }
        // Without a login there is no currency, and nothing that has an amount either.
        let currency = node.home().currency().unwrap_or_default();
        sink.item(event_item(event, &currency)).await?;
    }
    Ok(())
}

/// How `listen` and `shell` run their node.
///
/// # Errors
/// If there is an amount among `args` that is none in what the directory counts, or if that is not
/// known yet.
pub(crate) fn options(home: &Home, args: &Listen, listen: bool) -> Result<Options, Failure> {
    let exposure = match (&args.exposure, home.currency()) {
        (None, _) => None,
        (Some(exposure), Some(currency)) => Some(exposure.in_currency(&currency)?),
        (Some(_), None) => {
            return Err(Failure::usage(
                "--exposure: what the directory counts in is known here after the first login: \
                 run `quid register NAME`, or `quid status`, before",
            ));
        }
    };
    Ok(Options {
        listen,
        hidden: args.hidden,
        bind: args.bind,
        tabs: TabPolicy {
            exposure,
            every: args.claim_every,
            ..TabPolicy::default()
        },
        ..Options::default()
    })
}

/// How a node runs that listens until a request is paid.
pub(crate) fn waiting() -> Options {
    Options {
        listen: true,
        ..Options::default()
    }
}

/// A node that stays, and the socket through which it serves its home.
#[derive(Debug)]
pub(crate) struct Station {
    /// The node that serves; none while one takes another's place, or if none would start.
    current: watch::Sender<Option<Current>>,
    server: JoinHandle<()>,
}

impl Station {
    /// Takes the home's lock, starts the node and serves the local socket.
    pub(crate) async fn open(
        path: &Path,
        options: impl FnOnce(&Home) -> Result<Options, Failure>,
    ) -> Result<Self, Failure> {
        let home = keys::opened(path).await?;
        let options = options(&home)?;
        let socket = ControlSocket::bind(&home)?;
        let listening = options.listen;
        let node = Node::start(home, options).await?;
        let (current, served) = watch::channel(Some(Current { node, listening }));
        let server = tokio::spawn(socket.serve(served));
        Ok(Self { current, server })
    }

    /// The node that serves now.
    ///
    /// # Errors
    /// If none would start.
    pub(crate) fn current(&self) -> Result<Current, Failure> {
        self.current.borrow().clone().ok_or_else(|| {
            Failure::other(
                "stopped",
                "this node is not running: listening starts it again",
            )
        })
    }

    /// Waits until the journal of the node that serves could not be written: why.
    pub(crate) async fn failed(&self) -> JournalError {
        match self.current() {
            Ok(Current { node, .. }) => node.failed().await,
            Err(_) => pending().await,
        }
    }

    /// Whether the node that serves receives payments.
    pub(crate) fn is_listening(&self) -> bool {
        self.current
            .borrow()
            .as_ref()
            .is_some_and(|current| current.listening)
    }

    /// Follows which node serves.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Current>> {
        self.current.subscribe()
    }

    /// Ends the node that serves and starts another on the same home.
    pub(crate) async fn replace(&self, path: &Path, options: Options) -> Result<(), Failure> {
        end(self.current.send_replace(None)).await;
        // A fixed port is free once the last who used the old node has let go of it.
        let deadline = Instant::now() + RELEASE_WAIT;
        let node = loop {
            match Node::start(passphrase::open(path)?, options.clone()).await {
                Ok(node) => break node,
                Err(StartError::Bind { .. }) if Instant::now() < deadline => {
                    sleep(RELEASE_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let listening = options.listen;
        self.current.send_replace(Some(Current { node, listening }));
        Ok(())
    }

    /// Ends the socket, then the node, which says goodbye.
    pub(crate) async fn close(self) {
        self.server.abort();
        // Aborted, so it has no result.
        let _ = self.server.await;
        end(self.current.send_replace(None)).await;
    }
}

async fn end(current: Option<Current>) {
    if let Some(current) = current {
        // What has not been said by then is not waited for.
        let _ = timeout(CLOSE_WAIT, current.node.close()).await;
    }
}

/// An event as commands print it.
pub(crate) fn event_item(event: Event, currency: &Currency) -> Item {
    match event {
        Event::Online { name, address } => item::Online {
            event: EventName::Online,
            name: name.to_string(),
            address,
        }
        .into(),
        Event::Offline { reason } => offline(reason),
        Event::Forked { file } => item::Forked {
            event: EventName::Forked,
            message: PayError::Forked { file: file.clone() }.to_string(),
            file: file.display().to_string(),
        }
        .into(),
        Event::Doubted { reason } => item::Doubted {
            event: EventName::Doubted,
            message: reason,
        }
        .into(),
        Event::Received {
            entry,
            order,
            amount,
            payer,
            memo,
            reference,
            answers,
            time,
            receipt: _,
        } => item::Received {
            order: Some(order.to_string()),
            memo: memo.as_str().to_owned(),
            reference: reference.map(|reference| reference.to_string()),
            answers,
            ..received(entry, (currency, amount), &payer, time)
        }
        .into(),
        Event::Issued {
            entry,
            amount,
            time,
        } => received(entry, (currency, amount), &Name::treasury(), time).into(),
        Event::Sent {
            entry,
            order,
            amount,
            payee,
            memo,
            time,
        } => item::Sent {
            event: EventName::Sent,
            entry,
            order: order.to_string(),
            amount: currency.format(amount),
            currency: currency.code().to_owned(),
            counterparty: payee.to_string(),
            memo: memo.as_str().to_owned(),
            time: item::rfc3339(time),
        }
        .into(),
        Event::Tab(told) => tab_event(&told, currency).into(),
        Event::Refused {
            order,
            reason,
            counterparty,
        } => item::Refused {
            event: EventName::Refused,
            order: order.to_string(),
            reason: reason.name().to_owned(),
            message: reason.to_string(),
            counterparty: counterparty.map(|name| name.to_string()),
        }
        .into(),
    }
}

fn tab_event(told: &TabItem, currency: &Currency) -> item::TabEvent {
    item::TabEvent {
        event: EventName::Tab,
        change: change(told),
        entry: told.entry,
        tab: tab::line(told, currency),
    }
}

const fn change(told: &TabItem) -> TabChange {
    match (told.stage, told.entry) {
        (TabStage::Over, _) => TabChange::Over,
        (_, Some(_)) => TabChange::Claimed,
        (TabStage::Ending, None) => TabChange::Ending,
        (TabStage::Opening | TabStage::Open, None) => TabChange::Opened,
    }
}

/// Money that came, without what only an order has.
fn received(
    entry: u64,
    (currency, amount): (&Currency, Amount),
    from: &Name,
    time: LedgerTime,
) -> item::Received {
    item::Received {
        event: EventName::Received,
        entry,
        amount: currency.format(amount),
        currency: currency.code().to_owned(),
        counterparty: from.to_string(),
        time: item::rfc3339(time),
        ..item::Received::default()
    }
}

fn offline(reason: String) -> Item {
    item::Offline {
        event: EventName::Offline,
        reason,
    }
    .into()
}

/// Longest wait for a fixed port to be free again.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// Pause before it is tried again.
const RELEASE_PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for the goodbye, and before it for what tabs have paid to be claimed.
const CLOSE_WAIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use quid_common::address::DirectoryAddress;
    use quid_common::key::SecretKey;

    use super::*;
    use crate::cli::exit::Exit;
    use crate::cli::screen::{Screen, Style};

    const STYLE: Style = Style {
        json: true,
        progress: false,
        foot: false,
        quiet: true,
        color: false,
        color_err: false,
    };

    #[tokio::test]
    async fn a_node_that_ended_with_its_journal_is_said_to_have() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("home");
        let key = SecretKey::from_seed(&[1; 32]).public();
        // Nobody is there; the journal is asked all the same.
        let directory = DirectoryAddress::new(key, "127.0.0.1", 9).expect("an address");
        let home = Home::init(&path, &directory).expect("a home");
        let node = Node::start(home, waiting()).await.expect("a node");
        let (screen, sink) = Screen::start(STYLE).expect("a screen");
        for file in ["journal.sqlite3", "journal.sqlite3-wal"] {
            File::create(path.join(file)).expect("it is emptied");
        }
        let asked = node.requests(1).await;
        asked.expect_err("the journal is damaged");
        let told = hear(node.events(), &node, &sink, true).await;
        let Err(Failure::Told(report)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(report.exit, Exit::Files, "{report}");
        node.close().await;
        drop(sink);
        screen.finish(CLOSE_WAIT).await.expect("stdout takes it");
    }
}
