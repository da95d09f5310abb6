//! What an account's own keys can say about it: replace the key, recover the account, object to a
//! recovery, freeze and thaw. PROTOCOL.md, "Keys of an account".
//!
//! An account has a number for ever and one key at a time. It may have a recovery key, named when
//! it was registered and kept elsewhere. Each of the two has a word of its own: a statement names
//! the entry of its signer's last one ([`Rotation::said`]), so that none is taken twice and neither
//! key can make the other's void.

use std::time::Duration;

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::entry::Fact;
use crate::id::{Digest, LedgerId};
use crate::key::{PublicKey, SecretKey};
use crate::order::STATEMENT_VERSION;
use crate::signed::{Signed, SignedError, Statement};

/// From the announcement of a recovery to its effect, in ledger time.
pub const RECOVERY_DELAY: Duration = Duration::from_secs(72 * 60 * 60);

/// From the announcement of a recovery to its effect if the account's key objects.
pub const OBJECTION_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most keys that an account may have had when its key replaces itself once more; then *full*. A
/// recovery is taken all the same.
pub const KEYS_PER_ACCOUNT_MAX: usize = 256;

/// A new key's consent to be an account's, and its proof that it exists. In a [`Rotation`], or
/// alone, when a recovery that named the key takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Takeover {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the account.
    pub ledger: LedgerId,
    /// The account's number.
    pub account: u64,
    /// The new key, which must have signed.
    pub key: PublicKey,
}

impl Statement for Takeover {
    const CONTENT_TYPE: &'static str = "quid/takeover";

    fn signer(&self) -> PublicKey {
        self.key
    }
}

/// A takeover as it travels.
pub type SignedTakeover = Signed<Takeover>;

impl Takeover {
    /// Says that `key` is to be the key of `account`.
    #[must_use]
    pub fn sign(ledger: LedgerId, account: u64, key: &SecretKey) -> SignedTakeover {
        let takeover = Self {
            version: STATEMENT_VERSION,
            ledger,
            account,
            key: key.public(),
        };
        Signed::new(takeover, key)
    }
}

/// An account's key replaces itself, at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Rotation {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the account.
    pub ledger: LedgerId,
    /// The account's number.
    pub account: u64,
    /// The account's key, which must have signed.
    pub key: PublicKey,
    /// The entry of the last word of the account's key, whichever it was then; the account's
    /// registration if there was none.
    pub said: u64,
    /// The new key's consent.
    pub takeover: SignedTakeover,
}

impl Statement for Rotation {
    const CONTENT_TYPE: &'static str = "quid/rotation";

    fn signer(&self) -> PublicKey {
        self.key
    }
}

/// A rotation as it travels.
pub type SignedRotation = Signed<Rotation>;

impl Rotation {
    /// Replaces the account's key `old` by `new`, after the word of entry `said`.
    #[must_use]
    pub fn sign(
        ledger: LedgerId,
        account: u64,
        said: u64,
        old: &SecretKey,
        new: &SecretKey,
    ) -> SignedRotation {
        let rotation = Self {
            version: STATEMENT_VERSION,
            ledger,
            account,
            key: old.public(),
            said,
            takeover: Takeover::sign(ledger, account, new),
        };
        Signed::new(rotation, old)
    }

    /// The key that follows.
    #[must_use]
    pub const fn successor(&self) -> PublicKey {
        self.takeover.statement().key
    }
}

/// The recovery key announces that another key shall be the account's. It takes the place of what it
/// announced before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Recovery {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the account.
    pub ledger: LedgerId,
    /// The account's number.
    pub account: u64,
    /// The account's recovery key, which must have signed.
    pub recovery: PublicKey,
    /// The entry of the recovery key's last word; the account's registration if there was none.
    pub said: u64,
    /// The key that shall be the account's. It says so itself in time, by a [`Takeover`].
    pub successor: PublicKey,
}

impl Statement for Recovery {
    const CONTENT_TYPE: &'static str = "quid/recovery";

    fn signer(&self) -> PublicKey {
        self.recovery
    }
}

/// A recovery as it travels.
pub type SignedRecovery = Signed<Recovery>;

