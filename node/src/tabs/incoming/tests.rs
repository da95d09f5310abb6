//! What an incoming tab takes, and what it leaves at risk.

use std::time::Duration;

use quid_common::chain::Chain;
use quid_common::id::LedgerId;
use quid_common::order::{Memo, STATEMENT_VERSION};

use super::*;

const LENGTH: u32 = 1_000;

#[test]
fn nothing_beyond_the_exposure_is_taken_before_it_is_saved() {
    let (mut chain, held) = held(Risk {
        exposure: 10,
        claim_at: 10,
        unclaimed_max: 25,
    });
    assert_eq!(held.limit(), 10);
    assert_eq!(pay(&held, &mut chain, 10), Ok(10));
    assert_eq!(held.limit(), 10, "nothing is saved");
    held.lock().saved = 10;
    assert_eq!(held.limit(), 20);
    assert_eq!(pay(&held, &mut chain, 20), Ok(20));
    held.lock().saved = 20;
    assert_eq!(held.limit(), 25, "nothing is claimed");
    assert_eq!(pay(&held, &mut chain, 26), Ok(20), "beyond the limit");
    held.lock().claimed = 20;
    assert_eq!(held.limit(), 30);
    held.lock().saved = LENGTH - 1;
    held.lock().claimed = LENGTH - 1;
    assert_eq!(held.limit(), LENGTH, "not beyond the end");
    held.want_end();
    assert_eq!(held.limit(), 20, "no more is taken");
}

#[test]
fn repeated_and_late_payments_change_nothing_and_forged_ones_are_named() {
    let (mut chain, held) = held(all(100));
    assert_eq!(pay(&held, &mut chain, 7), Ok(7));
    assert_eq!(pay(&held, &mut chain, 7), Ok(7));
    assert_eq!(pay(&held, &mut chain, 3), Ok(7));
    assert_eq!(held.take(9, 1, &[0; 32]), Err(LinkError::Forged));
    assert_eq!(held.lock().mark.index, 7);
    held.want_end();
    assert_eq!(pay(&held, &mut chain, 8), Ok(7));
}

#[test]
fn a_payer_that_ignores_the_limit_puts_no_more_at_risk() {
    let (mut chain, held) = held(Risk {
        exposure: 10,
        claim_at: 10,
        unclaimed_max: 25,
    });
    assert_eq!(held.limit(), 10);
    let _ = pay(&held, &mut chain, 900);
    let state = held.lock();
    assert!(
        state.mark.index - state.saved <= 10,
        "{} at risk",
        state.mark.index - state.saved
    );
}

#[tokio::test]
async fn a_restart_does_not_give_away_what_was_paid_for_before() {
    let (mut chain, held) = held(all(1_000));
    assert_eq!(pay(&held, &mut chain, 500), Ok(500));
    let tab = IncomingTab {
        held: Arc::new(held),
    };
    tab.charge(500).await.expect("paid, and handed over");
    // The same tab after a restart, from the journal's row.
    let row = IncomingRow {
        mark: tab.held.lock().mark,
        claimed: 500,
        ..row(tab.held.terms.clone())
    };
    let tab = IncomingTab {
        held: Arc::new(Held::new(row, all(1_000), Arc::default())),
    };
    let charge = tab.charge(1);
    tokio::pin!(charge);
    assert!(is_pending(&mut charge).await, "nothing new was paid");
}

#[test]
fn nothing_counts_once_the_tab_is_ending() {
    // So many links that the end comes while they are hashed.
    let (mut chain, held) = held_of(GAP_MAX, all(GAP_MAX));
    let held = Arc::new(held);
    let link = chain.link(GAP_MAX).expect("the last");
    let taker = {
        let held = Arc::clone(&held);
        std::thread::spawn(move || held.take(GAP_MAX, 1, &link.0))
    };
    std::thread::sleep(Duration::from_millis(1));
    held.want_end();
    // What the keeper would claim before it closes.
    let claimed = held.lock().mark.index;
    let told = taker.join().expect("sound");
    assert_eq!(
        held.lock().mark.index,
        claimed,
        "counted after the end, told {told:?}"
    );
}

#[test]
fn a_tab_ends_while_the_node_stops_and_what_is_lost_is_told_once() {
    let (mut chain, held) = held(all(100));
    assert_eq!(pay(&held, &mut chain, 7), Ok(7));
    held.stop();
    assert_eq!(pay(&held, &mut chain, 8), Ok(7), "no more in this run");
    held.want_end();
    assert_eq!(held.lock().phase(), Phase::Ending(None));
    held.stop();
    assert_eq!(
        held.lock().phase(),
        Phase::Ending(None),
        "it is to be closed still"
    );
    held.lock().claimed = 4;
    assert_eq!(held.gone(), Some(3));
    assert_eq!(held.gone(), None);
    assert_eq!(held.lock().phase(), Phase::Over(Some(Reason::NO_TAB)));
}

#[tokio::test]
async fn a_charge_waits_until_the_payer_is_within_the_window() {
    let (mut chain, held) = held(all(100));
    let held = Arc::new(held);
    let tab = IncomingTab {
        held: Arc::clone(&held),
    };
    tab.set_window(2);
    tab.charge(2).await.expect("within the window");
    let charge = tab.charge(3);
    tokio::pin!(charge);
    assert!(is_pending(&mut charge).await);
    assert_eq!(pay(&held, &mut chain, 2), Ok(2));
    assert!(is_pending(&mut charge).await, "5 owed, 2 paid, window 2");
    assert_eq!(pay(&held, &mut chain, 3), Ok(3));
    assert_eq!(charge.await, Ok(()));
    assert_eq!((tab.owed(), tab.paid()), (5, 3));
    assert!(held.expire(held.terms.expires), "its time has passed");
    assert_eq!(tab.charge(9).await, Err(TabOver(Some(Reason::EXPIRED))));
    assert_eq!(tab.wait_paid(3).await, Ok(()));
    assert_eq!(tab.over().await, TabOver(Some(Reason::EXPIRED)));
}

async fn is_pending(future: &mut (impl Future<Output = impl Sized> + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

fn pay(held: &Held, chain: &mut Chain, to: u32) -> Result<u32, LinkError> {
    let link = chain.link(to).expect("within the chain");
    held.take(to, 1, &link.0)
}

/// A risk of so many units, whichever way they are lost.
fn all(units: u32) -> Risk {
    Risk {
        exposure: units,
        claim_at: units,
        unclaimed_max: units,
    }
}

fn held(risk: Risk) -> (Chain, Held) {
    held_of(LENGTH, risk)
}

fn held_of(length: u32, risk: Risk) -> (Chain, Held) {
    let id = OrderId::new(LedgerTime::from_millis(1_000), [1; 10]);
    let chain = Chain::new(id, length, Link([9; 32])).expect("a length within bounds");
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger: LedgerId([2; 32]),
        id,
        payer: PublicKey::from_bytes([3; 32]),
        payee: PublicKey::from_bytes([4; 32]),
        unit: Amount::new(3).expect("small"),
        length,
        anchor: chain.anchor(),
        expires: LedgerTime::from_millis(2_000),
        grace: 60,
        memo: Memo::default(),
        reference: None,
    };
    (chain, Held::new(row(terms), risk, Arc::default()))
}

/// A tab on which nothing was paid, as the journal has it.
fn row(terms: Terms) -> IncomingRow {
    IncomingRow {
        payer: None,
        entry: 5,
        mark: terms.start(),
        claimed: 0,
        expires: terms.expires,
        open: true,
        terms,
    }
}
