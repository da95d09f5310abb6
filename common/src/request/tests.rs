use proptest::prelude::*;

use super::*;
use crate::address::{AddressError, DirectoryAddress};
use crate::cbor;
use crate::chain::Link;
use crate::order::SignedOrder;
use crate::signed::SignedError;

fn bob() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

fn amount(units: u64) -> Amount {
    Amount::new(units).expect("below the maximum")
}

fn request(wanted: Wanted) -> Request {
    Request {
        version: STATEMENT_VERSION,
        ledger: LedgerId([1; 32]),
        id: RequestId::new(LedgerTime::from_millis(1_763_000_060_000), [2; 10]),
        payee: bob().public(),
        name: "bob".parse().expect("a name"),
        wanted,
        memo: Memo::new("for tea").expect("short"),
        once: false,
    }
}

const TAB: Wanted = Wanted::Tab {
    unit: Amount::MAX,
    units: 1,
};

fn address(host: &str) -> DirectoryAddress {
    let key = SecretKey::from_seed(&[6; 32]).public();
    DirectoryAddress::new(key, host, 65535).expect("an address")
}

fn link(request: Request) -> RequestLink {
    RequestLink::new(address("directory.example"), request.sign(&bob())).expect("it is signed")
}

/// The longest link there is.
fn longest() -> RequestLink {
    let label = "a".repeat(63);
    let host = format!("{label}.{label}.{label}.{}", "b".repeat(42));
    let request = Request {
        name: "n".repeat(Name::LEN_MAX).parse().expect("a name"),
        wanted: Wanted::Tab {
            unit: amount(1 << 40),
            units: LENGTH_MAX,
        },
        memo: Memo::new("m".repeat(Memo::LEN_MAX)).expect("at the limit"),
        ..request(Wanted::Open)
    };
    RequestLink::new(address(&host), request.sign(&bob())).expect("it is signed")
}

#[test]
fn a_request_survives_the_journey_and_nothing_else_does() {
    for wanted in [Wanted::Amount(amount(1_500_000)), Wanted::Open, TAB] {
        for once in [false, true] {
            let signed = Request {
                once,
                ..request(wanted)
            }
            .sign(&bob());
            let back = SignedRequest::from_bytes(signed.bytes()).expect("own encoding");
            assert_eq!(back, signed);
            for end in 0..signed.bytes().len() {
                let cut = SignedRequest::from_bytes(&signed.bytes()[..end]);
                assert!(cut.is_err(), "prefix {end}");
            }
            for bit in 0..signed.bytes().len() * 8 {
                let mut bytes = signed.bytes().to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let taken = SignedRequest::from_bytes(&bytes)
                    .is_ok_and(|it| RequestLink::new(address("h"), it).is_ok());
                assert!(!taken, "bit {bit} flipped");
            }
        }
    }
}

#[test]
fn what_nobody_can_be_asked_for_is_no_request() {
    let tab = |unit, units| Wanted::Tab { unit, units };
    for wanted in [
        Wanted::Amount(Amount::ZERO),
        tab(Amount::ZERO, 1),
        tab(amount(1), 0),
        tab(amount(1), LENGTH_MAX + 1),
        tab(Amount::MAX, 2),
    ] {
        assert!(!wanted.is_sound(), "{wanted:?}");
        let unsound = RequestLink::new(address("h"), request(wanted).sign(&bob()));
        assert_eq!(unsound, Err(LinkError::Unsound));
    }
    let newer = Request {
        version: 2,
        ..request(Wanted::Open)
    };
    assert_eq!(
        RequestLink::new(address("h"), newer.sign(&bob())),
        Err(LinkError::Unsound)
    );
    // Units without what they are worth: no request at all.
    let mut fields = cbor::encode(&request(TAB));
    let at = fields
        .windows(9)
        .position(|bytes| bytes == cbor::encode(&Amount::MAX))
        .expect("the unit");
    fields.splice(at..at + 9, [0xf6]);
    assert!(cbor::decode::<Request>(&fields).is_err());
}

#[test]
fn no_signature_stands_for_another_kind() {
    let signed = request(Wanted::Open).sign(&bob());
    assert_eq!(
        SignedOrder::from_bytes(signed.bytes()),
        Err(SignedError::Kind)
    );
    let order = Signed::new(order(&request(Wanted::Open)), &bob());
    assert_eq!(
        SignedRequest::from_bytes(order.bytes()),
        Err(SignedError::Kind)
    );
}

