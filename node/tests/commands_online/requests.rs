//! Requests and refunds between real processes: a payee that asks, payers that pay by link.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::processes::{Home, World, assert_fields};

const REQUESTED: &[&str] = &[
    "request", "state", "kind", "currency", "expires", "once", "entries", "link",
];

/// Makes a request; its link.
fn ask(home: &Home, arguments: &[&str]) -> String {
    let asked = home.ok(&[&["request"], arguments].concat());
    assert_fields(&asked, REQUESTED);
    text(&asked["link"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

fn pay(home: &Home, link: &str) -> Value {
    home.ok(&["pay", link, "--yes"])
}

/// How the newest request of a home stands, and what paid it.
fn newest(home: &Home) -> (String, Value) {
    let requests = home.lines(&["requests"]);
    assert_fields(&requests[0], REQUESTED);
    (text(&requests[0]["state"]), requests[0]["entries"].clone())
}

#[test]
fn a_request_is_paid_exactly_and_tied_to_its_payment() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.listen();
    let asked = bob.ok(&["request", "1.5", "--memo", "for \u{1b}[31mtea"]);
    assert_fields(&asked, REQUESTED);
    assert_eq!(
        (&asked["state"], &asked["kind"], &asked["amount"]),
        (&"open".into(), &"amount".into(), &"1.500000".into())
    );
    let link = text(&asked["link"]);
    assert!(link.starts_with(&format!("{}/request/", world.address)));
    assert_eq!(newest(&bob).0, "open");

    let paid = pay(&alice, &link);
    for (field, value) in [
        ("state", Value::from("settled")),
        ("amount", "1.500000".into()),
        ("payee", "bob".into()),
        ("route", "direct".into()),
        ("request", asked["request"].clone()),
        ("earlier", false.into()),
    ] {
        assert_eq!(paid[field], value, "{field} in {paid}");
    }
    let received = listen.received("alice");
    assert_eq!(
        (&received["entry"], &received["answers"], &received["memo"]),
        (&paid["entry"], &true.into(), &"for \u{1b}[31mtea".into())
    );
    let reference = text(&asked["request"]).replace('-', "");
    assert_eq!(received["reference"], reference);
    // Its id looks like an order's, but there is no order to void.
    let voided = bob.fails(&["void", &text(&asked["request"])], 2);
    assert_eq!(voided["error"], "usage", "{voided}");
    assert_eq!(
        newest(&bob),
        ("paid".to_owned(), vec![paid["entry"].clone()].into())
    );

    // The same link is the same payment, whatever came of the first answer.
    let again = pay(&alice, &link);
    assert_eq!(
        (&again["entry"], &again["earlier"], &again["state"]),
        (&paid["entry"], &true.into(), &"settled".into())
    );
    assert_eq!(alice.balance(), "8.500000");
    // Only who says so pays once more.
    let more = alice.ok(&["pay", &link, "--yes", "--again"]);
    assert_eq!(more["earlier"], false);
    assert_ne!(more["entry"], paid["entry"]);
    assert_eq!(alice.balance(), "7.000000");
    world.operate(&["audit"]);
}

#[test]
fn what_a_link_does_not_say_is_not_paid() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let link = ask(&bob, &["1.5", "--memo", "for \u{1b}[31mtea"]);
    let fails = |arguments: &[&str], code, error: &str| {
        let failed = alice.fails(&[&["pay"], arguments].concat(), code);
        assert_eq!(failed["error"], error, "{arguments:?}: {failed}");
        text(&failed["message"])
    };
    // Without somebody to ask, and told who, how much and why.
    let message = fails(&[&link], 1, "not_confirmed");
    for part in ["bob", "1.500000 QUID", r"for \u{1b}[31mtea", "--yes"] {
        assert!(message.contains(part), "{message}");
    }
    fails(&[&link, "1.6", "--yes"], 3, "amount");
    fails(
        &[&link, "1.5", "--yes", "--reference", &"ab".repeat(16)],
        2,
        "usage",
    );
    let open = ask(&bob, &["--open"]);
    fails(&[&open, "--yes"], 3, "amount");
    fails(&[&open, "99", "--yes"], 3, "insufficient_funds");
    let own = bob.fails(&["pay", &link, "--yes"], 3);
    assert_eq!(own["error"], "self_payment");

    // Altered in any letter, cut, doubled, or of no directory that this home knows.
    let (front, body) = link.split_once("/request/").expect("it is a link");
    let at = body.len() / 3;
    let other = if &body[at..=at] == "A" { "B" } else { "A" };
    let altered = format!("{}{other}{}", &body[..at], &body[at + 1..]);
    for bad in [
        format!("{front}/request/{altered}"),
        format!("{front}/request/{}", &body[..body.len() - 4]),
        format!("{link}/request/{body}"),
        format!("{link}?amount=2"),
        format!("{front}/request/"),
        format!("{link}{}", "A".repeat(1000)),
        front.to_owned(),
    ] {
        let message = fails(&[&bad, "--yes"], 2, "usage");
        assert!(!message.contains('\n'), "{message}");
    }
    let place = front.rsplit_once('@').expect("a key").1;
    let foreign = format!("quid://{}@{place}/request/{body}", "a".repeat(52));
    fails(&[&foreign, "--yes"], 3, "wrong_directory");
    // Each parser knows the other kind.
    let message = fails(&[front, "--yes"], 2, "usage");
    assert!(message.contains("directory's address"), "{message}");
    let refused = world
        .home("carol")
        .fails(&["init", "--directory", &link], 2);
    let message = text(&refused["message"]);
    assert!(message.contains("pay it with `quid pay`"), "{message}");
    assert_eq!(alice.balance(), "10.000000");
    assert_eq!(newest(&bob).0, "open");
}

#[test]
fn an_expired_request_is_refused_by_both_sides() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let mut waits = bob.run(&["request", "1", "--expires", "1s", "--wait"]);
    let link = text(&waits.next("the link")["link"]);
    let refused = waits.until("the end", |line| !line["error"].is_null());
    assert_eq!(refused["error"], "expired");
    assert_eq!(waits.wait(), Some(3));
    assert_eq!(alice.fails(&["pay", &link, "--yes"], 3)["error"], "expired");
    assert_eq!(newest(&bob), ("expired".to_owned(), Value::Array(vec![])));
    assert_eq!(alice.balance(), "10.000000");
}

