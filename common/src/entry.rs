//! Entries: the lines of the log, each one effect, each with what proves that it was wanted.
//!
//! An entry is `[version, time, kind, body]`; its leaf hash (RFC 6962) is taken over exactly these
//! bytes. All bodies but those of refusals, claims and releases are signed facts. PROTOCOL.md,
//! "Entries".

use serde_bytes::{ByteBuf, Bytes};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::account::{SignedLock, SignedObjection, SignedRecovery, SignedRotation, SignedTakeover};
use crate::amount::{Amount, Currency};
use crate::cbor::{self, CborError};
use crate::id::{Digest, LedgerId, OperationId, OrderId};
use crate::key::PublicKey;
use crate::name::Name;
use crate::order::{SignedOrder, SignedVoid};
use crate::refusal::Reason;
use crate::signed::{SIGNED_LEN_MAX, Signed, SignedError, Statement};
use crate::tab::{Claim, Release, SignedClose, SignedTerms};
use crate::time::LedgerTime;

/// Version of the entry encoding.
pub const ENTRY_VERSION: u8 = 1;

/// Longest entry in bytes.
pub const ENTRY_LEN_MAX: usize = SIGNED_LEN_MAX + 32;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The ledger time of its batch.
    pub time: LedgerTime,
    /// What happened.
    pub fact: Fact,
}

/// What an entry says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The ledger began; always entry 0, and its leaf hash is the ledger's id.
    Genesis(Signed<Genesis>),
    /// A key took a name.
    Register(Signed<Registration>),
    /// The operator issued money to an account.
    Issue(Signed<Issue>),
    /// An order settled; one to the treasury burns the money.
    Payment(SignedOrder),
    /// A payer voided an order before it settled.
    Void(SignedVoid),
    /// The operator froze or thawed an account.
    Freeze(Signed<Freeze>),
    /// An order or a tab was refused for the state it met; its id is burnt.
    Refusal(Refusal),
    /// A payer opened a tab: the hold is reserved.
    Tab(SignedTerms),
    /// A payee claimed a part of a hold.
    Claim(Claim),
    /// A payer or payee closed a tab before its time.
    Close(SignedClose),
    /// What was left of a hold returned to its payer, and the tab is no more.
    Release(Release),
    /// An account's key was replaced, by itself.
    Rotation(SignedRotation),
    /// An account's recovery key announced another key.
    Recovery(SignedRecovery),
    /// An account's key objected to that.
    Objection(SignedObjection),
    /// An account's key was replaced by the one that its recovery key had announced.
    Takeover(SignedTakeover),
    /// An account's own keys froze or thawed it.
    Lock(SignedLock),
}

/// How a ledger begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Genesis {
    /// The directory's key, which is also the treasury's, and must have signed.
    pub directory: PublicKey,
    /// What is counted.
    pub currency: Currency,
    /// Random, so that two ledgers of one directory differ.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
}

impl Statement for Genesis {
    const CONTENT_TYPE: &'static str = "quid/genesis";

    fn signer(&self) -> PublicKey {
        self.directory
    }
}

/// A key's wish to be known by a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Registration {
    /// The directory asked.
    pub directory: PublicKey,
    /// The name wanted.
    pub name: Name,
    /// The account's key, which must have signed.
    pub key: PublicKey,
    /// A key kept elsewhere that can take over one day.
    pub recovery: Option<PublicKey>,
}

impl Statement for Registration {
    const CONTENT_TYPE: &'static str = "quid/registration";

    fn signer(&self) -> PublicKey {
        self.key
    }
}

/// The operator's issuing of money from the treasury.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Issue {
    /// The directory's key, which must have signed.
    pub directory: PublicKey,
    /// The ledger.
    pub ledger: LedgerId,
    /// Makes a repetition harmless.
    pub operation: OperationId,
    /// Who receives.
    pub account: PublicKey,
    /// How much.
    pub amount: Amount,
}

impl Statement for Issue {
    const CONTENT_TYPE: &'static str = "quid/issue";

    fn signer(&self) -> PublicKey {
        self.directory
    }
}

/// The operator's freezing or thawing of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Freeze {
    /// The directory's key, which must have signed.
    pub directory: PublicKey,
    /// The ledger.
    pub ledger: LedgerId,
    /// Makes a repetition harmless.
    pub operation: OperationId,
    /// Whose account.
    pub account: PublicKey,
    /// Frozen from now on, or thawed.
    pub frozen: bool,
}

impl Statement for Freeze {
    const CONTENT_TYPE: &'static str = "quid/freeze";

    fn signer(&self) -> PublicKey {
        self.directory
    }
}

