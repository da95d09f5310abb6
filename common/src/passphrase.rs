//! Passphrases: what a key file is sealed under, for whoever has a key on a disk.
//!
//! Where one comes from (a terminal, a file) is the programs' affair. It is read once into memory that
//! never moves and is wiped.

use std::fmt;
use std::io::{self, Read};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{KeyFileError, SecretKey, UnsealError};
use crate::random::Random;

/// Longest passphrase, in bytes.
pub const PASSPHRASE_LEN_MAX: usize = 1024;

/// What a key file is sealed under. Never printed; wiped when dropped.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes these bytes, without the end of a line behind them.
    ///
    /// # Errors
    /// [`PassphraseError`] if nothing is left of them, or far too much.
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, PassphraseError> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        match bytes.len() {
            0 => Err(PassphraseError::Empty),
            len if len > PASSPHRASE_LEN_MAX => Err(PassphraseError::Long),
            _ => Ok(Self(bytes)),
        }
    }

    /// Reads all that `from` gives, up to what a passphrase may have.
    ///
    /// # Errors
    /// [`PassphraseError`] if it cannot be read, is empty or far too long.
    pub fn read(from: impl Read) -> Result<Self, PassphraseError> {
        // Never grown, so that no copy is left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_LEN_MAX.saturating_add(3)));
        from.take(PASSPHRASE_LEN_MAX.saturating_add(3) as u64)
            .read_to_end(&mut bytes)?;
        Self::new(bytes)
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why there is no passphrase.
#[derive(Debug, Error)]
pub enum PassphraseError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`PASSPHRASE_LEN_MAX`].
    #[error("it is far too long")]
    Long,
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl SecretKey {
    /// What a file of this key holds: PKCS#8 PEM, sealed if a passphrase is given.
    ///
    /// # Errors
    /// If `random` gives nothing.
    pub fn to_file(
        &self,
        passphrase: Option<&Passphrase>,
        random: &Random,
    ) -> io::Result<Zeroizing<String>> {
        let pem = match passphrase {
            None => self.to_pem(),
            Some(passphrase) => {
                let (mut salt, mut nonce) = ([0; 16], [0; 12]);
                random.fill(&mut salt)?;
                random.fill(&mut nonce)?;
                self.to_sealed_pem(passphrase.bytes(), &salt, nonce)
            }
        };
        pem.map_err(io::Error::other)
    }

    /// Reads what [`Self::to_file`] gave. A passphrase that is not needed is not looked at.
    ///
    /// # Errors
    /// [`FromFileError`] says whether a passphrase, another one, or another file is needed.
    pub fn from_file(pem: &str, passphrase: Option<&Passphrase>) -> Result<Self, FromFileError> {
        if !Self::is_sealed_pem(pem.as_bytes()) {
            return Ok(Self::from_pem(pem)?);
        }
        let passphrase = passphrase.ok_or(FromFileError::Sealed)?;
        Ok(Self::from_sealed_pem(pem, passphrase.bytes())?)
    }
}

/// Why a key file's text gives no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FromFileError {
    /// It is sealed, and there is no passphrase.
    #[error("it is sealed, and no passphrase was given")]
    Sealed,
    /// The passphrase does not open it.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// It is no key.
    #[error(transparent)]
    Text(#[from] KeyFileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> Passphrase {
        Passphrase::read(text.as_bytes()).expect("a passphrase")
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_it_and_nothing_is_none() {
        for same in ["sesame", "sesame\n", "sesame\r\n"] {
            assert_eq!(phrase(same).bytes(), b"sesame");
        }
        assert_eq!(phrase(" a\n\n").bytes(), b" a\n");
        for empty in ["", "\n", "\r\n"] {
            let refused = Passphrase::read(empty.as_bytes());
            assert!(matches!(refused, Err(PassphraseError::Empty)), "{empty:?}");
        }
        let most = "x".repeat(PASSPHRASE_LEN_MAX);
        assert_eq!(phrase(&format!("{most}\r\n")).bytes().len(), most.len());
        let long = "x".repeat(PASSPHRASE_LEN_MAX + 1);
        let refused = Passphrase::read(long.as_bytes());
        assert!(matches!(refused, Err(PassphraseError::Long)));
        assert_eq!(format!("{:?}", phrase("secret")), "Passphrase");
    }

    #[test]
    fn a_file_says_whether_it_wants_a_passphrase() {
        let (key, random) = (SecretKey::from_seed(&[9; 32]), Random::system());
        let plain = key.to_file(None, &random).expect("it can be written");
        let sealed = key.to_file(Some(&phrase("a")), &random);
        let sealed = sealed.expect("it can be written");
        let read = |pem: &str, given: Option<&str>| {
            let given = given.map(phrase);
            SecretKey::from_file(pem, given.as_ref()).map(|key| key.public())
        };
        assert_eq!(read(&plain, None), Ok(key.public()));
        assert_eq!(read(&plain, Some("b")), Ok(key.public()));
        assert_eq!(read(&sealed, Some("a")), Ok(key.public()));
        assert_eq!(read(&sealed, None), Err(FromFileError::Sealed));
        assert_eq!(
            read(&sealed, Some("b")),
            Err(FromFileError::Unseal(UnsealError))
        );
        assert_eq!(
            read("key", Some("a")),
            Err(FromFileError::Text(KeyFileError))
        );
    }
}
