//! A disk that fails at every write and every sync of a short life, once and for good, of the
//! directory and of a node.
//!
//! After each failure the machine goes on with a sound disk, on which any of what was not synced may
//! be missing. Then every promise must hold: above all, whoever was answered after a failed sync
//! would hold a receipt that the log does not have.
//!
//! The ordinary run takes a sample; `QUID_SIM_DISKS=all` takes every point.

use quid_sim::disk::{Act, DiskError, Trouble};
use quid_sim::world::{Report, SHORT, Whose, Wishes, run};

const SEED: u64 = 7;

fn sound(wishes: Wishes) -> Report {
    match run(SEED, wishes) {
        Ok(report) => report,
        Err(violation) => panic!("{:?}: {violation}", wishes.trouble),
    }
}

/// Tries every failure of one kind, or a sample of about so many.
fn fail_at_each(whose: Whose, act: Act, of: u64, sample: u64) {
    let all = std::env::var("QUID_SIM_DISKS").is_ok_and(|wish| wish == "all");
    let step = if all { 1 } else { (of / sample).max(1) };
    let step = usize::try_from(step).expect("small");
    let errors: &[DiskError] = match act {
        Act::Write => &[DiskError::Full, DiskError::Broken],
        Act::Sync => &[DiskError::Broken],
    };
    let mut failed = 0;
    for at in (0..of).step_by(step) {
        for &error in errors {
            for for_good in [false, true] {
                let trouble = Trouble {
                    act,
                    at,
                    error,
                    for_good,
                };
                let report = sound(Wishes {
                    trouble: Some((whose, trouble)),
                    ..SHORT
                });
                failed += u64::from(report.failed);
            }
        }
    }
    assert!(failed > 0, "no disk failed");
    println!("{whose:?} {act:?}: {failed} failures, each survived");
}

#[test]
fn the_short_life_does_everything() {
    let report = sound(SHORT);
    for what in [
        "settled",
        "voided",
        "tabs opened",
        "tab payments",
        "links paid",
        "refunds",
    ] {
        assert!(
            report.counts.iter().any(|count| count.0 == what),
            "nothing was {what}: {:?}",
            report.counts
        );
    }
    assert!(!report.failed);
}

#[test]
fn the_directory_survives_a_failure_at_every_write() {
    let writes = sound(SHORT).disks[0].writes;
    fail_at_each(Whose::Directory, Act::Write, writes, 12);
}

#[test]
fn the_directory_survives_a_failure_at_every_sync() {
    let syncs = sound(SHORT).disks[0].syncs;
    fail_at_each(Whose::Directory, Act::Sync, syncs, 15);
}

#[test]
fn a_node_survives_a_failure_at_every_write() {
    let writes = sound(SHORT).disks[1].writes;
    fail_at_each(Whose::Node, Act::Write, writes, 12);
}

#[test]
fn a_node_survives_a_failure_at_every_sync() {
    let syncs = sound(SHORT).disks[1].syncs;
    fail_at_each(Whose::Node, Act::Sync, syncs, 15);
}
