//! Where the passphrase of the directory's key comes from: a file, or a terminal that does not show
//! it.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quid_common::passphrase::Passphrase;
use quid_terminal::secret::{Quiet, read_line};
use zeroize::Zeroizing;

use crate::cli::{Exit, Failure};
use crate::folder::{Folder, shown};

/// How a passphrase is found.
#[derive(Debug)]
pub(super) struct Passphrases {
    /// The file that has it.
    pub(super) file: Option<PathBuf>,
    /// Whether somebody may be asked.
    pub(super) asks: bool,
}

impl Passphrases {
    /// The folder with the passphrase of its key, if it is sealed or is to be made, sealed, with the
    /// one given. Where nobody can be asked, the key's own error says which flag answers.
    pub(super) fn unlocked(&self, folder: Folder, makes: bool) -> Result<Folder, Failure> {
        let passphrase = match &self.file {
            Some(file) if makes || folder.is_sealed() => Some(read(file)?),
            None if self.asks && folder.is_sealed() => {
                typed("Passphrase of the directory's key (it is not shown):", None)?
            }
            _ => None,
        };
        Ok(folder.with_passphrase(passphrase))
    }

    /// A new passphrase: from `file`, or typed twice.
    pub(super) fn new_one(&self, file: Option<&Path>) -> Result<Passphrase, Failure> {
        if let Some(file) = file {
            return read(file);
        }
        let typed = match self.asks {
            true => typed(
                "New passphrase for the key (it is not shown):",
                Some("The same again:"),
            )?,
            false => None,
        };
        typed.ok_or_else(|| {
            Failure::files(
                "nobody can be asked for a passphrase here: give it with --new-passphrase-file FILE",
            )
        })
    }
}

/// Reads a file, or whatever a path such as `/dev/fd/3` leads to.
fn read(path: &Path) -> Result<Passphrase, Failure> {
    let wrong = |what: String| Failure::files(format!("the passphrase in {}: {what}", shown(path)));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| wrong(error.to_string()))?;
    let kind = metadata.file_type();
    if kind.is_dir() || kind.is_block_device() {
        return Err(wrong("it is no file".into()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if kind.is_file() && mode & 0o077 != 0 && !is_credential(path) {
        let at = shown(path);
        return Err(wrong(format!(
            "it can be read by others (mode {mode:03o}); run `chmod 600 {at}`"
        )));
    }
    Passphrase::read(file).map_err(|error| wrong(error.to_string()))
}

/// Whether the service manager put the file there for this service alone: it lets the service's user
/// read it in a way that looks like a mode for the group.
fn is_credential(path: &Path) -> bool {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    folder.is_some_and(|folder| folder.is_absolute() && path.parent() == Some(&folder))
}

/// A passphrase from the terminal, typed again if `again` asks for that; none if there is no terminal.
fn typed(ask: &str, again: Option<&str>) -> Result<Option<Passphrase>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let Some(quiet) = Quiet::begin() else {
        return Ok(None);
    };
    let line = asked(ask)?;
    if let Some(again) = again
        && *asked(again)? != *line
    {
        return Err(Failure::files(
            "the two passphrases differ; nothing was written",
        ));
    }
    drop(quiet);
    let passphrase = Passphrase::new(line);
    Ok(Some(passphrase.map_err(|error| {
        Failure::files(format!("the passphrase that was typed: {error}"))
    })?))
}

/// What is typed behind `ask`. An interrupt ends the command here, so that the terminal is put right
/// again.
fn asked(ask: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable = |why: String| Failure::files(format!("the passphrase cannot be read: {why}"));
    eprintln!("{ask}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unreadable(error.to_string()))?;
    runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A thread that waits for typed input ends with the process.
        std::thread::spawn(move || {
            let _ = sender.send(read_line());
        });
        tokio::select! {
            read = receiver => match read {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(error)) => Err(unreadable(error.to_string())),
                Err(_) => Err(unreadable("the terminal has gone".to_owned())),
            },
            _ = tokio::signal::ctrl_c() => {
                Err(Failure::new(Exit::Other, "interrupted", "interrupted; nothing was done"))
            }
        }
    })
}
