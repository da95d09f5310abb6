//! The contract of `quid`'s commands, against a real directory over real QUIC on loopback.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use processes::{Home, World, assert_fields, mode, wait};

mod away;
mod cancelled;
mod doctor;
mod habits;
mod histories;
mod keys;
mod limits;
mod processes;
mod requests;
#[path = "../../../terminal/tests/screen/mod.rs"]
mod screen;
mod shell;
mod table;
mod tabs;
mod terminal;
mod wallet;

#[test]
fn a_stranger_becomes_an_account_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.home("alice");
    for arguments in [
        &["status"][..],
        &["who"],
        &["history"],
        &["pay", "bob", "1"],
        &["listen"],
    ] {
        let refused = alice.fails(arguments, 3);
        assert_eq!(refused["error"], "not_registered", "{arguments:?}");
    }
    let registered = alice.ok(&["register", "alice"]);
    assert_fields(&registered, &["name", "key", "entry"]);
    assert_eq!(registered["name"], "alice");
    assert!(registered["entry"].is_u64());
    // The same again is the same entry; anything else is refused by name.
    assert_eq!(alice.ok(&["register", "alice"]), registered);
    assert_eq!(
        alice.fails(&["register", "alice2"], 3)["error"],
        "already_registered"
    );
    let other = world.home("other");
    assert_eq!(
        other.fails(&["register", "alice"], 3)["error"],
        "name_taken"
    );
    assert_eq!(
        other.fails(&["register", "a1ice"], 3)["error"],
        "name_looks_taken"
    );
    assert_eq!(
        other.fails(&["register", "treasury"], 3)["error"],
        "name_reserved"
    );

    let status = alice.ok(&["status"]);
    assert_fields(&status, &["name", "balance", "held", "ledger", "pending"]);
    assert_eq!(status["name"], "alice");
    assert_eq!(status["balance"], "10.000000");
    assert_eq!(status["held"], "0.000000");
    assert_eq!(status["pending"], 0);
    assert_eq!(status["listening"], false);
    assert_eq!(status["key"], registered["key"]);
    assert_eq!(alice.ok(&["--json", "status"])["name"], "alice");
}

#[test]
fn a_payment_goes_directly_or_through_the_directory_and_says_which() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));

    let paid = alice.ok(&["pay", "bob", "1.25", "--memo", "for \u{1b}[31mtea"]);
    assert_fields(
        &paid,
        &["state", "order", "entry", "amount", "payee", "route"],
    );
    assert_eq!(
        (&paid["state"], &paid["route"]),
        (&"settled".into(), &"directory".into())
    );
    assert_eq!(paid["amount"], "1.250000");

    let listen = bob.listen();
    let people = alice.lines(&["who"]);
    assert_eq!(
        people.len(),
        1,
        "one-shot commands have no presence: {people:?}"
    );
    assert_fields(&people[0], &["name", "key", "address"]);
    assert_eq!(people[0]["name"], "bob");
    let paid = alice.ok(&[
        "pay",
        "bob",
        "0.000001",
        "--memo",
        "second",
        "--reference",
        &"ab".repeat(16),
    ]);
    assert_eq!(
        (&paid["state"], &paid["route"]),
        (&"settled".into(), &"direct".into())
    );
    // What came while nobody listened is told first.
    let missed = listen.received("alice");
    assert_eq!(
        (&missed["amount"], &missed["memo"]),
        (&"1.250000".into(), &"for \u{1b}[31mtea".into())
    );
    let received = listen.received("alice");
    assert_fields(
        &received,
        &["entry", "order", "amount", "counterparty", "memo", "time"],
    );
    for field in ["entry", "order", "amount"] {
        assert_eq!(received[field], paid[field], "{field}");
    }
    assert_eq!(received["counterparty"], "alice");
    assert_eq!(received["reference"], "ab".repeat(16));
    assert_eq!(alice.balance(), "8.749999");
    assert_eq!(bob.balance(), "11.250001");
}

