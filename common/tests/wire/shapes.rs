//! Real bytes against `quid.cddl`, and its tables against the code's.

use cddl::ast::CDDL;
use cddl::validator::Validator;
use cddl::validator::cbor::CBORValidator;
use cddl::validator::cbor_value::decode_cbor;
use quid_common::account::Change;
use quid_common::entry::{Entry, Registration};
use quid_common::frame::Frame;
use quid_common::merkle::PATH_LEN_MAX;
use quid_common::order::{Decline, Order, Void};
use quid_common::refusal::Reason;
use quid_common::signed::{Signed, Statement};
use quid_common::tab::{Close, Terms};
use quid_common::time::LedgerTime;
use quid_common::wire::{Message, history_kind};

use super::damage::{flips, receipts};
use super::golden::hex;
use super::items::{Item, head, items, splice};
use super::samples::{kebab, messages, specimens};
use super::world::World;

#[test]
fn every_kind_of_message_has_a_rule_and_no_rule_is_left_over() {
    let text = text();
    let code: Vec<(String, u64)> = Message::KINDS
        .iter()
        .map(|&(number, name)| (kebab(name), u64::from(number)))
        .collect();
    assert_eq!(table(&text, "message-kind"), code);
    for (rule, _) in code {
        assert!(has_rule(&text, &rule), "{rule} has a number and no rule");
    }
}

#[test]
fn refusals_and_history_kinds_are_those_of_the_code() {
    let text = text();
    let reasons: Vec<(String, u64)> = Reason::ALL
        .iter()
        .map(|reason| (reason.name().replace('_', "-"), u64::from(reason.0)))
        .collect();
    assert_eq!(table(&text, "known-reason"), reasons);
    let kinds = [
        ("payment", history_kind::PAYMENT),
        ("issue", history_kind::ISSUE),
        ("burn", history_kind::BURN),
        ("hold", history_kind::HOLD),
        ("claim", history_kind::CLAIM),
        ("release", history_kind::RELEASE),
    ];
    let kinds = kinds.map(|(name, number)| (name.to_owned(), u64::from(number)));
    assert_eq!(table(&text, "history-kind"), kinds);
}

#[test]
fn real_bytes_have_the_shape_that_their_rule_gives() {
    let text = text();
    let rules = parse(&text);
    for specimen in specimens(&World::new()) {
        let verdict = validate(&from(&rules, &specimen.rule), &specimen.bytes);
        assert_eq!(verdict, Ok(()), "{specimen:?}");
        if specimen.name.starts_with("entry.") {
            let verdict = validate(&from(&rules, "entry"), &specimen.bytes);
            assert_eq!(verdict, Ok(()), "{specimen:?} as any entry");
        }
    }
}

/// A rule that took everything would prove nothing: whatever is not read, because a field has
/// another type or size, is missing or is too many, has not the rule's shape either.
#[test]
fn what_the_code_does_not_read_has_not_its_rules_shape() {
    let text = text();
    let rules = parse(&text);
    for specimen in specimens(&World::new()) {
        let rules = from(&rules, &specimen.rule);
        for item in items(&specimen.bytes) {
            for bytes in misshapen(&specimen.bytes, &item) {
                // The validator is content with a regular expression that fits anywhere in a
                // text, where RFC 8610 wants it to fit the whole.
                let is_text = item.major == 3 && bytes[item.at] >> 5 == 3;
                if is_text || (specimen.reread)(&bytes).is_some() {
                    continue;
                }
                let verdict = validate(&rules, &bytes);
                assert!(verdict.is_err(), "{specimen:?} as {}", hex(&bytes));
            }
        }
    }
}

#[test]
fn whatever_the_code_reads_has_its_rules_shape() {
    let text = text();
    let rules = parse(&text);
    for (label, message) in messages(&World::new()) {
        let frame = message.to_frame();
        let rules = from(&rules, &rule_of(&message));
        let mut mutants = Vec::new();
        for item in items(&frame.body) {
            mutants.extend(misshapen(&frame.body, &item));
            // Every bit that says what follows, and the first of what follows.
            let bits = item.at * 8..(item.at + item.head + 1) * 8;
            mutants.extend(
                flips(&frame.body)
                    .filter(|(bit, _)| bits.contains(bit))
                    .map(|(_, bytes)| bytes),
            );
        }
        for body in mutants {
            let frame = Frame {
                kind: frame.kind,
                body,
            };
            let Ok(read) = Message::from_frame(&frame) else {
                continue;
            };
            if is_sound_inside(&read) {
                let verdict = validate(&rules, &frame.body);
                assert_eq!(
                    verdict,
                    Ok(()),
                    "{label} {message:?} as {}",
                    hex(&frame.body)
                );
            }
        }
    }
}

