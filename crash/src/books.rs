//! What payer, payee and directory know once all is over, held against each other and against what
//! was acknowledged before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Failure;
use crate::operation::count;
use crate::point::Operation;
use crate::scene::{Home, OPENING_UNITS, PATIENCE, Scene};

/// What must never be lost, over all points of one scene.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// The highest entry that any program has shown.
    last: Option<u64>,
    /// Entries that are in a side's history, by the lines that have shown them.
    payer: BTreeMap<u64, String>,
    payee: BTreeMap<u64, String>,
    /// The last audit's checkpoint.
    checkpoint: Option<String>,
}

impl Acknowledged {
    /// Notes the entry in a line that a program has printed.
    pub(crate) fn note(&mut self, operation: Operation, line: &Value) {
        let Some(entry) = line["entry"].as_u64() else {
            return;
        };
        self.last = self.last.max(Some(entry));
        // Neither who registered is in the payer's history, nor an order that came to nothing.
        let moved = line["state"] != "voided" && line["state"] != "refused";
        if operation != Operation::Register && moved {
            self.payer.insert(entry, line.to_string());
        }
    }

    /// Checks everything that holds whatever was going on; the books of both sides.
    pub(crate) fn check(&mut self, scene: &mut Scene) -> Result<Books, Failure> {
        let books = Books::of(scene)?;
        books.agree()?;
        self.check_told(scene)?;
        for (told, side) in [(&self.payer, &books.payer), (&self.payee, &books.payee)] {
            for (entry, line) in told {
                let known = side.history.iter().any(|it| it["entry"] == *entry);
                if !known {
                    return Err(format!("lost: nobody knows entry {entry} of {line}").into());
                }
            }
        }
        let audit = scene.audit(self.checkpoint.as_deref())?;
        let entries = audit["entries"].as_u64();
        if self.last >= entries {
            let last = self.last;
            return Err(format!("lost: entry {last:?} was shown, the log has {entries:?}").into());
        }
        let issued = OPENING_UNITS * (2 + scene.others as u128);
        let (available, held) = (units(&audit["available"])?, units(&audit["held"])?);
        let known = [&books.payer, &books.payee].map(|side| side.held);
        if held != known[0] + known[1]
            || available + held != issued
            || units(&audit["issued"])? != issued
        {
            return Err(format!("the books do not balance: {audit}, {books:?}").into());
        }
        self.checkpoint = audit["checkpoint"].as_str().map(str::to_owned);
        Ok(books)
    }

    /// What the payee's program told of money, over all its runs: of each payment once.
    fn check_told(&mut self, scene: &Scene) -> Result<(), Failure> {
        let told = std::fs::read_to_string(scene.folder.path().join("listener"))?;
        let mut received = BTreeSet::new();
        for line in told.lines() {
            // Of a killed run the last line may be a part.
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let Some(entry) = line["entry"].as_u64() else {
                continue;
            };
            if line["event"] == "received" && !received.insert(entry) {
                return Err(format!("doubled: it was told twice of {line}").into());
            }
            self.last = self.last.max(Some(entry));
            self.payee.insert(entry, line.to_string());
        }
        Ok(())
    }
}

/// What both sides know.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) payer: Side,
    pub(crate) payee: Side,
}

/// What one home knows.
#[derive(Debug)]
pub(crate) struct Side {
    available: u128,
    held: u128,
    pub(crate) history: Vec<Value>,
}

impl Books {
    /// Both sides' books, if nothing in them is without an end.
    fn of(scene: &Scene) -> Result<Self, Failure> {
        let payer = Side::of(&scene.payer, OPEN_ORDERS)?;
        let payee = Side::of(&scene.payee, OPEN_NOTES)?;
        Ok(Self { payer, payee })
    }

    /// Every payment and claim is in both histories, once and as the same entry, and the balances
    /// are what the histories say.
    fn agree(&self) -> Result<(), Failure> {
        let (out, came) = (self.payer.moved("out")?, self.payee.moved("in")?);
        if out != came {
            return Err(format!("the two sides differ: {out:?}, {came:?}").into());
        }
        let moved: u128 = out.values().map(|(_, amount)| amount).sum();
        let owned = [&self.payer, &self.payee].map(|side| side.available + side.held);
        match owned == [OPENING_UNITS - moved, OPENING_UNITS + moved] {
            true => Ok(()),
            false => Err(format!("{moved} were moved, and they own {owned:?}").into()),
        }
    }

    /// The payment or hold with this memo, which there is at most once.
    pub(crate) fn with_memo(&self, memo: &str) -> Result<Option<&Value>, Failure> {
        let mut found = self
            .payer
            .history
            .iter()
            .filter(|line| line["memo"] == memo);
        match (found.next(), found.next()) {
            (found, None) => Ok(found),
            (_, Some(second)) => Err(format!("doubled: {second}").into()),
        }
    }
}

impl Side {
    fn of(home: &Home, open: &str) -> Result<Self, Failure> {
        let status = home.done(&["status"])?;
        if status["pending"] != 0 {
            return Err(format!("unknown still: {status}").into());
        }
        if count(&home.journal(PATIENCE)?, open)? != 0 {
            return Err("unknown still: the journal has an open order".into());
        }
        let mut history = home.list(&["history", "--limit", "100000"])?;
        history.retain(|line| line["entry"].is_u64());
        Ok(Self {
            available: units(&status["balance"])?,
            held: units(&status["held"])?,
            history,
        })
    }

    /// All money that went from one member to another, by entry.
    fn moved(&self, direction: &str) -> Result<BTreeMap<u64, (Value, u128)>, Failure> {
        let mut moved = BTreeMap::new();
        for line in &self.history {
            let between = line["kind"] == "payment" || line["kind"] == "claim";
            if between && line["direction"] == direction {
                let entry = line["entry"].as_u64().unwrap_or_default();
                moved.insert(entry, (line["order"].clone(), units(&line["amount"])?));
            }
        }
        Ok(moved)
    }

    /// What was claimed on a tab.
    pub(crate) fn claimed(&self, tab: &str) -> Result<u128, Failure> {
        let claims = self.history.iter();
        let claims = claims.filter(|line| line["kind"] == "claim" && line["order"] == tab);
        claims.map(|line| units(&line["amount"])).sum()
    }
}

/// An amount with six decimals in its smallest unit.
pub(crate) fn units(amount: &Value) -> Result<u128, Failure> {
    let text = amount
        .as_str()
        .ok_or_else(|| format!("no amount: {amount}"))?;
    Ok(text.replace('.', "").parse()?)
}

const OPEN_ORDERS: &str = "SELECT (SELECT count(*) FROM orders WHERE state = 0)
                                + (SELECT count(*) FROM tabs WHERE state = 0)";
const OPEN_NOTES: &str = "SELECT count(*) FROM notes WHERE state = 0";
