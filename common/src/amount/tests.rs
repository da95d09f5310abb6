//! Amounts and currencies at their bounds: read, written, added, decoded.

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::*;
use crate::cbor;

const MAX: u64 = Amount::MAX.units();

#[test]
fn boundary_amounts_add_and_subtract_exactly_or_not_at_all() {
    assert_eq!(MAX, 9_223_372_036_854_775_807);
    for (one, other, sum, difference) in [
        (0, 0, Some(0), Some(0)),
        (0, 1, Some(1), None),
        (1, 0, Some(1), Some(1)),
        (1, 1, Some(2), Some(0)),
        (5, 3, Some(8), Some(2)),
        (MAX, 0, Some(MAX), Some(MAX)),
        (0, MAX, Some(MAX), None),
        (MAX, 1, None, Some(MAX - 1)),
        (MAX - 1, 1, Some(MAX), Some(MAX - 2)),
        (MAX, MAX, None, Some(0)),
        (MAX - 1, MAX, None, None),
    ] {
        let (one, other) = (amount(one), amount(other));
        assert_eq!(
            one.checked_add(other),
            sum.map(amount),
            "{one:?}, {other:?}"
        );
        assert_eq!(
            one.checked_sub(other),
            difference.map(amount),
            "{one:?}, {other:?}"
        );
    }
}

#[test]
fn nothing_over_the_maximum_is_an_amount() {
    for units in [MAX + 1, MAX + 2, 1 << 63, u64::MAX - 1, u64::MAX] {
        assert_eq!(Amount::new(units), None);
        assert!(Amount::try_from(units).is_err());
    }
    assert_eq!(Amount::new(MAX), Some(Amount::MAX));
    assert!(Amount::ZERO.is_zero());
    assert!(!amount(1).is_zero());
}

#[test]
fn amounts_of_the_grammar_are_read_exactly() {
    for (decimals, text, units) in [
        (6, "0", 0),
        (6, "0.0", 0),
        (6, "0.000000", 0),
        (6, "1", 1_000_000),
        (6, "1.5", 1_500_000),
        (6, "1.500000", 1_500_000),
        (6, "0.000001", 1),
        (6, "0.1", 100_000),
        (6, "8.75", 8_750_000),
        (6, "007", 7_000_000),
        (6, "00.10", 100_000),
        (6, "9007199254.740993", 9_007_199_254_740_993),
        (6, "9223372036854.775807", MAX),
        (0, "0", 0),
        (0, "12", 12),
        (0, "9223372036854775807", MAX),
        (0, &format!("{MAX:064}"), MAX),
        (1, "0.1", 1),
        (2, "3.99", 399),
        (9, "0.000000001", 1),
        (9, "9223372036.854775807", MAX),
    ] {
        assert_eq!(currency(decimals).parse(text), Ok(amount(units)), "{text}");
        assert_eq!(check_amount_grammar(text), Ok(()), "{text}");
    }
}

#[test]
fn texts_that_are_amounts_in_no_currency_are_refused_with_and_without_one() {
    let long = "0".repeat(65);
    for (text, error) in [
        ("", AmountError::Empty),
        (long.as_str(), AmountError::TooLong),
        ("1.2.3", AmountError::SecondPoint),
        ("1..2", AmountError::SecondPoint),
        ("..", AmountError::SecondPoint),
        (".", AmountError::NoDigitBeforePoint),
        (".5", AmountError::NoDigitBeforePoint),
        ("1.", AmountError::NoDigitAfterPoint),
    ] {
        check_refused(text, &error);
    }
    for (text, c) in [
        ("-1", '-'),
        ("+1", '+'),
        ("\u{2212}1", '\u{2212}'),
        (" 1", ' '),
        ("1 ", ' '),
        ("1\n", '\n'),
        ("1\0", '\0'),
        ("1\u{a0}000", '\u{a0}'),
        ("1e3", 'e'),
        ("1E3", 'E'),
        ("1,5", ','),
        ("1,000.5", ','),
        ("1_000", '_'),
        ("1'000", '\''),
        ("0x10", 'x'),
        ("1/2", '/'),
        ("50%", '%'),
        ("$5", '$'),
        ("5 QUID", ' '),
        ("NaN", 'N'),
        ("inf", 'i'),
        ("١٢", '١'),
        ("１２", '１'),
        ("1٫5", '٫'),
        ("²", '²'),
        ("\u{202e}1", '\u{202e}'),
        ("\u{1b}[31m1", '\u{1b}'),
    ] {
        check_refused(text, &AmountError::BadCharacter(c));
    }
}

