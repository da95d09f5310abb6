//! An account whose keys change, and a thief of them.
//!
//! The owner replaces the key, freezes and thaws the account and announces recoveries, on bare QUIC;
//! the thief has stolen a key and does with it whatever it may and may not. Both race: orders of the
//! key that goes and of the one that comes are on their way while the change is. Either may find
//! itself without the account's key. What came of it is judged from the log ([`crate::check`]).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use quid_common::account::{Change, Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::address::DirectoryAddress;
use quid_common::entry::Registration;
use quid_common::id::{InstanceId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use quid_common::order::{Memo, Order, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::request::{Request, RequestId, RequestLink, Wanted};
use quid_common::signed::Signed;
use quid_common::tls::TlsIdentity;
use quid_common::wire::{
    AskKeys, ChangeKeys, Find, KeysStanding, Login, Message, OpenSettle, Register, Welcome,
};
use quinn::{Connection, Endpoint};
use tokio::time::{Instant, sleep, timeout_at};

use crate::board::Board;
use crate::dice::Dice;
use crate::machine::{Power, QuicTasks, quic_config};
use crate::net::{Net, ip};
use crate::rogue::Den;
use crate::wire::{Ask, Wire, WireError, dial};
use crate::witness::Witness;

/// An account whose keys change.
#[derive(Debug)]
pub struct Holder {
    name: Name,
    /// The owner's machine; the thief has the next.
    machine: u8,
    seed: u64,
    net: Net,
    witness: Arc<Witness>,
    /// Where tabs to rogues are kept by those who claim on them.
    den: Arc<Den>,
    /// Where links are handed around.
    board: Arc<Board>,
    /// Whom the owner pays, and whom the thief.
    payees: [Vec<Name>; 2],
    recovery: SecretKey,
    /// Every key that anybody made for the account, and whose it is.
    keys: Mutex<Vec<(Who, SecretKey)>>,
    /// The account's number, once it is known.
    number: OnceLock<u64>,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Whose account it is.
    Owner,
    /// Who has stolen a key.
    Thief,
}

/// Where one of the two stands: an endpoint, and the directory that it calls.
struct Caller {
    who: Who,
    endpoint: Endpoint,
    directory: DirectoryAddress,
    /// The key in the thief's hands.
    stolen: Option<SecretKey>,
}

impl Holder {
    /// An account on `machine` and, for the thief, the one after it.
    pub fn new(
        seed: u64,
        (name, machine): (Name, u8),
        net: Net,
        witness: Arc<Witness>,
        (den, board): (Arc<Den>, Arc<Board>),
        payees: [Vec<Name>; 2],
    ) -> Self {
        let mut dice = Dice::new(seed, ("holder's keys", machine));
        Self {
            name,
            machine,
            seed,
            net,
            witness,
            den,
            board,
            payees,
            recovery: new_key(&mut dice),
            keys: Mutex::new(vec![(Who::Owner, new_key(&mut dice))]),
            number: OnceLock::new(),
        }
    }

    /// Acts for ever.
    pub async fn live(self: Arc<Self>, who: Who, directory: DirectoryAddress) {
        let quic = QuicTasks::default();
        let mut dice = Dice::new(self.seed, (who, self.machine));
        let Ok(endpoint) = self.endpoint(who, &quic, &mut dice) else {
            return;
        };
        let mut caller = Caller {
            who,
            endpoint,
            directory,
            stolen: None,
        };
        while who == Who::Owner && self.register(&caller).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
        loop {
            sleep(dice.time(200..2_500)).await;
            // A directory that is away is asked again; what came of it shows in the log.
            let _ = match who {
                Who::Owner => self.own(&caller, &mut dice).await,
                Who::Thief => self.steal(&mut caller, &mut dice).await,
            };
        }
    }

    fn endpoint(&self, who: Who, quic: &QuicTasks, dice: &mut Dice) -> std::io::Result<Endpoint> {
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        let machine = self.machine + u8::from(who == Who::Thief);
        let socket = self
            .net
            .bind(SocketAddr::new(ip(machine), 1024), Power::on());
        let runtime = Arc::new(quic.clone());
        Endpoint::new_with_abstract_socket(quic_config(seed), None, socket, runtime)
    }

    async fn register(&self, caller: &Caller) -> Result<(), WireError> {
        let key = self.newest(Who::Owner);
        let registration = Registration {
            directory: caller.directory.key(),
            name: self.name.clone(),
            key: key.public(),
            recovery: Some(self.recovery.public()),
        };
        let register = Register {
            registration: Signed::new(registration, &key).into_bytes().into(),
            invite: None,
        };
        let connection = caller.dial(&key).await?;
        match Wire::ask(&connection, &register.into()).await? {
            Message::Registered(registered) => {
                self.witness.receipt(&registered.receipt);
                Ok(())
            }
            _ => Err(WireError::Silence),
        }
    }

    /// Something that an owner does.
    async fn own(&self, caller: &Caller, dice: &mut Dice) -> Result<(), WireError> {
        let key = self.newest(Who::Owner);
        let connection = caller.dial(&key).await?;
        let now = self.standing(&connection).await?;
        let (ledger, account) = (now.ledger, now.account);
        // Which of its keys is the account's; none if a thief has replaced it.
        let mine = self.mine(Who::Owner, &now.key);
        if let Some(pending) = &now.pending
            && let Some(next) = self.mine(Who::Owner, &pending.successor)
            && (now.time >= pending.due || dice.happens(150))
        {
            let takeover = Takeover::sign(ledger, account, &next);
            return self.say(&connection, Change::Takeover(takeover)).await;
        }
        if now.locked && dice.happens(600) {
            let lock = Lock::sign(ledger, account, now.recovery_said, false, &self.recovery);
            return self.say(&connection, Change::Lock(lock)).await;
        }
        if dice.happens(100) {
            self.ask(caller, mine.as_ref().unwrap_or(&key), &now, dice);
        }
        let change = match (dice.number(0..10), mine) {
            (0..5, mine) => return self.pay(caller, mine.as_ref().unwrap_or(&key), dice).await,
            (5..8, Some(old)) => {
                let next = self.make_key(Who::Owner, dice);
                let rotation = Rotation::sign(ledger, account, now.said, &old, &next);
                return self
                    .race(caller, [&old, &next], Change::Rotation(rotation), dice)
                    .await;
            }
            // Either key may, while the owner's own orders or a thief's are on their way.
            (8, mine) => {
                let by_own = mine.as_ref().filter(|_| dice.happens(500));
                let lock = match by_own {
                    Some(mine) => Lock::sign(ledger, account, now.said, true, mine),
                    None => {
                        let said = now.recovery_said;
                        Lock::sign(ledger, account, said, true, &self.recovery)
                    }
                };
                let payer = mine.as_ref().unwrap_or(&key);
                return self
                    .race(caller, [payer, payer], Change::Lock(lock), dice)
                    .await;
            }
            // What has been announced is left to its time, as a rule.
            _ if now.pending.is_some() && dice.happens(800) => return Ok(()),
            _ => {
                let next = self.make_key(Who::Owner, dice).public();
                let said = now.recovery_said;
                let recovery = Recovery::sign(ledger, account, said, next, &self.recovery);
                Change::Recovery(recovery)
            }
        };
        self.say(&connection, change).await
    }

    /// Something that a thief of the key does.
    async fn steal(&self, caller: &mut Caller, dice: &mut Dice) -> Result<(), WireError> {
        let key = match &caller.stolen {
            Some(stolen) if !dice.happens(200) => stolen.clone(),
            _ => {
                self.witness.count("keys stolen");
                caller.stolen.insert(self.newest(Who::Owner)).clone()
            }
        };
        let connection = caller.dial(&key).await?;
        let now = self.standing(&connection).await?;
        let (ledger, account) = (now.ledger, now.account);
        let change = match dice.number(0..12) {
            0..6 => return self.pay(caller, &key, dice).await,
            6 => {
                let next = self.make_key(Who::Thief, dice);
                let rotation = Rotation::sign(ledger, account, now.said, &key, &next);
                caller.stolen = Some(next.clone());
                return self
                    .race(caller, [&key, &next], Change::Rotation(rotation), dice)
                    .await;
            }
            7 => {
                let lock = Lock::sign(ledger, account, now.said, true, &key);
                return self
                    .race(caller, [&key, &key], Change::Lock(lock), dice)
                    .await;
            }
            // These three it must not.
            8 => Change::Lock(Lock::sign(ledger, account, now.said, false, &key)),
            9 => {
                let next = self.make_key(Who::Thief, dice).public();
                Change::Recovery(Recovery::sign(ledger, account, now.said, next, &key))
            }
            10 => Change::Takeover(Takeover::sign(
                ledger,
                account,
                &self.make_key(Who::Thief, dice),
            )),
            _ => {
                let announced = now.pending.map_or(0, |pending| pending.announced);
                Change::Objection(Objection::sign(ledger, account, announced, &key))
            }
        };
        self.say(&connection, change).await
    }

    /// Says a change while orders of both keys are on their way.
    async fn race(
        &self,
        caller: &Caller,
        [old, next]: [&SecretKey; 2],
        change: Change,
        dice: &mut Dice,
    ) -> Result<(), WireError> {
        let connection = caller.dial(old).await?;
        let mut own = Dice::new(self.seed, ("race", dice.number(0..u64::MAX)));
        let (paid, said) = tokio::join!(self.pay(caller, old, dice), async {
            sleep(own.time(0..120)).await;
            self.say(&connection, change).await
        });
        // One of the two may be cut off by the other.
        let _ = paid;
        said?;
        self.pay(caller, next, dice).await
    }

    /// Logs in with `key` and pays, with this key and with others that the account had.
    async fn pay(
        &self,
        caller: &Caller,
        key: &SecretKey,
        dice: &mut Dice,
    ) -> Result<(), WireError> {
        let connection = caller.dial(key).await?;
        let Some(welcome) = self.log_in(&connection, dice).await? else {
            return Ok(());
        };
        let began = (welcome.time, Instant::now());
        let payees = &self.payees[usize::from(caller.who == Who::Thief)];
        let Some(name) = payees.get(dice.index(payees.len())).cloned() else {
            return Ok(());
        };
        let payee = match Wire::ask(&connection, &Find { name }.into()).await? {
            Message::Found(found) => found.key,
            // Not registered yet.
            _ => return Ok(()),
        };
        let (send, receive) = connection.open_bi().await?;
        let (mut asks, mut answers) = Wire::new(send, receive).split();
        asks.send(&OpenSettle {}.into()).await?;
        let orders = dice.number(1..6);
        for number in 0..orders {
            let signer = match dice.happens(200) {
                true => self.any(dice),
                false => key.clone(),
            };
            let mut random = [0; 10];
            dice.fill(&mut random);
            let now = began.0.plus(began.1.elapsed());
            let id = OrderId::new(now.plus(dice.time(2_000..60_000)), random);
            if dice.happens(250) {
                // Rogues claim on it if they are its payees.
                let ends = [signer.public(), payee];
                if let Some(terms) = self.den.tab(welcome.ledger, id, ends, dice) {
                    let terms = Signed::new(terms, &signer).into_bytes();
                    asks.send(&Ask::Tab(terms).of(number)).await?;
                    continue;
                }
            }
            let order = Order {
                version: STATEMENT_VERSION,
                ledger: welcome.ledger,
                id,
                payer: signer.public(),
                payee,
                amount: dice.amount(1..500_000),
                memo: Memo::default(),
                reference: None,
            };
            let order = Signed::new(order, &signer).into_bytes();
            asks.send(&Ask::Order(order).of(number)).await?;
            sleep(dice.time(0..100)).await;
        }
        let deadline = Instant::now() + ANSWERS_WAIT;
        for _ in 0..orders {
            match timeout_at(deadline, answers.next()).await {
                Ok(Ok(Some(message))) => self.hear(caller.who, message),
                // The rest is as the log has it.
                _ => break,
            }
        }
        Ok(())
    }

    /// Asks to be paid, signed with a key that may be replaced before anybody pays.
    fn ask(&self, caller: &Caller, key: &SecretKey, now: &KeysStanding, dice: &mut Dice) {
        let mut random = [0; 10];
        dice.fill(&mut random);
        let request = Request {
            version: STATEMENT_VERSION,
            ledger: now.ledger,
            id: RequestId::new(now.time.plus(dice.time(1_000..60_000)), random),
            payee: key.public(),
            name: self.name.clone(),
            wanted: Wanted::Amount(dice.amount(1..500_000)),
            memo: Memo::default(),
            once: false,
        };
        if let Ok(link) = RequestLink::new(caller.directory.clone(), request.sign(key)) {
            self.witness
                .count("requests made by an account whose keys change");
            self.board.post(&self.name, &link, dice);
        }
    }

    async fn log_in(
        &self,
        connection: &Connection,
        dice: &mut Dice,
    ) -> Result<Option<Welcome>, WireError> {
        let mut instance = InstanceId([0; 16]);
        dice.fill(&mut instance.0);
        let login = Login {
            instance,
            listening: false,
            hidden: false,
            checkpoint: None,
        };
        match Wire::ask(connection, &login.into()).await? {
            Message::Welcome(welcome) => {
                self.witness.checkpoint(&welcome.checkpoint);
                self.is_this_account(welcome.number, &welcome.name);
                Ok(Some(welcome))
            }
            Message::Refused(refused) if refused.reason == Reason::KEY_REPLACED => {
                self.witness.count("logins by a replaced key refused");
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    async fn standing(&self, connection: &Connection) -> Result<KeysStanding, WireError> {
        let name = self.name.clone();
        match Wire::ask(connection, &AskKeys { name }.into()).await? {
            Message::KeysStanding(standing) => {
                self.is_this_account(standing.account, &self.name);
                Ok(standing)
            }
            _ => Err(WireError::Silence),
        }
    }

    /// Names and numbers stay, whatever the keys.
    fn is_this_account(&self, number: u64, name: &Name) {
        let known = *self.number.get_or_init(|| number);
        assert_eq!(
            (known, &self.name),
            (number, name),
            "an account became another"
        );
    }

    /// Says a change, and counts what came of it.
    async fn say(&self, connection: &Connection, change: Change) -> Result<(), WireError> {
        let question = ChangeKeys {
            change: change.bytes().to_vec().into(),
        };
        let answer = Wire::ask(connection, &question.into()).await?;
        self.witness.count(match (&answer, &change) {
            (Message::KeysChanged(changed), _) => {
                self.witness.receipt(&changed.receipt);
                match &change {
                    Change::Rotation(_) => "rotations",
                    Change::Recovery(_) => "recoveries announced",
                    Change::Objection(_) => "recoveries objected to",
                    Change::Takeover(_) => "recoveries that took effect",
                    Change::Lock(lock) if lock.statement().frozen => "freezes by a key",
                    Change::Lock(_) => "thaws by a recovery key",
                }
            }
            (Message::Refused(refused), _) => match refused.reason {
                Reason::ACCOUNT_FROZEN => "rotations of a frozen account refused",
                Reason::KEY_REPLACED => "changes by a replaced key refused",
                Reason::WRONG_KEY => "changes by the wrong key refused",
                Reason::TOO_EARLY => "recoveries before their time refused",
                Reason::NO_RECOVERY => "changes without a recovery refused",
                _ => "changes refused for other reasons",
            },
            _ => "changes answered by something else",
        });
        Ok(())
    }

    fn hear(&self, who: Who, message: Message) {
        match message {
            Message::Settled(settled) => {
                self.witness.receipt(&settled.receipt);
                self.witness.count(match who {
                    Who::Owner => "payments by an owner of keys",
                    Who::Thief => "payments by a thief",
                });
            }
            Message::SubmitRefused(refused) => {
                if let Some(receipt) = &refused.receipt {
                    self.witness.receipt(receipt);
                }
                self.witness.count(match refused.reason {
                    Reason::KEY_REPLACED => "orders by or to a replaced key refused",
                    Reason::FROZEN => "orders of a frozen account refused",
                    Reason::INSUFFICIENT_FUNDS => "orders of an empty account refused",
                    _ => "orders of a holder refused for other reasons",
                });
            }
            _ => {}
        }
    }

    fn make_key(&self, who: Who, dice: &mut Dice) -> SecretKey {
        let key = new_key(dice);
        self.keys().push((who, key.clone()));
        key
    }

    /// The key with this public half, if it is in these hands.
    fn mine(&self, who: Who, public: &PublicKey) -> Option<SecretKey> {
        let keys = self.keys();
        let known = keys.iter().find(|(_, key)| key.public() == *public);
        let (whose, key) = known?;
        (*whose == who).then(|| key.clone())
    }

    fn newest(&self, who: Who) -> SecretKey {
        let keys = self.keys();
        let of = keys.iter().rev().find(|(whose, _)| *whose == who);
        of.map_or_else(|| self.recovery.clone(), |(_, key)| key.clone())
    }

    fn any(&self, dice: &mut Dice) -> SecretKey {
        let keys = self.keys();
        let at = dice.index(keys.len());
        keys.get(at)
            .map_or_else(|| self.recovery.clone(), |(_, key)| key.clone())
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Vec<(Who, SecretKey)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    async fn dial(&self, key: &SecretKey) -> Result<Connection, WireError> {
        let identity =
            TlsIdentity::new(&key.seed()).map_err(|error| WireError::Setup(error.to_string()))?;
        dial(&self.endpoint, &identity, &self.directory).await
    }
}

fn new_key(dice: &mut Dice) -> SecretKey {
    let mut seed = [0; 32];
    dice.fill(&mut seed);
    SecretKey::from_seed(&seed)
}

/// How long the answers to a few orders are waited for.
const ANSWERS_WAIT: Duration = Duration::from_secs(3);
