//! One history: how the log shows that it goes on where it was, and what the directory does when it
//! is shown that it does not.

mod world;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::consistency;
use quid_common::merkle::Followed;
use quid_common::order::SignedOrder;
use quid_common::refusal::Reason;
use quid_common::wire::{AskConsistency, AskFate, Consistency, Message, Prove, Submit};
use world::{Directory, Member};

#[tokio::test]
async fn the_log_goes_on_from_every_size_that_a_member_has_seen() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let mut heads = vec![head(&alice, &alice.welcome.checkpoint)];
    let mut settle = alice.settle().await;
    for number in 0..9 {
        let order = alice.order(bob.key(), 1, number);
        let entry = settle.submit(&order).await.expect("it settles");
        heads.push(head(&alice, &proof(&alice, entry).await));
    }
    let (first, last) = (heads[0], heads[heads.len() - 1]);
    assert!(last.size > first.size + 8);
    for older in &heads {
        for newer in heads.iter().filter(|newer| newer.size >= older.size) {
            let Message::Consistency(shown) = ask(&bob, older.size, newer.size).await else {
                panic!("no proof from {} to {}", older.size, newer.size)
            };
            assert_eq!(shown.root.0, older.root);
            assert_eq!(consistency::check(*older, *newer, &shown.proof), Ok(()));
        }
    }
    for (from, to) in [
        (0, 1),
        (0, 0),
        (3, 2),
        (1, last.size + 1),
        (last.size + 1, last.size + 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
    ] {
        match ask(&bob, from, to).await {
            Message::Refused(refused) => assert_eq!(refused.reason, Reason::NOT_FOUND),
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // A restart changes nothing.
    let directory = directory.stop_and_restart();
    let carol = directory.member(3, "carol").await;
    let Message::Consistency(Consistency { root, proof }) =
        ask(&carol, first.size, last.size).await
    else {
        panic!("no proof after a restart")
    };
    assert_eq!(root.0, first.root);
    assert_eq!(consistency::check(first, last, &proof), Ok(()));
}

async fn ask(member: &Member, from: u64, to: u64) -> Message {
    member
        .client
        .request(&AskConsistency { from, to }.into())
        .await
}

/// The newest checkpoint, by way of an entry of the member's own.
async fn proof(member: &Member, entry: u64) -> Checkpoint {
    match member.client.request(&Prove { entry }.into()).await {
        Message::Proof(proof) => proof.receipt.checkpoint,
        other => panic!("not a proof: {other:?}"),
    }
}

fn head(member: &Member, checkpoint: &Checkpoint) -> Head {
    checkpoint
        .verify(member.ledger(), &member.client.directory)
        .expect("the directory's own")
}

/// More entries than the tree keeps in memory: what is asked about the first of them is read from
/// its file.
#[tokio::test]
async fn the_oldest_entries_are_proved_when_they_have_long_left_memory() {
    const COUNT: u64 = 40_000;
    const IN_FLIGHT: u64 = 512;
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let first = submit(&alice, &alice.order(bob.key(), 1, COUNT)).await;
    let first = first.expect("it settles");
    let old_text = proof(&alice, first).await;
    let old = head(&alice, &old_text);
    let mut stream = alice.settle().await.stream;
    for number in 0..COUNT + IN_FLIGHT {
        if number >= IN_FLIGHT {
            match stream.next().await {
                Some(Message::Settled(_)) => {}
                other => panic!("not settled: {other:?}"),
            }
        }
        if number < COUNT {
            let order = alice.order(bob.key(), 1, number).into_bytes().into();
            let submit = Submit {
                number,
                order,
                decline: None,
            };
            stream.send(&submit.into()).await;
        }
    }
    let new = head(&alice, &proof(&alice, first).await);
    assert!(new.size > COUNT);
    assert!(
        directory
            .data()
            .join("tree")
            .metadata()
            .is_ok_and(|file| file.len() > 0)
    );
    // The receipt under the new head, and every way from the old one.
    match alice.client.request(&Prove { entry: first }.into()).await {
        Message::Proof(proof) => {
            let proven = proof.receipt.verify_under(new, &mut Followed::default());
            assert_eq!(proven.map(|proven| proven.index()), Ok(first));
        }
        other => panic!("{other:?}"),
    }
    for (from, to) in [
        (old.size, new.size),
        (1, new.size),
        (old.size, old.size + 1),
    ] {
        let Message::Consistency(shown) = ask(&bob, from, to).await else {
            panic!("no proof from {from} to {to}")
        };
        if from == old.size {
            assert_eq!(shown.root.0, old.root);
        }
        let root = shown.root.0;
        let from = Head { size: from, root };
        if to == new.size {
            assert_eq!(consistency::check(from, new, &shown.proof), Ok(()));
        }
    }
    // A login that shows the old head is held against the same file.
    let alice = login(&directory, 1, Some(old_text)).await;
    assert!(
        submit(&alice, &alice.order(bob.key(), 1, COUNT + 1))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_directory_with_an_old_backup_writes_nothing_until_it_has_its_log_again() {
    let directory = Directory::start("100");
    let alice = directory.member(1, "alice").await;
    let bob = directory.member(2, "bob").await;
    let before = alice.order(bob.key(), 1, 1);
    let entry = submit(&alice, &before).await.expect("it settles");
    let old_head = proof(&alice, entry).await;
    // A backup, and what happens after it.
    let place = directory.stop();
    copy(&place.path().join("data"), &place.path().join("backup"));
    let directory = Directory::start_on(place, "100", "127.0.0.1:0");
    let alice = directory.client(1).await.log_in(true).await.expect("known");
    let lost = alice.order(bob.key(), 2, 2);
    let entry = submit(&alice, &lost).await.expect("it settles");
    let newest = proof(&alice, entry).await;
    let size = newest.claim().expect("a head").size;

    // The backup is restored, and serves whoever has seen nothing newer.
    let place = directory.stop();
    exchange(place.path(), "data", "whole", "backup");
    let directory = Directory::start_on(place, "100", "127.0.0.1:0");
    let alice = login(&directory, 1, Some(old_head)).await;
    let bob = login(&directory, 2, None).await;
    let open = alice.order(bob.key(), 3, 3);
    submit(&bob, &open).await.expect("nobody knows better");
    // What is no checkpoint of this ledger's changes nothing.
    for strange in [
        "x".to_owned(),
        newest
            .as_str()
            .replacen(&format!("\n{size}\n"), "\n99\n", 1),
        newest.as_str().replace("quid/", "quid/0"),
    ] {
        let strange = Checkpoint::try_from(strange).expect("short");
        login(&directory, 1, Some(strange)).await;
    }
    let after = alice.order(bob.key(), 4, 4);
    submit(&bob, &after)
        .await
        .expect("nobody has shown anything");

    // One node shows what is missing, and nobody can have anything written.
    let alice = login(&directory, 1, Some(newest.clone())).await;
    writes_nothing(&directory, &alice, &bob, &before).await;
    let fate = AskFate {
        payer: alice.key(),
        id: lost.statement().id,
    };
    match bob.client.request(&fate.into()).await {
        Message::Refused(refused) => assert_eq!(refused.reason, Reason::LOG_INCOMPLETE),
        other => panic!("{other:?}"),
    }
    // Whoever restarts it has not helped.
    let directory = directory.stop_and_restart();
    let (alice, bob) = (
        login(&directory, 1, None).await,
        login(&directory, 2, None).await,
    );
    writes_nothing(&directory, &alice, &bob, &before).await;
    let place = directory.stop();
    let output = world::run_on(&place.path().join("data"), &["issue", "alice", "1"]);
    says_what_is_missing(&output, size);

    // The right ledger heals it.
    exchange(place.path(), "data", "wrong", "whole");
    fs::copy(
        place.path().join("wrong/ahead"),
        place.path().join("data/ahead"),
    )
    .expect("it was remembered");
    let directory = Directory::start_on(place, "100", "127.0.0.1:0");
    assert!(!directory.data().join("ahead").exists());
    let alice = login(&directory, 1, Some(newest)).await;
    let bob = login(&directory, 2, None).await;
    assert_eq!(submit(&bob, &lost).await, Ok(entry), "it was never lost");
    submit(&bob, &alice.order(bob.key(), 5, 5))
        .await
        .expect("it writes again");
    directory.audit();
}

#[tokio::test]
async fn a_damaged_memory_of_what_is_missing_is_named() {
    let directory = Directory::start("100");
    let data = directory.stop();
    let data = data.path().join("data");
    for text in [&b""[..], b"quid/", &[0xff; 40], &[b'a'; 4096]] {
        fs::write(data.join("ahead"), text).expect("the folder is ours");
        let output = world::run_on(&data, &["issue", "treasury", "1"]);
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(7), "{told}");
        assert!(told.contains("ahead is no checkpoint"), "{told}");
    }
}

/// Nobody can have anything written, and everybody can ask.
async fn writes_nothing(
    directory: &Directory,
    alice: &Member,
    bob: &Member,
    settled: &SignedOrder,
) {
    let order = alice.order(bob.key(), 5, 77);
    let id = order.statement().id;
    for submitter in [alice, bob] {
        let refused = submit(submitter, &order).await;
        assert_eq!(refused, Err(Reason::LOG_INCOMPLETE));
        // What is there is there.
        assert!(submit(submitter, settled).await.is_ok());
    }
    let void = alice.settle().await.void(alice, id).await;
    assert_eq!(void, Err(Reason::LOG_INCOMPLETE));
    let stranger = directory.client(9).await;
    assert_eq!(
        stranger.register("carol").await,
        Err(Reason::LOG_INCOMPLETE)
    );
    for command in [&["issue", "alice", "1"][..], &["freeze", "alice"]] {
        let output = directory.run(command);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("restored"), "{told}");
    }
    assert!(alice.balance().await > 0);
    assert!(!bob.who().await.is_empty());
}

fn says_what_is_missing(output: &Output, size: u64) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("at least {size} entries")), "{told}");
}

async fn login(directory: &Directory, seed: u8, checkpoint: Option<Checkpoint>) -> Member {
    let client = directory.client(seed).await;
    client.log_in_with(true, checkpoint).await.expect("known")
}

async fn submit(member: &Member, order: &SignedOrder) -> Result<u64, Reason> {
    member.settle().await.submit(order).await
}

/// Puts the folder `with` in the place of `name`, which is kept as `kept`.
fn exchange(place: &Path, name: &str, kept: &str, with: &str) {
    fs::rename(place.join(name), place.join(kept)).expect("the folder is ours");
    copy(&place.join(with), &place.join(name));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is new");
    fs::set_permissions(to, Permissions::from_mode(0o700)).expect("it is ours");
    for file in fs::read_dir(from).expect("it is there").flatten() {
        if file.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).expect("it can be read");
        }
    }
}
