//! Amounts of money, and the currency that they are read and written in.
//!
//! Inside, an amount is a whole count of the currency's smallest unit. Only here does it become
//! text or come from it, digit by digit: no float is involved and nothing is ever rounded.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions)]

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::printable::{Printable, printable_char};

/// A count of the currency's smallest unit, at most [`Amount::MAX`].
///
/// There are no operators: sums and differences are checked, and the caller says what happens
/// when there is none. Decoding refuses what is over the maximum.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64")]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount, `i64::MAX`: every store and language holds it.
    pub const MAX: Self = Self(i64::MAX.cast_unsigned());

    /// `units` of the smallest unit, or `None` over [`Self::MAX`].
    #[must_use]
    pub const fn new(units: u64) -> Option<Self> {
        if units > Self::MAX.0 {
            None
        } else {
            Some(Self(units))
        }
    }

    /// How many of the smallest unit.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Both together, or `None` over [`Self::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(units) => Self::new(units),
            None => None,
        }
    }

    /// What is left after `other` is taken, or `None` if that is more than there is.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }
}

impl TryFrom<u64> for Amount {
    type Error = AmountError;

    fn try_from(units: u64) -> Result<Self, AmountError> {
        Self::new(units).ok_or_else(past_every_maximum)
    }
}

/// What a directory counts in: a code such as `QUID`, and how many decimals it writes.
///
/// Encoded as an array of both. Decoding checks them as [`Currency::new`] does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, u8)", into = "(String, u8)")]
pub struct Currency {
    code: String,
    decimals: u8,
}

impl Currency {
    /// The most decimals that a currency has.
    pub const DECIMALS_MAX: u8 = 9;

    /// Longest amount that is read, in bytes: any amount in full, and room for leading zeros.
    pub const TEXT_LEN_MAX: usize = 64;

    /// The currency called `code`, one of whose units is written with `decimals` decimals.
    ///
    /// # Errors
    /// [`CurrencyError`] says what `code` and `decimals` may be.
    pub fn new(code: &str, decimals: u8) -> Result<Self, CurrencyError> {
        let mut chars = code.chars();
        let sound = CODE_LENS.contains(&code.len())
            && chars.next().is_some_and(|c| c.is_ascii_uppercase())
            && chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if !sound {
            return Err(CurrencyError::Code(
                code.chars().take(CODE_SHOWN_MAX).collect(),
            ));
        }
        if decimals > Self::DECIMALS_MAX {
            return Err(CurrencyError::Decimals(decimals));
        }
        Ok(Self {
            code: code.to_owned(),
            decimals,
        })
    }

    /// Two to eight capital letters and digits, a letter first.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// How many decimals an amount is written with, at most [`Self::DECIMALS_MAX`].
    #[must_use]
    pub const fn decimals(&self) -> u8 {
        self.decimals
    }

    /// Reads an amount such as `12` or `1.5`: digits, and after one point up to as many decimals
    /// as the currency has. Leading zeros are allowed.
    ///
    /// # Errors
    /// [`AmountError`] says what is wrong and what is accepted. Nothing is rounded.
    pub fn parse(&self, text: &str) -> Result<Amount, AmountError> {
        let (whole, decimals) = split(text)?;
        let missing = match usize::from(self.decimals).checked_sub(decimals.len()) {
            Some(missing) => missing,
            None if self.decimals == 0 => {
                return Err(AmountError::NoDecimalsHere {
                    code: self.code.clone(),
                });
            }
            None => {
                return Err(AmountError::TooManyDecimals {
                    code: self.code.clone(),
                    decimals: self.decimals,
                });
            }
        };
        let digits = whole
            .chars()
            .chain(decimals.chars())
            .chain(std::iter::repeat_n('0', missing));
        count(digits).ok_or_else(|| AmountError::TooLarge {
            largest: self.display(Amount::MAX),
        })
    }

    /// `amount` with exactly the currency's decimals and without its code, as in `8.750000`.
    #[must_use]
    pub fn format(&self, amount: Amount) -> String {
        let decimals = usize::from(self.decimals);
        // Zeros in front, so that at least one digit stands before the point.
        let digits = format!("{:0>width$}", amount.0, width = decimals.saturating_add(1));
        let (whole, decimals) = digits.split_at(digits.len().saturating_sub(decimals));
        if decimals.is_empty() {
            whole.to_owned()
        } else {
            format!("{whole}.{decimals}")
        }
    }

    /// `amount` with the currency's code, as in `8.750000 QUID`.
    #[must_use]
    pub fn display(&self, amount: Amount) -> String {
        format!("{} {}", self.format(amount), self.code)
    }
}

impl Default for Currency {
    /// `QUID` with six decimals.
    fn default() -> Self {
        Self {
            code: "QUID".to_owned(),
            decimals: 6,
        }
    }
}

impl From<Currency> for (String, u8) {
    fn from(currency: Currency) -> Self {
        (currency.code, currency.decimals)
    }
}

