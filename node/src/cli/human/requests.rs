//! Requests as people read them.

use std::fmt::{self, Write as _};

use quid_common::printable::Printable;

use super::{Out, clock, in_quotes, row};
use crate::cli::item::{Prospect, RequestLine, Requested};
use crate::cli::requests::RequestedState;

/// A line of the list, or what came of cancelling it in time.
pub(super) fn line(f: Out<'_, '_>, item: &RequestLine) -> fmt::Result {
    if item.coming.is_none() {
        return listed(f, &item.request);
    }
    let id = &item.request.request;
    write!(
        f,
        "cancelled request {id}: whoever still pays it here is declined"
    )?;
    if item.request.once || item.request.state == RequestedState::Expired {
        return Ok(());
    }
    f.write_str(
        "; while nobody listens here, a payer can settle it at the directory until it expires, and \
         `quid refund ENTRY` pays that back",
    )
}

fn listed(f: Out<'_, '_>, item: &Requested) -> fmt::Result {
    let state = match item.state {
        RequestedState::Open => "open",
        RequestedState::Paid => "paid",
        RequestedState::Cancelled => "cancelled",
        RequestedState::Expired => "expired",
        RequestedState::Unknown => "unknown",
    };
    let what = wanted((&item.amount, &item.unit, item.units), &item.currency);
    write!(
        f,
        "{}  {state:<9}  {what:>20}  until {}",
        item.request,
        clock(&item.expires)
    )?;
    if item.once {
        f.write_str(", once")?;
    }
    if item.cancelled && item.state == RequestedState::Paid {
        f.write_str(", cancelled")?;
    }
    if !item.memo.is_empty() {
        write!(f, "  {}", in_quotes(&item.memo))?;
    }
    if !item.entries.is_empty() {
        let entries: Vec<String> = item.entries.iter().map(u64::to_string).collect();
        let word = if entries.len() == 1 {
            "entry"
        } else {
            "entries"
        };
        write!(f, "  {word} {}", entries.join(", "))?;
    }
    Ok(())
}

/// A table, which is read before yes is typed.
pub(super) fn prospect(f: Out<'_, '_>, item: &Prospect) -> fmt::Result {
    row(f, "payee", &item.payee)?;
    let known = if item.known {
        "paid before"
    } else {
        "not paid before from here"
    };
    let what = wanted((&item.amount, &item.unit, item.units), &item.currency);
    let expires = clock(&item.expires);
    let until = if item.once {
        format!("{expires}, for whoever is first")
    } else {
        expires
    };
    for (label, value) in [
        ("key", format!("{}, {known}", item.key)),
        ("wanted", what),
        ("memo", Printable(&item.memo).to_string()),
        ("until", until),
    ] {
        if !value.is_empty() {
            f.write_char('\n')?;
            row(f, label, value)?;
        }
    }
    Ok(())
}

impl Prospect {
    /// All of it in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let what = wanted((&self.amount, &self.unit, self.units), &self.currency);
        let mut sentence = format!("{} (key {}) asks for {what}", self.payee, self.key);
        if !self.memo.is_empty() {
            sentence.push_str(&format!(": {}", in_quotes(&self.memo)));
        }
        sentence
    }
}

/// What is wanted: an amount, as much as the payer likes, or a tab.
fn wanted(
    (amount, unit, units): (&Option<String>, &Option<String>, Option<u32>),
    currency: &str,
) -> String {
    match (amount, unit, units) {
        (Some(amount), Some(unit), Some(units)) => {
            format!("a tab of {units} units of {unit} {currency}, {amount} {currency} held")
        }
        (Some(amount), ..) => format!("{amount} {currency}"),
        (None, ..) => "as much as you like".to_owned(),
    }
}