/// An order by the payee's own key, which is as good as any here, that pays what is wanted.
fn order(request: &Request) -> Order {
    Order {
        version: STATEMENT_VERSION,
        ledger: request.ledger,
        id: OrderId::new(request.expires(), [9; 10]),
        payer: bob().public(),
        payee: request.payee,
        amount: match request.wanted {
            Wanted::Amount(amount) => amount,
            Wanted::Open | Wanted::Tab { .. } => amount(7),
        },
        memo: Memo::default(),
        reference: Some(request.reference()),
    }
}

#[test]
fn an_order_answers_only_what_it_pays_exactly() {
    let exact = request(Wanted::Amount(amount(5)));
    let open = request(Wanted::Open);
    let late = OrderId::new(exact.expires().plus(Duration::from_millis(1)), [9; 10]);
    for wanted in [&exact, &open] {
        let paid = order(wanted);
        assert!(wanted.answered_by(&paid));
        let others = [
            Order {
                ledger: LedgerId([9; 32]),
                ..paid.clone()
            },
            Order {
                payee: PublicKey::from_bytes([9; 32]),
                ..paid.clone()
            },
            Order {
                reference: None,
                ..paid.clone()
            },
            Order {
                reference: Some(Reference([9; 16])),
                ..paid.clone()
            },
            Order {
                id: late,
                ..paid.clone()
            },
            Order {
                amount: Amount::ZERO,
                ..paid.clone()
            },
        ];
        for other in others {
            assert!(!wanted.answered_by(&other), "{other:?}");
        }
    }
    for units in [4, 6] {
        let other = Order {
            amount: amount(units),
            ..order(&exact)
        };
        assert!(!exact.answered_by(&other));
    }
    assert!(!request(TAB).answered_by(&order(&request(TAB))));
}

#[test]
fn terms_open_only_what_is_wanted() {
    let wanted = request(Wanted::Tab {
        unit: amount(3),
        units: 8,
    });
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger: wanted.ledger,
        id: OrderId::new(wanted.expires(), [9; 10]),
        payer: PublicKey::from_bytes([9; 32]),
        payee: wanted.payee,
        unit: amount(3),
        length: 8,
        anchor: Link([4; 32]),
        expires: LedgerTime::MAX,
        grace: 1,
        memo: Memo::default(),
        reference: Some(wanted.reference()),
    };
    assert!(wanted.opened_by(&terms));
    let late = wanted.expires().plus(Duration::from_millis(1));
    for other in [
        Terms {
            unit: amount(2),
            ..terms.clone()
        },
        Terms {
            length: 9,
            ..terms.clone()
        },
        Terms {
            reference: None,
            ..terms.clone()
        },
        Terms {
            id: OrderId::new(late, [9; 10]),
            ..terms.clone()
        },
    ] {
        assert!(!wanted.opened_by(&other), "{other:?}");
    }
    assert!(!request(Wanted::Open).opened_by(&terms));
}

#[test]
fn links_read_back_as_they_are_written_and_fit_a_code() {
    let longest = longest();
    assert_eq!(longest.to_string().len(), LINK_LEN_MAX);
    assert_eq!(longest.signed().bytes().len(), REQUEST_LEN_MAX);
    for link in [
        link(request(Wanted::Amount(amount(5)))),
        link(request(Wanted::Open)),
        link(request(TAB)),
        longest,
    ] {
        let text = link.to_string();
        assert_eq!(text.parse(), Ok(link));
        assert!(RequestLink::is_meant(&text));
        assert_eq!(
            text.parse::<DirectoryAddress>(),
            Err(AddressError::PaymentRequest)
        );
    }
}

