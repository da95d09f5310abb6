//! `quid shell`: the teaching program's menu, made real.
//!
//! One loop asks for a line, carries it out, and asks again. Payments that come in meanwhile
//! appear above the line being typed. The shell listens like `quid listen`, and serves the local
//! socket like it.

mod completion;
mod editor;
mod hint;
mod menu;
mod voice;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use quid_node::{Event, Presence, RequestError, Role, TabItem, TabStage};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cli::ask::Asker;
use crate::cli::doctor::doctor;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Report};
use crate::cli::listen::{Station, options, tell};
use crate::cli::log::LogTarget;
use crate::cli::passphrase;
use crate::cli::screen::{Screen, Sink, Style, columns};
use crate::cli::settings::Settings;
use crate::cli::signals::{Terminate, stop_now};
use crate::cli::split::words;
use crate::cli::usage::{NoCommand, parse_words};
use crate::cli::{Command, Listen, Tab};
use crate::control::Current;
use completion::{Completion, Known, Words, long_name};
use editor::{Lines, Typed};
use voice::Voice;

/// Reads commands until the end of the input, or until it is left or stopped.
///
/// # Errors
/// If the shell cannot start. A command that fails says so and does not end it.
pub(crate) async fn shell(
    path: &Path,
    args: &Listen,
    style: Style,
    settings: &Settings,
    sink: &Sink,
    log: &LogTarget,
) -> Result<(), Failure> {
    let signals = Signals::new().map_err(|error| Failure::other("system", error.to_string()))?;
    let station = Station::open(path, |home| options(home, args, true)).await?;
    let known = Words::default();
    let completion = Completion::new(known.clone(), style.color);
    let (lines, above) = lines(path, style, completion)?;
    let edited = above.is_some();
    let voice = Voice::new(above.unwrap_or_else(|| sink.clone()));
    let (announced, outputs) = Sink::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(voice.clone().announce(outputs));
    tasks.spawn(events(station.follow(), announced.clone(), edited));
    if edited {
        log.lead(Some(announced));
        tasks.spawn(watch_contacts(station.follow(), known.contacts));
        tasks.spawn(watch_people(station.follow(), known.people));
        tasks.spawn(watch_tabs(station.follow(), known.tabs));
    }
    let mut shell = Shell {
        path,
        args,
        style,
        settings,
        edited,
        station,
        voice,
        signals,
        stop: CancellationToken::new(),
    };
    let result = match shell.greet().await {
        Ok(()) => shell.run(lines).await,
        Err(failure) => Err(failure),
    };
    log.lead(None);
    tasks.shutdown().await;
    shell.station.close().await;
    result
}

/// Where lines come from; with the sink above them if they are edited on a terminal. With JSON
/// there is no prompt.
fn lines(
    path: &Path,
    style: Style,
    completion: Completion,
) -> Result<(Lines, Option<Sink>), Failure> {
    let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
    if able && !style.json && io::stdin().is_terminal() && io::stdout().is_terminal() {
        let (lines, above) = editor::edited(path.join(HISTORY_FILE), completion, style)
            .map_err(|error| Failure::other("terminal", error.to_string()))?;
        return Ok((lines, Some(above)));
    }
    let lines = editor::plain().map_err(|error| Failure::other("system", error.to_string()))?;
    Ok((lines, None))
}

struct Shell<'a> {
    path: &'a Path,
    args: &'a Listen,
    style: Style,
    settings: &'a Settings,
    /// Whether lines are edited on a terminal.
    edited: bool,
    station: Station,
    voice: Voice,
    signals: Signals,
    /// Cancelled once the process is to end.
    stop: CancellationToken,
}

