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
    pub(crate) name: &'static str,
    /// The file, socket or pipe, if the first argument is an open one.
    pub(crate) file: Option<PathBuf>,
    /// Whether it prints on stdout.
    is_result: bool,
}

/// What a call's first argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An open file or socket, to which it writes, or which it cuts or makes durable.
    Open,
    /// Something else: it makes, renames or removes a file by its name.
    Name,
}

impl Call {
    /// The call that thread `thread` makes, if it has an effect.
    pub(crate) fn new(thread: Pid, number: i64, arguments: [u64; 3]) -> Option<Self> {
        let &(_, name, kind) = CALLS.iter().find(|(of, ..)| *of == number)?;
        let file = match kind {
            Kind::Open => {
                let link = format!("/proc/{thread}/fd/{}", arguments[0]);
                Some(fs::read_link(link).ok()?)
            }
            Kind::Name => None,
        };
        if name == "openat" && arguments[2] & MAKES == 0 {
            return None;
        }
        if let Some(file) = &file
            && is_own(file, arguments[0])
        {
            return None;
        }
        let is_result = kind == Kind::Open && arguments[0] == 1;
        Some(Self {
            name,
            file,
            is_result,
        })
    }

    /// Whether it changes a file on the disk; results that a program prints do not count.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.file.as_deref().is_none_or(Path::is_absolute) && !self.is_result
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
    descriptor == 2 || file.starts_with("anon_inode:[eventfd]")
}

/// `openat` with one of these may make or empty a file.
const MAKES: u64 = (libc::O_CREAT | libc::O_TRUNC) as u64;

const CALLS: &[(i64, &str, Kind)] = &[
    (libc::SYS_write, "write", Kind::Open),
    (libc::SYS_writev, "writev", Kind::Open),
    (libc::SYS_pwrite64, "pwrite64", Kind::Open),
    (libc::SYS_pwritev, "pwritev", Kind::Open),
    (libc::SYS_pwritev2, "pwritev2", Kind::Open),
    (libc::SYS_sendto, "sendto", Kind::Open),
    (libc::SYS_sendmsg, "sendmsg", Kind::Open),
    (libc::SYS_sendmmsg, "sendmmsg", Kind::Open),
    (libc::SYS_ftruncate, "ftruncate", Kind::Open),
    (libc::SYS_fallocate, "fallocate", Kind::Open),
    (libc::SYS_copy_file_range, "copy_file_range", Kind::Open),
    (libc::SYS_fchmod, "fchmod", Kind::Open),
    (libc::SYS_fsync, "fsync", Kind::Open),
    (libc::SYS_fdatasync, "fdatasync", Kind::Open),
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
