//! A hostile account on bare QUIC: withholds, repeats, sends twice, forges and claims too much.
//!
//! Whatever the directory answers it, a receipt is one that somebody holds: so rogues bear witness
//! as everybody does, and what is promised must hold for them too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::chain::{Chain, Link};
use quid_common::entry::Registration;
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use quid_common::order::{Memo, Order, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::request::{Request, Wanted};
use quid_common::signed::Signed;
use quid_common::tab::{Close, Terms};
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsError, TlsIdentity};
use quid_common::wire::{
    Declined, Find, Login, Message, Offer, OpenSettle, Paid, Register, Welcome,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ServerConfig};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::board::Board;
use crate::dice::Dice;
use crate::machine::{Power, QuicTasks, quic_config};
use crate::net::{Net, ip};
use crate::wire::{Ask, Wire, WireError, dial};
use crate::witness::Witness;

/// What rogues share with each other.
#[derive(Debug, Default)]
pub struct Den {
    /// Tabs to rogues, with their chains.
    tabs: Mutex<Vec<(Terms, Chain)>>,
}

impl Den {
    /// Terms of a tab, which is kept to be claimed on if there is room.
    pub fn tab(
        &self,
        ledger: LedgerId,
        id: OrderId,
        [payer, payee]: [PublicKey; 2],
        dice: &mut Dice,
    ) -> Option<Terms> {
        let mut last = Link([0; 32]);
        dice.fill(&mut last.0);
        let length = u32::try_from(dice.number(1..60)).unwrap_or(1);
        let chain = Chain::new(id, length, last)?;
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger,
            id,
            payer,
            payee,
            unit: dice.amount(1..10_000),
            length,
            anchor: chain.anchor(),
            expires: id.expiry().plus(dice.time(1_000..30_000)),
            grace: 10,
            memo: Memo::default(),
            reference: None,
        };
        let mut tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        if tabs.len() < STASH_LEN_MAX {
            tabs.push((terms.clone(), chain));
        }
        Some(terms)
    }
}

/// A hostile account.
#[derive(Debug)]
pub struct Rogue {
    name: Name,
    machine: u8,
    seed: u64,
    key: SecretKey,
    net: Net,
    witness: Arc<Witness>,
    den: Arc<Den>,
    board: Arc<Board>,
    /// Whom it cheats.
    victims: Vec<Name>,
    /// Another rogue, whom it pays by tabs.
    accomplice: PublicKey,
    /// Orders of anybody that came by.
    stash: Mutex<Vec<Vec<u8>>>,
}

/// Why a session of a rogue ended.
#[derive(Debug, Error)]
enum Over {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Setup(String),
    #[error("an answer that is none")]
    Answer,
}

/// The key of a rogue.
pub fn key(seed: u64, machine: u8) -> SecretKey {
    let mut bytes = [0; 32];
    Dice::new(seed, ("rogue", machine)).fill(&mut bytes);
    SecretKey::from_seed(&bytes)
}

impl Rogue {
    /// A rogue on `machine`, in league with the one on `accomplice`.
    pub fn new(
        seed: u64,
        (name, machine, accomplice): (Name, u8, u8),
        net: Net,
        witness: Arc<Witness>,
        (den, board): (Arc<Den>, Arc<Board>),
        victims: Vec<Name>,
    ) -> Self {
        Self {
            name,
            machine,
            seed,
            key: key(seed, machine),
            net,
            witness,
            den,
            board,
            victims,
            accomplice: key(seed, accomplice).public(),
            stash: Mutex::default(),
        }
    }

    /// Cheats for ever.
    pub async fn live(self: Arc<Self>, directory: DirectoryAddress) {
        let quic = QuicTasks::default();
        let mut dice = Dice::new(self.seed, ("life", self.machine));
        let Ok((endpoint, identity)) = self.endpoint(&quic, &mut dice) else {
            return;
        };
        loop {
            // What comes of it shows in the log; a session that ends is begun again.
            let _ = self
                .session(&endpoint, &identity, &directory, &mut dice)
                .await;
            sleep(dice.time(200..2_000)).await;
        }
    }

