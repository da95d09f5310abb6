//! The shell on real terminals, wide and narrow, with and without colour.

use std::fs;

use crate::processes::World;
use crate::terminal::Screen;

#[test]
fn hints_complete_and_what_comes_in_stands_above() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    alice.ok(&["pay", "bob", "1"]);
    let listener = bob.listen();
    let screen = Screen::start(&alice, 80, "A=1", "shell");
    screen.until("alice>");
    screen.until("online");
    screen.keys("sta");
    // The rest of the word stands there faintly; an arrow takes it.
    screen.until("sta\u{1b}[2mtus");
    screen.key("Right");
    screen.until("\u{1b}[39m\u{1b}[49mstatus\n");
    screen.key("Enter");
    screen.until("balance    9.000000 QUID");
    screen.keys("pay ");
    screen.until("pay \u{1b}[2mNAME|LINK AMOUNT");
    bob.ok(&["pay", "alice", "0.5", "--memo", "\u{1b}]0;evil\u{7}"]);
    let shown = screen.until("received");
    assert!(shown.contains(r#""\u{1b}]0;evil\u{7}" (entry"#), "{shown}");
    screen.key("C-c");
    screen.keys("pay bo");
    screen.until("bo\u{1b}[2mb");
    screen.key("Tab");
    screen.keys("1 --memo tea");
    screen.key("Enter");
    screen.until("\u{1b}[32mpaid\u{1b}[39m 1.000000 QUID to bob, directly");
    screen.keys("pay bbo 1");
    screen.key("Enter");
    screen.until("did you mean bob, whom you have paid");
    screen.keys("x");
    screen.key("Enter");
    screen.until("ended 0");
    drop(listener);
}

#[test]
fn a_line_goes_on_below_and_comes_back_whole() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    for round in 1..=2 {
        let screen = Screen::start(&alice, 80, "NO_COLOR=1", "shell");
        screen.until("alice>");
        if round == 1 {
            screen.keys("pay bob \\");
            screen.key("Enter");
            screen.keys("1 --memo 'two");
            screen.key("Enter");
            screen.keys("lines'");
            screen.key("Enter");
        } else {
            // From the history of the run before.
            screen.key("Up");
            screen.until("lines'");
            screen.key("Enter");
        }
        screen.until("paid 1.000000 QUID to bob");
        screen.until("alice>");
        screen.key("C-d");
        screen.until("ended 0");
    }
    assert_eq!(alice.balance(), "8.000000");
    for line in alice.lines(&["history", "--limit", "2"]) {
        assert_eq!(line["memo"], "two\nlines", "{line}");
    }
    let kept = fs::read_to_string(alice.0.join("shell_history")).expect("it is text");
    assert_eq!(kept.matches("lines'").count(), 1, "{kept}");
}

#[test]
fn twenty_columns_without_colour_are_enough() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    alice.ok(&["pay", "bob", "1"]);
    let screen = Screen::start(&alice, 20, "NO_COLOR=1", "shell");
    screen.until("alice>");
    screen.until("127.0.0.1:");
    screen.keys("?");
    screen.key("Enter");
    let shown = screen.until("say what for");
    assert!(shown.contains("p bob 1.50\n  pay bob\n"), "{shown}");
    screen.until("open quote.\nalice>");
    screen.keys("pay b");
    let shown = screen.until("alice> pay b[ob]");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    screen.key("Right");
    // What comes next is shown as far as there is room.
    screen.keys(" ");
    screen.until("alice> pay bob\n");
    screen.keys("1 --memo 'for tea'");
    screen.until("alice> pay bob 1 --m\nemo 'for tea'");
    bob.ok(&["pay", "alice", "0.5", "--memo", "hello"]);
    let shown = screen.until("received 0.500000\nQUID from bob,\n\"hello\" (entry");
    screen.holds(&shown);
    // The line being typed is whole below it.
    screen.until("alice> pay bob 1 --m\nemo 'for tea'");
    screen.key("Enter");
    screen.until("paid 1.000000 QUID\nto bob");
    screen.keys("help pay");
    screen.key("Enter");
    let shown = screen.until("quid pay bob 1.50");
    screen.holds(&shown);
    screen.keys("x");
    screen.key("Enter");
    screen.until("ended 0");
}

#[test]
fn a_payment_of_ones_own_ends_in_one_line() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let screen = Screen::start(&alice, 80, "NO_COLOR=1", "shell");
    screen.until("alice>");
    screen.until("online");
    let settled = |shown: &str| shown.matches("1.000000 QUID to bob").count();
    screen.keys("pay bob 1");
    screen.key("Enter");
    screen.until("paid 1.000000 QUID to bob");
    // What comes afterwards comes after all that is told of that.
    bob.ok(&["pay", "alice", "0.5"]);
    let shown = screen.until("received 0.500000 QUID from bob");
    assert_eq!(
        (settled(&shown), shown.contains("sent")),
        (1, false),
        "{shown}"
    );
    screen.keys("tab open bob --unit 0.01 --units 10");
    screen.key("Enter");
    screen.until("opened tab");
    bob.ok(&["pay", "alice", "0.125"]);
    let shown = screen.until("received 0.125000 QUID from bob");
    assert!(!shown.contains("tab to bob"), "{shown}");
    // So does one that is refused.
    world.operate(&["freeze", "alice"]);
    screen.keys("pay bob 2");
    screen.key("Enter");
    screen.until("refused: the payer's account is frozen");
    bob.ok(&["pay", "alice", "0.25"]);
    let shown = screen.until("received 0.250000 QUID from bob");
    assert_eq!(shown.matches("refused").count(), 1, "{shown}");
    world.operate(&["thaw", "alice"]);
    // What another command of the home pays is told here as it was.
    alice.ok(&["pay", "bob", "3"]);
    screen.until("sent 3.000000 QUID to bob");
}
