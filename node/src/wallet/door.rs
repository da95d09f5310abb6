//! The door of the page: who may ask.
//!
//! The page is a program that pays. Against other sites in the same browser, other servers on this
//! machine and other users of it stand, each enough for most of them:
//! - the socket is on loopback, and the `Host` is exactly its address (a name that was made to point
//!   here is refused);
//! - everything lies under a path that only the link tells, which also keeps the cookie from other
//!   ports of this machine, since cookies know no ports;
//! - the link's key is exchanged for a cookie that scripts cannot read and other sites do not send;
//! - whatever changes something is a POST of JSON from our own origin, with a token that is in the
//!   page and nowhere else;
//! - nothing asked by another origin is answered, as browsers themselves tell (`Sec-Fetch-Site`).

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use data_encoding::BASE32_NOPAD;
use tokio::time::Instant;

use crate::cli::failure::Failure;

/// The header that carries the token.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-quid-token");

/// What the browser says about who asks.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The secrets of one running wallet, all gone when it ends.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    /// First part of every path.
    path: String,
    /// The key of the link that is printed, good while the wallet runs.
    key: String,
    /// The key of the link that is opened, which stands among the arguments of a program for a
    /// moment: good once, and not for long.
    once: Mutex<Option<(String, Instant)>>,
    cookie: String,
    token: String,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The host is not ours.
    Host,
    /// Another origin asks.
    Origin,
    /// Without the link's cookie.
    Cookie,
    /// A change that is no JSON of the page's own.
    Form,
}

impl Stop {
    /// What whoever asked is told.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "this is no name of this wallet: open the link that `quid wallet` printed"
            }
            Self::Origin => "another page may not use this wallet",
            Self::Cookie => {
                "this wallet opens with its link only: open the one that `quid wallet` printed, and \
                 again if you have closed the browser since"
            }
            Self::Form => "only the wallet's own page may ask for this",
        }
    }
}

impl Door {
    /// New secrets for a page at `address`.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub(super) fn new(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            address,
            path: secret()?,
            key: secret()?,
            once: Mutex::new(Some((secret()?, Instant::now() + ONCE_FOR))),
            cookie: secret()?,
            token: secret()?,
        })
    }

    /// The first part of every path, without slashes.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What the page shows with everything that it asks for.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The link to print.
    pub(super) fn link(&self) -> String {
        self.link_with(&self.key)
    }

    /// The link to open in the browser: good once.
    pub(super) fn link_to_open(&self) -> String {
        let once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let key = once.as_ref().map_or(self.key.as_str(), |(key, _)| key);
        self.link_with(key)
    }

    fn link_with(&self, key: &str) -> String {
        format!("http://{}/{}/open?key={key}", self.address, self.path)
    }

    /// The cookie for whoever comes with `key`, if that is good.
    pub(super) fn exchange(&self, key: &str) -> Option<String> {
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let good_once = once
            .as_ref()
            .is_some_and(|(good, until)| same(good, key) && Instant::now() < *until);
        if good_once {
            *once = None;
        }
        (good_once || same(&self.key, key)).then(|| {
            format!(
                "{}={}; Path=/{}/; HttpOnly; SameSite=Strict",
                self.cookie_name(),
                self.cookie,
                self.path
            )
        })
    }

    /// Lets in what came to our own name and was not asked by another origin: enough for the link.
    ///
    /// # Errors
    /// [`Stop`]
    pub(super) fn came_here(&self, headers: &HeaderMap) -> Result<(), Stop> {
        let host = self.address.to_string();
        if one(headers, &HOST) != Some(host.as_str()) {
            return Err(Stop::Host);
        }
        let origin = format!("http://{host}");
        if headers.contains_key(ORIGIN) && one(headers, &ORIGIN) != Some(origin.as_str()) {
            return Err(Stop::Origin);
        }
        Ok(())
    }

    /// Lets in the page itself.
    ///
    /// # Errors
    /// [`Stop`]
    pub(super) fn may_read(&self, headers: &HeaderMap) -> Result<(), Stop> {
        self.came_here(headers)?;
        // `none` is a person who typed the address or opened a bookmark.
        let site = headers.get_all(FETCH_SITE);
        let own = |site: &HeaderValue| site == "same-origin" || site == "none";
        if !site.iter().all(own) {
            return Err(Stop::Origin);
        }
        let name = self.cookie_name();
        let ours = |pair: &str| {
            pair.trim()
                .split_once('=')
                .is_some_and(|(found, value)| found == name && same(&self.cookie, value))
        };
        let mut cookies = headers.get_all(COOKIE).iter();
        if !cookies.any(|cookie| cookie.to_str().is_ok_and(|text| text.split(';').any(ours))) {
            return Err(Stop::Cookie);
        }
        Ok(())
    }

    /// Lets in what changes something.
    ///
    /// # Errors
    /// [`Stop`]
    pub(super) fn may_change(&self, headers: &HeaderMap, wanted: &str) -> Result<(), Stop> {
        self.may_read(headers)?;
        if !headers.contains_key(ORIGIN) {
            return Err(Stop::Origin);
        }
        let token = one(headers, &TOKEN_HEADER).is_some_and(|token| same(&self.token, token));
        if !token || one(headers, &CONTENT_TYPE) != Some(wanted) {
            return Err(Stop::Form);
        }
        Ok(())
    }

    /// Lets in any request for something below [`Self::path`].
    ///
    /// # Errors
    /// [`Stop`]
    pub(super) fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), Stop> {
        match *method {
            Method::GET | Method::HEAD => self.may_read(headers),
            _ => self.may_change(headers, JSON),
        }
    }

    fn cookie_name(&self) -> String {
        format!("quid_wallet_{}", self.address.port())
    }
}

