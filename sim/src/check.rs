//! The promises, held against the log by rules of their own: nothing here is shared with the code
//! that settles but the reading of entries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use quid_common::checkpoint::Checkpoint;
use quid_common::entry::{Entry, Fact};
use quid_common::id::{LedgerId, OrderId};
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_directory::store::LogReader;
use quid_directory::tree::Frontier;
use sha2::{Digest, Sha256};

use crate::accounts::Accounts;
use crate::bills::{self, Counts};
use crate::witness::{End, Seen};

/// The log, read once.
#[derive(Debug, Default)]
pub struct Log {
    /// Its entries.
    pub entries: Vec<Entry>,
    /// Their bytes.
    pub bytes: Vec<Vec<u8>>,
    /// The root over the first entries, by their number.
    roots: Vec<[u8; 32]>,
}

/// A promise that was broken, in words.
pub type Broken = String;

impl Log {
    /// Reads all of it.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(log: &LogReader) -> Result<Self, Broken> {
        let mut read = Self::default();
        let mut frontier = Frontier::default();
        let len = log.len().map_err(broken)?;
        for number in 0..len {
            let stored = log.entry(number).map_err(broken)?;
            read.entries
                .push(Entry::decode(&stored.bytes).map_err(broken)?);
            frontier.append(stored.leaf);
            read.roots.push(frontier.root());
            read.bytes.push(stored.bytes);
        }
        Ok(read)
    }

    /// A digest of what the entries say.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for bytes in &self.bytes {
            digest.update(bytes);
        }
        let digest = digest.finalize();
        digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// What is broken, if anything: I1, I2, I3, I5, I6 and I8 from the entries alone (whose key it was;
/// the signature is the audit's), I4 and I7 against what was seen, and what was asked for against
/// what was paid. Else what the log has seen how often.
///
/// # Errors
/// The first broken promise.
pub fn check(log: &Log, seen: &Seen, directory: &PublicKey) -> Result<Counts, Broken> {
    let fold = fold(log)?;
    let mut counts = bills::check(log, seen, &fold.accounts)?;
    counts.extend(fold.counts);
    receipts(log, seen)?;
    checkpoints(log, seen, directory)?;
    ends(log, seen)?;
    let twice = seen.told.iter().find(|(_, count)| **count > 1);
    match twice {
        Some(((payee, entry), count)) => Err(format!(
            "{payee} was told {count} times of the payment of entry {entry}"
        )),
        None => Ok(counts),
    }
}

/// The accounts and tabs, as the entries make them.
#[derive(Default)]
struct Fold {
    accounts: Accounts,
    tabs: BTreeMap<(PublicKey, OrderId), Held>,
    /// Ids that have had their one effect, by the account's number.
    used: BTreeSet<(usize, OrderId)>,
    issued: i128,
    burnt: i128,
    time: LedgerTime,
    counts: Counts,
}

struct Held {
    payee: PublicKey,
    unit: i128,
    length: u32,
    claimed: u32,
    left: i128,
}

fn fold(log: &Log) -> Result<Fold, Broken> {
    let mut fold = Fold::default();
    let mut treasury = None;
    for (number, entry) in (0..).zip(&log.entries) {
        if let Fact::Genesis(genesis) = &entry.fact {
            treasury = Some(genesis.statement().directory);
        }
        fold.apply(number, entry, treasury.as_ref())
            .map_err(|what| format!("entry {number}: {what}"))?;
    }
    Ok(fold)
}

