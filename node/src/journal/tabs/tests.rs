use std::path::PathBuf;

use quid_common::amount::Amount;
use quid_common::chain::Chain;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact};
use quid_common::id::LedgerId;
use quid_common::key::SecretKey;
use quid_common::order::{Memo, STATEMENT_VERSION};
use quid_common::signed::Signed;

use super::*;
use crate::surroundings::Workers;

const OWNER: InstanceId = InstanceId([1; 16]);

#[tokio::test]
async fn a_tab_is_written_down_before_it_is_sent_and_until_it_is_over() {
    let (_folder, journal) = empty();
    let terms = terms(1, 2, 7);
    let id = terms.statement().id;
    assert_eq!(journal.insert_tab(new(&terms)).await, Ok(Inserted::Written));
    let rows = journal.open_tabs().await.expect("readable");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].state, rows[0].paid), (TabState::Opening, 0));
    assert_eq!((&rows[0].terms, rows[0].last), (&terms, Link([9; 32])));

    let receipt = receipt(&terms, 5);
    assert_eq!(journal.tab_opened(id, &receipt, 9).await, Ok(true));
    assert_eq!(journal.tab_opened(id, &receipt, 9).await, Ok(false));
    assert_eq!(journal.receipt(5).await, Ok(Some(receipt)));
    for paid in [3, 2] {
        journal.tab_paid(id, paid).await.expect("written");
    }
    let bob: Name = "bob".parse().expect("a name");
    let key = terms.statement().payee;
    for (key, address) in [(key, "here:1"), (PublicKey::from_bytes([9; 32]), "there:2")] {
        let kept = journal.tab_address(key, &bob, address.to_owned());
        kept.await.expect("written");
    }
    let row = journal.tab(id).await.expect("readable").expect("there");
    assert_eq!((row.state, row.paid), (TabState::Open { entry: 5 }, 3));
    assert_eq!(row.address.as_deref(), Some("here:1"));

    assert_eq!(journal.tab_closed(id).await, Ok(true));
    assert_eq!(journal.tab_closed(id).await, Ok(false));
    assert_eq!(journal.open_tabs().await.map(|rows| rows.len()), Ok(0));
}

#[tokio::test]
async fn a_refused_tab_is_open_once_a_receipt_proves_it() {
    let (_folder, journal) = empty();
    let terms = terms(1, 2, 7);
    let id = terms.statement().id;
    journal.insert_tab(new(&terms)).await.expect("written");
    let refused = journal.tab_refused(id, Reason::VOIDED).await;
    refused.expect("written");
    let state = |row: Option<TabRow>| row.expect("there").state;
    let row = journal.tab(id).await.map(state);
    let reason = Reason::VOIDED;
    assert_eq!(row, Ok(TabState::Refused { reason }));
    let opened = journal.tab_opened(id, &receipt(&terms, 5), 9).await;
    assert_eq!(opened, Ok(true));
    // And not the other way round.
    let refused = journal.tab_refused(id, Reason::VOIDED).await;
    refused.expect("written");
    let row = journal.tab(id).await.map(state);
    assert_eq!(row, Ok(TabState::Open { entry: 5 }));
}

#[tokio::test]
async fn a_tab_to_another_key_of_a_known_payee_is_not_written() {
    let (_folder, journal) = empty();
    let (first, other) = (terms(1, 2, 7), terms(1, 3, 8));
    journal.insert_tab(new(&first)).await.expect("written");
    let changed = Inserted::KeyChanged(first.statement().payee);
    assert_eq!(journal.insert_tab(new(&other)).await, Ok(changed));
    assert_eq!(journal.tab(other.statement().id).await, Ok(None));
}

