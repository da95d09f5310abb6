use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use quid_common::amount::Amount;
use quid_common::checkpoint::Head;
use quid_common::entry::{Entry, Fact};
use quid_common::id::{Digest, InstanceId, OrderId, Reference};
use quid_common::key::SecretKey;
use quid_common::order::{Memo, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;

use super::notes::First;
use super::*;
use crate::pay::Route;

const ME: u8 = 2;
const PAYER: u8 = 3;
const OWNER: InstanceId = InstanceId([1; 16]);

#[tokio::test]
async fn an_order_is_open_until_its_one_end_also_after_reopening() {
    let (_folder, path) = empty();
    let (settled, refused) = (order(ME, 1, None), order(ME, 2, None));
    {
        let journal = Journal::open(&path, Workers::Threads).expect("a journal");
        for order in [&settled, &refused] {
            assert_eq!(
                journal.insert_order(new(order, "bob")).await,
                Ok(Inserted::Written)
            );
        }
        assert_eq!(journal.open_orders_count().await, Ok(2));
        journal
            .route_order(id(&settled), Route::Direct)
            .await
            .expect("written");
    }
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    let open = journal.open_orders(10).await.expect("readable");
    assert_eq!(
        open.iter().map(|row| row.order.clone()).collect::<Vec<_>>(),
        [settled.clone(), refused.clone()]
    );
    assert_eq!(open[0].route, Some(Route::Direct));
    assert_eq!(open[1].route, None);
    let receipt = receipt(&settled, 7);
    assert_eq!(
        journal.settle_order(id(&settled), &receipt, 9).await,
        Ok(true)
    );
    assert_eq!(
        journal.settle_order(id(&settled), &receipt, 9).await,
        Ok(false)
    );
    assert_eq!(
        journal
            .refuse_order(id(&refused), Reason::VOIDED, Some(8))
            .await,
        Ok(true)
    );
    assert_eq!(
        journal
            .refuse_order(id(&refused), Reason::EXPIRED, None)
            .await,
        Ok(false)
    );
    assert_eq!(
        journal
            .refuse_order(id(&settled), Reason::VOIDED, None)
            .await,
        Ok(false)
    );
    drop(journal);
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    let state = |row: Option<OrderRow>| row.expect("there").state;
    assert_eq!(
        state(journal.order(id(&settled)).await.expect("readable")),
        OrderState::Settled { entry: 7 }
    );
    assert_eq!(
        state(journal.order(id(&refused)).await.expect("readable")),
        OrderState::Refused {
            reason: Reason::VOIDED,
            entry: Some(8)
        }
    );
    assert_eq!(journal.receipt(7).await, Ok(Some(receipt)));
    assert_eq!(journal.open_orders_count().await, Ok(0));
}

#[tokio::test]
async fn a_receipt_outweighs_a_refusal_that_was_believed() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let order = order(ME, 1, None);
    journal
        .insert_order(new(&order, "bob"))
        .await
        .expect("written");
    assert_eq!(
        journal
            .refuse_order(id(&order), Reason::EXPIRED, None)
            .await,
        Ok(true)
    );
    assert_eq!(
        journal
            .settle_order(id(&order), &receipt(&order, 4), 5)
            .await,
        Ok(true)
    );
}

#[tokio::test]
async fn the_first_payment_pins_the_key_and_another_writes_nothing() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let bob = "bob".parse().expect("a name");
    assert_eq!(journal.contact(&bob).await, Ok(None));
    journal
        .insert_order(new(&order(ME, 1, None), "bob"))
        .await
        .expect("written");
    let pinned = order(ME, 1, None).statement().payee;
    assert_eq!(journal.contact(&bob).await, Ok(Some(pinned)));
    let other = to(ME, 5, 6, 1, None);
    assert_eq!(
        journal.insert_order(new(&other, "bob")).await,
        Ok(Inserted::KeyChanged(pinned))
    );
    assert_eq!(journal.open_orders_count().await, Ok(1));
}

#[tokio::test]
async fn an_order_is_taken_over_by_one_process_only() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let order = order(ME, 1, None);
    journal
        .insert_order(new(&order, "bob"))
        .await
        .expect("written");
    let (second, third) = (InstanceId([2; 16]), InstanceId([3; 16]));
    assert_eq!(
        journal.claim_order(id(&order), OWNER, second).await,
        Ok(true)
    );
    assert_eq!(
        journal.claim_order(id(&order), OWNER, third).await,
        Ok(false)
    );
    journal
        .refuse_order(id(&order), Reason::VOIDED, None)
        .await
        .expect("written");
    assert_eq!(
        journal.claim_order(id(&order), second, third).await,
        Ok(false)
    );
}

