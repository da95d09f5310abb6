//! Numbers as people read them.

use std::time::Duration;

use quid_common::amount::{Amount, Currency};

/// Writes numbers for one ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    currency: &'a Currency,
}

impl<'a> Words<'a> {
    pub(super) const fn new(currency: &'a Currency) -> Self {
        Self { currency }
    }

    /// A sum of units in the currency's decimals, its thousands apart.
    pub(super) fn units(&self, units: u128) -> String {
        let amount = u64::try_from(units).ok().and_then(Amount::new);
        let text = self.currency.format(amount.unwrap_or(Amount::MAX));
        match text.split_once('.') {
            Some((whole, part)) => format!("{}.{part}", apart(whole)),
            None => apart(&text),
        }
    }

    /// So many.
    pub(super) fn count(&self, count: u64) -> String {
        count_of(count)
    }

    /// So many a second.
    pub(super) fn rate(&self, rate: f64) -> String {
        if rate > 0.0 && rate < 10.0 {
            format!("{rate:.1}")
        } else {
            count_of(rate.round() as u64)
        }
    }

    /// A short time.
    pub(super) fn seconds(&self, seconds: f64) -> String {
        match seconds * 1e3 {
            ms if ms < 10.0 => format!("{ms:.1}{SPACE}ms"),
            ms if ms < 1000.0 => format!("{ms:.0}{SPACE}ms"),
            _ => format!("{seconds:.1}{SPACE}s"),
        }
    }

    /// A long time, to the second or by its two largest parts.
    pub(super) fn span(&self, span: Duration) -> String {
        let seconds = span.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0..60 => format!("{seconds}{SPACE}s"),
            60..3600 => format!("{minutes}{SPACE}min {}{SPACE}s", seconds % 60),
            3600..86_400 => format!("{hours}{SPACE}h {}{SPACE}min", minutes % 60),
            _ => format!("{days}{SPACE}d {}{SPACE}h", hours % 24),
        }
    }

    /// So many bytes.
    pub(super) fn bytes(&self, bytes: u64) -> String {
        let mut size = bytes as f64;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if size < 1000.0 {
                return match unit {
                    "B" => format!("{size:.0}{SPACE}{unit}"),
                    _ if size < 10.0 => format!("{size:.1}{SPACE}{unit}"),
                    _ => format!("{size:.0}{SPACE}{unit}"),
                };
            }
            size /= 1024.0;
        }
        format!("{size:.1}{SPACE}TiB")
    }
}

/// So many, thousands apart.
pub(super) fn count(count: u64) -> String {
    count_of(count)
}

fn count_of(count: u64) -> String {
    apart(&count.to_string())
}

/// Digits with their thousands apart.
fn apart(digits: &str) -> String {
    let mut text = String::with_capacity(2 * digits.len());
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(SPACE);
        }
        text.push(digit);
    }
    text
}

/// A narrow space at which no line ends.
const SPACE: char = '\u{202f}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let currency = Currency::default();
        let words = Words::new(&currency);
        let plain = |text: String| text.replace(SPACE, "_");
        assert_eq!(plain(words.units(1_234_567_000_001)), "1_234_567.000001");
        assert_eq!(plain(words.units(5)), "0.000005");
        let none = Currency::new("PTS", 0).expect("a currency");
        assert_eq!(plain(Words::new(&none).units(1234)), "1_234");
        let all = words.units(u128::MAX);
        assert_eq!(plain(all), "9_223_372_036_854.775807");
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1_000"),
            (12_345_678, "12_345_678"),
        ] {
            assert_eq!(plain(words.count(count)), text);
        }
        for (rate, text) in [(0.0, "0"), (0.5, "0.5"), (9.96, "10.0"), (1234.5, "1_235")] {
            assert_eq!(plain(words.rate(rate)), text);
        }
        for (seconds, text) in [(0.00123, "1.2_ms"), (0.25, "250_ms"), (2.5, "2.5_s")] {
            assert_eq!(plain(words.seconds(seconds)), text);
        }
        for (seconds, text) in [
            (7, "7_s"),
            (61, "1_min 1_s"),
            (3700, "1_h 1_min"),
            (90_000, "1_d 1_h"),
        ] {
            assert_eq!(plain(words.span(Duration::from_secs(seconds))), text);
        }
        for (bytes, text) in [
            (512, "512_B"),
            (1500, "1.5_KiB"),
            (50 << 20, "50_MiB"),
            (3 << 40, "3.0_TiB"),
        ] {
            assert_eq!(plain(words.bytes(bytes)), text);
        }
    }
}
