//! What an operator sees of a serving directory: real numbers of the real program over real HTTP.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use quid_common::refusal::Reason;

use self::world::Directory;

fn start(opening: &str) -> Directory {
    let place = tempfile::tempdir().expect("a place for the test's files");
    Directory::start_with(place, opening, "127.0.0.1:0", &["--metrics", "0"])
}

/// What the directory answers to these bytes: all until it closes.
fn converse(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let deadline = Some(Duration::from_secs(20));
    stream.set_read_timeout(deadline).expect("a sound deadline");
    // Whoever is refused in the middle of what it says may not get it all out.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("all answers are text")
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: quid\r\n\r\n");
    let answer = converse(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Asks off the test's own thread, on which its clients live.
async fn get_beside(address: SocketAddr, path: &'static str) -> (u16, String) {
    let asked = tokio::task::spawn_blocking(move || get(address, path));
    asked.await.expect("it does not panic")
}

/// The numbers in a scrape, by name and labels.
fn numbers(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (name, number) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), number.parse().expect("a number"))
    });
    parsed.collect()
}

/// Names, kinds and label of all numbers in docs/operating.md.
fn documented() -> BTreeSet<(String, String, Option<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
    let text = std::fs::read_to_string(path).expect("it is in the tree");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let (name, kind) = (cells.next()?.trim_end_matches('`'), cells.next()?);
        if !["counter", "gauge", "histogram"].contains(&kind) {
            return None;
        }
        let (name, label) = match name.split_once('{') {
            Some((name, label)) => (name, Some(label.trim_end_matches('}').to_owned())),
            None => (name, None),
        };
        Some((name.to_owned(), kind.to_owned(), label))
    });
    rows.collect()
}

/// The same of a scrape.
fn shown(text: &str) -> BTreeSet<(String, String, Option<String>)> {
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let named = types.map(|(name, kind)| {
        let name = match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        let labelled = format!("{name}{{");
        let sample = text.lines().find_map(|line| line.strip_prefix(&labelled));
        let label = sample.and_then(|rest| rest.split_once('=').map(|(label, _)| label.to_owned()));
        (name, kind.to_owned(), label)
    });
    named.collect()
}

#[tokio::test]
async fn every_number_is_in_the_table_and_the_table_has_no_other() {
    let directory = start("100");
    let alice = directory.member(1, "alice").await;
    let metrics = directory.metrics.expect("it serves them");
    let (status, text) = get_beside(metrics, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (documented, shown) = (documented(), shown(&text));
    let only = |one: &BTreeSet<_>, other| -> Vec<_> { one.difference(other).cloned().collect() };
    assert!(documented.len() > 30, "{documented:?}");
    assert_eq!(only(&shown, &documented), [], "not in docs/operating.md");
    assert_eq!(only(&documented, &shown), [], "only in docs/operating.md");
    // Nobody is named.
    let key = alice.key().to_string();
    for told in ["alice", "127.0.0.1", key.as_str()] {
        assert!(!text.contains(told), "{told} is in the numbers");
    }
}

/// The causes in the table of docs/operating.md.
fn documented_causes() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
    let text = std::fs::read_to_string(path).expect("it is in the tree");
    let (_, after) = text.split_once("### What was shed").expect("a section");
    let (table, _) = after.split_once("\n### ").expect("an end");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(cause, _)| cause.to_owned())
        .collect()
}

#[tokio::test]
async fn what_was_shed_is_counted_once_by_the_causes_of_the_table() {
    let directory = start("100");
    // A call of a program that speaks no protocol of ours: its handshake fails.
    let known = world::alien_handshake(&directory).await;
    assert!(known.is_err(), "{known:?}");
    let metrics = directory.metrics.expect("it serves them");
    // The caller may know of the failure before it is counted.
    let begun = Instant::now();
    loop {
        let (_, text) = get_beside(metrics, "/metrics").await;
        let shed = shed_in(&text);
        let names: BTreeSet<String> = shed.keys().cloned().collect();
        assert_eq!(names, documented_causes());
        let counted: Vec<(&str, f64)> = shed
            .iter()
            .filter(|(_, count)| **count > 0.0)
            .map(|(cause, count)| (cause.as_str(), *count))
            .collect();
        if counted == [("handshake_failed", 1.0)] {
            return;
        }
        assert!(counted.is_empty(), "{counted:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it is not counted"
        );
    }
}

/// What a scrape says was shed, by cause.
fn shed_in(text: &str) -> BTreeMap<String, f64> {
    let shed = numbers(text).into_iter().filter_map(|(name, count)| {
        let cause = name.strip_prefix("quid_shed_total{cause=\"")?;
        Some((cause.strip_suffix("\"}")?.to_owned(), count))
    });
    shed.collect()
}