impl Shell<'_> {
    /// Logs in, and says how things stand.
    async fn greet(&mut self) -> Result<(), Failure> {
        let (screen, sink) = self.speak(self.style)?;
        if self.edited {
            sink.note(menu::greeting(columns())).await?;
        }
        let progress = sink.progress("logging in".to_owned());
        let Current { node, .. } = self.station.current()?;
        let login = tokio::select! {
            login = node.login() => login,
            () = self.signals.stop() => {
                stop_now(&self.stop);
                return Ok(());
            }
        };
        drop(progress);
        match login {
            Ok(_) => {}
            Err(RequestError::NotRegistered) => {
                sink.note("this home has no account yet: `r NAME` takes a name")
                    .await?;
            }
            Err(error) => sink.note(format!("{error}; still trying")).await?,
        }
        self.fall_silent(screen, sink).await;
        Ok(())
    }

    /// A screen for what is said until the next prompt, announcements among it.
    fn speak(&self, style: Style) -> Result<(Screen, Sink), Failure> {
        let (screen, sink) =
            Screen::start(style).map_err(|error| Failure::other("system", error.to_string()))?;
        self.voice.speak_through(Some(sink.clone()));
        Ok((screen, sink))
    }

    /// Waits until all is shown; whether anybody still reads it.
    async fn fall_silent(&self, screen: Screen, sink: Sink) -> bool {
        self.voice.speak_through(None);
        drop(sink);
        screen.finish(SCREEN_WAIT).await.is_ok()
    }

    async fn run(&mut self, mut lines: Lines) -> Result<(), Failure> {
        while !self.stop.is_cancelled() {
            let prompt = self.prompt();
            if lines.prompts.send(prompt).is_err() {
                return Err(Failure::other("terminal", "the line editor has ended"));
            }
            let typed = tokio::select! {
                typed = lines.typed.recv() => typed,
                error = self.station.failed() => {
                    self.stop_typing(&mut lines).await;
                    return Err(Failure::files(error.to_string()));
                }
                () = self.signals.stop_typing(self.edited) => {
                    stop_now(&self.stop);
                    self.stop_typing(&mut lines).await;
                    return Ok(());
                }
            };
            let line = match typed {
                Some(Typed::Line(line)) => line,
                Some(Typed::Cleared) => continue,
                Some(Typed::End) | None => return Ok(()),
                Some(Typed::Failed(error)) => {
                    return Err(Failure::other("terminal", format!("cannot read: {error}")));
                }
            };
            if self.line(line.trim()).await? == Next::Leave {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives the terminal back while somebody types.
    async fn stop_typing(&self, lines: &mut Lines) {
        if self.edited {
            editor::interrupt();
            let _ = timeout(EDITOR_WAIT, lines.typed.recv()).await;
        }
    }

    /// Carries out one line, and shows everything it says before it returns.
    async fn line(&mut self, line: &str) -> Result<Next, Failure> {
        let asked = match ask(line, self.settings) {
            Ok(asked) => asked,
            Err(NoCommand::Asked(text)) => Asked::Show(text.trim_end().to_owned()),
            Err(NoCommand::Wrong(message)) => {
                Asked::Wrong(Box::new(Report::new(Exit::Usage, "usage", message)))
            }
        };
        let style = match &asked {
            Asked::Nothing => return Ok(Next::Go),
            Asked::Leave => return Ok(Next::Leave),
            Asked::Command { json: true, .. } => Style {
                json: true,
                ..self.style
            },
            _ => self.style,
        };
        let (screen, sink) = self.speak(style)?;
        let result = self.carry_out(asked, &sink).await;
        if let Err(Failure::Told(report)) = result {
            if let Some(item) = &report.item {
                self.voice.note(item);
            }
            let _ = sink.report(*report).await;
        }
        self.voice.release().await;
        // A shell that nobody reads has nothing left to do.
        Ok(if self.fall_silent(screen, sink).await {
            Next::Go
        } else {
            Next::Leave
        })
    }

    async fn carry_out(&mut self, asked: Asked, sink: &Sink) -> Result<(), Failure> {
        match asked {
            Asked::Nothing | Asked::Leave => Ok(()),
            Asked::Show(text) => Ok(sink.say(text).await?),
            Asked::Wrong(report) => Err(Failure::Told(report)),
            Asked::Toggle => {
                let listen = !self.station.is_listening();
                self.toggle(listen, sink).await
            }
            Asked::Command { command, .. } => self.command(command, sink).await,
        }
    }

    async fn command(&mut self, command: Command, sink: &Sink) -> Result<(), Failure> {
        match command {
            Command::Listen(_) => return self.toggle(true, sink).await,
            Command::Doctor => return doctor(self.path, sink, &self.stop).await,
            _ => {}
        }
        let registers = matches!(command, Command::Register { .. });
        let stop = self.stop.child_token();
        let asker = Asker {
            path: self.path,
            stop: &stop,
            node: Some(self.station.current()?),
            // The editor reads what is typed.
            asks: false,
        };
        // A script is told of everything; a person of each end once.
        let tells_an_end = matches!(
            command,
            Command::Pay(_)
                | Command::Refund(_)
                | Command::Void { .. }
                | Command::Tab(Tab::Open(_))
        );
        let work = async {
            if self.style.json || !tells_an_end {
                return asker.execute(command, sink).await;
            }
            let (inner, outputs) = Sink::channel();
            let execute = async {
                let result = asker.execute(command, &inner).await;
                drop(inner);
                result
            };
            let (result, ()) = tokio::join!(execute, self.voice.pass_on(outputs, sink));
            result
        };
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result?,
            signal = self.signals.any() => {
                if signal == Stopping::Terminate {
                    stop_now(&self.stop);
                }
                stop.cancel();
                work.await?;
            }
        }
        if registers {
            self.station.current()?.node.login().await?;
        }
        Ok(())
    }

    /// Goes online to receive, or stops receiving.
    async fn toggle(&self, listen: bool, sink: &Sink) -> Result<(), Failure> {
        if listen && self.station.is_listening() {
            return Ok(sink.note("listening already").await?);
        }
        let _progress = sink.progress("logging in".to_owned());
        let options = options(&passphrase::open(self.path)?, self.args, listen)?;
        self.station.replace(self.path, options).await?;
        if !listen {
            sink.note("not listening: others see you offline; `l` listens again")
                .await?;
        }
        self.station.current()?.node.login().await?;
        Ok(())
    }

    fn prompt(&self) -> String {
        let name = match self.station.current() {
            Ok(Current { node, .. }) => node.home().name(),
            Err(_) => None,
        };
        let name = name.map_or_else(|| "quid".to_owned(), |name| name.to_string());
        if self.station.is_listening() {
            format!("{name}> ")
        } else {
            format!("{name} (off)> ")
        }
    }
}

/// What a line asks for.
#[derive(Debug)]
enum Asked {
    Nothing,
    Leave,
    Toggle,
    Show(String),
    Wrong(Box<Report>),
    Command { command: Command, json: bool },
}

/// What follows a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Leave,
}

