//! What was wrong with the teaching program that Quid grew from, a test for each.

mod world;

use std::time::Duration;

use quid_common::id::LedgerId;
use quid_common::key::SecretKey;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::wire::{AskBalance, Find, Message, Refused, Who};
use world::Directory;

const QUID: u64 = 1_000_000;

#[tokio::test]
async fn anothers_money_cannot_be_moved() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let mallory = directory.member(2, "mallory").await;
    let mut settle = mallory.settle().await;

    // Alice's name in the order, Mallory's signature under it.
    let mut order = alice.unsigned(mallory.key(), 50 * QUID, 1);
    let own = mallory.order(alice.key(), 1, 2);
    let forged = forge(&order, &own);
    assert_eq!(
        settle.submit_bytes(&forged).await,
        Err(Reason::BAD_SIGNATURE)
    );

    // A genuine order of Alice's to somebody else.
    let carol = directory.member(3, "carol").await;
    let to_carol = alice.order(carol.key(), QUID, 3);
    assert_eq!(settle.submit(&to_carol).await, Err(Reason::WRONG_SUBMITTER));

    // A genuine order on another ledger.
    order.ledger = LedgerId([9; 32]);
    let elsewhere = Signed::new(order, &SecretKey::from_seed(&[1; 32]));
    assert_eq!(settle.submit(&elsewhere).await, Err(Reason::WRONG_LEDGER));

    assert_eq!(alice.balance().await, 100 * QUID);
    assert_eq!(mallory.balance().await, 100 * QUID);
    directory.audit();
}

/// Puts `order` into the envelope of `own`, keeping the signature of the latter.
fn forge(order: &quid_common::order::Order, own: &quid_common::order::SignedOrder) -> Vec<u8> {
    let signed = Signed::new(order.clone(), &SecretKey::from_seed(&[1; 32]));
    let mut bytes = signed.into_bytes();
    let at = bytes.len() - 64;
    bytes[at..].copy_from_slice(own.signature());
    bytes
}

#[tokio::test]
async fn zero_and_excessive_amounts_are_refused_and_negative_ones_do_not_exist() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut settle = alice.settle().await;
    for (amount, number, reason) in [
        (0, 1, Reason::ZERO_AMOUNT),
        (100 * QUID + 1, 2, Reason::INSUFFICIENT_FUNDS),
        (i64::MAX as u64, 3, Reason::INSUFFICIENT_FUNDS),
    ] {
        let order = alice.order(bob.key(), amount, number);
        assert_eq!(settle.submit(&order).await, Err(reason), "{amount}");
    }
    // On the wire an amount is unsigned; a negative or larger number is no amount at all. The
    // amount 65 is the two bytes 18 41; a negative one would be 38 40.
    let order = alice.order(bob.key(), 65, 4);
    let at = order
        .bytes()
        .windows(2)
        .position(|pair| pair == [0x18, 0x41])
        .expect("the amount");
    let mut negative = order.bytes().to_vec();
    negative[at] = 0x38;
    assert_eq!(settle.submit_bytes(&negative).await, Err(Reason::ENCODING));
    assert_eq!(alice.balance().await, 100 * QUID);
    directory.audit();
}

#[tokio::test]
async fn a_replay_pays_once() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let order = alice.order(bob.key(), QUID, 1);
    let (mut from_payer, mut from_payee) = (alice.settle().await, bob.settle().await);
    let entry = from_payee.submit(&order).await.expect("it settles");
    for _ in 0..5 {
        assert_eq!(from_payee.submit(&order).await, Ok(entry));
        assert_eq!(from_payer.submit(&order).await, Ok(entry));
    }
    let other = alice.order(bob.key(), 2 * QUID, 1);
    assert_eq!(from_payer.submit(&other).await, Err(Reason::ID_REUSED));
    assert_eq!(bob.balance().await, 101 * QUID);
    directory.audit();
}