#[test]
fn too_many_decimals_are_refused_not_rounded() {
    for (decimals, text) in [
        (0, "1.0"),
        (0, "1.5"),
        (1, "1.00"),
        (1, "1.05"),
        (6, "0.0000001"),
        (6, "1.0000000"),
        (6, "1.9999999"),
    ] {
        let error = currency(decimals).parse(text).expect_err("it has too many");
        let line = error.to_string();
        assert!(line.contains(&format!("TEST has {decimals}")), "{line}");
        assert_eq!(check_amount_grammar(text), Ok(()), "{text} elsewhere");
    }
    let (text, nowhere) = ("1.0000000000", AmountError::TooManyDecimalsAnywhere);
    assert!(currency(9).parse(text).is_err());
    assert_eq!(check_amount_grammar(text), Err(nowhere));
}

#[test]
fn amounts_past_the_maximum_are_refused() {
    for (decimals, text) in [
        (0, "9223372036854775808"),
        (0, "18446744073709551615"),
        (0, "18446744073709551616"),
        (0, "99999999999999999999"),
        (6, "9223372036854.775808"),
        (6, "9223372036855"),
        (6, "18446744073709.551616"),
        (9, "9223372036.854775808"),
        (9, "9223372036854775807"),
    ] {
        let currency = currency(decimals);
        let largest = currency.display(Amount::MAX);
        let error = AmountError::TooLarge { largest };
        assert_eq!(currency.parse(text), Err(error), "{text}");
    }
    for (text, sound) in [
        ("9223372036854775807", true),
        ("9223372036854775807.999999999", true),
        ("9223372036854775808", false),
        ("9223372036854775808.5", false),
        (&"9".repeat(64), false),
    ] {
        assert_eq!(check_amount_grammar(text).is_ok(), sound, "{text}");
    }
}

#[test]
fn amounts_are_written_with_exactly_the_currency_s_decimals() {
    for (decimals, units, text) in [
        (6, 0, "0.000000"),
        (6, 1, "0.000001"),
        (6, 999_999, "0.999999"),
        (6, 1_000_000, "1.000000"),
        (6, 8_750_000, "8.750000"),
        (6, MAX, "9223372036854.775807"),
        (0, 0, "0"),
        (0, 12, "12"),
        (0, MAX, "9223372036854775807"),
        (1, 5, "0.5"),
        (9, 5, "0.000000005"),
        (9, MAX, "9223372036.854775807"),
    ] {
        assert_eq!(currency(decimals).format(amount(units)), text);
    }
    let text = Currency::default().display(amount(1_500_000));
    assert_eq!(text, "1.500000 QUID");
    assert_eq!(currency(0).display(amount(3)), "3 TEST");
}

#[test]
fn currencies_are_checked() {
    for code in ["QUID", "EU", "A1", "ABCDEFGH", "X2345678"] {
        let currency = Currency::new(code, 2).expect("the row is a code");
        assert_eq!((currency.code(), currency.decimals()), (code, 2));
    }
    let short = [
        "", "A", "1A", "quid", "Quid", "QU-D", "QU D", " QUID", "QUID\n", "ÄÖ", "ＱＵ",
    ];
    for code in short
        .into_iter()
        .chain(["ABCDEFGHI", "\u{1b}[31m", "\u{202e}DIUQ"])
    {
        let error = Currency::new(code, 2).expect_err("the row is no code");
        assert_eq!(error, CurrencyError::Code(code.to_owned()));
        let line = error.to_string();
        assert!(
            line.starts_with(&format!("'{}' is no", Printable(code))),
            "{line}"
        );
    }
    assert_eq!(
        Currency::new(&"A".repeat(1_000), 2),
        Err(CurrencyError::Code("A".repeat(CODE_SHOWN_MAX))),
    );
    assert!(Currency::new("QUID", 9).is_ok());
    assert_eq!(Currency::new("QUID", 10), Err(CurrencyError::Decimals(10)));
}

