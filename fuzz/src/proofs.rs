//! Receipts, log heads and forks: what proves something to whoever knows the directory's key.

use arbitrary::Unstructured;
use quid_common::cbor;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::consistency;
use quid_common::fork::Fork;
use quid_common::merkle::Followed;
use quid_common::receipt::Receipt;
use sha2::{Digest, Sha256};

use crate::evidence::Genuine;
use crate::patches::{apply, patches};
use crate::strict;

/// A receipt, encoded or, if the bytes are text, in a file.
///
/// It has one encoding and one text, and what it proves is in the log where it says.
pub fn receipts(bytes: &[u8]) {
    let genuine = Genuine::get();
    strict::items(bytes);
    if let Ok(receipt) = cbor::decode::<Receipt>(bytes) {
        assert_eq!(cbor::encode(&receipt), bytes);
        assert_eq!(cbor::encode(&receipt.borrow()), bytes);
        let text = receipt.to_text();
        assert_eq!(Receipt::from_text(&text).as_ref(), Ok(&receipt));
        genuine.receipt(&receipt);
        // Also under a head that others verified.
        let log = &genuine.world.longer;
        for size in 1..=log.len() {
            let head = log.head(size);
            let alone = receipt.verify_under(head, &mut Followed::default());
            // What was followed before, here its neighbour, changes no verdict.
            let mut followed = Followed::default();
            let neighbour =
                log.receipt((receipt.index ^ 1) % size, size, receipt.checkpoint.clone());
            assert!(neighbour.verify_under(head, &mut followed).is_ok());
            assert_eq!(receipt.verify_under(head, &mut followed), alone);
            if let Ok(proven) = alone {
                let entry = genuine.world.every_entry().nth(receipt.index as usize);
                assert_eq!(entry, Some(proven.entry()), "a forged receipt");
                let order = proven.entry().order().map(|order| order.bytes().to_vec());
                if let Some(order) = order {
                    let settles = receipt.settles_under(proven.head(), &mut followed, &order);
                    assert!(proven.settles(&order) && settles == Ok(true));
                }
            }
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(receipt) = Receipt::from_text(text) {
        assert_eq!(receipt.to_text(), text, "one text for one receipt");
        genuine.receipt(&receipt);
    }
}

/// The first byte chooses: a checkpoint's text; or a consistency proof between two of the log's
/// heads, with changes.
///
/// A checkpoint that verifies is one that was signed. Two verifiers of consistency agree, one of
/// them written from RFC 9162; and nothing but the log's own past is its past.
pub fn heads(bytes: &[u8]) {
    let genuine = Genuine::get();
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    if choice % 2 == 0 {
        let text = String::from_utf8_lossy(rest).into_owned();
        if let Ok(checkpoint) = Checkpoint::try_from(text.clone()) {
            assert_eq!(checkpoint.as_str(), text);
            genuine.checkpoint(&checkpoint);
        }
        return;
    }
    let mut input = Unstructured::new(rest);
    let log = &genuine.world.longer;
    let mut size = || input.int_in_range(1..=log.len()).unwrap_or(1);
    let (one, other) = (size(), size());
    let (from, to) = (one.min(other), one.max(other));
    // Sizes, roots and proof in a row, so that any of them can be changed.
    let (older, newer) = (log.head(from), log.head(to));
    let mut row = [
        &from.to_be_bytes()[..],
        &to.to_be_bytes(),
        &older.root,
        &newer.root,
        &log.consistency(from, to),
    ]
    .concat();
    apply(&mut row, &patches(&mut input));
    let Some((fixed, proof)) = row.split_first_chunk::<80>() else {
        return;
    };
    let number = |at: usize| u64::from_be_bytes(*fixed[at..].first_chunk().expect("80 bytes"));
    let root = |at: usize| *fixed[at..].first_chunk().expect("80 bytes");
    let head = |size_at, root_at| Head {
        size: number(size_at),
        root: root(root_at),
    };
    let (older, newer) = (head(0, 16), head(8, 48));
    let holds = consistency::check(older, newer, proof).is_ok();
    assert_eq!(
        holds,
        by_the_rfc(older, newer, proof),
        "{older:?} {newer:?}"
    );
    let known = |head: Head| (1..=log.len()).contains(&head.size) && log.head(head.size) == head;
    if holds && known(newer) {
        assert!(known(older), "a past that never was");
    }
}

/// The evidence of two histories, encoded or, if the bytes are text, in a file.
///
/// It has one encoding and one text, and only a directory that signed two histories can be found
/// out.
pub fn forks(bytes: &[u8]) {
    strict::items(bytes);
    if let Ok(fork) = cbor::decode::<Fork>(bytes) {
        assert_eq!(cbor::encode(&fork), bytes);
        let text = fork.to_text();
        assert!(Fork::is_claimed_by(text.as_bytes()));
        assert_eq!(Fork::from_text(&text).as_ref(), Ok(&fork));
        is_genuine(&fork);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(fork) = Fork::from_text(text)
    {
        assert_eq!(fork.to_text(), text, "one text for one fork");
        is_genuine(&fork);
    }
}

/// That a fork which proves something has two heads that the sample directory signed, and that they
/// are not both of its one log.
fn is_genuine(fork: &Fork) {
    let genuine = Genuine::get();
    let world = &genuine.world;
    if let Ok(two) = fork.verify(&world.directory.public()) {
        assert_eq!(two.ledger(), world.ledger);
        genuine.checkpoint(&fork.older);
        genuine.checkpoint(&fork.newer);
        let own = |checkpoint: &Checkpoint| {
            let head = checkpoint.claim().expect("it verified");
            head.size <= world.longer.len() && world.longer.head(head.size) == head
        };
        assert!(!own(&fork.older) || !own(&fork.newer), "one log is no fork");
    }
}

/// RFC 9162, 2.1.4.2, step by step.
fn by_the_rfc(older: Head, newer: Head, proof: &[u8]) -> bool {
    let (first, second) = (older.size, newer.size);
    let (hashes, []) = proof.as_chunks::<32>() else {
        return false;
    };
    // The protocol's own bounds.
    if first == 0 || first > second || second > 1 << 48 || hashes.len() > 49 {
        return false;
    }
    if first == second {
        return hashes.is_empty() && older.root == newer.root;
    }
    let mut path = hashes.to_vec();
    if first.is_power_of_two() {
        path.insert(0, older.root);
    }
    let Some((start, rest)) = path.split_first() else {
        return false;
    };
    let (mut fn_, mut sn) = (first - 1, second - 1);
    while fn_ & 1 == 1 {
        (fn_, sn) = (fn_ >> 1, sn >> 1);
    }
    let (mut fr, mut sr) = (*start, *start);
    for hash in rest {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            (fr, sr) = (node(hash, &fr), node(hash, &sr));
            while fn_ & 1 == 0 && fn_ != 0 {
                (fn_, sn) = (fn_ >> 1, sn >> 1);
            }
        } else {
            sr = node(&sr, hash);
        }
        (fn_, sn) = (fn_ >> 1, sn >> 1);
    }
    fr == older.root && sr == newer.root && sn == 0
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}
