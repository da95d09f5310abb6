//! `quid-directory serve`: puts the parts together and takes them apart again.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quid_common::address::DirectoryAddress;
use quid_common::amount::Currency;
use quid_common::key::PublicKey;
use quid_common::printable::Printable;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::books::{self, Books};
use crate::cli::{self, Exit, Failure, Serve, print_address};
use crate::events::Hub;
use crate::folder::Folder;
use crate::history::History;
use crate::invites::Invites;
use crate::member::Directory;
use crate::metrics::{Listener, Metrics, Serving};
use crate::presence::Presence;
use crate::registration::Door;
use crate::sentry::Sentry;
use crate::server;
use crate::traffic::Traffic;
use crate::{operator, releases, settlement};

/// Serves the ledger in the folder given until SIGINT or SIGTERM; `unlocked` adds the passphrase of
/// its key.
///
/// # Errors
/// A [`Failure`] before the first session is accepted, or if a part ends that should not.
pub fn run(
    arguments: &Serve,
    unlocked: impl FnOnce(Folder) -> Result<Folder, Failure>,
) -> Result<(), Failure> {
    advertised(arguments, 1)?;
    // Checked before the folder is made, so that a wrong flag leaves nothing behind.
    let known = books::currency(&arguments.data).map_err(Failure::files)?;
    let currency = cli::currency(arguments, known.as_ref())?;
    let opening = match &arguments.opening_balance {
        Some(text) => Some(currency.parse(text).map_err(Failure::usage)?),
        None => None,
    };
    // Where there is a ledger, who serves it already is worth more than that its port is taken.
    let taken = match known {
        Some(_) => None,
        None => Some(Ports::take(arguments)?),
    };
    let folder = Folder::create_or_open(&arguments.data).map_err(Failure::files)?;
    let folder = unlocked(folder)?;
    let lock = folder.lock("serve").map_err(Failure::files)?;
    let ports = match taken {
        Some(ports) => ports,
        None => Ports::take(arguments)?,
    };
    let mut books = Books::open(&folder, lock, Some(&currency), arguments.accept_clock)
        .map_err(Failure::files)?;
    books.opening_balance = opening;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(system)?;
    runtime.block_on(serve(arguments, &folder, (books, &currency), ports))
}

/// The ports that a directory serves on, taken before it makes or writes anything: one that is taken
/// by another program then leaves nothing behind.
struct Ports {
    nodes: UdpSocket,
    numbers: Option<Listener>,
}

impl Ports {
    fn take(arguments: &Serve) -> Result<Self, Failure> {
        let nodes = server::take_port(arguments.listen).map_err(Failure::usage)?;
        let numbers = arguments.metrics.map(Listener::bind).transpose();
        let numbers = numbers.map_err(Failure::usage)?;
        Ok(Self { nodes, numbers })
    }
}

async fn serve(
    arguments: &Serve,
    folder: &Folder,
    (books, currency): (Books, &Currency),
    Ports { nodes, numbers }: Ports,
) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    let key = books.key.clone();
    let endpoint = server::on_port(nodes, &key).map_err(Failure::usage)?;
    let bound = endpoint.local_addr().map_err(system)?;
    let (host, port) = advertised(arguments, bound.port())?;
    let address = DirectoryAddress::new(key.public(), &host, port).map_err(Failure::usage)?;
    folder
        .write_address(&books.lock, &address.to_string())
        .map_err(Failure::files)?;
    let listener = listen_to_operator(folder)?;

    let (entries, ledger) = (books.ledger.entries(), books.ledger.ledger_id());
    let (directory, threads) = assemble(arguments, folder, books)?;
    info!(
        listen = %bound, %ledger, entries, currency = currency.code(),
        decimals = currency.decimals(), "serving"
    );
    let settlements = || directory.settlements.clone();
    let tell = {
        let (sentry, stop) = (Arc::clone(&directory.sentry), stop.clone());
        async move { sentry.shed.tell(stop).await }
    };
    let parts = [
        tokio::spawn(operator::serve(
            listener,
            key.public(),
            settlements(),
            stop.clone(),
        )),
        tokio::spawn(releases::serve(key.public(), settlements(), stop.clone())),
        tokio::spawn(tell),
    ];
    let numbers = match numbers {
        Some(listener) => {
            let metrics = Metrics::new(directory.clone(), folder, currency);
            Some(show_numbers(listener, metrics, &stop)?)
        }
        None => None,
    };
    print_address(false, &address.to_string())?;
    tell_service_manager(&NotifyState::Ready);

    server::serve(&endpoint, directory, stop.clone()).await;
    stop.cancel();
    tell_service_manager(&NotifyState::Stopping);
    for part in parts {
        part.await.map_err(system)?;
    }
    let _ = std::fs::remove_file(folder.operator_socket());
    // Everybody who could ask has gone: what is queued is settled, then the threads end.
    let joined = tokio::task::spawn_blocking(move || {
        if let Some(numbers) = numbers {
            numbers.join();
        }
        threads.join()
    });
    joined.await.map_err(system)?.into_books().close();
    info!("stopped");
    Ok(())
}

