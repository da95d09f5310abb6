//! Requests that their payee cancels, before, while and after somebody pays.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::processes::{Home, World};

/// Makes a request; its id and its link.
fn ask(home: &Home, arguments: &[&str]) -> (String, String) {
    let asked = home.ok(&[&["request"], arguments].concat());
    (text(&asked["request"]), text(&asked["link"]))
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

/// The newest request of a home.
fn newest(home: &Home) -> Value {
    home.lines(&["requests"]).swap_remove(0)
}

fn declined(payer: &Home, link: &str) {
    let refused = payer.fails(&["pay", link, "--yes"], 3);
    assert_eq!(refused["reason"], "payee_declined", "{refused}");
    let message = text(&refused["message"]);
    assert!(message.contains("been cancelled"), "{message}");
}

#[test]
fn a_request_that_was_cancelled_is_declined_by_whoever_listens() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    // Without a listener, then beside one.
    let (early, early_link) = ask(&bob, &["1"]);
    let cancelled = bob.ok(&["request", "--cancel", &early]);
    assert_eq!(
        (
            &cancelled["request"],
            &cancelled["state"],
            &cancelled["cancelled"]
        ),
        (&early.as_str().into(), &"cancelled".into(), &true.into())
    );
    assert_eq!(cancelled["coming"], Value::Array(Vec::new()));
    let listen = bob.listen();
    declined(&alice, &early_link);
    let (late, late_link) = ask(&bob, &["1", "--once"]);
    assert_eq!(
        bob.ok(&["request", "--cancel", &late])["state"],
        "cancelled"
    );
    declined(&alice, &late_link);
    declined(&alice, &late_link);
    let (tab, tab_link) = ask(&bob, &["--tab", "--unit", "0.01", "--units", "10"]);
    bob.ok(&["request", "--cancel", &tab]);
    alice.quid(&["pay", &tab_link, "--yes"]);
    let states = bob.lines(&["requests"]);
    for request in &states {
        assert_eq!(request["state"], "cancelled", "{request}");
        assert_eq!(request["entries"], Value::Array(Vec::new()));
    }
    assert_eq!(states.len(), 3);
    assert!(bob.lines(&["tab", "list"]).is_empty());
    assert_eq!(bob.balance(), "10.000000");

    // Again tells how it stands, and only its payee has a say.
    let told = bob.quid(&["request", "--cancel", &late]);
    let line = String::from_utf8(told.stdout).expect("text");
    assert!(told.status.success() && line.contains("declined"), "{line}");
    let refused = alice.fails(&["request", "--cancel", &late], 3);
    assert_eq!(refused["error"], "not_found");
    let message = text(&bob.fails(&["void", &late], 2)["message"]);
    assert!(message.contains("`quid request --cancel"), "{message}");
    for wrong in [
        &["request", "--cancel", "12"][..],
        &["request", "1", "--cancel", &late],
    ] {
        assert_eq!(bob.fails(wrong, 2)["error"], "usage");
    }
    drop(listen);
    world.operate(&["audit"]);
}

#[test]
fn what_was_paid_before_is_told_and_stands() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    // Settled while nobody listened, and not heard of since.
    let (away, link) = ask(&bob, &["1"]);
    let paid = alice.ok(&["pay", &link, "--yes"]);
    assert_eq!(paid["route"], "directory");
    let told = bob.fails(&["request", "--cancel", &away], 3);
    assert_eq!(told["error"], "paid");
    assert_eq!(told["entries"], Value::from(vec![paid["entry"].clone()]));
    let message = text(&told["message"]);
    let refund = format!("`quid refund {}`", paid["entry"]);
    assert!(message.contains(&refund), "{message}");
    // Whoever settles it at the directory afterwards has paid, and answered nothing.
    let more = alice.ok(&["pay", &link, "--yes", "--again"]);
    let (here, direct) = ask(&bob, &["2"]);
    let listen = bob.listen();
    let first = listen.received("alice");
    assert_eq!(
        (&first["entry"], &first["answers"]),
        (&paid["entry"], &true.into())
    );
    let second = listen.received("alice");
    assert_eq!(
        (&second["entry"], &second["answers"]),
        (&more["entry"], &false.into())
    );

    let paid = alice.ok(&["pay", &direct, "--yes"]);
    assert_eq!(paid["route"], "direct");
    listen.received("alice");
    let told = bob.fails(&["request", "--cancel", &here], 3);
    assert_eq!(told["entries"], Value::from(vec![paid["entry"].clone()]));
    let refused = alice.fails(&["pay", &direct, "--yes", "--again"], 3);
    assert_eq!(refused["reason"], "payee_declined");
    let request = newest(&bob);
    assert_eq!(
        (&request["state"], &request["cancelled"]),
        (&"paid".into(), &true.into())
    );
    assert_eq!(alice.balance(), "6.000000");
    world.operate(&["audit"]);
}

