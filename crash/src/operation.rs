//! What somebody is killed in: how each operation begins, and how it must have ended.

use rusqlite::Connection;
use serde_json::Value;

use crate::Failure;
use crate::books::{Books, units};
use crate::point::{Operation, Victim};
use crate::rules;
use crate::scene::{Home, OPENING_UNITS, PATIENCE, Scene};

/// An operation that can begin.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) operation: Operation,
    /// Whose command it is.
    pub(crate) home: Home,
    /// The command.
    pub(crate) command: Vec<String>,
    /// Told of payments and tabs, so that they are found again.
    memo: String,
    /// The name, order or tab that it is about.
    subject: String,
    /// Units that are certainly paid on the tab before.
    paid: u64,
    /// Units more, paid to learn how it stands, that may have been paid.
    asked: u64,
}

impl Ready {
    /// Brings about what the operation begins from. `number` tells the points of a scene apart.
    pub(crate) fn new(
        operation: Operation,
        scene: &mut Scene,
        number: u64,
    ) -> Result<Self, Failure> {
        let mut ready = Self {
            operation,
            home: scene.payer.clone(),
            command: Vec::new(),
            memo: format!("{} {number}", operation.name()),
            subject: String::new(),
            paid: 0,
            asked: 0,
        };
        ready.command = match operation {
            Operation::Register => {
                ready.home = scene.stranger()?;
                ready.subject = format!("member-{}", letters(number));
                words(&["register", &ready.subject])
            }
            Operation::Pay => pay(&ready.memo),
            Operation::Void => {
                ready.subject = left_open(scene, &ready.memo, number)?;
                words(&["void", &ready.subject])
            }
            Operation::TabOpen => open(&ready.memo),
            Operation::TabPay | Operation::TabClaim => {
                ready.on_tab(scene, 1)?;
                words(&[
                    "tab",
                    "pay",
                    &ready.subject,
                    &UNITS.to_string(),
                    "--wait",
                    "2",
                ])
            }
            Operation::TabClose => {
                // A new one each time, since this ends it.
                scene.tab = None;
                ready.on_tab(scene, MUCH)?;
                scene.tab = None;
                words(&["tab", "close", &ready.subject])
            }
        };
        Ok(ready)
    }

    /// Pays so many units on the scene's tab.
    fn on_tab(&mut self, scene: &mut Scene, units: u64) -> Result<(), Failure> {
        if scene.tab.is_none() {
            let opened = scene.payer.done(&refs(&open(&self.memo)))?;
            scene.tab = opened["tab"].as_str().map(str::to_owned);
        }
        self.subject = scene.tab.clone().ok_or("a tab was opened without an id")?;
        self.paid = pay_on(&self.home, &self.subject, units)?;
        Ok(())
    }

    /// Whether what follows the command by itself has come: a claim follows a payment on a tab.
    pub(crate) fn is_over(&self, scene: &Scene) -> Result<bool, Failure> {
        if self.operation != Operation::TabClaim {
            return Ok(true);
        }
        let tabs = scene.payee.list(&["tab", "list"])?;
        let tab = tabs.iter().find(|tab| tab["tab"] == *self.subject);
        Ok(tab.is_some_and(|tab| tab["claimed"] == tab["paid"]))
    }

    /// Asks for the end, as who wants to know it would; an error as long as it is not known.
    pub(crate) fn ask(&mut self) -> Result<Value, Failure> {
        match self.operation {
            Operation::Register => self.home.done(&["register", &self.subject]),
            Operation::Pay => Ok(Value::Null),
            Operation::Void => self.home.done(&["void", &self.subject]),
            Operation::TabOpen => {
                let mut tabs = self.home.list(&["tab", "list"])?;
                tabs.retain(|tab| tab["role"] == "payer" && tab["peer"] == "bob");
                match tabs.iter().find(|tab| tab["state"] == "opening") {
                    Some(tab) => Err(format!("unknown still: {tab}").into()),
                    None => Ok(tabs.into()),
                }
            }
            // What the payee lost, and what the payer did not know to be paid, is cleared up when
            // they meet.
            Operation::TabPay | Operation::TabClaim => {
                self.asked += 1;
                Ok(pay_on(&self.home, &self.subject, 1)?.into())
            }
            Operation::TabClose => self.home.done(&["tab", "close", &self.subject]),
        }
    }

