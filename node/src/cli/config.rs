//! `quid config`: what is in force, where it comes from, and the home's config file.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use toml_edit::{DocumentMut, Value};

use super::failure::{Failure, Report};
use super::item::{self, SettingSource};
use super::screen::Sink;
use super::settings::{self, SETTINGS, Setting, Settings, Source, document, find};
use super::{Config, Global};

/// Carries out `quid config ...` for the home at `path`.
pub(crate) async fn run(
    path: &Path,
    what: Option<Config>,
    settings: &Settings,
    global: &Global,
    sink: &Sink,
) -> Result<(), Failure> {
    match what.unwrap_or(Config::List) {
        Config::List => {
            for setting in SETTINGS {
                sink.item(in_force(setting, settings, global)).await?;
            }
            let file = settings::file(path);
            let there = if file.exists() {
                ""
            } else {
                ", which is not there"
            };
            sink.note(format!("the file is {}{there}", file.display()))
                .await?;
        }
        Config::Get { key } => {
            let setting = find(&key).map_err(Failure::usage)?;
            sink.item(in_force(setting, settings, global)).await?;
        }
        Config::Set { key, value } => {
            let setting = in_file(&key)?;
            if let Some(why) = setting.trouble_with(&value) {
                return Err(Failure::usage(format!("{key}: {why}")));
            }
            change(path, |text, document| set(text, document, &key, &value))?;
            tell(path, setting, global, sink).await?;
        }
        Config::Unset { key } => {
            // What is no setting of a file can be taken out of one all the same.
            let setting = match in_file(&key) {
                Err(_) if document(&settings::file(path))?.contains_key(&key) => None,
                setting => Some(setting?),
            };
            change(path, |text, document| unset(text, document, &key))?;
            match (setting, find(&key)) {
                (Some(setting), _) | (None, Ok(setting)) => {
                    tell(path, setting, global, sink).await?;
                }
                (None, Err(_)) => {
                    let (_, wrong) = Settings::read_usable(Some(path))?;
                    sink.item(taken_out(&key)).await?;
                    still(wrong, sink).await?;
                }
            }
        }
    }
    Ok(())
}

/// What the file of a new home says: everything there is, and that none of it is set.
pub(crate) fn template() -> String {
    let mut text = "\
# Settings of this home. A flag beats a QUID_ variable, which beats this file, which beats the
# default. `quid config` shows what is in force and where it comes from.
"
    .to_owned();
    for setting in SETTINGS.iter().filter(|setting| setting.is_in_file()) {
        let (help, default) = setting.described();
        let help = help.lines().next().unwrap_or_default();
        let example =
            default.map_or_else(|| "\"...\"".to_owned(), |value| written(&value).to_string());
        text.push_str(&format!(
            "\n# {help} ({})\n#{} = {example}\n",
            setting.taken_by(),
            setting.key
        ));
    }
    text
}

/// Writes the file of a new home, unless there is one.
pub(crate) fn write_template(home: &Path) -> Result<(), Failure> {
    let file = settings::file(home);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut made| made.write_all(template().as_bytes()));
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(unwritten(&file, &error)),
        _ => Ok(()),
    }
}

async fn tell(path: &Path, setting: &Setting, global: &Global, sink: &Sink) -> Result<(), Failure> {
    let (settings, wrong) = Settings::read_usable(Some(path))?;
    let item = in_force(setting, &settings, global);
    if item.source == SettingSource::Environment {
        let beaten = format!("{} is set and beats the file", item.variable);
        sink.note(beaten).await?;
    }
    sink.item(item).await?;
    still(wrong, sink).await
}

/// Says what else in the file has to be mended before other commands can use it.
async fn still(wrong: Option<Box<Report>>, sink: &Sink) -> Result<(), Failure> {
    if let Some(report) = wrong {
        sink.note(format!("not all is mended: {report}")).await?;
    }
    Ok(())
}

/// What was no setting, and stands in the file no more.
fn taken_out(key: &str) -> item::Setting {
    item::Setting {
        key: key.to_owned(),
        value: None,
        source: SettingSource::Default,
        variable: String::new(),
    }
}

fn in_force(setting: &Setting, settings: &Settings, global: &Global) -> item::Setting {
    let set = settings.get(setting.key);
    let flag = match setting.key {
        "json" => global.json.then(|| "true".to_owned()),
        "quiet" => global.quiet.then(|| "true".to_owned()),
        _ => None,
    };
    let (value, source) = match (set, flag) {
        (Some((value, Source::File)), _) => (Some(value.to_owned()), SettingSource::File),
        (Some((value, Source::Variable)), _) => {
            (Some(value.to_owned()), SettingSource::Environment)
        }
        (None, Some(flag)) => (Some(flag), SettingSource::Flag),
        (None, None) => (setting.described().1, SettingSource::Default),
    };
    item::Setting {
        key: setting.key.to_owned(),
        value,
        source,
        variable: setting.variable(),
    }
}

fn in_file(key: &str) -> Result<&'static Setting, Failure> {
    let setting = find(key).map_err(Failure::usage)?;
    if setting.is_in_file() {
        return Ok(setting);
    }
    Err(Failure::usage(format!(
        "{key} is no setting of a file: set {} in the environment",
        setting.variable()
    )))
}

/// A value as TOML: a number or a truth where it reads as one.
fn written(value: &str) -> Value {
    match (value, value.parse::<i64>()) {
        ("true", _) => true.into(),
        ("false", _) => false.into(),
        (_, Ok(number)) if number.to_string() == value => number.into(),
        _ => value.into(),
    }
}

