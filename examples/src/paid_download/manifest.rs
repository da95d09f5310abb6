//! What a file consists of. Its id names it: nobody can make another file with the same one. So a
//! buyer who got the id from somebody it trusts pays for nothing else.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use quid_examples::Failure;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of every chunk but the last.
pub(crate) const CHUNK_LEN: u64 = 64 * 1024;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId([u8; 32]);

/// How long a file is, and the digest of each of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) len: u64,
    digests: Vec<[u8; 32]>,
}

impl Manifest {
    /// Reads a whole file.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let mut file = File::open(path)?;
        let (mut len, mut digests) = (0, Vec::new());
        loop {
            let mut chunk = Vec::new();
            (&mut file).take(CHUNK_LEN).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            len += chunk.len() as u64;
            digests.push(Sha256::digest(&chunk).into());
        }
        if digests.is_empty() || digests.len() > CHUNKS_MAX {
            return Err("the file is empty or too long to be sold on one tab".into());
        }
        Ok(Self { len, digests })
    }

    pub(crate) fn id(&self) -> FileId {
        let length = self.len.to_be_bytes();
        FileId(Sha256::digest([&length[..], self.digests.as_flattened()].concat()).into())
    }

    /// How many chunks, each of which is one unit of a tab.
    pub(crate) fn chunks(&self) -> u32 {
        u32::try_from(self.digests.len()).unwrap_or(u32::MAX)
    }

    /// Where a chunk begins, and how long it is.
    pub(crate) fn place(&self, chunk: u32) -> (u64, usize) {
        let begin = u64::from(chunk) * CHUNK_LEN;
        let len = self.len.saturating_sub(begin).min(CHUNK_LEN);
        (begin, usize::try_from(len).unwrap_or(0))
    }

    /// Whether these are the bytes of that chunk.
    pub(crate) fn holds(&self, chunk: u32, bytes: &[u8]) -> bool {
        let digest = self.digests.get(chunk as usize);
        digest.is_some_and(|digest| Sha256::digest(bytes).as_slice() == digest)
    }

    pub(crate) async fn write_to(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_u64(self.len).await?;
        stream.write_all(self.digests.as_flattened()).await
    }

    /// Reads what a seller says of a file, which must be the one that is wanted.
    pub(crate) async fn read_from(stream: &mut TcpStream, wanted: FileId) -> Result<Self, Failure> {
        let len = stream.read_u64().await?;
        let count = usize::try_from(len.div_ceil(CHUNK_LEN))?;
        if count == 0 || count > CHUNKS_MAX {
            return Err(OTHER.into());
        }
        let mut digests = vec![[0; 32]; count];
        stream.read_exact(digests.as_flattened_mut()).await?;
        let manifest = Self { len, digests };
        if manifest.id() != wanted {
            return Err(OTHER.into());
        }
        Ok(manifest)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for FileId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let id = bytes.and_then(|bytes| bytes.try_into().ok());
        id.map(Self).ok_or("a file's id has 64 hexadecimal digits")
    }
}

/// As many as a tab can have units.
const CHUNKS_MAX: usize = quid_common::chain::LENGTH_MAX as usize;

const OTHER: &str = "the seller has another file than this";
