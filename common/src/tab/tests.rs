mod model;

use super::*;
use crate::chain::Chain;

/// A sound tab of four units that opens by 1000 s and ends at 2000 s.
fn terms() -> Terms {
    let id = OrderId::new(seconds(1_000), [1; 10]);
    Terms {
        version: STATEMENT_VERSION,
        ledger: LedgerId([1; 32]),
        id,
        payer: PublicKey::from_bytes([2; 32]),
        payee: PublicKey::from_bytes([3; 32]),
        unit: amount(10),
        length: 4,
        anchor: chain(id, 4).anchor(),
        expires: seconds(2_000),
        grace: 60,
        memo: Memo::default(),
        reference: None,
    }
}

fn chain(tab: OrderId, length: u32) -> Chain {
    Chain::new(tab, length, Link([7; 32])).expect("a length within bounds")
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("below the maximum")
}

fn seconds(count: u64) -> LedgerTime {
    LedgerTime::from_millis(count * 1_000)
}

/// The mark of `index` units on the chain of `terms`.
fn mark(terms: &Terms, index: u32) -> Mark {
    let link = chain(terms.id, terms.length).link(index);
    let link = link.expect("within the chain");
    Mark { index, link }
}

/// A claim on the tab of `terms`, and what it moves.
fn claim(tab: &Tab, terms: &Terms, from: u32, to: Mark) -> Result<(Amount, Tab), Reason> {
    tab.claim(&Hashed::new(&terms.id, from, to)?)
}

#[test]
fn terms_are_checked_for_what_no_time_and_no_books_can_mend() {
    type Change = fn(&mut Terms);
    const OPENS: u64 = 1_000;
    let table: [(Change, Result<(), Reason>); 19] = [
        (|_| (), Ok(())),
        (|it| it.unit = Amount::ZERO, Err(Reason::ZERO_AMOUNT)),
        (|it| it.length = 0, Err(Reason::ZERO_AMOUNT)),
        (|it| it.payee = it.payer, Err(Reason::SELF_PAYMENT)),
        (|it| it.length = LENGTH_MAX, Ok(())),
        (|it| it.length = LENGTH_MAX + 1, Err(Reason::BAD_TERMS)),
        (|it| it.length = u32::MAX, Err(Reason::BAD_TERMS)),
        (|it| it.unit = amount(Amount::MAX.units() / 4), Ok(())),
        (
            |it| it.unit = amount(Amount::MAX.units() / 4 + 1),
            Err(Reason::BAD_TERMS),
        ),
        (|it| it.unit = Amount::MAX, Err(Reason::BAD_TERMS)),
        (|it| it.expires = seconds(OPENS), Err(Reason::BAD_TERMS)),
        (
            |it| it.expires = LedgerTime::from_millis(1),
            Err(Reason::BAD_TERMS),
        ),
        (
            |it| it.expires = LedgerTime::from_millis(OPENS * 1_000 + 1),
            Ok(()),
        ),
        (|it| it.expires = seconds(OPENS).plus(LIFE_MAX), Ok(())),
        (
            |it| it.expires = seconds(OPENS + 1).plus(LIFE_MAX),
            Err(Reason::BAD_TERMS),
        ),
        (|it| it.grace = 0, Err(Reason::BAD_TERMS)),
        (|it| it.grace = 3_600, Ok(())),
        (|it| it.grace = 3_601, Err(Reason::BAD_TERMS)),
        (|it| it.grace = u32::MAX, Err(Reason::BAD_TERMS)),
    ];
    for (at, (change, verdict)) in table.into_iter().enumerate() {
        let mut terms = terms();
        change(&mut terms);
        assert_eq!(terms.check(), verdict, "line {at}");
    }
    let whole = Terms {
        unit: Amount::MAX,
        length: 1,
        ..terms()
    };
    assert_eq!(whole.check(), Ok(()));
    assert_eq!(whole.hold(), Some(Amount::MAX));
}

#[test]
fn of_two_faults_the_first_in_the_order_of_precedence_is_named() {
    let mut terms = Terms {
        payee: terms().payer,
        grace: 0,
        ..terms()
    };
    assert_eq!(terms.check(), Err(Reason::SELF_PAYMENT));
    terms.length = 0;
    assert_eq!(terms.check(), Err(Reason::ZERO_AMOUNT));
}

#[test]
fn a_grace_beyond_the_end_of_time_is_none() {
    let end = LedgerTime::MAX.as_millis();
    let terms = |before_end: u64| Terms {
        id: OrderId::new(LedgerTime::from_millis(end - 100_000), [1; 10]),
        expires: LedgerTime::from_millis(end - before_end),
        ..terms()
    };
    assert_eq!(terms(60_000).check(), Ok(()));
    assert_eq!(terms(59_999).check(), Err(Reason::BAD_TERMS));
    assert_eq!(terms(0).check(), Err(Reason::BAD_TERMS));
}

