//! Ed25519 keys: who an account or a directory is.
//!
//! Signatures are judged by the ZIP-215 rule (`ed25519-zebra`), under which verifying one by one
//! and in batches always agree. The key that signs facts also proves itself in the TLS handshake
//! (see [`crate::tls`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::{BASE32_NOPAD, DecodePartial};
use ed25519_zebra::ed25519::pkcs8::{DecodePrivateKey, KeypairBytes};
use ed25519_zebra::{Signature, SigningKey, VerificationKey};
use pkcs8::pkcs5::pbes2;
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroizing;

/// The public half of an identity: 32 bytes, written as 52 letters and digits (RFC 4648 base32,
/// lower case, no padding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes 32 bytes as they are; [`Self::is_sound`] tells whether exactly one secret signs for
    /// them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is a point of prime order in its one canonical encoding. Any other key is
    /// refused at registration: signatures under it need not come from one secret.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        CompressedEdwardsY(self.0)
            .decompress()
            .is_some_and(|point| {
                point.compress().0 == self.0 && !point.is_small_order() && point.is_torsion_free()
            })
    }

    /// Whether `signature` over `message` is this key's, by the ZIP-215 rule.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        // Whatever this quicker library accepts, ZIP-215 accepts, but not the other way round.
        let strict = UnparsedPublicKey::new(&ED25519, &self.0);
        if strict.verify(message, signature).is_ok() {
            return true;
        }
        VerificationKey::try_from(self.0).is_ok_and(|key| {
            key.verify(&Signature::from_bytes(signature), message)
                .is_ok()
        })
    }

    /// The first eight characters, for people to tell keys apart at a glance; not a proof.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() != TEXT_LEN {
            return Err(KeyError::Length(text.len()));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(KeyError::Character);
        }
        let mut bytes = [0; 32];
        let upper = text.to_ascii_uppercase();
        match BASE32_NOPAD.decode_mut(upper.as_bytes(), &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            Ok(_) | Err(DecodePartial { .. }) => Err(KeyError::Character),
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::ByteArray::new(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::<32>::deserialize(deserializer)
            .map(|bytes| Self(bytes.into_array()))
    }
}

/// Why a text is not a public key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Another length than a key's.
    #[error("a key has {TEXT_LEN} characters, this has {0}")]
    Length(usize),
    /// A character that no key holds, or bits that no key sets.
    #[error("a key holds only the letters a to z and the digits 2 to 7, and this is not one")]
    Character,
}

