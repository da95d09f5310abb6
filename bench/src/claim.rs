//! Claims as long as they may be: what they cost the directory beside bare links, and what they
//! take from the payments of others.

use quid_common::chain::GAP_MAX;

use crate::flood::{Flood, Kind};
use crate::floors::Floors;
use crate::members::Members;
use crate::options::Options;
use crate::payers::Stretch;
use crate::report::{Failure, Report};
use crate::settle::spread;
use crate::tab_members::{Policy, TabMembers};
use crate::tab_payers::Wish;

/// Has a payee claim long gaps for a while; then lets others pay beside one account's flood of
/// claims, in turns with none.
pub(crate) fn claim(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("claim");
    let floors = Floors::measure(options.place.as_deref())?;
    // Every payment is a claim's length, and no further one is taken before it is claimed.
    let policy = Policy {
        exposure: GAP_MAX,
        unclaimed: GAP_MAX,
        every: 1000,
    };
    let mut members = TabMembers::start(options, 1, policy)?;
    let seconds = options.seconds().as_secs_f64();
    members.ask(Wish::Leap { seconds: WARM_UP_S })?;
    let (claims_before, before) = (members.standing()?.claims, members.used()?);
    let leapt = members.ask(Wish::Leap { seconds })?;
    let (used, standing) = (members.used()?, members.standing()?);
    let claims = standing.claims - claims_before;
    if claims * u64::from(GAP_MAX) != leapt.payments {
        return Err(format!("{claims} claims of {} links", leapt.payments).into());
    }
    report.count("claims", claims);
    report.put("claims_per_s", claims as f64 / leapt.seconds);
    used.put_since(&before, claims, &mut report);
    under_claims(options, &members, &mut report)?;
    members.finish(&mut report)?;
    floors.again(options.place.as_deref())?.put(&mut report);
    let links_us = report.figure("floor_link_ns") * f64::from(GAP_MAX) / 1e3;
    report.put(
        "ratio_claim_links",
        report.figure("cpu_us_directory") / links_us,
    );
    Ok(report)
}

/// What remains of others' rate while one account claims in a row.
fn under_claims(
    options: &Options,
    members: &TabMembers,
    report: &mut Report,
) -> Result<(), Failure> {
    let directory = &members.directory;
    let mut others = Members::start(&directory.address, options.payers, options.payees)?;
    let turn = spread(options, options.seconds().as_secs_f64() / PART);
    others.pay(
        directory,
        Stretch {
            seconds: WARM_UP_S,
            ..turn
        },
    )?;
    let turns = if options.quick { TURNS_QUICK } else { TURNS };
    let mut quiet = vec![others.pay(directory, turn)?.per_second];
    let (mut sound, mut bad) = (Vec::new(), Vec::new());
    let mut hashed = 0;
    for number in 0..turns {
        for (kind, rates) in [(Kind::Sound, &mut sound), (Kind::Bad, &mut bad)] {
            let flood = Flood::begin(&directory.address, kind, number)?;
            rates.push(others.pay(directory, turn)?.per_second);
            hashed += flood.end()?;
            quiet.push(others.pay(directory, turn)?.per_second);
        }
    }
    let quiet = mean(&quiet);
    report.put("payments_per_s", quiet);
    report.put("ratio_settle_under_claims", mean(&sound) / quiet);
    report.put("ratio_settle_under_bad_claims", mean(&bad) / quiet);
    report.count("flood_claims", hashed);
    Ok(())
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

/// Seconds before the measuring begins.
const WARM_UP_S: f64 = 1.0;

/// Turns of each kind: a machine that is shared is now faster and now slower by a tenth, and what is
/// looked for is less than that.
const TURNS: u32 = 15;
const TURNS_QUICK: u32 = 3;

/// A turn takes so small a part of the time asked for.
const PART: f64 = 4.0;
