//! What the page is told: items and failures as JSON, every text in it made visible.
//!
//! The page writes all of it as text and never as markup; this sees to it that no text acts in
//! other ways either, such as turning the direction of what stands beside it.

use quid_common::printable::Printable;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, Report, one_line};
use crate::cli::item::Item;
use crate::cli::screen::{Output, Sink};

/// Takes everything that `work` says into its sink, up to [`ITEMS_MAX`] items.
pub(super) async fn collected<F>(work: impl FnOnce(Sink) -> F) -> (Result<(), Failure>, Vec<Item>)
where
    F: Future<Output = Result<(), Failure>>,
{
    let (sink, outputs) = Sink::channel();
    tokio::join!(work(sink), items(outputs))
}

async fn items(mut outputs: mpsc::Receiver<Output>) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(output) = outputs.recv().await {
        if let Output::Item(item) = output
            && items.len() < ITEMS_MAX
        {
            items.push(*item);
        }
    }
    items
}

/// The answer to a request that has one result: `{"ok": …, "item": …, "error": …, "message": …}`.
pub(super) fn one((result, items): (Result<(), Failure>, Vec<Item>)) -> Value {
    match result {
        Ok(()) => good(items.last().map_or(Value::Null, shown)),
        Err(failure) => failed(&failure),
    }
}

/// The answer to a request that has a list of results, in `items`.
pub(super) fn all((result, items): (Result<(), Failure>, Vec<Item>)) -> Value {
    match result {
        Ok(()) => {
            let mut answer = Map::new();
            answer.insert("ok".to_owned(), true.into());
            let items: Vec<Value> = items.iter().map(shown).collect();
            answer.insert("items".to_owned(), items.into());
            answer.into()
        }
        Err(failure) => failed(&failure),
    }
}

/// A good answer with this in it.
pub(super) fn done(item: impl Serialize) -> Value {
    good(visible(item))
}

/// A good answer with what is visible already: made visible twice, it would not be what was said.
fn good(item: Value) -> Value {
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), true.into());
    answer.insert("item".to_owned(), item);
    answer.into()
}

/// The answer to what failed: what the command line says too, but what to do about it on the page.
pub(super) fn failed(failure: &Failure) -> Value {
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), false.into());
    match failure {
        Failure::Told(report) => {
            let Report { error, item, .. } = &**report;
            let message = Value::from(one_line(report.for_page()));
            answer.insert("error".to_owned(), error.clone().into());
            if let Some(item) = item {
                let mut item = shown(item);
                // It repeats the line for a command line.
                if let Some(told) = item.get_mut("message") {
                    *told = message.clone();
                }
                answer.insert("item".to_owned(), item);
            }
            answer.insert("message".to_owned(), message);
        }
        Failure::Gone => {
            answer.insert("error".to_owned(), "closed".into());
            answer.insert("message".to_owned(), "the wallet is ending".into());
        }
    }
    answer.into()
}

/// What is wrong with a field of a form: the page shows it there.
pub(super) fn wrong(field: &str, message: &str) -> Value {
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), false.into());
    answer.insert("error".to_owned(), "usage".into());
    answer.insert("field".to_owned(), field.into());
    answer.insert("message".to_owned(), one_line(message).into());
    answer.into()
}

/// An item as the page sees it.
pub(super) fn shown(item: &Item) -> Value {
    item.to_value().map_or(Value::Null, |value| walk(value, ""))
}

/// Anything as the page sees it.
pub(super) fn visible(value: impl Serialize) -> Value {
    serde_json::to_value(value).map_or(Value::Null, |value| walk(value, ""))
}

fn walk(value: Value, name: &str) -> Value {
    match value {
        // Messages were made visible part by part already.
        Value::String(text) if name == "message" => one_line(&text).into(),
        Value::String(text) => Printable(&text).to_string().into(),
        Value::Array(values) => values
            .into_iter()
            .map(|value| walk(value, name))
            .collect::<Vec<_>>()
            .into(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = walk(value, &name);
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// Most items of one answer.
pub(super) const ITEMS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::item::Line;

    #[test]
    fn no_text_that_the_page_is_told_acts_by_itself() {
        let line = Item::from(Line {
            memo: "<b>\u{202e}tea\u{1b}[2J\n\\".to_owned(),
            ..Line::default()
        });
        let told = shown(&line);
        assert_eq!(told["memo"], "<b>\\u{202e}tea\\u{1b}[2J\\n\\\\");
        assert_eq!(one((Ok(()), vec![line]))["item"]["memo"], told["memo"]);
        let failure = Failure::other("x", "a \u{202e} b \\n");
        assert_eq!(failed(&failure)["message"], "a \\u{202e} b \\n");
    }
}
