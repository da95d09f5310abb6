//! What everybody knows of all payments, held against what was said of each.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use quid_common::order::SignedOrder;
use serde_json::Value;

use crate::plugs::{Attempt, Journal, Member, Said};
use crate::processes::{World, directory_program};

/// What one home knows.
#[derive(Debug)]
pub(crate) struct Books {
    balance: i128,
    history: Vec<Line>,
    /// Memos of all orders that were ever signed: each is written down before it is sent.
    signed: BTreeSet<String>,
    /// By order: whether it settled, and as which entry; refused otherwise.
    sent: BTreeMap<String, Option<u64>>,
    /// The same for orders to this account; one that the payer settled itself is there too, if
    /// somebody listens.
    taken: BTreeMap<String, Option<u64>>,
    /// Orders and notes without an end.
    open: i64,
    /// Entries that brought money.
    received: BTreeSet<u64>,
}

/// A line of `quid history`.
#[derive(Clone, Debug)]
struct Line {
    kind: String,
    entry: Option<u64>,
    order: Option<String>,
    incoming: bool,
    amount: i128,
    counterparty: String,
    memo: String,
}

impl Books {
    pub(crate) fn of(who: &Member) -> Result<Self, String> {
        let history = who.ask(&["history", "--limit", "1000000"])?;
        let journal = who.journal();
        let received = journal.rows("SELECT entry FROM received", |row| number(row, 0));
        let open = "SELECT (SELECT count(*) FROM orders WHERE state = 0)
                         + (SELECT count(*) FROM notes WHERE state = 0)";
        Ok(Self {
            balance: units(&who.status()?["balance"]),
            history: history.iter().map(line).collect(),
            signed: journal
                .rows("SELECT bytes FROM orders", memo)
                .into_iter()
                .collect(),
            sent: ends(&journal, "orders"),
            taken: ends(&journal, "notes"),
            open: journal.count(open),
            received: received.into_iter().flatten().collect(),
        })
    }

    /// Once everything has healed: the books, if all in them has an end and, for who listens, all
    /// that came has been told.
    pub(crate) fn closed(who: &Member, listens: bool) -> Result<Self, String> {
        let status = who.status()?;
        if status["pending"] != 0 {
            return Err(format!("{} still asks: {status}", who.name));
        }
        let books = Self::of(who)?;
        let is_payment = |line: &&Line| line.incoming && line.kind == "payment";
        let came = books.history.iter().filter(is_payment);
        let untold: Vec<_> = came
            .filter_map(|line| line.entry)
            .filter(|entry| !books.received.contains(entry))
            .collect();
        if books.open != 0 || (listens && !untold.is_empty()) {
            return Err(format!(
                "{}: {} without an end, entries not taken: {untold:?}",
                who.name, books.open
            ));
        }
        Ok(books)
    }

    /// Claims on tabs with somebody, in units, by entry.
    pub(crate) fn claims(&self, with: &str, incoming: bool) -> BTreeMap<Option<u64>, u64> {
        let claims = self.history.iter().filter(|line| {
            line.kind == "claim" && line.incoming == incoming && line.counterparty == with
        });
        let units = |line: &Line| u64::try_from(line.amount).expect("no sign");
        claims.map(|line| (line.entry, units(line))).collect()
    }

    fn lines<'a>(&'a self, memo: &'a str, incoming: bool) -> impl Iterator<Item = &'a Line> {
        self.history
            .iter()
            .filter(move |line| line.memo == memo && line.incoming == incoming)
    }
}

/// Everybody's books.
pub(crate) type All = BTreeMap<&'static str, Books>;

/// What is wrong with anything, in words.
pub(crate) fn check(attempts: &[Attempt], all: &All, opening: i128) -> Vec<String> {
    let mut wrong = Vec::new();
    for attempt in attempts {
        if let Err(what) = check_attempt(attempt, all) {
            wrong.push(format!("{what}: {attempt:?}"));
        }
    }
    for (name, books) in all {
        wrong.extend(check_books(name, books, attempts, opening));
    }
    wrong
}