/// The value of a header that stands there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
fn same(secret: &str, shown: &str) -> bool {
    let differ = |(one, other): (u8, u8)| one ^ other;
    secret.len() == shown.len()
        && secret
            .bytes()
            .zip(shown.bytes())
            .map(differ)
            .fold(0, |all, one| all | one)
            == 0
}

/// 160 random bits as text.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::other("system", format!("no randomness: {error}")))?;
    Ok(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// The kind of content of whatever changes something.
const JSON: &str = "application/json";

/// How long the link that is opened is good.
const ONCE_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:4711";

    fn door() -> Door {
        Door::new(HERE.parse().expect("an address")).expect("there is randomness")
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).expect("plain"),
                )
            })
            .collect()
    }

    #[test]
    fn only_the_pages_own_requests_change_anything() {
        let door = door();
        let cookie = format!("other=1; quid_wallet_4711={}", door.cookie);
        let good = [
            ("host", HERE),
            ("origin", "http://127.0.0.1:4711"),
            ("sec-fetch-site", "same-origin"),
            ("cookie", cookie.as_str()),
            ("content-type", JSON),
            ("x-quid-token", door.token()),
        ];
        assert_eq!(door.judge(&Method::POST, &headers(&good)), Ok(()));
        for (name, value, stop) in [
            ("host", "localhost:4711", Stop::Host),
            ("host", "127.0.0.1", Stop::Host),
            ("host", "evil.example:4711", Stop::Host),
            ("origin", "http://127.0.0.1:4712", Stop::Origin),
            ("origin", "http://localhost:4711", Stop::Origin),
            ("origin", "https://127.0.0.1:4711", Stop::Origin),
            ("origin", "null", Stop::Origin),
            ("sec-fetch-site", "same-site", Stop::Origin),
            ("sec-fetch-site", "cross-site", Stop::Origin),
            ("cookie", "quid_wallet_4711=", Stop::Cookie),
            ("cookie", "quid_wallet_4711", Stop::Cookie),
            ("content-type", "text/plain", Stop::Form),
            ("content-type", "application/json, text/plain", Stop::Form),
            ("x-quid-token", "", Stop::Form),
            ("x-quid-token", "a", Stop::Form),
        ] {
            let other = good.map(|pair| if pair.0 == name { (name, value) } else { pair });
            let judged = door.judge(&Method::POST, &headers(&other));
            assert_eq!(judged, Err(stop), "{name}: {value}");
        }
        for missing in ["host", "origin", "cookie", "content-type", "x-quid-token"] {
            let less: Vec<_> = good.into_iter().filter(|pair| pair.0 != missing).collect();
            assert!(
                door.judge(&Method::POST, &headers(&less)).is_err(),
                "{missing}"
            );
            let needs = matches!(missing, "host" | "cookie");
            let reads = door.judge(&Method::GET, &headers(&less)).is_ok();
            assert_eq!(reads, !needs, "{missing}");
        }
        // What stands there twice is nothing.
        let mut twice = headers(&good);
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(door.judge(&Method::POST, &twice), Err(Stop::Host));
    }

    #[test]
    fn the_link_that_is_opened_is_good_once_and_the_printed_one_stays() {
        let door = door();
        let key = |link: &str| link.split_once("key=").expect("it has one").1.to_owned();
        let (opened, printed) = (key(&door.link_to_open()), key(&door.link()));
        assert!(door.exchange(&opened).is_some());
        assert_eq!(door.exchange(&opened), None);
        for key in ["", "a", &door.cookie, &door.token] {
            assert_eq!(door.exchange(key), None, "{key}");
        }
        for _ in 0..2 {
            let cookie = door.exchange(&printed).expect("it stays good");
            for part in [
                "HttpOnly",
                "SameSite=Strict",
                &format!("Path=/{}/", door.path()),
            ] {
                assert!(cookie.contains(part), "{cookie}");
            }
        }
    }
}
