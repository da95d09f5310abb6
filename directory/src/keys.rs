//! What anybody may ask and say about the keys of accounts, before login and after: the signatures
//! in it say all.

use quid_common::account::Change;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::wire::{KeysChanged, Message, Refused, Successor};

use crate::member::{Directory, refused};
use crate::settlement::{Answer, Ask};

/// Answers a message about keys that came on a connection of the key `from`; any other with *unknown
/// kind*.
pub async fn answer(directory: &Directory, from: PublicKey, message: Message) -> Message {
    let ask = match message {
        Message::ChangeKeys(message) => match Change::from_bytes(&message.change) {
            Ok(change) => Ask::Change(change),
            Err(_) => return refusal(Reason::ENCODING),
        },
        Message::AskKeys(ask) => Ask::Keys(ask.name),
        Message::AskSuccessor(ask) => Ask::Successor(ask.key),
        _ => return refusal(Reason::UNKNOWN_KIND),
    };
    match directory.settlements.ask(from, ask).await {
        Answer::Done(proof) => KeysChanged {
            receipt: proof.into_receipt(),
        }
        .into(),
        Answer::Keys(standing) => Message::from(*standing),
        Answer::Successor(receipt) => Successor { receipt }.into(),
        answer => refused(&answer).into(),
    }
}

fn refusal(reason: Reason) -> Message {
    Refused { reason }.into()
}