/// Reads a line: a menu letter, or a command as outside, with or without `quid` before it.
fn ask(line: &str, settings: &Settings) -> Result<Asked, NoCommand> {
    let mut words = words(line).map_err(|error| NoCommand::Wrong(error.to_string()))?;
    if words.first().is_some_and(|word| word == "quid") {
        words.remove(0);
    }
    let alone = words.len() == 1;
    match words.first_mut() {
        None => return Ok(Asked::Nothing),
        Some(word) if alone => match word.as_str() {
            "x" | "exit" | "quit" | "q" => return Ok(Asked::Leave),
            "?" | "help" | "m" => return Ok(Asked::Show(menu::menu(columns()))),
            "l" => return Ok(Asked::Toggle),
            "t" => words = vec!["tab".to_owned(), "list".to_owned()],
            _ => *word = long_name(word).to_owned(),
        },
        Some(word) if word == "help" => {
            words.remove(0);
            if let Some(first) = words.first_mut() {
                *first = long_name(first).to_owned();
            }
            if let Some(text) = menu::help(&words, columns()) {
                return Ok(Asked::Show(text));
            }
            words.insert(0, "help".to_owned());
        }
        Some(word) => *word = long_name(word).to_owned(),
    }
    let cli = parse_words(words, settings)?;
    if cli.global.home.is_some() {
        return Err(NoCommand::Wrong(
            "--home belongs to the command that starts the shell: leave it out here".to_owned(),
        ));
    }
    Ok(Asked::Command {
        command: cli.command,
        json: cli.global.json,
    })
}

