//! History for the page: searched, exported, and as the curve of the balance.

use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::response::{Json, Response};
use quid_common::amount::{Amount, Currency};
use quid_common::printable::Printable;
use quid_common::time::LedgerTime;
use quid_node::{HistoryItem, HistoryState, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{all, done, failed};
use super::api::{App, download};
use crate::cli::failure::Failure;
use crate::cli::item::{self, Direction, Item, Line, State as Money};
use crate::cli::request::Request;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    search: String,
    #[serde(default = "limit_default")]
    limit: usize,
}

/// The newest lines that hold what is searched for.
pub(super) async fn history(State(app): State<App>, Query(search): Query<Search>) -> Json<Value> {
    let wanted = search.search.trim().to_lowercase();
    let limit = search.limit.clamp(1, SEARCHED_MAX);
    let read = if wanted.is_empty() {
        limit
    } else {
        SEARCHED_MAX
    };
    let request = Request::History {
        limit: read,
        after: None,
    };
    let (result, mut items) = app.collect(request).await;
    items.retain(|item| matches!(item, Item::Line(line) if holds(line, &wanted)));
    let more = items.len() > limit;
    items.truncate(limit.saturating_add(OPEN_MAX));
    let mut answer = all((result, items));
    if let Value::Object(fields) = &mut answer {
        fields.insert("more".to_owned(), more.into());
    }
    Json(answer)
}

/// Whether what a person sees of a line holds every word of `wanted`, which is in lower case.
fn holds(line: &Line, wanted: &str) -> bool {
    let state = match line.state {
        Money::Settled => "settled",
        Money::Refused => "refused",
        Money::Unknown => "unknown",
        Money::Voided => "voided",
    };
    let seen = format!(
        "{} {} {} {} {} {state} {} {}",
        line.entry
            .map(|entry| entry.to_string())
            .unwrap_or_default(),
        line.kind,
        line.amount,
        line.counterparty,
        Printable(&line.memo),
        line.time,
        line.order.as_deref().unwrap_or_default(),
    )
    .to_lowercase();
    wanted.split_whitespace().all(|word| seen.contains(word))
}

/// The whole history for a table calculator.
pub(super) async fn csv(State(app): State<App>) -> Response {
    match exported(&app).await {
        Ok(lines) => {
            let mut text = String::from(CSV_HEAD);
            for line in &lines {
                text.push_str(&csv_line(line));
            }
            download("text/csv; charset=utf-8", "quid-history.csv", text)
        }
        Err(failure) => download(
            "application/json",
            "quid-history-failed.json",
            failed(&failure).to_string(),
        ),
    }
}

/// The whole history as an array of the objects that `quid history --json` prints.
pub(super) async fn json(State(app): State<App>) -> Response {
    match exported(&app).await {
        Ok(lines) => {
            let lines: Vec<String> = lines
                .into_iter()
                .map(|line| Item::from(line).to_json())
                .collect();
            let text = format!("[\n{}\n]\n", lines.join(",\n"));
            download("application/json", "quid-history.json", text)
        }
        Err(failure) => download(
            "application/json",
            "quid-history-failed.json",
            failed(&failure).to_string(),
        ),
    }
}

async fn exported(app: &App) -> Result<Vec<Line>, Failure> {
    let request = Request::History {
        limit: EXPORTED_MAX,
        after: None,
    };
    let (result, items) = app.collect(request).await;
    result?;
    let line = |item| match item {
        Item::Line(line) => Some(line),
        _ => None,
    };
    Ok(items.into_iter().filter_map(line).collect())
}

fn csv_line(line: &Line) -> String {
    let direction = match line.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    let state = match line.state {
        Money::Settled => "settled",
        Money::Refused => "refused",
        Money::Unknown => "unknown",
        Money::Voided => "voided",
    };
    let memo = Printable(&line.memo).to_string();
    let mut text = String::new();
    for (at, cell) in [
        &line
            .entry
            .map(|entry| entry.to_string())
            .unwrap_or_default(),
        &line.time,
        &line.kind,
        direction,
        &line.amount,
        &line.currency,
        &line.counterparty,
        &memo,
        state,
        line.order.as_deref().unwrap_or_default(),
        line.reference.as_deref().unwrap_or_default(),
    ]
    .into_iter()
    .enumerate()
    {
        let comma = if at == 0 { "" } else { "," };
        // What begins like a formula is none: table calculators run those.
        let guard = if cell.starts_with(['=', '+', '-', '@']) {
            "'"
        } else {
            ""
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}\"{guard}{}\"", cell.replace('"', "\"\""));
    }
    text.push_str("\r\n");
    text
}

/// A point of the curve. `x` and `y` are in thousandths of its width and height.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Point {
    x: u64,
    y: u64,
    time: String,
    amount: String,
}

/// What the account had over time, available and held together.
pub(super) async fn curve(State(app): State<App>) -> Json<Value> {
    let told = async {
        let status = app.node.status().await?;
        let lines = app.node.history(CURVE_MAX, None).await?;
        let now = status
            .balance
            .checked_add(status.held)
            .unwrap_or(Amount::MAX);
        let (points, most) = points(now, &lines, &status.currency);
        Ok::<_, quid_node::RequestError>(json!({
            "points": points,
            "most": status.currency.format(most),
            "now": status.currency.format(now),
            "currency": status.currency.code(),
        }))
    };
    Json(match told.await {
        Ok(curve) => done(curve),
        Err(error) => failed(&error.into()),
    })
}