    fn endpoint(&self, quic: &QuicTasks, dice: &mut Dice) -> Result<(Endpoint, TlsIdentity), Over> {
        let identity = TlsIdentity::new(&self.key.seed())?;
        let tls = tls::server_config(&identity, &[tls::ALPN_PEER])?;
        let tls =
            QuicServerConfig::try_from(tls).map_err(|error| Over::Setup(error.to_string()))?;
        let server = ServerConfig::with_crypto(Arc::new(tls));
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        let at = SocketAddr::new(ip(self.machine), 1024);
        let endpoint = Endpoint::new_with_abstract_socket(
            quic_config(seed),
            Some(server),
            self.net.bind(at, Power::on()),
            Arc::new(quic.clone()),
        );
        let endpoint = endpoint.map_err(|error| Over::Setup(error.to_string()))?;
        Ok((endpoint, identity))
    }

    async fn session(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        identity: &TlsIdentity,
        directory: &DirectoryAddress,
        dice: &mut Dice,
    ) -> Result<(), Over> {
        let connection = dial(endpoint, identity, directory).await?;
        let welcome = self.log_in(&connection, directory, dice).await?;
        let began = (welcome.time, Instant::now());
        let (send, receive) = connection.open_bi().await.map_err(WireError::from)?;
        let (mut asks, mut answers) = Wire::new(send, receive).split();
        asks.send(&OpenSettle {}.into()).await?;
        let mut works = JoinSet::new();
        let this = Arc::clone(self);
        works.spawn(async move {
            while let Ok(Some(message)) = answers.next().await {
                this.hear(message);
            }
        });
        let (this, listener) = (Arc::clone(self), endpoint.clone());
        let own = Dice::new(
            self.seed,
            ("listens", self.machine, dice.number(0..u64::MAX)),
        );
        works.spawn(this.listen(listener, own));
        let mut number = 0;
        loop {
            sleep(dice.time(100..1_200)).await;
            let now = began.0.plus(began.1.elapsed());
            for message in self.mischief(&connection, &welcome, now, dice).await? {
                number += 1;
                asks.send(&message.of(number)).await?;
            }
        }
    }

    async fn log_in(
        &self,
        connection: &Connection,
        directory: &DirectoryAddress,
        dice: &mut Dice,
    ) -> Result<Welcome, Over> {
        let registration = Registration {
            directory: directory.key(),
            name: self.name.clone(),
            key: self.key.public(),
            recovery: None,
        };
        let register = Register {
            registration: Signed::new(registration, &self.key).into_bytes().into(),
            invite: None,
        };
        if let Message::Registered(registered) = Wire::ask(connection, &register.into()).await? {
            self.witness.receipt(&registered.receipt);
        }
        let mut instance = InstanceId([0; 16]);
        dice.fill(&mut instance.0);
        let login = Login {
            instance,
            listening: true,
            hidden: false,
            checkpoint: None,
        };
        match Wire::ask(connection, &login.into()).await? {
            Message::Welcome(welcome) => {
                self.witness.checkpoint(&welcome.checkpoint);
                Ok(welcome)
            }
            _ => Err(Over::Answer),
        }
    }

    /// Notes what the directory answered.
    fn hear(&self, message: Message) {
        match message {
            Message::Settled(settled) => {
                self.witness.receipt(&settled.receipt);
                self.witness.count("rogues' wishes that settled");
            }
            Message::Voided(voided) => self.witness.receipt(&voided.receipt),
            Message::SubmitRefused(refused) => {
                if let Some(receipt) = &refused.receipt {
                    self.witness.receipt(receipt);
                }
                self.witness.count(match refused.reason {
                    Reason::ID_REUSED => "conflicts: id reused",
                    Reason::BAD_SIGNATURE => "forgeries refused",
                    Reason::VOIDED => "withheld orders that were void",
                    Reason::EXPIRED => "expired when they came",
                    Reason::STALE_CLAIM => "claims twice",
                    Reason::PAST_END => "claims past the end",
                    Reason::BAD_LINK => "claims with a false link",
                    Reason::NO_TAB => "claims on no tab",
                    Reason::WRONG_SUBMITTER => "wishes in the name of others",
                    _ => "rogues' wishes refused for other reasons",
                });
            }
            _ => {}
        }
    }

