//! What arguments may be: each is read here once, and is sound from then on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::{Amount, AmountError, Currency, check_amount_grammar};
use quid_common::chain::LENGTH_MAX;
use quid_common::id::{IdError, OrderId};
use quid_common::key::PublicKey;
use quid_common::name::{Name, NameError};
use quid_common::order::LIFE_MAX;
use quid_common::request::{LinkError, REQUEST_LIFE_MAX, RequestLink};
use quid_common::tab::GRACE_MAX;
use thiserror::Error;

/// An amount that is well formed and not zero, before the directory's currency gives it a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmountText(String);

impl AmountText {
    /// What the text is worth in `currency`.
    pub(crate) fn in_currency(&self, currency: &Currency) -> Result<Amount, AmountError> {
        currency.parse(&self.0)
    }
}

impl FromStr for AmountText {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        check_amount_grammar(text)?;
        if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
            return Err(ValueError::Zero);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AmountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is paid: somebody by name, or what a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payee {
    Name(Name),
    Link(Box<RequestLink>),
}

impl FromStr for Payee {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // No name has a colon, and no link is without.
        if text.contains(':') {
            let link = text.parse().map_err(ValueError::Link)?;
            return Ok(Self::Link(Box::new(link)));
        }
        text.parse().map(Self::Name).map_err(ValueError::Name)
    }
}

/// What a receipt is asked for by: an entry's number or an order's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiptName {
    Entry(u64),
    Order(OrderId),
}

impl FromStr for ReceiptName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(order) = text.parse() {
            return Ok(Self::Order(order));
        }
        number(text).map(Self::Entry).ok_or(ValueError::ReceiptName)
    }
}

impl fmt::Display for ReceiptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => write!(f, "{entry}"),
            Self::Order(order) => write!(f, "{order}"),
        }
    }
}

/// Where the receipt to verify is: in a file, or in the home's journal.
///
/// What reads as an id is one; a file of such a name is written `./12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileOrId {
    File(PathBuf),
    Id(ReceiptName),
}

impl FromStr for FileOrId {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError::EmptyPath);
        }
        Ok(text
            .parse()
            .map_or_else(|_| Self::File(PathBuf::from(text)), Self::Id))
    }
}

/// A directory's key, written alone or as part of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryKey(pub(crate) PublicKey);

impl FromStr for DirectoryKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let of_address = |address: DirectoryAddress| address.key();
        text.parse()
            .or_else(|_| text.parse().map(of_address))
            .map(Self)
            .map_err(|_| ValueError::DirectoryKey)
    }
}

/// Reads `--home`, `--out`: any path but none.
pub(crate) fn path(text: &str) -> Result<PathBuf, ValueError> {
    if text.is_empty() {
        return Err(ValueError::EmptyPath);
    }
    Ok(PathBuf::from(text))
}

/// Reads `--wait`.
pub(crate) fn wait(text: &str) -> Result<Duration, ValueError> {
    number(text)
        .filter(|seconds| (1..=WAIT_MAX_S).contains(seconds))
        .map(Duration::from_secs)
        .ok_or(ValueError::Wait)
}

/// Reads `--listen` of the wallet: an address that only this machine reaches.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse()
        .ok()
        .filter(|address: &SocketAddr| address.ip().is_loopback())
        .ok_or(ValueError::Loopback)
}

/// Reads `--claim-every`.
pub(crate) fn claim_every(text: &str) -> Result<Duration, ValueError> {
    wait(text)
}

/// Reads a number of units of a tab.
pub(crate) fn units(text: &str) -> Result<u32, ValueError> {
    number(text)
        .and_then(|units| u32::try_from(units).ok())
        .filter(|units| (1..=LENGTH_MAX).contains(units))
        .ok_or(ValueError::Units)
}

/// Reads `--expires`.
pub(crate) fn expires(text: &str) -> Result<Duration, ValueError> {
    duration(text, LIFE_MAX).ok_or(ValueError::Expires)
}

