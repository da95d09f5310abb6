//! The network: datagrams that are lost, late, doubled, overtaken or cut off, as the seed says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::dice::fate;
use crate::machine::Power;

/// What the network does to datagrams; chances are of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Lost.
    pub lost: u64,
    /// Sent once and there twice.
    pub doubled: u64,
    /// Delayed by up to [`Weather::late_ms`] more, and so overtaken.
    pub late: u64,
    /// The shortest way, in milliseconds.
    pub near_ms: u64,
    /// How much longer the others may take.
    pub spread_ms: u64,
    /// See [`Weather::late`].
    pub late_ms: u64,
}

/// A network in which everything arrives soon.
pub const FAIR: Weather = Weather {
    lost: 0,
    doubled: 0,
    late: 0,
    near_ms: 1,
    spread_ms: 2,
    late_ms: 0,
};

/// The network between all machines; cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    seed: u64,
    state: Mutex<State>,
    /// Woken when something is sent that is due earlier than all else.
    sent: Notify,
}

struct State {
    weather: Weather,
    /// Pairs of machines that cannot reach each other.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    boxes: BTreeMap<SocketAddr, Inbox>,
    /// What is on its way, by when it arrives and then by when it was sent.
    under_way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    /// Datagrams of each pair so far.
    pairs: BTreeMap<(SocketAddr, SocketAddr), u64>,
    counts: Counts,
}

/// What became of all datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the network.
    pub sent: u64,
    /// Lost or cut off.
    pub lost: u64,
    /// Arrived twice.
    pub doubled: u64,
    /// Delayed beyond the usual.
    pub late: u64,
}

#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    reader: Option<Waker>,
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Net {
    /// A fair network.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            seed,
            state: Mutex::new(State {
                weather: FAIR,
                cut: BTreeSet::new(),
                boxes: BTreeMap::new(),
                under_way: BTreeMap::new(),
                sent: 0,
                pairs: BTreeMap::new(),
                counts: Counts::default(),
            }),
            sent: Notify::new(),
        }))
    }

    /// Binds `address`, for as long as the socket is kept.
    pub fn bind(&self, address: SocketAddr, power: Power) -> Arc<Socket> {
        self.state().boxes.insert(address, Inbox::default());
        Arc::new(Socket {
            address,
            power,
            net: self.clone(),
        })
    }

    /// Lets the weather change.
    pub fn set(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Cuts two machines off from each other, or joins them again.
    pub fn cut(&self, one: IpAddr, other: IpAddr, cut: bool) {
        let pair = (one.min(other), one.max(other));
        let mut state = self.state();
        if cut {
            state.cut.insert(pair);
        } else {
            state.cut.remove(&pair);
        }
    }

    /// Joins all machines, in fair weather.
    pub fn heal(&self) {
        let mut state = self.state();
        state.weather = FAIR;
        state.cut.clear();
    }

    /// What became of all datagrams so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Carries datagrams, for ever.
    pub async fn carry(self) {
        loop {
            let next = self.state().under_way.keys().next().map(|key| key.0);
            match next {
                Some(due) if due <= Instant::now() => self.deliver(),
                Some(due) => tokio::select! {
                    biased;
                    () = self.0.sent.notified() => {}
                    () = sleep_until(due) => {}
                },
                None => self.0.sent.notified().await,
            }
        }
    }

    fn deliver(&self) {
        let mut woken = Vec::new();
        let mut state = self.state();
        let now = Instant::now();
        while let Some(entry) = state.under_way.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let Datagram { from, to, bytes } = entry.remove();
            // Nobody is there any more, or its buffer is full.
            if let Some(inbox) = state.boxes.get_mut(&to)
                && inbox.datagrams.len() < INBOX_LEN_MAX
            {
                inbox.datagrams.push_back((from, bytes));
                woken.extend(inbox.reader.take());
            }
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let mut state = self.state();
        let weather = state.weather;
        let number = state.pairs.entry((from, to)).or_default();
        *number += 1;
        // What happens to a datagram depends on its number between these two, not on its bytes,
        // of which TLS draws some.
        let number = *number;
        let draw = |what: u8, of: u64| fate(self.0.seed, (from, to, number, what)) % of.max(1);
        state.counts.sent += 1;
        let pair = (from.ip().min(to.ip()), from.ip().max(to.ip()));
        if state.cut.contains(&pair) || draw(0, 1000) < weather.lost {
            state.counts.lost += 1;
            return;
        }
        let mut copies = 1;
        if draw(1, 1000) < weather.doubled {
            state.counts.doubled += 1;
            copies = 2;
        }
        for copy in 0..copies {
            let mut way = weather.near_ms + draw(2 + copy, weather.spread_ms + 1);
            if draw(4 + copy, 1000) < weather.late {
                state.counts.late += 1;
                way += draw(6 + copy, weather.late_ms + 1);
            }
            let due = now + Duration::from_millis(way);
            state.sent += 1;
            let key = (due, state.sent);
            let bytes = bytes.to_vec();
            state.under_way.insert(key, Datagram { from, to, bytes });
        }
        drop(state);
        self.0.sent.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

/// A machine's address.
pub const fn ip(machine: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, machine))
}

/// A bound socket, as QUIC uses it.
#[derive(Debug)]
pub struct Socket {
    address: SocketAddr,
    power: Power,
    net: Net,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.state().boxes.remove(&self.address);
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.power.spend_datagram() {
            self.net
                .send(self.address, transmit.destination, transmit.contents);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.net.state();
        let Some(inbox) = state.boxes.get_mut(&self.address) else {
            return Poll::Pending;
        };
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            let Some((addr, bytes)) = inbox.datagrams.pop_front() else {
                break;
            };
            let len = bytes.len().min(buf.len());
            if let (Some(to), Some(bytes)) = (buf.get_mut(..len), bytes.get(..len)) {
                to.copy_from_slice(bytes);
            }
            *meta = RecvMeta {
                addr,
                len,
                stride: len,
                ecn: None,
                dst_ip: None,
            };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        inbox.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Datagrams that a machine holds until they are read: as many as its kernel's buffer would.
const INBOX_LEN_MAX: usize = 2048;
