//! What CBOR allows and the protocol does not, tried at every place where it could stand: in every
//! message, statement, envelope, entry and receipt.

use quid_common::cbor::{self, CborError, DEPTH_MAX};

use super::items::{Item, head, items, splice};
use super::samples::{Specimen, specimens};
use super::world::World;

/// What must become of a damaged encoding.
#[derive(Clone, Copy)]
enum Expect {
    /// The structure alone says no, and why.
    Named(CborError),
    /// It is refused.
    Refused,
    /// It is refused, or it is the one encoding of something else.
    RefusedOrCanonical,
}

#[test]
fn no_item_is_longer_than_needed() {
    everywhere(|bytes, item| {
        let widths = [24_u8, 25, 26, 27];
        widths
            .into_iter()
            .filter(|&info| 1 << (info - 24) > item.head - 1)
            .map(|info| {
                let width = 1_usize << (info - 24);
                let mut head = vec![item.major << 5 | info];
                head.extend(&item.argument.to_be_bytes()[8 - width..]);
                (
                    splice(bytes, item.at, item.at + item.head, &head),
                    CborError::NotShortest,
                )
            })
            .filter(|_| item.major <= 5)
            .map(named)
            .collect()
    });
}

#[test]
fn no_length_reaches_past_the_end() {
    everywhere(|bytes, item| {
        let lengths = [
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX >> 1,
            u64::MAX,
        ];
        lengths
            .into_iter()
            .filter(|_| (2..=4).contains(&item.major))
            .map(|len| {
                let head = head(item.major, len);
                (
                    splice(bytes, item.at, item.at + item.head, &head),
                    CborError::Truncated,
                )
            })
            .map(named)
            .collect()
    });
}

#[test]
fn nothing_is_of_indefinite_length() {
    everywhere(|bytes, item| {
        if !(2..=5).contains(&item.major) {
            return vec![];
        }
        let mut open = splice(bytes, item.end, item.end, &[0xff]);
        open.splice(item.at..item.at + item.head, [item.major << 5 | 31]);
        vec![(open, Expect::Named(CborError::Unsupported))]
    });
}

#[test]
fn nothing_is_tagged() {
    everywhere(|bytes, item| {
        let tags: [&[u8]; 4] = [&[0xc0], &[0xd2], &[0xd8, 0x20], &[0xd9, 0xd9, 0xf7]];
        tags.into_iter()
            .map(|tag| (splice(bytes, item.at, item.at, tag), CborError::Unsupported))
            .map(named)
            .collect()
    });
}

