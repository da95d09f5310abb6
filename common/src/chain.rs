//! Hash chains: how a tab is paid, one link a unit (PayWord, Rivest and Shamir, 1996).
//!
//! The payer draws the last link at random and hashes down to the anchor, which it signs. To pay a
//! unit is to show the next link: whoever knows the one before can check it and cannot make it.
//! PROTOCOL.md, "Links".

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::id::OrderId;

/// Most links that one step may hash, be it a claim or a payment: about 4 ms.
pub const GAP_MAX: u32 = 65_536;

/// Most links of a chain: about 60 ms to make.
pub const LENGTH_MAX: u32 = 1_048_576;

/// One link of a chain: worth one unit to the payee who holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// Bytes of a link.
    pub const LEN: usize = 32;

    /// The link below: `SHA-256(tab id || link)`.
    #[must_use]
    pub fn below(&self, tab: &OrderId) -> Self {
        Self(Block::of(tab).hash(&self.0))
    }

    /// The link `count` below.
    #[must_use]
    pub fn down(self, tab: &OrderId, count: u32) -> Self {
        let mut block = Block::of(tab);
        Self((0..count).fold(self.0, |link, _| block.hash(&link)))
    }
}

/// The one SHA-256 block that tab id and link fill together with the padding, which stays the same
/// from link to link: hashing it alone takes a quarter less time than the general way.
struct Block([u8; 64]);

impl Block {
    fn of(tab: &OrderId) -> Self {
        let mut block = [0; 64];
        block[..LINK_AT].copy_from_slice(tab.as_bytes());
        // FIPS 180-4, 5.1.1: a one bit, zeros, and the length in bits.
        block[LINK_END] = 0x80;
        block[62..].copy_from_slice(&LINK_BITS.to_be_bytes());
        Self(block)
    }

    fn hash(&mut self, link: &[u8; 32]) -> [u8; 32] {
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.words(link)) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    /// Whether `below` is the link below. It compares words: a hash written as bytes only to be
    /// read again costs a fifth more time.
    fn leads(&mut self, link: &[u8; 32], below: &[u8; 32]) -> bool {
        let words = self.words(link).into_iter();
        let differing = words
            .zip(below.as_chunks().0)
            .fold(0, |sum, (word, bytes)| {
                sum | (word ^ u32::from_be_bytes(*bytes))
            });
        differing == 0
    }

    fn words(&mut self, link: &[u8; 32]) -> [u32; 8] {
        self.0[LINK_AT..LINK_END].copy_from_slice(link);
        let mut state = INITIAL_STATE;
        sha2::compress256(&mut state, &[self.0.into()]);
        state
    }
}

/// Where a link stands in its block, behind the tab's id.
const LINK_AT: usize = 16;
const LINK_END: usize = LINK_AT + Link::LEN;

/// Tab id and link together, in bits.
const LINK_BITS: u16 = LINK_END as u16 * 8;

/// FIPS 180-4, 5.3.3.
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Short: a link that is not spent yet is money.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "Link({a:02x}{b:02x}..)")
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::ByteArray::new(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::<32>::deserialize(deserializer).map(|it| Self(it.into_array()))
    }
}

/// How far a tab has been paid, and the link that proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Units paid: the link's place in the chain, 0 for the anchor.
    pub index: u32,
    /// The link at that place.
    pub link: Link,
}

