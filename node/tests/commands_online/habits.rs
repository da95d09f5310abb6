//! What people are used to from other tools: settings, quietness, colour, help, completions, manual
//! pages, and a wallet that is made by answering questions.

use std::fs;

use crate::processes::{Home, World, mode};
use crate::terminal::Screen;

#[test]
fn a_wallet_is_made_by_answering_and_can_be_paid() {
    let world = World::start(&["--opening-balance", "10"]);
    let bob = world.account("bob");
    let alice = Home(world.path("alice").into());
    let screen = Screen::start(&alice, 80, "NO_COLOR=1", "init");
    screen.until("Address of the directory");
    for wrong in ["nonsense", "quid://x@y"] {
        screen.keys(&format!("{wrong}\n"));
        screen.until(&format!("'{wrong}': "));
    }
    screen.keys(&format!("{}\n", world.address));
    screen.until("Passphrase for the key");
    screen.keys("\n");
    screen.until("Name under which others pay you");
    screen.keys("Alice\n");
    screen.until("'Alice': ");
    screen.keys("bob\n");
    screen.until("bob: the name is taken");
    screen.keys("alice\n");
    let shown = screen.until("ended 0");
    for part in [
        "You have 10.000000 QUID",
        "quid pay alice 1.50",
        "quid listen",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    assert_eq!(bob.ok(&["pay", "alice", "1"])["state"], "settled");
    assert_eq!(alice.balance(), "11.000000");
    assert_eq!(mode(&alice.0.join("config.toml")), Some(0o600));

    // Scripts that run on a terminal say which directory, and are asked nothing.
    let script = Home(world.path("script").into());
    let command = format!("init --directory {}", world.address);
    let scripted = Screen::start(&script, 80, "NO_COLOR=1", &command);
    let shown = scripted.until("ended 0");
    assert!(
        !shown.contains("Passphrase") && !shown.contains("Name"),
        "{shown}"
    );

    // Again, it asks nothing and finds what it made.
    drop(screen);
    let screen = Screen::start(&alice, 80, "NO_COLOR=1", "init");
    let shown = screen.until("ended 0");
    assert!(!shown.contains("Address of"), "{shown}");
}

#[test]
fn answers_may_stay_open_and_a_passphrase_seals() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = Home(world.path("alice").into());
    let place = world
        .address
        .split_once('@')
        .expect("an address")
        .1
        .to_owned();
    let key = &world.address["quid://".len()..world.address.find('@').expect("an address")];
    let screen = Screen::start(&alice, 100, "NO_COLOR=1", "init");
    screen.until("Address of the directory");
    screen.keys(&format!("quid://{place}\n"));
    let shown = screen.until("Type yes to trust it");
    assert!(shown.contains(key), "{shown}");
    screen.keys("yes\n");
    screen.until("Passphrase for the key");
    screen.keys("correct horse\n");
    screen.until("The same again");
    screen.keys("correct horse\n");
    let shown = screen.until("Name under which");
    assert!(!shown.contains("horse"), "{shown}");
    screen.keys("\n");
    screen.until("ended 0");
    assert_eq!(alice.fails(&["status"], 7)["error"], "files");

    // Whoever says no has nothing written.
    let other = Home(world.path("other").into());
    let screen = Screen::start(&other, 100, "NO_COLOR=1", "init");
    screen.until("Address of the directory");
    screen.keys(&format!("quid://{place}\n"));
    screen.until("Type yes to trust it");
    screen.keys("no\n");
    screen.until("ended 1");
    assert!(!other.0.exists());
}

#[test]
fn invited_wallets_ask_for_the_code_and_scripts_name_it() {
    let world = World::start(&["--registration", "invite"]);
    let data = world.path("data");
    let code = std::process::Command::new(crate::processes::directory_program())
        .args(["invite", "--uses", "2", "--data", &data])
        .output()
        .expect("it runs");
    let code = String::from_utf8(code.stdout)
        .expect("text")
        .trim()
        .to_owned();
    let alice = Home(world.path("alice").into());
    let variables = format!("NO_COLOR=1 QUID_DIRECTORY={}", world.address);
    let screen = Screen::start(&alice, 80, &variables, "init --name alice");
    screen.until("Passphrase for the key");
    screen.keys("\n");
    screen.until("by invitation");
    screen.keys(&format!("{code}\n"));
    screen.until("ended 0");
    let bob = Home(world.path("bob").into());
    let init = ["init", "--directory", &world.address, "--name", "bob"];
    assert_eq!(bob.fails(&init, 3)["error"], "uninvited");
    let made = bob.ok(&[&init[..], &["--invite", &code]].concat());
    assert_eq!(made["name"], "bob");
}

