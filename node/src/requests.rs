//! Requests to be paid, refunds, and what becomes of them.
//!
//! A link pays once for each home: the order that does it is written down together with what it is
//! for, and whoever pays the same link again is told of that order. A request that is paid *once*
//! goes straight to its payee or not at all, since only the payee can tell a second payer no. An
//! order that pays a request expires no later than it: the ledger lets nothing settle after that.

use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Memo, Order};
use quid_common::request::{REQUEST_LIFE_DEFAULT, Request, RequestLink, Wanted};
use quid_common::tab::GRACE_DEFAULT;
use quid_common::time::LedgerTime;
use thiserror::Error;

use crate::intent::Intent;
use crate::journal::Purpose;
use crate::pay::{Outcome, PayError, WAIT_DEFAULT};
use crate::tabs::{EXPIRES_DEFAULT, TabOutcome};

/// A wish to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// What is wanted.
    pub wanted: Wanted,
    /// A word to the payer.
    pub memo: Memo,
    /// How long it can be paid, at most
    /// [`REQUEST_LIFE_MAX`](quid_common::request::REQUEST_LIFE_MAX).
    pub life: Duration,
    /// Whether it is to be paid once in all, whoever pays. Then this home has to listen to be paid.
    pub once: bool,
}

impl RequestTerms {
    /// Asks for this, for an hour, of anybody, without a memo.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            memo: Memo::default(),
            life: REQUEST_LIFE_DEFAULT,
            once: false,
        }
    }
}

/// A request that this home made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestItem {
    /// What to hand to payers.
    pub link: RequestLink,
    /// How it stands.
    pub stage: RequestStage,
    /// The entries that paid it, or opened tabs for it, oldest first, 256 at most.
    pub entries: Vec<u64>,
    /// Whether it was cancelled ([`crate::Node::cancel_request`]), whatever paid it before.
    pub cancelled: bool,
}

/// A request that was cancelled, and what cancelling it does not undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledRequest {
    /// It, with the entries that paid it before.
    pub item: RequestItem,
    /// The orders that pay it and were accepted before. They may have settled, or may yet: the node
    /// that listens goes on asking about them.
    pub coming: Vec<OrderId>,
    /// Whether the directory could be asked what else has settled, of which this home has not heard.
    pub asked: bool,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestStage {
    /// It can be paid, and nobody has.
    Open,
    /// It was paid. One that is not paid once can be paid again until it expires.
    Paid,
    /// It was cancelled, and nobody had paid it.
    Cancelled,
    /// Its time is over, and nobody paid it.
    Expired,
    /// Nothing of a payment has been heard, and the directory cannot be asked.
    Unknown,
}

/// What is known before a request is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// The payee's key, which the directory says is that of the name in the request.
    pub key: PublicKey,
    /// Whether this home has paid that name before, under this key.
    pub known: bool,
    /// Whether the payee listens.
    pub online: bool,
    /// The order or tab of this home that answers the same link already.
    pub earlier: Option<OrderId>,
}

/// A wish to pay a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPayment {
    /// The request.
    pub link: RequestLink,
    /// How much, if the request leaves that to the payer.
    pub amount: Option<Amount>,
    /// A word to the payee instead of the request's own.
    pub memo: Option<Memo>,
    /// Pay once more although this order of the same link has settled.
    pub again: Option<OrderId>,
    /// Longest time that [`crate::Node::pay_request`] waits for the end.
    pub wait: Duration,
}

impl RequestPayment {
    /// Pays the request of `link`, once, and waits [`WAIT_DEFAULT`] at most.
    #[must_use]
    pub const fn new(link: RequestLink) -> Self {
        Self {
            link,
            amount: None,
            memo: None,
            again: None,
            wait: WAIT_DEFAULT,
        }
    }
}

/// A payment for a request or an intent, or a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The payment.
    pub outcome: Outcome,
    /// Whether it was made earlier: then nothing was sent now.
    pub earlier: bool,
}

/// A wish to open the tab that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOpening {
    /// The request.
    pub link: RequestLink,
    /// How long the tab can be paid on.
    pub expires: Duration,
    /// How long after that the payee may still claim, in whole seconds.
    pub grace: Duration,
    /// Open another one although this tab of the same link is over.
    pub again: Option<OrderId>,
    /// Longest time that [`crate::Node::open_request`] waits for the directory.
    pub wait: Duration,
}

impl RequestOpening {
    /// Opens the tab of `link` for an hour, with a minute's grace.
    #[must_use]
    pub const fn new(link: RequestLink) -> Self {
        Self {
            link,
            expires: EXPIRES_DEFAULT,
            grace: GRACE_DEFAULT,
            again: None,
            wait: WAIT_DEFAULT,
        }
    }
}

/// A tab for a request or an intent.
#[derive(Clone, Debug)]
pub struct AnsweredTab {
    /// The tab.
    pub outcome: TabOutcome,
    /// Whether it was opened earlier: then nothing was sent now.
    pub earlier: bool,
}

/// A wish to pay back what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The entry of the payment.
    pub entry: u64,
    /// A word to its payer.
    pub memo: Memo,
    /// Longest time that [`crate::Node::refund`] waits for the end.
    pub wait: Duration,
}

impl Refund {
    /// Pays back what came as `entry`, and waits [`WAIT_DEFAULT`] at most.
    #[must_use]
    pub fn new(entry: u64) -> Self {
        Self {
            entry,
            memo: Memo::default(),
            wait: WAIT_DEFAULT,
        }
    }
}