/// What a payment's process said holds for ever, in both homes.
fn check_attempt(attempt: &Attempt, all: &All) -> Result<(), String> {
    let memo = attempt.memo.as_str();
    let of = |name: &str, incoming| {
        let books = all.get(name);
        let lines = books
            .into_iter()
            .flat_map(move |it| it.lines(memo, incoming));
        lines.collect::<Vec<_>>()
    };
    let (out, came) = (of(attempt.payer, false), of(attempt.payee, true));
    let entry = match (out.as_slice(), came.as_slice()) {
        ([], []) => None,
        ([out], [came]) => {
            let amount = units(&attempt.amount.as_str().into());
            let agree = out.entry.is_some()
                && out.entry == came.entry
                && out.order == came.order
                && (out.amount, came.amount) == (amount, amount)
                && (out.counterparty.as_str(), came.counterparty.as_str())
                    == (attempt.payee, attempt.payer);
            if !agree {
                return Err(format!("the two sides differ: {out:?} {came:?}"));
            }
            out.entry
        }
        _ => return Err(format!("not once on both sides: {out:?} {came:?}")),
    };
    let signed = all[attempt.payer].signed.contains(&attempt.memo);
    match (attempt.said, entry) {
        (Said::Unreachable, None) if signed => Err("said that nothing was sent".to_owned()),
        (Said::Settled(said), Some(entry)) if said == entry => Ok(()),
        (Said::Refused | Said::Unreachable | Said::Unknown, None) | (Said::Unknown, Some(_)) => {
            Ok(())
        }
        (said, entry) => Err(format!("said {said:?}, but the books say {entry:?}")),
    }
}

/// A home's history, journal and balance tell one story, and nothing that nobody asked for.
fn check_books(name: &str, books: &Books, attempts: &[Attempt], opening: i128) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut balance = 0;
    let mut settled = [BTreeMap::new(), BTreeMap::new()];
    let mut claimed = 0;
    for line in &books.history {
        // What was held and not claimed is back: no tab is open any more.
        if line.kind == "hold" || line.kind == "release" {
            continue;
        }
        balance += if line.incoming {
            line.amount
        } else {
            -line.amount
        };
        if line.kind == "claim" {
            claimed += if line.incoming {
                line.amount
            } else {
                -line.amount
            };
            continue;
        }
        let Some(order) = &line.order else {
            continue;
        };
        let known = attempts.iter().any(|it| {
            let ours = if line.incoming { it.payee } else { it.payer };
            it.memo == line.memo && ours == name
        });
        if !known {
            wrong.push(format!("{name}: nobody asked for {line:?}"));
        }
        settled[usize::from(line.incoming)].insert(order.clone(), line.entry);
    }
    let paid = |ends: &BTreeMap<String, Option<u64>>| -> BTreeMap<String, Option<u64>> {
        let paid = ends.iter().filter(|(_, entry)| entry.is_some());
        paid.map(|(order, entry)| (order.clone(), *entry)).collect()
    };
    if paid(&books.sent) != settled[0] {
        wrong.push(format!(
            "{name}: orders {:?} but history {:?}",
            books.sent, settled[0]
        ));
    }
    let taken = paid(&books.taken);
    if !taken
        .iter()
        .all(|(order, entry)| settled[1].get(order) == Some(entry))
    {
        wrong.push(format!(
            "{name}: notes {taken:?} but history {:?}",
            settled[1]
        ));
    }
    if balance != books.balance {
        wrong.push(format!(
            "{name}: owns {}, history says {balance}",
            books.balance
        ));
    }
    // The same once more, from what its own payments said.
    let own: i128 = attempts
        .iter()
        .map(|it| {
            let moved = match it.said {
                Said::Settled(_) => true,
                Said::Unknown => books.lines(&it.memo, it.payee == name).next().is_some(),
                _ => false,
            };
            let amount = units(&it.amount.as_str().into()) * i128::from(moved);
            amount * (i128::from(it.payee == name) - i128::from(it.payer == name))
        })
        .sum();
    if opening + own + claimed != books.balance {
        wrong.push(format!(
            "{name}: owns {}, payments say {}",
            books.balance,
            opening + own + claimed
        ));
    }
    wrong
}

