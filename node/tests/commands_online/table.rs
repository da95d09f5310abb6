//! docs/scripts.md against the programs: every command with `--json`, every field of the table at
//! least once, and nothing that the table does not have.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::histories::{copy, exchange, forked};
use crate::processes::{Home, Running, World, directory_program};

#[test]
fn every_field_is_printed_and_every_printed_field_is_documented() {
    let mut table = Table::read();
    let scenes = [
        members_and_money,
        keys,
        requests,
        tabs,
        receipts,
        operators,
        lost_directory,
        two_histories,
        old_backup,
        settings,
    ];
    // Each has programs of its own, and they mostly wait.
    thread::scope(|scope| {
        let scenes = scenes.map(|scene| {
            scope.spawn(move || {
                let mut table = Table::read();
                scene(&mut table);
                table
            })
        });
        for scene in scenes {
            table.join(scene.join().expect("a scene goes well"));
        }
    });
    table.finish();
}

/// The table, and what of it was met.
struct Table {
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    commands: BTreeSet<String>,
    always: BTreeSet<String>,
    sometimes: BTreeSet<String>,
    /// Those of the commands that printed something.
    ran: BTreeSet<String>,
    /// The fields that were there, and those of them that were not null.
    met: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Table {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scripts.md");
        let text = fs::read_to_string(file).expect("the table is there");
        let lines = text.lines().filter(|line| line.starts_with("| `quid"));
        let rows: Vec<Row> = lines
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
                let [commands, always, sometimes, _notes] = cells.as_slice() else {
                    panic!("a row has four cells: {line}");
                };
                Row {
                    commands: words(commands),
                    always: words(always),
                    sometimes: words(sometimes),
                    ..Row::default()
                }
            })
            .collect();
        assert!(rows.len() > 30, "the table is not read any more");
        Self { rows }
    }

    /// Holds an object that `command` printed against its row.
    fn check(&mut self, command: &str, value: &Value) {
        let mut rows = self.rows.iter_mut();
        let row = rows
            .find(|row| row.commands.contains(command))
            .unwrap_or_else(|| panic!("docs/scripts.md has no row {command}"));
        row.ran.insert(command.to_owned());
        let object = value.as_object().expect("an object");
        let failed = object.contains_key("error") || object.get("ok") == Some(&false.into());
        for (field, value) in object {
            if !(row.always.contains(field) || row.sometimes.contains(field)) {
                let of_failures = failed && ["error", "message"].contains(&field.as_str());
                assert!(of_failures, "{command} prints {field}, not in its row");
                continue;
            }
            row.met.insert(field.clone());
            if !value.is_null() {
                row.told.insert(field.clone());
            }
        }
        for field in &row.always {
            let there = failed || object.contains_key(field);
            assert!(there, "{command} lacks {field}: {value}");
        }
    }

    /// Runs a command that succeeds, and holds each of its objects against its row.
    fn ok(&mut self, command: &str, home: &Home, more: &[&str]) -> Value {
        let arguments = arguments(command, more);
        let lines = home.lines(&arguments);
        for line in &lines {
            self.check(command, line);
        }
        lines.last().cloned().unwrap_or_default()
    }

    /// Runs a command that does not succeed.
    fn fails(&mut self, command: &str, home: &Home, more: &[&str], code: i32) -> Value {
        let value = home.fails(&arguments(command, more), code);
        self.check(command, &value);
        value
    }

    /// The next event of that name.
    fn event(&mut self, listener: &Running, name: &str) -> Value {
        let event = listener.event(name);
        self.check(&format!("quid listen: {name}"), &event);
        event
    }

    /// Takes what was met elsewhere.
    fn join(&mut self, other: Self) {
        for (row, other) in self.rows.iter_mut().zip(other.rows) {
            row.ran.extend(other.ran);
            row.met.extend(other.met);
            row.told.extend(other.told);
        }
    }

    fn finish(self) {
        let mut missing = Vec::new();
        for row in &self.rows {
            let fields = row.always.union(&row.sometimes);
            if row.commands.contains(DOUBTED) {
                continue;
            }
            for command in row.commands.difference(&row.ran) {
                if fields.clone().next().is_some() {
                    missing.push(command.clone());
                }
            }
            for field in fields {
                let told = row.told.contains(field);
                let null = NULL_HERE.iter().any(|(command, null)| {
                    row.commands.contains(*command) && null == field && row.met.contains(*null)
                });
                if !(told || null) {
                    missing.push(format!("{:?}: {field}", row.commands));
                }
            }
        }
        assert!(
            missing.is_empty(),
            "documented, and never printed here:\n{}",
            missing.join("\n")
        );
    }
}

