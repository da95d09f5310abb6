//! Signed facts: a statement, its signer's key inside it, and one signature over its exact bytes.
//!
//! The envelope is an untagged COSE_Sign1 (RFC 9052) with EdDSA. Its protected header names the
//! kind of statement as content type, so that no signature can stand for another kind; its
//! unprotected header is empty. PROTOCOL.md, "Signed facts".

use std::fmt;

use coset::iana::Algorithm;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::cbor::{self, CborError};
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
        let envelope = CoseSign1Builder::new()
            .protected(protected::<T>())
            .payload(cbor::encode(&statement))
            .create_signature(b"", |message| key.sign(message).to_vec())
            .build();
        let signature = envelope.signature.as_slice().try_into().unwrap_or([0; 64]);
        let bytes = envelope
            .to_vec()
            .expect("an envelope in memory always encodes");
        Self {
            statement,
            bytes,
            signature,
        }
    }

    /// Reads an envelope and the statement in it, without judging the signature.
    ///
    /// # Errors
    /// [`SignedError`] if the bytes are anything but the one encoding of such a statement.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        if bytes.len() > SIGNED_LEN_MAX {
            return Err(SignedError::Length(bytes.len()));
        }
        cbor::check(bytes)?;
        let envelope = CoseSign1::from_slice(bytes).map_err(|_| SignedError::Envelope)?;
        let expected = protected::<T>()
            .to_vec()
            .map_err(|_| SignedError::Envelope)?;
        if envelope.protected.original_data.as_deref() != Some(&expected) {
            return Err(SignedError::Kind);
        }
        if !envelope.unprotected.is_empty() {
            return Err(SignedError::Envelope);
        }
        let signature = envelope
            .signature
            .as_slice()
            .try_into()
            .map_err(|_| SignedError::Envelope)?;
        let payload = envelope.payload.as_deref().ok_or(SignedError::Envelope)?;
        Ok(Self {
            statement: cbor::decode(payload)?,
            bytes: bytes.to_vec(),
            signature,
        })
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
        CoseSign1::from_slice(&self.bytes)
            .map(|envelope| envelope.tbs_data(b""))
            .unwrap_or_default()
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

fn protected<T: Statement>() -> coset::Header {
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_type(T::CONTENT_TYPE.to_owned())
        .build()
}