#[test]
fn floats_maps_and_odd_simple_values_stand_nowhere() {
    everywhere(|bytes, item| {
        let odd: [&[u8]; 13] = [
            &[0xf9, 0x3c, 0x00],
            &[0xfa, 0x3f, 0x80, 0x00, 0x00],
            &[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
            &[0xf7],
            &[0xe0],
            &[0xf3],
            &[0xf8, 0xff],
            &[0xf8, 0x14],
            &[0xff],
            &[0x1c],
            &[0xa1, 0x00, 0x00],
            &[0xa2, 0x00, 0x00, 0x00, 0x00],
            &[0xb8, 0x18],
        ];
        odd.into_iter()
            .map(|other| {
                (
                    splice(bytes, item.at, item.end, other),
                    CborError::Unsupported,
                )
            })
            .map(named)
            .collect()
    });
}

#[test]
fn nesting_ends_before_the_stack_does() {
    everywhere(|bytes, item| {
        [DEPTH_MAX + 1, 1_000, 60_000]
            .into_iter()
            .map(|depth| {
                let mut nested = vec![0x81; depth];
                nested.push(0x00);
                (splice(bytes, item.at, item.end, &nested), CborError::Depth)
            })
            .map(named)
            .collect()
    });
}

#[test]
fn nothing_follows_the_last_item() {
    for specimen in specimens(&World::new()) {
        let again = specimen.bytes.clone();
        for tail in [&[0x00], &[0xf6], &[0x80], &[0xff], &again[..]] {
            let mut bytes = specimen.bytes.clone();
            bytes.extend(tail);
            check(&specimen, &bytes, Expect::Named(CborError::Trailing));
        }
    }
}

#[test]
fn no_field_comes_twice_or_not_at_all() {
    for specimen in specimens(&World::new()) {
        // In a list of people or of history, one more or one less is another list.
        let is_list = ["who-page", "history-page"].contains(&specimen.rule.as_str());
        let expect = if is_list {
            Expect::RefusedOrCanonical
        } else {
            Expect::Refused
        };
        let items = items(&specimen.bytes);
        for parent in items
            .iter()
            .filter(|item| item.major == 4 && item.argument > 0)
        {
            let fields = items.iter().filter(|item| item.parent == Some(parent.at));
            for field in fields {
                let copy = specimen.bytes[field.at..field.end].to_vec();
                let twice = splice(&specimen.bytes, field.at, field.at, &copy);
                check(&specimen, &twice, Expect::Refused);
                let counted = recount(&twice, parent, parent.argument + 1);
                check(&specimen, &counted, expect);

                let never = splice(&specimen.bytes, field.at, field.end, &[]);
                check(&specimen, &never, Expect::Refused);
                let counted = recount(&never, parent, parent.argument - 1);
                check(&specimen, &counted, expect);
            }
        }
    }
}

#[test]
fn a_value_of_another_type_is_refused_or_means_something_else() {
    everywhere(|bytes, item| {
        let others: [&[u8]; 16] = [
            &[0x00],
            &[0x01],
            &[0x18, 0xff],
            &[0x19, 0xff, 0xff],
            &[0x1a, 0xff, 0xff, 0xff, 0xff],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x20],
            &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x40],
            &[0x60],
            &[0x63, 0x61, 0x62, 0x63],
            &[0x80],
            &[0xa0],
            &[0xf4],
            &[0xf5],
            &[0xf6],
        ];
        others
            .into_iter()
            .map(|other| splice(bytes, item.at, item.end, other))
            .filter(|mutant| mutant != bytes)
            .map(|mutant| (mutant, Expect::RefusedOrCanonical))
            .collect()
    });
}

#[test]
fn bytes_are_no_text_and_no_list_of_numbers() {
    everywhere(|bytes, item| {
        let content = &bytes[item.at + item.head..item.end];
        let mut list = head(4, content.len() as u64);
        list.extend(content.iter().flat_map(|&byte| head(0, u64::from(byte))));
        let mut other = head(if item.major == 2 { 3 } else { 2 }, content.len() as u64);
        other.extend(content);
        [list, other]
            .into_iter()
            .filter(|_| (2..=3).contains(&item.major))
            .map(|other| (splice(bytes, item.at, item.end, &other), Expect::Refused))
            .collect()
    });
}

/// Applies `attack` at every item of every specimen and checks what it says must happen.
fn everywhere(attack: impl Fn(&[u8], &Item) -> Vec<(Vec<u8>, Expect)>) {
    let mut tried = 0;
    for specimen in specimens(&World::new()) {
        for item in items(&specimen.bytes) {
            for (bytes, expect) in attack(&specimen.bytes, &item) {
                check(&specimen, &bytes, expect);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "an attack that is not tried proves nothing");
}

fn check(specimen: &Specimen, bytes: &[u8], expect: Expect) {
    let shown = || {
        format!(
            "{specimen:?} as {}",
            super::golden::hex(&bytes[..bytes.len().min(99)])
        )
    };
    if let Expect::Named(error) = expect {
        assert_eq!(cbor::check(bytes), Err(error), "{}", shown());
    }
    match ((specimen.reread)(bytes), expect) {
        (None, _) => {}
        (Some(again), Expect::RefusedOrCanonical) => assert_eq!(again, bytes, "{}", shown()),
        (Some(_), _) => panic!("{} was read", shown()),
    }
}

/// `bytes` with another number of elements claimed by `array`.
fn recount(bytes: &[u8], array: &Item, count: u64) -> Vec<u8> {
    splice(bytes, array.at, array.at + array.head, &head(4, count))
}

fn named((bytes, error): (Vec<u8>, CborError)) -> (Vec<u8>, Expect) {
    (bytes, Expect::Named(error))
}
