//! Results as people read them: one line each but for a status or a receipt, which are tables.
//!
//! Every text that came from elsewhere (memos, addresses, reasons) passes [`Printable`] here.

mod keys;
mod requests;
mod settings;
mod tabs;

use std::fmt::{self, Write as _};

use quid_common::printable::Printable;
use quid_node::PayError;

use super::item::{
    Direction, Health, Home, Item, Line, Offline, Online, Paid, Person, Presence, Receipt,
    Received, Refused, Registered, Route, Sent, State, Status, Verdict, Void,
};
use super::screen::Tone;
use super::words::Advice;

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home(item) => home(f, item),
            Self::Setting(item) => settings::setting(f, item),
            Self::Check(item) => settings::check(f, item),
            Self::Sealed(item) => keys::sealed(f, item),
            Self::Keys(item) => keys::keys(f, item),
            Self::Contact(item) => keys::contact(f, item),
            Self::Registered(item) => registered(f, item),
            Self::Status(item) => status(f, item),
            Self::Away(item) => f.write_str(&item.message),
            Self::Person(item) => person(f, item),
            Self::Presence(item) => presence(f, item),
            Self::Paid(item) => paid(f, item),
            Self::Requested(item) => f.write_str(&item.link),
            Self::RequestLine(item) => requests::line(f, item),
            Self::Prospect(item) => requests::prospect(f, item),
            Self::Void(item) => void(f, item),
            Self::Line(item) => line(f, item),
            Self::Receipt(item) => receipt(f, item),
            Self::Verdict(item) => verdict(f, item),
            Self::TabOpened(item) => tabs::opened(f, item),
            Self::TabLine(item) => tabs::line(f, item),
            Self::TabPaid(item) => tabs::paid(f, item),
            Self::TabClosed(item) => tabs::closed(f, item),
            Self::TabEvent(item) => tabs::event(f, item),
            Self::Serving(item) => write!(f, "your wallet: {}", item.link),
            Self::Online(item) => online(f, item),
            Self::Offline(item) => offline(f, item),
            Self::Received(item) => received(f, item),
            Self::Sent(item) => sent(f, item),
            Self::Refused(item) => refused(f, item),
            Self::Forked(item) => write!(f, "stopped: {}", Printable(&item.message)),
            Self::Doubted(item) => write!(f, "in doubt: {}", Printable(&item.message)),
        }
    }
}

impl Item {
    /// How its line is coloured.
    pub(crate) const fn tone(&self) -> Tone {
        match self {
            Self::Registered(_)
            | Self::Paid(_)
            | Self::Void(_)
            | Self::Verdict(_)
            | Self::TabOpened(_)
            | Self::TabPaid(_)
            | Self::TabClosed(_)
            | Self::Received(_)
            | Self::Online(_) => Tone::Good,
            Self::Offline(_) | Self::Doubted(_) => Tone::Open,
            Self::Refused(_) | Self::Forked(_) => Tone::Bad,
            Self::Check(check) => match check.state {
                Health::Good => Tone::Good,
                Health::Weak | Health::Unknown => Tone::Open,
                Health::Bad => Tone::Bad,
            },
            _ => Tone::Plain,
        }
    }
}

type Out<'a, 'b> = &'a mut fmt::Formatter<'b>;

fn home(f: Out<'_, '_>, item: &Home) -> fmt::Result {
    row(f, "home", Printable(&item.home))?;
    f.write_char('\n')?;
    row(f, "key", &item.key)?;
    f.write_char('\n')?;
    row(f, "directory", &item.directory)?;
    let (Some(name), entry) = (&item.name, item.entry) else {
        return Ok(());
    };
    f.write_char('\n')?;
    row(f, "name", name)?;
    in_entry(f, entry)
}

fn registered(f: Out<'_, '_>, item: &Registered) -> fmt::Result {
    write!(f, "registered as {} (entry {})", item.name, item.entry)
}

