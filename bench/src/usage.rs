//! What a process has used, as the system counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::report::Failure;

/// CPU time that process `pid` has used, by all its threads, also those that have ended.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in parentheses, may hold anything.
    let (_, fields) = line.rsplit_once(')').ok_or("an empty stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks =
        || -> Result<u64, Failure> { Ok(fields.next().ok_or("a short stat")?.parse()?) };
    let used = ticks()? + ticks()?;
    let seconds = used as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

/// Memory that process `pid` holds now, and the most it ever held, in bytes.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64), Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kib.ok_or("no such line in status")?.parse::<u64>()? * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Bytes that the files in a folder take on disk.
pub(crate) fn disk(folder: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            sum += metadata.blocks() * 512;
        }
    }
    Ok(sum)
}
