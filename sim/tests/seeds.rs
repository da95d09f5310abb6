//! A handful of seeds, and that a seed is the same run each time.

use std::process::Command;

/// What the program says of a seed.
fn plain(seed: u64, flags: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_quid-sim"))
        .args(["--seed", &seed.to_string(), "--plain"])
        .args(flags)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

fn count(plain: &str, what: &str) -> u64 {
    let of = |line: &str| {
        let (number, name) = line.strip_prefix("count ")?.split_once(' ')?;
        (name == what).then(|| number.parse().ok())?
    };
    plain.lines().find_map(of).unwrap_or_default()
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in [11, 12] {
        assert_eq!(plain(seed, &[]), plain(seed, &[]), "seed {seed}");
    }
    assert_ne!(plain(11, &[]), plain(12, &[]));
}

#[test]
fn the_promises_hold_under_a_handful_of_seeds() {
    for seed in 0..10 {
        let operations = count(&plain(seed, &[]), "operations");
        assert!(
            operations >= 200,
            "seed {seed}: {operations} operations only"
        );
    }
}

#[test]
fn without_faults_nobody_crashes_and_nothing_is_lost() {
    let fair = plain(1, &["--fair"]);
    assert_eq!(count(&fair, "datagrams lost"), 0);
    assert!(!fair.contains("crash"), "{fair}");
    assert!(count(&fair, "settled") > 50, "{fair}");
}
