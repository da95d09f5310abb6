//! The line editor, on a thread of its own: a prompt comes in, a typed line goes out, and what
//! others have to say appears above the line being typed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc as sync;
use std::thread;

use rustyline::config::{BellStyle, ColorMode, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::history::{FileHistory, History};
use rustyline::{Editor, ExternalPrinter};
use tokio::sync::mpsc;

use super::completion::Completion;
use crate::cli::screen::{Output, Sink, Style};

/// What came of a prompt.
#[derive(Debug)]
pub(super) enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C: the line is thrown away.
    Cleared,
    /// Ctrl-D, or the end of the input.
    End,
    /// The input cannot be read.
    Failed(String),
}

/// A source of lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// Asks for the next line with this prompt.
    pub(super) prompts: sync::SyncSender<String>,
    /// The lines asked for.
    pub(super) typed: mpsc::Receiver<Typed>,
}

/// Lines edited on the terminal, and a sink whose output appears above them.
pub(super) fn edited(
    history: PathBuf,
    completion: Completion,
    style: Style,
) -> Result<(Lines, Sink), ReadlineError> {
    let (above, outputs) = Sink::channel();
    let lines = on_thread("editor", move |prompts, typed| {
        let (mut editor, printer) = match open(&history, completion) {
            Ok(opened) => opened,
            Err(error) => {
                let _ = typed.blocking_send(Typed::Failed(error.to_string()));
                return;
            }
        };
        let printing = thread::Builder::new()
            .name("above".to_owned())
            .spawn(move || print_above(printer, style, outputs));
        if printing.is_err() {
            return;
        }
        while let Ok(prompt) = prompts.recv() {
            if let Some(helper) = editor.helper_mut() {
                helper.stand_behind(&prompt);
            }
            let answer = match editor.readline(&prompt) {
                Ok(line) => {
                    // A history that cannot be kept is no reason to stop.
                    let _ = editor.add_history_entry(&line);
                    let _ = editor.append_history(&history);
                    Typed::Line(line)
                }
                Err(ReadlineError::Interrupted) => Typed::Cleared,
                Err(ReadlineError::Eof) => Typed::End,
                Err(error) => Typed::Failed(error.to_string()),
            };
            if typed.blocking_send(answer).is_err() {
                return;
            }
        }
    })?;
    Ok((lines, above))
}

/// Lines read from an input that is no terminal, without prompts.
pub(super) fn plain() -> io::Result<Lines> {
    on_thread("lines", |prompts, typed| {
        while prompts.recv().is_ok() {
            if typed.blocking_send(next_line()).is_err() {
                return;
            }
        }
    })
}

/// Makes the editor give up the line being typed and put the terminal back as it was.
///
/// It does so on SIGINT only, and this process has no other safe way to signal itself.
pub(super) fn interrupt() {
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -INT \"$PPID\""])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn on_thread(
    name: &str,
    work: impl FnOnce(sync::Receiver<String>, mpsc::Sender<Typed>) + Send + 'static,
) -> io::Result<Lines> {
    let (prompts, asked) = sync::sync_channel(1);
    let (answers, typed) = mpsc::channel(1);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || work(asked, answers))?;
    Ok(Lines { prompts, typed })
}

type Opened = (
    Editor<Completion, FileHistory>,
    Box<dyn ExternalPrinter + Send>,
);

fn open(history: &Path, completion: Completion) -> Result<Opened, ReadlineError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .bell_style(BellStyle::None)
        .color_mode(if completion.is_colored() {
            ColorMode::Forced
        } else {
            ColorMode::Disabled
        })
        .max_history_size(HISTORY_MAX)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(completion));
    let printer = editor.create_external_printer()?;
    // What was typed is nobody else's business. Without a history all else works.
    let made = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(history);
    if made.is_ok() && fs::set_permissions(history, Permissions::from_mode(0o600)).is_ok() {
        let _ = editor.load_history(history);
    }
    if editor.history().is_empty() {
        editor.clear_history()?;
    }
    Ok((editor, Box::new(printer)))
}

fn print_above(
    mut printer: Box<dyn ExternalPrinter + Send>,
    style: Style,
    mut outputs: mpsc::Receiver<Output>,
) {
    while let Some(output) = outputs.blocking_recv() {
        for line in [style.result(&output), style.remark(&output)] {
            if let Some(line) = line
                && printer.print(format!("{line}\n")).is_err()
            {
                return;
            }
        }
    }
}

fn next_line() -> Typed {
    let mut line = Vec::new();
    let read = io::stdin()
        .lock()
        .take(LINE_LEN_MAX)
        .read_until(b'\n', &mut line);
    match read {
        Ok(0) => Typed::End,
        Ok(_) if line.len() as u64 == LINE_LEN_MAX && !line.ends_with(b"\n") => {
            Typed::Failed(format!("a line has more than {LINE_LEN_MAX} bytes"))
        }
        Ok(_) => match String::from_utf8(line) {
            Ok(line) => Typed::Line(line),
            // Shown as far as it is text; it will not parse as a command.
            Err(error) => Typed::Line(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        },
        Err(error) => Typed::Failed(error.to_string()),
    }
}

/// How many lines the history keeps.
const HISTORY_MAX: usize = 1_000;

/// Longest line of commands, in bytes.
const LINE_LEN_MAX: u64 = 64 * 1024;
