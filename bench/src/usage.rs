//! What a process has used, as the system counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::report::Failure;

/// CPU time of all threads that process `pid` has now, from the scheduler's own count.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path().join("schedstat");
        // A thread may end while we look.
        let Ok(line) = fs::read_to_string(path) else {
            continue;
        };
        let nanos = line.split_whitespace().next().ok_or("an empty schedstat")?;
        sum += Duration::from_nanos(nanos.parse()?);
    }
    Ok(sum)
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