#[test]
fn history_lists_what_happened_newest_first() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    alice.ok(&["pay", "bob", "1.25", "--memo", "for \u{1b}[31mtea"]);
    alice.ok(&["pay", "bob", "0.000001", "--memo", "second"]);
    let history = alice.lines(&["history"]);
    let fields = [
        "entry",
        "kind",
        "direction",
        "amount",
        "counterparty",
        "memo",
        "state",
        "time",
    ];
    for line in &history {
        assert_fields(line, &fields);
        assert_eq!(line["state"], "settled");
        assert!(
            line["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{line}"
        );
    }
    let shown: Vec<_> = history
        .iter()
        .map(|line| {
            [
                &line["kind"],
                &line["direction"],
                &line["amount"],
                &line["memo"],
            ]
        })
        .collect();
    assert_eq!(shown[0], ["payment", "out", "0.000001", "second"]);
    assert_eq!(
        shown[1],
        ["payment", "out", "1.250000", "for \u{1b}[31mtea"]
    );
    assert_eq!(shown[2], ["issue", "in", "10.000000", ""]);
    assert_eq!(shown.len(), 3);
    assert_eq!(alice.lines(&["history", "--limit", "1"]), history[..1]);
    let after = history[1]["entry"].to_string();
    assert_eq!(alice.lines(&["history", "--after", &after]), history[..1]);
    let human = alice.quid(&["history"]);
    assert!(
        !human.stdout.contains(&0x1b),
        "an escape sequence reached the terminal"
    );
}

#[test]
fn what_cannot_be_paid_is_refused_before_or_by_the_directory() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    // Known to be wrong without asking.
    for amount in ["1.0000001", "9223372036854.775808", "9223372036855"] {
        assert_eq!(
            alice.fails(&["pay", "bob", amount], 2)["error"],
            "usage",
            "{amount}"
        );
    }
    for (arguments, reason) in [
        (&["pay", "bob", "10.000001"][..], "insufficient_funds"),
        (
            &["pay", "bob", "9223372036854.775807"],
            "insufficient_funds",
        ),
        (&["pay", "nobody", "1"], "unknown_account"),
        (&["pay", "alice", "1"], "self_payment"),
    ] {
        let refused = alice.fails(arguments, 3);
        assert_eq!(refused["state"], "refused", "{refused}");
        assert_eq!(refused["reason"], reason, "{refused}");
        assert_fields(&refused, &["error", "message", "amount", "payee"]);
    }
    world.operate(&["freeze", "alice"]);
    assert_eq!(alice.fails(&["pay", "bob", "1"], 3)["reason"], "frozen");
    assert_eq!(bob.ok(&["pay", "alice", "1"])["state"], "settled");
    world.operate(&["thaw", "alice"]);
    assert_eq!(alice.ok(&["pay", "bob", "11"])["state"], "settled");
    // Money that goes to the treasury is burnt.
    assert_eq!(bob.ok(&["pay", "treasury", "1"])["state"], "settled");
    let burnt = &bob.lines(&["history", "--limit", "1"])[0];
    assert_eq!(
        (&burnt["kind"], &burnt["direction"]),
        (&"burn".into(), &"out".into())
    );
    assert_eq!(
        (alice.balance(), bob.balance()),
        ("0.000000".into(), "19.000000".into())
    );
}

#[test]
fn commands_beside_a_listener_go_through_it_and_a_second_listener_is_told() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (listen_alice, listen_bob) = (alice.listen(), bob.listen());
    assert_eq!(alice.ok(&["status"])["listening"], true);
    let paid = alice.ok(&["pay", "bob", "1"]);
    assert_eq!(paid["route"], "direct");
    assert_eq!(listen_alice.event("sent")["order"], paid["order"]);
    assert_eq!(listen_bob.received("alice")["order"], paid["order"]);
    assert_eq!(
        alice.lines(&["history", "--limit", "1"])[0]["order"],
        paid["order"]
    );
    assert_eq!(
        alice.fails(&["pay", "bob", "1.0000001"], 2)["error"],
        "usage"
    );
    assert_eq!(
        alice.fails(&["pay", "bob", "100"], 3)["reason"],
        "insufficient_funds"
    );
    for command in ["listen", "shell"] {
        let held = alice.fails(&[command], 7);
        let message = held["message"].as_str().expect("a message is text");
        assert!(
            message.contains(&listen_alice.id().to_string()),
            "{message}"
        );
    }
    let names: Vec<_> = alice
        .lines(&["who"])
        .iter()
        .map(|person| person["name"].clone())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(mode(&alice.0.join("control.sock")).unwrap_or(0o600), 0o600);
}

