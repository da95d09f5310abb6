//! A second reader of the protocol's CBOR, written from PROTOCOL.md alone and without regard to
//! speed: what it takes and what [`quid_common::cbor::check`] takes must be the same.

use quid_common::cbor::{self, DEPTH_MAX};

/// A data item and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    /// With its head and all that is in it.
    pub(crate) whole: &'a [u8],
    /// What a byte string or text holds.
    pub(crate) content: &'a [u8],
    pub(crate) major: u8,
}

/// Every item of `bytes`, if they are one item as the protocol has it and nothing more.
pub(crate) fn items(bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut items = Vec::new();
    let read = item(bytes, 0, &mut items);
    let sound = read.is_some_and(<[u8]>::is_empty);
    assert_eq!(sound, cbor::check(bytes).is_ok(), "two readers disagree");
    sound.then_some(items)
}

/// Reads one item and gives what follows it.
fn item<'a>(bytes: &'a [u8], depth: usize, items: &mut Vec<Item<'a>>) -> Option<&'a [u8]> {
    let (&first, rest) = bytes.split_first()?;
    let (major, info) = (first >> 5, first & 31);
    let width = match info {
        0..24 => 0,
        24..28 => 1 << (info - 24),
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    let long = digits
        .iter()
        .fold(0, |sum: u128, &digit| sum * 256 + u128::from(digit));
    let argument = if width == 0 { u128::from(info) } else { long };
    // The least number that needs so many digits.
    let least = [0, 24, 1 << 8, 0, 1 << 16, 0, 0, 0, 1_u128 << 32];
    if argument < least[width] {
        return None;
    }
    let place = items.len();
    items.push(Item {
        whole: bytes,
        content: &[],
        major,
    });
    let after = match major {
        0 | 1 => rest,
        2 | 3 => {
            let (content, after) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
            if major == 3 {
                std::str::from_utf8(content).ok()?;
            }
            items[place].content = content;
            after
        }
        4 if argument == 0 => rest,
        // Each element takes a byte, and each open array a level.
        4 if depth < DEPTH_MAX && argument <= rest.len() as u128 => {
            let mut after = rest;
            for _ in 0..argument {
                after = item(after, depth + 1, items)?;
            }
            after
        }
        5 if argument == 0 => rest,
        7 if width == 0 && (20..=22).contains(&info) => rest,
        _ => return None,
    };
    items[place].whole = &bytes[..bytes.len() - after.len()];
    Some(after)
}