/// What says something only when the other side breaks the rules: it is there, and null.
const NULL_HERE: &[(&str, &str)] = &[("quid tab list", "reason"), ("quid listen: tab", "reason")];

/// Told of a directory that refuses to show its log, which ours never does: a unit test of the command
/// holds its fields against the table.
const DOUBTED: &str = "quid listen: doubted";

/// What stands between backticks.
fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split('`').skip(1).step_by(2);
    words.map(ToOwned::to_owned).collect()
}

fn arguments<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = command.split(' ').skip(1);
    words.chain(more.iter().copied()).collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("it is text").to_owned()
}

fn members_and_money(table: &mut Table) {
    let world = World::start(&["--opening-balance", "10"]);
    let home = |name: &str| Home(world.path(name).into());
    let (alice, bob) = (home("alice"), home("bob"));
    let directory = ["--directory", &world.address];
    table.ok("quid init", &bob, &directory);
    table.ok("quid register", &bob, &["bob"]);
    let named = [&directory[..], &["--name", "alice"]].concat();
    let made = table.ok("quid init", &alice, &named);
    assert_eq!(
        (&made["name"], &made["entry"]),
        (&"alice".into(), &3.into())
    );
    // The same again finds it all as it was made.
    assert_eq!(table.ok("quid init", &alice, &named), made);
    let taken = home("other");
    let other = [&directory[..], &["--name", "bob"]].concat();
    assert_eq!(
        table.fails("quid init", &taken, &other, 3)["error"],
        "name_taken"
    );

    let listener = bob.run(&["listen"]);
    table.event(&listener, "online");
    table.ok("quid who", &alice, &[]);
    let watch = alice.watch();
    table.check("quid who", &watch.next("somebody online"));
    let reference = "ab".repeat(16);
    let worded = ["bob", "1", "--memo", "tea", "--reference", &reference];
    let paid = table.ok("quid pay", &alice, &worded);
    assert_eq!(paid["route"], "direct");
    table.event(&listener, "received");
    table.fails("quid pay", &alice, &["bob", "1000"], 3);
    let suggested = table.fails("quid pay", &alice, &["bbo", "1"], 3);
    assert!(
        text(&suggested, "message").ends_with("did you mean bob, whom you have paid before?"),
        "{suggested}"
    );
    let stranger = table.fails("quid pay", &bob, &["bobb", "1"], 3);
    assert!(
        !text(&stranger, "message").contains("did you mean"),
        "{stranger}"
    );
    table.ok("quid history", &alice, &[]);
    table.ok("quid status", &alice, &[]);

    let sender = alice.run(&["listen"]);
    table.event(&sender, "online");
    table.ok("quid pay", &alice, &["bob", "0.5", "--memo", "more"]);
    table.event(&sender, "sent");
    world.operate(&["freeze", "alice"]);
    let refused = table.fails("quid pay", &alice, &["bob", "1"], 3);
    table.event(&sender, "refused");
    world.operate(&["thaw", "alice"]);
    let order = text(&refused, "order");
    table.fails("quid void", &alice, &[&order], 3);
    table.ok("quid void", &alice, &[&text(&paid, "order")]);
    table.ok("quid doctor", &alice, &[]);
}

fn keys(table: &mut Table) {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.home("alice"), world.account("bob"));
    let safe = world.path("safe.pem");
    table.ok("quid register", &alice, &["alice", "--recovery", &safe]);
    bob.ok(&["pay", "alice", "1"]);
    let secret = world.path("secret");
    fs::write(&secret, "correct horse\n").expect("the folder is ours");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("it is ours");
    table.ok("quid key seal", &alice, &["--new-passphrase-file", &secret]);
    table.ok("quid key unseal", &alice, &["--passphrase-file", &secret]);
    table.ok("quid key status", &alice, &[]);
    table.ok("quid key rotate", &alice, &[]);
    table.fails("quid pay", &bob, &["alice", "1"], 3);
    table.ok("quid key accept", &bob, &["alice", "--yes"]);
    table.ok("quid key freeze", &alice, &[]);
    table.ok("quid key thaw", &alice, &["--recovery", &safe]);
    let new = world.home("new");
    table.ok("quid key recover", &new, &["alice", "--recovery", &safe]);
    table.ok("quid key status", &bob, &["alice"]);
    table.ok("quid status", &alice, &[]);
    table.ok("quid key object", &alice, &[]);
}

