//! The passphrase typed on a terminal, which must not show it, well and badly.

use std::path::Path;

use super::screen::Screen;
use super::world::{Client, PROGRAM};
use super::{SERVE, kept, sealed};

/// What tells that the directory's program asks.
const ASKS: &str = "Passphrase of the directory's key (it is not shown):";

const ASKS_FOR_NEW: &str = "New passphrase for the key (it is not shown):";

/// A terminal on which a command runs on the data in `place`, and tells how it ended.
fn terminal(place: &Path, name: &str, arguments: &[&str]) -> Screen {
    let script = format!(
        "trap : INT; NO_COLOR=1 '{PROGRAM}' {} --data '{}'; echo \"ended $?\"; exec cat",
        arguments.join(" "),
        place.join("data").display()
    );
    Screen::run(place.join(format!("{name}.tmux")), 120, &script)
}

/// Types a line, of which nothing may be seen.
fn types(screen: &Screen, asked: &str, line: &str) {
    let shown = screen.until(asked);
    screen.keys(line);
    screen.key("Enter");
    assert!(line.is_empty() || !shown.contains(line), "{shown}");
}

/// That the command ends with this code and says one line, with `word` in it; the terminal shows what
/// is typed again.
fn ends(screen: &Screen, code: i32, word: &str, secrets: &[&str]) {
    let shown = screen.until(&format!("ended {code}"));
    let told: Vec<&str> = shown
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.ends_with(':'))
        // How to ask again, which is said before anything is done.
        .filter(|line| !line.starts_with("operation "))
        .collect();
    let [said, end] = told[..] else {
        panic!("not one line:\n{shown}");
    };
    assert!(said.contains(word) && end.starts_with("ended"), "{shown}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
    }
    screen.keys("seen again");
    screen.until("seen again");
}

#[tokio::test]
async fn whoever_signs_types_it_and_a_wrong_one_changes_nothing() {
    let (place, data) = sealed("sesame").await;
    let place = place.path();
    let before = kept(&data);

    const EMPTY: &str = "the passphrase that was typed: it is empty";
    for arguments in [&SERVE[..], &["issue", "alice", "1"], &["key", "unseal"]] {
        let screen = terminal(place, arguments[0], arguments);
        types(&screen, ASKS, "tahini");
        ends(&screen, 7, "does not open", &["tahini"]);
    }
    let screen = terminal(place, "nothing", &SERVE);
    types(&screen, ASKS, "");
    ends(&screen, 7, EMPTY, &[]);
    let screen = terminal(place, "end", &["issue", "alice", "1"]);
    screen.until(ASKS);
    screen.key("C-d");
    ends(&screen, 7, EMPTY, &[]);
    let screen = terminal(place, "interrupt", &["issue", "alice", "1"]);
    screen.until(ASKS);
    screen.keys("sesa");
    screen.key("C-c");
    ends(&screen, 1, "interrupted; nothing was done", &["sesa"]);
    assert_eq!(kept(&data), before);

    let screen = terminal(place, "right", &["issue", "alice", "1"]);
    types(&screen, ASKS, "sesame");
    ends(&screen, 0, "alice", &["sesame"]);
    assert_ne!(kept(&data), before);
}

#[tokio::test]
async fn a_directory_serves_once_it_is_typed() {
    let (place, data) = sealed("sesame").await;
    let (key, _) = kept(&data);
    let screen = terminal(place.path(), "serve", &SERVE);
    types(&screen, ASKS, "sesame");
    let shown = screen.until("quid://");
    assert!(!shown.contains("sesame"), "{shown}");
    let address = std::fs::read_to_string(data.join("address")).expect("it serves");
    let address = address.trim().parse().expect("an address");
    let client = Client::connect(&address, 1).await;
    drop(client.log_in(false).await.expect("alice is known"));
    screen.key("C-c");
    screen.until("ended 0");
    assert_eq!(kept(&data).0, key);
}

#[tokio::test]
async fn a_new_passphrase_is_typed_twice_alike_or_nothing_is_written() {
    let (place, data) = sealed("sesame").await;
    let place = place.path();
    let before = kept(&data);
    let seal = |name| {
        let screen = terminal(place, name, &["key", "seal"]);
        types(&screen, ASKS, "sesame");
        screen
    };
    let screen = seal("differ");
    types(&screen, ASKS_FOR_NEW, "tahini");
    types(&screen, "The same again:", "tahina");
    let secrets = ["tahin", "sesame"];
    ends(&screen, 7, "differ; nothing was written", &secrets);
    let screen = seal("empty");
    types(&screen, ASKS_FOR_NEW, "");
    types(&screen, "The same again:", "");
    ends(&screen, 7, "it is empty", &secrets);
    assert_eq!(kept(&data), before);

    let screen = seal("same");
    types(&screen, ASKS_FOR_NEW, "tahini");
    types(&screen, "The same again:", "tahini");
    ends(&screen, 0, "sealed", &secrets);
    let (key, entries) = kept(&data);
    assert_ne!(key, before.0);
    assert_eq!(entries, before.1);
    let screen = terminal(place, "old", &["issue", "alice", "1"]);
    types(&screen, ASKS, "sesame");
    ends(&screen, 7, "does not open", &secrets);
    let screen = terminal(place, "new", &["issue", "alice", "1"]);
    types(&screen, ASKS, "tahini");
    ends(&screen, 0, "alice", &secrets);
}
