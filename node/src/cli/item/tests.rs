use super::*;

#[test]
fn json_lines_hold_nothing_that_a_terminal_acts_on() {
    let memo = "\u{1b}[31m\u{9b}2J\u{7f}\u{202e}\u{200b}\u{2028}\u{e0061}\n\"\\ e\u{301} ☕ 日本";
    let line = json_line(&memo);
    assert!(
        line.chars()
            .all(|c| matches!(c, ' '..='~') || (!c.is_ascii() && is_visible(c)))
    );
    assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), memo);
    assert!(
        line.contains("\\u001b") && line.contains("\\u009b"),
        "{line}"
    );
    assert!(line.contains("☕ 日本"), "{line}");
}

#[test]
fn times_are_rfc3339_whatever_the_directory_says() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_000_000_123, "2025-11-13T02:13:20.123Z"),
        (u64::MAX, "9999-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(rfc3339(LedgerTime::from_millis(ms)), text);
    }
}

#[test]
fn a_doubt_is_told_as_documented() {
    let doubted = Item::from(Doubted {
        event: EventName::Doubted,
        message: "why".to_owned(),
    });
    assert_eq!(doubted.to_json(), r#"{"event":"doubted","message":"why"}"#);
    let table = include_str!("../../../../docs/scripts.md");
    assert!(table.contains("| `quid listen: doubted` | `event` `message` | | "));
}

#[test]
fn fields_come_in_the_documented_order() {
    let paid = Paid {
        state: State::Settled,
        order: Some("019a".to_owned()),
        entry: Some(12),
        amount: "1.500000".to_owned(),
        currency: Some("QUID".to_owned()),
        payee: "bob".to_owned(),
        route: Some(Route::Direct),
        ..Paid::default()
    };
    assert_eq!(
        Item::from(paid).to_json(),
        r#"{"state":"settled","order":"019a","entry":12,"amount":"1.500000","currency":"QUID","payee":"bob","route":"direct"}"#
    );
}
