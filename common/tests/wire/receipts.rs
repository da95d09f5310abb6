//! Receipts from logs of many sizes, verified by the library and by a stranger who has read
//! nothing but PROTOCOL.md.

use data_encoding::BASE64;
use quid_common::cbor;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact};
use quid_common::id::OrderId;
use quid_common::merkle::{Followed, PATH_LEN_MAX};
use quid_common::order::{Memo, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use sha2::{Digest, Sha256};

use super::damage::flips;
use super::world::{Log, World};

/// Sizes on both sides of every power of two up to 32.
const SIZE_MAX: u64 = 33;

#[test]
fn every_entry_of_every_log_has_a_receipt_that_two_verifiers_accept() {
    let (world, log) = long_log();
    let key = world.directory.public();
    for size in 1..=SIZE_MAX {
        let checkpoint = Checkpoint::sign(world.ledger, log.head(size), &world.directory);
        for index in 0..size {
            let receipt = log.receipt(index, size, checkpoint.clone());
            let proven = receipt
                .verify(world.ledger, &key)
                .expect("an honest receipt");
            assert_eq!((proven.index(), proven.head()), (index, log.head(size)));
            assert_eq!(proven.entry().encode(), receipt.entry.as_slice());
            let stranger = stranger_verifies(&receipt, &world.ledger.0, key.as_bytes());
            assert!(stranger, "entry {index} of {size}");
        }
    }
}

#[test]
fn a_receipt_stands_for_its_own_place_and_log_alone() {
    let (world, log) = long_log();
    for size in 2..=SIZE_MAX {
        let head = log.head(size);
        let checkpoint = Checkpoint::sign(world.ledger, head, &world.directory);
        for index in 0..size {
            let honest = log.receipt(index, size, checkpoint.clone());
            let mut forged = vec![
                Receipt {
                    index: size,
                    ..honest.clone()
                },
                Receipt {
                    index: u64::MAX,
                    ..honest.clone()
                },
                Receipt {
                    path: [&honest.path[..], &[0; 32]].concat().into(),
                    ..honest.clone()
                },
                Receipt {
                    path: [&honest.path[..], &[0]].concat().into(),
                    ..honest.clone()
                },
            ];
            if let Some(cut) = honest.path.len().checked_sub(32) {
                let path = honest.path[..cut].to_vec().into();
                forged.push(Receipt {
                    path,
                    ..honest.clone()
                });
            }
            for other in (0..size).filter(|&other| other != index) {
                forged.push(Receipt {
                    index: other,
                    ..honest.clone()
                });
            }
            for receipt in forged {
                let shown = || format!("entry {index} of {size} shown as {}", receipt.index);
                assert!(
                    receipt
                        .verify_under(head, &mut Followed::default())
                        .is_err(),
                    "{}",
                    shown()
                );
                assert!(!stranger_climbs(&receipt, size, &head.root), "{}", shown());
            }
            let shorter = log.head(size - 1);
            assert!(
                honest
                    .verify_under(shorter, &mut Followed::default())
                    .is_err(),
                "entry {index} of {size}, cut"
            );
            assert!(!stranger_climbs(&honest, shorter.size, &shorter.root));
        }
    }
}

#[test]
fn what_was_followed_before_changes_no_verdict() {
    let (world, log) = long_log();
    for size in [1, 2, 3, 6, 7, 8, 13, 21] {
        let head = log.head(size);
        let checkpoint = Checkpoint::sign(world.ledger, head, &world.directory);
        let receipts: Vec<_> = (0..size)
            .map(|index| log.receipt(index, size, checkpoint.clone()))
            .collect();
        for before in &receipts {
            let mut followed = Followed::default();
            let mut holds = |receipt: &Receipt| receipt.verify_under(head, &mut followed).is_ok();
            for honest in &receipts {
                assert!(holds(before) && holds(honest));
                let mut forged = Vec::new();
                for at in 0..honest.path.len() / 32 {
                    let mut path = honest.path.clone();
                    path[at * 32 + 7] ^= 1;
                    forged.push(Receipt {
                        path,
                        ..honest.clone()
                    });
                }
                for other in receipts.iter().filter(|other| other.index != honest.index) {
                    let (entry, path) = (other.entry.clone(), other.path.clone());
                    forged.push(Receipt {
                        entry,
                        ..honest.clone()
                    });
                    forged.push(Receipt {
                        path,
                        ..honest.clone()
                    });
                }
                for forged in forged {
                    // Two entries side by side under a short log may share a path, and then it is
                    // no forgery.
                    let stranger = stranger_climbs(&forged, size, &head.root);
                    assert_eq!(holds(&forged), stranger, "{} of {size}", honest.index);
                }
            }
            // Another log's head is not led to by what led to this one.
            let other = Head {
                root: [9; 32],
                ..head
            };
            assert!(before.verify_under(other, &mut followed).is_err());
        }
    }
}

#[test]
fn every_flipped_bit_of_a_receipt_is_refused() {
    let (world, log) = long_log();
    let (ledger, key) = (world.ledger, world.directory.public());
    for (index, size) in [(0, 1), (12, 13), (32, 33), (7, 33)] {
        let checkpoint = Checkpoint::sign(ledger, log.head(size), &world.directory);
        let receipt = log.receipt(index, size, checkpoint);
        for (bit, bytes) in flips(&cbor::encode(&receipt)) {
            let Ok(forged) = cbor::decode::<Receipt>(&bytes) else {
                continue;
            };
            assert!(
                forged.verify(ledger, &key).is_err(),
                "bit {bit} of entry {index} of {size}"
            );
            // Under a head that the caller has verified, the checkpoint's own text is not looked
            // at: everything else still counts.
            if forged.checkpoint == receipt.checkpoint {
                let verdict = forged.verify_under(log.head(size), &mut Followed::default());
                assert!(verdict.is_err(), "bit {bit} of entry {index} of {size}");
            }
        }
    }
}

#[test]
fn an_empty_log_and_a_huge_path_prove_nothing() {
    let (world, log) = long_log();
    let (ledger, key) = (world.ledger, world.directory.public());
    let head = log.head(1);
    let empty = Checkpoint::sign(ledger, Head { size: 0, ..head }, &world.directory);
    assert!(empty.verify(ledger, &key).is_err());
    let receipt = log.receipt(0, 1, Checkpoint::sign(ledger, head, &world.directory));
    let path = vec![0; 32 * (PATH_LEN_MAX + 1)].into();
    assert!(Receipt { path, ..receipt }.verify(ledger, &key).is_err());
}

#[test]
fn a_receipt_settles_its_own_order_byte_for_byte() {
    let world = World::new();
    let (ledger, key) = (world.ledger, world.directory.public());
    let order = world.order();
    let proven = world
        .receipt(super::world::PAYMENT)
        .verify(ledger, &key)
        .expect("honest");
    assert!(proven.settles(order.bytes()));
    for (bit, bytes) in flips(order.bytes()) {
        assert!(!proven.settles(&bytes), "bit {bit} flipped");
    }
    let refusal = world
        .receipt(super::world::REFUSAL)
        .verify(ledger, &key)
        .expect("honest");
    assert!(!refusal.settles(order.bytes()), "a refusal settles nothing");
}

#[test]
fn a_receipt_opens_its_own_tab_byte_for_byte_and_settles_no_order() {
    let world = World::new();
    let (ledger, key) = (world.ledger, world.directory.public());
    let proven = |index| {
        let receipt = world.later_receipt(index);
        receipt.verify(ledger, &key).expect("honest")
    };
    let terms = world.terms();
    let opened = proven(super::world::TAB);
    assert!(opened.opens(terms.bytes()));
    assert!(!opened.settles(terms.bytes()), "a tab settles nothing");
    for (bit, bytes) in flips(terms.bytes()) {
        assert!(!opened.opens(&bytes), "bit {bit} flipped");
    }
    for index in (0..world.longer.len()).filter(|&index| index != super::world::TAB) {
        assert!(!proven(index).opens(terms.bytes()), "entry {index}");
    }
    let order = world.order();
    assert!(!proven(super::world::PAYMENT).opens(order.bytes()));
    let head = world.longer.head(world.longer.len());
    for index in super::world::TAB..=super::world::RELEASE {
        let receipt = world.later_receipt(index);
        let of_terms = receipt.settles_under(head, &mut Followed::default(), terms.bytes());
        assert_eq!(of_terms, Ok(false), "entry {index}");
    }
}

/// The sample ledger, continued to [`SIZE_MAX`] entries.
pub(crate) fn long_log() -> (World, Log) {
    let world = World::new();
    let mut log = Log::default();
    for entry in world.every_entry() {
        log.push(entry.encode());
    }
    for number in 0.. {
        if log.len() == SIZE_MAX {
            return (world, log);
        }
        let time = LedgerTime::from_millis(1_763_000_010_000);
        let order: SignedOrder = Signed::new(
            Order {
                version: STATEMENT_VERSION,
                ledger: world.ledger,
                id: OrderId::new(time, [number; 10]),
                payer: world.alice.public(),
                payee: world.bob.public(),
                amount: Default::default(),
                memo: Memo::default(),
                reference: None,
            },
            &world.alice,
        );
        log.push(
            Entry {
                time,
                fact: Fact::Payment(order),
            }
            .encode(),
        );
    }
    unreachable!("the loop ends at the size wanted")
}

/// "Verifying a receipt", PROTOCOL.md, step by step, with nothing of this crate.
fn stranger_verifies(receipt: &Receipt, ledger: &[u8; 32], key: &[u8; 32]) -> bool {
    stranger_reads(receipt.checkpoint.as_str(), ledger, key)
        .is_some_and(|(size, root)| stranger_climbs(receipt, size, &root))
}

/// Steps 1 and 2: the checkpoint's size and root, if its signature holds.
fn stranger_reads(text: &str, ledger: &[u8; 32], key: &[u8; 32]) -> Option<(u64, [u8; 32])> {
    let origin = format!("quid/{}", data_encoding::HEXLOWER.encode(ledger));
    let (body, signature) = text.split_once("\n\n")?;
    let lines: Vec<&str> = body.split('\n').collect();
    let [first, size, root] = lines[..] else {
        return None;
    };
    if first != origin || size.starts_with('0') {
        return None;
    }
    let size: u64 = size.parse().ok()?;
    let root = BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?;

    let encoded = signature
        .strip_prefix("\u{2014} ")?
        .strip_prefix(&origin)?
        .strip_prefix(' ')?;
    let blob = BASE64.decode(encoded.strip_suffix('\n')?.as_bytes()).ok()?;
    let (id, signature) = blob.split_at_checked(4)?;
    let mut named = origin.into_bytes();
    named.extend(b"\n\x01");
    named.extend(key);
    if id != &Sha256::digest(&named)[..4] {
        return None;
    }
    let key = ed25519_zebra::VerificationKey::try_from(*key).ok()?;
    let signature = ed25519_zebra::Signature::from_bytes(signature.try_into().ok()?);
    let signed = format!("{body}\n");
    key.verify(&signature, signed.as_bytes()).ok()?;
    Some((size, root))
}

/// Steps 3 and 4: whether the path leads from the entry to the root.
fn stranger_climbs(receipt: &Receipt, size: u64, root: &[u8; 32]) -> bool {
    let (hashes, rest) = receipt.path.as_chunks::<32>();
    if receipt.index >= size || !rest.is_empty() || hashes.len() > 48 {
        return false;
    }
    let mut hash = sha256(&[&[0], &receipt.entry]);
    let (mut place, mut last) = (receipt.index, size - 1);
    for beside in hashes {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            hash = sha256(&[&[1], beside, &hash]);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            hash = sha256(&[&[1], &hash, beside]);
        }
        place /= 2;
        last /= 2;
    }
    last == 0 && hash == *root
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
