//! Large ledgers: `large`, a million accounts and ten million entries, `audit` of a filled ledger,
//! and `restart` on one of a hundred thousand entries.

use std::path::Path;
use std::time::{Duration, Instant};

use quid_common::key::SecretKey;
use tempfile::TempDir;

use crate::directory::Directory;
use crate::fill::{fill, member};
use crate::floors::Floors;
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::{submit, usage};

/// Fills a large ledger, and starts a directory on it: after an orderly stop, and after a kill
/// under load. The rate is measured beside that of a small ledger.
pub(crate) fn large(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("large");
    let floors = Floors::measure(options.place.as_deref())?;
    let (accounts, entries) = size(options);
    let place = filled(options, SMALL_ACCOUNTS, SMALL_ENTRIES)?;
    let small = Directory::start_on(place)?;
    let rate_small = rate(options, &small, SMALL_ACCOUNTS)?;
    drop(small);

    let begun = Instant::now();
    let place = filled(options, accounts, entries)?;
    let fill_s = begun.elapsed().as_secs_f64();
    let (directory, start_clean_s) = start(place)?;
    let (rss_start, _) = usage::memory(directory.pid())?;
    let rate_large = rate(options, &directory, accounts)?;
    let (_, rss_load) = usage::memory(directory.pid())?;
    let place = kill_under_load(options, directory, accounts, KILL_AFTER)?;
    let (directory, start_kill_s) = start(place)?;
    let begun = Instant::now();
    let place = directory.stop()?;
    let stop_s = begun.elapsed().as_secs_f64();
    let audit = Directory::audit(&place.path().join("data"))?;

    report.count("accounts", accounts.into());
    report.count("entries", entries);
    report.put("fill_s", fill_s);
    report.put("start_clean_s", start_clean_s);
    report.put("start_kill_s", start_kill_s);
    report.put("stop_s", stop_s);
    report.count("rss_bytes_start", rss_start);
    report.count("rss_bytes_load", rss_load);
    report.put("small_payments_per_s", rate_small);
    report.put("payments_per_s", rate_large);
    report.put("ratio_large_small", rate_large / rate_small);
    report.count("disk_bytes", usage::disk(&place.path().join("data"))?);
    report.count("audited_entries", audit["entries"].as_u64().unwrap_or(0));
    floors.again(options.place.as_deref())?.put(&mut report);
    Ok(report)
}

/// Kills a directory under load, again and again, and starts it on its ledger of a hundred thousand
/// entries and what came since.
///
/// # Errors
/// If a start takes longer to its first settlement than it may.
pub(crate) fn restart(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("restart");
    let floors = Floors::measure(options.place.as_deref())?;
    let (accounts, entries) = (10_000, 100_000);
    let place = filled(options, accounts, entries)?;
    let (mut directory, _) = start(place)?;
    let kills = if options.quick { 2 } else { 10 };
    let (mut longest, mut sum) = (0_f64, 0.0);
    for _ in 0..kills {
        let place = kill_under_load(options, directory, accounts, RESTART_AFTER)?;
        let took;
        (directory, took) = start(place)?;
        longest = longest.max(took);
        sum += took;
    }
    let place = directory.stop()?;
    let audit = Directory::audit(&place.path().join("data"))?;
    report.count("accounts", accounts.into());
    report.count("entries", entries);
    report.count("kills", kills);
    report.put("start_kill_s", longest);
    report.put("start_kill_mean_s", sum / kills as f64);
    report.count("audited_entries", audit["entries"].as_u64().unwrap_or(0));
    floors.again(options.place.as_deref())?.put(&mut report);
    if longest > RESTART_MAX_S {
        return Err(format!(
            "a start after a kill took {longest:.2} s to its first settlement, and may take \
             {RESTART_MAX_S} s"
        )
        .into());
    }
    Ok(report)
}

/// Audits a filled ledger with the real program.
pub(crate) fn audit(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("audit");
    let floors = Floors::measure(options.place.as_deref())?;
    let (accounts, entries) = if options.quick {
        (1_000, 100_000)
    } else {
        (10_000, 2_000_000)
    };
    let place = filled(options, accounts, entries)?;
    let begun = Instant::now();
    let audit = Directory::audit(&place.path().join("data"))?;
    let took = begun.elapsed().as_secs_f64();
    let audited = audit["entries"].as_u64().ok_or("it counts no entries")?;
    report.count("accounts", accounts.into());
    report.count("entries", audited);
    report.put("audit_s", took);
    report.put("audit_entries_per_s", audited as f64 / took);
    floors.again(options.place.as_deref())?.put(&mut report);
    Ok(report)
}

const fn size(options: &Options) -> (u32, u64) {
    if options.quick {
        (10_000, 100_000)
    } else {
        (1_000_000, 10_000_000)
    }
}

fn filled(options: &Options, accounts: u32, entries: u64) -> Result<TempDir, Failure> {
    let parent = options.place.as_deref();
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let place = tempfile::tempdir_in(parent)?;
    fill(&place.path().join("data"), accounts, entries)?;
    Ok(place)
}

/// A directory on the ledger in `place`, and the seconds from its process's start to its first
/// settlement.
fn start(place: TempDir) -> Result<(Directory, f64), Failure> {
    let begun = Instant::now();
    let directory = Directory::start_on(place)?;
    submit::first(&directory.address, &member(1))?;
    Ok((directory, begun.elapsed().as_secs_f64()))
}

fn rate(options: &Options, directory: &Directory, accounts: u32) -> Result<f64, Failure> {
    let payers = payers(accounts);
    submit::rate(&directory.address, &payers, options.payees, WARM_UP)?;
    submit::rate(
        &directory.address,
        &payers,
        options.payees,
        options.seconds(),
    )
}

/// Accounts from all over the ledger.
fn payers(accounts: u32) -> Vec<SecretKey> {
    let count = accounts.min(PAYERS_MAX);
    (0..count).map(|n| member(n * (accounts / count))).collect()
}

fn kill_under_load(
    options: &Options,
    directory: Directory,
    accounts: u32,
    after: Duration,
) -> Result<TempDir, Failure> {
    let (address, payees) = (directory.address.clone(), options.payees);
    let load = std::thread::spawn(move || {
        let payers = payers(accounts.min(PAYERS_KILLED));
        // It ends when the directory does.
        submit::rate(&address, &payers, payees, after * 10)
    });
    std::thread::sleep(after);
    let place = directory.kill()?;
    match load.join() {
        Ok(Err(_)) => Ok(place),
        _ => Err("the load ended before the directory was killed".into()),
    }
}

const SMALL_ACCOUNTS: u32 = 1_000;
const SMALL_ENTRIES: u64 = 10_000;

/// Most accounts that pay: making a key takes longer than a signature.
const PAYERS_MAX: u32 = 50_000;

/// Accounts that pay while the directory is killed.
const PAYERS_KILLED: u32 = 1_000;

const WARM_UP: Duration = Duration::from_secs(1);
const KILL_AFTER: Duration = Duration::from_secs(4);

/// How long payments run before `restart` kills.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// From a process's start to its first settlement, at a hundred thousand entries.
const RESTART_MAX_S: f64 = 2.0;
