//! A handful of seeds, and that a seed is the same run each time.

use quid_sim::world::{ORDINARY, Report, Wishes, run};

fn sound(seed: u64) -> Report {
    match run(seed, ORDINARY) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in [11, 12] {
        let (first, again) = (sound(seed), sound(seed));
        assert_eq!(first.digest, again.digest, "seed {seed}");
        assert_eq!(first.counts, again.counts, "seed {seed}");
        assert_eq!(first.datagrams, again.datagrams, "seed {seed}");
        assert_eq!(first.simulated, again.simulated, "seed {seed}");
    }
    assert_ne!(sound(11).digest, sound(12).digest);
}

#[test]
fn the_promises_hold_under_a_handful_of_seeds() {
    for seed in 0..12 {
        let report = sound(seed);
        let count = |what| report.counts.iter().find(|count| count.0 == what);
        let operations = count("operations").map_or(0, |count| count.1);
        assert!(
            operations >= 200,
            "seed {seed}: {operations} operations only"
        );
    }
}

#[test]
fn without_faults_everything_is_known_at_once_and_nobody_crashes() {
    let fair = Wishes {
        faults: false,
        rogues: 0,
        ..ORDINARY
    };
    let report = run(1, fair).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.known_after < std::time::Duration::from_secs(1));
    assert!(report.counts.iter().all(|count| !count.0.contains("crash")));
}
