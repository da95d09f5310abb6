//! Names for things that are not people: ledgers, orders, sessions' instances, operations.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

use crate::sha256::sha256;
use crate::time::LedgerTime;

/// Which ledger: the RFC 6962 leaf hash of its first entry, so no two ledgers share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub [u8; 32]);

/// One order, for ever: a UUIDv7 (RFC 9562) whose time is the order's *expiry* in ledger time.
///
/// Ids are unique per payer. Since the expiry is part of the id, one id has one expiry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId([u8; 16]);

impl OrderId {
    /// Makes the id of an order that expires at `expiry`; `random` must not repeat.
    #[must_use]
    pub fn new(expiry: LedgerTime, random: [u8; 10]) -> Self {
        Self(
            *uuid::Builder::from_unix_timestamp_millis(expiry.as_millis(), &random)
                .into_uuid()
                .as_bytes(),
        )
    }

    /// Takes 16 bytes as an id; `None` unless they are a UUID of version 7, variant RFC 9562.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let uuid = Uuid::from_bytes(bytes);
        let sound = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        sound.then_some(Self(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When the order expires: it is refused from this ledger time on.
    #[must_use]
    pub const fn expiry(&self) -> LedgerTime {
        let [a, b, c, d, e, f, ..] = self.0;
        LedgerTime::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({self})")
    }
}

impl FromStr for OrderId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let uuid = Uuid::try_parse(text).map_err(|_| IdError::Order)?;
        // Only the one form that we print: lower case with hyphens.
        if uuid.to_string() != text {
            return Err(IdError::Order);
        }
        Self::from_bytes(*uuid.as_bytes()).ok_or(IdError::Order)
    }
}

impl Serialize for OrderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::ByteArray::new(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteArray::<16>::deserialize(deserializer)?.into_array();
        Self::from_bytes(bytes).ok_or_else(|| serde::de::Error::custom("not a UUIDv7"))
    }
}

/// One run of a node's program: a new one each start, so that its sessions can be told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub [u8; 16]);

/// One operator's intent (issue, freeze, thaw), so that repeating the command cannot act twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

/// What ties an order to something else: the request that it answers or the order it refunds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub [u8; 16]);

/// A SHA-256: of a message's exact bytes, or the root of a tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

macro_rules! hex_id {
    ($name:ident, $len:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(IdError::Hex($len))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde_bytes::ByteArray::new(self.0).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde_bytes::ByteArray::<$len>::deserialize(deserializer)
                    .map(|bytes| Self(bytes.into_array()))
            }
        }
    };
}

hex_id!(LedgerId, 32);
hex_id!(InstanceId, 16);
hex_id!(OperationId, 16);
hex_id!(Reference, 16);
hex_id!(Digest, 32);

/// Why a text is not an id.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdError {
    /// Not an order id.
    #[error(
        "an order id looks like 019aab12-3456-7abc-8def-0123456789ab (a UUID of version 7, lower case)"
    )]
    Order,
    /// Not the hexadecimal form of this many bytes.
    #[error("expected {} hexadecimal digits, lower case", .0 * 2)]
    Hex(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_carries_its_expiry() {
        let id = OrderId::new(LedgerTime::from_millis(1_763_000_000_123), [0xff; 10]);
        assert_eq!(id.expiry(), LedgerTime::from_millis(1_763_000_000_123));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(OrderId::from_bytes(*id.as_bytes()), Some(id));
    }

    #[test]
    fn other_uuids_are_no_order_ids() {
        assert_eq!(OrderId::from_bytes([0; 16]), None);
        assert!(
            "67e55044-10b1-426f-9247-bb680e5fe0c8"
                .parse::<OrderId>()
                .is_err()
        );
        let id = OrderId::new(LedgerTime::from_millis(7), [1; 10]).to_string();
        assert!(id.to_uppercase().parse::<OrderId>().is_err() || id == id.to_uppercase());
        assert!(id.replace('-', "").parse::<OrderId>().is_err());
    }

    #[test]
    fn hexadecimal_ids_round_trip() {
        let id = OperationId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("ab".parse::<OperationId>(), Err(IdError::Hex(16)));
    }
}
