//! A ledger with its log, for the targets that play with the rules: what the directory and people
//! sign, and what must hold of the books whoever plays.

use quid_common::amount::{Amount, Currency};
use quid_common::chain::{Chain, Link};
use quid_common::entry::{Entry, Fact, Freeze, Genesis, Issue, Registration};
use quid_common::id::{OperationId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Memo, Order, STATEMENT_VERSION, SignedOrder};
use quid_common::signed::Signed;
use quid_common::tab::{SignedTerms, Terms};
use quid_common::time::LedgerTime;
use quid_directory::ledger::{Ledger, Past, Verdict};

/// The books and their log.
pub(crate) struct Books {
    pub(crate) directory: SecretKey,
    pub(crate) ledger: Ledger,
    pub(crate) log: Vec<Entry>,
    /// The directory's clock, in milliseconds.
    pub(crate) now: u64,
}

/// What a tab is to be: its units, and the seconds that it lasts after its id and then after that.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) unit: u64,
    pub(crate) length: u32,
    pub(crate) life_s: u64,
    pub(crate) grace_s: u32,
}

impl Books {
    /// A ledger that has just begun.
    pub(crate) fn new() -> Self {
        let directory = SecretKey::from_seed(&[0xd1; 32]);
        let genesis = Genesis {
            directory: directory.public(),
            currency: Currency::default(),
            nonce: [1; 16],
        };
        let fact = Fact::Genesis(Signed::new(genesis, &directory));
        let mut books = Self {
            directory,
            ledger: Ledger::new(),
            log: Vec::new(),
            now: 1,
        };
        books.append(fact);
        books
    }

    pub(crate) fn time(&self) -> LedgerTime {
        LedgerTime::from_millis(self.now)
    }

    pub(crate) fn registration(
        &self,
        (name, key): (&str, &SecretKey),
        recovery: Option<PublicKey>,
    ) -> Signed<Registration> {
        let registration = Registration {
            directory: self.directory.public(),
            name: name.parse().expect("a name"),
            key: key.public(),
            recovery,
        };
        Signed::new(registration, key)
    }

    pub(crate) fn issue(&self, operation: u8, account: PublicKey, units: u64) -> Signed<Issue> {
        let issue = Issue {
            directory: self.directory.public(),
            ledger: self.ledger.ledger_id(),
            operation: OperationId([operation; 16]),
            account,
            amount: amount(units),
        };
        Signed::new(issue, &self.directory)
    }

    pub(crate) fn freeze(&self, operation: u8, account: PublicKey, frozen: bool) -> Signed<Freeze> {
        let freeze = Freeze {
            directory: self.directory.public(),
            ledger: self.ledger.ledger_id(),
            operation: OperationId([operation; 16]),
            account,
            frozen,
        };
        Signed::new(freeze, &self.directory)
    }

    pub(crate) fn order(
        &self,
        (payer, payee): (&SecretKey, PublicKey),
        id: OrderId,
        units: u64,
        memo: &str,
    ) -> SignedOrder {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id,
            payer: payer.public(),
            payee,
            amount: amount(units),
            memo: Memo::new(memo).expect("short"),
            reference: None,
        };
        Signed::new(order, payer)
    }

    pub(crate) fn terms(
        &self,
        (payer, payee): (&SecretKey, PublicKey),
        id: OrderId,
        shape: Shape,
    ) -> SignedTerms {
        let anchor = chain(id, shape.length).map_or(Link([0; 32]), |chain| chain.anchor());
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id,
            payer: payer.public(),
            payee,
            unit: amount(shape.unit),
            length: shape.length,
            anchor,
            expires: LedgerTime::from_millis(id.expiry().as_millis() + shape.life_s * 1_000),
            grace: shape.grace_s,
            memo: Memo::default(),
            reference: None,
        };
        Signed::new(terms, payer)
    }

    /// Applies a verdict; the entry, if there is one.
    pub(crate) fn take(&mut self, verdict: Verdict) -> Option<&Entry> {
        match verdict {
            Verdict::Append(fact) => Some(self.append(fact)),
            Verdict::Known { entry } => {
                assert!(entry < self.ledger.entries());
                None
            }
            Verdict::Refuse(_) => None,
        }
    }

    /// Writes an entry that must be one.
    pub(crate) fn append(&mut self, fact: Fact) -> &Entry {
        let time = self.time().max(self.ledger.time());
        let entry = Entry { time, fact };
        self.ledger
            .apply(&entry)
            .expect("what was decided can be applied");
        self.log.push(entry);
        self.log.last().expect("just written")
    }

    /// Goes on from a snapshot of the books, which must be the books.
    pub(crate) fn restore(&mut self) {
        let restored = Ledger::restore(&self.ledger.snapshot()).expect("our own");
        assert!(restored == self.ledger, "a snapshot is the books");
        self.ledger = restored;
    }

    /// That the log alone gives these books; `each` sees them after every entry.
    pub(crate) fn replay(&self, mut each: impl FnMut(usize, &mut Ledger)) -> Ledger {
        let mut replay = Ledger::new();
        for (at, entry) in self.log.iter().enumerate() {
            let entry = Entry::decode(&entry.encode()).expect("our own");
            replay.apply(&entry).expect("its own log");
            each(at, &mut replay);
        }
        assert_eq!(replay.accounts(), self.ledger.accounts());
        assert_eq!(replay.totals(), self.ledger.totals());
        replay
    }

    /// What a perfect index behind the books says of an id: it is the account's, whichever key
    /// signed.
    pub(crate) fn past(&self, payer: &PublicKey, id: OrderId) -> Past {
        let used = |entry: &Entry| {
            let used = entry.fact.used_id();
            used.is_some_and(|(by, used)| used == id && self.ledger.is_same(&by, payer))
        };
        let Some(at) = self.log.iter().position(used) else {
            return Past::Never;
        };
        let order = self.log[at].fact.order_digest();
        let index = at as u64;
        Past::Entry { index, order }
    }
}

/// Whether a verdict moves something, rather than to say no.
pub(crate) fn is_effect(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Append(fact) if !matches!(fact, Fact::Refusal(_)))
}

/// The key of every number.
pub(crate) fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// The links of a tab, if it can have so many.
pub(crate) fn chain(id: OrderId, length: u32) -> Option<Chain> {
    Chain::new(id, length, Link([9; 32]))
}

pub(crate) fn amount(units: u64) -> Amount {
    Amount::new(units).expect("at most the maximum")
}
