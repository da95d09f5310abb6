//! Payments on tabs from one payer to one payee: `tab` as fast as it goes, `tick` one at a time.

use quid_common::chain::LENGTH_MAX;

use crate::directory::Directory;
use crate::floors::{self, Floors};
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::tab_members::{Policy, TabMembers};
use crate::tab_payers::{Done, Wish};

/// One payer streams to one payee, each payment one unit. Chains, openings, saves, claims and
/// closes are all within what is measured.
pub(crate) fn tab(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("tab");
    let floors = Floors::measure(options.place.as_deref())?;
    let length = options.length.unwrap_or(LENGTH);
    let policy = Policy {
        exposure: options.exposure,
        unclaimed: LENGTH_MAX,
        every: 1000,
    };
    let mut members = TabMembers::start(options, 1, policy)?;
    let stream = |seconds| Wish::Stream { seconds, length };
    members.ask(stream(WARM_UP_S))?;
    members.ask(Wish::Close)?;
    let claims_before = members.standing()?.claims;
    let before = members.used()?;
    let Done {
        seconds,
        payments,
        tabs,
        ..
    } = members.ask(stream(options.seconds().as_secs_f64()))?;
    let claims = members.standing()?.claims - claims_before;
    // What is left to be claimed is part of what the payments cost.
    members.ask(Wish::Close)?;
    let used = members.used()?;
    if claims < payments / u64::from(options.exposure.max(1)) / 4 {
        return Err(format!("{payments} payments, and {claims} claims only").into());
    }
    report.count("payments", payments);
    report.put("payments_per_s", payments as f64 / seconds);
    report.put("seconds", seconds);
    report.count("tabs", tabs);
    report.count("tab_units", length.into());
    report.count("exposure_units", options.exposure.into());
    report.count("claims", claims);
    used.put_since(&before, payments, &mut report);
    members.finish(&mut report)?;
    floors.again(options.place.as_deref())?.put(&mut report);
    let link_us = report.figure("floor_link_ns") / 1e3;
    report.put("ratio_payee_link", report.figure("cpu_us_payees") / link_us);
    Ok(report)
}

/// One payment at a time on an open tab, beside requests and replies on one stream.
pub(crate) fn tick(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("tick");
    let floors = Floors::measure(options.place.as_deref())?;
    let length = options.length.unwrap_or(LENGTH_MAX);
    // Nothing is claimed before the end, so that all entries of that time would be the payments'.
    let policy = Policy {
        exposure: LENGTH_MAX,
        unclaimed: LENGTH_MAX,
        every: 3_600_000,
    };
    let mut members = TabMembers::start(options, 1, policy)?;
    let tick = |seconds| Wish::Tick { seconds, length };
    members.ask(tick(WARM_UP_S))?;
    let entries = |members: &TabMembers| Directory::entries(&members.directory.data());
    let (entries_before, before) = (entries(&members)?, members.used()?);
    let (mut p50s, mut round_trips, mut last, mut payments) = (0.0, 0.0, None, 0);
    // In turns, so that a machine that slows down slows both.
    for _ in 0..TURNS {
        round_trips += floors::round_trip()?;
        let done = members.ask(tick(options.seconds().as_secs_f64() / TURNS as f64))?;
        let latency = done.latency.ok_or("no latencies")?;
        payments += latency.count;
        p50s += f64::from(latency.p50_us);
        last = Some(latency);
    }
    let (used, entries_after) = (members.used()?, entries(&members)?);
    let entries = entries_after - entries_before;
    if entries > 0 {
        return Err(format!("{entries} entries between a tab's opening and its claim").into());
    }
    let last = last.ok_or("no turn")?;
    report.count("payments", payments);
    report.put("p50_us", p50s / TURNS as f64);
    report.count("p99_us", last.p99_us.into());
    report.count("max_us", last.max_us.into());
    report.put("round_trip_us", round_trips / TURNS as f64);
    report.put("ratio_tick_round_trip", p50s / round_trips);
    report.count("entries_between", entries);
    used.put_since(&before, payments, &mut report);
    members.finish(&mut report)?;
    floors.again(options.place.as_deref())?.put(&mut report);
    Ok(report)
}

/// Seconds before the measuring begins.
const WARM_UP_S: f64 = 1.0;

/// Units of each tab in `tab`, unless other tabs are asked for.
const LENGTH: u32 = 262_144;

/// Turns of each kind in `tick`.
const TURNS: usize = 3;
