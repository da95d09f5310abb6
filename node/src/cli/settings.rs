//! What flags leave open: a `QUID_` variable says it, else the home's config file, else the default.
//!
//! What is said so becomes the default of the flag, so that every value is read by the one parser
//! that the flag has, and help shows what is in force.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};
use quid_common::printable::Printable;
use toml_edit::{DocumentMut, Item, Value};

use super::Cli;
use super::exit::Exit;
use super::failure::{Report, quoted};
use super::likeness::nearest;
use super::screen::{NARROW, columns};
use super::usage::wrong_value;

/// Something that can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Its name in the file; in capitals and behind `QUID_`, that of its variable.
    pub(crate) key: &'static str,
    /// The commands whose flag it is; `""` is every command.
    commands: &'static [&'static str],
    /// A command line that lacks only the flag, to try a value on; empty for what is on or off.
    probe: &'static [&'static str],
    /// Whether the file may hold it.
    in_file: bool,
}

/// All there is, in the order in which it is listed.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("directory", &["init"], &["init"]).only_variable(),
    setting("json", EVERY, &[]).only_variable(),
    setting("quiet", EVERY, &[]),
    setting("color", EVERY, &["status"]),
    setting("log_format", EVERY, &["status"]),
    setting("passphrase_file", EVERY, &["status"]),
    setting(
        "wait",
        &["pay", "tab open", "tab pay"],
        &["pay", "xyz", "1"],
    ),
    setting("limit", &["history"], &["history"]),
    setting("expires", &["tab open"], TAB_OPEN),
    setting("grace", &["tab open"], TAB_OPEN),
    setting("bind", &["listen", "shell"], &["listen"]),
    setting("hidden", &["listen", "shell"], &[]),
    setting("exposure", &["listen", "shell"], &["listen"]),
    setting("claim_every", &["listen", "shell"], &["listen"]),
];

const EVERY: &[&str] = &[""];
const TAB_OPEN: &[&str] = &["tab", "open", "xyz", "--unit=1", "--units=1"];

const fn setting(
    key: &'static str,
    commands: &'static [&'static str],
    probe: &'static [&'static str],
) -> Setting {
    Setting {
        key,
        commands,
        probe,
        in_file: true,
    }
}

impl Setting {
    const fn only_variable(mut self) -> Self {
        self.in_file = false;
        self
    }

    /// Whether the file may hold it.
    pub(crate) const fn is_in_file(&self) -> bool {
        self.in_file
    }

    /// The name of its variable.
    pub(crate) fn variable(&self) -> String {
        format!("QUID_{}", self.key.to_uppercase())
    }

    /// The flag that it is the default of.
    fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    const fn is_switch(&self) -> bool {
        self.probe.is_empty()
    }

    /// Its flag's description, and the default if there is one.
    pub(crate) fn described(&self) -> (String, Option<String>) {
        let tree = Cli::command();
        let argument = self.commands.iter().find_map(|path| {
            let command = below(&tree, path)?;
            command.get_arguments().find(|it| it.get_id() == self.key)
        });
        let Some(argument) = argument else {
            return (String::new(), None);
        };
        let help = argument.get_help().map(ToString::to_string);
        let default = argument.get_default_values().first();
        let default = default.map(|value| value.to_string_lossy().into_owned());
        (
            help.unwrap_or_default(),
            default.or_else(|| self.is_switch().then(|| "false".to_owned())),
        )
    }

    /// The commands that take it, for people.
    pub(crate) fn taken_by(&self) -> String {
        match self.commands {
            [""] => "every command".to_owned(),
            commands => commands.join(", "),
        }
    }

    /// Why `value` cannot be used; `None` if it can.
    pub(crate) fn trouble_with(&self, value: &str) -> Option<String> {
        if self.is_switch() {
            let usable = matches!(value, "true" | "false");
            return (!usable).then(|| format!("{}: write true or false", quoted(value)));
        }
        let flag = format!("{}={value}", self.flag());
        let line = ["quid"].into_iter().chain(self.probe.iter().copied());
        wrong_value(line.map(ToOwned::to_owned).chain([flag]).collect())
    }
}

/// Finds the setting that is called `key`.
///
/// # Errors
/// There is none: one line that names the nearest.
pub(crate) fn find(key: &str) -> Result<&'static Setting, String> {
    let known = SETTINGS.iter().find(|setting| setting.key == key);
    known.ok_or_else(|| {
        let meant = match nearest(key, SETTINGS.iter().map(|setting| setting.key)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "`quid config list` shows what there is".to_owned(),
        };
        format!("there is no setting {}: {meant}", quoted(key))
    })
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A `QUID_` variable.
    Variable,
    /// The home's config file.
    File,
}

