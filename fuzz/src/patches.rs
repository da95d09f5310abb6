//! Damage to something sound: most of what a fuzzer makes of a file is refused by its first check,
//! so some targets take a genuine one and a list of changes instead.

use arbitrary::{Arbitrary, Unstructured};

/// One change.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) enum Patch {
    /// Turns bits of a byte.
    Turn { at: u32, by: u8 },
    /// Writes a number of some width, which is where edges are.
    Write { at: u32, width: u8, value: u64 },
    /// Cuts the rest off.
    Cut { at: u32 },
    /// Takes bytes out.
    Remove { at: u32, count: u8 },
    /// Puts bytes in.
    Insert { at: u32, byte: u8, count: u8 },
    /// Copies a stretch to another place.
    Copy { from: u32, to: u32, count: u16 },
}

/// Most changes to one thing.
const PATCHES_MAX: usize = 16;

/// The changes that the rest of `input` names.
pub(crate) fn patches(input: &mut Unstructured<'_>) -> Vec<Patch> {
    let mut patches = Vec::new();
    while !input.is_empty() && patches.len() < PATCHES_MAX {
        match input.arbitrary() {
            Ok(patch) => patches.push(patch),
            Err(_) => break,
        }
    }
    patches
}

/// Applies the changes, wrapped to where there is something to change.
pub(crate) fn apply(bytes: &mut Vec<u8>, patches: &[Patch]) {
    for patch in patches {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        let place = |at: u32| at as usize % len;
        match *patch {
            Patch::Turn { at, by } => bytes[place(at)] ^= by,
            Patch::Write { at, width, value } => {
                let digits = value.to_be_bytes();
                let width = 1 << (width % 4);
                let new = &digits[8 - width..];
                let at = place(at);
                let end = len.min(at + width);
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
            Patch::Cut { at } => bytes.truncate(place(at)),
            Patch::Remove { at, count } => {
                let at = place(at);
                bytes.drain(at..len.min(at + usize::from(count)));
            }
            Patch::Insert { at, byte, count } => {
                let at = place(at);
                bytes.splice(at..at, std::iter::repeat_n(byte, usize::from(count)));
            }
            Patch::Copy { from, to, count } => {
                let (from, to) = (place(from), place(to));
                let count = usize::from(count).min(len - from).min(len - to);
                bytes.copy_within(from..from + count, to);
            }
        }
    }
}
