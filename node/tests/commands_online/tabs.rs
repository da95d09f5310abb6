//! `quid tab` between real processes: a directory, a payee that listens, and commands of a payer.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::processes::{Home, Running, World, assert_fields};

const OPENED: &[&str] = &[
    "tab", "state", "payee", "unit", "units", "hold", "currency", "expires", "entry", "accepted",
];
const LISTED: &[&str] = &[
    "tab", "role", "peer", "key", "state", "unit", "units", "paid", "amount", "at_risk", "hold",
    "currency", "expires",
];
const PAID: &[&str] = &[
    "tab",
    "state",
    "payee",
    "units",
    "acknowledged",
    "amount",
    "currency",
    "paid",
    "left",
];
const FAILED: &[&str] = &["tab", "state", "units", "acknowledged", "reason", "error"];
const FAILED_UNKNOWN: &[&str] = &["tab", "state", "units", "acknowledged", "error", "message"];
const CLOSED: &[&str] = &[
    "tab", "state", "payee", "paid", "amount", "returned", "currency", "released",
];

#[test]
fn a_tab_is_opened_paid_and_closed_and_both_sides_see_the_same() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.listen();
    let opened = alice.ok(&[
        "tab",
        "open",
        "bob",
        "--unit",
        "0.000001",
        "--units",
        "50000",
        "--memo",
        "for the stream",
    ]);
    assert_fields(&opened, OPENED);
    let id = tab_of(&opened);
    assert_eq!(
        (&opened["state"], &opened["accepted"], &opened["hold"]),
        (&"open".into(), &true.into(), &"0.050000".into())
    );
    let told = tab_event(&listen, "opened", &id);
    assert_eq!(
        (&told["peer"], &told["role"]),
        (&"alice".into(), &"payee".into())
    );
    assert_eq!(
        money(&alice),
        ("9.950000".to_owned(), "0.050000".to_owned())
    );
    assert_eq!(alice.ok(&["status"])["tabs"], 1);

    let paid = alice.ok(&["tab", "pay", &id, "300"]);
    assert_fields(&paid, PAID);
    assert_eq!(
        (&paid["state"], &paid["amount"]),
        (&"paid".into(), &"0.000300".into())
    );
    assert_eq!(alice.ok(&["tab", "pay", &id, "1"])["paid"], 301);
    for (home, role, peer) in [(&alice, "payer", "bob"), (&bob, "payee", "alice")] {
        let listed = home.lines(&["tab", "list"]);
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_fields(&listed[0], LISTED);
        for (field, value) in [
            ("tab", Value::from(id.clone())),
            ("role", role.into()),
            ("peer", peer.into()),
            ("state", "open".into()),
            ("units", 50_000.into()),
            ("paid", 301.into()),
            ("amount", "0.000301".into()),
        ] {
            assert_eq!(listed[0][field], value, "{field} in {listed:?}");
        }
    }
    assert_eq!(bob.lines(&["tab", "list"])[0]["exposure"], "0.000500");

    let refused = alice.fails(&["tab", "pay", &id, "49700"], 3);
    assert_fields(&refused, FAILED);
    assert_eq!(
        (
            &refused["error"],
            &refused["left"],
            &refused["acknowledged"]
        ),
        (&"tab_spent".into(), &49_699.into(), &0.into())
    );
    let closed = alice.ok(&["tab", "close", &id]);
    assert_fields(&closed, CLOSED);
    assert_eq!(
        (
            &closed["paid"],
            &closed["amount"],
            &closed["returned"],
            &closed["released"]
        ),
        (
            &301.into(),
            &"0.000301".into(),
            &"0.049699".into(),
            &true.into()
        )
    );
    tab_event(&listen, "over", &id);
    assert_eq!(
        money(&alice),
        ("9.999699".to_owned(), "0.000000".to_owned())
    );
    assert_eq!(bob.balance(), "10.000301");
    for home in [&alice, &bob] {
        assert_eq!(home.lines(&["tab", "list"]), [] as [Value; 0]);
    }
    // A tab that is over stays so, and to close it again is no mistake.
    assert_eq!(
        alice.fails(&["tab", "pay", &id, "1"], 3)["reason"],
        "tab_over"
    );
    assert_eq!(alice.ok(&["tab", "close", &id])["released"], true);
    receipts_name_the_tab(&alice, &bob, &id);
    world.operate(&["audit"]);
}