/// Opens the socket of the operator's commands.
fn listen_to_operator(folder: &Folder) -> Result<UnixListener, Failure> {
    let path = folder.operator_socket();
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|error| {
        Failure::files(format!(
            "cannot make {}: {error}",
            Printable(&path.to_string_lossy())
        ))
    })
}

/// Puts together what sessions ask, and starts the threads that settle.
fn assemble(
    arguments: &Serve,
    folder: &Folder,
    books: Books,
) -> Result<(Directory, settlement::Threads), Failure> {
    let key = books.key.public();
    let hub = Arc::new(Hub::default());
    let (index, log) = books.readers().map_err(Failure::files)?;
    let history = History::new(index, log, key);
    let mut invites = Invites::open(folder).map_err(Failure::files)?;
    let is_registered = |key: &PublicKey| books.ledger.account(key).is_some();
    invites.reconcile(is_registered).map_err(Failure::files)?;
    let (settlements, threads) = settlement::start(books, Arc::clone(&hub)).map_err(system)?;
    let directory = Directory {
        key,
        settlements,
        sentry: Arc::new(Sentry::new(&arguments.limits)),
        door: Door::new(invites),
        traffic: Arc::new(Traffic::default()),
        sessions: hub.sessions(),
        presence: Arc::new(Presence::default()),
        hub,
        history,
    };
    Ok((directory, threads))
}

/// What the system does not give.
fn system(error: impl fmt::Display) -> Failure {
    Failure::new(Exit::Other, "system", error)
}

/// Serves metrics on a thread of its own until `stop`.
fn show_numbers(
    listener: Listener,
    metrics: Metrics,
    stop: &CancellationToken,
) -> Result<Serving, Failure> {
    let address = listener.address;
    if address.ip().is_loopback() {
        info!(metrics = %address, "serving metrics, and the dashboard at http://{address}/");
    } else {
        warn!(metrics = %address, "serving metrics to whoever can reach this address");
    }
    listener.serve(metrics, stop.clone()).map_err(system)
}

/// Tells whoever started this as a service how far it is; does nothing if nobody wants to know.
fn tell_service_manager(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// The host and port that nodes are told.
fn advertised(arguments: &Serve, port: u16) -> Result<(String, u16), Failure> {
    match &arguments.advertise {
        Some(advertise) => Ok((
            advertise.host().to_owned(),
            advertise.port().unwrap_or(port),
        )),
        None if arguments.listen.ip().is_unspecified() => Err(Failure::usage(format!(
            "{} is every address of this machine; say with --advertise HOST which one nodes shall \
             use",
            arguments.listen
        ))),
        None => Ok((host_of(arguments.listen), port)),
    }
}

fn host_of(address: SocketAddr) -> String {
    address.ip().to_string()
}

fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = signal(kind).map_err(system)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Threads that read history; they share the files, so more would wait for each other.
const BLOCKING_THREADS_MAX: usize = 4;
