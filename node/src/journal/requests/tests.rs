use std::path::PathBuf;

use proptest::prelude::*;
use quid_common::amount::Amount;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact};
use quid_common::id::{Digest, InstanceId, LedgerId};
use quid_common::key::SecretKey;
use quid_common::order::{Memo, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::request::{Request, Wanted};
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;

use super::super::{Inserted, Moved, NewOrder, NoteState, Noted};
use super::*;
use crate::surroundings::Workers;

const END: LedgerTime = LedgerTime::from_millis(1_000_000);
const LEDGER: LedgerId = LedgerId([7; 32]);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Me, who asks.
fn me() -> SecretKey {
    key(1)
}

fn journal() -> (tempfile::TempDir, PathBuf, Journal) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite3");
    Journal::create(&path).expect("made");
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    (folder, path, journal)
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("small")
}

fn request(number: u8, wanted: Wanted, once: bool) -> SignedRequest {
    let request = Request {
        version: STATEMENT_VERSION,
        ledger: LEDGER,
        id: RequestId::new(END, [number; 10]),
        payee: me().public(),
        name: "bob".parse().expect("a name"),
        wanted,
        memo: Memo::default(),
        once,
    };
    request.sign(&me())
}

/// An order by the payer of this seed that answers `request`, with so many units.
fn order(payer: u8, number: u8, units: u64, request: &SignedRequest) -> SignedOrder {
    let payer = key(payer);
    let order = Order {
        version: STATEMENT_VERSION,
        ledger: LEDGER,
        id: OrderId::new(END, [number; 10]),
        payer: payer.public(),
        payee: me().public(),
        amount: amount(units),
        memo: Memo::default(),
        reference: Some(request.statement().reference()),
    };
    Signed::new(order, &payer)
}

/// Not one that verifies: the journal keeps what others have verified.
fn checkpoint(size: u64) -> Checkpoint {
    let root = Digest::of(&size.to_be_bytes()).0;
    Checkpoint::sign(LEDGER, Head { size, root }, &me())
}

fn moved(order: &SignedOrder, entry: u64) -> Moved {
    moved_at(order, entry, 0)
}

/// The same at this ledger time.
fn moved_at(order: &SignedOrder, entry: u64, time: u64) -> Moved {
    let fact = Fact::Payment(order.clone());
    let receipt = Receipt {
        index: entry,
        entry: Entry {
            time: LedgerTime::from_millis(time),
            fact,
        }
        .encode()
        .into(),
        path: Vec::new().into(),
        checkpoint: checkpoint(entry + 1),
    };
    Moved {
        receipt,
        order: Some(order.clone()),
        counterparty: "alice".parse().expect("a name"),
        size: entry + 1,
        advances: false,
    }
}

async fn entries(journal: &Journal, request: &SignedRequest) -> Vec<u64> {
    let row = journal.request(request.statement().id).await;
    row.expect("readable").expect("it is ours").entries
}

async fn answers(journal: &Journal, order: &SignedOrder, entry: u64) -> bool {
    let first = journal.receive(vec![moved(order, entry)]).await;
    first.expect("written")[0].expect("it is new").answers
}

#[tokio::test]
async fn a_request_is_answered_by_what_pays_it_exactly_as_often_as_somebody_does() {
    let (_folder, path, journal) = journal();
    let exact = request(1, Wanted::Amount(amount(5)), false);
    let open = request(2, Wanted::Open, false);
    for request in [&exact, &open] {
        journal
            .keep_request(request.clone())
            .await
            .expect("written");
    }
    let (one, two, other) = (
        order(2, 1, 5, &exact),
        order(3, 2, 5, &exact),
        order(2, 3, 6, &exact),
    );
    // Also where only orders are taken that answer something.
    for order in [&one, &two] {
        assert_eq!(journal.note(order.clone(), true).await, Ok(Noted::New));
    }
    assert_eq!(
        journal.note(other.clone(), false).await,
        Ok(Noted::Reference)
    );
    assert!(answers(&journal, &one, 7).await);
    assert!(answers(&journal, &two, 9).await);
    // Settled past us, for another amount: money that came.
    assert!(!answers(&journal, &other, 8).await);
    assert!(answers(&journal, &order(2, 4, 1, &open), 10).await);
    drop(journal);
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    assert_eq!(entries(&journal, &exact).await, [7, 9]);
    let rows = journal.requests(10).await.expect("readable");
    let ids: Vec<_> = rows.iter().map(|row| row.signed.statement().id).collect();
    assert_eq!(ids, [open.statement().id, exact.statement().id]);
}

