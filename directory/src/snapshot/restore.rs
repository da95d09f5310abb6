//! The books as the snapshot and the entries behind it, in short, give them.

use tracing::warn;

use super::Snapshot;
use super::keeper::Chain;
use super::redo::Sections;
use crate::folder::{self, Folder, FolderError, shown};
use crate::ledger::Ledger;
use crate::tree::Tree;

/// The newest books that the folder's derived files hold of the log that `tree` is over, noting
/// entries in short from then on, and what they were read from; `None` if there are none.
///
/// Ids long expired are let go of on the way: the index is asked for them.
///
/// # Errors
/// [`FolderError::Io`] if a file is there and cannot be read.
pub fn restore(folder: &Folder, tree: &Tree) -> Result<Option<(Ledger, Chain)>, FolderError> {
    let Some(snapshot) = Snapshot::read(folder)? else {
        return Ok(None);
    };
    if !fits(tree, snapshot.entries, &snapshot.root) {
        warn!(
            entries = snapshot.entries,
            "the snapshot is of another log and was ignored"
        );
        return Ok(None);
    }
    let mut ledger = match Ledger::restore(&snapshot.state) {
        Ok(ledger) if ledger.entries() == snapshot.entries => ledger,
        Ok(_) | Err(_) => {
            warn!("the snapshot cannot be read and was ignored");
            return Ok(None);
        }
    };
    let mut chain = Chain {
        snapshot_len: snapshot.state.len() as u64,
        redo_len: 0,
        end: None,
        entries: snapshot.entries,
    };
    drop(snapshot);
    while follow(folder, tree, &mut ledger, &mut chain)? {}
    if ledger.entries() != chain.entries {
        // Whole, of this log, and yet not what these books wrote: a bug, and the log knows better.
        warn!("the entries behind the snapshot do not fit it; both were ignored");
        return Ok(None);
    }
    ledger.note_redo(true);
    Ok(Some((ledger, chain)))
}

/// Takes the file of sections that begins where the books are; whether another may follow.
fn follow(
    folder: &Folder,
    tree: &Tree,
    ledger: &mut Ledger,
    chain: &mut Chain,
) -> Result<bool, FolderError> {
    let path = folder.redo(chain.entries);
    let Some(mut sections) =
        Sections::open(&path, chain.entries).map_err(folder::io("read", &path))?
    else {
        return Ok(false);
    };
    chain.end = Some(sections.end().clone());
    let mut any = false;
    while let Some(section) = sections.next().map_err(folder::io("read", &path))? {
        if !fits(tree, section.entries, &section.root) {
            warn!(file = %shown(&path), "a part is of another log and was ignored");
            return Ok(false);
        }
        chain.entries = section.entries;
        if ledger.redo(&section.bytes).is_err() || ledger.entries() != section.entries {
            // Tells the caller that the books are of no use.
            chain.entries = u64::MAX;
            return Ok(false);
        }
        ledger.forget(ledger.time(), u64::MAX);
        chain.redo_len += section.bytes.len() as u64;
        chain.end = Some(sections.end().clone());
        any = true;
    }
    Ok(any)
}

fn fits(tree: &Tree, entries: u64, root: &[u8; 32]) -> bool {
    entries <= tree.size() && tree.root_at(entries).is_ok_and(|found| found == *root)
}
