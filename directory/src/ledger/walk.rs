//! A snapshot in slices: the fold as of one entry, encoded while later entries are applied.
//!
//! Accounts are encoded by number. One that changes before its turn leaves its old balance behind
//! first. Ids and operations only ever come, each with its entry, so later ones are left out; ids
//! go only when no walk needs them any more ([`Ledger::forget`] waits).

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use quid_common::id::{OperationId, OrderId};

use super::snapshot::{VERSION, put, put_account, put_count, put_id, put_operation, put_text};
use super::{Account, Amount, Ledger};

/// How far a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The snapshot is as of this entry.
    entries: u64,
    accounts: usize,
    ids: usize,
    operations: usize,
    /// What is encoded but was not asked for yet: the snapshot's head.
    head: Vec<u8>,
    next: Part,
    /// Balances as of `entries`, of accounts that have changed before their turn.
    kept: BTreeMap<usize, Changing>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Account(usize),
    IdAfter(Option<(OrderId, u64)>),
    OperationAfter(Option<OperationId>),
    Nothing,
}

/// What can change in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changing {
    available: Amount,
    held: Amount,
    frozen: bool,
}

impl Walk {
    /// Called before the account at `at` changes.
    pub(super) fn keep(walk: &mut Option<Self>, at: usize, account: &Account) {
        if let Some(walk) = walk
            && at < walk.accounts
            && matches!(walk.next, Part::Account(next) if at >= next)
        {
            walk.kept.entry(at).or_insert(Changing {
                available: account.available,
                held: account.held,
                frozen: account.frozen,
            });
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
            head: self.encode_head(),
            next: if self.entries == 0 {
                Part::Nothing
            } else {
                Part::Account(1)
            },
            kept: BTreeMap::new(),
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
        Part::Nothing
    }
}
