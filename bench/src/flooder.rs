//! A process that floods a directory: everything that a hostile program can do over QUIC, each kind
//! by a name of its own.
//!
//! It runs at the lowest priority: on a machine that it shares with the directory it takes what that
//! leaves, as one that floods from elsewhere would.

mod members;
mod packets;
mod strangers;

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use quid_common::address::DirectoryAddress;
use quid_common::tls;
use quinn::{Connection, Endpoint};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Node, socket_address};
use crate::options::Flooder;
use crate::report::Failure;

/// What is done to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Handshakes, each gone at once.
    Handshakes,
    /// Handshakes without a certificate.
    NoCertificate,
    /// Handshakes with somebody else's certificate.
    VictimCertificate,
    /// Connections that say nothing, as many as are let in.
    Strangers,
    /// First packets from thousands of addresses that nobody answers at.
    Initials,
    /// Datagrams of random bytes, short and long, that belong to no connection.
    Garbage,
    /// Frames begun and continued at a byte a second, by strangers and accounts.
    Drips,
    /// Frames that claim up to 4 GiB.
    Lengths,
    /// Every kind of message where it does not belong, with random bytes in it.
    Messages,
    /// Questions about what is other accounts', and their orders.
    Others,
    /// Orders whose signature is wrong, by 200 accounts.
    Signatures,
    /// Registrations: 16 tries on each connection.
    Registrations,
    /// Pages of who is online, by 50 accounts.
    Who,
    /// Questions of all kinds, by 50 accounts.
    Questions,
    /// Logins, each gone at once, of 50 accounts.
    Logins,
    /// Accounts that submit what is answered, and read nothing: 300 of them.
    Deaf,
    /// The same beside event streams that are not read.
    DeafEvents,
    /// Accounts whose packets are lost, so that their frames come in pieces with gaps.
    Gaps,
    /// Accounts that change their address all the time.
    Moves,
    /// Good orders by 200 accounts, each answered, as fast as they are.
    Orders,
}

impl Kind {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What the flood came to, so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Did {
    /// Times that the kind's own thing was done.
    pub(crate) done: u64,
    /// Times that the directory said no, closed, or was not reached.
    pub(crate) refused: u64,
    /// Connections that are open now.
    pub(crate) open: u64,
}

/// What all workers of a flood share.
#[derive(Debug)]
pub(crate) struct Siege {
    pub(crate) directory: DirectoryAddress,
    to: SocketAddr,
    on: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
    open: AtomicU64,
}

/// Runs a flood as it is told on stdin: `begin` and `tell`, each answered with a line.
pub(crate) fn run(role: &Flooder) -> Result<(), Failure> {
    // The lowest there is.
    let _ = rustix::process::nice(19);
    let siege = Arc::new(Siege {
        directory: role.directory.clone(),
        to: socket_address(&role.directory)?,
        on: AtomicBool::new(false),
        done: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        open: AtomicU64::new(0),
    });
    let (told, kind, small) = (Arc::clone(&siege), role.kind, role.small);
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let flooded = runtime.block_on(async {
            let flood = prepare(&siege, kind, small).await?;
            ready.send(())?;
            flood.run().await
        });
        if let Err(error) = &flooded {
            eprintln!("quid-bench: the flood ended: {error}");
        }
        flooded
    });
    is_ready
        .recv()
        .map_err(|_| "the flood could not be made ready")?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        if line? == "begin" {
            told.on.store(true, Ordering::Relaxed);
        }
        let did = Did {
            done: told.done.load(Ordering::Relaxed),
            refused: told.refused.load(Ordering::Relaxed),
            open: told.open.load(Ordering::Relaxed),
        };
        println!("{}", serde_json::to_string(&did)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The workers of a flood, made ready.
pub(crate) struct Workers(JoinSet<Result<(), Failure>>);

impl Workers {
    pub(crate) fn new() -> Self {
        Self(JoinSet::new())
    }

    pub(crate) fn add(&mut self, work: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.0.spawn(work);
    }

    async fn run(mut self) -> Result<(), Failure> {
        while let Some(ended) = self.0.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn prepare(siege: &Arc<Siege>, kind: Kind, small: bool) -> Result<Workers, Failure> {
    let part = if small { 10 } else { 1 };
    match kind {
        Kind::Handshakes | Kind::NoCertificate | Kind::VictimCertificate => {
            strangers::handshakes(siege, kind)
        }
        Kind::Strangers => strangers::silent(siege, 6000 / part),
        Kind::Lengths => strangers::lengths(siege),
        Kind::Registrations => strangers::registrations(siege),
        Kind::Initials => packets::initials(siege).await,
        Kind::Garbage => packets::garbage(siege),
        Kind::Drips => members::drips(siege, 50 / part).await,
        Kind::Messages => members::messages(siege, 50 / part).await,
        Kind::Others => members::others(siege, 50 / part).await,
        Kind::Signatures => members::signatures(siege, 200 / part).await,
        Kind::Who => members::who(siege, 50 / part).await,
        Kind::Questions => members::questions(siege, 50 / part).await,
        Kind::Logins => members::logins(siege, 50 / part).await,
        Kind::Deaf => members::deaf(siege, 300 / part, false).await,
        Kind::DeafEvents => members::deaf(siege, 100 / part, true).await,
        Kind::Gaps => packets::gaps(siege, 20 / part).await,
        Kind::Moves => packets::moves(siege, 20 / part).await,
        Kind::Orders => members::orders(siege, 200 / part).await,
    }
}

impl Siege {
    /// Waits until the flood is wanted.
    pub(crate) async fn wanted(&self) {
        while !self.on.load(Ordering::Relaxed) {
            sleep(PAUSE).await;
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection as the account `number`, from the endpoint; `None` if it was refused.
    pub(crate) async fn call(
        &self,
        endpoint: &Endpoint,
        number: u32,
    ) -> Option<(Node, Connection)> {
        let node = Node::on(endpoint, ROLE, number).ok()?;
        let call = node.call(self.to, self.directory.key(), tls::ALPN_DIRECTORY);
        if let Ok(Ok(connection)) = timeout(CALL_WAIT, call).await {
            self.open.fetch_add(1, Ordering::Relaxed);
            return Some((node, connection));
        }
        self.refused();
        None
    }

    /// Says that a connection is not open any more.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) const fn to(&self) -> SocketAddr {
        self.to
    }
}

/// An endpoint in one of 250 networks of this machine's own.
pub(crate) fn endpoint(network: u32) -> Result<Endpoint, Failure> {
    let third = (1 + network % 250) as u8;
    Ok(Endpoint::client(SocketAddr::from(([127, 0, third, 1], 0)))?)
}

/// How often a flood at rest looks whether it is wanted.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest wait for a handshake.
const CALL_WAIT: Duration = Duration::from_secs(3);

/// The seeds' first byte after the number.
const ROLE: u8 = 0xf0;
