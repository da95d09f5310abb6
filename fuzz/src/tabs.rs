//! Tabs: links, marks, payments and claims, by a list of operations.

use arbitrary::{Arbitrary, Unstructured};
use quid_common::amount::Amount;
use quid_common::chain::{Chain, GAP_MAX, Link, LinkError, Mark};
use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use quid_common::tab::{Hashed, Tab, Terms, gap, parse_units};
use quid_common::time::LedgerTime;

use crate::evidence::Genuine;

/// What happens to a tab.
#[derive(Clone, Debug, Arbitrary)]
enum Step {
    /// The payee claims.
    Claim { from: u32, to: u32, link: Shown },
    /// The payer pays.
    Pay {
        first: u32,
        step: u32,
        links: Vec<Shown>,
        ragged: bool,
    },
    /// The payer closes.
    CloseByPayer { now: u32 },
    /// The payee closes.
    CloseByPayee { now: u32 },
    /// The payee asks for what less would have proved.
    Lower { index: u32 },
}

/// A link as somebody shows it.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Shown {
    /// The one that belongs where it is shown.
    Due,
    /// One of the chain, wherever it belongs.
    Of(u8),
    /// One of another tab's chain at the same place.
    Others,
    /// Made up.
    Made(u8),
}

/// A tab's terms, and what happens to it.
///
/// A claim or payment counts if, and only if, its numbers go on from what is there and every link
/// is the chain's own at that place. What is claimed and what is held are the whole hold, always;
/// an end never comes later by a close.
pub fn tab_claims(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok((unit, length, grace)) = input.arbitrary::<(u64, u8, u16)>() else {
        return;
    };
    let length = u32::from(length) + 1;
    let Some(unit) = Amount::new(unit) else {
        return;
    };
    let terms = terms(unit, length, u32::from(grace));
    let Ok(()) = terms.check() else {
        return;
    };
    let hold = u128::from(unit.units()) * u128::from(length);
    assert_eq!(terms.hold().map(|it| u128::from(it.units())), Some(hold));
    let mut play = Play::new(&terms, hold);
    for _ in 0..STEPS_MAX {
        match input.arbitrary() {
            Ok(step) if !input.is_empty() => play.step(&step),
            _ => break,
        }
    }
}

struct Play {
    id: OrderId,
    own: Vec<Link>,
    others: Vec<Link>,
    hold: u128,
    unit: u128,
    tab: Tab,
    /// What the payer has paid, to the payee's knowledge.
    paid: Mark,
    moved: u128,
}

impl Play {
    fn new(terms: &Terms, hold: u128) -> Self {
        let links = |id, seed| {
            let chain = Chain::new(id, terms.length, Link([seed; 32])).expect("within bounds");
            let mut chain = chain;
            let link = |index| chain.link(index).expect("within the chain");
            (0..=terms.length).map(link).collect::<Vec<_>>()
        };
        let own = links(terms.id, OWN_SEED);
        assert_eq!(own.first(), Some(&terms.anchor));
        let other = OrderId::new(terms.id.expiry(), [0x77; 10]);
        Self {
            id: terms.id,
            others: links(other, OWN_SEED),
            own,
            hold,
            unit: u128::from(terms.unit.units()),
            tab: Tab::open(terms),
            paid: terms.start(),
            moved: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Claim { from, to, link } => self.claim(self.near(*from), self.near(*to), *link),
            Step::Pay {
                first,
                step,
                links,
                ragged,
            } => self.pay(self.near(*first), *step, links, *ragged),
            Step::CloseByPayer { now } => {
                let (before, now) = (self.tab, self.time(*now));
                self.tab = before.closed_by_payer(now);
                let grace = |tab: &Tab| tab.until.since(tab.expires);
                assert!(
                    grace(&self.tab) == grace(&before),
                    "the payee keeps its grace"
                );
                self.closed(&before);
            }
            Step::CloseByPayee { now } => {
                let (before, now) = (self.tab, self.time(*now));
                self.tab = before.closed_by_payee(now);
                assert!(self.tab.is_closed_by_payee());
                assert!(self.tab.is_over(now.max(before.expires)));
                self.closed(&before);
            }
            Step::Lower { index } => {
                let index = self.near(*index);
                let lower = self.paid.lower(&self.id, index);
                let expected = (index <= self.paid.index).then(|| Mark {
                    index,
                    link: self.own[index as usize],
                });
                assert_eq!(lower, expected);
            }
        }
        let held = u128::from(self.tab.held().units());
        assert_eq!(held + self.moved, self.hold, "the hold is claimed or held");
    }

