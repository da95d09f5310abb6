//! The terminal, or whatever stdout and stderr are: one thread owns both, so that results, notes
//! and the progress line never mix, and a reader that stalls never stalls the network.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use rustix::termios::{Winsize, tcgetwinsize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::failure::{Gone, Report};
use super::item::Item;
use super::{Color, Global};

/// Something for people or scripts to see.
#[derive(Debug)]
pub(crate) enum Output {
    /// A result, for stdout.
    Item(Box<Item>),
    /// A remark, for stderr.
    Note(String),
    /// What was asked for, or a question: for stderr, however quiet it is to be.
    Say(String),
    /// What is being waited for, for a terminal's last line; `None` once it is over.
    Progress(Option<String>),
    /// What a terminal shows below everything else, replaced in place.
    Foot(Vec<String>),
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

    /// Passes on what was asked for, or a question.
    pub(crate) async fn say(&self, text: impl Into<String>) -> Result<(), Gone> {
        self.send(Output::Say(text.into())).await
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
    /// Whether a person reads results there too, so that lines may move.
    pub(crate) foot: bool,
    /// Whether remarks are left out.
    pub(crate) quiet: bool,
    /// Whether results are coloured.
    pub(crate) color: bool,
    /// Whether what stands on stderr is.
    pub(crate) color_err: bool,
}

impl Style {
    /// The style for this process's stdout and stderr.
    pub(crate) fn new(global: &Global) -> Self {
        let Global {
            json, quiet, color, ..
        } = *global;
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = |terminal: bool| match color {
            Color::Auto => terminal && able && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let progress = able && err && !quiet;
        Self {
            json,
            progress,
            foot: progress && !json && out,
            quiet,
            color: colored(out) && !json,
            color_err: colored(err),
        }
    }

    /// The stdout line of `output`, if it has one.
    pub(crate) fn result(self, output: &Output) -> Option<String> {
        match output {
            Output::Item(item) if self.json => Some(item.to_json()),
            Output::Item(item) => {
                let text = folded(item.to_string(), self.narrow_out());
                Some(painted(text, item.tone(), self.color))
            }
            Output::Report(report) if self.json => Some(report.to_json()),
            Output::Report(report) => report
                .table()
                .map(|table| folded(table.to_string(), self.narrow_out())),
            Output::Note(_) | Output::Say(_) | Output::Progress(_) | Output::Foot(_) => None,
        }
    }

    /// The stderr line of `output`, if it has one.
    pub(crate) fn remark(self, output: &Output) -> Option<String> {
        match output {
            Output::Note(_) if self.quiet => None,
            Output::Note(text) | Output::Say(text) => Some(folded(text.clone(), self.narrow_err())),
            Output::Report(report) => {
                let text = folded(report.to_string(), self.narrow_err());
                Some(painted(text, report.tone(), self.color_err))
            }
            Output::Item(_) | Output::Progress(_) | Output::Foot(_) => None,
        }
    }
}

impl Style {
    fn narrow_out(self) -> Option<usize> {
        narrow(tcgetwinsize(io::stdout()).ok())
    }

    fn narrow_err(self) -> Option<usize> {
        narrow(tcgetwinsize(io::stderr()).ok())
    }
}

/// How wide the terminal is; 80 where there is none.
pub(crate) fn columns() -> usize {
    tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col).max(COLUMNS_MIN))
}

/// The width of a terminal on which lines are broken between words. On a wide one the few lines that
/// are too long stay whole, and can be copied.
fn narrow(size: Option<Winsize>) -> Option<usize> {
    let columns = usize::from(size?.ws_col);
    (COLUMNS_MIN..NARROW).contains(&columns).then_some(columns)
}

/// `text` broken between words where a line is longer than `columns`.
fn folded(text: String, columns: Option<usize>) -> String {
    match columns {
        Some(columns) => fold(&text, columns),
        None => text,
    }
}

