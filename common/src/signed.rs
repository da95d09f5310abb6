//! Signed facts: a statement, its signer's key inside it, and one signature over its exact bytes.
//!
//! The envelope is an untagged COSE_Sign1 (RFC 9052) with EdDSA. Its protected header names the
//! kind of statement as content type, so that no signature can stand for another kind; its
//! unprotected header is empty. PROTOCOL.md, "Signed facts".

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};
use thiserror::Error;

use crate::cbor::{self, ByteString, CborError};
use crate::id::Digest;
use crate::key::{PublicKey, SecretKey};

/// Longest signed fact that is read, in bytes.
pub const SIGNED_LEN_MAX: usize = 1024;

/// Something that a key can sign.
pub trait Statement: Serialize + DeserializeOwned {
    /// Names the kind in the protected header; never reused for another kind.
    const CONTENT_TYPE: &'static str;

    /// The key that must have signed.
    fn signer(&self) -> PublicKey;
}

/// A statement in its envelope, exactly as it was signed.
///
/// Holding one proves only that the bytes are well formed; [`Signed::verify`] tells whether the
/// signature is the signer's.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    statement: T,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl<T: Statement> Signed<T> {
    /// Signs `statement` with `key`, which must be its [`Statement::signer`].
    #[must_use]
    pub fn new(statement: T, key: &SecretKey) -> Self {
        debug_assert_eq!(
            statement.signer(),
            key.public(),
            "signed by someone else's key"
        );
        let payload = cbor::encode(&statement);
        let mut bytes = Vec::with_capacity(payload.len().saturating_add(ENVELOPE_LEN_MAX));
        bytes.push(ARRAY_OF_4);
        push_header::<T>(&mut bytes);
        bytes.push(EMPTY_MAP);
        cbor::encode_to(&Bytes::new(&payload), &mut bytes);
        bytes.extend_from_slice(&SIGNATURE_HEAD);
        bytes.extend_from_slice(&[0; 64]);
        let mut signed = Self {
            statement,
            bytes,
            signature: [0; 64],
        };
        signed.signature = key.sign(&signed.message());
        if let Some(place) = signed.bytes.last_chunk_mut() {
            *place = signed.signature;
        }
        signed
    }

    /// Reads an envelope and the statement in it, without judging the signature.
    ///
    /// # Errors
    /// [`SignedError`] if the bytes are anything but the one encoding of such a statement.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        let (statement, signature) = Self::parts(bytes)?;
        Ok(Self {
            statement,
            bytes: bytes.to_vec(),
            signature,
        })
    }

    /// Like [`Self::from_bytes`], for bytes that nobody else wants.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, SignedError> {
        let (statement, signature) = Self::parts(&bytes)?;
        Ok(Self {
            statement,
            bytes,
            signature,
        })
    }

    fn parts(bytes: &[u8]) -> Result<(T, [u8; 64]), SignedError> {
        if bytes.len() > SIGNED_LEN_MAX {
            return Err(SignedError::Length(bytes.len()));
        }
        cbor::check(bytes)?;
        let envelope = Envelope::read(bytes)?;
        if !is_header::<T>(envelope.protected.content) {
            return Err(SignedError::Kind);
        }
        Ok((cbor::decode(envelope.payload.content)?, envelope.signature))
    }

    /// Whether the signature is the signer's, by the ZIP-215 rule.
    #[must_use]
    pub fn verify(&self) -> bool {
        self.statement
            .signer()
            .verify(&self.message(), &self.signature)
    }

    /// What was signed (COSE `Sig_structure`), for verification in batches.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let Ok(envelope) = Envelope::read(&self.bytes) else {
            return Vec::new();
        };
        // ["Signature1", protected, h'', payload]: the middle parts stand in the envelope already.
        let parts: [&[u8]; 4] = [
            SIGNATURE_1,
            envelope.protected.whole,
            &EMPTY_BYTES,
            envelope.payload.whole,
        ];
        parts.concat()
    }

    /// The signature, for verification in batches.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// What the signer says.
    #[must_use]
    pub const fn statement(&self) -> &T {
        &self.statement
    }

    /// The exact bytes, as they travel and as they are kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The exact bytes, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Tells two facts under one id apart.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// In a message or another fact it is a byte string.
impl<T> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::new(&self.bytes).serialize(serializer)
    }
}

impl<'de, T: Statement> Deserialize<'de> for Signed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        Self::from_vec(bytes.into_vec()).map_err(D::Error::custom)
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({:?})", self.statement)
    }
}

/// Why bytes are not a signed fact of the kind wanted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignedError {
    /// Longer than [`SIGNED_LEN_MAX`].
    #[error("a signed fact has at most {SIGNED_LEN_MAX} bytes, this has {0}")]
    Length(usize),
    /// Not a COSE_Sign1 as this protocol uses it.
    #[error("this is not a signed fact")]
    Envelope,
    /// Signed as another kind of statement, or by another algorithm.
    #[error("this was signed as something else")]
    Kind,
    /// The statement inside cannot be read.
    #[error(transparent)]
    Statement(#[from] CborError),
}

