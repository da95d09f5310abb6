//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;

use super::ask::Asker;
use super::exit::Exit;
use super::failure::{Failure, Report};
use super::home::home_path;
use super::receipt::{Ground, load, verify};
use super::screen::{Screen, Sink, Style};
use super::settings::{FILE, Settings};
use super::signals::{outlive_file_size_limit, stop_on_signal};
use super::usage::{self, NoCommand, wants_json};
use super::value::{DirectoryKey, FileOrId};
use super::{
    Cli, Command, Config, Receipt, config, doctor, init, keys, listen, log, manual, passphrase,
};
use crate::{shell, wallet};

/// Does what the command line says.
pub(crate) fn start() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&arguments);
    let (cli, settings) = match read(arguments) {
        Ok(read) => read,
        Err(Unread::Asked(text)) => {
            // A reader that went away needs no help any more.
            let _ = io::stdout().write_all(text.as_bytes());
            return Exit::Done.into();
        }
        Err(Unread::Wrong(report)) => return complain(json, *report),
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli, settings));
            // A thread that waits for typed input would hold the runtime's end up.
            runtime.shutdown_background();
            exit
        }
        Err(error) => complain(json, no_process(&error)),
    }
}

/// Why nothing is run.
enum Unread {
    /// This text was asked for.
    Asked(String),
    /// Arguments, variables or the config file are wrong.
    Wrong(Box<Report>),
}

impl From<NoCommand> for Unread {
    fn from(none: NoCommand) -> Self {
        match none {
            NoCommand::Asked(text) => Self::Asked(text),
            NoCommand::Wrong(message) => {
                Self::Wrong(Box::new(Report::new(Exit::Usage, "usage", message)))
            }
        }
    }
}

/// The command line, with what it leaves open as variables and the home's config file say.
fn read(arguments: Vec<OsString>) -> Result<(Cli, Settings), Unread> {
    let arguments = usage::arguments(arguments)?;
    // Which home it is, and so which file, is seen from the command line itself.
    let cli = usage::parse(&arguments, &Settings::default())?;
    let home = home_path(cli.global.home.clone()).ok();
    match Settings::read(home.as_deref()) {
        Ok(settings) => Ok((usage::parse(&arguments, &settings)?, settings)),
        // What tells of the trouble, or has nothing to do with it, is not stopped by it.
        Err(_) if is_unsettled(&cli.command) => Ok((cli, Settings::default())),
        // What mends the file is not stopped by it.
        Err(report) if report.error == FILE && mends(&cli.command) => {
            let settings = Settings::read(None).map_err(Unread::Wrong)?;
            Ok((usage::parse(&arguments, &settings)?, settings))
        }
        Err(report) => Err(Unread::Wrong(report)),
    }
}

const fn is_unsettled(command: &Command) -> bool {
    matches!(
        command,
        Command::Doctor | Command::Completions { .. } | Command::Man { .. }
    )
}

const fn mends(command: &Command) -> bool {
    matches!(
        command,
        Command::Config {
            what: Some(Config::Set { .. } | Config::Unset { .. })
        }
    )
}

async fn run(cli: Cli, settings: Settings) -> ExitCode {
    let json = cli.global.json;
    if let Err(error) = outlive_file_size_limit() {
        return complain(json, no_process(&error));
    }
    let started = Screen::start(Style::new(&cli.global));
    let (screen, sink) = match started {
        Ok(started) => started,
        Err(error) => return complain(json, no_process(&error)),
    };
    let result = command(cli, &settings, &sink).await;
    let exit = match result {
        Ok(()) | Err(Failure::Gone) => Exit::Done,
        Err(Failure::Told(report)) => {
            let exit = report.exit;
            // Without a reader the exit code still says it.
            let _ = sink.report(*report).await;
            exit
        }
    };
    drop(sink);
    match screen.finish(SCREEN_WAIT).await {
        Ok(()) => exit.into(),
        // A closed pipe is how `head` says that it has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit.into(),
        Err(error) => {
            let (failed, message) = match exit {
                Exit::Done => (
                    Exit::Other,
                    format!("done, but stdout cannot be written: {error}"),
                ),
                exit => (exit, format!("stdout cannot be written: {error}")),
            };
            complain(false, Report::new(failed, "stdout", message))
        }
    }
}

async fn command(cli: Cli, settings: &Settings, sink: &Sink) -> Result<(), Failure> {
    let format = cli.global.log_format;
    let quiet = log::quiet_level(&cli.command, &cli.global);
    let log = log::start(format, quiet, cli.global.verbose);
    if let Command::Receipt(Receipt::Verify {
        file_or_id: FileOrId::File(file),
        directory: Some(DirectoryKey(key)),
    }) = &cli.command
    {
        // Nothing of any home is needed for it.
        return verify(&load(file)?, &Ground::of_key(*key), sink).await;
    }
    match &cli.command {
        Command::Completions { shell } => return print(&manual::completions(*shell)),
        Command::Man {
            out: Some(folder), ..
        } => return manual::pages(folder),
        Command::Man { command, .. } => return print(&manual::page(command)?),
        _ => {}
    }
    let path = home_path(cli.global.home.clone())?;
    let json = cli.global.json;
    let style = Style::new(&cli.global);
    if let Command::Config { what } = cli.command {
        return config::run(&path, what, settings, &cli.global, sink).await;
    }
    passphrase::obtain(&path, &cli, sink).await?;
    if let Command::Shell(args) = &cli.command {
        return shell::shell(&path, args, style, settings, sink, &log).await;
    }
    let stop = stop_on_signal().map_err(|error| Failure::from(no_process(&error)))?;
    match cli.command {
        Command::Init(args) => init::init(&path, args, settings, json, sink, &stop).await,
        Command::Doctor => doctor::doctor(&path, sink, &stop).await,
        Command::Key(args) => keys::run(&path, args, json, sink, &stop).await,
        Command::Listen(args) => {
            // Where lines move, the log's stand among them.
            let log = style.foot.then_some(&log);
            listen::listen(&path, &args, sink, log, &stop).await
        }
        Command::Wallet(args) => wallet::wallet(&path, &args, sink, &stop).await,
        command => {
            let asker = Asker {
                path: &path,
                stop: &stop,
                node: None,
                asks: !json && io::stdin().is_terminal() && io::stderr().is_terminal(),
            };
            asker.execute(command, sink).await
        }
    }
}

/// Prints a text that was asked for, as it is. A reader that has enough is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    match io::stdout()
        .write_all(text)
        .and_then(|()| io::stdout().flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::other(
            "stdout",
            format!("stdout cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Says what is wrong before there is a screen to say it on.
fn complain(json: bool, report: Report) -> ExitCode {
    let exit = report.exit;
    if json {
        let _ = writeln!(io::stdout(), "{}", report.to_json());
    }
    let _ = writeln!(io::stderr(), "{report}");
    exit.into()
}

fn no_process(error: &io::Error) -> Report {
    Report::new(
        Exit::Other,
        "system",
        format!("the system gives this process nothing to run with: {error}"),
    )
}

/// How long stdout may stall at the end before the rest is given up.
const SCREEN_WAIT: Duration = Duration::from_secs(3_600);