impl Mark {
    /// The mark after the payments in `links`, 32 bytes each: the first pays up to `first`, each
    /// later one `step` units more. Every one is checked against the one before it.
    ///
    /// # Errors
    /// [`LinkError`]; none of `links` then counts, and the payer is not to be trusted further.
    pub fn advance(
        self,
        tab: &OrderId,
        length: u32,
        first: u32,
        step: u32,
        links: &[u8],
    ) -> Result<Self, LinkError> {
        let (links, []) = links.as_chunks::<{ Link::LEN }>() else {
            return Err(LinkError::Ragged);
        };
        let mut gap = first
            .checked_sub(self.index)
            .filter(|gap| *gap > 0)
            .ok_or(LinkError::Stale)?;
        if links.is_empty() || step == 0 {
            return Err(LinkError::Ragged);
        }
        // Before anything is hashed, so that a lie costs one chunk at most.
        let steps = u64::try_from(links.len().saturating_sub(1)).unwrap_or(u64::MAX);
        let more = steps.saturating_mul(u64::from(step));
        let last = u32::try_from(u64::from(first).saturating_add(more))
            .ok()
            .filter(|last| *last <= length)
            .ok_or(LinkError::PastEnd)?;
        if u64::from(gap).saturating_add(more) > u64::from(GAP_MAX) {
            return Err(LinkError::Gap);
        }
        let (mut below, mut block) = (&self.link.0, Block::of(tab));
        for link in links {
            let above = (1..gap).fold(*link, |link, _| block.hash(&link));
            if !block.leads(&above, below) {
                return Err(LinkError::Forged);
            }
            (below, gap) = (link, step);
        }
        Ok(Self {
            index: last,
            link: Link(*below),
        })
    }

    /// The mark of `index` units, which must not be above this one's.
    #[must_use]
    pub fn lower(self, tab: &OrderId, index: u32) -> Option<Self> {
        let count = self.index.checked_sub(index)?;
        Some(Self {
            index,
            link: self.link.down(tab, count),
        })
    }
}

/// Why links pay nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LinkError {
    /// No whole number of links, none, or a step of nothing.
    #[error("the payment holds no whole links")]
    Ragged,
    /// Not beyond what is paid.
    #[error("the payment goes no further than what is paid already")]
    Stale,
    /// Beyond the chain's last link.
    #[error("the payment goes beyond the tab's end")]
    PastEnd,
    /// More than [`GAP_MAX`] links at once.
    #[error("the payment goes more than {GAP_MAX} units at once")]
    Gap,
    /// A link that does not lead to the one before.
    #[error("the link does not belong to this tab")]
    Forged,
}

/// A payer's whole chain, in little memory: some links of it, from which those to come are hashed
/// in time. Links are to be asked for in ascending order: any other is right too, but slow.
///
/// At 262,144 links and fewer this takes at most 32 KiB and hashes each link once more; beyond, at
/// most 10 KiB and each twice more.
#[derive(Clone)]
pub struct Chain {
    tab: OrderId,
    length: u32,
    last: Link,
    levels: Vec<Level>,
    anchor: Link,
}

/// Every `spacing`-th link above `base`, as far as the next link of the level above.
#[derive(Clone)]
struct Level {
    spacing: u32,
    base: u32,
    links: Vec<Link>,
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "places in our own chain, whose length is bounded"
)]
impl Chain {
    /// The chain of `length` links that ends in `last`, which must be random: hashes all of them,
    /// 60 ns each. `None` without a link and above [`LENGTH_MAX`].
    #[must_use]
    pub fn new(tab: OrderId, length: u32, last: Link) -> Option<Self> {
        if length == 0 || length > LENGTH_MAX {
            return None;
        }
        let levels = spacings(length)
            .into_iter()
            .map(|spacing| Level {
                spacing,
                base: u32::MAX,
                links: Vec::new(),
            })
            .collect();
        let mut chain = Self {
            tab,
            length,
            last,
            levels,
            anchor: last,
        };
        chain.anchor = chain.fill(
            0,
            0,
            Mark {
                index: length,
                link: last,
            },
        );
        Some(chain)
    }

    /// The link that the terms name: it pays nothing.
    #[must_use]
    pub const fn anchor(&self) -> Link {
        self.anchor
    }