/// `text` broken between words where a line is longer than `columns`; a word is never broken.
pub(crate) fn fold(text: &str, columns: usize) -> String {
    let mut lines = Vec::new();
    for mut line in text.split('\n') {
        while line.chars().count() > columns {
            let indent = line.len() - line.trim_start().len();
            let mut spaces = line
                .char_indices()
                .filter(|(at, c)| *c == ' ' && *at > indent);
            let within = line
                .char_indices()
                .nth(columns)
                .map_or(line.len(), |(at, _)| at);
            let first = spaces.next();
            let last = first
                .into_iter()
                .chain(spaces.take_while(|(at, _)| *at <= within));
            let Some((at, _)) = last.last() else { break };
            let (before, after) = line.split_at(at);
            lines.push(before.trim_end());
            line = after.trim_start();
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// What a line is about, as its colour tells it. Its words always tell it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Done: green.
    Good,
    /// Not known, or not well: yellow.
    Open,
    /// Not done: red.
    Bad,
    /// Nothing of these.
    Plain,
}

/// `line` with its first word in the colour of `tone`.
fn painted(line: String, tone: Tone, color: bool) -> String {
    let code = match tone {
        _ if !color => return line,
        Tone::Good => 32,
        Tone::Open => 33,
        Tone::Bad => 31,
        Tone::Plain => return line,
    };
    let (word, rest) = line.split_at(line.find([' ', '\n']).unwrap_or(line.len()));
    format!("\x1b[{code}m{word}\x1b[m{rest}")
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
    let mut foot = Foot::default();
    // A stderr that cannot be written to is no reason to stop.
    let to_stderr = |text: String| {
        let _ = io::stderr().write_all(text.as_bytes());
    };
    while let Some(output) = outputs.blocking_recv() {
        match output {
            Output::Progress(progress) => {
                if style.progress && foot.progress != progress {
                    foot.progress = progress;
                    to_stderr(foot.redraw());
                }
                continue;
            }
            Output::Foot(lines) => {
                if style.foot {
                    foot.lines = lines;
                    to_stderr(foot.redraw());
                }
                continue;
            }
            Output::Item(_) | Output::Note(_) | Output::Say(_) | Output::Report(_) => {}
        }
        // What was waited for is there; what runs on stands below it again.
        foot.progress = None;
        to_stderr(foot.erase());
        if let Some(line) = style.result(&output) {
            let mut stdout = io::stdout().lock();
            stdout.write_all(format!("{line}\n").as_bytes())?;
            stdout.flush()?;
        }
        if let Some(line) = style.remark(&output) {
            to_stderr(format!("{line}\n"));
        }
        to_stderr(foot.redraw());
    }
    to_stderr(foot.erase());
    Ok(())
}

/// The last lines of a terminal, which are written over in place.
#[derive(Debug, Default)]
struct Foot {
    lines: Vec<String>,
    progress: Option<String>,
    /// How many lines stand there now, the cursor at the beginning of the last.
    drawn: usize,
}

impl Foot {
    /// What takes the lines away.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            drawn => format!("{}\x1b[J", up(drawn)),
        }
    }

    /// What puts the lines there instead of those that were. Each stays on one line of the
    /// terminal however narrow that is.
    fn redraw(&mut self) -> String {
        let mut text = self.erase();
        let lines: Vec<String> = self
            .lines
            .iter()
            .chain(&self.progress)
            .map(|line| format!("\x1b[?7l{line}\x1b[?7h\r"))
            .collect();
        self.drawn = lines.len();
        text.push_str(&lines.join("\n"));
        text
    }
}

/// To the beginning of the first of so many lines, from the last.
fn up(lines: usize) -> String {
    match lines {
        0 | 1 => "\r".to_owned(),
        lines => format!("\r\x1b[{}A", lines - 1),
    }
}

/// Terminals with fewer columns are narrow.
pub(crate) const NARROW: usize = 60;

