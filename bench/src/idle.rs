//! Nodes that are online and do nothing: what each costs the directory.
//!
//! Each holds what the library's listening node holds: a session with presence, its settle stream
//! and its event stream.

use std::time::Duration;

use quid_common::wire::{Message, OpenSettle, Subscribe};
use quinn::{Connection, RecvStream, SendStream};

use crate::crowd::Crowd;
use crate::directory::Directory;
use crate::floors::Floors;
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::stream::{Reader, queue};
use crate::usage;

/// Brings nodes online and looks at the directory.
pub(crate) fn idle(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("idle");
    let floors = Floors::measure(options.place.as_deref())?;
    let directory = Directory::start(options.place.as_deref())?;
    let nodes = options
        .nodes
        .unwrap_or(if options.quick { 1000 } else { 5000 });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // What the first connections make the directory set up is not a node's.
        let first = come_online(&directory, WARM_UP, 0).await?;
        let (before, _) = usage::memory(directory.pid())?;
        let online = come_online(&directory, nodes, WARM_UP).await?;
        let (after, peak) = usage::memory(directory.pid())?;
        let cpu = usage::cpu(directory.pid())?;
        tokio::time::sleep(options.seconds()).await;
        let rested = usage::cpu(directory.pid())?.saturating_sub(cpu);
        let all = f64::from(nodes + WARM_UP);
        if online
            .iter()
            .chain(&first)
            .any(|node| node.connection.close_reason().is_some())
        {
            return Err("a node lost its session".into());
        }
        report.count("nodes", nodes.into());
        report.put(
            "bytes_per_idle_node",
            after.saturating_sub(before) as f64 / f64::from(nodes),
        );
        report.put(
            "cpu_us_per_node_s",
            rested.as_secs_f64() * 1e6 / all / options.seconds().as_secs_f64(),
        );
        report.count("rss_bytes_directory", peak);
        Ok::<_, Failure>(())
    })?;
    floors.put(&mut report);
    Ok(report)
}

/// A node that is online as long as this is held.
#[derive(Debug)]
struct Online {
    connection: Connection,
    _settle: (SendStream, RecvStream),
    _events: (SendStream, Reader),
}

async fn come_online(directory: &Directory, count: u32, from: u32) -> Result<Vec<Online>, Failure> {
    let crowd = Crowd::numbered(&directory.address, from, count)?;
    let address = directory.address.clone();
    crowd
        .each(count as usize, move |member| {
            let address = address.clone();
            async move {
                let connection = member.come_online(&address).await?;
                let settle = open(&connection, OpenSettle {}).await?;
                let wanted = Subscribe {
                    after: Some(0),
                    presence: false,
                };
                let (send, receive) = open(&connection, wanted).await?;
                let mut events = Reader::new(receive);
                while !matches!(events.next().await?, Message::CaughtUp(_)) {}
                Ok(Online {
                    connection,
                    _settle: settle,
                    _events: (send, events),
                })
            }
        })
        .await
}

async fn open(
    connection: &Connection,
    first: impl Into<Message>,
) -> Result<(SendStream, RecvStream), Failure> {
    let (mut send, receive) = connection.open_bi().await?;
    let mut out = Vec::new();
    queue(&mut out, first);
    tokio::time::timeout(Duration::from_secs(5), send.write_all(&out)).await??;
    Ok((send, receive))
}

/// Nodes that come before the counting begins.
const WARM_UP: u32 = 200;
