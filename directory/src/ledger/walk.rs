//! A snapshot in slices: the fold as of one entry, encoded while later entries are applied.
//!
//! Accounts are encoded by number. One that changes before its turn leaves its old balance behind
//! first. Ids and operations only ever come, each with its entry, so later ones are left out; ids
//! go only when no walk needs them any more ([`Ledger::forget`] waits). Tabs come last: one that
//! changes or goes before its turn leaves behind what it was, and later ones are left out.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use quid_common::id::{OperationId, OrderId};
use quid_common::key::PublicKey;

use super::snapshot::{
    VERSION, put, put_account, put_count, put_id, put_operation, put_tab, put_text,
};
use super::tabs::{Open, Which};
use super::{Account, Amount, Keys, Ledger};

/// How far a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The snapshot is as of this entry.
    entries: u64,
    accounts: usize,
    ids: usize,
    operations: usize,
    tabs: usize,
    /// What is encoded but was not asked for yet: the snapshot's head.
    head: Vec<u8>,
    next: Part,
    /// Balances as of `entries`, of accounts that have changed before their turn.
    kept: BTreeMap<usize, Changing>,
    /// Tabs as of `entries` that have changed or gone before their turn.
    kept_tabs: BTreeMap<Which, Open>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Account(usize),
    IdAfter(Option<(OrderId, u64)>),
    OperationAfter(Option<OperationId>),
    TabAfter(Option<Which>),
    Nothing,
}

/// What can change in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Changing {
    available: Amount,
    held: Amount,
    frozen: bool,
    key: PublicKey,
    recovery: Option<PublicKey>,
    keys: Option<Box<Keys>>,
}

impl Walk {
    /// Called before the account at `at` changes.
    pub(super) fn keep(walk: &mut Option<Self>, at: usize, account: &Account) {
        if let Some(walk) = walk
            && at < walk.accounts
            && matches!(walk.next, Part::Account(next) if at >= next)
        {
            walk.kept.entry(at).or_insert_with(|| Changing {
                available: account.available,
                held: account.held,
                frozen: account.frozen,
                key: account.key,
                recovery: account.recovery,
                keys: account.keys.clone(),
            });
        }
    }

    /// Called before the tab `which` changes or goes.
    pub(super) fn keep_tab(walk: &mut Option<Self>, which: Which, open: &Open) {
        let Some(walk) = walk else { return };
        let passed = match walk.next {
            Part::Account(_) | Part::IdAfter(_) | Part::OperationAfter(_) => false,
            Part::TabAfter(last) => last.is_some_and(|last| which <= last),
            Part::Nothing => true,
        };
        if open.opened < walk.entries && !passed {
            walk.kept_tabs.entry(which).or_insert(*open);
        }
    }
}

impl Ledger {
    /// Begins a snapshot as of now, to be taken by [`Ledger::snapshot_slice`]. One that was begun
    /// before is given up.
    pub fn begin_snapshot(&mut self) {
        self.walk = Some(self.walk());
    }

