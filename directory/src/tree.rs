//! The Merkle tree over the log (RFC 6962): its root, and the proofs that receipts and
//! checkpoints rest on.
//!
//! The nodes of complete subtrees are numbered in the order in which they become complete
//! (`tlog_tiles::stored_hash_index`), 32 bytes each. The newest are in memory; all but those also
//! in the file `tree`, node `i` at byte `32 * i`. The file is derived: written behind the commit
//! and never synced, rebuilt from the log when it is lost or does not fit, and believed only as
//! far as what is read there leads to the root in memory.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use quid_common::checkpoint::Checkpoint;
use quid_common::merkle::node_hash;
use thiserror::Error;
use tlog_tiles::{
    EMPTY_HASH, Hash, HashReader, check_record, check_tree, prove_tree, stored_hash_count,
    stored_hash_index, sub_tree_index,
};

use crate::folder::{self, Folder, FolderError, shown};
use crate::store::{LogReader, StoreError};
use crate::write_back::WriteBack;

/// How much is kept where.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Nodes that [`Tree::flush`] waits for before it writes.
    flush: u64,
    /// Newest nodes that stay in memory.
    keep: u64,
    /// Leaves at the end of the file whose nodes are all worked out again at the start, so that a
    /// hole left by a power cut is found.
    recheck: u64,
}

/// 512 KiB or some 8,000 entries; 2 MiB or some 32,000 entries; and about 30 ms at the start,
/// for more than the system leaves unwritten for long.
const BOUNDS: Bounds = Bounds {
    flush: 16 * 1024,
    keep: 64 * 1024,
    recheck: 256 * 1024,
};

/// What is needed of a tree to make it grow and to know its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// The roots of the complete subtrees that the leaves fall into, from the left.
    peaks: Vec<[u8; 32]>,
    size: u64,
}

impl Frontier {
    /// That of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            peaks: Vec::new(),
            size: 0,
        }
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the leaf with this hash.
    pub fn append(&mut self, leaf: [u8; 32]) {
        self.grow(leaf, |_| {});
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        fold(&self.peaks)
    }

    /// Adds a leaf and hands over the nodes that it completes, in the order of their numbers.
    #[expect(clippy::expect_used, reason = "every bit of the size has its peak")]
    fn grow(&mut self, leaf: [u8; 32], mut completed: impl FnMut([u8; 32])) {
        let mut node = leaf;
        completed(node);
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .peaks
                .pop()
                .expect("every bit of the size has its peak");
            node = node_hash(&left, &node);
            completed(node);
        }
        self.peaks.push(node);
        self.size += 1;
    }
}

/// The tree over a log. It lives on the thread that commits.
#[derive(Debug)]
pub struct Tree {
    frontier: Frontier,
    bounds: Bounds,
    path: PathBuf,
    file: File,
    /// Number of nodes that the file holds.
    written: u64,
    write_back: WriteBack,
    /// Number of the first node in memory; a leaf's.
    base: u64,
    recent: Vec<[u8; 32]>,
    /// The complete subtrees to the left of `base`: with them, no proof for an entry in memory
    /// needs the file.
    left: Vec<(u64, [u8; 32])>,
}

impl Tree {
    /// The tree over the whole log: from the folder's file as far as that agrees with the log,
    /// else rebuilt. Progress of a rebuild is logged.
    ///
    /// # Errors
    /// - [`TreeError::Log`]: the log is not what its newest checkpoint says.
    /// - [`TreeError::Store`] names a damaged entry, [`TreeError::Folder`] a file.
    pub fn open(folder: &Folder, log: &LogReader) -> Result<Self, TreeError> {
        Self::open_with(BOUNDS, folder, log)
    }

