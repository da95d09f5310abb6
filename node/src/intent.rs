//! What ties a wish to pay to one order: however often the wish is repeated, it pays once.
//!
//! The random part of an order's id is the intent's own, so that the journal's row of the order is
//! also the note that the intent was used. Nothing has to be kept beside it, and nothing can come
//! between the two.

use std::fmt;
use std::str::FromStr;

use quid_common::id::{IdError, OrderId};
use quid_common::time::LedgerTime;

/// One wish to pay, such as a form that a person fills in: see [`crate::Node::pay_once`].
///
/// Its text is a UUIDv7, of the time at which it was made in ledger time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Intent(OrderId);

impl Intent {
    /// A new intent; `random` must not repeat.
    pub(crate) fn new(now: LedgerTime, random: [u8; 10]) -> Self {
        Self(OrderId::new(now, random))
    }

    /// The one order that this intent makes, if it expires then.
    pub(crate) fn order(self, expiry: LedgerTime) -> OrderId {
        OrderId::new(expiry, self.tail())
    }

    /// The lowest id that an order of this intent can have: none expires before the intent was made.
    pub(crate) fn lowest(self) -> [u8; 16] {
        let mut lowest = [0; 16];
        for (to, from) in lowest.iter_mut().zip(self.0.as_bytes()).take(TIME_LEN) {
            *to = *from;
        }
        lowest
    }

    /// What the ids of all its orders end with.
    pub(crate) fn tail(self) -> [u8; 10] {
        let mut tail = [0; 10];
        for (to, from) in tail.iter_mut().zip(self.0.as_bytes().iter().skip(TIME_LEN)) {
            *to = *from;
        }
        tail
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Intent {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// How many bytes of an id are its time.
const TIME_LEN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_an_intent_ends_alike_and_is_not_below_its_lowest() {
        let made = LedgerTime::from_millis(1_700_000_000_000);
        let intent = Intent::new(made, [0xff; 10]);
        let other = Intent::new(made, [0xfe; 10]);
        for millis in [1_700_000_000_000, 1_700_000_060_000] {
            let expiry = LedgerTime::from_millis(millis);
            let order = intent.order(expiry);
            assert_eq!(order.expiry(), expiry);
            assert_eq!(order.as_bytes()[6..], intent.tail());
            assert!(*order.as_bytes() >= intent.lowest());
            assert_ne!(order.as_bytes()[6..], other.tail());
        }
        assert_eq!(intent.to_string().parse(), Ok(intent));
        assert!("12".parse::<Intent>().is_err());
    }
}
