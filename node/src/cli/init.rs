//! `quid init`: a home with a key of its own and a pinned directory.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use quid_common::address::{AnyAddress, DirectoryAddress, UnpinnedAddress};
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_node::{Home, Node, Options, Registered, RequestError, directory_key};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, quoted, report};
use super::screen::Sink;
use super::settings::Settings;
use super::{Init, config, item, passphrase};

/// Makes the home at `path`, or finds it as it would have made it, and registers a name for it if one
/// is wanted. On a terminal it asks for the rest, unless a directory is given by a flag: scripts that
/// run on somebody's terminal do that, and are asked nothing.
pub(crate) async fn init(
    path: &Path,
    args: Init,
    settings: &Settings,
    json: bool,
    sink: &Sink,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let asks = !json && io::stdin().is_terminal() && io::stderr().is_terminal();
    let guides = asks && (args.directory.is_none() || settings.get("directory").is_some());
    let questions = Questions {
        sink,
        stop,
        asks,
        guides,
    };
    let known = Home::directory_at(path);
    let address = match (args.directory, known) {
        (Some(AnyAddress::Pinned(address)), _) => address,
        (Some(AnyAddress::Unpinned(address)), _) => confirmed(address, &questions).await?,
        (None, Some(address)) if guides || args.name.is_some() => address,
        (None, _) => match questions.directory().await? {
            AnyAddress::Pinned(address) => address,
            AnyAddress::Unpinned(address) => confirmed(address, &questions).await?,
        },
    };
    if guides && !args.seal && !passphrase::is_known() && !passphrase::has_key(path) {
        passphrase::optional(sink).await?;
    }
    let home = Home::init_sealed(path, &address, passphrase::known())?;
    config::write_template(path)?;
    let mut made = item::Home {
        home: home.path().display().to_string(),
        directory: home.directory().to_string(),
        key: home.key().to_string(),
        ..item::Home::default()
    };
    let wanted = args.name.is_some();
    let name = match args.name {
        None if guides && home.name().is_none() => questions.name().await?,
        name => name,
    };
    let Some(name) = name else {
        sink.item(made).await?;
        return Ok(());
    };
    let node = Node::start(home, Options::default()).await?;
    let registered = register(&node, name, args.invite, !wanted, &questions).await;
    let balance = match &registered {
        Ok(_) if guides => node.status().await.ok(),
        _ => None,
    };
    node.close().await;
    let registered = registered?;
    made.name = Some(registered.name.to_string());
    made.entry = Some(registered.entry);
    sink.item(made).await?;
    if let Some(status) = balance {
        let balance = status.currency.display(status.balance);
        sink.note(next_steps(&registered.name, &balance.to_string()))
            .await?;
    }
    Ok(())
}

/// Registers `name`; if that is asked for rather than given, another one when this is not to be had.
async fn register(
    node: &Node,
    mut name: Name,
    mut invite: Option<String>,
    again: bool,
    questions: &Questions<'_>,
) -> Result<Registered, Failure> {
    for _ in 0..TRIES_MAX {
        let progress = questions.sink.progress(format!("registering {name}"));
        let refused = tokio::select! {
            registered = node.register_with(&name, None, invite.as_deref()) => match registered {
                Ok(registered) => return Ok(registered),
                Err(error) => error,
            },
            () = questions.stop.cancelled() => return Err(unfinished("interrupted")),
        };
        drop(progress);
        match refused {
            RequestError::Refused(Reason::UNINVITED) if questions.guides && invite.is_none() => {
                let code = questions
                    .answer("The directory registers by invitation. The code that its operator gave you:")
                    .await?;
                invite = Some(code);
            }
            RequestError::Refused(
                reason @ (Reason::NAME_TAKEN | Reason::NAME_LOOKS_TAKEN | Reason::NAME_RESERVED),
            ) if questions.guides && again => {
                let sorry = format!("{name}: {reason}.");
                questions.sink.say(sorry).await?;
                match questions.name().await? {
                    Some(other) => name = other,
                    None => return Err(unfinished("no name was chosen")),
                }
            }
            RequestError::Unreachable(why) => {
                let mut report = report(RequestError::Unreachable(why));
                report.message = format!(
                    "the home is made, but the name is not registered: {}; \
                     `quid register {name}` when it can be reached",
                    report.message
                );
                return Err(report.into());
            }
            error => return Err(error.into()),
        }
    }
    Err(unfinished("none of these names was to be had"))
}

