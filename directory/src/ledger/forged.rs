//! Entries that no decision makes: the fold names the rule they break and keeps its books.

use quid_common::amount::Amount;
use quid_common::entry::{Entry, Fact, Freeze, Issue, Refusal, Registration};
use quid_common::id::{Digest, LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{SignedVoid, Void};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;

use super::testing::{
    Draft, World, amount, genesis, key, operation, order_id, registration, swap_key,
};
use super::*;

/// One line a row, which the formatter leaves alone.
macro_rules! rows {
    ($($what:literal => $row:expr;)+) => { vec![$(($what, $row)),+] };
}

#[test]
fn an_entry_that_breaks_a_rule_is_a_fault_and_changes_nothing() {
    let world = world();
    for (what, (rule, entry)) in forged(&world) {
        let mut ledger = world.ledger.clone();
        let fault = ledger.apply(&entry).expect_err(what);
        assert_eq!(
            fault,
            Fault {
                index: world.ledger.entries(),
                rule
            },
            "{what}"
        );
        assert!(ledger == world.ledger, "{what} changed the books");
    }
    for (what, entry) in sound(&world) {
        let mut ledger = world.ledger.clone();
        assert_eq!(ledger.apply(&entry), Ok(world.ledger.entries()), "{what}");
        assert_eq!(ledger.check(), Ok(()), "{what}");
    }
}

#[test]
fn a_ledger_begins_with_a_genesis_and_only_once() {
    let world = world();
    for entry in &world.log[1..] {
        let mut ledger = Ledger::new();
        assert_eq!(rule(ledger.apply(entry)), Rule::GenesisMissing);
        assert!(ledger == Ledger::new());
    }
    let mut ledger = world.ledger.clone();
    assert_eq!(
        rule(ledger.apply(&at(NOW, world.log[0].fact.clone()))),
        Rule::GenesisAgain
    );
    assert_eq!(
        rule(ledger.apply(&at(NOW, genesis("other", 1).fact))),
        Rule::GenesisAgain
    );

    // A directory whose key anybody could sign for.
    let Fact::Genesis(fact) = &world.log[0].fact else {
        panic!("entry 0 is the genesis")
    };
    let forged = swap_key(fact, &fact.statement().directory);
    let mut ledger = Ledger::new();
    assert_eq!(
        rule(ledger.apply(&at(0, Fact::Genesis(forged)))),
        Rule::UnsoundKey
    );
    assert!(ledger == Ledger::new());
}

#[test]
fn a_full_log_takes_no_entry() {
    let mut world = world();
    world.ledger.entries = quid_common::checkpoint::SIZE_MAX;
    let (_, entry) = sound(&world).remove(0);
    assert_eq!(rule(world.ledger.apply(&entry)), Rule::Full);
    world.ledger.entries -= 1;
    assert!(world.ledger.apply(&entry).is_ok());
}

#[test]
fn counters_at_their_end_are_a_fault() {
    let world = world();
    let issue = at(
        NOW,
        Fact::Issue(world.signed_issue("i9", "alice", amount(1))),
    );
    let mut ledger = world.ledger.clone();
    (ledger.issued, ledger.burnt) = (u64::MAX, u64::MAX - 160);
    assert_eq!(rule(ledger.apply(&issue)), Rule::Supply);
    // Books that do not balance in the first place: still a fault, never a wrong balance.
    let mut ledger = world.ledger.clone();
    ledger.burnt = u64::MAX;
    let burn = at(
        NOW,
        Fact::Payment(world.order("o9", "alice", "treasury").sign()),
    );
    assert_eq!(rule(ledger.apply(&burn)), Rule::Supply);
    assert_eq!(rule(ledger.apply(&issue)), Rule::Conservation);
    let mut ledger = world.ledger.clone();
    ledger.accounts[2].available = Amount::MAX;
    let payment = at(NOW, Fact::Payment(world.order("o9", "alice", "bob").sign()));
    assert_eq!(rule(ledger.apply(&payment)), Rule::Overflow);
    ledger.accounts[2].available = amount(1);
    ledger.accounts[2].held = amount(Amount::MAX.units() - 1);
    assert_eq!(rule(ledger.apply(&payment)), Rule::Overflow);
}

#[test]
fn books_that_do_not_balance_are_found() {
    let world = world();
    let last = world.ledger.entries() - 1;
    type Change = fn(&mut Ledger);
    let changes: [(Change, Rule); 7] = [
        (
            |ledger| ledger.accounts[1].available = amount(41),
            Rule::Conservation,
        ),
        (
            |ledger| ledger.accounts[1].held = amount(1),
            Rule::Conservation,
        ),
        (
            |ledger| ledger.accounts[0].available = amount(1),
            Rule::Conservation,
        ),
        (|ledger| ledger.issued += 1, Rule::Conservation),
        (|ledger| ledger.burnt += 1, Rule::Conservation),
        (|ledger| ledger.burnt = u64::MAX, Rule::Conservation),
        (|ledger| ledger.issued = u64::MAX, Rule::Supply),
    ];
    for (at, (change, rule)) in changes.into_iter().enumerate() {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        assert_eq!(
            ledger.check(),
            Err(Fault { index: last, rule }),
            "change {at}"
        );
    }
    // The treasury owning what somebody else lost sums up, and is wrong all the same.
    let mut ledger = world.ledger;
    ledger.accounts[0].held = amount(1);
    ledger.accounts[1].available = amount(39);
    assert_eq!(rule(ledger.check()), Rule::Conservation);
}

#[test]
fn a_fault_says_where_and_why() {
    let fault = Fault {
        index: 7,
        rule: Rule::IdUsed { entry: 3 },
    };
    assert_eq!(
        fault.to_string(),
        "entry 7 breaks the books: its order id was used by entry 3"
    );
}

/// Alice owns 40 of 100 after paying bob, carol is frozen with 10, and operation `i1` is used.
fn world() -> World {
    let mut world = World::with(&[("alice", 100), ("bob", 50), ("carol", 10)]);
    assert_eq!(world.issue("i1", "bob", amount(7)), "issued");
    assert_eq!(world.freeze("f1", "carol", true), "frozen_now");
    let alice = key("alice").public();
    for (id, payee, units) in [("o1", "bob", 53), ("o2", "treasury", 7), ("o3", "bob", 999)] {
        let mut draft = world.order(id, "alice", payee);
        draft.amount = amount(units);
        world.settle(&draft.sign(), None, &alice, NOW);
    }
    assert_eq!(
        world.void(&void(&world, "alice", "o4"), &alice, NOW),
        "voided"
    );
    assert_eq!(world.balance("alice"), 40);
    world
}

/// Entries that can stand next, each the good twin of some forged ones.
fn sound(world: &World) -> Vec<(&'static str, Entry)> {
    let pay = |change: fn(&mut Draft)| pay(world, change);
    let end = Entry {
        time: LedgerTime::MAX,
        ..thaw(world)
    };
    rows! {
        "a payment of all" => at(NOW, pay(|it| it.amount = amount(40)));
        "a burn" => at(NOW, pay(|it| it.payee = key("treasury").public()));
        "a payment to the frozen" => at(NOW, pay(|it| it.payee = key("carol").public()));
        "a payment at the last moment" => at(59_999, pay(|_| {}));
        "a payment with the longest life" => at(NOW, pay(|it| it.id = far(0)));
        "a void" => at(NOW, Fact::Void(void(world, "alice", "o9")));
        "a frozen account's void" => at(NOW, Fact::Void(void(world, "carol", "o9")));
        "a decline" => at(NOW, refusal("alice", "o9", Reason::PAYEE_DECLINED));
        "a frozen refusal" => at(NOW, refusal("carol", "o9", Reason::FROZEN));
        "another payer's id" => at(NOW, refusal("bob", "o1", Reason::INSUFFICIENT_FUNDS));
        "a registration" => at(NOW, Fact::Register(registration("erin", "erin", Some("eve"))));
        "a thaw" => thaw(world);
        "a thaw at the end of time" => end;
        "an issue" => at(NOW, issue(world, |_| {}));
    }
}

/// Entries that cannot stand next, and the rule that each breaks.
fn forged(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let mut forged = forged_orders(world);
    forged.extend(forged_voids_and_refusals(world));
    forged.extend(forged_accounts(world));
    forged.extend(forged_operations(world));
    forged
}

fn forged_orders(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let any = || pay(world, |_| {});
    let order = |change: fn(&mut Draft)| at(NOW, pay(world, change));
    let id = |name| at(NOW, pay(world, |it| it.id = order_id(name, 60_000)));
    let used = |entry| Rule::IdUsed { entry };
    let first = entry_of(world, "o1");
    let settled = world.log[first as usize].fact.clone();
    rows! {
        "time below the last" => (Rule::TimeBackward, at(NOW - 1, any()));
        "a later version" => (Rule::Version, order(|it| it.version = 2));
        "version 0" => (Rule::Version, order(|it| it.version = 0));
        "another ledger" => (Rule::Ledger, order(|it| it.ledger = LedgerId([9; 32])));
        "more than there is" => (Rule::Funds, order(|it| it.amount = amount(41)));
        "a huge amount" => (Rule::Funds, order(|it| it.amount = Amount::MAX));
        "nothing" => (Rule::ZeroAmount, order(|it| it.amount = Amount::ZERO));
        "to oneself" => (Rule::SelfPayment, order(|it| it.payee = key("alice").public()));
        "to nobody" => (Rule::UnknownAccount, order(|it| it.payee = key("erin").public()));
        "from nobody" => (Rule::UnknownAccount, order(|it| it.payer = key("erin")));
        "from the treasury" => (Rule::UnknownAccount, order(|it| it.payer = key("treasury")));
        "from the frozen" => (Rule::Frozen, order(|it| it.payer = key("carol")));
        "the same order again" => (used(first), at(NOW, settled));
        "an id that settled" => (used(first), id("o1"));
        "an id that burnt money" => (used(first + 1), id("o2"));
        "an id that was refused" => (used(first + 2), id("o3"));
        "an id that was voided" => (used(first + 3), id("o4"));
        "at its expiry" => (Rule::Expired, at(60_000, any()));
        "after its expiry" => (Rule::Expired, at(60_001, any()));
        "too far ahead" => (Rule::ExpiryTooFar, order(|it| it.id = far(1)));
    }
}

fn forged_voids_and_refusals(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let void_of = |payer, id| at(NOW, Fact::Void(void(world, payer, id)));
    let late = at(60_000, Fact::Void(void(world, "alice", "o9")));
    let foreign = Void::sign(LedgerId([9; 32]), order_id("o9", 60_000), &key("alice"));
    let mut later = void(world, "alice", "o9").statement().clone();
    later.version = 2;
    let later = Signed::new(later, &key("alice"));
    let early = Void::sign(world.ledger.ledger_id(), far(1), &key("alice"));
    let refuse = |payer, id, reason| at(NOW, refusal(payer, id, reason));
    let late_refusal = at(60_000, refusal("alice", "o9", Reason::PAYEE_DECLINED));
    let (frozen, funds) = (Reason::FROZEN, Reason::INSUFFICIENT_FUNDS);
    let used = |entry| Rule::IdUsed { entry };
    let first = entry_of(world, "o1");
    let mut forged = rows! {
        "a void of the settled" => (used(first), void_of("alice", "o1"));
        "a void of the refused" => (used(first + 2), void_of("alice", "o3"));
        "a void again" => (used(first + 3), void_of("alice", "o4"));
        "nobody's void" => (Rule::UnknownAccount, void_of("erin", "o9"));
        "the treasury's void" => (Rule::UnknownAccount, void_of("treasury", "o9"));
        "a void of another ledger" => (Rule::Ledger, at(NOW, Fact::Void(foreign)));
        "a void of a later version" => (Rule::Version, at(NOW, Fact::Void(later)));
        "a void too late" => (Rule::Expired, late);
        "a void too early" => (Rule::ExpiryTooFar, at(NOW, Fact::Void(early)));
        "a refusal of the settled" => (used(first), refuse("alice", "o1", funds));
        "a refusal too late" => (Rule::Expired, late_refusal);
        "nobody's refusal" => (Rule::UnknownAccount, refuse("erin", "o9", funds));
        "a frozen refusal of the free" => (Rule::Refusal(frozen), refuse("alice", "o9", frozen));
        "another refusal of the frozen" => (Rule::Refusal(funds), refuse("carol", "o9", funds));
    };
    let burning = [
        Reason::FROZEN,
        Reason::PAYEE_DECLINED,
        Reason::INSUFFICIENT_FUNDS,
    ];
    for reason in Reason::ALL.iter().copied().chain([Reason(9_999)]) {
        if !burning.contains(&reason) {
            let entry = refuse("alice", "o9", reason);
            forged.push((reason.name(), (Rule::Refusal(reason), entry)));
        }
    }
    forged
}

fn forged_accounts(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let register = |name, owner| at(NOW, Fact::Register(registration(name, owner, None)));
    let changed = |change: fn(&mut Registration)| {
        let mut wish = registration("erin", "erin", None).statement().clone();
        change(&mut wish);
        at(NOW, Fact::Register(Signed::new(wish, &key("erin"))))
    };
    let anybody = PublicKey::from_bytes([0; 32]);
    let erin = registration("erin", "erin", None);
    let unsound = at(NOW, Fact::Register(swap_key(&erin, &erin.statement().key)));
    let mut exposed = erin.statement().clone();
    exposed.recovery = Some(anybody);
    let exposed = at(NOW, Fact::Register(Signed::new(exposed, &key("erin"))));
    rows! {
        "a name again" => (Rule::NameTaken, register("alice", "erin"));
        "a look-alike" => (Rule::NameLooksTaken, register("a1ice", "erin"));
        "a reserved name" => (Rule::NameReserved, register("admin", "erin"));
        "the treasury's name" => (Rule::NameReserved, register("treasury", "erin"));
        "a key again" => (Rule::KeyUsed, register("alison", "alice"));
        "the same registration again" => (Rule::KeyUsed, at(NOW, world.log[1].fact.clone()));
        "the treasury's key" => (Rule::KeyUsed, register("mint", "treasury"));
        "another directory" => (Rule::Directory, changed(|it| it.directory = it.key));
        "its own recovery" => (Rule::RecoveryKey, changed(|it| it.recovery = Some(it.key)));
        "an unsound recovery key" => (Rule::UnsoundKey, exposed);
        "an unsound key" => (Rule::UnsoundKey, unsound);
    }
}

fn forged_operations(world: &World) -> Vec<(&'static str, (Rule, Entry))> {
    let issue = |change: fn(&mut Issue)| at(NOW, issue(world, change));
    let freeze = |change: fn(&mut Freeze)| {
        let mut freeze = world.signed_freeze("f9", "alice", true).statement().clone();
        change(&mut freeze);
        let signer = operator(world, &freeze.directory);
        at(NOW, Fact::Freeze(Signed::new(freeze, &signer)))
    };
    let first = world.log.iter().position(|entry| match &entry.fact {
        Fact::Issue(issue) => issue.statement().operation == operation("i1"),
        _ => false,
    });
    let first = first.expect("issued");
    let issued = at(NOW, world.log[first].fact.clone());
    let again = Rule::OperationUsed {
        entry: first as u64,
    };
    let (nobody, elsewhere) = (Rule::UnknownAccount, Rule::Ledger);
    rows! {
        "the same issue again" => (again, issued);
        "an operation again" => (again, issue(|it| it.operation = operation("i1")));
        "a freeze by an issue's id" => (again, freeze(|it| it.operation = operation("i1")));
        "an issue by somebody" => (Rule::Directory, issue(|it| it.directory = eve()));
        "an issue elsewhere" => (elsewhere, issue(|it| it.ledger = LedgerId([9; 32])));
        "an issue of nothing" => (Rule::ZeroAmount, issue(|it| it.amount = Amount::ZERO));
        "an issue to nobody" => (nobody, issue(|it| it.account = eve()));
        "an issue to the treasury" => (nobody, issue(|it| it.account = it.directory));
        "too much" => (Rule::Supply, issue(|it| it.amount = Amount::MAX));
        "a freeze by somebody" => (Rule::Directory, freeze(|it| it.directory = eve()));
        "a freeze elsewhere" => (elsewhere, freeze(|it| it.ledger = LedgerId([9; 32])));
        "a freeze of nobody" => (nobody, freeze(|it| it.account = eve()));
        "a freeze of the treasury" => (nobody, freeze(|it| it.account = it.directory));
    }
}

fn at(ms: u64, fact: Fact) -> Entry {
    Entry {
        time: LedgerTime::from_millis(ms),
        fact,
    }
}

fn pay(world: &World, change: impl FnOnce(&mut Draft)) -> Fact {
    let mut draft = world.order("o9", "alice", "bob");
    change(&mut draft);
    Fact::Payment(draft.sign())
}

fn issue(world: &World, change: impl FnOnce(&mut Issue)) -> Fact {
    let mut issue = world
        .signed_issue("i9", "alice", amount(1))
        .statement()
        .clone();
    change(&mut issue);
    let signer = operator(world, &issue.directory);
    Fact::Issue(Signed::new(issue, &signer))
}

fn thaw(world: &World) -> Entry {
    at(NOW, Fact::Freeze(world.signed_freeze("f9", "carol", false)))
}

/// Who signs for the directory that is named.
fn operator(world: &World, directory: &PublicKey) -> SecretKey {
    if *directory == world.directory.public() {
        world.directory.clone()
    } else {
        key("eve")
    }
}

fn eve() -> PublicKey {
    key("eve").public()
}

fn void(world: &World, payer: &str, id: &str) -> SignedVoid {
    Void::sign(world.ledger.ledger_id(), order_id(id, 60_000), &key(payer))
}

fn refusal(payer: &str, id: &str, reason: Reason) -> Fact {
    let id = order_id(id, 60_000);
    Fact::Refusal(Refusal {
        payer: key(payer).public(),
        id,
        order: Digest([1; 32]),
        reason,
    })
}

/// An id whose order expires so much later than the longest life allows at [`NOW`].
fn far(later: u64) -> OrderId {
    order_id("o9", NOW + 24 * 60 * 60 * 1000 + later)
}

fn entry_of(world: &World, id: &str) -> u64 {
    world
        .ledger
        .fate(&key("alice").public(), order_id(id, 60_000))
        .expect("it met the ledger")
}

fn rule<T: fmt::Debug>(result: Result<T, Fault>) -> Rule {
    result.expect_err("a fault").rule
}

const NOW: u64 = 1_000;
