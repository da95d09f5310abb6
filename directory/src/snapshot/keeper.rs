//! Keeps the snapshot close behind the ledger without holding the ledger up.
//!
//! The committing thread notes every entry in short and now and then hands a section of that to a
//! thread that writes it. When the sections have grown to half of the snapshot's size, a new
//! snapshot is begun as of that entry: the sections go on in a new file, and the ledger encodes
//! itself in slices, a few with each batch. Until the new snapshot is whole, the old one and all
//! sections count.
//!
//! Nothing here waits for the disk. If it is so slow that 32 MiB are waiting, the snapshot
//! is given up and a new one begun later; if it fails, at the next start. Until then a start takes
//! longer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use quid_common::sha256::Sha256;
use tracing::warn;

use super::redo::{End, Section, Writer};
use super::{HEAD_LEN, Snapshot, head};
use crate::folder::{self, Folder, FolderError};
use crate::ledger::Ledger;
use crate::surroundings::Workers;
use crate::write_back::WriteBack;

/// What the files hold already, of a ledger's past.
#[derive(Debug)]
pub struct Chain {
    /// Bytes of the snapshot.
    pub(super) snapshot_len: u64,
    /// Bytes of the sections behind it.
    pub(super) redo_len: u64,
    /// Where the newest file of sections ends; `None` if there is none behind the snapshot.
    pub(super) end: Option<End>,
    /// The entry up to which that goes.
    pub(super) entries: u64,
}

/// How much is done when, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// In a section.
    pub(crate) section: usize,
    /// Of entries in short that may wait for a slow disk.
    pub(crate) pending: usize,
    /// In sections, below which no new snapshot is worth its while.
    pub(crate) redo: u64,
    /// Of a snapshot encoded for each new entry.
    pub(crate) per_entry: usize,
    /// Of a snapshot encoded with a batch, also one without entries, at least.
    pub(crate) slice_min: usize,
    /// Of a snapshot encoded with a batch, at most, and handed over at once.
    pub(crate) slice: usize,
}

/// A section is about 3,000 payments, which a start after a crash reads from the log; about 400,000
/// may wait. A snapshot of 100 MB is taken in 100,000 payments, of which each waits a microsecond
/// for it, and no batch more than half a millisecond.
const BOUNDS: Bounds = Bounds {
    section: 256 * 1024,
    pending: 32 * 1024 * 1024,
    redo: 16 * 1024 * 1024,
    per_entry: 1024,
    slice_min: 4 * 1024,
    slice: 512 * 1024,
};

/// The committing thread's side.
#[derive(Debug)]
pub struct Keeper {
    pub(crate) bounds: Bounds,
    worker: Worker,
    failed: Arc<AtomicBool>,
    state: State,
    /// Entries in short that have not been handed over, up to the ledger's newest.
    pending: Vec<u8>,
    /// Part of a snapshot that has not been handed over.
    slice: Vec<u8>,
    /// That is its last part.
    encoded: bool,
    snapshot_len: u64,
    redo_len: u64,
    /// The ledger's entries at the last step.
    seen: u64,
}

/// Who writes what is handed over.
#[derive(Debug)]
enum Worker {
    /// A thread, until the sender is dropped.
    Thread(SyncSender<Work>, JoinHandle<()>),
    /// Whoever hands it over, at once.
    Caller(Disk),
    /// Nobody any more.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is nothing on disk to go on from; a snapshot is begun at this many entries.
    Nothing(u64),
    /// Snapshot and sections are complete up to what is pending.
    Following,
    /// The same, and a newer snapshot is being taken; of so many bytes so far.
    Taking { from: Begun, len: u64 },
}

/// A snapshot that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    entries: u64,
    root: [u8; 32],
    /// Nothing older counts until it is whole.
    first: bool,
}

/// What is written.
#[derive(Debug)]
enum Work {
    /// From this entry on sections go into a new file, and slices into a new snapshot.
    Begin(u64),
    Section(Section),
    Slice(Vec<u8>),
    /// The slices are a whole snapshot.
    Finish(Begun),
}