/// Why a request cannot be paid or an entry not refunded. Nothing was sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unpayable {
    /// The link is to another directory's ledger.
    #[error(
        "the request is for another directory, with the key {wanted}: pay it from a home of that \
         directory; nothing was sent"
    )]
    WrongDirectory {
        /// The key of that directory.
        wanted: PublicKey,
    },
    /// The request is for other books than those that the directory keeps now.
    #[error(
        "the request is for another ledger of this directory; nothing was sent: ask for another"
    )]
    WrongLedger,
    /// Its time is over.
    #[error("the request has expired; nothing was sent: ask for another")]
    Expired,
    /// The key that signed is not the one of the account whose name is in the request.
    #[error(
        "the request says that it is from {name}, but {signer} signed it and the key of {name} is \
         {key}; nothing was sent: ask {name} for another"
    )]
    NotTheirs {
        /// The name in the request.
        name: Name,
        /// Who signed.
        signer: PublicKey,
        /// The key of that name.
        key: PublicKey,
    },
    /// An amount was given that is not the request's.
    #[error("the request asks for another amount; nothing was sent: pay it without one")]
    AmountFixed,
    /// No amount was given where the request leaves it to the payer.
    #[error("the request leaves the amount to you; nothing was sent: say how much")]
    AmountMissing,
    /// It asks for a tab.
    #[error("the request asks for a tab, not for a payment; nothing was sent")]
    IsTab,
    /// It asks for a payment.
    #[error("the request asks for a payment, not for a tab; nothing was sent")]
    IsPayment,
    /// It is paid once in all, and was asked to be paid again.
    #[error("the request is paid once in all; nothing was sent")]
    Once,
    /// It is paid once in all, and its payee, who alone can see to that, does not listen.
    #[error(
        "the request is paid once in all, and {name} does not listen just now to see to that; \
         nothing was sent: try again when {name} is online"
    )]
    PayeeOffline {
        /// The payee.
        name: Name,
    },
    /// The tab that was opened for it is over.
    #[error("tab {tab} was opened for this already and is over; nothing was sent")]
    TabOver {
        /// The tab.
        tab: OrderId,
    },
    /// The entry is no payment to this account.
    #[error("entry {entry} is no payment that this account received; nothing was sent")]
    NotReceived {
        /// The entry.
        entry: u64,
    },
}

impl Unpayable {
    /// The stable word for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongDirectory { .. } => "wrong_directory",
            Self::WrongLedger => "wrong_ledger",
            Self::Expired => "expired",
            Self::NotTheirs { .. } => "not_theirs",
            Self::AmountFixed | Self::AmountMissing => "amount",
            Self::IsTab | Self::IsPayment => "kind",
            Self::Once => "once",
            Self::PayeeOffline { .. } => "payee_offline",
            Self::TabOver { .. } => "tab_over",
            Self::NotReceived { .. } => "not_received",
        }
    }
}

/// What an order or a tab must be beside its wish: for this purpose, to this key, in time, by this
/// way.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    pub(crate) purpose: Purpose,
    /// The key that the payee's name must have, if it is known.
    key: Option<PublicKey>,
    /// Whether that key signed a request, rather than a payment that is refunded.
    signed: bool,
    /// The latest time to which an order may live.
    pub(crate) until: Option<LedgerTime>,
    /// Whether it goes straight to the payee or not at all.
    pub(crate) direct: bool,
}

impl Aim {
    /// Answers `request`, also if the order or tab `after` did before.
    pub(crate) fn answer(request: &Request, after: Option<OrderId>) -> Self {
        let tab = matches!(request.wanted, Wanted::Tab { .. });
        Self {
            purpose: purpose(request, after),
            key: Some(request.payee),
            signed: true,
            until: Some(request.expires()),
            // The payee of a tab sees it before a unit of it is paid, whoever opened it.
            direct: request.once && !tab,
        }
    }

    /// Refunds `order`, whose payer now has the key that this home last knew.
    pub(crate) const fn refund(order: &Order, key: PublicKey) -> Self {
        Self {
            purpose: Purpose {
                of: order.payer,
                reference: quid_common::id::Reference(*order.id.as_bytes()),
                after: None,
            },
            key: Some(key),
            signed: false,
            until: None,
            direct: false,
        }
    }

    /// Pays what a person at this home, whose key is `own`, wants to be paid once.
    pub(crate) const fn intend(own: PublicKey, intent: Intent) -> Self {
        Self {
            purpose: Purpose {
                of: own,
                reference: intent.0,
                after: None,
            },
            key: None,
            signed: false,
            until: None,
            direct: false,
        }
    }

    /// Holds the key that was found for `name` against the one it must be.
    pub(crate) fn check_key(&self, name: &Name, key: PublicKey) -> Result<(), PayError> {
        let name = name.clone();
        match self.key {
            None => Ok(()),
            Some(wanted) if key == wanted => Ok(()),
            Some(signer) if self.signed => Err(Unpayable::NotTheirs { name, signer, key }.into()),
            Some(pinned) => Err(PayError::KeyChanged {
                name,
                pinned,
                offered: key,
            }),
        }
    }
}

/// The purpose of paying `request`.
pub(crate) fn purpose(request: &Request, after: Option<OrderId>) -> Purpose {
    Purpose {
        of: request.payee,
        reference: request.reference(),
        after,
    }
}

/// How much pays `request`, of which the payer says `amount`.
pub(crate) fn due(request: &Request, amount: Option<Amount>) -> Result<Amount, Unpayable> {
    match (request.wanted, amount) {
        (Wanted::Amount(due), None) => Ok(due),
        (Wanted::Amount(due), Some(amount)) if amount == due => Ok(due),
        (Wanted::Amount(_), Some(_)) => Err(Unpayable::AmountFixed),
        (Wanted::Open, Some(amount)) => Ok(amount),
        (Wanted::Open, None) => Err(Unpayable::AmountMissing),
        (Wanted::Tab { .. }, _) => Err(Unpayable::IsTab),
    }
}