/// The values that are set, each with where it comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: Vec<(&'static Setting, String, Source)>,
}

impl Settings {
    /// Reads variables, and the config file of the home at `home`.
    ///
    /// # Errors
    /// A value that cannot be used, or a file that cannot be read: what is said about it.
    pub(crate) fn read(home: Option<&Path>) -> Result<Self, Box<Report>> {
        match Self::read_usable(home)? {
            (settings, None) => Ok(settings),
            (_, Some(report)) => Err(report),
        }
    }

    /// Reads what can be used of variables and file, and tells of the first thing in the file that
    /// cannot.
    ///
    /// # Errors
    /// A variable that cannot be used, or a file that cannot be read at all.
    pub(crate) fn read_usable(
        home: Option<&Path>,
    ) -> Result<(Self, Option<Box<Report>>), Box<Report>> {
        let mut values = Vec::new();
        let (in_file, wrong) = match home {
            Some(home) => read_file(&file(home))?,
            None => (Vec::new(), None),
        };
        for setting in SETTINGS {
            let from_file = in_file.iter().find(|(key, _)| *key == setting.key);
            if let Some(value) = of_variable(setting)? {
                values.push((setting, value, Source::Variable));
            } else if let Some((_, value)) = from_file {
                values.push((setting, value.clone(), Source::File));
            }
        }
        Ok((Self { values }, wrong))
    }

    /// The value that is set for `key`, and where.
    pub(crate) fn get(&self, key: &str) -> Option<(&str, Source)> {
        let found = self.values.iter().find(|(known, ..)| known.key == key);
        found.map(|(_, value, source)| (value.as_str(), *source))
    }

    /// The tree of commands, with what is set as defaults.
    pub(crate) fn tree(&self) -> Command {
        let mut tree = Cli::command().next_line_help(columns() < NARROW);
        for (setting, value, _) in &self.values {
            for path in setting.commands {
                let words: Vec<&str> = path.split_whitespace().collect();
                tree = with_default(tree, &words, setting.key, value);
            }
        }
        tree
    }
}

/// The config file of a home.
pub(crate) fn file(home: &Path) -> PathBuf {
    home.join("config.toml")
}

fn with_default(command: Command, path: &[&str], key: &'static str, value: &str) -> Command {
    let value = value.to_owned();
    match path.split_first() {
        None => command.mut_arg(key, |argument: Arg| argument.default_value(value)),
        Some((first, rest)) => {
            command.mut_subcommand(*first, |command| with_default(command, rest, key, &value))
        }
    }
}

fn below<'c>(tree: &'c Command, path: &str) -> Option<&'c Command> {
    path.split_whitespace()
        .try_fold(tree, |command, word| command.find_subcommand(word))
}

/// The value of the setting's variable; one that is empty says nothing.
fn of_variable(setting: &Setting) -> Result<Option<String>, Box<Report>> {
    let variable = setting.variable();
    let usage = |why: &str| {
        let message = format!("{variable}: {why}");
        Box::new(Report::new(Exit::Usage, "usage", message))
    };
    let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = text(setting, &value).ok_or_else(|| usage("it is not UTF-8 text"))?;
    match setting.trouble_with(&value) {
        Some(why) => Err(usage(&why)),
        None => Ok(Some(value)),
    }
}

/// What a variable says; for a switch also in the other usual words.
fn text(setting: &Setting, value: &OsStr) -> Option<String> {
    let value = value.to_str()?;
    let plain = match value {
        "1" | "yes" | "on" if setting.is_switch() => "true",
        "0" | "no" | "off" if setting.is_switch() => "false",
        value => value,
    };
    Some(plain.to_owned())
}

/// The values in a config file that can be used, none if there is no such file; and what is said
/// about the first that cannot.
fn read_file(path: &Path) -> Result<InFile, Box<Report>> {
    let document = document(path)?;
    let (mut values, mut first) = (Vec::new(), None);
    for (key, item) in document.iter() {
        match read_value(key, item) {
            Ok(value) => values.push(value),
            Err(why) => {
                first.get_or_insert_with(|| wrong(path, &why));
            }
        }
    }
    Ok((values, first))
}

