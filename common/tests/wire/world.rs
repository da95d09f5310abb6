//! A small ledger made from fixed seeds, and the keys behind it.

use quid_common::account::{
    Lock, Objection, Recovery, Rotation, SignedLock, SignedObjection, SignedRecovery,
    SignedRotation, SignedTakeover, Takeover,
};
use quid_common::amount::{Amount, Currency};
use quid_common::chain::{Chain, LENGTH_MAX, Link};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::entry::{Entry, Fact, Freeze, Genesis, Issue, Refusal, Registration};
use quid_common::fork::Fork;
use quid_common::id::{Digest, LedgerId, OperationId, OrderId, Reference};
use quid_common::key::SecretKey;
use quid_common::name::Name;
use quid_common::order::{
    Decline, LIFE_MAX, Memo, Order, STATEMENT_VERSION, SignedDecline, SignedOrder, SignedVoid, Void,
};
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::request::{Request, RequestId, SignedRequest, Wanted};
use quid_common::signed::Signed;
use quid_common::tab::{Claim, Close, GRACE_MAX, Release, SignedClose, SignedTerms, Terms, units};
use quid_common::time::LedgerTime;
use quid_common::wire::Consistency;
use serde_bytes::ByteBuf;
use tlog_tiles::{Hash, HashReader};

/// A ledger of nine entries and how it goes on with five more, one of each kind at least, and the
/// keys behind it.
pub(crate) struct World {
    pub(crate) directory: SecretKey,
    pub(crate) alice: SecretKey,
    pub(crate) bob: SecretKey,
    pub(crate) ledger: LedgerId,
    pub(crate) entries: Vec<Entry>,
    pub(crate) log: Log,
    /// A tab's whole life: what follows the nine entries in the longer log.
    pub(crate) later: Vec<Entry>,
    pub(crate) longer: Log,
    /// What alice's keys say after that.
    pub(crate) keys: Vec<Entry>,
}

/// Places of the sample entries in the log.
pub(crate) const GENESIS: u64 = 0;
pub(crate) const REGISTER: u64 = 1;
pub(crate) const ISSUE: u64 = 3;
pub(crate) const PAYMENT: u64 = 4;
pub(crate) const VOID: u64 = 5;
pub(crate) const REFUSAL: u64 = 8;
pub(crate) const TAB: u64 = 9;
pub(crate) const CLAIM: u64 = 11;
pub(crate) const CLOSE: u64 = 12;
pub(crate) const RELEASE: u64 = 13;
pub(crate) const ROTATION: u64 = 14;
pub(crate) const TAKEOVER: u64 = 17;

/// What a link of the sample tab is worth, and how many there are.
pub(crate) const UNIT: u64 = 2_500;
pub(crate) const LENGTH: u32 = 4;

impl World {
    pub(crate) fn new() -> Self {
        let directory = SecretKey::from_seed(&[0xd1; 32]);
        let alice = SecretKey::from_seed(&[0xa1; 32]);
        let bob = SecretKey::from_seed(&[0xb0; 32]);
        let genesis = Genesis {
            directory: directory.public(),
            currency: Currency::default(),
            nonce: [0x0e; 16],
        };
        let genesis = Entry {
            time: after(0),
            fact: Fact::Genesis(Signed::new(genesis, &directory)),
        };
        let mut log = Log::default();
        log.push(genesis.encode());
        let ledger = LedgerId(tlog_tiles::record_hash(&genesis.encode()).0);
        let mut world = Self {
            directory,
            alice,
            bob,
            ledger,
            entries: vec![genesis],
            log,
            later: vec![],
            longer: Log::default(),
            keys: vec![],
        };
        world.write(1_000, Fact::Register(world.registration()));
        world.write(2_000, Fact::Register(world.second_registration()));
        world.write(3_000, Fact::Issue(world.issue()));
        world.write(4_000, Fact::Payment(world.order()));
        world.write(5_000, Fact::Void(world.void()));
        world.write(6_000, Fact::Payment(world.refund()));
        world.write(7_000, Fact::Freeze(world.freeze()));
        world.write(8_000, Fact::Refusal(world.refusal()));
        world.later = world.life_of_a_tab();
        for entry in world.entries.iter().chain(&world.later) {
            world.longer.push(entry.encode());
        }
        world.keys = world.words_of_keys();
        world
    }

