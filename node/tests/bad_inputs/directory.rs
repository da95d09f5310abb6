//! The directory's sessions: strangers, requests, settle and event streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::Amount;
use quid_common::chain::{Chain, Link};
use quid_common::entry::Registration;
use quid_common::frame::{BODY_LEN_MAX, BODY_LEN_MAX_STRANGER};
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::PublicKey;
use quid_common::order::{Decline, Memo, Order, STATEMENT_VERSION, Void};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tab::{Close, Terms};
use quid_common::time::LedgerTime;
use quid_common::wire::*;
use quinn::Connection;
use tokio::task::JoinSet;

use crate::client::{Caller, Outcome, Stream, ask, frame, framed, named, send};
use crate::damage::{damaged, flips};
use crate::wire::samples::messages;

/// What was sent, by where.
type Counted = Vec<(&'static str, usize)>;

/// An open tab, and the links that pay on it.
pub(crate) struct OpenedTab {
    payer: PublicKey,
    id: OrderId,
    chain: Chain,
}

/// Opens a tab of ten units to `payee`.
pub(crate) async fn open_tab(payer: &Caller, payee: PublicKey) -> OpenedTab {
    let (connection, welcome) = payer.session().await;
    let terms = terms(payer, payee, &welcome);
    let id = terms.statement().id;
    let submit = SubmitTab {
        number: 1,
        terms: terms.into_bytes().into(),
    };
    let mut settle = settle(&connection).await;
    settle.send(&frame(&submit.into())).await;
    match settle.next().await {
        Outcome::Answer(answer) if matches!(*answer, Message::Settled(_)) => {}
        other => panic!("the tab is not open: {other:?}"),
    }
    OpenedTab {
        payer: payer.key.public(),
        id,
        chain: Chain::new(id, 10, Link([5; 32])).expect("within bounds"),
    }
}

/// How many entries the log has.
pub(crate) async fn entries(caller: &Caller) -> u64 {
    let (_, welcome) = caller.session().await;
    welcome.checkpoint.claim().expect("a head").size
}

/// What the account can spend.
pub(crate) async fn balance(caller: &Caller) -> u64 {
    let (_, welcome) = caller.session().await;
    welcome.available.units()
}

/// A stranger's registrations and logins. Most cost a connection.
pub(crate) async fn strangers(directory: &DirectoryAddress) -> Counted {
    let stranger = Caller::new(0x68, directory);
    let registration = Registration {
        directory: directory.key(),
        // A sound wish, but for somebody else's name: whatever stays sound of it is refused.
        name: "alice".parse().expect("a name"),
        key: stranger.key.public(),
        recovery: None,
    };
    let register = Register {
        registration: Signed::new(registration, &stranger.key).into_bytes().into(),
        invite: None,
    };
    let login = Login {
        instance: InstanceId([1; 16]),
        listening: true,
        hidden: false,
        checkpoint: None,
    };
    let mut inputs = Vec::new();
    for message in [register.into(), login.into()] {
        let bodies = damaged(&whole(&message).1);
        inputs.extend(some(bodies, STRANGERS / 2).map(|body| framed(message.kind(), body)));
    }
    inputs.extend(lying_frames(BODY_LEN_MAX_STRANGER));
    let mut connection = stranger.stranger().await;
    let mut asked = 0;
    for input in &inputs {
        // A stranger may ask 16 times.
        if asked == 15 || connection.close_reason().is_some() {
            connection = stranger.stranger().await;
            asked = 0;
        }
        asked += 1;
        match send(&connection, input).await {
            Outcome::Answer(answer) => match *answer {
                Message::Refused(Refused { reason }) => {
                    named(reason);
                    if reason == Reason::ENCODING || reason == Reason::TOO_LONG {
                        connection.close(0_u32.into(), b"");
                    }
                }
                other => panic!("not a refusal: {other:?} to {input:02x?}"),
            },
            Outcome::Closed(code) => assert_eq!(code, 1, "{input:02x?}"),
            Outcome::Ended | Outcome::Silence => panic!("no answer to {input:02x?}"),
        }
    }
    vec![("strangers", inputs.len())]
}

/// Every kind of message as an account's first on a stream, [`AT_ONCE`] at a time on one session,
/// which survives all of them.
pub(crate) async fn requests(caller: &Caller) -> Counted {
    let (connection, _) = caller.session().await;
    let samples = messages(&crate::wire::world::World::new());
    let each = REQUESTS / samples.len();
    let mut inputs = Vec::new();
    let mut spare = 0;
    let mut short_first: Vec<(u16, Vec<u8>)> = samples.iter().map(|(_, it)| whole(it)).collect();
    short_first.sort_by_key(|(_, body)| body.len());
    for (kind, body) in short_first {
        let bodies = damaged(&body);
        let before = inputs.len();
        inputs.extend(some(bodies, each + spare).map(|body| framed(kind, body)));
        spare = (each + spare).saturating_sub(inputs.len() - before);
    }
    inputs.sort();
    inputs.dedup();
    let inputs = Arc::new(inputs);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (inputs, next) = (Arc::clone(&inputs), Arc::clone(&next));
        let connection = connection.clone();
        workers.spawn(async move {
            while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                match send(&connection, input).await {
                    Outcome::Answer(answer) => harmless(&answer, input),
                    Outcome::Ended => {}
                    other => panic!("{other:?} after {input:02x?}"),
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("no worker fails");
    }
    let answer = ask(&connection, &AskBalance {}.into()).await;
    assert!(
        matches!(answer, Message::Balance(_)),
        "the session lives: {answer:?}"
    );
    vec![("requests", inputs.len())]
}

/// Damaged facts in sound messages on one settle stream, which survives all of them.
pub(crate) async fn settlements(caller: &Caller, other: &Caller, tab: &OpenedTab) -> Counted {
    let (connection, welcome) = caller.session().await;
    let asks = bad_facts(caller, other, &welcome, tab);
    let mut settle = settle(&connection).await;
    for (part, asks) in asks.chunks(IN_FLIGHT).enumerate() {
        let numbers = (part * IN_FLIGHT) as u64..;
        let mut bytes = Vec::new();
        for (number, ask) in numbers.clone().zip(asks) {
            numbered(ask.clone(), number).write(&mut bytes);
        }
        settle.send(&bytes).await;
        let mut awaited: Vec<u64> = numbers.take(asks.len()).collect();
        while !awaited.is_empty() {
            match settle.next().await {
                Outcome::Answer(answer) => match *answer {
                    Message::SubmitRefused(refused) => {
                        named(refused.reason);
                        assert_eq!(refused.receipt, None, "a refusal that left a trace");
                        awaited.retain(|number| *number != refused.number);
                    }
                    other => panic!("not a refusal: {other:?}"),
                },
                other => panic!("the stream did not survive: {other:?}"),
            }
        }
    }
    vec![("facts", asks.len())]
}

/// What is out of place or damaged on settle and event streams: it costs the connection, or is
/// refused by name.
pub(crate) async fn streams(caller: &Caller) -> Counted {
    let samples = messages(&crate::wire::world::World::new());
    let subscribe = Subscribe {
        after: None,
        presence: false,
    };
    let mut count = 0;
    for first in [OpenSettle {}.into(), subscribe.into()] {
        let first = frame(&first);
        let mut inputs = lying_frames(BODY_LEN_MAX);
        for (_, message) in &samples {
            let (kind, body) = whole(message);
            inputs.push(framed(kind, body.clone()));
            inputs.extend(some(damaged(&body), STREAMS / samples.len()).map(|it| framed(kind, it)));
        }
        count += inputs.len();
        let mut session: Option<Connection> = None;
        for input in inputs {
            let connection = match session.take().filter(|it| it.close_reason().is_none()) {
                Some(connection) => connection,
                None => caller.session().await.0,
            };
            let mut stream = Stream::open(&connection).await.expect("a session may");
            stream.send(&[&first[..], &input].concat()).await;
            stream.finish();
            loop {
                match stream.next().await {
                    Outcome::Answer(answer) => harmless(&answer, &input),
                    Outcome::Ended => break,
                    Outcome::Silence => panic!("silence after {input:02x?}"),
                    Outcome::Closed(code) => {
                        assert_eq!(code, 1, "{input:02x?}");
                        break;
                    }
                }
            }
            session = Some(connection);
        }
    }
    vec![("streams", count)]
}

/// That an answer moves no money, and if it is a refusal says why.
fn harmless(answer: &Message, input: &[u8]) {
    match answer {
        Message::Refused(Refused { reason })
        | Message::SubmitRefused(SubmitRefused { reason, .. }) => named(*reason),
        Message::Settled(_) | Message::Voided(_) | Message::Registered(_) | Message::Welcome(_) => {
            panic!("{answer:?} to {input:02x?}")
        }
        _ => {}
    }
}

/// Sound messages with something wrong in the fact that they carry.
fn bad_facts(caller: &Caller, other: &Caller, welcome: &Welcome, tab: &OpenedTab) -> Vec<Message> {
    let key = &caller.key;
    let (ledger, payee) = (welcome.ledger, other.key.public());
    let order = Signed::new(order(caller, payee, welcome, 1), key);
    let decline = Decline::sign(&order, &other.key);
    let void = Void::sign(ledger, id(welcome, 2), key);
    let terms = terms(caller, payee, welcome);
    let close = Close::sign(ledger, tab.payer, tab.id, key);
    let number = 0;
    let mut asks: Vec<Message> = Vec::new();
    let submit = |order: Vec<u8>, decline: Option<Vec<u8>>| Submit {
        number,
        order: order.into(),
        decline: decline.map(Into::into),
    };
    asks.extend(
        damaged(order.bytes())
            .into_iter()
            .map(|it| submit(it, None).into()),
    );
    let declined = |it| submit(order.bytes().to_vec(), Some(it)).into();
    asks.extend(damaged(decline.bytes()).into_iter().map(declined));
    let voids = damaged(void.bytes()).into_iter();
    asks.extend(voids.map(|it| {
        SubmitVoid {
            number,
            void: it.into(),
        }
        .into()
    }));
    let opens = damaged(terms.bytes()).into_iter();
    asks.extend(opens.map(|it| {
        SubmitTab {
            number,
            terms: it.into(),
        }
        .into()
    }));
    let closes = damaged(close.bytes()).into_iter();
    asks.extend(closes.map(|it| {
        SubmitClose {
            number,
            close: it.into(),
        }
        .into()
    }));
    asks.extend(
        bad_orders(caller, payee, welcome)
            .into_iter()
            .map(|it| submit(it, None).into()),
    );
    asks.extend(bad_claims(tab));
    asks
}

/// Orders that their payer has signed, each with one thing wrong that leaves no trace.
fn bad_orders(caller: &Caller, payee: PublicKey, welcome: &Welcome) -> Vec<Vec<u8>> {
    let base = || order(caller, payee, welcome, 3);
    let late = |life: Duration| OrderId::new(welcome.time.plus(life), [4; 10]);
    let own = caller.key.public();
    let orders = [
        Order {
            version: 0,
            ..base()
        },
        Order {
            version: 2,
            ..base()
        },
        Order {
            version: u8::MAX,
            ..base()
        },
        Order {
            ledger: LedgerId([0; 32]),
            ..base()
        },
        Order {
            ledger: LedgerId([0xff; 32]),
            ..base()
        },
        Order {
            amount: Amount::ZERO,
            ..base()
        },
        Order {
            payee: own,
            ..base()
        },
        Order {
            payee: PublicKey::from_bytes([0; 32]),
            ..base()
        },
        Order {
            payee: PublicKey::from_bytes([0xff; 32]),
            ..base()
        },
        Order {
            id: OrderId::new(LedgerTime::from_millis(0), [1; 10]),
            ..base()
        },
        Order {
            id: OrderId::new(LedgerTime::MAX, [1; 10]),
            ..base()
        },
        Order {
            id: late(Duration::from_secs(86_400 * 2)),
            ..base()
        },
    ];
    orders
        .map(|order| Signed::new(order, &caller.key).into_bytes())
        .into()
}

/// Claims on an open tab with numbers or links that prove nothing.
fn bad_claims(tab: &OpenedTab) -> Vec<Message> {
    let mut chain = tab.chain.clone();
    let claim = |from, index, link, payer, id| SubmitClaim {
        number: 0,
        payer,
        id,
        from,
        index,
        link,
    };
    let mut asks = Vec::new();
    for index in [1, 5, 10] {
        let due = chain.link(index).expect("within the chain");
        for link in flips(&due.0) {
            let link = Link(link.try_into().expect("32 bytes"));
            asks.push(claim(0, index, link, tab.payer, tab.id).into());
        }
        // A link that is sound, at every other place.
        for (from, to) in [
            (0, 0),
            (1, 1),
            (5, 1),
            (0, 2),
            (1, 5),
            (0, 11),
            (0, 65_536),
            (0, 65_537),
            (u32::MAX, 0),
            (0, u32::MAX),
        ] {
            asks.push(claim(from, to, due, tab.payer, tab.id).into());
        }
        let others = OrderId::new(tab.id.expiry(), [9; 10]);
        asks.push(claim(0, index, due, tab.payer, others).into());
        for payer in flips(tab.payer.as_bytes()) {
            let payer = PublicKey::from_bytes(payer.try_into().expect("32 bytes"));
            asks.push(claim(0, index, due, payer, tab.id).into());
        }
    }
    // Where the link that was shown belongs, the claim is sound.
    asks.retain(|ask| !matches!(ask, Message::SubmitClaim(it)
        if it.from == 0 && it.payer == tab.payer && it.id == tab.id && chain.link(it.index) == Some(it.link)));
    asks
}

/// The message under another number.
fn numbered(mut ask: Message, with: u64) -> Message {
    match &mut ask {
        Message::Submit(it) => it.number = with,
        Message::SubmitVoid(it) => it.number = with,
        Message::SubmitTab(it) => it.number = with,
        Message::SubmitClaim(it) => it.number = with,
        Message::SubmitClose(it) => it.number = with,
        other => panic!("not submitted: {other:?}"),
    }
    ask
}

/// Frames whose lengths lie: nothing, a body of the cap's length, above it, and far above.
pub(crate) fn lying_frames(cap: usize) -> Vec<Vec<u8>> {
    let cap = u32::try_from(cap).expect("small");
    let header = |len: u32, kind: u16| [&len.to_be_bytes()[..], &kind.to_be_bytes()].concat();
    let mut frames = Vec::new();
    for kind in [0, 3, 6, 33, 64, 999, u16::MAX] {
        frames.push(header(0, kind));
        for len in [cap + 1, 1 << 31, u32::MAX] {
            frames.push(header(len, kind));
        }
        // Announced, and not sent; sent, and one item of nothing but items.
        frames.push(header(100, kind));
        frames.push(framed(kind, vec![0x81; 3_000]));
    }
    frames
}

/// `count` of `all`, spread over the whole.
pub(crate) fn some(all: Vec<Vec<u8>>, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let step = all.len().div_ceil(count.max(1)).max(1);
    all.into_iter().step_by(step)
}

/// A message's kind and body.
pub(crate) fn whole(message: &Message) -> (u16, Vec<u8>) {
    let frame = message.to_frame();
    (frame.kind, frame.body)
}

/// An order of one unit, sound in everything.
pub(crate) fn order(caller: &Caller, payee: PublicKey, welcome: &Welcome, number: u8) -> Order {
    Order {
        version: STATEMENT_VERSION,
        ledger: welcome.ledger,
        id: id(welcome, number),
        payer: caller.key.public(),
        payee,
        amount: Amount::new(1).expect("small"),
        memo: Memo::new("for tea").expect("short"),
        reference: None,
    }
}

fn terms(caller: &Caller, payee: PublicKey, welcome: &Welcome) -> Signed<Terms> {
    let id = id(welcome, 7);
    let chain = Chain::new(id, 10, Link([5; 32])).expect("within bounds");
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger: welcome.ledger,
        id,
        payer: caller.key.public(),
        payee,
        unit: Amount::new(1_000).expect("small"),
        length: 10,
        anchor: chain.anchor(),
        expires: welcome.time.plus(Duration::from_secs(3_600)),
        grace: 60,
        memo: Memo::default(),
        reference: None,
    };
    Signed::new(terms, &caller.key)
}

fn id(welcome: &Welcome, number: u8) -> OrderId {
    OrderId::new(welcome.time.plus(Duration::from_secs(600)), [number; 10])
}

async fn settle(connection: &Connection) -> Stream {
    let mut stream = Stream::open(connection).await.expect("a session may");
    stream.send(&frame(&OpenSettle {}.into())).await;
    stream
}

/// How many inputs where: what costs a connection is dear.
const STRANGERS: usize = 600;
const REQUESTS: usize = 30_000;
const STREAMS: usize = 300;

/// Streams that are open at once, and submissions in flight.
const AT_ONCE: usize = 12;
const IN_FLIGHT: usize = 256;
