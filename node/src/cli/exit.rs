//! The exit codes that scripts rely on.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// How a command ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: anything that no other code says.
    Other,
    /// 2: an argument cannot be parsed, or the amount is zero; nothing was sent.
    Usage,
    /// 3: refused by the directory, by the payee or known locally.
    Refused,
    /// 4: whether it happened is not known yet.
    Unknown,
    /// 5: a verification failed.
    Unverified,
    /// 6: the directory cannot be reached; nothing was sent.
    Unreachable,
    /// 7: local files or a lock.
    Files,
}

impl Exit {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::Other,
        Self::Usage,
        Self::Refused,
        Self::Unknown,
        Self::Unverified,
        Self::Unreachable,
        Self::Files,
    ];
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::Other => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unknown => 4,
            Exit::Unverified => 5,
            Exit::Unreachable => 6,
            Exit::Files => 7,
        }
    }
}

impl TryFrom<u8> for Exit {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|exit| u8::from(*exit) == code)
            .ok_or_else(|| format!("{code} is no exit code"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}