#[test]
fn two_payers_of_one_link_that_is_paid_once_settle_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let payers = ["alice", "carol"].map(|name| world.account(name));
    let bob = world.account("bob");
    let link = ask(&bob, &["1", "--once"]);
    // Nobody is there who could tell a second payer no.
    for payer in &payers {
        let refused = payer.fails(&["pay", &link, "--yes"], 3);
        assert_eq!(refused["error"], "payee_offline");
    }
    let listen = bob.listen();
    // Each of them twice, all at once.
    let ends: Vec<Value> = thread::scope(|scope| {
        let tries: Vec<_> = payers
            .iter()
            .chain(&payers)
            .map(|payer| {
                scope.spawn(|| {
                    let output = payer.quid(&["pay", &link, "--yes", "--json"]);
                    let stdout = String::from_utf8(output.stdout).expect("text");
                    let line = stdout.lines().last().expect("a result").to_owned();
                    serde_json::from_str(&line).expect("JSON")
                })
            })
            .collect();
        let ends = tries.into_iter().map(|it| it.join().expect("it ended"));
        ends.collect()
    });
    let settled: Vec<&Value> = ends.iter().filter(|it| it["state"] == "settled").collect();
    assert!(!settled.is_empty(), "{ends:?}");
    let entry = &settled[0]["entry"];
    assert!(settled.iter().all(|it| it["entry"] == *entry), "{ends:?}");
    for other in ends.iter().filter(|it| it["state"] != "settled") {
        assert_eq!(other["reason"], "payee_declined", "{ends:?}");
    }
    let received = listen.event("received");
    assert_eq!(
        (&received["entry"], &received["answers"]),
        (entry, &true.into())
    );
    assert_eq!(bob.balance(), "11.000000");
    assert_eq!(newest(&bob).1, Value::from(vec![entry.clone()]));
    // Whoever did not get it is told no, whenever they try.
    for payer in &payers {
        if payer.balance() == "10.000000" {
            let refused = payer.fails(&["pay", &link, "--yes"], 3);
            assert_eq!(refused["reason"], "payee_declined");
        } else {
            let once = payer.fails(&["pay", &link, "--yes", "--again"], 3);
            assert_eq!(once["error"], "once");
        }
    }
    assert_eq!(bob.balance(), "11.000000");
    world.operate(&["audit"]);
}

