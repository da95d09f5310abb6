//! Tabs: a hold at the directory that is paid out link by link. What is signed, what is claimed,
//! and the rules, which payer, payee and directory share.
//!
//! Nothing here knows a clock or a file; time is an argument. PROTOCOL.md, "Tabs".

use std::time::Duration;

use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use thiserror::Error;

use crate::amount::Amount;
use crate::chain::{GAP_MAX, LENGTH_MAX, Link, Mark};
use crate::id::{LedgerId, OrderId, Reference};
use crate::key::{PublicKey, SecretKey};
use crate::order::{LIFE_MAX, Memo, STATEMENT_VERSION};
use crate::refusal::Reason;
use crate::signed::{Signed, Statement};
use crate::time::LedgerTime;

/// Most open tabs of one payer; then *too many tabs*.
pub const TABS_PER_PAYER_MAX: u32 = 64;

/// Longest time for which a payee may still claim after the tab's end.
pub const GRACE_MAX: Duration = Duration::from_secs(60 * 60);

/// Time for which a payee may still claim unless the payer offers another.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(60);

/// A payer's promise: the payee may claim a unit for each link of a chain that it can show.
///
/// The id is of the kind of an order's and shares its numbers: one (payer, id) has one effect. Its
/// time is the latest at which the tab can open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Terms {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The only ledger on which these terms mean anything.
    pub ledger: LedgerId,
    /// Unique among the payer's tabs and orders; carries the time by which the tab must be open.
    pub id: OrderId,
    /// Who pays, and who must have signed.
    pub payer: PublicKey,
    /// Who may claim.
    pub payee: PublicKey,
    /// What each link is worth.
    pub unit: Amount,
    /// How many links there are, at most [`LENGTH_MAX`].
    pub length: u32,
    /// What the first link hashes to.
    pub anchor: Link,
    /// From this ledger time on no payee need count a link.
    pub expires: LedgerTime,
    /// Seconds after the end in which the payee may still claim, at most [`GRACE_MAX`].
    pub grace: u32,
    /// A word to the payee.
    pub memo: Memo,
    /// What the tab is for: something that the payee gave out, or the tab that this goes on from.
    pub reference: Option<Reference>,
}

impl Statement for Terms {
    const CONTENT_TYPE: &'static str = "quid/tab";

    fn signer(&self) -> PublicKey {
        self.payer
    }
}

/// Terms as they travel.
pub type SignedTerms = Signed<Terms>;

impl Terms {
    /// What opening reserves: the unit times the length, if that can be counted.
    #[must_use]
    pub fn hold(&self) -> Option<Amount> {
        units(self.unit, self.length)
    }

    /// What is wrong with the terms whoever reads them and whenever.
    ///
    /// # Errors
    /// *Zero amount*, *self payment*, or *bad terms*: a length, hold, expiry or grace out of range.
    pub fn check(&self) -> Result<(), Reason> {
        if self.unit.is_zero() || self.length == 0 {
            return Err(Reason::ZERO_AMOUNT);
        }
        if self.payer == self.payee {
            return Err(Reason::SELF_PAYMENT);
        }
        let opens = self.id.expiry();
        let sound = self.length <= LENGTH_MAX
            && self.hold().is_some()
            && self.expires > opens
            && self.expires.since(opens) <= LIFE_MAX
            && self.grace > 0
            && grace(self.grace) <= GRACE_MAX
            // Else the grace would be cut, and the tab be closed from the first.
            && self.until().since(self.expires) == grace(self.grace);
        sound.then_some(()).ok_or(Reason::BAD_TERMS)
    }

    /// The end of the grace: from then on what is not claimed may go back to the payer.
    #[must_use]
    pub fn until(&self) -> LedgerTime {
        self.expires.plus(grace(self.grace))
    }

    /// Nothing paid: the anchor.
    #[must_use]
    pub const fn start(&self) -> Mark {
        Mark {
            index: 0,
            link: self.anchor,
        }
    }
}

/// The end of a tab before its time, by payer or payee.
///
/// By the payer it ends the time in which links count, and the grace begins. By the payee, which
/// has claimed what it wanted, it gives the rest back at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Close {
    /// [`STATEMENT_VERSION`].
    pub version: u8,
    /// The ledger of the tab.
    pub ledger: LedgerId,
    /// The tab's payer.
    pub payer: PublicKey,
    /// The tab.
    pub id: OrderId,
    /// Who closes, payer or payee, and must have signed.
    pub by: PublicKey,
}

impl Statement for Close {
    const CONTENT_TYPE: &'static str = "quid/tab-close";

    fn signer(&self) -> PublicKey {
        self.by
    }
}

/// A close as it travels.
pub type SignedClose = Signed<Close>;

impl Close {
    /// Closes `payer`'s tab `id` with the `key` of payer or payee.
    #[must_use]
    pub fn sign(ledger: LedgerId, payer: PublicKey, id: OrderId, key: &SecretKey) -> SignedClose {
        let close = Self {
            version: STATEMENT_VERSION,
            ledger,
            payer,
            id,
            by: key.public(),
        };
        Signed::new(close, key)
    }
}

/// What the payee takes from a hold: an entry's body. Nobody signs it; the link is the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Claim {
    /// The tab's payer.
    pub payer: PublicKey,
    /// The tab.
    pub id: OrderId,
    /// Who receives.
    pub payee: PublicKey,
    /// How much.
    pub amount: Amount,
    /// The units claimed before.
    pub from: u32,
    /// The units claimed after.
    pub index: u32,
    /// The link at [`Self::index`].
    pub link: Link,
}