#[tokio::test]
async fn a_note_is_paid_once_whichever_way_it_is_heard() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let order = order(PAYER, 1, None);
    assert_eq!(journal.note(order.clone(), false).await, Ok(Noted::New));
    assert_eq!(
        journal.note(order.clone(), false).await,
        Ok(Noted::Again(NoteState::Accepted))
    );
    let other = to(PAYER, ME, 4, 1, None);
    assert_eq!(id(&other), id(&order));
    assert_eq!(journal.note(other, false).await, Ok(Noted::OtherBytes));
    assert_eq!(journal.open_notes(10).await.expect("readable").len(), 1);

    let first = journal.receive(vec![moved(&order, 7)]).await;
    assert_eq!(
        first,
        Ok(vec![Some(First {
            number: 1,
            answers: false,
            direct: true
        })])
    );
    drop(journal);
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    assert_eq!(
        journal.receive(vec![moved(&order, 7)]).await,
        Ok(vec![None])
    );
    assert_eq!(
        journal.note(order.clone(), false).await,
        Ok(Noted::Again(NoteState::Paid { entry: 7 }))
    );
    let stated = order.statement();
    assert_eq!(
        journal
            .refuse_note(stated.payer, stated.id, Reason::VOIDED)
            .await,
        Ok(false)
    );
    assert!(journal.open_notes(10).await.expect("readable").is_empty());
    assert_eq!(
        journal
            .payer_name(stated.payer)
            .await
            .expect("readable")
            .expect("told")
            .as_str(),
        "alice"
    );
}

#[tokio::test]
async fn money_that_came_while_nobody_was_here_is_told_in_order_and_once() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    assert_eq!(journal.watermark().await, Ok(None));
    let orders = [order(PAYER, 1, None), order(PAYER, 2, None)];
    let told = vec![
        moved(&orders[0], 5),
        moved(&orders[1], 6),
        moved(&orders[0], 5),
    ];
    let firsts = journal.receive(told).await.expect("written");
    let numbers: Vec<_> = firsts
        .iter()
        .map(|first| first.map(|first| first.number))
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), None]);
    assert_eq!(journal.watermark().await, Ok(Some(6)));
    journal.advance_watermark(3).await.expect("written");
    assert_eq!(journal.watermark().await, Ok(Some(6)));
    let again = journal.received_after(1, 10).await.expect("readable");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].receipt, receipt(&orders[1], 6));
    assert_eq!(journal.received_last(), Ok(2));
}

#[tokio::test]
async fn a_refused_note_stays_refused_until_a_receipt_proves_otherwise() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let order = order(PAYER, 1, None);
    journal.note(order.clone(), false).await.expect("written");
    let stated = order.statement();
    let refuse = |reason| journal.refuse_note(stated.payer, stated.id, reason);
    assert_eq!(refuse(Reason::VOIDED).await, Ok(true));
    assert_eq!(refuse(Reason::FROZEN).await, Ok(false));
    assert_eq!(
        journal.note(order.clone(), false).await,
        Ok(Noted::Again(NoteState::Refused {
            reason: Reason::VOIDED
        }))
    );
    assert!(
        journal
            .receive(vec![moved(&order, 7)])
            .await
            .expect("written")[0]
            .is_some()
    );
}

#[tokio::test]
async fn a_reference_is_used_once_and_freed_by_a_refusal() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let (ours, foreign) = (Reference([7; 16]), Reference([8; 16]));
    journal.issue_reference(ours).expect("written");
    let [one, two, three] = [1, 2, 3].map(|number| order(PAYER, number, Some(ours)));
    let without = order(PAYER, 4, None);
    let unknown = order(PAYER, 5, Some(foreign));
    assert_eq!(
        journal.note(without.clone(), true).await,
        Ok(Noted::Reference)
    );
    assert_eq!(
        journal.note(unknown.clone(), true).await,
        Ok(Noted::Reference)
    );
    assert_eq!(journal.note(unknown, false).await, Ok(Noted::New));
    assert_eq!(journal.note(one.clone(), true).await, Ok(Noted::New));
    assert_eq!(journal.note(two.clone(), true).await, Ok(Noted::Reference));
    assert_eq!(journal.note(two.clone(), false).await, Ok(Noted::Reference));

    let stated = one.statement();
    journal
        .refuse_note(stated.payer, stated.id, Reason::FROZEN)
        .await
        .expect("written");
    assert_eq!(journal.note(two.clone(), true).await, Ok(Noted::New));
    let firsts = journal
        .receive(vec![moved(&two, 5), moved(&three, 6)])
        .await
        .expect("written");
    let answers: Vec<_> = firsts
        .into_iter()
        .map(|first| first.map(|it| it.answers))
        .collect();
    assert_eq!(
        answers,
        [Some(true), Some(false)],
        "the third came past us, settled by its payer"
    );
}