/// Waits until the home's journal holds an open order that goes this way: 0 for not sent yet, 1 for to
/// the payee.
fn wait_for_order(home: &Home, route: i64) {
    let journal = Connection::open(home.0.join("journal.sqlite3")).expect("it is there");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found: i64 = journal
            .query_row(
                "SELECT count(*) FROM orders WHERE state = 0 AND route = ?1",
                [route],
                |row| row.get(0),
            )
            .expect("it can be read");
        if found == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "no order is written");
        thread::yield_now();
    }
}

#[test]
fn a_payer_that_is_killed_before_its_order_leaves_pays_once_with_the_same_link() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.listen();
    let link = ask(&bob, &["1"]);
    // It calls in vain, its order written.
    listen.signal("STOP");
    let mut paying = alice.run(&["pay", &link, "--yes"]);
    wait_for_order(&alice, 0);
    paying.child.kill().expect("it runs");
    paying.wait();
    listen.signal("CONT");
    let paid = pay(&alice, &link);
    assert_eq!(paid["state"], "settled");
    let again = pay(&alice, &link);
    assert_eq!(
        (&again["entry"], &again["earlier"]),
        (&paid["entry"], &true.into())
    );
    assert_eq!(newest(&bob).1, Value::from(vec![paid["entry"].clone()]));
    assert_eq!(alice.balance(), "9.000000");
    world.operate(&["audit"]);
}

#[test]
fn a_payer_that_is_killed_after_its_order_left_is_told_of_that_payment() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (listen, mut payer) = (bob.listen(), alice.listen());
    let link = ask(&bob, &["1"]);
    // Both are connected, and then the directory answers nobody.
    alice.ok(&["pay", "bob", "0.5"]);
    listen.received("alice");
    world.signal("STOP");
    let mut paying = alice.run(&["pay", &link, "--yes", "--wait", "30"]);
    wait_for_order(&alice, 1);
    payer.child.kill().expect("it runs");
    payer.wait();
    let lost = paying.until("the end", |line| !line["error"].is_null());
    assert_eq!(lost["state"], "unknown", "{lost}");
    assert_eq!(paying.wait(), Some(4));
    world.signal("CONT");
    let paid = pay(&alice, &link);
    // Bob may have been reached or not: then the order is void, and another pays.
    let again = pay(&alice, &link);
    for (field, value) in [
        ("state", Value::from("settled")),
        ("entry", paid["entry"].clone()),
        ("earlier", true.into()),
    ] {
        assert_eq!(again[field], value, "{field} in {again}");
    }
    assert_eq!(newest(&bob).1, Value::from(vec![paid["entry"].clone()]));
    assert_eq!(alice.balance(), "8.500000");
    assert_eq!(bob.balance(), "11.500000");
    world.operate(&["audit"]);
}

#[test]
fn a_tab_is_asked_for_and_opened_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _listen = bob.listen();
    let link = ask(&bob, &["--tab", "--unit", "0.001", "--units", "100"]);
    let opened = pay(&alice, &link);
    for (field, value) in [
        ("state", Value::from("open")),
        ("payee", "bob".into()),
        ("unit", "0.001000".into()),
        ("units", 100.into()),
        ("hold", "0.100000".into()),
        ("accepted", true.into()),
        ("earlier", false.into()),
    ] {
        assert_eq!(opened[field], value, "{field} in {opened}");
    }
    assert_eq!(
        newest(&bob),
        ("paid".to_owned(), vec![opened["entry"].clone()].into())
    );
    let again = pay(&alice, &link);
    assert_eq!(
        (&again["tab"], &again["earlier"]),
        (&opened["tab"], &true.into())
    );
    assert_eq!(alice.balance(), "9.900000");
    let tab = text(&opened["tab"]);
    alice.ok(&["tab", "pay", &tab, "3"]);
    alice.ok(&["tab", "close", &tab]);
    assert_eq!(bob.balance(), "10.003000");
    assert_eq!(
        alice.fails(&["pay", &link, "--yes"], 3)["error"],
        "tab_over"
    );
}