    fn open_with(bounds: Bounds, folder: &Folder, log: &LogReader) -> Result<Self, TreeError> {
        let newest = log
            .latest_checkpoint()?
            .map(|(size, newest)| (size, root_in(&newest)));
        let mut tree = Self::empty(bounds, folder.tree())?;
        if let Some((size, root)) = newest {
            let found = tree
                .file
                .metadata()
                .map_err(folder::io("read", &tree.path))?
                .len()
                / 32;
            if tree.take_over(found, size)? {
                tree.follow(log)?;
                if tree.root_at(size).ok() == root {
                    return Ok(tree);
                }
            }
            if found > 0 {
                tracing::warn!(
                    file = %shown(&tree.path),
                    "the tree's file does not agree with the log and is rebuilt"
                );
            }
        }
        match fs::remove_file(&tree.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(folder::io("remove", &tree.path)(error).into());
            }
            _ => {}
        }
        let mut tree = Self::empty(bounds, tree.path)?;
        tree.follow(log)?;
        match newest {
            Some((size, root)) if tree.root_at(size).ok() != root => Err(TreeError::Log { size }),
            _ => Ok(tree),
        }
    }

    /// Adds the leaf with this hash.
    pub fn append(&mut self, leaf: [u8; 32]) {
        let recent = &mut self.recent;
        self.frontier.grow(leaf, |node| recent.push(node));
    }

    /// Number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root hash over all entries.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.frontier.root()
    }

    /// The root hash over the first `size` entries.
    ///
    /// # Errors
    /// [`TreeError::Range`] if there are not so many, [`TreeError::Damaged`] if the file does not
    /// fit.
    pub fn root_at(&self, size: u64) -> Result<[u8; 32], TreeError> {
        if size > self.size() {
            return Err(TreeError::Range {
                first: size,
                second: self.size(),
            });
        }
        if size == self.size() || size == 0 {
            return Ok(if size == 0 { EMPTY_HASH.0 } else { self.root() });
        }
        let nodes = Nodes::new(self);
        let root = self.sound(nodes.subtree(0, size), &nodes)?;
        if nodes.from_file.get() {
            let proof = self.sound(prove_tree(self.size(), size, &nodes), &nodes)?;
            let whole = Hash(self.root());
            self.sound(
                check_tree(&proof, self.size(), whole, size, Hash(root)),
                &nodes,
            )?;
        }
        Ok(root)
    }

    /// The inclusion path of entry `index` in the tree over the first `size` entries: the hashes
    /// beside the way up, 32 bytes each, lowest first.
    ///
    /// # Errors
    /// [`TreeError::Range`] if `index` or `size` is too large, [`TreeError::Damaged`] if the file
    /// does not fit.
    pub fn path(&self, index: u64, size: u64) -> Result<Vec<u8>, TreeError> {
        if index >= size || size > self.size() {
            return Err(TreeError::Range {
                first: index,
                second: size,
            });
        }
        let nodes = Nodes::new(self);
        let path = self.sound(nodes.path(index, size), &nodes)?;
        if nodes.from_file.get() {
            let leaf = self.sound(nodes.node(0, index), &nodes)?;
            let root = Hash(self.root_at(size)?);
            let proof = path.iter().copied().map(Hash).collect();
            self.sound(check_record(&proof, size, root, index, Hash(leaf)), &nodes)?;
        }
        Ok(path.concat())
    }

    /// The paths, in the tree over all entries, of those from `first` on: equal to
    /// [`Tree::path`] of each, but what they share is hashed once.
    ///
    /// # Errors
    /// As [`Tree::path`].
    pub fn paths(&self, first: u64) -> Result<Vec<Vec<u8>>, TreeError> {
        let (size, nodes) = (self.size(), Nodes::new(self));
        let mut paths = Vec::new();
        for index in first..size {
            paths.push(self.sound(nodes.path(index, size), &nodes)?);
        }
        if nodes.from_file.get() {
            // Unheard of for new entries: each is checked by itself.
            return (first..size).map(|index| self.path(index, size)).collect();
        }
        Ok(paths.into_iter().map(|path| path.concat()).collect())
    }

    /// The root over the first `old` entries, and the proof (RFC 6962, 2.1.2) that the tree over the
    /// first `new` goes on from there: 32 bytes a hash. `old` is at least 1.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `1 <= old <= new <=` [`Tree::size`], [`TreeError::Damaged`] if
    /// the file does not fit.
    pub fn consistency(&self, old: u64, new: u64) -> Result<([u8; 32], Vec<u8>), TreeError> {
        if old == 0 || old > new || new > self.size() {
            return Err(TreeError::Range {
                first: old,
                second: new,
            });
        }
        let nodes = Nodes::new(self);
        let root = self.sound(nodes.subtree(0, old), &nodes)?;
        let proof = self.sound(prove_tree(new, old, &nodes), &nodes)?;
        if nodes.from_file.get() {
            // Whatever leads to the newer root leads from the right older one.
            let whole = Hash(self.root_at(new)?);
            self.sound(check_tree(&proof, new, whole, old, Hash(root)), &nodes)?;
        }
        Ok((root, proof.iter().flat_map(|hash| hash.0).collect()))
    }

    /// Moves nodes from memory to the file, once enough have come together. Call it after every
    /// batch, when its answers are out.
    ///
    /// # Errors
    /// [`TreeError::Folder`]: the nodes stay in memory, 64 bytes an entry, and the next call tries
    /// again.
    pub fn flush(&mut self) -> Result<(), TreeError> {
        let count = self.base + self.recent.len() as u64;
        if count - self.written < self.bounds.flush {
            return Ok(());
        }
        let unwritten = self.recent.get(at(self.written - self.base)..);
        let bytes = unwritten.unwrap_or_default().concat();
        self.file
            .write_all_at(&bytes, 32 * self.written)
            .map_err(folder::io("write", &self.path))?;
        self.written = count;
        self.write_back.wrote(&self.file, 32 * count);
        // Leaf n has a number below 2n.
        let first = count.saturating_sub(self.bounds.keep) / 2;
        let base = stored_hash_index(0, first);
        if base > self.base {
            let nodes = Nodes::new(self);
            let left = nodes.left_of(first);
            self.left = self.sound(left, &nodes)?;
            self.recent.drain(..at(base - self.base));
            self.base = base;
        }
        Ok(())
    }

    /// The empty tree, and its file as it is.
    fn empty(bounds: Bounds, path: PathBuf) -> Result<Self, TreeError> {
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(&path).map_err(folder::io("open", &path))?;
        let (frontier, recent, left) = (Frontier::new(), Vec::new(), Vec::new());
        Ok(Self {
            frontier,
            bounds,
            path,
            file,
            written: 0,
            write_back: WriteBack::default(),
            base: 0,
            recent,
            left,
        })
    }

    /// Takes over what the file holds, `found` nodes, of a tree of at most `size` leaves. Whether
    /// that is possible; what is taken over is consistent in itself at its end.
    fn take_over(&mut self, found: u64, size: u64) -> Result<bool, TreeError> {
        let mut covered = found / 2;
        while stored_hash_count(covered + 1) <= found {
            covered += 1;
        }
        let covered = covered.min(size);
        let first = covered.saturating_sub(self.bounds.recheck);
        self.written = stored_hash_count(covered);
        self.write_back = WriteBack::from(32 * self.written);
        self.base = stored_hash_index(0, first);
        let mut bytes = vec![0; 32 * at(self.written - self.base)];
        self.file
            .read_exact_at(&mut bytes, 32 * self.base)
            .and_then(|()| self.file.set_len(32 * self.written))
            .map_err(folder::io("read", &self.path))?;
        self.recent = bytes.as_chunks().0.to_vec();
        let nodes = Nodes::new(self);
        let left = nodes.left_of(first);
        self.left = self.sound(left, &nodes)?;
        let peaks = self.left.iter().map(|(_, hash)| *hash).collect();
        let mut frontier = Frontier { peaks, size: first };
        let mut stored = self.recent.iter();
        let mut fits = true;
        while frontier.size < covered
            && let Some(leaf) = stored.as_slice().first()
        {
            frontier.grow(*leaf, |node| fits &= stored.next() == Some(&node));
        }
        self.frontier = frontier;
        Ok(fits)
    }

    /// Appends what the log has beyond the tree.
    fn follow(&mut self, log: &LogReader) -> Result<(), TreeError> {
        let (from, to) = (self.size(), log.len()?);
        log.scan(from, to, |n, entry| {
            if n > from && (n - from) % PROGRESS_LEN == 0 {
                tracing::info!(entries = n, of = to, "rebuilding the tree from the log");
            }
            self.append(entry.leaf);
            self.flush()
        })
    }

    /// What came of reading nodes and of a check of what was read.
    fn sound<T, E>(&self, found: Result<T, E>, nodes: &Nodes<'_>) -> Result<T, TreeError> {
        found.map_err(|_| match nodes.failure.take() {
            Some(error) if error.kind() != ErrorKind::UnexpectedEof => {
                folder::io("read", &self.path)(error).into()
            }
            _ => {
                // Nothing else tells the next start that it must not believe the file.
                let _ = fs::remove_file(&self.path);
                TreeError::Damaged(self.path.clone())
            }
        })
    }
}