/// `bytes` with another value in `item`'s place, or one byte more or less in it, or without it.
fn misshapen(bytes: &[u8], item: &Item) -> Vec<Vec<u8>> {
    let mut others: Vec<Vec<u8>> = [0_u64, 1, 2, 255, 256, 65_535, 65_536, 1 << 48, 1 << 63]
        .into_iter()
        .map(|number| head(0, number))
        .collect();
    let simple: [&[u8]; 8] = [
        &[0x20],
        &[0x40],
        &[0x60],
        &[0x61, 0x41],
        &[0x80],
        &[0xf4],
        &[0xf5],
        &[0xf6],
    ];
    others.extend(simple.map(<[u8]>::to_vec));
    if let 2 | 3 = item.major {
        let content = &bytes[item.at + item.head..item.end];
        // In front, because the validator does not mind what follows an encoding in a byte string.
        let longer = [b"a", content].concat();
        let shorter = content.split_last().map_or(&[][..], |(_, rest)| rest);
        for content in [&longer[..], shorter] {
            others.push([&head(item.major, content.len() as u64)[..], content].concat());
        }
    }
    if item.major == 4 {
        let content = &bytes[item.at + item.head..item.end];
        others.push([&head(4, item.argument + 1)[..], content, &[0xf6]].concat());
    }
    others
        .into_iter()
        .map(|other| splice(bytes, item.at, item.end, &other))
        .collect()
}

/// Whether also what a message carries as opaque bytes can be read, and its times are such as a
/// ledger has: the rules describe both, the reader of the message leaves them to others.
fn is_sound_inside(message: &Message) -> bool {
    let facts = match message {
        Message::Register(it) => is_fact::<Registration>(&it.registration),
        Message::Submit(it) => {
            let decline = it.decline.as_ref();
            is_fact::<Order>(&it.order) && decline.is_none_or(|it| is_fact::<Decline>(it))
        }
        Message::SubmitVoid(it) => is_fact::<Void>(&it.void),
        Message::Offer(it) => is_fact::<Order>(&it.order),
        Message::SubmitTab(it) => is_fact::<Terms>(&it.terms),
        Message::SubmitClose(it) => is_fact::<Close>(&it.close),
        Message::ChangeKeys(it) => Change::from_bytes(&it.change).is_ok(),
        _ => true,
    };
    let rest = match message {
        Message::SettledNext(it) => Some((&it.entry, it.shared)),
        Message::PaidNext(it) => Some((&it.entry, it.shared)),
        _ => None,
    };
    let rest = rest.is_none_or(|(entry, shared)| {
        Entry::decode(entry).is_ok() && usize::from(shared) <= PATH_LEN_MAX
    });
    let entries = receipts(message)
        .iter()
        .all(|it| Entry::decode(&it.entry).is_ok());
    let times = match message {
        Message::Welcome(it) => vec![it.time],
        Message::Balance(it) => vec![it.time],
        Message::Fate(it) => vec![it.time],
        Message::HistoryPage(it) => it.lines.iter().map(|line| line.time).collect(),
        Message::KeysStanding(it) => {
            let due = it.pending.iter().map(|pending| pending.due);
            due.chain([it.time]).collect()
        }
        Message::TabStanding(it) => {
            let tab = it.tab.iter().flat_map(|tab| [tab.expires, tab.until]);
            tab.chain([it.time]).collect()
        }
        _ => vec![],
    };
    facts && entries && rest && times.into_iter().all(|time| time <= LedgerTime::MAX)
}

fn is_fact<T: Statement>(bytes: &[u8]) -> bool {
    Signed::<T>::from_bytes(bytes).is_ok()
}

fn rule_of(message: &Message) -> String {
    let name = Message::KINDS
        .iter()
        .find(|(kind, _)| *kind == message.kind());
    kebab(name.expect("every message has its kind in the table").1)
}

fn text() -> String {
    let path = [env!("CARGO_MANIFEST_DIR"), "..", "quid.cddl"];
    let path: std::path::PathBuf = path.iter().collect();
    std::fs::read_to_string(path).expect("quid.cddl is there")
}

fn has_rule(text: &str, rule: &str) -> bool {
    text.lines().any(|line| {
        line.strip_prefix(rule)
            .is_some_and(|rest| rest.starts_with(" = "))
    })
}

/// The names and numbers of `rule = &( name: number, ... )`.
fn table(text: &str, rule: &str) -> Vec<(String, u64)> {
    let (_, rest) = text
        .split_once(&format!("\n{rule} = &(\n"))
        .expect("the table is there");
    let (table, _) = rest.split_once("\n)").expect("the table ends");
    table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, number) = line
                .trim_end_matches(',')
                .split_once(": ")
                .expect("name: number");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}

fn parse(text: &str) -> CDDL<'_> {
    cddl::cddl_from_str(text, true).expect("quid.cddl can be read")
}

/// The rules with `rule` in front: validation begins at the first.
fn from<'a>(rules: &CDDL<'a>, rule: &str) -> CDDL<'a> {
    let mut rules = rules.clone();
    let place = rules.rules.iter().position(|other| other.name() == rule);
    rules
        .rules
        .swap(0, place.unwrap_or_else(|| panic!("{rule} has no rule")));
    rules
}

fn validate(rules: &CDDL<'_>, bytes: &[u8]) -> Result<(), String> {
    let value = decode_cbor(bytes).map_err(|error| error.to_string())?;
    let mut validator = CBORValidator::new(rules, value, None);
    validator.validate().map_err(|error| error.to_string())
}
