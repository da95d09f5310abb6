//! A page of a running wallet, asked as a browser asks, by plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::processes::{Home, Running};

/// A running wallet with its page.
pub(crate) struct Wallet {
    pub(crate) running: Running,
    pub(crate) page: Page,
}

impl Deref for Wallet {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

/// What the page in a browser knows.
pub(crate) struct Page {
    pub(crate) host: String,
    /// Begins and ends with a slash.
    pub(crate) path: String,
    pub(crate) cookie: String,
    pub(crate) token: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("it is text")
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("it is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }
}

impl Wallet {
    /// Starts one and opens its link.
    pub(crate) fn start(home: &Home) -> Self {
        let running = home.run(&["wallet", "--no-open"]);
        let link = running.event("wallet")["link"].clone();
        let link = link.as_str().expect("it is text").to_owned();
        let place = link.strip_prefix("http://").expect("it is plain HTTP");
        let (host, rest) = place.split_once('/').expect("it has a path");
        let (path, _) = rest.split_once("open?key=").expect("it has a key");
        let mut page = Page {
            host: host.to_owned(),
            path: format!("/{path}"),
            cookie: String::new(),
            token: String::new(),
        };
        page.open(&format!("/{rest}"));
        Self { running, page }
    }
}

impl Page {
    /// Follows the link.
    fn open(&mut self, at: &str) {
        let opened = self.send("GET", at, &[], b"");
        assert_eq!(opened.code, 200, "{opened:?}");
        let cookie = opened.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("it has a value");
        cookie.clone_into(&mut self.cookie);
        let page = self.get("").text();
        let (_, token) = page
            .split_once("name=\"quid-token\" content=\"")
            .expect("the page has a token");
        let token = token.split('"').next().expect("it ends");
        token.clone_into(&mut self.token);
    }

    /// A request of these headers and no others.
    pub(crate) fn send(
        &self,
        method: &str,
        at: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = TcpStream::connect(&self.host).expect("the wallet listens");
        stream.set_read_timeout(Some(WITHIN)).expect("it is open");
        let mut head = format!("{method} {at} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("it is open");
        // Who is not let in may be answered before all of it is read.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it answers");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.expect("it has headers"));
        let head = String::from_utf8(head.to_vec()).expect("headers are text");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            code: code.expect("it has a code"),
            head,
            body: body[4..].to_vec(),
        }
    }

    /// Reads as the page does.
    pub(crate) fn get(&self, at: &str) -> Answer {
        let headers = [("Cookie", &*self.cookie), ("Sec-Fetch-Site", "same-origin")];
        self.send("GET", &format!("{}{at}", self.path), &headers, b"")
    }

    /// The headers of what the page asks for.
    pub(crate) fn own(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Host", self.host.clone()),
            ("Origin", format!("http://{}", self.host)),
            ("Cookie", self.cookie.clone()),
            ("X-Quid-Token", self.token.clone()),
            ("Content-Type", "application/json".to_owned()),
        ]
    }

    pub(crate) fn post_with(&self, at: &str, headers: &[(&str, String)], form: &Value) -> Answer {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let body = form.to_string();
        self.send(
            "POST",
            &format!("{}{at}", self.path),
            &headers,
            body.as_bytes(),
        )
    }

    /// Asks for something as the page does.
    pub(crate) fn ask(&self, at: &str, form: &Value) -> Value {
        self.post_with(at, &self.own(), form).json()
    }

    pub(crate) fn intent(&self) -> String {
        let told = self.ask("api/intent", &json!({}));
        told["item"].as_str().expect("an intent").to_owned()
    }

    /// Shows a picture of rows of so many pixels.
    pub(crate) fn scan(&self, width: usize, pixels: &[u8]) -> Value {
        let mut headers = self.own();
        headers.retain(|(name, _)| *name != "Content-Type");
        headers.push(("Content-Type", "application/octet-stream".to_owned()));
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let at = format!("{}api/scan?width={width}", self.path);
        self.send("POST", &at, &headers, pixels).json()
    }

    /// Follows the live stream.
    pub(crate) fn follow(&self) -> Live {
        let mut stream = TcpStream::connect(&self.host).expect("the wallet listens");
        stream.set_read_timeout(Some(WITHIN)).expect("it is open");
        let head = format!(
            "GET {}live HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
            self.path, self.host, self.cookie
        );
        stream.write_all(head.as_bytes()).expect("it is open");
        Live(BufReader::new(stream))
    }
}

/// What the live stream tells.
pub(crate) struct Live(BufReader<TcpStream>);

impl Live {
    /// Reads on until a part of that name is as wanted.
    pub(crate) fn until(&mut self, part: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + WITHIN;
        let (mut name, mut line, mut last) = (String::new(), String::new(), Value::Null);
        while Instant::now() < end {
            line.clear();
            let read = self.0.read_line(&mut line).expect("the stream is open");
            assert_ne!(read, 0, "the stream has ended");
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim_end().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ")
                && name == part
            {
                last = serde_json::from_str(data).expect("it is JSON");
                if wanted(&last) {
                    return last;
                }
            }
        }
        panic!("{part} is still {last}");
    }
}

/// How long any answer may take.
const WITHIN: Duration = Duration::from_secs(30);
