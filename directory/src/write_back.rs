//! Has the system write bit by bit what is written to files that nobody syncs soon.
//!
//! Left alone it does so after half a minute, with all at once. At 20,000 payments a second, log lines,
//! tree and entries in short are then 200 MB, and the batch that is synced meanwhile waits a tenth of a
//! second for them.

use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::{Advice, fadvise};

/// What of a growing file the system has not been asked to write.
#[derive(Debug, Default)]
pub(crate) struct WriteBack {
    asked: u64,
}

impl WriteBack {
    /// For a file of which the first `end` bytes are left as they are.
    pub(crate) const fn from(end: u64) -> Self {
        Self { asked: end }
    }

    /// To be called when `file` has been written up to byte `end`. Once there is enough it asks the
    /// system to write that, and does not wait until it has.
    pub(crate) fn wrote(&mut self, file: impl AsFd, end: u64) {
        // Somebody may have cut it.
        self.asked = self.asked.min(end);
        let new = end.saturating_sub(self.asked);
        if let Some(len) = NonZeroU64::new(new).filter(|len| len.get() >= PART) {
            // Linux begins to write what is dirty of a range that it is told to forget. Only advice: what
            // cannot be given is missed by nobody.
            let _ = fadvise(file, self.asked, Some(len), Advice::DontNeed);
            self.asked = end;
        }
    }
}

/// Bytes that are written to the disk together.
pub(crate) const PART: u64 = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_once_for_each_part_and_never_twice_for_the_same() {
        let file = tempfile::tempfile().expect("a place");
        let mut write_back = WriteBack::from(100);
        let mut asked = |end| {
            write_back.wrote(&file, end);
            write_back.asked
        };
        assert_eq!(asked(100 + PART - 1), 100);
        assert_eq!(asked(100 + PART), 100 + PART);
        assert_eq!(asked(100 + PART), 100 + PART);
        assert_eq!(asked(100 + 2 * PART - 1), 100 + PART);
        assert_eq!(asked(100 + 5 * PART), 100 + 5 * PART);
        // A file that somebody cut grows anew.
        assert_eq!(asked(7), 7);
        assert_eq!(asked(7 + PART), 7 + PART);
    }
}
