//! Frames on a stream.

use quid_common::frame::{
    BODY_LEN_MAX, BODY_LEN_MAX_STRANGER, Frame, FrameError, FrameReader, HEADER_LEN,
};

/// The first byte chooses the cap, the second how the stream is cut, the rest is the stream.
///
/// However it is cut, the same frames come out, they are written again as the same bytes, and a
/// reader written from PROTOCOL.md alone finds the same.
pub fn frames(bytes: &[u8]) {
    let [cap, step, stream @ ..] = bytes else {
        return;
    };
    let caps = [0, 10, 300, BODY_LEN_MAX_STRANGER, BODY_LEN_MAX];
    let cap = caps.into_iter().cycle().nth(usize::from(*cap)).unwrap_or(0);
    let expected = by_the_book(stream, cap);
    for step in [usize::from(*step).max(1), stream.len().max(1)] {
        assert_eq!(read(stream, cap, step), expected, "cut every {step} bytes");
    }
    let mut again = Vec::new();
    expected
        .frames
        .iter()
        .for_each(|frame| frame.write(&mut again));
    assert!(stream.starts_with(&again), "one encoding for each frame");
}

/// What a stream came to.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    frames: Vec<Frame>,
    /// The length that was refused.
    refused: Option<usize>,
    /// Whether it ended between two frames.
    whole: bool,
}

fn read(stream: &[u8], cap: usize, step: usize) -> Read {
    let mut reader = FrameReader::new(cap);
    let mut frames = Vec::new();
    for chunk in stream.chunks(step) {
        reader.push(chunk);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(FrameError::TooLong { len, max }) => {
                    assert_eq!(max, cap);
                    let refused = Some(len);
                    return Read {
                        frames,
                        refused,
                        whole: false,
                    };
                }
            }
        }
    }
    Read {
        frames,
        refused: None,
        whole: reader.is_empty(),
    }
}

fn by_the_book(mut stream: &[u8], cap: usize) -> Read {
    let mut frames = Vec::new();
    loop {
        let whole = stream.is_empty();
        let Some((header, rest)) = stream.split_at_checked(HEADER_LEN) else {
            let refused = None;
            return Read {
                frames,
                refused,
                whole,
            };
        };
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum * 256 + usize::from(*byte))
        };
        let (len, kind) = (number(&header[..4]), number(&header[4..]));
        if len > cap || rest.len() < len {
            let refused = (len > cap).then_some(len);
            return Read {
                frames,
                refused,
                whole: false,
            };
        }
        let (body, after) = rest.split_at(len);
        let (kind, body) = (u16::try_from(kind).expect("two bytes"), body.to_vec());
        frames.push(Frame { kind, body });
        stream = after;
    }
}