fn status(f: Out<'_, '_>, item: &Status) -> fmt::Result {
    row(f, "name", &item.name)?;
    for (label, value) in [("balance", balance(item)), ("held", held(item))] {
        f.write_char('\n')?;
        row(f, label, value)?;
    }
    f.write_char('\n')?;
    let asked = if item.balance.is_some() {
        "being asked about"
    } else {
        "unknown until the directory can be asked"
    };
    match item.pending {
        0 => row(f, "pending", "none")?,
        pending => row(f, "pending", format_args!("{pending}, {asked}"))?,
    }
    f.write_char('\n')?;
    row(f, "listening", if item.listening { "yes" } else { "no" })?;
    for (label, value) in [
        ("key", &item.key),
        ("directory", &item.directory),
        ("ledger", &item.ledger),
    ] {
        f.write_char('\n')?;
        row(f, label, value)?;
    }
    let fork = item.fork.as_ref().map(|file| {
        let file = file.into();
        PayError::Forked { file }.to_string()
    });
    let recovery = item.recovery_due.as_ref().map(|due| {
        format!(
            "another key takes this account over from {due} on: if you do not want that, \
             `quid key object`, and talk to the operator"
        )
    });
    let frozen = frozen(item);
    let told = [
        ("frozen", &frozen),
        ("fork", &fork),
        ("recovery", &recovery),
        ("doubt", &item.doubt),
    ];
    for (label, value) in told {
        if let Some(value) = value {
            f.write_char('\n')?;
            row(f, label, Printable(value))?;
        }
    }
    Ok(())
}

/// By whom, and what to do about it as where a payment is refused for it.
fn frozen(item: &Status) -> Option<String> {
    let by = match (item.frozen == Some(true), item.locked == Some(true)) {
        (false, false) => return None,
        (true, false) => "by the operator",
        (false, true) => "by its own keys",
        (true, true) => "by the operator and by its own keys",
    };
    let what = format!("{by}, so nothing is paid from it");
    Some(Advice::Thaw.after(what).for_command())
}

fn balance(item: &Status) -> String {
    let (balance, then) = (&item.balance, &item.last_balance);
    match (balance, then, &item.as_of) {
        (Some(balance), ..) => format!("{balance} {}", item.currency),
        (None, Some(then), Some(time)) => {
            format!("not known now; {then} {} at {}", item.currency, clock(time))
        }
        _ => "not known now".to_owned(),
    }
}

fn held(item: &Status) -> String {
    let tabs = match item.tabs {
        0 => String::new(),
        1 => ", for a tab".to_owned(),
        tabs => format!(", for {tabs} tabs"),
    };
    match (&item.held, &item.last_held) {
        (Some(held), _) => format!("{held} {}{tabs}", item.currency),
        (None, Some(then)) => format!("not known now; {then} {} then", item.currency),
        (None, None) => "not known now".to_owned(),
    }
}

fn person(f: Out<'_, '_>, item: &Person) -> fmt::Result {
    let address = Printable(&item.address);
    write!(f, "{:<16}  {}  {address}", item.name, short(&item.key))
}

fn presence(f: Out<'_, '_>, item: &Presence) -> fmt::Result {
    let sign = if item.online { '+' } else { '-' };
    write!(f, "{sign} {:<16}  {}", item.name, short(&item.key))?;
    match &item.address {
        Some(address) => write!(f, "  {}", Printable(address)),
        None => f.write_str("  gone"),
    }
}

fn paid(f: Out<'_, '_>, item: &Paid) -> fmt::Result {
    let Paid { amount, payee, .. } = item;
    let code = item.currency.as_deref().unwrap_or_default();
    if item.earlier == Some(true) {
        f.write_str("nothing was sent, it was done before: ")?;
    }
    let what = if item.refunds.is_some() {
        "paid back"
    } else {
        "paid"
    };
    write!(f, "{what} {amount} {code} to {payee}, ")?;
    match item.route {
        Some(Route::Directory) => {
            write!(f, "through the directory: {payee} could not be reached")?;
        }
        Some(Route::Direct) | None => f.write_str("directly")?,
    }
    in_entry(f, item.entry)
}

fn void(f: Out<'_, '_>, item: &Void) -> fmt::Result {
    match item.state {
        State::Settled => write!(f, "order {} had settled already", item.order)?,
        State::Voided | State::Refused | State::Unknown => {
            write!(f, "order {} is void and can never settle", item.order)?;
        }
    }
    in_entry(f, item.entry)
}

