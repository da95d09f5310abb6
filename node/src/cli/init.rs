//! `quid init`: a home with a key of its own and a pinned directory.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use quid_common::address::{AnyAddress, DirectoryAddress, UnpinnedAddress};
use quid_node::{Home, directory_key};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::screen::Sink;
use super::{item, passphrase};

/// Makes the home at `path`, or finds it as it would have made it.
pub(crate) async fn init(
    path: &Path,
    address: AnyAddress,
    json: bool,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let address = match address {
        AnyAddress::Pinned(address) => address,
        AnyAddress::Unpinned(address) => confirmed(address, json, sink, stop).await?,
    };
    let home = Home::init_sealed(path, &address, passphrase::known())?;
    sink.item(item::Home {
        home: home.path().display().to_string(),
        directory: home.directory().to_string(),
        key: home.key().to_string(),
    })
    .await?;
    Ok(())
}

/// The address with the key that was found there, once a person has said that it is the right
/// one.
async fn confirmed(
    address: UnpinnedAddress,
    json: bool,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<DirectoryAddress, Failure> {
    if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "--directory has no key, and nobody can be asked to confirm one here: write \
             --directory quid://KEY@HOST:PORT, as `quid-directory address` prints it",
        ));
    }
    let interrupted = || Failure::other("interrupted", "interrupted; nothing was written");
    let progress = sink.progress("asking for the directory's key".to_owned());
    let key = tokio::select! {
        key = directory_key(address.host(), address.port()) => key?,
        () = stop.cancelled() => return Err(interrupted()),
    };
    drop(progress);
    sink.note(format!(
        "The directory at {address} shows the key\n\n  {key}\n\nCompare it with what its operator \
         told you some other way. Type yes to trust it from now on:"
    ))
    .await?;
    let answer = tokio::select! {
        answer = typed_line() => answer,
        () = stop.cancelled() => return Err(interrupted()),
    };
    if answer.trim() != "yes" {
        return Err(Failure::other(
            "not_confirmed",
            "not confirmed; nothing was written",
        ));
    }
    Ok(address.with_key(key))
}

/// One line from the terminal, empty if there is none. The thread that waits for it ends with the
/// process.
pub(super) async fn typed_line() -> String {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().lock().read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.await.unwrap_or_default()
}
