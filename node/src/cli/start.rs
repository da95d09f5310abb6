//! From the process's arguments to its exit code.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;

use super::ask::Asker;
use super::exit::Exit;
use super::failure::{Failure, Report};
use super::home::home_path;
use super::receipt::{Ground, load, verify};
use super::screen::{Screen, Sink, Style};
use super::signals::stop_on_signal;
use super::usage::{NoCommand, parse, wants_json};
use super::value::{DirectoryKey, FileOrId};
use super::{Cli, Command, Receipt, init, keys, listen, log, passphrase};
use crate::{shell, wallet};

/// Does what the command line says.
pub(crate) fn start() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&arguments);
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(NoCommand::Asked(text)) => {
            // A reader that went away needs no help any more.
            let _ = io::stdout().write_all(text.as_bytes());
            return Exit::Done.into();
        }
        Err(NoCommand::Wrong(message)) => {
            return complain(json, Report::new(Exit::Usage, "usage", message));
        }
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli));
            // A thread that waits for typed input would hold the runtime's end up.
            runtime.shutdown_background();
            exit
        }
        Err(error) => complain(json, no_process(&error)),
    }
}

async fn run(cli: Cli) -> ExitCode {
    let json = cli.global.json;
    let started = Screen::start(Style::new(json));
    let (screen, sink) = match started {
        Ok(started) => started,
        Err(error) => return complain(json, no_process(&error)),
    };
    let result = command(cli, &sink).await;
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

async fn command(cli: Cli, sink: &Sink) -> Result<(), Failure> {
    let format = cli.global.log_format;
    let quiet = log::quiet_level(&cli.command, format);
    let log = log::start(format, quiet, cli.global.verbose);
    if let Command::Receipt(Receipt::Verify {
        file_or_id: FileOrId::File(file),
        directory: Some(DirectoryKey(key)),
    }) = &cli.command
    {
        // Nothing of any home is needed for it.
        return verify(&load(file)?, &Ground::of_key(*key), sink).await;
    }
    let path = home_path(cli.global.home.clone())?;
    let json = cli.global.json;
    passphrase::obtain(&path, &cli, sink).await?;
    if let Command::Shell(args) = &cli.command {
        return shell::shell(&path, args, json, sink, &log).await;
    }
    let stop = stop_on_signal().map_err(|error| Failure::from(no_process(&error)))?;
    match cli.command {
        Command::Init(args) => init::init(&path, args.directory, json, sink, &stop).await,
        Command::Key(args) => keys::run(&path, args, json, sink, &stop).await,
        Command::Listen(args) => {
            // Where lines move, the log's stand among them.
            let log = Style::new(json).foot.then_some(&log);
            listen::listen(&path, &args, sink, log, &stop).await
        }
        Command::Wallet(args) => wallet::wallet(&path, &args, sink, &stop).await,
        command => {
            let asker = Asker {
                path: &path,
                stop: &stop,
                node: None,
            };
            asker.execute(command, sink).await
        }
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