impl Fold {
    fn apply(
        &mut self,
        number: u64,
        entry: &Entry,
        treasury: Option<&PublicKey>,
    ) -> Result<(), Broken> {
        if entry.time < self.time {
            return Err("I8: ledger time ran backward".to_owned());
        }
        self.time = entry.time;
        match &entry.fact {
            Fact::Close(_) => {}
            Fact::Genesis(genesis) => self.accounts.treasury(genesis.statement().directory)?,
            Fact::Freeze(freeze) => {
                let freeze = freeze.statement();
                self.accounts
                    .operate(number, &freeze.account, freeze.frozen)?;
                self.count(match freeze.frozen {
                    true => "freezes by the operator, by the log",
                    false => "thaws by the operator, by the log",
                });
            }
            Fact::Register(wish) => self.accounts.register(number, wish.statement())?,
            Fact::Issue(issue) => {
                let amount = i128::from(issue.statement().amount.units());
                self.issued += amount;
                self.credit(&issue.statement().account, amount)?;
            }
            Fact::Payment(order) => {
                let order = order.statement();
                self.accounts.pay(number, &order.payer)?;
                self.accounts
                    .has(&order.payee, "an order to a key settled")?;
                if self.accounts.by(&order.payee)?.is_frozen() {
                    self.count("payments to a frozen account, by the log");
                }
                self.use_up(&order.payer, order.id)?;
                let amount = i128::from(order.amount.units());
                self.credit(&order.payer, -amount)?;
                if Some(&order.payee) == treasury {
                    self.burnt += amount;
                } else {
                    self.credit(&order.payee, amount)?;
                }
            }
            Fact::Void(void) => {
                let void = void.statement();
                self.accounts
                    .has(&void.payer, "a void by a key was taken")?;
                self.use_up(&void.payer, void.id)?;
            }
            Fact::Refusal(refusal) => {
                self.use_up(&refusal.payer, refusal.id)?;
                if refusal.reason == Reason::FROZEN {
                    self.refuse_frozen(number, &refusal.payer)?;
                }
            }
            Fact::Tab(terms) => {
                let terms = terms.statement();
                self.accounts.pay(number, &terms.payer)?;
                self.accounts
                    .has(&terms.payee, "a tab to a key was opened")?;
                self.use_up(&terms.payer, terms.id)?;
                let unit = i128::from(terms.unit.units());
                let left = unit * i128::from(terms.length);
                self.credit(&terms.payer, -left)?;
                let held = Held {
                    payee: terms.payee,
                    unit,
                    length: terms.length,
                    claimed: 0,
                    left,
                };
                self.tabs.insert((terms.payer, terms.id), held);
            }
            Fact::Claim(claim) => {
                let amount = i128::from(claim.amount.units());
                let held = self.held(&claim.payer, claim.id)?;
                let units = claim.index.checked_sub(claim.from);
                let sound = held.claimed == claim.from
                    && claim.index <= held.length
                    && held.payee == claim.payee
                    && units.is_some_and(|units| i128::from(units) * held.unit == amount)
                    && amount > 0;
                if !sound {
                    return Err("I6: a claim that is not of its tab, or made twice".to_owned());
                }
                held.claimed = claim.index;
                held.left -= amount;
                self.credit(&claim.payee, amount)?;
                if self.accounts.by(&claim.payer)?.is_frozen() {
                    self.count("claims on a frozen payer's tab, by the log");
                }
            }
            Fact::Release(release) => {
                let amount = i128::from(release.amount.units());
                if self.held(&release.payer, release.id)?.left != amount {
                    return Err("I6: what was claimed and released is not the hold".to_owned());
                }
                self.tabs.remove(&(release.payer, release.id));
                self.credit(&release.payer, amount)?;
                if self.accounts.by(&release.payer)?.is_frozen() {
                    self.count("releases to a frozen payer, by the log");
                }
            }
            Fact::Rotation(change) => self.accounts.rotate(number, change.statement())?,
            Fact::Recovery(change) => {
                let when = (number, entry.time);
                self.accounts.recover(when, change.statement())?;
            }
            Fact::Objection(change) => self.accounts.object(number, change.statement())?,
            Fact::Takeover(change) => {
                let when = (number, entry.time);
                self.accounts.take_over(when, change.statement())?;
            }
            Fact::Lock(change) => {
                let by = self.accounts.lock(number, change.statement())?;
                self.count(by);
            }
        }
        self.balance()
    }

