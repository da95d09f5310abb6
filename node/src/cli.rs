//! The command line: its tree of commands, and the way from arguments to an exit code.

pub(crate) mod ask;
mod away;
mod check;
mod config;
pub(crate) mod doctor;
mod examples;
pub(crate) mod exit;
pub(crate) mod failure;
mod home;
mod human;
mod init;
pub(crate) mod item;
mod keys;
mod likeness;
mod link;
pub(crate) mod listen;
mod live;
pub(crate) mod log;
mod manual;
mod once;
pub(crate) mod passphrase;
pub(crate) mod qr;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod requests;
pub(crate) mod run;
pub(crate) mod screen;
pub(crate) mod settings;
pub(crate) mod signals;
pub(crate) mod split;
mod start;
pub(crate) mod tab;
pub(crate) mod usage;
pub(crate) mod value;
pub(crate) mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quid_common::address::AnyAddress;
use quid_common::id::{OrderId, Reference};
use quid_common::name::Name;
use quid_common::order::Memo;
use quid_common::request::RequestId;
use quid_terminal::manual::Shell;

pub(crate) use start::start;
use value::{AmountText, DirectoryKey, FileOrId, Payee, ReceiptName};

/// Pay and be paid tiny amounts, directly, over QUIC.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "quid",
    version,
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The home folder: key, journal, receipts, settings [default: $QUID_HOME, else $HOME/.quid]
    #[arg(long, global = true, value_name = "DIR", value_parser = value::path)]
    #[arg(display_order = 100, help_heading = EVERYWHERE)]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long, global = true, display_order = 101, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Read the passphrase of a sealed key from this file, or from /dev/fd/N
    #[arg(long, global = true, value_name = "FILE", value_parser = value::path)]
    #[arg(display_order = 106, help_heading = EVERYWHERE)]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// How the log on stderr is written: human or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    #[arg(display_order = 102, help_heading = EVERYWHERE, hide_possible_values = true)]
    pub(crate) log_format: LogFormat,
    /// Log more on stderr; twice or three times for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    #[arg(display_order = 103, help_heading = EVERYWHERE)]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but questions, and what went wrong
    #[arg(short, long, global = true, display_order = 104, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
    /// Whether to use colour: auto, always or never. NO_COLOR in the environment is never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(display_order = 105, help_heading = EVERYWHERE, hide_possible_values = true)]
    pub(crate) color: Color,
}

/// Whether colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

/// What `quid` does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a wallet: a home with a new key, the directory pinned. On a terminal, asks for the rest
    #[command(after_help = examples::INIT)]
    Init(Init),
    /// Take a name at the directory
    #[command(after_help = examples::REGISTER)]
    Register {
        /// 3 to 32 of a to z, 0 to 9, '-' and '_', beginning with a letter
        name: Name,
        /// The code of an operator who registers by invitation
        #[arg(long, value_name = "CODE")]
        invite: Option<String>,
        /// Make a recovery key in this new file, to be kept elsewhere: it can freeze the account,
        /// and replace a key that was lost
        #[arg(long, value_name = "FILE", value_parser = value::path)]
        recovery: Option<PathBuf>,
    },
    /// Show name, balance and what is still open
    #[command(after_help = examples::STATUS)]
    Status,
    /// List who is online
    #[command(after_help = examples::WHO)]
    Who {
        /// Then go on and show who comes and goes
        #[arg(long)]
        watch: bool,
    },
    /// Pay somebody, or what a request asks for: directly if they are online, else through the
    /// directory
    #[command(after_help = examples::PAY)]
    Pay(Pay),
    /// Ask to be paid: prints a link to hand to whoever shall pay, and shows it as a QR code; or
    /// cancel what was asked for
    #[command(after_help = examples::REQUEST)]
    Request(AskFor),
    /// List the requests of this home, newest first, and what paid them
    Requests {
        /// Most lines
        #[arg(long, value_name = "N", value_parser = value::limit, default_value = "50")]
        limit: usize,
    },
    /// Pay back what was received as an entry, once
    #[command(after_help = examples::REFUND)]
    Refund(Refund),
    /// Cancel an order that has not settled
    #[command(after_help = examples::VOID)]
    Void {
        /// The order, as `pay` or `history` shows it
        #[arg(value_name = "ORDER_ID")]
        order: OrderId,
    },
    /// Stay online and receive: one line per event
    #[command(after_help = examples::LISTEN)]
    Listen(Listen),
    /// Reserve money once, then pay it in units of which each costs one hash
    #[command(subcommand, arg_required_else_help = false, after_help = examples::TAB)]
    Tab(Tab),
    /// List payments, newest first; those not settled yet stand on top
    #[command(after_help = examples::HISTORY)]
    History(History),
    /// Show, save or verify what proves a payment
    #[command(subcommand, arg_required_else_help = false, after_help = examples::RECEIPT)]
    Receipt(Receipt),
    /// Seal, replace, recover and freeze the account's key
    #[command(subcommand, arg_required_else_help = false, after_help = examples::KEY)]
    Key(Key),
    /// Type commands, with history and completion, while payments come in
    #[command(after_help = examples::SHELL)]
    Shell(Listen),
    /// Stay online, and serve a wallet for the browser on this machine
    #[command(after_help = examples::WALLET)]
    Wallet(Wallet),
    /// Check key, clock, directory, reachability and disk, and say what to do
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    /// Show and change what flags leave open, and where each value comes from
    #[command(after_help = examples::CONFIG)]
    Config {
        /// What to do [default: list]
        #[command(subcommand)]
        what: Option<Config>,
    },
    /// Print completions for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
        shell: Shell,
    },
    /// Print the manual page of quid or of a command, for man(1)
    #[command(after_help = examples::MAN)]
    Man {
        /// The command, such as pay or tab open [default: quid itself]
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
        /// Write the pages of all commands into this folder instead
        #[arg(long, value_name = "DIR", value_parser = value::path, conflicts_with = "command")]
        out: Option<PathBuf>,
    },
}

