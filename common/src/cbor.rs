//! Strict CBOR: one encoding for every value, and nothing allocated on a stranger's word.
//!
//! Messages are arrays of definite length (RFC 8949, core deterministic encoding). [`decode`]
//! refuses everything else: trailing bytes, indefinite lengths, integers in a longer form than
//! needed, tags, floats, maps other than the empty one, nesting deeper than [`DEPTH_MAX`], and
//! lengths that reach past the end. The library beneath alone accepts several of these.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Deepest nesting of arrays that is read.
pub const DEPTH_MAX: usize = 8;

/// The one encoding of `value`.
///
/// # Panics
/// Never for the types of this crate: writing to memory cannot fail and all of them are arrays,
/// integers, strings, booleans and null.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    encode_to(value, &mut bytes);
    bytes
}

/// Appends the one encoding of `value` to `out`.
///
/// # Panics
/// Never for the types of this crate: see [`encode`].
#[expect(
    clippy::expect_used,
    reason = "nothing foreign decides whether memory can be written to"
)]
pub fn encode_to<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    value
        .serialize(&mut minicbor_serde::Serializer::new(out))
        .expect("writing our own types to memory cannot fail");
}

/// Reads a value from its one encoding.
///
/// # Errors
/// [`CborError`] for every other byte sequence. The caller has already bounded the length.
pub fn decode<'de, T: Serialize + Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CborError> {
    check(bytes)?;
    let value: T = minicbor_serde::from_slice(bytes).map_err(|_| CborError::Shape)?;
    // Catches what the structure alone cannot, such as array elements beyond a message's last.
    let mut same = minicbor_serde::Serializer::new(Same(bytes));
    match value.serialize(&mut same) {
        Ok(()) if same.encoder().writer().0.is_empty() => Ok(value),
        _ => Err(CborError::Shape),
    }
}

/// Takes what is written only as far as it is these bytes.
struct Same<'a>(&'a [u8]);

impl minicbor::encode::Write for Same<'_> {
    type Error = Differs;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Differs> {
        self.0 = self.0.strip_prefix(bytes).ok_or(Differs)?;
        Ok(())
    }
}

/// Something else was written.
#[derive(Debug, Error)]
#[error("the encoding differs")]
struct Differs;

/// Checks the structure of one item that fills `bytes` exactly, allocating nothing.
///
/// # Errors
/// The first breach of the module's rules.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut rest = bytes;
    // How many items are still to come at each level that is open.
    let mut open = [0_u64; DEPTH_MAX];
    let mut depth = 0_usize;
    loop {
        let (head, argument, after) = head(rest)?;
        rest = after;
        match head {
            Major::Unsigned | Major::Negative | Major::Simple => {}
            Major::Bytes | Major::Text => {
                let len = usize::try_from(argument).map_err(|_| CborError::Truncated)?;
                let (text, after) = rest.split_at_checked(len).ok_or(CborError::Truncated)?;
                if matches!(head, Major::Text) && std::str::from_utf8(text).is_err() {
                    return Err(CborError::Utf8);
                }
                rest = after;
            }
            Major::Array if argument > 0 => {
                // Every element takes a byte at least, so a longer claim is a lie.
                if argument > rest.len() as u64 {
                    return Err(CborError::Truncated);
                }
                *open.get_mut(depth).ok_or(CborError::Depth)? = argument;
                depth = depth.saturating_add(1);
                continue;
            }
            Major::Array => {}
            Major::Map if argument > 0 => return Err(CborError::Unsupported),
            Major::Map => {}
        }
        // An item has ended: it may be the last of one or more open arrays.
        loop {
            let Some(level) = depth.checked_sub(1) else {
                return if rest.is_empty() {
                    Ok(())
                } else {
                    Err(CborError::Trailing)
                };
            };
            let remaining = open.get_mut(level).ok_or(CborError::Depth)?;
            *remaining = remaining.saturating_sub(1);
            if *remaining > 0 {
                break;
            }
            depth = level;
        }
    }
}

/// Why bytes are not one of our messages.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CborError {
    /// The bytes end before the item does.
    #[error("the message ends before its content does")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the message")]
    Trailing,
    /// Arrays nested deeper than [`DEPTH_MAX`].
    #[error("the message is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// An integer or length in a longer form than needed.
    #[error("an integer is not in its shortest form")]
    NotShortest,
    /// Indefinite length, tag, float, map, or a reserved form.
    #[error("the message uses a CBOR feature that the protocol does not")]
    Unsupported,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// Well-formed, but not the message that belongs here.
    #[error("the fields are not those of this message")]
    Shape,
}

