//! The engine's own seam: a file system for SQLite that hands everything on to the one for Unix, and
//! stands between where a disk may fail or the power may go.
//!
//! It is registered as SQLite's default, so that the directory's and the nodes' code opens its files
//! as ever. Files below a mounted folder ([`MOUNTS`]) are on that machine's [`Disk`]; all others
//! pass through.
//!
//! # Safety
//! SQLite's side of the contract (sqlite.org/vfs.html): it allocates `szOsFile` bytes for a file,
//! zeroed or not, calls `xOpen` first and `xClose` last, uses a file from one thread at a time, and
//! passes paths that stay valid while the file is open. Ours: `pMethods` is null after an `xOpen`
//! that leaves nothing to close. Each file's bytes are our `Handle` and behind it the bytes of the
//! real file, which only the real methods touch.
#![allow(
    unsafe_code,
    non_snake_case,
    reason = "SQLite's interface is one of C, with names of C"
)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::disk::{Act, Disk, DiskError, Mounts, SECTOR_LEN};

/// Which folders are which machine's disk.
pub static MOUNTS: Mounts = Mounts::new();

/// Puts this file system between SQLite and the system, once.
///
/// # Panics
/// If SQLite has none for Unix or does not take this one.
pub fn register() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        // SAFETY: the name is a C string; SQLite's own file systems live as long as the process.
        let real = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        assert!(!real.is_null(), "SQLite has a file system for Unix");
        // SAFETY: it was just found, and is not changed while it is copied. All methods that are
        // not replaced take their own `sqlite3_vfs` for nothing but its `pAppData` and
        // `mxPathname`, which are copied with them.
        let mut own = unsafe { ptr::read(real) };
        own.szOsFile += HANDLE_LEN;
        own.zName = c"quid-sim".as_ptr();
        own.pNext = ptr::null_mut();
        own.xOpen = Some(open);
        own.xDelete = Some(delete);
        // SAFETY: it is never freed and never moved.
        let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 1) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes another file system");
        let _ = REAL.set(Real(real));
    });
}

struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's file system for Unix is made for use from any thread, and is never changed.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

static REAL: OnceLock<Real> = OnceLock::new();

/// What SQLite holds of a file: ours, with the real one's bytes behind it.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    place: *mut Place,
}

const HANDLE_LEN: c_int = size_of::<Handle>() as c_int;

/// Where a file is.
struct Place {
    disk: Option<Disk>,
    path: PathBuf,
}

/// The real file behind ours.
///
/// # Safety
/// `file` must be one that [`open`] was given.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: SQLite allocated so many bytes and those of the real file behind them.
    unsafe { file.cast::<u8>().add(size_of::<Handle>()).cast() }
}

/// The methods of the real file behind ours.
///
/// # Safety
/// `file` must be open.
unsafe fn methods<'a>(file: *mut ffi::sqlite3_file) -> &'a ffi::sqlite3_io_methods {
    // SAFETY: an open file has methods, which are static.
    unsafe { &*(*real(file)).pMethods }
}

/// Where an open file is.
///
/// # Safety
/// `file` must be open, and the reference gone before it is closed.
unsafe fn place<'a>(file: *mut ffi::sqlite3_file) -> &'a Place {
    // SAFETY: `open` put it there, and only `close` takes it away.
    unsafe { &*(*file.cast::<Handle>()).place }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(Real(vfs)) = REAL.get() else {
        return ffi::SQLITE_ERROR;
    };
    // SAFETY: `file` has room for both; the real `xOpen` is called as SQLite calls it.
    unsafe {
        (*file).pMethods = ptr::null();
        let path = path_of(name);
        let disk = path.as_deref().and_then(|path| MOUNTS.find(path));
        if disk.as_ref().is_some_and(|disk| !disk.is_on()) {
            return ffi::SQLITE_CANTOPEN;
        }
        let Some(open) = (**vfs).xOpen else {
            return ffi::SQLITE_ERROR;
        };
        let code = open(*vfs, name, real(file), flags, out_flags);
        if code != ffi::SQLITE_OK {
            // The real file may want to be closed all the same.
            if !(*real(file)).pMethods.is_null()
                && let Some(close) = methods(file).xClose
            {
                close(real(file));
            }
            return code;
        }
        let place = Place {
            disk,
            path: path.unwrap_or_default(),
        };
        (*file.cast::<Handle>()).place = Box::into_raw(Box::new(place));
        (*file).pMethods = &raw const METHODS;
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    let Some(Real(vfs)) = REAL.get() else {
        return ffi::SQLITE_ERROR;
    };
    // SAFETY: as SQLite calls it.
    unsafe {
        let path = path_of(name);
        if let Some(path) = &path
            && let Some(disk) = MOUNTS.find(path)
        {
            if let Err(error) = disk.ask(Act::Write) {
                return code_of(error, ffi::SQLITE_IOERR_DELETE);
            }
            disk.removed(path);
        }
        match (**vfs).xDelete {
            Some(delete) => delete(*vfs, name, sync_folder),
            None => ffi::SQLITE_ERROR,
        }
    }
}

/// # Safety
/// `name` must be null or a C string.
unsafe fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller promises it.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())).to_owned())
}

