//! What a node can be asked to do, in this process or over the local socket.

use std::time::Duration;

use quid_common::id::{OrderId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::request::{RequestId, RequestLink};
use quid_node::Intent;
use serde::{Deserialize, Serialize};

use super::value::{AmountText, ReceiptName};

/// One thing asked of a node. Every part has been checked when there is a `Request`, also when it
/// came over the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Register {
        name: Name,
        #[serde(default)]
        invite: Option<String>,
        #[serde(default, with = "optional_text")]
        recovery: Option<PublicKey>,
    },
    Status,
    Who {
        watch: bool,
    },
    Pay(PayRequest),
    Ask(AskRequest),
    Requests {
        limit: u32,
    },
    Cancel {
        #[serde(with = "text")]
        request: RequestId,
    },
    Prospect {
        #[serde(with = "text")]
        link: RequestLink,
    },
    PayLink(PayLinkRequest),
    Refund(RefundRequest),
    Void {
        #[serde(with = "text")]
        order: OrderId,
    },
    History {
        limit: usize,
        after: Option<u64>,
    },
    Receipt {
        #[serde(with = "text")]
        which: ReceiptName,
    },
    OpenTab(OpenTabRequest),
    Tabs,
    PayTab(PayTabRequest),
    CloseTab {
        #[serde(with = "text")]
        tab: OrderId,
    },
}

/// A tab asked of a node. The node judges what `units` and times have no value of their own for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenTabRequest {
    pub(crate) payee: Name,
    #[serde(with = "text")]
    pub(crate) unit: AmountText,
    pub(crate) units: u32,
    pub(crate) expires: Duration,
    pub(crate) grace: Duration,
    pub(crate) memo: Memo,
    #[serde(with = "optional_text")]
    pub(crate) reference: Option<Reference>,
    pub(crate) wait: Duration,
    /// What opens one tab, however often it is asked.
    #[serde(default, with = "optional_text")]
    pub(crate) intent: Option<Intent>,
}

/// A payment on a tab asked of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PayTabRequest {
    #[serde(with = "text")]
    pub(crate) tab: OrderId,
    pub(crate) units: u32,
    pub(crate) wait: Duration,
}

/// A payment asked of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PayRequest {
    pub(crate) payee: Name,
    #[serde(with = "text")]
    pub(crate) amount: AmountText,
    pub(crate) memo: Memo,
    #[serde(with = "optional_text")]
    pub(crate) reference: Option<Reference>,
    pub(crate) wait: Duration,
    /// What pays once, however often it is asked.
    #[serde(default, with = "optional_text")]
    pub(crate) intent: Option<Intent>,
}

/// A request to be paid asked of a node. An amount alone is what is wanted, an amount and units are
/// a tab's, and neither leaves it to the payer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AskRequest {
    #[serde(with = "optional_text")]
    pub(crate) amount: Option<AmountText>,
    pub(crate) units: Option<u32>,
    pub(crate) memo: Memo,
    pub(crate) life: Duration,
    pub(crate) once: bool,
    pub(crate) wait: bool,
}

/// The payment of a request asked of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PayLinkRequest {
    #[serde(with = "text")]
    pub(crate) link: RequestLink,
    #[serde(with = "optional_text")]
    pub(crate) amount: Option<AmountText>,
    pub(crate) memo: Option<Memo>,
    pub(crate) again: bool,
    pub(crate) wait: Duration,
}

/// A refund asked of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RefundRequest {
    pub(crate) entry: u64,
    pub(crate) memo: Memo,
    pub(crate) wait: Duration,
}

impl Request {
    /// What is being done, for the progress line.
    pub(crate) fn progress(&self) -> String {
        match self {
            Self::Register { name, .. } => format!("registering {name}"),
            Self::Pay(pay) => format!("paying {}", pay.payee),
            Self::PayLink(pay) => format!("paying {}", pay.link.request().name),
            Self::Refund(_) => "paying back".to_owned(),
            Self::Ask(AskRequest { wait: true, .. }) => "waiting to be paid".to_owned(),
            Self::Void { .. } => "voiding".to_owned(),
            Self::OpenTab(open) => format!("opening a tab for {}", open.payee),
            Self::PayTab(_) => "paying on the tab".to_owned(),
            Self::CloseTab { .. } => "closing the tab".to_owned(),
            Self::Status
            | Self::Who { .. }
            | Self::History { .. }
            | Self::Receipt { .. }
            | Self::Ask(_)
            | Self::Requests { .. }
            | Self::Cancel { .. }
            | Self::Prospect { .. }
            | Self::Tabs => "asking the directory".to_owned(),
        }
    }

