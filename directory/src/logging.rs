//! The directory's log: on stderr, for people or as JSON.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_from_env("QUID_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
