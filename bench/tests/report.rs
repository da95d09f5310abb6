//! Runs scenarios for a second each, with the real programs, and holds what they print against the
//! table in README.md.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Map, Value};

#[test]
fn settle_prints_what_it_settled_and_the_audit_agrees() {
    let report = run(&[
        "settle",
        "--payers",
        "4",
        "--payees",
        "2",
        "--in-flight",
        "40",
    ]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    assert!(figure("payments") > 0.0 && figure("audited_entries") > figure("payments"));
    assert!(figure("p50_us") <= figure("p99_us") && figure("p99_us") <= figure("max_us"));
    for part in ["directory", "payers", "payees"] {
        assert!(figure(&format!("cpu_us_{part}")) > 0.0);
    }
    let ratio = figure("cpu_us_directory") / figure("floor_verify_us");
    assert!((ratio - figure("ratio_directory_cpu_verify")).abs() < 0.01);
}

#[test]
fn one_at_a_time_is_compared_with_its_floor() {
    let report = run(&["latency"]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    let floor = 2.0 * figure("floor_round_trip_us") + figure("floor_commit_us");
    assert!((figure("p50_us") / floor - figure("ratio_latency_floor")).abs() < 0.01);
}

#[test]
fn idle_nodes_stay_online_and_are_counted() {
    let report = run(&["idle", "--nodes", "50"]);
    assert_eq!(report["nodes"], 50);
    let memory = report["bytes_per_idle_node"].as_f64();
    assert!(memory.is_some_and(|bytes| bytes > 0.0));
}

#[test]
fn a_stream_on_tabs_is_claimed_to_the_unit() {
    let report = run(&["tab", "--length", "20000", "--exposure", "5000"]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    assert!(figure("payments") > 20_000.0, "one tab is not enough");
    assert!(figure("tabs") > 2.0 && figure("claims") > 1.0);
    let ratio = figure("cpu_us_payees") * 1000.0 / figure("floor_link_ns");
    assert!((ratio - figure("ratio_payee_link")).abs() < 0.01);
}

#[test]
fn awaited_payments_on_a_tab_are_compared_with_round_trips() {
    let report = run(&["tick", "--length", "200000"]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    assert!(figure("payments") > 0.0 && figure("p50_us") <= figure("p99_us"));
    assert_eq!(report["entries_between"], 0);
    let ratio = figure("p50_us") / figure("round_trip_us");
    assert!((ratio - figure("ratio_tick_round_trip")).abs() < 0.01);
}

#[test]
fn a_thousand_tabs_are_open_at_once() {
    let report = run(&["tabs", "--length", "500"]);
    assert_eq!(report["tabs"], 1000);
    for side in ["payer", "payee"] {
        let memory = report[&format!("bytes_per_tab_{side}")].as_f64();
        assert!(memory.is_some_and(|bytes| bytes > 0.0));
    }
}

#[test]
fn long_claims_are_compared_with_their_links_and_with_none() {
    let report = run(&["claim", "--quick", "--payers", "4", "--payees", "2"]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    assert!(figure("claims") > 0.0 && figure("flood_claims") > 0.0);
    assert!(figure("ratio_settle_under_claims") > 0.0);
    let links_us = figure("floor_link_ns") * 65_536.0 / 1000.0;
    let ratio = figure("cpu_us_directory") / links_us;
    assert!((ratio - figure("ratio_claim_links")).abs() < 0.01);
}

#[test]
fn beside_a_flood_the_pair_pays_and_the_books_are_sound() {
    let report = run(&["flood", "signatures", "--quick"]);
    let figure = |name: &str| report[name].as_f64().expect(name);
    assert!(figure("payments") > 0.0 && figure("flood_done") > 0.0);
    let ratio = figure("p99_us") / figure("p99_quiet_us");
    assert!((ratio - figure("ratio_flood_p99")).abs() < 0.01);
    let report = run(&["flood", "strangers", "--quick"]);
    assert!(
        report["bytes_per_stranger"]
            .as_f64()
            .is_some_and(|bytes| bytes > 0.0)
    );
}

/// What a scenario prints, every field of which README.md documents.
fn run(arguments: &[&str]) -> Map<String, Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_quid-bench"))
        .args(arguments)
        .args(["--seconds", "1"])
        .output()
        .expect("the bench runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let line = text.lines().last().expect("it prints a line");
    let report: Map<String, Value> = serde_json::from_str(line).expect("one JSON object");
    let documented = documented();
    for name in report.keys() {
        assert!(documented.contains(name), "{name} is not in README.md");
    }
    for name in ["scenario", "floor_sign_us", "floor_commit_us"] {
        assert!(report.contains_key(name), "{name} is missing");
    }
    report
}

fn documented() -> BTreeSet<String> {
    let readme = include_str!("../README.md");
    let (_, table) = readme
        .split_once("<!-- table: fields -->")
        .expect("it is there");
    table
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}
