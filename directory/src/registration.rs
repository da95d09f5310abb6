//! Registration: who may tie a key to a name, and how often that may be tried.

use std::net::SocketAddr;
use std::sync::Arc;

use quid_common::entry;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::wire::{Message, Refused, Register, Registered};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::invites::Invites;
use crate::limits::Admission;
use crate::member::{Directory, refused};
use crate::settlement::{Answer, Ask};
use crate::shed::Cause;

/// The invite codes, for one registration at a time: between the note of a use and its being taken
/// back nobody else may rest on it.
#[derive(Clone, Debug)]
pub struct Door(Arc<Mutex<Invites>>);

impl Door {
    /// Lets in whom `invites` lets in.
    #[must_use]
    pub fn new(invites: Invites) -> Self {
        Self(Arc::new(Mutex::new(invites)))
    }
}

/// Answers a stranger at `peer`, who has proved `key` and wants to register.
pub async fn answer(
    directory: &Directory,
    key: PublicKey,
    peer: SocketAddr,
    message: Register,
) -> Message {
    let refuse = |reason| Message::from(Refused { reason });
    let Ok(registration) = Signed::<entry::Registration>::from_bytes(&message.registration) else {
        return refuse(Reason::ENCODING);
    };
    if let Err(reason) = directory.sentry.try_registration(peer.ip()) {
        return refuse(reason);
    }
    let name = registration.statement().name.clone();
    let asked = ask(directory.clone(), key, registration, message.invite);
    let answer = if directory.sentry.admission() == Admission::Invite {
        // Goes on when the stranger leaves: what was begun with a code is brought to its end.
        tokio::spawn(asked).await
    } else {
        Ok(asked.await)
    };
    match answer {
        Ok(Answer::Done(proof)) => {
            let receipt = proof.into_receipt();
            info!(%name, entry = receipt.index, "registered");
            Registered { receipt }.into()
        }
        Ok(answer) => refused(&answer).into(),
        Err(error) => {
            warn!(%error, "a registration failed");
            refuse(Reason::BUSY)
        }
    }
}

/// Has the ledger register `key`, if it may. Whoever is registered is told again, whoever may
/// register now.
async fn ask(
    directory: Directory,
    key: PublicKey,
    registration: Signed<entry::Registration>,
    invite: Option<String>,
) -> Answer {
    let sentry = &directory.sentry;
    // First, so that whoever waits for the codes is in nobody's turn.
    let invites = match sentry.admission() {
        Admission::Invite => Some(Arc::clone(&directory.door.0).lock_owned().await),
        Admission::Open | Admission::Closed => None,
    };
    let _turn = sentry.turn().await;
    let refuse = |reason| Answer::Refused(reason, None);
    let register = || directory.settlements.ask(key, Ask::Register(registration));
    match (sentry.admission(), invites) {
        (Admission::Open, _) => match sentry.register() {
            Err(reason) if !is_registered(&directory, key).await => refuse(reason),
            _ => register().await,
        },
        _ if is_registered(&directory, key).await => register().await,
        (Admission::Closed, _) | (_, None) => {
            sentry.shed.count(Cause::Uninvited);
            refuse(Reason::REGISTRATION_CLOSED)
        }
        (Admission::Invite, Some(mut invites)) => {
            let Some(code) = invite else {
                sentry.shed.count(Cause::Uninvited);
                return refuse(Reason::UNINVITED);
            };
            let Answer::Account(treasury) =
                directory.settlements.ask(directory.key, Ask::Balance).await
            else {
                return refuse(Reason::BUSY);
            };
            let now = treasury.time;
            let taken = blocking(move || (invites.take(&code, &key, now), invites)).await;
            let mut invites = match taken {
                Some((Ok(Ok(())), invites)) => invites,
                Some((Ok(Err(reason)), _)) => {
                    sentry.shed.count(Cause::Uninvited);
                    return refuse(reason);
                }
                Some((Err(error), _)) => {
                    warn!(%error, "an invite code cannot be looked up");
                    return refuse(Reason::BUSY);
                }
                None => return refuse(Reason::BUSY),
            };
            let answer = register().await;
            // Only if it is certain that there is no account: the rest the next start looks at.
            if !matches!(answer, Answer::Done(_)) && is_known_absent(&directory, key).await {
                let given_back = blocking(move || invites.give_back(&key)).await;
                if let Some(Err(error)) = given_back {
                    warn!(%error, "the use of an invite code cannot be taken back");
                }
            }
            answer
        }
    }
}

async fn is_registered(directory: &Directory, key: PublicKey) -> bool {
    names(directory, key).await == Some(true)
}

async fn is_known_absent(directory: &Directory, key: PublicKey) -> bool {
    names(directory, key).await == Some(false)
}

/// Whether `key` has an account; `None` if the ledger does not say now.
async fn names(directory: &Directory, key: PublicKey) -> Option<bool> {
    match directory.settlements.ask(key, Ask::Names(vec![key])).await {
        Answer::Names(names) => Some(names.iter().any(Option::is_some)),
        _ => None,
    }
}

/// Runs `work` where it may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