/// A logged refusal, kept short: what burnt which id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Refusal {
    /// The payer of the order or tab.
    pub payer: PublicKey,
    /// Its id.
    pub id: OrderId,
    /// The exact order or terms refused.
    pub order: Digest,
    /// Why; of class [`crate::refusal::Class::Logged`].
    pub reason: Reason,
}

impl Entry {
    /// The entry's one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let own;
        let (kind, body) = match &self.fact {
            Fact::Genesis(fact) => (GENESIS, fact.bytes()),
            Fact::Register(fact) => (REGISTER, fact.bytes()),
            Fact::Issue(fact) => (ISSUE, fact.bytes()),
            Fact::Payment(order) => (PAYMENT, order.bytes()),
            Fact::Void(void) => (VOID, void.bytes()),
            Fact::Freeze(fact) => (FREEZE, fact.bytes()),
            Fact::Refusal(fact) => {
                own = cbor::encode(fact);
                (REFUSAL, own.as_slice())
            }
            Fact::Tab(terms) => (TAB, terms.bytes()),
            Fact::Claim(claim) => {
                own = cbor::encode(claim);
                (CLAIM, own.as_slice())
            }
            Fact::Close(close) => (CLOSE, close.bytes()),
            Fact::Release(release) => {
                own = cbor::encode(release);
                (RELEASE, own.as_slice())
            }
            Fact::Rotation(fact) => (ROTATION, fact.bytes()),
            Fact::Recovery(fact) => (RECOVERY, fact.bytes()),
            Fact::Objection(fact) => (OBJECTION, fact.bytes()),
            Fact::Takeover(fact) => (TAKEOVER, fact.bytes()),
            Fact::Lock(fact) => (LOCK, fact.bytes()),
        };
        let envelope = (ENTRY_VERSION, self.time, kind, Bytes::new(body));
        let mut bytes = Vec::with_capacity(body.len().saturating_add(ENVELOPE_LEN_MAX));
        cbor::encode_to(&envelope, &mut bytes);
        bytes
    }

    /// Reads an entry, without judging the signature in it.
    ///
    /// # Errors
    /// [`EntryError`] for anything but an entry's one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_LEN_MAX {
            return Err(EntryError::Length(bytes.len()));
        }
        let envelope: Envelope = cbor::decode(bytes)?;
        if envelope.version != ENTRY_VERSION {
            return Err(EntryError::Version(envelope.version));
        }
        let body = envelope.body.into_vec();
        let fact = match envelope.kind {
            GENESIS => Fact::Genesis(Signed::from_vec(body)?),
            REGISTER => Fact::Register(Signed::from_vec(body)?),
            ISSUE => Fact::Issue(Signed::from_vec(body)?),
            PAYMENT => Fact::Payment(Signed::from_vec(body)?),
            VOID => Fact::Void(Signed::from_vec(body)?),
            FREEZE => Fact::Freeze(Signed::from_vec(body)?),
            REFUSAL => Fact::Refusal(cbor::decode(&body)?),
            TAB => Fact::Tab(Signed::from_vec(body)?),
            CLAIM => Fact::Claim(cbor::decode(&body)?),
            CLOSE => Fact::Close(Signed::from_vec(body)?),
            RELEASE => Fact::Release(cbor::decode(&body)?),
            ROTATION => Fact::Rotation(Signed::from_vec(body)?),
            RECOVERY => Fact::Recovery(Signed::from_vec(body)?),
            OBJECTION => Fact::Objection(Signed::from_vec(body)?),
            TAKEOVER => Fact::Takeover(Signed::from_vec(body)?),
            LOCK => Fact::Lock(Signed::from_vec(body)?),
            kind => return Err(EntryError::Kind(kind)),
        };
        Ok(Self {
            time: envelope.time,
            fact,
        })
    }

    /// The signed order in the bytes of an entry that is a payment; `None` in another's.
    ///
    /// # Errors
    /// [`EntryError`] for anything but an entry's envelope. The order is not looked at.
    pub fn payment_in(bytes: &[u8]) -> Result<Option<&[u8]>, EntryError> {
        let (version, _, kind, body): (u8, LedgerTime, u8, &Bytes) = cbor::decode(bytes)?;
        if version != ENTRY_VERSION {
            return Err(EntryError::Version(version));
        }
        Ok((kind == PAYMENT).then_some(body))
    }

    /// The order that this entry settled, if it is a payment.
    #[must_use]
    pub const fn order(&self) -> Option<&SignedOrder> {
        match &self.fact {
            Fact::Payment(order) => Some(order),
            _ => None,
        }
    }

    /// The terms of the tab that this entry opened, if it did.
    #[must_use]
    pub const fn terms(&self) -> Option<&SignedTerms> {
        match &self.fact {
            Fact::Tab(terms) => Some(terms),
            _ => None,
        }
    }
}