type InFile = (Vec<(&'static str, String)>, Option<Box<Report>>);

/// A value of a config file, or what is wrong with it and the command that mends it.
fn read_value(key: &str, item: &Item) -> Result<(&'static str, String), String> {
    let remove = removal(key);
    let setting = find(key).map_err(|why| format!("{why}; {remove}"))?;
    if !setting.in_file {
        return Err(format!(
            "{key} is no setting of a file: use {} or {}; {remove}",
            setting.variable(),
            setting.flag()
        ));
    }
    let mend = format!("mend it with `quid config set {key} VALUE`, or {remove}");
    let value = value(item).ok_or_else(|| {
        let written = item.to_string();
        format!(
            "{key}: {}: write a text in quotes, a whole number, true or false; {mend}",
            quoted(written.trim())
        )
    })?;
    match setting.trouble_with(&value) {
        Some(why) if why.contains(&quoted(&value)) => Err(format!("{key}: {why}; {mend}")),
        Some(why) => Err(format!("{key}: {}: {why}; {mend}", quoted(&value))),
        None => Ok((setting.key, value)),
    }
}

/// How a key is taken out of the file.
fn removal(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !key.is_empty() && key.chars().all(plain) {
        format!("take it out with `quid config unset {key}`")
    } else {
        "take it out of the file".to_owned()
    }
}

/// The file as it is written, comments and all; empty if there is none.
pub(crate) fn document(path: &Path) -> Result<DocumentMut, Box<Report>> {
    let failed = |error: &std::io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        Box::new(Report::new(Exit::Files, FILE, message))
    };
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            let read = file.take(FILE_LEN_MAX + 1).read_to_string(&mut text);
            read.map_err(|error| failed(&error))?;
        }
        // What is no folder holds no file either: the command itself says what is wrong with it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => return Err(failed(&error)),
    }
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(wrong(path, "it is far too long"));
    }
    text.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        let why = error.message().lines().next().unwrap_or_default();
        wrong(
            path,
            &format!(
                "line {line}: {}; correct that line in the file, or remove it",
                Printable(why)
            ),
        )
    })
}

fn wrong(path: &Path, why: &str) -> Box<Report> {
    let message = format!("{}: {why}", path.display());
    Box::new(Report::new(Exit::Files, FILE, message))
}

fn value(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(truth) => Some(truth.value().to_string()),
        _ => None,
    }
}

/// What scripts are told if a config file cannot be used.
pub(crate) const FILE: &str = "config";

/// Longest config file that is read, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_a_flag_of_the_commands_that_take_it() {
        let tree = Cli::command();
        for setting in SETTINGS {
            for path in setting.commands {
                let command = below(&tree, path).expect("a command");
                let argument = command
                    .get_arguments()
                    .find(|argument| argument.get_id() == setting.key);
                let argument = argument.unwrap_or_else(|| panic!("{path:?} {}", setting.key));
                assert_eq!(
                    argument.get_long(),
                    setting.flag().strip_prefix("--"),
                    "{path:?}"
                );
            }
            let (help, default) = setting.described();
            assert!(!help.is_empty(), "{}", setting.key);
            if let Some(default) = default {
                assert_eq!(setting.trouble_with(&default), None, "{}", setting.key);
            }
        }
    }

    #[test]
    fn what_is_set_is_the_default_and_a_flag_beats_it() {
        let (wait, hidden) = (find("wait").expect("there"), find("hidden").expect("there"));
        let settings = Settings {
            values: vec![
                (wait, "33".to_owned(), Source::File),
                (hidden, "true".to_owned(), Source::Variable),
            ],
        };
        let seconds = |words: &[&str]| {
            let matches = settings.tree().try_get_matches_from(words).expect("sound");
            let (_, matches) = matches.subcommand().expect("a command");
            let wait = matches.get_one::<std::time::Duration>("wait");
            wait.expect("a default").as_secs()
        };
        assert_eq!(seconds(&["quid", "pay", "bob", "1"]), 33);
        assert_eq!(seconds(&["quid", "pay", "bob", "1", "--wait", "5"]), 5);
        let listen = settings.tree().try_get_matches_from(["quid", "listen"]);
        let listen = listen.expect("sound");
        let (_, listen) = listen.subcommand().expect("a command");
        assert!(listen.get_flag("hidden"));
    }

    #[test]
    fn values_that_no_flag_takes_are_named() {
        for (key, value, why) in [
            ("wait", "0", "'0': write whole seconds"),
            ("limit", "many", "'many': write a whole number"),
            ("hidden", "maybe", "'maybe': write true or false"),
            ("color", "pink", "'pink': write one of auto, always, never"),
            ("bind", "here", "write an IP address and port"),
            ("grace", "1d", "write a number with s, m or h"),
            ("exposure", "1e3", "1e3"),
            ("wait", "-1", "'-1': write whole seconds"),
            ("directory", "quid://x", "quid://"),
        ] {
            let said = find(key).expect("there").trouble_with(value);
            let said = said.unwrap_or_else(|| panic!("{key} takes {value}"));
            assert!(said.contains(why), "{said}");
            assert!(!said.contains("--"), "{said}");
        }
        let said = find("wiat").expect_err("there is none");
        assert!(said.ends_with("did you mean wait?"), "{said}");
    }
}