    /// Holds what the command said, if it got so far, and what was answered later against the books.
    pub(crate) fn check(
        &self,
        scene: &Scene,
        victim: Victim,
        said: &Value,
        answer: &Value,
        books: &Books,
    ) -> Result<(), Failure> {
        let wrong = |what: &str| Err(format!("{what}: said {said}, then {answer}").into());
        let state = said["state"].as_str();
        match self.operation {
            Operation::Register => {
                let status = self.home.done(&["status"])?;
                let once = said["entry"].is_null() || said["entry"] == answer["entry"];
                let right =
                    status["name"] == *self.subject && units(&status["balance"])? == OPENING_UNITS;
                if !once || !right {
                    return wrong("registered wrongly");
                }
            }
            Operation::Pay => match (state, books.with_memo(&self.memo)?) {
                (Some("settled"), Some(line)) if line["entry"] == said["entry"] => {}
                (None | Some("unknown"), _) if said["error"] != "unreachable" => {}
                (Some("refused") | None, None) => {}
                (_, found) => return wrong(&format!("the books say {found:?}")),
            },
            Operation::Void => {
                let settled = books.with_memo(&self.memo)?.is_some();
                let first = matches!(state, Some("voided" | "settled" | "refused"));
                if settled != (answer["state"] == "settled")
                    || (first && answer["state"] != said["state"])
                {
                    return wrong("settled and void");
                }
            }
            Operation::TabOpen => {
                let tabs = answer.as_array().map_or(&[][..], Vec::as_slice);
                let hold = books.with_memo(&self.memo)?;
                let listed = tabs
                    .iter()
                    .any(|tab| hold.is_some_and(|it| it["order"] == tab["tab"]));
                if hold.is_some() != listed || (state == Some("open") && !listed) {
                    return wrong(&format!("held {hold:?}, listed {tabs:?}"));
                }
            }
            Operation::TabPay | Operation::TabClaim => {
                return self.check_paid(said, answer, books);
            }
            Operation::TabClose => return self.check_closed(scene, victim, said, answer, books),
        }
        Ok(())
    }

    /// All that was acknowledged on the tab is paid, and all that is paid is claimed.
    fn check_paid(&self, said: &Value, answer: &Value, books: &Books) -> Result<(), Failure> {
        let wrong = |what: &str| Err(format!("{what}: said {said}, then {answer}").into());
        let sure = said["acknowledged"].as_u64().unwrap_or_default();
        let paid = answer.as_u64().unwrap_or_default();
        if !(self.paid + sure + 1..=self.paid + UNITS + self.asked).contains(&paid) {
            return wrong(&format!("{} were paid before", self.paid));
        }
        // The payee claims by itself all that was paid.
        let claimed = books.payee.claimed(&self.subject)?;
        if claimed != u128::from(paid) * UNIT {
            return wrong(&format!("{claimed} are claimed"));
        }
        Ok(())
    }

    /// What was paid is claimed, and the tab is gone.
    fn check_closed(
        &self,
        scene: &Scene,
        victim: Victim,
        said: &Value,
        answer: &Value,
        books: &Books,
    ) -> Result<(), Failure> {
        let wrong = |what: &str| Err(format!("{what}: said {said}, then {answer}").into());
        // A payee that is killed may lose what it had not saved, up to its exposure.
        let sure = if victim == Victim::Payee {
            self.paid - EXPOSURE
        } else {
            self.paid
        };
        let claimed = books.payee.claimed(&self.subject)? / UNIT;
        if claimed > u128::from(self.paid) || claimed < u128::from(sure) {
            return wrong(&format!("{} were paid, {claimed} claimed", self.paid));
        }
        let tabs = scene.payer.list(&["tab", "list"])?;
        if tabs.iter().any(|tab| tab["tab"] == *self.subject) {
            return wrong("it is listed still");
        }
        Ok(())
    }

