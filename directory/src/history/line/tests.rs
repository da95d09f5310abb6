use quid_common::chain::Link;
use quid_common::id::{LedgerId, OrderId, Reference};
use quid_common::key::SecretKey;
use quid_common::order::STATEMENT_VERSION;
use quid_common::signed::Signed;
use quid_common::tab::{Claim, Close, Release};
use quid_common::time::LedgerTime;

use super::*;

#[test]
fn a_tab_is_told_to_each_by_the_money_that_it_moved() {
    let (payer, payee, stranger) = (key(1), key(2).public(), key(3).public());
    let id = OrderId::new(LedgerTime::from_millis(5), [1; 10]);
    let ledger = LedgerId([0; 32]);
    let own = payer.public();
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger,
        id,
        payer: own,
        payee,
        unit: amount(3),
        length: 10,
        anchor: Link([0; 32]),
        expires: LedgerTime::from_millis(9),
        grace: 1,
        memo: Memo::new("a film").expect("short"),
        reference: Some(Reference([7; 16])),
    };
    let release = |units| {
        Fact::Release(Release {
            payer: own,
            id,
            payee,
            amount: amount(units),
        })
    };
    let claim = Claim {
        payer: own,
        id,
        payee,
        amount: amount(12),
        from: 0,
        index: 4,
        link: Link([0; 32]),
    };
    let closes = [&payer, &key(2)].map(|by| Close::sign(ledger, own, id, by));
    let [payers_close, payees_close] = closes.map(Fact::Close);
    let hold = Fact::Tab(Signed::new(terms.clone(), &payer));
    let kinds = history_kind::HOLD..=history_kind::RELEASE;
    assert_eq!(kinds, 4..=6);
    // Kind, whether it comes in, and how much: to the payer, then to the payee.
    for (fact, to_payer, to_payee) in [
        (hold, Some((4, false, 30)), None),
        (
            Fact::Claim(claim),
            Some((5, false, 12)),
            Some((5, true, 12)),
        ),
        (payers_close, None, None),
        (payees_close, None, None),
        (release(18), Some((6, true, 18)), None),
        (release(0), None, None),
    ] {
        let time = LedgerTime::from_millis(8);
        let entry = Entry { time, fact };
        for (who, expected) in [(own, to_payer), (payee, to_payee)] {
            let told = line(7, &entry, &[who], &key(0).public(), name);
            let short = |it: &HistoryLine| (it.kind, it.incoming, it.amount.units());
            assert_eq!(told.as_ref().map(short), expected, "{entry:?}");
            let Some(told) = told else { continue };
            assert_eq!((told.entry, told.time, told.order), (7, time, Some(id)));
            let other = if who == own { payee } else { own };
            assert_eq!(told.counterparty, name(&other));
            let is_hold = told.kind == history_kind::HOLD;
            let words = if is_hold {
                terms.memo.clone()
            } else {
                Memo::default()
            };
            assert_eq!(told.memo, words);
            assert_eq!(told.reference, terms.reference.filter(|_| is_hold));
        }
        if !matches!(entry.fact, Fact::Claim(_)) {
            let told = line(7, &entry, &[stranger], &key(0).public(), name);
            assert_eq!(told, None);
        }
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("small")
}

fn name(key: &PublicKey) -> Name {
    format!("person-{}", key.short()).parse().expect("a name")
}
