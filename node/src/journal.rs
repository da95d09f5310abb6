//! The node's journal.

use thiserror::Error;

/// Why the journal cannot be read or written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JournalError {
    /// The file or its content is not usable.
    #[error("{0}")]
    Broken(String),
}
