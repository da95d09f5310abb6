//! What the keys of an account have said, in a snapshot.

use quid_common::id::Digest;
use quid_common::key::PublicKey;
use quid_common::time::LedgerTime;

use super::{Reader, SnapshotError, put, put_count};
use crate::ledger::keys::{Keys, Pending, Replaced, Said};

pub(super) fn put_keys(out: &mut Vec<u8>, keys: Option<&Keys>) {
    let Some(keys) = keys else {
        out.push(0);
        return;
    };
    out.push(1);
    put_count(out, keys.replaced.len());
    for replaced in &keys.replaced {
        out.extend_from_slice(replaced.key.as_bytes());
        put(out, replaced.by);
    }
    out.push(u8::from(keys.locked));
    for said in [keys.own, keys.recovery] {
        out.push(u8::from(said.is_some()));
        if let Some(said) = said {
            put(out, said.entry);
            out.extend_from_slice(&said.change.0);
        }
    }
    out.push(u8::from(keys.pending.is_some()));
    if let Some(pending) = &keys.pending {
        put(out, pending.entry);
        put(out, pending.time.as_millis());
        out.extend_from_slice(pending.successor.as_bytes());
        out.push(u8::from(pending.contested));
    }
}

impl Reader<'_> {
    pub(super) fn keys(&mut self) -> Result<Option<Box<Keys>>, SnapshotError> {
        if !self.flag()? {
            return Ok(None);
        }
        let count = self.number()?;
        let mut keys = Keys {
            replaced: Vec::with_capacity(self.room(count, REPLACED_LEN)),
            ..Keys::default()
        };
        for _ in 0..count {
            let replaced = Replaced {
                key: PublicKey::from_bytes(self.array()?),
                by: self.number()?,
            };
            if keys
                .replaced
                .last()
                .is_some_and(|last| last.by >= replaced.by)
            {
                return Err(SnapshotError::Order);
            }
            keys.replaced.push(replaced);
        }
        keys.locked = self.flag()?;
        keys.own = self.said()?;
        keys.recovery = self.said()?;
        if self.flag()? {
            let (entry, time) = (self.number()?, self.number()?);
            let pending = Pending {
                entry,
                time: LedgerTime::from_millis(time),
                successor: PublicKey::from_bytes(self.array()?),
                contested: self.flag()?,
            };
            if pending.time.as_millis() != time {
                return Err(SnapshotError::Field);
            }
            keys.pending = Some(pending);
        }
        Ok(Some(Box::new(keys)))
    }

    fn said(&mut self) -> Result<Option<Said>, SnapshotError> {
        if !self.flag()? {
            return Ok(None);
        }
        Ok(Some(Said {
            entry: self.number()?,
            change: Digest(self.array()?),
        }))
    }
}

const REPLACED_LEN: usize = 32 + 8;
