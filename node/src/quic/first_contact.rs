//! Handshakes for their own sake: with a directory whose key is not known yet, and with a node that
//! may not be reachable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quid_common::key::PublicKey;
use quid_common::tls::{self, TlsIdentity};
use thiserror::Error;

use super::{Role, Socket, client_config, connect, is_callable, proven_key};
use crate::node::StartError;

/// Learns the key that the directory at `host` and `port` proves, for a person to confirm.
///
/// Makes one handshake with a throwaway key and sends nothing else.
///
/// # Errors
/// [`ConnectError`] if nobody answers there as a directory.
///
/// # Cancel safety
/// Safe: nothing is kept.
pub async fn directory_key(host: &str, port: u16) -> Result<PublicKey, ConnectError> {
    let identity = throwaway()?;
    let literal_v6 = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    let any: IpAddr = if literal_v6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = Socket::bind(SocketAddr::new(any, 0), identity, false)?;
    let resolved = socket.resolve(host, port).await;
    let addresses = resolved.map_err(|source| ConnectError::Resolve {
        host: host.to_owned(),
        source,
    })?;
    let mut reason = String::new();
    for address in addresses {
        match meet(&socket, address).await {
            Ok(key) => {
                socket.close(CLOSE_WAIT).await;
                return Ok(key);
            }
            Err(why) => reason = why,
        }
    }
    Err(ConnectError::Unreachable {
        place: format!("{host}:{port}"),
        reason,
    })
}

/// Calls the node at `address` as a payer would, and hangs up once it has proved `key`.
///
/// Makes one handshake with a throwaway key and sends nothing else.
///
/// # Errors
/// [`ConnectError`] if nobody with that key answers there.
///
/// # Cancel safety
/// Safe: nothing is kept.
pub async fn knock(address: SocketAddr, key: PublicKey) -> Result<(), ConnectError> {
    let unreachable = |reason: String| ConnectError::Unanswered { address, reason };
    if !is_callable(&address) {
        return Err(unreachable("it is no address of one machine".to_owned()));
    }
    let any: IpAddr = if address.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = Socket::bind(SocketAddr::new(any, 0), throwaway()?, false)?;
    let called = socket.call(address, key, Role::Payee, KNOCK_WAIT).await;
    socket.close(CLOSE_WAIT).await;
    called
        .map(drop)
        .map_err(|error| unreachable(error.to_string()))
}

fn throwaway() -> Result<TlsIdentity, StartError> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| StartError::Quic(error.to_string()))?;
    Ok(TlsIdentity::new(&seed)?)
}

/// Why nobody was met. Nothing but a handshake was sent.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The host's name has no address.
    #[error("cannot find {host}: {source}; check the spelling and the network")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody answered in time, or not as a directory.
    #[error("no directory answers at {place}: {reason}; check the address and that it is running")]
    Unreachable {
        /// Host and port.
        place: String,
        /// What was seen.
        reason: String,
    },
    /// No node with that key answered in time.
    #[error("{reason}; check that it runs and that UDP gets through to {address}")]
    Unanswered {
        /// Where.
        address: SocketAddr,
        /// What was seen.
        reason: String,
    },
    /// No socket, or the QUIC library refused its settings.
    #[error(transparent)]
    Start(#[from] StartError),
}

async fn meet(socket: &Socket, address: SocketAddr) -> Result<PublicKey, String> {
    let tls = tls::client_config_unpinned(&socket.identity, tls::ALPN_DIRECTORY)
        .map_err(|error| error.to_string())?;
    let config = client_config(tls, Role::Directory).map_err(|error| error.to_string())?;
    let connection = connect(&socket.endpoint, address, config, HANDSHAKE_WAIT)
        .await
        .map_err(|error| error.to_string())?;
    proven_key(&connection).ok_or_else(|| "its certificate carries no Ed25519 key".to_owned())
}

/// Longest time for the handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);

/// Longest time for the handshake with a node: what a payer waits.
const KNOCK_WAIT: Duration = Duration::from_secs(3);

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