#[test]
fn a_directory_that_is_away_leaves_a_home_without_a_name() {
    let mut world = World::start(&[]);
    world.kill();
    let alice = Home(world.path("alice").into());
    let init = ["init", "--directory", &world.address, "--name", "alice"];
    let failed = alice.fails(&init, 6);
    let message = failed["message"].as_str().expect("text");
    assert!(
        message.contains("the home is made") && message.contains("register alice"),
        "{message}"
    );
    world.restart();
    // Neither address nor anything else is needed again.
    assert_eq!(alice.ok(&["init", "--name", "alice"])["name"], "alice");
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    for _ in 0..3 {
        alice.ok(&["pay", "bob", "1"]);
    }
    let lines = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = alice.command(&[&["history", "--json"], flags].concat());
        let output = command
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout.iter().filter(|byte| **byte == b'\n').count()
    };
    assert_eq!(lines(&[], &[]), 4);
    let set = alice.ok(&["config", "set", "limit", "2"]);
    assert_eq!(
        (&set["value"], &set["source"]),
        (&"2".into(), &"file".into())
    );
    assert_eq!(lines(&[], &[]), 2);
    assert_eq!(lines(&[("QUID_LIMIT", "3")], &[]), 3);
    assert_eq!(lines(&[("QUID_LIMIT", "")], &[]), 2);
    assert_eq!(lines(&[("QUID_LIMIT", "3")], &["--limit", "1"]), 1);
    let file = alice.0.join("config.toml");
    let text = fs::read_to_string(&file).expect("it is text");
    assert!(
        text.contains("# Most lines (history)\nlimit = 2\n"),
        "{text}"
    );
    alice.ok(&["config", "unset", "limit"]);
    assert_eq!(lines(&[], &[]), 4);

    // JSON and quietness by variables.
    let said = |variable: (&str, &str), arguments: &[&str]| {
        let mut command = alice.command(arguments);
        command
            .env(variable.0, variable.1)
            .output()
            .expect("it runs")
    };
    assert!(
        said(("QUID_JSON", "1"), &["status"])
            .stdout
            .starts_with(b"{")
    );
    let failed = said(("QUID_JSON", "true"), &["pay", "bob", "1e3"]);
    assert!(
        failed.stdout.starts_with(b"{\"error\":\"usage\""),
        "{failed:?}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_named_and_stop_only_what_they_concern() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let file = alice.0.join("config.toml");
    for (text, part) in [
        ("wiat = 5\n", "did you mean wait?"),
        ("\n\nwait = = 5\n", "line 3"),
        ("wait = \"soon\"\n", "wait: 'soon': write whole seconds"),
        ("wait = [1]\n", ": write a text in quotes"),
        ("[wait]\na = 1\n", ": write a text in quotes"),
        ("json = true\n", "use QUID_JSON or --json"),
        ("\u{1b}[2J = 1\n", "line 1"),
        ("\"\\u001b[2J\" = 1\n", "there is no setting"),
        (&"#".repeat(70_000), "far too long"),
    ] {
        fs::write(&file, text).expect("it is ours");
        let failed = alice.fails(&["status"], 7);
        assert_eq!(failed["error"], "config", "{text}");
        let message = failed["message"].as_str().expect("text");
        assert!(message.contains(part), "{message}");
        assert!(message.contains("config.toml"), "{message}");
        let output = alice.quid(&["status"]);
        assert!(!output.stderr.contains(&0x1b), "{output:?}");
        // What helps is not stopped.
        for command in [&["--help"][..], &["man", "pay"], &["completions", "bash"]] {
            assert!(alice.quid(command).status.success(), "{command:?}");
        }
        let output = alice.quid(&["doctor", "--json"]);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
    fs::remove_file(&file).expect("it is ours");
    assert_eq!(alice.balance(), "10.000000");
    for (variable, value) in [("QUID_WAIT", "soon"), ("QUID_HIDDEN", "maybe")] {
        let mut command = alice.command(&["status", "--json"]);
        let output = command.env(variable, value).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(variable));
    }
    for wrong in [
        &["config", "set", "wait", "0"][..],
        &["config", "set", "wiat", "5"],
        &["config", "set", "json", "true"],
        &["config", "get", "\u{1b}[2J"],
    ] {
        assert_eq!(alice.fails(wrong, 2)["error"], "usage", "{wrong:?}");
    }
    assert!(!file.exists());
}

