//! Where a directory is, and which key it must prove: `quid://KEY@HOST:PORT`.
//!
//! There is one way to write an address. Whatever reads like a link but says more (a path, a
//! query, a password) is refused by name, so that nothing a person pasted is silently dropped.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use crate::key::{KeyError, PublicKey};
use crate::printable::{Printable, printable_char};
use crate::request::RequestLink;

/// Where a directory is and the key that it must prove there, written `quid://KEY@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryAddress {
    key: PublicKey,
    place: UnpinnedAddress,
}

impl DirectoryAddress {
    /// The address of the directory with this key, at a DNS name or IP address (IPv6 without
    /// brackets) and a UDP port.
    ///
    /// # Errors
    /// [`AddressError`] if the host is neither, or the port is 0.
    pub fn new(key: PublicKey, host: &str, port: u16) -> Result<Self, AddressError> {
        Ok(UnpinnedAddress::new(host, port)?.with_key(key))
    }

    /// The key that the directory must prove.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// DNS name in lower case, or IP address; IPv6 without brackets, as resolvers take it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.place.host()
    }

    /// UDP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.place.port()
    }
}

impl fmt::Display for DirectoryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}@", self.key)?;
        write_host(f, self.host())?;
        write!(f, ":{}", self.port())
    }
}

impl FromStr for DirectoryAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.parse()? {
            AnyAddress::Pinned(address) => Ok(address),
            AnyAddress::Unpinned(_) => Err(AddressError::NoKey),
        }
    }
}

/// Where a directory is said to be, its key not yet known, written `quid://HOST:PORT`.
///
/// Whoever answers there could be anybody: a person has to confirm the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnpinnedAddress {
    host: String,
    port: u16,
}

impl UnpinnedAddress {
    /// The place at a DNS name or IP address (IPv6 without brackets) and a UDP port.
    ///
    /// # Errors
    /// [`AddressError`] if the host is neither, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        if port == 0 {
            return Err(AddressError::PortZero);
        }
        Ok(Self {
            host: sound_host(host)?,
            port,
        })
    }

    /// The address of the directory here once its key is confirmed.
    #[must_use]
    pub const fn with_key(self, key: PublicKey) -> DirectoryAddress {
        DirectoryAddress { key, place: self }
    }

    /// DNS name in lower case, or IP address; IPv6 without brackets, as resolvers take it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for UnpinnedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://")?;
        write_host(f, &self.host)?;
        write!(f, ":{}", self.port)
    }
}

impl FromStr for UnpinnedAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.parse()? {
            AnyAddress::Pinned(_) => Err(AddressError::UnwantedKey),
            AnyAddress::Unpinned(address) => Ok(address),
        }
    }
}

/// A directory's address with or without its key; only `quid init` takes both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyAddress {
    /// With its key.
    Pinned(DirectoryAddress),
    /// Without: a person has to confirm the key that is found there.
    Unpinned(UnpinnedAddress),
}

impl fmt::Display for AnyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(address) => address.fmt(f),
            Self::Unpinned(address) => address.fmt(f),
        }
    }
}

impl FromStr for AnyAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let authority = authority(text)?;
        let Some((key, place)) = authority.split_once('@') else {
            return Ok(Self::Unpinned(place_from(authority)?));
        };
        if key.is_empty() {
            return Err(AddressError::NoKey);
        }
        if key.contains(':') {
            return Err(AddressError::Password);
        }
        let key = key.parse().map_err(AddressError::Key)?;
        Ok(Self::Pinned(place_from(place)?.with_key(key)))
    }
}

/// A host and perhaps a port, written `HOST` or `HOST:PORT`: what `--advertise` takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: Option<u16>,
}

impl HostPort {
    /// DNS name in lower case, or IP address; IPv6 without brackets, as resolvers take it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port, never 0, if one was given.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        check_characters(text)?;
        if text.contains("://") {
            return Err(AddressError::UnwantedScheme);
        }
        let (host, port) = split_host(text)?;
        let port = port.map(sound_port).transpose()?;
        Ok(Self { host, port })
    }
}

