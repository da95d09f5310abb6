//! A person with a node: registers, pays, voids, opens tabs, asks, loses power, and goes on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::Amount;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_node::{
    Event, Home, Intent, Network, Node, Opened, Options, Outcome, Payment, Random, ReceiptId,
    State as PayState, Surroundings, Tab, TabOpening, TabPolicy, VoidOutcome, Workers,
};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::asking;
use crate::board::Board;
use crate::dice::{Dice, fate};
use crate::disk::{Disk, Trouble};
use crate::host::OPENING;
use crate::machine::{Power, QuicTasks, quic_config};
use crate::net::{Net, ip};
use crate::vfs::MOUNTS;
use crate::witness::{End, Witness};

/// A person, whether the node runs or not.
#[derive(Debug)]
pub struct Person {
    /// The account's name.
    pub name: Name,
    /// The machine's number.
    pub machine: u8,
    seed: u64,
    folder: PathBuf,
    net: Net,
    /// Who notes what happens.
    pub(crate) witness: Arc<Witness>,
    /// Where links are handed around.
    pub(crate) board: Arc<Board>,
    /// Everybody who can be paid.
    peers: Vec<Name>,
    /// What this person still wants to do.
    left: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    power: Power,
    disk: Disk,
    /// What the first disk does.
    trouble: Option<Trouble>,
    starts: u64,
    node: Option<Node>,
    /// Whether it listens, and so hears of money.
    listens: bool,
    /// What this person has in mind, whatever the machine does.
    mind: Mind,
}

/// What outlives a crash because it is not in the machine.
#[derive(Debug, Default)]
struct Mind {
    /// Entries of money that came.
    received: Vec<u64>,
    /// Entries that were to be paid back.
    refunded: Vec<u64>,
    /// Payments that are to be made once.
    intents: Vec<(Intent, Payment)>,
}

impl Person {
    /// A person who wants to do so many things.
    pub fn new(
        seed: u64,
        (name, machine): (Name, u8),
        folder: &Path,
        net: Net,
        (witness, board): (Arc<Witness>, Arc<Board>),
        peers: Vec<Name>,
        wishes: u64,
    ) -> Self {
        let power = Power::on();
        Self {
            name,
            machine,
            seed,
            folder: folder.to_owned(),
            net,
            witness,
            board,
            peers,
            left: AtomicU64::new(wishes),
            state: Mutex::new(State {
                disk: Disk::new(power.clone()),
                power,
                trouble: None,
                starts: 0,
                node: None,
                listens: false,
                mind: Mind::default(),
            }),
        }
    }

    /// A stream of randomness of this person's own for `what`.
    pub(crate) fn dice(&self, what: &str, dice: &mut Dice) -> Dice {
        Dice::new(self.seed, (what, self.machine, dice.number(0..u64::MAX)))
    }

    /// An entry to pay back: mostly money that came, now and then what was paid back before, and
    /// rarely anything.
    pub(crate) fn entry_to_refund(&self, dice: &mut Dice) -> Option<u64> {
        let mut state = self.state();
        let Mind {
            received, refunded, ..
        } = &mut state.mind;
        if dice.happens(60) {
            return Some(dice.number(0..200));
        }
        if !refunded.is_empty() && dice.happens(400) {
            return refunded.get(dice.index(refunded.len())).copied();
        }
        let entry = *received.get(dice.index(received.len().max(1)))?;
        refunded.push(entry);
        Some(entry)
    }

    /// Remembers a payment that is to be made once.
    pub(crate) fn intends(&self, intent: Intent, payment: Payment) {
        self.state().mind.intents.push((intent, payment));
    }

    /// Now and then what an earlier intent was for.
    pub(crate) fn intended(&self, dice: &mut Dice) -> Option<(Intent, Payment)> {
        let state = self.state();
        let intents = &state.mind.intents;
        if intents.is_empty() || dice.happens(600) {
            return None;
        }
        intents.get(dice.index(intents.len())).cloned()
    }

    /// The machine's power, until it fails.
    pub fn power(&self) -> Power {
        self.state().power.clone()
    }