    /// Rotated, recovered in spite of an objection, and thawed.
    fn words_of_keys(&self) -> Vec<Entry> {
        let facts = [
            Fact::Rotation(self.rotation()),
            Fact::Recovery(self.recovery()),
            Fact::Objection(self.objection()),
            Fact::Takeover(self.takeover()),
            Fact::Lock(self.lock()),
        ];
        let times = [13_000, 14_000, 15_000, 2_592_014_000, 2_592_015_000].map(after);
        let entries = times.into_iter().zip(facts);
        entries.map(|(time, fact)| Entry { time, fact }).collect()
    }

    /// The receipt of an entry of what the keys say.
    pub(crate) fn keys_receipt(&self, index: u64) -> Receipt {
        let mut log = Log::default();
        for entry in self.every_entry() {
            log.push(entry.encode());
        }
        let size = log.len();
        let checkpoint = Checkpoint::sign(self.ledger, log.head(size), &self.directory);
        log.receipt(index, size, checkpoint)
    }

    /// Alice's recovery key.
    pub(crate) fn safe(&self) -> SecretKey {
        SecretKey::from_seed(&[0xa2; 32])
    }

    /// Alice's key after the rotation, and the one after the recovery.
    pub(crate) fn next(&self, seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    pub(crate) fn rotation(&self) -> SignedRotation {
        Rotation::sign(self.ledger, 1, REGISTER, &self.alice, &self.next(0xa3))
    }

    pub(crate) fn recovery(&self) -> SignedRecovery {
        Recovery::sign(
            self.ledger,
            1,
            REGISTER,
            self.next(0xa4).public(),
            &self.safe(),
        )
    }

    pub(crate) fn objection(&self) -> SignedObjection {
        Objection::sign(self.ledger, 1, 15, &self.next(0xa3))
    }

    pub(crate) fn takeover(&self) -> SignedTakeover {
        Takeover::sign(self.ledger, 1, &self.next(0xa4))
    }

    pub(crate) fn lock(&self) -> SignedLock {
        Lock::sign(self.ledger, 1, 15, false, &self.safe())
    }

    /// Opened, claimed twice, closed by the payee, and the rest released.
    fn life_of_a_tab(&self) -> Vec<Entry> {
        let facts = [
            Fact::Tab(self.terms()),
            Fact::Claim(self.claim(0, 1)),
            Fact::Claim(self.claim(1, 3)),
            Fact::Close(self.close()),
            Fact::Release(self.release()),
        ];
        let times = [9_000, 10_000, 11_000, 12_000, 12_000].map(after);
        let entries = times.into_iter().zip(facts);
        entries.map(|(time, fact)| Entry { time, fact }).collect()
    }

    /// The entries of the longer log, and what the keys say after them.
    pub(crate) fn every_entry(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.later).chain(&self.keys)
    }

    fn write(&mut self, ms: u64, fact: Fact) {
        let time = after(ms);
        let entry = Entry { time, fact };
        self.log.push(entry.encode());
        self.entries.push(entry);
    }

    pub(crate) fn head(&self) -> Head {
        self.log.head(self.log.len())
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::sign(self.ledger, self.head(), &self.directory)
    }

    pub(crate) fn receipt(&self, index: u64) -> Receipt {
        self.log.receipt(index, self.log.len(), self.checkpoint())
    }

    /// The receipt of an entry of the longer log.
    pub(crate) fn later_receipt(&self, index: u64) -> Receipt {
        let size = self.longer.len();
        let checkpoint = Checkpoint::sign(self.ledger, self.longer.head(size), &self.directory);
        self.longer.receipt(index, size, checkpoint)
    }

    /// How the log goes on from its first `from` entries to `to`.
    pub(crate) fn consistency(&self, from: u64, to: u64) -> Consistency {
        Consistency {
            root: Digest(self.log.head(from).root),
            proof: self.log.consistency(from, to).into(),
        }
    }

    /// The ledger as another who has it was shown it: as this one up to its last entry, which is
    /// another, and one more.
    pub(crate) fn other_log(&self) -> Log {
        let mut log = Log::default();
        for entry in &self.entries[..self.entries.len() - 1] {
            log.push(entry.encode());
        }
        for ms in [8_500, 9_500] {
            let fact = Fact::Void(Void::sign(self.ledger, order_id(5), &self.bob));
            let time = after(ms);
            log.push(Entry { time, fact }.encode());
        }
        log
    }

