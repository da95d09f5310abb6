//! What commands print: one type per kind of result, whose fields are the documented JSON fields.
//!
//! Amounts, ids and keys are strings here already, exactly as scripts see them; texts from others
//! are kept as they came and made visible only when they are written out.

use std::time::{Duration, SystemTime};

use quid_common::amount::{Amount, Currency};
use quid_common::printable::Printable;
use quid_common::time::LedgerTime;
use serde::{Deserialize, Serialize};

use super::requests::RequestedState;

/// Declares the items, each a struct of the given fields.
macro_rules! items {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)+ })+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub(crate) struct $name { $($(#[$attribute])* pub(crate) $field: $type,)+ }

            impl From<$name> for Item {
                fn from(item: $name) -> Self {
                    Self::$name(item)
                }
            }
        )+

        /// Any result of a command.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum Item { $($name($name),)+ }

        impl Item {
            /// The item as one line of JSON, with nothing in it that a terminal would act on.
            pub(crate) fn to_json(&self) -> String {
                match self { $(Self::$name(item) => json_line(item),)+ }
            }

            /// The item's fields, texts from others as they came.
            pub(crate) fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$name(item) => serde_json::to_value(item),)+ }
            }
        }
    };
}

items! {
    /// `init`; with a name, once that is registered too.
    Home {
        home: String,
        directory: String,
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u64>,
    }
    /// `config`
    Setting {
        key: String,
        value: Option<String>,
        source: SettingSource,
        variable: String,
    }
    /// `doctor`
    Check {
        check: String,
        state: Health,
        found: String,
        advice: Option<String>,
    }
    /// `key seal` and `key unseal`
    Sealed {
        key: String,
        sealed: bool,
    }
    /// `key status` and whatever changes that; `entry` is what said so, if anything had to be said.
    Keys {
        name: String,
        account: u64,
        key: String,
        recovery: Option<String>,
        frozen: bool,
        locked: bool,
        #[serde(default)]
        thawed_by: Vec<String>,
        entry: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contested: Option<bool>,
    }
    /// `key accept`
    Contact {
        name: String,
        pinned: String,
        key: String,
        proof: String,
        entries: Vec<u64>,
    }
    /// `register`
    Registered {
        name: String,
        key: String,
        entry: u64,
    }
    /// `status`. Without the directory there is no balance, but what it last was.
    Status {
        name: String,
        balance: Option<String>,
        held: Option<String>,
        tabs: u64,
        currency: String,
        pending: u64,
        listening: bool,
        key: String,
        directory: String,
        ledger: String,
        frozen: Option<bool>,
        locked: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery_due: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fork: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubt: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_balance: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_held: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        as_of: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// After the lines of `history` or `requests` that the home knows by itself.
    Away {
        as_of: Option<String>,
        error: String,
        message: String,
    }
    /// `who`
    Person {
        name: String,
        key: String,
        address: String,
    }
    /// `who --watch`: somebody is there, or (without address) has gone.
    Presence {
        name: String,
        key: String,
        address: Option<String>,
        online: bool,
    }
    /// `pay`, whatever the state. `error` repeats what every failure has: it is the reason, or
    /// `unknown`.
    Paid {
        state: State,
        order: Option<String>,
        entry: Option<u64>,
        amount: String,
        currency: Option<String>,
        payee: String,
        route: Option<Route>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refunds: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        earlier: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `request`, and in a line of `requests` how it stands. `file` is the picture of its code.
    Requested {
        request: String,
        state: RequestedState,
        kind: String,
        amount: Option<String>,
        unit: Option<String>,
        units: Option<u32>,
        currency: String,
        memo: String,
        expires: String,
        once: bool,
        #[serde(default)]
        cancelled: bool,
        entries: Vec<u64>,
        link: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    }
    /// `requests`, and `request --cancel` with the orders that it comes too late for.
    RequestLine {
        #[serde(flatten)]
        request: Requested,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coming: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// What a person is shown before `pay LINK` pays.
    Prospect {
        request: String,
        payee: String,
        key: String,
        known: bool,
        online: bool,
        amount: Option<String>,
        unit: Option<String>,
        units: Option<u32>,
        currency: String,
        memo: String,
        expires: String,
        once: bool,
        earlier: Option<String>,
    }
    /// `void`
    Void {
        order: String,
        state: State,
        entry: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `history`
    Line {
        entry: Option<u64>,
        kind: String,
        direction: Direction,
        amount: String,
        change: Option<String>,
        currency: String,
        counterparty: String,
        memo: String,
        state: State,
        time: String,
        order: Option<String>,
        reference: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// `receipt show`
    Receipt {
        entry: u64,
        kind: String,
        time: String,
        order: Option<String>,
        payer: Option<String>,
        payee: Option<String>,
        amount: Option<String>,
        currency: Option<String>,
        memo: Option<String>,
        reference: Option<String>,
        name: Option<String>,
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tab: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        units: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claimed: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<String>,
        ledger: Option<String>,
        entries: u64,
        file: Option<String>,
        receipt: String,
    }
    /// `receipt verify`. With `fork` it is about a proof of two histories, which differ within so
    /// many entries.
    Verdict {
        ok: bool,
        entry: Option<u64>,
        reason: Option<String>,
        kind: Option<String>,
        time: Option<String>,
        ledger: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fork: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tab: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payer: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payee: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        smallest_units: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `tab open`, whatever the state.
    TabOpened {
        tab: Option<String>,
        state: TabState,
        payee: String,
        unit: String,
        units: u32,
        hold: Option<String>,
        currency: Option<String>,
        expires: Option<String>,
        entry: Option<u64>,
        accepted: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        earlier: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `tab list`, and in an event how a tab stands.
    TabLine {
        tab: String,
        role: TabRole,
        peer: Option<String>,
        key: String,
        state: TabState,
        unit: String,
        units: u32,
        paid: u32,
        claimed: Option<u32>,
        amount: String,
        at_risk: String,
        exposure: Option<String>,
        hold: String,
        currency: String,
        expires: String,
        reason: Option<String>,
    }
    /// `tab pay`, whatever the state.
    TabPaid {
        tab: String,
        state: TabState,
        payee: Option<String>,
        units: u32,
        acknowledged: u32,
        amount: Option<String>,
        currency: Option<String>,
        paid: Option<u32>,
        left: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `tab close`. Of a tab that was over already the rest is not known.
    TabClosed {
        tab: String,
        state: TabState,
        payee: Option<String>,
        paid: Option<u32>,
        amount: Option<String>,
        returned: Option<String>,
        currency: Option<String>,
        released: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `listen` and `shell`: a tab opened, was claimed or ended.
    TabEvent {
        event: EventName,
        change: TabChange,
        entry: Option<u64>,
        #[serde(flatten)]
        tab: TabLine,
    }
    /// `wallet`: where its page is. Whoever has the link has the wallet.
    Serving {
        event: EventName,
        link: String,
    }
    /// `listen` and `shell`: logged in.
    Online {
        event: EventName,
        name: String,
        address: String,
    }
    /// `listen` and `shell`: the directory is lost for now.
    Offline {
        event: EventName,
        reason: String,
    }
    /// `listen` and `shell`: money came.
    Received {
        event: EventName,
        entry: u64,
        order: Option<String>,
        amount: String,
        currency: String,
        counterparty: String,
        memo: String,
        reference: Option<String>,
        answers: bool,
        time: String,
    }
    /// `listen` and `shell`: money went.
    Sent {
        event: EventName,
        entry: u64,
        order: String,
        amount: String,
        currency: String,
        counterparty: String,
        memo: String,
        time: String,
    }
    /// `listen` and `shell`: the directory has signed two histories.
    Forked {
        event: EventName,
        file: String,
        message: String,
    }
    /// `listen` and `shell`: the directory does not show that its log holds what it signed.
    Doubted {
        event: EventName,
        message: String,
    }
    /// `listen` and `shell`: an order by or to this account is refused for good.
    Refused {
        event: EventName,
        order: String,
        reason: String,
        message: String,
        counterparty: Option<String>,
    }
}

/// Where the money of an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Moved.
    Settled,
    /// Not moved, and it never will by this order.
    Refused,
    /// Not known yet.
    #[default]
    Unknown,
    /// Not moved, and it never will: the payer said so first.
    Voided,
}

/// How far a tab, or what was asked of it, has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TabState {
    /// Not known yet.
    #[default]
    Unknown,
    /// Perhaps open; the directory has not said.
    Opening,
    /// It can be paid on.
    Open,
    /// No more is paid; the rest is on its way back.
    Ending,
    /// Nothing of it is held any more.
    Over,
    /// All that was asked to be paid is.
    Paid,
    /// Closed as asked.
    Closed,
    /// What was asked was refused.
    Refused,
}

/// Which end of a tab a home is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TabRole {
    /// It pays.
    #[default]
    Payer,
    /// It is paid.
    Payee,
}

/// What happened to a tab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TabChange {
    /// It opened, or an earlier run left it open.
    #[default]
    Opened,
    /// The directory confirmed a claim.
    Claimed,
    /// It takes no more payments.
    Ending,
    /// Nothing of it is held any more.
    Over,
}

/// Which way an order went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Route {
    /// Straight to the payee.
    Direct,
    /// By the payer itself.
    Directory,
}

/// What happened to a node that listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventName {
    /// Logged in.
    #[default]
    Online,
    /// The directory is lost for now.
    Offline,
    /// Money came.
    Received,
    /// Money went.
    Sent,
    /// An order was refused for good.
    Refused,
    /// The directory has signed two histories.
    Forked,
    /// The directory does not show that its log holds what it signed.
    Doubted,
    /// A tab opened, was claimed or ended.
    Tab,
    /// The wallet's page is served.
    Wallet,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SettingSource {
    /// Nobody has said anything.
    #[default]
    Default,
    /// The home's config file.
    File,
    /// A `QUID_` variable.
    Environment,
    /// The command line.
    Flag,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// All is well.
    Good,
    /// It works, but could be better.
    Weak,
    /// Something does not work.
    Bad,
    /// What it needs is not there, so it cannot be said.
    #[default]
    Unknown,
}

/// Whether money came or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// It came.
    #[default]
    In,
    /// It went.
    Out,
}

/// The currency's text for an amount, with its code beside it.
pub(crate) fn money(currency: &Currency, amount: Amount) -> (String, String) {
    (currency.format(amount), currency.code().to_owned())
}

/// `time` as RFC 3339 in UTC, to the millisecond; the year stays below 10000.
pub(crate) fn rfc3339(time: LedgerTime) -> String {
    let time = Duration::from_millis(time.as_millis()).min(YEAR_9999);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + time).to_string()
}

/// The last second that RFC 3339 can write.
const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);

/// `value` as JSON on one line of which a terminal acts on nothing: what is not plainly visible
/// is written as JSON's own `\u` escapes, which read back as the same text.
#[expect(
    clippy::expect_used,
    reason = "strings, numbers and booleans always encode"
)]
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings, numbers and booleans always encode");
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside ASCII everything stands within strings, as does the one control that is left.
        let plain = matches!(c, ' '..='~') || (!c.is_ascii() && is_visible(c));
        if plain {
            line.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    line
}

fn is_visible(c: char) -> bool {
    let mut utf8 = [0; 4];
    let text: &str = c.encode_utf8(&mut utf8);
    Printable(text).to_string() == text
}

#[cfg(test)]
mod tests;
