//! The data items of a CBOR encoding, found without the code under test.

/// One data item of an encoding.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Where its head begins.
    pub(crate) at: usize,
    /// How many bytes its head has.
    pub(crate) head: usize,
    /// Where its content ends.
    pub(crate) end: usize,
    pub(crate) major: u8,
    pub(crate) argument: u64,
    /// Where the array that it stands in begins.
    pub(crate) parent: Option<usize>,
}

/// Every item of a sound encoding, containers before their content.
pub(crate) fn items(bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    let end = walk(bytes, 0, None, &mut items);
    assert_eq!(end, bytes.len());
    items
}

fn walk(bytes: &[u8], at: usize, parent: Option<usize>, items: &mut Vec<Item>) -> usize {
    let (major, info) = (bytes[at] >> 5, bytes[at] & 0x1f);
    let width = if info < 24 { 0 } else { 1_usize << (info - 24) };
    let digits = &bytes[at + 1..at + 1 + width];
    let argument = match width {
        0 => u64::from(info),
        _ => digits
            .iter()
            .fold(0, |sum, &digit| sum << 8 | u64::from(digit)),
    };
    let head = 1 + width;
    let place = items.len();
    items.push(Item {
        at,
        head,
        end: 0,
        major,
        argument,
        parent,
    });
    let mut end = at + head;
    match major {
        2 | 3 => end += argument as usize,
        4 => {
            for _ in 0..argument {
                end = walk(bytes, end, Some(at), items);
            }
        }
        // Maps are empty, and the rest has no content.
        _ => {}
    }
    items[place].end = end;
    end
}

pub(crate) fn head(major: u8, argument: u64) -> Vec<u8> {
    let digits = argument.to_be_bytes();
    let (info, width) = match argument {
        0..24 => return vec![major << 5 | digits[7]],
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    let mut head = vec![major << 5 | info];
    head.extend(&digits[8 - width..]);
    head
}

pub(crate) fn splice(bytes: &[u8], from: usize, to: usize, with: &[u8]) -> Vec<u8> {
    [&bytes[..from], with, &bytes[to..]].concat()
}
