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
mod tests;