/// Why a text is not an address. Each names the part that is wrong and shows how it is written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// Over [`ADDRESS_LEN_MAX`] bytes.
    #[error("the address is too long: at most {ADDRESS_LEN_MAX} bytes, such as {EXAMPLE}")]
    TooLong,
    /// White space, a control character or anything outside ASCII.
    #[error(
        "an address cannot hold '{}': write plain ASCII without spaces, such as {EXAMPLE}",
        printable_char(*.0)
    )]
    BadCharacter(char),
    /// No `quid://` in front.
    #[error("the address has no scheme: write quid:// in front, such as {EXAMPLE}")]
    NoScheme,
    /// `quid` with capital letters.
    #[error("the scheme is not in lower case: write quid:// in front, such as {EXAMPLE}")]
    SchemeCase,
    /// Another scheme, which is repeated here as far as it fits a line.
    #[error(
        "the scheme '{}' is unknown: write quid:// in front, such as {EXAMPLE}",
        Printable::short(.0, REPEATED_MAX)
    )]
    UnknownScheme(String),
    /// A scheme where only host and port belong.
    #[error("the host cannot follow a scheme: write host and port alone, such as {PLACE_EXAMPLE}")]
    UnwantedScheme,
    /// A link to a payment request, which also begins with a directory's address.
    #[error(
        "this is a payment request, not a directory's address: pay it with `quid pay`; \
         an address ends after the port, such as {EXAMPLE}"
    )]
    PaymentRequest,
    /// A path after the port, be it only `/`.
    #[error("an address has no path: end it after the port, such as {EXAMPLE}")]
    Path,
    /// A `?` and what follows.
    #[error("an address has no query ('?'): end it after the port, such as {EXAMPLE}")]
    Query,
    /// A `#` and what follows.
    #[error("an address has no fragment ('#'): end it after the port, such as {EXAMPLE}")]
    Fragment,
    /// `user:password` before the `@`.
    #[error("an address has no password: before the '@' stands the key alone, such as {EXAMPLE}")]
    Password,
    /// No key, where it is needed.
    #[error("the address has no key: write the directory's key before the host, such as {EXAMPLE}")]
    NoKey,
    /// A key, where none is wanted.
    #[error("the address has a key: write it without, such as {UNPINNED_EXAMPLE}")]
    UnwantedKey,
    /// What stands before the `@` is not a key.
    #[error("the key before the '@' is wrong: {0}; an address looks like {EXAMPLE}")]
    Key(KeyError),
    /// Nothing before the port.
    #[error("the host is empty: write a name or IP address, such as {PLACE_EXAMPLE}")]
    NoHost,
    /// Neither a DNS name nor an IP address. Repeated here as far as it fits a line.
    #[error(
        "the host '{}' is neither a DNS name nor an IP address: write one, such as {PLACE_EXAMPLE}",
        Printable::short(.0, REPEATED_MAX)
    )]
    BadHost(String),
    /// More than one colon outside brackets, as in an IPv6 address.
    #[error("the host holds a colon: write IPv6 in brackets, such as [2001:db8::7]:4433")]
    NoBrackets,
    /// `0.0.0.0` or `::`, where one can listen but which nobody can reach.
    #[error(
        "the host {0} means every address: write one to be reached at, such as {PLACE_EXAMPLE}"
    )]
    Wildcard(IpAddr),
    /// No port, where it is needed.
    #[error("the port is missing: write it after the host, such as {PLACE_EXAMPLE}")]
    NoPort,
    /// Port 0.
    #[error("the port cannot be 0: write 1 to 65535, such as {PLACE_EXAMPLE}")]
    PortZero,
    /// Not a number from 1 to 65535. Repeated here as far as it fits a line.
    #[error(
        "the port '{}' is not a number from 1 to 65535: write one, such as {PLACE_EXAMPLE}",
        Printable::short(.0, REPEATED_MAX)
    )]
    BadPort(String),
}

/// Longest address that is read, in bytes.
pub const ADDRESS_LEN_MAX: usize = 300;