#[tokio::test]
async fn the_newest_checkpoint_is_kept() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    assert_eq!(journal.checkpoint().await, Ok(None));
    for size in [5, 9, 7] {
        journal
            .keep_checkpoint(size, checkpoint(size))
            .await
            .expect("written");
    }
    assert_eq!(journal.checkpoint().await, Ok(Some(checkpoint(9))));
    assert_eq!(journal.base().await, Ok(None));
    for size in [2, 5, 4] {
        let kept = journal.keep_base(size, checkpoint(size)).await;
        kept.expect("written");
    }
    assert_eq!(journal.base().await, Ok(Some(checkpoint(5))));
    // Forgotten only where two histories were noted, and then as if nothing had been seen.
    journal.forget_forked().await.expect("nothing to forget");
    assert_eq!(journal.base().await, Ok(Some(checkpoint(5))));
    journal.mark_forked().await.expect("written");
    journal.forget_forked().await.expect("written");
    assert_eq!(
        (journal.base().await, journal.checkpoint().await),
        (Ok(None), Ok(None))
    );
    journal
        .keep_checkpoint(3, checkpoint(3))
        .await
        .expect("written");
    journal.forget_forked().await.expect("nothing to forget");
    assert_eq!(journal.checkpoint().await, Ok(Some(checkpoint(3))));
}

#[tokio::test]
async fn many_steps_at_once_all_stand_and_a_wrong_one_spoils_no_other() {
    let (_folder, path) = empty();
    let journal = Arc::new(Journal::open(&path, Workers::Threads).expect("a journal"));
    let mut steps = tokio::task::JoinSet::new();
    for number in 0..100 {
        let journal = Arc::clone(&journal);
        // Each second order repeats the id before it: its row cannot be written.
        let new = new(&order(ME, number / 2, None), "bob");
        steps.spawn(async move { journal.insert_order(new).await });
    }
    let results = steps.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert_eq!(journal.open_orders_count().await, Ok(50));
}

#[tokio::test]
async fn a_full_disk_refuses_steps_whole_and_is_no_end() {
    let (_folder, path) = empty();
    let journal = Arc::new(Journal::open(&path, Workers::Threads).expect("a journal"));
    let limit =
        |pages: i64| journal.step(move |it| it.pragma_update(None, "max_page_count", pages));
    let pages: i64 = journal
        .step(|it| it.pragma_query_value(None, "page_count", |row| row.get(0)))
        .await
        .expect("readable");
    limit(pages + 2).await.expect("set");
    let mut steps = tokio::task::JoinSet::new();
    for number in 0..200 {
        let journal = Arc::clone(&journal);
        steps.spawn(async move {
            journal
                .insert_order(new(&order(ME, number, None), "bob"))
                .await
        });
    }
    let results = steps.join_all().await;
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert!(
        results.contains(&Err(JournalError::Full)),
        "{written} were written"
    );
    let (count, sum) = (
        journal.open_orders_count().await,
        u64::try_from(written).expect("small"),
    );
    assert_eq!(count, Ok(sum), "what was answered is what is there");
    limit(pages + 1_000).await.expect("set");
    let more = journal
        .insert_order(new(&order(ME, 250, None), "bob"))
        .await;
    assert_eq!(more, Ok(Inserted::Written));
}

#[tokio::test]
async fn two_processes_see_each_others_steps() {
    let (_folder, path) = empty();
    let one = Journal::open(&path, Workers::Threads).expect("a journal");
    let other = Journal::open(&path, Workers::Threads).expect("the same journal");
    one.insert_order(new(&order(ME, 1, None), "bob"))
        .await
        .expect("written");
    other
        .insert_order(new(&order(ME, 2, None), "bob"))
        .await
        .expect("written");
    assert_eq!(one.open_orders_count().await, Ok(2));
    assert_eq!(other.open_orders_count().await, Ok(2));
}

