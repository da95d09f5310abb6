//! A world for the ledger's tests: a directory with its log, people by name, and tables of what
//! they try and what comes of it.

use std::collections::BTreeMap;
use std::fmt;

use quid_common::amount::{Amount, Currency};
use quid_common::entry::{Entry, Fact, Freeze, Genesis, Issue, Registration};
use quid_common::id::{LedgerId, OperationId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use quid_common::order::{
    Decline, Memo, Order, STATEMENT_VERSION, SignedDecline, SignedOrder, SignedVoid, Void,
};
use quid_common::signed::{Signed, Statement};
use quid_common::time::LedgerTime;

use super::{Ledger, Past, Verdict};

#[cfg(test)]
mod keys;
#[cfg(test)]
mod tabs;

pub(super) use self::tabs::TabDraft;

/// Tries every refusal of `in_order` alone and together with every later one, but for the pairs that
/// cannot be: the earlier is always what is said.
pub(super) fn check_precedence<Wrong: Copy + fmt::Debug + PartialEq>(
    in_order: &[(Wrong, &str)],
    never_both: &[(Wrong, Wrong)],
    outcome: impl Fn(&[Wrong]) -> String,
) {
    let mut pairs = 0;
    for (at, &(first, name)) in in_order.iter().enumerate() {
        for &(later, _) in &in_order[at + 1..] {
            if !never_both.contains(&(first, later)) {
                assert_eq!(outcome(&[first, later]), name, "{first:?} and {later:?}");
                pairs += 1;
            }
        }
        assert_eq!(outcome(&[first]), name, "{first:?} alone");
    }
    let all = in_order.len() * (in_order.len() - 1) / 2;
    assert_eq!(pairs, all - never_both.len());
}

/// Plays `table`, a line each, and panics at the first line that comes out otherwise.
///
/// ```text
/// account NAME AMOUNT                        registers it and issues so much
/// settle ID PAYER PAYEE AMOUNT now T expires T [by NAME] [memo WORD] [declined] -> OUTCOME
/// void ID PAYER now T expires T [by NAME] -> OUTCOME
/// register NAME [key NAME] [recovery NAME] [by NAME] -> OUTCOME
/// issue OPERATION NAME AMOUNT -> OUTCOME
/// freeze|thaw OPERATION NAME -> OUTCOME
/// forget [ENTRIES]                           the index has so many, memory lets go
/// index behind|caught_up                     how the index answers from now on
/// tab ID PAYER PAYEE UNIT x LENGTH now T [opens T] [expires T] [grace S] [by NAME] [memo WORD] -> OUTCOME
/// claim ID FROM INDEX now T [by NAME] [with ID] -> OUTCOME
/// close ID NAME now T [from NAME] -> OUTCOME
/// release ID now T [since T] -> OUTCOME      if it is due, at a directory that serves since then
/// rotate NAME OLD NEW now T [said ENTRY] -> OUTCOME            OLD and NEW are owners of keys
/// recover NAME RECOVERY NEW now T [said ENTRY] -> OUTCOME
/// object NAME KEY now T [announced ENTRY] -> OUTCOME
/// takeover NAME NEW now T -> OUTCOME
/// lock|unlock NAME KEY now T [said ENTRY] -> OUTCOME
/// key NAME OWNER                             whose key the account has
/// balance NAME AMOUNT
/// held NAME AMOUNT
/// totals ISSUED BURNT
/// ```
///
/// An outcome is a refusal's name, or what the entry did. Orders must be settled by the treasury's
/// name where it is payee. After each line the books are checked, and a snapshot of them restored.
pub(super) fn check(table: &str) {
    let mut world = World::new();
    for line in table.lines() {
        let text = line.split('#').next().unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        let (wish, expected) = text.split_once("->").unwrap_or((text, ""));
        let outcome = world.play(&mut Words(wish.split_whitespace()));
        assert_eq!(outcome, expected.trim(), "in the line: {line}");
        world.check(line);
    }
    world.check_replay();
}

/// A directory, its log and its books.
pub(super) struct World {
    pub(super) directory: SecretKey,
    pub(super) ledger: Ledger,
    pub(super) log: Vec<Entry>,
    /// Whether the index answers that it does not know.
    pub(super) behind: bool,
    /// The first terms of each tab in a table.
    drafts: BTreeMap<String, TabDraft>,
}

/// What stands in an order; start from [`World::order`] and change what the test is about.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) version: u8,
    pub(super) ledger: LedgerId,
    pub(super) id: OrderId,
    pub(super) payer: SecretKey,
    pub(super) payee: PublicKey,
    pub(super) amount: Amount,
    pub(super) memo: String,
}

