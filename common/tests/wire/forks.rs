//! Two histories that part at every place, in every order, and what is no proof of any.

use quid_common::checkpoint::{Checkpoint, CheckpointError, Head};
use quid_common::consistency;
use quid_common::fork::{Fork, ForkError};
use quid_common::id::{Digest, LedgerId};
use quid_common::key::SecretKey;
use sha2::{Digest as _, Sha256};

use super::world::{Log, World};

/// Sizes on both sides of every power of two up to 16.
const SIZE_MAX: u64 = 17;

#[test]
fn two_histories_that_part_anywhere_are_proved_by_any_two_of_their_heads() {
    let world = World::new();
    let key = world.directory.public();
    let one = log(SIZE_MAX, 0, SIZE_MAX);
    for parting in 0..SIZE_MAX {
        let two = log(SIZE_MAX, 1, parting);
        for size in 1..=SIZE_MAX {
            for newer in size..=SIZE_MAX {
                let fork = fork(&world, (&one, size), (&two, newer));
                let verdict = fork.verify(&key);
                if size <= parting {
                    assert_eq!(verdict, Err(ForkError::Root), "one history up to {size}");
                    continue;
                }
                let proved = verdict.unwrap_or_else(|error| panic!("{size} {newer}: {error}"));
                assert_eq!(
                    (proved.ledger(), proved.size(), proved.newer_size()),
                    (world.ledger, size, newer)
                );
                assert_eq!(Fork::from_text(&fork.to_text()), Ok(fork));
            }
        }
    }
}

#[test]
fn one_history_is_consistent_and_never_a_fork() {
    let world = World::new();
    let log = log(SIZE_MAX, 0, SIZE_MAX);
    for older in 1..=SIZE_MAX {
        for newer in older..=SIZE_MAX {
            let (from, to) = (log.head(older), log.head(newer));
            let proof = log.consistency(older, newer);
            assert_eq!(consistency::check(from, to, &proof), Ok(()));
            assert!(stranger_follows(from, to, &proof), "{older} to {newer}");
            let signed = |head| Checkpoint::sign(world.ledger, head, &world.directory);
            let made = Fork::between((&signed(from), from), (&signed(to), to), from.root, proof);
            assert_eq!(made, None);
        }
    }
}

#[test]
fn a_proof_shows_one_pair_of_heads_alone() {
    let log = log(SIZE_MAX, 0, SIZE_MAX);
    for older in 1..=SIZE_MAX {
        for newer in older..=SIZE_MAX {
            let proof = log.consistency(older, newer);
            for (from, to) in (1..=SIZE_MAX).flat_map(|a| (1..=SIZE_MAX).map(move |b| (a, b))) {
                let (from, to) = (log.head(from), log.head(to));
                let holds = consistency::check(from, to, &proof).is_ok();
                assert_eq!(holds, stranger_follows(from, to, &proof));
                let same = (from.size, to.size) == (older, newer);
                assert!(!holds || same || proof.is_empty() && from == to);
            }
        }
    }
}

#[test]
fn what_proves_no_two_histories_is_refused_by_the_field_that_is_wrong() {
    let world = World::new();
    let key = world.directory.public();
    let honest = world.fork();
    assert!(honest.verify(&key).is_ok());
    let resigned = |checkpoint: &Checkpoint, ledger: LedgerId, key: &SecretKey| {
        let own = world.directory.public();
        let head = checkpoint.verify(world.ledger, &own).expect("honest");
        Checkpoint::sign(ledger, head, key)
    };
    let stranger = SecretKey::from_seed(&[9; 32]);
    let elsewhere = LedgerId([9; 32]);
    let (older, newer) = (&honest.older, &honest.newer);
    let with_older = |older| Fork {
        older,
        ..honest.clone()
    };
    let with_newer = |newer| Fork {
        newer,
        ..honest.clone()
    };
    let other_proof = world.log.consistency(5, 9);
    let table = [
        (
            with_older(resigned(older, world.ledger, &stranger)),
            ForkError::Older(CheckpointError::Signature),
        ),
        (
            with_older(Checkpoint::try_from("x".to_owned()).expect("short")),
            ForkError::Older(CheckpointError::Malformed),
        ),
        (
            with_newer(resigned(newer, world.ledger, &stranger)),
            ForkError::Newer(CheckpointError::Signature),
        ),
        // Two heads of two ledgers contradict nothing.
        (
            with_newer(resigned(newer, elsewhere, &world.directory)),
            ForkError::Newer(CheckpointError::Ledger),
        ),
        (
            Fork {
                older: newer.clone(),
                newer: older.clone(),
                ..honest.clone()
            },
            ForkError::Order,
        ),
        (
            Fork {
                root: Digest(world.head().root),
                ..honest.clone()
            },
            ForkError::Root,
        ),
        (
            Fork {
                root: Digest([7; 32]),
                ..honest.clone()
            },
            ForkError::Proof,
        ),
        (
            Fork {
                proof: other_proof.into(),
                ..honest.clone()
            },
            ForkError::Proof,
        ),
        (
            Fork {
                proof: Vec::new().into(),
                ..honest.clone()
            },
            ForkError::Proof,
        ),
    ];
    for (fork, error) in table {
        assert_eq!(fork.verify(&key), Err(error));
    }
    assert_eq!(
        honest.verify(&stranger.public()),
        Err(ForkError::Older(CheckpointError::Signature))
    );
    let receipt = world.receipt(0).to_text();
    assert_eq!(Fork::from_text(&receipt), Err(ForkError::Text));
    assert!(!Fork::is_claimed_by(receipt.as_bytes()));
}

/// The evidence that `size` entries of one log and `newer` of another were signed, whether or not
/// they contradict each other.
fn fork(world: &World, (one, size): (&Log, u64), (two, newer): (&Log, u64)) -> Fork {
    let signed = |head| Checkpoint::sign(world.ledger, head, &world.directory);
    Fork {
        older: signed(one.head(size)),
        newer: signed(two.head(newer)),
        root: Digest(two.head(size).root),
        proof: two.consistency(size, newer).into(),
    }
}

/// A log of `len` entries that are `history`'s own from `parting` on.
fn log(len: u64, history: u8, parting: u64) -> Log {
    let mut log = Log::default();
    for number in 0..len {
        let whose = if number < parting { 0 } else { history };
        log.push(vec![number as u8, whose]);
    }
    log
}

/// "Two histories", PROTOCOL.md, step by step, with nothing of the crate under test.
fn stranger_follows(from: Head, to: Head, proof: &[u8]) -> bool {
    let (hashes, rest) = proof.as_chunks::<32>();
    if !rest.is_empty() || from.size == 0 || from.size > to.size {
        return false;
    }
    if from.size == to.size {
        return hashes.is_empty() && from.root == to.root;
    }
    let (mut place, mut last) = (from.size - 1, to.size - 1);
    while place % 2 == 1 {
        place /= 2;
        last /= 2;
    }
    let mut hashes = hashes.iter();
    let first = if from.size.is_power_of_two() {
        Some(&from.root)
    } else {
        hashes.next()
    };
    let Some(&(mut one)) = first else {
        return false;
    };
    let mut two = one;
    for beside in hashes {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            one = node(beside, &one);
            two = node(beside, &two);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            two = node(&two, beside);
        }
        place /= 2;
        last /= 2;
    }
    last == 0 && one == from.root && two == to.root
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}
