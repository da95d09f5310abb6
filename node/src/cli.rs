//! The command line: its tree of commands, and the way from arguments to an exit code.

pub(crate) mod ask;
pub(crate) mod exit;
pub(crate) mod failure;
mod home;
mod human;
mod init;
pub(crate) mod item;
mod keys;
pub(crate) mod listen;
mod live;
pub(crate) mod log;
mod once;
pub(crate) mod passphrase;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod screen;
pub(crate) mod signals;
pub(crate) mod split;
mod start;
pub(crate) mod tab;
pub(crate) mod usage;
pub(crate) mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quid_common::address::AnyAddress;
use quid_common::id::{OrderId, Reference};
use quid_common::name::Name;
use quid_common::order::Memo;

pub(crate) use start::start;
use value::{AmountText, DirectoryKey, FileOrId, ReceiptName};

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
    /// The home folder: key, journal, receipts [default: $QUID_HOME, else $HOME/.quid]
    #[arg(long, global = true, value_name = "DIR", value_parser = value::path)]
    #[arg(display_order = 100, help_heading = EVERYWHERE)]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long, global = true, display_order = 101, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Read the passphrase of a sealed key from this file, or from /dev/fd/N
    #[arg(long, global = true, value_name = "FILE", value_parser = value::path)]
    #[arg(env = "QUID_PASSPHRASE_FILE", hide_env_values = true)]
    #[arg(display_order = 104, help_heading = EVERYWHERE)]
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
    /// Make a home with a new key, and pin its directory
    Init(Init),
    /// Take a name at the directory
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
    Status,
    /// List who is online
    Who {
        /// Then go on and show who comes and goes
        #[arg(long)]
        watch: bool,
    },
    /// Pay somebody: directly if they are online, else through the directory
    Pay(Pay),
    /// Cancel an order that has not settled
    Void {
        /// The order, as `pay` or `history` shows it
        #[arg(value_name = "ORDER_ID")]
        order: OrderId,
    },
    /// Stay online and receive: one line per event
    Listen(Listen),
    /// Reserve money once, then pay it in units of which each costs one hash
    #[command(subcommand, arg_required_else_help = false, after_help = TAB_EXAMPLE)]
    Tab(Tab),
    /// List payments, newest first; those not settled yet stand on top
    History(History),
    /// Show, save or verify what proves a payment
    #[command(subcommand, arg_required_else_help = false)]
    Receipt(Receipt),
    /// Seal, replace, recover and freeze the account's key
    #[command(subcommand, arg_required_else_help = false)]
    Key(Key),
    /// Type commands, with history and completion, while payments come in
    Shell(Listen),
    /// Stay online, and serve a wallet for the browser on this machine
    Wallet(Wallet),
}

/// `quid init`
#[derive(Clone, Debug, Args)]
pub(crate) struct Init {
    /// quid://KEY@HOST:PORT, as `quid-directory address` prints it. On a terminal the key may be
    /// missing: it is then asked for and shown, to be confirmed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) directory: AnyAddress,
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
    /// Who is paid
    pub(crate) name: Name,
    /// How much, such as 12 or 1.5: digits and a point, never rounded
    #[arg(allow_negative_numbers = true)]
    pub(crate) amount: AmountText,
    /// A word to the payee, at most 140 bytes
    #[arg(long, value_name = "TEXT", value_parser = memo)]
    pub(crate) memo: Option<Memo>,
    /// The reference that the payee asked to be repeated: 32 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) reference: Option<Reference>,
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
    #[command(after_help = TAB_OPEN_EXAMPLE)]
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

const TAB_EXAMPLE: &str = "\
Example: 0.05 is held for bob, 300 units of it are paid, the rest comes back:
  quid tab open bob --unit 0.000001 --units 50000
  quid tab pay 019aab12-3456-7abc-8def-0123456789ab 300
  quid tab close 019aab12-3456-7abc-8def-0123456789ab";

const TAB_OPEN_EXAMPLE: &str = "\
Example: bob can be paid up to 0.05, a millionth at a time, for a day:
  quid tab open bob --unit 0.000001 --units 50000 --expires 24h --memo 'for the stream'";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }
}