fn tabs(table: &mut Table) {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let flags = ["bob", "--unit", "0.01", "--units", "100"];
    let away = table.ok(
        "quid tab open",
        &alice,
        &[&flags[..], &["--grace", "2s"]].concat(),
    );
    let closed = table.ok("quid tab close", &alice, &[&text(&away, "tab")]);
    assert_eq!(closed["released"], false);
    // The close is the entry after the hold.
    let close = away["entry"].as_u64().expect("a number") + 1;
    table.ok("quid receipt show", &alice, &[&close.to_string()]);
    let listener = bob.run(&["listen", "--claim-every", "1"]);
    let open = table.ok("quid tab open", &alice, &flags);
    let tab = text(&open, "tab");
    table.event(&listener, "tab");
    table.ok("quid tab pay", &alice, &[&tab, "60"]);
    table.fails("quid tab pay", &alice, &[&tab, "60"], 3);
    let claimed = listener.until("a claim", |event| event["change"] == "claimed");
    table.check("quid listen: tab", &claimed);
    for home in [&alice, &bob] {
        table.ok("quid tab list", home, &[]);
    }
    table.fails(
        "quid tab open",
        &alice,
        &["bbo", "--unit", "1", "--units", "1"],
        3,
    );
    table.ok("quid tab close", &alice, &[&tab]);
    table.ok("quid receipt show", &alice, &[&open["entry"].to_string()]);
    table.ok("quid receipt verify", &alice, &[&open["entry"].to_string()]);
    table.ok("quid receipt show", &bob, &[&claimed["entry"].to_string()]);
    for line in alice.lines(&["history"]) {
        table.check("quid history", &line);
        table.ok("quid receipt show", &alice, &[&line["entry"].to_string()]);
    }
}

fn requests(table: &mut Table) {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let picture = world.path("request.png");
    let worded = ["1.5", "--memo", "for the tea", "--png", &picture];
    let asked = table.ok("quid request", &bob, &worded);
    let link = text(&asked, "link");
    let paid = alice.ok(&["pay", &link, "--yes"]);
    table.check("quid pay: link", &paid);
    let declined = alice.fails(&["pay", &link, "--yes", "--again", "2"], 3);
    table.check("quid pay: link", &declined);
    let entry = paid["entry"].to_string();
    table.ok("quid refund", &bob, &[&entry]);
    let other = table.fails("quid refund", &alice, &[&entry], 3);
    assert_eq!(other["reason"], "not_received");

    let late = text(&asked, "request");
    let late = bob.fails(&["request", "--cancel", &late], 3);
    table.check("quid request: cancel", &late);
    let flags = ["--tab", "--unit", "0.01", "--units", "100"];
    let unpaid = table.ok("quid request", &bob, &flags);
    let unpaid = text(&unpaid, "request");
    let unpaid = bob.ok(&["request", "--cancel", &unpaid]);
    table.check("quid request: cancel", &unpaid);
    let tab = table.ok("quid request", &bob, &flags);
    let listener = bob.listen();
    let opened = alice.ok(&["pay", &text(&tab, "link"), "--yes"]);
    table.check("quid pay: tab", &opened);
    drop(listener);
    let dear = table.ok(
        "quid request",
        &bob,
        &["--tab", "--unit", "1", "--units", "100"],
    );
    let refused = alice.fails(&["pay", &text(&dear, "link"), "--yes"], 3);
    table.check("quid pay: tab", &refused);
    table.ok("quid requests", &bob, &[]);
}

fn receipts(table: &mut Table) {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.home("alice");
    let registered = table.ok("quid register", &alice, &["alice"]);
    let _bob = world.account("bob");
    table.ok(
        "quid receipt show",
        &alice,
        &[&registered["entry"].to_string()],
    );
    let reference = "cd".repeat(16);
    let worded = ["bob", "1", "--memo", "tea", "--reference", &reference];
    let paid = table.ok("quid pay", &alice, &worded);
    let (order, file) = (text(&paid, "order"), world.path("receipt"));
    table.ok("quid receipt show", &alice, &[&order, "--out", &file]);
    table.ok("quid receipt verify", &alice, &[&file]);
    let damaged = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, damaged.replacen('A', "B", 3)).expect("it is ours");
    table.fails("quid receipt verify", &alice, &[&file], 5);
    world.operate(&["freeze", "alice"]);
    let refused = table.fails("quid pay", &alice, &["bob", "1"], 3);
    table.ok(
        "quid receipt show",
        &alice,
        &[&refused["entry"].to_string()],
    );
}

