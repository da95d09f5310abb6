//! A machine's disk, as far as SQLite writes to it: what is synced, what is not yet, and what is
//! left of that when the power fails.
//!
//! The files themselves are real. Beside each stands what its sectors held at the last sync and
//! after every write since. A crash chooses for each sector one of these, and for the file one of
//! the lengths that it had: so any subset of what was not synced may be there, in any order, torn at
//! a sector's edge.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dice::Dice;
use crate::machine::Power;

/// Bytes that a disk writes whole or not at all.
pub const SECTOR_LEN: usize = 512;

/// What a sector holds; shorter at a file's end.
type Sector = Vec<u8>;

/// The disk of one machine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    power: Power,
    files: BTreeMap<PathBuf, File>,
    trouble: Option<Trouble>,
    /// Whether it has come.
    struck: bool,
    counts: Counts,
}

/// How often the disk was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes and truncations.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// What of a file is not synced.
#[derive(Debug, Default)]
struct File {
    /// The lengths it had since the last sync, that one first; empty if nothing was written.
    lens: Vec<u64>,
    /// What each changed sector held since the last sync, that first.
    sectors: BTreeMap<u64, Vec<Sector>>,
}

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To write, or to cut a file short.
    Write,
    /// To make what was written durable.
    Sync,
}

/// A disk that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// At what.
    pub act: Act,
    /// At which of them, counted from now, beginning with 0.
    pub at: u64,
    /// How.
    pub error: DiskError,
    /// From then on for good, or once.
    pub for_good: bool,
}

/// How a disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No room is left.
    Full,
    /// It does not work (EIO).
    Broken,
}

impl Disk {
    /// A sound disk, written to for as long as there is power.
    pub fn new(power: Power) -> Self {
        Self(Arc::new(Mutex::new(State {
            power,
            files: BTreeMap::new(),
            trouble: None,
            struck: false,
            counts: Counts::default(),
        })))
    }

    /// How often it was asked for what.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Lets it fail; or not, from now on.
    pub fn trouble(&self, trouble: Option<Trouble>) {
        self.state().trouble = trouble;
    }

    /// Whether the trouble that was ordered has come.
    pub fn has_failed(&self) -> bool {
        self.state().struck
    }

    /// Whether `act` may be done now.
    ///
    /// # Errors
    /// What the disk says instead.
    pub fn ask(&self, act: Act) -> Result<(), DiskError> {
        let mut state = self.state();
        match act {
            Act::Write => state.counts.writes += 1,
            Act::Sync => state.counts.syncs += 1,
        }
        if !state.power.spend_write() {
            return Err(DiskError::Broken);
        }
        let struck = state.struck;
        let Some(trouble) = state.trouble.as_mut().filter(|trouble| trouble.act == act) else {
            return Ok(());
        };
        let error = trouble.error;
        if struck {
            return if trouble.for_good { Err(error) } else { Ok(()) };
        }
        if let Some(left) = trouble.at.checked_sub(1) {
            trouble.at = left;
            return Ok(());
        }
        state.struck = true;
        Err(error)
    }

    /// Whether there is power to read with.
    pub fn is_on(&self) -> bool {
        !self.state().power.is_off()
    }

    /// Notes what a write changes: the file's length and sectors before it and after.
    pub fn wrote(
        &self,
        path: &Path,
        (len, new_len): (u64, u64),
        sectors: impl IntoIterator<Item = (u64, Sector, Sector)>,
    ) {
        let mut state = self.state();
        let file = state.files.entry(path.to_owned()).or_default();
        if file.lens.is_empty() {
            file.lens.push(len);
        }
        if file.lens.last() != Some(&new_len) {
            file.lens.push(new_len);
        }
        for (number, before, after) in sectors {
            let held = file.sectors.entry(number).or_default();
            if held.is_empty() {
                held.push(before);
            }
            held.push(after);
        }
    }

    /// Notes that the file is synced.
    pub fn synced(&self, path: &Path) {
        self.state().files.remove(path);
    }

    /// Notes that the file is gone.
    pub fn removed(&self, path: &Path) {
        self.state().files.remove(path);
    }

    /// What a power cut leaves, by `dice`. Nobody may have the files open.
    ///
    /// # Errors
    /// If the system does not let the files be written.
    pub fn crash(&self, dice: &mut Dice) -> io::Result<()> {
        let files = std::mem::take(&mut self.state().files);
        // One choice for the whole disk now and then: everything or nothing of it is there.
        let habit = dice.number(0..4);
        for (path, file) in files {
            if path.exists() {
                crash_file(&path, &file, habit, dice)?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn crash_file(path: &Path, file: &File, habit: u64, dice: &mut Dice) -> io::Result<()> {
    let mut choose = |of: usize| match habit {
        0 => 0,
        1 => of - 1,
        _ => dice.index(of),
    };
    let disk = OpenOptions::new().write(true).open(path)?;
    let len = match file.lens.as_slice() {
        [] => fs::metadata(path)?.len(),
        lens => lens.get(choose(lens.len())).copied().unwrap_or_default(),
    };
    for (number, held) in &file.sectors {
        if let Some(sector) = held.get(choose(held.len())) {
            // Room that was never written reads as zeros.
            let mut whole = sector.clone();
            whole.resize(SECTOR_LEN, 0);
            disk.write_all_at(&whole, number * SECTOR_LEN as u64)?;
        }
    }
    disk.set_len(len)
}

/// Which disk a path is on: machines are folders.
#[derive(Debug, Default)]
pub struct Mounts(Mutex<BTreeMap<PathBuf, Disk>>);

impl Mounts {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Everything below `folder` is on `disk` from now on.
    pub fn mount(&self, folder: &Path, disk: Disk) {
        self.lock().insert(folder.to_owned(), disk);
    }

    /// What is below `folder` is on no disk of ours any more.
    pub fn unmount(&self, folder: &Path) {
        self.lock().remove(folder);
    }

    /// The disk that `path` is on, if it is one of ours.
    pub fn find(&self, path: &Path) -> Option<Disk> {
        let mounts = self.lock();
        path.ancestors()
            .find_map(|folder| mounts.get(folder).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Disk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
