//! A program to run, what it wrote, and how it ended, traced or not.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Failure;
use crate::trace::{Ended, Rule, Traced};

/// A program with its arguments; what it writes goes to the ends of two files.
#[derive(Debug)]
pub(crate) struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
    /// Where its results go; its log goes beside them.
    out: PathBuf,
}

impl Program {
    /// `name`, one of Quid's own programs.
    pub(crate) fn new(name: &str, out: PathBuf) -> Result<Self, Failure> {
        Ok(Self {
            file: beside(name)?,
            arguments: Vec::new(),
            out,
        })
    }

    pub(crate) fn with<S: Into<OsString>>(mut self, more: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// Starts it; traced if there is a rule.
    pub(crate) fn start(&self, rule: Option<Rule>) -> Result<Running, Failure> {
        let append = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let mut command = match rule {
            None => Command::new(&self.file),
            Some(_) => {
                let mut launcher = Command::new(std::env::current_exe()?);
                launcher.arg(LAUNCH).arg(&self.file);
                launcher
            }
        };
        let out = append(&self.out)?;
        let begun_at = out.metadata()?.len();
        command
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(append(&self.out.with_extension("log"))?);
        let process = match rule {
            None => Process::Plain(command.spawn()?),
            Some(rule) => Process::Traced(Traced::start(command, rule)?),
        };
        Ok(Running {
            process,
            out: self.out.clone(),
            begun_at,
            name: format!("{:?}", self.arguments),
        })
    }
}

/// What the launcher of a traced program is called as a command.
pub(crate) const LAUNCH: &str = "launch";

/// Becomes the program in `words`, to be traced by whoever started this one. Returns only if that
/// fails.
pub(crate) fn launch(words: &[OsString]) -> Failure {
    let Some((program, arguments)) = words.split_first() else {
        return "no program to launch".into();
    };
    match ptrace::traceme() {
        Ok(()) => Command::new(program).args(arguments).exec().into(),
        Err(error) => error.into(),
    }
}

/// A program that was started; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    out: PathBuf,
    begun_at: u64,
    name: String,
}

#[derive(Debug)]
enum Process {
    Plain(Child),
    Traced(Traced),
}

impl Running {
    /// The tracer's side of it.
    pub(crate) fn traced(&self) -> Option<&Traced> {
        match &self.process {
            Process::Plain(_) => None,
            Process::Traced(traced) => Some(traced),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<Ended>, Failure> {
        match &mut self.process {
            Process::Traced(traced) => Ok(traced.ended()),
            Process::Plain(child) => Ok(child.try_wait()?.map(|status| {
                let signal = status.signal().and_then(|it| Signal::try_from(it).ok());
                match (status.code(), signal) {
                    (Some(code), _) => Ended::Code(code),
                    (None, signal) => Ended::Signal(signal.unwrap_or(Signal::SIGKILL)),
                }
            })),
        }
    }

    /// Kills it, if it runs, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        match &mut self.process {
            Process::Traced(traced) => traced.kill(),
            Process::Plain(child) => {
                // It may have ended by itself.
                let _ = child.kill();
                child.wait()?;
            }
        }
        Ok(())
    }

    /// Waits for its end; then what it wrote.
    pub(crate) fn finish(&mut self, patience: Duration) -> Result<Said, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(ended) = self.ended()? {
                return Ok(Said {
                    ended,
                    lines: self.lines()?,
                });
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not end within {patience:?}", self.name).into());
            }
            sleep(GLANCE);
        }
    }

    /// Whole lines of JSON that this run has written so far; of text, as strings.
    pub(crate) fn lines(&self) -> Result<Vec<Value>, Failure> {
        let mut file = File::open(&self.out)?;
        file.seek(SeekFrom::Start(self.begun_at))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A killed program may have got a part of a line out.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let lines = text[..whole].lines();
        lines
            .map(|line| match line.starts_with('{') {
                true => serde_json::from_str(line)
                    .map_err(|error| format!("no whole line of JSON: {line}: {error}").into()),
                false => Ok(Value::String(line.to_owned())),
            })
            .collect()
    }

    /// Waits for a line that is wanted. `None` if the program ends before.
    pub(crate) fn line(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            // Whether it has ended is asked first, so that its last line is read.
            let ended = self.ended()?.is_some();
            if let Some(line) = self.lines()?.into_iter().find(&wanted) {
                return Ok(Some(line));
            }
            if ended {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(format!("{} is not ready within {patience:?}", self.name).into());
            }
            sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// What a program said until its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ended: Ended,
    pub(crate) lines: Vec<Value>,
}

impl Said {
    /// The last line: the result, if it got so far.
    pub(crate) fn last(&self) -> &Value {
        self.lines.last().unwrap_or(&Value::Null)
    }

    /// The result of a program that must have succeeded.
    pub(crate) fn done(&self) -> Result<&Value, Failure> {
        match self.ended {
            Ended::Code(0) => Ok(self.last()),
            ended => Err(format!("{ended:?}: {}", self.last()).into()),
        }
    }
}

/// Waits until something holds; else says why it did not.
pub(crate) fn by<T>(
    deadline: Instant,
    mut what: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        match what() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(GLANCE),
        }
    }
}

/// A program built beside this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let file = std::env::current_exe()?.with_file_name(name);
    match fs::metadata(&file) {
        Ok(_) => Ok(file),
        Err(error) => Err(format!(
            "{}: {error}; run `cargo build --workspace --bins` first",
            file.display()
        )
        .into()),
    }
}

/// How often something is looked at that comes soon.
const GLANCE: Duration = Duration::from_millis(4);
