//! A thousand tabs at one payee: what each costs in memory while it is open.

use quid_common::chain::LENGTH_MAX;

use crate::floors::Floors;
use crate::options::Options;
use crate::report::{Failure, Report};
use crate::tab_members::{Policy, TabMembers};
use crate::tab_payers::Wish;

/// Opens them and looks at the memory of payers and payee.
pub(crate) fn tabs(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::new("tabs");
    let floors = Floors::measure(options.place.as_deref())?;
    let length = options.length.unwrap_or(LENGTH);
    let policy = Policy {
        exposure: LENGTH_MAX,
        unclaimed: LENGTH_MAX,
        every: 1000,
    };
    let mut members = TabMembers::start(options, PAYERS, policy)?;
    let open = |tabs| Wish::Open { tabs, length };
    // What the first tabs make both sides set up is not a tab's: sessions, lines, threads, the
    // journals' caches.
    members.ask(open(WARM_UP))?;
    members.ask(Wish::Close)?;
    members.ask(open(PAYERS.into()))?;
    let [payers_before, payee_before] = members.memory()?;
    let more = TABS - u32::from(PAYERS);
    let opened = members.ask(open(more))?;
    let [payers_after, payee_after] = members.memory()?;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / f64::from(more);
    report.count("tabs", TABS.into());
    report.count("tab_units", length.into());
    report.put("bytes_per_tab_payee", each(payee_after, payee_before));
    report.put("bytes_per_tab_payer", each(payers_after, payers_before));
    report.put("openings_per_s", f64::from(more) / opened.seconds);
    members.finish(&mut report)?;
    floors.again(options.place.as_deref())?.put(&mut report);
    Ok(report)
}

/// Tabs that are open at once.
const TABS: u32 = 1000;

/// Payers, in one process: none has more tabs than it may.
const PAYERS: u16 = 16;

/// Tabs that are opened, and closed again, before the counting begins.
const WARM_UP: u32 = 500;

/// Units of each tab, unless other tabs are asked for.
const LENGTH: u32 = 50_000;
