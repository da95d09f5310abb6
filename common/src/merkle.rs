//! The log's Merkle tree (RFC 6962): its hashes, and the check of a path from a leaf to the root.

use crate::checkpoint::Head;
use crate::sha256::{Sha256, sha256};

/// Longest inclusion path: the height of a tree of [`crate::checkpoint::SIZE_MAX`] entries.
pub const PATH_LEN_MAX: usize = 48;

/// The hash of an entry's exact bytes as a leaf (RFC 6962, 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&[LEAF]);
    hash.update(entry);
    hash.finish()
}

/// The hash of an inner node over its two children (RFC 6962, 2.1).
#[must_use]
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut node = [NODE; 65];
    let (_, children) = node.split_at_mut(1);
    let (first, second) = children.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&node)
}

/// The inclusion path that was last found to lead to its root. The entries of a batch share most of
/// theirs, and where a path joins this one, the rest of the way is not hashed again.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    head: Option<Head>,
    nodes: Vec<Node>,
    path: Vec<[u8; 32]>,
}

/// A node on the way from a leaf up, before it is joined with what the path has beside it.
#[derive(Clone, Copy, Debug)]
struct Node {
    place: Place,
    hash: [u8; 32],
}

/// Where a node stands: RFC 9162's *fn*, and how often it was halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: u32,
    number: u64,
}

impl Followed {
    /// Whether `path`, lowest hash first, leads from the leaf `index` to the root of `head`
    /// (RFC 9162, 2.1.3.2). What was followed before makes it quicker and changes no verdict.
    #[must_use]
    pub fn leads(&mut self, head: Head, index: u64, leaf: [u8; 32], path: &[u8]) -> bool {
        let (path, rest) = path.as_chunks::<32>();
        let Some(mut last) = head.size.checked_sub(1).filter(|last| index <= *last) else {
            return false;
        };
        if !rest.is_empty() || path.len() > PATH_LEN_MAX {
            return false;
        }
        if self.head.replace(head) != Some(head) {
            self.nodes.clear();
            self.path.clear();
        }
        let mut place = Place {
            level: 0,
            number: index,
        };
        let mut hash = leaf;
        let mut nodes = Vec::with_capacity(path.len());
        for (at, beside) in path.iter().enumerate() {
            if last == 0 {
                return false;
            }
            nodes.push(Node { place, hash });
            if let Some(joined) = self.joined_by(place, hash)
                && self.path.get(joined..) == path.get(at..)
            {
                // From here on every step would be one that was taken before.
                nodes.extend(self.nodes.iter().skip(joined).skip(1));
                self.remember(nodes, path);
                return true;
            }
            let is_right = place.number & 1 == 1;
            if is_right || place.number == last {
                hash = node_hash(beside, &hash);
                // A node without a neighbour on its right stands alone up to where it has one on
                // its left.
                let alone = if is_right {
                    0
                } else {
                    place.number.trailing_zeros()
                };
                (place, last) = (place.up(alone), up(last, alone));
            } else {
                hash = node_hash(&hash, beside);
            }
            (place, last) = (place.up(1), up(last, 1));
        }
        let leads = last == 0 && hash == head.root;
        if leads {
            self.remember(nodes, path);
        }
        leads
    }

    /// At which step the path that was followed before passed the node with this hash.
    fn joined_by(&self, place: Place, hash: [u8; 32]) -> Option<usize> {
        let level = |node: &Node| node.place.level;
        let at = self.nodes.binary_search_by_key(&place.level, level).ok()?;
        let passed = self.nodes.get(at)?;
        (passed.place == place && passed.hash == hash).then_some(at)
    }

    fn remember(&mut self, nodes: Vec<Node>, path: &[[u8; 32]]) {
        self.nodes = nodes;
        self.path.clear();
        self.path.extend_from_slice(path);
    }
}

impl Place {
    const fn up(self, levels: u32) -> Self {
        Self {
            level: self.level.saturating_add(levels),
            number: up(self.number, levels),
        }
    }
}

/// Halved so often; a node's number has 64 bits, and so many levels lead to 0.
const fn up(number: u64, levels: u32) -> u64 {
    match number.checked_shr(levels) {
        Some(number) => number,
        None => 0,
    }
}

/// What precedes a leaf's bytes (RFC 6962, 2.1).
const LEAF: u8 = 0;

/// What precedes the children of a node.
const NODE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference() {
        for len in [0, 1, 31, 55, 64, 300] {
            let entry = vec![len as u8; len];
            assert_eq!(leaf_hash(&entry), tlog_tiles::record_hash(&entry).0);
            let (one, two) = (leaf_hash(&entry), leaf_hash(b"another"));
            let both = tlog_tiles::node_hash(tlog_tiles::Hash(one), tlog_tiles::Hash(two));
            assert_eq!(node_hash(&one, &two), both.0);
        }
    }

    #[test]
    fn where_a_path_joins_the_last_one_it_is_not_hashed_again() {
        let leaves: Vec<_> = (0..4_u8).map(|leaf| leaf_hash(&[leaf])).collect();
        let left = node_hash(&leaves[0], &leaves[1]);
        let right = node_hash(&leaves[2], &leaves[3]);
        let head = Head {
            size: 4,
            root: node_hash(&left, &right),
        };
        let mut followed = Followed::default();
        assert!(followed.leads(head, 0, leaves[0], &[leaves[1], right].concat()));
        // Were the last step taken again, it would lead to another root than this.
        let odd = Head {
            root: [1; 32],
            ..head
        };
        followed.head = Some(odd);
        assert!(followed.leads(odd, 1, leaves[1], &[leaves[0], right].concat()));
        assert!(!followed.leads(odd, 2, leaves[2], &[leaves[3], left].concat()));
        assert!(!followed.leads(odd, 1, leaves[1], &[leaves[0], left].concat()));
    }
}