#[tokio::test]
async fn what_is_paid_once_is_the_first_orders_until_that_is_refused() {
    let (_folder, path, journal) = journal();
    let once = request(1, Wanted::Amount(amount(5)), true);
    journal.keep_request(once.clone()).await.expect("written");
    let [one, two, three] = [1, 2, 3].map(|number| order(number + 1, number, 5, &once));
    assert_eq!(journal.note(one.clone(), false).await, Ok(Noted::New));
    assert_eq!(journal.note(two.clone(), false).await, Ok(Noted::Reference));
    drop(journal);
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    assert_eq!(
        journal.note(one.clone(), false).await,
        Ok(Noted::Again(NoteState::Accepted))
    );
    assert_eq!(journal.note(two.clone(), false).await, Ok(Noted::Reference));
    let stated = one.statement();
    let refused = journal.refuse_note(stated.payer, stated.id, Reason::INSUFFICIENT_FUNDS);
    assert_eq!(refused.await, Ok(true));
    assert_eq!(journal.note(two.clone(), false).await, Ok(Noted::New));
    // Somebody settles it past us meanwhile: that does not answer, and ours does.
    assert!(!answers(&journal, &three, 8).await);
    assert!(answers(&journal, &two, 9).await);
    assert_eq!(entries(&journal, &once).await, [9]);
    // The refusal that was believed of the first is outweighed by a receipt, which changes nothing.
    assert!(!answers(&journal, &one, 10).await);
    assert_eq!(entries(&journal, &once).await, [9]);
}

#[tokio::test]
async fn what_comes_after_a_request_was_cancelled_does_not_answer_it() {
    let (_folder, path, journal) = journal();
    // As another process would.
    let other = Journal::open(&path, Workers::Threads).expect("the same journal");
    let asked = request(1, Wanted::Amount(amount(5)), false);
    let id = asked.statement().id;
    let now = LedgerTime::from_millis(50);
    assert_eq!(journal.cancel_request(id, now).await, Ok(None));
    journal.keep_request(asked.clone()).await.expect("written");
    let [one, two, three, four] = [1, 2, 3, 4].map(|number| order(2, number, 5, &asked));
    assert_eq!(journal.note(one.clone(), false).await, Ok(Noted::New));
    let cancelled = other.cancel_request(id, now).await.expect("written");
    let (row, coming) = cancelled.expect("it is ours");
    assert_eq!((row.cancelled, row.entries), (true, Vec::new()));
    assert_eq!(coming, [one.statement().id]);
    assert_eq!(journal.note(two.clone(), false).await, Ok(Noted::Reference));
    // What was accepted before goes on, whenever it settles; what settled before is an answer.
    let again = journal.note(one.clone(), false).await;
    assert_eq!(again, Ok(Noted::Again(NoteState::Accepted)));
    for (order, entry, time, answers) in [
        (&one, 7, 90, true),
        (&three, 8, 49, true),
        (&four, 9, 50, false),
    ] {
        let first = journal.receive(vec![moved_at(order, entry, time)]).await;
        let first = first.expect("written")[0].expect("it is new");
        assert_eq!(first.answers, answers, "entry {entry}");
    }
    // The time of the first word counts, and it stands.
    let later = LedgerTime::from_millis(60);
    let cancelled = journal.cancel_request(id, later).await.expect("written");
    let (row, coming) = cancelled.expect("it is ours");
    assert_eq!((row.cancelled, row.entries), (true, vec![7, 8]));
    assert!(coming.is_empty(), "{coming:?}");
    assert_eq!(journal.note(two, false).await, Ok(Noted::Reference));
}

fn new(order: &SignedOrder, purpose: Purpose) -> NewOrder {
    NewOrder {
        order: order.clone(),
        payee: "bob".parse().expect("a name"),
        route: None,
        owner: InstanceId([1; 16]),
        purpose: Some(purpose),
    }
}