#[test]
fn who_waits_to_be_paid_listens_and_is_told_as_listen_tells() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    // Alone: it listens itself, and for whoever comes after it.
    let mut waits = bob.run(&["request", "--open", "--once", "--wait", "--memo", "tip"]);
    let link = text(&waits.next("the link")["link"]);
    assert_eq!(bob.ok(&["status"])["listening"], true);
    let paid = alice.ok(&["pay", &link, "0.25", "--yes"]);
    let received = waits.event("received");
    for field in ["entry", "order", "amount"] {
        assert_eq!(received[field], paid[field], "{field}");
    }
    assert_eq!(received["answers"], true);
    assert_eq!(waits.wait(), Some(0));
    // Beside a listener: that one does it.
    let _listen = bob.listen();
    let mut waits = bob.run(&["request", "2", "--wait"]);
    let link = text(&waits.next("the link")["link"]);
    // What is paid otherwise is not it.
    alice.ok(&["pay", "bob", "2"]);
    let paid = pay(&alice, &link);
    assert_eq!(waits.event("received")["entry"], paid["entry"]);
    assert_eq!(waits.wait(), Some(0));
}

#[test]
fn what_came_is_paid_back_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = alice.listen();
    let paid = alice.ok(&["pay", "bob", "1.5"]);
    let entry = paid["entry"].to_string();
    let back = bob.ok(&["refund", &entry]);
    for (field, value) in [
        ("state", Value::from("settled")),
        ("amount", "1.500000".into()),
        ("payee", "alice".into()),
        ("refunds", paid["entry"].clone()),
        ("earlier", false.into()),
    ] {
        assert_eq!(back[field], value, "{field} in {back}");
    }
    let received = listen.received("bob");
    assert_eq!(received["reference"], text(&paid["order"]).replace('-', ""));
    // Again, and two at once, are the first.
    let again = thread::scope(|scope| {
        let tries = [0, 1].map(|_| scope.spawn(|| bob.ok(&["refund", &entry])));
        tries.map(|it| it.join().expect("it ended"))
    });
    for again in again {
        assert_eq!(
            (&again["entry"], &again["earlier"]),
            (&back["entry"], &true.into())
        );
    }
    assert_eq!(
        (alice.balance(), bob.balance()),
        ("10.000000".into(), "10.000000".into())
    );
    // What was sent, what nobody sent, and what is not there.
    for entry in [
        back["entry"].to_string(),
        "1".to_owned(),
        "999999".to_owned(),
    ] {
        assert_eq!(bob.fails(&["refund", &entry], 3)["error"], "not_received");
    }
    world.operate(&["audit"]);
}

#[test]
fn a_refund_that_was_killed_in_the_middle_is_made_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let entry = alice.ok(&["pay", "bob", "1"])["entry"].to_string();
    let listen = alice.listen();
    listen.signal("STOP");
    let mut refund = bob.run(&["refund", &entry]);
    wait_for_order(&bob, 0);
    refund.child.kill().expect("it runs");
    refund.wait();
    listen.signal("CONT");
    let back = bob.ok(&["refund", &entry]);
    let again = bob.ok(&["refund", &entry]);
    assert_eq!(
        (&again["entry"], &again["earlier"]),
        (&back["entry"], &true.into())
    );
    assert_eq!(bob.balance(), "10.000000");
    world.operate(&["audit"]);
}