    /// The evidence that both logs were signed.
    pub(crate) fn fork(&self) -> Fork {
        let other = self.other_log();
        let newer = other.head(other.len());
        Fork {
            older: self.checkpoint(),
            newer: Checkpoint::sign(self.ledger, newer, &self.directory),
            root: Digest(other.head(self.log.len()).root),
            proof: other.consistency(self.log.len(), other.len()).into(),
        }
    }

    pub(crate) fn registration(&self) -> Signed<Registration> {
        let recovery = SecretKey::from_seed(&[0xa2; 32]).public();
        let registration = Registration {
            directory: self.directory.public(),
            name: name("alice"),
            key: self.alice.public(),
            recovery: Some(recovery),
        };
        Signed::new(registration, &self.alice)
    }

    pub(crate) fn second_registration(&self) -> Signed<Registration> {
        let registration = Registration {
            directory: self.directory.public(),
            name: name("bob-1_x"),
            key: self.bob.public(),
            recovery: None,
        };
        Signed::new(registration, &self.bob)
    }

    pub(crate) fn issue(&self) -> Signed<Issue> {
        let issue = Issue {
            directory: self.directory.public(),
            ledger: self.ledger,
            operation: OperationId([0x15; 16]),
            account: self.alice.public(),
            amount: amount(10_000_000),
        };
        Signed::new(issue, &self.directory)
    }

    pub(crate) fn freeze(&self) -> Signed<Freeze> {
        let freeze = Freeze {
            directory: self.directory.public(),
            ledger: self.ledger,
            operation: OperationId([0xf2; 16]),
            account: self.bob.public(),
            frozen: true,
        };
        Signed::new(freeze, &self.directory)
    }

    /// The order of PROTOCOL.md's worked example.
    pub(crate) fn order(&self) -> SignedOrder {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: order_id(1),
            payer: self.alice.public(),
            payee: self.bob.public(),
            amount: amount(1_500_000),
            memo: memo("for tea"),
            reference: None,
        };
        Signed::new(order, &self.alice)
    }

    /// An order with the longest memo, a reference, and the largest amount that it could have.
    pub(crate) fn refund(&self) -> SignedOrder {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: order_id(3),
            payer: self.bob.public(),
            payee: self.alice.public(),
            amount: Amount::MAX,
            memo: memo(&"é".repeat(Memo::LEN_MAX / 2)),
            reference: Some(Reference([0x4e; 16])),
        };
        Signed::new(order, &self.bob)
    }

    /// An order that is refused.
    pub(crate) fn unfunded(&self) -> SignedOrder {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: order_id(4),
            payer: self.alice.public(),
            payee: self.bob.public(),
            amount: amount(0x1_0000_0000),
            memo: Memo::default(),
            reference: None,
        };
        Signed::new(order, &self.alice)
    }

    pub(crate) fn void(&self) -> SignedVoid {
        Void::sign(self.ledger, order_id(2), &self.alice)
    }

    pub(crate) fn decline(&self) -> SignedDecline {
        Decline::sign(&self.unfunded(), &self.bob)
    }

    /// A request for an exact amount.
    pub(crate) fn request(&self) -> SignedRequest {
        let request = Request {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: RequestId::new(after(3_600_000), [8; 10]),
            payee: self.bob.public(),
            name: name("bob"),
            wanted: Wanted::Amount(amount(1_500_000)),
            memo: memo("for tea"),
            once: true,
        };
        request.sign(&self.bob)
    }

    /// A request that leaves the amount to the payer.
    pub(crate) fn open_request(&self) -> SignedRequest {
        let request = Request {
            wanted: Wanted::Open,
            memo: Memo::default(),
            once: false,
            ..self.request().statement().clone()
        };
        request.sign(&self.bob)
    }

    /// A request for a tab, with everything as long and as large as it could be.
    pub(crate) fn longest_request(&self) -> SignedRequest {
        let request = Request {
            name: name(&"b".repeat(Name::LEN_MAX)),
            wanted: Wanted::Tab {
                unit: amount(Amount::MAX.units() / u64::from(LENGTH_MAX)),
                units: LENGTH_MAX,
            },
            memo: memo(&"é".repeat(Memo::LEN_MAX / 2)),
            ..self.request().statement().clone()
        };
        request.sign(&self.bob)
    }

    /// The chain of PROTOCOL.md's worked example.
    pub(crate) fn chain(&self) -> Chain {
        Chain::new(order_id(6), LENGTH, Link([0x57; 32])).expect("a length within bounds")
    }

    /// The link that pays `index` units of the sample tab.
    pub(crate) fn link(&self, index: u32) -> Link {
        self.chain().link(index).expect("within the chain")
    }

    /// The terms of PROTOCOL.md's worked example.
    pub(crate) fn terms(&self) -> SignedTerms {
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: order_id(6),
            payer: self.alice.public(),
            payee: self.bob.public(),
            unit: amount(UNIT),
            length: LENGTH,
            anchor: self.chain().anchor(),
            expires: after(3_600_000),
            grace: 60,
            memo: memo("by the page"),
            reference: None,
        };
        Signed::new(terms, &self.alice)
    }

    /// Terms with everything as long and as large as it could be.
    pub(crate) fn longest_terms(&self) -> SignedTerms {
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger,
            id: order_id(7),
            payer: self.bob.public(),
            payee: self.alice.public(),
            unit: amount(Amount::MAX.units() / u64::from(LENGTH_MAX)),
            length: LENGTH_MAX,
            anchor: Link([0xac; 32]),
            expires: after(60_000).plus(LIFE_MAX),
            grace: u32::try_from(GRACE_MAX.as_secs()).expect("an hour"),
            memo: memo(&"é".repeat(Memo::LEN_MAX / 2)),
            reference: Some(Reference([0x4e; 16])),
        };
        Signed::new(terms, &self.bob)
    }

    /// A claim on the sample tab.
    pub(crate) fn claim(&self, from: u32, index: u32) -> Claim {
        Claim {
            payer: self.alice.public(),
            id: order_id(6),
            payee: self.bob.public(),
            amount: units(amount(UNIT), index - from).expect("small"),
            from,
            index,
            link: self.link(index),
        }
    }

    /// The payee's close of the sample tab.
    pub(crate) fn close(&self) -> SignedClose {
        Close::sign(self.ledger, self.alice.public(), order_id(6), &self.bob)
    }

    /// The payer's close of another tab.
    pub(crate) fn payers_close(&self) -> SignedClose {
        Close::sign(self.ledger, self.bob.public(), order_id(7), &self.bob)
    }

    /// What is left of the sample tab.
    pub(crate) fn release(&self) -> Release {
        Release {
            payer: self.alice.public(),
            id: order_id(6),
            payee: self.bob.public(),
            amount: amount(UNIT),
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let order = self.unfunded();
        Refusal {
            payer: self.alice.public(),
            id: order_id(4),
            order: order.digest(),
            reason: Reason::INSUFFICIENT_FUNDS,
        }
    }
}

