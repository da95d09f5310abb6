//! The passphrase of a sealed key: from a file, or typed on a terminal that does not show it.
//!
//! It is found once, before a command begins, and kept for as long as the process may open its home
//! again. Whether one is needed is seen from the key's file; what a process that listens can do
//! itself needs none.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quid_common::key::{PublicKey, SecretKey};
use quid_node::{Home, HomeError, KeyFile, Passphrase};
use quid_terminal::secret::{Quiet, read_line};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::screen::Sink;
use super::{Cli, Command, Key};
use crate::control::Listener;

static KNOWN: OnceLock<Passphrase> = OnceLock::new();

/// Finds the passphrase, if the command will need one.
pub(crate) async fn obtain(path: &Path, cli: &Cli, sink: &Sink) -> Result<(), Failure> {
    let prompt = match &cli.command {
        Command::Init(args) if args.seal && !has_key(path) => Some(Prompt::New),
        _ if cli.global.passphrase_file.is_some() => None,
        Command::Key(Key::Recover { recovery, .. }) if KeyFile::is_sealed(recovery) => {
            Some(Prompt::Known)
        }
        Command::Key(Key::Freeze(lock) | Key::Thaw(lock))
            if lock.recovery.as_deref().is_some_and(KeyFile::is_sealed) =>
        {
            Some(Prompt::Known)
        }
        _ if !Home::is_sealed(path) => return Ok(()),
        Command::Key(_) | Command::Init(_) | Command::Listen(_) | Command::Shell(_) => {
            Some(Prompt::Known)
        }
        _ if Listener::find_at(path).await?.is_some() => return Ok(()),
        _ => Some(Prompt::Known),
    };
    let passphrase = match (&cli.global.passphrase_file, prompt) {
        (Some(file), _) => Passphrase::read(file)?,
        (None, Some(prompt)) if !cli.global.json => match typed(prompt, sink).await? {
            Some(passphrase) => passphrase,
            None => return without(prompt),
        },
        (None, Some(prompt)) => return without(prompt),
        (None, None) => return Ok(()),
    };
    let _ = KNOWN.set(passphrase);
    Ok(())
}

/// Asks for a passphrase that the new key may have; empty, it has none.
pub(crate) async fn optional(sink: &Sink) -> Result<(), Failure> {
    if let Some(passphrase) = typed(Prompt::Optional, sink).await? {
        let _ = KNOWN.set(passphrase);
    }
    Ok(())
}

/// The passphrase that was found.
pub(crate) fn known() -> Option<&'static Passphrase> {
    KNOWN.get()
}

/// Whether one was.
pub(crate) fn is_known() -> bool {
    KNOWN.get().is_some()
}

/// Opens the home at `path` with it.
pub(crate) fn open(path: &Path) -> Result<Home, HomeError> {
    Home::open_sealed(path, known())
}

/// The key in a recovery key's file, made if there is none; sealed if there is a passphrase.
pub(crate) fn recovery(file: &Path) -> Result<PublicKey, HomeError> {
    Ok(KeyFile::create(file, known())?.public())
}

/// The recovery key in a file.
pub(crate) fn read_recovery(file: &Path) -> Result<SecretKey, HomeError> {
    KeyFile::read(file, known())
}

/// A new passphrase: from `file`, or typed twice.
pub(crate) async fn new_one(
    file: Option<PathBuf>,
    json: bool,
    sink: &Sink,
) -> Result<Passphrase, Failure> {
    if let Some(file) = file {
        return Ok(Passphrase::read(&file)?);
    }
    let typed = if json {
        None
    } else {
        typed(Prompt::New, sink).await?
    };
    typed.ok_or_else(|| {
        Failure::files(
            "nobody can be asked for a passphrase here: give it with --new-passphrase-file FILE",
        )
    })
}

#[derive(Clone, Copy)]
enum Prompt {
    Known,
    New,
    Optional,
}

/// What happens where nobody can be asked: a key that is sealed says which flag answers.
fn without(prompt: Prompt) -> Result<(), Failure> {
    match prompt {
        Prompt::Known | Prompt::Optional => Ok(()),
        Prompt::New => Err(Failure::files(
            "nobody can be asked for a passphrase here: give it with --passphrase-file FILE",
        )),
    }
}

/// Whether the home at `path` has a key already.
pub(crate) fn has_key(path: &Path) -> bool {
    Home::open(path).is_ok() || Home::is_sealed(path)
}

/// A passphrase from the terminal; none if there is no terminal.
async fn typed(prompt: Prompt, sink: &Sink) -> Result<Option<Passphrase>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let Some(quiet) = Quiet::begin() else {
        return Ok(None);
    };
    let ask = match prompt {
        Prompt::Known => "Passphrase of the key (it is not shown):",
        Prompt::New => "New passphrase for the key (it is not shown):",
        Prompt::Optional => {
            "Passphrase for the key, asked for whenever it is used (not shown; empty: none):"
        }
    };
    let passphrase = line(ask, sink).await?;
    if matches!(prompt, Prompt::Optional) && is_empty(&passphrase) {
        return Ok(None);
    }
    if !matches!(prompt, Prompt::Known) && *line("The same again:", sink).await? != *passphrase {
        return Err(Failure::files(
            "the two passphrases differ; nothing was written",
        ));
    }
    drop(quiet);
    let from = Path::new("what was typed");
    Ok(Some(Passphrase::new(passphrase, from)?))
}

async fn line(ask: &str, sink: &Sink) -> Result<Zeroizing<Vec<u8>>, Failure> {
    sink.say(ask).await?;
    let (sender, receiver) = oneshot::channel();
    // A thread that waits for typed input ends with the process.
    std::thread::spawn(move || {
        let _ = sender.send(read_line());
    });
    let unreadable = |why: String| Failure::files(format!("the passphrase cannot be read: {why}"));
    tokio::select! {
        read = receiver => match read {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => Err(unreadable(error.to_string())),
            Err(_) => Err(unreadable("the terminal has gone".to_owned())),
        },
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::other("interrupted", "interrupted; nothing was sent"))
        }
    }
}

fn is_empty(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}