    /// The machine's disk, until the next start.
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    /// Lets the first disk fail.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().trouble = Some(trouble);
    }

    /// The running node, if there is one.
    pub fn node(&self) -> Option<Node> {
        self.state().node.clone()
    }

    /// Whether the node that runs listens.
    pub fn listens(&self) -> bool {
        self.state().listens
    }

    /// Whether nothing is left that this person wants.
    pub fn is_content(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Lives for ever: starts the node again whenever the power has failed.
    pub async fn live(self: Arc<Self>, directory: DirectoryAddress) {
        loop {
            let (power, starts) = self.switch_on();
            let disk = self.mount(&power);
            let quic = QuicTasks::default();
            let mut dice = Dice::new(self.seed, (self.machine, starts));
            tokio::select! {
                biased;
                () = power.failed() => {}
                () = self.run(&directory, (&power, &disk), &quic, &mut dice) => power.cut(),
                () = disk_seen_to(&disk) => power.cut(),
            }
            self.witness.count("node crashes");
            self.state().node = None;
            quic.abort();
            sleep(dice.time(200..6_000)).await;
            if let Err(error) = disk.crash(&mut dice) {
                panic!("the disk of {} cannot be written: {error}", self.name);
            }
        }
    }

    /// One life of the node: ends only if it could not begin.
    async fn run(
        self: &Arc<Self>,
        directory: &DirectoryAddress,
        (power, disk): (&Power, &Disk),
        quic: &QuicTasks,
        dice: &mut Dice,
    ) {
        let node = match self.start(directory, power, quic, dice).await {
            Ok(node) => node,
            Err(error) => {
                // The first of the promises of a home is that it opens again.
                let excused = power.is_off() || disk.has_failed();
                assert!(excused, "{} does not start: {error}", self.name);
                return;
            }
        };
        self.state().node = Some(node.clone());
        let mut works = JoinSet::new();
        works.spawn(hear(Arc::clone(self), node.clone()));
        let letters = self.dice("letters", dice);
        works.spawn(asking::read_letters(
            Arc::clone(self),
            node.clone(),
            letters,
        ));
        self.witness.person(node.home().key());
        while node.register(&self.name).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
        loop {
            sleep(dice.time(20..900)).await;
            while self.left.load(Ordering::Relaxed) == 0 {
                match works.join_next().await {
                    Some(ended) => reap(ended),
                    None => std::future::pending().await,
                }
            }
            self.left.fetch_sub(1, Ordering::Relaxed);
            self.witness.count("operations");
            let own = Dice::new(self.seed, (self.machine, dice.number(0..u64::MAX)));
            works.spawn(wish(Arc::clone(self), node.clone(), own));
            while let Some(ended) = works.try_join_next() {
                reap(ended);
            }
        }
    }

    async fn start(
        &self,
        directory: &DirectoryAddress,
        power: &Power,
        quic: &QuicTasks,
        dice: &mut Dice,
    ) -> Result<Node, String> {
        let random = Mutex::new(Dice::new(fate(self.seed, dice.number(0..u64::MAX)), "keys"));
        let surroundings = Surroundings {
            random: Random::new(move |bytes| {
                let mut dice = random.lock().unwrap_or_else(PoisonError::into_inner);
                dice.fill(bytes);
                Ok(())
            }),
            workers: Workers::Caller,
        };
        let home = Home::init_in(&self.folder, directory, surroundings)
            .map_err(|error| error.to_string())?;
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        // Another port each time, as from a system that chooses.
        let starts = u16::try_from(self.state().starts).unwrap_or(u16::MAX / 2);
        let at = SocketAddr::new(ip(self.machine), 1024 + starts);
        let network = Network {
            socket: self.net.bind(at, power.clone()),
            config: quic_config(seed),
            runtime: Arc::new(quic.clone()),
        };
        let options = Options {
            listen: !dice.happens(100),
            hidden: dice.happens(100),
            tabs: TabPolicy {
                every: Duration::from_secs(2),
                ..TabPolicy::default()
            },
            ..Options::default()
        };
        self.state().listens = options.listen;
        Node::start_on(home, options, network)
            .await
            .map_err(|error| error.to_string())
    }

    fn mount(&self, power: &Power) -> Disk {
        let disk = Disk::new(power.clone());
        MOUNTS.mount(&self.folder, disk.clone());
        let mut state = self.state();
        disk.trouble(state.trouble.take());
        state.disk = disk.clone();
        disk
    }

    fn switch_on(&self) -> (Power, u64) {
        let mut state = self.state();
        state.starts += 1;
        if state.power.is_off() {
            state.power = Power::on();
        }
        (state.power.clone(), state.starts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a panic of something that a person did be the person's own.
pub(crate) fn reap(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Ends some time after the disk has failed: somebody has noticed and puts in another.
async fn disk_seen_to(disk: &Disk) {
    while !disk.has_failed() {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(4)).await;
}

/// Notes what the node tells.
async fn hear(person: Arc<Person>, node: Node) {
    let mut events = node.events();
    while let Some(event) = events.next().await {
        match event {
            Event::Received {
                entry,
                reference,
                answers,
                receipt,
                ..
            } => {
                person.witness.receipt(&receipt);
                person.witness.told(person.name.as_str(), entry);
                person.state().mind.received.push(entry);
                if let (Some(reference), true) = (reference, answers) {
                    person.witness.answered(reference, entry);
                }
            }
            Event::Forked { .. } => person.witness.count("forks"),
            Event::Doubted { .. } => person.witness.count("doubts"),
            _ => {}
        }
    }
}

/// Does one of the things that people do.
async fn wish(person: Arc<Person>, node: Node, mut dice: Dice) {
    match dice.number(0..100) {
        0..38 => pay(&person, &node, &mut dice).await,
        38..42 => intend(&person, &node, &mut dice).await,
        42..48 => asking::ask(&person, &node, &mut dice).await,
        48..54 => asking::pay_from_board(&person, &node, &mut dice).await,
        54..60 => asking::refund(&person, &node, &mut dice).await,
        60..72 => change_mind(&person, &node, &mut dice).await,
        72..90 => stream(&person, &node, &mut dice).await,
        90..95 => drop(node.history(20, None).await),
        _ => drop(node.status().await),
    }
}

fn payment(person: &Person, dice: &mut Dice, wait: Duration) -> Option<Payment> {
    let payee = person.peers.get(dice.index(person.peers.len()))?.clone();
    // Now and then more than anybody has.
    let most = if dice.happens(150) {
        2 * OPENING
    } else {
        OPENING / 20
    };
    let amount = Amount::new(dice.number(1..most))?;
    Some(Payment {
        wait,
        ..Payment::new(payee, amount)
    })
}

async fn pay(person: &Person, node: &Node, dice: &mut Dice) {
    let wait = dice.time(500..10_000);
    let Some(payment) = payment(person, dice, wait) else {
        return;
    };
    if let Ok(outcome) = node.pay(payment).await {
        note(person, node, &outcome);
    }
}

async fn intend(person: &Person, node: &Node, dice: &mut Dice) {
    let wait = dice.time(500..10_000);
    if let Some(payment) = payment(person, dice, wait) {
        asking::pay_once(person, node, payment, dice).await;
    }
}

/// Notes what became of an order.
pub(crate) fn note(person: &Person, node: &Node, outcome: &Outcome) {
    let (payer, order) = (node.home().key(), outcome.order);
    match &outcome.state {
        PayState::Settled { entry, receipt } => {
            person.witness.receipt(receipt);
            person.witness.end(payer, order, End::Settled(*entry));
            person.witness.count("settled");
        }
        PayState::Refused { reason, .. } => {
            person.witness.end(payer, order, End::Never);
            person.witness.count("refused");
            if *reason == Reason::EXPIRED {
                person.witness.count("expired");
            }
        }
        PayState::Unknown => person.witness.count("unknown for a while"),
    }
}

/// Pays and voids the order at once: one of both wins.
async fn change_mind(person: &Person, node: &Node, dice: &mut Dice) {
    let Some(payment) = payment(person, dice, Duration::from_millis(1)) else {
        return;
    };
    let Ok(outcome) = node.pay(payment).await else {
        return;
    };
    note(person, node, &outcome);
    sleep(dice.time(0..60)).await;
    let payer = node.home().key();
    match node.void(outcome.order).await {
        Ok(VoidOutcome::Voided { .. }) => {
            person.witness.end(payer, outcome.order, End::Never);
            person.witness.count("voided");
        }
        Ok(VoidOutcome::Settled(entry)) => {
            person
                .witness
                .end(payer, outcome.order, End::Settled(entry));
            person.witness.count("voids that came too late");
        }
        Ok(VoidOutcome::Refused { .. }) => {
            person.witness.end(payer, outcome.order, End::Never);
        }
        Ok(VoidOutcome::Unknown) | Err(_) => {}
    }
}

/// Opens a tab and pays on it.
async fn stream(person: &Person, node: &Node, dice: &mut Dice) {
    let Some(payee) = person.peers.get(dice.index(person.peers.len())) else {
        return;
    };
    let Some(unit) = Amount::new(dice.number(1..20_000)) else {
        return;
    };
    let units = dice.number(1..400);
    let wish = TabOpening {
        expires: dice.time(5_000..40_000),
        grace: Duration::from_secs(dice.number(10..15)),
        wait: dice.time(1_000..6_000),
        ..TabOpening::new(payee.clone(), unit, u32::try_from(units).unwrap_or(1))
    };
    let Ok(outcome) = node.open_tab(wish).await else {
        return;
    };
    let Opened::Open(tab) = outcome.state else {
        return;
    };
    person.witness.count("tabs opened");
    spend(person, node, &tab, dice).await;
}

/// Pays on a tab for a while, and closes it, or leaves it to its end.
pub(crate) async fn spend(person: &Person, node: &Node, tab: &Tab, dice: &mut Dice) {
    if let Ok((receipt, _)) = node.receipt(ReceiptId::Entry(tab.entry())).await {
        person.witness.receipt(&receipt);
    }
    for _ in 0..dice.number(0..8) {
        let units = u32::try_from(dice.number(1..80)).unwrap_or(1);
        let paid = tokio::time::timeout(dice.time(500..5_000), tab.pay(units)).await;
        match paid {
            Ok(Ok(_)) => person.witness.count("tab payments"),
            Ok(Err(_)) => break,
            Err(_) => person
                .witness
                .count("tab payments not acknowledged in time"),
        }
        sleep(dice.time(0..700)).await;
    }
    if dice.happens(700) {
        drop(tab.close().await);
    }
}
