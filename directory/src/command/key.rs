//! `key seal` and `key unseal`: the directory's key under a passphrase, or plain again.

use serde_json::json;

use super::passphrase::Passphrases;
use crate::cli::{Failure, Key, print};
use crate::folder::Folder;

/// Does what `wanted` says to the key.
pub(super) fn run(json: bool, wanted: &Key, passphrases: &Passphrases) -> Result<(), Failure> {
    let (Key::Seal { data, .. } | Key::Unseal { data }) = wanted;
    let folder = Folder::open(data).map_err(Failure::files)?;
    let lock = folder.lock("a change of the key").map_err(Failure::files)?;
    let folder = passphrases.unlocked(folder, false)?;
    // Found out before anybody is asked for a new one.
    let key = folder.key().map_err(Failure::files)?.public();
    let passphrase = match wanted {
        Key::Seal {
            new_passphrase_file,
            ..
        } => Some(passphrases.new_one(new_passphrase_file.as_deref())?),
        Key::Unseal { .. } => None,
    };
    let sealed = passphrase.is_some();
    folder
        .seal(&lock, passphrase.as_ref())
        .map_err(Failure::files)?;
    if json {
        return print(&json!({ "key": key.to_string(), "sealed": sealed }).to_string());
    }
    print(match sealed {
        true => "the key is sealed; without its passphrase nobody can serve this ledger",
        false => "the key is plain: whoever reads its file is this directory",
    })
}