/// What follows the scheme: key, host and port, and nothing else.
fn authority(text: &str) -> Result<&str, AddressError> {
    check_characters(text)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(AddressError::NoScheme);
    };
    if scheme.is_empty() {
        return Err(AddressError::NoScheme);
    }
    if scheme != SCHEME {
        return Err(if scheme.eq_ignore_ascii_case(SCHEME) {
            AddressError::SchemeCase
        } else {
            AddressError::UnknownScheme(scheme.to_owned())
        });
    }
    let Some(end) = rest.find(['/', '?', '#']) else {
        return Ok(rest);
    };
    let (_, tail) = rest.split_at(end);
    Err(match tail.split(['/', '?', '#']).nth(1) {
        _ if tail.starts_with('?') => AddressError::Query,
        _ if tail.starts_with('#') => AddressError::Fragment,
        Some("request") => AddressError::PaymentRequest,
        _ => AddressError::Path,
    })
}

fn check_characters(text: &str) -> Result<(), AddressError> {
    if text.len() > ADDRESS_LEN_MAX {
        return Err(if RequestLink::is_meant(text) {
            AddressError::PaymentRequest
        } else {
            AddressError::TooLong
        });
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => Err(AddressError::BadCharacter(c)),
        None => Ok(()),
    }
}

fn place_from(text: &str) -> Result<UnpinnedAddress, AddressError> {
    let (host, port) = split_host(text)?;
    let port = sound_port(port.ok_or(AddressError::NoPort)?)?;
    Ok(UnpinnedAddress { host, port })
}

/// The host that `text` begins with, checked, and the port's text if a colon follows.
fn split_host(text: &str) -> Result<(String, Option<&str>), AddressError> {
    let Some(bracketed) = text.strip_prefix('[') else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err(AddressError::NoBrackets);
        }
        return Ok((sound_host(host)?, port));
    };
    let bad = || AddressError::BadHost(text.to_owned());
    let (host, rest) = bracketed.split_once(']').ok_or_else(bad)?;
    let _: Ipv6Addr = host.parse().map_err(|_| bad())?;
    let port = match rest.strip_prefix(':') {
        None if !rest.is_empty() => return Err(bad()),
        port => port,
    };
    Ok((sound_host(host)?, port))
}

/// `host` in its one spelling: a DNS name in lower case, or an IP address without brackets.
fn sound_host(host: &str) -> Result<String, AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(AddressError::Wildcard(ip)),
        Ok(ip) => Ok(ip.to_string()),
        Err(_) if is_dns_name(host) => Ok(host.to_ascii_lowercase()),
        Err(_) => Err(AddressError::BadHost(host.to_owned())),
    }
}

/// Whether `host` is a name of RFC 1123, underscores allowed since container networks use them,
/// and not one that a resolver would take for an odd spelling of IPv4 (`127.1`, `0x7f000001`).
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let is_number = |label: &str| match label.strip_prefix("0x").or(label.strip_prefix("0X")) {
        Some(digits) => digits.chars().all(|c| c.is_ascii_hexdigit()),
        None => label.chars().all(|c| c.is_ascii_digit()),
    };
    host.len() <= HOST_LEN_MAX
        && host.split('.').all(is_label)
        && !host.rsplit('.').next().is_some_and(is_number)
}

/// `port` as a number, if it is one from 1 to 65535 in its one spelling.
fn sound_port(port: &str) -> Result<u16, AddressError> {
    if port.is_empty() {
        return Err(AddressError::NoPort);
    }
    if port.chars().all(|c| c == '0') {
        return Err(AddressError::PortZero);
    }
    let plain = !port.starts_with('0') && port.chars().all(|c| c.is_ascii_digit());
    match port.parse() {
        Ok(number) if plain => Ok(number),
        _ => Err(AddressError::BadPort(port.to_owned())),
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]")
    } else {
        f.write_str(host)
    }
}

const SCHEME: &str = "quid";

/// Longest host name, so that the whole address stays within [`ADDRESS_LEN_MAX`].
const HOST_LEN_MAX: usize = ADDRESS_LEN_MAX - "quid://".len() - KEY_LEN - "@:65535".len();

/// Length of a key in an address: 32 bytes in base32.
const KEY_LEN: usize = (PublicKey::LEN * 8).div_ceil(5);

