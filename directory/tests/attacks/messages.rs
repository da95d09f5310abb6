//! Messages that are wrong: out of place, too long, or built to be expensive to read.

use quid_common::amount::{Amount, Currency};
use quid_common::chain::Link;
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER, Frame};
use quid_common::id::{Digest, InstanceId, LedgerId, OrderId};
use quid_common::key::SecretKey;
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::time::LedgerTime;
use quid_common::wire::*;

use super::world::Directory;
use super::{besieged, closed, refusal, refusal_of, subscribe};

#[tokio::test]
async fn every_message_in_every_state_is_answered_by_name_or_closes_its_own_connection_only() {
    let directory = besieged().await;
    let kinds = messages(&directory);
    let numbers: Vec<u16> = kinds.iter().map(Message::kind).collect();
    let all: Vec<u16> = Message::KINDS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, all, "a sample of every kind");
    let mallory = directory.member(3, "mallory").await;

    // A stranger is refused by name, as often as a stranger may ask.
    for kinds in kinds.chunks(15) {
        let stranger = directory.client(4).await;
        for message in kinds {
            let reason = match message {
                Message::Register(_) | Message::ChangeKeys(_) => Reason::ENCODING,
                Message::AskKeys(_) | Message::AskSuccessor(_) => Reason::UNKNOWN_ACCOUNT,
                Message::Login(_) => Reason::NOT_REGISTERED,
                _ => Reason::NOT_LOGGED_IN,
            };
            assert_eq!(
                refusal(&stranger, message).await,
                Some(reason),
                "{message:?}"
            );
        }
    }

    // An account's first message decides what the stream is for; nothing harms the session.
    for message in &kinds {
        let answer = match message {
            Message::OpenSettle(_) | Message::Subscribe(_) => continue,
            Message::Register(_) | Message::Login(_) => Some(Reason::OUT_OF_TURN),
            Message::Prove(_) | Message::AskConsistency(_) => Some(Reason::NOT_FOUND),
            Message::AskTab(_) => None,
            Message::Find(_) | Message::AskKeys(_) | Message::AskSuccessor(_) => {
                Some(Reason::UNKNOWN_ACCOUNT)
            }
            Message::ChangeKeys(_) => Some(Reason::ENCODING),
            Message::Who(_)
            | Message::AskBalance(_)
            | Message::AskHistory(_)
            | Message::AskFate(_) => None,
            _ => Some(Reason::UNKNOWN_KIND),
        };
        assert_eq!(
            refusal(&mallory.client, message).await,
            answer,
            "{message:?}"
        );
    }
    for kind in [0, 12, 15, 999, u16::MAX] {
        let frame = Frame {
            kind,
            body: vec![0x80],
        };
        assert_eq!(
            refusal_of(&mallory.client, &frame).await,
            Some(Reason::UNKNOWN_KIND),
            "{kind}"
        );
    }
    for (kind, _) in Message::KINDS {
        for body in [vec![], vec![0xff], vec![0x80, 0x80], vec![0x9f, 0xff]] {
            let frame = Frame { kind: *kind, body };
            let answer = refusal_of(&mallory.client, &frame).await;
            assert_eq!(answer, Some(Reason::ENCODING), "{frame:?}");
        }
    }
    assert_eq!(mallory.balance().await, 100_000_000);

    // On a settle or event stream everything out of place ends the connection, with code 1.
    for first in [OpenSettle {}.into(), subscribe(None)] {
        let settles = matches!(first, Message::OpenSettle(_));
        for message in &kinds {
            let mallory = directory
                .client(3)
                .await
                .log_in(false)
                .await
                .expect("registered");
            let mut stream = mallory.client.open().await;
            stream.send(&first).await;
            stream.send(message).await;
            match message {
                Message::Submit(_)
                | Message::SubmitVoid(_)
                | Message::SubmitTab(_)
                | Message::SubmitClaim(_)
                | Message::SubmitClose(_)
                    if settles =>
                {
                    let expected = match message {
                        // Nothing in it can be wrong but what it says.
                        Message::SubmitClaim(_) => Reason::STALE_CLAIM,
                        _ => Reason::ENCODING,
                    };
                    match stream.next().await.expect("an answer") {
                        Message::SubmitRefused(SubmitRefused { number, reason, .. }) => {
                            assert_eq!((number, reason), (7, expected));
                        }
                        other => panic!("not a refusal: {other:?}"),
                    }
                }
                _ => assert_eq!(closed(&mallory.client.connection).await, 1, "{message:?}"),
            }
        }
    }
    directory.still_pays().await;
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_before_its_bytes_come() {
    let directory = besieged().await;
    let mallory = directory.member(3, "mallory").await;
    for len in [BODY_LEN_MAX as u32 + 1, 1 << 31, u32::MAX] {
        let mut header = len.to_be_bytes().to_vec();
        header.extend(3_u16.to_be_bytes());
        let (mut stream, connection) = {
            let stranger = directory.client(4).await;
            (stranger.open().await, stranger.connection.clone())
        };
        stream.send.write_all(&header).await.expect("connected");
        assert_eq!(closed(&connection).await, 1, "a stranger's {len}");

        let mut stream = mallory.client.open().await;
        stream.send.write_all(&header).await.expect("connected");
        let answer = stream.next().await;
        assert_eq!(
            answer,
            Some(
                Refused {
                    reason: Reason::TOO_LONG
                }
                .into()
            )
        );
        for first in [OpenSettle {}.into(), subscribe(None)] {
            let member = directory
                .client(3)
                .await
                .log_in(false)
                .await
                .expect("registered");
            let mut stream = member.client.open().await;
            stream.send(&first).await;
            stream.send.write_all(&header).await.expect("connected");
            assert_eq!(
                closed(&member.client.connection).await,
                1,
                "an account's {len}"
            );
        }
    }
    // A stranger's cap is lower.
    let stranger = directory.client(4).await;
    let frame = Frame {
        kind: 1,
        body: vec![0; BODY_LEN_MAX_STRANGER],
    };
    // The refusal may be lost with the connection.
    assert!([None, Some(Reason::ENCODING)].contains(&refusal_of(&stranger, &frame).await));
    assert_eq!(closed(&stranger.connection).await, 1);
    assert_eq!(mallory.balance().await, 100_000_000);
    directory.still_pays().await;
}

