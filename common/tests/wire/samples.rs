//! One sample of everything that has an encoding: every statement, signed fact and entry of a small
//! ledger, and every message with its optional fields set and not set.

use std::fmt;

use quid_common::amount::{Amount, Currency};
use quid_common::cbor;
use quid_common::checkpoint::Checkpoint;
use quid_common::entry::{Entry, Fact, Registration};
use quid_common::fork::Fork;
use quid_common::frame::Frame;
use quid_common::id::{InstanceId, Reference};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::order::{Memo, SignedDecline, SignedOrder};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::signed::{Signed, Statement};
use quid_common::tab::{Close, Tab, Terms};
use quid_common::wire::{
    AskBalance, AskConsistency, AskFate, AskHistory, AskKeys, AskSuccessor, AskTab, Balance,
    CaughtUp, ChangeKeys, Declined, Fate, Find, Found, HistoryLine, HistoryPage, KeysChanged,
    KeysStanding, Lagged, Login, Message, Moved, Offer, Offline, Online, OpenSettle, OpenTab,
    OpenTabs, Paid, PaidNext, PendingRecovery, Person, Proof, Prove, Refused, Register, Registered,
    Settled, SettledNext, Submit, SubmitClaim, SubmitClose, SubmitRefused, SubmitTab, SubmitVoid,
    Subscribe, Successor, TabAccepted, TabEnd, TabEnded, TabOffer, TabPaid, TabPay, TabStanding,
    Voided, Welcome, Who, WhoPage, history_kind,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::world::{
    CLAIM, CLOSE, GENESIS, ISSUE, LENGTH, PAYMENT, REFUSAL, REGISTER, RELEASE, ROTATION, TAB,
    TAKEOVER, UNIT, VOID, World, after, amount, memo, name, order_id,
};

/// Something with an encoding of its own.
pub(crate) struct Specimen {
    /// Its name in the golden file.
    pub(crate) name: String,
    /// Its rule in `quid.cddl`.
    pub(crate) rule: String,
    /// Its one encoding.
    pub(crate) bytes: Vec<u8>,
    /// Reads bytes as this kind of thing and encodes again what was read.
    pub(crate) reread: Reread,
    /// Whether bytes are this kind of thing and prove what it is there to prove, for the kinds
    /// that prove something.
    pub(crate) proves: Option<Proves>,
}

type Reread = Box<dyn Fn(&[u8]) -> Option<Vec<u8>>>;
type Proves = Box<dyn Fn(&[u8]) -> bool>;

impl fmt::Debug for Specimen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Everything that has an encoding: messages, statements, signed facts, entries, receipts.
pub(crate) fn specimens(world: &World) -> Vec<Specimen> {
    let messages = messages(world).into_iter().map(message);
    messages.chain(facts(world)).chain(logged(world)).collect()
}

/// The numbered messages, each named by its kind and what is special about it.
pub(crate) fn messages(world: &World) -> Vec<(&'static str, Message)> {
    let mut all = session(world);
    all.extend(keys(world));
    all.extend(requests(world));
    all.extend(settlement(world));
    all.extend(tabs(world));
    all.extend(events(world));
    all.extend(peers(world));
    all.extend(peers_tabs(world));
    all
}

/// A signed fact's envelope, written out by hand from its parts: whoever reads a fact must find
/// these very bytes.
pub(crate) fn envelope(content_type: &str, payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut bytes = vec![0x84];
    bytes.extend(byte_string(&protected(content_type)));
    bytes.push(0xa0);
    bytes.extend(byte_string(payload));
    bytes.extend(byte_string(signature));
    bytes
}

/// A protected header: `{1: -8, 3: content_type}`.
pub(crate) fn protected(content_type: &str) -> Vec<u8> {
    let mut bytes = vec![0xa2, 0x01, 0x27, 0x03];
    bytes.push(0x60 + u8::try_from(content_type.len()).expect("content types are short"));
    bytes.extend(content_type.as_bytes());
    bytes
}

pub(crate) fn byte_string(content: &[u8]) -> Vec<u8> {
    cbor::encode(&serde_bytes::Bytes::new(content))
}

fn session(world: &World) -> Vec<(&'static str, Message)> {
    let register = |registration: Signed<Registration>, invite: Option<&str>| Register {
        registration: ByteBuf::from(registration.into_bytes()),
        invite: invite.map(str::to_owned),
    };
    let login = |listening, hidden, checkpoint| Login {
        instance: InstanceId([0x1c; 16]),
        listening,
        hidden,
        checkpoint,
    };
    let welcome = Welcome {
        name: name("alice"),
        number: 1,
        currency: Currency::new("GOLD7", 9).expect("a currency"),
        ledger: world.ledger,
        time: after(9_000),
        available: amount(8_500_000),
        held: Amount::ZERO,
        address: "192.0.2.7:50123".into(),
        checkpoint: world.checkpoint(),
        in_flight: 1024,
    };
    let registered = Registered {
        receipt: world.receipt(REGISTER),
    };
    vec![
        (
            "full",
            register(world.registration(), Some("invited")).into(),
        ),
        ("bare", register(world.second_registration(), None).into()),
        ("only", registered.into()),
        ("full", login(true, true, Some(world.checkpoint())).into()),
        ("bare", login(false, false, None).into()),
        ("only", welcome.into()),
        (
            "only",
            Refused {
                reason: Reason::NAME_TAKEN,
            }
            .into(),
        ),
    ]
}

fn keys(world: &World) -> Vec<(&'static str, Message)> {
    let standing = |recovery, pending| KeysStanding {
        ledger: world.ledger,
        time: after(14_500),
        account: 1,
        key: world.next(0xa3).public(),
        recovery,
        frozen: false,
        locked: true,
        said: ROTATION,
        recovery_said: 15,
        pending,
    };
    let pending = PendingRecovery {
        announced: 15,
        successor: world.next(0xa4).public(),
        due: after(2_592_014_000),
        contested: true,
    };
    let change = ChangeKeys {
        change: ByteBuf::from(world.rotation().into_bytes()),
    };
    let changed = KeysChanged {
        receipt: world.keys_receipt(ROTATION),
    };
    let successor = |receipt| Successor { receipt };
    vec![
        ("only", change.into()),
        ("only", changed.into()),
        (
            "only",
            AskKeys {
                name: name("alice"),
            }
            .into(),
        ),
        (
            "full",
            standing(Some(world.safe().public()), Some(pending)).into(),
        ),
        ("bare", standing(None, None).into()),
        (
            "only",
            AskSuccessor {
                key: world.alice.public(),
            }
            .into(),
        ),
        ("full", successor(Some(world.keys_receipt(TAKEOVER))).into()),
        ("bare", successor(None).into()),
    ]
}

fn requests(world: &World) -> Vec<(&'static str, Message)> {
    let history = |before, after, limit| AskHistory {
        before,
        after,
        limit,
    };
    let page = |people: Vec<Person>, more| WhoPage { people, more };
    let found = |address: Option<&str>| Found {
        key: world.bob.public(),
        address: address.map(str::to_owned),
    };
    let fate = |receipt| Fate {
        receipt,
        time: after(9_000),
    };
    let balance = Balance {
        available: amount(8_500_000),
        held: amount(24),
        time: after(9_000),
    };
    let ask_fate = AskFate {
        payer: world.alice.public(),
        id: order_id(1),
    };
    let proof = Proof {
        receipt: world.receipt(ISSUE),
    };
    vec![
        (
            "full",
            Who {
                after: Some(name("alice")),
                limit: 200,
            }
            .into(),
        ),
        (
            "bare",
            Who {
                after: None,
                limit: 0,
            }
            .into(),
        ),
        ("full", page(vec![alice(world), bob(world)], true).into()),
        ("bare", page(vec![], false).into()),
        (
            "only",
            Find {
                name: name("bob-1_x"),
            }
            .into(),
        ),
        ("full", found(Some("[2001:db8::7]:4433")).into()),
        ("bare", found(None).into()),
        ("only", AskBalance {}.into()),
        ("only", balance.into()),
        ("full", history(Some(u64::MAX), Some(3), 50).into()),
        ("bare", history(None, None, 1).into()),
        ("full", history_page().into()),
        (
            "bare",
            HistoryPage {
                lines: vec![],
                more: false,
            }
            .into(),
        ),
        ("only", ask_fate.into()),
        ("full", fate(Some(world.receipt(PAYMENT))).into()),
        ("bare", fate(None).into()),
        ("only", Prove { entry: ISSUE }.into()),
        ("only", proof.into()),
        ("only", AskConsistency { from: 6, to: 9 }.into()),
        ("full", world.consistency(6, 9).into()),
        ("bare", world.consistency(9, 9).into()),
        ("tab", tab_history_page().into()),
    ]
}

fn settlement(world: &World) -> Vec<(&'static str, Message)> {
    let submit = |number, order: SignedOrder, decline: Option<SignedDecline>| Submit {
        number,
        order: ByteBuf::from(order.into_bytes()),
        decline: decline.map(|decline| ByteBuf::from(decline.into_bytes())),
    };
    let submit_void = SubmitVoid {
        number: 9,
        void: ByteBuf::from(world.void().into_bytes()),
    };
    let settled = Settled {
        number: 7,
        receipt: world.receipt(PAYMENT),
    };
    let rest = world.receipt(PAYMENT);
    let settled_next = SettledNext {
        number: 8,
        entry: rest.entry,
        index: rest.index,
        path: rest.path[..32].to_vec().into(),
        shared: 2,
    };
    let voided = Voided {
        number: 9,
        receipt: world.receipt(VOID),
    };
    let refused = |reason, receipt| SubmitRefused {
        number: u64::MAX,
        reason,
        receipt,
    };
    vec![
        ("only", OpenSettle {}.into()),
        (
            "full",
            submit(8, world.unfunded(), Some(world.decline())).into(),
        ),
        ("bare", submit(7, world.order(), None).into()),
        ("only", submit_void.into()),
        ("only", settled.into()),
        ("only", settled_next.into()),
        ("only", voided.into()),
        (
            "full",
            refused(Reason::INSUFFICIENT_FUNDS, Some(world.receipt(REFUSAL))).into(),
        ),
        ("bare", refused(Reason::BUSY, None).into()),
    ]
}

fn tabs(world: &World) -> Vec<(&'static str, Message)> {
    let (payer, id) = (world.alice.public(), order_id(6));
    let standing = |tab| TabStanding {
        tab,
        time: after(11_500),
    };
    let terms = world.terms();
    let tab = Tab::open(terms.statement());
    let open = OpenTab {
        payee: world.bob.public(),
        unit: tab.unit,
        length: tab.length,
        claimed: 3,
        link: world.link(3),
        expires: tab.expires,
        until: tab.until,
    };
    let submit_claim = SubmitClaim {
        number: 11,
        payer,
        id,
        from: 1,
        index: 3,
        link: world.link(3),
    };
    let settled = |number, entry| Settled {
        number,
        receipt: world.later_receipt(entry),
    };
    vec![
        ("only", AskTab { payer, id }.into()),
        ("full", standing(Some(open)).into()),
        ("bare", standing(None).into()),
        (
            "only",
            SubmitTab {
                number: 10,
                terms: ByteBuf::from(terms.into_bytes()),
            }
            .into(),
        ),
        ("tab", settled(10, TAB).into()),
        ("only", submit_claim.into()),
        ("claim", settled(11, CLAIM).into()),
        (
            "only",
            SubmitClose {
                number: 12,
                close: ByteBuf::from(world.close().into_bytes()),
            }
            .into(),
        ),
    ]
}

fn events(world: &World) -> Vec<(&'static str, Message)> {
    let subscribe = |after, presence| Subscribe { after, presence };
    let moved = Moved {
        receipt: world.receipt(PAYMENT),
        counterparty: name("bob-1_x"),
    };
    let offline = Offline {
        name: name("bob-1_x"),
        key: world.bob.public(),
    };
    vec![
        ("full", subscribe(Some(0), true).into()),
        ("bare", subscribe(None, false).into()),
        ("only", moved.into()),
        ("only", Online { person: bob(world) }.into()),
        ("only", offline.into()),
        ("only", CaughtUp { entries: 9 }.into()),
        ("only", Lagged {}.into()),
    ]
}

fn peers(world: &World) -> Vec<(&'static str, Message)> {
    let offer = |number, order: SignedOrder, checkpoint| Offer {
        number,
        order: ByteBuf::from(order.into_bytes()),
        checkpoint,
    };
    let paid = Paid {
        number: 1,
        receipt: world.receipt(PAYMENT),
    };
    let rest = world.receipt(PAYMENT);
    let paid_next = PaidNext {
        number: 3,
        entry: rest.entry,
        index: rest.index,
        path: rest.path[..64].to_vec().into(),
        shared: 1,
    };
    let declined = Declined {
        number: 2,
        reason: Reason::PAYEE_DECLINED,
    };
    vec![
        (
            "full",
            offer(1, world.order(), Some(world.checkpoint())).into(),
        ),
        ("bare", offer(2, world.unfunded(), None).into()),
        ("only", paid.into()),
        ("only", paid_next.into()),
        ("only", declined.into()),
    ]
}

fn peers_tabs(world: &World) -> Vec<(&'static str, Message)> {
    let number = 5;
    let offer = |number, checkpoint| TabOffer {
        number,
        receipt: world.later_receipt(TAB),
        checkpoint,
    };
    let accepted = TabAccepted {
        number,
        paid: 1,
        link: world.link(1),
        limit: LENGTH,
    };
    let pay = |number, first, step, indexes: &[u32]| TabPay {
        number,
        first,
        step,
        links: indexes
            .iter()
            .flat_map(|index| world.link(*index).0)
            .collect::<Vec<u8>>()
            .into(),
    };
    let ended = |paid, reason| TabEnded {
        number,
        paid,
        reason,
    };
    let paid = TabPaid {
        number,
        paid: 3,
        limit: LENGTH,
    };
    vec![
        ("only", OpenTabs {}.into()),
        ("full", offer(number, Some(world.checkpoint())).into()),
        ("bare", offer(u32::MAX, None).into()),
        ("only", accepted.into()),
        ("full", pay(number, 2, 1, &[2, 3]).into()),
        ("bare", pay(u32::MAX, 4, u32::MAX, &[4]).into()),
        ("only", paid.into()),
        ("only", TabEnd { number }.into()),
        ("full", ended(0, Some(Reason::TAB_OVER)).into()),
        ("bare", ended(3, None).into()),
    ]
}

fn message((label, message): (&'static str, Message)) -> Specimen {
    let frame = message.to_frame();
    let kind = frame.kind;
    let (_, name) = Message::KINDS
        .iter()
        .find(|(number, _)| *number == kind)
        .expect("every message has its kind in the table");
    let rule = kebab(name);
    Specimen {
        name: format!("message.{kind}.{rule}.{label}"),
        rule,
        bytes: frame.body,
        reread: Box::new(move |body| {
            let frame = Frame {
                kind,
                body: body.to_vec(),
            };
            Some(Message::from_frame(&frame).ok()?.to_frame().body)
        }),
        proves: None,
    }
}

fn facts(world: &World) -> Vec<Specimen> {
    let Fact::Genesis(genesis) = &world.entries[GENESIS as usize].fact else {
        unreachable!("entry 0 is the genesis");
    };
    // Two of one kind are told apart by what is special about the second.
    [
        ("", fact("order", &world.order())),
        (".full", fact("order", &world.refund())),
        ("", fact("void", &world.void())),
        ("", fact("decline", &world.decline())),
        ("", fact("genesis", genesis)),
        ("", fact("registration", &world.registration())),
        ("", fact("issue", &world.issue())),
        ("", fact("freeze", &world.freeze())),
        ("", fact::<Terms>("terms", &world.terms())),
        (".full", fact::<Terms>("terms", &world.longest_terms())),
        ("", fact::<Close>("close", &world.close())),
        (".payer", fact::<Close>("close", &world.payers_close())),
        ("", fact("rotation", &world.rotation())),
        ("", fact("recovery", &world.recovery())),
        ("", fact("objection", &world.objection())),
        ("", fact("takeover", &world.takeover())),
        ("", fact("lock", &world.lock())),
        ("", fact("request", &world.request())),
        (".open", fact("request", &world.open_request())),
        (".full", fact("request", &world.longest_request())),
    ]
    .into_iter()
    .flat_map(|(label, pair)| {
        pair.map(|mut specimen| {
            specimen.name += label;
            specimen
        })
    })
    .collect()
}

/// A statement and its envelope.
fn fact<T: Statement + 'static>(rule: &str, fact: &Signed<T>) -> [Specimen; 2] {
    let statement = plain::<T>(&format!("statement.{rule}"), rule, fact.statement());
    let signed = Specimen {
        name: format!("signed.{rule}"),
        rule: format!("{rule}-envelope"),
        bytes: fact.bytes().to_vec(),
        reread: Box::new(|bytes| {
            let fact = Signed::<T>::from_bytes(bytes).ok()?;
            let payload = cbor::encode(fact.statement());
            Some(envelope(T::CONTENT_TYPE, &payload, fact.signature()))
        }),
        proves: Some(Box::new(|bytes| {
            Signed::<T>::from_bytes(bytes).is_ok_and(|fact| fact.verify())
        })),
    };
    [statement, signed]
}

fn logged(world: &World) -> Vec<Specimen> {
    let mut all: Vec<Specimen> = world
        .every_entry()
        .enumerate()
        .map(|(at, entry)| {
            let rule = match entry.fact {
                Fact::Genesis(_) => "genesis-entry",
                Fact::Register(_) => "register-entry",
                Fact::Issue(_) => "issue-entry",
                Fact::Payment(_) => "payment-entry",
                Fact::Void(_) => "void-entry",
                Fact::Freeze(_) => "freeze-entry",
                Fact::Refusal(_) => "refusal-entry",
                Fact::Tab(_) => "tab-entry",
                Fact::Claim(_) => "claim-entry",
                Fact::Close(_) => "close-entry",
                Fact::Release(_) => "release-entry",
                Fact::Rotation(_) => "rotation-entry",
                Fact::Recovery(_) => "recovery-entry",
                Fact::Objection(_) => "objection-entry",
                Fact::Takeover(_) => "takeover-entry",
                Fact::Lock(_) => "lock-entry",
            };
            Specimen {
                name: format!("entry.{at}.{rule}"),
                rule: rule.to_owned(),
                bytes: entry.encode(),
                reread: Box::new(|bytes| Some(Entry::decode(bytes).ok()?.encode())),
                proves: None,
            }
        })
        .collect();
    all.push(plain("statement.refusal", "refusal", &world.refusal()));
    all.push(plain("statement.claim", "claim", &world.claim(1, 3)));
    all.push(plain("statement.release", "release", &world.release()));

    let (ledger, key) = (world.ledger, world.directory.public());
    let mut checkpoint = plain("checkpoint", "checkpoint", &world.checkpoint());
    checkpoint.proves = Some(Box::new(move |bytes| {
        cbor::decode::<Checkpoint>(bytes).is_ok_and(|it| it.verify(ledger, &key).is_ok())
    }));
    all.push(checkpoint);
    let early = [PAYMENT, REFUSAL].map(|index| (index, world.receipt(index)));
    let late = [TAB, CLAIM, CLOSE, RELEASE].map(|index| (index, world.later_receipt(index)));
    for (index, receipt) in early.into_iter().chain(late) {
        let mut receipt = plain(&format!("receipt.{index}"), "receipt", &receipt);
        receipt.proves = Some(Box::new(move |bytes| {
            cbor::decode::<Receipt>(bytes).is_ok_and(|it| it.verify(ledger, &key).is_ok())
        }));
        all.push(receipt);
    }
    let mut fork = plain("fork", "fork", &world.fork());
    fork.proves = Some(Box::new(move |bytes| {
        cbor::decode::<Fork>(bytes).is_ok_and(|it| it.verify(&key).is_ok())
    }));
    all.push(fork);
    all
}

/// Something that is read and written by [`cbor`] alone.
fn plain<T: Serialize + DeserializeOwned>(name: &str, rule: &str, value: &T) -> Specimen {
    Specimen {
        name: name.to_owned(),
        rule: rule.to_owned(),
        bytes: cbor::encode(value),
        reread: Box::new(|bytes| Some(cbor::encode(&cbor::decode::<T>(bytes).ok()?))),
        proves: None,
    }
}

/// `WhoPage` as `quid.cddl` writes it: `who-page`.
pub(crate) fn kebab(camel: &str) -> String {
    let mut out = String::new();
    for (at, c) in camel.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn history_page() -> HistoryPage {
    let payment = HistoryLine {
        entry: PAYMENT,
        time: after(4_000),
        kind: history_kind::PAYMENT,
        incoming: false,
        amount: amount(1_500_000),
        counterparty: name("bob-1_x"),
        memo: memo("for tea"),
        order: Some(order_id(1)),
        reference: Some(Reference([0x4e; 16])),
    };
    let issue = HistoryLine {
        entry: ISSUE,
        time: after(3_000),
        kind: history_kind::ISSUE,
        incoming: true,
        amount: amount(10_000_000),
        counterparty: Name::treasury(),
        memo: Memo::default(),
        order: None,
        reference: None,
    };
    HistoryPage {
        lines: vec![payment, issue],
        more: true,
    }
}

/// As the payer of the sample tab sees it.
fn tab_history_page() -> HistoryPage {
    let line = |entry, ms, kind, incoming, units| HistoryLine {
        entry,
        time: after(ms),
        kind,
        incoming,
        amount: amount(units),
        counterparty: name("bob-1_x"),
        memo: memo("by the page"),
        order: Some(order_id(6)),
        reference: None,
    };
    HistoryPage {
        lines: vec![
            line(RELEASE, 12_000, history_kind::RELEASE, true, UNIT),
            line(CLAIM, 11_000, history_kind::CLAIM, false, 2 * UNIT),
            line(TAB, 9_000, history_kind::HOLD, false, 4 * UNIT),
        ],
        more: false,
    }
}

fn alice(world: &World) -> Person {
    person("alice", world.alice.public(), "192.0.2.7:50123")
}

fn bob(world: &World) -> Person {
    person("bob-1_x", world.bob.public(), "[2001:db8::7]:4433")
}

fn person(text: &str, key: PublicKey, address: &str) -> Person {
    Person {
        name: name(text),
        key,
        address: address.to_owned(),
    }
}
