//! `quid key`: what is said and done about keys. Each runs in this process, beside whoever listens;
//! only a change of the key's file wants the home for itself.

use std::io::{self, IsTerminal};
use std::path::Path;

use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_node::{ContactChange, Home, KeyDesk, KeyError, KeyOutcome, KeysStanding, RequestError};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::failure::{Failure, Report};
use super::init::typed_line;
use super::item::{self, rfc3339};
use super::likeness::with_known;
use super::screen::Sink;
use super::{Key, Lock, passphrase};

/// Carries out `quid key ...`.
pub(crate) async fn run(
    path: &Path,
    key: Key,
    json: bool,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let home = passphrase::open(path)?;
    match key {
        Key::Seal {
            new_passphrase_file,
        } => {
            let _lock = home.lock_listener()?;
            let new = passphrase::new_one(new_passphrase_file, json, sink).await?;
            home.seal(Some(&new))?;
            return told_sealed(&home, true, sink).await;
        }
        Key::Unseal => {
            let _lock = home.lock_listener()?;
            home.seal(None)?;
            return told_sealed(&home, false, sink).await;
        }
        _ => {}
    }
    let progress = sink.progress("asking the directory".to_owned());
    let desk = tokio::select! {
        desk = KeyDesk::open(&home) => desk?,
        () = stop.cancelled() => {
            return Err(Failure::other("interrupted", "interrupted; nothing was sent"));
        }
    };
    let said = tokio::select! {
        said = say(&desk, &home, key, json, sink) => said,
        () = stop.cancelled() => Err(Failure::other(
            "interrupted",
            "interrupted before the answer came: `quid key status` shows what came of it",
        )),
    };
    drop(progress);
    desk.close().await;
    said
}

async fn say(
    desk: &KeyDesk<'_>,
    home: &Home,
    key: Key,
    json: bool,
    sink: &Sink,
) -> Result<(), Failure> {
    let (name, outcome) = match key {
        Key::Seal { .. } | Key::Unseal => return Ok(()),
        Key::Status { name } => {
            let name = whose(home, name)?;
            let standing = match desk.standing(&name).await {
                Ok(standing) => standing,
                Err(error) => return Err(suggesting(error.into(), home, &name).await),
            };
            let entry = None;
            (name, KeyOutcome { entry, standing })
        }
        Key::Rotate => {
            let _lock = home.lock_listener()?;
            let name = whose(home, None)?;
            let outcome = desk.rotate(&name, passphrase::known()).await?;
            (name, outcome)
        }
        Key::Recover { name, recovery } => {
            let recovery = passphrase::read_recovery(&recovery)?;
            let outcome = desk.recover(&name, &recovery).await?;
            (name, outcome)
        }
        Key::Object => {
            let name = whose(home, None)?;
            let outcome = desk.object(&name).await?;
            (name, outcome)
        }
        Key::Freeze(lock) => locked(desk, home, lock, true).await?,
        Key::Thaw(lock) => locked(desk, home, lock, false).await?,
        Key::Accept { name, yes } => return accept(desk, name, yes, json, sink).await,
    };
    sink.item(keys_item(&name, outcome)).await?;
    Ok(())
}

async fn locked(
    desk: &KeyDesk<'_>,
    home: &Home,
    lock: Lock,
    frozen: bool,
) -> Result<(Name, KeyOutcome), Failure> {
    let name = whose(home, lock.name)?;
    let recovery = lock.recovery.map(|file| passphrase::read_recovery(&file));
    let recovery = recovery.transpose()?;
    if recovery.is_none() && !frozen {
        return Err(Failure::usage(
            "an account is thawed by its recovery key: add --recovery FILE; its operator can too",
        ));
    }
    let outcome = desk.lock(&name, frozen, recovery.as_ref()).await?;
    Ok((name, outcome))
}

/// Shows how a contact's key changed, and pays the new one from now on if somebody says so.
async fn accept(
    desk: &KeyDesk<'_>,
    name: Name,
    yes: bool,
    json: bool,
    sink: &Sink,
) -> Result<(), Failure> {
    let Some(change) = desk.contact(&name).await? else {
        return Err(Failure::other(
            "unchanged",
            format!("the key of {name} is the one that was paid before, or it never was"),
        ));
    };
    let story = story(&name, &change);
    if !yes {
        sink.say(story.clone()).await?;
        if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!(
                "{story}; nobody can be asked here: run it again with --yes to pay the new key"
            );
            return Err(Failure::other("not_confirmed", message));
        }
        sink.say("Type yes to pay the new key from now on:").await?;
        if typed_line().await.trim() != "yes" {
            return Err(Failure::other(
                "not_confirmed",
                "not confirmed; nothing was changed",
            ));
        }
    }
    desk.accept(&name, change.offered).await?;
    let proof = proof(&change);
    sink.item(item::Contact {
        name: name.to_string(),
        pinned: change.pinned.to_string(),
        key: change.offered.to_string(),
        proof: proof.to_owned(),
        entries: change.steps.iter().flatten().map(|it| it.entry).collect(),
    })
    .await?;
    Ok(())
}

