//! What an entry means to the index: whom it concerns, whose money it moved, and which id it used.

use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;

/// What an entry means to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posting {
    /// The next account's key; the first is the treasury's.
    Account(PublicKey),
    /// The account with this number has another key now.
    Key { account: u64, key: PublicKey },
    /// Money moved between two accounts, under an order id of the first.
    Payment {
        payer: PublicKey,
        payee: PublicKey,
        id: OrderId,
    },
    /// Money came to an account.
    Issue(PublicKey),
    /// An order id was used without moving money.
    Used { payer: PublicKey, id: OrderId },
    /// A tab was opened under an id of the payer's, whose money it holds.
    Opened {
        payer: PublicKey,
        payee: PublicKey,
        id: OrderId,
    },
    /// A tab was closed by its payer. The payee is not in the entry, and is looked up before it goes
    /// into the tail.
    Closed { payer: PublicKey, id: OrderId },
    /// Something else happened to a tab, and moved money to those who say so here.
    Tab {
        payer: PublicKey,
        payee: PublicKey,
        moved: Moved,
    },
    /// Nothing that anybody looks for here.
    Nothing,
}

impl Posting {
    /// What the entry with these bytes means. One that cannot be read is for the ledger to judge.
    pub(super) fn read(bytes: &[u8]) -> Self {
        Entry::decode(bytes).map_or(Self::Nothing, |entry| Self::of(&entry))
    }

    pub(super) fn of(entry: &Entry) -> Self {
        match &entry.fact {
            Fact::Genesis(genesis) => Self::Account(genesis.statement().directory),
            Fact::Register(registration) => Self::Account(registration.statement().key),
            Fact::Issue(issue) => Self::Issue(issue.statement().account),
            Fact::Payment(order) => {
                let order = order.statement();
                Self::Payment {
                    payer: order.payer,
                    payee: order.payee,
                    id: order.id,
                }
            }
            Fact::Void(void) => {
                let void = void.statement();
                Self::Used {
                    payer: void.payer,
                    id: void.id,
                }
            }
            Fact::Refusal(refusal) => Self::Used {
                payer: refusal.payer,
                id: refusal.id,
            },
            Fact::Rotation(rotation) => Self::Key {
                account: rotation.statement().account,
                key: rotation.statement().successor(),
            },
            Fact::Takeover(takeover) => Self::Key {
                account: takeover.statement().account,
                key: takeover.statement().key,
            },
            Fact::Freeze(_) | Fact::Recovery(_) | Fact::Objection(_) | Fact::Lock(_) => {
                Self::Nothing
            }
            Fact::Tab(_) | Fact::Claim(_) | Fact::Close(_) | Fact::Release(_) => {
                Self::of_tab(&entry.fact)
            }
        }
    }

    fn of_tab(fact: &Fact) -> Self {
        let tab = |payer, payee, moved| Self::Tab {
            payer,
            payee,
            moved,
        };
        match fact {
            Fact::Tab(terms) => {
                let terms = terms.statement();
                Self::Opened {
                    payer: terms.payer,
                    payee: terms.payee,
                    id: terms.id,
                }
            }
            Fact::Claim(claim) => tab(claim.payer, claim.payee, Moved::Both),
            Fact::Close(close) => {
                let close = close.statement();
                let (payer, id) = (close.payer, close.id);
                if close.by == payer {
                    Self::Closed { payer, id }
                } else {
                    tab(payer, close.by, Moved::Neither)
                }
            }
            Fact::Release(release) if release.amount.is_zero() => {
                tab(release.payer, release.payee, Moved::Neither)
            }
            Fact::Release(release) => tab(release.payer, release.payee, Moved::Payer),
            _ => Self::Nothing,
        }
    }

    /// Whom the entry concerns, and whether it moved that account's money.
    pub(super) const fn parties(&self) -> [Option<(PublicKey, bool)>; 2] {
        match *self {
            Self::Payment { payer, payee, .. } => [Some((payer, true)), Some((payee, true))],
            Self::Issue(receiver) => [Some((receiver, true)), None],
            Self::Opened { payer, payee, .. } => [Some((payer, true)), Some((payee, false))],
            Self::Tab {
                payer,
                payee,
                moved,
            } => {
                let both = matches!(moved, Moved::Both);
                let own = both || matches!(moved, Moved::Payer);
                [Some((payer, own)), Some((payee, both))]
            }
            Self::Closed { payer, .. } => [Some((payer, false)), None],
            Self::Account(_) | Self::Key { .. } | Self::Used { .. } | Self::Nothing => [None, None],
        }
    }

    /// Payer and payee, if this is the opening of a tab `id`.
    pub(super) fn opening(&self, id: OrderId) -> Option<[PublicKey; 2]> {
        match *self {
            Self::Opened {
                payer,
                payee,
                id: opened,
            } if opened == id => Some([payer, payee]),
            _ => None,
        }
    }

    /// Whether `which` of the entries of the account that has, or had, the keys `owner` hold this one.
    pub(super) fn is_in(&self, which: Which, owner: &[PublicKey]) -> bool {
        let mut parties = self.parties().into_iter().flatten();
        parties
            .any(|(party, moved)| owner.contains(&party) && (moved || which == Which::Concerning))
    }

    /// The order id that the entry used, and whose.
    pub(super) const fn id(&self) -> Option<(PublicKey, OrderId)> {
        match *self {
            Self::Payment { payer, id, .. }
            | Self::Used { payer, id }
            | Self::Opened { payer, id, .. } => Some((payer, id)),
            Self::Account(_)
            | Self::Key { .. }
            | Self::Issue(_)
            | Self::Closed { .. }
            | Self::Tab { .. }
            | Self::Nothing => None,
        }
    }
}

/// Whose money an entry about a tab moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Neither,
    Payer,
    Both,
}

/// Which of an account's entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that moved its money.
    Moving,
    /// These, and all about its tabs.
    Concerning,
}
