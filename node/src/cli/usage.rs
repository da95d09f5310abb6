//! From arguments to a command, or to one line about what is wrong with them.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser};
use quid_common::printable::{Printable, printable_bytes};

use super::Cli;
use super::failure::quoted;
use super::likeness::nearest;
use super::settings::Settings;

/// Why there is no command to run.
#[derive(Debug)]
pub(crate) enum NoCommand {
    /// Help or version was asked for: this text, for stdout.
    Asked(String),
    /// The arguments are wrong: one line that says what, why and what to do.
    Wrong(String),
}

/// The arguments as text, program name first.
pub(crate) fn arguments(arguments: Vec<OsString>) -> Result<Vec<String>, NoCommand> {
    let arguments = texts(arguments)?;
    once_each(&arguments)?;
    Ok(arguments)
}

/// Reads a whole command line, program name first. What it leaves open is as `settings` say.
pub(crate) fn parse(arguments: &[String], settings: &Settings) -> Result<Cli, NoCommand> {
    settings
        .tree()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| said(&error))
}

/// Reads a line of the shell, already split into words.
pub(crate) fn parse_words(words: Vec<String>, settings: &Settings) -> Result<Cli, NoCommand> {
    let arguments: Vec<String> = ["quid".to_owned()].into_iter().chain(words).collect();
    once_each(&arguments)?;
    parse(&arguments, settings)
}

/// What is wrong with the value of a flag in an otherwise sound command line; `None` if nothing is.
pub(crate) fn wrong_value(arguments: Vec<String>) -> Option<String> {
    let error = Cli::try_parse_from(arguments).err()?;
    let label = label(&context(&error, ContextKind::InvalidArg));
    let said = wrong(&error);
    let value = said.strip_prefix(&label).map(str::trim_start);
    Some(value.unwrap_or(&said).to_owned())
}

/// Whether JSON is wanted, of arguments that may not parse.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let variable = std::env::var_os("QUID_JSON");
    variable.is_some_and(|value| value == "1" || value == "true")
        || arguments
            .iter()
            .take_while(|argument| *argument != "--")
            .any(|argument| argument == "--json")
}

fn texts(arguments: Vec<OsString>) -> Result<Vec<String>, NoCommand> {
    let mut texts = Vec::with_capacity(arguments.len());
    for (place, argument) in arguments.into_iter().enumerate() {
        match argument.into_string() {
            Ok(text) => texts.push(text),
            // The program's own name may be anything.
            Err(_) if place == 0 => texts.push("quid".to_owned()),
            Err(bytes) => {
                let shown = printable_bytes(bytes.as_encoded_bytes());
                // Its escapes are ASCII already, so only the length is left to bound.
                let shown: String = shown.chars().take(60).collect();
                return Err(NoCommand::Wrong(format!(
                    "argument {place} is not UTF-8 text: '{shown}'"
                )));
            }
        }
    }
    Ok(texts)
}

/// Refuses a global flag that stands both before and after the command, which clap lets pass.
fn once_each(arguments: &[String]) -> Result<(), NoCommand> {
    for flag in ["--home", "--json", "--log-format", "--quiet", "--color"] {
        let count = arguments
            .iter()
            .take_while(|argument| *argument != "--")
            .filter(|argument| {
                argument
                    .strip_prefix(flag)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
            .count();
        if count > 1 {
            return Err(NoCommand::Wrong(twice(flag)));
        }
    }
    Ok(())
}

fn twice(flag: &str) -> String {
    format!("{flag} is given more than once: give it once")
}

fn said(error: &Error) -> NoCommand {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NoCommand::Asked(error.to_string()),
        _ => NoCommand::Wrong(wrong(error)),
    }
}

/// One line for clap's paragraph.
fn wrong(error: &Error) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    let label = label(&argument);
    match error.kind() {
        ErrorKind::ValueValidation => {
            let why = match error.source() {
                Some(source) => source.to_string(),
                None => "it cannot be read".to_owned(),
            };
            let hint = match label.as_str() {
                "--bind" => "; write an IP address and port, such as 0.0.0.0:4433",
                _ => "",
            };
            format!("{label} {}: {why}{hint}", quoted(&value))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{label} needs a value; one that begins with '-' is written {label}=VALUE")
        }
        ErrorKind::InvalidValue => {
            let valid = context(error, ContextKind::ValidValue);
            format!("{label} {}: write one of {valid}", quoted(&value))
        }
        ErrorKind::UnknownArgument => unknown(error, &argument),
        ErrorKind::InvalidSubcommand => {
            let command = context(error, ContextKind::InvalidSubcommand);
            let meant = context(error, ContextKind::SuggestedSubcommand);
            let known = commands(error);
            let near = nearest(&command, known.split(", ")).map(ToOwned::to_owned);
            let hint = match near.or((!meant.is_empty()).then_some(meant)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write one of {known}"),
            };
            format!("there is no command {}: {hint}", quoted(&command))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = argument.replace(['<', '>'], "");
            format!(
                "missing: {missing}; `quid {}--help` shows how",
                command(error)
            )
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!(
                "a command is missing: write one of {}; `quid {}--help` explains them",
                commands(error),
                command(error)
            )
        }
        ErrorKind::ArgumentConflict => {
            let other = self::label(&context(error, ContextKind::PriorArg));
            if other.is_empty() || other == label {
                twice(&label)
            } else {
                format!("{label} and {other} exclude each other: give one of them")
            }
        }
        ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::NoEquals => {
            format!("{label} takes another number of values: see `quid --help`")
        }
        _ => Printable(&error.kind().to_string()).to_string(),
    }
}

fn unknown(error: &Error, argument: &str) -> String {
    let meant = context(error, ContextKind::SuggestedArg);
    let command = command(error);
    let what = if argument.starts_with('-') {
        format!("there is no flag {} here", quoted(argument))
    } else {
        format!("{} is one argument too many", quoted(argument))
    };
    if meant.is_empty() {
        format!("{what}: `quid {command}--help` shows what there is")
    } else {
        format!("{what}: did you mean {meant}?")
    }
}

/// The text of one part of a clap error, empty if it has none.
fn context(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

/// `--wait <SECONDS>` as `--wait`, `<AMOUNT>` as `AMOUNT`.
fn label(argument: &str) -> String {
    let first = argument.split_whitespace().next().unwrap_or(argument);
    first.trim_matches(['<', '>', '[', ']', '.']).to_owned()
}

/// The command that the error is about, with a space after it, as the usage line tells it.
fn command(error: &Error) -> String {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return String::new();
    };
    let usage = usage.to_string();
    usage
        .split_whitespace()
        .skip_while(|word| *word != "quid")
        .skip(1)
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .map(|word| format!("{word} "))
        .collect()
}

/// The commands where one is missing or wrong.
fn commands(error: &Error) -> String {
    let tree = Cli::command();
    let here = tree.find_subcommand(command(error).trim_end());
    let names: Vec<&str> = here
        .unwrap_or(&tree)
        .get_subcommands()
        .map(|command| command.get_name())
        .filter(|name| *name != "help")
        .collect();
    names.join(", ")
}