#[test]
fn an_open_tab_is_what_the_terms_say() {
    let terms = terms();
    let tab = Tab::open(&terms);
    assert_eq!((tab.held(), terms.hold()), (amount(40), Some(amount(40))));
    assert_eq!(tab.claimed, mark(&terms, 0));
    assert_eq!((tab.expires, tab.until), (seconds(2_000), seconds(2_060)));
    assert_eq!(tab.until, terms.until());
    assert!(!tab.is_closed_by_payee());
}

#[test]
fn a_claim_moves_the_units_since_the_last_one() {
    let terms = terms();
    let tab = Tab::open(&terms);
    let (paid, tab) = claim(&tab, &terms, 0, mark(&terms, 1)).expect("honest");
    assert_eq!((paid, tab.held()), (amount(10), amount(30)));
    let (paid, tab) = claim(&tab, &terms, 1, mark(&terms, 4)).expect("honest");
    assert_eq!((paid, tab.held()), (amount(30), Amount::ZERO));
    assert_eq!(tab.claimed, mark(&terms, 4));
    let again = claim(&tab, &terms, 4, mark(&terms, 4));
    assert_eq!(again, Err(Reason::STALE_CLAIM));
}

#[test]
fn a_claim_that_is_not_the_next_one_moves_nothing() {
    let terms = terms();
    let open = Tab::open(&terms);
    let (_, tab) = claim(&open, &terms, 0, mark(&terms, 2)).expect("honest");
    let other = OrderId::new(seconds(1_000), [2; 10]);
    let of_other = chain(other, 4).link(3).expect("within the chain");
    let at = |index, link| Mark { index, link };
    let three = mark(&terms, 3).link;
    let table = [
        (2, at(3, three), Ok(())),
        (0, at(3, three), Err(Reason::STALE_CLAIM)),
        (1, at(3, three), Err(Reason::STALE_CLAIM)),
        (3, at(4, mark(&terms, 4).link), Err(Reason::STALE_CLAIM)),
        (2, mark(&terms, 2), Err(Reason::STALE_CLAIM)),
        (0, mark(&terms, 0), Err(Reason::STALE_CLAIM)),
        (2, mark(&terms, 1), Err(Reason::STALE_CLAIM)),
        (u32::MAX, at(3, three), Err(Reason::STALE_CLAIM)),
        (2, at(4, three), Err(Reason::BAD_LINK)),
        (2, at(3, mark(&terms, 4).link), Err(Reason::BAD_LINK)),
        (2, at(3, of_other), Err(Reason::BAD_LINK)),
        (2, at(3, Link([0; 32])), Err(Reason::BAD_LINK)),
        (2, at(3, tab.claimed.link), Err(Reason::BAD_LINK)),
        (2, at(5, three), Err(Reason::PAST_END)),
        // Past the end whatever else is wrong, so that the books are not asked in vain.
        (1, at(5, three), Err(Reason::PAST_END)),
        (2, at(u32::MAX, three), Err(Reason::GAP_TOO_LONG)),
        (0, at(u32::MAX, three), Err(Reason::GAP_TOO_LONG)),
    ];
    for (at, (from, to, verdict)) in table.into_iter().enumerate() {
        let told = claim(&tab, &terms, from, to).map(|_| ());
        assert_eq!(told, verdict, "line {at}");
    }
}

#[test]
fn links_hashed_for_another_tab_pay_nothing() {
    let (ours, theirs) = (terms(), OrderId::new(seconds(1_000), [2; 10]));
    let hashed = Hashed::new(&theirs, 0, mark(&ours, 2)).expect("short");
    assert_eq!(Tab::open(&ours).claim(&hashed), Err(Reason::BAD_LINK));
}

#[test]
fn one_claim_hashes_so_many_links_and_no_more() {
    let length = GAP_MAX + 10;
    let terms = Terms {
        length,
        anchor: chain(terms().id, length).anchor(),
        ..terms()
    };
    let tab = Tab::open(&terms);
    let whole = mark(&terms, length);
    let refused = Hashed::new(&terms.id, 9, whole);
    assert_eq!(refused, Err(Reason::GAP_TOO_LONG));
    let low = mark(&terms, 10);
    let (_, tab) = claim(&tab, &terms, 0, low).expect("honest");
    let hashed = Hashed::new(&terms.id, 10, whole).expect("as many as one may");
    assert_eq!((hashed.from(), hashed.to()), (10, whole));
    let (paid, after) = tab.claim(&hashed).expect("honest");
    assert_eq!(paid, amount(10 * u64::from(GAP_MAX)));
    assert_eq!(after.held(), Amount::ZERO);
    // The links between are had by hashing down.
    assert_eq!(whole.lower(&terms.id, 10), Some(low));
}

#[test]
fn the_largest_hold_is_claimed_to_the_last_unit() {
    let terms = Terms {
        unit: amount(Amount::MAX.units() / 4),
        ..terms()
    };
    let tab = Tab::open(&terms);
    assert_eq!(Some(tab.held()), terms.hold());
    let (paid, tab) = claim(&tab, &terms, 0, mark(&terms, 4)).expect("honest");
    assert_eq!((Some(paid), tab.held()), (terms.hold(), Amount::ZERO));
}