impl TryFrom<(String, u8)> for Currency {
    type Error = CurrencyError;

    fn try_from((code, decimals): (String, u8)) -> Result<Self, CurrencyError> {
        Self::new(&code, decimals)
    }
}

/// Refuses a text that is an amount in no currency, before the directory is asked for its own.
///
/// What passes may still have too many decimals for one currency, or be too large in it.
///
/// # Errors
/// [`AmountError`], as from [`Currency::parse`].
pub fn check_amount_grammar(text: &str) -> Result<(), AmountError> {
    let (whole, decimals) = split(text)?;
    if decimals.len() > usize::from(Currency::DECIMALS_MAX) {
        return Err(AmountError::TooManyDecimalsAnywhere);
    }
    count(whole.chars())
        .map(|_| ())
        .ok_or_else(past_every_maximum)
}

/// Why a text or number is not an amount.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AmountError {
    /// No text at all.
    #[error("the amount is empty: write digits, such as 12 or 1.5")]
    Empty,
    /// Over [`Currency::TEXT_LEN_MAX`] bytes.
    #[error(
        "the amount is too long: write at most {} characters",
        Currency::TEXT_LEN_MAX
    )]
    TooLong,
    /// A character other than the digits 0 to 9 and the point: a sign, space, comma, exponent.
    #[error(
        "an amount cannot hold '{}': write only digits 0 to 9 and one point, such as 12 or 1.5",
        printable_char(*.0)
    )]
    BadCharacter(char),
    /// A second point.
    #[error("an amount cannot hold two points: write digits and one point, such as 12 or 1.5")]
    SecondPoint,
    /// The point stands first.
    #[error("the amount has no digit before the point: write one, such as 0.5")]
    NoDigitBeforePoint,
    /// The point stands last.
    #[error("the amount has no digit after the point: write one, such as 1.5, or leave the point")]
    NoDigitAfterPoint,
    /// More decimals than the currency has.
    #[error("the amount has too many decimals: {code} has {decimals}, and nothing is rounded")]
    TooManyDecimals {
        /// The currency's code.
        code: String,
        /// How many it has.
        decimals: u8,
    },
    /// Decimals, and the currency has none.
    #[error("the amount has decimals: {code} has 0, so write a whole number, such as 12")]
    NoDecimalsHere {
        /// The currency's code.
        code: String,
    },
    /// More decimals than any currency has.
    #[error(
        "the amount has too many decimals: no currency has more than {}, and nothing is rounded",
        Currency::DECIMALS_MAX
    )]
    TooManyDecimalsAnywhere,
    /// Over [`Amount::MAX`].
    #[error("the amount is too large: the largest is {largest}")]
    TooLarge {
        /// [`Amount::MAX`], written in the currency if that is known.
        largest: String,
    },
}

/// Why there is no such [`Currency`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CurrencyError {
    /// The code, or its beginning, is not two to eight capital letters and digits.
    #[error(
        "'{}' is no currency code: write 2 to 8 of A to Z and 0 to 9, a letter first, such as QUID",
        Printable(.0)
    )]
    Code(String),
    /// More decimals than [`Currency::DECIMALS_MAX`].
    #[error("a currency cannot have {0} decimals: choose 0 to {max}", max = Currency::DECIMALS_MAX)]
    Decimals(u8),
}

/// The digits before the point and those after it, the latter empty if there is no point.
fn split(text: &str) -> Result<(&str, &str), AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if text.len() > Currency::TEXT_LEN_MAX {
        return Err(AmountError::TooLong);
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, '0'..='9' | '.')) {
        return Err(AmountError::BadCharacter(c));
    }
    let Some((whole, decimals)) = text.split_once('.') else {
        return Ok((text, ""));
    };
    if decimals.contains('.') {
        return Err(AmountError::SecondPoint);
    }
    if whole.is_empty() {
        return Err(AmountError::NoDigitBeforePoint);
    }
    if decimals.is_empty() {
        return Err(AmountError::NoDigitAfterPoint);
    }
    Ok((whole, decimals))
}

/// The number that `digits` write, or `None` over [`Amount::MAX`].
fn count(mut digits: impl Iterator<Item = char>) -> Option<Amount> {
    digits
        .try_fold(0_u64, |units, digit| {
            units
                .checked_mul(10)?
                .checked_add(u64::from(digit.to_digit(10)?))
        })
        .and_then(Amount::new)
}

fn past_every_maximum() -> AmountError {
    AmountError::TooLarge {
        largest: format!("{} of the smallest unit", Amount::MAX.0),
    }
}

/// How long a currency code may be, in characters.
const CODE_LENS: std::ops::RangeInclusive<usize> = 2..=8;

/// How many characters of a refused code are repeated: enough to see that it is too long.
const CODE_SHOWN_MAX: usize = 12;

#[cfg(test)]
mod tests;
