//! The messages between nodes and directory and between two nodes: one table of kinds, never
//! reused. PROTOCOL.md, "Messages", says who may send which when; `quid.cddl` gives their shapes.

use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::amount::{Amount, Currency};
use crate::cbor::{self, CborError};
use crate::chain::Link;
use crate::checkpoint::Checkpoint;
use crate::frame::{self, Frame};
use crate::id::{Digest, InstanceId, LedgerId, OrderId, Reference};
use crate::key::PublicKey;
use crate::name::Name;
use crate::order::Memo;
use crate::receipt::Receipt;
use crate::refusal::Reason;
use crate::time::LedgerTime;

pub use self::run::Run;

/// Most people or history lines in one page.
pub const PAGE_LEN_MAX: u16 = 200;

/// Why a connection was closed (QUIC application error code). PROTOCOL.md, "Closing".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// Done; nothing is wrong.
    pub const BYE: Self = Self(0);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1);
    /// The peer took too long to log in or to finish a message.
    pub const TIMEOUT: Self = Self(2);
    /// No room for another connection.
    pub const FULL: Self = Self(3);
    /// The directory stops or restarts; come back.
    pub const STOPPING: Self = Self(4);
    /// The peer reads too slowly.
    pub const SLOW: Self = Self(5);
    /// The account has another key now; this one does not serve any more.
    pub const REPLACED: Self = Self(6);
}

macro_rules! messages {
    ($($(#[$doc:meta])+ $number:literal $name:ident { $($(#[$field_doc:meta])+ $field:ident: $type:ty,)* })+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
            pub struct $name { $($(#[$field_doc])+ pub $field: $type,)* }

            impl $name {
                /// The message's number.
                pub const KIND: u16 = $number;
            }

            impl From<$name> for Message {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )+

        /// Any message of this version.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is documented on its own type")]
        pub enum Message { $($name($name),)+ }

        impl Message {
            /// The message's number and name, for every kind of this version.
            pub const KINDS: &'static [(u16, &'static str)] = &[$(($number, stringify!($name)),)+];

            /// The message's number.
            #[must_use]
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$name(_) => $number,)+ }
            }

            /// The message in its one encoding.
            #[must_use]
            pub fn to_frame(&self) -> Frame {
                match self {
                    $(Self::$name(body) => Frame { kind: $number, body: cbor::encode(body) },)+
                }
            }

            /// Appends the message's frame to `out`, so that many leave in one write.
            pub fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(body) => frame::write($number, out, |out| cbor::encode_to(body, out)),)+
                }
            }

            /// Reads the message in a frame. On a settle stream and between two nodes, let [`Run::read`]
            /// make it whole.
            ///
            /// # Errors
            /// [`MessageError`] for an unknown kind and for anything but the one encoding.
            pub fn from_frame(frame: &Frame) -> Result<Self, MessageError> {
                Self::read(frame.kind, &frame.body)
            }

            /// Reads the message of this kind in a frame's body.
            ///
            /// # Errors
            /// As [`Self::from_frame`].
            pub fn read(kind: u16, body: &[u8]) -> Result<Self, MessageError> {
                match kind {
                    $($number => Ok(Self::$name(cbor::decode(body)?)),)+
                    kind => Err(MessageError::Kind(kind)),
                }
            }
        }
    };
}

