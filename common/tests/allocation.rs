//! Nothing is allocated on a stranger's word: a counting allocator watches the decoders.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use quid_common::cbor::{self, CborError, DEPTH_MAX};
use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER, Frame, FrameReader, HEADER_LEN};
use quid_common::order::SignedOrder;
use quid_common::signed::SIGNED_LEN_MAX;
use quid_common::wire::{Message, MessageError};

#[allow(dead_code, reason = "the other test binary uses the rest")]
#[path = "wire/items.rs"]
mod items;
#[allow(dead_code, reason = "the other test binary uses the rest")]
#[path = "wire/samples.rs"]
mod samples;
#[allow(dead_code, reason = "the other test binary uses the rest")]
#[path = "wire/world.rs"]
mod world;

use items::{head, items, splice};
use samples::{messages, specimens};
use world::World;

#[test]
fn checking_the_structure_allocates_nothing() {
    let deep = vec![0x81; BODY_LEN_MAX];
    let wide = [
        &head(4, BODY_LEN_MAX as u64 - 3)[..],
        &vec![0; BODY_LEN_MAX - 3],
    ]
    .concat();
    assert_eq!(peak(|| cbor::check(&deep)), (Err(CborError::Depth), 0));
    assert_eq!(peak(|| cbor::check(&wide)), (Ok(()), 0));
    for specimen in specimens(&World::new()) {
        assert_eq!(
            peak(|| cbor::check(&specimen.bytes)),
            (Ok(()), 0),
            "{specimen:?}"
        );
    }
}

#[test]
fn a_length_that_lies_is_refused_before_anything_is_allocated() {
    for (label, message) in messages(&World::new()) {
        let Frame { kind, body } = message.to_frame();
        for item in items(&body)
            .into_iter()
            .filter(|item| (2..=4).contains(&item.major))
        {
            for len in [0x1_0000, 1 << 31, 1 << 40, u64::MAX] {
                let head = head(item.major, len);
                let body = splice(&body, item.at, item.at + item.head, &head);
                let frame = Frame { kind, body };
                let (read, allocated) = peak(|| Message::from_frame(&frame));
                let truncated = MessageError::Body(CborError::Truncated);
                assert_eq!(
                    (read, allocated),
                    (Err(truncated), 0),
                    "{label} {message:?}"
                );
            }
        }
    }
}

/// The lengths that do not lie: a list of as many elements as there are bytes, none of them what
/// belongs there. The reader makes room for the list before it looks at the first.
#[test]
fn a_frame_of_nothing_but_elements_costs_a_bounded_amount() {
    for (_, message) in messages(&World::new()) {
        for (len_max, bound) in [
            (BODY_LEN_MAX_STRANGER, STRANGERS_LIST_BYTES_MAX),
            (BODY_LEN_MAX, LIST_BYTES_MAX),
        ] {
            let list = |len: usize| [&head(4, len as u64 - 3)[..], &vec![0; len - 3]].concat();
            let bodies = [
                list(len_max),
                [vec![0x82], list(len_max - 2), vec![0xf4]].concat(),
                [vec![0x81; DEPTH_MAX - 1], list(len_max - DEPTH_MAX)].concat(),
            ];
            for body in bodies {
                let frame = Frame {
                    kind: message.kind(),
                    body,
                };
                let (read, allocated) = peak(|| Message::from_frame(&frame));
                assert!(read.is_err());
                assert!(allocated <= bound, "{allocated} bytes for {message:?}");
            }
        }
    }
}

#[test]
fn reading_allocates_in_proportion_to_what_came() {
    for specimen in specimens(&World::new()) {
        let (_, allocated) = peak(|| (specimen.reread)(&specimen.bytes));
        let bound = 8 * specimen.bytes.len() + 1024;
        assert!(allocated <= bound, "{allocated} bytes for {specimen:?}");
    }
}

#[test]
fn a_signed_fact_over_the_cap_is_not_looked_at() {
    let bytes = vec![0x84; SIGNED_LEN_MAX + 1];
    let (read, allocated) = peak(|| SignedOrder::from_bytes(&bytes).is_err());
    assert_eq!((read, allocated), (true, 0));
}

#[test]
fn an_announced_frame_takes_no_room_before_it_comes() {
    let mut announced = u32::try_from(BODY_LEN_MAX)
        .expect("fits")
        .to_be_bytes()
        .to_vec();
    announced.extend([0, 1]);
    let mut reader = FrameReader::new(BODY_LEN_MAX);
    let (frame, allocated) = peak(|| {
        reader.push(&announced);
        reader.next_frame()
    });
    assert_eq!(frame, Ok(None));
    assert!(allocated <= 4 * HEADER_LEN, "{allocated} bytes");
}

/// serde makes room for at most 1 MiB of a list whose length it was told, and the text of an
/// error comes on top.
const LIST_BYTES_MAX: usize = (1 << 20) + 4096;

/// One line of history takes 112 bytes in memory, and at least one on the wire.
const STRANGERS_LIST_BYTES_MAX: usize = 112 * BODY_LEN_MAX_STRANGER + 4096;

/// What `work` gives, and how many bytes it held at most at one time.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get().saturating_sub(before))
}

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, counting what each thread holds.
struct Counting;

fn count(taken: usize, given: usize) {
    let now = NOW.get().saturating_sub(given).saturating_add(taken);
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// The trait can only be implemented so; everything is passed on to the system's allocator as it
// came, and counting neither allocates nor panics.
#[expect(unsafe_code, reason = "an allocator that counts has no other form")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are exactly those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}