#[test]
fn other_texts_are_refused_by_the_part_that_is_wrong() {
    let good = link(request(Wanted::Open)).to_string();
    let (front, body) = good.split_once("/request/").expect("it is a link");
    let half = &body[..body.len() / 2];
    let (first, last) = (&body[..1], &body[body.len() - 1..]);
    // Another spelling of the same bytes: bits beyond the last byte.
    let padded = format!("{body}=");
    for (text, error) in [
        (String::new(), LinkError::Address(AddressError::NoScheme)),
        ("bob".to_owned(), LinkError::Address(AddressError::NoScheme)),
        (front.to_owned(), LinkError::DirectoryAddress),
        (format!("{front}/"), LinkError::Path),
        (format!("{front}/requests/{body}"), LinkError::Path),
        (format!("{front}//request/{body}"), LinkError::Path),
        (format!("{front}?request={body}"), LinkError::Path),
        (format!("{front}#{body}"), LinkError::Path),
        (format!("{front}/request"), LinkError::Empty),
        (format!("{front}/request/"), LinkError::Empty),
        (format!("{good}/"), LinkError::Tail),
        (format!("{good}/request/{body}"), LinkError::Tail),
        (format!("{good}?amount=1"), LinkError::Tail),
        (format!("{good}#"), LinkError::Tail),
        (format!("{good}{body}"), LinkError::Damaged),
        (format!("{good}{good}"), LinkError::Tail),
        (format!("{front}/request/{half}"), LinkError::Damaged),
        (format!("{front}/request/{padded}"), LinkError::Damaged),
        (format!("{front}/request/{last}{body}"), LinkError::Damaged),
        (
            format!("{front}/request/{}", body.replace(first, "+")),
            LinkError::Damaged,
        ),
        (format!("{good} "), LinkError::BadCharacter(' ')),
        (format!("{good}\n"), LinkError::BadCharacter('\n')),
        (
            format!("\u{200b}{good}"),
            LinkError::BadCharacter('\u{200b}'),
        ),
        (
            format!("{front}/request/\u{1b}[m"),
            LinkError::BadCharacter('\u{1b}'),
        ),
        (
            good.replacen("quid", "http", 1),
            LinkError::Address(AddressError::UnknownScheme("http".to_owned())),
        ),
        (
            good.replacen("quid", "QUID", 1),
            LinkError::Address(AddressError::SchemeCase),
        ),
        (
            format!("quid://directory.example:65535/request/{body}"),
            LinkError::Address(AddressError::NoKey),
        ),
        (
            good.replacen(":65535", "", 1),
            LinkError::Address(AddressError::NoPort),
        ),
        ("a".repeat(LINK_LEN_MAX + 1), LinkError::TooLong),
    ] {
        assert_eq!(text.parse::<RequestLink>(), Err(error), "{text:?}");
    }
    let forged = request(Wanted::Open).sign(&bob());
    let mut bytes = forged.into_bytes();
    *bytes.last_mut().expect("a signature") ^= 1;
    let forged = data_encoding::BASE64URL_NOPAD.encode(&bytes);
    let forged = format!("{front}/request/{forged}");
    assert_eq!(forged.parse::<RequestLink>(), Err(LinkError::Signature));
}

#[test]
fn no_letter_of_the_request_in_a_link_can_be_another() {
    let good = link(request(Wanted::Amount(amount(5)))).to_string();
    let (front, body) = good.split_once("/request/").expect("it is a link");
    for at in 0..body.len() {
        for letter in ["A", "z", "-"] {
            let mut other = body.to_owned();
            other.replace_range(at..=at, letter);
            if other != body {
                let text = format!("{front}/request/{other}");
                assert!(text.parse::<RequestLink>().is_err(), "{text}");
            }
        }
    }
}

#[test]
fn errors_are_one_printable_line() {
    for text in ["", "quid://x", "\u{9b}", "quid://h:1/request/\u{202e}"] {
        let error = text.parse::<RequestLink>().expect_err("it is no link");
        let line = error.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() < 250, "{line}");
    }
}

proptest! {
    #[test]
    fn every_link_reads_back(
        (units, count) in (1..=u64::MAX >> 24, 1..=LENGTH_MAX),
        kind in 0..3_u8,
        expires in 0..1_u64 << 48,
        random in any::<[u8; 10]>(),
        name in "[a-z][a-z0-9_-]{1,30}[a-z0-9]",
        memo in "\\PC{0,35}",
        once in any::<bool>(),
    ) {
        let unit = amount(units);
        let request = Request {
            id: RequestId::new(LedgerTime::from_millis(expires), random),
            name: name.parse().expect("a name"),
            wanted: match kind {
                0 => Wanted::Amount(unit),
                1 => Wanted::Open,
                _ if Wanted::Tab { unit, units: count }.is_sound() => Wanted::Tab { unit, units: count },
                _ => Wanted::Tab { unit, units: 1 },
            },
            memo: Memo::new(memo).expect("short"),
            once,
            ..request(Wanted::Open)
        };
        let link = link(request);
        prop_assert!(link.to_string().len() <= LINK_LEN_MAX);
        prop_assert_eq!(link.to_string().parse(), Ok(link));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), path in "[-_A-Za-z0-9/]{0,80}") {
        let _ = text.parse::<RequestLink>();
        let _ = format!("{}/request/{path}", address("h")).parse::<RequestLink>();
    }
}