messages! {
    /// Stranger: ties the connection's key to a name. Answered by [`Registered`].
    1 Register {
        /// A signed [`crate::entry::Registration`].
        registration: ByteBuf,
        /// What the operator gave out, where registration is by invitation.
        invite: Option<String>,
    }
    /// The name is the key's; repeated by the same key and name it is the same entry.
    2 Registered {
        /// Proves the registration's entry.
        receipt: Receipt,
    }
    /// Stranger: starts the session. Answered by [`Welcome`].
    3 Login {
        /// Which run of the node's program this is.
        instance: InstanceId,
        /// Whether this session receives from peers; only then it has presence.
        listening: bool,
        /// Listening, but neither in `who` nor offered to payers.
        hidden: bool,
        /// The newest checkpoint that the node has seen of this ledger.
        checkpoint: Option<Checkpoint>,
    }
    /// The session has started.
    4 Welcome {
        /// The account's name.
        name: Name,
        /// The account's number, for ever.
        number: u64,
        /// What is counted.
        currency: Currency,
        /// The ledger.
        ledger: LedgerId,
        /// The ledger's time now.
        time: LedgerTime,
        /// What the account can spend.
        available: Amount,
        /// What is reserved for its tabs.
        held: Amount,
        /// The address from which the directory sees this connection, HOST:PORT.
        address: String,
        /// The newest durable log head.
        checkpoint: Checkpoint,
        /// Most orders, voids and submissions about tabs in flight on a settle stream.
        in_flight: u16,
    }
    /// The request was refused.
    5 Refused {
        /// Why.
        reason: Reason,
    }
    /// What an account's keys say about it; from anybody, before or after login. Answered by
    /// [`KeysChanged`].
    6 ChangeKeys {
        /// A signed [`crate::account::Change`].
        change: ByteBuf,
    }
    /// It is in the log; repeated it is the same entry.
    7 KeysChanged {
        /// Proves the entry.
        receipt: Receipt,
    }
    /// Asks where the keys of an account stand; from anybody, before or after login. Answered by
    /// [`KeysStanding`].
    8 AskKeys {
        /// The account's name.
        name: Name,
    }
    /// The keys of an account.
    9 KeysStanding {
        /// The ledger.
        ledger: LedgerId,
        /// The ledger's time now.
        time: LedgerTime,
        /// The account's number, for ever.
        account: u64,
        /// Its key.
        key: PublicKey,
        /// Its recovery key.
        recovery: Option<PublicKey>,
        /// Whether the operator has frozen it.
        frozen: bool,
        /// Whether its own keys have.
        locked: bool,
        /// The entry of its key's last word, to be named in the next.
        said: u64,
        /// The entry of its recovery key's last word, to be named in the next.
        recovery_said: u64,
        /// A recovery that has been announced.
        pending: Option<PendingRecovery>,
    }
    /// Asks which key followed a key that was replaced; from anybody, before or after login.
    /// Answered by [`Successor`].
    10 AskSuccessor {
        /// The key.
        key: PublicKey,
    }
    /// What replaced a key.
    11 Successor {
        /// Proves the rotation or takeover by which the next key followed; absent if the key was not
        /// replaced.
        receipt: Option<Receipt>,
    }

    /// Asks who is online. Answered by [`WhoPage`].
    16 Who {
        /// The last name of the page before.
        after: Option<Name>,
        /// Most people wanted, at most [`PAGE_LEN_MAX`].
        limit: u16,
    }
    /// Who is online, by name.
    17 WhoPage {
        /// The people.
        people: Vec<Person>,
        /// Whether there are more after the last.
        more: bool,
    }
    /// Asks for an account by its name. Answered by [`Found`].
    18 Find {
        /// The name.
        name: Name,
    }
    /// An account.
    19 Found {
        /// The account's current key.
        key: PublicKey,
        /// Where its newest listening session can be reached, if any.
        address: Option<String>,
    }
    /// Asks for the account's own balance. Answered by [`Balance`].
    20 AskBalance {}
    /// What the account owns after every entry acknowledged so far.
    21 Balance {
        /// What the account can spend.
        available: Amount,
        /// What is reserved for its tabs.
        held: Amount,
        /// The ledger's time.
        time: LedgerTime,
    }
    /// Asks for the account's own history, newest first. Answered by [`HistoryPage`].
    22 AskHistory {
        /// Only entries below this.
        before: Option<u64>,
        /// Only entries above this.
        after: Option<u64>,
        /// Most lines wanted, at most [`PAGE_LEN_MAX`].
        limit: u16,
    }
    /// A page of history.
    23 HistoryPage {
        /// The lines, newest first.
        lines: Vec<HistoryLine>,
        /// Whether there are older ones in the range asked for.
        more: bool,
    }
    /// Asks for the fate of an order by or to the account, or of a tab's opening. Answered by
    /// [`Fate`].
    24 AskFate {
        /// The payer of the order or tab.
        payer: PublicKey,
        /// The order or tab.
        id: OrderId,
    }
    /// What the ledger knows of an order or tab. Without a receipt it has not met it so far.
    25 Fate {
        /// Proves the entry that settled or opened it, refused it or voided it.
        receipt: Option<Receipt>,
        /// The ledger's time: from the order's expiry on, an order not met can never settle.
        time: LedgerTime,
    }
    /// Asks for the receipt of an entry that concerns the account. Answered by [`Proof`].
    26 Prove {
        /// The entry.
        entry: u64,
    }
    /// A receipt under a recent checkpoint.
    27 Proof {
        /// The receipt.
        receipt: Receipt,
    }
    /// Asks how the log goes on from its first entries to more of them. Answered by
    /// [`Consistency`].
    28 AskConsistency {
        /// The number of first entries, at least 1.
        from: u64,
        /// The number of entries up to which it goes on.
        to: u64,
    }
    /// That the log begins with what it began with.
    29 Consistency {
        /// The root over the first entries asked about, as this directory's log has them.
        root: Digest,
        /// The consistency proof from there on (RFC 6962, 2.1.2): 32 bytes a hash, empty between
        /// two equal numbers.
        proof: ByteBuf,
    }
    /// Asks where a tab by or to the account stands. Answered by [`TabStanding`].
    30 AskTab {
        /// The tab's payer.
        payer: PublicKey,
        /// The tab.
        id: OrderId,
    }
    /// What the books have of a tab.
    31 TabStanding {
        /// The tab, if it is open.
        tab: Option<OpenTab>,
        /// The ledger's time.
        time: LedgerTime,
    }

    /// Makes this a settle stream: from now on [`Submit`], [`SubmitVoid`], [`SubmitTab`],
    /// [`SubmitClaim`] and [`SubmitClose`] are sent on it and answered by [`Settled`], [`Voided`]
    /// or [`SubmitRefused`], matched by number alone.
    32 OpenSettle {}
    /// An order for settlement.
    33 Submit {
        /// The submitter's own number for this; comes back with the answer.
        number: u64,
        /// The signed order, unchanged.
        order: ByteBuf,
        /// The payee's signed decline, which makes the refusal final.
        decline: Option<ByteBuf>,
    }
    /// A void.
    34 SubmitVoid {
        /// The submitter's own number.
        number: u64,
        /// The signed void.
        void: ByteBuf,
    }
    /// The order has settled, the tab is open, claimed or closed, and the entry is durable.
    35 Settled {
        /// The submitter's number.
        number: u64,
        /// The receipt of the payment, or of the tab's opening, claim or close.
        receipt: Receipt,
    }
    /// The order is void and its tombstone is durable.
    36 Voided {
        /// The submitter's number.
        number: u64,
        /// The receipt of the void.
        receipt: Receipt,
    }
    /// The order was refused.
    37 SubmitRefused {
        /// The submitter's number.
        number: u64,
        /// Why.
        reason: Reason,
        /// Proves a logged refusal.
        receipt: Option<Receipt>,
    }

    /// Terms whose tab is to be opened. Answered by [`Settled`] or [`SubmitRefused`].
    38 SubmitTab {
        /// The submitter's own number.
        number: u64,
        /// The signed [`crate::tab::Terms`].
        terms: ByteBuf,
    }
    /// A payee's claim. Answered by [`Settled`] or [`SubmitRefused`].
    39 SubmitClaim {
        /// The submitter's own number.
        number: u64,
        /// The tab's payer.
        payer: PublicKey,
        /// The tab.
        id: OrderId,
        /// The units claimed so far.
        from: u32,
        /// The units to be claimed after this, at most [`crate::chain::GAP_MAX`] more.
        index: u32,
        /// The link that pays them.
        link: Link,
    }
    /// A tab's end before its time. Answered by [`Settled`] or [`SubmitRefused`].
    40 SubmitClose {
        /// The submitter's own number.
        number: u64,
        /// The signed [`crate::tab::Close`].
        close: ByteBuf,
    }

    /// A [`Settled`] whose receipt has the checkpoint of the last one on this stream, without what both
    /// have; see [`Run`].
    41 SettledNext {
        /// The submitter's number.
        number: u64,
        /// The receipt's entry.
        entry: ByteBuf,
        /// The entry's place in the log.
        index: u64,
        /// The lowest hashes of its path.
        path: ByteBuf,
        /// How many hashes above those are the highest of the last receipt's path.
        shared: u8,
    }

    /// Makes this an event stream: what concerns the account from now on, and first all payments
    /// to it since an entry, so that nothing is missed between two sessions.
    48 Subscribe {
        /// Payments above this entry are told first; none of the past if absent.
        after: Option<u64>,
        /// Whether presence is wanted too: who is online first, then changes.
        presence: bool,
    }
    /// An entry that moved money from or to the account.
    49 Moved {
        /// Proves it.
        receipt: Receipt,
        /// Who is on the other side.
        counterparty: Name,
    }
    /// Somebody is online, newly or still.
    50 Online {
        /// Who and where.
        person: Person,
    }
    /// Somebody has gone.
    51 Offline {
        /// Who.
        name: Name,
        /// Their key.
        key: PublicKey,
    }
    /// The current state has been told; what follows is new.
    52 CaughtUp {
        /// Entries up to this number (exclusive) have been told.
        entries: u64,
    }
    /// More happened than the session could take: subscribe again.
    53 Lagged {}

    /// Peer: offers an order to its payee. Answered by [`Paid`] or [`Declined`].
    64 Offer {
        /// The payer's own number for this; comes back with the answer.
        number: u64,
        /// The signed order.
        order: ByteBuf,
        /// The newest checkpoint that the payer has seen.
        checkpoint: Option<Checkpoint>,
    }
    /// Peer: the order has settled.
    65 Paid {
        /// The payer's number.
        number: u64,
        /// The receipt of the payment.
        receipt: Receipt,
    }
    /// Peer: the payee says no, or passes on what the directory said. A hint: only the directory's
    /// answer to the payer is final.
    66 Declined {
        /// The payer's number.
        number: u64,
        /// Why.
        reason: Reason,
    }

    /// Peer: a [`Paid`] whose receipt has the checkpoint of the last one on this stream, without what both
    /// have; see [`Run`].
    67 PaidNext {
        /// The payer's number.
        number: u64,
        /// The receipt's entry.
        entry: ByteBuf,
        /// The entry's place in the log.
        index: u64,
        /// The lowest hashes of its path.
        path: ByteBuf,
        /// How many hashes above those are the highest of the last receipt's path.
        shared: u8,
    }

    /// Peer: makes this a tab stream, on which all tabs between the two nodes run.
    80 OpenTabs {}
    /// Peer: shows the payee a tab that is open, newly or again. Answered by [`TabAccepted`] or
    /// [`TabEnded`].
    81 TabOffer {
        /// The payer's own number for the tab on this stream.
        number: u32,
        /// Proves that the tab was opened; its entry holds the terms.
        receipt: Receipt,
        /// The newest checkpoint that the payer has seen.
        checkpoint: Option<Checkpoint>,
    }
    /// Peer: the payee takes payments for the tab.
    82 TabAccepted {
        /// The payer's number.
        number: u32,
        /// The units that the payee can prove to be paid.
        paid: u32,
        /// The link that proves them; the anchor if there are none.
        link: Link,
        /// The units up to which it takes payments for now.
        limit: u32,
    }
    /// Peer: pays. Answered by [`TabPaid`], which need not come for each.
    83 TabPay {
        /// The payer's number.
        number: u32,
        /// The units that are paid after the first link.
        first: u32,
        /// How many units each further link pays.
        step: u32,
        /// The links, 32 bytes each, at most [`LINKS_MAX`].
        links: ByteBuf,
    }
    /// Peer: payments have been checked.
    84 TabPaid {
        /// The payer's number.
        number: u32,
        /// The units that are paid.
        paid: u32,
        /// The units up to which the payee takes payments for now.
        limit: u32,
    }
    /// Peer: the payer wants no more. Answered by [`TabEnded`] once the payee has claimed and
    /// closed.
    85 TabEnd {
        /// The payer's number.
        number: u32,
    }
    /// Peer: the payee takes no more payments for the tab.
    86 TabEnded {
        /// The payer's number.
        number: u32,
        /// The units that were paid.
        paid: u32,
        /// Why, unless it has been closed as was asked.
        reason: Option<Reason>,
    }
}