/// A log in memory, its hashes stored as `tlog_tiles` numbers them.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Vec<u8>>,
    hashes: Vec<Hash>,
}

impl HashReader for Log {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let hash = |&index: &u64| self.hashes.get(usize::try_from(index).ok()?).copied();
        let hashes: Option<Vec<Hash>> = indexes.iter().map(hash).collect();
        hashes.ok_or(tlog_tiles::Error::IndexesNotInTree)
    }
}

impl Log {
    pub(crate) fn push(&mut self, entry: Vec<u8>) {
        let new = tlog_tiles::stored_hashes(self.len(), &entry, self).expect("all before are here");
        self.hashes.extend(new);
        self.entries.push(entry);
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn head(&self, size: u64) -> Head {
        let root = tlog_tiles::tree_hash(size, self)
            .expect("all hashes are here")
            .0;
        Head { size, root }
    }

    pub(crate) fn consistency(&self, from: u64, to: u64) -> Vec<u8> {
        let proof = tlog_tiles::prove_tree(to, from, self).expect("all hashes are here");
        proof.iter().flat_map(|hash| hash.0).collect()
    }

    pub(crate) fn receipt(&self, index: u64, size: u64, checkpoint: Checkpoint) -> Receipt {
        let path = tlog_tiles::prove_record(size, index, self).expect("all hashes are here");
        Receipt {
            entry: ByteBuf::from(self.entries[index as usize].clone()),
            index,
            path: ByteBuf::from(path.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>()),
            checkpoint,
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("the sample is a name")
}

pub(crate) fn order_id(number: u8) -> OrderId {
    OrderId::new(after(60_000), [number; 10])
}

/// The ledger's beginning and `ms` milliseconds.
pub(crate) fn after(ms: u64) -> LedgerTime {
    LedgerTime::from_millis(1_763_000_000_000 + ms)
}

pub(crate) fn amount(units: u64) -> Amount {
    Amount::new(units).expect("below the maximum")
}

pub(crate) fn memo(text: &str) -> Memo {
    Memo::new(text).expect("short")
}
