//! What people are told about what went wrong, in the words of whoever tells it.
//!
//! What happened and why is the same everywhere. What to do is not: a command line names commands, and
//! the wallet's page names what is on the page. [`Advice`] has both, so that neither is forgotten.

use std::borrow::Cow;

use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use quid_common::request::LinkError;
use quid_common::time::LedgerTime;

use super::human::clock;
use super::item::rfc3339;

/// What happened, and what to do about it if anything can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    what: String,
    advice: Option<Advice>,
}

impl Words {
    /// One line for a command line.
    pub(crate) fn for_command(&self) -> String {
        self.with(Advice::for_command)
    }

    /// The same line for the wallet's page.
    pub(crate) fn for_page(&self) -> String {
        self.with(|advice| advice.for_page().into())
    }

    fn with(&self, say: impl Fn(&Advice) -> Cow<'static, str>) -> String {
        let advice = self.advice.as_ref().map(say).unwrap_or_default();
        format!("{}{advice}", self.what)
    }
}

impl From<String> for Words {
    fn from(what: String) -> Self {
        Self { what, advice: None }
    }
}

impl From<&str> for Words {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Take a name at the directory.
    Register,
    /// Show the invite code.
    Invite,
    /// Take another name.
    OtherName,
    /// Look which name this key has.
    OwnName,
    /// Look how much there is.
    Balance,
    /// Look at the name again.
    Spelling,
    /// Have the account thawed.
    Thaw,
    /// Take the account back.
    Recover,
    /// Pay by a new order.
    PayAnew,
    /// Ask whoever is paid about their new key, and accept it.
    AcceptKey,
    /// Ask about this order, or cancel it.
    AskOrVoid(OrderId),
    /// Cancel this order again.
    VoidAgain(OrderId),
    /// Ask whether the tab is open before another one is opened.
    AskForTab,
    /// Close this tab.
    CloseTab(OrderId),
    /// Look which tabs are open.
    OpenTabs,
    /// Open another tab.
    AnotherTab,
    /// Pay an entry back.
    PayBack(u64),
    /// Cancel the request again.
    CancelAgain,
    /// Read what the home itself has heard, up to this time, and ask the directory later.
    OfItself(Option<LedgerTime>),
}

impl Advice {
    /// This, said after what happened.
    pub(crate) fn after(self, what: impl Into<String>) -> Words {
        Words {
            what: what.into(),
            advice: Some(self),
        }
    }

    /// What to do about a refusal, if anything can be done.
    const fn about(reason: Reason) -> Option<Self> {
        Some(match reason {
            Reason::NOT_REGISTERED => Self::Register,
            Reason::UNINVITED => Self::Invite,
            Reason::NAME_TAKEN | Reason::NAME_LOOKS_TAKEN | Reason::NAME_RESERVED => {
                Self::OtherName
            }
            Reason::ALREADY_REGISTERED => Self::OwnName,
            Reason::INSUFFICIENT_FUNDS => Self::Balance,
            Reason::UNKNOWN_ACCOUNT => Self::Spelling,
            Reason::FROZEN | Reason::ACCOUNT_FROZEN => Self::Thaw,
            Reason::KEY_REPLACED => Self::Recover,
            Reason::EXPIRED => Self::PayAnew,
            _ => return None,
        })
    }

