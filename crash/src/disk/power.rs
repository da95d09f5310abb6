//! A real power cut: ext4 stops at once, and forgets all that was not synced.

#![expect(
    unsafe_code,
    reason = "the one call for it is an ioctl, which only unsafe code makes"
)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::mounts::{Mounted, make_ext4};
use super::{pay_well, start_again};
use crate::Failure;
use crate::operation::refs;
use crate::point::{Operation, Victim};
use crate::scene::PATIENCE;
use crate::stage::Stage;

/// Cuts the power at some moment of a payment, again and again.
pub(super) fn run(seed: u64) -> Result<String, Failure> {
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image");
    File::create(&image)?.set_len(IMAGE_LEN)?;
    make_ext4(&image)?;
    let mut disk = Mounted::image(&image, &folder.path().join("disk"))?;
    let mut stage = Stage::open(Victim::Payer, Some(disk.path.join("data")))?;
    pay_well(&mut stage)?;
    for _ in 0..TIMES {
        let ready = stage.ready(Operation::Pay)?;
        let mut command = ready.home.start(&refs(&ready.command), None)?;
        sleep(Duration::from_micros(chance.random_range(0..MOMENT_US)));
        // Nobody is answered once the power is gone; a program that is killed later might be told
        // of a sync that it has succeeded.
        stage.scene.directory.running()?.kill()?;
        cut(&disk.path)?;
        let said = command.finish(PATIENCE)?;
        let path = disk.path.clone();
        drop(disk);
        disk = Mounted::image(&image, &path)?;
        start_again(&mut stage)?;
        stage.end(ready, Victim::Directory, said.lines.last().cloned())?;
    }
    pay_well(&mut stage)?;
    stage.scene.directory.running()?.kill()?;
    Ok(format!("{TIMES} power cuts"))
}

/// Stops the file system without writing its journal out.
fn cut(path: &Path) -> Result<(), Failure> {
    let root = File::open(path)?;
    let flags = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open, and the call reads one number that lives long enough.
    unsafe { shutdown(root.as_raw_fd(), &raw const flags) }
        .map_err(|error| format!("this file system cannot be stopped: {error}"))?;
    Ok(())
}

// EXT4_IOC_SHUTDOWN: declared as reading, but the kernel takes the number from there.
nix::ioctl_write_ptr_bad!(shutdown, nix::request_code_read!(b'X', 125, 4), u32);

/// What was not synced is gone.
const NO_LOG_FLUSH: u32 = 2;

const IMAGE_LEN: u64 = 64 << 20;

const TIMES: usize = 20;

/// A payment takes less, from the start of its program on.
const MOMENT_US: u64 = 250_000;