    /// Cleans up for the next point.
    pub(crate) fn close(&self, answer: &Value) -> Result<(), Failure> {
        if self.operation == Operation::TabOpen {
            for tab in answer.as_array().map_or(&[][..], Vec::as_slice) {
                let id = tab["tab"].as_str().unwrap_or_default();
                self.home.done(&["tab", "close", id])?;
            }
        }
        Ok(())
    }
}

/// A payer's order of unknown end: its program is killed once the order is in its journal, now
/// before it has left, now after.
fn left_open(scene: &mut Scene, memo: &str, number: u64) -> Result<String, Failure> {
    let home = scene.payer.clone();
    let mut sends = 0;
    let rule = rules::kill_when(move |call| {
        // Not at a call on the journal itself, whose lock that thread may hold.
        if !call.name.starts_with("send") {
            return false;
        }
        let open = home
            .journal(PATIENCE)
            .and_then(|it| count(&it, OPEN_ORDERS));
        sends += u64::from(open.is_ok_and(|open| open > 0));
        // The first time late enough for the payee to have the order, then anywhere.
        sends > number * 5 % SENDS_MAX
    });
    let command = pay(memo);
    let mut paying = scene.payer.start(&refs(&command), Some(rule))?;
    paying.finish(PATIENCE)?;
    let journal = scene.payer.journal(PATIENCE)?;
    let id: String = journal.query_row(LAST_ORDER, [], |row| row.get(0))?;
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]];
    Ok(parts.join("-"))
}

/// Pays on a tab, and gives what is paid in all.
fn pay_on(home: &Home, tab: &str, units: u64) -> Result<u64, Failure> {
    let paid = home.done(&["tab", "pay", tab, &units.to_string(), "--wait", "5"])?;
    paid["paid"]
        .as_u64()
        .ok_or_else(|| format!("how much is paid? {paid}").into())
}

fn pay(memo: &str) -> Vec<String> {
    words(&["pay", "bob", "0.000100", "--memo", memo, "--wait", "2"])
}

fn open(memo: &str) -> Vec<String> {
    words(&[
        "tab",
        "open",
        "bob",
        "--unit",
        "0.000010",
        "--units",
        &LENGTH.to_string(),
        "--memo",
        memo,
        "--wait",
        "2",
    ])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The words of a command.
pub(crate) fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A number in letters, so that no two names look alike.
fn letters(mut number: u64) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from(b'a' + (number % 8) as u8));
        number /= 8;
        if number == 0 {
            return text;
        }
    }
}

/// One number from a journal.
pub(crate) fn count(journal: &Connection, sql: &str) -> Result<i64, Failure> {
    Ok(journal.query_row(sql, [], |row| row.get(0))?)
}

const OPEN_ORDERS: &str = "SELECT count(*) FROM orders WHERE state = 0";
const LAST_ORDER: &str = "SELECT lower(hex(id)) FROM orders ORDER BY number DESC LIMIT 1";

/// What a unit of our tabs is worth.
const UNIT: u128 = 10;

/// What an operation pays on a tab.
const UNITS: u64 = 7;

/// A hundredth of a tab: the most that a killed payee loses.
const EXPOSURE: u64 = LENGTH / 100;

/// Units of a tab.
const LENGTH: u64 = 1000;

/// What is paid on a tab that is closed then: far more than may be lost.
const MUCH: u64 = 12 * EXPOSURE;

/// Before which of a payer's sends it is killed, at most: by then the payee has submitted its order.
const SENDS_MAX: u64 = 7;