#[test]
fn a_tab_that_is_asked_for_once_is_the_first_payers() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let carol = world.account("carol");
    let _listen = bob.listen();
    let link = ask(
        &bob,
        &["--tab", "--unit", "0.001", "--units", "100", "--once"],
    );
    assert_eq!(pay(&alice, &link)["accepted"], true);
    let refused = carol.fails(&["pay", &link, "--yes"], 3);
    assert_eq!(refused["reason"], "payee_declined");
    // What was held for it is back, at once or after the grace.
    let status = carol.ok(&["status"]);
    let held: f64 = text(&status["held"]).parse().expect("a number");
    let free: f64 = text(&status["balance"]).parse().expect("a number");
    assert!((held + free - 10.0).abs() < 1e-9, "{status}");
    assert_eq!(newest(&bob).1.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_request_by_a_key_that_the_name_has_not_is_refused() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let link = ask(&bob, &["1"]);
    bob.ok(&["key", "rotate"]);
    // Never paid before: the name has another key than the one that signed.
    assert_eq!(
        alice.fails(&["pay", &link, "--yes"], 3)["error"],
        "not_theirs"
    );
    let carol = world.account("carol");
    let link = ask(&carol, &["1"]);
    alice.ok(&["pay", "carol", "0.5"]);
    carol.ok(&["key", "rotate"]);
    assert_eq!(
        alice.fails(&["pay", &link, "--yes"], 3)["error"],
        "key_changed"
    );
    assert_eq!(alice.balance(), "9.500000");
}

#[test]
fn a_code_is_drawn_when_asked_and_saved_as_a_picture() {
    let world = World::start(&["--opening-balance", "10"]);
    let bob = world.account("bob");
    let quiet = bob.quid(&["request", "1"]);
    assert!(
        quiet.status.success() && quiet.stderr.is_empty(),
        "{quiet:?}"
    );
    let line = String::from_utf8(quiet.stdout).expect("text");
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("quid://"), "{line}");
    let file = world.path("code.png");
    let drawn = bob.quid(&["request", "1", "--qr", "--png", &file]);
    assert!(drawn.status.success(), "{drawn:?}");
    let code = String::from_utf8(drawn.stderr).expect("text");
    assert!(code.lines().count() > 20 && code.contains('▀'), "{code}");
    assert!(
        !code.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
    let picture = fs::read(&file).expect("it is there");
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    // A file that is there is left alone, and nothing is asked for; nor where none can be made.
    let asked = bob.lines(&["requests"]);
    let nowhere = world.path("no/such/folder/code.png");
    for (file, advice) in [(&file, "another name"), (&nowhere, "another place")] {
        let failed = bob.quid(&["request", "1", "--png", file]);
        assert_eq!(failed.status.code(), Some(7), "{failed:?}");
        assert!(failed.stdout.is_empty(), "{failed:?}");
        let message = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(advice), "{message}");
        assert!(message.contains("nothing was asked for"), "{message}");
    }
    assert_eq!(fs::read(&file).expect("it is there"), picture);
    assert_eq!(bob.lines(&["requests"]), asked);
    // What fails later leaves no empty picture.
    let other = world.path("other.png");
    bob.fails(&["request", "0", "--png", &other], 2);
    bob.fails(&["request", "1", "--expires", "0s", "--png", &other], 2);
    assert!(!fs::exists(&other).expect("readable"));
}

#[test]
fn a_person_is_asked_before_a_link_is_paid() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let link = ask(&bob, &["1.5", "--memo", "\u{202e}aet"]);
    for (answer, said, left) in [
        ("no\n", "nothing was sent", "10.000000"),
        ("yes\n", "paid 1.500000 QUID to bob", "8.500000"),
    ] {
        let Some(mut terminal) = alice.on_terminal(&format!("pay '{link}'")) else {
            return;
        };
        let shown = terminal.until("Type yes to pay:");
        let key = text(&bob.ok(&["status"])["key"]);
        for part in ["bob", &key, "1.500000 QUID", r"\u{202e}aet"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        terminal.keys(answer);
        terminal.until(said);
        terminal.wait();
        assert_eq!(alice.balance(), left);
    }
}