/// `quid config`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Config {
    /// List what is in force, and where each value comes from
    List,
    /// Print one value
    Get {
        /// The setting, as `config list` shows it
        key: String,
    },
    /// Change one value in the home's config file, and keep its comments
    Set {
        /// The setting, as `config list` shows it
        key: String,
        /// Its value from now on, written as for the flag
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Leave a value open again: the default is in force
    Unset {
        /// The setting, as `config list` shows it
        key: String,
    },
}

/// `quid init`
#[derive(Clone, Debug, Args)]
pub(crate) struct Init {
    /// quid://KEY@HOST:PORT, as `quid-directory address` prints it. On a terminal the key may be
    /// missing: it is then asked for and shown, to be confirmed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) directory: Option<AnyAddress>,
    /// Register this name too, so that the wallet can be paid
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// The code of an operator who registers by invitation
    #[arg(long, value_name = "CODE", requires = "name")]
    pub(crate) invite: Option<String>,
    /// Seal the new key under a passphrase, which is asked for; --passphrase-file gives it
    #[arg(long)]
    pub(crate) seal: bool,
}

/// `quid key`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Key {
    /// Show where the keys of an account stand
    Status {
        /// Whose [default: this home's]
        name: Option<Name>,
    },
    /// Replace this home's key by a new one, at once
    Rotate,
    /// Make this home's key that of an account, by its recovery key: announces it, and run again
    /// after 72 hours completes it
    Recover {
        /// The account
        name: Name,
        /// The recovery key, as `register --recovery` made it
        #[arg(long, value_name = "FILE", value_parser = value::path)]
        recovery: PathBuf,
    },
    /// Object to a recovery that is announced: it then takes 30 days, and the account is frozen
    Object,
    /// Refuse the account's orders from now on
    Freeze(Lock),
    /// Take the account's orders again; needs the recovery key, or ask the operator
    Thaw(Lock),
    /// Seal this home's key under a passphrase, which is asked for
    Seal {
        /// Read the new passphrase from this file
        #[arg(long, value_name = "FILE", value_parser = value::path)]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Write this home's key without a passphrase
    Unseal,
    /// Show how the key of somebody who was paid before has changed, and pay the new one from now on
    Accept {
        /// Who
        name: Name,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `quid key freeze` and `quid key thaw`
#[derive(Clone, Debug, Args)]
pub(crate) struct Lock {
    /// Whose account [default: this home's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// The recovery key, as `register --recovery` made it
    #[arg(long, value_name = "FILE", value_parser = value::path)]
    pub(crate) recovery: Option<PathBuf>,
}

/// `quid pay`
#[derive(Clone, Debug, Args)]
pub(crate) struct Pay {
    /// Who is paid: a name, or the link of a request
    #[arg(value_name = "NAME|LINK")]
    pub(crate) payee: Payee,
    /// How much, such as 12 or 1.5: digits and a point, never rounded. A request says it itself,
    /// unless it leaves it open
    #[arg(allow_negative_numbers = true)]
    pub(crate) amount: Option<AmountText>,
    /// A word to the payee, at most 140 bytes
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    pub(crate) memo: Option<Memo>,
    /// The reference that the payee asked to be repeated: 32 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) reference: Option<Reference>,
    /// How long to wait for the outcome before it is called unknown
    #[arg(long, value_name = "SECONDS", value_parser = value::wait, default_value = "10")]
    pub(crate) wait: Duration,
    /// Pay a request without being asked
    #[arg(long)]
    pub(crate) yes: bool,
    /// Pay a request once more that this home has paid already
    #[arg(long)]
    pub(crate) again: bool,
}

/// `quid request`
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("wanted").required(true).args(["amount", "open", "tab", "cancel"]))]
pub(crate) struct AskFor {
    /// How much, such as 12 or 1.5: digits and a point, never rounded
    #[arg(allow_negative_numbers = true)]
    pub(crate) amount: Option<AmountText>,
    /// Leave the amount to the payer
    #[arg(long)]
    pub(crate) open: bool,
    /// Ask for a tab of --units units
    #[arg(long, requires_all = ["unit", "units"])]
    pub(crate) tab: bool,
    /// What one unit of the tab is worth, such as 0.000001
    #[arg(
        long,
        value_name = "AMOUNT",
        requires = "tab",
        allow_negative_numbers = true
    )]
    pub(crate) unit: Option<AmountText>,
    /// How many units the tab can pay, at most 1048576
    #[arg(long, value_name = "N", requires = "tab", value_parser = value::units)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) units: Option<u32>,
    /// Cancel this request: whoever still pays it is declined. What has paid it is not undone
    #[arg(long, value_name = "ID")]
    #[arg(conflicts_with_all = ["memo", "expires", "once", "wait", "qr", "png"])]
    pub(crate) cancel: Option<RequestId>,
    /// A word to the payer, at most 140 bytes
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    pub(crate) memo: Option<Memo>,
    /// How long it can be paid, such as 30m, 1h or 7d; at most 366d
    #[arg(long, value_name = "DURATION", value_parser = value::life, default_value = "1h")]
    pub(crate) expires: Duration,
    /// Have it paid once in all, whoever pays: only while this home listens
    #[arg(long)]
    pub(crate) once: bool,
    /// Listen, and wait until it is paid
    #[arg(long)]
    pub(crate) wait: bool,
    /// Draw the QR code on stderr also if that is no terminal
    #[arg(long)]
    pub(crate) qr: bool,
    /// Save the QR code as a picture in this new file
    #[arg(long, value_name = "FILE", value_parser = value::path)]
    pub(crate) png: Option<PathBuf>,
}

