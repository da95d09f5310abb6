//! Logins: handshake, login, presence, and gone again, beside bare handshakes with the same keys,
//! settings and number at once.

use std::io::Write;
use std::time::{Duration, Instant};

use quid_common::wire::CloseCode;
use quid_directory::server;
use quinn::VarInt;

use crate::client::{PAYEE, key};
use crate::crowd::Crowd;
use crate::directory::Directory;
use crate::floors::Floors;
use crate::latency::Latencies;
use crate::members::Process;
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::usage;

/// Logs members in and out as fast as it goes.
pub(crate) fn login(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("login");
    let floors = Floors::measure(options.place.as_deref())?;
    let directory = Directory::start(options.place.as_deref())?;
    let mut bare = Process::start(&["greet"])?;
    let bare_address = bare.line()?.trim_end().parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let crowd = Crowd::new(&directory.address, MEMBERS)?;
        let address = directory.address.clone();
        crowd
            .each(MEMBERS as usize, move |member| {
                let address = address.clone();
                async move {
                    leave(&member.come_online(&address).await?);
                    Ok(())
                }
            })
            .await?;
        let greeted = crowd.calling(bare_address, key(PAYEE, 0).public())?;
        let (mut latencies, mut logins, mut handshakes) = (Latencies::default(), 0.0, 0.0);
        let (mut cpu, mut count) = (Duration::ZERO, 0);
        // In turns, so that a machine that slows down slows both.
        let times = turn_len(options);
        for _ in 0..TURNS {
            let begun = Instant::now();
            greeted
                .each(times, |member| async move {
                    leave(&member.connect().await?);
                    Ok(())
                })
                .await?;
            handshakes += times as f64 / begun.elapsed().as_secs_f64();
            let before = usage::cpu(directory.pid())?;
            let begun = Instant::now();
            let took = crowd
                .each(times, |member| async move {
                    let begun = Instant::now();
                    let connection = member.connect().await?;
                    member.node.begin(connection.clone(), true).await?;
                    let took = begun.elapsed();
                    leave(&connection);
                    Ok(took)
                })
                .await?;
            logins += times as f64 / begun.elapsed().as_secs_f64();
            cpu += usage::cpu(directory.pid())?.saturating_sub(before);
            count += took.len();
            took.into_iter().for_each(|took| latencies.add(took));
        }
        let latency = latencies.summary();
        report.count("logins", latency.count);
        report.put("logins_per_s", logins / f64::from(TURNS));
        report.put("handshakes_per_s", handshakes / f64::from(TURNS));
        report.put("ratio_login_handshake", logins / handshakes);
        report.count("p50_us", latency.p50_us.into());
        report.count("p99_us", latency.p99_us.into());
        report.count("max_us", latency.max_us.into());
        report.put("cpu_us_directory", cpu.as_secs_f64() * 1e6 / count as f64);
        Ok::<_, Failure>(())
    })?;
    let (_, peak) = usage::memory(directory.pid())?;
    report.count("rss_bytes_directory", peak);
    floors.again(options.place.as_deref())?.put(&mut report);
    Ok(report)
}

/// Takes connections with the directory's own settings and does nothing with them.
pub(crate) fn greet() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let endpoint = server::bind(([127, 0, 0, 1], 0).into(), &key(PAYEE, 0))?;
        println!("{}", endpoint.local_addr()?);
        std::io::stdout().flush()?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    connection.closed().await;
                }
            });
        }
        Ok(())
    })
}

fn leave(connection: &quinn::Connection) {
    connection.close(VarInt::from_u32(CloseCode::BYE.0), b"");
}

/// Logins in one turn: about a third of the time asked for, at a few thousand a second.
fn turn_len(options: &Options) -> usize {
    let seconds = options.seconds().as_secs_f64() / f64::from(TURNS);
    (seconds * 1500.0) as usize
}

/// Accounts that log in again and again.
const MEMBERS: u32 = 500;

/// Turns of each kind.
const TURNS: u32 = 3;
