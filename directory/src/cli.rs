//! The words of the command `quid-directory`: its arguments, and what it prints.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use quid_common::address::HostPort;
use quid_common::amount::Currency;
use quid_common::id::OperationId;
use quid_common::name::Name;
use quid_terminal::manual::Shell;

use crate::invites::{LIFE_MAX, USES_MAX};
use crate::limits::Limits;
use crate::logging::LogFormat;

/// The directory of a Quid ledger: registration, login, presence and settlement.
#[derive(Debug, Parser)]
#[command(name = "quid-directory", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON object a line instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines on stderr look.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "human",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Read the passphrase of a sealed key from this file, or from /dev/fd/N. Without it, it is
    /// asked for on a terminal.
    #[arg(long, global = true, value_name = "FILE", env = "QUID_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the ledger in DIR, which is made if need be. Prints the directory's address on
    /// stdout once it accepts sessions.
    Serve(Serve),
    /// Issue money to an account.
    Issue {
        /// The account's name.
        name: Name,
        /// How much, as in 12.50.
        amount: String,
        /// The data folder.
        #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
        data: PathBuf,
        /// Repeat an earlier operation: it takes effect once, however often it is sent.
        #[arg(long)]
        id: Option<OperationId>,
    },
    /// Freeze an account: it can log in and receive, but not pay.
    Freeze(Standing),
    /// Thaw a frozen account.
    Thaw(Standing),
    /// Make an invite code for directories that register by invitation, and print it; or list or
    /// revoke those that were made.
    Invite(Invite),
    /// Rebuild every balance from the log and check every signature, the tree and its checkpoints.
    Audit {
        /// The data folder.
        #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
        data: PathBuf,
        /// A checkpoint saved earlier, which the log must contain.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Back up log and key to FILE, also while the directory serves. FILE is whole or not there.
    Backup {
        /// The backup.
        file: PathBuf,
        /// The data folder.
        #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
        data: PathBuf,
        /// Replace FILE if it is there.
        #[arg(long)]
        replace: bool,
        /// Leave out the key, which the ledger cannot go on without: keep it elsewhere.
        #[arg(long)]
        without_key: bool,
    },
    /// Restore a backup to DIR, which must be new or empty, and audit it.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The data folder.
        #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
        data: PathBuf,
        /// The directory's key, if the backup has none.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Seal the directory's key under a passphrase, or write it plain again. Stop the directory
    /// first.
    #[command(subcommand)]
    Key(Key),
    /// Print completions for a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
        shell: Shell,
    },
    /// Print the manual page of quid-directory or of a command, for man(1).
    #[command(after_help = MAN)]
    Man {
        /// The command, such as serve; quid-directory itself unless it is said.
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
        /// Write the pages of all commands into this folder instead.
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        out: Option<PathBuf>,
    },
    /// Print the directory's address.
    Address {
        /// The data folder.
        #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
        data: PathBuf,
    },
}

