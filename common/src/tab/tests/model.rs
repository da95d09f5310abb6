//! Tabs against a model that counts in plain numbers and knows every link beforehand.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::chain::LinkError;

/// What can happen to a tab, honest and not.
#[derive(Clone, Debug)]
enum Op {
    /// The payer shows `count` links, the first `ahead` units further, the others `step`.
    Pay {
        ahead: u32,
        step: u32,
        count: u32,
    },
    /// The payer's last message comes again.
    PayAgain,
    /// Somebody shows links that are none of the tab's.
    PayForged {
        ahead: u32,
        lie: Lie,
    },
    /// The payee claims some of the units that it can prove, `from` where it believes the books
    /// to stand.
    Claim {
        short: u32,
        from: From,
    },
    /// Somebody claims with a link that the payee was not given.
    ClaimForged {
        index: u32,
        lie: Lie,
    },
    /// The payee claims its last claim again.
    ClaimAgain,
    ClosePayer,
    ClosePayee,
    Wait {
        ms: u64,
    },
    /// The directory releases if it may.
    Release,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Right,
    Below,
    Above,
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// The tab's own furthest link known, said to stand elsewhere.
    Elsewhere,
    /// The link at this place of another tab's chain, made from the same secret.
    OtherTab,
    Garbage,
}

/// The tab as it is: the code under test, and the money beside it.
struct Real {
    id: OrderId,
    /// None once it is released.
    tab: Option<Tab>,
    /// The payee's furthest link.
    mark: Mark,
    last_claim: Option<(u32, Mark)>,
    now: LedgerTime,
    claimed: u128,
    released: u128,
}

/// The tab as it should be.
struct Model {
    unit: u128,
    /// Every link, the anchor first.
    links: Vec<[u8; 32]>,
    /// The same of another tab.
    other_links: Vec<[u8; 32]>,
    paid: u32,
    claimed: u32,
    now: u64,
    expires: u64,
    until: u64,
    grace: u64,
    open: bool,
}

impl Model {
    fn length(&self) -> u32 {
        self.links.len() as u32 - 1
    }

    fn link(&self, index: u32, lie: Option<Lie>) -> Link {
        let place = index.min(self.length()) as usize;
        Link(match lie {
            None => self.links[place],
            Some(Lie::Elsewhere) => self.links[self.paid as usize],
            Some(Lie::OtherTab) => self.other_links[place],
            Some(Lie::Garbage) => [0x9a; 32],
        })
    }

    /// What a claim must come to: the units that it moves.
    fn claim(&self, from: u32, index: u32, link: Link) -> Result<u32, Reason> {
        if index <= from {
            return Err(Reason::STALE_CLAIM);
        }
        if index - from > 65_536 {
            return Err(Reason::GAP_TOO_LONG);
        }
        if index > self.length() {
            return Err(Reason::PAST_END);
        }
        if from != self.claimed {
            return Err(Reason::STALE_CLAIM);
        }
        if link.0 != self.links[index as usize] {
            return Err(Reason::BAD_LINK);
        }
        Ok(index - from)
    }
}

/// The chain below `last`, by nothing but SHA-256.
fn plain_chain(id: &OrderId, length: u32, last: [u8; 32]) -> Vec<[u8; 32]> {
    let mut links = vec![last];
    for _ in 0..length {
        let text = [&id.as_bytes()[..], &links[links.len() - 1]].concat();
        links.push(Sha256::digest(&text).into());
    }
    links.reverse();
    links
}

struct Pair {
    real: Real,
    model: Model,
}