/// What returns to the payer of a tab that is over: an entry's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Release {
    /// The tab's payer, who receives.
    pub payer: PublicKey,
    /// The tab.
    pub id: OrderId,
    /// Whose hold it was.
    pub payee: PublicKey,
    /// How much: what was never claimed, which may be nothing.
    pub amount: Amount,
}

/// A claim's links, hashed: the costly part, which needs no books and can be done beforehand.
///
/// Its fields are private, so that no rule ever sees a claim that nobody hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    from: u32,
    to: Mark,
    base: Link,
}

impl Hashed {
    /// Hashes from the link of `to` down to `from`, at most [`GAP_MAX`] links.
    ///
    /// # Errors
    /// *Stale claim* if `to` is not beyond `from`, *gap too long*.
    pub fn new(tab: &OrderId, from: u32, to: Mark) -> Result<Self, Reason> {
        let gap = gap(from, to.index)?;
        let base = to.link.down(tab, gap);
        Ok(Self { from, to, base })
    }

    /// How far the claim goes.
    #[must_use]
    pub const fn to(&self) -> Mark {
        self.to
    }

    /// From where it goes.
    #[must_use]
    pub const fn from(&self) -> u32 {
        self.from
    }
}

/// An open tab as the books have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tab {
    /// What each link is worth.
    pub unit: Amount,
    /// How many there are.
    pub length: u32,
    /// What has been claimed.
    pub claimed: Mark,
    /// From when on links no longer count.
    pub expires: LedgerTime,
    /// From when on the rest may be released; [`Self::expires`] itself once the payee has closed.
    pub until: LedgerTime,
}

impl Tab {
    /// The tab that `terms` open.
    #[must_use]
    pub fn open(terms: &Terms) -> Self {
        Self {
            unit: terms.unit,
            length: terms.length,
            claimed: terms.start(),
            expires: terms.expires,
            until: terms.until(),
        }
    }

    /// What is still reserved.
    #[must_use]
    pub fn held(&self) -> Amount {
        let left = self.length.saturating_sub(self.claimed.index);
        units(self.unit, left).unwrap_or(Amount::MAX)
    }

    /// What a claim moves to the payee, and the tab after it. A tab takes claims until it is
    /// released, whatever the time.
    ///
    /// # Errors
    /// *Stale claim* if it does not go on from what is claimed, *past end*, *bad link*. Nothing is
    /// lost: ask where the tab stands and claim from there.
    pub fn claim(&self, hashed: &Hashed) -> Result<(Amount, Self), Reason> {
        if hashed.to.index > self.length {
            return Err(Reason::PAST_END);
        }
        if hashed.from != self.claimed.index {
            return Err(Reason::STALE_CLAIM);
        }
        if hashed.base != self.claimed.link {
            return Err(Reason::BAD_LINK);
        }
        let count = hashed.to.index.saturating_sub(hashed.from);
        let amount = units(self.unit, count).ok_or(Reason::PAST_END)?;
        let after = Self {
            claimed: hashed.to,
            ..*self
        };
        Ok((amount, after))
    }

    /// The tab after its payer closed it at `now`: the grace, as long as agreed, begins. One that
    /// has ended or was closed stays as it is.
    #[must_use]
    pub fn closed_by_payer(&self, now: LedgerTime) -> Self {
        if now >= self.expires {
            return *self;
        }
        Self {
            expires: now,
            until: now.plus(self.until.since(self.expires)),
            ..*self
        }
    }

    /// The tab after its payee closed it at `now`: it may be released at once. Neither end comes
    /// later by that.
    #[must_use]
    pub fn closed_by_payee(&self, now: LedgerTime) -> Self {
        let end = now.min(self.expires);
        Self {
            expires: end,
            until: end,
            ..*self
        }
    }

    /// Whether the payee has closed it.
    #[must_use]
    pub fn is_closed_by_payee(&self) -> bool {
        self.until == self.expires
    }

    /// Whether what is left may go back to the payer at `now`.
    #[must_use]
    pub fn is_over(&self, now: LedgerTime) -> bool {
        now >= self.until
    }
}

/// How many links a claim of all units up to `to` takes, after those up to `from`.
///
/// # Errors
/// *Stale claim* if `to` is not beyond `from`, *gap too long* above [`GAP_MAX`].
pub fn gap(from: u32, to: u32) -> Result<u32, Reason> {
    let gap = to
        .checked_sub(from)
        .filter(|gap| *gap > 0)
        .ok_or(Reason::STALE_CLAIM)?;
    (gap <= GAP_MAX).then_some(gap).ok_or(Reason::GAP_TOO_LONG)
}

/// What `count` units are worth, if that can be counted.
#[must_use]
pub fn units(unit: Amount, count: u32) -> Option<Amount> {
    unit.units()
        .checked_mul(u64::from(count))
        .and_then(Amount::new)
}

const fn grace(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// A text that is not a number of units.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("units are a whole number from 1 to {LENGTH_MAX}")]
pub struct UnitsError;

/// Reads a number of units as people write it.
///
/// # Errors
/// [`UnitsError`] for anything but plain digits of a number from 1 to [`LENGTH_MAX`].
pub fn parse_units(text: &str) -> Result<u32, UnitsError> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().map_err(|_| UnitsError)?;
    (plain && (1..=LENGTH_MAX).contains(&number))
        .then_some(number)
        .ok_or(UnitsError)
}

#[cfg(test)]
mod tests;