/// A [`TabPay`] whose links are read and written where they stand: there may be millions a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TabPayRef<'a> {
    /// See [`TabPay::number`].
    pub number: u32,
    /// See [`TabPay::first`].
    pub first: u32,
    /// See [`TabPay::step`].
    pub step: u32,
    /// See [`TabPay::links`].
    pub links: &'a [u8],
}

impl<'a> TabPayRef<'a> {
    /// Reads the body of a [`TabPay`].
    ///
    /// # Errors
    /// [`CborError`] for anything but its one encoding.
    pub fn read(body: &'a [u8]) -> Result<Self, CborError> {
        let rest = body.strip_prefix(&[ARRAY_OF_4]).ok_or(CborError::Shape)?;
        let (number, rest) = cbor::u32(rest)?;
        let (first, rest) = cbor::u32(rest)?;
        let (step, rest) = cbor::u32(rest)?;
        let links = cbor::byte_string(rest)?;
        if !links.rest.is_empty() {
            return Err(CborError::Trailing);
        }
        Ok(Self {
            number,
            first,
            step,
            links: links.content,
        })
    }

    /// Appends the message's frame to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        let links = serde_bytes::Bytes::new(self.links);
        let body = (self.number, self.first, self.step, links);
        frame::write(TabPay::KIND, out, |out| cbor::encode_to(&body, out));
    }
}