/// In JSON by `change`, and to people by the signs of the amounts.
fn changes_sum_up_to_the_balance(home: &Home) {
    let millionths = |text: &str| -> i64 {
        let number: String = text.chars().filter(|c| *c != '.').collect();
        number.parse().expect("a decimal with six places")
    };
    let (balance, lines) = (millionths(&home.balance()), home.lines(&["history"]));
    let change = |line: &Value| millionths(line["change"].as_str().expect("it is known"));
    let sum: i64 = lines.iter().map(change).sum();
    assert_eq!(sum, balance, "{lines:?}");
    let output = home.quid(&["history"]);
    let shown = String::from_utf8(output.stdout).expect("it is text");
    let signed = shown
        .split_whitespace()
        .filter(|word| word.starts_with(['+', '-']));
    assert_eq!(signed.map(millionths).sum::<i64>(), balance, "{shown}");
}

/// The history tells of hold, claims and release, and each has its receipt.
fn receipts_name_the_tab(alice: &Home, bob: &Home, id: &str) {
    let key = |home: &Home| home.ok(&["status"])["key"].clone();
    let (payer, payee) = (key(alice), key(bob));
    let mut kinds = Vec::new();
    for line in alice.lines(&["history"]) {
        let kind = line["kind"].as_str().expect("text").to_owned();
        if kind == "issue" {
            continue;
        }
        assert_eq!(
            (&line["order"], &line["counterparty"]),
            (&id.into(), &"bob".into())
        );
        let entry = line["entry"].to_string();
        let receipt = alice.ok(&["receipt", "show", &entry]);
        assert_eq!(receipt["kind"], kind, "{receipt}");
        assert_eq!(receipt["amount"], line["amount"], "{receipt}");
        assert_eq!(
            (&receipt["tab"], &receipt["payer"], &receipt["payee"]),
            (&id.into(), &payer, &payee),
            "{receipt}"
        );
        let verdict = alice.ok(&["receipt", "verify", &entry]);
        assert_eq!(
            (&verdict["ok"], &verdict["tab"]),
            (&true.into(), &id.into())
        );
        if kind == "hold" {
            assert_eq!(
                (&receipt["unit"], &receipt["units"]),
                (&"0.000001".into(), &50_000.into())
            );
            assert_eq!(receipt["memo"], "for the stream");
        }
        kinds.push(kind);
    }
    for home in [alice, bob] {
        changes_sum_up_to_the_balance(home);
    }
    kinds.dedup();
    assert_eq!(kinds, ["release", "claim", "hold"]);
    let claims = bob.lines(&["history"]);
    let claim = claims.iter().find(|line| line["kind"] == "claim");
    let claim = claim.expect("bob sees what he claimed");
    assert_eq!(
        (&claim["direction"], &claim["order"]),
        (&"in".into(), &id.into())
    );
    assert_eq!(alice.ok(&["receipt", "show", id])["kind"], "hold");
}

#[test]
fn what_cannot_be_opened_is_refused_and_says_why() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let stranger = world.home("carol");
    let open = |home: &Home, name: &str, unit: &str, units: &str, code: i32| {
        home.fails(
            &["tab", "open", name, "--unit", unit, "--units", units],
            code,
        )
    };
    for (unit, units) in [("0.0000001", "1"), ("9000000000", "1048576")] {
        assert_eq!(open(&alice, "bob", unit, units, 2)["error"], "usage");
    }
    for (name, unit, units, reason) in [
        ("alice", "1", "1", "self_payment"),
        ("nobody", "1", "1", "unknown_account"),
        ("bob", "0.000011", "1000000", "insufficient_funds"),
    ] {
        let refused = open(&alice, name, unit, units, 3);
        assert_eq!(
            (&refused["state"], &refused["reason"], &refused["payee"]),
            (&"refused".into(), &reason.into(), &name.into())
        );
    }
    assert_eq!(
        open(&stranger, "bob", "1", "1", 3)["error"],
        "not_registered"
    );
    world.operate(&["freeze", "alice"]);
    assert_eq!(open(&alice, "bob", "1", "1", 3)["reason"], "frozen");
    world.operate(&["thaw", "alice"]);

    // A payee wants some grace; what is held for nothing comes back.
    let listen = bob.listen();
    let grace = ["--grace", "1s"];
    let declined = alice.fails(
        &[
            &["tab", "open", "bob", "--unit", "1", "--units", "3"][..],
            &grace,
        ]
        .concat(),
        3,
    );
    assert_eq!(
        (
            &declined["state"],
            &declined["reason"],
            &declined["accepted"]
        ),
        (&"refused".into(), &"bad_terms".into(), &false.into())
    );
    assert_fields(&declined, OPENED);
    eventually("the hold is back", || money(&alice) == free("10.000000"));
    assert_eq!(alice.lines(&["tab", "list"]), [] as [Value; 0]);
    drop(listen);
    world.operate(&["audit"]);
}