impl Draft {
    pub(super) fn sign(&self) -> SignedOrder {
        let order = Order {
            version: self.version,
            ledger: self.ledger,
            id: self.id,
            payer: self.payer.public(),
            payee: self.payee,
            amount: self.amount,
            memo: Memo::new(self.memo.clone()).expect("short"),
            reference: None,
        };
        Signed::new(order, &self.payer)
    }
}

impl World {
    /// A directory that has just begun, at time 0.
    pub(super) fn new() -> Self {
        let directory = key("treasury");
        let mut world = Self {
            directory,
            ledger: Ledger::new(),
            log: Vec::new(),
            behind: false,
            drafts: BTreeMap::new(),
        };
        world
            .apply(genesis("treasury", 0))
            .expect("a ledger begins with its genesis");
        world
    }

    /// A directory with accounts that own so much.
    pub(super) fn with(accounts: &[(&str, u64)]) -> Self {
        let mut world = Self::new();
        for (name, units) in accounts {
            world.open(name, *units);
        }
        world
    }

    pub(super) fn open(&mut self, name: &str, units: u64) {
        assert_eq!(
            self.register(name, name, None, name),
            "registered",
            "{name}"
        );
        if units > 0 {
            let outcome = self.issue(&format!("grant of {name}"), name, amount(units));
            assert_eq!(outcome, "issued", "{name}");
        }
    }

    /// An order of 1 from `payer` to `payee` that expires at 60 s.
    pub(super) fn order(&self, id: &str, payer: &str, payee: &str) -> Draft {
        Draft {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id: order_id(id, 60_000),
            payer: key(payer),
            payee: key(payee).public(),
            amount: amount(1),
            memo: String::new(),
        }
    }

    pub(super) fn apply(&mut self, entry: Entry) -> Result<u64, super::Fault> {
        let index = self.ledger.apply(&entry)?;
        assert_eq!(index, self.log.len() as u64);
        self.log.push(entry);
        Ok(index)
    }

    /// Submits an order and appends what the ledger says; returns what came of it.
    pub(super) fn settle(
        &mut self,
        order: &SignedOrder,
        decline: Option<&SignedDecline>,
        submitter: &PublicKey,
        now: u64,
    ) -> String {
        let now = LedgerTime::from_millis(now);
        let time = now.max(self.ledger.time());
        let verdict = self
            .ledger
            .decide_order(order, decline, submitter, now, &mut |payer, id| {
                self.past(payer, id, time)
            });
        let which = (order.statement().payer, order.statement().id);
        self.take_of(which, verdict, time)
    }

    /// As [`Self::take`], for what is signed under an id: whatever is known is of that id.
    fn take_of(
        &mut self,
        which: (PublicKey, OrderId),
        verdict: Verdict,
        time: LedgerTime,
    ) -> String {
        if let Verdict::Known { entry } = verdict {
            let known = self.log[entry as usize].fact.used_id();
            let (payer, id) = known.expect("it used an id");
            assert!(id == which.1 && self.ledger.is_same(&payer, &which.0));
        }
        self.take(verdict, time)
    }

    pub(super) fn void(&mut self, void: &SignedVoid, submitter: &PublicKey, now: u64) -> String {
        let now = LedgerTime::from_millis(now);
        let time = now.max(self.ledger.time());
        let verdict = self
            .ledger
            .decide_void(void, submitter, now, &mut |payer, id| {
                self.past(payer, id, time)
            });
        let which = (void.statement().payer, void.statement().id);
        self.take_of(which, verdict, time)
    }

    pub(super) fn register(
        &mut self,
        name: &str,
        owner: &str,
        recovery: Option<&str>,
        connected: &str,
    ) -> String {
        let wish = registration(name, owner, recovery);
        let verdict = self
            .ledger
            .decide_registration(&wish, &key(connected).public());
        self.take(verdict, self.ledger.time())
    }

    pub(super) fn issue(&mut self, operation_: &str, name: &str, amount: Amount) -> String {
        let issue = self.signed_issue(operation_, name, amount);
        let verdict = self.ledger.decide_issue(&issue);
        self.take(verdict, self.ledger.time())
    }

