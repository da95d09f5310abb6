//! The terminal, or whatever stdout and stderr are: one thread owns both, so that results, notes
//! and the progress line never mix, and a reader that stalls never stalls the network.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::failure::{Gone, Report};
use super::item::Item;

/// Something for people or scripts to see.
#[derive(Debug)]
pub(crate) enum Output {
    /// A result, for stdout.
    Item(Box<Item>),
    /// A remark, for stderr.
    Note(String),
    /// What is being waited for, for a terminal's last line; `None` once it is over.
    Progress(Option<String>),
    /// How it failed: for stderr, and with `--json` for stdout too.
    Report(Box<Report>),
}

/// Where a command's output goes. Clones lead to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Sink(mpsc::Sender<Output>);

impl Sink {
    /// A sink, and where its output arrives.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Output>) {
        let (sender, receiver) = mpsc::channel(OUTPUTS_MAX);
        (Self(sender), receiver)
    }

    /// Passes on a result.
    pub(crate) async fn item(&self, item: impl Into<Item>) -> Result<(), Gone> {
        self.send(Output::Item(Box::new(item.into()))).await
    }

    /// Passes on a remark.
    pub(crate) async fn note(&self, note: impl Into<String>) -> Result<(), Gone> {
        self.send(Output::Note(note.into())).await
    }

    /// Passes on how it failed.
    pub(crate) async fn report(&self, report: Report) -> Result<(), Gone> {
        self.send(Output::Report(Box::new(report))).await
    }

    /// Passes on anything, waiting while the reader is slow.
    pub(crate) async fn send(&self, output: Output) -> Result<(), Gone> {
        self.0.send(output).await.map_err(|_| Gone)
    }

    /// Passes on anything if there is room at once.
    pub(crate) fn try_send(&self, output: Output) {
        // A progress or log line that finds no room is missed by nobody.
        let _ = self.0.try_send(output);
    }

    /// Waits until nobody takes the output any more.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }

    /// Shows `what` and the seconds, from the first full second until the guard is dropped.
    pub(crate) fn progress(&self, what: String) -> Progress {
        let sink = self.clone();
        let task = tokio::spawn(async move {
            let start = Instant::now();
            let mut ticks = interval_at(start + PROGRESS_AFTER, Duration::from_secs(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let line = format!("{what} ... {} s", start.elapsed().as_secs());
                sink.try_send(Output::Progress(Some(line)));
            }
        });
        Progress {
            sink: self.clone(),
            task,
        }
    }
}

/// Ends the progress line when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    sink: Sink,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        self.sink.try_send(Output::Progress(None));
    }
}

/// How output is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// One JSON object per line, instead of lines for people.
    pub(crate) json: bool,
    /// Whether stderr is a terminal that can show progress.
    pub(crate) progress: bool,
}

impl Style {
    /// The style for this process's stdout and stderr.
    pub(crate) fn new(json: bool) -> Self {
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            progress: able && io::stderr().is_terminal(),
        }
    }

    /// The stdout line of `output`, if it has one.
    pub(crate) fn result(self, output: &Output) -> Option<String> {
        match output {
            Output::Item(item) if self.json => Some(item.to_json()),
            Output::Item(item) => Some(item.to_string()),
            Output::Report(report) if self.json => Some(report.to_json()),
            Output::Report(_) | Output::Note(_) | Output::Progress(_) => None,
        }
    }

    /// The stderr line of `output`, if it has one.
    pub(crate) fn remark(output: &Output) -> Option<String> {
        match output {
            Output::Note(note) => Some(note.clone()),
            Output::Report(report) => Some(report.to_string()),
            Output::Item(_) | Output::Progress(_) => None,
        }
    }
}

/// The thread that writes to stdout and stderr.
#[derive(Debug)]
pub(crate) struct Screen(oneshot::Receiver<io::Result<()>>);

impl Screen {
    /// Starts writing what comes into the sink.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(style: Style) -> io::Result<(Self, Sink)> {
        let (sink, outputs) = Sink::channel();
        let (done, finished) = oneshot::channel();
        thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                // Nobody waits for the result when the process is being stopped.
                let _ = done.send(write_all(style, outputs));
            })?;
        Ok((Self(finished), sink))
    }

    /// Waits until everything is written; all sinks must have been dropped. Does not wait for a
    /// reader that stalls longer than `patience`.
    pub(crate) async fn finish(self, patience: Duration) -> io::Result<()> {
        match tokio::time::timeout(patience, self.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::Error::other("the writing thread has ended")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
        }
    }
}

fn write_all(style: Style, mut outputs: mpsc::Receiver<Output>) -> io::Result<()> {
    let mut progress_shown = false;
    while let Some(output) = outputs.blocking_recv() {
        // A stderr that cannot be written to is no reason to stop.
        if let Output::Progress(progress) = &output {
            if style.progress && (progress_shown || progress.is_some()) {
                let line = progress.as_deref().unwrap_or_default();
                let _ = io::stderr().write_all(progress_line(line).as_bytes());
                progress_shown = progress.is_some();
            }
            continue;
        }
        if std::mem::take(&mut progress_shown) {
            let _ = io::stderr().write_all(progress_line("").as_bytes());
        }
        if let Some(line) = style.result(&output) {
            let mut stdout = io::stdout().lock();
            stdout.write_all(format!("{line}\n").as_bytes())?;
            stdout.flush()?;
        }
        if let Some(line) = Style::remark(&output) {
            let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
        }
    }
    Ok(())
}

/// Replaces the terminal's last line, not wrapping however narrow it is.
fn progress_line(text: &str) -> String {
    format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h\r")
}

/// How many outputs wait for a slow reader before the command waits too.
const OUTPUTS_MAX: usize = 256;

/// What takes less than this shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
