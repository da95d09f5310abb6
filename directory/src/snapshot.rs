//! The snapshot: the books as of an entry, and behind it later entries in short (`snapshot/redo.rs`), so that
//! a start need not replay the whole log.
//!
//! All of it is derived: without it the log is replayed from its first entry. What the state means
//! is the ledger's affair; here it is kept whole, and bound to the log by the tree's root. [`Keeper`]
//! keeps it up while payments go on, [`restore`] reads it at the start.
//!
//! The file `snapshot`:
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `quidsnap` |
//! | 8 | 8 | format, 2 |
//! | 16 | 8 | number of entries in the books |
//! | 24 | 32 | root of the tree over them |
//! | 56 | 8 | length of the state |
//! | 64 | 32 | SHA-256 over the state and the 64 bytes above |
//! | 96 | | the state |
//!
//! Numbers are big-endian.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use quid_common::sha256::Sha256;

use crate::folder::{self, Folder, FolderError, shown};

mod keeper;
mod redo;
mod restore;

#[cfg(test)]
pub(crate) use self::keeper::Bounds;
pub use self::keeper::{Chain, Keeper};
pub use self::restore::restore;

/// The books as of an entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of entries in the books.
    pub entries: u64,
    /// Root of the tree over them: the books of another log have another one.
    pub root: [u8; 32],
    /// The books, in the ledger's own encoding.
    pub state: Vec<u8>,
}

impl Snapshot {
    /// Replaces the folder's snapshot by this one, durably; after a crash there is one or the
    /// other. Takes as long as the disk takes: call it where nobody waits.
    ///
    /// # Errors
    /// [`FolderError::Io`]; the snapshot before, if any, is then still there.
    pub fn write(&self, folder: &Folder) -> Result<(), FolderError> {
        let head = head(self.entries, &self.root, self.state.len() as u64);
        let sum = checksum(&head, &self.state);
        folder.replace_derived(NAME, |file| {
            file.write_all(&head)?;
            file.write_all(&sum)?;
            file.write_all(&self.state)
        })
    }

    /// The folder's snapshot, if there is one and it is whole. Whether it is of this log, and not
    /// ahead of it, is for the caller to find out by `entries` and `root`.
    ///
    /// A damaged one is worth a warning and otherwise like none.
    ///
    /// # Errors
    /// [`FolderError::Io`] if there is one that cannot be read.
    pub fn read(folder: &Folder) -> Result<Option<Self>, FolderError> {
        let path = folder.snapshot();
        let found = match File::open(&path) {
            Ok(mut file) => Self::read_from(&mut file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        match found {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ) =>
            {
                tracing::warn!(
                    file = %shown(&path),
                    "the snapshot is damaged or of another format; replaying the log instead"
                );
                Ok(None)
            }
            Err(error) => Err(folder::io("read", &path)(error)),
        }
    }

    fn read_from(file: &mut File) -> io::Result<Self> {
        let mut head = [0; HEAD_LEN];
        let mut sum = [0; 32];
        file.read_exact(&mut head)?;
        file.read_exact(&mut sum)?;
        let mut fields = Fields(&head);
        if fields.take::<8>() != *MAGIC || fields.number() != FORMAT {
            return Err(ErrorKind::InvalidData.into());
        }
        let (entries, root, len) = (fields.number(), fields.take(), fields.number());
        // Nothing is allocated on a damaged word.
        let rest = file.metadata()?.len().checked_sub(HEAD_LEN as u64 + 32);
        if rest != Some(len) {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut state = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
        file.read_to_end(&mut state)?;
        if checksum(&head, &state) != sum {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(Self {
            entries,
            root,
            state,
        })
    }
}

/// What stands before a state of `len` bytes.
fn head(entries: u64, root: &[u8; 32], len: u64) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&FORMAT.to_be_bytes());
    head[16..24].copy_from_slice(&entries.to_be_bytes());
    head[24..56].copy_from_slice(root);
    head[56..].copy_from_slice(&len.to_be_bytes());
    head
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Snapshot({} entries, {} bytes)",
            self.entries,
            self.state.len()
        )
    }
}

/// What is left of the head to be read.
struct Fields<'a>(&'a [u8]);

#[expect(
    clippy::expect_used,
    reason = "only a head of a fixed length is read so"
)]
impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .expect("the head holds its fields");
        self.0 = rest;
        *field
    }

    fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}

fn checksum(head: &[u8], state: &[u8]) -> [u8; 32] {
    let mut sum = Sha256::new();
    sum.update(state);
    sum.update(head);
    sum.finish()
}

const NAME: &str = "snapshot";
const MAGIC: &[u8; 8] = b"quidsnap";
const FORMAT: u64 = 2;
const HEAD_LEN: usize = 64;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests {
    use std::fs;

    use quid_common::sha256::sha256;

    use super::*;
    use crate::store::testing::Scratch;

    fn snapshot(body: &[u8]) -> Snapshot {
        Snapshot {
            entries: 42,
            root: [9; 32],
            state: body.to_vec(),
        }
    }

    #[test]
    fn the_newest_is_read_back() {
        let scratch = Scratch::new();
        let read = || Snapshot::read(&scratch.folder).expect("it can be read");
        assert_eq!(read(), None);
        for body in [&b"books"[..], b"", &[7; 100_000]] {
            let written = snapshot(body);
            written.write(&scratch.folder).expect("there is room");
            assert_eq!(read(), Some(written));
        }
    }

    #[test]
    fn the_file_is_as_documented() {
        let scratch = Scratch::new();
        snapshot(b"books")
            .write(&scratch.folder)
            .expect("there is room");
        let bytes = fs::read(scratch.folder.snapshot()).expect("it is there");
        let mut expected = b"quidsnap\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x2a".to_vec();
        expected.extend([9; 32]);
        expected.extend(b"\0\0\0\0\0\0\0\x05");
        let sum = sha256(&[b"books", &expected[..]].concat());
        expected.extend(sum);
        expected.extend(b"books");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_is_ignored() {
        let scratch = Scratch::new();
        let path = scratch.folder.snapshot();
        snapshot(b"some books")
            .write(&scratch.folder)
            .expect("there is room");
        let good = fs::read(&path).expect("it is there");
        let ignored = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("there is room");
            Snapshot::read(&scratch.folder)
                .expect("it can be read")
                .is_none()
        };
        for end in 0..good.len() {
            assert!(ignored(&good[..end]), "cut to {end} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ignored(&bad), "bit {bit} flipped");
        }
        assert!(ignored(&[&good[..], b"x"].concat()), "a byte more");
        assert!(!ignored(&good));
    }

    #[test]
    fn a_folder_in_its_place_is_named() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.folder.snapshot()).expect("it can be made");
        let error = Snapshot::read(&scratch.folder)
            .expect_err("it is no file")
            .to_string();
        assert!(
            error.starts_with("cannot read ") && error.contains("snapshot"),
            "{error}"
        );
    }
}