    /// Whether this needs no session with the directory before it starts.
    pub(crate) const fn starts_offline(&self) -> bool {
        matches!(
            self,
            Self::Register { .. } | Self::Receipt { .. } | Self::Tabs | Self::PayTab(_)
        )
    }

    /// Whether this goes on until it is stopped.
    pub(crate) const fn is_endless(&self) -> bool {
        matches!(self, Self::Who { watch: true })
    }

    /// Longest time between two answers of a listener that is alive; none for what waits for
    /// others to move.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Who { watch: true } | Self::Ask(AskRequest { wait: true, .. }) => None,
            Self::Pay(PayRequest { wait, .. })
            | Self::PayLink(PayLinkRequest { wait, .. })
            | Self::Refund(RefundRequest { wait, .. })
            | Self::OpenTab(OpenTabRequest { wait, .. })
            | Self::PayTab(PayTabRequest { wait, .. }) => Some(wait.saturating_add(PATIENCE)),
            _ => Some(PATIENCE),
        }
    }
}

/// Longest time that a listener needs for anything but a payment's own wait: it finds the
/// directory within 5 s or says so, and a page of people or history takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serialises what has one text as that text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Display,
        S: Serializer,
    {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Serialises what has one text, if it is there, as that text.
mod optional_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Display,
        S: Serializer,
    {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(deserializer)?
            .map(|text| text.parse().map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAB: &str = "019aab12-3456-7abc-8def-0123456789ab";

    #[test]
    fn a_request_survives_the_socket() {
        for request in [
            Request::Status,
            Request::Who { watch: true },
            Request::Pay(PayRequest {
                payee: "bob".parse().expect("a name"),
                amount: "1.5".parse().expect("an amount"),
                memo: Memo::new("tea\u{1b}[m").expect("short"),
                reference: Some(Reference([7; 16])),
                wait: Duration::from_secs(3),
                intent: Some("ab".repeat(16).parse().expect("an intent")),
            }),
            Request::Receipt {
                which: ReceiptName::Entry(12),
            },
            Request::OpenTab(OpenTabRequest {
                payee: "bob".parse().expect("a name"),
                unit: "0.000001".parse().expect("an amount"),
                units: 50_000,
                expires: Duration::from_secs(3_600),
                grace: Duration::from_secs(60),
                memo: Memo::default(),
                reference: None,
                wait: Duration::from_secs(3),
                intent: Some("cd".repeat(16).parse().expect("an intent")),
            }),
            Request::Tabs,
            Request::Cancel {
                request: TAB.parse().expect("an id"),
            },
            Request::PayTab(PayTabRequest {
                tab: TAB.parse().expect("an id"),
                units: 300,
                wait: Duration::from_secs(3),
            }),
            Request::CloseTab {
                tab: TAB.parse().expect("an id"),
            },
        ] {
            let line = serde_json::to_string(&request).expect("plain data");
            let back: Request = serde_json::from_str(&line).expect("own encoding");
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn a_request_with_a_bad_part_is_refused() {
        for line in [
            r#"{"register":{"name":"B"}}"#,
            r#"{"register":{}}"#,
            r#"{"pay":{"payee":"bob","amount":"1e3","memo":"","reference":null,"wait":{"secs":1,"nanos":0}}}"#,
            r#"{"pay":{"payee":"bob","amount":"0","memo":"","reference":null,"wait":{"secs":1,"nanos":0}}}"#,
            r#"{"void":{"order":"12"}}"#,
            r#"{"close_tab":{"tab":"12"}}"#,
            r#"{"pay_tab":{"tab":"12","units":1,"wait":{"secs":1,"nanos":0}}}"#,
            r#"{"pay_tab":{"tab":"019aab12-3456-7abc-8def-0123456789ab","units":-1,"wait":{"secs":1,"nanos":0}}}"#,
            r#"{"steal":{}}"#,
            "",
        ] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }
}