impl Keeper {
    /// Goes on from what the files hold, or begins anew.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        folder: &Folder,
        ledger: &mut Ledger,
        chain: Option<Chain>,
        workers: Workers,
    ) -> io::Result<Self> {
        let failed = Arc::new(AtomicBool::new(false));
        let (state, snapshot_len, redo_len, seen, end) = match chain {
            Some(chain) => (
                State::Following,
                chain.snapshot_len,
                chain.redo_len,
                chain.entries,
                Some((chain.end, chain.entries)),
            ),
            None => (State::Nothing(0), 0, 0, ledger.entries(), None),
        };
        let mut disk = Disk {
            folder: folder.clone(),
            sections: None,
            synced: 0,
            part: None,
            leaving: Vec::new(),
        };
        let worker = match workers {
            Workers::Threads => start_thread(disk, end, Arc::clone(&failed))?,
            Workers::Caller => match disk.go_on(end) {
                Ok(()) => Worker::Caller(disk),
                Err(error) => {
                    fail(&failed, &error);
                    Worker::Nobody
                }
            },
        };
        Ok(Self {
            bounds: BOUNDS,
            worker,
            failed,
            state,
            pending: Vec::new(),
            slice: Vec::new(),
            encoded: false,
            snapshot_len,
            redo_len,
            seen,
        })
    }

    /// To be called after every durable batch, with the root of the tree over all entries. Takes
    /// far less than a millisecond.
    pub fn step(&mut self, ledger: &mut Ledger, root: [u8; 32]) {
        if self.failed.load(Ordering::Acquire) {
            return self.give_up(ledger, u64::MAX);
        }
        let entries = ledger.entries();
        let new = entries.saturating_sub(self.seen);
        self.seen = entries;
        if let State::Nothing(at) = self.state {
            if entries >= at {
                self.begin(ledger, root, true);
            }
            return;
        }
        ledger.take_redo(&mut self.pending);
        if self.pending.len() >= self.bounds.section && !self.hand_over_section(entries, root) {
            if self.pending.len() > self.bounds.pending {
                warn!("the disk is too slow for snapshots; another is begun later");
                self.give_up(ledger, entries.saturating_add(RETRY_AFTER));
            }
            return;
        }
        if let State::Taking { from, len } = self.state {
            return self.take(ledger, from, len, new);
        }
        let due = self.redo_len >= self.bounds.redo.max(self.snapshot_len / 2);
        // The section before ends exactly where the snapshot is taken.
        if due && (self.pending.is_empty() || self.hand_over_section(entries, root)) {
            self.begin(ledger, root, false);
        }
    }

    /// Hands over what is left, for a quick next start, and waits until it is on the disk.
    pub fn close(mut self, ledger: &mut Ledger, root: [u8; 32], folder: &Folder) {
        ledger.take_redo(&mut self.pending);
        let (entries, pending) = (ledger.entries(), std::mem::take(&mut self.pending));
        let whole = match self.state {
            State::Nothing(_) => false,
            State::Following => true,
            State::Taking { from, .. } => !from.first,
        };
        if whole && !pending.is_empty() {
            self.hand_over_and_wait(Work::Section(Section {
                entries,
                root,
                bytes: pending,
            }));
        }
        self.join();
        if whole && !self.failed.load(Ordering::Acquire) {
            return;
        }
        ledger.end_snapshot();
        let snapshot = Snapshot {
            entries,
            root,
            state: ledger.snapshot(),
        };
        if let Err(error) = snapshot.write(folder) {
            warn!(%error, "no snapshot; the next start takes longer");
        }
    }

    fn begin(&mut self, ledger: &mut Ledger, root: [u8; 32], first: bool) {
        let entries = ledger.entries();
        if !self.hand_over(Work::Begin(entries)) {
            return;
        }
        if first {
            ledger.note_redo(true);
        }
        ledger.begin_snapshot();
        self.slice.clear();
        self.encoded = false;
        self.redo_len = 0;
        let from = Begun {
            entries,
            root,
            first,
        };
        self.state = State::Taking { from, len: 0 };
    }

    /// Encodes as much of the snapshot as `new` entries pay for, and hands over what there is room
    /// for.
    fn take(&mut self, ledger: &mut Ledger, from: Begun, mut len: u64, new: u64) {
        let bounds = self.bounds;
        if !self.encoded && self.slice.len() < bounds.slice {
            let wanted = usize::try_from(new).unwrap_or(usize::MAX);
            let room = wanted
                .saturating_mul(bounds.per_entry)
                .clamp(bounds.slice_min, bounds.slice);
            self.encoded = ledger.snapshot_slice(room, &mut self.slice);
        }
        if self.encoded || self.slice.len() >= bounds.slice {
            let handed = self.slice.len() as u64;
            let slice = std::mem::take(&mut self.slice);
            if let Err(Work::Slice(slice)) = self.try_hand_over(Work::Slice(slice)) {
                self.slice = slice;
                return;
            }
            len += handed;
            self.state = State::Taking { from, len };
        }
        if self.encoded && self.hand_over(Work::Finish(from)) {
            self.snapshot_len = len;
            self.state = State::Following;
        }
    }

    fn hand_over_section(&mut self, entries: u64, root: [u8; 32]) -> bool {
        let bytes = std::mem::take(&mut self.pending);
        let len = bytes.len() as u64;
        let section = Section {
            entries,
            root,
            bytes,
        };
        match self.try_hand_over(Work::Section(section)) {
            Ok(()) => {
                self.redo_len += len;
                true
            }
            Err(Work::Section(section)) => {
                self.pending = section.bytes;
                false
            }
            Err(_) => false,
        }
    }

    fn hand_over(&mut self, work: Work) -> bool {
        self.try_hand_over(work).is_ok()
    }

    fn try_hand_over(&mut self, work: Work) -> Result<(), Work> {
        match &mut self.worker {
            Worker::Thread(queue, _) => queue.try_send(work).map_err(|error| match error {
                TrySendError::Full(work) | TrySendError::Disconnected(work) => work,
            }),
            Worker::Caller(disk) => {
                if let Err(error) = disk.write(work) {
                    fail(&self.failed, &error);
                    self.worker = Worker::Nobody;
                }
                Ok(())
            }
            Worker::Nobody => Err(work),
        }
    }

    /// Hands over even if that has to wait for room.
    fn hand_over_and_wait(&mut self, work: Work) {
        match &self.worker {
            // Without a thread there is a reason why not.
            Worker::Thread(queue, _) => drop(queue.send(work)),
            Worker::Caller(_) | Worker::Nobody => drop(self.try_hand_over(work)),
        }
    }

    fn give_up(&mut self, ledger: &mut Ledger, until: u64) {
        ledger.note_redo(false);
        ledger.end_snapshot();
        self.pending = Vec::new();
        self.slice = Vec::new();
        self.state = State::Nothing(until);
    }

    fn join(&mut self) {
        match std::mem::replace(&mut self.worker, Worker::Nobody) {
            Worker::Thread(queue, thread) => {
                drop(queue);
                // A panic in it has been printed; the files it left are checked at the next start.
                let _ = thread.join();
            }
            Worker::Caller(mut disk) => {
                if let Err(error) = disk.end() {
                    fail(&self.failed, &error);
                }
            }
            Worker::Nobody => {}
        }
    }
}