fn line(f: Out<'_, '_>, item: &Line) -> fmt::Result {
    match item.entry {
        Some(entry) => write!(f, "{entry:>8}")?,
        None => f.write_str("       ?")?,
    }
    let amount = format!("{}{} {}", sign(item), item.amount, item.currency);
    let way = match item.direction {
        Direction::In => "from",
        Direction::Out => "to  ",
    };
    let mut what = match item.kind.as_str() {
        "payment" => String::new(),
        "issue" => "  issued".to_owned(),
        "burn" => "  burnt".to_owned(),
        "hold" => "  held for a tab".to_owned(),
        "claim" if item.direction == Direction::Out => "  paid from what a tab held".to_owned(),
        "claim" => "  claimed from a tab".to_owned(),
        "release" => "  back from a tab".to_owned(),
        other => format!("  {}", Printable(other)),
    };
    if let (State::Unknown, Some(order)) = (item.state, &item.order) {
        what = format!("{what}  not known yet, order {order}");
    }
    if !item.memo.is_empty() {
        what = format!("{what}  {}", in_quotes(&item.memo));
    }
    let row = format!(
        "  {}  {amount:>20}  {way} {:<16}{what}",
        clock(&item.time),
        item.counterparty
    );
    f.write_str(row.trim_end())
}

/// Of what has changed the balance: the amounts that have one sum up to it.
fn sign(item: &Line) -> &'static str {
    let is_zero = |change: &str| change.chars().all(|c| matches!(c, '0' | '.'));
    match item.change.as_deref() {
        None => "",
        Some(change) if change.starts_with('-') => "-",
        Some(change) if is_zero(change) => "",
        Some(_) => "+",
    }
}

fn receipt(f: Out<'_, '_>, item: &Receipt) -> fmt::Result {
    row(
        f,
        "entry",
        format_args!(
            "{}, under a checkpoint of {} entries",
            item.entry, item.entries
        ),
    )?;
    let amount = match (&item.amount, &item.currency) {
        (Some(amount), Some(code)) => Some(format!("{amount} {code}")),
        _ => None,
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    for (label, value) in [
        ("kind", &Some(item.kind.clone())),
        ("time", &Some(clock(&item.time))),
        ("order", &item.order),
        ("tab", &item.tab),
        ("amount", &amount),
        ("unit", &item.unit),
        ("units", &number(item.units)),
        ("claimed", &number(item.claimed)),
        ("payer", &item.payer),
        ("payee", &item.payee),
        ("by", &item.by),
        ("expires", &item.expires.as_deref().map(clock)),
        ("name", &item.name),
        ("memo", &item.memo),
        ("reference", &item.reference),
        ("reason", &item.reason),
        ("ledger", &item.ledger),
        ("file", &item.file),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            f.write_char('\n')?;
            row(f, label, Printable(value))?;
        }
    }
    Ok(())
}

fn verdict(f: Out<'_, '_>, item: &Verdict) -> fmt::Result {
    if let Some(size) = item.fork {
        return write!(
            f,
            "good: this proves that the directory has signed two histories, which differ within \
             the first {size} entries"
        );
    }
    f.write_str("good: the directory's log holds this")?;
    if let Some(kind) = &item.kind {
        write!(f, " {kind}")?;
    }
    if let Some(time) = &item.time {
        write!(f, " of {}", clock(time))?;
    }
    in_entry(f, item.entry)?;
    let amount = match (&item.amount, &item.currency) {
        (Some(amount), Some(code)) => Some(format!("{amount} {code}")),
        // Without a home nobody has said what the directory counts in.
        _ => item
            .smallest_units
            .map(|units| format!("{units} of the smallest unit")),
    };
    let memo = item.memo.as_deref().map(|memo| Printable(memo).to_string());
    for (label, value) in [
        ("order", &item.order),
        ("tab", &item.tab),
        ("amount", &amount),
        ("payer", &item.payer),
        ("payee", &item.payee),
        ("memo", &memo),
        ("ledger", &item.ledger),
    ] {
        if let Some(value) = value {
            f.write_char('\n')?;
            row(f, label, value)?;
        }
    }
    Ok(())
}

fn online(f: Out<'_, '_>, item: &Online) -> fmt::Result {
    write!(
        f,
        "online as {}, seen at {}",
        item.name,
        Printable(&item.address)
    )
}

