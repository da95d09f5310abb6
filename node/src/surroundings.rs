//! What a node takes from the machine that it runs on: randomness, threads, the network. A program
//! takes the system's; a simulation brings its own and drives everything on one thread.

use std::sync::Arc;

use quid_common::random::Random;
use quinn::{AsyncUdpSocket, EndpointConfig, Runtime};

/// What a home is opened in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where keys, ids and waits come from.
    pub random: Random,
    /// Who does what takes long.
    pub workers: Workers,
}

/// Who does what takes long: writing the journal, hashing chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Threads, so that no connection waits.
    Threads,
    /// Whoever asks for it, at once: everything happens in one order, which can be had again.
    Caller,
}

impl Default for Surroundings {
    /// The system's randomness, and threads.
    fn default() -> Self {
        Self {
            random: Random::system(),
            workers: Workers::Threads,
        }
    }
}

impl Workers {
    /// Runs `work` where it holds up nobody; none if it panicked there.
    ///
    /// # Cancel safety
    /// Dropping the future drops the result, not the work.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.ok(),
            Self::Caller => Some(work()),
        }
    }
}

/// A socket that the caller brings, with what QUIC needs besides it.
#[derive(Clone, Debug)]
pub struct Network {
    /// The socket.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// QUIC's own settings and randomness.
    pub config: EndpointConfig,
    /// QUIC's timers and tasks.
    pub runtime: Arc<dyn Runtime>,
}