/// The integer at the front of `bytes`, and what follows it.
///
/// # Errors
/// [`CborError::Shape`] for anything else and above 32 bits; otherwise as [`check`].
pub(crate) fn u32(bytes: &[u8]) -> Result<(u32, &[u8]), CborError> {
    let (Major::Unsigned, argument, rest) = head(bytes)? else {
        return Err(CborError::Shape);
    };
    let number = u32::try_from(argument).map_err(|_| CborError::Shape)?;
    Ok((number, rest))
}

/// The byte string at the front of `bytes`, with its head, and what follows it.
///
/// # Errors
/// [`CborError::Shape`] for anything else; otherwise as [`check`].
pub(crate) fn byte_string(bytes: &[u8]) -> Result<ByteString<'_>, CborError> {
    let (Major::Bytes, argument, after) = head(bytes)? else {
        return Err(CborError::Shape);
    };
    let len = usize::try_from(argument).map_err(|_| CborError::Truncated)?;
    let (content, rest) = after.split_at_checked(len).ok_or(CborError::Truncated)?;
    let whole = bytes.len().saturating_sub(rest.len());
    let whole = bytes.get(..whole).ok_or(CborError::Truncated)?;
    Ok(ByteString {
        whole,
        content,
        rest,
    })
}

/// A byte string in an encoding.
pub(crate) struct ByteString<'a> {
    /// With its head.
    pub(crate) whole: &'a [u8],
    /// What it holds.
    pub(crate) content: &'a [u8],
    /// What follows it.
    pub(crate) rest: &'a [u8],
}

enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Simple,
}

fn head(bytes: &[u8]) -> Result<(Major, u64, &[u8]), CborError> {
    let (&first, rest) = bytes.split_first().ok_or(CborError::Truncated)?;
    let major = match first >> 5 {
        0 => Major::Unsigned,
        1 => Major::Negative,
        2 => Major::Bytes,
        3 => Major::Text,
        4 => Major::Array,
        5 => Major::Map,
        // False, true and null; every other simple value, float or tag is refused.
        7 if (20..=22).contains(&(first & 0x1f)) => return Ok((Major::Simple, 0, rest)),
        _ => return Err(CborError::Unsupported),
    };
    let (width, least) = match first & 0x1f {
        small @ 0..=23 => return Ok((major, u64::from(small), rest)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(CborError::Unsupported),
    };
    let (digits, rest) = rest.split_at_checked(width).ok_or(CborError::Truncated)?;
    let argument = digits
        .iter()
        .fold(0_u64, |sum, &digit| sum << 8 | u64::from(digit));
    if argument < least {
        Err(CborError::NotShortest)
    } else {
        Ok((major, argument, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_encoding_is_read() {
        let bytes = encode(&(1_u64, "memo", serde_bytes::ByteBuf::from(vec![1, 2, 3])));
        let back: (u64, String, serde_bytes::ByteBuf) = decode(&bytes).expect("own encoding");
        assert_eq!(back.0, 1);
        for end in 0..bytes.len() {
            assert!(decode::<(u64, String, serde_bytes::ByteBuf)>(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn structure_is_refused_by_name() {
        let table: [(&[u8], CborError); 16] = [
            (&[], CborError::Truncated),
            (&[0x01, 0x01], CborError::Trailing),
            (&[0x18, 0x17], CborError::NotShortest),
            (&[0x19, 0x00, 0xff], CborError::NotShortest),
            (&[0x1a, 0, 0, 0xff, 0xff], CborError::NotShortest),
            (
                &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
                CborError::NotShortest,
            ),
            (&[0x9f, 0x01, 0xff], CborError::Unsupported),
            (&[0x5f, 0x41, 0x00, 0xff], CborError::Unsupported),
            (&[0xc0, 0x01], CborError::Unsupported),
            (&[0xf9, 0x00, 0x00], CborError::Unsupported),
            (&[0xa1, 0x01, 0x01], CborError::Unsupported),
            (&[0xf7], CborError::Unsupported),
            (&[0x62, 0xff, 0xfe], CborError::Utf8),
            (
                &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                CborError::Truncated,
            ),
            (
                &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                CborError::Truncated,
            ),
            (
                &[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x01],
                CborError::Depth,
            ),
        ];
        for (bytes, error) in table {
            assert_eq!(check(bytes), Err(error), "{bytes:02x?}");
        }
        assert_eq!(
            check(&[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x01]),
            Ok(())
        );
        assert_eq!(check(&[0x84, 0x80, 0xa0, 0xf6, 0x38, 0x18]), Ok(()));
    }

    #[test]
    fn elements_beyond_the_last_are_refused() {
        assert_eq!(decode::<(u8, u8)>(&[0x83, 1, 2, 3]), Err(CborError::Shape));
        assert_eq!(decode::<(u8, u8)>(&[0x81, 1]), Err(CborError::Shape));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = check(&bytes);
            let _ = decode::<(u64, Vec<String>)>(&bytes);
        }
    }
}
