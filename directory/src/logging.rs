//! The directory's log: on stderr, for people or as JSON.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use clap::ValueEnum;
use quid_common::amount::Amount;
use quid_common::id::OrderId;
use quid_common::name::Name;
use quid_common::order::Order;
use quid_common::printable::Printable;
use tracing_subscriber::EnvFilter;

use crate::write_back::{PART, WriteBack};

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging to stderr at `level`, or as `QUID_LOG` says.
pub fn start(format: LogFormat, level: &str) {
    let _ = FORMAT.set(format);
    let filter = EnvFilter::try_from_env("QUID_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written is lost. To say so where it could not be would be a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The lines about a batch of settlements, one for each, made together and written in one go: the
/// log's own machinery costs several times as much, at tens of thousands a second.
#[derive(Debug)]
pub struct AuditLines {
    json: bool,
    time: String,
    lines: String,
}

impl AuditLines {
    /// Lines with the time of now; `None` if the log does not want them.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let format = FORMAT.get()?;
        let wanted = tracing::enabled!(target: "quid_directory::audit", tracing::Level::INFO);
        wanted.then(|| Self {
            json: matches!(format, LogFormat::Json),
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            lines: String::new(),
        })
    }

    /// Adds the line that `order` settled as entry `index`.
    pub fn settled(&mut self, index: u64, order: &Order, payer: &Name, payee: &Name) {
        let (time, id, amount) = (&self.time, order.id, order.amount.units());
        let memo = Printable(order.memo.as_str());
        // Writing to memory cannot fail.
        let _ = if self.json {
            let memo = serde_json::Value::from(memo.to_string());
            writeln!(
                self.lines,
                r#"{{"timestamp":"{time}","level":"INFO","fields":{{"message":"settled","entry":{index},"order":"{id}","payer":"{payer}","payee":"{payee}","amount":{amount},"memo":{memo}}},"target":"quid_directory::audit"}}"#,
            )
        } else {
            writeln!(
                self.lines,
                "{time}  INFO quid_directory::audit: settled entry={index} order={id} \
                 payer={payer} payee={payee} amount={amount} memo={memo}",
            )
        };
    }

    /// Adds the line of what entry `index` did to the tab `id`: `what` it did, whose tab it is, who
    /// may claim, and what moved into the hold, to the payee or back.
    pub fn tab(
        &mut self,
        what: &'static str,
        index: u64,
        id: OrderId,
        (payer, payee): (&Name, &Name),
        amount: Option<Amount>,
    ) {
        let time = &self.time;
        // Writing to memory cannot fail.
        let _ = if self.json {
            let amount = amount.map(|it| format!(r#","amount":{}"#, it.units()));
            writeln!(
                self.lines,
                r#"{{"timestamp":"{time}","level":"INFO","fields":{{"message":"{what}","entry":{index},"tab":"{id}","payer":"{payer}","payee":"{payee}"{}}},"target":"quid_directory::audit"}}"#,
                amount.unwrap_or_default(),
            )
        } else {
            let amount = amount.map(|it| format!(" amount={}", it.units()));
            writeln!(
                self.lines,
                "{time}  INFO quid_directory::audit: {what} entry={index} tab={id} payer={payer} \
                 payee={payee}{}",
                amount.unwrap_or_default(),
            )
        };
    }

    /// Writes them all.
    pub fn write(self) {
        // Like any line of the log that cannot be written: there is nobody to tell.
        let log = std::io::stderr();
        let _ = log.lock().write_all(self.lines.as_bytes());
        let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, write_back) = &mut *written;
        *bytes += self.lines.len() as u64;
        // A terminal, a pipe or a socket has no length, and takes no advice.
        if *bytes >= PART
            && let Ok(file) = rustix::fs::fstat(&log)
        {
            let end = u64::try_from(file.st_size).unwrap_or(0);
            let write_back = write_back.get_or_insert(WriteBack::from(end.saturating_sub(*bytes)));
            *bytes = 0;
            write_back.wrote(&log, end);
        }
    }
}

/// Bytes of such lines since the log was last looked at, and what of it is on its way to the disk, if it
/// is a file.
static WRITTEN: Mutex<(u64, Option<WriteBack>)> = Mutex::new((0, None));

/// How the log was started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();