/// The file with `key` set: where it was set before, else where it stands as a comment, else last.
fn set(text: &str, mut document: DocumentMut, key: &str, value: &str) -> String {
    let mut value = written(value);
    if let Some(before) = document.get(key).and_then(toml_edit::Item::as_value) {
        // What stands behind the old value on its line stays there.
        *value.decor_mut() = before.decor().clone();
        if let Some(item) = document.get_mut(key) {
            *item = toml_edit::Item::Value(value);
        }
        return document.to_string();
    }
    // A table by that name, or one that what is added last would end in.
    if document.iter().any(|(_, item)| !item.is_value()) {
        document.remove(key);
        document.insert(key, toml_edit::Item::Value(value));
        return document.to_string();
    }
    let line = format!("{key} = {}", value.to_string().trim());
    let commented = |it: &str| it.strip_prefix('#').is_some_and(|it| sets(it, key));
    if text.lines().any(commented) {
        return mapped(text, |it| {
            if commented(it) {
                line.clone()
            } else {
                it.to_owned()
            }
        });
    }
    mapped(text, ToOwned::to_owned) + &line + "\n"
}

/// The file with `key` as a comment, or without it where it takes more than its own line.
fn unset(text: &str, mut document: DocumentMut, key: &str) -> String {
    let commented = mapped(text, |it| {
        if sets(it, key) {
            format!("#{it}")
        } else {
            it.to_owned()
        }
    });
    let one_less = document.remove(key).is_none_or(|_| {
        let left = commented.parse::<DocumentMut>();
        left.is_ok_and(|left| same(&left, &document))
    });
    if one_less {
        commented
    } else {
        document.to_string()
    }
}

/// Whether two files set the same keys.
fn same(one: &DocumentMut, other: &DocumentMut) -> bool {
    let keys = |document: &DocumentMut| -> Vec<String> {
        document.iter().map(|(key, _)| key.to_owned()).collect()
    };
    keys(one) == keys(other)
}

fn mapped(text: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| change(line) + "\n").collect()
}

/// Whether a line of the file gives `key` a value.
fn sets(line: &str, key: &str) -> bool {
    let rest = line.trim_start().strip_prefix(key);
    rest.is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Changes the file, whole or not at all.
fn change(home: &Path, change: impl FnOnce(&str, DocumentMut) -> String) -> Result<(), Failure> {
    let file = settings::file(home);
    let document = document(&file)?;
    let text = if file.exists() {
        document.to_string()
    } else {
        template()
    };
    let text = change(&text, document);
    let unnamed = file.with_extension(format!("new-{}", std::process::id()));
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unnamed)?;
        made.write_all(text.as_bytes())?;
        made.sync_all()?;
        fs::rename(&unnamed, &file)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&unnamed);
        unwritten(&file, &error)
    })
}

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    Failure::files(format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_new_home_explains_everything_and_sets_nothing() {
        let text = template();
        let document: DocumentMut = text.parse().expect("it is TOML");
        assert!(document.is_empty(), "{text}");
        // Each of its lines is one that may be used.
        let used: String = text
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')))
            .filter(|line| !line.contains("\"...\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let document: DocumentMut = used.parse().expect("it is TOML");
        assert!(document.len() > 5, "{used}");
        for (key, _) in document.iter() {
            assert!(find(key).is_ok(), "{key}");
        }
        assert!(text.lines().all(|line| line.len() <= 130), "{text}");
    }

    #[test]
    fn a_value_is_set_in_its_place_and_comments_stay() {
        let own = "# mine\nwait = 5 # short\n\n#limit = 50\n";
        let parsed = |text: &str| text.parse::<DocumentMut>().expect("TOML");
        let change = |text: &str, key, value| set(text, parsed(text), key, value);
        assert_eq!(
            change(own, "wait", "7"),
            "# mine\nwait = 7 # short\n\n#limit = 50\n"
        );
        assert_eq!(
            change(own, "limit", "9"),
            "# mine\nwait = 5 # short\n\nlimit = 9\n"
        );
        assert_eq!(change("#a", "exposure", "0.5"), "#a\nexposure = \"0.5\"\n");
        assert_eq!(
            unset(own, parsed(own), "wait"),
            "# mine\n#wait = 5 # short\n\n#limit = 50\n"
        );
        assert_eq!(unset(own, parsed(own), "limit"), own);
    }

    #[test]
    fn what_takes_more_than_a_line_is_replaced_and_taken_out_whole() {
        let parsed = |text: &str| text.parse::<DocumentMut>().expect("TOML");
        for bad in [
            "#a\nlimit = 9\nwait = [\n1,\n2]\n",
            "limit = 9\n[wait]\na = 1\n",
            "limit = 9\nwait.a = 1\n",
            "limit = 9\n\"wait\" = \"soon\"\n",
            "limit = 9\nwait = \"\"\"\nsoon\nwait = 3\n\"\"\"\n",
        ] {
            let mended = set(bad, parsed(bad), "wait", "7");
            let read = parsed(&mended);
            assert_eq!(read["wait"].as_integer(), Some(7), "{mended}");
            assert_eq!(read["limit"].as_integer(), Some(9), "{mended}");
            let gone = unset(bad, parsed(bad), "wait");
            let read = parsed(&gone);
            assert!(!read.contains_key("wait"), "{gone}");
            assert_eq!(read["limit"].as_integer(), Some(9), "{gone}");
        }
        // Nothing that is added ends in somebody's table.
        let table = "[other]\na = 1\n";
        let mended = set(table, parsed(table), "wait", "7");
        assert_eq!(parsed(&mended)["wait"].as_integer(), Some(7), "{mended}");
    }
}