fn start_thread(
    mut disk: Disk,
    end: Option<(Option<End>, u64)>,
    failed: Arc<AtomicBool>,
) -> io::Result<Worker> {
    let (work, todo) = sync_channel(WORK_LEN);
    let thread = std::thread::Builder::new()
        .name("snapshot".into())
        .spawn(move || {
            if let Err(error) = disk.run(end, &todo) {
                fail(&failed, &error);
                // Whoever hands something over must not wait.
                while todo.recv().is_ok() {}
            }
        })?;
    Ok(Worker::Thread(work, thread))
}

fn fail(failed: &AtomicBool, error: &FolderError) {
    warn!(%error, "the snapshot cannot be kept up; the next start takes longer");
    failed.store(true, Ordering::Release);
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.join();
    }
}

/// The files' side.
#[derive(Debug)]
struct Disk {
    folder: Folder,
    sections: Option<Writer>,
    /// Bytes of sections that are on the disk for good.
    synced: u64,
    part: Option<Part>,
    /// What nobody needs any more and is removed bit by bit.
    leaving: Vec<PathBuf>,
}

impl Disk {
    fn run(
        &mut self,
        end: Option<(Option<End>, u64)>,
        todo: &Receiver<Work>,
    ) -> Result<(), FolderError> {
        self.go_on(end)?;
        while let Ok(work) = todo.recv() {
            self.write(work)?;
        }
        self.end()
    }

    /// Opens what the sections go into, if there is a snapshot to go on from.
    fn go_on(&mut self, end: Option<(Option<End>, u64)>) -> Result<(), FolderError> {
        // What a crash left. It may be the snapshot itself under another name.
        folder::remove(&self.folder.path().join(OLD))?;
        match end {
            Some((Some(end), _)) => {
                let path = end.path.clone();
                let sections = Writer::go_on(end).map_err(folder::io("write", &path))?;
                self.synced = sections.len();
                self.sections = Some(sections);
            }
            Some((None, entries)) => self.sections = Some(self.new_sections(entries)?),
            None => {}
        }
        Ok(())
    }