#[test]
fn tabs_of_others_and_of_nobody_are_not_paid_on() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _listen = bob.listen();
    let id = open(&alice, "0.01", "100", &[]);
    for (home, id) in [(&bob, &*id), (&alice, NO_TAB)] {
        for command in [&["tab", "pay", id, "1"][..], &["tab", "close", id]] {
            let refused = home.fails(command, 3);
            assert_eq!(refused["error"], "no_tab", "{command:?}: {refused}");
        }
    }
    // Nor is an order a tab, or a tab an order.
    let order = alice.ok(&["pay", "bob", "1"])["order"].clone();
    let order = order.as_str().expect("text");
    assert_eq!(
        alice.fails(&["tab", "pay", order, "1"], 3)["error"],
        "no_tab"
    );
    assert_eq!(alice.ok(&["tab", "pay", &id, "100"])["left"], 0);
    let spent = alice.fails(&["tab", "pay", &id, "1"], 3);
    assert_eq!(
        (&spent["error"], &spent["left"]),
        (&"tab_spent".into(), &0.into())
    );
}

#[test]
fn a_payee_that_is_away_gets_the_tab_later_or_its_payer_the_money_back() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let output = alice.quid(&["tab", "open", "bob", "--unit", "0.01", "--units", "100"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("bob has not taken the tab yet"), "{said}");
    let id = tab_of(&alice.lines(&["tab", "list"])[0]);
    let start = Instant::now();
    let away = alice.fails(&["tab", "pay", &id, "5", "--wait", "2"], 6);
    assert_eq!(away["error"], "payee_unreachable");
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    let listen = bob.listen();
    assert_eq!(alice.ok(&["tab", "pay", &id, "5"])["paid"], 5);
    drop(listen);
    // A payee that is away keeps its claim until the grace is over.
    let other = open(&alice, "0.01", "100", &["--grace", "2s"]);
    let closed = alice.ok(&["tab", "close", &other]);
    assert_eq!(
        (&closed["released"], &closed["grace"], &closed["returned"]),
        (&false.into(), &2.into(), &"1.000000".into())
    );
    eventually("the hold is back", || money(&alice).1 == "1.000000");
}

#[test]
fn paying_needs_no_directory_and_the_claims_follow() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.run(&["listen", "--claim-every", "1"]);
    listen.event("online");
    let id = open(&alice, "0.001", "1000", &[]);
    let other = open(&alice, "0.001", "1000", &[]);
    alice.ok(&["tab", "pay", &id, "1"]);
    world.kill();
    listen.event("offline");
    assert_eq!(alice.ok(&["tab", "pay", &id, "2"])["paid"], 3);
    let start = Instant::now();
    let listed = alice.lines(&["tab", "list"]);
    assert_eq!(listed.len(), 2);
    for tab in &listed {
        assert_fields(tab, LISTED);
        assert_eq!(tab["claimed"], Value::Null);
    }
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        alice.fails(&["tab", "close", &id], 6)["error"],
        "unreachable"
    );
    let open = ["tab", "open", "bob", "--unit", "1", "--units", "1"];
    assert_eq!(alice.fails(&open, 6)["error"], "unreachable");
    assert_eq!(alice.ok(&["tab", "pay", &id, "4"])["paid"], 7);
    world.restart();
    listen.until("all is claimed", |line| {
        line["change"] == "claimed" && line["claimed"] == 7
    });
    for tab in [&id, &other] {
        assert_eq!(alice.ok(&["tab", "close", tab])["released"], true);
    }
    assert_eq!(money(&alice), free("9.993000"));
    assert_eq!(bob.balance(), "10.007000");
    world.operate(&["audit"]);
}

#[test]
fn a_payee_that_is_killed_loses_at_most_its_exposure_and_goes_on() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = ["listen", "--exposure", "0.05", "--claim-every", "3600"];
    let mut running = bob.run(&listen);
    running.event("online");
    let id = open(&alice, "0.001", "1000", &[]);
    let stands = |home: &Home| home.lines(&["tab", "list"])[0].clone();
    assert_eq!(stands(&bob)["exposure"], "0.050000");
    // More at once than may be lost: taken in parts.
    assert_eq!(alice.ok(&["tab", "pay", &id, "210"])["paid"], 210);
    running.child.kill().expect("it runs");
    running.wait();
    let kept = stands(&bob)["paid"].as_u64().expect("a number");
    assert!(
        (160..=210).contains(&kept),
        "{kept} of 210 are kept, 50 may be lost"
    );
    let away = alice.fails(&["tab", "pay", &id, "1", "--wait", "1"], 6);
    assert_eq!(away["error"], "payee_unreachable");
    let running = bob.run(&listen);
    tab_event(&running, "opened", &id);
    // The payer, who has not lost anything, shows again what the payee lacks.
    assert_eq!(alice.ok(&["tab", "pay", &id, "5"])["paid"], 215);
    let closed = alice.ok(&["tab", "close", &id]);
    assert_eq!(
        (&closed["paid"], &closed["released"]),
        (&215.into(), &true.into())
    );
    assert_eq!(money(&alice), free("9.785000"));
    assert_eq!(bob.balance(), "10.215000");
    world.operate(&["audit"]);
}

