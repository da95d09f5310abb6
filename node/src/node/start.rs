//! How a node starts: its parts, and the tasks between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quid_common::id::InstanceId;
use quid_common::tls::TlsIdentity;
use thiserror::Error;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::sleep;

use super::{Node, Options, Parts, failing};
use crate::books::Books;
use crate::clock::LedgerClock;
use crate::collect::Collector;
use crate::compare;
use crate::directory::{Directory, PresenceWish, State};
use crate::events::Hub;
use crate::home::{Home, HomeError, RunningMark};
use crate::inbox;
use crate::pay::Payer;
use crate::peer::{self, Payees};
use crate::quic::Socket;
use crate::resolve::Resolver;
use crate::surroundings::Network;
use crate::tabs::{Desk, Tabs, keep};
use crate::tasks::Tasks;
use crate::trust::Trust;

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
