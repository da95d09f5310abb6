//! Wrong arguments of `quid tab`, and of those that listen for tabs.

use crate::{ORDER, check_usage};

#[test]
fn tabs_outside_the_grammar_are_refused() {
    let open = |unit: &str, units: &str, more: &[&str]| {
        let arguments = ["tab", "open", "bob", "--unit", unit, "--units", units];
        check_usage(&[&arguments, more].concat());
    };
    for unit in [
        "",
        "0",
        "0.000",
        "-1",
        "1e-6",
        ".1",
        "1.0000000001",
        "\u{1b}[31m1",
    ] {
        open(unit, "1", &[]);
    }
    for units in [
        "",
        "0",
        "-1",
        "+1",
        "x",
        "1.5",
        " 1",
        "1e3",
        "1_000",
        "1048577",
        "4294967297",
        "18446744073709551616",
    ] {
        open("1", units, &[]);
        check_usage(&["tab", "pay", ORDER, units]);
    }
    for (expires, grace) in [
        ("", ""),
        ("1", "60"),
        ("0s", "0s"),
        ("25h", "61m"),
        ("-1s", "-1s"),
        ("1d", "1d"),
        ("1h30m", "1m30s"),
        ("1.5h", "0.5h"),
        ("1 h", "1 h"),
        ("\u{661}h", "\u{1b}[2J"),
        ("18446744073709551616s", "18446744073709551615h"),
    ] {
        open("1", "1", &["--expires", expires]);
        open("1", "1", &["--grace", grace]);
    }
    open("1", "1", &["--memo", &"x".repeat(141)]);
    open("1", "1", &["--reference", "12"]);
    open("1", "1", &["--wait", "0"]);
    for id in ["", "12", "x", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
        check_usage(&["tab", "pay", id, "1"]);
        check_usage(&["tab", "close", id]);
    }
    check_usage(&["tab", "open", "Bob", "--unit", "1", "--units", "1"]);
    check_usage(&["tab", "pay", ORDER, "1", "--wait", "1m"]);
    for exposure in ["", "0", "-1", "1e3", "1%"] {
        check_usage(&["listen", "--exposure", exposure]);
    }
    for seconds in ["", "0", "-1", "1.5", "10s", "3601"] {
        check_usage(&["listen", "--claim-every", seconds]);
    }
}