    fn claim(&mut self, from: u32, to: u32, link: Shown) {
        let link = self.shown(to, link);
        let genuine = self.own.get(to as usize) == Some(&link);
        let hashed = Hashed::new(&self.id, from, Mark { index: to, link });
        let Ok(hashed) = hashed else {
            assert!(to <= from || to - from > GAP_MAX);
            assert_eq!(gap(from, to).err(), hashed.err());
            return;
        };
        let goes_on = from == self.tab.claimed.index;
        match self.tab.claim(&hashed) {
            Ok((amount, tab)) => {
                assert!(goes_on && genuine, "a claim of {from} to {to}");
                let worth = self.unit * u128::from(to - from);
                assert_eq!(u128::from(amount.units()), worth);
                self.moved += worth;
                self.tab = tab;
            }
            Err(reason) => {
                let sound = goes_on && genuine && (to as usize) < self.own.len();
                assert!(!sound, "{reason:?}");
                let past_end = to as usize >= self.own.len();
                assert_eq!(reason == Reason::PAST_END, past_end);
            }
        }
    }

    fn pay(&mut self, first: u32, step: u32, links: &[Shown], ragged: bool) {
        let step = self.near(step);
        let place = |count: usize| u64::from(first) + u64::from(step) * count as u64;
        let places = (0..links.len()).map(place);
        let shown = |(at, link): (u64, &Shown)| self.shown(at.min(1 << 20) as u32, *link);
        let links: Vec<Link> = places.clone().zip(links).map(shown).collect();
        let mut bytes: Vec<u8> = links.iter().flat_map(|link| link.0).collect();
        if ragged {
            bytes.push(0);
        }
        let length = self.tab.length;
        let last = places.clone().next_back();
        let sound = !ragged
            && step > 0
            && first > self.paid.index
            && last.is_some_and(|last| last <= u64::from(length))
            && places
                .zip(&links)
                .all(|(at, link)| self.own[at as usize] == *link);
        let paid = self.paid.advance(&self.id, length, first, step, &bytes);
        assert_eq!(paid.is_ok(), sound, "{paid:?}");
        match paid {
            Ok(mark) => {
                assert_eq!(last, Some(u64::from(mark.index)));
                assert_eq!(self.own[mark.index as usize], mark.link);
                self.paid = mark;
            }
            Err(error) => {
                let stale = first <= self.paid.index && !ragged;
                assert!(!stale || error == LinkError::Stale);
            }
        }
    }

    /// That a close changed nothing but the ends, and moved neither back.
    fn closed(&self, before: &Tab) {
        assert!(self.tab.expires <= before.expires && self.tab.until <= before.until);
        let times = |tab: &Tab| (tab.expires, tab.until);
        let (expires, until) = times(before);
        let same = Tab {
            expires,
            until,
            ..self.tab
        };
        assert_eq!(same, *before);
    }

    fn shown(&self, at: u32, link: Shown) -> Link {
        let of = |links: &[Link], at: u32| links.get(at as usize).copied();
        match link {
            Shown::Due => of(&self.own, at).unwrap_or(Link([0; 32])),
            Shown::Of(at) => of(&self.own, u32::from(at)).unwrap_or(Link([1; 32])),
            Shown::Others => of(&self.others, at).unwrap_or(Link([2; 32])),
            Shown::Made(byte) => Link([byte; 32]),
        }
    }

    /// Mostly a place in the chain, sometimes any number.
    fn near(&self, number: u32) -> u32 {
        if number.is_multiple_of(8) {
            // A gap that is too long costs nothing, and one that is not costs its hashes.
            return if number > self.tab.length {
                u32::MAX
            } else {
                number
            };
        }
        number % (self.tab.length + 3)
    }

    fn time(&self, now: u32) -> LedgerTime {
        LedgerTime::from_millis(u64::from(now))
    }
}

fn terms(unit: Amount, length: u32, grace: u32) -> Terms {
    let sample = Genuine::get().world.terms().statement().clone();
    let id = OrderId::new(LedgerTime::from_millis(1_000), [0x11; 10]);
    let chain = Chain::new(id, length, Link([OWN_SEED; 32])).expect("within bounds");
    Terms {
        id,
        unit,
        length,
        anchor: chain.anchor(),
        expires: LedgerTime::from_millis(u64::from(u32::MAX) / 100),
        grace,
        ..sample
    }
}

/// What the payer drew.
const OWN_SEED: u8 = 0x57;

/// Most steps of one run.
const STEPS_MAX: usize = 64;

/// Numbers of units as people write them, for the target that reads arguments.
pub(crate) fn units(text: &str) {
    if let Ok(units) = parse_units(text) {
        assert_eq!(text.trim_start_matches('0'), units.to_string());
    }
}