const fn code_of(error: DiskError, broken: c_int) -> c_int {
    match error {
        DiskError::Full => ffi::SQLITE_FULL,
        DiskError::Broken => broken,
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once.
    unsafe {
        let close = methods(file).xClose;
        drop(Box::from_raw((*file.cast::<Handle>()).place));
        (*file).pMethods = ptr::null();
        close.map_or(ffi::SQLITE_OK, |close| close(real(file)))
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    len: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: as SQLite calls it, on an open file.
    unsafe {
        if place(file).disk.as_ref().is_some_and(|disk| !disk.is_on()) {
            return ffi::SQLITE_IOERR_READ;
        }
        match methods(file).xRead {
            Some(read) => read(real(file), to, len, at),
            None => ffi::SQLITE_IOERR_READ,
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    len: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: as SQLite calls it, on an open file: `from` is valid for `len` bytes.
    unsafe {
        let Some(write) = methods(file).xWrite else {
            return ffi::SQLITE_IOERR_WRITE;
        };
        let Place { disk, path } = place(file);
        let Some(disk) = disk else {
            return write(real(file), from, len, at);
        };
        if let Err(error) = disk.ask(Act::Write) {
            return code_of(error, ffi::SQLITE_IOERR_WRITE);
        }
        let bytes = std::slice::from_raw_parts(from.cast::<u8>(), len.unsigned_abs() as usize);
        let before = len_of(file);
        let first = at.cast_unsigned() / SECTOR_LEN as u64;
        let start = first * SECTOR_LEN as u64;
        let end = at.cast_unsigned() + bytes.len() as u64;
        let span = (end.next_multiple_of(SECTOR_LEN as u64) - start) as usize;
        let held = (before.saturating_sub(start) as usize).min(span);
        let old = read_whole(file, start, held);
        let code = write(real(file), from, len, at);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let after = before.max(end);
        let mut new = old.clone();
        let at = (at.cast_unsigned() - start) as usize;
        new.resize(new.len().max(at + bytes.len()), 0);
        if let Some(to) = new.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        let sector = |of: &[u8], number: usize| {
            let from = (number * SECTOR_LEN).min(of.len());
            let to = (from + SECTOR_LEN).min(of.len());
            of.get(from..to).unwrap_or_default().to_vec()
        };
        let sectors = (0..span / SECTOR_LEN).map(|number| {
            let (before, after) = (sector(&old, number), sector(&new, number));
            (first + number as u64, before, after)
        });
        disk.wrote(path, (before, after), sectors);
        ffi::SQLITE_OK
    }
}

/// # Safety
/// `file` must be open.
unsafe fn len_of(file: *mut ffi::sqlite3_file) -> u64 {
    let mut len = 0;
    // SAFETY: as SQLite calls it.
    unsafe {
        if let Some(size) = methods(file).xFileSize {
            size(real(file), &raw mut len);
        }
    }
    len.cast_unsigned()
}

/// # Safety
/// `file` must be open.
unsafe fn read_whole(file: *mut ffi::sqlite3_file, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    // SAFETY: the buffer has so many bytes.
    unsafe {
        if len > 0
            && let Some(read) = methods(file).xRead
        {
            let to = bytes.as_mut_ptr().cast();
            read(real(file), to, len as c_int, at.cast_signed());
        }
    }
    bytes
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: as SQLite calls it, on an open file.
    unsafe {
        let Place { disk, path } = place(file);
        let before = len_of(file);
        if let Some(disk) = disk {
            if let Err(error) = disk.ask(Act::Write) {
                return code_of(error, ffi::SQLITE_IOERR_TRUNCATE);
            }
            disk.wrote(path, (before, len.cast_unsigned()), []);
        }
        match methods(file).xTruncate {
            Some(truncate) => truncate(real(file), len),
            None => ffi::SQLITE_IOERR_TRUNCATE,
        }
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as SQLite calls it, on an open file.
    unsafe {
        let Place { disk, path } = place(file);
        if let Some(disk) = disk {
            if let Err(error) = disk.ask(Act::Sync) {
                return code_of(error, ffi::SQLITE_IOERR_FSYNC);
            }
            // What it stands for is what a crash leaves, and that is ours to say.
            disk.synced(path);
            return ffi::SQLITE_OK;
        }
        match methods(file).xSync {
            Some(sync) => sync(real(file), flags),
            None => ffi::SQLITE_IOERR_FSYNC,
        }
    }
}

/// Makes a method that only hands on to the real file's.
macro_rules! hand_on {
    ($name:ident, $method:ident, ($($argument:ident: $kind:ty),*), $lacking:expr) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: as SQLite calls it, on an open file.
            unsafe {
                match methods(file).$method {
                    Some(method) => method(real(file) $(, $argument)*),
                    None => $lacking,
                }
            }
        }
    };
}

hand_on!(file_size, xFileSize, (to: *mut ffi::sqlite3_int64), ffi::SQLITE_IOERR_FSTAT);
hand_on!(lock, xLock, (level: c_int), ffi::SQLITE_IOERR_LOCK);
hand_on!(unlock, xUnlock, (level: c_int), ffi::SQLITE_IOERR_UNLOCK);
hand_on!(check_lock, xCheckReservedLock, (to: *mut c_int), ffi::SQLITE_IOERR_LOCK);
hand_on!(control, xFileControl, (what: c_int, argument: *mut c_void), ffi::SQLITE_NOTFOUND);
hand_on!(sector_size, xSectorSize, (), SECTOR_LEN as c_int);
hand_on!(device, xDeviceCharacteristics, (), 0);
hand_on!(
    shm_map,
    xShmMap,
    (page: c_int, len: c_int, extend: c_int, to: *mut *mut c_void),
    ffi::SQLITE_IOERR_SHMMAP
);
hand_on!(shm_lock, xShmLock, (at: c_int, count: c_int, flags: c_int), ffi::SQLITE_IOERR_SHMLOCK);
hand_on!(shm_unmap, xShmUnmap, (delete: c_int), ffi::SQLITE_OK);

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as SQLite calls it, on an open file.
    unsafe {
        if let Some(barrier) = methods(file).xShmBarrier {
            barrier(real(file));
        }
    }
}

/// Of version 2: without reading files through the memory, which would go past [`read`].
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