/// Waits until a home has accepted an order whose end it does not know.
fn wait_for_note(home: &Home) {
    let journal = Connection::open(home.0.join("journal.sqlite3")).expect("it is there");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let query = "SELECT count(*) FROM notes WHERE state = 0";
        let found: i64 = journal
            .query_row(query, [], |row| row.get(0))
            .expect("readable");
        if found == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "no order is noted");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_on_its_way_is_unknown_until_it_is_known() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (_listen, _payer) = (bob.listen(), alice.listen());
    // Both are connected, and then the directory answers nobody.
    alice.ok(&["pay", "bob", "0.5"]);
    let (id, link) = ask(&bob, &["1"]);
    let (idle, _) = ask(&bob, &["2"]);
    world.signal("STOP");
    let paying = alice.run(&["pay", &link, "--yes", "--wait", "30"]);
    wait_for_note(&bob);
    let told = bob.fails(&["request", "--cancel", &id], 4);
    assert_eq!(
        (&told["error"], &told["state"]),
        (&"unknown".into(), &"cancelled".into())
    );
    assert_eq!(told["coming"].as_array().map(Vec::len), Some(1), "{told}");
    let told = text(&bob.fails(&["request", "--cancel", &idle], 4)["message"]);
    assert!(told.contains("cannot be asked"), "{told}");
    world.signal("CONT");
    assert_eq!(
        bob.ok(&["request", "--cancel", &idle])["state"],
        "cancelled"
    );
    // Its payer voids what is not confirmed in time: whichever of the two comes first stands.
    let paid = paying.until("the end", |line| !line["state"].is_null());
    let deadline = Instant::now() + Duration::from_secs(10);
    let told = loop {
        let output = bob.quid(&["request", "--cancel", &id, "--json"]);
        if output.status.code() != Some(4) {
            break output;
        }
        assert!(Instant::now() < deadline, "it is not found out: {output:?}");
    };
    let line = String::from_utf8(told.stdout).expect("JSON is text");
    let request: Value = serde_json::from_str(line.trim_end()).expect("one object");
    if paid["state"] == "settled" {
        assert_eq!(told.status.code(), Some(3), "{line}");
        assert_eq!(request["entries"], Value::from(vec![paid["entry"].clone()]));
    } else {
        assert_eq!(
            (&paid["reason"], told.status.code()),
            (&"voided".into(), Some(0))
        );
        assert_eq!(request["entries"], Value::Array(Vec::new()));
    }
    world.operate(&["audit"]);
}

#[test]
fn who_waits_to_be_paid_is_told_that_the_request_was_cancelled() {
    let world = World::start(&["--opening-balance", "10"]);
    let bob = world.account("bob");
    let mut waits = bob.run(&["request", "1", "--wait"]);
    let id = text(&waits.next("the link")["request"]);
    bob.ok(&["request", "--cancel", &id]);
    let ended = waits.until("the end", |line| !line["error"].is_null());
    assert_eq!(ended["error"], "cancelled");
    assert_eq!(waits.wait(), Some(3));
}
