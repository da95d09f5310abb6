//! A load of orders by accounts all over a ledger: a few payees are connected and submit them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use quid_common::address::DirectoryAddress;
use quid_common::key::SecretKey;
use quid_common::wire::{Message, OpenSettle, Submit};
use rand::RngExt;
use tokio::task::{JoinSet, LocalSet};

use crate::client::{Node, PAYEE, is_passing, letters};
use crate::report::Failure;
use crate::stream::{Reader, queue};

/// Orders settled a second while `payees` submit what `payers` sign, for so long.
pub(crate) fn rate(
    directory: &DirectoryAddress,
    payers: &[SecretKey],
    payees: u16,
    time: Duration,
) -> Result<f64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut running = JoinSet::new();
        for number in 0..payees {
            let (directory, payers) = (directory.clone(), payers.to_vec());
            running.spawn_local(async move {
                submit(&directory, &payers, number.into(), Until::Time(time)).await
            });
        }
        let mut sum = 0.0;
        while let Some(ended) = running.join_next().await {
            let (count, took) = ended??;
            sum += count as f64 / took.as_secs_f64();
        }
        Ok(sum)
    })
}

/// Logs in and waits for one settlement.
pub(crate) fn first(directory: &DirectoryAddress, payer: &SecretKey) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let payers = [payer.clone()];
    LocalSet::new()
        .block_on(&runtime, submit(directory, &payers, 0, Until::Count(1)))
        .map(|_| ())
}

#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Count(u64),
}

/// How many settled, and how long that took.
async fn submit(
    directory: &DirectoryAddress,
    payers: &[SecretKey],
    number: u32,
    until: Until,
) -> Result<(u64, Duration), Failure> {
    let node = Node::new(PAYEE, number, false)?;
    let name = format!("payee-{}", letters(number));
    let session = node.log_in(directory, &name, false).await?;
    let (mut send, receive) = session.connection.open_bi().await?;
    let mut reader = Reader::new(receive);
    let mut out = Vec::new();
    queue(&mut out, OpenSettle {});
    let (begun, mut next, mut settled) = (Instant::now(), 0_u64, 0_u64);
    let mut waiting = HashMap::new();
    loop {
        let more = match until {
            Until::Time(time) => begun.elapsed() < time,
            Until::Count(count) => next < count,
        };
        while more && waiting.len() < IN_FLIGHT {
            let at = rand::rng().random_range(0..payers.len());
            let payer = payers.get(at).ok_or("nobody pays")?;
            let order = session.order(payer, node.public());
            queue(&mut out, submission(next, &order));
            waiting.insert(next, order);
            next += 1;
            if matches!(until, Until::Count(count) if next >= count) {
                break;
            }
        }
        if waiting.is_empty() && !more {
            return Ok((settled, begun.elapsed()));
        }
        send.write_all(&std::mem::take(&mut out)).await?;
        if !reader.more().await? {
            return Err("the settle stream ended".into());
        }
        while let Some(message) = reader.ready()? {
            match message {
                Message::Settled(answer) => {
                    waiting.remove(&answer.number).ok_or("unasked")?;
                    settled += 1;
                }
                Message::SubmitRefused(refused) if is_passing(refused.reason) => {
                    let order = waiting.get(&refused.number).ok_or("unasked")?;
                    queue(&mut out, submission(refused.number, order));
                }
                other => return Err(format!("not settled: {other:?}").into()),
            }
        }
    }
}

fn submission(number: u64, order: &[u8]) -> Submit {
    Submit {
        number,
        order: order.to_vec().into(),
        decline: None,
    }
}

/// Orders of one payee that wait at once.
const IN_FLIGHT: usize = 256;