/// Reads how long a request can be paid.
pub(crate) fn life(text: &str) -> Result<Duration, ValueError> {
    let days = || {
        let days = number(text.strip_suffix('d')?)?;
        let life = Duration::from_secs(days.checked_mul(24 * 60 * 60)?);
        (!life.is_zero() && life <= REQUEST_LIFE_MAX).then_some(life)
    };
    duration(text, REQUEST_LIFE_MAX)
        .or_else(days)
        .ok_or(ValueError::Life)
}

/// Reads `--grace`.
pub(crate) fn grace(text: &str) -> Result<Duration, ValueError> {
    duration(text, GRACE_MAX).ok_or(ValueError::Grace)
}

/// Reads `--limit`.
pub(crate) fn limit(text: &str) -> Result<usize, ValueError> {
    number(text)
        .filter(|limit| (1..=HISTORY_LIMIT_MAX).contains(limit))
        .and_then(|limit| usize::try_from(limit).ok())
        .ok_or(ValueError::Limit)
}

/// Reads `--after`.
pub(crate) fn entry(text: &str) -> Result<u64, ValueError> {
    number(text).ok_or(ValueError::Entry)
}

/// The number that plain digits write: no sign, nothing that `u64` cannot hold.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// The time that plain digits and one of s, m and h write: at least a second.
fn duration(text: &str, max: Duration) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return None,
    };
    let time = Duration::from_secs(number(digits)?.checked_mul(seconds)?);
    (!time.is_zero() && time <= max).then_some(time)
}

/// Longest `--wait`, in seconds: an hour, well above an order's default life of a minute.
const WAIT_MAX_S: u64 = 3_600;

/// Longest history that one command lists.
const HISTORY_LIMIT_MAX: u64 = 1_000_000;