/// A key, the message and the signature of it to verify.
pub type ToVerify = (PublicKey, Vec<u8>, [u8; 64]);

impl Fact {
    /// The id that the entry uses up for ever, with its payer under the key of then: that of an
    /// order, a tab, a void or a refusal.
    #[must_use]
    pub fn used_id(&self) -> Option<(PublicKey, OrderId)> {
        match self {
            Self::Payment(order) => Some((order.statement().payer, order.statement().id)),
            Self::Void(void) => Some((void.statement().payer, void.statement().id)),
            Self::Refusal(refusal) => Some((refusal.payer, refusal.id)),
            Self::Tab(terms) => Some((terms.statement().payer, terms.statement().id)),
            Self::Genesis(_)
            | Self::Register(_)
            | Self::Issue(_)
            | Self::Freeze(_)
            | Self::Claim(_)
            | Self::Close(_)
            | Self::Release(_)
            | Self::Rotation(_)
            | Self::Recovery(_)
            | Self::Objection(_)
            | Self::Takeover(_)
            | Self::Lock(_) => None,
        }
    }

    /// The digest of the order or the terms that [`Self::used_id`] is of; none of a void, which
    /// stands for whatever its payer signed.
    #[must_use]
    pub fn order_digest(&self) -> Option<Digest> {
        match self {
            Self::Payment(order) => Some(order.digest()),
            Self::Refusal(refusal) => Some(refusal.order),
            Self::Tab(terms) => Some(terms.digest()),
            _ => None,
        }
    }

    /// What is to be verified: the signer's signature, and in a rotation the new key's too. None of
    /// a refusal, a claim and a release, which nobody signs: a claim's proof is its link.
    #[must_use]
    pub fn signatures(&self) -> Vec<ToVerify> {
        fn of<T: Statement>(fact: &Signed<T>) -> ToVerify {
            (fact.statement().signer(), fact.message(), *fact.signature())
        }
        match self {
            Self::Genesis(fact) => vec![of(fact)],
            Self::Register(fact) => vec![of(fact)],
            Self::Issue(fact) => vec![of(fact)],
            Self::Payment(fact) => vec![of(fact)],
            Self::Void(fact) => vec![of(fact)],
            Self::Freeze(fact) => vec![of(fact)],
            Self::Tab(fact) => vec![of(fact)],
            Self::Close(fact) => vec![of(fact)],
            Self::Rotation(fact) => vec![of(fact), of(&fact.statement().takeover)],
            Self::Recovery(fact) => vec![of(fact)],
            Self::Objection(fact) => vec![of(fact)],
            Self::Takeover(fact) => vec![of(fact)],
            Self::Lock(fact) => vec![of(fact)],
            Self::Refusal(_) | Self::Claim(_) | Self::Release(_) => Vec::new(),
        }
    }
}

impl EntryError {
    /// Whether nothing is damaged, and a newer program can read it.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Kind(_))
    }
}

/// Why bytes are not an entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// Longer than [`ENTRY_LEN_MAX`].
    #[error("an entry has at most {ENTRY_LEN_MAX} bytes, this has {0}")]
    Length(usize),
    /// Of a later version.
    #[error("the entry's version {0} is not known; a newer program wrote it")]
    Version(u8),
    /// Of a kind that this version does not know.
    #[error("the entry's kind {0} is not known; a newer program wrote it")]
    Kind(u8),
    /// Not an entry's encoding.
    #[error(transparent)]
    Encoding(#[from] CborError),
    /// The signed fact inside cannot be read.
    #[error(transparent)]
    Fact(#[from] SignedError),
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Envelope {
    version: u8,
    time: LedgerTime,
    kind: u8,
    body: ByteBuf,
}

/// Bytes of an entry beside its body, at most.
const ENVELOPE_LEN_MAX: usize = 32;

// Never reused. PROTOCOL.md, "Entries".
const GENESIS: u8 = 1;
const REGISTER: u8 = 2;
const ISSUE: u8 = 3;
const PAYMENT: u8 = 4;
const VOID: u8 = 5;
const FREEZE: u8 = 6;
const REFUSAL: u8 = 7;
const TAB: u8 = 8;
const CLAIM: u8 = 9;
const CLOSE: u8 = 10;
const RELEASE: u8 = 11;
const ROTATION: u8 = 12;
const RECOVERY: u8 = 13;
const OBJECTION: u8 = 14;
const TAKEOVER: u8 = 15;
const LOCK: u8 = 16;