/// `quid refund`
#[derive(Clone, Debug, Args)]
pub(crate) struct Refund {
    /// The entry of the payment, as `listen` or `history` shows it
    #[arg(value_parser = value::entry)]
    pub(crate) entry: u64,
    /// A word to who is paid back, at most 140 bytes
    #[arg(long, value_name = "TEXT", value_parser = memo, default_value = "refund")]
    pub(crate) memo: Memo,
    /// How long to wait for the outcome before it is called unknown
    #[arg(long, value_name = "SECONDS", value_parser = value::wait, default_value = "10")]
    pub(crate) wait: Duration,
}

/// `quid listen` and `quid shell`
#[derive(Clone, Debug, Args)]
pub(crate) struct Listen {
    /// Receive, but be neither in `who` nor found by payers
    #[arg(long)]
    pub(crate) hidden: bool,
    /// The UDP address to listen on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0")]
    pub(crate) bind: SocketAddr,
    /// The most of each tab that is lost if this program is killed [default: a hundredth of it]
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) exposure: Option<AmountText>,
    /// How long what tabs have paid may wait to be claimed
    #[arg(long, value_name = "SECONDS", value_parser = value::claim_every, default_value = "10")]
    pub(crate) claim_every: Duration,
}

/// `quid wallet`
#[derive(Clone, Debug, Args)]
pub(crate) struct Wallet {
    /// Where the page is served, on this machine only [default: a free port]
    #[arg(long, value_name = "127.0.0.1:PORT", value_parser = value::loopback)]
    #[arg(default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) listen: SocketAddr,
    /// Print the link and open no browser
    #[arg(long)]
    pub(crate) no_open: bool,
    #[command(flatten)]
    pub(crate) node: Listen,
}