fn operators(table: &mut Table) {
    let mut world = World::start(&["--opening-balance", "10"]);
    world.account("alice");
    let data = world.path("data");
    let mut run = |row: &str, more: &[&str], code: i32| {
        // What stands behind a colon is no word of the command.
        let command = row.split(':').next().unwrap_or(row);
        let mut arguments = arguments(command, more);
        arguments.push("--json");
        let output = Command::new(directory_program())
            .args(&arguments)
            .output()
            .expect("it runs");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        let value = serde_json::from_str(stdout.trim_end()).expect("one object");
        table.check(row, &value);
        value
    };
    let at = ["--data", &*data];
    let (save, new) = (world.path("saved.quid"), world.path("restored"));
    for (command, more) in [
        ("quid-directory address", &[][..]),
        ("quid-directory issue", &["alice", "2.5"]),
        ("quid-directory freeze", &["alice"]),
        ("quid-directory thaw", &["alice"]),
        ("quid-directory invite", &["--expires", "1h"]),
        ("quid-directory audit", &[]),
        ("quid-directory backup", &[&save]),
    ] {
        run(command, &[more, &at].concat(), 0);
    }
    let listed = run(
        "quid-directory invite: list",
        &[&["--list"][..], &at].concat(),
        0,
    );
    let id = text(&listed, "id");
    let revoke = [&["--revoke", &*id][..], &at].concat();
    run("quid-directory invite: revoke", &revoke, 0);
    run("quid-directory restore", &[&save, "--data", &new], 0);
    world.kill();
    let secret = world.path("secret");
    fs::write(&secret, "correct horse\n").expect("the folder is ours");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("it is ours");
    let new = [&["--new-passphrase-file", &*secret][..], &at].concat();
    run("quid-directory key seal", &new, 0);
    let old = [&["--passphrase-file", &*secret][..], &at].concat();
    run("quid-directory key unseal", &old, 0);
    let ledger = rusqlite::Connection::open(Path::new(&data).join("ledger.db")).expect("it opens");
    let damaged = ledger.execute(DAMAGE, []).expect("it is ours");
    assert_eq!(damaged, 1);
    drop(ledger);
    let unsound: Value = run("quid-directory audit", &at, 5);
    assert_eq!(unsound["ok"], false);
}

/// Turns the first byte of the last entry round.
const DAMAGE: &str =
    "UPDATE entries SET bytes = x'00' || substr(bytes, 2) WHERE n = (SELECT max(n) FROM entries)";

fn lost_directory(table: &mut Table) {
    let mut world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let listener = alice.listen();
    world.kill();
    table.event(&listener, "offline");
    drop(listener);
    let wrong = table.fails_with_lines("quid doctor", &alice, 5);
    let directory = wrong.iter().find(|check| check["check"] == "directory");
    assert_eq!(directory.expect("it is checked")["state"], "bad");
    table.fails("quid status", &alice, &[], 6);
    for command in ["quid history", "quid requests"] {
        table.fails_with_lines(command, &alice, 6);
    }
}

impl Table {
    /// All objects that a command printed which does not succeed.
    fn fails_with_lines(&mut self, command: &str, home: &Home, code: i32) -> Vec<Value> {
        let output = home.quid(&arguments(command, &["--json"]));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        let lines = stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        for line in &lines {
            self.check(command, line);
        }
        lines
    }
}

fn two_histories(table: &mut Table) {
    let (_world, [alice, _bob, _carol]) = forked();
    let listener = alice.run(&["listen"]);
    let forked = table.event(&listener, "forked");
    table.ok("quid status", &alice, &[]);
    table.ok("quid receipt verify", &alice, &[&text(&forked, "file")]);
    let unwell = table.fails_with_lines("quid doctor", &alice, 5);
    let ledger = unwell.iter().find(|check| check["check"] == "ledger");
    assert_eq!(ledger.expect("it is checked")["state"], "bad", "{unwell:?}");
}

fn old_backup(table: &mut Table) {
    let mut world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    world.kill();
    copy(&world.path("data"), &world.path("backup"));
    world.restart();
    alice.ok(&["pay", "bob", "1"]);
    world.kill();
    exchange(&world, "backup");
    world.restart();
    let _listener = alice.listen();
    table.fails("quid pay", &alice, &["bob", "2", "--wait", "1"], 4);
    let status = table.ok("quid status", &alice, &[]);
    assert!(status["doubt"].is_string(), "{status}");
}

fn settings(table: &mut Table) {
    let world = World::start(&[]);
    let alice = world.home("alice");
    table.ok("quid config set", &alice, &["wait", "33"]);
    table.ok("quid config get", &alice, &["wait"]);
    table.ok("quid config list", &alice, &[]);
    table.ok("quid config unset", &alice, &["wait"]);
    let wallet = alice.run(&["wallet", "--no-open"]);
    table.check("quid wallet", &wallet.event("wallet"));
}
