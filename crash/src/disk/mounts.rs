//! File systems that are there until dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::geteuid;

use crate::Failure;

/// A mounted file system.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) path: PathBuf,
}

impl Mounted {
    /// An empty tmpfs of so many KiB at `path`.
    pub(super) fn tmpfs(path: &Path, kib: u32) -> Result<Self, Failure> {
        need_root("a tmpfs")?;
        std::fs::create_dir_all(path)?;
        let size = format!("size={kib}k,mode=0700");
        let flags = MsFlags::empty();
        mount(Some("quid-crash"), path, Some("tmpfs"), flags, Some(&*size))
            .map_err(|error| format!("cannot mount a tmpfs: {error}"))?;
        let path = path.to_owned();
        Ok(Self { path })
    }

    /// The ext4 that is in the file `image`, at `path`, through a loop device.
    pub(super) fn image(image: &Path, path: &Path) -> Result<Self, Failure> {
        need_root("a loop device")?;
        std::fs::create_dir_all(path)?;
        let mut command = Command::new("mount");
        run(command.args(["-o", "loop"]).arg(image).arg(path))?;
        let path = path.to_owned();
        Ok(Self { path })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whatever a failed disk still holds open goes away with the programs.
        if umount2(&self.path, MntFlags::empty()).is_err() {
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        }
    }
}

/// Makes an ext4 in the file `image`.
pub(super) fn make_ext4(image: &Path) -> Result<(), Failure> {
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))
}

/// Brings the ext4 in the file `image` in order, as a start of a machine would.
pub(super) fn check_ext4(image: &Path) -> Result<(), Failure> {
    let mut command = Command::new("e2fsck");
    let status = command
        .args(["-f", "-y"])
        .arg(image)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match status.status()?.code() {
        // 1: errors were found, and are gone.
        Some(0 | 1) => Ok(()),
        code => Err(format!("e2fsck ended with {code:?}").into()),
    }
}

/// Runs a program that must succeed.
pub(super) fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run {name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name} failed: {}", said.trim()).into())
        }
    }
}

pub(super) fn need_root(what: &str) -> Result<(), Failure> {
    match geteuid().is_root() {
        true => Ok(()),
        false => Err(format!("this needs {what}, which only root may make").into()),
    }
}

/// A program that serves a device; ended when dropped.
#[derive(Debug)]
pub(super) struct Serving(pub(super) Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