#[tokio::test]
async fn a_purpose_is_served_by_one_order_that_was_not_refused() {
    let (_folder, _, journal) = journal();
    let asked = request(1, Wanted::Amount(amount(5)), false);
    let [one, two, three, four] = [1, 2, 3, 4].map(|number| order(2, number, 5, &asked));
    let id = |order: &SignedOrder| order.statement().id;
    let mut purpose = Purpose {
        of: me().public(),
        reference: asked.statement().reference(),
        after: None,
    };
    assert_eq!(journal.served(purpose).await, Ok(None));
    let insert = |order: &SignedOrder, purpose| journal.insert_order(new(order, purpose));
    assert_eq!(insert(&one, purpose).await, Ok(Inserted::Written));
    assert_eq!(insert(&two, purpose).await, Ok(Inserted::Earlier(id(&one))));
    assert_eq!(journal.order(id(&two)).await, Ok(None));
    // Unknown is not refused, whoever says that another may follow.
    purpose.after = Some(id(&one));
    assert_eq!(insert(&two, purpose).await, Ok(Inserted::Earlier(id(&one))));
    purpose.after = None;
    let refused = journal.refuse_order(id(&one), Reason::VOIDED, None).await;
    assert_eq!(refused, Ok(true));
    assert_eq!(insert(&two, purpose).await, Ok(Inserted::Written));
    let receipt = moved(&two, 7).receipt;
    assert_eq!(journal.settle_order(id(&two), &receipt, 8).await, Ok(true));
    for after in [None, Some(id(&one)), Some(id(&three))] {
        purpose.after = after;
        let inserted = insert(&three, purpose).await;
        assert_eq!(inserted, Ok(Inserted::Earlier(id(&two))));
    }
    // Only who names the one that settled pays again, and once.
    purpose.after = Some(id(&two));
    assert_eq!(insert(&three, purpose).await, Ok(Inserted::Written));
    let again = insert(&four, purpose).await;
    assert_eq!(again, Ok(Inserted::Earlier(id(&three))));
    // Another purpose is its own.
    purpose.of = key(9).public();
    assert_eq!(insert(&four, purpose).await, Ok(Inserted::Written));
}

#[tokio::test]
async fn two_that_serve_a_purpose_at_once_are_one() {
    let (_folder, path, journal) = journal();
    // As another process would.
    let other = Journal::open(&path, Workers::Threads).expect("the same journal");
    let asked = request(1, Wanted::Amount(amount(5)), false);
    let purpose = Purpose {
        of: me().public(),
        reference: asked.statement().reference(),
        after: None,
    };
    let orders: Vec<_> = (1..=8).map(|number| order(2, number, 5, &asked)).collect();
    let mut tries = tokio::task::JoinSet::new();
    let (journal, other) = (std::sync::Arc::new(journal), std::sync::Arc::new(other));
    for (at, order) in orders.iter().enumerate() {
        let journal = std::sync::Arc::clone(if at % 2 == 0 { &journal } else { &other });
        let new = new(order, purpose);
        tries.spawn(async move { journal.insert_order(new).await.expect("written") });
    }
    let ends = tries.join_all().await;
    let written = ends.iter().filter(|end| **end == Inserted::Written);
    assert_eq!(written.count(), 1, "{ends:?}");
    assert_eq!(journal.open_orders_count().await, Ok(1));
}

/// One thing that happens to the payments of a request, by the number of the order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Noted(u8),
    Refused(u8),
    Settled(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_u8, 1..=4_u8).prop_map(|(what, number)| match what {
        0 => Step::Noted(number),
        1 => Step::Refused(number),
        _ => Step::Settled(number),
    });
    proptest::collection::vec(step, 1..24)
}

/// Takes the steps, and holds that nothing is answered twice.
fn play(steps: Vec<Step>) {
    let (_folder, _, journal) = journal();
    let asked = request(1, Wanted::Amount(amount(5)), true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        journal.keep_request(asked.clone()).await.expect("written");
        let mut answered = Vec::new();
        for step in steps {
            match step {
                Step::Noted(number) => {
                    let noted = journal.note(order(2, number, 5, &asked), false).await;
                    let noted = noted.expect("written");
                    // Nothing else is taken once somebody has paid.
                    assert!(noted != Noted::New || answered.is_empty(), "{noted:?}");
                }
                Step::Refused(number) => {
                    let order = order(2, number, 5, &asked);
                    let stated = order.statement();
                    let refuse = journal.refuse_note(stated.payer, stated.id, Reason::VOIDED);
                    refuse.await.expect("written");
                }
                Step::Settled(number) => {
                    let moved = moved(&order(2, number, 5, &asked), number.into());
                    let first = journal.receive(vec![moved]).await.expect("written")[0];
                    if first.is_some_and(|first| first.answers) {
                        answered.push(u64::from(number));
                    }
                }
            }
        }
        assert!(answered.len() <= 1, "{answered:?}");
        assert_eq!(entries(&journal, &asked).await, answered);
    });
}

#[test]
fn an_entry_that_did_not_answer_when_it_came_does_not_later() {
    play(vec![
        Step::Noted(4),
        Step::Settled(2),
        Step::Refused(4),
        Step::Settled(2),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In whatever order offers, refusals and receipts come, and however often.
    #[test]
    fn what_is_paid_once_is_answered_once(steps in steps()) {
        play(steps);
    }
}
