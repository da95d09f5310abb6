//! Changes of keys over real QUIC: they race payments and have one order with them, end sessions,
//! and leave history and answers as they were.

mod world;

use quid_common::account::{Change, Lock, Recovery, Rotation, Takeover};
use quid_common::entry::{Entry, Fact};
use quid_common::key::SecretKey;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::wire::{
    AskHistory, AskKeys, AskSuccessor, ChangeKeys, CloseCode, KeysStanding, Message, Submit,
};
use quinn::{ConnectionError, VarInt};
use world::{Client, Directory};

#[tokio::test]
async fn a_rotation_races_payments_and_the_log_has_one_order() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let first = alice.order(bob.key(), 5, 1);
    let mut settle = alice.settle().await;
    let entry = settle.submit(&first).await.expect("it settles");

    let stranger = directory.client(9).await;
    let next = SecretKey::from_seed(&[3; 32]);
    let rotation = rotation(&stranger, "alice", &alice.client.key, &next).await;
    let mut payments = bob.settle().await;
    let orders: Vec<_> = (2..102)
        .map(|number| alice.order(bob.key(), 1, number))
        .collect();
    for (number, order) in (0..).zip(&orders) {
        let order = order.bytes().to_vec().into();
        let submit = Submit {
            number,
            order,
            decline: None,
        };
        payments.stream.send(&submit.into()).await;
    }
    let rotated = change(&stranger, &rotation).await.expect("it rotates");
    let mut settled = 0;
    for _ in &orders {
        match payments.next_answer().await.1 {
            Ok(entry) => {
                assert!(
                    entry < rotated,
                    "settled as entry {entry}, behind {rotated}"
                );
                settled += 1;
            }
            Err(reason) => assert_eq!(reason, Reason::KEY_REPLACED),
        }
    }
    // The same again is the same entry, and the session of the old key has ended.
    assert_eq!(change(&stranger, &rotation).await, Ok(rotated));
    assert_replaced(alice.client.connection.closed().await);
    let old = Client::connect(&directory.address, 1).await;
    assert_eq!(old.log_in(false).await.err(), Some(Reason::KEY_REPLACED));

    let directory = directory.kill_and_restart();
    let alice = directory
        .client(3)
        .await
        .log_in(true)
        .await
        .expect("the new key");
    assert_eq!(alice.welcome.name.as_str(), "alice");
    assert_eq!(alice.balance().await, 100_000_000 - 5 - settled);
    let mut settle = alice.settle().await;
    assert_eq!(
        settle.submit(&first).await,
        Ok(entry),
        "whoever of the two keys asks"
    );
    let late = orders.last().expect("there are some");
    let fate = settle.submit(late).await;
    assert!(fate == Err(Reason::KEY_REPLACED) || fate.is_ok_and(|entry| entry < rotated));
    let ask = AskHistory {
        before: None,
        after: None,
        limit: 200,
    };
    let Message::HistoryPage(page) = alice.client.request(&ask.into()).await else {
        panic!("no history")
    };
    // The opening balance, the first, and those that settled.
    assert_eq!(page.lines.len() as u64, settled + 2);
    assert!(
        page.lines[..page.lines.len() - 1]
            .iter()
            .all(|line| !line.incoming)
    );
    directory.audit();
}

#[tokio::test]
async fn whoever_knew_the_old_key_can_prove_the_way_to_the_new_one() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let stranger = directory.client(9).await;
    let [next, third] = [3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let entry = rotate(&stranger, &alice.client.key, &next).await;
    rotate(&stranger, &next, &third).await;
    let bob = directory.member(2, "bob").await;
    let mut key = alice.key();
    for step in 0..2 {
        let answer = bob.client.request(&AskSuccessor { key }.into()).await;
        let Message::Successor(successor) = answer else {
            panic!("no successor: {answer:?}")
        };
        let receipt = successor.receipt.expect("it was replaced");
        let proven = receipt.verify(bob.ledger(), &directory.address.key());
        let proven = proven.expect("the directory's");
        let Fact::Rotation(rotation) = &proven.entry().fact else {
            panic!("another entry")
        };
        assert!(rotation.verify() && rotation.statement().key == key);
        assert!(step > 0 || proven.index() == entry);
        key = rotation.statement().successor();
    }
    assert_eq!(key, third.public());
    let answer = bob.client.request(&AskSuccessor { key }.into()).await;
    assert!(matches!(answer, Message::Successor(it) if it.receipt.is_none()));
}

