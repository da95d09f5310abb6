//! SHA-256, by the library that is quickest also on processors without instructions for it.

use std::fmt;

use aws_lc_rs::digest;

/// The SHA-256 of a message that comes in parts.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Goes on with `part`.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The hash of all parts, one behind the other.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        bytes(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

/// The SHA-256 of a whole message.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    bytes(&digest::digest(&digest::SHA256, message))
}

fn bytes(digest: &digest::Digest) -> [u8; 32] {
    // A SHA-256 has 32 bytes.
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
