//! Messages on one QUIC stream, many in one write.

use bytes::Bytes;
use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::wire::{Message, Run};
use quinn::{RecvStream, SendStream};

use crate::report::Failure;

/// The reading half.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: RecvStream,
    frames: FrameReader,
    run: Run,
}

impl Reader {
    pub(crate) const fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            frames: FrameReader::new(BODY_LEN_MAX),
            run: Run::new(),
        }
    }

    /// Waits for bytes; false at the stream's end. Cancel safe.
    pub(crate) async fn more(&mut self) -> Result<bool, Failure> {
        let mut chunks = [const { Bytes::new() }; CHUNKS_LEN];
        let Some(count) = self.stream.read_chunks(&mut chunks).await? else {
            return Ok(false);
        };
        for chunk in chunks.iter().take(count) {
            self.frames.push(chunk);
        }
        Ok(true)
    }

    /// The next message that is here already.
    pub(crate) fn ready(&mut self) -> Result<Option<Message>, Failure> {
        Ok(match self.frames.next_borrowed()? {
            Some((kind, body)) => Some(self.run.read(Message::read(kind, body)?)?),
            None => None,
        })
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(message);
            }
            if !self.more().await? {
                return Err("the stream ended".into());
            }
        }
    }
}

/// Appends a message to what is written next.
pub(crate) fn queue(out: &mut Vec<u8>, message: impl Into<Message>) {
    message.into().write(out);
}

/// Asks one question on a stream of its own.
pub(crate) async fn ask(
    (mut send, receive): (SendStream, RecvStream),
    question: impl Into<Message>,
) -> Result<Message, Failure> {
    let mut out = Vec::new();
    queue(&mut out, question);
    send.write_all(&out).await?;
    let _ = send.finish();
    Reader::new(receive).next().await
}

/// Most packets' contents taken from a stream at once.
const CHUNKS_LEN: usize = 32;
