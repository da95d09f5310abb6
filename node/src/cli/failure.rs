//! Why a command did not end well, in words for people and codes for scripts.

use std::fmt;

use quid_common::amount::AmountError;
use quid_common::printable::Printable;
use quid_common::refusal::Reason;
use quid_node::{ConnectError, HomeError, RequestError, StartError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::exit::Exit;
use super::item::Item;
use super::screen::Tone;
use super::words::{Words, refused};

/// Why a command ended before its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is something to say.
    Told(Box<Report>),
    /// Nobody reads the results any more; there is nothing to say and nobody to say it to.
    Gone,
}

/// What is said about a failure: exit code, code-name, and one line for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The exit code.
    pub(crate) exit: Exit,
    /// A stable word for scripts.
    pub(crate) error: String,
    /// What happened, why, and what to do: one line.
    pub(crate) message: String,
    /// The same in the words of the wallet's page. Whoever is told over a socket has none.
    #[serde(skip)]
    page: Option<String>,
    /// The result that tells the failure in full, `error` and `message` in it.
    pub(crate) item: Option<Item>,
}

impl Report {
    /// A failure that has no result of its own.
    pub(crate) fn new(exit: Exit, error: &str, message: impl Into<Words>) -> Self {
        let mut report = Self {
            exit,
            error: error.to_owned(),
            message: String::new(),
            page: None,
            item: None,
        };
        report.say(message);
        report
    }

    /// Says this and nothing else.
    pub(crate) fn say(&mut self, message: impl Into<Words>) {
        let words = message.into();
        self.message = words.for_command();
        self.page = Some(words.for_page());
    }

    /// The line for the wallet's page.
    pub(crate) fn for_page(&self) -> &str {
        self.page.as_ref().unwrap_or(&self.message)
    }

    /// What people read on stdout though it failed: what is known all the same.
    pub(crate) const fn table(&self) -> Option<&Item> {
        match &self.item {
            Some(item @ Item::Status(_)) => Some(item),
            _ => None,
        }
    }

    /// How the line for people is coloured.
    pub(crate) const fn tone(&self) -> Tone {
        match self.exit {
            Exit::Unknown => Tone::Open,
            _ => Tone::Bad,
        }
    }

    /// The last line of JSON: `error` and `message`, with the result's own fields if there is one.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            error: &'a str,
            message: &'a str,
        }
        match &self.item {
            Some(item) => item.to_json(),
            None => super::item::json_line(&Line {
                error: &self.error,
                message: &self.message,
            }),
        }
    }
}

impl fmt::Display for Report {
    /// The line for people. An outcome speaks for itself; anything else says who speaks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit {
            Exit::Refused | Exit::Unknown | Exit::Unverified => {}
            _ => f.write_str("quid: ")?,
        }
        f.write_str(&one_line(&self.message))
    }
}

/// `message` on one line with nothing that a terminal acts on, whatever is quoted in it. The
/// backslashes of parts that were made visible before stay single.
pub(crate) fn one_line(message: &str) -> String {
    let parts: Vec<String> = message
        .split('\\')
        .map(|part| Printable(part).to_string())
        .collect();
    parts.join("\\")
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Told(Box::new(report))
    }
}

impl From<Box<Report>> for Failure {
    fn from(report: Box<Report>) -> Self {
        Self::Told(report)
    }
}

impl Failure {
    /// An argument that only the directory's currency or the home could judge.
    pub(crate) fn usage(message: impl Into<Words>) -> Self {
        Report::new(Exit::Usage, "usage", message).into()
    }

    /// Trouble with local files.
    pub(crate) fn files(message: impl Into<Words>) -> Self {
        Report::new(Exit::Files, "files", message).into()
    }

    /// Anything that no other code says.
    pub(crate) fn other(error: &str, message: impl Into<Words>) -> Self {
        Report::new(Exit::Other, error, message).into()
    }
}

impl From<AmountError> for Failure {
    fn from(error: AmountError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let code = match &error {
            HomeError::Held { .. } => "held",
            _ => "files",
        };
        Report::new(Exit::Files, code, error.to_string()).into()
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Home(error) => error.into(),
            error => Self::other("start", error.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Start(error) => error.into(),
            error => Report::new(Exit::Unreachable, "unreachable", error.to_string()).into(),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        report(error).into()
    }
}

/// What is said when a request has no answer.
pub(crate) fn report(error: RequestError) -> Report {
    match error {
        RequestError::Unreachable(_) => Report::new(
            Exit::Unreachable,
            "unreachable",
            format!("{error}; nothing was sent for this"),
        ),
        RequestError::Refused(reason) => Report::new(Exit::Refused, reason.name(), refused(reason)),
        RequestError::NotRegistered => Report::new(
            Exit::Refused,
            Reason::NOT_REGISTERED.name(),
            refused(Reason::NOT_REGISTERED),
        ),
        RequestError::Protocol(_) => Report::new(Exit::Other, "protocol", error.to_string()),
        RequestError::Local(message) => Report::new(Exit::Files, "files", message),
    }
}

/// A text as it may stand in a message: on one line, and not longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", Printable::short(text, QUOTED_MAX))
}

/// How many characters of a foreign text are repeated in a message.
const QUOTED_MAX: usize = 60;

/// Nobody takes the results any more.
#[derive(Clone, Copy, Debug, Error)]
#[error("nobody takes the results any more")]
pub(crate) struct Gone;

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}
