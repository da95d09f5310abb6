//! What ties a wish to one payment or tab: however often the wish is repeated, it is done once.

use std::fmt;
use std::str::FromStr;

use quid_common::id::{IdError, Reference};

/// One wish to pay or to open a tab, such as a form that a person fills in: see
/// [`crate::Node::pay_once`] and [`crate::Node::open_tab_once`].
///
/// Its text is 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Intent(pub(crate) Reference);

impl Intent {
    /// A new intent; `random` must not repeat.
    pub(crate) const fn new(random: [u8; 16]) -> Self {
        Self(Reference(random))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_reads_back_as_it_is_written() {
        let intent = Intent::new([0xfe; 16]);
        assert_eq!(intent.to_string().parse(), Ok(intent));
        assert!("12".parse::<Intent>().is_err());
    }
}