    /// What a command line says, with what joins it to what happened.
    fn for_command(&self) -> Cow<'static, str> {
        match self {
            Self::Register => ": `quid register NAME`".into(),
            Self::Invite => ": `quid register NAME --invite CODE`".into(),
            Self::OwnName => "; `quid status` shows it".into(),
            Self::Balance => "; `quid status` shows the balance".into(),
            Self::Thaw => {
                "; its recovery key thaws what its keys froze, or ask the operator of the directory"
                    .into()
            }
            Self::Recover => {
                "; if that was not you: `quid key recover` with the recovery key".into()
            }
            Self::AcceptKey => "; ask them whether they have a new key, then \
                                `quid key accept NAME` shows how it changed"
                .into(),
            Self::AskOrVoid(order) => format!(
                "; ask again with `quid receipt show {order}` or cancel it with `quid void {order}`"
            )
            .into(),
            Self::VoidAgain(order) => format!("; run `quid void {order}` again").into(),
            Self::AskForTab => "; `quid tab list` asks and shows it: open no other for the same \
                                purpose before that"
                .into(),
            Self::CloseTab(tab) => format!("; run `quid tab close {tab}` again").into(),
            Self::OpenTabs => "; `quid tab list` shows the open ones".into(),
            Self::AnotherTab => "; open another with `quid tab open`".into(),
            Self::PayBack(entry) => format!("; `quid refund {entry}` pays it back").into(),
            Self::CancelAgain => "; run the same command again to see".into(),
            Self::OfItself(heard) => {
                let heard = heard.map(|time| format!(", as of {}", clock(&rfc3339(time))));
                format!(
                    "; this is what this home knows by itself{}: the directory may know more",
                    heard.unwrap_or_default()
                )
                .into()
            }
            Self::OtherName | Self::Spelling | Self::PayAnew => self.for_page().into(),
        }
    }

    /// What the wallet's page says: of what is on it, or, where only a terminal will do, that.
    const fn for_page(&self) -> &'static str {
        match self {
            Self::Register => "; take a name first",
            Self::Invite => ": write it here",
            Self::OtherName => "; choose another name",
            Self::OwnName => "; open this page anew to see it",
            Self::Balance => "; \"Wallet\" shows the balance",
            Self::Spelling => "; check the spelling",
            Self::Thaw => {
                "; ask the operator of the directory, or thaw what its keys froze with its recovery \
                 key, in a terminal"
            }
            Self::Recover => {
                "; if that was not you, take the account back with its recovery key, in a terminal"
            }
            Self::PayAnew => "; pay again if it is still wanted",
            Self::AcceptKey => {
                "; ask them, some other way than this, whether they have a new key: a terminal shows \
                 how it changed and accepts it, and until then this wallet pays them nothing"
            }
            Self::AskOrVoid(_) => {
                "; your node goes on asking, and the end shows here: do not pay again, or cancel it"
            }
            Self::VoidAgain(_) => "; cancel it again, or wait: the end shows here",
            Self::AskForTab => {
                "; your node goes on asking, and the end shows here: open no other for the same \
                 purpose before that"
            }
            Self::CloseTab(_) => "; close it again under \"Wallet\"",
            Self::OpenTabs => "; \"Wallet\" shows the open ones",
            Self::AnotherTab => "; open another under \"Wallet\"",
            Self::PayBack(_) => "; it can be paid back from its receipt",
            Self::CancelAgain => "; cancel it again to see",
            Self::OfItself(_) => "; your node goes on trying",
        }
    }
}

/// `refused: ` and why, and what to do if anything can be done.
pub(crate) fn refused(reason: Reason) -> Words {
    if reason.name() == "unrecognised" {
        return format!("refused: {reason} (number {})", reason.0).into();
    }
    Words {
        what: format!("refused: {reason}"),
        advice: Advice::about(reason),
    }
}

/// What the page says of a text that is no link to a request.
pub(crate) fn no_link(error: &LinkError) -> String {
    match error {
        LinkError::DirectoryAddress => {
            "this is the address of a directory, and asks for nothing: paste the link that you were \
             sent, which goes on after it"
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    fn all() -> Vec<Advice> {
        let id: OrderId = "019aab12-3456-7abc-8def-0123456789ab"
            .parse()
            .expect("an id");
        vec![
            Advice::AcceptKey,
            Advice::AskOrVoid(id),
            Advice::VoidAgain(id),
            Advice::AskForTab,
            Advice::CloseTab(id),
            Advice::OpenTabs,
            Advice::AnotherTab,
            Advice::OfItself(None),
            Advice::OfItself(Some(LedgerTime::from_millis(1_763_000_000_123))),
        ]
    }

    #[test]
    fn the_page_names_no_command_and_a_command_line_nothing_of_the_page() {
        let of_reasons = Reason::ALL.iter().map(|reason| refused(*reason));
        let others = all().into_iter().map(|advice| advice.after("this"));
        for words in of_reasons.chain(others) {
            let (command, page) = (words.for_command(), words.for_page());
            let advice = |line: &str| line.strip_prefix(&words.what).map(str::to_owned);
            let (command, page) = (advice(&command), advice(&page));
            let (command, page) = command.zip(page).expect("what happened comes first");
            for part in ["`", "quid ", "--", "NAME", "run "] {
                assert!(!page.contains(part), "{page}");
            }
            for part in ["\"", "here", "page"] {
                assert!(!command.contains(part), "{command}");
            }
        }
        let page = no_link(&LinkError::DirectoryAddress);
        assert!(!page.contains("quid"), "{page}");
        assert_eq!(no_link(&LinkError::Tail), LinkError::Tail.to_string());
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do_where_it_is_read() {
        let words = refused(Reason::NOT_REGISTERED);
        let what = "refused: this key has no account; register it first";
        assert_eq!(words.for_command(), format!("{what}: `quid register NAME`"));
        assert_eq!(words.for_page(), format!("{what}; take a name first"));
        // Of a later version: its number is all that is known.
        let words = refused(Reason(60_000));
        assert!(words.for_page().ends_with("(number 60000)"), "{words:?}");
        assert_eq!(words.for_page(), words.for_command());
    }
}