#[test]
fn a_listener_that_ends_is_gone_at_once_whatever_ends_it() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let watch = alice.watch();
    for signal in ["TERM", "INT", "HUP"] {
        let mut listen = bob.listen();
        let there = watch.next("bob comes");
        assert_eq!(
            (&there["name"], &there["online"]),
            (&"bob".into(), &true.into())
        );
        let start = Instant::now();
        listen.signal(signal);
        assert_eq!(listen.wait(), Some(0), "{signal}");
        let gone = watch.next("bob goes");
        assert_eq!(
            (&gone["name"], &gone["online"]),
            (&"bob".into(), &false.into()),
            "{signal}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{signal}: {:?}",
            start.elapsed()
        );
        let said = listen.stderr();
        assert!(
            !said.contains("ERROR") && !said.contains("panicked"),
            "{said}"
        );
    }
    // A listener that is killed leaves its socket behind, which hinders nobody.
    let mut listen = bob.listen();
    listen.child.kill().expect("it runs");
    listen.wait();
    assert_eq!(bob.ok(&["status"])["listening"], false);
    let again = bob.listen();
    assert_eq!(bob.ok(&["status"])["listening"], true);
    drop(again);
}

#[test]
fn a_hidden_listener_receives_but_is_not_seen() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.run(&["listen", "--hidden", "--bind", "127.0.0.1:0"]);
    listen.event("online");
    assert_eq!(alice.lines(&["who"]), [] as [Value; 0]);
    assert_eq!(alice.ok(&["pay", "bob", "1"])["route"], "directory");
    assert_eq!(listen.received("alice")["amount"], "1.000000");
}

#[test]
fn a_listener_that_nobody_pays_stays_online() {
    let world = World::start(&["--opening-balance", "10"]);
    let bob = world.account("bob");
    let listen = bob.listen();
    // Longer than any deadline for a first word: strangers have 10 s, frames 5 s.
    listen.says_nothing_for(Duration::from_secs(12));
}

#[test]
fn a_listener_outlives_its_directory() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let listen = bob.listen();
    world.kill();
    listen.event("offline");
    assert_eq!(alice.fails(&["status"], 6)["error"], "unreachable");
    world.restart();
    let back = Instant::now();
    listen.event("online");
    assert!(
        back.elapsed() < Duration::from_secs(10),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(alice.lines(&["who"]).len(), 1);
    assert_eq!(alice.ok(&["pay", "bob", "1"])["route"], "direct");
    listen.received("alice");
}

#[test]
fn a_payment_without_an_answer_is_unknown_until_it_is_asked_about() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (listen_alice, listen_bob) = (alice.listen(), bob.listen());
    assert_eq!(alice.ok(&["pay", "bob", "1"])["route"], "direct");
    // The two are connected, so the order leaves; then nothing comes back.
    listen_bob.signal("STOP");
    let start = Instant::now();
    let unknown = alice.fails(&["pay", "bob", "2", "--wait", "2"], 4);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        (&unknown["state"], &unknown["error"]),
        (&"unknown".into(), &"unknown".into())
    );
    assert_eq!(
        (&unknown["amount"], &unknown["entry"]),
        (&"2.000000".into(), &Value::Null)
    );
    let order = unknown["order"]
        .as_str()
        .expect("an order was signed")
        .to_owned();
    // It ends without a person, and one way only: here it is voided, for nobody has submitted it.
    let refused = listen_alice.event("refused");
    assert_eq!(
        (&refused["order"], &refused["reason"]),
        (&order.clone().into(), &"voided".into())
    );
    listen_bob.signal("CONT");
    let voided = alice.ok(&["void", &order]);
    assert_eq!(
        (&voided["state"], &voided["order"]),
        (&"voided".into(), &order.into())
    );
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["balance"], &status["pending"]),
        (&"9.000000".into(), &0.into())
    );
}

#[test]
fn a_directory_that_stands_still_is_unreachable_and_nothing_is_sent() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let _listen = alice.listen();
    world.signal("STOP");
    let start = Instant::now();
    assert_eq!(
        alice.fails(&["pay", "bob", "2", "--wait", "2"], 6)["error"],
        "unreachable"
    );
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    world.signal("CONT");
    assert_eq!(alice.ok(&["pay", "bob", "3"])["state"], "settled");
    assert_eq!(alice.balance(), "7.000000");
}

#[test]
fn what_a_command_has_told_is_not_told_again_by_a_listener() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    for amount in ["1", "2"] {
        assert_eq!(alice.ok(&["pay", "bob", amount])["state"], "settled");
    }
    // All that came before the first of these was heard of by then.
    let listen = alice.listen();
    assert_eq!(bob.ok(&["pay", "alice", "0.5"])["state"], "settled");
    listen.until("money that came", |line| {
        assert_ne!(line["event"], "sent", "{line}");
        line["amount"] == "0.500000"
    });
}