#[tokio::test]
async fn the_marks_of_tabs_that_pay_us_never_go_back() {
    let (_folder, journal) = empty();
    let terms = terms(1, 2, 7);
    let stated = terms.statement().clone();
    let receipt = receipt(&terms, 5);
    let taken = journal.take_tab(row(&stated), &receipt, 9).await;
    assert_eq!(taken, Ok(Some(row(&stated))));
    let mut chain = chain(&stated.id);
    let mut mark = |index| Mark {
        index,
        link: chain.link(index).expect("within the chain"),
    };
    let marks = [mark(4), mark(3)];
    for mark in marks {
        let saved = journal.save_marks(vec![(stated.payer, stated.id, mark)]);
        saved.await.expect("written");
    }
    for claimed in [2, 1] {
        let noted = journal.tab_claimed(stated.payer, stated.id, claimed).await;
        noted.expect("written");
    }
    let bob: Name = "bob".parse().expect("a name");
    let learnt = journal.learn_name(stated.payer, &bob).await;
    learnt.expect("written");
    // An offer of the same tab finds it as it stands.
    let again = journal.take_tab(row(&stated), &receipt, 9).await;
    let expected = IncomingRow {
        mark: marks[0],
        claimed: 2,
        payer: Some(bob),
        ..row(&stated)
    };
    assert_eq!(again, Ok(Some(expected.clone())));
    assert_eq!(journal.open_incoming_tabs().await, Ok(vec![expected]));
    let ended = journal.incoming_tab_ended(stated.payer, stated.id).await;
    assert_eq!(ended, Ok(true));
    let ended = journal.incoming_tab_ended(stated.payer, stated.id).await;
    assert_eq!(ended, Ok(false));
    assert_eq!(journal.open_incoming_tabs().await, Ok(vec![]));
}

#[tokio::test]
async fn a_journal_from_before_there_were_tabs_gets_room_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite3");
    Journal::create(&path).expect("made");
    {
        let connection = Connection::open(&path).expect("a database");
        let before = "DROP TABLE tabs; DROP TABLE incoming_tabs; DROP TABLE requests;
                      DROP TABLE request_entries; DROP TABLE purposes;
                      DROP TABLE cancelled_requests; PRAGMA user_version = 1";
        connection.execute_batch(before).expect("as it was");
    }
    // Two at once, as two commands may be.
    let (one, two) = (
        Journal::open(&path, Workers::Threads),
        Journal::open(&path, Workers::Threads),
    );
    let terms = terms(1, 2, 7);
    let written = one.expect("a journal").insert_tab(new(&terms)).await;
    assert_eq!(written, Ok(Inserted::Written));
    let rows = two.expect("a journal").open_tabs().await;
    assert_eq!(rows.map(|rows| rows.len()), Ok(1));
}

fn empty() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("journal.sqlite3");
    Journal::create(&path).expect("made");
    let journal = Journal::open(&path, Workers::Threads).expect("a journal");
    (folder, journal)
}

fn chain(id: &OrderId) -> Chain {
    Chain::new(*id, 10, Link([9; 32])).expect("a length within bounds")
}

fn terms(payer: u8, payee: u8, number: u8) -> SignedTerms {
    let key = SecretKey::from_seed(&[payer; 32]);
    let id = OrderId::new(LedgerTime::from_millis(1_000), [number; 10]);
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger: LedgerId([2; 32]),
        id,
        payer: key.public(),
        payee: SecretKey::from_seed(&[payee; 32]).public(),
        unit: Amount::new(3).expect("small"),
        length: 10,
        anchor: chain(&id).anchor(),
        expires: LedgerTime::from_millis(2_000),
        grace: 60,
        memo: Memo::default(),
        reference: None,
    };
    Signed::new(terms, &key)
}

fn new(terms: &SignedTerms) -> NewTab {
    NewTab {
        terms: terms.clone(),
        last: Link([9; 32]),
        payee: "bob".parse().expect("a name"),
        address: None,
        owner: OWNER,
        purpose: None,
    }
}

fn row(terms: &Terms) -> IncomingRow {
    IncomingRow {
        terms: terms.clone(),
        payer: None,
        entry: 5,
        mark: terms.start(),
        claimed: 0,
        expires: terms.expires,
        open: true,
    }
}

fn receipt(terms: &SignedTerms, index: u64) -> Receipt {
    let entry = Entry {
        time: LedgerTime::from_millis(1),
        fact: Fact::Tab(terms.clone()),
    };
    let head = Head {
        size: index + 1,
        root: [0; 32],
    };
    Receipt {
        entry: entry.encode().into(),
        index,
        path: Vec::new().into(),
        checkpoint: Checkpoint::sign(LedgerId([2; 32]), head, &SecretKey::from_seed(&[4; 32])),
    }
}
