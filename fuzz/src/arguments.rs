//! What people write on a command line.

use quid_common::address::{ADDRESS_LEN_MAX, AddressError, AnyAddress, HostPort};
use quid_common::amount::{Amount, Currency, check_amount_grammar};
use quid_common::id::{Digest, InstanceId, LedgerId, OperationId, OrderId, Reference};
use quid_common::name::Name;
use quid_common::request::{LINK_LEN_MAX, REQUEST_LIFE_MAX, RequestLink};

use crate::tabs;

#[expect(dead_code, reason = "the command line uses the rest")]
#[path = "../../node/src/cli/value.rs"]
mod value;

/// The text is tried as everything that an argument can be.
///
/// What is taken is written in one way only, and read from that way as the same; an amount is what
/// its digits say; an error is one printable line.
pub fn arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    amounts(text);
    addresses(text);
    links(text);
    names(text);
    ids(text);
    numbers(text);
}

fn amounts(text: &str) {
    let grammar = check_amount_grammar(text);
    if let Err(error) = &grammar {
        one_line(&error.to_string());
    }
    for decimals in [0, 1, 2, 6, Currency::DECIMALS_MAX] {
        let currency = Currency::new("QUID", decimals).expect("a currency");
        match currency.parse(text) {
            Ok(amount) => {
                assert_eq!(grammar, Ok(()), "{text:?} with {decimals} decimals");
                assert_eq!(Some(amount.units()), by_digits(text, decimals), "{text:?}");
                assert_eq!(currency.parse(&currency.format(amount)), Ok(amount));
            }
            Err(error) => {
                assert_eq!(by_digits(text, decimals), None, "{text:?}: {error}");
                one_line(&error.to_string());
            }
        }
    }
}

/// What the digits of an amount say, counted in the smallest unit.
fn by_digits(text: &str, decimals: u8) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shown = text.split_once('.').map_or(0, |(_, part)| part.len());
    if text.len() > Currency::TEXT_LEN_MAX
        || !digits(whole)
        || !digits(part)
        || shown > usize::from(decimals)
    {
        return None;
    }
    let number = |text: &str| {
        let text = text.trim_start_matches('0');
        (text.len() <= 30).then(|| {
            text.bytes()
                .fold(0, |sum, byte| sum * 10 + u128::from(byte - b'0'))
        })
    };
    let scale = 10_u128.pow(u32::from(decimals));
    let part = number(part)? * 10_u128.pow(u32::from(decimals) - shown as u32);
    let units = u64::try_from(number(whole)?.checked_mul(scale)?.checked_add(part)?).ok()?;
    Amount::new(units).map(Amount::units)
}

fn addresses(text: &str) {
    match text.parse::<AnyAddress>() {
        Ok(address) => {
            let again = address.to_string();
            assert!(again.len() <= ADDRESS_LEN_MAX);
            assert_eq!(again.parse().as_ref(), Ok(&address));
            assert!(again.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Err(error) => one_line(&error.to_string()),
    }
    match text.parse::<HostPort>() {
        Ok(place) => {
            assert_eq!(place.to_string().parse().as_ref(), Ok(&place));
            assert_ne!(place.port(), Some(0));
        }
        Err(error) => one_line(&error.to_string()),
    }
}

fn links(text: &str) {
    match text.parse::<RequestLink>() {
        Ok(link) => {
            assert_eq!(link.to_string(), text, "one text for one link");
            assert!(text.len() <= LINK_LEN_MAX && RequestLink::is_meant(text));
            assert!(link.signed().verify() && link.request().check().is_ok());
            let named = Err(AddressError::PaymentRequest);
            assert_eq!(text.parse::<AnyAddress>(), named);
        }
        Err(error) => one_line(&error.to_string()),
    }
    if let Err(error) = text.parse::<value::Payee>() {
        one_line(&error.to_string());
    }
    if let Ok(life) = value::life(text) {
        assert!((1..=REQUEST_LIFE_MAX.as_secs()).contains(&life.as_secs()));
    }
}

fn names(text: &str) {
    match text.parse::<Name>() {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert!((Name::LEN_MIN..=Name::LEN_MAX).contains(&text.len()));
            let skeleton = name.skeleton();
            assert!(!skeleton.is_empty() && skeleton.is_ascii());
            assert_eq!(name.is_reserved(), Name::is_reserved_skeleton(&skeleton));
        }
        Err(error) => one_line(&error.to_string()),
    }
}

fn ids(text: &str) {
    if let Ok(id) = text.parse::<OrderId>() {
        assert_eq!(id.to_string(), text, "one text for one id");
        assert_eq!(OrderId::from_bytes(*id.as_bytes()), Some(id));
    }
    macro_rules! hexadecimal {
        ($($id:ty),+) => { $(
            if let Ok(id) = text.parse::<$id>() {
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        )+ };
    }
    hexadecimal!(LedgerId, Digest, InstanceId, OperationId, Reference);
}

fn numbers(text: &str) {
    tabs::units(text);
    assert_eq!(
        value::units(text).ok(),
        quid_common::tab::parse_units(text).ok()
    );
    for time in [value::expires(text), value::grace(text)] {
        match time {
            Ok(time) => {
                let (digits, unit) = text.split_at(text.len() - 1);
                let seconds = match unit {
                    "s" => 1,
                    "m" => 60,
                    _ => 3_600,
                };
                let count = time.as_secs() / seconds;
                assert_eq!(digits.trim_start_matches('0'), count.to_string());
            }
            Err(error) => one_line(&error.to_string()),
        }
    }
    for number in [
        value::entry(text).ok(),
        value::wait(text).ok().map(|wait| wait.as_secs()),
        value::limit(text).ok().map(|limit| limit as u64),
    ]
    .into_iter()
    .flatten()
    {
        let plain = text.trim_start_matches('0');
        assert_eq!(
            if plain.is_empty() { "0" } else { plain },
            number.to_string()
        );
    }
    if let Ok(amount) = text.parse::<value::AmountText>() {
        assert_eq!(amount.to_string(), text);
        assert!(text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)));
    }
    if let Ok(receipt) = text.parse::<value::ReceiptName>() {
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
    }
}

/// What a person is told is one line, whatever they wrote.
fn one_line(told: &str) {
    assert!(
        !told.is_empty() && !told.chars().any(char::is_control),
        "{told:?}"
    );
    assert!(told.chars().count() < 400, "{told}");
}
