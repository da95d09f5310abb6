//! What is genuine: whatever proves something under the sample world's keys must be in that world.

use std::collections::HashSet;

use quid_common::cbor;
use quid_common::checkpoint::Checkpoint;
use quid_common::entry::Entry;
use quid_common::key::PublicKey;
use quid_common::receipt::Receipt;
use quid_common::signed::{Signed, Statement};

use crate::facts;
use crate::samples::{Specimen, specimens};
use crate::strict::{self, Item};
use crate::world::World;

/// The sample world, a specimen of everything, and all that was ever signed in it.
pub(crate) struct Genuine {
    pub(crate) world: World,
    pub(crate) specimens: Vec<Specimen>,
    /// Every byte string in any of it, so every signed fact among them.
    parts: HashSet<Vec<u8>>,
    /// Every entry, by its place in either log.
    entries: HashSet<(u64, Vec<u8>)>,
    /// Every log head: size and root.
    heads: HashSet<(u64, [u8; 32])>,
}

thread_local! {
    static GENUINE: &'static Genuine = Box::leak(Box::new(Genuine::new()));
}

impl Genuine {
    pub(crate) fn get() -> &'static Self {
        GENUINE.with(|genuine| *genuine)
    }

    fn new() -> Self {
        let world = World::new();
        let specimens = specimens(&world);
        let mut parts = HashSet::new();
        for specimen in &specimens {
            parts.insert(specimen.bytes.clone());
            byte_strings(&specimen.bytes, &mut |part| {
                parts.insert(part.to_vec());
            });
        }
        let entries = (0_u64..)
            .zip(world.every_entry())
            .map(|(at, entry)| (at, entry.encode()))
            .collect();
        let other = world.other_log();
        let of_keys = world.keys_receipt(0).checkpoint;
        let heads = [
            world.log.head(world.log.len()),
            world.longer.head(world.longer.len()),
            other.head(other.len()),
            of_keys
                .verify(world.ledger, &world.directory.public())
                .expect("the world's own"),
        ];
        Self {
            parts,
            entries,
            heads: heads.map(|head| (head.size, head.root)).into(),
            world,
            specimens,
        }
    }

    /// Whether this key's secret is the sample world's: nobody else can sign for it.
    pub(crate) fn is_ours(&self, key: &PublicKey) -> bool {
        let keys = [&self.world.directory, &self.world.alice, &self.world.bob];
        keys.into_iter().any(|ours| ours.public() == *key)
    }

    /// That a receipt which proves something is one of the world's.
    pub(crate) fn receipt(&self, receipt: &Receipt) {
        let verified = receipt.verify(self.world.ledger, &self.world.directory.public());
        if let Ok(proven) = verified {
            let entry = proven.entry().encode();
            assert_eq!(entry, **receipt.entry, "what is proven is what was shown");
            let genuine = self.entries.contains(&(proven.index(), entry));
            assert!(genuine, "a forged receipt: {receipt:?}");
        }
    }

    /// That a checkpoint which the directory signed is one of the world's.
    pub(crate) fn checkpoint(&self, checkpoint: &Checkpoint) {
        let verified = checkpoint.verify(self.world.ledger, &self.world.directory.public());
        if let Ok(head) = verified {
            let genuine = self.heads.contains(&(head.size, head.root));
            assert!(genuine, "a forged checkpoint: {checkpoint:?}");
            assert_eq!(checkpoint.claim(), Some(head));
            assert_eq!(checkpoint.ledger(), Some(self.world.ledger));
        }
    }

    /// That an entry with the signature of one of our keys holds one of our facts.
    pub(crate) fn entry(&self, entry: &Entry) {
        // The first is of whoever says it, over all of it.
        let Some((key, message, signature)) = entry.fact.signatures().into_iter().next() else {
            return;
        };
        if self.is_ours(&key) && key.verify(&message, &signature) {
            let mut body = None;
            byte_strings(&entry.encode(), &mut |part| {
                body.get_or_insert_with(|| part.to_vec());
            });
            let body = body.expect("an entry has a body");
            assert!(self.parts.contains(&body), "a forged fact: {entry:?}");
        }
    }

    /// That whatever proves something in an encoding, wherever it stands, is the world's.
    pub(crate) fn everything_in(&self, items: &[Item<'_>]) {
        for item in items {
            match item.major {
                2 => facts::each(item.content),
                3 => {
                    let text = std::str::from_utf8(item.content).expect("checked");
                    if let Ok(checkpoint) = Checkpoint::try_from(text.to_owned()) {
                        self.checkpoint(&checkpoint);
                    }
                }
                4 => {
                    if let Ok(receipt) = cbor::decode::<Receipt>(item.whole) {
                        self.receipt(&receipt);
                    }
                }
                _ => {}
            }
        }
    }

    /// That a fact which one of our keys has signed is one of ours.
    pub(crate) fn fact<T: Statement>(&self, fact: &Signed<T>) {
        if self.is_ours(&fact.statement().signer()) && fact.verify() {
            let genuine = self.parts.contains(fact.bytes());
            assert!(genuine, "a forged fact: {:02x?}", fact.bytes());
        }
    }
}

/// Hands every byte string in an encoding to `take`, those within byte strings too.
fn byte_strings(bytes: &[u8], take: &mut impl FnMut(&[u8])) {
    for item in strict::items(bytes).unwrap_or_default() {
        if item.major == 2 {
            take(item.content);
            byte_strings(item.content, take);
        }
    }
}