/// One word for what proves a change: `rotation`, if the key before has always signed; `recovery`, if
/// the recovery key took over somewhere; `none`.
fn proof(change: &ContactChange) -> &'static str {
    match &change.steps {
        None => "none",
        Some(steps) if steps.iter().all(|step| step.by_key) => "rotation",
        Some(_) => "recovery",
    }
}

fn story(name: &Name, change: &ContactChange) -> String {
    let ContactChange {
        pinned, offered, ..
    } = change;
    let how = match proof(change) {
        "rotation" => "each key has signed for the next",
        "recovery" => {
            "ATTENTION: its recovery key wanted it, not the key that you paid; the directory's log \
             has it, and nothing else proves it: ask them some other way"
        }
        _ => {
            "ATTENTION: the directory does not show how the one became the other: do not pay before \
             you have asked them some other way"
        }
    };
    format!("the key of {name} has changed from {pinned} to {offered}: {how}")
}

/// `failure`, and whom somebody may have meant if no account is called `name`.
async fn suggesting(failure: Failure, home: &Home, name: &Name) -> Failure {
    match failure {
        Failure::Told(report) => with_known(*report, home, name).await.into(),
        Failure::Gone => Failure::Gone,
    }
}

/// The account that is meant.
fn whose(home: &Home, name: Option<Name>) -> Result<Name, Failure> {
    name.or_else(|| home.name()).ok_or_else(|| {
        Failure::from(Report::new(
            Exit::Refused,
            Reason::NOT_REGISTERED.name(),
            "refused: this home has no account yet: `quid register NAME`",
        ))
    })
}

async fn told_sealed(home: &Home, sealed: bool, sink: &Sink) -> Result<(), Failure> {
    sink.item(item::Sealed {
        key: home.key().to_string(),
        sealed,
    })
    .await?;
    Ok(())
}

fn keys_item(name: &Name, outcome: KeyOutcome) -> item::Keys {
    let standing = outcome.standing;
    let thawed_by = thawed_by(&standing);
    let pending = standing.pending;
    item::Keys {
        name: name.to_string(),
        account: standing.account,
        key: standing.key.to_string(),
        recovery: standing.recovery.map(|key| key.to_string()),
        frozen: standing.frozen,
        locked: standing.locked,
        thawed_by,
        entry: outcome.entry,
        successor: pending.as_ref().map(|it| it.successor.to_string()),
        due: pending.as_ref().map(|it| rfc3339(it.due)),
        contested: pending.as_ref().map(|it| it.contested),
    }
}

/// Who can thaw the account, if it is frozen: the recovery key what its own keys froze, the operator
/// whatever froze it.
fn thawed_by(standing: &KeysStanding) -> Vec<String> {
    let own = standing.locked && !standing.frozen && standing.recovery.is_some();
    let operator = standing.locked || standing.frozen;
    let who = [(own, RECOVERY_KEY), (operator, OPERATOR)];
    let who = who.into_iter().filter(|(can, _)| *can);
    who.map(|(_, who)| who.to_owned()).collect()
}

/// What thaws an account, for scripts.
pub(crate) const RECOVERY_KEY: &str = "recovery_key";
const OPERATOR: &str = "operator";

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Start(error) => error.into(),
            KeyError::Home(error) => error.into(),
            KeyError::Request(RequestError::Unreachable(reason)) => Report::new(
                Exit::Unreachable,
                "unreachable",
                format!(
                    "the directory cannot be reached: {reason}; run it again: it goes on where it \
                     stood"
                ),
            )
            .into(),
            KeyError::Request(error) => error.into(),
        }
    }
}

/// Opens the home at `path`. If a change of its key was cut off, the directory is asked which of its
/// two keys it is; as long as that cannot be asked, it is the one before.
pub(crate) async fn opened(path: &Path) -> Result<Home, Failure> {
    let home = passphrase::open(path)?;
    let Some(name) = home.name().filter(|_| home.has_next_key()) else {
        return Ok(home);
    };
    let Ok(desk) = KeyDesk::open(&home).await else {
        return Ok(home);
    };
    let settled = desk.settle_next(&name, passphrase::known()).await;
    desk.close().await;
    match settled {
        Ok(Some(_)) => Ok(passphrase::open(path)?),
        Ok(None) | Err(KeyError::Request(_) | KeyError::Start(_)) => Ok(home),
        Err(error) => Err(error.into()),
    }
}