impl Recovery {
    /// Announces that `successor` shall be the account's key, after the word of entry `said`.
    #[must_use]
    pub fn sign(
        ledger: LedgerId,
        account: u64,
        said: u64,
        successor: PublicKey,
        recovery: &SecretKey,
    ) -> SignedRecovery {
        let announced = Self {
            version: STATEMENT_VERSION,
            ledger,
            account,
            recovery: recovery.public(),
            said,
            successor,
        };
        Signed::new(announced, recovery)
    }
}

/// The account's key objects to a recovery: it then takes [`OBJECTION_DELAY`] in all, and the
/// account is frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Objection {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the account.
    pub ledger: LedgerId,
    /// The account's number.
    pub account: u64,
    /// The account's key, which must have signed.
    pub key: PublicKey,
    /// The entry that announced the recovery.
    pub announced: u64,
}

impl Statement for Objection {
    const CONTENT_TYPE: &'static str = "quid/objection";

    fn signer(&self) -> PublicKey {
        self.key
    }
}

/// An objection as it travels.
pub type SignedObjection = Signed<Objection>;

impl Objection {
    /// Objects with the account's `key` to the recovery that entry `announced` announced.
    #[must_use]
    pub fn sign(
        ledger: LedgerId,
        account: u64,
        announced: u64,
        key: &SecretKey,
    ) -> SignedObjection {
        let objection = Self {
            version: STATEMENT_VERSION,
            ledger,
            account,
            key: key.public(),
            announced,
        };
        Signed::new(objection, key)
    }
}

/// An account's key or recovery key freezes it; its recovery key thaws it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Lock {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the account.
    pub ledger: LedgerId,
    /// The account's number.
    pub account: u64,
    /// The account's key or its recovery key, which must have signed.
    pub by: PublicKey,
    /// The entry of the last word of that one of the two; the account's registration if there was
    /// none.
    pub said: u64,
    /// Frozen from now on, or thawed.
    pub frozen: bool,
}

impl Statement for Lock {
    const CONTENT_TYPE: &'static str = "quid/lock";

    fn signer(&self) -> PublicKey {
        self.by
    }
}

/// A lock as it travels.
pub type SignedLock = Signed<Lock>;

impl Lock {
    /// Freezes or thaws the account with its key or recovery key `by`, after the word of entry
    /// `said`.
    #[must_use]
    pub fn sign(
        ledger: LedgerId,
        account: u64,
        said: u64,
        frozen: bool,
        by: &SecretKey,
    ) -> SignedLock {
        let lock = Self {
            version: STATEMENT_VERSION,
            ledger,
            account,
            by: by.public(),
            said,
            frozen,
        };
        Signed::new(lock, by)
    }
}

/// Any of what an account's keys can say about it. Who sends it does not matter: the signatures in
/// it say all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key replaces itself.
    Rotation(SignedRotation),
    /// The recovery key announces another key.
    Recovery(SignedRecovery),
    /// The key objects to that.
    Objection(SignedObjection),
    /// The key that was announced takes over.
    Takeover(SignedTakeover),
    /// Either key freezes, or the recovery key thaws.
    Lock(SignedLock),
}