/// Longest part of a DNS name between points (RFC 1035).
const LABEL_LEN_MAX: usize = 63;

/// How much of a wrong part an error repeats, in characters.
const REPEATED_MAX: usize = 60;

const EXAMPLE: &str = "quid://KEY@directory.example:4433";
const UNPINNED_EXAMPLE: &str = "quid://directory.example:4433";
const PLACE_EXAMPLE: &str = "directory.example:4433";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        let label = "a".repeat(LABEL_LEN_MAX);
        let rest = "b".repeat(HOST_LEN_MAX - 3 * 64);
        let longest = format!("{label}.{label}.{label}.{rest}");
        assert_eq!(longest.len(), HOST_LEN_MAX);
        for (place, host, port) in [
            ("directory.example:4433", "directory.example", 4433),
            ("localhost:1", "localhost", 1),
            ("a:65535", "a", 65535),
            ("my_service.internal:443", "my_service.internal", 443),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example", 443),
            ("3com.example:443", "3com.example", 443),
            ("1.2.3.a:443", "1.2.3.a", 443),
            ("127.0.0.1:4433", "127.0.0.1", 4433),
            ("192.0.2.7:4433", "192.0.2.7", 4433),
            ("[::1]:4433", "::1", 4433),
            ("[2001:db8::7]:4433", "2001:db8::7", 4433),
            ("[::ffff:192.0.2.7]:4433", "::ffff:192.0.2.7", 4433),
            (&format!("{longest}:65535"), &longest, 65535),
        ] {
            let text = format!("quid://{}@{place}", key());
            let address: DirectoryAddress = text.parse().expect("the row is an address");
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.key(), key());
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(AnyAddress::Pinned(address)));

            let text = format!("quid://{place}");
            let address: UnpinnedAddress = text.parse().expect("the row is an address");
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(AnyAddress::Unpinned(address)));

            let address: HostPort = place.parse().expect("the row is a host and port");
            assert_eq!((address.host(), address.port()), (host, Some(port)));
            assert_eq!(address.to_string(), place);

            let (place, _) = place.rsplit_once(':').expect("the row has a port");
            let address: HostPort = place.parse().expect("the row is a host");
            assert_eq!((address.host(), address.port()), (host, None));
            assert_eq!(address.to_string(), place);
        }
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (place, spelling) in [
            ("Directory.EXAMPLE:4433", "directory.example:4433"),
            ("[2001:DB8:0:0::7]:4433", "[2001:db8::7]:4433"),
            ("[0:0:0:0:0:0:0:1]:4433", "[::1]:4433"),
        ] {
            let text = format!("quid://{}@{place}", key());
            let address: DirectoryAddress = text.parse().expect("the row is an address");
            assert_eq!(address.to_string(), format!("quid://{}@{spelling}", key()));
        }
    }

    #[test]
    fn other_texts_are_refused_by_the_part_that_is_wrong() {
        use AddressError::*;

        let long = "a".repeat(301);
        for (text, error) in [
            ("", NoScheme),
            ("quid", NoScheme),
            ("quid:", NoScheme),
            ("quid:KEY@h:1", NoScheme),
            ("quid:/KEY@h:1", NoScheme),
            ("KEY@h:1", NoScheme),
            ("h:1", NoScheme),
            ("://KEY@h:1", NoScheme),
            (&long, TooLong),
            (&format!("quid://KEY@h:1/request/{long}"), PaymentRequest),
            (&format!("quid://KEY@h:1/requests/{long}"), TooLong),
            ("QUID://KEY@h:1", SchemeCase),
            ("Quid://KEY@h:1", SchemeCase),
            ("http://KEY@h:1", UnknownScheme("http".to_owned())),
            ("quids://KEY@h:1", UnknownScheme("quids".to_owned())),
            (" quid://KEY@h:1", BadCharacter(' ')),
            ("quid://KEY@h:1 ", BadCharacter(' ')),
            ("quid://KEY@h:1\n", BadCharacter('\n')),
            ("quid://KEY@h\t:1", BadCharacter('\t')),
            ("quid://KEY@h\0:1", BadCharacter('\0')),
            ("quid://KEY@\u{1b}[31m:1", BadCharacter('\u{1b}')),
            ("quid://KEY@h\u{200b}:1", BadCharacter('\u{200b}')),
            ("quid://KEY@bücher.example:1", BadCharacter('ü')),
            ("quid://KEY@h:１", BadCharacter('１')),
            ("quid://KEY@h:1/", Path),
            ("quid://KEY@h:1/x", Path),
            ("quid://KEY@h:1//request/x", Path),
            ("quid://KEY@h:1/requests/x", Path),
            ("quid://KEY@h:1/x/request/y", Path),
            ("quid://KEY@h:1/request", PaymentRequest),
            ("quid://KEY@h:1/request/", PaymentRequest),
            ("quid://KEY@h:1/request/0a1b?amount=1#x", PaymentRequest),
            ("quid://KEY@h:1/request?id=1", PaymentRequest),
            ("quid://h:1/request/x", PaymentRequest),
            ("quid://KEY@h:1?", Query),
            ("quid://KEY@h:1?request/x", Query),
            ("quid://KEY@h:1#", Fragment),
            ("quid://KEY@h:1#/request", Fragment),
            ("quid://@h:1", NoKey),
            ("quid://h:1", NoKey),
            ("quid://user:password@h:1", Password),
            ("quid://KEY:@h:1", Password),
            ("quid://user@KEY@h:1", Key(KeyError::Length(4))),
            ("quid://KEY@KEY@h:1", BadHost(format!("{}@h", key()))),
            ("quid://abc@h:1", Key(KeyError::Length(3))),
            ("quid://KEY@", NoHost),
            ("quid://KEY@:1", NoHost),
            ("quid://KEY@::1:1", NoBrackets),
            ("quid://KEY@2001:db8::7", NoBrackets),
            ("quid://KEY@h:1:2", NoBrackets),
            ("quid://KEY@0.0.0.0:1", Wildcard(IpAddr::from([0; 4]))),
            ("quid://KEY@[::]:1", Wildcard(IpAddr::from([0; 16]))),
            ("quid://KEY@h", NoPort),
            ("quid://KEY@h:", NoPort),
            ("quid://KEY@[::1]", NoPort),
            ("quid://KEY@[::1]:", NoPort),
            ("quid://KEY@h:0", PortZero),
            ("quid://KEY@h:00000", PortZero),
        ] {
            let text = text.replace("KEY", &key().to_string());
            assert_eq!(text.parse::<DirectoryAddress>(), Err(error), "{text:?}");
        }
        for port in ["65536", "99999999999", "+1", "-1", "01", "1a", "http", "\\"] {
            let address = format!("quid://{}@h:{port}", key());
            let error = BadPort(port.to_owned());
            assert_eq!(address.parse::<DirectoryAddress>(), Err(error));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let label = "a".repeat(LABEL_LEN_MAX + 1);
        let name = "ab.".repeat(HOST_LEN_MAX / 3) + "a";
        assert_eq!(name.len(), HOST_LEN_MAX + 1);
        for host in [&label, &name] {
            assert_eq!(sound_host(host), Err(AddressError::BadHost(host.clone())));
        }
        let rows = r"h. .h . a..b -a a-.b a%20b a\b a,b a* $(id) <h> ] h] k@h h/x
            127.1 1.2.3.256 1.2.3.4.5 0177.0.0.1 2130706433 0x7f000001 127.0.0.0X1 0x
            [] [h] [::1 [::1]4433 [[::1]] [127.0.0.1] [fe80::1%eth0]";
        for host in rows.split_whitespace() {
            let error = AddressError::BadHost(host.to_owned());
            assert_eq!(host.parse::<HostPort>(), Err(error), "{host}");
        }
    }

    #[test]
    fn an_unpinned_address_has_no_key() {
        let pinned = format!("quid://{}@h:1", key());
        let refused = pinned.parse::<UnpinnedAddress>();
        assert_eq!(refused, Err(AddressError::UnwantedKey));
        let unpinned: UnpinnedAddress = "quid://h:1".parse().expect("this is an address");
        assert_eq!(unpinned.with_key(key()).to_string(), pinned);
        for (text, error) in [
            ("quid://@h:1", AddressError::NoKey),
            ("quid://h", AddressError::NoPort),
        ] {
            assert_eq!(text.parse::<AnyAddress>(), Err(error));
        }
    }

    #[test]
    fn a_host_and_port_is_nothing_more() {
        for (text, error) in [
            ("", AddressError::NoHost),
            (":1", AddressError::NoHost),
            ("h:", AddressError::NoPort),
            ("h:0", AddressError::PortZero),
            ("h:x", AddressError::BadPort("x".to_owned())),
            ("h 1", AddressError::BadCharacter(' ')),
            ("::1", AddressError::NoBrackets),
            ("0.0.0.0", AddressError::Wildcard(IpAddr::from([0; 4]))),
            ("[::]:1", AddressError::Wildcard(IpAddr::from([0; 16]))),
            ("h:1/x", AddressError::BadPort("1/x".to_owned())),
            ("quid://h:1", AddressError::UnwantedScheme),
            (&"h".repeat(301), AddressError::TooLong),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(error), "{text:?}");
        }
        for (host, port, error) in [
            ("h", 0, AddressError::PortZero),
            ("", 1, AddressError::NoHost),
        ] {
            assert_eq!(DirectoryAddress::new(key(), host, port), Err(error));
        }
    }

    #[test]
    fn errors_are_one_printable_line_with_an_example() {
        for (text, line) in [
            (
                "quid://KEY@h:1/request/x",
                "this is a payment request, not a directory's address: pay it with `quid pay`; \
                 an address ends after the port, such as quid://KEY@directory.example:4433",
            ),
            (
                "quid://KEY@a\u{9b}b:1",
                "an address cannot hold '\\u{9b}': write plain ASCII without spaces, such as \
                 quid://KEY@directory.example:4433",
            ),
            (
                "quid://h:1",
                "the address has no key: write the directory's key before the host, such as \
                 quid://KEY@directory.example:4433",
            ),
            (
                "quid://KEY@127.1:1",
                "the host '127.1' is neither a DNS name nor an IP address: write one, such as \
                 directory.example:4433",
            ),
            (
                "quid://KEY@h:a\\b",
                "the port 'a\\\\b' is not a number from 1 to 65535: write one, such as \
                 directory.example:4433",
            ),
        ] {
            let text = text.replace("KEY", &key().to_string());
            let parsed: Result<DirectoryAddress, _> = text.parse();
            assert_eq!(parsed.expect_err("the row is no address").to_string(), line);
        }
        let error = sound_host(&"%".repeat(250)).expect_err("no host holds %");
        assert!(error.to_string().len() < 200, "{error}");
    }

    proptest! {
        #[test]
        fn every_address_reads_back(
            key in any::<[u8; 32]>(),
            host in prop_oneof![
                "[a-z]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z]([a-z0-9_-]{0,20}[a-z0-9])?){0,4}",
                any::<IpAddr>()
                    .prop_filter("a wildcard", |ip| !ip.is_unspecified())
                    .prop_map(|ip| ip.to_string()),
            ],
            port in 1..=u16::MAX,
        ) {
            let key = PublicKey::from_bytes(key);
            let address = DirectoryAddress::new(key, &host, port).expect("the host is sound");
            prop_assert_eq!(address.host(), host);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_an_address_or_a_one_line_error(
            text in prop_oneof![
                any::<String>(),
                "(quid://)?[a-z0-9@:/?#.%\\[\\]-]{0,30}",
                "\\[?[0-9a-f:.]{0,20}\\]?(:[0-9]{0,6})?",
            ],
        ) {
            match text.parse::<AnyAddress>() {
                Ok(address) => prop_assert_eq!(address.to_string().parse(), Ok(address)),
                Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
            }
            match text.parse::<HostPort>() {
                Ok(address) => prop_assert_eq!(address.to_string().parse(), Ok(address)),
                Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
            }
        }
    }

    fn key() -> PublicKey {
        PublicKey::from_bytes([7; 32])
    }
}
