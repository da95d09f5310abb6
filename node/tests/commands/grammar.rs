//! Arguments that no command takes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::{KEY, ORDER, World, check_failure, check_usage};

#[test]
fn amounts_outside_the_grammar_are_refused() {
    for amount in [
        "",
        " ",
        "1e3",
        "1E3",
        "1,5",
        "1,000.5",
        "+1",
        "-1",
        "-0",
        "-1.5",
        "\u{2212}1",
        " 1",
        "1 ",
        "1\n",
        "1\t",
        "1\u{a0}000",
        "1_000",
        "1'000",
        "0x10",
        "0b1",
        "1/2",
        "50%",
        "$5",
        "5 QUID",
        "QUID",
        "NaN",
        "inf",
        "-inf",
        "1.2.3",
        "1..2",
        ".",
        "..",
        ".5",
        "1.",
        "1.5.",
        "1.0000000001",
        "\u{661}\u{662}",
        "\u{ff11}",
        "\u{b2}",
        "\u{2460}",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
        "0",
        "0.0",
        "00",
        "000.000",
        "--5",
        "\u{1b}[31m1",
        "1\u{202e}5",
        "1\u{200b}",
    ] {
        check_usage(&["pay", "bob", amount]);
    }
    check_usage(&["pay", "bob", &"1".repeat(65)]);
    check_usage(&["pay", "bob", &"9".repeat(100_000)]);
}

#[test]
fn names_outside_the_grammar_are_refused() {
    for name in [
        "",
        "a",
        "ab",
        "Bob",
        "BOB",
        "1bob",
        "-bob",
        "_bob",
        "bob-",
        "bob_",
        "b ob",
        " bob",
        "bob ",
        "bob\n",
        "b\u{f6}b",
        "\u{431}\u{43e}\u{431}",
        "bob.",
        "bob@home",
        "bob/../x",
        "b\u{1b}[2Jb",
        "b\u{9b}b",
        "bob\u{202e}",
        "\u{301}bob",
        "quid://bob",
        "$(id)",
        "*",
    ] {
        check_usage(&["pay", name, "1"]);
        check_usage(&["register", name]);
    }
    check_usage(&["register", &"a".repeat(33)]);
    check_usage(&["register", &"a".repeat(100_000)]);
}

#[test]
fn addresses_outside_the_grammar_are_refused() {
    for address in [
        "",
        "KEY",
        "KEY@h:1",
        "h:1",
        "http://KEY@h:1",
        "QUID://KEY@h:1",
        "quid://KEY@h",
        "quid://KEY@h:",
        "quid://KEY@h:0",
        "quid://KEY@h:65536",
        "quid://KEY@h:+1",
        "quid://KEY@:1",
        "quid://@h:1",
        "quid://abc@h:1",
        "quid://KEYx@h:1",
        "quid://KEY@h:1/",
        "quid://KEY@h:1/request/x",
        "quid://KEY@h:1?a",
        "quid://KEY@h:1#a",
        "quid://KEY@0.0.0.0:1",
        "quid://KEY@::1:1",
        "quid://KEY@[::1",
        "quid://u:p@h:1",
        "quid://KEY@127.1:1",
        " quid://KEY@h:1",
        "quid://KEY@h:1 ",
        "quid://KEY@h\u{1b}:1",
        "quid://KEY@b\u{fc}cher:1",
        "quid://127.0.0.1:9",
    ] {
        check_usage(&["init", "--directory", &address.replace("KEY", KEY)]);
    }
    check_usage(&[
        "init",
        "--directory",
        &format!("quid://{KEY}@{}:1", "h".repeat(100_000)),
    ]);
}

#[test]
fn ids_outside_the_grammar_are_refused() {
    for id in [
        "",
        "12",
        "x",
        "019aab12",
        "019aab1234567abc8def0123456789ab",
        "019AAB12-3456-7ABC-8DEF-0123456789AB",
        "{019aab12-3456-7abc-8def-0123456789ab}",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "019aab12-3456-7abc-8def-0123456789ag",
        "019aab12-3456-7abc-8def-0123456789ab0",
        "\u{1b}[31m",
    ] {
        check_usage(&["void", id]);
    }
    for id in [
        "",
        "x",
        "-1",
        "+1",
        "1.0",
        " 1",
        "18446744073709551616",
        "67e55044",
        "\u{1b}c",
    ] {
        check_usage(&["receipt", "show", id]);
    }
}

#[test]
fn numbers_outside_the_grammar_are_refused() {
    for number in [
        "",
        "0",
        "-1",
        "+1",
        "x",
        "1.5",
        " 1",
        "1e3",
        "1000001",
        "18446744073709551616",
    ] {
        check_usage(&["history", "--limit", number]);
    }
    for number in ["", "-1", "+1", "x", "1.5", " 1", "18446744073709551616"] {
        check_usage(&["history", "--after", number]);
    }
    for seconds in [
        "",
        "0",
        "-1",
        "x",
        "1.5",
        "10s",
        "3601",
        "18446744073709551616",
    ] {
        check_usage(&["pay", "bob", "1", "--wait", seconds]);
    }
    for reference in [
        "",
        "0",
        "12345678",
        &"f".repeat(31),
        &"f".repeat(33),
        &"F".repeat(32),
    ] {
        check_usage(&["pay", "bob", "1", "--reference", reference]);
    }
    for bind in [
        "",
        "x",
        "0.0.0.0",
        ":1",
        "localhost:1",
        "1.2.3.4:65536",
        "::1:1",
    ] {
        check_usage(&["listen", "--bind", bind]);
    }
    check_usage(&["pay", "bob", "1", "--memo", &"x".repeat(141)]);
    check_usage(&["pay", "bob", "1", "--memo", &"x".repeat(100_000)]);
}