/// The head of a CBOR array of four.
const ARRAY_OF_4: u8 = 0x84;

/// Most links in one [`TabPay`].
pub const LINKS_MAX: usize = 126;

/// A tab as the books have it ([`crate::tab::Tab`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct OpenTab {
    /// Who may claim.
    pub payee: PublicKey,
    /// What each link is worth.
    pub unit: Amount,
    /// How many there are.
    pub length: u32,
    /// How many have been claimed.
    pub claimed: u32,
    /// The last link claimed; the anchor if none was.
    pub link: Link,
    /// From when on links no longer count.
    pub expires: LedgerTime,
    /// From when on the rest may be released.
    pub until: LedgerTime,
}

/// A recovery that has been announced and has not taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PendingRecovery {
    /// The entry that announced it.
    pub announced: u64,
    /// The key that shall be the account's.
    pub successor: PublicKey,
    /// From which ledger time on it may take over.
    pub due: LedgerTime,
    /// Whether the account's key has objected.
    pub contested: bool,
}

/// Somebody online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Person {
    /// Their name.
    pub name: Name,
    /// Their key.
    pub key: PublicKey,
    /// Where they can be reached, HOST:PORT.
    pub address: String,
}

/// One line of an account's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct HistoryLine {
    /// The entry's number in the log.
    pub entry: u64,
    /// Its ledger time.
    pub time: LedgerTime,
    /// One of [`history_kind`]'s.
    pub kind: u8,
    /// Whether the account received (true) or paid (false).
    pub incoming: bool,
    /// How much.
    pub amount: Amount,
    /// Who is on the other side.
    pub counterparty: Name,
    /// The payer's words.
    pub memo: Memo,
    /// The order, for payments and burns; the tab, for what moved by one.
    pub order: Option<OrderId>,
    /// The order's reference.
    pub reference: Option<Reference>,
}

/// The kinds of a [`HistoryLine`].
pub mod history_kind {
    /// An order settled.
    pub const PAYMENT: u8 = 1;
    /// The operator issued money.
    pub const ISSUE: u8 = 2;
    /// An order to the treasury settled.
    pub const BURN: u8 = 3;
    /// A tab was opened; the hold left what the payer can spend.
    pub const HOLD: u8 = 4;
    /// A payee claimed; to the payer it comes out of a hold.
    pub const CLAIM: u8 = 5;
    /// What was left of a hold came back to the payer.
    pub const RELEASE: u8 = 6;
}

/// Why a frame is not a message of this version.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// A kind that this version does not know.
    #[error("message kind {0} is not known")]
    Kind(u16),
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] CborError),
    /// A receipt rests on one that was not before it on its stream.
    #[error("a receipt goes on from one that was not there")]
    Run,
}

impl MessageError {
    /// The refusal that answers such a message.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Kind(_) => Reason::UNKNOWN_KIND,
            Self::Body(_) | Self::Run => Reason::ENCODING,
        }
    }
}

mod run;
#[cfg(test)]
mod tests;
