//! Tabs in the index: who hears of what, and whom a payer that closes has paid.

use quid_common::chain::Link;
use quid_common::tab::{Claim, Close, Release, Terms};

use super::*;
use crate::index::posting::Moved;

#[test]
fn of_a_tab_each_hears_all_and_has_in_the_history_what_moved_its_money() {
    let (payer, payee, id) = parties(0, 1);
    let own = payer.public();
    // Opened, claimed, closed by the payer and the payee, released with money and without.
    for (kind, payers, payees) in [
        (6, true, false),
        (7, true, true),
        (8, false, false),
        (9, false, false),
        (10, true, false),
        (11, false, false),
    ] {
        let fact = |kind| Entry {
            time: LedgerTime::default(),
            fact: of_tab(kind, 0, 1),
        };
        let mut postings = [6, kind].map(|kind| Posting::of(&fact(kind)));
        name_payees(&mut postings);
        let [_, posting] = postings;
        let stranger = key(99, 0).public();
        for (who, moved) in [(own, payers), (payee, payees), (stranger, false)] {
            assert_eq!(posting.is_in(Which::Moving, &[who]), moved, "kind {kind}");
            let party = who != stranger;
            assert_eq!(
                posting.is_in(Which::Concerning, &[who]),
                party,
                "kind {kind}"
            );
        }
        assert_eq!(posting.id(), (kind == 6).then_some((own, id)));
    }
}

#[test]
fn a_payee_hears_of_its_payers_close_wherever_opening_and_close_are() {
    // The first entries after the people, then so many others that each part is met.
    let (opening, closes) = (20, [21, 45, 90, 119]);
    let (payer, payee, id) = parties(opening, 1);
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let entries: Vec<_> = (0..120)
        .map(|n| {
            let mut entry = entry(n, 1);
            if n == opening {
                entry.fact = of_tab(6, opening, 1);
            } else if closes.contains(&n) {
                entry.fact = of_tab(8, opening, 1);
            }
            LogEntry::new(entry.encode())
        })
        .collect();
    store
        .append(0, &entries, None, None)
        .expect("it can be written");
    drop(store);
    let (log, ledger) = (scratch.reader(), LedgerId(entries[0].leaf));
    let told = |reader: &IndexReader, who: &PublicKey, after, end| {
        let found = reader.concerning(&[*who], after, usize::MAX, end);
        let mut found = found.expect("it is good");
        found.retain(|n| *n == opening || closes.contains(n));
        found
    };
    for step in [1, 7, 120] {
        let shared = Arc::new(Shared::new(SMALL));
        let mut writer =
            Writer::open(&scratch.folder, ledger, &log, shared).expect("it can be made");
        for len in (0..120).step_by(step).chain([120]) {
            writer.follow(&log, len).expect("the log is good");
            for shared in [Some(writer.shared()), None] {
                let reader = IndexReader::join(&scratch.folder, SMALL, shared).expect("it opens");
                for end in [22, 46, 120] {
                    // Also where the opening is none of those asked for.
                    for after in [0, 20, 21, 50] {
                        let mut expected = vec![opening];
                        expected.extend(closes);
                        expected.retain(|n| (after + 1..end).contains(n));
                        for who in [payer.public(), payee] {
                            let found = told(&reader, &who, after, end);
                            assert_eq!(found, expected, "read {len}, above {after} of {end}");
                        }
                    }
                }
            }
        }
        drop(writer);
        writer::remove(&scratch.folder.index()).expect("it is there");
    }
    assert_eq!(id.expiry(), LedgerTime::from_millis(1_000 + opening));
}

/// What happens to a tab in entry `n`: it is opened, or is one of those opened not long before.
pub(super) fn fact(kind: u8, n: u64, seed: u8) -> Fact {
    let random = random(n, seed);
    let opens = |n: &u64| super::random(*n, seed)[4] % 16 == 6;
    let before = (u64::from(PEOPLE) + 1..n).rev().filter(opens);
    let opening = match kind {
        6 => Some(n),
        _ => before.take(9).nth(usize::from(random[5] % 9)),
    };
    // Too early for any other.
    opening.map_or_else(|| of_tab(6, n, seed), |opening| of_tab(kind, opening, seed))
}

/// What the writer does on the way, by looking at everything.
pub(super) fn name_payees(postings: &mut [Posting]) {
    for at in 0..postings.len() {
        if let Posting::Closed { payer, id } = postings[at] {
            let payee = postings[..at].iter().find_map(|posting| {
                posting
                    .opening(id)
                    .filter(|it| it[0] == payer)
                    .map(|it| it[1])
            });
            postings[at] = Posting::Tab {
                payer,
                payee: payee.expect("it was opened"),
                moved: Moved::Neither,
            };
        }
    }
}

/// Payer, payee and id of the tab that entry `opening` may open.
fn parties(opening: u64, seed: u8) -> (SecretKey, PublicKey, OrderId) {
    let random = random(opening, seed);
    let payer = random[0] % PEOPLE;
    let payee = (payer + 1 + random[1] % (PEOPLE - 1)) % PEOPLE;
    let mut tail = [9; 10];
    tail[..8].copy_from_slice(&opening.to_be_bytes());
    let id = OrderId::new(LedgerTime::from_millis(1_000 + opening), tail);
    (key(1 + payer, 0), key(1 + payee, 0).public(), id)
}

/// Something that happens to that tab.
fn of_tab(kind: u8, opening: u64, seed: u8) -> Fact {
    let (payer, payee, id) = parties(opening, seed);
    let ledger = LedgerId([1; 32]);
    let amount = |units| Amount::new(units).expect("it is small");
    let own = payer.public();
    let release = |units| {
        Fact::Release(Release {
            payer: own,
            id,
            payee,
            amount: amount(units),
        })
    };
    match kind {
        6 => {
            let terms = Terms {
                version: STATEMENT_VERSION,
                ledger,
                id,
                payer: own,
                payee,
                unit: amount(2),
                length: 9,
                anchor: Link([3; 32]),
                expires: LedgerTime::from_millis(999),
                grace: 9,
                memo: Memo::default(),
                reference: None,
            };
            Fact::Tab(Signed::new(terms, &payer))
        }
        7 => Fact::Claim(Claim {
            payer: own,
            id,
            payee,
            amount: amount(2),
            from: 0,
            index: 1,
            link: Link([4; 32]),
        }),
        8 => Fact::Close(Close::sign(ledger, own, id, &payer)),
        9 => {
            let people = (1..=PEOPLE).map(|n| key(n, 0));
            let payee = people.into_iter().find(|it| it.public() == payee);
            let payee = payee.expect("one of the people");
            Fact::Close(Close::sign(ledger, own, id, &payee))
        }
        10 => release(5),
        _ => release(0),
    }
}
