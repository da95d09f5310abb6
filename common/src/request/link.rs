//! A payment request as text: `quid://KEY@HOST:PORT/request/` and the signed bytes in base64url.
//!
//! There is one way to write a link, as there is for an address, and it fits a QR code that a phone
//! reads. What stands before the path is the directory's address; where the directory is, is only
//! a hint, for a payer goes to the one that it has pinned.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use super::{REQUEST_LEN_MAX, Request, SignedRequest};
use crate::address::{ADDRESS_LEN_MAX, AddressError, DirectoryAddress};
use crate::printable::printable_char;

/// Longest link, in bytes. A QR code of version 20 at the lowest level of correction holds 858; most
/// links have about 350.
pub const LINK_LEN_MAX: usize = ADDRESS_LEN_MAX + PATH.len() + ENCODED_LEN_MAX;

const _: () = assert!(LINK_LEN_MAX <= 858);

/// A payment request whose payee has signed it, and the directory whose ledger it is about.
///
/// Holding one proves that the key in it signed every part of it. Whose key that is, only the
/// directory knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLink {
    directory: DirectoryAddress,
    request: SignedRequest,
}

impl RequestLink {
    /// The link to `request` at `directory`.
    ///
    /// # Errors
    /// [`LinkError::Signature`] if the request is not its payee's, [`LinkError::Unsound`] if nobody
    /// can pay it.
    pub fn new(directory: DirectoryAddress, request: SignedRequest) -> Result<Self, LinkError> {
        if request.bytes().len() > REQUEST_LEN_MAX {
            return Err(LinkError::TooLong);
        }
        if !request.verify() {
            return Err(LinkError::Signature);
        }
        if request.statement().check().is_err() {
            return Err(LinkError::Unsound);
        }
        Ok(Self { directory, request })
    }

    /// The directory, and where it was when the request was made.
    #[must_use]
    pub const fn directory(&self) -> &DirectoryAddress {
        &self.directory
    }

    /// What the payee says.
    #[must_use]
    pub const fn request(&self) -> &Request {
        self.request.statement()
    }

    /// The request as it was signed.
    #[must_use]
    pub const fn signed(&self) -> &SignedRequest {
        &self.request
    }

    /// Whether `text` is meant as a link rather than as an address or a name, sound or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let path = text
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        path.is_some_and(|(_, path)| {
            path.split(['/', '?', '#']).next() == Some(PATH.trim_matches('/'))
        })
    }
}

impl fmt::Display for RequestLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE64URL_NOPAD.encode(self.request.bytes());
        write!(f, "{}{PATH}{encoded}", self.directory)
    }
}

impl FromStr for RequestLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > LINK_LEN_MAX {
            return Err(LinkError::TooLong);
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(LinkError::BadCharacter(c));
        }
        let start = text.find("://").map_or(0, |at| at.saturating_add(3));
        let (front, rest) = text.split_at_checked(start).unwrap_or((text, ""));
        let Some(end) = rest.find(['/', '?', '#']) else {
            let _: DirectoryAddress = text.parse().map_err(LinkError::Address)?;
            return Err(LinkError::DirectoryAddress);
        };
        let (place, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let directory = format!("{front}{place}");
        let directory = directory.parse().map_err(LinkError::Address)?;
        let encoded = tail.strip_prefix(PATH).ok_or(match tail {
            NO_REQUEST => LinkError::Empty,
            _ => LinkError::Path,
        })?;
        if encoded.is_empty() {
            return Err(LinkError::Empty);
        }
        if encoded.contains(['/', '?', '#']) {
            return Err(LinkError::Tail);
        }
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| LinkError::Damaged)?;
        let request = SignedRequest::from_vec(bytes).map_err(|_| LinkError::Damaged)?;
        Self::new(directory, request)
    }
}

/// Why a text is not a link to a payment request. Each says what is wrong with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LinkError {
    /// Over [`LINK_LEN_MAX`] bytes.
    #[error("the link is too long: at most {LINK_LEN_MAX} bytes; copy it again, and nothing else")]
    TooLong,
    /// White space, a control character or anything outside ASCII.
    #[error(
        "a link cannot hold '{}': copy it again, and nothing else",
        printable_char(*.0)
    )]
    BadCharacter(char),
    /// What stands before the path is no directory's address.
    #[error("the link begins with no directory's address: {0}")]
    Address(AddressError),
    /// A directory's address and no more.
    #[error(
        "this is a directory's address, not a payment request: \
         `quid init --directory` takes it; a payment request looks like {EXAMPLE}"
    )]
    DirectoryAddress,
    /// Something else than `/request/` after the port.
    #[error("the link is none to a payment request, which looks like {EXAMPLE}")]
    Path,
    /// Nothing after `/request/`.
    #[error("the link ends where the request should begin: copy it again, and all of it")]
    Empty,
    /// More after the request.
    #[error("the link goes on after the request: copy it again, and nothing else")]
    Tail,
    /// What follows `/request/` is not a whole request in the one spelling.
    #[error("the request in the link is cut short or damaged: copy it again, and all of it")]
    Damaged,
    /// The request was signed by somebody else than its payee, or altered since.
    #[error(
        "the request in the link was altered or forged: its payee has not signed it; \
         ask the payee for another"
    )]
    Signature,
    /// Its payee has signed it, but it asks for nothing that can be paid, or is of a version that is
    /// not known here.
    #[error(
        "the request in the link asks for nothing that can be paid here: \
         ask the payee for another, or use a newer quid"
    )]
    Unsound,
}

const PATH: &str = "/request/";

/// The path of a link that was cut before the request.
const NO_REQUEST: &str = "/request";

/// Length of the longest request in base64.
const ENCODED_LEN_MAX: usize = (REQUEST_LEN_MAX * 4).div_ceil(3);

const EXAMPLE: &str = "quid://KEY@directory.example:4433/request/...";