    /// Something that nobody should do, and now and then something honest.
    async fn mischief(
        &self,
        connection: &Connection,
        welcome: &Welcome,
        now: LedgerTime,
        dice: &mut Dice,
    ) -> Result<Vec<Ask>, Over> {
        Ok(match dice.number(0..11) {
            0..3 => {
                let (one, other) = (
                    self.find(connection, dice).await?,
                    self.find(connection, dice).await?,
                );
                let mut order = self.order(welcome, now, one, dice);
                let mut both = vec![self.sign(&order)];
                order.payee = other;
                order.amount = dice.amount(1..1_000_000);
                both.push(self.sign(&order));
                self.stash().extend(both.iter().cloned());
                self.witness.count("double sends");
                both.into_iter().map(submit).collect()
            }
            3..6 => {
                self.witness.count("replays");
                let stash = self.stash();
                let orders = (0..3.min(stash.len())).map(|_| stash.get(dice.index(stash.len())));
                orders.flatten().cloned().map(submit).collect()
            }
            6 => {
                let victim = self.find(connection, dice).await?;
                let order = self.order(welcome, now, self.accomplice, dice);
                let mut bytes = self.sign(&order);
                put_for(&mut bytes, self.key.public(), victim);
                vec![submit(bytes)]
            }
            7 => {
                let id = self.id(now, dice);
                let ends = [self.key.public(), self.accomplice];
                let terms = self.den.tab(welcome.ledger, id, ends, dice);
                let terms = terms.ok_or(Over::Answer)?;
                vec![Ask::Tab(Signed::new(terms, &self.key).into_bytes())]
            }
            8 => match self.board.any(dice) {
                Some(link) => vec![submit(self.answer(link.request(), welcome, now, dice))],
                None => Vec::new(),
            },
            _ => self.claims(welcome, dice),
        })
    }

    /// Claims on a tab between rogues: the same twice, out of order, too much, with false links,
    /// and on behalf of others.
    fn claims(&self, welcome: &Welcome, dice: &mut Dice) -> Vec<Ask> {
        let mut tabs = self.den.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        if tabs.is_empty() {
            return Vec::new();
        }
        let at = dice.index(tabs.len());
        let Some((terms, chain)) = tabs.get_mut(at) else {
            return Vec::new();
        };
        let mut asks = Vec::new();
        for _ in 0..dice.number(1..4) {
            let length = u64::from(terms.length);
            let index = u32::try_from(dice.number(1..length + 3)).unwrap_or(1);
            let mut link = chain.link(index.min(terms.length)).unwrap_or(Link([0; 32]));
            if dice.happens(200) {
                dice.fill(&mut link.0);
            }
            let from = if dice.happens(500) {
                0
            } else {
                u32::try_from(dice.number(0..u64::from(index))).unwrap_or(0)
            };
            let claim = Ask::Claim(terms.payer, terms.id, from, index, link);
            asks.push(claim.clone());
            if dice.happens(500) {
                asks.push(claim);
            }
        }
        if dice.happens(250) {
            let close = Close {
                version: STATEMENT_VERSION,
                ledger: welcome.ledger,
                payer: terms.payer,
                id: terms.id,
                by: self.key.public(),
            };
            asks.push(Ask::Close(Signed::new(close, &self.key).into_bytes()));
        }
        self.witness.count("false claims");
        asks
    }

    fn id(&self, now: LedgerTime, dice: &mut Dice) -> OrderId {
        let mut random = [0; 10];
        dice.fill(&mut random);
        // Some are too late when they arrive.
        OrderId::new(now.plus(dice.time(10..60_000)), random)
    }

