use quid_common::amount::Amount;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Refusal};
use quid_common::id::{Digest, LedgerId};
use quid_common::key::SecretKey;
use quid_common::order::{Memo, Order, STATEMENT_VERSION, Void};
use quid_common::signed::Signed;

use super::*;

const LEDGER: LedgerId = LedgerId([7; 32]);
const EXPIRY: LedgerTime = LedgerTime::from_millis(60_000);

#[test]
fn every_answer_means_one_thing() {
    let order = order(5);
    let other = order_of(6);
    let settled = || receipt(Fact::Payment(order.clone()));
    let reused = || receipt(Fact::Payment(other.clone()));
    let void = || {
        receipt(Fact::Void(Void::sign(
            LEDGER,
            order.statement().id,
            &payer(),
        )))
    };
    let declined = || receipt(refusal(&order, Reason::PAYEE_DECLINED));
    let others_refusal = || receipt(refusal(&other, Reason::FROZEN));
    let strangers = || receipt(Fact::Payment(strangers_order()));

    let refused = |reason, entry| Judgement::Refused { reason, entry };
    let is_settled = || Judgement::Settled {
        receipt: Box::new(settled()),
        size: 1,
    };
    let open = |reason| Judgement::Open(reason);
    let subject = Subject::of(&order);
    let trust = trust();

    // What, the answer, as an answer to the order, as an answer to its void.
    let table = [
        (
            "settled",
            Answer::Settled(settled()),
            is_settled(),
            is_settled(),
        ),
        (
            "other bytes settled",
            Answer::Settled(reused()),
            refused(Reason::ID_REUSED, Some(0)),
            refused(Reason::ID_REUSED, Some(0)),
        ),
        (
            "somebody else's receipt",
            Answer::Settled(strangers()),
            open(None),
            open(None),
        ),
        (
            "voided",
            Answer::Voided(void()),
            refused(Reason::VOIDED, Some(0)),
            refused(Reason::VOIDED, Some(0)),
        ),
        (
            "voided, it says, with the payment",
            Answer::Voided(settled()),
            is_settled(),
            is_settled(),
        ),
        (
            "declined",
            Answer::Refused(Reason::PAYEE_DECLINED, Some(declined())),
            refused(Reason::PAYEE_DECLINED, Some(0)),
            refused(Reason::PAYEE_DECLINED, Some(0)),
        ),
        (
            "refused, it says, with the payment",
            Answer::Refused(Reason::FROZEN, Some(settled())),
            is_settled(),
            is_settled(),
        ),
        (
            "other bytes refused",
            Answer::Refused(Reason::FROZEN, Some(others_refusal())),
            refused(Reason::ID_REUSED, Some(0)),
            refused(Reason::ID_REUSED, Some(0)),
        ),
        (
            "refused without proof",
            Answer::Refused(Reason::INSUFFICIENT_FUNDS, None),
            refused(Reason::INSUFFICIENT_FUNDS, None),
            refused(Reason::INSUFFICIENT_FUNDS, None),
        ),
        (
            "expired",
            Answer::Refused(Reason::EXPIRED, None),
            refused(Reason::EXPIRED, None),
            refused(Reason::EXPIRED, None),
        ),
        (
            "static",
            Answer::Refused(Reason::BAD_SIGNATURE, None),
            refused(Reason::BAD_SIGNATURE, None),
            open(Some(Reason::BAD_SIGNATURE)),
        ),
        (
            "busy",
            Answer::Refused(Reason::BUSY, None),
            open(Some(Reason::BUSY)),
            open(Some(Reason::BUSY)),
        ),
        (
            "a later version's",
            Answer::Refused(Reason(9_999), None),
            open(Some(Reason(9_999))),
            open(Some(Reason(9_999))),
        ),
        (
            "about the request",
            Answer::Refused(Reason::NOT_LOGGED_IN, None),
            open(Some(Reason::NOT_LOGGED_IN)),
            open(Some(Reason::NOT_LOGGED_IN)),
        ),
    ];
    for (what, answer, to_order, to_void) in table {
        assert_eq!(
            subject.submitted(answer.clone(), &trust),
            to_order,
            "{what}"
        );
        assert_eq!(subject.voided(answer, &trust), to_void, "{what}, to a void");
    }
}

#[test]
fn an_order_that_was_not_met_is_refused_only_from_its_expiry_on() {
    let order = order(5);
    let subject = Subject::of(&order);
    for (time, judgement) in [
        (59_999, Judgement::NotMet),
        (
            60_000,
            Judgement::Refused {
                reason: Reason::EXPIRED,
                entry: None,
            },
        ),
    ] {
        assert_eq!(
            subject.asked(None, LedgerTime::from_millis(time), &trust()),
            judgement
        );
    }
}

#[test]
fn a_forged_receipt_leaves_the_order_open() {
    let order = order(5);
    let stranger = SecretKey::from_seed(&[9; 32]);
    let forged = receipt_by(&stranger, Fact::Payment(order.clone()));
    let subject = Subject::of(&order);
    assert_eq!(subject.proved(forged, &trust()), Judgement::Open(None));
    let mut bent = receipt(Fact::Payment(order.clone()));
    bent.entry[10] ^= 1;
    assert_eq!(subject.proved(bent, &trust()), Judgement::Open(None));
}

#[test]
fn with_only_an_id_any_payment_under_it_counts() {
    let order = order(5);
    let subject = Subject {
        signed: None,
        ..Subject::of(&order)
    };
    let judgement = subject.proved(receipt(Fact::Payment(order_of(6))), &trust());
    assert!(matches!(judgement, Judgement::Settled { .. }));
}

fn directory() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn payer() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn trust() -> Trust {
    Trust::new(directory().public(), Some(LEDGER), "/nowhere".as_ref())
}

fn order(units: u64) -> SignedOrder {
    signed(units, &payer())
}

/// Other bytes under the same id.
fn order_of(units: u64) -> SignedOrder {
    signed(units, &payer())
}

fn strangers_order() -> SignedOrder {
    signed(5, &SecretKey::from_seed(&[8; 32]))
}

fn signed(units: u64, key: &SecretKey) -> SignedOrder {
    let order = Order {
        version: STATEMENT_VERSION,
        ledger: LEDGER,
        id: OrderId::new(EXPIRY, [4; 10]),
        payer: key.public(),
        payee: SecretKey::from_seed(&[3; 32]).public(),
        amount: Amount::new(units).expect("small"),
        memo: Memo::default(),
        reference: None,
    };
    Signed::new(order, key)
}

fn refusal(order: &SignedOrder, reason: Reason) -> Fact {
    let stated = order.statement();
    let (payer, id) = (stated.payer, stated.id);
    Fact::Refusal(Refusal {
        payer,
        id,
        order: order.digest(),
        reason,
    })
}

fn receipt(fact: Fact) -> Receipt {
    receipt_by(&directory(), fact)
}

/// A log of one entry: its leaf hash is the root.
fn receipt_by(key: &SecretKey, fact: Fact) -> Receipt {
    let entry = Entry {
        time: LedgerTime::from_millis(1),
        fact,
    }
    .encode();
    let root = Digest::of(&[&[0], &entry[..]].concat()).0;
    let checkpoint = Checkpoint::sign(LEDGER, Head { size: 1, root }, key);
    Receipt {
        entry: entry.into(),
        index: 0,
        path: Vec::new().into(),
        checkpoint,
    }
}
