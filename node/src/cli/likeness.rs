//! What somebody may have meant: the nearest of several words.

use std::time::Duration;

use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_node::{Home, Node};
use strsim::damerau_levenshtein;
use tokio::time::timeout;

use super::failure::Report;

/// The one of `words` that is nearest to `typed`, if it is near enough for a slip of the fingers.
/// Of several that are equally near it is the first.
pub(crate) fn nearest<'w>(
    typed: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    let most = if typed.len() < SHORT { 1 } else { 2 };
    words
        .into_iter()
        .filter(|word| *word != typed && word.len().abs_diff(typed.len()) <= most)
        .map(|word| (damerau_levenshtein(typed, word), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// What to say about a name that no account has: whom the payer may have meant. Somebody who was
/// paid before comes first, for a stranger may have taken a name because it looks like another.
async fn meant(node: &Node, typed: &Name) -> Option<String> {
    if let Some(known) = known(node.home(), typed).await {
        return Some(known);
    }
    let online = node.who_is_near(typed).await.unwrap_or_default();
    let own = node.home().key();
    let others = online.iter().filter(|person| person.key != own);
    let names = others.map(|person| person.name.as_str());
    nearest(typed.as_str(), names)
        .map(|name| format!("did you mean {name}, who is online and whom you have never paid?"))
}

/// Whom of those that were paid before somebody may have meant.
async fn known(home: &Home, typed: &Name) -> Option<String> {
    let contacts = home.contacts().await.unwrap_or_default();
    nearest(typed.as_str(), contacts.iter().map(Name::as_str))
        .map(|name| format!("did you mean {name}, whom you have paid before?"))
}

/// `report`, and whom the payer may have meant if no account is called `name`.
pub(crate) async fn with_meant(report: Report, node: &Node, name: &Name) -> Report {
    if !is_unknown(&report) {
        return report;
    }
    let meant = timeout(MEANT_WAIT, meant(node, name)).await;
    with(report, meant.ok().flatten())
}

/// As [`with_meant`], of those that were paid before alone: without a session.
pub(crate) async fn with_known(report: Report, home: &Home, name: &Name) -> Report {
    if !is_unknown(&report) {
        return report;
    }
    let meant = known(home, name).await;
    with(report, meant)
}

fn is_unknown(report: &Report) -> bool {
    report.error == Reason::UNKNOWN_ACCOUNT.name()
}

fn with(mut report: Report, meant: Option<String>) -> Report {
    if let Some(meant) = meant {
        report.say(format!("refused: {}: {meant}", Reason::UNKNOWN_ACCOUNT));
    }
    report
}

/// Longest that a suggestion may take.
const MEANT_WAIT: Duration = Duration::from_secs(1);

/// Words shorter than this are near with one slip only.
const SHORT: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_in_a_short_word_and_two_in_a_long_one_are_near() {
        let names = ["alice", "bob", "carol", "corner-shop"];
        for (typed, meant) in [
            ("bbo", Some("bob")),
            ("bo", Some("bob")),
            ("boob", Some("bob")),
            ("bxx", None),
            ("alcie", Some("alice")),
            ("carrol", Some("carol")),
            ("cornershpo", Some("corner-shop")),
            ("corner", None),
            ("zoe", None),
            // What is spelt right was not misspelt.
            ("bob", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
