//! Whether one log head goes on where another ended: RFC 6962, 2.1.2.
//!
//! A directory that shows the proof from an older head to a newer one has shown that it changed
//! nothing in between. PROTOCOL.md, "Two histories", says what follows when it cannot.

use thiserror::Error;
use tlog_tiles::{Hash, check_tree};

use crate::checkpoint::{Head, SIZE_MAX};
use crate::merkle::PATH_LEN_MAX;

/// Most hashes in a consistency proof: one more than in an inclusion path.
pub const PROOF_LEN_MAX: usize = PATH_LEN_MAX + 1;

/// Checks that the log of `newer` begins with all of the log of `older`. `proof` holds 32 bytes a
/// hash; it is empty between two heads of one size, which must then be the same.
///
/// # Errors
/// [`NotAPrefix`]: this proof does not show it. Another might.
pub fn check(older: Head, newer: Head, proof: &[u8]) -> Result<(), NotAPrefix> {
    let (hashes, rest) = proof.as_chunks::<32>();
    let sizes = 1 <= older.size && older.size <= newer.size && newer.size <= SIZE_MAX;
    if !sizes || !rest.is_empty() || hashes.len() > PROOF_LEN_MAX {
        return Err(NotAPrefix);
    }
    let hashes = hashes.iter().copied().map(Hash).collect();
    check_tree(
        &hashes,
        newer.size,
        Hash(newer.root),
        older.size,
        Hash(older.root),
    )
    .map_err(|_| NotAPrefix)
}

/// The proof does not lead from the older head to the newer one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the proof does not lead from the older log head to the newer one")]
pub struct NotAPrefix;

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Roots of the trees of 0 to 8 leaves that implementations of RFC 6962 test themselves with
    /// (certificate-transparency, `merkle_tree_test.cc`).
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

    /// The same file's consistency proofs.
    const PROOFS: [(u64, u64, &str); 4] = [
        (1, 1, ""),
        (
            1,
            8,
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7\
             5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e\
             6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
        (
            6,
            8,
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a\
             ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0\
             d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            2,
            5,
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e\
             bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ];

    #[test]
    fn the_rfcs_own_proofs_hold_between_their_own_heads_alone() {
        for (old, new, proof) in PROOFS {
            let proof = bytes(proof);
            for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from, to))) {
                let holds = check(head(from), head(to), &proof).is_ok();
                // One proof holds between any two heads of one size: the empty one.
                let expected = (from, to) == (old, new) || (proof.is_empty() && from == to);
                assert_eq!(
                    holds,
                    expected && from > 0,
                    "({old}, {new}) at ({from}, {to})"
                );
            }
        }
    }

    #[test]
    fn a_flipped_bit_a_cut_or_a_longer_proof_shows_nothing() {
        for (old, new, proof) in PROOFS {
            let (old, new, proof) = (head(old), head(new), bytes(proof));
            for bit in 0..proof.len() * 8 {
                let mut bent = proof.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(check(old, new, &bent), Err(NotAPrefix), "bit {bit}");
            }
            for end in 0..proof.len() {
                assert_eq!(check(old, new, &proof[..end]), Err(NotAPrefix));
            }
            for more in [1, 32, 33 * 32] {
                let longer = [&proof[..], &vec![0; more]].concat();
                assert_eq!(check(old, new, &longer), Err(NotAPrefix));
            }
            for bit in 0..256 {
                let (mut from, mut to) = (old, new);
                from.root[bit / 8] ^= 1 << (bit % 8);
                to.root[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(check(from, new, &proof), Err(NotAPrefix));
                assert_eq!(check(old, to, &proof), Err(NotAPrefix));
            }
        }
    }

    #[test]
    fn sizes_without_any_log_are_refused() {
        for (from, to) in [(0, 0), (0, 8), (9, 8), (u64::MAX, 8), (8, u64::MAX)] {
            let head = |size| Head {
                size,
                root: [0; 32],
            };
            assert_eq!(check(head(from), head(to), &[]), Err(NotAPrefix));
            assert_eq!(check(head(from), head(to), &[0; 64]), Err(NotAPrefix));
        }
    }

    fn head(size: u64) -> Head {
        let root = bytes(ROOTS[size as usize]).try_into().expect("32 bytes");
        Head { size, root }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal")
    }
}
