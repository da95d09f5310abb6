//! Which system calls have an effect that others may see: on files, on the network, on stdout.
//!
//! A kill between two of them is a kill at the second, so only these are worth a kill.

use std::fs;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

/// A call that a program is about to make.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    /// The file, socket or pipe, if the first argument is an open one.
    pub(crate) file: Option<PathBuf>,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writes or cuts a file, or sends.
    Write,
    /// Makes what was written durable.
    Sync,
    /// Makes, renames or removes a file.
    Name,
}

impl Call {
    /// The call that thread `thread` makes, if it has an effect.
    pub(crate) fn new(thread: Pid, number: i64, arguments: [u64; 3]) -> Option<Self> {
        let &(_, name, kind) = CALLS.iter().find(|(of, ..)| *of == number)?;
        let file = match kind {
            Kind::Write | Kind::Sync => {
                let link = format!("/proc/{thread}/fd/{}", arguments[0]);
                Some(fs::read_link(link).ok()?)
            }
            Kind::Name => None,
        };
        if name == "openat" && arguments[2] & MAKES == 0 {
            return None;
        }
        if let Some(file) = &file
            && arguments[0] != 1
            && is_own(file, arguments[0])
        {
            return None;
        }
        Some(Self { kind, name, file })
    }

    /// Whether it changes a file on the disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.file.as_deref().is_none_or(Path::is_absolute)
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        let file = self.file.as_deref().and_then(Path::file_name);
        file.map_or(Ok(()), |file| write!(f, " {}", file.to_string_lossy()))
    }
}

/// Whether nobody else sees what is written there: the log, and what wakes a program's own threads.
fn is_own(file: &Path, descriptor: u64) -> bool {
    descriptor == 2 || file.starts_with("anon_inode:[eventfd]") || file.starts_with("/dev")
}

/// `openat` with one of these may make or empty a file.
const MAKES: u64 = (libc::O_CREAT | libc::O_TRUNC) as u64;

const CALLS: &[(i64, &str, Kind)] = &[
    (libc::SYS_write, "write", Kind::Write),
    (libc::SYS_writev, "writev", Kind::Write),
    (libc::SYS_pwrite64, "pwrite64", Kind::Write),
    (libc::SYS_pwritev, "pwritev", Kind::Write),
    (libc::SYS_pwritev2, "pwritev2", Kind::Write),
    (libc::SYS_sendto, "sendto", Kind::Write),
    (libc::SYS_sendmsg, "sendmsg", Kind::Write),
    (libc::SYS_sendmmsg, "sendmmsg", Kind::Write),
    (libc::SYS_ftruncate, "ftruncate", Kind::Write),
    (libc::SYS_fallocate, "fallocate", Kind::Write),
    (libc::SYS_copy_file_range, "copy_file_range", Kind::Write),
    (libc::SYS_fchmod, "fchmod", Kind::Write),
    (libc::SYS_fsync, "fsync", Kind::Sync),
    (libc::SYS_fdatasync, "fdatasync", Kind::Sync),
    (libc::SYS_openat, "openat", Kind::Name),
    (libc::SYS_renameat2, "renameat2", Kind::Name),
    (libc::SYS_unlinkat, "unlinkat", Kind::Name),
    (libc::SYS_mkdirat, "mkdirat", Kind::Name),
    (libc::SYS_linkat, "linkat", Kind::Name),
    (libc::SYS_fchmodat, "fchmodat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Kind::Name),
];