    /// How many units the chain can pay.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// Copies the links that pay `first` units, `step` more, and so on, to `places`; how many there
    /// are before the end.
    pub fn copy(&mut self, first: u32, step: u32, places: &mut [[u8; Link::LEN]]) -> usize {
        let (mut index, mut copied) = (first, 0);
        while let Some(rest) = places.get_mut(copied..)
            && let Some(place) = rest.first_mut()
            && let Some(link) = self.link(index)
        {
            *place = link.0;
            copied += 1;
            index = index.saturating_add(step);
            if step != 1 {
                continue;
            }
            // Those that follow stand behind it, up to where the next ones have to be hashed.
            let Some(level) = self.levels.last() else {
                continue;
            };
            let at = index.saturating_sub(level.base).saturating_sub(1);
            let behind = level.links.get(at as usize..).unwrap_or_default();
            for (place, link) in rest.iter_mut().skip(1).zip(behind) {
                *place = link.0;
                copied += 1;
                index += 1;
            }
        }
        copied
    }

    /// The link that pays `index` units; `None` beyond the end.
    pub fn link(&mut self, index: u32) -> Option<Link> {
        if index == 0 {
            return Some(self.anchor);
        }
        if index > self.length {
            return None;
        }
        let mut top = Mark {
            index: self.length,
            link: self.last,
        };
        let mut base = 0;
        for at in 0..self.levels.len() {
            if self.levels.get(at)?.base != base {
                self.fill(at, base, top);
            }
            let level = self.levels.get(at)?;
            // The nearest link at or above the one wanted, and where the next level begins.
            let place = (index - base - 1) / level.spacing;
            base += place * level.spacing;
            let kept = level.links.get(usize::try_from(place).ok()?);
            top = Mark {
                index: top.index.min(base + level.spacing),
                link: *kept.unwrap_or(&top.link),
            };
        }
        Some(top.link)
    }

