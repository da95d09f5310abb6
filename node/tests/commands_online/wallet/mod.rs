//! `quid wallet`: who is let in, that every wish pays once, and what the page is told.

use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::processes::{World, limit_files};
use page::{Answer, Wallet};

mod page;
mod tabs;
mod words;

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

/// What is told of a request that cannot be carried out: one line.
fn refused(told: &Value, error: &str) -> String {
    assert_eq!(told["ok"], false, "{told}");
    assert_eq!(told["error"], error, "{told}");
    let message = text(&told["message"]);
    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    // What to do is said in words of the page, also where an item repeats it.
    for part in ["`", "quid ", "--"] {
        assert!(!message.contains(part), "{message}");
    }
    if let Some(item) = told.get("item") {
        assert_eq!(item["message"], told["message"], "{told}");
    }
    message
}

fn payment(intent: &str, amount: &str) -> Value {
    json!({ "intent": intent, "payee": "bob", "amount": amount, "memo": "tea" })
}

#[test]
fn nobody_but_the_page_is_let_in() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let wallet = Wallet::start(&alice);
    let form = payment(&wallet.intent(), "1");
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let other = other.local_addr().expect("it is bound");
    let port = wallet.host.rsplit_once(':').expect("a port").1;
    let stopped = |answer: Answer| {
        assert_eq!(answer.code, 403, "{answer:?}");
        assert!(answer.text().trim_end().lines().count() == 1, "{answer:?}");
    };
    for (name, value) in [
        ("Host", None),
        ("Host", Some(format!("localhost:{port}"))),
        ("Host", Some(format!("evil.example:{port}"))),
        ("Origin", None),
        ("Origin", Some("null".to_owned())),
        ("Origin", Some(format!("http://{other}"))),
        ("Origin", Some(format!("https://{}", wallet.host))),
        ("Cookie", None),
        ("Cookie", Some("quid_wallet=1".to_owned())),
        ("X-Quid-Token", None),
        ("X-Quid-Token", Some("a".repeat(32))),
        ("Content-Type", None),
        ("Content-Type", Some("text/plain".to_owned())),
    ] {
        let mut headers = wallet.own();
        headers.retain(|(found, _)| *found != name);
        match (name, value) {
            (_, Some(value)) => headers.push((name, value)),
            // The client sends one of its own else.
            ("Host", None) => headers.push((name, String::new())),
            (_, None) => {}
        }
        for at in [
            "api/pay",
            "api/pay-link",
            "api/request",
            "api/request/0/cancel",
            "api/refund",
            "api/link",
            "api/open-tab",
            "api/close-tab",
        ] {
            stopped(wallet.post_with(at, &headers, &form));
        }
    }
    // Nothing is read without the cookie, by another site, or under another name.
    for at in [
        "",
        "app.js",
        "live",
        "api/history",
        "api/history.csv",
        "api/receipt/3",
    ] {
        let at = format!("{}{at}", wallet.path);
        let cookie = ("Cookie", &*wallet.cookie);
        stopped(wallet.send("GET", &at, &[], b""));
        stopped(wallet.send("GET", &at, &[cookie, ("Host", "evil.example")], b""));
        stopped(wallet.send("GET", &at, &[cookie, ("Sec-Fetch-Site", "cross-site")], b""));
    }
    let wrong = format!("{}open?key={}", wallet.path, "a".repeat(32));
    stopped(wallet.send("GET", &wrong, &[], b""));
    assert_eq!(alice.balance(), "10.000000");
    assert_eq!(wallet.ask("api/pay", &form)["item"]["state"], "settled");
}

#[test]
fn every_answer_tells_the_browser_what_it_may_do() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let wallet = Wallet::start(&alice);
    let page = wallet.get("");
    assert!(page.text().contains("<noscript>"));
    let mut answers = vec![page, wallet.send("GET", "/", &[], b"")];
    assert_eq!(answers[1].code, 404);
    answers.push(wallet.send("GET", &format!("{}open?key=x", wallet.path), &[], b""));
    for at in [
        "base.css",
        "wallet.css",
        "icon.svg",
        "app.js",
        "home.js",
        "register.js",
        "link.js",
        "outcome.js",
        "opening.js",
        "opened.js",
        "hold.js",
        "dom.js",
        "node.js",
        "chart.js",
        "pay.js",
        "scan.js",
        "ask.js",
        "history.js",
        "receipt.js",
        "tabs.js",
        "api/history",
        "api/curve",
        "api/history.csv",
        "api/history.json",
        "api/receipt/2",
        "api/receipt-file/2",
    ] {
        let answer = wallet.get(at);
        assert_eq!(answer.code, 200, "{at}");
        answers.push(answer);
    }
    for answer in answers {
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{}", answer.head);
        }
    }
}

