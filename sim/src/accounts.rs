//! The accounts as the log's entries make them: who has which key, and what its keys have said.
//!
//! For [`crate::check`], by rules of its own. Entries name an account by a key that it had then; it
//! is its number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quid_common::account::{Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::entry::Registration;
use quid_common::key::PublicKey;
use quid_common::time::LedgerTime;

use crate::check::Broken;

/// All accounts, by their number.
#[derive(Debug, Default)]
pub struct Accounts {
    all: Vec<Account>,
    /// Every key that was ever one's, and whose.
    of: BTreeMap<PublicKey, usize>,
    names: BTreeSet<String>,
}

/// An account.
#[derive(Debug)]
pub struct Account {
    /// What it can spend.
    pub available: i128,
    key: PublicKey,
    recovery: Option<PublicKey>,
    /// By the operator.
    frozen: bool,
    /// By its keys.
    locked: bool,
    /// The entries of the last words of its key and of its recovery key.
    said: [u64; 2],
    pending: Option<Pending>,
    /// The entry of its last payment or tab, and of its last freeze.
    last: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    entry: u64,
    time: LedgerTime,
    successor: PublicKey,
    contested: bool,
}

impl Accounts {
    /// The directory's own, which has number 0 and no name to be taken.
    pub fn treasury(&mut self, key: PublicKey) -> Result<(), Broken> {
        self.add(key, None, 0)
    }

    /// A registration: number after number, and no name or key twice.
    pub fn register(&mut self, entry: u64, wish: &Registration) -> Result<(), Broken> {
        if !self.names.insert(wish.name.to_string()) {
            return Err(format!("the name {} is taken twice", wish.name));
        }
        self.add(wish.key, wish.recovery, entry)
    }

    fn add(
        &mut self,
        key: PublicKey,
        recovery: Option<PublicKey>,
        entry: u64,
    ) -> Result<(), Broken> {
        self.take_key(key, self.all.len())?;
        self.all.push(Account {
            available: 0,
            key,
            recovery,
            frozen: false,
            locked: false,
            said: [entry; 2],
            pending: None,
            last: [0; 2],
        });
        Ok(())
    }

    fn take_key(&mut self, key: PublicKey, number: usize) -> Result<(), Broken> {
        match self.of.insert(key, number) {
            None => Ok(()),
            Some(_) => Err("a key is an account's for the second time".to_owned()),
        }
    }

    /// The number of the account that has, or had, `key`.
    pub fn number(&self, key: &PublicKey) -> Result<usize, Broken> {
        let number = self.of.get(key).copied();
        number.ok_or_else(|| "an entry is about no account".to_owned())
    }

    /// The account that has, or had, `key`.
    pub fn by(&mut self, key: &PublicKey) -> Result<&mut Account, Broken> {
        let number = self.number(key)?;
        self.all
            .get_mut(number)
            .ok_or_else(|| "an entry is about no account".to_owned())
    }

    fn at(&mut self, number: u64) -> Result<&mut Account, Broken> {
        let at = usize::try_from(number).ok().filter(|&at| at != 0);
        at.and_then(|at| self.all.get_mut(at))
            .ok_or_else(|| "a change of keys is about no account".to_owned())
    }

    /// What all of them can spend, the treasury aside, which never has anything.
    pub fn available(&self) -> i128 {
        self.all.iter().map(|account| account.available).sum()
    }

    /// I5: that `key` is the account's own, now.
    pub fn has(&mut self, key: &PublicKey, what: &str) -> Result<(), Broken> {
        match self.by(key)?.key == *key {
            true => Ok(()),
            false => Err(format!("I5: {what} after the key was replaced")),
        }
    }

    /// A payment or a tab. I5: `key` is the account's own, now, and the account is not frozen.
    pub fn pay(&mut self, entry: u64, key: &PublicKey) -> Result<(), Broken> {
        self.has(key, "an order by a key settled")?;
        let account = self.by(key)?;
        account.last[0] = entry;
        match account.is_frozen() {
            false => Ok(()),
            true => Err("I5: a frozen account has paid".to_owned()),
        }
    }

    /// The operator freezes or thaws.
    pub fn operate(&mut self, entry: u64, key: &PublicKey, frozen: bool) -> Result<(), Broken> {
        let account = self.by(key)?;
        account.frozen = frozen;
        if frozen {
            account.last[1] = entry;
        } else {
            account.locked = false;
            if account.pending.is_some_and(|pending| pending.contested) {
                (account.pending, account.recovery) = (None, None);
            }
        }
        Ok(())
    }

