//! Why a journal cannot be read or written.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use super::file;
use super::steps::is_busy;

/// Why the journal cannot be read or written. What was asked has not happened, but for
/// [`JournalError::Failed`] and [`JournalError::Closed`], after which it may have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JournalError {
    /// There is no journal in the home.
    #[error(
        "{} is missing; restore it from a backup (without it, orders under way are forgotten), \
         or run `quid init` to start an empty one",
        .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has used this journal.
    #[error(
        "{} has format {version} and this program knows {}; use a newer quid",
        .path.display(), file::SCHEMA_VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: i32,
    },
    /// The file is no journal, or damaged.
    #[error("{} cannot be used: {reason}; move it away or restore it from a backup", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process kept the journal locked for too long. Try again.
    #[error("the journal is locked by another process; try again")]
    Busy,
    /// The disk is full. Free some space and try again.
    #[error("the disk is full; free some space and try again")]
    Full,
    /// Reading or writing failed; this process no longer uses the journal.
    #[error("the journal cannot be written: {0}; check the disk and start again")]
    Failed(String),
    /// The node has been closed.
    #[error("the node has been closed")]
    Closed,
}

impl JournalError {
    pub(super) fn at(path: &Path, reason: String) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason,
        }
    }
}

impl From<&rusqlite::Error> for JournalError {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_busy(error) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Failed(error.to_string()),
        }
    }
}