impl Change {
    /// Reads a change of whatever kind, without judging its signatures.
    ///
    /// # Errors
    /// [`SignedError`] if the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        fn read<T: Statement>(
            bytes: &[u8],
            into: impl FnOnce(Signed<T>) -> Change,
        ) -> Option<Result<Change, SignedError>> {
            match Signed::from_bytes(bytes) {
                Err(SignedError::Kind) => None,
                read => Some(read.map(into)),
            }
        }
        read(bytes, Self::Rotation)
            .or_else(|| read(bytes, Self::Recovery))
            .or_else(|| read(bytes, Self::Objection))
            .or_else(|| read(bytes, Self::Takeover))
            .or_else(|| read(bytes, Self::Lock))
            .unwrap_or(Err(SignedError::Kind))
    }

    /// The exact bytes, as they travel.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Rotation(it) => it.bytes(),
            Self::Recovery(it) => it.bytes(),
            Self::Objection(it) => it.bytes(),
            Self::Takeover(it) => it.bytes(),
            Self::Lock(it) => it.bytes(),
        }
    }

    /// Tells two changes apart.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes())
    }

    /// The number of the account that it is about.
    #[must_use]
    pub const fn account(&self) -> u64 {
        match self {
            Self::Rotation(it) => it.statement().account,
            Self::Recovery(it) => it.statement().account,
            Self::Objection(it) => it.statement().account,
            Self::Takeover(it) => it.statement().account,
            Self::Lock(it) => it.statement().account,
        }
    }

    /// The statement's version, and that of the takeover in it.
    #[must_use]
    pub const fn versions(&self) -> [u8; 2] {
        match self {
            Self::Rotation(it) => {
                let rotation = it.statement();
                [rotation.version, rotation.takeover.statement().version]
            }
            Self::Recovery(it) => [it.statement().version; 2],
            Self::Objection(it) => [it.statement().version; 2],
            Self::Takeover(it) => [it.statement().version; 2],
            Self::Lock(it) => [it.statement().version; 2],
        }
    }

    /// The ledger of the statement, and that of the takeover in it.
    #[must_use]
    pub const fn ledgers(&self) -> [LedgerId; 2] {
        match self {
            Self::Rotation(it) => {
                let rotation = it.statement();
                [rotation.ledger, rotation.takeover.statement().ledger]
            }
            Self::Recovery(it) => [it.statement().ledger; 2],
            Self::Objection(it) => [it.statement().ledger; 2],
            Self::Takeover(it) => [it.statement().ledger; 2],
            Self::Lock(it) => [it.statement().ledger; 2],
        }
    }

    /// The entry's fact that this becomes.
    #[must_use]
    pub fn into_fact(self) -> Fact {
        match self {
            Self::Rotation(it) => Fact::Rotation(it),
            Self::Recovery(it) => Fact::Recovery(it),
            Self::Objection(it) => Fact::Objection(it),
            Self::Takeover(it) => Fact::Takeover(it),
            Self::Lock(it) => Fact::Lock(it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::SIGNED_LEN_MAX;

    #[test]
    fn each_change_is_read_as_what_it_is_and_nothing_else_is_one() {
        let [old, new, recovery] = [1, 2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let ledger = LedgerId([7; 32]);
        let most = u64::MAX;
        let changes = [
            Change::Rotation(Rotation::sign(ledger, most, most, &old, &new)),
            Change::Recovery(Recovery::sign(ledger, most, most, new.public(), &recovery)),
            Change::Objection(Objection::sign(ledger, most, most, &old)),
            Change::Takeover(Takeover::sign(ledger, most, &new)),
            Change::Lock(Lock::sign(ledger, most, most, true, &recovery)),
        ];
        for change in changes {
            let bytes = change.bytes();
            assert!(bytes.len() <= SIGNED_LEN_MAX, "{change:?}");
            assert_eq!(Change::from_bytes(bytes), Ok(change.clone()));
            assert_eq!(change.account(), most);
            assert!(change.into_fact().signatures().len() <= 2);
        }
        let registration = Signed::new(
            crate::entry::Registration {
                directory: old.public(),
                name: "alice".parse().expect("a name"),
                key: new.public(),
                recovery: None,
            },
            &new,
        );
        assert_eq!(
            Change::from_bytes(registration.bytes()),
            Err(SignedError::Kind)
        );
        assert!(Change::from_bytes(&[]).is_err());
    }

    #[test]
    fn a_rotation_whose_takeover_is_damaged_is_none() {
        let [old, new] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let rotation = Rotation::sign(LedgerId([7; 32]), 4, 9, &old, &new);
        assert_eq!(rotation.statement().successor(), new.public());
        for bit in 0..rotation.bytes().len() * 8 {
            let mut bytes = rotation.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let genuine = Change::from_bytes(&bytes).is_ok_and(|change| {
                change
                    .into_fact()
                    .signatures()
                    .into_iter()
                    .all(|(key, message, signature)| key.verify(&message, &signature))
            });
            assert!(!genuine, "bit {bit} flipped");
        }
    }
}
