//! What each command of `quid-directory` does and prints.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use quid_common::amount::{Amount, Currency, check_amount_grammar};
use quid_common::checkpoint::Checkpoint;
use quid_common::id::OperationId;
use quid_common::name::Name;
use quid_common::printable::Printable;
use quid_common::refusal::Reason;
use serde_json::json;

use crate::ahead;
use crate::audit::{self, AuditError};
use crate::backup::Options;
use crate::books::{self, Books, OpenError};
use crate::cli::{Cli, Command, Exit, Failure, Standing, print, print_address};
use crate::folder::Folder;
use crate::logging::LogFormat;
use crate::operator::{self, Act, Ended, Operation, SendError};
use crate::serve;
use crate::settlement::{self, Committer, Job, Outlet, Reply};
use crate::store::LogReader;

use self::passphrase::Passphrases;

mod backup;
mod invite;
mod key;
mod manual;
mod passphrase;

/// Runs the command in the program's arguments.
pub fn main(start_logging: impl FnOnce(LogFormat, &str)) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return fail(
                false,
                &Failure::usage("a command is missing; see quid-directory --help"),
            );
        }
        Err(error) => {
            let json = std::env::args_os().any(|argument| argument == "--json");
            return fail(json, &Failure::usage(usage_line(&error)));
        }
    };
    let level = if matches!(cli.command, Command::Serve(_)) {
        "info"
    } else {
        "warn"
    };
    start_logging(cli.log_format, level);
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(json, &failure),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    let passphrases = Passphrases {
        file: cli.passphrase_file,
        asks: !json,
    };
    match cli.command {
        Command::Serve(arguments) => {
            serve::run(&arguments, |folder| passphrases.unlocked(folder, true))
        }
        Command::Issue {
            name,
            amount,
            data,
            id,
        } => {
            check_amount_grammar(&amount).map_err(Failure::usage)?;
            let folder = Folder::open(&data).map_err(Failure::files)?;
            let currency = currency(&folder)?;
            let amount = currency.parse(&amount).map_err(Failure::usage)?;
            if amount.is_zero() {
                return Err(Failure::usage("the amount is zero; nothing to issue"));
            }
            operate(
                json,
                &folder,
                &currency,
                (name, Act::Issue(amount), id),
                &passphrases,
            )
        }
        Command::Freeze(standing) => stand(json, standing, Act::Freeze, &passphrases),
        Command::Thaw(standing) => stand(json, standing, Act::Thaw, &passphrases),
        Command::Invite(wanted) => invite::run(json, &wanted, &passphrases),
        Command::Audit { data, against } => run_audit(json, &data, against.as_deref()),
        Command::Backup {
            file,
            data,
            replace,
            without_key,
        } => {
            let options = Options {
                replace,
                without_key,
            };
            backup::write(json, &data, &file, options)
        }
        Command::Restore { file, data, key } => backup::restore(json, &file, &data, key.as_deref()),
        Command::Key(wanted) => key::run(json, &wanted, &passphrases),
        Command::Completions { shell } => manual::print(&manual::completions(shell)),
        Command::Man {
            out: Some(folder), ..
        } => manual::pages(&folder),
        Command::Man { command, .. } => manual::print(&manual::page(&command)?),
        Command::Address { data } => {
            let folder = Folder::open(&data).map_err(Failure::files)?;
            print_address(json, &folder.address().map_err(Failure::files)?)
        }
    }
}

fn stand(
    json: bool,
    standing: Standing,
    act: Act,
    passphrases: &Passphrases,
) -> Result<(), Failure> {
    let folder = Folder::open(&standing.data).map_err(Failure::files)?;
    let currency = currency(&folder)?;
    let wanted = (standing.name, act, standing.id);
    operate(json, &folder, &currency, wanted, passphrases)
}

/// Carries out an operation through the directory that serves, or directly if none does.
fn operate(
    json: bool,
    folder: &Folder,
    currency: &Currency,
    (name, act, id): (Name, Act, Option<OperationId>),
    passphrases: &Passphrases,
) -> Result<(), Failure> {
    let id = match id {
        Some(id) => id,
        None => OperationId(random().map_err(Failure::files)?),
    };
    eprintln!("operation {id} (repeat with --id {id})");
    let operation = Operation {
        id,
        name: name.clone(),
        act,
    };
    let ended = match operator::send(&folder.operator_socket(), &operation) {
        Ok(ended) => ended,
        Err(SendError::Absent) => {
            // Whoever serves has the key; without one it is needed here.
            let folder = passphrases.unlocked(folder.clone(), false)?;
            operate_directly(&folder, operation)?
        }
        Err(error @ SendError::Unknown(_)) => {
            let message = format!("{error}; repeat the command with --id {id}");
            return Err(Failure::new(Exit::Unknown, "unknown", message));
        }
    };
    let (verb, amount) = match act {
        Act::Issue(amount) => ("issued", Some(amount)),
        Act::Freeze => ("froze", None),
        Act::Thaw => ("thawed", None),
    };
    match ended {
        Ended::Done { entry } if json => {
            let mut line = json!({ "entry": entry, "id": id.to_string(), "name": name.as_str() });
            if let (Some(amount), Some(line)) = (amount, line.as_object_mut()) {
                line.insert("amount".to_owned(), currency.format(amount).into());
            }
            print(&line.to_string())
        }
        Ended::Done { entry } => {
            let what = amount.map_or_else(
                || name.to_string(),
                |amount| format!("{} to {name}", currency.display(amount)),
            );
            print(&format!("{verb} {what} (entry {entry})"))
        }
        Ended::Refused(Reason::LOG_INCOMPLETE) => Err(Failure::new(
            Exit::Refused,
            Reason::LOG_INCOMPLETE.name(),
            ahead::advice(folder),
        )),
        Ended::Refused(reason) => Err(refusal(reason, &name)),
    }
}