/// Why the tree cannot be made, or does not answer.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The log cannot be read, or an entry in it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree's file cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log's entries and its checkpoint contradict each other.
    #[error("the log is not what its checkpoint of {size} entries says; restore it from a backup")]
    Log {
        /// The checkpoint's size.
        size: u64,
    },
    /// There is no such proof.
    #[error("no proof from {first} to {second}: out of range")]
    Range {
        /// The entry, or the smaller tree.
        first: u64,
        /// The larger tree.
        second: u64,
    },
    /// The file does not agree with the log. It has been removed.
    #[error("{} is damaged; restart the directory, which rebuilds it from the log", shown(.0))]
    Damaged(PathBuf),
}

/// The tree's nodes, in memory and in the file, as one proof reads them.
struct Nodes<'a> {
    tree: &'a Tree,
    from_file: Cell<bool>,
    failure: RefCell<Option<io::Error>>,
    /// Roots of incomplete subtrees, by their ends: the paths of one batch share them.
    ragged: RefCell<Vec<(u64, u64, [u8; 32])>>,
}

/// The file could not be read: see [`Nodes::failure`].
struct Unread;

impl<'a> Nodes<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            from_file: Cell::new(false),
            failure: RefCell::new(None),
            ragged: RefCell::default(),
        }
    }

    /// Node `n` of `level`; leaves have level 0.
    fn node(&self, level: u32, n: u64) -> Result<[u8; 32], Unread> {
        self.numbered(stored_hash_index(level as u8, n))
    }

    fn numbered(&self, number: u64) -> Result<[u8; 32], Unread> {
        if let Some(recent) = number.checked_sub(self.tree.base) {
            return self.tree.recent.get(at(recent)).copied().ok_or(Unread);
        }
        if let Some((_, hash)) = self.tree.left.iter().find(|(left, _)| *left == number) {
            return Ok(*hash);
        }
        self.from_file.set(true);
        let mut hash = [0; 32];
        match self.tree.file.read_exact_at(&mut hash, 32 * number) {
            Ok(()) => Ok(hash),
            Err(error) => {
                self.failure.replace(Some(error));
                Err(Unread)
            }
        }
    }

    /// The root of the subtree over the leaves from `lo` up to but not including `hi`, where `lo`
    /// is a multiple of a power of two that is at least `hi - lo`.
    fn subtree(&self, lo: u64, hi: u64) -> Result<[u8; 32], Unread> {
        if (hi - lo).is_power_of_two() {
            let level = (hi - lo).ilog2();
            return self.node(level, lo >> level);
        }
        let known = self.ragged.borrow();
        if let Some((.., root)) = known.iter().find(|(from, to, _)| (*from, *to) == (lo, hi)) {
            return Ok(*root);
        }
        drop(known);
        let mut peaks = Vec::with_capacity(LEVELS);
        let mut from = lo;
        while from < hi {
            let level = (hi - from).ilog2();
            peaks.push(self.node(level, from >> level)?);
            from += 1 << level;
        }
        let root = fold(&peaks);
        self.ragged.borrow_mut().push((lo, hi, root));
        Ok(root)
    }

    /// The path of leaf `index` among the first `size`, lowest first. Equal to
    /// `tlog_tiles::prove_record`, which makes many small vectors; this is on every payment's way.
    fn path(&self, index: u64, size: u64) -> Result<Vec<[u8; 32]>, Unread> {
        let mut path = Vec::with_capacity(LEVELS);
        let (mut lo, mut hi) = (0, size);
        while hi - lo > 1 {
            let level = (hi - lo - 1).ilog2();
            let middle = lo + (1 << level);
            if index < middle {
                path.push(self.subtree(middle, hi)?);
                hi = middle;
            } else {
                path.push(self.node(level, lo >> level)?);
                lo = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// The complete subtrees to the left of leaf `first`, with their numbers.
    fn left_of(&self, first: u64) -> Result<Vec<(u64, [u8; 32])>, Unread> {
        let numbers = sub_tree_index(0, first, Vec::new());
        numbers
            .into_iter()
            .map(|number| Ok((number, self.numbered(number)?)))
            .collect()
    }
}

impl HashReader for Nodes<'_> {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        numbers
            .iter()
            .map(|number| self.numbered(*number).map(Hash))
            .collect::<Result<_, _>>()
            .map_err(|Unread| tlog_tiles::Error::IndexesNotInTree)
    }
}

/// The root over complete subtrees, given from the left.
fn fold(peaks: &[[u8; 32]]) -> [u8; 32] {
    let root = peaks
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right));
    root.unwrap_or(EMPTY_HASH.0)
}

/// The root that a checkpoint of our own log claims.
fn root_in(checkpoint: &Checkpoint) -> Option<[u8; 32]> {
    let line = checkpoint.as_str().lines().nth(2)?;
    Some(Hash::parse_hash(line).ok()?.0)
}

fn at(offset: u64) -> usize {
    // What is in memory can be counted.
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// More levels than any tree of ours has.
const LEVELS: usize = 48;

/// Entries between two lines about a rebuild: about a second.
const PROGRESS_LEN: u64 = 2_000_000;

#[cfg(test)]
mod tests;
