//! The log: on stderr, for people or as JSON, quiet unless asked for.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::screen::{Output, Sink};
use super::{Command, Global, LogFormat};

/// Starts the log. `verbose` counts the `-v`, each of which raises `quiet` by a step or more.
pub(crate) fn start(format: LogFormat, quiet: LevelFilter, verbose: u8) -> LogTarget {
    let target = LogTarget::default();
    let level = match verbose {
        0 => quiet,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let mut filter = Targets::new()
        .with_target("quid", level)
        .with_target("quid_node", level)
        .with_target("quid_common", level);
    if verbose > 3 {
        filter = filter.with_default(LevelFilter::DEBUG);
    }
    // A line that cannot be written is lost. To say so where it could not be would be a panic.
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(target.clone())
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    // Only a second start could fail, and there is none.
    let _ = match format {
        LogFormat::Human => registry
            .with(filter)
            .with(layer.with_ansi(false))
            .try_init(),
        LogFormat::Json => registry.with(filter).with(layer.json()).try_init(),
    };
    target
}

/// What a command logs without `-v`. A listener leaves the audit line of each settlement where a
/// log is kept; a person at a terminal reads the events themselves.
pub(crate) fn quiet_level(command: &Command, global: &Global) -> LevelFilter {
    let logs = global.log_format == LogFormat::Json || !io::stderr().is_terminal();
    let kept = logs && !global.quiet;
    match command {
        Command::Listen(_) | Command::Wallet(_) if kept => LevelFilter::INFO,
        _ => LevelFilter::ERROR,
    }
}

/// Where log lines go: to stderr, or into a sink once the shell owns the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTarget(Arc<Mutex<Option<Sink>>>);

impl LogTarget {
    /// Sends log lines into `sink` from now on, or to stderr again.
    pub(crate) fn lead(&self, sink: Option<Sink>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    }
}

impl<'a> MakeWriter<'a> for LogTarget {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogTarget {
    /// Takes one whole log line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let sink = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match sink {
            Some(sink) => {
                let line = String::from_utf8_lossy(line);
                sink.try_send(Output::Say(line.trim_end().to_owned()));
            }
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
