//! `invite`: codes made, listed and revoked, whether a directory serves or not.

use quid_common::id::OperationId;
use quid_common::printable::Printable;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use serde_json::json;

use super::passphrase::Passphrases;
use super::{currency, random};
use crate::cli::{Exit, Failure, Invite, print};
use crate::clock;
use crate::folder::Folder;
use crate::invites::{Code, Invites, InvitesError, Terms, shown_time};

/// Does what `wanted` says to the codes.
pub(super) fn run(json: bool, wanted: &Invite, passphrases: &Passphrases) -> Result<(), Failure> {
    let folder = Folder::open(&wanted.data).map_err(Failure::files)?;
    currency(&folder)?;
    match &wanted.revoke {
        Some(code) => revoke(json, &folder, code),
        None if wanted.list => list(json, &folder),
        None => make(json, &passphrases.unlocked(folder, false)?, wanted),
    }
}

/// Makes a code good and prints it.
fn make(json: bool, folder: &Folder, wanted: &Invite) -> Result<(), Failure> {
    let id = match wanted.id {
        Some(id) => id,
        None => OperationId(random().map_err(Failure::files)?),
    };
    eprintln!("operation {id} (repeat with --id {id})");
    let code = Code::of(&folder.key().map_err(Failure::files)?, id);
    let terms = Terms {
        uses: wanted.uses,
        life: wanted.expires,
    };
    let mut invites = Invites::open(folder).map_err(|error| failure(&error))?;
    let made = invites.make(&code, id, terms, now());
    made.map_err(|error| failure(&error))?;
    if json {
        let line = json!({ "code": code.to_string(), "id": id.to_string(), "uses": terms.uses });
        print(&line.to_string())
    } else {
        print(&code.to_string())
    }
}

/// Prints a line for each code.
fn list(json: bool, folder: &Folder) -> Result<(), Failure> {
    let invites = Invites::open(folder).map_err(|error| failure(&error))?;
    let now = now();
    for code in invites.list().map_err(|error| failure(&error))? {
        let (id, uses, left) = (code.operation.to_string(), code.uses, code.left);
        let (state, expires) = (code.state(now), code.expires.map(shown_time));
        if json {
            let line = json!({
                "id": id, "uses": uses, "left": left, "expires": expires, "state": state,
            });
            print(&line.to_string())?;
        } else {
            let until = expires.map_or_else(String::new, |it| format!(", until {it}"));
            print(&format!("{id} {state}: {left} of {uses} left{until}"))?;
        }
    }
    Ok(())
}

/// Makes a code bad, told by itself or by its operation.
fn revoke(json: bool, folder: &Folder, told: &str) -> Result<(), Failure> {
    let (code, id) = (told.parse::<Code>().ok(), told.parse::<OperationId>().ok());
    if code.is_none() && id.is_none() {
        return Err(Failure::usage(format!(
            "{} is no invite code, and no id of the operation that made one",
            Printable(told)
        )));
    }
    let mut invites = Invites::open(folder).map_err(|error| failure(&error))?;
    let revoked = invites.revoke(code.as_ref(), id);
    let Some(id) = revoked.map_err(|error| failure(&error))? else {
        return Err(Failure::new(
            Exit::Refused,
            Reason::INVITE_UNKNOWN.name(),
            "no such code was made here; see quid-directory invite --list",
        ));
    };
    if json {
        print(&json!({ "id": id.to_string(), "state": "revoked" }).to_string())
    } else {
        print(&format!("revoked the code of operation {id}"))
    }
}

fn failure(error: &InvitesError) -> Failure {
    match error {
        InvitesError::Reused(_) => {
            Failure::new(Exit::Refused, Reason::OPERATION_REUSED.name(), error)
        }
        InvitesError::Revoked(_) => {
            Failure::new(Exit::Refused, Reason::INVITE_EXPIRED.name(), error)
        }
        InvitesError::File { .. } | InvitesError::Newer { .. } => Failure::files(error),
    }
}

fn now() -> LedgerTime {
    LedgerTime::from_millis(clock::system()().wall_ms)
}