/// `quid tab`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Tab {
    /// Open a tab: N units are held for NAME until it ends
    #[command(after_help = examples::TAB_OPEN)]
    Open(OpenTab),
    /// List open tabs: those that this home pays on, then those that pay it
    List,
    /// Pay on a tab and wait until the payee has the payment; needs no directory
    Pay {
        /// The tab, as `tab open` or `tab list` shows it
        #[arg(value_name = "ID")]
        tab: OrderId,
        /// How many units
        #[arg(value_parser = value::units, allow_negative_numbers = true)]
        units: u32,
        /// How long to wait for the payee before the outcome is called unknown
        #[arg(long, value_name = "SECONDS", value_parser = value::wait, default_value = "10")]
        wait: Duration,
    },
    /// End a tab: the payee keeps what was paid, the rest comes back
    Close {
        /// The tab, as `tab open` or `tab list` shows it
        #[arg(value_name = "ID")]
        tab: OrderId,
    },
}

/// `quid tab open`
#[derive(Clone, Debug, Args)]
pub(crate) struct OpenTab {
    /// Who is paid
    pub(crate) name: Name,
    /// What one unit is worth, such as 0.000001
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    pub(crate) unit: AmountText,
    /// How many units the tab can pay, at most 1048576
    #[arg(long, value_name = "N", value_parser = value::units, allow_negative_numbers = true)]
    pub(crate) units: u32,
    /// How long it can be paid on, such as 90s, 30m or 24h, which is the most
    #[arg(long, value_name = "DURATION", value_parser = value::expires, default_value = "1h")]
    pub(crate) expires: Duration,
    /// How long after its end the payee can still claim, at most 1h
    #[arg(long, value_name = "DURATION", value_parser = value::grace, default_value = "1m")]
    pub(crate) grace: Duration,
    /// A word to the payee, at most 140 bytes
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    pub(crate) memo: Option<Memo>,
    /// The reference that the payee asked to be repeated: 32 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) reference: Option<Reference>,
    /// How long to wait for the directory before the outcome is called unknown
    #[arg(long, value_name = "SECONDS", value_parser = value::wait, default_value = "10")]
    pub(crate) wait: Duration,
}

/// `quid history`
#[derive(Clone, Debug, Args)]
pub(crate) struct History {
    /// Most lines
    #[arg(long, value_name = "N", value_parser = value::limit, default_value = "50")]
    pub(crate) limit: usize,
    /// Only what came after this entry
    #[arg(long, value_name = "ENTRY", value_parser = value::entry)]
    pub(crate) after: Option<u64>,
}

/// `quid receipt`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Receipt {
    /// Show the receipt of an entry or order, and perhaps save it
    Show {
        /// An entry's number or an order's id
        id: ReceiptName,
        /// Save the receipt in this new file
        #[arg(long, value_name = "FILE", value_parser = value::path)]
        out: Option<PathBuf>,
    },
    /// Say whether a receipt is good; needs no network
    Verify {
        /// A receipt's file, or the number or order id of one that this home holds. Also the file
        /// of a proof that the directory has signed two histories
        file_or_id: FileOrId,
        /// Judge by this directory's key, or address, instead of a home's
        #[arg(long, value_name = "KEY")]
        directory: Option<DirectoryKey>,
    },
}

fn memo(text: &str) -> Result<Memo, quid_common::order::MemoTooLong> {
    Memo::new(text)
}

/// Heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

const EXIT_CODES: &str = "\
Exit codes: 0 done, 2 an argument is wrong, 3 refused, 4 unknown whether it happened, 5 not
verified, 6 directory unreachable, 7 local files or a lock, 1 anything else.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_table_for_scripts_has_a_row_for_every_command_and_no_other() {
        let table = include_str!("../../docs/scripts.md");
        let rows = table.lines().filter(|line| line.starts_with("| `quid"));
        let mut documented: Vec<&str> = rows
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter(|command| command.starts_with("quid "))
            .map(|command| command.split(':').next().unwrap_or(command))
            .collect();
        documented.sort_unstable();
        documented.dedup();
        let mut commands = Vec::new();
        let mut rest = vec![("quid".to_owned(), Cli::command())];
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