#[test]
fn one_intent_pays_once_also_after_a_crash() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let mut wallet = Wallet::start(&alice);
    let intent = wallet.intent();
    let form = payment(&intent, "1.5");
    let page = &wallet.page;
    let paid: Vec<Value> = thread::scope(|scope| {
        let asked = [0; 4].map(|_| scope.spawn(|| page.ask("api/pay", &form)));
        asked.map(|asked| asked.join().expect("it answers")).into()
    });
    let first = &paid[0]["item"];
    assert_eq!(
        (&first["state"], &first["payee"]),
        (&"settled".into(), &"bob".into())
    );
    for told in &paid {
        assert_eq!(
            (&told["item"]["order"], &told["ok"]),
            (&first["order"], &true.into())
        );
    }
    assert_eq!(alice.balance(), "8.500000");
    wallet.running.signal("KILL");
    wallet.running.wait();
    let wallet = Wallet::start(&alice);
    let again = wallet.ask("api/pay", &form);
    assert_eq!(
        (&again["item"]["order"], &again["item"]["entry"]),
        (&first["order"], &first["entry"])
    );
    refused(
        &wallet.ask("api/pay", &payment(&intent, "2")),
        "intent_used",
    );
    let wrong = wallet.ask("api/pay", &payment(&wallet.intent(), "1e3"));
    refused(&wrong, "usage");
    assert_eq!(wrong["field"], "amount");
    assert_eq!(alice.balance(), "8.500000");
}

/// A request of `wallet`, as its form asks for it.
fn request(wallet: &Wallet, amount: &str, memo: &str, once: bool) -> Value {
    let form = json!({ "amount": amount, "memo": memo, "life": 3600, "once": once });
    let told = wallet.ask("api/request", &form);
    assert_eq!(told["ok"], true, "{told}");
    told["item"].clone()
}

const MARKUP: &str = "<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}";
const SHOWN: &str = r"<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}";

#[test]
fn a_link_is_read_paid_once_and_paid_back() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (payer, payee) = (Wallet::start(&alice), Wallet::start(&bob));
    let mut live = payee.follow();
    let asked = request(&payee, "1.5", MARKUP, true);
    let link = text(&asked["link"]);
    let id = asked["request"].clone();
    live.until("requests", |told| {
        told[0]["request"] == id && told[0]["state"] == "open" && told[0]["memo"] == SHOWN
    });
    let form = json!({ "link": link });
    let read = payer.ask("api/link", &form)["item"].clone();
    for (field, value) in [
        ("payee", Value::from("bob")),
        ("key", bob.ok(&["status"])["key"].clone()),
        ("known", false.into()),
        ("online", true.into()),
        ("amount", "1.500000".into()),
        ("currency", "QUID".into()),
        ("memo", SHOWN.into()),
        ("once", true.into()),
        ("expires", asked["expires"].clone()),
        ("request", asked["request"].clone()),
        ("earlier", Value::Null),
    ] {
        assert_eq!(read[field], value, "{field} in {read}");
    }
    let page = &payer.page;
    let paid: Vec<Value> = thread::scope(|scope| {
        let asked = [0; 2].map(|_| scope.spawn(|| page.ask("api/pay-link", &form)));
        asked.map(|asked| asked.join().expect("it answers")).into()
    });
    assert_eq!(paid[0]["item"]["state"], "settled", "{paid:?}");
    assert_eq!(paid[0]["item"]["order"], paid[1]["item"]["order"]);
    assert_eq!(alice.balance(), "8.500000");
    assert_eq!(
        payer.ask("api/link", &form)["item"]["earlier"],
        paid[0]["item"]["order"]
    );
    let entry = paid[0]["item"]["entry"].clone();
    live.until("requests", |told| {
        told[0]["state"] == "paid" && told[0]["entries"] == json!([entry])
    });
    // Paid back once, however often that is asked; by who received it.
    let back = payee.ask("api/refund", &json!({ "entry": entry }));
    assert_eq!(back["item"]["state"], "settled", "{back}");
    let again = payee.ask("api/refund", &json!({ "entry": entry }));
    assert_eq!(again["item"]["order"], back["item"]["order"]);
    refused(
        &payer.ask("api/refund", &json!({ "entry": entry })),
        "not_received",
    );
    assert_eq!(
        (alice.balance(), bob.balance()),
        ("10.000000".into(), "10.000000".into())
    );
}