    fn order(
        &self,
        welcome: &Welcome,
        now: LedgerTime,
        payee: PublicKey,
        dice: &mut Dice,
    ) -> Order {
        Order {
            version: STATEMENT_VERSION,
            ledger: welcome.ledger,
            id: self.id(now, dice),
            payer: self.key.public(),
            payee,
            amount: dice.amount(1..1_000_000),
            memo: Memo::default(),
            reference: None,
        }
    }

    /// An order past the payee that names its request, and mostly does not pay it.
    fn answer(
        &self,
        request: &Request,
        welcome: &Welcome,
        now: LedgerTime,
        dice: &mut Dice,
    ) -> Vec<u8> {
        self.witness.count("requests answered by rogues");
        let mut order = self.order(welcome, now, request.payee, dice);
        order.reference = Some(request.reference());
        if let (Wanted::Amount(asked), true) = (request.wanted, dice.happens(400)) {
            order.amount = asked;
        }
        self.sign(&order)
    }

    fn sign(&self, order: &Order) -> Vec<u8> {
        Signed::new(order.clone(), &self.key).into_bytes()
    }

    async fn find(&self, connection: &Connection, dice: &mut Dice) -> Result<PublicKey, Over> {
        let Some(name) = self.victims.get(dice.index(self.victims.len())).cloned() else {
            return Ok(self.accomplice);
        };
        match Wire::ask(connection, &Find { name }.into()).await? {
            Message::Found(found) => Ok(found.key),
            // Not registered yet.
            _ => Ok(self.accomplice),
        }
    }

    fn stash(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        let mut stash = self.stash.lock().unwrap_or_else(PoisonError::into_inner);
        stash.truncate(STASH_LEN_MAX);
        stash
    }

    /// Takes calls from payers.
    async fn listen(self: Arc<Self>, endpoint: Endpoint, mut dice: Dice) {
        let mut payers = JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            let own = Dice::new(self.seed, ("payer", self.machine, dice.number(0..u64::MAX)));
            let this = Arc::clone(&self);
            payers.spawn(async move {
                // A payer that goes away is not missed.
                let _ = this.fleece(incoming, own).await;
            });
            while payers.try_join_next().is_some() {}
        }
    }

    /// Takes a payer's orders and does as it likes.
    async fn fleece(&self, incoming: quinn::Incoming, mut dice: Dice) -> Result<(), Over> {
        let connection = timeout(ANSWER_WAIT, incoming)
            .await
            .map_err(|_| WireError::Silence)?
            .map_err(WireError::from)?;
        let (send, receive) = connection.accept_bi().await.map_err(WireError::from)?;
        let (mut says, mut hears) = Wire::new(send, receive).split();
        while let Some(message) = hears.next().await? {
            let Message::Offer(Offer { number, order, .. }) = message else {
                continue;
            };
            self.witness.count("orders offered to rogues");
            // It may settle one day, from the stash.
            self.stash().push(order.into_vec());
            match dice.number(0..5) {
                0 | 1 => self.witness.count("orders withheld"),
                2 => {
                    let reason = Reason::INSUFFICIENT_FUNDS;
                    says.send(&Declined { number, reason }.into()).await?;
                }
                3 => {
                    let receipt = self.witness.any_receipt(&mut dice);
                    if let Some(receipt) = receipt {
                        self.witness.count("receipts of others shown");
                        says.send(&Paid { number, receipt }.into()).await?;
                    }
                }
                _ => {
                    connection.close(0_u32.into(), b"");
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Puts another payer into signed bytes.
fn put_for(bytes: &mut [u8], payer: PublicKey, victim: PublicKey) {
    let (own, other) = (payer.as_bytes(), victim.as_bytes());
    let at = bytes.windows(own.len()).position(|window| window == own);
    if let Some(place) = at.and_then(|at| bytes.get_mut(at..at + other.len())) {
        place.copy_from_slice(other);
    }
}

fn submit(order: Vec<u8>) -> Ask {
    Ask::Order(order)
}

/// How long a rogue waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// What a rogue keeps of anything.
const STASH_LEN_MAX: usize = 64;