#[test]
fn a_bad_value_in_the_file_is_mended_by_the_command_that_its_message_names() {
    let world = World::start(&[]);
    let alice = world.home("alice");
    let file = alice.0.join("config.toml");
    for (text, key, value) in [
        ("# mine\nwait = \"soon\" # short\n", "wait", "'soon'"),
        ("wait = 0\n", "wait", "'0'"),
        ("bind = \"here\"\n", "bind", "'here'"),
        ("wait = [1]\n", "wait", "'[1]'"),
        ("wait = [\n1,\n2]\n", "wait", "1,"),
        ("[wait]\na = 1\n", "wait", "a = 1"),
        ("wiat = 5\n", "wiat", ""),
        ("json = true\n", "json", ""),
    ] {
        fs::write(&file, text).expect("it is ours");
        let failed = alice.fails(&["config"], 7);
        let message = failed["message"].as_str().expect("text");
        assert_eq!(message.lines().count(), 1, "{message}");
        let unset = format!("`quid config unset {key}`");
        for part in [key, value, unset.as_str()] {
            assert!(message.contains(part), "{part} in {message}");
        }
        let settable = !["wiat", "json"].contains(&key);
        if settable {
            let set = format!("`quid config set {key} VALUE`");
            assert!(message.contains(&set), "{message}");
            let usable = if key == "bind" { "127.0.0.1:0" } else { "7" };
            let set = alice.ok(&["config", "set", key, usable]);
            assert_eq!(
                (&set["value"], &set["source"]),
                (&usable.into(), &"file".into())
            );
            assert_eq!(alice.ok(&["config", "get", key]), set);
            let now = fs::read_to_string(&file).expect("text");
            assert!(
                !text.contains("# mine") || now == "# mine\nwait = 7 # short\n",
                "{now}"
            );
        }
        fs::write(&file, text).expect("it is ours");
        assert_eq!(alice.ok(&["config", "unset", key])["key"], key);
        assert!(!alice.lines(&["config"]).is_empty());
    }

    // One after the other, each named; a value that is no better changes nothing.
    let text = "wait = \"soon\"\nlimit = \"many\"\n";
    fs::write(&file, text).expect("it is ours");
    alice.fails(&["config", "set", "wait", "later"], 2);
    assert_eq!(fs::read_to_string(&file).expect("text"), text);
    let mended = alice.quid(&["config", "set", "wait", "7"]);
    assert!(mended.status.success(), "{mended:?}");
    let left = String::from_utf8(mended.stderr).expect("text");
    assert!(left.contains("`quid config set limit VALUE`"), "{left}");
    alice.fails(&["config"], 7);
    alice.ok(&["config", "unset", "limit"]);
    assert_eq!(alice.ok(&["config", "get", "wait"])["value"], "7");
    // What is no TOML has no key that could be set: the line is named.
    fs::write(&file, "wait = = 5\n").expect("it is ours");
    let failed = alice.fails(&["config", "set", "wait", "7"], 7);
    let message = failed["message"].as_str().expect("text");
    assert!(message.contains("line 1"), "{message}");
}

#[test]
fn quiet_leaves_results_and_failures_only() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let open = ["tab", "open", "bob", "--unit", "0.01", "--units", "10"];
    let loud = alice.quid(&open);
    assert!(
        !loud.stderr.is_empty() && !loud.stdout.is_empty(),
        "{loud:?}"
    );
    let quiet = alice.quid(&[&open[..], &["--quiet"]].concat());
    assert!(
        quiet.stderr.is_empty() && !quiet.stdout.is_empty(),
        "{quiet:?}"
    );
    let failed = alice.quid(&["-q", "pay", "nobody", "1"]);
    assert_eq!(failed.status.code(), Some(3));
    assert!(failed.stderr.starts_with(b"refused: "), "{failed:?}");
}