    pub(super) fn freeze(&mut self, operation_: &str, name: &str, frozen: bool) -> String {
        let freeze = self.signed_freeze(operation_, name, frozen);
        let verdict = self.ledger.decide_freeze(&freeze);
        self.take(verdict, self.ledger.time())
    }

    pub(super) fn signed_issue(&self, id: &str, name: &str, amount: Amount) -> Signed<Issue> {
        let issue = Issue {
            directory: self.directory.public(),
            ledger: self.ledger.ledger_id(),
            operation: operation(id),
            account: self.key_now(name),
            amount,
        };
        Signed::new(issue, &self.directory)
    }

    pub(super) fn signed_freeze(&self, id: &str, name: &str, frozen: bool) -> Signed<Freeze> {
        let freeze = Freeze {
            directory: self.directory.public(),
            ledger: self.ledger.ledger_id(),
            operation: operation(id),
            account: self.key_now(name),
            frozen,
        };
        Signed::new(freeze, &self.directory)
    }

    /// The key that the account of this name has now; the person's own if there is no account.
    fn key_now(&self, text: &str) -> PublicKey {
        let account = text.parse().ok().and_then(|it| self.ledger.by_name(&it));
        account.map_or_else(|| key(text).public(), |account| account.key)
    }

    pub(super) fn balance(&self, name: &str) -> u64 {
        self.ledger
            .account(&key(name).public())
            .expect("registered")
            .available
            .units()
    }

    /// The invariants, and that a snapshot brings the same books back.
    pub(super) fn check(&self, after: &str) {
        self.ledger
            .check()
            .unwrap_or_else(|fault| panic!("{fault}, after: {after}"));
        let restored = Ledger::restore(&self.ledger.snapshot()).expect("our own snapshot");
        assert_eq!(restored, self.ledger, "after: {after}");
    }

    /// That the log alone, with ids forgotten on the way as an auditor does, gives these balances.
    pub(super) fn check_replay(&self) {
        let mut replay = Ledger::new();
        for entry in &self.log {
            let bytes = entry.encode();
            replay
                .apply(&Entry::decode(&bytes).expect("own encoding"))
                .expect("its own log");
            replay.forget(LedgerTime::default(), u64::MAX);
        }
        assert_eq!(replay.accounts(), self.ledger.accounts());
        assert_eq!(replay.by_key, self.ledger.by_key);
        assert!(replay.tabs == self.ledger.tabs);
        assert_eq!(replay.totals(), self.ledger.totals());
        assert_eq!(replay.time(), self.ledger.time());
        self.check_redo();
        for from in [1, self.log.len() / 3, self.log.len() * 2 / 3] {
            self.check_slices(from.max(1));
        }
    }

    /// That the entries in short bring the same books, from the first entry on.
    fn check_redo(&self) {
        let mut ledger = Ledger::new();
        let mut noted = Vec::new();
        ledger.apply(&self.log[0]).expect("its own log");
        let mut redone = ledger.clone();
        ledger.note_redo(true);
        for entry in &self.log[1..] {
            ledger.apply(entry).expect("its own log");
            ledger.take_redo(&mut noted);
        }
        ledger.note_redo(false);
        assert_eq!(redone.redo(&noted), Ok(()));
        assert_eq!(redone, ledger);
        for end in 0..noted.len() {
            // Whole entries are taken, and of part of one nobody dies.
            let _ = redone.clone().redo(&noted[..end]);
        }
    }

    /// That a snapshot taken in slices while later entries come is that of the entry at which it
    /// was begun.
    fn check_slices(&self, from: usize) {
        let mut ledger = Ledger::new();
        for entry in &self.log[..from] {
            ledger.apply(entry).expect("its own log");
        }
        let expected = ledger.snapshot();
        ledger.begin_snapshot();
        let (mut taken, mut done) = (Vec::new(), false);
        for entry in &self.log[from..] {
            ledger.apply(entry).expect("its own log");
            done = ledger.snapshot_slice(1, &mut taken);
            assert!(done || ledger.forget(LedgerTime::default(), u64::MAX) == 0);
        }
        while !done {
            done = ledger.snapshot_slice(1, &mut taken);
        }
        assert_eq!(taken, expected, "begun at entry {from}");
    }

