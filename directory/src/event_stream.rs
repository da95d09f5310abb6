//! The event stream: what concerns an account, the past since an entry first, then as it happens;
//! and, if wanted, who comes and goes.

use quid_common::wire::{
    self, CaughtUp, CloseCode, Lagged, Message, Online, PAGE_LEN_MAX, Subscribe,
};
use tokio::sync::broadcast;

use crate::events::Moved;
use crate::member::{Directory, Member};
use crate::presence::Change;
use crate::settlement::{Answer, Ask};
use crate::shed::Cause;
use crate::stream::{ReadError, Reader, WriteError, Writer};

/// Serves an event stream until either side ends it.
pub async fn serve(
    directory: &Directory,
    member: &Member,
    wanted: &Subscribe,
    mut reader: Reader,
    mut writer: Writer,
) -> Option<CloseCode> {
    tokio::select! {
        sent = send(directory, member, wanted, &mut writer) => match sent {
            Err(WriteError::Deadline) => Some(CloseCode::SLOW),
            Ok(()) | Err(WriteError::Gone(_)) => None,
        },
        // The peer says nothing more on this stream: it ends it, or breaks the protocol.
        said = reader.next() => match said {
            Ok(None) => None,
            Ok(Some(_)) => Some(CloseCode::PROTOCOL),
            Err(ReadError::Deadline) => Some(CloseCode::TIMEOUT),
            Err(error) => error.reason().map(|_| CloseCode::PROTOCOL),
        },
    }
}

async fn send(
    directory: &Directory,
    member: &Member,
    wanted: &Subscribe,
    writer: &mut Writer,
) -> Result<(), WriteError> {
    // Both subscriptions begin before the current state is read, so that nothing falls between.
    let mut money = directory.hub.subscribe(member.key);
    let mut changes = if wanted.presence {
        directory.presence.watch()
    } else {
        broadcast::channel(1).1
    };
    let told = directory.settlements.durable();
    if let Some(after) = wanted.after
        && !catch_up(directory, member, after, told, writer).await?
    {
        // What could not be read now must not be skipped: the peer subscribes again.
        writer.queue(&Lagged {}.into());
        return writer.flush().await;
    }
    if wanted.presence {
        people(directory, member, writer).await?;
    }
    writer.queue(&CaughtUp { entries: told }.into());
    writer.flush().await?;
    loop {
        tokio::select! {
            moved = money.next() => match moved {
                // Told already, while catching up.
                Some(moved) if moved.index < told && wanted.after.is_some() => continue,
                Some(moved) => writer.queue(&movement(moved)),
                None => {
                    directory.sentry.shed.count(Cause::Events);
                    writer.queue(&Lagged {}.into());
                    return writer.flush().await;
                }
            },
            change = changes.recv(), if wanted.presence => match change {
                Ok(change) => writer.queue(&presence(change)),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    writer.queue(&Lagged {}.into());
                    return writer.flush().await;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
        writer.flush().await?;
    }
}

/// Tells who is online, a page at a time: a copy of all of them would be too much to hold for a
/// stream that is read slowly. Whoever comes or goes meanwhile is told of afterwards.
async fn people(
    directory: &Directory,
    member: &Member,
    writer: &mut Writer,
) -> Result<(), WriteError> {
    let mut after = None;
    loop {
        pace(directory, member, PAGE_COST).await;
        let (page, more) = directory
            .presence
            .page(after.as_ref(), usize::from(PAGE_LEN_MAX));
        after = page.last().map(|person| person.name.clone());
        for person in page {
            writer.queue(&Online { person }.into());
        }
        writer.flush().await?;
        if !more {
            return Ok(());
        }
    }
}

/// Waits until the account's rate has room for another page.
async fn pace(directory: &Directory, member: &Member, cost: u32) {
    while directory.sentry.question(&member.key, cost).await.is_err() {}
}

/// Tells every movement on the account above `after` and below `end`, oldest first; false if one
/// could not be read now.
async fn catch_up(
    directory: &Directory,
    member: &Member,
    after: u64,
    end: u64,
    writer: &mut Writer,
) -> Result<bool, WriteError> {
    let mut after = after;
    loop {
        pace(directory, member, 1).await;
        let page = directory
            .history
            .after(&directory.settlements, member.key, after, end);
        let Some(page) = page.await else {
            return Ok(false);
        };
        let Some(&last) = page.last() else {
            return Ok(true);
        };
        for index in page {
            let answer = directory
                .settlements
                .ask(member.key, Ask::Moved(index))
                .await;
            let Answer::Moved(moved) = answer else {
                return Ok(false);
            };
            writer.queue(&movement(moved));
        }
        writer.flush().await?;
        after = last;
    }
}

fn movement(moved: Moved) -> Message {
    wire::Moved {
        receipt: moved.receipt,
        counterparty: moved.counterparty,
    }
    .into()
}

fn presence(change: Change) -> Message {
    match change {
        Change::Online(person) => Online { person }.into(),
        Change::Offline { name, key } => wire::Offline { name, key }.into(),
    }
}

/// How many questions a page of people is worth: as many as one of [`wire::Who`].
const PAGE_COST: u32 = 41;
