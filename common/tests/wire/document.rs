//! PROTOCOL.md's tables and its worked example against the code.
//!
//! Each table follows a comment that names it; each block of the example says what it holds.

use std::path::PathBuf;
use std::time::Duration;

use quid_common::account::{self, Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::amount::{Amount, Currency};
use quid_common::cbor;
use quid_common::chain::{self, Link};
use quid_common::checkpoint::Checkpoint;
use quid_common::entry::{Freeze, Genesis, Issue, Registration};
use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER};
use quid_common::name::Name;
use quid_common::order::{Decline, Memo, Order, Void};
use quid_common::receipt::Receipt;
use quid_common::refusal::{Class, Reason};
use quid_common::request::Request;
use quid_common::signed::Statement;
use quid_common::tab::{self, Close, Terms};
use quid_common::wire::{
    CloseCode, HistoryLine, HistoryPage, LINKS_MAX, Message, Offer, PAGE_LEN_MAX, Paid, Person,
    Register, Registered, TabOffer, TabPay, WhoPage, history_kind,
};
use quid_common::{
    address, checkpoint, consistency, entry, frame, merkle, order, request, signed, tls,
};
use serde_bytes::ByteBuf;

use super::golden::{golden, hex};
use super::items::items;
use super::samples::{kebab, protected};
use super::world::{LENGTH, World};

#[test]
fn messages_are_those_of_the_code() {
    let told: Vec<(u16, String, String)> = table("messages")
        .into_iter()
        .map(|row| (number(&row[0]), row[1].clone(), code(&row[2]).to_owned()))
        .collect();
    let real: Vec<(u16, String, String)> = Message::KINDS
        .iter()
        .map(|&(kind, name)| (kind, name.to_owned(), kebab(name)))
        .collect();
    assert_eq!(told, real);
    for answer in table("messages").iter().flat_map(|row| row[5].split(", ")) {
        let known = Message::KINDS.iter().any(|(_, name)| *name == answer);
        assert!(answer.is_empty() || known, "{answer} is no message");
    }
}

#[test]
fn refusals_are_those_of_the_code() {
    let told: Vec<[String; 4]> = table("refusals")
        .into_iter()
        .map(|row| [&row[0], code(&row[1]), &row[2], &row[3]].map(str::to_owned))
        .collect();
    let real: Vec<[String; 4]> = Reason::ALL
        .iter()
        .map(|reason| {
            let class = match reason.class() {
                Class::Static => "static",
                Class::Logged => "logged",
                Class::Expired => "expired",
                Class::NotFinal => "not final",
                Class::Request => "request",
            };
            let number = reason.0.to_string();
            [&number, reason.name(), class, reason.explain()].map(str::to_owned)
        })
        .collect();
    assert_eq!(told, real);
}

#[test]
fn every_reason_that_an_order_or_tab_can_meet_has_its_place_in_the_order_of_precedence() {
    let text = document();
    let (_, list) = text
        .split_once("**Precedence.**")
        .expect("the list is there");
    let (list, _) = list.split_once("\n\nOf these,").expect("the list ends");
    // The directory says `stopping` instead of deciding anything.
    let of_facts = Reason::ALL
        .iter()
        .filter(|reason| reason.class() != Class::Request && **reason != Reason::STOPPING);
    for reason in of_facts {
        assert!(
            list.contains(&format!("`{}`", reason.name())),
            "{reason:?} has no place"
        );
    }
}

#[test]
fn closing_codes_and_history_kinds_are_those_of_the_code() {
    let real = [
        ("BYE", CloseCode::BYE),
        ("PROTOCOL", CloseCode::PROTOCOL),
        ("TIMEOUT", CloseCode::TIMEOUT),
        ("FULL", CloseCode::FULL),
        ("STOPPING", CloseCode::STOPPING),
        ("SLOW", CloseCode::SLOW),
        ("REPLACED", CloseCode::REPLACED),
    ];
    let real = real.map(|(name, code)| (code.0, name.to_owned()));
    assert_eq!(numbered("closing"), real);
    let real = [
        ("payment", history_kind::PAYMENT),
        ("issue", history_kind::ISSUE),
        ("burn", history_kind::BURN),
        ("hold", history_kind::HOLD),
        ("claim", history_kind::CLAIM),
        ("release", history_kind::RELEASE),
    ];
    let real = real.map(|(name, kind)| (u32::from(kind), name.to_owned()));
    assert_eq!(numbered("history kinds"), real);
}