/// Nobody opens such a tab; the rules must not count wrongly all the same.
#[test]
fn what_cannot_be_counted_is_not_paid() {
    let terms = Terms {
        unit: Amount::MAX,
        ..terms()
    };
    assert_eq!(terms.hold(), None);
    let tab = Tab::open(&terms);
    assert_eq!(tab.held(), Amount::MAX);
    let two = claim(&tab, &terms, 0, mark(&terms, 2));
    assert_eq!(two, Err(Reason::PAST_END));
    assert_eq!(units(Amount::MAX, 1), Some(Amount::MAX));
    assert_eq!(units(Amount::MAX, 2), None);
    assert_eq!(units(amount(2), u32::MAX), Some(amount(0x1_ffff_fffe)));
    assert_eq!(units(Amount::ZERO, u32::MAX), Some(Amount::ZERO));
}

#[test]
fn a_tab_is_over_once_the_grace_is() {
    let tab = Tab::open(&terms());
    let until = seconds(2_060);
    assert!(!tab.is_over(LedgerTime::from_millis(until.as_millis() - 1)));
    assert!(tab.is_over(until));
    assert!(tab.is_over(LedgerTime::MAX));
}

#[test]
fn a_close_by_the_payer_begins_the_grace_and_does_so_once() {
    let tab = Tab::open(&terms());
    let closed = tab.closed_by_payer(seconds(1_500));
    assert_eq!(
        (closed.expires, closed.until),
        (seconds(1_500), seconds(1_560))
    );
    assert!(!closed.is_closed_by_payee());
    assert_eq!((closed.claimed, closed.held()), (tab.claimed, tab.held()));
    for later in [1_500, 1_559, 1_560, 9_000] {
        assert_eq!(closed.closed_by_payer(seconds(later)), closed);
    }
    for late in [2_000, 2_059, 2_060] {
        assert_eq!(tab.closed_by_payer(seconds(late)), tab, "it has ended");
    }
}

#[test]
fn a_close_by_the_payee_ends_the_tab_at_once() {
    let tab = Tab::open(&terms());
    for now in [1_500, 1_999, 2_000, 2_030, 2_060, 9_000].map(seconds) {
        let closed = tab.closed_by_payee(now);
        assert!(closed.is_closed_by_payee() && closed.is_over(now));
        assert!(closed.expires <= tab.expires && closed.until <= tab.until);
        assert_eq!(closed.closed_by_payer(now), closed, "it is closed");
        assert_eq!(closed.closed_by_payee(now), closed);
    }
    let by_payer = tab.closed_by_payer(seconds(1_500));
    let by_both = by_payer.closed_by_payee(seconds(1_510));
    assert!(by_both.is_closed_by_payee() && by_both.is_over(seconds(1_510)));
}

#[test]
fn a_tab_takes_claims_as_long_as_it_is_there() {
    let terms = terms();
    let closed = Tab::open(&terms).closed_by_payer(seconds(1_500));
    let (paid, closed) = claim(&closed, &terms, 0, mark(&terms, 1)).expect("whatever the time");
    assert_eq!(paid, amount(10));
    let closed = closed.closed_by_payee(seconds(1_501));
    let (paid, after) = claim(&closed, &terms, 1, mark(&terms, 4)).expect("not released yet");
    assert_eq!((paid, after.held()), (amount(30), Amount::ZERO));
    assert!(after.is_closed_by_payee(), "a claim opens nothing again");
}

#[test]
fn a_close_names_who_closes_and_is_theirs_alone() {
    let (payer, payee) = ([5; 32], [6; 32]);
    let (payer, payee) = (SecretKey::from_seed(&payer), SecretKey::from_seed(&payee));
    let (ledger, id) = (LedgerId([1; 32]), terms().id);
    for key in [&payer, &payee] {
        let close = Close::sign(ledger, payer.public(), id, key);
        assert_eq!(close.statement().by, key.public());
        assert!(close.verify());
        assert_eq!(SignedClose::from_bytes(close.bytes()).as_ref(), Ok(&close));
    }
    let close = Close::sign(ledger, payer.public(), id, &payee);
    assert!(SignedTerms::from_bytes(close.bytes()).is_err());
    assert!(crate::order::SignedVoid::from_bytes(close.bytes()).is_err());
}

#[test]
fn units_are_plain_numbers_within_bounds() {
    assert_eq!(parse_units("1"), Ok(1));
    assert_eq!(parse_units("1048576"), Ok(LENGTH_MAX));
    for text in [
        "",
        "0",
        "+1",
        "-1",
        "1.0",
        "1048577",
        "99999999999",
        " 1",
        "1e3",
        "١",
    ] {
        assert_eq!(parse_units(text), Err(UnitsError), "{text}");
    }
}