    /// What a perfect index knows; panics when it is asked what memory must know.
    fn past(&self, payer: &PublicKey, id: OrderId, time: LedgerTime) -> Past {
        assert!(
            id.expiry() <= time,
            "only ids past their expiry leave memory"
        );
        assert_eq!(self.ledger.fate(payer, id), None, "memory knows this id");
        if self.behind {
            return Past::Behind;
        }
        let found = self.log.iter().position(|entry| {
            let used = entry.fact.used_id();
            used.is_some_and(|(of, used)| used == id && self.ledger.is_same(&of, payer))
        });
        let Some(at) = found else { return Past::Never };
        let index = at as u64;
        assert!(
            index < self.ledger.forgotten_through(),
            "this id has not left memory"
        );
        let order = self.log[at].fact.order_digest();
        Past::Entry { index, order }
    }

    fn take(&mut self, verdict: Verdict, time: LedgerTime) -> String {
        match verdict {
            Verdict::Refuse(reason) => reason.name().to_owned(),
            Verdict::Known { entry } => what(&self.log[entry as usize].fact).to_owned(),
            Verdict::Append(fact) => {
                if let Some(id) = fact.used_id() {
                    let uses = self
                        .log
                        .iter()
                        .filter(|entry| entry.fact.used_id() == Some(id));
                    assert_eq!(uses.count(), 0, "{id:?} has an effect already");
                }
                let outcome = what(&fact).to_owned();
                self.apply(Entry { time, fact })
                    .expect("what was decided can be applied");
                outcome
            }
        }
    }

    /// One line of a table, without its outcome.
    pub(super) fn line(&mut self, text: &str) -> String {
        self.play(&mut Words(text.split_whitespace()))
    }

    fn play(&mut self, words: &mut Words<'_>) -> String {
        match words.next() {
            "account" => {
                let (name, units) = (words.next(), words.next());
                self.open(name, number(units));
                String::new()
            }
            "settle" => self.play_settle(words),
            "void" => {
                let (id, payer) = (words.next(), words.next());
                let (now, expires) = words.times();
                let mut by = payer;
                words.each(|word, words| match word {
                    "by" => by = words.next(),
                    other => panic!("{other}?"),
                });
                let ledger = self.ledger.ledger_id();
                let void = Void::sign(ledger, order_id(id, expires), &key(payer));
                self.void(&void, &key(by).public(), now)
            }
            "register" => {
                let name = words.next();
                let (mut owner, mut recovery, mut by) = (name, None, None);
                words.each(|word, words| match word {
                    "key" => owner = words.next(),
                    "recovery" => recovery = Some(words.next()),
                    "by" => by = Some(words.next()),
                    other => panic!("{other}?"),
                });
                self.register(name, owner, recovery, by.unwrap_or(owner))
            }
            "issue" => {
                let (operation, name, units) = (words.next(), words.next(), words.next());
                self.issue(operation, name, amount(number(units)))
            }
            change @ ("freeze" | "thaw") => {
                let (operation, name) = (words.next(), words.next());
                self.freeze(operation, name, change == "freeze")
            }
            "forget" => {
                let indexed = words.0.next().map_or(self.ledger.entries(), number);
                self.ledger.forget(LedgerTime::default(), indexed);
                String::new()
            }
            "index" => {
                self.behind = words.next() == "behind";
                String::new()
            }
            "tab" => self.play_tab(words),
            "claim" => self.play_claim(words),
            "close" => self.play_close(words),
            "release" => self.play_release(words),
            change @ ("rotate" | "recover" | "object" | "takeover" | "lock" | "unlock") => {
                self.play_change(change, words)
            }
            "key" => {
                let (who, owner) = (words.next(), words.next());
                let account = self.ledger.by_name(&name(who)).expect("registered");
                assert_eq!(account.key, key(owner).public(), "the key of {who}");
                String::new()
            }
            "held" => {
                let (name, units) = (words.next(), words.next());
                assert_eq!(self.held(name), number(units), "what {name} has held");
                String::new()
            }
            "balance" => {
                let (name, units) = (words.next(), words.next());
                assert_eq!(self.balance(name), number(units), "the balance of {name}");
                String::new()
            }
            "totals" => {
                let (issued, burnt) = (words.next(), words.next());
                let totals = self.ledger.totals();
                assert_eq!(
                    (totals.issued, totals.burnt),
                    (number(issued), number(burnt))
                );
                String::new()
            }
            other => panic!("{other}?"),
        }
    }