/// The secret half of an identity. Never printed; wiped from memory when dropped.
///
/// There is no way to sign raw bytes from outside this crate: a signature always stands under a
/// named kind of statement ([`crate::signed`]) or a checkpoint ([`crate::checkpoint`]).
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    /// The same key in the library that signs fastest. Ed25519 signing is deterministic, so both
    /// make the same bytes.
    signing: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SecretKey {
    /// The key made from a 32-byte seed (RFC 8032), which must be random and secret.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        SigningKey::from(*seed).into()
    }

    /// The seed, for the TLS identity and for storing; wiped when dropped.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The key as PKCS#8 PEM (RFC 8410), the form of a key file; wiped when dropped.
    ///
    /// # Errors
    /// [`KeyFileError`] if the encoder fails, which it has no reason to.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyFileError> {
        self.key
            .to_pkcs8_pem_v1(Default::default())
            .map_err(|_| KeyFileError)
    }

    /// Reads a key file's text as [`Self::to_pem`] wrote it.
    ///
    /// # Errors
    /// [`KeyFileError`] if the text is anything but one PKCS#8 Ed25519 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFileError> {
        let pair = KeypairBytes::from_pkcs8_pem(pem).map_err(|_| KeyFileError)?;
        Self::of_pair(&pair)
    }

    /// The key in a file that has been read. Not by [`SigningKey`]'s own reader, which panics at
    /// damage within the PEM.
    fn of_pair(pair: &KeypairBytes) -> Result<Self, KeyFileError> {
        let key = Self::from_seed(&pair.secret_key);
        let named = pair.public_key.as_ref().map(|public| public.to_bytes());
        if named.is_some_and(|named| named != key.public.0) {
            return Err(KeyFileError);
        }
        Ok(key)
    }

    /// The key as encrypted PKCS#8 PEM (RFC 5958; PBES2 with scrypt and AES-256-GCM), the form of a
    /// sealed key file. `salt` and `nonce` must be random and are written into it.
    ///
    /// Takes some 0.3 s and 128 MiB on purpose: whoever tries passphrases takes them for each.
    ///
    /// # Errors
    /// [`KeyFileError`] if the encoder fails, which it has no reason to.
    pub fn to_sealed_pem(
        &self,
        passphrase: &[u8],
        salt: &[u8; 16],
        nonce: [u8; 12],
    ) -> Result<Zeroizing<String>, KeyFileError> {
        let plain = self.to_pem()?;
        let (_, document) = SecretDocument::from_pem(&plain).map_err(|_| KeyFileError)?;
        let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| KeyFileError)?;
        let parameters = pbes2::Parameters::scrypt_aes256gcm(Default::default(), salt, nonce)
            .map_err(|_| KeyFileError)?;
        info.encrypt_with_params(parameters, passphrase)
            .and_then(|sealed| Ok(sealed.to_pem(SEALED_LABEL, LineEnding::LF)?))
            .map_err(|_| KeyFileError)
    }

    /// Reads a sealed key file's text as [`Self::to_sealed_pem`] wrote it.
    ///
    /// # Errors
    /// [`UnsealError`] if this is not its passphrase, or the text is damaged: nobody can tell which.
    pub fn from_sealed_pem(pem: &str, passphrase: &[u8]) -> Result<Self, UnsealError> {
        let pair =
            KeypairBytes::from_pkcs8_encrypted_pem(pem, passphrase).map_err(|_| UnsealError)?;
        Self::of_pair(&pair).map_err(|_| UnsealError)
    }

    /// Whether a key file's text is sealed.
    #[must_use]
    pub fn is_sealed_pem(pem: &[u8]) -> bool {
        pem.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    }

    #[expect(clippy::expect_used, reason = "our own signature, of a fixed length")]
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signing.sign(message);
        signature
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }
}

impl From<SigningKey> for SecretKey {
    #[expect(clippy::expect_used, reason = "our own seed; any 32 bytes are one")]
    fn from(key: SigningKey) -> Self {
        let seed = Zeroizing::new(key.to_bytes());
        let signing = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .expect("any 32 bytes are the seed of a key");
        let public = PublicKey(key.verification_key().into());
        Self {
            key,
            signing: Arc::new(signing),
            public,
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public)
    }
}

/// The text is not an Ed25519 key in PKCS#8 PEM.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("this is not an Ed25519 private key in PKCS#8 PEM")]
pub struct KeyFileError;

/// A key was not unsealed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("this is not its passphrase, or it is damaged")]
pub struct UnsealError;

const TEXT_LEN: usize = 52;