#[test]
fn a_request_is_cancelled_and_what_was_paid_before_is_told() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let payee = Wallet::start(&bob);
    let mut live = payee.follow();
    let cancel = |asked: &Value| {
        let at = format!("api/request/{}/cancel", text(&asked["request"]));
        payee.ask(&at, &json!({}))
    };
    let asked = request(&payee, "1", MARKUP, false);
    let told = cancel(&asked);
    assert_eq!(
        (&told["ok"], &told["item"]["state"]),
        (&true.into(), &"cancelled".into())
    );
    live.until("requests", |told| told[0]["state"] == "cancelled");
    let declined = alice.fails(&["pay", &text(&asked["link"]), "--yes"], 3);
    assert_eq!(declined["reason"], "payee_declined");
    let asked = request(&payee, "1", "", false);
    alice.ok(&["pay", &text(&asked["link"]), "--yes"]);
    let told = cancel(&asked);
    refused(&told, "paid");
    assert_eq!(told["item"]["state"], "paid");
    assert!(!text(&told["message"]).contains("quid "), "{told}");
    let none = json!({ "request": "12" });
    assert_eq!(cancel(&none)["error"], "usage");
    assert_eq!(alice.balance(), "9.000000");
}

#[test]
fn an_open_request_a_tab_and_one_that_expires_show_what_they_are() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (payer, payee) = (Wallet::start(&alice), Wallet::start(&bob));
    let open = json!({ "link": request(&payee, "", "", false)["link"] });
    let unsaid = &payer.ask("api/link", &open)["item"];
    assert_eq!(
        (&unsaid["payee"], &unsaid["amount"]),
        (&"bob".into(), &Value::Null)
    );
    refused(&payer.ask("api/pay-link", &open), "amount");
    let sum = json!({ "link": open["link"], "amount": "2" });
    assert_eq!(
        payer.ask("api/pay-link", &sum)["item"]["amount"],
        "2.000000"
    );

    let tab = bob.ok(&["request", "--tab", "--unit", "0.01", "--units", "100"]);
    let tab = json!({ "link": tab["link"] });
    let read = payer.ask("api/link", &tab)["item"].clone();
    assert_eq!(
        (&read["amount"], &read["unit"], &read["units"]),
        (&"1.000000".into(), &"0.010000".into(), &100.into())
    );
    let opened = payer.ask("api/pay-link", &tab)["item"].clone();
    assert_eq!(
        (&opened["state"], &opened["hold"]),
        (&"open".into(), &"1.000000".into())
    );
    assert_eq!(
        payer.ask("api/pay-link", &tab)["item"]["tab"],
        opened["tab"]
    );

    let mut live = payee.follow();
    let form = json!({ "amount": "1", "memo": "", "life": 1, "once": false });
    let short = payee.ask("api/request", &form)["item"].clone();
    live.until("requests", |told| {
        told[0]["request"] == short["request"] && told[0]["state"] == "expired"
    });
    refused(
        &payer.ask("api/pay-link", &json!({ "link": short["link"] })),
        "expired",
    );
    for life in [0, 366 * 24 * 3_600 + 1, u64::MAX] {
        let form = json!({ "amount": "1", "memo": "", "life": life, "once": false });
        refused(&payee.ask("api/request", &form), "usage");
    }
    let long = json!({ "amount": "1", "memo": "a".repeat(1000), "life": 60, "once": false });
    assert_eq!(payee.ask("api/request", &long)["field"], "memo");
}

#[test]
fn links_that_are_none_are_one_clear_line() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let payer = Wallet::start(&alice);
    let link = text(&bob.ok(&["request", "1"])["link"]);
    let (front, body) = link.split_once("/request/").expect("it is a link");
    let at = body.len() / 3;
    let letter = if &body[at..=at] == "A" { "B" } else { "A" };
    for bad in [
        format!("{front}/request/{}{letter}{}", &body[..at], &body[at + 1..]),
        format!("{link}{}", "A".repeat(10_000)),
        format!("{link}\n{link}"),
        format!("{link}?<b>\u{202e}"),
        front.to_owned(),
        "http://evil.example/".to_owned(),
        String::new(),
    ] {
        for at in ["api/link", "api/pay-link"] {
            let told = payer.ask(at, &json!({ "link": bad }));
            let message = refused(&told, "usage");
            assert_eq!(told["field"], "payee");
            assert!(!message.contains('\u{202e}'), "{message}");
        }
    }
    let place = front.rsplit_once('@').expect("a key").1;
    let foreign = json!({ "link": format!("quid://{}@{place}/request/{body}", "a".repeat(52)) });
    for at in ["api/link", "api/pay-link"] {
        refused(&payer.ask(at, &foreign), "wrong_directory");
    }
    assert_eq!(alice.balance(), "10.000000");
}

