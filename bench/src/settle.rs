//! Payments: `settle` as fast as it goes and at 70 % of that, `hot` to one account, `latency` one
//! at a time.

use crate::directory::Directory;
use crate::floors::Floors;
use crate::least::Least;
use crate::members::{Measured, Members, settle_down};
use crate::options::Options;
use crate::payers::Stretch;
use crate::report::{Failure, Report};
use crate::usage;

/// Many payers, many payees.
pub(crate) fn settle(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("settle");
    let floors = Floors::measure(options.place.as_deref())?;
    let directory = Directory::start(options.place.as_deref())?;
    let mut members = Members::start(&directory.address, options.payers, options.payees)?;
    let turn = spread(options, options.seconds().as_secs_f64() / TURNS as f64);
    members.pay(
        &directory,
        Stretch {
            seconds: WARM_UP_S,
            ..turn
        },
    )?;
    // In turns, so that a machine that slows down slows both.
    let (mut fastest, mut steady) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let full = members.pay(&directory, turn)?;
        settle_down(&directory)?;
        let rate = Some(full.per_second * STEADY);
        steady.push(members.pay(&directory, Stretch { rate, ..turn })?);
        settle_down(&directory)?;
        fastest.push(full);
    }
    let (fastest, steady) = (Measured::mean(&fastest), Measured::mean(&steady));
    put(&mut report, &fastest);
    // The latencies are those at 70 %: as fast as it goes, they only say how many wait.
    put_latency(&mut report, "", &steady);
    put_latency(&mut report, "full_", &fastest);
    report.put("steady_payments_per_s", steady.per_second);
    report.put("steady_cpu_us_directory", steady.directory);
    report.put("steady_cpu_us_payers", steady.payers);
    report.put("steady_cpu_us_payees", steady.payees);
    finish(options, report, directory, members, &floors, &fastest)
}

/// All to one account, beside the spread case.
pub(crate) fn hot(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("hot");
    let floors = Floors::measure(options.place.as_deref())?;
    let directory = Directory::start(options.place.as_deref())?;
    let mut members = Members::start(&directory.address, options.payers, options.payees)?;
    // In turns, so that a machine that slows down slows both.
    let turn = spread(options, options.seconds().as_secs_f64() / TURNS as f64);
    members.pay(
        &directory,
        Stretch {
            seconds: WARM_UP_S,
            ..turn
        },
    )?;
    let (mut spreads, mut hots) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        spreads.push(members.pay(&directory, turn)?);
        hots.push(members.pay(&directory, Stretch { hot: true, ..turn })?);
    }
    let (spread, hot) = (Measured::mean(&spreads), Measured::mean(&hots));
    put(&mut report, &hot);
    put_latency(&mut report, "", &hot);
    report.put("spread_payments_per_s", spread.per_second);
    report.put("ratio_hot_spread", hot.per_second / spread.per_second);
    finish(options, report, directory, members, &floors, &hot)
}

/// One at a time.
pub(crate) fn latency(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("latency");
    let floors = Floors::measure(options.place.as_deref())?;
    let directory = Directory::start(options.place.as_deref())?;
    let mut members = Members::start(&directory.address, 1, 1)?;
    let alone = Stretch {
        seconds: options.seconds().as_secs_f64(),
        in_flight: 1,
        rate: None,
        hot: false,
    };
    members.pay(
        &directory,
        Stretch {
            seconds: WARM_UP_S,
            ..alone
        },
    )?;
    let measured = members.pay(&directory, alone)?;
    put(&mut report, &measured);
    put_latency(&mut report, "", &measured);
    let mut report = finish(options, report, directory, members, &floors, &measured)?;
    let floor = 2.0 * report.figure("floor_round_trip_us") + report.figure("floor_commit_us");
    report.put("ratio_latency_floor", report.figure("p50_us") / floor);
    Least::measure()?.put(&mut report, floor);
    Ok(report)
}

/// As fast as it goes, all payees alike, for so long.
pub(crate) fn spread(options: &Options, seconds: f64) -> Stretch {
    let in_flight = (options.in_flight as usize).div_ceil(options.payers.into());
    Stretch {
        seconds,
        in_flight,
        rate: None,
        hot: false,
    }
}

fn put(report: &mut Report, measured: &Measured) {
    report.count("payments", measured.latencies.len() as u64);
    report.put("payments_per_s", measured.per_second);
    report.count("busy", measured.busy);
    report.put("cpu_us_directory", measured.directory);
    report.put("cpu_us_payers", measured.payers);
    report.put("cpu_us_payees", measured.payees);
}

fn put_latency(report: &mut Report, prefix: &str, measured: &Measured) {
    let latency = measured.latencies.summary();
    report.count(&format!("{prefix}p50_us"), latency.p50_us.into());
    report.count(&format!("{prefix}p99_us"), latency.p99_us.into());
    report.count(&format!("{prefix}max_us"), latency.max_us.into());
}

/// What every scenario of payments ends with: memory, disk, floors, and the audit, which must find
/// every payment.
fn finish(
    options: &Options,
    mut report: Report,
    directory: Directory,
    members: Members,
    floors: &Floors,
    measured: &Measured,
) -> Result<Report, Failure> {
    let (_, peak) = usage::memory(directory.pid())?;
    report.count("rss_bytes_directory", peak);
    drop(members);
    let data = directory.data();
    // Held until the folder has been looked at.
    let _place = directory.stop()?;
    let audit = Directory::audit(&data)?;
    let entries = audit["entries"]
        .as_u64()
        .ok_or("the audit counts no entries")?;
    // All of the ledger's payments came from here; the rest of its entries hardly count.
    report.put(
        "disk_bytes_per_payment",
        usage::disk(&data)? as f64 / entries as f64,
    );
    report.count("audited_entries", entries);
    floors.again(options.place.as_deref())?.put(&mut report);
    report.put(
        "ratio_directory_cpu_verify",
        measured.directory / report.figure("floor_verify_us"),
    );
    Ok(report)
}

/// Seconds before the measuring begins.
const WARM_UP_S: f64 = 1.0;

/// The share of the highest rate at which latencies are taken.
const STEADY: f64 = 0.7;

/// Turns of each kind in `settle` and `hot`.
const TURNS: usize = 3;
