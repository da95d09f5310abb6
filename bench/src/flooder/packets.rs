//! Floods by those who write packets rather than messages, as far as that goes over sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::tls;
use quid_common::wire::OpenSettle;
use quinn::Endpoint;
use rand::RngExt;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::members::{accounts, log_in, submission};
use super::{ROLE, Siege, Workers, endpoint};
use crate::client::{Node, key};
use crate::report::Failure;
use crate::stream::queue;

/// First packets of real callers, sent from addresses that answer nothing.
///
/// A client calls a socket of ours; what it sends goes on to the directory from another address,
/// and what the directory answers there is not read.
pub(super) async fn initials(siege: &Arc<Siege>) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for number in 0..CALLERS {
        let catcher = UdpSocket::bind("127.0.0.1:0").await?;
        let through = catcher.local_addr()?;
        let caller = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let node = Node::on(&caller, ROLE, number)?;
        let config = node.config(siege.directory.key(), tls::ALPN_DIRECTORY)?;
        let siege = Arc::clone(siege);
        workers.add(async move {
            let mut datagram = [0; 2048];
            loop {
                siege.wanted().await;
                let from = UdpSocket::bind(anywhere()).await?;
                let call = caller.connect_with(config.clone(), through, tls::SERVER_NAME)?;
                // A ClientHello with a post-quantum share is two datagrams long.
                for _ in 0..2 {
                    let caught = catcher.recv_from(&mut datagram);
                    let Ok(Ok((len, _))) = timeout(CAUGHT_WAIT, caught).await else {
                        break;
                    };
                    let packet = datagram.get(..len).unwrap_or_default();
                    let _ = from.send_to(packet, siege.to()).await;
                    siege.done();
                }
                drop(call);
            }
        });
    }
    Ok(workers)
}

/// Random datagrams: some look like long headers, most like packets of a connection that is gone.
pub(super) fn garbage(siege: &Arc<Siege>) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for _ in 0..4 {
        let siege = Arc::clone(siege);
        workers.add(async move {
            let mut datagram = [0; 1200];
            loop {
                siege.wanted().await;
                let from = UdpSocket::bind(anywhere()).await?;
                for _ in 0..64 {
                    rand::rng().fill(&mut datagram);
                    let len = rand::rng().random_range(1..=datagram.len());
                    let packet = datagram.get(..len).unwrap_or_default();
                    let _ = from.send_to(packet, siege.to()).await;
                    siege.done();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    Ok(workers)
}

/// Sessions through a relay that loses every third packet on its way to the directory, so that what
/// they write comes with gaps.
pub(super) async fn gaps(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for (_, number) in accounts(siege, count).await? {
        let relay = relay(siege.to()).await?;
        let endpoint = endpoint(number)?;
        let siege = Arc::clone(siege);
        workers.add(async move {
            let node = Node::on(&endpoint, ROLE, number)?;
            loop {
                siege.wanted().await;
                let call = node.call(relay, siege.directory.key(), tls::ALPN_DIRECTORY);
                let Ok(Ok(connection)) = timeout(CALL_WAIT, call).await else {
                    siege.refused();
                    continue;
                };
                let Ok(Ok(session)) = timeout(CALL_WAIT, node.begin(connection, false)).await
                else {
                    siege.refused();
                    continue;
                };
                let mut out = Vec::new();
                queue(&mut out, OpenSettle {});
                let order = session.order(&node.key, key(ROLE, 0).public());
                for number in 0..200 {
                    queue(&mut out, submission(number, order.clone()));
                }
                while siege.is_on() && session.connection.close_reason().is_none() {
                    let Ok((mut send, mut receive)) = session.connection.open_bi().await else {
                        break;
                    };
                    let sent = timeout(CALL_WAIT, send.write_all(&out)).await;
                    let _ = send.finish();
                    let _ = timeout(CALL_WAIT, receive.read_to_end(1 << 20)).await;
                    if matches!(sent, Ok(Ok(()))) {
                        siege.done();
                    }
                }
                session.connection.close(0_u32.into(), b"");
            }
        });
    }
    Ok(workers)
}

/// Passes packets on to the directory and back, and loses some.
async fn relay(to: SocketAddr) -> Result<SocketAddr, Failure> {
    let (front, back) = (
        UdpSocket::bind("127.0.0.1:0").await?,
        UdpSocket::bind("127.0.0.1:0").await?,
    );
    let address = front.local_addr()?;
    tokio::spawn(async move {
        let (mut out, mut home) = ([0; 2048], [0; 2048]);
        let (mut client, mut number) = (None, 0_u64);
        loop {
            tokio::select! {
                sent = front.recv_from(&mut out) => {
                    let Ok((len, from)) = sent else { return };
                    client = Some(from);
                    number += 1;
                    if number % 3 != 0 {
                        let _ = back.send_to(out.get(..len).unwrap_or_default(), to).await;
                    }
                }
                answer = back.recv_from(&mut home) => {
                    let Ok((len, _)) = answer else { return };
                    if let Some(client) = client {
                        let _ = front.send_to(home.get(..len).unwrap_or_default(), client).await;
                    }
                }
            }
        }
    });
    Ok(address)
}

/// Sessions whose endpoint moves to a new port or network every few milliseconds: each time the
/// directory has to prove the new address and change its connection ids.
pub(super) async fn moves(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for (endpoint, number) in accounts(siege, count).await? {
        let siege = Arc::clone(siege);
        workers.add(async move {
            loop {
                siege.wanted().await;
                let Some((_, session)) = log_in(&siege, &endpoint, number).await else {
                    sleep(MOVED).await;
                    continue;
                };
                while siege.is_on() && session.connection.close_reason().is_none() {
                    let socket = std::net::UdpSocket::bind(anywhere())?;
                    endpoint.rebind(socket)?;
                    siege.done();
                    sleep(MOVED).await;
                }
                session.connection.close(0_u32.into(), b"");
                siege.closed();
            }
        });
    }
    Ok(workers)
}

/// Any address of this machine's own network.
fn anywhere() -> SocketAddr {
    let [b, c]: [u8; 2] = rand::rng().random();
    SocketAddr::from(([127, b, c, 1], 0))
}

/// Callers at once.
const CALLERS: u32 = 16;

/// Longest wait for what a caller sends first.
const CAUGHT_WAIT: Duration = Duration::from_millis(100);

/// Longest wait for anything through a relay that loses packets.
const CALL_WAIT: Duration = Duration::from_secs(3);

/// Between two moves.
const MOVED: Duration = Duration::from_millis(5);
