//! Tabs as people read them.

use std::fmt;

use super::{Out, clock, in_entry, short};
use crate::cli::item::{
    TabChange, TabClosed, TabEvent, TabLine, TabOpened, TabPaid, TabRole, TabState,
};

pub(super) fn opened(f: Out<'_, '_>, item: &TabOpened) -> fmt::Result {
    let tab = item.tab.as_deref().unwrap_or_default();
    let code = item.currency.as_deref().unwrap_or_default();
    let hold = item.hold.as_deref().unwrap_or_default();
    write!(
        f,
        "opened tab {tab} for {}: {} units of {} {code}, {hold} {code} held",
        item.payee, item.units, item.unit
    )?;
    if let Some(expires) = &item.expires {
        write!(f, " until {}", clock(expires))?;
    }
    in_entry(f, item.entry)
}

pub(super) fn line(f: Out<'_, '_>, item: &TabLine) -> fmt::Result {
    let way = match item.role {
        TabRole::Payer => "to  ",
        TabRole::Payee => "from",
    };
    let TabLine {
        tab,
        units,
        unit,
        paid,
        currency,
        ..
    } = item;
    let peer = peer(item);
    write!(
        f,
        "{tab}  {way} {peer:<16}  {paid} of {units} units of {unit} {currency} paid"
    )?;
    match item.claimed {
        Some(claimed) => write!(f, ", {claimed} claimed")?,
        None => f.write_str(", claimed is not known now")?,
    }
    match &item.exposure {
        Some(exposure) => write!(f, "; at risk {}, at most {exposure}", item.at_risk)?,
        None => write!(f, "; under way {}", item.at_risk)?,
    }
    let word = match item.state {
        TabState::Opening => "perhaps open",
        TabState::Ending => "ending",
        TabState::Over => "over",
        TabState::Open
        | TabState::Unknown
        | TabState::Paid
        | TabState::Closed
        | TabState::Refused => "open",
    };
    write!(f, "; {word}, until {}", clock(&item.expires))
}

pub(super) fn paid(f: Out<'_, '_>, item: &TabPaid) -> fmt::Result {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    write!(
        f,
        "paid {} units, {} {}, to {}; {} in all, {} left",
        item.units,
        or_none(&item.amount),
        or_none(&item.currency),
        or_none(&item.payee),
        item.paid.unwrap_or_default(),
        item.left.unwrap_or_default()
    )
}

pub(super) fn closed(f: Out<'_, '_>, item: &TabClosed) -> fmt::Result {
    let (Some(paid), Some(amount), Some(returned)) = (item.paid, &item.amount, &item.returned)
    else {
        return write!(
            f,
            "tab {} was over already; nothing of it is held",
            item.tab
        );
    };
    let code = item.currency.as_deref().unwrap_or_default();
    let payee = item.payee.as_deref().unwrap_or_default();
    write!(
        f,
        "closed tab {}: {paid} units, {amount} {code}, paid to {payee}; {returned} {code} ",
        item.tab
    )?;
    match item.grace {
        None => f.write_str("is back"),
        Some(seconds) => write!(
            f,
            "comes back in {seconds} s: {payee} could not be reached and may claim until then"
        ),
    }
}

pub(super) fn event(f: Out<'_, '_>, item: &TabEvent) -> fmt::Result {
    let TabEvent {
        tab, change, entry, ..
    } = item;
    let way = match tab.role {
        TabRole::Payer => "to",
        TabRole::Payee => "from",
    };
    let TabLine {
        units,
        unit,
        paid,
        amount,
        currency,
        ..
    } = tab;
    write!(f, "tab {way} {}", peer(tab))?;
    match change {
        TabChange::Opened => write!(
            f,
            ": {units} units of {unit} {currency}, until {}",
            clock(&tab.expires)
        )?,
        TabChange::Claimed => write!(
            f,
            ": {} of {units} units claimed, {paid} paid",
            tab.claimed.unwrap_or_default()
        )?,
        TabChange::Ending => write!(f, " ends: {paid} units paid, {amount} {currency}")?,
        TabChange::Over => write!(f, " is over: {paid} units paid, {amount} {currency}")?,
    }
    if let Some(reason) = &tab.reason {
        write!(f, ", {reason}")?;
    }
    in_entry(f, *entry)?;
    write!(f, ", {}", tab.tab)
}

/// The other side's name, or the beginning of its key until the name is known.
fn peer(item: &TabLine) -> &str {
    item.peer.as_deref().unwrap_or_else(|| short(&item.key))
}
