//! Frames: how messages follow each other on a stream, without I/O.
//!
//! A frame is the body's length (4 bytes, big endian), the kind (2 bytes, big endian), the body.

use thiserror::Error;

/// Bytes before a frame's body.
pub const HEADER_LEN: usize = 6;

/// Longest body that is read from a stranger, in bytes.
pub const BODY_LEN_MAX_STRANGER: usize = 4 * 1024;

/// Longest body that is read from an account or a directory, in bytes.
pub const BODY_LEN_MAX: usize = 64 * 1024;

/// One message as it stands on a stream: its kind and its encoded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message's number in the table of [`crate::wire`].
    pub kind: u16,
    /// The message's CBOR.
    pub body: Vec<u8>,
}

impl Frame {
    /// Appends the frame's bytes to `out`, so that many frames leave in one write.
    pub fn write(&self, out: &mut Vec<u8>) {
        write(self.kind, out, |out| out.extend_from_slice(&self.body));
    }
}

/// Appends a frame whose body is what `body` appends.
pub(crate) fn write(kind: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_be_bytes());
    body(out);
    let len = out.len().saturating_sub(head.saturating_add(HEADER_LEN));
    // Bodies are far below 4 GiB; one that were not would be refused as too long.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(head..).and_then(<[u8]>::first_chunk_mut) {
        *place = len.to_be_bytes();
    }
}

/// Collects a stream's bytes into frames; holds at most one unfinished frame and what came with
/// its last bytes.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    body_len_max: usize,
}

impl FrameReader {
    /// Reads frames whose bodies have at most `body_len_max` bytes.
    #[must_use]
    pub const fn new(body_len_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            body_len_max,
        }
    }

    /// Takes bytes as they came. Call [`Self::next_frame`] until it answers `None` before waiting
    /// for more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if its bytes are here.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as a length above the cap is announced; the stream is then
    /// of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let frame = self.next_borrowed()?;
        Ok(frame.map(|(kind, body)| Frame {
            kind,
            body: body.to_vec(),
        }))
    }

    /// Like [`Self::next_frame`], for bodies that are read where they stand: kind and body.
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub fn next_borrowed(&mut self) -> Result<Option<(u16, &[u8])>, FrameError> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let Some((&[a, b, c, d, e, f], rest)) = pending.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.body_len_max {
            return Err(FrameError::TooLong {
                len,
                max: self.body_len_max,
            });
        }
        let Some(body) = rest.get(..len) else {
            return Ok(None);
        };
        self.start = self.start.saturating_add(HEADER_LEN).saturating_add(len);
        Ok(Some((u16::from_be_bytes([e, f]), body)))
    }

    /// Whether the stream stopped between frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }
}

/// Why a stream's bytes are no frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A body longer than the stage allows.
    #[error("a frame of {len} bytes was announced; at most {max} are read here")]
    TooLong {
        /// The length announced.
        len: usize,
        /// The most that is read.
        max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames = [
            Frame {
                kind: 1,
                body: vec![],
            },
            Frame {
                kind: 0xffff,
                body: vec![7; 300],
            },
            Frame {
                kind: 2,
                body: vec![1],
            },
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes);
        }
        for step in 1..bytes.len() {
            let mut reader = FrameReader::new(300);
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                reader.push(chunk);
                while let Some(frame) = reader.next_frame().expect("within the cap") {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_length_above_the_cap_is_refused_before_its_body_comes() {
        let mut reader = FrameReader::new(10);
        reader.push(&[0, 0, 0, 11, 0, 1]);
        assert_eq!(
            reader.next_frame(),
            Err(FrameError::TooLong { len: 11, max: 10 })
        );
        let mut reader = FrameReader::new(10);
        reader.push(&[0xff; 6]);
        assert!(reader.next_frame().is_err());
    }
}