#[test]
fn missing_doubled_and_unknown_arguments_are_refused() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["pya", "bob", "1"],
        &["PAY", "bob", "1"],
        &["\u{1b}[2J"],
        &["init"],
        &["init", "--directory"],
        &["register"],
        &["register", "bob", "alice"],
        &["pay"],
        &["pay", "bob"],
        &["pay", "--memo", "tea"],
        &["pay", "bob", "1", "2"],
        &["pay", "bob", "1", "--yes"],
        &["pay", "bob", "1", "--again"],
        &["pay", "quid://h:1/request/"],
        &["request"],
        &["request", "0"],
        &["request", "1", "--open"],
        &["request", "1", "--tab", "--unit", "1", "--units", "1"],
        &["request", "--tab"],
        &["request", "--tab", "--unit", "1"],
        &["request", "--open", "--units", "1"],
        &["request", "1", "--expires", "0s"],
        &["request", "1", "--expires", "367d"],
        &["request", "1", "--memo", &"x".repeat(141)],
        &["requests", "--limit", "0"],
        &["refund"],
        &["refund", "-1"],
        &["refund", ORDER],
        &["pay", "bob", "1", "--memo"],
        &["pay", "bob", "1", "--memo", "a", "--memo", "b"],
        &["pay", "bob", "1", "--wait", "1", "--wait", "2"],
        &["pay", "bob", "1", "--wiat", "1"],
        &["pay", "bob", "1", "--memos", "a"],
        &["pay", "bob", "1", "-m", "a"],
        &["pay", "bob", "1", "--hidden"],
        &["pay", "bob", "1", "\u{1b}[2J"],
        &["pay", "bob", "1", "--\u{1b}[2J"],
        &["who", "--watch", "--watch"],
        &["who", "--watch=yes"],
        &["who", "bob"],
        &["status", "now"],
        &["void"],
        &["void", ORDER, ORDER],
        &["listen", "--hidden", "--hidden"],
        &["listen", "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0"],
        &["history", "--limit", "1", "--limit", "2"],
        &["history", "5"],
        &["receipt"],
        &["receipt", "nonsense"],
        &["receipt", "show"],
        &["receipt", "show", "1", "--out"],
        &["receipt", "show", "1", "--out", ""],
        &["receipt", "verify"],
        &["receipt", "verify", ""],
        &["receipt", "verify", "a", "b"],
        &["status", "--home", "a", "--home", "b"],
        &["--home", "a", "status", "--home", "b"],
        &["--home", "a", "status", "--home=b"],
        &["status", "--home"],
        &["status", "--home", ""],
        &["status", "--log-format"],
        &["status", "--log-format", "xml"],
        &["--log-format", "json", "status", "--log-format", "human"],
        &["-x", "status"],
        &["tab"],
        &["tab", "nonsense"],
        &["tab", "list", "all"],
        &["tab", "open"],
        &["tab", "open", "bob"],
        &["tab", "open", "bob", "--unit", "1"],
        &["tab", "open", "bob", "--units", "1"],
        &["tab", "open", "bob", "1", "--unit", "1", "--units", "1"],
        &["tab", "pay", ORDER],
        &["tab", "pay", ORDER, "1", "2"],
        &["tab", "pay", "1"],
        &["tab", "close"],
        &["tab", "close", ORDER, ORDER],
    ] {
        check_usage(arguments);
    }
}

#[test]
fn arguments_that_are_not_utf8_are_refused() {
    for bytes in [
        &b"\xff"[..],
        b"b\xffb",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\x9b31m\xfe",
        b"\xff\x1b[2J",
    ] {
        let bad = OsString::from_vec(bytes.to_vec());
        for arguments in [
            vec![bad.clone()],
            vec!["pay".into(), bad.clone(), "1".into()],
            vec!["pay".into(), "bob".into(), bad.clone()],
            vec![
                "pay".into(),
                "bob".into(),
                "1".into(),
                "--memo".into(),
                bad.clone(),
            ],
            vec!["receipt".into(), "verify".into(), bad.clone()],
        ] {
            check_usage(&arguments);
        }
    }
}

#[test]
fn what_excludes_each_other_is_named() {
    let world = World::new();
    let exclude = |arguments: &[&str], both: [&str; 2]| {
        let output = world.command(arguments).output().expect("quid runs");
        let line = check_failure(&output, 2);
        assert!(line.contains("exclude each other"), "{line}");
        assert!(both.iter().all(|one| line.contains(one)), "{line}");
    };
    exclude(&["request", "--open", "5"], ["--open", "AMOUNT"]);
    exclude(&["request", "5", "--open"], ["AMOUNT", "--open"]);
}