#[tokio::test]
async fn bombs_in_the_header_of_a_signed_fact_are_refused() {
    let directory = besieged().await;
    let mallory = directory.member(3, "mallory").await;
    let mut settle = mallory.settle().await;
    let lying = |major: u8| [vec![major << 5 | 27], vec![0x7f; 8]].concat();
    let headers = [
        vec![0x81; 900],
        vec![0xc1; 900],
        vec![0xa1; 900],
        vec![0x9f; 900],
        vec![0xbf; 900],
        vec![0x5f; 900],
        [vec![0xa1, 0x04], vec![0x81; 900]].concat(),
        [vec![0xa1, 0x07], [0x83, 0x43, 0xa1, 0x07].repeat(200)].concat(),
        [vec![0xa1, 0x03], lying(3)].concat(),
        [vec![0xa1, 0x02], lying(4)].concat(),
        [vec![0xa1, 0x04], lying(2)].concat(),
        lying(4),
        lying(5),
        vec![],
    ];
    for header in headers {
        let mut bytes = vec![0x84, 0x59];
        bytes.extend(u16::try_from(header.len()).expect("short").to_be_bytes());
        if header.len() < 256 {
            bytes.truncate(1);
            bytes.extend(if header.len() < 24 {
                vec![0x40 | header.len() as u8]
            } else {
                vec![0x58, header.len() as u8]
            });
        }
        bytes.extend(&header);
        bytes.extend([0xa0, 0x41, 0x80, 0x58, 0x40]);
        bytes.extend([1; 64]);
        assert_eq!(
            settle.submit_bytes(&bytes).await,
            Err(Reason::ENCODING),
            "{header:02x?}"
        );
    }
    directory.still_pays().await;
}

