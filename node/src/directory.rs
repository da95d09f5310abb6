//! The client's side of the directory connection.

use quid_common::amount::Currency;
use quid_common::id::LedgerId;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use thiserror::Error;

use crate::journal::JournalError;

/// What the directory said when this node logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account's name.
    pub name: Name,
    /// What is counted.
    pub currency: Currency,
    /// The ledger.
    pub ledger: LedgerId,
    /// The address from which the directory sees this node, HOST:PORT.
    pub address: String,
}

/// Why a request to the directory has no answer. No money moves by a request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// Nobody answered at the directory's address in time, or somebody with another key. Try again
    /// later.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// The directory said no.
    #[error("refused: {0}")]
    Refused(Reason),
    /// The home's key has no account at this directory. Register it first.
    #[error("this key has no account at the directory; register a name first")]
    NotRegistered,
    /// The directory, though it proved its key, did not keep to the protocol. Its fault; worth
    /// reporting.
    #[error("the directory broke the protocol: {0}")]
    Protocol(String),
    /// The home's files cannot be read or written.
    #[error("{0}")]
    Local(String),
}

impl From<JournalError> for RequestError {
    fn from(error: JournalError) -> Self {
        Self::Local(error.to_string())
    }
}
