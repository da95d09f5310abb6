//! Messages on a bare QUIC stream, for those who do not keep to the library.

use std::sync::Arc;
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::chain::Link;
use quid_common::frame::{BODY_LEN_MAX, FrameError, FrameReader};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{Message, MessageError, Run, Submit, SubmitClaim, SubmitClose, SubmitTab};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream,
    WriteError,
};
use thiserror::Error;
use tokio::time::timeout;

use crate::machine::directory_at;

/// A stream.
#[derive(Debug)]
pub struct Wire {
    asks: Asks,
    answers: Answers,
}

/// What is sent.
#[derive(Debug)]
pub struct Asks(SendStream);

/// What comes.
#[derive(Debug)]
pub struct Answers {
    stream: RecvStream,
    frames: FrameReader,
    run: Run,
}

/// Something to submit, without its number.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A signed order.
    Order(Vec<u8>),
    /// Signed terms.
    Tab(Vec<u8>),
    /// A claim: payer, tab, units before and after, link.
    Claim(PublicKey, OrderId, u32, u32, Link),
    /// A signed close.
    Close(Vec<u8>),
}

/// Why a stream is of no more use.
#[derive(Debug, Error)]
pub enum WireError {
    /// There is no way to call anybody.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered in time.
    #[error("silence")]
    Silence,
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Nothing can be sent.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nothing comes.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What came is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Calls the directory as `identity`.
///
/// # Errors
/// [`WireError`].
pub async fn dial(
    endpoint: &Endpoint,
    identity: &TlsIdentity,
    directory: &DirectoryAddress,
) -> Result<Connection, WireError> {
    let setup = |error: &dyn std::fmt::Display| WireError::Setup(error.to_string());
    let tls = tls::client_config(identity, *directory.key().as_bytes(), tls::ALPN_DIRECTORY)
        .map_err(|error| setup(&error))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| setup(&error))?;
    let config = ClientConfig::new(Arc::new(tls));
    let connecting = endpoint
        .connect_with(config, directory_at(), tls::SERVER_NAME)
        .map_err(|error| setup(&error))?;
    match timeout(DIAL_WAIT, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(WireError::Silence),
    }
}

impl Wire {
    /// The stream with these halves.
    pub const fn new(send: SendStream, stream: RecvStream) -> Self {
        Self {
            asks: Asks(send),
            answers: Answers {
                stream,
                frames: FrameReader::new(BODY_LEN_MAX),
                run: Run::new(),
            },
        }
    }

    /// Both directions.
    pub fn split(self) -> (Asks, Answers) {
        (self.asks, self.answers)
    }

    /// Asks one question on a stream of its own.
    ///
    /// # Errors
    /// [`WireError`].
    pub async fn ask(connection: &Connection, question: &Message) -> Result<Message, WireError> {
        let asked = async {
            let (send, receive) = connection.open_bi().await?;
            let (mut asks, mut answers) = Self::new(send, receive).split();
            asks.send(question).await?;
            // Fails only on a stream that was reset.
            let _ = asks.0.finish();
            answers.next().await?.ok_or(WireError::Silence)
        };
        timeout(ANSWER_WAIT, asked)
            .await
            .unwrap_or(Err(WireError::Silence))
    }
}

impl Asks {
    /// Sends a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub async fn send(&mut self, message: &Message) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        Ok(self.0.write_all(&bytes).await?)
    }
}

impl Answers {
    /// The next message; none at the stream's end.
    ///
    /// # Errors
    /// [`WireError`].
    pub async fn next(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(self.run.read(Message::from_frame(&frame)?)?));
            }
            let Some(chunk) = self.stream.read_chunk(64 * 1024, true).await? else {
                return Ok(None);
            };
            self.frames.push(&chunk.bytes);
        }
    }
}

impl Ask {
    /// The message with this number.
    pub fn of(self, number: u64) -> Message {
        match self {
            Self::Order(order) => Submit {
                number,
                order: order.into(),
                decline: None,
            }
            .into(),
            Self::Tab(terms) => SubmitTab {
                number,
                terms: terms.into(),
            }
            .into(),
            Self::Claim(payer, id, from, index, link) => SubmitClaim {
                number,
                payer,
                id,
                from,
                index,
                link,
            }
            .into(),
            Self::Close(close) => SubmitClose {
                number,
                close: close.into(),
            }
            .into(),
        }
    }
}

/// How long a handshake is waited for.
const DIAL_WAIT: Duration = Duration::from_secs(3);

/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