#[tokio::test]
async fn nobody_logs_in_as_someone_else() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    // Another key has no account, and cannot take the name or one that looks like it.
    let mallory = directory.client(2).await;
    assert_eq!(mallory.register("alice").await, Err(Reason::NAME_TAKEN));
    assert_eq!(
        mallory.register("a1ice").await,
        Err(Reason::NAME_LOOKS_TAKEN)
    );
    assert_eq!(
        mallory.register("treasury").await,
        Err(Reason::NAME_RESERVED)
    );
    assert_eq!(
        mallory.log_in(true).await.map(|_| ()),
        Err(Reason::NOT_REGISTERED)
    );
    // Nothing but registering and logging in is answered before.
    let stranger = directory.client(3).await;
    for message in [
        AskBalance {}.into(),
        Who {
            after: None,
            limit: 1,
        }
        .into(),
    ] {
        let answer = stranger.request(&message).await;
        assert_eq!(
            answer,
            Refused {
                reason: Reason::NOT_LOGGED_IN
            }
            .into()
        );
    }
    assert_eq!(alice.balance().await, 100 * QUID);
}

#[test]
fn an_unplugged_node_goes_offline_and_one_that_leaves_goes_at_once() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let directory = Directory::start("100");
    let (here, elsewhere) = (runtime(), runtime());
    let alice = here.block_on(directory.member(1, "alice"));
    let carol = here.block_on(directory.member(3, "carol"));
    // Bob lives on a runtime that nobody drives any more: to the directory his cable is pulled.
    let bob = elsewhere.block_on(directory.member(2, "bob"));
    here.block_on(async {
        assert_eq!(alice.who().await.len(), 3);
        let begun = std::time::Instant::now();
        carol.client.connection.close(0_u32.into(), b"");
        carol.client.endpoint.wait_idle().await;
        assert_eq!(alice.who().await.len(), 2);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "carol stayed after her goodbye"
        );
        while alice.who().await.len() > 1 {
            assert!(
                begun.elapsed() < Duration::from_secs(25),
                "bob stayed after his end"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    drop((bob, elsewhere));
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let mut directory = Directory::start("100");
    let order;
    let entry;
    {
        let alice = directory.member(1, "alice").await;
        let bob = directory.member(2, "bob").await;
        order = alice.order(bob.key(), QUID, 1);
        entry = alice
            .settle()
            .await
            .submit(&order)
            .await
            .expect("it settles");
    }
    for clean in [false, true, false] {
        directory = if clean {
            directory.stop_and_restart()
        } else {
            directory.kill_and_restart()
        };
        let alice = directory
            .client(1)
            .await
            .log_in(true)
            .await
            .expect("still registered");
        assert_eq!(alice.welcome.available.units(), 99 * QUID);
        let mut settle = alice.settle().await;
        assert_eq!(settle.submit(&order).await, Ok(entry), "the same receipt");
        assert_eq!(
            settle.void(&alice, order.statement().id).await,
            Ok(entry),
            "settled first"
        );
        directory.audit();
    }
}

#[tokio::test]
async fn a_list_longer_than_a_message_comes_in_pages() {
    let directory = Directory::start("0");
    let mut members = Vec::new();
    for seed in 1..=40 {
        members.push(directory.member(seed, &format!("member-{seed:03}")).await);
    }
    let reader = &members[0];
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        match reader.client.request(&Who { after, limit: 7 }.into()).await {
            Message::WhoPage(page) => {
                assert!(page.people.len() <= 7);
                after = page.people.last().map(|person| person.name.clone());
                seen.extend(page.people);
                if !page.more {
                    break;
                }
            }
            other => panic!("not a page: {other:?}"),
        }
    }
    assert_eq!(seen.len(), 40);
    let unknown = Find {
        name: "nobody-here".parse().expect("a valid name"),
    };
    let answer = reader.client.request(&unknown.into()).await;
    assert_eq!(
        answer,
        Refused {
            reason: Reason::UNKNOWN_ACCOUNT
        }
        .into()
    );
}