#[test]
fn a_payer_that_is_killed_goes_on_where_the_payee_saw_it() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _bob = bob.listen();
    let mut running = alice.listen();
    // Through the process that listens, as its own events tell.
    let id = open(&alice, "0.001", "1000", &[]);
    let told = tab_event(&running, "opened", &id);
    assert_eq!(
        (&told["role"], &told["peer"]),
        (&"payer".into(), &"bob".into())
    );
    assert_eq!(alice.ok(&["tab", "pay", &id, "10"])["paid"], 10);
    running.child.kill().expect("it runs");
    running.wait();
    assert_eq!(alice.ok(&["tab", "pay", &id, "7"])["paid"], 17);
    let running = alice.listen();
    assert_eq!(alice.ok(&["tab", "pay", &id, "3"])["paid"], 20);
    assert_eq!(alice.ok(&["tab", "close", &id])["amount"], "0.020000");
    tab_event(&running, "ending", &id);
    assert_eq!(bob.balance(), "10.020000");
}

#[test]
fn a_payment_that_is_not_acknowledged_says_what_is_known() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (mut alice_listens, bob_listens) = (alice.listen(), bob.listen());
    let id = open(&alice, "0.001", "1000", &[]);
    assert_eq!(alice.ok(&["tab", "pay", &id, "10"])["paid"], 10);
    bob_listens.signal("STOP");
    let start = Instant::now();
    let unknown = alice.fails(&["tab", "pay", &id, "5", "--wait", "2"], 4);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_fields(&unknown, PAID);
    assert_eq!(
        (
            &unknown["state"],
            &unknown["acknowledged"],
            &unknown["paid"],
            &unknown["left"]
        ),
        (&"unknown".into(), &0.into(), &10.into(), &985.into())
    );
    let message = unknown["message"].as_str().expect("text");
    assert!(
        message.contains("0 of the 5 units") && message.contains("tab list"),
        "{message}"
    );
    let listed = &alice.lines(&["tab", "list"])[0];
    assert_eq!(
        (&listed["paid"], &listed["at_risk"]),
        (&10.into(), &"0.005000".into())
    );
    // Paid once, by the process that listens, as soon as the payee goes on.
    bob_listens.signal("CONT");
    eventually("it is paid", || {
        alice.lines(&["tab", "list"])[0]["paid"] == 15
    });
    assert_eq!(alice.ok(&["tab", "pay", &id, "1"])["paid"], 16);

    // Whoever interrupts the command, or loses the process that pays, knows as much.
    bob_listens.signal("STOP");
    for kill in [false, true] {
        let mut paying = alice.run(&["tab", "pay", &id, "2", "--wait", "60"]);
        let queued = if kill { "0.004000" } else { "0.002000" };
        eventually("it is queued", || {
            alice.lines(&["tab", "list"])[0]["at_risk"] == queued
        });
        if kill {
            alice_listens.child.kill().expect("it runs");
        } else {
            paying.signal("INT");
        }
        let unknown = paying.next("an outcome");
        assert_fields(&unknown, FAILED_UNKNOWN);
        assert_eq!(
            (&unknown["state"], &unknown["acknowledged"]),
            (&"unknown".into(), &0.into())
        );
        assert_eq!(paying.wait(), Some(4));
    }
    bob_listens.signal("CONT");
    let paid = alice.ok(&["tab", "pay", &id, "1"])["paid"].clone();
    // What had left before is paid, and nothing twice.
    assert!([17, 19, 21].map(Value::from).contains(&paid), "{paid}");
}

