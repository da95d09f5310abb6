//! What people sign about payments: the order, its void, and the payee's decline.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::amount::Amount;
use crate::id::{Digest, LedgerId, OrderId, Reference};
use crate::key::{PublicKey, SecretKey};
use crate::signed::{Signed, Statement};

/// Longest time between an order's signing and its expiry.
pub const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Time between an order's signing and its expiry unless the payer asks for another.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(60);

/// Version of the statements in this module.
pub const STATEMENT_VERSION: u8 = 1;

/// A payer's instruction to pay; moves nothing until the directory has logged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Order {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The only ledger on which this order means anything.
    pub ledger: LedgerId,
    /// Unique among the payer's orders; carries the expiry.
    pub id: OrderId,
    /// Who pays, and who must have signed.
    pub payer: PublicKey,
    /// Who is paid.
    pub payee: PublicKey,
    /// How much.
    pub amount: Amount,
    /// A word to the payee.
    pub memo: Memo,
    /// The request that this answers or the order that it refunds.
    pub reference: Option<Reference>,
}

impl Statement for Order {
    const CONTENT_TYPE: &'static str = "quid/order";

    fn signer(&self) -> PublicKey {
        self.payer
    }
}

/// An order as it travels.
pub type SignedOrder = Signed<Order>;

/// A payer's cancelling of an order that has not settled. The first entry in the log wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Void {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the order.
    pub ledger: LedgerId,
    /// The payer of the order, who must have signed.
    pub payer: PublicKey,
    /// The order.
    pub id: OrderId,
}

impl Void {
    /// Voids the order `id` of `key`'s account.
    #[must_use]
    pub fn sign(ledger: LedgerId, id: OrderId, key: &SecretKey) -> SignedVoid {
        let void = Self {
            version: STATEMENT_VERSION,
            ledger,
            payer: key.public(),
            id,
        };
        Signed::new(void, key)
    }
}

impl Statement for Void {
    const CONTENT_TYPE: &'static str = "quid/void";

    fn signer(&self) -> PublicKey {
        self.payer
    }
}

/// A void as it travels.
pub type SignedVoid = Signed<Void>;

/// A payee's refusal to be paid by one particular order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Decline {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the order.
    pub ledger: LedgerId,
    /// The payee of the order, who must have signed.
    pub payee: PublicKey,
    /// The exact order declined, so that no other can be burnt by this.
    pub order: Digest,
}

impl Decline {
    /// Declines `order` with the payee's `key`.
    #[must_use]
    pub fn sign(order: &SignedOrder, key: &SecretKey) -> SignedDecline {
        let decline = Self {
            version: STATEMENT_VERSION,
            ledger: order.statement().ledger,
            payee: key.public(),
            order: order.digest(),
        };
        Signed::new(decline, key)
    }
}

impl Statement for Decline {
    const CONTENT_TYPE: &'static str = "quid/decline";

    fn signer(&self) -> PublicKey {
        self.payee
    }
}

/// A decline as it travels.
pub type SignedDecline = Signed<Decline>;

/// A payer's word to the payee: UTF-8, at most [`Memo::LEN_MAX`] bytes. Foreign text: print it
/// through [`crate::printable::Printable`] only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memo(String);

impl Memo {
    /// Longest memo in bytes.
    pub const LEN_MAX: usize = 140;

    /// Takes `text` as a memo.
    ///
    /// # Errors
    /// [`MemoTooLong`] if it has more than [`Memo::LEN_MAX`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, MemoTooLong> {
        let text = text.into();
        if text.len() > Self::LEN_MAX {
            Err(MemoTooLong(text.len()))
        } else {
            Ok(Self(text))
        }
    }

    /// The text, as foreign as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for Memo {
    type Error = MemoTooLong;

    fn try_from(text: String) -> Result<Self, MemoTooLong> {
        Self::new(text)
    }
}

impl From<Memo> for String {
    fn from(memo: Memo) -> Self {
        memo.0
    }
}

/// A memo with more than [`Memo::LEN_MAX`] bytes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("a memo has at most {max} bytes, this has {0}", max = Memo::LEN_MAX)]
pub struct MemoTooLong(pub usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::SignedError;
    use crate::time::LedgerTime;

    fn order(key: &SecretKey) -> SignedOrder {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: LedgerId([1; 32]),
            id: OrderId::new(LedgerTime::from_millis(1_763_000_060_000), [2; 10]),
            payer: key.public(),
            payee: PublicKey::from_bytes([3; 32]),
            amount: Amount::new(1_500_000).expect("below the maximum"),
            memo: Memo::new("for tea").expect("short"),
            reference: None,
        };
        Signed::new(order, key)
    }

    #[test]
    fn an_order_survives_the_journey_and_nothing_else_does() {
        let key = SecretKey::from_seed(&[5; 32]);
        let order = order(&key);
        let back = SignedOrder::from_bytes(order.bytes()).expect("own encoding");
        assert_eq!(back, order);
        assert!(back.verify());
        for end in 0..order.bytes().len() {
            assert!(
                SignedOrder::from_bytes(&order.bytes()[..end]).is_err(),
                "prefix {end}"
            );
        }
        for bit in 0..order.bytes().len() * 8 {
            let mut bytes = order.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted = SignedOrder::from_bytes(&bytes).is_ok_and(|order| order.verify());
            assert!(!accepted, "bit {bit} flipped");
        }
    }

    #[test]
    fn no_signature_stands_for_another_kind() {
        let key = SecretKey::from_seed(&[5; 32]);
        let void = Void::sign(LedgerId([1; 32]), *order(&key).id(), &key);
        assert_eq!(
            SignedOrder::from_bytes(void.bytes()),
            Err(SignedError::Kind)
        );
        assert_eq!(
            SignedDecline::from_bytes(void.bytes()),
            Err(SignedError::Kind)
        );
        assert_eq!(
            SignedVoid::from_bytes(order(&key).bytes()),
            Err(SignedError::Kind)
        );
    }

    #[test]
    fn a_long_memo_is_refused() {
        assert!(Memo::new("é".repeat(70)).is_ok());
        assert_eq!(Memo::new("é".repeat(71)), Err(MemoTooLong(142)));
    }

    impl SignedOrder {
        fn id(&self) -> &OrderId {
            &self.statement().id
        }
    }
}