/// Tells the events of whatever node is current.
async fn events(mut current: watch::Receiver<Option<Current>>, sink: Sink, brief: bool) {
    loop {
        let now = current.borrow_and_update().clone();
        let told = async {
            let Some(Current { node, .. }) = now else {
                return Ok(());
            };
            tell(&mut node.events(), &node, &sink, brief).await
        };
        let go_on = async { told.await.is_ok() && current.changed().await.is_ok() };
        if !go_on.await {
            return;
        }
    }
}

/// Keeps the names of whom this home has paid, for completion: they are paid again.
async fn watch_contacts(mut current: watch::Receiver<Option<Current>>, contacts: Known) {
    loop {
        let now = current.borrow_and_update().clone();
        let follow = async {
            let Some(Current { node, .. }) = now else {
                return;
            };
            let mut events = node.events();
            for name in node.home().contacts().await.unwrap_or_default() {
                contacts.add(name.as_str());
            }
            while let Some(event) = events.next().await {
                if let Event::Sent { payee, .. } = event {
                    contacts.add(payee.as_str());
                }
            }
        };
        let changed = tokio::select! {
            () = follow => current.changed().await,
            changed = current.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Keeps the names for completion, asking again whenever the directory was lost.
async fn watch_people(mut current: watch::Receiver<Option<Current>>, people: Known) {
    loop {
        let now = current.borrow_and_update().clone();
        let follow = async {
            if let Some(Current { node, .. }) = now
                && let Ok(mut presence) = node.watch().await
            {
                while let Some(change) = presence.next().await {
                    match change {
                        Presence::Online(person) => people.add(person.name.as_str()),
                        Presence::Offline { name, .. } => people.remove(name.as_str()),
                    }
                }
            }
            sleep(WATCH_PAUSE).await;
        };
        tokio::select! {
            () = follow => {}
            changed = current.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Keeps the tabs to pay on for completion.
async fn watch_tabs(mut current: watch::Receiver<Option<Current>>, tabs: Known) {
    let note = |tab: &TabItem| match (tab.role, tab.stage) {
        (Role::Payee, _) => {}
        (Role::Payer, TabStage::Opening | TabStage::Open) => tabs.add(&tab.tab.to_string()),
        (Role::Payer, TabStage::Ending | TabStage::Over) => tabs.remove(&tab.tab.to_string()),
    };
    loop {
        let now = current.borrow_and_update().clone();
        let follow = async {
            let Some(Current { node, .. }) = now else {
                return;
            };
            let mut events = node.events();
            node.tabs().await.unwrap_or_default().iter().for_each(note);
            while let Some(event) = events.next().await {
                if let Event::Tab(told) = event {
                    note(&told);
                }
            }
        };
        let changed = tokio::select! {
            () = follow => current.changed().await,
            changed = current.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// The signals that the shell takes.
struct Signals {
    interrupt: Signal,
    terminate: Terminate,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    /// Ctrl-C: the command that runs.
    Interrupt,
    /// The shell.
    Terminate,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: Terminate::new()?,
        })
    }

    async fn any(&mut self) -> Stopping {
        tokio::select! {
            _ = self.interrupt.recv() => Stopping::Interrupt,
            () = self.terminate.recv() => Stopping::Terminate,
        }
    }

    async fn stop(&mut self) {
        self.any().await;
    }

    /// Waits for a signal to stop while a line is awaited. An editor takes SIGINT itself.
    async fn stop_typing(&mut self, edited: bool) {
        if edited {
            self.terminate.recv().await;
        } else {
            self.stop().await;
        }
    }
}

/// The shell's history, in the home.
const HISTORY_FILE: &str = "shell_history";

/// How long the editor may take to put the terminal back.
const EDITOR_WAIT: Duration = Duration::from_secs(1);

/// How long a stalled stdout is waited for after a command.
const SCREEN_WAIT: Duration = Duration::from_secs(3_600);

/// Pause before presence is asked for again.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