impl Pair {
    fn new(unit: u64, length: u32, grace: u32) -> Self {
        let terms = terms();
        let links = plain_chain(&terms.id, length, [7; 32]);
        let other = OrderId::new(seconds(1_000), [2; 10]);
        let terms = Terms {
            unit: amount(unit),
            length,
            grace,
            anchor: Link(links[0]),
            ..terms
        };
        assert_eq!(terms.check(), Ok(()));
        let now = 990_000;
        let real = Real {
            id: terms.id,
            tab: Some(Tab::open(&terms)),
            mark: terms.start(),
            last_claim: None,
            now: LedgerTime::from_millis(now),
            claimed: 0,
            released: 0,
        };
        let model = Model {
            unit: u128::from(unit),
            links,
            // Made from the same secret, which itself is of no use: it is this chain's last link.
            other_links: plain_chain(&other, length + 1, [7; 32]),
            paid: 0,
            claimed: 0,
            now,
            expires: 2_000_000,
            until: 2_000_000 + u64::from(grace) * 1_000,
            grace: u64::from(grace) * 1_000,
            open: true,
        };
        Self { real, model }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Pay { ahead, step, count } => self.pay(ahead, step, count),
            Op::PayAgain => self.pay_again(),
            Op::PayForged { ahead, lie } => self.pay_forged(ahead, lie),
            Op::Claim { short, from } => {
                let index = self.model.paid.saturating_sub(short);
                let from = match from {
                    From::Right => self.model.claimed,
                    From::Below => self.model.claimed.saturating_sub(1),
                    From::Above => self.model.claimed + 1,
                };
                self.claim(from, index, self.model.link(index, None));
            }
            Op::ClaimForged { index, lie } => {
                self.claim(self.model.claimed, index, self.model.link(index, Some(lie)));
            }
            Op::ClaimAgain => {
                if let Some((from, mark)) = self.real.last_claim {
                    self.claim(from, mark.index, mark.link);
                }
            }
            Op::ClosePayer => self.close_by_payer(),
            Op::ClosePayee => self.close_by_payee(),
            Op::Wait { ms } => {
                self.model.now += ms;
                self.real.now = LedgerTime::from_millis(self.model.now);
            }
            Op::Release => self.release(),
        }
    }

    fn advance(&mut self, first: u32, step: u32, links: &[Link]) -> Result<(), LinkError> {
        let bytes: Vec<u8> = links.iter().flat_map(|link| link.0).collect();
        let length = self.model.length();
        let (id, mark) = (self.real.id, self.real.mark);
        self.real.mark = mark.advance(&id, length, first, step, &bytes)?;
        Ok(())
    }

    fn pay(&mut self, ahead: u32, step: u32, count: u32) {
        let first = self.model.paid + ahead;
        let last = first + step * (count - 1);
        let links: Vec<Link> = (0..count)
            .map(|at| self.model.link(first + step * at, None))
            .collect();
        let verdict = self.advance(first, step, &links);
        if last > self.model.length() {
            assert_eq!(verdict, Err(LinkError::PastEnd));
        } else {
            assert_eq!(verdict, Ok(()));
            self.model.paid = last;
        }
    }

    fn pay_again(&mut self) {
        let paid = self.model.paid;
        for back in 0..3 {
            let first = paid.saturating_sub(back);
            let links: Vec<Link> = (first..=paid).map(|at| self.model.link(at, None)).collect();
            assert_eq!(self.advance(first, 1, &links), Err(LinkError::Stale));
        }
    }

    fn pay_forged(&mut self, ahead: u32, lie: Lie) {
        let first = self.model.paid + ahead;
        let verdict = self.advance(first, 1, &[self.model.link(first, Some(lie))]);
        let expected = if first > self.model.length() {
            LinkError::PastEnd
        } else {
            LinkError::Forged
        };
        assert_eq!(verdict, Err(expected));
    }

    fn claim(&mut self, from: u32, index: u32, link: Link) {
        let Some(tab) = self.real.tab else {
            assert!(!self.model.open);
            return;
        };
        let to = Mark { index, link };
        let verdict = Hashed::new(&self.real.id, from, to).and_then(|hashed| tab.claim(&hashed));
        match (verdict, self.model.claim(from, index, link)) {
            (Ok((amount, after)), Ok(count)) => {
                let moved = u128::from(amount.units());
                assert_eq!(moved, self.model.unit * u128::from(count));
                self.real.claimed += moved;
                self.real.tab = Some(after);
                self.real.last_claim = Some((from, to));
                self.model.claimed = index;
            }
            (verdict, expected) => {
                assert_eq!(verdict.map(|_| 0), expected);
            }
        }
    }

    fn close_by_payer(&mut self) {
        let Some(tab) = &mut self.real.tab else {
            return;
        };
        *tab = tab.closed_by_payer(self.real.now);
        if self.model.now < self.model.expires {
            self.model.expires = self.model.now;
            self.model.until = self.model.now + self.model.grace;
        }
    }

    /// As the directory does it: the release follows at once.
    fn close_by_payee(&mut self) {
        let Some(tab) = &mut self.real.tab else {
            return;
        };
        *tab = tab.closed_by_payee(self.real.now);
        self.model.until = self.model.now;
        self.release();
        assert!(self.real.tab.is_none());
    }

    fn release(&mut self) {
        let may = self.model.open && self.model.now >= self.model.until;
        let over = self.real.tab.filter(|tab| tab.is_over(self.real.now));
        assert_eq!(over.is_some(), may);
        if let Some(tab) = over {
            self.real.tab = None;
            self.real.released += u128::from(tab.held().units());
            self.model.open = false;
        }
    }

    /// The payee's last claim, from which nothing but a release can keep it.
    fn claim_all(&mut self) {
        let open = self.model.open;
        self.apply(&Op::Claim {
            short: 0,
            from: From::Right,
        });
        assert!(!open || self.model.claimed == self.model.paid);
    }

    /// What holds at every moment.
    fn check(&self) {
        let Model { unit, claimed, .. } = self.model;
        let hold = unit * u128::from(self.model.length());
        let held = self
            .real
            .tab
            .map_or(0, |tab| u128::from(tab.held().units()));
        assert_eq!(self.real.claimed + self.real.released + held, hold);
        assert_eq!(self.real.claimed, unit * u128::from(claimed));
        assert!(claimed <= self.model.paid, "more than was paid");
        assert_eq!(self.real.mark.index, self.model.paid);
        if let Some(tab) = self.real.tab {
            let times = (tab.expires.as_millis(), tab.until.as_millis());
            assert_eq!(times, (self.model.expires, self.model.until));
            assert_eq!(tab.claimed.index, claimed);
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let lie = || {
        prop_oneof![
            Just(Lie::Elsewhere),
            Just(Lie::OtherTab),
            Just(Lie::Garbage)
        ]
    };
    let index = || prop_oneof![4 => 0_u32..70, 1 => Just(u32::MAX), 1 => 65_530_u32..65_610];
    let from = prop_oneof![4 => Just(From::Right), 1 => Just(From::Below), 1 => Just(From::Above)];
    let wait = prop_oneof![0_u64..3, 0_u64..100_000, 900_000_u64..1_100_000];
    let pay = (1_u32..6, 1_u32..4, 1_u32..5);
    prop::collection::vec(
        prop_oneof![
            6 => pay.prop_map(|(ahead, step, count)| Op::Pay { ahead, step, count }),
            1 => Just(Op::PayAgain),
            2 => (1_u32..9, lie()).prop_map(|(ahead, lie)| Op::PayForged { ahead, lie }),
            6 => (0_u32..4, from).prop_map(|(short, from)| Op::Claim { short, from }),
            2 => (index(), lie()).prop_map(|(index, lie)| Op::ClaimForged { index, lie }),
            1 => Just(Op::ClaimAgain),
            1 => Just(Op::ClosePayer),
            1 => Just(Op::ClosePayee),
            2 => wait.prop_map(|ms| Op::Wait { ms }),
            2 => Just(Op::Release),
        ],
        1..40,
    )
}

proptest! {
    #[test]
    fn a_tab_never_pays_more_than_it_holds_and_never_less_than_it_owes(
        length in 1_u32..60, small in 1_u64..1_000, whole in any::<bool>(), grace in 1_u32..3_600,
        ops in ops(),
    ) {
        let most = Amount::MAX.units() / u64::from(length);
        let mut pair = Pair::new(if whole { most } else { small }, length, grace);
        pair.check();
        for op in &ops {
            pair.apply(op);
            pair.check();
        }
        // Whatever came before: the payee gets what it was paid, and the payer the rest.
        pair.claim_all();
        pair.apply(&Op::Wait { ms: 2_000_000 + 3_600_000 });
        pair.apply(&Op::Release);
        pair.check();
        prop_assert!(pair.real.tab.is_none());
    }

    #[test]
    fn claim_and_release_at_one_instant_have_one_winner(
        length in 1_u32..60, paid in 1_u32..60, late in 0_u64..3, claim_first in any::<bool>(),
    ) {
        let mut pair = Pair::new(3, length, 60);
        let paid = paid.min(length);
        pair.apply(&Op::Pay { ahead: paid, step: 1, count: 1 });
        let until = pair.model.until;
        // One tick before, at, and one tick after the end of the grace.
        pair.apply(&Op::Wait { ms: until - 1 + late - pair.model.now });
        let claim = Op::Claim { short: 0, from: From::Right };
        let order = if claim_first { [claim, Op::Release] } else { [Op::Release, claim] };
        for op in &order {
            pair.apply(op);
            pair.check();
        }
        let to_payee = if claim_first || late == 0 { paid } else { 0 };
        prop_assert_eq!(pair.real.claimed, 3 * u128::from(to_payee));
        prop_assert_eq!(pair.real.tab.is_none(), late > 0);
    }
}