#[tokio::test]
async fn what_neither_key_has_signed_changes_nothing() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let stranger = directory.client(9).await;
    let at = standing(&stranger, "alice").await;
    let next = SecretKey::from_seed(&[3; 32]);
    let (ledger, account) = (at.ledger, at.account);
    // The new key's consent, by somebody who has not got it.
    let rotation = Rotation::sign(ledger, account, at.said, &alice.client.key, &next);
    let mut statement = rotation.statement().clone();
    let mut bytes = statement.takeover.bytes().to_vec();
    *bytes.last_mut().expect("a signature") ^= 1;
    statement.takeover = Signed::from_bytes(&bytes).expect("well formed");
    let forged = Change::Rotation(Signed::new(statement, &alice.client.key));
    assert_eq!(change(&stranger, &forged).await, Err(Reason::BAD_SIGNATURE));
    let recovery = Recovery::sign(ledger, account, at.recovery_said, next.public(), &next);
    let refused = change(&stranger, &Change::Recovery(recovery)).await;
    assert_eq!(refused, Err(Reason::WRONG_KEY));
    let takeover = Change::Takeover(Takeover::sign(ledger, account, &next));
    assert_eq!(change(&stranger, &takeover).await, Err(Reason::NO_RECOVERY));
    let lock = Change::Lock(Lock::sign(ledger, account, at.said, true, &next));
    assert_eq!(change(&stranger, &lock).await, Err(Reason::WRONG_KEY));
    let nonsense = ChangeKeys {
        change: vec![0xff; 40].into(),
    };
    let answer = stranger.request(&nonsense.into()).await;
    assert!(matches!(answer, Message::Refused(it) if it.reason == Reason::ENCODING));
    assert_eq!(standing(&stranger, "alice").await.key, alice.key());
    assert_eq!(alice.balance().await, 100_000_000);
    directory.audit();
}

async fn rotate(stranger: &Client, old: &SecretKey, next: &SecretKey) -> u64 {
    let rotation = rotation(stranger, "alice", old, next).await;
    change(stranger, &rotation).await.expect("it rotates")
}

async fn rotation(stranger: &Client, name: &str, old: &SecretKey, next: &SecretKey) -> Change {
    let at = standing(stranger, name).await;
    Change::Rotation(Rotation::sign(at.ledger, at.account, at.said, old, next))
}

async fn standing(stranger: &Client, name: &str) -> KeysStanding {
    let name = name.parse().expect("a name");
    match stranger.request(&AskKeys { name }.into()).await {
        Message::KeysStanding(standing) => standing,
        other => panic!("no standing: {other:?}"),
    }
}

async fn change(stranger: &Client, change: &Change) -> Result<u64, Reason> {
    let question = ChangeKeys {
        change: change.bytes().to_vec().into(),
    };
    match stranger.request(&question.into()).await {
        Message::KeysChanged(changed) => {
            let entry = Entry::decode(&changed.receipt.entry).expect("an entry");
            assert_eq!(entry.fact, change.clone().into_fact());
            Ok(changed.receipt.index)
        }
        Message::Refused(refused) => Err(refused.reason),
        other => panic!("no answer to a change: {other:?}"),
    }
}

fn assert_replaced(closed: ConnectionError) {
    let ConnectionError::ApplicationClosed(closed) = closed else {
        panic!("closed otherwise: {closed:?}")
    };
    assert_eq!(closed.error_code, VarInt::from_u32(CloseCode::REPLACED.0));
}
