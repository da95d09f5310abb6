//! Every prefix and every single-bit flip of everything that has an encoding.
//!
//! A prefix is never anything. A flip is refused, or it is another thing whose one encoding is
//! exactly the flipped bytes (no two encodings mean the same), and then it proves nothing.

use std::collections::HashMap;

use quid_common::account::Change;
use quid_common::cbor;
use quid_common::chain::Mark;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact, Registration};
use quid_common::fork::Fork;
use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::merkle::Followed;
use quid_common::order::{Decline, Order, Void};
use quid_common::receipt::Receipt;
use quid_common::signed::{Signed, Statement};
use quid_common::tab::{Claim, Close, Hashed, Tab, Terms};
use quid_common::wire::Message;

use super::samples::{messages, specimens};
use super::world::{PAYMENT, World};

#[test]
fn no_prefix_of_anything_is_anything() {
    for specimen in specimens(&World::new()) {
        for end in 0..specimen.bytes.len() {
            let read = (specimen.reread)(&specimen.bytes[..end]);
            assert_eq!(read, None, "{specimen:?} cut to {end} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_means_something_else_and_proves_nothing() {
    for specimen in specimens(&World::new()) {
        for (bit, bytes) in flips(&specimen.bytes) {
            if let Some(again) = (specimen.reread)(&bytes) {
                assert_eq!(
                    again, bytes,
                    "{specimen:?} with bit {bit} flipped has two encodings"
                );
            }
            if let Some(proves) = &specimen.proves {
                assert!(
                    !proves(&bytes),
                    "{specimen:?} with bit {bit} flipped is still a proof"
                );
            }
        }
    }
}

#[test]
fn a_cut_frame_is_never_a_message() {
    for (label, message) in messages(&World::new()) {
        let bytes = frame_bytes(&message);
        for end in 0..bytes.len() {
            let mut reader = FrameReader::new(BODY_LEN_MAX);
            reader.push(&bytes[..end]);
            assert_eq!(
                reader.next_frame(),
                Ok(None),
                "{message:?} {label} cut to {end} bytes"
            );
            assert_eq!(
                reader.is_empty(),
                end == 0,
                "a reader can tell that something was cut"
            );
        }
    }
}

#[test]
fn a_flipped_bit_of_a_frame_never_forges_what_is_in_it() {
    let world = World::new();
    let mut heads = Heads {
        world: &world,
        known: HashMap::new(),
    };
    for (label, message) in messages(&world) {
        let originals = evidence(&message);
        assert!(
            originals.iter().all(|it| it.holds(&mut heads)),
            "{label} {message:?}"
        );
        for (bit, bytes) in flips(&frame_bytes(&message)) {
            let at = || format!("{label} {message:?} with bit {bit} flipped");
            let mut reader = FrameReader::new(BODY_LEN_MAX);
            reader.push(&bytes);
            // Too long, or the rest of the body is awaited in vain.
            let Ok(Some(frame)) = reader.next_frame() else {
                continue;
            };
            let Ok(other) = Message::from_frame(&frame) else {
                continue;
            };
            assert_ne!(other, message, "{}", at());
            assert_eq!(other.to_frame(), frame, "{}", at());
            for found in evidence(&other) {
                let known = originals
                    .iter()
                    .any(|original| original.bytes() == found.bytes());
                assert!(known || !found.holds(&mut heads), "{}", at());
            }
        }
    }
}

#[test]
fn a_flipped_bit_of_a_receipts_text_is_refused() {
    let world = World::new();
    let text = world.receipt(PAYMENT).to_text();
    let holds = |text: &str| {
        Receipt::from_text(text)
            .is_ok_and(|it| it.verify(world.ledger, &world.directory.public()).is_ok())
    };
    assert!(holds(&text));
    for (bit, bytes) in flips(text.as_bytes()) {
        let forged = std::str::from_utf8(&bytes).is_ok_and(holds);
        assert!(!forged, "bit {bit} flipped");
    }
    for end in 0..text.len() {
        assert!(!holds(&text[..end]), "cut to {end} bytes");
    }
}

#[test]
fn a_flipped_bit_of_a_forks_text_is_refused() {
    let world = World::new();
    let text = world.fork().to_text();
    let holds = |text: &str| {
        Fork::from_text(text).is_ok_and(|it| it.verify(&world.directory.public()).is_ok())
    };
    assert!(holds(&text) && Fork::is_claimed_by(text.as_bytes()));
    for (bit, bytes) in flips(text.as_bytes()) {
        let forged = std::str::from_utf8(&bytes).is_ok_and(holds);
        assert!(!forged, "bit {bit} flipped");
    }
    for end in 0..text.len() {
        assert!(!holds(&text[..end]), "cut to {end} bytes");
    }
}

#[test]
fn the_signature_in_an_entry_covers_its_body() {
    let world = World::new();
    for entry in world.every_entry() {
        let signed = entry.fact.signatures();
        if signed.is_empty() {
            continue;
        }
        for (bit, bytes) in flips(&entry.encode()) {
            let Ok(other) = Entry::decode(&bytes) else {
                continue;
            };
            let others = other.fact.signatures();
            assert_eq!(others.len(), signed.len(), "a flip makes no other fact");
            // Version, time and kind of an entry are covered by the log's tree alone.
            let same = others == signed;
            let genuine = others
                .iter()
                .all(|(key, message, signature)| key.verify(message, signature));
            assert!(same || !genuine, "bit {bit} flipped");
        }
    }
}

#[test]
fn the_link_in_a_claim_covers_its_tab_and_its_units() {
    let world = World::new();
    let what = |claim: &Claim| (claim.id, claim.from, claim.index, claim.link);
    let moves = |tab: &Tab, (id, from, index, link)| {
        let hashed = Hashed::new(&id, from, Mark { index, link })?;
        tab.claim(&hashed)
    };
    let tab = Tab::open(world.terms().statement());
    let (_, tab) = moves(&tab, what(&world.claim(0, 1))).expect("honest");
    let honest = world.claim(1, 3);
    let (amount, _) = moves(&tab, what(&honest)).expect("honest");
    assert_eq!(amount, honest.amount);

    for (bit, bytes) in flips(&world.later[2].encode()) {
        let Ok(Entry { fact, .. }) = Entry::decode(&bytes) else {
            continue;
        };
        let Fact::Claim(forged) = fact else {
            panic!("bit {bit} flipped makes something else of a claim")
        };
        // Payer, payee and amount follow from the tab; the log's tree covers what is written.
        let same = what(&forged) == what(&honest);
        assert!(
            same || moves(&tab, what(&forged)).is_err(),
            "bit {bit} flipped"
        );
    }
}

/// `bytes` with each bit flipped in turn.
pub(super) fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (bit, bytes)
    })
}

