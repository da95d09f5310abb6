//! The settle stream: many orders and voids in flight, answers matched by the submitter's number.

use quid_common::key::PublicKey;
use quid_common::order::{SignedDecline, SignedOrder, SignedVoid};
use quid_common::refusal::Reason;
use quid_common::wire::{CloseCode, Message, Settled, Submit, SubmitRefused, SubmitVoid, Voided};
use tokio::sync::mpsc;

use crate::settlement::{Answer, Ask, Job, Reply, Settlements};
use crate::stream::{ReadError, Reader, WriteError, Writer};

/// Most orders and voids of one stream that wait for their answers. The next is not read before
/// there is room for its answer, so that a submitter that does not read cannot make us hold more.
pub const IN_FLIGHT_MAX: u16 = 1024;

/// Serves a settle stream to its end; says how to close the connection if the peer broke the
/// protocol.
pub async fn serve(
    settlements: &Settlements,
    from: PublicKey,
    mut reader: Reader,
    mut writer: Writer,
) -> Option<CloseCode> {
    let (room, mut answers) = mpsc::channel::<(u64, Answer)>(usize::from(IN_FLIGHT_MAX));
    let read = async {
        loop {
            let Ok(place) = room.clone().reserve_owned().await else {
                return None;
            };
            match reader.next().await {
                Ok(Some(message)) => match job(from, message, place) {
                    Ok(job) => settlements.submit(job),
                    Err(code) => return Some(code),
                },
                Ok(None) => return None,
                Err(ReadError::Gone(_)) => return None,
                Err(ReadError::Deadline) => return Some(CloseCode::TIMEOUT),
                Err(_) => return Some(CloseCode::PROTOCOL),
            }
        }
    };
    let write = async {
        let mut batch = Vec::new();
        while answers.recv_many(&mut batch, WRITE_LEN).await > 0 {
            for (number, answer) in batch.drain(..) {
                writer.queue(&reply(number, answer));
            }
            match writer.flush().await {
                Ok(()) => {}
                // A stream that its owner gave up concerns nobody else.
                Err(WriteError::Gone(_)) => return None,
                Err(WriteError::Deadline) => return Some(CloseCode::SLOW),
            }
        }
        None
    };
    // Answers still due when the peer has finished sending are written before the stream ends.
    tokio::pin!(write);
    let ended = tokio::select! {
        ended = read => ended,
        ended = &mut write => return ended,
    };
    if ended.is_some() {
        return ended;
    }
    drop(room);
    write.await
}

/// The job in a message; a malformed one is answered at once and makes no job.
fn job(
    from: PublicKey,
    message: Message,
    place: mpsc::OwnedPermit<(u64, Answer)>,
) -> Result<Job, CloseCode> {
    let (number, ask) = match message {
        Message::Submit(submit) => (submit.number, order(&submit)),
        Message::SubmitVoid(submit) => (submit.number, void(&submit)),
        _ => return Err(CloseCode::PROTOCOL),
    };
    let reply = Reply::new(number, place);
    Ok(Job {
        from,
        ask: ask.unwrap_or_else(Ask::Malformed),
        reply,
    })
}

fn order(submit: &Submit) -> Result<Ask, Reason> {
    let order = SignedOrder::from_bytes(&submit.order).map_err(|_| Reason::ENCODING)?;
    let decline = submit
        .decline
        .as_deref()
        .map(|bytes| SignedDecline::from_bytes(bytes));
    // A decline that cannot be read says nothing about the order.
    let decline = decline.transpose().map_err(|_| Reason::BAD_DECLINE)?;
    Ok(Ask::Order(order, decline))
}

fn void(submit: &SubmitVoid) -> Result<Ask, Reason> {
    SignedVoid::from_bytes(&submit.void)
        .map(Ask::Void)
        .map_err(|_| Reason::ENCODING)
}

fn reply(number: u64, answer: Answer) -> Message {
    match answer {
        Answer::Settled(receipt) => Settled { number, receipt }.into(),
        Answer::Voided(receipt) => Voided { number, receipt }.into(),
        Answer::Refused(reason, receipt) => SubmitRefused {
            number,
            reason,
            receipt,
        }
        .into(),
        // Nothing else answers an order or a void.
        _ => SubmitRefused {
            number,
            reason: Reason::BUSY,
            receipt: None,
        }
        .into(),
    }
}

/// Most answers in one write, some 64 KiB: more would cost every stream memory and save nothing.
const WRITE_LEN: usize = 64;
