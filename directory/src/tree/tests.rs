use tlog_tiles::{prove_record, tree_hash};

use super::*;
use crate::store::testing::{Scratch, checkpoint, entries, entry};

/// So small that a few hundred entries fill memory and file.
const SMALL: Bounds = Bounds {
    flush: 16,
    keep: 64,
    recheck: 32,
};

const COUNT: u64 = 300;

/// A log of `COUNT` entries in batches of a few, each with its checkpoint.
fn log_of(count: u64) -> (Scratch, LogReader) {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let mut frontier = Frontier::new();
    let mut first = 0;
    while first < count {
        let batch = entries(first..count.min(first + 1 + first % 7));
        batch.iter().for_each(|entry| frontier.append(entry.leaf));
        let head = checkpoint(frontier.size(), frontier.root());
        store
            .append(first, &batch, Some(&head), None)
            .expect("it can be written");
        first += batch.len() as u64;
    }
    let reader = scratch.reader();
    (scratch, reader)
}

fn open(scratch: &Scratch, log: &LogReader) -> Tree {
    Tree::open_with(SMALL, &scratch.folder, log).expect("a tree can always be made")
}

/// The reference: every node in memory, by the library.
struct Reference(Vec<Hash>);

impl Reference {
    fn of(leaves: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let mut reference = Self(Vec::new());
        for (n, leaf) in (0..).zip(leaves) {
            let new = tlog_tiles::stored_hashes_for_record_hash(n, Hash(leaf), &reference);
            reference.0.extend(new.expect("all nodes are there"));
        }
        reference
    }

    fn root(&self, size: u64) -> [u8; 32] {
        tree_hash(size, self).expect("all nodes are there").0
    }

    fn path(&self, index: u64, size: u64) -> Vec<u8> {
        let path = prove_record(size, index, self).expect("all nodes are there");
        path.iter().flat_map(|hash| hash.0).collect()
    }
}

impl HashReader for Reference {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(numbers
            .iter()
            .map(|number| self.0[*number as usize])
            .collect())
    }
}

fn reference() -> Reference {
    Reference::of((0..COUNT).map(|n| entry(n).leaf))
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks().0.iter().copied().map(Hash).collect()
}

/// That the tree gives every root and every proof there is, and that each checks.
fn check_everything(tree: &Tree, reference: &Reference, step: usize) {
    for size in (0..=tree.size()).step_by(step) {
        let root = tree.root_at(size).expect("the tree is sound");
        assert_eq!(root, reference.root(size), "root at {size}");
        for index in (0..size).step_by(step) {
            let path = tree.path(index, size).expect("the tree is sound");
            assert_eq!(
                path,
                reference.path(index, size),
                "path of {index} at {size}"
            );
            check_record(
                &hashes(&path),
                size,
                Hash(root),
                index,
                Hash(entry(index).leaf),
            )
            .expect("the path leads to the root");
        }
        for old in (1..=size).step_by(step) {
            let (from, proof) = tree.consistency(old, size).expect("the tree is sound");
            assert_eq!(from, reference.root(old));
            let old_root = Hash(reference.root(old));
            check_tree(&hashes(&proof), size, Hash(root), old, old_root)
                .expect("the proof leads from root to root");
        }
    }
}

#[test]
fn it_is_the_librarys_tree_at_every_size() {
    let reference = reference();
    let mut frontier = Frontier::new();
    for n in 0..COUNT {
        assert_eq!(frontier.root(), reference.root(n), "size {n}");
        frontier.append(entry(n).leaf);
    }
}