fn offline(f: Out<'_, '_>, item: &Offline) -> fmt::Result {
    write!(f, "offline: {}; trying again", Printable(&item.reason))
}

fn received(f: Out<'_, '_>, item: &Received) -> fmt::Result {
    let Received {
        amount,
        currency,
        counterparty,
        ..
    } = item;
    write!(f, "received {amount} {currency} from {counterparty}")?;
    quoted(f, ", ", &item.memo)?;
    in_entry(f, Some(item.entry))
}

fn sent(f: Out<'_, '_>, item: &Sent) -> fmt::Result {
    let Sent {
        amount,
        currency,
        counterparty,
        ..
    } = item;
    write!(f, "sent {amount} {currency} to {counterparty}")?;
    quoted(f, ", ", &item.memo)?;
    in_entry(f, Some(item.entry))
}

fn refused(f: Out<'_, '_>, item: &Refused) -> fmt::Result {
    write!(f, "refused: order {}", item.order)?;
    if let Some(name) = &item.counterparty {
        write!(f, ", {name}")?;
    }
    write!(f, ": {}", Printable(&item.message))
}

/// A line of a table: a label and its value.
fn row(f: Out<'_, '_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    write!(f, "{label:<9}  {value}")
}

fn in_entry(f: Out<'_, '_>, entry: Option<u64>) -> fmt::Result {
    match entry {
        Some(entry) => write!(f, " (entry {entry})"),
        None => Ok(()),
    }
}

/// A memo between quotation marks, nothing for an empty one.
fn quoted(f: Out<'_, '_>, before: &str, memo: &str) -> fmt::Result {
    if memo.is_empty() {
        return Ok(());
    }
    write!(f, "{before}{}", in_quotes(memo))
}

/// A foreign text between quotation marks, which it cannot end itself.
fn in_quotes(text: &str) -> String {
    format!("\"{}\"", Printable(text).to_string().replace('"', "\\\""))
}

/// The first characters of a key, to tell keys apart at a glance.
fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}

/// `2026-11-22T17:13:51.123Z` as `2026-11-22 17:13:51Z`.
pub(super) fn clock(time: &str) -> String {
    match (time.get(..10), time.get(11..19)) {
        (Some(day), Some(hour)) => format!("{day} {hour}Z"),
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_says_which_way_it_went() {
        let mut item = Paid {
            state: State::Settled,
            entry: Some(12),
            amount: "1.500000".to_owned(),
            currency: Some("QUID".to_owned()),
            payee: "bob".to_owned(),
            route: Some(Route::Direct),
            ..Paid::default()
        };
        let said = |item: &Paid| Item::from(item.clone()).to_string();
        assert_eq!(
            said(&item),
            "paid 1.500000 QUID to bob, directly (entry 12)"
        );
        item.route = Some(Route::Directory);
        assert_eq!(
            said(&item),
            "paid 1.500000 QUID to bob, through the directory: bob could not be reached (entry 12)"
        );
    }

    #[test]
    fn a_memo_ends_where_its_quotation_ends() {
        let item = Received {
            amount: "1".to_owned(),
            memo: "tea\" (entry 99)".to_owned(),
            entry: 14,
            ..Received::default()
        };
        let said = Item::from(item).to_string();
        assert!(
            said.ends_with("\"tea\\\" (entry 99)\" (entry 14)"),
            "{said}"
        );
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        let hostile = "\u{1b}[2J\u{9b}m\n\u{202e}x".to_owned();
        for item in [
            Item::from(Received {
                memo: hostile.clone(),
                ..Received::default()
            }),
            Item::from(Sent {
                memo: hostile.clone(),
                ..Sent::default()
            }),
            Item::from(Line {
                memo: hostile.clone(),
                kind: hostile.clone(),
                ..Line::default()
            }),
            Item::from(Person {
                address: hostile.clone(),
                ..Person::default()
            }),
            Item::from(Online {
                address: hostile.clone(),
                ..Online::default()
            }),
            Item::from(Offline {
                reason: hostile.clone(),
                ..Offline::default()
            }),
            Item::from(Refused {
                message: hostile.clone(),
                ..Refused::default()
            }),
            Item::from(Presence {
                address: Some(hostile.clone()),
                ..Presence::default()
            }),
        ] {
            let line = item.to_string();
            assert!(
                !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
    }
}
