//! What can be wrong with a valid encoding: every prefix, every single-bit flip, and at every item
//! of it edges of every width, other types, nothing, twice, lengths that lie, and what CBOR allows
//! and the protocol does not.

use std::collections::BTreeSet;

use crate::wire::items::{Item, head, items, splice};

/// Every damaged form of `bytes`, each once, none of them `bytes` itself.
pub(crate) fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: BTreeSet<Vec<u8>> = (0..bytes.len()).map(|end| bytes[..end].to_vec()).collect();
    all.extend(flips(bytes));
    for item in items(bytes) {
        for other in others(bytes, &item) {
            all.insert(splice(bytes, item.at, item.end, &other));
        }
        if (2..=4).contains(&item.major) {
            for len in [
                item.argument + 1,
                0xffff,
                1 << 31,
                u64::from(u32::MAX),
                u64::MAX,
            ] {
                let head = head(item.major, len);
                all.insert(splice(bytes, item.at, item.at + item.head, &head));
            }
            let mut open = splice(bytes, item.end, item.end, &[0xff]);
            open.splice(item.at..item.at + item.head, [item.major << 5 | 31]);
            all.insert(open);
        }
        let Some(array) = item.parent else { continue };
        // Missing, and twice, with the array's length as it then is and as it was.
        let whole = &bytes[item.at..item.end];
        for (with, by) in [(vec![], -1_i64), ([whole, whole].concat(), 1)] {
            let changed = splice(bytes, item.at, item.end, &with);
            let count = i64::from(bytes[array] & 0x1f) + by;
            let mut counted = changed.clone();
            counted[array] = 0x80 | u8::try_from(count).expect("short arrays");
            all.extend([changed, counted]);
        }
    }
    all.insert(vec![0x81; 4_000]);
    all.insert([bytes, &[0]].concat());
    all.remove(bytes);
    all.into_iter().collect()
}

/// `bytes` with each bit flipped in turn.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

/// What can stand in an item's place.
fn others(bytes: &[u8], item: &Item) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = EDGES
        .iter()
        .flat_map(|edge| [head(0, *edge), head(1, *edge)])
        .collect();
    // Empty, and of other types: bytes, text, array, map, simple values, floats, tags.
    let odd: [&[u8]; 14] = [
        &[0x40],
        &[0x60],
        &[0x80],
        &[0xa0],
        &[0xf4],
        &[0xf5],
        &[0xf6],
        &[0xf7],
        &[0xf9, 0x3c, 0],
        &[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
        &[0x41, 0],
        &[0x62, 0xff, 0xfe],
        &[0xa1, 0, 0],
        &[0xff],
    ];
    all.extend(odd.map(<[u8]>::to_vec));
    all.push([&[0xc0][..], &bytes[item.at..item.end]].concat());
    all
}

/// The least and the greatest number of every width.
const EDGES: [u64; 13] = [
    0,
    1,
    23,
    24,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