/// Something in a message that proves something on its own.
enum Evidence {
    Receipt(Receipt),
    Checkpoint(Checkpoint),
    Fact(Vec<u8>, fn(&[u8]) -> bool),
}

impl Evidence {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Receipt(receipt) => cbor::encode(receipt),
            Self::Checkpoint(checkpoint) => cbor::encode(checkpoint),
            Self::Fact(bytes, _) => bytes.clone(),
        }
    }

    fn holds(&self, heads: &mut Heads<'_>) -> bool {
        match self {
            Self::Receipt(receipt) => heads
                .of(&receipt.checkpoint)
                .is_some_and(|head| receipt.verify_under(head, &mut Followed::default()).is_ok()),
            Self::Checkpoint(checkpoint) => heads.of(checkpoint).is_some(),
            Self::Fact(bytes, verify) => verify(bytes),
        }
    }
}

/// Verified checkpoints: the messages share one, and its flips.
struct Heads<'a> {
    world: &'a World,
    known: HashMap<String, Option<Head>>,
}

impl Heads<'_> {
    fn of(&mut self, checkpoint: &Checkpoint) -> Option<Head> {
        let text = checkpoint.as_str();
        if let Some(head) = self.known.get(text) {
            return *head;
        }
        let key = self.world.directory.public();
        let head = checkpoint.verify(self.world.ledger, &key).ok();
        self.known.insert(text.to_owned(), head);
        head
    }
}

fn evidence(message: &Message) -> Vec<Evidence> {
    let receipts = receipts(message)
        .into_iter()
        .cloned()
        .map(Evidence::Receipt);
    let checkpoint = match message {
        Message::Login(it) => it.checkpoint.clone(),
        Message::Offer(it) => it.checkpoint.clone(),
        Message::TabOffer(it) => it.checkpoint.clone(),
        Message::Welcome(it) => Some(it.checkpoint.clone()),
        _ => None,
    };
    let checkpoints = checkpoint.into_iter().map(Evidence::Checkpoint);
    let facts: Vec<Evidence> = match message {
        Message::Register(it) => {
            vec![fact::<Registration>(&it.registration)]
        }
        Message::Submit(it) => {
            let decline = it.decline.as_ref().map(|bytes| fact::<Decline>(bytes));
            [fact::<Order>(&it.order)]
                .into_iter()
                .chain(decline)
                .collect()
        }
        Message::SubmitVoid(it) => vec![fact::<Void>(&it.void)],
        Message::Offer(it) => vec![fact::<Order>(&it.order)],
        Message::SubmitTab(it) => vec![fact::<Terms>(&it.terms)],
        Message::SubmitClose(it) => vec![fact::<Close>(&it.close)],
        Message::ChangeKeys(it) => vec![Evidence::Fact(it.change.to_vec(), |bytes| {
            Change::from_bytes(bytes).is_ok_and(|change| {
                let signed = change.into_fact().signatures();
                let mut signed = signed.iter();
                signed.all(|(key, message, signature)| key.verify(message, signature))
            })
        })],
        _ => vec![],
    };
    receipts.chain(checkpoints).chain(facts).collect()
}

/// The receipts that a message carries.
pub(super) fn receipts(message: &Message) -> Vec<&Receipt> {
    match message {
        Message::Registered(it) => vec![&it.receipt],
        Message::Fate(it) => it.receipt.iter().collect(),
        Message::Proof(it) => vec![&it.receipt],
        Message::Settled(it) => vec![&it.receipt],
        Message::Voided(it) => vec![&it.receipt],
        Message::SubmitRefused(it) => it.receipt.iter().collect(),
        Message::Moved(it) => vec![&it.receipt],
        Message::Paid(it) => vec![&it.receipt],
        Message::TabOffer(it) => vec![&it.receipt],
        Message::KeysChanged(it) => vec![&it.receipt],
        Message::Successor(it) => it.receipt.iter().collect(),
        _ => vec![],
    }
}

fn fact<T: Statement + 'static>(bytes: &[u8]) -> Evidence {
    Evidence::Fact(bytes.to_vec(), |bytes| {
        Signed::<T>::from_bytes(bytes).is_ok_and(|fact| fact.verify())
    })
}

fn frame_bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.to_frame().write(&mut bytes);
    bytes
}
