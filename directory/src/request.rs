//! Single requests of a member: one message, one answer, one stream.

use quid_common::id::Digest;
use quid_common::refusal::Reason;
use quid_common::wire::{
    AskConsistency, AskHistory, Balance, CloseCode, Consistency, Fate, Find, Found, Message,
    PAGE_LEN_MAX, Proof, Refused, TabStanding, Who, WhoPage,
};

use crate::keys;
use crate::member::{Directory, Member, refused};
use crate::sentry::FROZEN_COST;
use crate::settlement::{Answer, Ask};
use crate::stream::Writer;

/// Answers `message`; says how to close the connection if the peer does not read.
pub async fn answer(
    directory: &Directory,
    member: &Member,
    message: Message,
    writer: Writer,
) -> Option<CloseCode> {
    let is_frozen = directory.hub.is_frozen(&member.key);
    let cost = cost(&message).saturating_mul(if is_frozen { FROZEN_COST } else { 1 });
    if let Err(reason) = directory.sentry.question(&member.key, cost).await {
        return tell(writer, &Refused { reason }.into()).await;
    }
    let answer = match message {
        Message::Who(who) => page_of_who(directory, &who),
        Message::Find(find) => found(directory, member, find).await,
        Message::AskBalance(_) => balance(directory, member).await,
        Message::AskHistory(ask) => history(directory, member, &ask).await,
        Message::AskFate(ask) => {
            match directory
                .settlements
                .ask(member.key, Ask::Fate(ask.payer, ask.id))
                .await
            {
                Answer::Fate(receipt, time) => Fate { receipt, time }.into(),
                answer => refused(&answer).into(),
            }
        }
        Message::AskTab(ask) => {
            let question = Ask::OpenTab(ask.payer, ask.id);
            match directory.settlements.ask(member.key, question).await {
                Answer::OpenTab(tab, time) => TabStanding { tab, time }.into(),
                answer => refused(&answer).into(),
            }
        }
        Message::Prove(prove) => {
            match directory
                .settlements
                .ask(member.key, Ask::Prove(prove.entry))
                .await
            {
                Answer::Done(proof) => Proof {
                    receipt: proof.into_receipt(),
                }
                .into(),
                answer => refused(&answer).into(),
            }
        }
        Message::AskConsistency(ask) => consistency(directory, member, &ask).await,
        message @ (Message::ChangeKeys(_) | Message::AskKeys(_) | Message::AskSuccessor(_)) => {
            keys::answer(directory, member.key, message).await
        }
        Message::Register(_) | Message::Login(_) => Refused {
            reason: Reason::OUT_OF_TURN,
        }
        .into(),
        _ => Refused {
            reason: Reason::UNKNOWN_KIND,
        }
        .into(),
    };
    tell(writer, &answer).await
}

/// How many plain questions `message` is worth, by the work of answering it.
fn cost(message: &Message) -> u32 {
    let page = |limit: u16| 1 + u32::from(limit.clamp(1, PAGE_LEN_MAX)) / LINES_PER_QUESTION;
    match message {
        Message::Who(who) => page(who.limit),
        Message::AskHistory(ask) => page(ask.limit),
        Message::AskConsistency(_) => CONSISTENCY_COST,
        _ => 1,
    }
}

async fn tell(writer: Writer, answer: &Message) -> Option<CloseCode> {
    match writer.finish_with(answer).await {
        Ok(()) | Err(crate::stream::WriteError::Gone(_)) => None,
        Err(crate::stream::WriteError::Deadline) => Some(CloseCode::SLOW),
    }
}

fn page_of_who(directory: &Directory, who: &Who) -> Message {
    let limit = usize::from(who.limit.clamp(1, PAGE_LEN_MAX));
    let (people, more) = directory.presence.page(who.after.as_ref(), limit);
    WhoPage { people, more }.into()
}

async fn found(directory: &Directory, member: &Member, find: Find) -> Message {
    let address = directory
        .presence
        .find(&find.name)
        .map(|address| address.to_string());
    match directory
        .settlements
        .ask(member.key, Ask::Find(find.name))
        .await
    {
        Answer::Key(key) => Found { key, address }.into(),
        answer => refused(&answer).into(),
    }
}

async fn consistency(directory: &Directory, member: &Member, ask: &AskConsistency) -> Message {
    let question = Ask::Consistency(ask.from, ask.to);
    match directory.settlements.ask(member.key, question).await {
        Answer::Consistency(root, proof) => Consistency {
            root: Digest(root),
            proof: proof.into(),
        }
        .into(),
        answer => refused(&answer).into(),
    }
}

async fn balance(directory: &Directory, member: &Member) -> Message {
    match directory.settlements.ask(member.key, Ask::Balance).await {
        Answer::Account(standing) => Balance {
            available: standing.account.available,
            held: standing.account.held,
            time: standing.time,
        }
        .into(),
        answer => refused(&answer).into(),
    }
}

async fn history(directory: &Directory, member: &Member, ask: &AskHistory) -> Message {
    let end = directory.settlements.durable();
    match directory
        .history
        .page(&directory.settlements, member.key, ask, end)
        .await
    {
        Some(page) => page.into(),
        None => Refused {
            reason: Reason::BUSY,
        }
        .into(),
    }
}

/// Lines of a page that count as one question.
const LINES_PER_QUESTION: u32 = 5;

/// A consistency proof reads up to a hundred nodes of the tree from the disk.
const CONSISTENCY_COST: u32 = 5;
