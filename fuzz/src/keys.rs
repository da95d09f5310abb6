//! Keys: files, texts and certificates.

use quid_common::key::{PublicKey, SecretKey};
use quid_common::tls::{self, CERTIFICATE_LEN_MAX};

/// The bytes are a key file, the text of a public key, 32 bytes of one, and a certificate.
///
/// A key file that is read holds the key that is written back; a public key has one text; a
/// certificate holds the key that is read from it.
pub fn keys(bytes: &[u8]) {
    if let Ok(key) = tls::key_of(bytes) {
        assert!(bytes.len() <= CERTIFICATE_LEN_MAX);
        let held = bytes.windows(32).any(|window| window == key);
        assert!(held, "a key that the certificate does not hold");
    }
    if let Some(key) = bytes.first_chunk() {
        let key = PublicKey::from_bytes(*key);
        assert_eq!(key.to_string().parse(), Ok(key));
        if key.is_sound() {
            assert_eq!(key.as_bytes().as_slice(), &bytes[..32]);
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text, "one text for one key");
    }
    if let Ok(secret) = SecretKey::from_pem(text) {
        let pem = secret.to_pem().expect("it encodes");
        let again = SecretKey::from_pem(&pem).expect("what we wrote we can read");
        assert_eq!(again.public(), secret.public());
        assert_eq!(*again.seed(), *secret.seed());
        assert!(!format!("{secret:?}").contains(&*pem));
    }
}