#[tokio::test]
async fn the_numbers_say_what_happened() {
    let directory = start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = alice.settle().await;
    for number in 0..3 {
        let order = alice.order(bob.key(), 1_000_000, number);
        settle.submit(&order).await.expect("alice has money");
    }
    let burn = alice.order(directory.address.key(), 500, 3);
    settle.submit(&burn).await.expect("a burn is a payment");
    let dear = alice.order(bob.key(), 1_000_000_000, 4);
    let refused = settle.submit(&dear).await;
    assert_eq!(refused, Err(Reason::INSUFFICIENT_FUNDS));
    let metrics = directory.metrics.expect("it serves them");
    let (_, text) = get_beside(metrics, "/metrics").await;
    let found = numbers(&text);
    let expected = [
        ("quid_entries_total{kind=\"register\"}", 2.0),
        ("quid_entries_total{kind=\"issue\"}", 2.0),
        ("quid_entries_total{kind=\"payment\"}", 4.0),
        ("quid_entries_total{kind=\"refusal\"}", 1.0),
        ("quid_refused_total{reason=\"insufficient_funds\"}", 1.0),
        ("quid_refused_total{reason=\"frozen\"}", 0.0),
        ("quid_accounts", 2.0),
        ("quid_log_entries", 10.0),
        ("quid_checkpoint_entries", 10.0),
        ("quid_issued_units", 200_000_000.0),
        ("quid_burnt_units", 500.0),
        ("quid_available_units", 199_999_500.0),
        ("quid_held_units", 0.0),
        ("quid_books_balanced", 1.0),
        ("quid_log_incomplete", 0.0),
        ("quid_sessions", 2.0),
        ("quid_accounts_connected", 2.0),
        ("quid_accounts_listening", 2.0),
        ("quid_strangers", 0.0),
        ("quid_queue_jobs{class=\"trusted\"}", 0.0),
        ("quid_turned_away_total{queue=\"settle\"}", 0.0),
        // Registrations come with their grant and payments; the refusal has no new effect to wait for.
        ("quid_settle_seconds_count", 6.0),
    ];
    for (name, number) in expected {
        assert_eq!(found.get(name), Some(&number), "{name} in\n{text}");
    }
    for name in ["quid_commit_seconds_count", "quid_batch_jobs_count"] {
        assert!(found.get(name).is_some_and(|count| *count >= 7.0), "{name}");
    }
    let resident = found["process_resident_memory_bytes"];
    assert!((1e6..4e9).contains(&resident), "{resident}");
    assert!(found["process_open_fds"] >= 10.0);
    assert!(found["quid_disk_bytes{file=\"ledger_wal\"}"] > 0.0);
    assert!(found["quid_disk_free_bytes"] > 0.0);
    assert!(found["quid_clock_skew_seconds"].abs() < 5.0);
    drop((alice, bob));
}

#[tokio::test]
async fn healthz_says_so_while_no_batch_can_be_durable_and_no_longer() {
    let directory = start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let metrics = directory.metrics.expect("it serves them");
    assert_eq!(
        get_beside(metrics, "/healthz").await,
        (200, "ok\n".to_owned())
    );
    // Another program that writes to the file: the batch waits for it, some seconds.
    let other = rusqlite::Connection::open(directory.data().join("ledger.db")).expect("the log");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("it can be locked");
    let mut settle = alice.settle().await;
    let order = alice.order(bob.key(), 1, 1);
    let (settled, ()) = tokio::join!(settle.submit(&order), async {
        // What was said a moment ago may be said again.
        let begun = Instant::now();
        loop {
            let (status, body) = get_beside(metrics, "/healthz").await;
            if status == 503 {
                assert!(body.starts_with("stuck: "), "{body}");
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(4), "{body}");
        }
        other.execute_batch("ROLLBACK").expect("it was locked");
    });
    assert!(settled.is_ok(), "{settled:?}");
    assert_eq!(get_beside(metrics, "/healthz").await.0, 200);
}

#[tokio::test]
async fn bad_requests_are_refused_and_slow_ones_left_while_payments_go_on() {
    let directory = start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let metrics = directory.metrics.expect("it serves them");
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(100));
    let table: &[(&[u8], &str)] = &[
        (b"GET /key HTTP/1.1\r\nHost: quid\r\n\r\n", "404"),
        (b"GET /metrics/../key HTTP/1.1\r\nHost: quid\r\n\r\n", "404"),
        (
            b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "405",
        ),
        (b"HEAD /healthz HTTP/1.1\r\nHost: quid\r\n\r\n", "405"),
        (b"DELETE /healthz HTTP/1.1\r\n\r\n", "405"),
        (b"\x16\x03\x01\x00\xff\x00\xff\xff", "400"),
        (b"GET /healthz HTTP/9.9\r\n\r\n", "400"),
        (long.as_bytes(), "431"),
        (many.as_bytes(), "431"),
    ];
    for (request, status) in table {
        let answer = converse(metrics, request);
        let told = answer.split(' ').nth(1);
        // A connection may also be closed without an answer while it still sends.
        assert!(
            told.is_none() || told == Some(status),
            "{:?} got {answer}",
            String::from_utf8_lossy(&request[..request.len().min(60)])
        );
        if request.len() < 1024 {
            assert_eq!(told, Some(*status), "{answer}");
        }
    }
    // More than are served at once, none of which ever asks.
    let idle: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(metrics).expect("the system takes it"))
        .collect();
    let mut settle = alice.settle().await;
    let begun = Instant::now();
    for number in 0..20 {
        let order = alice.order(bob.key(), 1, number);
        settle.submit(&order).await.expect("alice has money");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "payments wait");
    let (status, _) = get_beside(metrics, "/healthz").await;
    assert_eq!(status, 200, "whoever asks has its turn");
    // Nor do they hold up the end, which must come within 5 s.
    drop(directory.stop());
    drop(idle);
}

#[test]
fn an_address_in_use_is_one_line_and_nothing_is_served() {
    let place = tempfile::tempdir().expect("a place for the test's files");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for (address, word) in [(port.as_str(), "--metrics"), ("nowhere", "ADDRESS:PORT")] {
        let data = place.path().join(address);
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--metrics", address];
        let output = world::run_on(&data, &arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        let told: Vec<&str> = message.lines().filter(|line| line.contains(word)).collect();
        assert_eq!(told.len(), 1, "{message}");
        assert!(output.stdout.is_empty());
        assert!(!data.exists(), "{address} left something behind");
    }
}