    fn play_settle(&mut self, words: &mut Words<'_>) -> String {
        let (id, payer, payee) = (words.next(), words.next(), words.next());
        let mut draft = self.order(id, payer, payee);
        draft.amount = amount(number(words.next()));
        let (now, expires) = words.times();
        draft.id = order_id(id, expires);
        let (mut by, mut declined) = (payer, false);
        words.each(|word, words| match word {
            "by" => by = words.next(),
            "memo" => draft.memo = words.next().to_owned(),
            "declined" => declined = true,
            other => panic!("{other}?"),
        });
        let order = draft.sign();
        let decline = declined.then(|| Decline::sign(&order, &key(payee)));
        self.settle(&order, decline.as_ref(), &key(by).public(), now)
    }
}

/// The key of the person, or of the directory, called `name`.
pub(super) fn key(name: &str) -> SecretKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SecretKey::from_seed(&seed)
}

pub(super) fn amount(units: u64) -> Amount {
    Amount::new(units).expect("at most the maximum")
}

pub(super) fn order_id(name: &str, expires: u64) -> OrderId {
    let mut random = [0; 10];
    random[..name.len()].copy_from_slice(name.as_bytes());
    OrderId::new(LedgerTime::from_millis(expires), random)
}

pub(super) fn operation(name: &str) -> OperationId {
    let mut id = [0; 16];
    let len = name.len().min(16);
    id[16 - len..].copy_from_slice(&name.as_bytes()[name.len() - len..]);
    OperationId(id)
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("the test gives a name")
}

pub(super) fn genesis(directory: &str, nonce: u8) -> Entry {
    let genesis = Genesis {
        directory: key(directory).public(),
        currency: Currency::default(),
        nonce: [nonce; 16],
    };
    let fact = Fact::Genesis(Signed::new(genesis, &key(directory)));
    Entry {
        time: LedgerTime::from_millis(0),
        fact,
    }
}

pub(super) fn registration(
    wanted: &str,
    owner: &str,
    recovery: Option<&str>,
) -> Signed<Registration> {
    let registration = Registration {
        directory: key("treasury").public(),
        name: name(wanted),
        key: key(owner).public(),
        recovery: recovery.map(|name| key(name).public()),
    };
    Signed::new(registration, &key(owner))
}

/// The fact with `key` replaced by the identity point, for which everybody can sign.
pub(super) fn swap_key<T: Statement>(fact: &Signed<T>, key: &PublicKey) -> Signed<T> {
    let mut bytes = fact.bytes().to_vec();
    let at = bytes
        .windows(32)
        .position(|window| window == key.as_bytes())
        .expect("it is in it");
    bytes[at..at + 32].fill(0);
    bytes[at] = 1;
    Signed::from_bytes(&bytes).expect("well formed")
}

fn what(fact: &Fact) -> &'static str {
    match fact {
        Fact::Genesis(_) => "begun",
        Fact::Register(_) => "registered",
        Fact::Issue(_) => "issued",
        Fact::Payment(_) => "settled",
        Fact::Void(_) => "voided",
        Fact::Freeze(freeze) if freeze.statement().frozen => "frozen_now",
        Fact::Freeze(_) => "thawed",
        Fact::Refusal(refusal) => refusal.reason.name(),
        Fact::Tab(_) => "opened",
        Fact::Claim(_) => "claimed",
        Fact::Close(_) => "closed",
        Fact::Release(_) => "released",
        Fact::Rotation(_) => "rotated",
        Fact::Recovery(_) => "announced",
        Fact::Objection(_) => "contested",
        Fact::Takeover(_) => "taken_over",
        Fact::Lock(lock) if lock.statement().frozen => "locked",
        Fact::Lock(_) => "unlocked",
    }
}

fn number(text: &str) -> u64 {
    match text {
        "max" => Amount::MAX.units(),
        text => text.replace('_', "").parse().expect("a number"),
    }
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        self.0.next().expect("another word")
    }

    /// `now T expires T`.
    fn times(&mut self) -> (u64, u64) {
        assert_eq!(self.next(), "now");
        let now = number(self.next());
        assert_eq!(self.next(), "expires");
        (now, number(self.next()))
    }

    fn each(&mut self, mut take: impl FnMut(&'a str, &mut Self)) {
        while let Some(word) = self.0.next() {
            take(word, self);
        }
    }
}