/// One message of every kind, in the order of their numbers; facts in them are nobody's.
fn messages(directory: &Directory) -> Vec<Message> {
    let key = SecretKey::from_seed(&[99; 32]);
    let ledger = LedgerId([9; 32]);
    let checkpoint = Checkpoint::sign(
        ledger,
        Head {
            size: 1,
            root: [1; 32],
        },
        &key,
    );
    let (entry, path) = (vec![1].into(), vec![0; 32].into());
    let receipt = Receipt {
        entry,
        index: 0,
        path,
        checkpoint: checkpoint.clone(),
    };
    let id = OrderId::new(LedgerTime::from_millis(1_763_000_000_000), [7; 10]);
    let name: Name = "nobody-here".parse().expect("a valid name");
    let address = directory.address.to_string();
    let instance = InstanceId([1; 16]);
    let (key, time, number) = (key.public(), LedgerTime::default(), 7);
    let (available, held) = (Amount::ZERO, Amount::ZERO);
    let currency = Currency::default();
    let person = Person {
        name: name.clone(),
        key,
        address: address.clone(),
    };
    let (reason, link) = (Reason::BUSY, Link([0xff; 32]));
    let mut all: Vec<Message> = vec![
        Register {
            registration: vec![1].into(),
            invite: None,
        }
        .into(),
        Registered {
            receipt: receipt.clone(),
        }
        .into(),
        Login {
            instance,
            listening: true,
            hidden: false,
            checkpoint: None,
        }
        .into(),
        Welcome {
            name: name.clone(),
            number,
            currency,
            ledger,
            time,
            available,
            held,
            address,
            checkpoint: checkpoint.clone(),
            in_flight: 1,
        }
        .into(),
        Refused { reason }.into(),
        ChangeKeys {
            change: vec![1].into(),
        }
        .into(),
        KeysChanged {
            receipt: receipt.clone(),
        }
        .into(),
        AskKeys { name: name.clone() }.into(),
        KeysStanding {
            ledger,
            time,
            account: number,
            key,
            recovery: None,
            frozen: false,
            locked: false,
            said: number,
            recovery_said: number,
            pending: None,
        }
        .into(),
        AskSuccessor { key }.into(),
        Successor { receipt: None }.into(),
        Who {
            after: None,
            limit: 0,
        }
        .into(),
        WhoPage {
            people: vec![person.clone()],
            more: false,
        }
        .into(),
        Find { name: name.clone() }.into(),
        Found { key, address: None }.into(),
        AskBalance {}.into(),
        Balance {
            available,
            held,
            time,
        }
        .into(),
        AskHistory {
            before: Some(u64::MAX),
            after: Some(u64::MAX),
            limit: 0,
        }
        .into(),
        HistoryPage {
            lines: vec![],
            more: false,
        }
        .into(),
        AskFate { payer: key, id }.into(),
        Fate {
            receipt: None,
            time,
        }
        .into(),
        Prove { entry: u64::MAX }.into(),
        Proof {
            receipt: receipt.clone(),
        }
        .into(),
        AskConsistency {
            from: u64::MAX,
            to: 0,
        }
        .into(),
        Consistency {
            root: Digest([0xff; 32]),
            proof: vec![0xff; 33].into(),
        }
        .into(),
        AskTab { payer: key, id }.into(),
        TabStanding { tab: None, time }.into(),
        OpenSettle {}.into(),
        Submit {
            number,
            order: vec![1].into(),
            decline: Some(vec![].into()),
        }
        .into(),
        SubmitVoid {
            number,
            void: vec![].into(),
        }
        .into(),
        Settled {
            number,
            receipt: receipt.clone(),
        }
        .into(),
        Voided {
            number,
            receipt: receipt.clone(),
        }
        .into(),
        SubmitRefused {
            number,
            reason,
            receipt: None,
        }
        .into(),
        SubmitTab {
            number,
            terms: vec![1].into(),
        }
        .into(),
        SubmitClaim {
            number,
            payer: key,
            id,
            from: u32::MAX,
            index: 0,
            link,
        }
        .into(),
        SubmitClose {
            number,
            close: vec![].into(),
        }
        .into(),
        SettledNext {
            number,
            entry: vec![1].into(),
            index: u64::MAX,
            path: vec![0xff; 33].into(),
            shared: u8::MAX,
        }
        .into(),
        subscribe(None),
        Moved {
            receipt: receipt.clone(),
            counterparty: name.clone(),
        }
        .into(),
        Online { person }.into(),
        Offline { name, key }.into(),
        CaughtUp { entries: 1 }.into(),
        Lagged {}.into(),
        Offer {
            number,
            order: vec![].into(),
            checkpoint: Some(checkpoint),
        }
        .into(),
        Paid {
            number,
            receipt: receipt.clone(),
        }
        .into(),
        Declined { number, reason }.into(),
        PaidNext {
            number,
            entry: vec![1].into(),
            index: u64::MAX,
            path: vec![0xff; 33].into(),
            shared: u8::MAX,
        }
        .into(),
    ];
    all.extend(messages_between_nodes(receipt, link));
    all
}

/// Those of a tab stream, where a directory has no business.
fn messages_between_nodes(receipt: Receipt, link: Link) -> [Message; 7] {
    let (number, paid, limit) = (7, 1, u32::MAX);
    [
        OpenTabs {}.into(),
        TabOffer {
            number,
            receipt,
            checkpoint: None,
        }
        .into(),
        TabAccepted {
            number,
            paid,
            link,
            limit,
        }
        .into(),
        TabPay {
            number,
            first: 1,
            step: 0,
            links: vec![0; 31].into(),
        }
        .into(),
        TabPaid {
            number,
            paid,
            limit,
        }
        .into(),
        TabEnd { number }.into(),
        TabEnded {
            number,
            paid,
            reason: None,
        }
        .into(),
    ]
}
