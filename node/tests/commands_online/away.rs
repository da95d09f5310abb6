//! What a home tells while its directory cannot be reached: what it knows by itself, and that this is
//! all.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::processes::{Home, World, assert_fields};

/// The lines of a command that cannot reach the directory, and what it says after them.
fn told(home: &Home, arguments: &[&str]) -> (Vec<Value>, Value) {
    let output = home.quid(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(6), "{arguments:?}: {output:?}");
    let stdout = String::from_utf8(output.stdout).expect("JSON is text");
    let mut lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let last = lines.pop().expect("there is a last line");
    assert_eq!(last["error"], "unreachable", "{last}");
    let message = last["message"].as_str().expect("text");
    assert!(
        message.contains("cannot be reached") && message.contains("knows by itself"),
        "{message}"
    );
    assert_fields(&last, &["as_of"]);
    (lines, last)
}

fn texts<'a>(lines: &'a [Value], field: &str) -> Vec<&'a str> {
    let text = |line: &'a Value| line[field].as_str().unwrap_or_default();
    lines.iter().map(text).collect()
}

/// Alice, who listens, has paid bob, opened a tab and received; then an order of hers was sent to bob,
/// who stands still, and the directory went away.
fn lost_amid_a_payment() -> (World, Home, Home, String) {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (listen_alice, listen_bob) = (alice.listen(), bob.listen());
    world.operate(&["issue", "alice", "1"]);
    listen_alice.received("treasury");
    alice.ok(&["pay", "bob", "1.25", "--memo", "tea"]);
    bob.ok(&["pay", "alice", "0.5"]);
    alice.ok(&["tab", "open", "bob", "--unit", "0.01", "--units", "100"]);
    let asked = alice.ok(&["request", "0.25"]);
    alice.ok(&["request", "3"]);
    bob.ok(&["pay", asked["link"].as_str().expect("a link"), "--yes"]);
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["balance"], &status["held"]),
        (&"9.500000".into(), &"1.000000".into())
    );
    listen_bob.signal("STOP");
    let mut pay = alice.run(&["pay", "bob", "2", "--wait", "4"]);
    let deadline = Instant::now() + Duration::from_secs(10);
    let order = loop {
        let newest = alice.lines(&["history", "--limit", "1"]).remove(0);
        if newest["state"] == "unknown" {
            break newest["order"].as_str().expect("an order").to_owned();
        }
        assert!(Instant::now() < deadline, "the order is not sent");
    };
    world.kill();
    assert_eq!(pay.wait(), Some(4));
    // While alice listens, that process is asked; its directory is as far away.
    let (lines, _) = told(&alice, &["history", "--limit", "2"]);
    assert_eq!(texts(&lines, "state"), ["unknown", "settled", "settled"]);
    (world, alice, bob, order)
}

#[test]
fn a_home_tells_what_it_knows_by_itself_and_that_this_is_all() {
    let (mut world, alice, bob, order) = lost_amid_a_payment();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (lines, last) = told(&alice, &["history"]);
            assert_eq!(
                texts(&lines, "kind"),
                ["payment", "payment", "hold", "payment", "payment", "issue"]
            );
            assert_eq!(
                texts(&lines, "counterparty"),
                ["bob", "bob", "bob", "bob", "bob", "treasury"]
            );
            assert_eq!(
                texts(&lines, "direction"),
                ["out", "in", "out", "in", "out", "in"]
            );
            assert_eq!(lines[4]["memo"], "tea");
            let first = &lines[0];
            assert_eq!(
                (&first["state"], &first["entry"], &first["order"]),
                (&"unknown".into(), &Value::Null, &order.as_str().into())
            );
            assert!(lines.iter().skip(1).all(|line| line["state"] == "settled"));
            assert!(
                last["as_of"].as_str() >= lines[1]["time"].as_str(),
                "{last}"
            );
        });
        scope.spawn(|| {
            let (lines, _) = told(&alice, &["history", "--limit", "10", "--after", "5"]);
            assert!(
                lines
                    .iter()
                    .skip(1)
                    .all(|line| line["entry"].as_u64() > Some(5)),
                "{lines:?}"
            );
        });
        scope.spawn(|| {
            let (lines, status) = told(&alice, &["status"]);
            assert!(lines.is_empty(), "{lines:?}");
            assert_fields(&status, &["key", "directory", "ledger"]);
            for (field, value) in [
                ("name", "alice".into()),
                // Nothing that looks as if it were so now.
                ("balance", Value::Null),
                ("held", Value::Null),
                ("last_balance", "9.500000".into()),
                ("last_held", "1.000000".into()),
                ("currency", "QUID".into()),
                ("pending", 1.into()),
                ("tabs", 1.into()),
            ] {
                assert_eq!(status[field], value, "{field}: {status}");
            }
        });
        scope.spawn(|| {
            let output = alice.quid(&["status"]);
            assert_eq!(output.status.code(), Some(6), "{output:?}");
            let table = String::from_utf8(output.stdout).expect("text");
            assert!(
                table.contains("\nbalance    not known now; 9.500000 QUID at 20"),
                "{table}"
            );
            assert!(table.contains("\npending    1, unknown until"), "{table}");
            let said = String::from_utf8(output.stderr).expect("text");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(
                said.contains("cannot be reached") && said.contains(", as of 20"),
                "{said}"
            );
        });
        scope.spawn(|| {
            let (lines, _) = told(&alice, &["requests"]);
            // That nobody has paid the other one is not known.
            assert_eq!(texts(&lines, "state"), ["unknown", "paid"]);
            assert_eq!(texts(&lines, "amount"), ["3.000000", "0.250000"]);
        });
        scope.spawn(|| {
            let (lines, _) = told(&bob, &["requests"]);
            assert!(lines.is_empty(), "{lines:?}");
        });
    });
    world.restart();
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["balance"], &status["pending"]),
        (&"9.500000".into(), &0.into())
    );
    assert_eq!(status["last_balance"], Value::Null, "{status}");
    let history = alice.lines(&["history"]);
    assert!(
        history.iter().all(|line| line["state"] == "settled"),
        "{history:?}"
    );
    assert_eq!(
        texts(&alice.lines(&["requests"]), "state"),
        ["open", "paid"]
    );
}

#[test]
fn a_home_that_never_logged_in_knows_nothing_by_itself() {
    let mut world = World::start(&[]);
    let alice = world.home("alice");
    world.kill();
    let failed = alice.fails(&["status"], 6);
    let message = failed["message"].as_str().expect("text");
    assert!(message.ends_with("nothing was sent for this"), "{message}");
    assert_eq!(failed["name"], Value::Null, "{failed}");
}
