//! The node's one UDP socket.

use quid_common::key::PublicKey;
use thiserror::Error;

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
    let _ = (host, port);
    todo!()
}

/// Why an unpinned directory's key could not be learnt.
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
    /// No socket, or the QUIC library refused its settings.
    #[error(transparent)]
    Start(#[from] StartError),
}
