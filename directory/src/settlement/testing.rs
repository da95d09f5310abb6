//! What the tests of everything around the log drive the settlement with, on their own thread.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use quid_common::amount::Amount;
use quid_common::chain::{Chain, Link, Mark};
use quid_common::entry::Registration;
use quid_common::id::{LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{LIFE_DEFAULT, Memo, Order, STATEMENT_VERSION};
use quid_common::signed::Signed;
use quid_common::tab::{SignedTerms, Terms};
use quid_common::time::LedgerTime;

use super::{Answer, Ask, Committer, Job, Links, Outlet, Reply, check};

/// One of two people, in turns.
pub(crate) fn person(n: u64) -> SecretKey {
    SecretKey::from_seed(&[1 + u8::from(n % 2 == 1); 32])
}

/// The wish of [`person`] `n` to be known.
pub(crate) fn registration(directory: PublicKey, n: u64) -> Ask {
    let person = person(n);
    let name = format!("person-{}", person.public().short());
    let wish = Registration {
        directory,
        name: name.parse().expect("a name"),
        key: person.public(),
        recovery: None,
    };
    Ask::Register(Signed::new(wish, &person))
}

/// An order with an id made of `n`, from the person of that number to the next.
pub(crate) fn order(ledger: LedgerId, n: u64, amount: u64) -> Signed<Order> {
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&n.to_be_bytes());
    let now = UNIX_EPOCH.elapsed().expect("later than 1970").as_millis();
    // After a crash, the ledger's time begins up to ten seconds ahead.
    let expiry = LedgerTime::from_millis(now as u64).plus(9 * LIFE_DEFAULT);
    let order = Order {
        version: STATEMENT_VERSION,
        ledger,
        id: OrderId::new(expiry, tail),
        payer: person(n).public(),
        payee: person(n + 1).public(),
        amount: Amount::new(amount).expect("small"),
        memo: Memo::default(),
        reference: None,
    };
    Signed::new(order, &person(n))
}

/// Commits a batch whose asks are those of the persons with these numbers; all must have an effect.
pub(crate) fn commit(committer: &mut Committer, asks: Vec<(u64, Ask)>) {
    let outlet = Arc::new(Outlet::default());
    let jobs = asks.into_iter().map(|(n, ask)| Job {
        from: person(n).public(),
        ask,
        reply: Reply::new(0, &outlet),
    });
    committer.commit(check(jobs.collect()));
    for (_, answer) in outlet.take_now() {
        assert!(
            matches!(answer, Answer::Settled(_) | Answer::Done(_)),
            "{answer:?}"
        );
    }
}

/// Terms of a tab from the person of number `n` to the next, of `length` units worth `unit` each,
/// and the chain. It can open for a while and runs for the time given after that, and so does its
/// grace, in whole seconds.
pub(crate) fn terms(
    ledger: LedgerId,
    n: u64,
    (unit, length): (u64, u32),
    runs: Duration,
) -> (SignedTerms, Chain) {
    let id = order(ledger, n, 1).statement().id;
    let last = Link([n.to_be_bytes()[7]; 32]);
    let chain = Chain::new(id, length, last).expect("within bounds");
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger,
        id,
        payer: person(n).public(),
        payee: person(n + 1).public(),
        unit: Amount::new(unit).expect("small"),
        length,
        anchor: chain.anchor(),
        expires: id.expiry().plus(runs),
        grace: runs.as_secs() as u32,
        memo: Memo::default(),
        reference: None,
    };
    (Signed::new(terms, &person(n)), chain)
}

/// The claim of all units up to `to`, after those up to `from`, on the tab of `terms`.
pub(crate) fn claim(terms: &SignedTerms, chain: &mut Chain, from: u32, to: u32) -> Ask {
    let link = chain.link(to).expect("within the chain");
    let links = Links::shown(from, Mark { index: to, link }).expect("sound");
    Ask::Claim(terms.statement().payer, terms.statement().id, links)
}
