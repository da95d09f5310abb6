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
    if item.earlier == Some(true) {
        f.write_str("nothing was sent, it was done before: ")?;
    }
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
    write!(f, "closed tab {}: ", item.tab)?;
    match item.grace {
        None => write!(
            f,
            "{paid} units, {amount} {code}, paid to {payee}; {returned} {code} is back"
        ),
        Some(seconds) => write!(
            f,
            "{payee} could not be reached and may claim {paid} units, {amount} {code}, for \
             {seconds} s; then {returned} {code} comes back, and what was not claimed"
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

#[cfg(test)]
mod tests {
    use crate::cli::item::{Item, TabClosed, TabLine, TabRole, TabState};

    #[test]
    fn a_closed_tab_says_where_the_money_is() {
        let mut item = TabClosed {
            tab: "019a".to_owned(),
            state: TabState::Closed,
            released: true,
            ..TabClosed::default()
        };
        let said = |item: &TabClosed| Item::from(item.clone()).to_string();
        assert_eq!(
            said(&item),
            "tab 019a was over already; nothing of it is held"
        );
        item.paid = Some(3);
        item.payee = Some("bob".to_owned());
        item.currency = Some("QUID".to_owned());
        item.amount = Some("0.000003".to_owned());
        item.returned = Some("0.000007".to_owned());
        assert_eq!(
            said(&item),
            "closed tab 019a: 3 units, 0.000003 QUID, paid to bob; 0.000007 QUID is back"
        );
        item.released = false;
        item.grace = Some(60);
        assert_eq!(
            said(&item),
            "closed tab 019a: bob could not be reached and may claim 3 units, 0.000003 QUID, for \
             60 s; then 0.000007 QUID comes back, and what was not claimed"
        );
    }

    #[test]
    fn a_payee_reads_its_risk_and_whose_tab_it_is_before_the_name_is_known() {
        let item = TabLine {
            tab: "019a".to_owned(),
            role: TabRole::Payee,
            key: "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena".to_owned(),
            state: TabState::Open,
            unit: "0.001".to_owned(),
            units: 10,
            paid: 3,
            claimed: Some(2),
            at_risk: "0.001".to_owned(),
            exposure: Some("0.002".to_owned()),
            currency: "QUID".to_owned(),
            expires: "2026-11-26T16:08:20.931Z".to_owned(),
            ..TabLine::default()
        };
        assert_eq!(
            Item::from(item).to_string(),
            "019a  from 25njqamc          3 of 10 units of 0.001 QUID paid, 2 claimed; at risk 0.001, \
             at most 0.002; open, until 2026-11-26 16:08:20Z"
        );
    }
}
