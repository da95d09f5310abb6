//! What `backup` and `restore` print.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::amount;
use crate::ahead;
use crate::backup::{self, BackupError, KeyInside, Options, Restored};
use crate::cli::{Exit, Failure, print};
use crate::clock::LEAP_MAX;
use crate::folder::{Folder, shown};

/// Backs up the ledger in `data` to `file`.
pub(super) fn write(json: bool, data: &Path, file: &Path, options: Options) -> Result<(), Failure> {
    let folder = Folder::open(data).map_err(Failure::files)?;
    let written = backup::write(&folder, file, options).map_err(|error| failure(&error))?;
    if written.incomplete {
        eprintln!("quid-directory: {}", ahead::advice(&folder));
    }
    if json {
        return print(
            &json!({
                "file": file.to_string_lossy(),
                "entries": written.entries,
                "bytes": written.bytes,
                "key": written.key.name(),
                "replaced": written.replaced,
                "codes": written.codes,
                "incomplete": written.incomplete,
                "ledger": written.ledger.to_string(),
                "checkpoint": written.checkpoint.as_str(),
            })
            .to_string(),
        );
    }
    let key = match written.key {
        KeyInside::Plain => "with the key: whoever reads the file is this directory",
        KeyInside::Sealed => "with the sealed key: keep its passphrase elsewhere",
        KeyInside::Absent => "without the key, which a restore will ask for",
    };
    let verb = if written.replaced {
        "replaced by a backup"
    } else {
        "backed up"
    };
    print(&format!(
        "{verb}: {}, {} entries, {} bytes, {key}\ncheckpoint\n{}",
        shown(file),
        written.entries,
        written.bytes,
        written.checkpoint.as_str().trim_end()
    ))
}

/// Restores the backup in `file` to `data`.
pub(super) fn restore(
    json: bool,
    file: &Path,
    data: &Path,
    key: Option<&Path>,
) -> Result<(), Failure> {
    let restored = backup::restore(file, data, key).map_err(|error| failure(&error))?;
    let report = &restored.report;
    if json {
        print(
            &json!({
                "data": data.to_string_lossy(),
                "entries": report.entries,
                "accounts": report.accounts,
                "issued": amount(&report.currency, report.totals.issued.into()),
                "available": amount(&report.currency, report.totals.available),
                "held": amount(&report.currency, report.totals.held),
                "key": restored.key.name(),
                "codes": restored.codes,
                "incomplete": restored.incomplete,
                "ledger": report.ledger.to_string(),
                "checkpoint": report.checkpoint.as_str(),
            })
            .to_string(),
        )?;
    } else {
        print(&format!(
            "restored and audited: {}, {} entries, {} accounts, {} {} issued\ncheckpoint\n{}",
            shown(data),
            report.entries,
            report.accounts,
            amount(&report.currency, report.totals.issued.into()),
            report.currency.code(),
            report.checkpoint.as_str().trim_end()
        ))?;
    }
    advise(data, &restored);
    Ok(())
}

/// What the operator must know before this folder is served.
fn advise(data: &Path, restored: &Restored) {
    let entries = restored.report.entries;
    match Folder::open(data) {
        Ok(folder) if restored.incomplete => {
            eprintln!("quid-directory: {}", ahead::advice(&folder));
        }
        _ => eprintln!(
            "quid-directory: if this directory has signed more than {entries} entries, the first \
             node that knows of them makes it refuse to write (log_incomplete) until a backup that \
             has them is restored"
        ),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mark = restored.mark.map_or(0, |mark| mark.as_millis());
    let behind = now
        .unwrap_or_default()
        .saturating_sub(Duration::from_millis(mark));
    if behind > LEAP_MAX {
        eprintln!(
            "quid-directory: its last time is {} h ago: start `serve` once with --accept-clock",
            behind.as_secs() / 3600
        );
    }
}

fn failure(error: &BackupError) -> Failure {
    if error.is_damage() {
        Failure::new(Exit::Audit, "damaged", error)
    } else {
        Failure::files(error)
    }
}