fn unfinished(why: &str) -> Failure {
    Failure::other(
        "not_registered",
        format!("{why}: the home is made, and `quid register NAME` takes a name for it"),
    )
}

fn next_steps(name: &Name, balance: &str) -> String {
    format!(
        "\nYou have {balance}, and others can pay you now: quid pay {name} 1.50\n\n  \
         quid listen            stay online, and see what comes\n  \
         quid pay NAME AMOUNT   pay somebody\n  \
         quid shell             do both\n  \
         quid doctor            when something does not work"
    )
}

/// What a person is asked, if there is one.
struct Questions<'a> {
    sink: &'a Sink,
    stop: &'a CancellationToken,
    /// Whether somebody can be asked.
    asks: bool,
    /// Whether they are to be asked for what is optional.
    guides: bool,
}

impl Questions<'_> {
    async fn directory(&self) -> Result<AnyAddress, Failure> {
        if !self.asks {
            return Err(Failure::usage(
                "missing: --directory ADDRESS; `quid init --help` shows how",
            ));
        }
        let mut question = "Address of the directory, quid://..., as its operator gave it to you:";
        for _ in 0..TRIES_MAX {
            let answer = self.answer(question).await?;
            match answer.parse() {
                Ok(address) => return Ok(address),
                Err(error) => {
                    let wrong = format!("{}: {error}", quoted(&answer));
                    self.sink.say(wrong).await?;
                }
            }
            question = "Address of the directory:";
        }
        Err(Failure::usage("no address; nothing was written"))
    }

    /// A name; none if it is left open.
    async fn name(&self) -> Result<Option<Name>, Failure> {
        let question = "Name under which others pay you, such as alice (empty: later):";
        for _ in 0..TRIES_MAX {
            let answer = self.answer(question).await?;
            if answer.is_empty() {
                return Ok(None);
            }
            match answer.parse() {
                Ok(name) => return Ok(Some(name)),
                Err(error) => {
                    let wrong = format!("{}: {error}", quoted(&answer));
                    self.sink.say(wrong).await?;
                }
            }
        }
        Ok(None)
    }

    async fn answer(&self, question: &str) -> Result<String, Failure> {
        self.sink.say(question).await?;
        tokio::select! {
            answer = typed_line() => Ok(answer.trim().to_owned()),
            () = self.stop.cancelled() => Err(interrupted()),
        }
    }
}

fn interrupted() -> Failure {
    Failure::other("interrupted", "interrupted; nothing was sent")
}

/// The address with the key that was found there, once a person has said that it is the right
/// one.
async fn confirmed(
    address: UnpinnedAddress,
    questions: &Questions<'_>,
) -> Result<DirectoryAddress, Failure> {
    if !questions.asks {
        return Err(Failure::usage(
            "--directory has no key, and nobody can be asked to confirm one here: write \
             --directory quid://KEY@HOST:PORT, as `quid-directory address` prints it",
        ));
    }
    let progress = questions
        .sink
        .progress("asking for the directory's key".to_owned());
    let key = tokio::select! {
        key = directory_key(address.host(), address.port()) => key?,
        () = questions.stop.cancelled() => return Err(interrupted()),
    };
    drop(progress);
    let question = format!(
        "The directory at {address} shows the key\n\n  {key}\n\nCompare it with what its operator \
         told you some other way. Type yes to trust it from now on:"
    );
    if questions.answer(&question).await? != "yes" {
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

/// How often something is asked before it is given up.
const TRIES_MAX: usize = 5;