#[test]
fn entries_are_numbered_as_they_are_written() {
    let told = numbered("entries");
    let world = World::new();
    let mut met = Vec::new();
    for entry in world.every_entry() {
        let bytes = entry.encode();
        let fields: Vec<u64> = items(&bytes).iter().map(|item| item.argument).collect();
        let [4, 1, _, kind, _] = fields[..] else {
            panic!("an entry has four fields")
        };
        let name = match entry.fact {
            entry::Fact::Genesis(_) => "genesis",
            entry::Fact::Register(_) => "register",
            entry::Fact::Issue(_) => "issue",
            entry::Fact::Payment(_) => "payment",
            entry::Fact::Void(_) => "void",
            entry::Fact::Freeze(_) => "freeze",
            entry::Fact::Refusal(_) => "refusal",
            entry::Fact::Tab(_) => "tab",
            entry::Fact::Claim(_) => "claim",
            entry::Fact::Close(_) => "close",
            entry::Fact::Release(_) => "release",
            entry::Fact::Rotation(_) => "rotation",
            entry::Fact::Recovery(_) => "recovery",
            entry::Fact::Objection(_) => "objection",
            entry::Fact::Takeover(_) => "takeover",
            entry::Fact::Lock(_) => "lock",
        };
        met.push((u32::try_from(kind).expect("small"), name.to_owned()));
    }
    met.sort();
    met.dedup();
    assert_eq!(told, met);
}

#[test]
fn protected_headers_are_those_of_the_code() {
    fn row<T: Statement>(statement: &str) -> [String; 3] {
        let header = hex(&protected(T::CONTENT_TYPE));
        [statement, T::CONTENT_TYPE, &header].map(str::to_owned)
    }
    let told: Vec<[String; 3]> = table("signed facts")
        .into_iter()
        .map(|row| [&row[0], &row[2], &row[3]].map(|cell| code(cell).to_owned()))
        .collect();
    let real = [
        row::<Order>("order"),
        row::<Void>("void"),
        row::<Decline>("decline"),
        row::<Registration>("registration"),
        row::<Genesis>("genesis"),
        row::<Issue>("issue"),
        row::<Freeze>("freeze"),
        row::<Terms>("terms"),
        row::<Close>("close"),
        row::<Rotation>("rotation"),
        row::<Recovery>("recovery"),
        row::<Objection>("objection"),
        row::<Takeover>("takeover"),
        row::<Lock>("lock"),
        row::<Request>("request"),
    ];
    assert_eq!(told, real);
}

#[test]
fn limits_are_those_of_the_code() {
    for row in table("limits") {
        let (name, told, file) = (code(&row[0]), &row[1], code(&row[2]));
        let real = match own_limit(name) {
            Some(value) => value,
            None => limit_in_source(name, file),
        };
        assert_eq!(*told, real, "{name}");
    }
}

#[test]
fn the_worked_example_is_what_the_code_makes() {
    let world = World::new();
    let order = world.order();
    let golden = golden();
    let blocks = blocks();
    let framed = |kind: u16, name: &str| {
        let body = golden.get(name).expect("it is golden");
        format!("{:08x}{kind:04x}{body}", body.len() / 2)
    };
    let mut seen = 0;
    for (what, told) in &blocks {
        let real = match what.as_str() {
            "hex sig-structure" => hex(&order.message()),
            "hex digest" => order.digest().to_string(),
            "hex frame" => framed(33, "message.33.submit.bare"),
            "hex payment" => framed(TabPay::KIND, "message.83.tab-pay.full"),
            "hex links" => (0..=LENGTH)
                .map(|index| hex(&world.link(index).0))
                .collect(),
            "hex leaf" => hex(&merkle::leaf_hash(&world.entries[4].encode())),
            "text checkpoint" => world.checkpoint().as_str().to_owned(),
            other => match other.strip_prefix("hex ") {
                Some(name) => golden.get(name).expect("it is golden").clone(),
                None => continue,
            },
        };
        let told = if what.starts_with("hex") {
            told.replace('\n', "")
        } else {
            told.clone()
        };
        assert_eq!(told, real, "{what}");
        seen += 1;
    }
    assert_eq!(seen, 12, "a block of the example is missing or new");
}