#[test]
fn a_payee_claims_what_was_paid_before_it_stops_and_when_time_is_over() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let patient = ["listen", "--claim-every", "3600"];
    let mut running = bob.run(&patient);
    running.event("online");
    let id = open(&alice, "0.001", "1000", &[]);
    alice.ok(&["tab", "pay", &id, "3"]);
    assert_eq!(bob.balance(), "10.000000");
    let start = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(bob.balance(), "10.003000");

    let running = bob.run(&patient);
    running.event("online");
    let short = open(
        &alice,
        "0.001",
        "1000",
        &["--expires", "3s", "--grace", "10s"],
    );
    alice.ok(&["tab", "pay", &short, "4"]);
    let over = running.until("the tab's end", |line| {
        line["change"] == "over" && line["tab"] == short.as_str()
    });
    assert_eq!((&over["paid"], &over["claimed"]), (&4.into(), &4.into()));
    assert_eq!(bob.balance(), "10.007000");
    let refused = alice.fails(&["tab", "pay", &short, "1"], 3);
    assert!(
        ["expired", "tab_over", "no_tab"].contains(&refused["reason"].as_str().expect("text")),
        "{refused}"
    );
    assert_eq!(alice.ok(&["tab", "pay", &id, "1"])["paid"], 4);
    world.operate(&["audit"]);
}

#[test]
fn tabs_are_commands_of_the_shell_too() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _listen = bob.listen();
    let mut shell = alice.run(&["shell", "--exposure", "0.5"]);
    shell.event("online");
    shell.type_line("tab open bob --unit 0.001 --units 10");
    let id = tab_of(&shell.until("opened", |line| line["accepted"].is_boolean()));
    shell.type_line(&format!("t pay {id} 4"));
    assert_eq!(
        shell.until("paid", |line| line["state"] == "paid")["left"],
        6
    );
    shell.type_line("t");
    let listed = shell.until("the list", |line| line["event"].is_null());
    assert_eq!(
        (&listed["tab"], &listed["paid"]),
        (&id.clone().into(), &4.into())
    );
    shell.type_line(&format!("tab pay {id} 7"));
    assert_eq!(
        shell.until("refused", |line| line["error"].is_string())["error"],
        "tab_spent"
    );
    shell.type_line(&format!("tab close {id}"));
    assert_eq!(
        shell.until("closed", |line| line["state"] == "closed")["paid"],
        4
    );
    shell.type_line("x");
    assert_eq!(shell.wait(), Some(0));
}

#[test]
fn a_terminal_shows_running_tabs_below_what_happened() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let Some(mut listen) = bob.on_terminal("listen --claim-every 1") else {
        return;
    };
    listen.until("online as bob");
    let id = open(&alice, "0.001", "1000", &[]);
    listen.until("tab from alice: 1000 units of 0.001000 QUID");
    listen.until("alice +0.000000 QUID  0/1000 units");
    alice.ok(&["tab", "pay", &id, "4"]);
    let shown = listen.until("alice +0.004000 QUID  4/1000 units");
    // In place of what stood there: the line is erased, and no other is begun.
    assert!(
        shown.contains("\r\u{1b}[J") && !shown.contains('\n'),
        "{shown:?}"
    );
    listen.until("4 claimed");
    alice.ok(&["pay", "bob", "1"]);
    let shown = listen.until("received 1.000000 QUID from alice");
    assert!(
        shown.ends_with("\r\u{1b}[Jreceived 1.000000 QUID from alice"),
        "{shown:?}"
    );
    listen.until("alice +0.004000 QUID  4/1000 units");
    alice.ok(&["tab", "close", &id]);
    let shown = listen.until("tab from alice is over: 4 units paid, 0.004000 QUID");
    // A busy tab is claimed often: a person reads that in the tab's own line.
    assert!(!shown.contains("units claimed"), "{shown:?}");
    listen.keys("\u{3}");
    assert_eq!(listen.wait(), Some(0));
}

/// Opens a tab to bob.
fn open(home: &Home, unit: &str, units: &str, more: &[&str]) -> String {
    let arguments = ["tab", "open", "bob", "--unit", unit, "--units", units];
    tab_of(&home.ok(&[&arguments, more].concat()))
}

fn tab_of(value: &Value) -> String {
    value["tab"].as_str().expect("an id is text").to_owned()
}

/// The next such event about this tab, whole.
fn tab_event(running: &Running, change: &str, id: &str) -> Value {
    let event = running.until(change, |line| {
        line["event"] == "tab" && line["change"] == change && line["tab"] == id
    });
    assert_fields(&event, LISTED);
    event
}

/// What is free and what is held.
fn money(home: &Home) -> (String, String) {
    let status = home.ok(&["status"]);
    let text = |field: &str| status[field].as_str().expect("text").to_owned();
    (text("balance"), text("held"))
}

fn free(balance: &str) -> (String, String) {
    (balance.to_owned(), "0.000000".to_owned())
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

const NO_TAB: &str = "019aab12-3456-7abc-8def-0123456789ab";