/// What a sealed key is called in PEM.
const SEALED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let key = SecretKey::from_seed(&[7; 32]).public();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().len(), TEXT_LEN);
        assert_eq!("abc".parse::<PublicKey>(), Err(KeyError::Length(3)));
        assert_eq!(
            "0".repeat(52).parse::<PublicKey>(),
            Err(KeyError::Character)
        );
        assert_eq!(
            "7".repeat(52).parse::<PublicKey>(),
            Err(KeyError::Character)
        );
        assert_eq!(
            "é".repeat(26).parse::<PublicKey>(),
            Err(KeyError::Character)
        );
        let upper = key.to_string().to_uppercase();
        assert_eq!(upper.parse::<PublicKey>(), Err(KeyError::Character));
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_and_no_other_nor_damaged() {
        let key = SecretKey::from_seed(&[9; 32]);
        let sealed = key.to_sealed_pem(b"open sesame", &[1; 16], [2; 12]);
        let sealed = sealed.expect("the encoder has no reason to fail");
        assert!(SecretKey::is_sealed_pem(sealed.as_bytes()));
        let plain = key.to_pem().expect("the encoder has no reason to fail");
        assert!(!SecretKey::is_sealed_pem(plain.as_bytes()));
        assert!(SecretKey::from_pem(&sealed).is_err());
        let opened = SecretKey::from_sealed_pem(&sealed, b"open sesame").expect("it is its");
        assert_eq!(opened.public(), key.public());
        for wrong in [&b"open sesamE"[..], b"", b"open sesame\n"] {
            assert_eq!(
                SecretKey::from_sealed_pem(&sealed, wrong).err(),
                Some(UnsealError)
            );
        }
        // The last characters are of the key itself, and no other key comes of another of them.
        let at = sealed.rfind("-----END").expect("it is PEM") - 9;
        let mut damaged = sealed.to_string();
        let other = if &damaged[at..=at] == "A" { "B" } else { "A" };
        damaged.replace_range(at..=at, other);
        assert!(SecretKey::from_sealed_pem(&damaged, b"open sesame").is_err());
    }

    #[test]
    fn pem_round_trips_and_refuses_other_text() {
        let key = SecretKey::from_seed(&[9; 32]);
        let pem = key.to_pem().expect("the encoder has no reason to fail");
        let back = SecretKey::from_pem(&pem).expect("what we wrote we can read");
        assert_eq!(back.public(), key.public());
        assert!(SecretKey::from_pem("").is_err());
        assert!(SecretKey::from_pem(&pem[..pem.len() / 2]).is_err());
    }

    #[test]
    fn a_damaged_key_file_is_another_key_or_none() {
        let key = SecretKey::from_seed(&[9; 32]);
        let pem = key.to_pem().expect("the encoder has no reason to fail");
        let body = pem.lines().nth(1).expect("a key's body is one line");
        let der = data_encoding::BASE64.decode(body.as_bytes()).expect("PEM");
        for bit in 0..der.len() * 8 {
            let mut damaged = der.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let body = data_encoding::BASE64.encode(&damaged);
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
            let read = SecretKey::from_pem(&pem).map(|read| read.public() != key.public());
            // Only the seed, the last 32 bytes, can be another without being none.
            let in_seed = bit / 8 >= der.len() - 32;
            assert!(
                read == if in_seed { Ok(true) } else { Err(KeyFileError) },
                "bit {bit}"
            );
        }
    }

    #[test]
    fn keys_that_more_than_one_secret_could_use_are_not_sound() {
        assert!(SecretKey::from_seed(&[1; 32]).public().is_sound());
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!PublicKey::from_bytes(identity).is_sound());
        assert!(!PublicKey::from_bytes([0; 32]).is_sound());
        assert!(!PublicKey::from_bytes([0xff; 32]).is_sound());
    }

    #[test]
    fn signatures_are_those_of_the_library_that_verifies() {
        for seed in 0..50 {
            let key = SecretKey::from_seed(&[seed; 32]);
            let message = vec![seed; usize::from(seed) * 5];
            assert_eq!(key.sign(&message), key.key.sign(&message).to_bytes());
            assert!(key.public().verify(&message, &key.sign(&message)));
        }
    }

    /// The vectors of ZIP-215: keys and R of small order, in all their encodings, with S = 0. All
    /// are valid by that rule; the quicker library accepts few of them, and nothing else.
    #[test]
    fn odd_signatures_are_judged_by_zip_215_alone() {
        let mut points: Vec<[u8; 32]> = curve25519_dalek::constants::EIGHT_TORSION
            .iter()
            .map(|point| point.compress().0)
            .collect();
        for (first, middle, last) in [
            (0x01, 0x00, 0x80),
            (0xec, 0xff, 0xff),
            (0xed, 0xff, 0x7f),
            (0xed, 0xff, 0xff),
            (0xee, 0xff, 0x7f),
            (0xee, 0xff, 0xff),
        ] {
            let mut point = [middle; 32];
            (point[0], point[31]) = (first, last);
            points.push(point);
        }
        assert_eq!(points.len(), 14);
        let mut strict = 0;
        for key in &points {
            for r in &points {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(r);
                let message = b"Zcash";
                assert!(PublicKey(*key).verify(message, &signature), "{key:?} {r:?}");
                strict += usize::from(
                    UnparsedPublicKey::new(&ED25519, key)
                        .verify(message, &signature)
                        .is_ok(),
                );
                // Another S is no signature under any rule.
                signature[32] = 1;
                assert!(!PublicKey(*key).verify(message, &signature));
            }
        }
        assert!(strict < points.len() * points.len());
    }

    #[test]
    fn a_secret_key_is_never_printed() {
        let key = SecretKey::from_seed(&[0x41; 32]);
        assert_eq!(format!("{key:?}"), format!("SecretKey of {}", key.public()));
    }
}
