//! A real disk that is full: the books are on a small tmpfs, on which a ballast leaves more or less
//! room.

use std::fs::{self, File};
use std::io::Write;

use super::mounts::Mounted;
use super::{pay_until_it_leaves, pay_well, start_again};
use crate::Failure;
use crate::point::Victim;
use crate::stage::Stage;

/// Fills the disk again and again, with other remainders left.
pub(super) fn run() -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let disk = Mounted::tmpfs(&folder.path().join("disk"), SIZE_KIB)?;
    let mut stage = Stage::open(Victim::Payer, Some(disk.path.join("data")))?;
    pay_well(&mut stage)?;
    for pages_left in PAGES_LEFT {
        let ballast = disk.path.join("ballast");
        fill(&ballast, pages_left)?;
        let (ready, said) = pay_until_it_leaves(&mut stage, PAYMENTS_MAX)?;
        // As long as the disk is full, a start says so and leaves the files alone.
        let directory = &mut stage.scene.directory;
        let refused = directory.start(None)?.is_none();
        if refused {
            let ended = directory
                .running()?
                .ended()?
                .ok_or("it neither serves nor ends")?;
            super::left(ended, &stage)?;
        }
        fs::remove_file(&ballast)?;
        start_again(&mut stage)?;
        stage.end(ready, Victim::Directory, said)?;
        pay_well(&mut stage)?;
    }
    Ok(format!("{} times a full disk", PAGES_LEFT.len()))
}

/// Takes all room but so many pages.
fn fill(ballast: &std::path::Path, pages_left: u64) -> Result<(), Failure> {
    let mut file = File::create(ballast)?;
    let page = [7; PAGE_LEN as usize];
    while file.write_all(&page).is_ok() {}
    let len = file.metadata()?.len();
    file.set_len(len.saturating_sub(pages_left * PAGE_LEN) / PAGE_LEN * PAGE_LEN)?;
    Ok(())
}

/// Room for the books and a few hundred payments.
const SIZE_KIB: u32 = 4 * 1024;

const PAGE_LEN: u64 = 4096;

/// A payment takes some five pages.
const PAGES_LEFT: [u64; 6] = [0, 1, 2, 3, 5, 8];

/// The write-ahead log is first written where it was before, which needs no room.
const PAYMENTS_MAX: usize = 200;