/// What to do with the directory's key.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Seal it under a passphrase, which is asked for. Sealed already, it gets another passphrase.
    Seal {
        /// The data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Read the new passphrase from this file.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Write it without a passphrase.
    Unseal {
        /// The data folder.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}
const COMPLETIONS: &str = "\
Example:
  quid-directory completions bash > ~/.local/share/bash-completion/completions/quid-directory";

const MAN: &str = "\
Examples:
  quid-directory man serve | man -l -
  quid-directory man --out /usr/local/share/man/man1";

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// The data folder.
    #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
    pub data: PathBuf,
    /// Where to listen (UDP); port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4840")]
    #[arg(env = "QUID_DIRECTORY_LISTEN")]
    pub listen: SocketAddr,
    /// What nodes shall connect to, if it is not the address listened on.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<HostPort>,
    /// Serve a dashboard, numbers for Prometheus and /healthz over HTTP there; PORT alone is on
    /// 127.0.0.1. Whoever reaches it sees how busy the directory is, never who pays whom.
    #[arg(long, value_name = "ADDR", value_parser = metrics_address)]
    pub metrics: Option<SocketAddr>,
    /// Issue this much to everybody who registers. For demonstrations.
    #[arg(long, value_name = "AMOUNT")]
    pub opening_balance: Option<String>,
    /// The currency's code; fixed when DIR is made. [default: QUID]
    #[arg(long, value_name = "CODE")]
    pub currency: Option<String>,
    /// The currency's decimals, 0 to 9; fixed when DIR is made. [default: 6]
    #[arg(long, value_name = "N")]
    pub decimals: Option<u8>,
    /// Go on although the clock is more than a day ahead of the ledger.
    #[arg(long)]
    pub accept_clock: bool,
    /// What strangers and members may do, and how often.
    #[command(flatten)]
    pub limits: Limits,
}

/// Whose account to freeze or thaw.
#[derive(Debug, Args)]
pub struct Standing {
    /// The account's name.
    pub name: Name,
    /// The data folder.
    #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
    pub data: PathBuf,
    /// Repeat an earlier operation.
    #[arg(long)]
    pub id: Option<OperationId>,
}

/// A code, and how often and how long it is good.
#[derive(Debug, Args)]
pub struct Invite {
    /// The data folder.
    #[arg(long, value_name = "DIR", env = "QUID_DIRECTORY_DATA")]
    pub data: PathBuf,
    /// Accounts that may register with it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(USES_MAX)))]
    pub uses: u32,
    /// How long it is good, as in 12h or 30d; for ever unless it is said.
    #[arg(long, value_name = "DURATION", value_parser = life)]
    pub expires: Option<Duration>,
    /// Repeat an earlier operation: it prints the same code, which is no better for it.
    #[arg(long)]
    pub id: Option<OperationId>,
    /// List what was made: the operation of each code, its uses, and whether it is good.
    #[arg(long, conflicts_with_all = ["uses", "expires", "id", "revoke"])]
    pub list: bool,
    /// Make a code bad, by itself or by its operation's id; who has registered with it stays.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["uses", "expires", "id"])]
    pub revoke: Option<String>,
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if life < Duration::from_millis(1) || life > LIFE_MAX {
        return Err("it is longer than nothing and at most ten years".to_owned());
    }
    Ok(life)
}

/// How the command ends; a documented table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Anything that has no number of its own.
    Other = 1,
    /// An argument that cannot be used; nothing was changed.
    Usage = 2,
    /// The ledger's rules refuse it.
    Refused = 3,
    /// It may or may not have taken effect: repeat with the same id.
    Unknown = 4,
    /// The audit failed.
    Audit = 5,
    /// Local files, or a lock held by another process.
    Files = 7,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A stable word for scripts.
    pub error: &'static str,
    /// One line for people.
    pub message: String,
}

impl Failure {
    /// A failure that ends with `exit`, is called `error` and explained by `message`.
    pub fn new(exit: Exit, error: &'static str, message: impl ToString) -> Self {
        Self {
            exit,
            error,
            message: message.to_string(),
        }
    }

    /// An argument that cannot be used.
    pub fn usage(message: impl ToString) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Trouble with local files or locks.
    pub fn files(message: impl ToString) -> Self {
        Self::new(Exit::Files, "files", message)
    }
}

/// An address and port, or a port of this machine alone.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port)));
    }
    text.parse()
        .map_err(|_| "it is written ADDRESS:PORT, or PORT for this machine alone".to_owned())
}

/// The currency that `serve` was told, over `known`, that of an existing ledger.
///
/// # Errors
/// A usage failure if it is not a currency or not the ledger's.
pub fn currency(serve: &Serve, known: Option<&Currency>) -> Result<Currency, Failure> {
    let usual = known.cloned().unwrap_or_default();
    let code = serve.currency.as_deref().unwrap_or(usual.code());
    let decimals = serve.decimals.unwrap_or(usual.decimals());
    let currency = Currency::new(code, decimals).map_err(Failure::usage)?;
    match known {
        Some(known) if *known != currency => Err(Failure::usage(format!(
            "this ledger counts {} with {} decimals, which was fixed when its folder was made; \
             leave out --currency and --decimals",
            known.code(),
            known.decimals()
        ))),
        _ => Ok(currency),
    }
}

/// Prints an address in the way of `serve` and `address`.
pub(crate) fn print_address(json: bool, address: &str) -> Result<(), Failure> {
    if json {
        print(&serde_json::json!({ "address": address }).to_string())
    } else {
        print(address)
    }
}

/// Prints one result on stdout at once. A reader that has gone is not an error of ours.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::files(format!("cannot write the result: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_for_scripts_has_a_row_for_every_command_and_no_other() {
        let table = include_str!("../../docs/scripts.md");
        let rows = table.lines().filter(|line| line.starts_with("| `quid"));
        let mut documented: Vec<&str> = rows
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter(|command| command.starts_with("quid-directory "))
            .map(|command| command.split(':').next().unwrap_or(command))
            .collect();
        documented.sort_unstable();
        documented.dedup();
        let tree = Cli::command();
        tree.clone().debug_assert();
        let mut commands = Vec::new();
        let mut rest = vec![("quid-directory".to_owned(), tree)];
        while let Some((path, command)) = rest.pop() {
            if !command.has_subcommands() {
                commands.push(path);
                continue;
            }
            for below in command.get_subcommands() {
                rest.push((format!("{path} {}", below.get_name()), below.clone()));
            }
        }
        commands.sort_unstable();
        assert_eq!(documented, commands);
    }
}
