//! People who ask to be paid, pay what others ask for, and pay back.
//!
//! Links are paid twice, late, by several at once and altered; refunds and payments with an intent
//! are asked for again, also after a crash. What each of them may come to is judged from the log
//! ([`crate::bills`]).

use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::key::SecretKey;
use quid_common::refusal::Reason;
use quid_common::request::{Request, RequestLink, Wanted};
use quid_node::{
    Answered, Node, Opened, PayError, Payment, Refund, RequestOpening, RequestPayment,
    RequestTerms, State as PayState, Unpayable,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::person::{Person, note, reap, spend};

/// Asks to be paid.
pub async fn ask(person: &Person, node: &Node, dice: &mut Dice) {
    let wanted = match dice.number(0..10) {
        0 => Wanted::Open,
        1 => Wanted::Tab {
            unit: dice.amount(1..20_000),
            units: u32::try_from(dice.number(1..200)).unwrap_or(1),
        },
        _ => Wanted::Amount(dice.amount(1..2_000_000)),
    };
    let terms = RequestTerms {
        life: dice.time(1_000..60_000),
        once: dice.happens(500),
        ..RequestTerms::new(wanted)
    };
    if let Ok(link) = node.request(terms).await {
        person.witness.count("requests made");
        person.witness.asks(link.request().clone());
        person.board.post(&person.name, &link, dice);
    }
}

/// Reads letters for ever, and pays what is asked in them.
pub async fn read_letters(person: Arc<Person>, node: Node, mut dice: Dice) {
    let mut payments = JoinSet::new();
    loop {
        let letter = tokio::select! {
            biased;
            letter = person.board.letter(&person.name) => letter,
            Some(ended) = payments.join_next() => {
                reap(ended);
                continue;
            }
        };
        let (person, node) = (Arc::clone(&person), node.clone());
        let mut own = person.dice("letter", &mut dice);
        payments.spawn(async move {
            sleep(letter.lies).await;
            answer(&person, &node, letter.link, &mut own).await;
        });
    }
}

/// Pays a link from the board: an old one, one paid before, or one that somebody has altered.
pub async fn pay_from_board(person: &Person, node: &Node, dice: &mut Dice) {
    let Some(link) = person.board.any(dice) else {
        return;
    };
    match dice.happens(500) {
        true => pay_altered(person, node, &link, dice).await,
        false => answer(person, node, link, dice).await,
    }
}

/// Pays what a link asks for; now and then twice at the same moment.
async fn answer(person: &Person, node: &Node, link: RequestLink, dice: &mut Dice) {
    let request = link.request().clone();
    if let Wanted::Tab { .. } = request.wanted {
        return answer_by_tab(person, node, link, dice).await;
    }
    let payment = RequestPayment {
        amount: (request.wanted == Wanted::Open).then(|| dice.amount(1..500_000)),
        wait: dice.time(500..10_000),
        ..RequestPayment::new(link)
    };
    let answers = match dice.happens(300) {
        true => {
            let (one, other) =
                tokio::join!(node.pay_request(payment.clone()), node.pay_request(payment));
            vec![one, other]
        }
        false => vec![node.pay_request(payment).await],
    };
    for answered in answers {
        match answered {
            Ok(answered) => {
                heard_of_request(person, &request, &answered);
                note(person, node, &answered.outcome);
            }
            Err(error) => refused(person, &error),
        }
    }
}

fn heard_of_request(person: &Person, request: &Request, answered: &Answered) {
    if answered.earlier {
        person
            .witness
            .count("links paid again: told of the first payment");
        return;
    }
    match &answered.outcome.state {
        PayState::Settled { .. } => person.witness.count("links paid"),
        PayState::Refused { reason, .. } if request.once && *reason == Reason::PAYEE_DECLINED => {
            person.witness.count("second payers of a request declined");
        }
        PayState::Refused { .. } => person.witness.count("links whose payment was refused"),
        PayState::Unknown => person
            .witness
            .count("links whose payment was unknown for a while"),
    }
}

fn refused(person: &Person, error: &PayError) {
    person.witness.count(match error {
        PayError::Unpayable(Unpayable::Expired) => "links paid after their time refused",
        PayError::Unpayable(Unpayable::PayeeOffline { .. }) => {
            "links paid once whose payee was away"
        }
        PayError::Unpayable(Unpayable::NotTheirs { .. }) => "links of another key refused",
        PayError::Unpayable(Unpayable::NotReceived { .. }) => "refunds of others' money refused",
        PayError::KeyChanged { .. } => "payments to a changed key refused",
        _ => "links and refunds that could not be sent",
    });
}

async fn answer_by_tab(person: &Person, node: &Node, link: RequestLink, dice: &mut Dice) {
    let opening = RequestOpening {
        expires: dice.time(5_000..40_000),
        grace: Duration::from_secs(dice.number(10..15)),
        wait: dice.time(1_000..6_000),
        ..RequestOpening::new(link)
    };
    match node.open_request(opening).await {
        Ok(opened) if opened.earlier => person.witness.count("tabs of a link opened again"),
        Ok(opened) => {
            if let Opened::Open(tab) = opened.outcome.state {
                person.witness.count("tabs opened for a link");
                spend(person, node, &tab, dice).await;
            }
        }
        Err(error) => refused(person, &error),
    }
}

/// Tries to pay a link that somebody has altered on its way: nothing may be sent.
async fn pay_altered(person: &Person, node: &Node, link: &RequestLink, dice: &mut Dice) {
    let witness = &person.witness;
    let forged = match dice.number(0..4) {
        0 => match altered_text(&link.to_string(), dice).parse() {
            // The place in the address is only a hint, and not signed.
            Ok(read) if link.signed() == RequestLink::signed(&read) => return,
            Ok(read) => {
                return witness.broken(format!("an altered link was read: {read} for {link}"));
            }
            Err(_) => return witness.count("altered links refused"),
        },
        1 => {
            // Somebody else's key, and the payee's name.
            let mut request = link.request().clone();
            request.wanted = Wanted::Amount(dice.amount(1..500_000));
            forge(link, request, dice)
        }
        2 => {
            let mut request = link.request().clone();
            dice.fill(&mut request.ledger.0);
            forge(link, request, dice)
        }
        _ => Some(link.clone()),
    };
    let Some(forged) = forged else { return };
    // For the last kind: another amount than was asked for.
    let another = match forged.request().wanted {
        Wanted::Amount(asked) if forged == *link => Amount::new(asked.units() + 1),
        _ if forged == *link => return,
        _ => None,
    };
    let payment = RequestPayment {
        amount: another,
        wait: Duration::from_secs(3),
        ..RequestPayment::new(forged)
    };
    match node.pay_request(payment).await {
        Ok(_) => witness.broken("an order was made for an altered request".to_owned()),
        Err(PayError::Unpayable(_)) => witness.count("altered links refused"),
        // The directory did not answer, or the payee is nobody.
        Err(_) => {}
    }
}

/// A link with one character altered.
fn altered_text(link: &str, dice: &mut Dice) -> String {
    let at = dice.index(link.len());
    let other = if link.as_bytes().get(at) == Some(&b'A') {
        'B'
    } else {
        'A'
    };
    let alter = |(index, c)| if index == at { other } else { c };
    link.chars().enumerate().map(alter).collect()
}

/// `request` as somebody else's key signs it.
fn forge(link: &RequestLink, mut request: Request, dice: &mut Dice) -> Option<RequestLink> {
    let mut seed = [0; 32];
    dice.fill(&mut seed);
    let key = SecretKey::from_seed(&seed);
    request.payee = key.public();
    RequestLink::new(link.directory().clone(), request.sign(&key)).ok()
}

/// Pays back what came, now and then what was paid back before, twice at once, or somebody else's.
pub async fn refund(person: &Person, node: &Node, dice: &mut Dice) {
    let Some(entry) = person.entry_to_refund(dice) else {
        return;
    };
    let refund = Refund {
        wait: dice.time(500..10_000),
        ..Refund::new(entry)
    };
    let answers = match dice.happens(400) {
        true => {
            let (one, other) = tokio::join!(node.refund(refund.clone()), node.refund(refund));
            vec![one, other]
        }
        false => vec![node.refund(refund).await],
    };
    for answered in answers {
        match answered {
            Ok(answered) => {
                person.witness.count(match answered.earlier {
                    true => "refunds asked again: told of the first",
                    false => "refunds",
                });
                note(person, node, &answered.outcome);
            }
            Err(error) => refused(person, &error),
        }
    }
}

/// Pays with an intent: twice at once, and perhaps what an earlier intent was for.
pub async fn pay_once(person: &Person, node: &Node, payment: Payment, dice: &mut Dice) {
    let (intent, payment) = match person.intended(dice) {
        Some(before) => before,
        None => {
            let Ok(intent) = node.intent() else { return };
            person.intends(intent, payment.clone());
            (intent, payment)
        }
    };
    let (one, other) = tokio::join!(
        node.pay_once(intent, payment.clone()),
        node.pay_once(intent, payment)
    );
    for answered in [one, other].into_iter().flatten() {
        let payer = node.home().key();
        let order = answered.outcome.order;
        person.witness.of_intent((payer, intent.to_string()), order);
        if answered.earlier {
            person
                .witness
                .count("intents asked again: told of the first");
        }
        note(person, node, &answered.outcome);
    }
}