#[test]
fn processes_that_come_and_go_at_once_all_get_their_turn() {
    let (_folder, path) = empty();
    thread::scope(|scope| {
        for worker in 0..8_u8 {
            let path = &path;
            scope.spawn(move || {
                for run in 0..10_u8 {
                    let journal = Journal::open(path, Workers::Threads).expect("a turn");
                    let mut reference = [worker; 16];
                    reference[0] = run;
                    journal
                        .issue_reference(Reference(reference))
                        .expect("a turn");
                }
            });
        }
    });
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    let mut reference = [7; 16];
    reference[0] = 9;
    assert!(
        journal.issue_reference(Reference(reference)).is_err(),
        "issued before"
    );
}

#[test]
fn a_missing_foreign_newer_or_damaged_file_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite3");
    assert!(matches!(
        Journal::open(&path, Workers::Threads),
        Err(JournalError::Missing { .. })
    ));
    let unusable = |what: &str| match Journal::open(&path, Workers::Threads) {
        Err(JournalError::Unusable { reason, .. }) => reason,
        other => panic!("{what}: {other:?}"),
    };
    fs::write(&path, b"").expect("written");
    unusable("empty");
    fs::write(
        &path,
        b"not a database at all, whatever its name may say about it",
    )
    .expect("written");
    unusable("foreign bytes");
    fs::remove_file(&path).expect("removed");

    Journal::create(&path).expect("made");
    let connection = Connection::open(&path).expect("a database");
    connection
        .pragma_update(None, "user_version", file::SCHEMA_VERSION + 1)
        .expect("changed");
    drop(connection);
    let before = fs::read(&path).expect("there");
    let error = Journal::open(&path, Workers::Threads).expect_err("newer");
    let version = file::SCHEMA_VERSION + 1;
    let expected = JournalError::Newer {
        path: path.clone(),
        version,
    };
    assert_eq!(error, expected);
    // Nobody is told to move away what holds orders under way.
    assert!(error.to_string().ends_with("use a newer quid"), "{error}");
    assert_eq!(fs::read(&path).expect("there"), before, "it is left alone");
}

#[test]
fn making_a_journal_again_keeps_the_first() {
    let (_folder, path) = empty();
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    journal
        .issue_reference(Reference([1; 16]))
        .expect("written");
    drop(journal);
    Journal::create(&path).expect("there already");
    let journal = Journal::open(&path, Workers::Threads).expect("the same journal");
    assert!(
        journal.issue_reference(Reference([1; 16])).is_err(),
        "issued before"
    );
}

fn empty() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite3");
    Journal::create(&path).expect("made");
    (folder, path)
}

fn new(order: &SignedOrder, payee: &str) -> NewOrder {
    let payee = payee.parse().expect("a name");
    NewOrder {
        order: order.clone(),
        payee,
        route: None,
        owner: OWNER,
        purpose: None,
    }
}

fn order(payer: u8, number: u8, reference: Option<Reference>) -> SignedOrder {
    to(
        payer,
        if payer == ME { PAYER } else { ME },
        5,
        number,
        reference,
    )
}

fn to(payer: u8, payee: u8, units: u64, number: u8, reference: Option<Reference>) -> SignedOrder {
    let key = |seed| SecretKey::from_seed(&[seed; 32]);
    let order = Order {
        version: STATEMENT_VERSION,
        ledger: LedgerId([7; 32]),
        id: OrderId::new(LedgerTime::from_millis(60_000), [number; 10]),
        payer: key(payer).public(),
        payee: key(payee).public(),
        amount: Amount::new(units).expect("small"),
        memo: Memo::default(),
        reference,
    };
    Signed::new(order, &key(payer))
}

fn id(order: &SignedOrder) -> OrderId {
    order.statement().id
}

fn checkpoint(size: u64) -> Checkpoint {
    let root = Digest::of(&size.to_be_bytes()).0;
    Checkpoint::sign(
        LedgerId([7; 32]),
        Head { size, root },
        &SecretKey::from_seed(&[1; 32]),
    )
}

/// Not one that verifies: the journal keeps what others have verified.
fn receipt(order: &SignedOrder, index: u64) -> Receipt {
    let entry = Entry {
        time: LedgerTime::from_millis(1),
        fact: Fact::Payment(order.clone()),
    };
    Receipt {
        entry: entry.encode().into(),
        index,
        path: Vec::new().into(),
        checkpoint: checkpoint(index + 1),
    }
}

fn moved(order: &SignedOrder, index: u64) -> Moved {
    Moved {
        receipt: receipt(order, index),
        order: Some(order.clone()),
        counterparty: "alice".parse().expect("a name"),
        size: index + 1,
        advances: true,
    }
}
