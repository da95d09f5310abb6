//! A member: whom a session serves once it has logged in, and what all sessions work with.

use std::sync::Arc;

use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::wire::Refused;

use crate::events::Hub;
use crate::history::History;
use crate::presence::Presence;
use crate::registration::Door;
use crate::sentry::Sentry;
use crate::sessions::{InFlight, Sessions};
use crate::settlement::{Answer, Settlements};
use crate::traffic::Traffic;

/// What every session works with.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The directory's key.
    pub key: PublicKey,
    /// The way to the ledger.
    pub settlements: Settlements,
    /// Who is let in, and how often one may ask.
    pub sentry: Arc<Sentry>,
    /// The invite codes.
    pub door: Door,
    /// How many connections there are, and which were turned away.
    pub traffic: Arc<Traffic>,
    /// Who has how many sessions.
    pub sessions: Arc<Sessions>,
    /// Who is online.
    pub presence: Arc<Presence>,
    /// Who hears of money.
    pub hub: Arc<Hub>,
    /// What happened before.
    pub history: History,
}

/// Who a session that has logged in belongs to.
#[derive(Clone, Debug)]
pub struct Member {
    /// The account's key, proved by the handshake.
    pub key: PublicKey,
    /// Its name.
    pub name: Name,
    /// What of it waits for answers, on all its sessions.
    pub in_flight: Arc<InFlight>,
}

/// The refusal in an answer that is none of those hoped for.
#[must_use]
pub fn refused(answer: &Answer) -> Refused {
    let reason = match answer {
        Answer::Refused(reason, _) => *reason,
        _ => Reason::BUSY,
    };
    Refused { reason }
}
