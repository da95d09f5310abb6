//! A node that is paid: its payers' streams for orders and for tabs.

use std::net::SocketAddr;

use quid_common::frame::BODY_LEN_MAX_STRANGER;
use quid_common::key::PublicKey;
use quid_common::signed::Signed;
use quid_common::wire::{Message, Offer, OpenTabs};

use crate::client::{Caller, Outcome, Stream, frame, framed, named};
use crate::damage::damaged;
use crate::directory::{lying_frames, order, some, whole};
use crate::wire::samples::messages;

/// Offers that no payee takes, and whatever else a payer can say.
pub(crate) async fn offers(
    caller: &Caller,
    payee: (SocketAddr, PublicKey),
) -> Vec<(&'static str, usize)> {
    let (_, welcome) = caller.session().await;
    let offer = |order: Vec<u8>| Offer {
        number: 1,
        order: order.into(),
        checkpoint: None,
    };
    let sound = Signed::new(order(caller, payee.1, &welcome, 20), &caller.key);
    // To somebody else: whatever stays sound of the message is declined.
    let other = Signed::new(
        order(caller, caller.key.public(), &welcome, 21),
        &caller.key,
    );
    let mut inputs = Vec::new();
    for order in some(damaged(sound.bytes()), OFFERS) {
        inputs.push(frame(&offer(order).into()));
    }
    let (kind, body) = whole(&offer(other.into_bytes()).into());
    inputs.extend(some(damaged(&body), OFFERS).map(|body| framed(kind, body)));
    let samples = messages(&crate::wire::world::World::new());
    let mut on_tabs = Vec::new();
    for (_, message) in &samples {
        let (kind, body) = whole(message);
        let few = OFFERS / samples.len();
        inputs.push(framed(kind, body.clone()));
        inputs.extend(some(damaged(&body), few).map(|body| framed(kind, body)));
        let few = if kind >= 80 { few * 6 } else { 1 };
        on_tabs.extend(some(damaged(&body), few).map(|body| framed(kind, body)));
    }
    inputs.extend(lying_frames(BODY_LEN_MAX_STRANGER));
    on_tabs.extend(lying_frames(BODY_LEN_MAX_STRANGER));
    let counts = vec![("offers", inputs.len()), ("tabs", on_tabs.len())];
    drive(caller, payee, &[], inputs).await;
    drive(caller, payee, &frame(&OpenTabs {}.into()), on_tabs).await;
    counts
}

/// Sends each input behind `first`, on a connection of its own after each that costs one.
async fn drive(
    caller: &Caller,
    payee: (SocketAddr, PublicKey),
    first: &[u8],
    inputs: Vec<Vec<u8>>,
) {
    let mut open: Option<Stream> = None;
    for input in inputs {
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => {
                let connection = caller.peer(payee).await;
                let mut stream = Stream::open(&connection).await.expect("a payer may");
                stream.send(first).await;
                stream
            }
        };
        stream.send(&input).await;
        // Offers follow each other on one stream. Of anything else, and of a frame that is not
        // whole, more might be awaited.
        let offered = first.is_empty() && is_offer(&input);
        if !offered {
            stream.finish();
        }
        loop {
            match stream.next().await {
                Outcome::Answer(answer) => match *answer {
                    Message::Declined(declined) => {
                        named(declined.reason);
                        if offered {
                            open = Some(stream);
                            break;
                        }
                    }
                    Message::TabEnded(ended) => {
                        ended.reason.into_iter().for_each(named);
                    }
                    other => panic!("{other:?} to {input:02x?}"),
                },
                Outcome::Ended => break,
                Outcome::Silence => panic!("silence after {input:02x?}"),
                Outcome::Closed(code) => {
                    assert!(code <= 1, "closed with {code} after {input:02x?}");
                    break;
                }
            }
        }
    }
}

/// Whether a frame is whole and says that it is an [`Offer`].
fn is_offer(frame: &[u8]) -> bool {
    frame
        .split_first_chunk()
        .is_some_and(|([a, b, c, d, e, f], body)| {
            let len = u32::from_be_bytes([*a, *b, *c, *d]);
            len as usize == body.len() && u16::from_be_bytes([*e, *f]) == Offer::KIND
        })
}

/// How many offers are damaged, each way; most cost a connection.
const OFFERS: usize = 300;