/// What a listener told over all its runs agrees with its books, and it told of money once.
pub(crate) fn check_told(name: &str, told: &[(usize, Value)], books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut received = BTreeSet::new();
    let mut sent = BTreeSet::new();
    for (run, line) in told {
        let entry = line["entry"].as_u64();
        let order = line["order"].as_str();
        let found = books
            .history
            .iter()
            .find(|found| match line["event"].as_str() {
                Some("refused") => found.order.as_deref() == order,
                _ => found.entry == entry,
            });
        let amount = || units(&line["amount"]);
        let right = match line["event"].as_str() {
            Some("received") => {
                received.insert(entry)
                    && found.is_some_and(|found| {
                        found.incoming
                            && found.order.as_deref() == order
                            && found.amount == amount()
                            && line["counterparty"] == found.counterparty.as_str()
                            && line["memo"] == found.memo.as_str()
                    })
            }
            Some("sent") => {
                sent.insert((run, entry))
                    && found.is_some_and(|found| {
                        !found.incoming
                            && found.order.as_deref() == order
                            && found.amount == amount()
                    })
            }
            Some("refused") => found.is_none(),
            // What tabs paid is held against the books of both sides.
            Some("online" | "tab") => true,
            // The directory may go away or restart, but has no reason to send anybody away.
            Some("offline") => !["1", "2", "5"]
                .map(|code| format!("closed by peer: {code}"))
                .contains(&line["reason"].as_str().unwrap_or_default().to_owned()),
            _ => false,
        };
        if !right {
            wrong.push(format!(
                "{name} told in run {run}: {line}, the books: {found:?}"
            ));
        }
    }
    wrong
}

/// The directory's own audit: nothing is wrong, and nothing appeared or vanished.
pub(crate) fn audit(world: &World, issued: i128) {
    let output = Command::new(directory_program())
        .args(["audit", "--json", "--data", &world.path("data")])
        .output()
        .expect("the directory's program runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(output.status.success(), "{report}");
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["issued"], report["available"], "{report}");
    assert_eq!(units(&report["issued"]), issued, "{report}");
}

/// Every order in a table of the journal that has an end.
fn ends(journal: &Journal, table: &str) -> BTreeMap<String, Option<u64>> {
    let sql = format!("SELECT lower(hex(id)), entry, state FROM {table} WHERE state > 0");
    let rows = journal.rows(&sql, |row| {
        let hex: String = row.get(0).expect("an id");
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        let settled = number(row, 2) == Some(1);
        (parts.join("-"), number(row, 1).filter(|_| settled))
    });
    rows.into_iter().collect()
}

fn memo(row: &rusqlite::Row<'_>) -> String {
    let bytes: Vec<u8> = row.get(0).expect("an order's bytes");
    let order = SignedOrder::from_bytes(&bytes).expect("written by the node");
    order.statement().memo.as_str().to_owned()
}

fn number(row: &rusqlite::Row<'_>, at: usize) -> Option<u64> {
    let number: Option<i64> = row.get(at).expect("a number");
    number.map(i64::cast_unsigned)
}

fn line(line: &Value) -> Line {
    let text = |field: &str| line[field].as_str().map(str::to_owned);
    Line {
        kind: text("kind").unwrap_or_default(),
        entry: line["entry"].as_u64(),
        order: text("order"),
        incoming: line["direction"] == "in",
        amount: units(&line["amount"]),
        counterparty: text("counterparty").unwrap_or_default(),
        memo: text("memo").unwrap_or_default(),
    }
}

/// An amount with six decimals, in its smallest unit.
fn units(amount: &Value) -> i128 {
    let text = amount.as_str().expect("amounts are text");
    let (whole, part) = text.split_once('.').expect("with all decimals");
    assert_eq!(part.len(), 6, "{text}");
    format!("{whole}{part}").parse().expect("digits")
}