    /// Fills a level with the links above `base` up to `top`; the link at `base`.
    fn fill(&mut self, at: usize, base: u32, top: Mark) -> Link {
        let Some(level) = self.levels.get_mut(at) else {
            return top.link;
        };
        level.base = base;
        level.links.clear();
        let (mut link, mut block) = (top.link, Block::of(&self.tab));
        for index in (base + 1..=top.index).rev() {
            if (index - base).is_multiple_of(level.spacing) {
                level.links.push(link);
            }
            link = Link(block.hash(&link.0));
        }
        level.links.reverse();
        link
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("tab", &self.tab)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// How far apart the links of each level stand, so that all levels are about as long.
#[expect(clippy::arithmetic_side_effects, reason = "roots of a bounded length")]
fn spacings(length: u32) -> Vec<u32> {
    let root = |power: u32| {
        (1_u32..)
            .find(|it| u64::from(*it).pow(power) >= u64::from(length))
            .unwrap_or(length)
    };
    if length <= 262_144 {
        vec![root(2), 1]
    } else {
        let root = root(3);
        vec![root * root, root, 1]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::time::LedgerTime;

    fn tab(number: u8) -> OrderId {
        OrderId::new(LedgerTime::from_millis(9), [number; 10])
    }

    fn chain(length: u32) -> Chain {
        Chain::new(tab(1), length, Link([7; 32])).expect("a length within bounds")
    }

    #[test]
    fn every_link_is_the_one_that_hashing_down_gives() {
        for length in [1, 2, 3, 4, 5, 16, 17, 1_000, 1_024, 65_536, 262_145] {
            let mut chain = chain(length);
            let mut all = vec![Link([7; 32])];
            for _ in 0..length {
                all.push(all[all.len() - 1].below(&tab(1)));
            }
            all.reverse();
            assert_eq!(chain.anchor(), all[0], "{length}");
            for (index, link) in all.iter().enumerate() {
                assert_eq!(chain.link(index as u32), Some(*link), "{index} of {length}");
            }
            assert_eq!(chain.link(length + 1), None);
            assert_eq!(chain.link(u32::MAX), None);
            for (first, step, most) in [
                (1, 1, length + 5),
                (2, 1, 7),
                (1, 3, length),
                (length, 1, 2),
            ] {
                let mut places = vec![[0; 32]; most as usize];
                let copied = chain.copy(first, step, &mut places);
                let wanted = all.iter().skip(first as usize).step_by(step as usize);
                let wanted: Vec<_> = wanted.take(places.len()).map(|link| link.0).collect();
                assert_eq!(places[..copied], wanted, "{first}, {step} of {length}");
            }
            // And back, as after a restart.
            for index in [length, length / 2, 1] {
                assert_eq!(chain.link(index), Some(all[index as usize]));
            }
        }
    }

    #[test]
    fn a_chain_keeps_few_links() {
        for length in [1_000, 50_000, 262_144, 262_145, LENGTH_MAX] {
            let mut chain = chain(length);
            chain.link(length / 2 + 1);
            let kept: usize = chain.levels.iter().map(|level| level.links.len()).sum();
            assert!(kept <= 1_024, "{kept} of {length}");
        }
        assert!(Chain::new(tab(1), 0, Link([7; 32])).is_none());
        assert!(Chain::new(tab(1), LENGTH_MAX + 1, Link([7; 32])).is_none());
    }

    #[test]
    fn payments_count_only_if_every_link_leads_to_the_one_before() {
        let mut chain = chain(100);
        let start = Mark {
            index: 0,
            link: chain.anchor(),
        };
        let links = |chain: &mut Chain, indexes: &[u32]| -> Vec<u8> {
            let link = |index: &u32| chain.link(*index).expect("within the chain").0;
            indexes.iter().flat_map(link).collect()
        };
        let three = links(&mut chain, &[1, 2, 3]);
        let mark = start
            .advance(&tab(1), 100, 1, 1, &three)
            .expect("good links");
        assert_eq!((mark.index, Some(mark.link)), (3, chain.link(3)));
        let jump = links(&mut chain, &[10, 15, 20]);
        let far = mark
            .advance(&tab(1), 100, 10, 5, &jump)
            .expect("good links");
        assert_eq!(far.index, 20);
        assert_eq!(far.lower(&tab(1), 3), Some(mark));
        assert_eq!(mark.lower(&tab(1), 4), None);

        let end = links(&mut chain, &[100]);
        for (why, first, step, links) in [
            (LinkError::Stale, 3, 1, &three[..32]),
            (LinkError::Stale, 0, 1, &three[..32]),
            (LinkError::Ragged, 10, 0, &jump[..]),
            (LinkError::Ragged, 10, 5, &jump[..95]),
            (LinkError::Ragged, 10, 5, &[]),
            (LinkError::Forged, 11, 5, &jump[..]),
            (LinkError::Forged, 10, 4, &jump[..]),
            (LinkError::PastEnd, 101, 1, &end[..]),
            (LinkError::PastEnd, u32::MAX, 1, &end[..]),
            (LinkError::PastEnd, 10, u32::MAX, &jump[..]),
        ] {
            assert_eq!(mark.advance(&tab(1), 100, first, step, links), Err(why));
        }
        assert_eq!(
            mark.advance(&tab(2), 100, 10, 5, &jump),
            Err(LinkError::Forged),
            "another tab's"
        );
        let long = mark.advance(&tab(1), LENGTH_MAX, GAP_MAX + 4, 1, &end);
        assert_eq!(long, Err(LinkError::Gap));
    }

    proptest! {
        #[test]
        fn a_link_is_the_hash_of_tab_and_link(link in any::<[u8; 32]>(), random in any::<[u8; 10]>()) {
            let tab = OrderId::new(LedgerTime::from_millis(9), random);
            let whole = Sha256::new().chain_update(tab.as_bytes()).chain_update(link);
            prop_assert_eq!(Link(link).below(&tab), Link(whole.finalize().into()));
        }

        #[test]
        fn foreign_links_pay_nothing(
            first in any::<u32>(), step in any::<u32>(), links in prop::collection::vec(any::<u8>(), 0..100)
        ) {
            let start = Mark { index: 0, link: chain(50).anchor() };
            prop_assert!(start.advance(&tab(1), 50, first, step, &links).is_err());
        }
    }
}
