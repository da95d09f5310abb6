//! What the process and its data take up on the machine.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::folder::Folder;

/// Where to look.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    folder: Folder,
}

/// What the process takes up; what the system does not tell is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Bytes of memory in use.
    pub(super) resident: Option<u64>,
    /// Open files and sockets.
    pub(super) fds: Option<u64>,
    /// Most of them that there may be.
    pub(super) fds_max: Option<u64>,
    /// Time on a processor, in seconds.
    pub(super) cpu: f64,
}

impl Machine {
    pub(super) fn new(folder: &Folder) -> Self {
        Self {
            folder: folder.clone(),
        }
    }

    /// Bytes that are free for the data folder.
    pub(super) fn free(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(self.folder.path()).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Bytes of each kind of file in the data folder.
    pub(super) fn files(&self) -> [(&'static str, u64); 7] {
        let redos = self.folder.redos().unwrap_or_default();
        let (ledger, index) = (self.folder.ledger(), self.folder.index());
        [
            ("ledger", len(&ledger)),
            ("ledger_wal", len(&with(&ledger, "-wal"))),
            ("index", len(&index)),
            ("index_wal", len(&with(&index, "-wal"))),
            ("tree", len(&self.folder.tree())),
            ("snapshot", len(&self.folder.snapshot())),
            ("redo", redos.iter().map(len).sum()),
        ]
    }

    /// How old the newest of the files is that a start begins from; `None` before the first.
    pub(super) fn snapshot_age(&self) -> Option<Duration> {
        let mut files = self.folder.redos().unwrap_or_default();
        files.push(self.folder.snapshot());
        let written = |path: &PathBuf| fs::metadata(path).ok()?.modified().ok();
        let newest = files.iter().filter_map(written).max()?;
        Some(SystemTime::now().duration_since(newest).unwrap_or_default())
    }
}

impl Process {
    /// This process, as it is now.
    pub(super) fn now() -> Self {
        use rustix::process::{Resource, getrlimit};
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
        let page = rustix::param::page_size() as u64;
        let fds = fs::read_dir("/proc/self/fd").ok();
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self {
            resident: pages.map(|pages| pages.saturating_mul(page)),
            // One of them is the folder being read.
            fds: fds.map(|fds| fds.count().saturating_sub(1) as u64),
            fds_max: getrlimit(Resource::Nofile).current,
            cpu: used.tv_sec as f64 + used.tv_nsec as f64 / 1e9,
        }
    }
}

fn len(path: &PathBuf) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn with(path: &std::path::Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
