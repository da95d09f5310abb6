//! The wallet's page as a browser, a program on this machine and another origin meet it. What a
//! person sees is tried in a real browser: `browser/wallet.py`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::processes::{Home, Running, World};

#[test]
fn the_page_is_for_whoever_has_the_link_and_for_no_other_origin() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let (_wallet, page) = Page::open(&alice);
    let at = |name: &str| format!("{}{name}", page.path);
    let get = |path: &str, headers: &[(&str, &str)]| page.ask("GET", path, headers, "").0;
    let cookie = ("cookie", page.cookie.as_str());

    assert_eq!(get(&at(""), &[cookie]), 200);
    assert_eq!(get(&at("api/history"), &[cookie]), 200);
    for headers in [
        &[][..],
        &[("cookie", "quid_wallet=1")],
        &[cookie, ("sec-fetch-site", "cross-site")],
        &[cookie, ("sec-fetch-site", "same-site")],
        &[cookie, ("origin", "http://localhost:1")],
        &[cookie, ("host", "localhost")],
    ] {
        for name in [
            "",
            "app.js",
            "live",
            "api/history",
            "api/history.csv",
            "api/receipt/1",
        ] {
            assert_eq!(get(&at(name), headers), 403, "{name} with {headers:?}");
        }
    }
    assert_eq!(get("/", &[cookie]), 404);
    assert_eq!(get(&at("open?key=a"), &[]), 403);
    assert_eq!(page.ask("PUT", &at("api/pay"), &[cookie], "").0, 403);

    let origin = format!("http://{}", page.address);
    let good = [
        cookie,
        ("origin", origin.as_str()),
        ("content-type", "application/json"),
        ("x-quid-token", page.token.as_str()),
    ];
    let post =
        |headers: &[(&str, &str)], body: &str| page.ask("POST", &at("api/intent"), headers, body).0;
    assert_eq!(post(&good, "{}"), 200);
    for left_out in 0..good.len() {
        let mut less = good.to_vec();
        let (name, _) = less.remove(left_out);
        assert_eq!(post(&less, "{}"), 403, "without {name}");
    }
    // What browsers are told, with every answer.
    for path in [at(""), at("app.js"), at("open"), "/".to_owned()] {
        let (_, head, _) = page.ask("GET", &path, &[cookie], "");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: {header} is not in {head}");
        }
        assert!(!head.contains("access-control"), "{head}");
    }
    for bad in ["", "{", "[]", "{\"payee\":1}"] {
        let (status, _, body) = page.ask("POST", &at("api/pay"), &good, bad);
        assert!((400..500).contains(&status), "{bad}: {body}");
    }
    let (status, _, _) = page.ask("POST", &at("api/verify"), &good, &"x".repeat(70_000));
    assert_eq!(status, 413);
}

#[test]
fn the_same_form_sent_twice_at_one_moment_pays_once() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _listening = bob.listen();
    let (_wallet, page) = Page::open(&alice);
    let intent = page.post("api/intent", &json!({}))["item"].clone();
    let form = json!({ "intent": intent, "payee": "bob", "amount": "1.25", "memo": "<b>tea</b>" });
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| page.post("api/pay", &form)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("answered"))
            .collect()
    });
    for answer in &answers {
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["item"]["state"], "settled");
        assert_eq!(answer["item"]["order"], answers[0]["item"]["order"]);
    }
    assert_eq!(alice.balance(), "8.750000");
    let other = json!({ "intent": intent, "payee": "bob", "amount": "2", "memo": "" });
    assert_eq!(page.post("api/pay", &other)["error"], "intent_used");
    // The command beside it goes through the same node.
    assert_eq!(alice.ok(&["status"])["listening"], true);
}

#[test]
fn a_port_in_use_or_for_others_is_named_in_one_line() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    let refused = alice.fails(&["wallet", "--no-open", "--listen", &taken], 1);
    assert_eq!(refused["error"], "listen");
    let message = refused["message"].as_str().expect("text");
    assert!(
        message.contains(&taken) && !message.contains('\n'),
        "{message}"
    );
    for listen in ["0.0.0.0:0", "example.org:80", "80", "192.0.2.1:80"] {
        let refused = alice.fails(&["wallet", "--no-open", "--listen", listen], 2);
        assert_eq!(refused["error"], "usage", "{listen}");
    }
    let (_wallet, _) = Page::open(&alice);
    assert_eq!(alice.fails(&["wallet", "--no-open"], 7)["error"], "held");
}

/// What the link of a wallet gives.
struct Page {
    address: String,
    path: String,
    cookie: String,
    token: String,
}

impl Page {
    fn open(home: &Home) -> (Running, Self) {
        let wallet = home.run(&["wallet", "--no-open"]);
        let link = wallet.event("wallet")["link"]
            .as_str()
            .expect("text")
            .to_owned();
        let rest = link.strip_prefix("http://").expect("a link");
        let (address, path) = rest.split_once('/').expect("a path");
        let (path, key) = path.split_once("open").expect("it opens");
        let mut page = Self {
            address: address.to_owned(),
            path: format!("/{path}"),
            cookie: String::new(),
            token: String::new(),
        };
        let (status, head, _) = page.ask("GET", &format!("{}open{key}", page.path), &[], "");
        assert_eq!(status, 200, "{head}");
        let cookie = head.split("set-cookie: ").nth(1).expect("a cookie");
        page.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let (_, _, body) = page.ask("GET", &page.path, &[("cookie", page.cookie.as_str())], "");
        let token = body.split("name=\"quid-token\" content=\"").nth(1);
        page.token = token
            .and_then(|rest| rest.split('"').next())
            .expect("a token")
            .to_owned();
        (wallet, page)
    }

    /// Asks as the page itself does.
    fn post(&self, name: &str, form: &Value) -> Value {
        let origin = format!("http://{}", self.address);
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", origin.as_str()),
            ("content-type", "application/json"),
            ("x-quid-token", self.token.as_str()),
        ];
        let path = format!("{}{name}", self.path);
        let (status, _, body) = self.ask("POST", &path, &headers, &form.to_string());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Status, head in lower case, and body of the answer. What streams is not read.
    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("settable");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.push_str(&format!("host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("\r\n{body}"));
        // One that is refused early need not be read to its end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (
            status.expect("a status"),
            head.to_lowercase(),
            body.to_owned(),
        )
    }
}