/// No message that a rule of the document allows is too long for where it is read.
#[test]
fn the_longest_messages_fit_their_frames() {
    let world = World::new();
    let fact = || ByteBuf::from(vec![0; signed::SIGNED_LEN_MAX]);
    let checkpoint = Checkpoint::try_from("x".repeat(checkpoint::CHECKPOINT_LEN_MAX));
    let checkpoint = checkpoint.expect("at the limit");
    let receipt = Receipt {
        entry: ByteBuf::from(vec![0; entry::ENTRY_LEN_MAX]),
        index: u64::MAX,
        path: ByteBuf::from(vec![0; 32 * merkle::PATH_LEN_MAX]),
        checkpoint: checkpoint.clone(),
    };
    let name: Name = "n".repeat(Name::LEN_MAX).parse().expect("at the limit");
    let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".to_owned();
    let key = world.alice.public();
    let person = Person {
        name: name.clone(),
        key,
        address,
    };
    let line = HistoryLine {
        entry: u64::MAX,
        time: quid_common::time::LedgerTime::MAX,
        kind: u8::MAX,
        incoming: true,
        amount: Amount::MAX,
        counterparty: name,
        memo: Memo::new("m".repeat(Memo::LEN_MAX)).expect("at the limit"),
        order: Some(world.order().statement().id),
        reference: Some(quid_common::id::Reference([0xff; 16])),
    };
    let page = usize::from(PAGE_LEN_MAX);
    let table: [(Message, usize); 8] = [
        (
            Register {
                registration: fact(),
                invite: None,
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            Registered {
                receipt: receipt.clone(),
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            Offer {
                number: u64::MAX,
                order: fact(),
                checkpoint: Some(checkpoint.clone()),
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            Paid {
                number: u64::MAX,
                receipt: receipt.clone(),
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            TabOffer {
                number: u32::MAX,
                receipt,
                checkpoint: Some(checkpoint),
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            TabPay {
                number: u32::MAX,
                first: u32::MAX,
                step: u32::MAX,
                links: vec![0; Link::LEN * LINKS_MAX].into(),
            }
            .into(),
            BODY_LEN_MAX_STRANGER,
        ),
        (
            WhoPage {
                people: vec![person; page],
                more: true,
            }
            .into(),
            BODY_LEN_MAX,
        ),
        (
            HistoryPage {
                lines: vec![line; page],
                more: true,
            }
            .into(),
            BODY_LEN_MAX,
        ),
    ];
    for (message, len_max) in table {
        let len = cbor_len(&message);
        assert!(len <= len_max, "{} bytes of kind {}", len, message.kind());
    }
}

fn cbor_len(message: &Message) -> usize {
    let body = message.to_frame().body;
    assert_eq!(cbor::check(&body), Ok(()));
    body.len()
}

/// A limit of this crate, as the document writes it.
fn own_limit(name: &str) -> Option<String> {
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    Some(match name {
        "HEADER_LEN" => frame::HEADER_LEN.to_string(),
        "BODY_LEN_MAX_STRANGER" => BODY_LEN_MAX_STRANGER.to_string(),
        "BODY_LEN_MAX" => BODY_LEN_MAX.to_string(),
        "DEPTH_MAX" => cbor::DEPTH_MAX.to_string(),
        "SIGNED_LEN_MAX" => signed::SIGNED_LEN_MAX.to_string(),
        "ENTRY_LEN_MAX" => entry::ENTRY_LEN_MAX.to_string(),
        "CHECKPOINT_LEN_MAX" => checkpoint::CHECKPOINT_LEN_MAX.to_string(),
        "SIZE_MAX" => checkpoint::SIZE_MAX.to_string(),
        "PATH_LEN_MAX" => merkle::PATH_LEN_MAX.to_string(),
        "PROOF_LEN_MAX" => consistency::PROOF_LEN_MAX.to_string(),
        "PAGE_LEN_MAX" => PAGE_LEN_MAX.to_string(),
        "Memo::LEN_MAX" => Memo::LEN_MAX.to_string(),
        "Name::LEN_MIN" => Name::LEN_MIN.to_string(),
        "Name::LEN_MAX" => Name::LEN_MAX.to_string(),
        "Amount::MAX" => Amount::MAX.units().to_string(),
        "Currency::DECIMALS_MAX" => Currency::DECIMALS_MAX.to_string(),
        "GAP_MAX" => chain::GAP_MAX.to_string(),
        "LENGTH_MAX" => chain::LENGTH_MAX.to_string(),
        "LINKS_MAX" => LINKS_MAX.to_string(),
        "TABS_PER_PAYER_MAX" => tab::TABS_PER_PAYER_MAX.to_string(),
        "RECOVERY_DELAY" => seconds(account::RECOVERY_DELAY),
        "OBJECTION_DELAY" => seconds(account::OBJECTION_DELAY),
        "GRACE_MAX" => seconds(tab::GRACE_MAX),
        "GRACE_DEFAULT" => seconds(tab::GRACE_DEFAULT),
        "LIFE_MAX" => seconds(order::LIFE_MAX),
        "LIFE_DEFAULT" => seconds(order::LIFE_DEFAULT),
        "CERTIFICATE_LEN_MAX" => tls::CERTIFICATE_LEN_MAX.to_string(),
        "REQUEST_LEN_MAX" => request::REQUEST_LEN_MAX.to_string(),
        "LINK_LEN_MAX" => request::LINK_LEN_MAX.to_string(),
        "REQUEST_LIFE_MAX" => seconds(request::REQUEST_LIFE_MAX),
        "REQUEST_LIFE_DEFAULT" => seconds(request::REQUEST_LIFE_DEFAULT),
        "ADDRESS_LEN_MAX" => address::ADDRESS_LEN_MAX.to_string(),
        _ => return None,
    })
}

/// A limit of the directory, which this crate cannot depend on, read off its source.
fn limit_in_source(name: &str, file: &str) -> String {
    let source = read(file);
    let declaration = format!("const {name}: ");
    let (_, rest) = source
        .split_once(&declaration)
        .unwrap_or_else(|| panic!("{name} is not in {file} any more"));
    let (_, value) = rest.split_once(" = ").expect("a constant has a value");
    let (value, _) = value.split_once(';').expect("a declaration ends");
    let time = |unit| {
        let value = value.strip_prefix(unit)?;
        value.strip_suffix(')').map(product)
    };
    if let Some(count) = time("Rate::per_second(") {
        return format!("{count} a second");
    }
    match (time("Duration::from_secs("), time("Duration::from_millis(")) {
        (Some(seconds), _) => format!("{seconds} s"),
        (_, Some(millis)) => format!("{millis} ms"),
        _ => product(value).to_string(),
    }
}

/// The value of an expression such as `32 * 1_024`.
fn product(expression: &str) -> u64 {
    expression
        .split('*')
        .map(|factor| factor.trim().replace('_', "").parse::<u64>())
        .try_fold(1, |product, factor| {
            Ok::<u64, std::num::ParseIntError>(product * factor?)
        })
        .unwrap_or_else(|error| panic!("{expression}: {error}; teach this test to read it"))
}

/// The rows of a table whose first two columns are a number and a name.
fn numbered(name: &str) -> Vec<(u32, String)> {
    let rows = table(name).into_iter();
    rows.map(|row| (number(&row[0]), row[1].clone())).collect()
}

/// The rows of the table after `<!-- table: name -->`, without its head.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = document();
    let marker = format!("<!-- table: {name} -->\n");
    let (_, rest) = text
        .split_once(&marker)
        .unwrap_or_else(|| panic!("no table {name}"));
    let rows: Vec<Vec<String>> = rest
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|it| it.trim().to_owned())
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "the table {name} is empty");
    rows
}

/// The fenced blocks: what follows the fence, and the content.
fn blocks() -> Vec<(String, String)> {
    let text = document();
    let parts: Vec<&str> = text.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .map(|(what, content)| (what.to_owned(), content.to_owned()))
        .collect()
}

fn number<T: std::str::FromStr>(cell: &str) -> T {
    cell.parse()
        .unwrap_or_else(|_| panic!("{cell} is not a number"))
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

fn document() -> String {
    read("PROTOCOL.md")
}

fn read(file: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", file].iter().collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