/// The parts of a COSE_Sign1 as this protocol uses it.
struct Envelope<'a> {
    protected: ByteString<'a>,
    payload: ByteString<'a>,
    signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, SignedError> {
        let other = |_| SignedError::Envelope;
        let rest = bytes
            .strip_prefix(&[ARRAY_OF_4])
            .ok_or(SignedError::Envelope)?;
        let protected = cbor::byte_string(rest).map_err(other)?;
        let rest = protected.rest.strip_prefix(&[EMPTY_MAP]);
        let payload = cbor::byte_string(rest.ok_or(SignedError::Envelope)?).map_err(other)?;
        let signature = payload.rest.strip_prefix(&SIGNATURE_HEAD);
        let signature = signature.and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            protected,
            payload,
            signature: signature.ok_or(SignedError::Envelope)?,
        })
    }
}

/// Appends the protected header as a byte string: a map of algorithm (1) EdDSA (-8) and content
/// type (3).
fn push_header<T: Statement>(out: &mut Vec<u8>) {
    out.push(const { short(BYTES_HEAD, T::CONTENT_TYPE.len() + HEADER_START.len() + 1) });
    out.extend_from_slice(&HEADER_START);
    out.push(const { short(TEXT_HEAD, T::CONTENT_TYPE.len()) });
    out.extend_from_slice(T::CONTENT_TYPE.as_bytes());
}

fn is_header<T: Statement>(protected: &[u8]) -> bool {
    let kind = T::CONTENT_TYPE.as_bytes();
    protected
        .strip_prefix(&HEADER_START)
        .and_then(<[u8]>::split_first)
        .is_some_and(|(head, text)| {
            *head == const { short(TEXT_HEAD, T::CONTENT_TYPE.len()) } && text == kind
        })
}

/// The head of a string whose length fits into it; a longer one does not compile.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "overflow does not compile either"
)]
const fn short(major: u8, len: usize) -> u8 {
    assert!(len < 24);
    major + len as u8
}

/// Heads of the CBOR items that an envelope is made of.
const ARRAY_OF_4: u8 = 0x84;
const EMPTY_MAP: u8 = 0xa0;
const EMPTY_BYTES: [u8; 1] = [0x40];
const BYTES_HEAD: u8 = 0x40;
const TEXT_HEAD: u8 = 0x60;

/// The head of a byte string of 64 bytes.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 64];

/// The protected header up to its content type.
const HEADER_START: [u8; 4] = [0xa2, 0x01, 0x27, 0x03];

/// An array of four that begins with the text "Signature1".
const SIGNATURE_1: &[u8] = b"\x84\x6aSignature1";

/// Bytes of an envelope beside its payload, at most.
const ENVELOPE_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana::Algorithm};

    use super::*;
    use crate::amount::Amount;
    use crate::chain::Link;
    use crate::id::{LedgerId, OrderId};
    use crate::order::{Memo, STATEMENT_VERSION, Void};
    use crate::tab::{Close, Terms};
    use crate::time::LedgerTime;

    #[test]
    fn an_envelope_is_what_a_cose_library_makes_and_signs() {
        let key = SecretKey::from_seed(&[5; 32]);
        let id = OrderId::new(LedgerTime::from_millis(9), [1; 10]);
        let ledger = LedgerId([2; 32]);
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger,
            id,
            payer: key.public(),
            payee: PublicKey::from_bytes([3; 32]),
            unit: Amount::MAX,
            length: 1,
            anchor: Link([4; 32]),
            expires: LedgerTime::MAX,
            grace: 1,
            memo: Memo::new("m".repeat(Memo::LEN_MAX)).expect("at the limit"),
            reference: None,
        };
        is_what_a_cose_library_makes(&Void::sign(ledger, id, &key), &key);
        is_what_a_cose_library_makes(&Close::sign(ledger, key.public(), id, &key), &key);
        is_what_a_cose_library_makes(&Signed::new(terms, &key), &key);
    }

    fn is_what_a_cose_library_makes<T: Statement>(ours: &Signed<T>, key: &SecretKey) {
        let header = HeaderBuilder::new()
            .algorithm(Algorithm::EdDSA)
            .content_type(T::CONTENT_TYPE.to_owned())
            .build();
        let theirs = CoseSign1Builder::new()
            .protected(header)
            .payload(cbor::encode(ours.statement()))
            .create_signature(b"", |message| {
                assert_eq!(message, ours.message());
                key.sign(message).to_vec()
            })
            .build();
        assert_eq!(theirs.to_vec().expect("it encodes"), ours.bytes());
        let read = CoseSign1::from_slice(ours.bytes()).expect("a COSE library reads it");
        assert_eq!(read.tbs_data(b""), ours.message());
        assert!(ours.verify());
    }
}