#[test]
fn a_void_ends_as_the_order_did() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let paid = alice.ok(&["pay", "bob", "1"]);
    let order = paid["order"].as_str().expect("an id is text");
    let voided = alice.ok(&["void", order]);
    assert_fields(&voided, &["order", "state", "entry"]);
    assert_eq!(
        (&voided["state"], &voided["entry"]),
        (&"settled".into(), &paid["entry"])
    );
    let refused = alice.fails(&["pay", "bob", "9.000001"], 3);
    assert_eq!(refused["state"], "refused");
}

#[test]
fn receipts_are_shown_saved_and_verified_offline() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let fresh = world.home("fresh");
    let paid = alice.ok(&["pay", "bob", "1.5", "--memo", "rent"]);
    let (order, entry) = (
        paid["order"].as_str().expect("text"),
        paid["entry"].to_string(),
    );
    let file = world.path("receipt");
    let shown = alice.ok(&["receipt", "show", order, "--out", &file]);
    assert_eq!(shown["entry"], paid["entry"]);
    assert_eq!(
        (&shown["kind"], &shown["amount"]),
        (&"payment".into(), &"1.500000".into())
    );
    assert_eq!(
        (&shown["memo"], &shown["order"]),
        (&"rent".into(), &order.into())
    );
    assert_eq!(bob.ok(&["receipt", "show", &entry])["order"], order);
    // Never overwritten.
    let text = fs::read(&file).expect("it was written");
    let again = alice.fails(&["receipt", "show", order, "--out", &file], 7);
    assert!(
        again["message"]
            .as_str()
            .is_some_and(|message| message.contains("receipt"))
    );
    assert_eq!(fs::read(&file).expect("it is there"), text);
    assert_eq!(
        alice.fails(&["receipt", "show", "999999"], 3)["error"],
        "not_found"
    );

    world.kill();
    for home in [&alice, &bob, &fresh] {
        let verdict = home.ok(&["receipt", "verify", &file]);
        assert_fields(&verdict, &["ok", "entry"]);
        assert_eq!(
            (&verdict["ok"], &verdict["entry"]),
            (&true.into(), &paid["entry"])
        );
        assert_eq!(verdict["smallest_units"], 1_500_000, "{verdict}");
    }
    // Without a home nobody knows what the directory counts in; how much was paid is said all the same.
    let key = world.address.trim_start_matches("quid://");
    let key = key.split('@').next().expect("the key comes first");
    let nowhere = Home(world.path("nowhere").into());
    let said = nowhere.quid(&["receipt", "verify", &file, "--directory", key]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("1500000 of the smallest unit"), "{said}");
    assert!(!nowhere.0.exists());
    assert_eq!(alice.ok(&["receipt", "verify", order])["ok"], true);
    assert_eq!(alice.ok(&["receipt", "verify", &entry])["ok"], true);
    // Damaged, cut, foreign.
    let damaged = world.path("damaged");
    for at in (0..text.len()).step_by(29) {
        let mut bytes = text.clone();
        bytes[at] ^= 1;
        fs::write(&damaged, &bytes).expect("the folder is ours");
        check_bad(&alice, &damaged);
        fs::write(&damaged, &text[..at]).expect("the folder is ours");
        check_bad(&alice, &damaged);
    }
    fs::write(&damaged, [0xff; 100_000]).expect("the folder is ours");
    check_bad(&alice, &damaged);
    assert_eq!(
        alice.fails(&["receipt", "verify", &world.path("none")], 7)["error"],
        "files"
    );
    assert_eq!(
        alice.fails(&["receipt", "verify", &world.path("")], 7)["error"],
        "files"
    );
    let elsewhere = World::start(&[]);
    check_bad(&elsewhere.home("eve"), &file);
}

fn check_bad(home: &Home, file: &str) {
    let verdict = home.fails(&["receipt", "verify", file], 5);
    assert_eq!(verdict["ok"], false, "{verdict}");
    assert!(verdict["reason"].is_string(), "{verdict}");
}

#[test]
fn a_reader_that_has_enough_ends_the_command_quietly() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let _bob = world.account("bob");
    for _ in 0..3 {
        alice.ok(&["pay", "bob", "0.1"]);
    }
    for arguments in [&["history"][..], &["status"], &["who", "--watch"]] {
        let mut child = alice
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs");
        drop(child.stdout.take());
        if arguments.contains(&"--watch") {
            // It writes when there is something to write.
            let _listen = alice.listen();
            assert_eq!(wait(&mut child), Some(0), "{arguments:?}");
        } else {
            assert_eq!(wait(&mut child), Some(0), "{arguments:?}");
        }
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        assert_eq!(said, "", "{arguments:?}");
    }
}