fn operate_directly(folder: &Folder, operation: Operation) -> Result<Ended, Failure> {
    let lock = folder.lock("an operation").map_err(Failure::files)?;
    let books = Books::open(folder, lock, None, false).map_err(Failure::files)?;
    let operator = books.key.public();
    let mut committer = Committer::new(books, Arc::default());
    let outlet = Arc::new(Outlet::default());
    let job = Job {
        from: operator,
        ask: operation.ask(),
        reply: Reply::new(0, &outlet),
    };
    committer.commit(settlement::check(vec![job]));
    committer.into_books().close();
    match outlet.take_now().pop() {
        Some((_, answer)) => Ok(Ended::from(answer)),
        None => Err(Failure::files("the operation was not answered")),
    }
}

/// What the ledger in `folder` counts.
fn currency(folder: &Folder) -> Result<Currency, Failure> {
    let known = books::currency(folder.path()).map_err(Failure::files)?;
    known.ok_or_else(|| Failure::files(OpenError::Empty))
}

fn refusal(reason: Reason, name: &Name) -> Failure {
    let message = match reason {
        Reason::UNKNOWN_ACCOUNT => format!("no account is called {name}"),
        reason => reason.explain().to_owned(),
    };
    Failure::new(Exit::Refused, reason.name(), message)
}

fn run_audit(json: bool, data: &Path, against: Option<&Path>) -> Result<(), Failure> {
    let folder = Folder::open(data).map_err(Failure::files)?;
    let saved = against.map(saved_checkpoint).transpose()?;
    let key = folder.public_key().map_err(Failure::files)?;
    let log = LogReader::open_alone(&folder).map_err(Failure::files)?;
    match audit::audit(&log, &key, saved.as_ref()) {
        Ok(report) if json => print(
            &json!({
                "ok": true,
                "entries": report.entries,
                "accounts": report.accounts,
                "issued": amount(&report.currency, report.totals.issued.into()),
                "burnt": amount(&report.currency, report.totals.burnt.into()),
                "available": amount(&report.currency, report.totals.available),
                "held": amount(&report.currency, report.totals.held),
                "ledger": report.ledger.to_string(),
                "checkpoint": report.checkpoint.as_str(),
            })
            .to_string(),
        ),
        Ok(report) => {
            let amount = |units| amount(&report.currency, units);
            let code = report.currency.code();
            print(&format!(
                "the books are sound: {} entries, {} accounts\n\
                 issued    {} {code}\n\
                 burnt     {} {code}\n\
                 available {} {code}\n\
                 held      {} {code}\n\
                 checkpoint\n{}",
                report.entries,
                report.accounts,
                amount(report.totals.issued.into()),
                amount(report.totals.burnt.into()),
                amount(report.totals.available),
                amount(report.totals.held),
                report.checkpoint.as_str().trim_end()
            ))
        }
        Err(error) => {
            if json {
                let entry = error.entry();
                let line = json!({ "ok": false, "entry": entry, "reason": error.to_string() });
                print(&line.to_string())?;
            }
            Err(audit_failure(&error))
        }
    }
}

fn audit_failure(error: &AuditError) -> Failure {
    if matches!(error, AuditError::Newer { .. }) {
        return Failure::files(error);
    }
    Failure::new(Exit::Audit, "audit", format!("the audit failed: {error}"))
}

fn saved_checkpoint(file: &Path) -> Result<Checkpoint, Failure> {
    let shown = file.to_string_lossy();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::files(format!("cannot read {}: {error}", Printable(&shown))))?;
    Checkpoint::try_from(text)
        .map_err(|error| Failure::usage(format!("{}: {error}", Printable(&shown))))
}

fn fail(json: bool, failure: &Failure) -> ExitCode {
    if json && failure.exit != Exit::Audit {
        let line = json!({ "error": failure.error, "message": failure.message });
        let _ = print(&line.to_string());
    }
    let prefix = if std::io::stderr().is_terminal() {
        ""
    } else {
        "quid-directory: "
    };
    // Without a reader the exit code still says it.
    let _ = writeln!(std::io::stderr(), "{prefix}{}", failure.message);
    ExitCode::from(failure.exit as u8)
}

/// Units of a sum that may be larger than one amount, in the currency's decimals.
fn amount(currency: &Currency, units: u128) -> String {
    let units = u64::try_from(units)
        .ok()
        .and_then(Amount::new)
        .unwrap_or(Amount::MAX);
    currency.format(units)
}

/// Clap's complaint as one line.
fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told: Vec<&str> = lines
        .take_while(|line| {
            !["Usage:", "For more", "tip:"]
                .iter()
                .any(|end| line.starts_with(end))
        })
        .collect();
    let told = told.join(" ");
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    let meant = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(meant)) => Some(meant.clone()),
            // The nearest comes last.
            Some(ContextValue::Strings(meant)) => meant.last().cloned(),
            _ => None,
        });
    match meant {
        Some(meant) => format!("{}; did you mean {meant}?", Printable(told)),
        None => format!("{}; see quid-directory --help", Printable(told)),
    }
}

/// Fresh random bytes from the system.
pub(crate) fn random<const LEN: usize>() -> Result<[u8; LEN], String> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no randomness: {error}"))?;
    Ok(bytes)
}
