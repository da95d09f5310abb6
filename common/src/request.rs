//! A payee's request to be paid, signed by the payee, and the link in which it travels.
//!
//! A request moves nothing. It binds what a payer is shown to the payee's key: how much, why, until
//! when. An order that pays it carries its id as reference and expires no later than it, so that the
//! ledger itself lets nothing settle for a request whose time is over. PROTOCOL.md, "Requests".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::amount::Amount;
use crate::chain::LENGTH_MAX;
use crate::id::{IdError, LedgerId, OrderId, Reference};
use crate::key::{PublicKey, SecretKey};
use crate::name::Name;
use crate::order::{Memo, Order, STATEMENT_VERSION};
use crate::refusal::Reason;
use crate::signed::{Signed, Statement};
use crate::tab::{Terms, units};
use crate::time::LedgerTime;

pub use link::{LINK_LEN_MAX, LinkError, RequestLink};

mod link;

/// Longest time between the making of a request and its end.
pub const REQUEST_LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Time between the making of a request and its end unless its payee wants another.
pub const REQUEST_LIFE_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// Longest signed request, in bytes: the longest name and memo, and the largest numbers.
pub const REQUEST_LEN_MAX: usize = 367;

/// One request, for ever: a UUIDv7 like an order's id, whose time is the request's expiry.
///
/// Its 16 bytes are the reference of the orders that pay it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(OrderId);

impl RequestId {
    /// Makes the id of a request that expires at `expiry`; `random` must not repeat.
    #[must_use]
    pub fn new(expiry: LedgerTime, random: [u8; 10]) -> Self {
        Self(OrderId::new(expiry, random))
    }

    /// Takes 16 bytes as an id; `None` unless they are a UUID of version 7, variant RFC 9562.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        OrderId::from_bytes(bytes).map(Self)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the request expires: nothing pays it from this ledger time on.
    #[must_use]
    pub const fn expiry(&self) -> LedgerTime {
        self.0.expiry()
    }

    /// What an order or a tab carries that pays the request.
    #[must_use]
    pub const fn reference(&self) -> Reference {
        Reference(*self.0.as_bytes())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// What a payee wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Exactly this much.
    Amount(Amount),
    /// As much as the payer likes.
    Open,
    /// A tab of so many units.
    Tab {
        /// What each unit is worth.
        unit: Amount,
        /// How many units the tab can pay.
        units: u32,
    },
}

impl Wanted {
    /// Whether somebody can be asked for this: no part is zero, and a tab's hold can be counted.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match *self {
            Self::Amount(amount) => !amount.is_zero(),
            Self::Open => true,
            Self::Tab { unit, units: count } => {
                !unit.is_zero() && (1..=LENGTH_MAX).contains(&count) && units(unit, count).is_some()
            }
        }
    }
}

/// A payee's wish to be paid; moves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Request {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The only ledger on which this request means anything.
    pub ledger: LedgerId,
    /// Unique among the payee's requests; carries the expiry.
    pub id: RequestId,
    /// Who is to be paid, and who must have signed.
    pub payee: PublicKey,
    /// The payee's name, as it says. Whose name it is the directory knows.
    pub name: Name,
    /// What is wanted.
    pub wanted: Wanted,
    /// A word to the payer: foreign text.
    pub memo: Memo,
    /// Whether it is to be paid once in all, whoever pays.
    pub once: bool,
}

impl Statement for Request {
    const CONTENT_TYPE: &'static str = "quid/request";

    fn signer(&self) -> PublicKey {
        self.payee
    }
}

/// A request as it travels.
pub type SignedRequest = Signed<Request>;

impl Request {
    /// Signs the request with the payee's `key`, which must be its [`Request::payee`].
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedRequest {
        Signed::new(self, key)
    }

    /// From this ledger time on nothing pays it.
    #[must_use]
    pub const fn expires(&self) -> LedgerTime {
        self.id.expiry()
    }

    /// What an order or a tab carries that pays it.
    #[must_use]
    pub const fn reference(&self) -> Reference {
        self.id.reference()
    }

    /// What is wrong with the request whoever reads it and whenever.
    ///
    /// # Errors
    /// *Encoding*: another version; *bad terms*: nobody can be asked for that.
    pub fn check(&self) -> Result<(), Reason> {
        if self.version != STATEMENT_VERSION {
            return Err(Reason::ENCODING);
        }
        self.wanted
            .is_sound()
            .then_some(())
            .ok_or(Reason::BAD_TERMS)
    }

    /// Whether `order` pays exactly what is wanted here to exactly whom, in time whenever it settles.
    #[must_use]
    pub fn answered_by(&self, order: &Order) -> bool {
        let pays = match self.wanted {
            Wanted::Amount(amount) => order.amount == amount,
            Wanted::Open => !order.amount.is_zero(),
            Wanted::Tab { .. } => false,
        };
        pays && self.is_meant(order.ledger, order.payee, order.reference, order.id)
    }

    /// Whether `terms` open exactly the tab that is wanted here, in time whenever it opens.
    #[must_use]
    pub fn opened_by(&self, terms: &Terms) -> bool {
        let wanted = Wanted::Tab {
            unit: terms.unit,
            units: terms.length,
        };
        self.wanted == wanted && self.is_meant(terms.ledger, terms.payee, terms.reference, terms.id)
    }

    fn is_meant(
        &self,
        ledger: LedgerId,
        payee: PublicKey,
        reference: Option<Reference>,
        id: OrderId,
    ) -> bool {
        ledger == self.ledger
            && payee == self.payee
            && reference == Some(self.reference())
            && id.expiry() <= self.expires()
    }
}

/// The request's fields in their order on the wire. An amount alone is what is wanted; an amount and
/// units are a tab's; neither leaves it to the payer.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Fields {
    version: u8,
    ledger: LedgerId,
    id: RequestId,
    payee: PublicKey,
    name: Name,
    amount: Option<Amount>,
    units: Option<u32>,
    memo: Memo,
    once: bool,
}

impl From<Request> for Fields {
    fn from(request: Request) -> Self {
        let (amount, units) = match request.wanted {
            Wanted::Amount(amount) => (Some(amount), None),
            Wanted::Open => (None, None),
            Wanted::Tab { unit, units } => (Some(unit), Some(units)),
        };
        Self {
            version: request.version,
            ledger: request.ledger,
            id: request.id,
            payee: request.payee,
            name: request.name,
            amount,
            units,
            memo: request.memo,
            once: request.once,
        }
    }
}

impl TryFrom<Fields> for Request {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let wanted = match (fields.amount, fields.units) {
            (Some(amount), None) => Wanted::Amount(amount),
            (None, None) => Wanted::Open,
            (Some(unit), Some(units)) => Wanted::Tab { unit, units },
            (None, Some(_)) => return Err("units without what they are worth"),
        };
        Ok(Self {
            version: fields.version,
            ledger: fields.ledger,
            id: fields.id,
            payee: fields.payee,
            name: fields.name,
            wanted,
            memo: fields.memo,
            once: fields.once,
        })
    }
}

#[cfg(test)]
mod tests;
