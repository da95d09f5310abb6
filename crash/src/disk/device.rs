//! A real block device that fails: ext4 on a loop device on an NBD server whose writes fail as long
//! as a file is there.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::mounts::{Mounted, Serving, check_ext4, make_ext4, need_root};
use super::{pay_until_it_leaves, pay_well, start_again};
use crate::Failure;
use crate::point::Victim;
use crate::program::by;
use crate::stage::Stage;

/// Has the device fail below a directory that is being paid through, and repairs it.
pub(super) fn run() -> Result<String, Failure> {
    need_root("a loop device")?;
    let folder = tempfile::tempdir()?;
    let (bad, socket) = (folder.path().join("bad"), folder.path().join("socket"));
    let _server = serve(&socket, &bad)?;
    let fuse = folder.path().join("fuse");
    fs::create_dir(&fuse)?;
    let _fuse = show(&socket, &fuse)?;
    let device = fuse.join("nbd");
    by(Instant::now() + PATIENCE, || {
        Ok(fs::metadata(&device).map(drop)?)
    })?;
    make_ext4(&device)?;
    let mut disk = Mounted::image(&device, &folder.path().join("disk"))?;
    let mut stage = Stage::open(Victim::Payer, Some(disk.path.join("data")))?;
    for _ in 0..TIMES {
        pay_well(&mut stage)?;
        File::create(&bad)?;
        let (ready, said) = pay_until_it_leaves(&mut stage, 10)?;
        fs::remove_file(&bad)?;
        // A file system that met errors is repaired before anybody uses it.
        let path = disk.path.clone();
        drop(disk);
        check_ext4(&device)?;
        disk = Mounted::image(&device, &path)?;
        start_again(&mut stage)?;
        stage.end(ready, Victim::Directory, said)?;
    }
    pay_well(&mut stage)?;
    stage.scene.directory.running()?.kill()?;
    Ok(format!("{TIMES} times a failing device"))
}

/// A device in memory, whose writes fail while the file `bad` is there.
fn serve(socket: &Path, bad: &Path) -> Result<Serving, Failure> {
    let child = Command::new("nbdkit")
        .args(["--foreground", "--filter=error", "--unix"])
        .arg(socket)
        .args(["memory", "size=64M", "error=EIO"])
        .arg(format!("error-file={}", bad.display()))
        .arg("error-pwrite-rate=100%")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nbdkit is missing (package nbdkit): {error}"))?;
    let serving = Serving(child);
    by(Instant::now() + PATIENCE, || {
        Ok(fs::metadata(socket).map(drop)?)
    })?;
    Ok(serving)
}

/// Shows the device as a file.
fn show(socket: &Path, fuse: &Path) -> Result<Serving, Failure> {
    let child = Command::new("nbdfuse")
        .arg(fuse)
        .arg("--unix")
        .arg(socket)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nbdfuse is missing (package libnbd-bin): {error}"))?;
    Ok(Serving(child))
}

const TIMES: usize = 3;

const PATIENCE: Duration = Duration::from_secs(10);