/// The curve that ends at `now`, walked back along `lines`, newest first, and the most of it.
fn points(now: Amount, lines: &[HistoryItem], currency: &Currency) -> (Vec<Point>, Amount) {
    let mut had = now;
    let mut walked: Vec<(LedgerTime, Amount)> = Vec::new();
    for line in lines {
        let moves = match line.kind {
            Kind::Payment | Kind::Issue | Kind::Burn | Kind::Claim => true,
            // From available to held and back: what the account has stays the same.
            Kind::Hold | Kind::Release | Kind::Other(_) => false,
        };
        if line.state == HistoryState::Unknown || !moves {
            continue;
        }
        walked.push((line.time, had));
        let before = if line.incoming {
            had.checked_sub(line.amount)
        } else {
            had.checked_add(line.amount)
        };
        match before {
            Some(before) => had = before,
            // Money moved while we asked: the rest would be wrong.
            None => break,
        }
    }
    walked.reverse();
    let most = walked
        .iter()
        .map(|(_, amount)| *amount)
        .max()
        .unwrap_or(now);
    let ends = walked
        .first()
        .map(|(time, _)| time.as_millis())
        .zip(walked.last().map(|(time, _)| time.as_millis()));
    let (begin, end) = ends.unwrap_or((0, 0));
    let points = walked.iter().map(|(time, amount)| Point {
        x: thousandths(
            time.as_millis().saturating_sub(begin),
            end.saturating_sub(begin),
        ),
        y: thousandths(amount.units(), most.units()),
        time: item::rfc3339(*time),
        amount: currency.format(*amount),
    });
    (points.collect(), most)
}

/// How much of `whole` a part is.
fn thousandths(part: u64, whole: u64) -> u64 {
    let share = u128::from(part)
        .saturating_mul(1_000)
        .checked_div(u128::from(whole));
    share
        .and_then(|share| u64::try_from(share).ok())
        .unwrap_or(1_000)
}

const fn limit_default() -> usize {
    50
}

/// What a table calculator reads first: the names of the columns.
const CSV_HEAD: &str =
    "entry,time,kind,direction,amount,currency,counterparty,memo,state,order,reference\r\n";

/// Lines that a search looks through, and that a page shows at most.
const SEARCHED_MAX: usize = 10_000;

/// Lines that one export holds at most.
const EXPORTED_MAX: usize = 90_000;

/// Lines that the curve is drawn from at most.
const CURVE_MAX: usize = 500;

/// Payments of unknown end that stand above the others.
const OPEN_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use quid_common::order::Memo;

    use super::*;

    fn line(kind: Kind, incoming: bool, units: u64, at: u64) -> HistoryItem {
        HistoryItem {
            entry: Some(at),
            kind,
            incoming,
            amount: Amount::new(units).expect("small"),
            counterparty: "bob".parse().expect("a name"),
            memo: Memo::default(),
            state: HistoryState::Settled,
            time: LedgerTime::from_millis(at),
            order: None,
            reference: None,
        }
    }

    #[test]
    fn the_curve_is_walked_back_from_what_is_there_now() {
        let currency = Currency::new("QUID", 0).expect("a currency");
        let mut unknown = line(Kind::Payment, false, 500, 60);
        unknown.state = HistoryState::Unknown;
        let lines = [
            unknown,
            line(Kind::Release, true, 5, 50),
            line(Kind::Claim, false, 15, 40),
            line(Kind::Hold, false, 20, 30),
            line(Kind::Payment, false, 25, 20),
            line(Kind::Issue, true, 100, 0),
        ];
        let (points, most) = points(Amount::new(60).expect("small"), &lines, &currency);
        let shown: Vec<_> = points
            .iter()
            .map(|it| (it.x, it.y, it.amount.as_str()))
            .collect();
        assert_eq!(
            shown,
            [(0, 1_000, "100"), (500, 750, "75"), (1_000, 600, "60")]
        );
        assert_eq!(most.units(), 100);
    }

    #[test]
    fn a_cell_is_text_and_no_formula() {
        let line = Line {
            memo: "=1+\"2\",\n".to_owned(),
            counterparty: "bob".to_owned(),
            ..Line::default()
        };
        let text = csv_line(&line);
        assert!(
            text.contains(",\"bob\",\"'=1+\"\"2\"\",\\n\",\"unknown\","),
            "{text}"
        );
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn a_search_looks_at_what_is_seen() {
        let line = Line {
            entry: Some(12),
            kind: "payment".to_owned(),
            counterparty: "bob".to_owned(),
            memo: "For the TEA".to_owned(),
            ..Line::default()
        };
        for (wanted, found) in [
            ("tea", true),
            ("bob tea", true),
            ("12", true),
            ("milk", false),
            ("", true),
        ] {
            assert_eq!(holds(&line, wanted), found, "{wanted}");
        }
    }
}