#[test]
fn a_shell_without_a_terminal_does_what_it_reads() {
    let world = World::start(&["--opening-balance", "10"]);
    let bob = world.account("bob");
    let alice = world.home("alice");
    let mut shell = alice.run(&["shell"]);
    shell.type_line("s");
    let refused = shell.next("a status without an account");
    assert_eq!(refused["error"], "not_registered");
    shell.type_line("r alice");
    let registered = shell.until("registered", |line| {
        line["entry"].is_u64() && line["event"].is_null()
    });
    assert_eq!(registered["name"], "alice");
    shell.until("online", |line| line["event"] == "online");
    shell.type_line("p bob 1.5 --memo 'from the shell'");
    let paid = shell.until("paid", |line| line["state"] == "settled");
    assert_eq!(paid["amount"], "1.500000");
    shell.type_line("quid pay bob 1e3");
    assert_eq!(
        shell.until("an error", |line| line["error"] == "usage")["error"],
        "usage"
    );
    // Others reach the shell as they reach a listener.
    assert_eq!(alice.ok(&["status"])["listening"], true);
    assert_eq!(bob.ok(&["pay", "alice", "0.5"])["route"], "direct");
    let received = shell.until("received", |line| {
        line["event"] == "received" && line["counterparty"] == "bob"
    });
    assert_eq!(received["amount"], "0.500000");
    shell.type_line("l");
    shell.type_line("w");
    shell.type_line("s");
    let status = shell.until("status", |line| line["balance"].is_string());
    assert_eq!(
        (&status["listening"], &status["balance"]),
        (&false.into(), &"9.000000".into())
    );
    shell.type_line("l");
    shell.until("online again", |line| line["event"] == "online");
    shell.type_line("x");
    assert_eq!(shell.wait(), Some(0));
    assert_eq!(bob.lines(&["who"]), [] as [Value; 0]);
}

#[test]
fn payments_appear_above_the_line_being_typed() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let Some(mut shell) = bob.on_terminal("shell") else {
        return;
    };
    shell.until("bob> ");
    shell.keys("pay al");
    // A hint goes with the first of these, and so the line is drawn anew.
    shell.until("pay a");
    shell.until("l");
    alice.ok(&["pay", "bob", "0.5", "--memo", "\u{1b}]0;evil\u{7}"]);
    // The payment takes the line's place, and the line is drawn again below it.
    let shown = shell.until("received 0.500000 QUID from alice, ");
    assert!(!shown.contains("]0;evil"), "{shown:?}");
    let below = shell.until("bob> pay al");
    assert!(
        below.contains(r#""\u{1b}]0;evil\u{7}" (entry "#),
        "{below:?}"
    );
    // Typed on, cleared, taken from the history.
    shell.keys("ice\u{3}");
    shell.until("bob> ");
    shell.keys("s\r");
    shell.until("balance    10.500000 QUID");
    shell.until("bob> ");
    shell.keys("\u{1b}[A");
    shell.until("bob> s");
    let process = bob.ok(&["status", "--json"]);
    assert_eq!(process["listening"], true);
    shell.keys("\u{15}x\r");
    assert_eq!(shell.wait(), Some(0));
    assert_eq!(mode(&bob.0.join("shell_history")), Some(0o600));
    let kept = fs::read_to_string(bob.0.join("shell_history")).expect("it is text");
    assert!(kept.lines().any(|line| line == "s"), "{kept}");
}

#[test]
fn names_and_amounts_of_another_currency_are_its_own() {
    let world = World::start(&[
        "--opening-balance",
        "300",
        "--currency",
        "YEN",
        "--decimals",
        "0",
    ]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    assert_eq!(alice.ok(&["status"])["balance"], "300");
    assert_eq!(alice.fails(&["pay", "bob", "1.5"], 2)["error"], "usage");
    assert_eq!(alice.ok(&["pay", "bob", "100"])["amount"], "100");
    let said = alice.quid(&["pay", "bob", "1"]);
    let said = String::from_utf8(said.stdout).expect("it is text");
    assert!(
        said.starts_with("paid 1 YEN to bob, through the directory"),
        "{said}"
    );
}