#[test]
fn colour_is_for_terminals_and_can_be_had_or_not() {
    let world = World::start(&["--opening-balance", "10"]);
    let alice = world.account("alice");
    let colored = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = alice.command(&[&["pay", "treasury", "0.1"], flags].concat());
        let output = command
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout.contains(&0x1b)
    };
    assert!(!colored(&[], &[]), "stdout is no terminal");
    assert!(colored(&[], &["--color", "always"]));
    assert!(colored(&[("NO_COLOR", "1")], &["--color=always"]));
    assert!(colored(&[("QUID_COLOR", "always")], &[]));
    assert!(!colored(&[("QUID_COLOR", "always")], &["--json"]));
    for (variables, color) in [("A=1", true), ("NO_COLOR=1", false), ("TERM=dumb", false)] {
        let screen = Screen::start(&alice, 80, variables, "pay treasury 0.1");
        let shown = screen.until("ended 0");
        assert_eq!(
            shown.contains("\u{1b}[32mpaid"),
            color,
            "{variables}: {shown:?}"
        );
    }
}

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("robert"));
    let message = |arguments: &[&str]| {
        let failed = alice.fails(arguments, 3);
        assert_eq!(failed["reason"], "unknown_account");
        failed["message"].as_str().expect("text").to_owned()
    };
    let pay = ["pay", "robret", "1"];
    assert!(message(&pay).ends_with("check the spelling"));
    let listener = bob.listen();
    let stranger = message(&pay);
    assert!(stranger.ends_with("did you mean robert, who is online and whom you have never paid?"));
    alice.ok(&["pay", "robert", "1"]);
    drop(listener);
    let known = "did you mean robert, whom you have paid before?";
    assert!(message(&pay).ends_with(known));
    assert!(message(&["tab", "open", "robbert", "--unit", "1", "--units", "1"]).ends_with(known));
    assert!(message(&["pay", "nobody", "1"]).ends_with("check the spelling"));
    let status = alice.fails(&["key", "status", "robret"], 3);
    assert!(
        status["message"].as_str().expect("text").ends_with(known),
        "{status}"
    );
    // So are commands and flags.
    for (arguments, meant) in [
        (&["pya", "robert", "1"][..], "did you mean pay?"),
        (&["tab", "opne"], "did you mean open?"),
        (
            &["pay", "robert", "1", "--meno", "x"],
            "did you mean --memo?",
        ),
        (&["--jsn", "status"], "did you mean --json?"),
    ] {
        let failed = alice.fails(arguments, 2);
        let said = failed["message"].as_str().expect("text");
        assert!(said.ends_with(meant), "{said}");
    }
}

#[test]
fn completions_and_manual_pages_are_what_their_readers_read() {
    let world = World::start(&[]);
    let alice = world.home("alice");
    for (shell, check) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let text = alice.quid(&["completions", shell]);
        assert!(text.status.success());
        assert!(
            String::from_utf8_lossy(&text.stdout).contains("quid"),
            "{shell}"
        );
        // Whoever is installed reads it without complaint.
        let file = world.path(shell);
        fs::write(&file, &text.stdout).expect("the folder is ours");
        let read = std::process::Command::new(check)
            .args(["-n", &file])
            .output();
        if let Ok(read) = read {
            assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
        }
    }
    let complete = format!(
        ". '{}'; COMP_WORDS=(quid st); COMP_CWORD=1; _quid quid st quid; echo \"${{COMPREPLY[@]}}\"",
        world.path("bash")
    );
    let found = std::process::Command::new("bash")
        .args(["-c", &complete])
        .output();
    assert_eq!(found.expect("there is bash").stdout, b"status\n");
    let pages = world.path("man");
    assert!(alice.quid(&["man", "--out", &pages]).status.success());
    for page in [
        "quid.1",
        "quid-pay.1",
        "quid-tab-open.1",
        "quid-key-status.1",
    ] {
        let text = fs::read_to_string(format!("{pages}/{page}")).expect("it is there");
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let pay = String::from_utf8(alice.quid(&["man", "pay"]).stdout).expect("text");
    assert!(pay.contains("quid pay bob 1.50"), "{pay}");
    let failed = alice.fails(&["man", "pya"], 2);
    assert_eq!(failed["error"], "usage");
    for arguments in [&["completions", "bash"][..], &["man", "serve"]] {
        let output = std::process::Command::new(crate::processes::directory_program())
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("serve"));
    }
    let output = std::process::Command::new(crate::processes::directory_program())
        .arg("sreve")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.ends_with("did you mean serve?\n"), "{said}");
}
