//! Messages, one family a target, so that each is tried as long as the others.

use std::ops::RangeInclusive;

use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::wire::{Message, Run, Settled, TabPay, TabPayRef};

use crate::evidence::Genuine;
use crate::strict;
use crate::world::PAYMENT;

/// What a stranger and the directory say until the login.
pub fn stranger(bytes: &[u8]) {
    message(1..=15, bytes);
}

/// An account's requests and their answers.
pub fn account(bytes: &[u8]) {
    message(16..=31, bytes);
}

/// What travels on a settle stream.
pub fn settlement(bytes: &[u8]) {
    message(32..=47, bytes);
}

/// What travels on an event stream.
pub fn events(bytes: &[u8]) {
    message(48..=63, bytes);
}

/// What payer and payee say about orders.
pub fn peer(bytes: &[u8]) {
    message(64..=79, bytes);
}

/// What payer and payee say about tabs.
pub fn tab_stream(bytes: &[u8]) {
    message(80..=95, bytes);
}

/// The first byte chooses a kind of the family, the rest is the body.
///
/// What is read is written again as the same bytes, whichever way it is written; two readers of
/// CBOR agree; and whatever in it proves something is genuine.
fn message(family: RangeInclusive<u16>, bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else {
        return;
    };
    let choice = u16::from(choice);
    let kinds = Message::KINDS.iter().map(|(kind, _)| *kind);
    let mut kinds = kinds.filter(|kind| family.contains(kind)).cycle();
    let kind = if family.contains(&choice) {
        choice
    } else {
        kinds.nth(usize::from(choice)).expect("no family is empty")
    };
    let read = Message::read(kind, body);
    let items = strict::items(body);
    if kind == TabPay::KIND {
        let whole = match &read {
            Ok(Message::TabPay(pay)) => Some(TabPayRef {
                number: pay.number,
                first: pay.first,
                step: pay.step,
                links: &pay.links,
            }),
            _ => None,
        };
        assert_eq!(TabPayRef::read(body).ok(), whole, "two readers of payments");
    }
    let Ok(message) = read else {
        return;
    };
    assert_eq!(message.kind(), kind);
    let frame = message.to_frame();
    assert_eq!((frame.kind, &frame.body[..]), (kind, body));
    let mut written = Vec::new();
    message.write(&mut written);
    let mut reader = FrameReader::new(body.len().max(BODY_LEN_MAX));
    reader.push(&written);
    assert_eq!(reader.next_frame(), Ok(Some(frame)));
    assert!(reader.is_empty());
    Genuine::get().everything_in(&items.expect("what was read is sound"));
    in_a_row(message);
}

/// Behind a genuine receipt, what goes on from it is refused or made whole, proves nothing that is not
/// genuine, and comes out the same if it is sent on.
fn in_a_row(message: Message) {
    let genuine = Genuine::get();
    let receipt = genuine.world.receipt(PAYMENT);
    let (mut read, mut write) = (Run::new(), Run::new());
    let mut out = Vec::new();
    write.write_settled(1, receipt.borrow(), &mut out);
    let first = Settled { number: 1, receipt };
    read.read(first.into()).expect("it is whole");
    let mut far = read.clone();
    let Ok(whole) = read.read(message) else {
        return;
    };
    out.clear();
    match &whole {
        Message::Settled(it) => {
            genuine.receipt(&it.receipt);
            write.write_settled(it.number, it.receipt.borrow(), &mut out);
        }
        Message::Paid(it) => {
            genuine.receipt(&it.receipt);
            write.write_paid(it.number, it.receipt.borrow(), &mut out);
        }
        _ => return,
    }
    let mut frames = FrameReader::new(out.len());
    frames.push(&out);
    let frame = frames.next_frame().expect("short enough").expect("whole");
    let came = far.read(Message::from_frame(&frame).expect("it was read before"));
    assert_eq!(came.as_ref(), Ok(&whole));
}