/// With fewer columns than this nothing is to be read anyway.
const COLUMNS_MIN: usize = 10;

/// How many outputs wait for a slow reader before the command waits too.
const OUTPUTS_MAX: usize = 256;

/// What takes less than this shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foot_is_written_over_in_place_and_leaves_nothing() {
        let mut shown = Shown::default();
        let mut foot = Foot::default();
        shown.write("told\r\n");
        foot.lines = vec![
            "one".to_owned(),
            "two and more".to_owned(),
            "three".to_owned(),
        ];
        shown.write(&foot.redraw());
        assert_eq!(shown.lines, ["told", "one", "two and more", "three"]);
        foot.lines[1] = "2".to_owned();
        shown.write(&foot.redraw());
        assert_eq!(shown.lines, ["told", "one", "2", "three"]);
        // Something is told meanwhile.
        shown.write(&foot.erase());
        shown.write("told again\r\n");
        foot.progress = Some("waiting".to_owned());
        shown.write(&foot.redraw());
        let expected = ["told", "told again", "one", "2", "three", "waiting"];
        assert_eq!(shown.lines, expected);
        foot.lines.truncate(1);
        foot.progress = None;
        shown.write(&foot.redraw());
        assert_eq!(shown.lines, ["told", "told again", "one"]);
        foot.lines.clear();
        shown.write(&foot.redraw());
        assert_eq!(shown.lines, ["told", "told again", ""]);
        shown.write("the end\r\n");
        assert_eq!(shown.lines, ["told", "told again", "the end", ""]);
    }

    #[test]
    fn long_lines_break_between_words_and_long_words_nowhere() {
        for (text, folded) in [
            ("short", "short"),
            ("received 3 QUID from bob", "received 3\nQUID from\nbob"),
            ("0123456789012 a", "0123456789012\na"),
            ("key        0123456789012", "key\n0123456789012"),
            ("  indented line", "  indented\nline"),
            ("exactly te n", "exactly te\nn"),
            ("one\n\ntwo two two", "one\n\ntwo two\ntwo"),
            (
                "\u{e4}\u{f6}\u{fc} \u{e4}\u{f6}\u{fc}\u{df} \u{e4}",
                "\u{e4}\u{f6}\u{fc} \u{e4}\u{f6}\u{fc}\u{df} \u{e4}",
            ),
        ] {
            assert_eq!(fold(text, 10), folded, "{text}");
        }
    }

    /// As much of a terminal as the foot needs; it does not scroll.
    #[derive(Debug, Default)]
    struct Shown {
        lines: Vec<String>,
        row: usize,
        column: usize,
    }

    impl Shown {
        fn write(&mut self, text: &str) {
            let mut rest = text;
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                if self.lines.len() <= self.row {
                    self.lines.resize(self.row + 1, String::new());
                }
                match c {
                    '\r' => self.column = 0,
                    '\n' => {
                        self.row += 1;
                        self.lines
                            .resize(self.lines.len().max(self.row + 1), String::new());
                    }
                    '\x1b' => rest = self.control(rest),
                    c => {
                        let line = &mut self.lines[self.row];
                        if self.column < line.len() {
                            line.remove(self.column);
                        }
                        line.insert(self.column, c);
                        self.column += 1;
                    }
                }
            }
        }

        fn control<'a>(&mut self, rest: &'a str) -> &'a str {
            let end = rest
                .find(|c: char| c.is_ascii_alphabetic())
                .expect("a control sequence ends");
            let count = rest[1..end].parse().unwrap_or(1);
            match &rest[end..=end] {
                "A" => self.row -= count,
                "J" => {
                    self.lines.truncate(self.row + 1);
                    self.lines[self.row].truncate(self.column);
                }
                "K" => self.lines[self.row].truncate(self.column),
                "h" | "l" => {}
                other => panic!("what is {other}?"),
            }
            &rest[end + 1..]
        }
    }
}
