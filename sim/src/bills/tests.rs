use quid_common::amount::Amount;
use quid_common::entry::Registration;
use quid_common::id::LedgerId;
use quid_common::key::SecretKey;
use quid_common::order::{Memo, STATEMENT_VERSION};
use quid_common::request::RequestId;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;

use super::*;

const LEDGER: LedgerId = LedgerId([7; 32]);

/// When requests end.
const END: LedgerTime = LedgerTime::from_millis(50_000);

/// Who asks, and who is asked.
const ALICE: u8 = 1;
const BOB: u8 = 2;
const CAROL: u8 = 3;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("small")
}

/// Alice asks for 5.
fn request(once: bool) -> Request {
    Request {
        version: STATEMENT_VERSION,
        ledger: LEDGER,
        id: RequestId::new(END, [9; 10]),
        payee: key(ALICE).public(),
        name: "alice".parse().expect("a name"),
        wanted: Wanted::Amount(amount(5)),
        memo: Memo::default(),
        once,
    }
}

fn order(number: u8, [payer, payee]: [u8; 2], units: u64, reference: Option<Reference>) -> Order {
    Order {
        version: STATEMENT_VERSION,
        ledger: LEDGER,
        id: OrderId::new(END, [number; 10]),
        payer: key(payer).public(),
        payee: key(payee).public(),
        amount: amount(units),
        memo: Memo::default(),
        reference,
    }
}

/// What is said of a log with these payments, of which the first have been listed as the request's.
fn said(once: bool, orders: &[(u8, Order)], listed: &[u64]) -> Result<Counts, Broken> {
    let request = request(once);
    let mut seen = Seen {
        known: orders.len() as u64,
        ..Seen::default()
    };
    let mut accounts = Accounts::default();
    for number in [ALICE, BOB, CAROL] {
        let registration = Registration {
            directory: key(9).public(),
            name: format!("person-{number}").parse().expect("a name"),
            key: key(number).public(),
            recovery: None,
        };
        accounts.register(0, &registration).expect("new");
        seen.people.insert(key(number).public());
        seen.listening.insert(key(number).public());
    }
    seen.listed.insert(request.id, listed.to_vec());
    seen.requests.insert(request.reference(), request);
    let entries = orders.iter().map(|(signer, order)| Entry {
        time: LedgerTime::from_millis(1),
        fact: Fact::Payment(Signed::new(order.clone(), &key(*signer))),
    });
    let mut log = Log::default();
    log.entries.extend(entries);
    check(&log, &seen, &accounts)
}

#[test]
fn a_request_is_paid_exactly_and_once_by_each_or_in_all() {
    let asked = Some(request(false).reference());
    let bob = (BOB, order(1, [BOB, ALICE], 5, asked));
    let carol = (CAROL, order(2, [CAROL, ALICE], 5, asked));
    let both = [bob.clone(), carol.clone()];
    let counts = said(false, &both, &[0, 1]).expect("each has paid once");
    assert_eq!(counts["requests paid, by the log"], 2);
    assert!(said(true, &both[..1], &[0]).is_ok());

    let broken = |once, orders: &[(u8, Order)], listed: &[u64], word: &str| {
        let what = said(once, orders, listed).expect_err(word);
        assert!(what.contains(word), "{what}");
    };
    broken(true, &both, &[0], "paid once in all, and entries [0, 1]");
    broken(true, &both[..1], &[0, 0], "its payee has");
    broken(false, &both, &[0], "its payee does not know it");
    broken(false, &[], &[0], "which does not pay it");
    let again = (BOB, order(3, [BOB, ALICE], 5, asked));
    broken(false, &[bob.clone(), again], &[0, 1], "a second time");
    let (mut less, mut other, mut late) = (bob.clone(), bob.clone(), bob);
    less.1.amount = amount(4);
    other.1.payee = key(CAROL).public();
    late.1.id = OrderId::new(END.plus(std::time::Duration::from_millis(1)), [1; 10]);
    for wrong in [less, other, late] {
        broken(false, &[wrong], &[], "not paid as its payee asked");
    }
}

#[test]
fn a_refund_is_what_came_to_who_paid_it_and_once() {
    let first = order(1, [BOB, ALICE], 8, None);
    let of = Some(Reference(*first.id.as_bytes()));
    let back = (ALICE, order(2, [ALICE, BOB], 8, of));
    let first = (BOB, first);
    let counts = said(false, &[first.clone(), back.clone()], &[]).expect("paid back");
    assert_eq!(counts["refunds, by the log"], 1);
    let again = (ALICE, order(3, [ALICE, BOB], 8, of));
    let twice = said(false, &[first.clone(), back, again], &[]);
    assert!(twice.is_err_and(|what| what.contains("a second time")));
    for wrong in [
        order(2, [ALICE, BOB], 7, of),
        order(2, [ALICE, CAROL], 8, of),
    ] {
        let what = said(false, &[first.clone(), (ALICE, wrong)], &[]);
        assert!(what.is_err_and(|what| what.contains("a refund is not")));
    }
}