    /// A refusal of this kind is of an account that is frozen then, and of no other.
    fn refuse_frozen(&mut self, number: u64, payer: &PublicKey) -> Result<(), Broken> {
        let account = self.accounts.by(payer)?;
        if !account.is_frozen() {
            return Err("an order was refused as a frozen account's, which it was not".to_owned());
        }
        if account.was_overtaken(number) {
            self.count("freezes among orders of the account, by the log");
        }
        self.count("refusals of a frozen account, by the log");
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn credit(&mut self, account: &PublicKey, amount: i128) -> Result<(), Broken> {
        let available = &mut self.accounts.by(account)?.available;
        *available += amount;
        if *available < 0 {
            return Err(format!("I2: {account} is below zero"));
        }
        Ok(())
    }

    fn use_up(&mut self, payer: &PublicKey, id: OrderId) -> Result<(), Broken> {
        if self.used.insert((self.accounts.number(payer)?, id)) {
            Ok(())
        } else {
            Err(format!("I3: {id} of {payer} has a second effect"))
        }
    }

    fn held(&mut self, payer: &PublicKey, id: OrderId) -> Result<&mut Held, Broken> {
        self.tabs
            .get_mut(&(*payer, id))
            .ok_or_else(|| format!("I6: the tab {id} is not open"))
    }

    fn balance(&self) -> Result<(), Broken> {
        let available = self.accounts.available();
        let held: i128 = self.tabs.values().map(|held| held.left).sum();
        if available + held == self.issued - self.burnt {
            Ok(())
        } else {
            Err("I1: the sums differ from what was issued and burnt".to_owned())
        }
    }
}

/// I4: every receipt that anybody held is of an entry of the log.
fn receipts(log: &Log, seen: &Seen) -> Result<(), Broken> {
    for (number, receipts) in &seen.receipts {
        let index = usize::try_from(*number).unwrap_or(usize::MAX);
        let entry = log.bytes.get(index);
        for receipt in receipts {
            if entry.map(Vec::as_slice) != Some(receipt.entry.as_ref()) {
                return Err(format!("I4: a receipt of entry {number} is not in the log"));
            }
        }
    }
    Ok(())
}

/// I7: every checkpoint that anybody saw is of this log.
fn checkpoints(log: &Log, seen: &Seen, directory: &PublicKey) -> Result<(), Broken> {
    let Some(first) = log.roots.first() else {
        return Err("the log is empty".to_owned());
    };
    // The tree of one leaf is the leaf, and that of entry 0 is the ledger's id.
    let ledger = LedgerId(*first);
    for note in &seen.checkpoints {
        let checkpoint = Checkpoint::try_from(note.clone()).map_err(broken)?;
        let head = checkpoint.verify(ledger, directory).map_err(broken)?;
        let index = usize::try_from(head.size).unwrap_or(usize::MAX);
        let root = index.checked_sub(1).and_then(|last| log.roots.get(last));
        if root != Some(&head.root) {
            return Err(format!(
                "I7: the log does not begin as the checkpoint of {} entries says",
                head.size
            ));
        }
    }
    Ok(())
}

/// What was called final is what the log says.
fn ends(log: &Log, seen: &Seen) -> Result<(), Broken> {
    let settled: BTreeMap<(PublicKey, OrderId), u64> = (0..)
        .zip(&log.entries)
        .filter_map(|(number, entry)| match &entry.fact {
            Fact::Payment(order) => Some(((order.statement().payer, order.statement().id), number)),
            Fact::Tab(terms) => Some(((terms.statement().payer, terms.statement().id), number)),
            _ => None,
        })
        .collect();
    for (which, ends) in &seen.ends {
        let entry = settled.get(which).copied();
        for end in ends {
            let kept = match end {
                End::Settled(said) => entry == Some(*said),
                End::Never => entry.is_none(),
            };
            if !kept {
                let (payer, id) = which;
                return Err(format!(
                    "the order {id} of {payer} was said to be {end:?}, and the log says {entry:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Says an error in words.
pub fn broken(error: impl Display) -> Broken {
    error.to_string()
}
