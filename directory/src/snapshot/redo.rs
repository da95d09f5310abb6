//! The entries behind a snapshot, in short, in files that only grow.
//!
//! A file `redo-N` begins at entry N: where the snapshot ends, or where the file before ends.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `quidredo` |
//! | 8 | 8 | format, 1 |
//! | 16 | 8 | N |
//! | 24 | | sections |
//!
//! A section takes the books to another number of entries:
//!
//! | bytes | |
//! |---|---|
//! | 8 | number of entries then |
//! | 32 | root of the tree over them |
//! | 8 | length of what follows the checksum |
//! | 32 | SHA-256 over the checksum before it (the file's first 24 bytes before the first), the 48 bytes above and what follows |
//! | | the entries in short, in the ledger's own encoding |
//!
//! Numbers are big-endian. What a crash left of a last section is not whole, and not read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use quid_common::sha256::Sha256;

use crate::write_back::WriteBack;

/// The entries up to a number of entries, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) entries: u64,
    pub(super) root: [u8; 32],
    pub(super) bytes: Vec<u8>,
}

/// Where a file of sections ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) path: PathBuf,
    /// In bytes.
    len: u64,
    sum: Vec<u8>,
}

/// The sections of one file, from its first to its last whole one.
pub(super) struct Sections {
    input: BufReader<File>,
    /// Bytes that are still to be read.
    left: u64,
    end: End,
}

impl Sections {
    /// The file at `path`, if it is one that begins at entry `first`.
    pub(super) fn open(path: &Path, first: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let left = file.metadata()?.len();
        let mut input = BufReader::new(file);
        let mut found = [0; HEAD_LEN];
        let Some(left) = left.checked_sub(HEAD_LEN as u64) else {
            return Ok(None);
        };
        input.read_exact(&mut found)?;
        let head = head(first);
        let end = End {
            path: path.to_owned(),
            len: HEAD_LEN as u64,
            sum: head.to_vec(),
        };
        Ok((found == head).then_some(Self { input, left, end }))
    }

    /// The next section; `None` behind the last whole one.
    pub(super) fn next(&mut self) -> io::Result<Option<Section>> {
        let Some(left) = self.left.checked_sub(SECTION_HEAD_LEN as u64 + 32) else {
            return Ok(None);
        };
        let (mut head, mut sum) = ([0; SECTION_HEAD_LEN], [0; 32]);
        self.input.read_exact(&mut head)?;
        self.input.read_exact(&mut sum)?;
        let (entries, root, len) = split(&head);
        // Nothing is allocated on a damaged word.
        let Some(left) = left.checked_sub(len) else {
            self.left = 0;
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        if checksum(&self.end.sum, &head, &bytes) != sum {
            self.left = 0;
            return Ok(None);
        }
        self.left = left;
        self.end.len += SECTION_HEAD_LEN as u64 + 32 + len;
        self.end.sum = sum.to_vec();
        let section = Section {
            entries,
            root,
            bytes,
        };
        Ok(Some(section))
    }

    /// Where the sections read so far end.
    pub(super) const fn end(&self) -> &End {
        &self.end
    }
}

/// A file of sections, to be written on.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    end: End,
    write_back: WriteBack,
}

impl Writer {
    /// A new file that begins at entry `first`.
    pub(super) fn create(path: &Path, first: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path)?;
        let head = head(first);
        file.write_all(&head)?;
        let end = End {
            path: path.to_owned(),
            len: HEAD_LEN as u64,
            sum: head.to_vec(),
        };
        let write_back = WriteBack::default();
        Ok(Self {
            file,
            end,
            write_back,
        })
    }

    /// Goes on where the sections that count end.
    pub(super) fn go_on(end: End) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(&end.path)?;
        file.set_len(end.len)?;
        file.seek(SeekFrom::Start(end.len))?;
        let write_back = WriteBack::from(end.len);
        Ok(Self {
            file,
            end,
            write_back,
        })
    }

    pub(super) fn append(&mut self, section: &Section) -> io::Result<()> {
        let mut head = [0; SECTION_HEAD_LEN];
        head[..8].copy_from_slice(&section.entries.to_be_bytes());
        head[8..40].copy_from_slice(&section.root);
        head[40..].copy_from_slice(&(section.bytes.len() as u64).to_be_bytes());
        let sum = checksum(&self.end.sum, &head, &section.bytes);
        self.file.write_all(&[&head[..], &sum].concat())?;
        self.file.write_all(&section.bytes)?;
        self.end.len += SECTION_HEAD_LEN as u64 + 32 + section.bytes.len() as u64;
        self.end.sum = sum.to_vec();
        self.write_back.wrote(&self.file, self.end.len);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) const fn len(&self) -> u64 {
        self.end.len
    }

    pub(super) fn path(&self) -> &Path {
        &self.end.path
    }
}

fn head(first: u64) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&FORMAT.to_be_bytes());
    head[16..].copy_from_slice(&first.to_be_bytes());
    head
}

#[expect(
    clippy::expect_used,
    reason = "an array of this length holds its fields"
)]
fn split(head: &[u8; SECTION_HEAD_LEN]) -> (u64, [u8; 32], u64) {
    let (entries, rest) = head.split_first_chunk().expect("48 bytes");
    let (root, len) = rest.split_first_chunk().expect("40 bytes");
    let len = len.first_chunk().expect("8 bytes");
    (
        u64::from_be_bytes(*entries),
        *root,
        u64::from_be_bytes(*len),
    )
}

fn checksum(before: &[u8], head: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut sum = Sha256::new();
    for part in [before, head, bytes] {
        sum.update(part);
    }
    sum.finish()
}

const MAGIC: &[u8; 8] = b"quidredo";
const FORMAT: u64 = 1;
const HEAD_LEN: usize = 24;
const SECTION_HEAD_LEN: usize = 48;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn section(entries: u64, len: usize) -> Section {
        Section {
            entries,
            root: [7; 32],
            bytes: vec![entries.to_be_bytes()[7]; len],
        }
    }

    fn read(path: &Path) -> Vec<Section> {
        let mut sections = Sections::open(path, 5)
            .expect("it can be read")
            .expect("it begins there");
        std::iter::from_fn(|| sections.next().expect("it can be read")).collect()
    }

    #[test]
    fn only_whole_sections_are_read_and_writing_goes_on_behind_them() {
        let place = tempfile::tempdir().expect("a place");
        let path = place.path().join("redo-5");
        let all = [section(7, 100), section(9, 0), section(20, 33)];
        let mut writer = Writer::create(&path, 5).expect("there is room");
        let mut ends = vec![writer.len()];
        for section in &all {
            writer.append(section).expect("there is room");
            ends.push(writer.len());
        }
        assert_eq!(read(&path).len(), 3);
        assert!(Sections::open(&path, 6).expect("it can be read").is_none());
        let bytes = fs::read(&path).expect("it is there");
        for at in HEAD_LEN..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= at as u64).count() - 1;
            fs::write(&path, &bytes[..at]).expect("there is room");
            assert!(read(&path) == all[..whole], "cut to {at} bytes");
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).expect("there is room");
            assert!(read(&path) == all[..whole], "byte {at} is another");
            // What is written behind them is read again.
            let mut sections = Sections::open(&path, 5).expect("readable").expect("ours");
            while sections.next().expect("it can be read").is_some() {}
            let mut writer = Writer::go_on(sections.end().clone()).expect("writable");
            writer.append(&section(99, 3)).expect("there is room");
            let again = read(&path);
            assert!(again.len() == whole + 1 && again[whole] == section(99, 3));
        }
    }
}