#[test]
fn errors_are_one_printable_line() {
    for (error, line) in [
        (
            AmountError::BadCharacter('\u{1b}'),
            "an amount cannot hold '\\u{1b}': write only digits 0 to 9 and one point, such as \
             12 or 1.5",
        ),
        (
            currency(6)
                .parse("0.0000001")
                .expect_err("seven are too many"),
            "the amount has too many decimals: TEST has 6, and nothing is rounded",
        ),
        (
            currency(0).parse("0.1").expect_err("one is too many"),
            "the amount has decimals: TEST has 0, so write a whole number, such as 12",
        ),
        (
            currency(6)
                .parse("9223372036855")
                .expect_err("it is too large"),
            "the amount is too large: the largest is 9223372036854.775807 TEST",
        ),
        (
            past_every_maximum(),
            "the amount is too large: the largest is 9223372036854775807 of the smallest unit",
        ),
    ] {
        assert_eq!(error.to_string(), line);
    }
    assert_eq!(
        CurrencyError::Decimals(10).to_string(),
        "a currency cannot have 10 decimals: choose 0 to 9",
    );
}

#[test]
fn decoding_checks_amounts_and_currencies() {
    assert_eq!(recode::<_, Amount>(&7_u64), Some(amount(7)));
    assert_eq!(recode::<_, Amount>(&MAX), Some(Amount::MAX));
    assert_eq!(recode::<_, Amount>(&(MAX + 1)), None);
    assert_eq!(recode::<_, Amount>(&u64::MAX), None);
    assert_eq!(recode::<_, Amount>(&-1), None);
    assert_eq!(recode::<_, Amount>(&1.0), None);
    assert_eq!(recode::<_, Amount>(&"1"), None);
    assert_eq!(recode::<_, u64>(&amount(7)), Some(7));

    assert_eq!(recode(&("QUID", 6)), Some(Currency::default()));
    assert_eq!(recode::<_, Currency>(&("quid", 6)), None);
    assert_eq!(recode::<_, Currency>(&("QUID", 10)), None);
    assert_eq!(recode::<_, Currency>(&("QUID",)), None);
    assert_eq!(recode::<_, Currency>(&("QUID", 6, 1)), None);
    assert_eq!(recode(&currency(3)), Some(("TEST".to_owned(), 3_u8)));
}

proptest! {
    #[test]
    fn every_amount_reads_back_from_its_text(units in 0..=MAX, decimals in 0..=9_u8) {
        let currency = currency(decimals);
        let text = currency.format(amount(units));
        prop_assert_eq!(check_amount_grammar(&text), Ok(()));
        prop_assert_eq!(currency.parse(&text), Ok(amount(units)));
        prop_assert!(text.len() <= Currency::TEXT_LEN_MAX);
    }

    #[test]
    fn the_grammar_is_all_that_is_read(
        text in prop_oneof![any::<String>(), "[0-9.,+e -]{0,8}", "[0-9]{1,20}\\.[0-9]{1,12}"],
        decimals in 0..=9_u8,
    ) {
        let currency = currency(decimals);
        let parsed = currency.parse(&text);
        let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match &parsed {
            Ok(_) => {
                prop_assert!(digits(whole) && digits(rest));
                prop_assert!(decimals > 0 || !text.contains('.'));
                prop_assert_eq!(check_amount_grammar(&text), Ok(()));
            }
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
        // What is written back is the same number: only zeros differ.
        if let Ok(amount) = parsed {
            let trim = |text: &str| {
                let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
                let whole = whole.trim_start_matches('0').to_owned();
                (whole, decimals.trim_end_matches('0').to_owned())
            };
            prop_assert_eq!(trim(&currency.format(amount)), trim(&text));
        }
    }

    #[test]
    fn sums_and_differences_undo_each_other(one in 0..=MAX, other in 0..=MAX) {
        let (one, other) = (amount(one), amount(other));
        prop_assert_eq!(one.checked_add(other), other.checked_add(one));
        if let Some(sum) = one.checked_add(other) {
            prop_assert_eq!(sum.checked_sub(other), Some(one));
        }
        prop_assert_eq!(one.checked_sub(other).is_some(), one >= other);
    }
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("the test stays under the maximum")
}

fn currency(decimals: u8) -> Currency {
    Currency::new("TEST", decimals).expect("the test stays within nine decimals")
}

fn check_refused(text: &str, error: &AmountError) {
    for decimals in [0, 6, 9] {
        assert_eq!(
            currency(decimals).parse(text).as_ref(),
            Err(error),
            "{text:?}"
        );
    }
    assert_eq!(check_amount_grammar(text).as_ref(), Err(error), "{text:?}");
}

/// `value` encoded, and decoded as another type.
fn recode<T: Serialize, U: Serialize + DeserializeOwned>(value: &T) -> Option<U> {
    cbor::decode(&cbor::encode(value)).ok()
}