    /// Appends the next part of the snapshot begun, about `room` bytes, to `out`; whether that was
    /// the last. Entries may be applied between two slices; ids are not forgotten before the last.
    pub fn snapshot_slice(&mut self, room: usize, out: &mut Vec<u8>) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let done = self.encode(&mut walk, room, out);
        if !done {
            self.walk = Some(walk);
        }
        done
    }

    /// Gives up a snapshot that was begun.
    pub fn end_snapshot(&mut self) {
        self.walk = None;
    }

    pub(super) fn walk(&self) -> Walk {
        Walk {
            entries: self.entries,
            accounts: self.accounts.len(),
            ids: self.ids.len(),
            operations: self.operations.len(),
            tabs: self.tabs.len(),
            head: self.encode_head(),
            next: if self.entries == 0 {
                Part::Nothing
            } else {
                Part::Account(1)
            },
            kept: BTreeMap::new(),
            kept_tabs: BTreeMap::new(),
        }
    }

    fn encode_head(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, self.entries);
        if self.entries == 0 {
            return out;
        }
        put(&mut out, self.time.as_millis());
        put(&mut out, self.issued);
        put(&mut out, self.burnt);
        put(&mut out, self.ids.forgotten_through());
        out.extend_from_slice(&self.origin.ledger.0);
        out.extend_from_slice(self.origin.directory.as_bytes());
        put_text(&mut out, self.origin.currency.code());
        out.push(self.origin.currency.decimals());
        put_count(&mut out, self.accounts.len().saturating_sub(1));
        out
    }

    pub(super) fn encode(&self, walk: &mut Walk, room: usize, out: &mut Vec<u8>) -> bool {
        let full = out.len().saturating_add(room);
        out.append(&mut walk.head);
        while out.len() < full {
            walk.next = match walk.next {
                Part::Account(at) => self.encode_account(walk, at, out),
                Part::IdAfter(last) => self.encode_ids(walk, last, full, out),
                Part::OperationAfter(last) => self.encode_operations(walk, last, full, out),
                Part::TabAfter(last) => self.encode_tabs(walk, last, full, out),
                Part::Nothing => return true,
            };
        }
        walk.next == Part::Nothing
    }

    fn encode_account(&self, walk: &mut Walk, at: usize, out: &mut Vec<u8>) -> Part {
        let account = self.accounts.get(at).filter(|_| at < walk.accounts);
        let Some(account) = account else {
            // Until the walk is over no id goes, and those that came are of later entries.
            put_count(out, walk.ids);
            return Part::IdAfter(None);
        };
        match walk.kept.remove(&at) {
            None => put_account(out, account),
            Some(kept) => {
                let mut account = account.clone();
                (account.available, account.held) = (kept.available, kept.held);
                account.frozen = kept.frozen;
                (account.key, account.recovery) = (kept.key, kept.recovery);
                account.keys = kept.keys;
                put_account(out, &account);
            }
        }
        Part::Account(at.saturating_add(1))
    }

    fn encode_ids(
        &self,
        walk: &Walk,
        mut last: Option<(OrderId, u64)>,
        full: usize,
        out: &mut Vec<u8>,
    ) -> Part {
        for (id, account, used) in self.ids.after(last) {
            if out.len() >= full {
                return Part::IdAfter(last);
            }
            if used.entry < walk.entries {
                put_id(out, id, account, used);
            }
            last = Some((id, account));
        }
        put_count(out, walk.operations);
        Part::OperationAfter(None)
    }

    fn encode_operations(
        &self,
        walk: &Walk,
        mut last: Option<OperationId>,
        full: usize,
        out: &mut Vec<u8>,
    ) -> Part {
        let from = last.map_or(Unbounded, Excluded);
        for (id, operation) in self.operations.range((from, Unbounded)) {
            if out.len() >= full {
                return Part::OperationAfter(last);
            }
            if operation.entry < walk.entries {
                put_operation(out, *id, operation);
            }
            last = Some(*id);
        }
        put_count(out, walk.tabs);
        Part::TabAfter(None)
    }

    fn encode_tabs(
        &self,
        walk: &mut Walk,
        mut last: Option<Which>,
        full: usize,
        out: &mut Vec<u8>,
    ) -> Part {
        let mut opens = self.tabs.after(last).peekable();
        while out.len() < full {
            let kept = walk.kept_tabs.first_key_value().map(|(which, _)| *which);
            let which = match (kept, opens.peek()) {
                (Some(kept), Some((which, _))) => kept.min(*which),
                (Some(kept), None) => kept,
                (None, Some((which, _))) => *which,
                (None, None) => return Part::Nothing,
            };
            let open = opens.next_if(|(next, _)| *next == which);
            let open = open
                .map(|(_, open)| *open)
                .filter(|open| open.opened < walk.entries);
            // What it was, if it is another by now.
            if let Some(open) = walk.kept_tabs.remove(&which).or(open) {
                put_tab(out, which, &open);
            }
            last = Some(which);
        }
        Part::TabAfter(last)
    }
}