/// The inputs, roots and proofs that implementations of RFC 6962 test themselves with
/// (certificate-transparency, `merkle_tree_test.cc`).
#[test]
fn the_rfcs_own_examples_come_out() {
    const INPUTS: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        INPUT_8,
    ];
    const INPUT_8: &str = "606162636465666768696a6b6c6d6e6f";
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let (scratch, log) = log_of(0);
    let mut tree = open(&scratch, &log);
    for (size, root) in (0..).zip(ROOTS) {
        assert_eq!(hex(&tree.root()), root, "{size} leaves");
        if let Some(input) = INPUTS.get(size) {
            let input: Vec<u8> = (0..input.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&input[at..at + 2], 16).expect("it is hexadecimal"))
                .collect();
            tree.append(tlog_tiles::record_hash(&input).0);
        }
    }
    let path = |index, size| hex(&tree.path(index, size).expect("it is in range"));
    assert_eq!(path(0, 1), "");
    assert_eq!(
        path(0, 8),
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7\
         5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e\
         6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
    );
    assert_eq!(
        path(5, 8),
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b\
         ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0\
         d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    );
    assert_eq!(
        path(2, 3),
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    );
    assert_eq!(
        path(1, 5),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d\
         5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e\
         bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
    );
    let proof = |old, new| hex(&tree.consistency(old, new).expect("it is in range").1);
    assert_eq!(proof(1, 1), "");
    assert_eq!(proof(1, 8), path(0, 8));
    assert_eq!(
        proof(6, 8),
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a\
         ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0\
         d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    );
    assert_eq!(
        proof(2, 5),
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e\
         bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_proof_checks_whether_from_memory_or_file() {
    let (scratch, log) = log_of(0);
    let reference = reference();
    // All in memory.
    let mut tree = Tree::open(&scratch.folder, &log).expect("an empty tree can be made");
    (0..COUNT).for_each(|n| tree.append(entry(n).leaf));
    check_everything(&tree, &reference, 1);
    // Nearly all in the file, at every size on the way.
    let mut tree = open(&scratch, &log);
    for n in 0..COUNT {
        tree.append(entry(n).leaf);
        tree.flush().expect("there is room");
        assert_eq!(tree.root(), reference.root(n + 1));
        assert_eq!(
            tree.path(n, n + 1).expect("it is sound"),
            reference.path(n, n + 1)
        );
    }
    assert!(tree.recent.len() < 100, "memory is bounded");
    check_everything(&tree, &reference, 1);
}

#[test]
fn proofs_of_recent_entries_need_no_file() {
    let (scratch, log) = log_of(COUNT);
    let tree = open(&scratch, &log);
    assert!(tree.base > 0);
    tree.file.set_len(0).expect("it is ours");
    let size = tree.size();
    for index in size - 20..size {
        tree.path(index, size).expect("it is in memory");
    }
    assert!(matches!(tree.path(0, size), Err(TreeError::Damaged(_))));
}

#[test]
fn a_reopened_tree_is_the_same() {
    let reference = reference();
    for count in [1, 2, 3, 8, 9, 31, 32, 33, 150, 299, COUNT] {
        let (scratch, log) = log_of(count);
        drop(open(&scratch, &log));
        let written = fs::metadata(scratch.folder.tree())
            .expect("it is there")
            .len();
        let tree = open(&scratch, &log);
        assert_eq!(tree.size(), count);
        check_everything(&tree, &reference, 7);
        // It was taken over, not written anew.
        assert!(count < 20 || tree.written >= written / 32 && written > 0);
    }
}

#[test]
fn a_reopened_tree_follows_the_log() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let (reader, reference) = (scratch.reader(), reference());
    for first in (0..COUNT).step_by(50) {
        let head = checkpoint(first + 50, reference.root(first + 50));
        let batch = entries(first..first + 50);
        store
            .append(first, &batch, Some(&head), None)
            .expect("it can be written");
        let tree = open(&scratch, &reader);
        assert_eq!(tree.size(), first + 50);
        check_everything(&tree, &reference, 11);
    }
}

#[test]
fn a_cut_file_is_completed_and_a_damaged_one_found_out() {
    let (scratch, log) = log_of(COUNT);
    let reference = reference();
    drop(open(&scratch, &log));
    let good = fs::read(scratch.folder.tree()).expect("it is there");
    let restore = |bytes: &[u8]| fs::write(scratch.folder.tree(), bytes).expect("there is room");
    for len in (0..good.len()).step_by(313) {
        restore(&good[..len]);
        check_everything(&open(&scratch, &log), &reference, 29);
    }
    // Longer than the log: of a log that was restored from a backup since.
    restore(&[&good[..], &[7; 32 * 400]].concat());
    check_everything(&open(&scratch, &log), &reference, 29);
    fs::remove_file(scratch.folder.tree()).expect("it is there");
    check_everything(&open(&scratch, &log), &reference, 29);
    for at in (0..good.len()).step_by(61) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        restore(&bad);
        let tree = open(&scratch, &log);
        assert_eq!(tree.root(), reference.root(COUNT));
        let mut damaged = false;
        for index in 0..COUNT {
            match tree.path(index, COUNT) {
                Ok(path) => assert_eq!(path, reference.path(index, COUNT), "byte {at}"),
                Err(TreeError::Damaged(_)) => damaged = true,
                Err(error) => panic!("{error}"),
            }
        }
        // What the damage hid is there again after a restart.
        assert_eq!(damaged, !scratch.folder.tree().exists());
        check_everything(&open(&scratch, &log), &reference, 29);
    }
}

#[test]
fn a_hole_at_the_end_of_the_file_is_found_at_the_start() {
    let (scratch, log) = log_of(COUNT);
    drop(open(&scratch, &log));
    let mut bytes = fs::read(scratch.folder.tree()).expect("it is there");
    let end = bytes.len();
    bytes[end - 320..end - 64].fill(0);
    fs::write(scratch.folder.tree(), bytes).expect("there is room");
    let tree = open(&scratch, &log);
    check_everything(&tree, &reference(), 13);
}

#[test]
fn a_log_that_is_not_what_its_checkpoint_says_is_refused() {
    let scratch = Scratch::new();
    let (mut store, _) = scratch.store();
    let head = checkpoint(5, [1; 32]);
    store
        .append(0, &entries(0..5), Some(&head), None)
        .expect("it can be written");
    let refused = Tree::open(&scratch.folder, &scratch.reader()).expect_err("another root");
    assert!(matches!(refused, TreeError::Log { size: 5 }), "{refused}");
}

#[test]
fn what_is_out_of_range_is_refused() {
    let (scratch, log) = log_of(10);
    let tree = open(&scratch, &log);
    assert!(matches!(tree.path(5, 5), Err(TreeError::Range { .. })));
    assert!(matches!(tree.path(5, 11), Err(TreeError::Range { .. })));
    assert!(matches!(tree.root_at(11), Err(TreeError::Range { .. })));
    for (old, new) in [(0, 5), (6, 5), (5, 11)] {
        assert!(matches!(
            tree.consistency(old, new),
            Err(TreeError::Range { .. })
        ));
    }
}