    /// The key replaces itself.
    pub fn rotate(&mut self, entry: u64, rotation: &Rotation) -> Result<(), Broken> {
        let account = self.at(rotation.account)?;
        let sound = account.key == rotation.key
            && !account.is_frozen()
            && account.said[0] == rotation.said
            && rotation.takeover.statement().account == rotation.account;
        let next = rotation.successor();
        lawful(sound, "a rotation")?;
        account.key = next;
        account.said[0] = entry;
        self.take_key(next, usize::try_from(rotation.account).unwrap_or_default())
    }

    /// The recovery key announces another.
    pub fn recover(
        &mut self,
        (entry, time): (u64, LedgerTime),
        recovery: &Recovery,
    ) -> Result<(), Broken> {
        let taken = self.of.contains_key(&recovery.successor);
        let account = self.at(recovery.account)?;
        let sound = account.recovery == Some(recovery.recovery)
            && account.said[1] == recovery.said
            && !taken;
        lawful(sound, "a recovery")?;
        account.said[1] = entry;
        account.pending = Some(Pending {
            entry,
            time,
            successor: recovery.successor,
            contested: false,
        });
        Ok(())
    }

    /// The key objects, once.
    pub fn object(&mut self, entry: u64, objection: &Objection) -> Result<(), Broken> {
        let account = self.at(objection.account)?;
        let own = account.key == objection.key;
        let pending = account.pending.as_mut();
        let pending = pending.filter(|it| it.entry == objection.announced && !it.contested);
        match pending {
            Some(pending) if own => pending.contested = true,
            _ => return lawful(false, "an objection"),
        }
        account.locked = true;
        account.said[0] = entry;
        Ok(())
    }

    /// The key that was announced takes over, and not before its time.
    pub fn take_over(
        &mut self,
        (entry, time): (u64, LedgerTime),
        takeover: &Takeover,
    ) -> Result<(), Broken> {
        let account = self.at(takeover.account)?;
        let Some(pending) = account.pending.filter(|it| it.successor == takeover.key) else {
            return lawful(false, "a takeover");
        };
        let wait = if pending.contested { CONTESTED } else { WAIT };
        if time < pending.time.plus(wait) {
            return Err("a recovery took effect before its time".to_owned());
        }
        account.key = takeover.key;
        account.pending = None;
        account.said[0] = entry;
        let number = usize::try_from(takeover.account).unwrap_or_default();
        self.take_key(takeover.key, number)
    }

    /// Either key freezes; the recovery key thaws. What was done, and by which.
    pub fn lock(&mut self, entry: u64, lock: &Lock) -> Result<&'static str, Broken> {
        let account = self.at(lock.account)?;
        let by_recovery = account.recovery == Some(lock.by);
        let which = usize::from(by_recovery);
        let own = account.key == lock.by && lock.frozen;
        let sound = (by_recovery || own) && account.said[which] == lock.said;
        lawful(sound, "a lock")?;
        account.said[which] = entry;
        account.locked = lock.frozen;
        if !lock.frozen && account.pending.is_some_and(|pending| pending.contested) {
            account.pending = None;
        }
        if lock.frozen {
            account.last[1] = entry;
        }
        Ok(match (lock.frozen, by_recovery) {
            (true, false) => "freezes by the account's key, by the log",
            (true, true) => "freezes by the recovery key, by the log",
            (false, _) => "thaws by the recovery key, by the log",
        })
    }
}

impl Account {
    /// Whether anybody has frozen it.
    pub const fn is_frozen(&self) -> bool {
        self.frozen || self.locked
    }

    /// Whether its last freeze came between orders: shortly after the last that settled, and shortly
    /// before `entry`, which is none.
    pub fn was_overtaken(&mut self, entry: u64) -> bool {
        let [paid, froze] = self.last;
        let near = |one: u64, other: u64| other > one && other - one <= NEAR;
        let between = paid > 0 && near(paid, froze) && near(froze, entry);
        if between {
            // Told once of each freeze.
            self.last = [0; 2];
        }
        between
    }
}

fn lawful(sound: bool, what: &str) -> Result<(), Broken> {
    match sound {
        true => Ok(()),
        false => Err(format!(
            "I5: {what} that none of the account's keys may say"
        )),
    }
}

/// How many entries apart two are close.
const NEAR: u64 = 12;

/// How long a recovery waits: three days, and thirty if the account's key objects.
const WAIT: Duration = Duration::from_secs(3 * 24 * 60 * 60);
const CONTESTED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