    /// Writes, and takes a part from what is to go: a snapshot comes in smaller parts than the last
    /// one goes, which so is gone in time.
    fn write(&mut self, work: Work) -> Result<(), FolderError> {
        self.put(work)?;
        if let Some(path) = self.leaving.last()
            && !folder::remove_part(path)?
        {
            self.leaving.pop();
        }
        Ok(())
    }

    fn put(&mut self, work: Work) -> Result<(), FolderError> {
        match work {
            Work::Begin(entries) => {
                self.sync()?;
                self.sections = Some(self.new_sections(entries)?);
                self.synced = 0;
                let path = self.folder.path().join(PART);
                self.part = Some(Part::create(&path).map_err(folder::io("make", &path))?);
                Ok(())
            }
            Work::Section(section) => self.append(&section),
            Work::Slice(bytes) => {
                if let Some(part) = &mut self.part {
                    let path = self.folder.path().join(PART);
                    part.write(&bytes).map_err(folder::io("write", &path))?;
                }
                Ok(())
            }
            Work::Finish(begun) => self.finish(&begun),
        }
    }

    /// Removes what is not whole and what was to go, and makes the sections durable.
    fn end(&mut self) -> Result<(), FolderError> {
        if self.part.take().is_some() {
            let path = self.folder.path().join(PART);
            fs::remove_file(&path).map_err(folder::io("remove", &path))?;
        }
        for path in self.leaving.drain(..) {
            folder::remove(&path)?;
        }
        self.sync()
    }

    fn new_sections(&self, entries: u64) -> Result<Writer, FolderError> {
        let path = self.folder.redo(entries);
        Writer::create(&path, entries).map_err(folder::io("make", &path))
    }

    fn append(&mut self, section: &Section) -> Result<(), FolderError> {
        if let Some(sections) = &mut self.sections {
            let path = sections.path().to_owned();
            sections
                .append(section)
                .map_err(folder::io("write", &path))?;
            if sections.len() - self.synced >= SYNC_LEN {
                self.sync()?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FolderError> {
        if let Some(sections) = &self.sections {
            let sync = sections.sync();
            sync.map_err(folder::io("sync", sections.path()))?;
            self.synced = sections.len();
        }
        Ok(())
    }

    fn finish(&mut self, begun: &Begun) -> Result<(), FolderError> {
        let (part, to) = (self.folder.path().join(PART), self.folder.snapshot());
        let old = self.folder.path().join(OLD);
        if let Some(written) = self.part.take() {
            written.finish(begun).map_err(folder::io("write", &part))?;
            // Under this name it outlives the new one's taking its place. On a file system without
            // links, and the first time, there is nothing to keep.
            if fs::hard_link(&to, &old).is_ok() {
                self.leaving.push(old);
            }
            fs::rename(&part, &to).map_err(folder::io("write", &to))?;
            folder::sync_folder(self.folder.path())?;
        }
        // The files of sections before this snapshot.
        let current = self.sections.as_ref().map(Writer::path);
        for other in self.folder.redos()? {
            if Some(other.as_path()) != current && !self.leaving.contains(&other) {
                self.leaving.push(other);
            }
        }
        Ok(())
    }
}

/// A snapshot that is being written.
#[derive(Debug)]
struct Part {
    file: File,
    sum: Sha256,
    len: u64,
    write_back: WriteBack,
}

impl Part {
    fn create(path: &std::path::Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path)?;
        file.write_all(&[0; HEAD_LEN + 32])?;
        Ok(Self {
            file,
            sum: Sha256::new(),
            len: 0,
            write_back: WriteBack::default(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)?;
        self.write_back
            .wrote(&self.file, self.len + HEAD_LEN as u64 + 32);
        Ok(())
    }

    fn finish(mut self, begun: &Begun) -> io::Result<()> {
        let head = head(begun.entries, &begun.root, self.len);
        self.sum.update(&head);
        let sum = self.sum.finish();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&head)?;
        self.file.write_all(&sum)?;
        self.file.sync_all()
    }
}

/// Bytes of sections after which they are synced: what a power cut may take back is read from the
/// log instead, some 400,000 payments.
const SYNC_LEN: u64 = 32 * 1024 * 1024;

/// Parts that wait for the thread: with the largest, some 8 MiB.
const WORK_LEN: usize = 16;

/// Entries after which a snapshot that was given up is begun again.
const RETRY_AFTER: u64 = 1_000_000;

/// A snapshot that is not whole yet.
const PART: &str = "snapshot.new";

/// The snapshot before, while it is being removed.
const OLD: &str = "snapshot.old";
