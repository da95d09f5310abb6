//! The operator's page: every path over real HTTP, what it says, and what it must not.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use quid_common::refusal::Reason;
use serde_json::Value;

use self::world::Directory;

fn start() -> Directory {
    let place = tempfile::tempdir().expect("a place for the test's files");
    Directory::start_with(place, "100", "127.0.0.1:0", &["--metrics", "0"])
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Asks off the test's own thread, on which its clients live.
async fn ask(address: SocketAddr, request: String) -> Answer {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let deadline = Some(Duration::from_secs(20));
        stream.set_read_timeout(deadline).expect("a sound deadline");
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("all is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        Answer {
            status: status.expect("a status"),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    });
    asked.await.expect("it does not panic")
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: quid\r\n\r\n"),
    )
    .await
}

async fn numbers(address: SocketAddr, query: &str) -> Value {
    let answer = get(address, &format!("/numbers.json{query}")).await;
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// What is shown, without the spaces in numbers.
fn shown(numbers: &Value, name: &str) -> String {
    let text = numbers["shown"][name].as_str();
    text.unwrap_or_else(|| panic!("{name} in {numbers}"))
        .replace('\u{202f}', "")
}

const PATHS: [(&str, &str); 5] = [
    ("/", "text/html; charset=utf-8"),
    ("/dashboard.css", "text/css; charset=utf-8"),
    ("/dashboard.js", "text/javascript; charset=utf-8"),
    ("/icon.svg", "image/svg+xml"),
    ("/numbers.json", "application/json"),
];

#[tokio::test]
async fn every_path_is_served_strictly_and_nothing_else_is() {
    let directory = start();
    let address = directory.metrics.expect("it serves them");
    for (path, kind) in PATHS {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let headers = &answer.headers;
        assert_eq!(headers["content-type"], kind, "{path}");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = &headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert!(!headers.contains_key("access-control-allow-origin"));
        for method in ["POST", "HEAD", "OPTIONS", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: quid\r\n\r\n");
            assert_eq!(ask(address, request).await.status, 405, "{method} {path}");
        }
    }
    for path in [
        "/index.html",
        "/dashboard.html",
        "/dashboard.css/",
        "/..",
        "//",
        "/numbers",
    ] {
        assert_eq!(get(address, path).await.status, 404, "{path}");
    }
    // Whatever is asked for behind the question mark.
    for query in [
        "?after=x",
        "?after=99&began=0",
        "?%00",
        "?after=1&after=2&began=-1",
        "?=",
    ] {
        assert!(
            numbers(address, query).await["samples"].is_array(),
            "{query}"
        );
    }
}

#[tokio::test]
async fn every_number_on_the_page_has_its_name_and_is_there_without_scripts() {
    let directory = start();
    drop(directory.member(1, "alice").await);
    let address = directory.metrics.expect("it serves them");
    let page = get(address, "/").await.body;
    assert!(
        !page.contains("{{") && page.contains("<noscript>"),
        "{page}"
    );
    // What one account was given, and the state.
    assert!(
        page.contains(">100.000000<") && page.contains(">Settling<"),
        "{page}"
    );
    let names: BTreeSet<&str> = page
        .split("data-n=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let numbers = numbers(address, "").await;
    let shown = numbers["shown"].as_object().expect("names and texts");
    let known: BTreeSet<&str> = shown.keys().map(String::as_str).collect();
    assert!(names.len() > 30, "{names:?}");
    assert_eq!(names, known);
}

#[tokio::test]
async fn it_says_how_payments_go_and_that_the_books_agree() {
    let directory = start();
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let address = directory.metrics.expect("it serves them");
    let mut settle = alice.settle().await;
    let dear = alice.order(bob.key(), 1_000_000_000, 1_000);
    let refused = settle.submit(&dear).await;
    assert_eq!(refused, Err(Reason::INSUFFICIENT_FUNDS));
    let burn = alice.order(directory.address.key(), 500, 2_000);
    settle.submit(&burn).await.expect("a burn is a payment");
    let begun = Instant::now();
    let mut number = 0;
    // Until a look has seen some, which it does every 2 s.
    let sample = loop {
        let order = alice.order(bob.key(), 1, number);
        settle.submit(&order).await.expect("alice has money");
        number += 1;
        let first = numbers(address, "").await;
        let samples = first["samples"].as_array().expect("a list");
        let busy = samples
            .iter()
            .find(|it| it[1].as_f64() > Some(0.0) && it[3].is_f64());
        if let Some(sample) = busy {
            break sample.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{first}");
    };
    let after = sample[0].as_u64().expect("a number");
    assert!(sample[2].as_f64() <= sample[3].as_f64(), "{sample}");
    assert_eq!(sample[4], 2, "both listen");
    let now = numbers(address, "").await;
    assert_eq!(
        (&now["state"], &now["agree"]),
        (&"well".into(), &true.into())
    );
    // What was counted at the survey, a second ago at most, is of one moment.
    assert_eq!(shown(&now, "issued"), "200.000000");
    assert_eq!(shown(&now, "burnt"), "0.000500");
    assert_eq!(shown(&now, "outside"), "199.999500");
    assert_eq!(shown(&now, "owned"), "199.999500");
    assert_eq!(shown(&now, "agreement"), "They agree.");
    assert_eq!(shown(&now, "entries"), shown(&now, "checkpoint_entries"));
    let checkpoint = shown(&now, "checkpoint");
    assert!(checkpoint.starts_with("quid/"), "{checkpoint}");
    let refused = now["refused"].as_array().expect("a list");
    assert!(
        refused
            .iter()
            .any(|it| it[0] == "insufficient_funds" && it[1] == 1),
        "{now}"
    );
    // Only what is new is sent, to whoever knows this process.
    let query = format!("?began={}&after={after}", now["began"]);
    let newer = numbers(address, &query).await;
    let newer = newer["samples"].as_array().expect("a list");
    assert!(
        newer.iter().all(|it| it[0].as_u64() > Some(after)),
        "{newer:?}"
    );
    let other = numbers(address, &format!("?began=1&after={after}")).await;
    let all = other["samples"].as_array().expect("a list");
    assert!(
        all.iter().any(|it| it[0].as_u64() <= Some(after)),
        "{other}"
    );
}

#[tokio::test]
async fn nobody_can_be_told_from_anything_that_is_served() {
    let directory = start();
    let payer = directory.member(1, "zarathustra").await;
    let payee = directory.member(2, "quetzalcoatl").await;
    let address = directory.metrics.expect("it serves them");
    let mut settle = payer.settle().await;
    let mut secrets = Vec::new();
    for number in 0..50 {
        let order = payer.order(payee.key(), 1, number);
        settle.submit(&order).await.expect("there is money");
        secrets.push(order.statement().id.to_string());
    }
    let dear = payer.order(payee.key(), 1_000_000_000, 99);
    assert!(settle.submit(&dear).await.is_err());
    for member in [&payer, &payee] {
        let key = member.key();
        let hex = data_encoding::HEXLOWER.encode(key.as_bytes());
        let base64 = data_encoding::BASE64_NOPAD.encode(key.as_bytes());
        secrets.extend([key.to_string(), key.short().to_string(), hex, base64]);
    }
    let people = ["zarathustra", "quetzalcoatl", "127.0.0.1", "::1"];
    secrets.extend(people.map(str::to_owned));
    // Before a look and behind one.
    let begun = Instant::now();
    loop {
        for path in ["/", "/numbers.json", "/metrics", "/healthz", "/nothing"] {
            let answer = get(address, path).await;
            let head = format!("{:?}", answer.headers);
            for secret in &secrets {
                let told = answer.body.contains(secret.as_str()) || head.contains(secret.as_str());
                assert!(!told, "{secret} is in {path}");
            }
        }
        let samples = numbers(address, "").await["samples"]
            .as_array()
            .map_or(0, Vec::len);
        if samples > 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
