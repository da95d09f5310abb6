//! A machine: its power, its disk, its address, and the QUIC runtime whose tasks end with it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{AsyncTimer, AsyncUdpSocket, EndpointConfig, Runtime};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Whether a machine has power. Without it nothing that it does has an effect any more.
#[derive(Clone)]
pub struct Power(Arc<Supply>);

struct Supply {
    off: AtomicBool,
    /// Datagrams after which the power fails; negative: it does not.
    datagrams: AtomicI64,
    /// Writes to the disk after which it fails.
    writes: AtomicI64,
    failed: Notify,
}

impl Power {
    /// Power without an end.
    pub fn on() -> Self {
        Self(Arc::new(Supply {
            off: AtomicBool::new(false),
            datagrams: AtomicI64::new(-1),
            writes: AtomicI64::new(-1),
            failed: Notify::new(),
        }))
    }

    /// Cuts the power.
    pub fn cut(&self) {
        self.0.off.store(true, Ordering::Relaxed);
        self.0.failed.notify_one();
    }

    /// Lets the power fail before the datagram or the write after so many of them.
    pub fn fail_after(&self, datagrams: Option<u32>, writes: Option<u32>) {
        let count = |of: Option<u32>| of.map_or(-1, i64::from);
        self.0.datagrams.store(count(datagrams), Ordering::Relaxed);
        self.0.writes.store(count(writes), Ordering::Relaxed);
    }

    /// Whether it is off.
    pub fn is_off(&self) -> bool {
        self.0.off.load(Ordering::Relaxed)
    }

    /// Waits until it fails. For one who waits.
    pub async fn failed(&self) {
        while !self.is_off() {
            self.0.failed.notified().await;
        }
    }

    /// Whether a datagram still leaves.
    pub fn spend_datagram(&self) -> bool {
        self.spend(&self.0.datagrams)
    }

    /// Whether a write still reaches the disk's buffer.
    pub fn spend_write(&self) -> bool {
        self.spend(&self.0.writes)
    }

    fn spend(&self, left: &AtomicI64) -> bool {
        match left.load(Ordering::Relaxed) {
            0 => {
                left.store(-1, Ordering::Relaxed);
                self.cut();
            }
            some @ 1.. => left.store(some - 1, Ordering::Relaxed),
            _ => {}
        }
        !self.is_off()
    }
}

impl fmt::Debug for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Power({})", if self.is_off() { "off" } else { "on" })
    }
}

/// QUIC's timers and tasks on simulated time; the tasks end when the machine does.
#[derive(Clone, Debug, Default)]
pub struct QuicTasks(Arc<Mutex<Vec<AbortHandle>>>);

impl QuicTasks {
    /// Ends all of them at once.
    pub fn abort(&self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Runtime for QuicTasks {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(sleep_until(at.into()))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(future).abort_handle());
    }

    fn wrap_udp_socket(&self, _: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other(
            "the simulation has no sockets of the system",
        ))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// QUIC's settings, with randomness of the seed's.
pub fn quic_config(seed: [u8; 32]) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.rng_seed(Some(seed));
    config
}

/// Where the directory is reached.
pub fn directory_at() -> SocketAddr {
    SocketAddr::new(crate::net::ip(1), 4433)
}