#[test]
fn the_code_of_a_request_is_read_from_its_picture() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let wallet = Wallet::start(&alice);
    let asked = request(&wallet, "1.5", "tea", true);
    let at = |id: &str| format!("api/request/{id}/qr.svg");
    let picture = wallet.get(&at(&text(&asked["request"])));
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    let (width, pixels) = drawn(&picture.text());
    let told = wallet.scan(width, &pixels);
    assert_eq!((&told["ok"], &told["item"]), (&true.into(), &asked["link"]));
    for (width, pixels) in [(64, vec![255; 64 * 64]), (0, vec![1]), (7, vec![0; 8])] {
        refused(&wallet.scan(width, &pixels), "no_code");
    }
    for id in ["019aab12-3456-7abc-8def-0123456789ab", "x"] {
        assert_eq!(wallet.get(&at(id)).code, 404);
    }
}

/// The pixels of a code's picture, with its border: four to the square.
fn drawn(svg: &str) -> (usize, Vec<u8>) {
    let (_, rest) = svg.split_once("viewBox=\"0 0 ").expect("it has a size");
    let squares: usize = rest
        .split(' ')
        .next()
        .and_then(|side| side.parse().ok())
        .expect("a number");
    let (_, path) = svg.split_once("<path d=\"").expect("it is dark");
    let width = squares * 4;
    let mut pixels = vec![255; width * width];
    for square in path.split('"').next().expect("it ends").split("h1v1h-1z") {
        let Some((column, row)) = square.strip_prefix('M').and_then(|at| at.split_once(' ')) else {
            continue;
        };
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let (column, row) = (number(column), number(row));
        // Readers want four light squares around it.
        assert!([column, row].iter().all(|at| (4..squares - 4).contains(at)));
        for line in 0..4 {
            let from = (row * 4 + line) * width + column * 4;
            pixels[from..from + 4].fill(0);
        }
    }
    (width, pixels)
}

#[test]
fn the_page_says_that_the_directory_is_away_and_mends_itself() {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let wallet = Wallet::start(&alice);
    let mut live = wallet.follow();
    live.until("connection", |told| told["online"] == true);
    live.until("status", |told| told["item"]["balance"] == "10.000000");
    world.kill();
    live.until("connection", |told| told["online"] == false);
    world.restart();
    live.until("connection", |told| told["online"] == true);
    bob.ok(&["pay", "alice", "1", "--memo", MARKUP]);
    live.until("event", |told| {
        told["event"] == "received" && told["memo"] == SHOWN
    });
    live.until("status", |told| told["item"]["balance"] == "11.000000");
}

#[test]
fn history_is_saved_as_text_that_no_table_runs() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let memos = ["=1+2", "+1", "-1", "@SUM(A1)", "a \"b\", c", "\t=1", MARKUP];
    for memo in memos {
        bob.ok(&["pay", "alice", "0.5", &format!("--memo={memo}")]);
    }
    let wallet = Wallet::start(&alice);
    let csv = wallet.get("api/history.csv");
    let disposition = csv.header("content-disposition").expect("it is saved");
    assert!(disposition.starts_with("attachment"), "{disposition}");
    let csv = csv.text();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    // The names, the opening balance, and an empty end.
    assert_eq!(lines.len(), memos.len() + 3, "{csv}");
    for cell in [
        "'=1+2",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "a \"\"b\"\", c",
        r"\t=1",
        SHOWN,
    ] {
        assert!(
            csv.contains(&format!(",\"{cell}\",\"settled\"")),
            "{cell}: {csv}"
        );
    }
    for cell in csv.split(',') {
        let start = cell.trim_start_matches('"');
        assert!(!start.starts_with(['=', '+', '-', '@', '\t']), "{cell}");
    }
    assert_eq!(
        wallet.get("api/history.json").json(),
        Value::from(alice.lines(&["history"]))
    );
    let found = wallet.get("api/history?search=sum").json();
    assert_eq!(found["items"][0]["memo"], "@SUM(A1)", "{found}");
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let taken = taken.local_addr().expect("it is bound").to_string();
    let failed = alice.fails(&["wallet", "--no-open", "--listen", &taken], 1);
    let message = text(&failed["message"]);
    assert!(
        message.contains(&taken) && message.contains("another port"),
        "{message}"
    );
}

#[test]
fn a_wallet_whose_journal_cannot_be_written_leaves_and_says_why() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let mut wallet = Wallet::start(&bob);
    wallet.running.event("online");
    limit_files(wallet.running.id(), 0);
    // It cannot note what comes, whether the payer is told or not.
    let paid = alice.quid(&["pay", "bob", "1", "--wait", "2"]);
    assert!(matches!(paid.status.code(), Some(0 | 3 | 4)), "{paid:?}");
    assert_eq!(wallet.running.wait(), Some(7));
    let told = wallet.running.until("why", |line| line["error"] == "files");
    let message = text(&told["message"]);
    assert!(
        message.contains("the journal cannot be written"),
        "{message}"
    );
}