/// Why an argument is not what it should be: one line with what is accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum ValueError {
    #[error(transparent)]
    Amount(#[from] AmountError),
    #[error(transparent)]
    Name(NameError),
    #[error(transparent)]
    Link(LinkError),
    #[error("the amount is zero: write at least the smallest unit")]
    Zero,
    #[error(
        "write an entry's number, such as 12, or an order's id: {}",
        IdError::Order
    )]
    ReceiptName,
    #[error(
        "write the directory's key, 52 characters, or its address, quid://KEY@HOST:PORT, as \
         `quid-directory address` prints it"
    )]
    DirectoryKey,
    #[error("the path is empty: write a file or folder")]
    EmptyPath,
    #[error("write whole seconds from 1 to {WAIT_MAX_S}, such as 10")]
    Wait,
    #[error("the wallet is for this machine only: write 127.0.0.1:PORT, such as 127.0.0.1:4848")]
    Loopback,
    #[error("write a whole number from 1 to {HISTORY_LIMIT_MAX}, such as 50")]
    Limit,
    #[error("write an entry's number, such as 12")]
    Entry,
    #[error("write a whole number from 1 to {LENGTH_MAX}, such as 50000")]
    Units,
    #[error("write a number with s, m or h behind it, from 1s to 24h, such as 90s, 30m or 12h")]
    Expires,
    #[error("write a number with s, m, h or d behind it, from 1s to 366d, such as 30m, 1h or 7d")]
    Life,
    #[error("write a number with s, m or h behind it, from 1s to 1h, such as 30s or 5m")]
    Grace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_amount_however_it_is_written() {
        for text in ["0", "0.0", "000", "0.000000000", "00.00"] {
            assert_eq!(text.parse::<AmountText>(), Err(ValueError::Zero), "{text}");
        }
        for text in ["0.000000001", "10", "1", "0.10"] {
            assert_eq!(
                text.parse::<AmountText>().map(|amount| amount.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn numbers_are_plain_digits() {
        for text in [
            "",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1e3",
            "٣",
            "18446744073709551616",
        ] {
            assert_eq!(entry(text), Err(ValueError::Entry), "{text:?}");
            assert_eq!(wait(text), Err(ValueError::Wait), "{text:?}");
            assert_eq!(limit(text), Err(ValueError::Limit), "{text:?}");
            assert_eq!(
                text.parse::<ReceiptName>(),
                Err(ValueError::ReceiptName),
                "{text:?}"
            );
        }
        assert_eq!(entry("0"), Ok(0));
        assert_eq!(wait("0"), Err(ValueError::Wait));
        assert_eq!(wait("3601"), Err(ValueError::Wait));
        assert_eq!(limit("0"), Err(ValueError::Limit));
        assert_eq!(wait("007"), Ok(Duration::from_secs(7)));
    }

    #[test]
    fn a_time_is_a_number_and_one_letter() {
        let (s, max) = (Duration::from_secs, LIFE_MAX);
        for (text, time) in [
            ("1s", s(1)),
            ("90s", s(90)),
            ("030m", s(1_800)),
            ("24h", max),
            ("1440m", max),
            ("86400s", max),
        ] {
            assert_eq!(expires(text), Ok(time), "{text}");
        }
        for text in [
            "",
            "s",
            "m",
            "1",
            "60",
            "0s",
            "00h",
            "-1s",
            "+1s",
            "1.5h",
            "1 h",
            " 1h",
            "1h ",
            "1H",
            "1S",
            "1d",
            "1ms",
            "1hm",
            "1h30m",
            "1e3s",
            "25h",
            "1441m",
            "86401s",
            "٣s",
            "1ſ",
            "é",
            "18446744073709551615h",
            "18446744073709551616s",
        ] {
            assert_eq!(expires(text), Err(ValueError::Expires), "{text:?}");
            assert_eq!(grace(text), Err(ValueError::Grace), "{text:?}");
        }
        assert_eq!(
            (grace("1h"), grace("61m")),
            (Ok(s(3_600)), Err(ValueError::Grace))
        );
    }

    #[test]
    fn the_wallet_is_served_to_this_machine_only() {
        for text in ["127.0.0.1:0", "127.0.0.2:4848", "[::1]:4848"] {
            assert!(loopback(text).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:0",
            "192.168.1.2:80",
            "localhost:80",
            "127.0.0.1",
            "4848",
            "",
            "[::]:1",
        ] {
            assert_eq!(loopback(text), Err(ValueError::Loopback), "{text}");
        }
    }

    #[test]
    fn units_are_as_many_as_a_chain_has() {
        assert_eq!((units("1"), units("1048576")), (Ok(1), Ok(LENGTH_MAX)));
        for text in [
            "",
            "0",
            "-1",
            "1.0",
            "1048577",
            "4294967296",
            "4294967297",
            "1_000",
        ] {
            assert_eq!(units(text), Err(ValueError::Units), "{text}");
        }
    }

    #[test]
    fn a_directorys_key_stands_alone_or_in_its_address() {
        const KEY: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena";
        let key = KEY.parse().map(DirectoryKey).expect("a key");
        assert_eq!(KEY.parse(), Ok(key));
        assert_eq!(format!("quid://{KEY}@localhost:4840").parse(), Ok(key));
        for text in ["", "localhost:4840", "quid://localhost:4840", &KEY[1..]] {
            assert_eq!(
                text.parse::<DirectoryKey>(),
                Err(ValueError::DirectoryKey),
                "{text}"
            );
        }
    }

    #[test]
    fn an_id_is_taken_before_a_file_of_that_name() {
        assert_eq!("12".parse(), Ok(FileOrId::Id(ReceiptName::Entry(12))));
        assert_eq!("./12".parse(), Ok(FileOrId::File(PathBuf::from("./12"))));
        let order = "019aab12-3456-7abc-8def-0123456789ab";
        assert!(matches!(
            order.parse(),
            Ok(FileOrId::Id(ReceiptName::Order(_)))
        ));
        assert_eq!("".parse::<FileOrId>(), Err(ValueError::EmptyPath));
    }
}
