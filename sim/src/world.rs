//! One run: builds a world, lets it live and go wrong, heals it, and holds it against the promises.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_directory::audit;
use quid_directory::folder::Folder;
use quid_directory::store::LogReader;
use tempfile::TempDir;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::check::{Log, broken, check};
use crate::dice::Dice;
use crate::disk::{self, Trouble};
use crate::holder::{Holder, Who};
use crate::host::{Ended, Host};
use crate::net::{Counts, Net};
use crate::person::Person;
use crate::plan::Targets;
use crate::rogue::{Den, Rogue};
use crate::witness::{Seen, Witness};
use crate::{entropy, vfs};

/// What a run is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// People with honest nodes.
    pub people: u8,
    /// What each of them wants to do.
    pub wishes: u64,
    /// Hostile accounts: none, or two at least, which are in league.
    pub rogues: u8,
    /// Accounts whose keys change and are stolen.
    pub holders: u8,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// A disk that fails.
    pub trouble: Option<(Whose, Trouble)>,
}

/// Whose disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The directory's.
    Directory,
    /// The first person's.
    Node,
}

/// What the ordinary run is like: 240 operations and every fault.
pub const ORDINARY: Wishes = Wishes {
    people: 5,
    wishes: 48,
    rogues: 2,
    holders: 1,
    faults: true,
    trouble: None,
};

/// A life that registers, pays, voids and streams in a few hundred writes, and nothing goes wrong.
pub const SHORT: Wishes = Wishes {
    people: 2,
    wishes: 10,
    rogues: 0,
    holders: 0,
    faults: false,
    trouble: None,
};

/// The number of the first rogue's machine.
const ROGUES_FROM: u8 = 100;

/// The number of the first holder's machine; its thief has the next.
const HOLDERS_FROM: u8 = 120;

/// How often the directory's machine is off for most of a day, until a recovery is due.
const DAYS_OFF: u32 = 4;

/// Less than the leap that the directory wants the operator's word for.
const DAY_OFF: Duration = Duration::from_secs(23 * 60 * 60);

/// What is left to holders after that, to take their accounts over and pay.
const HOLDERS_WAIT: Duration = Duration::from_secs(8);

/// What is left to payees, once payers know everything, to know what came.
const PAYEES_WAIT: Duration = Duration::from_secs(3);

/// Longest time in which everything has its end once all faults are over (promise I10).
pub const END_WAIT: Duration = Duration::from_secs(30);

/// Longest time that people may take for what they want, faults and all.
const LIFE_MAX: Duration = Duration::from_secs(600);

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub seed: u64,
    /// A digest of the log's entries: the same whenever the seed is run again.
    pub digest: String,
    /// Entries in the log.
    pub entries: usize,
    /// What happened how often.
    pub counts: Vec<(&'static str, u64)>,
    /// What became of all datagrams.
    pub datagrams: Counts,
    /// What the directory's disk was asked for at its last start, and the first person's.
    pub disks: [disk::Counts; 2],
    /// Whether the disk that was to fail did.
    pub failed: bool,
    /// How long it took until everything was known once the faults were over.
    pub known_after: Duration,
    /// Simulated time.
    pub simulated: Duration,
}

/// A promise that did not hold.
#[derive(Debug, Error)]
#[error("seed {seed}: {what}")]
pub struct Violation {
    /// The run: the same seed shows it again.
    pub seed: u64,
    /// Which promise, and how.
    pub what: String,
}

/// Runs `seed` on a thread of its own.
///
/// # Errors
/// [`Violation`]: the first promise that did not hold.
pub fn run(seed: u64, wishes: Wishes) -> Result<Report, Violation> {
    vfs::register();
    let violation = |what: String| Violation { seed, what };
    let thread = std::thread::Builder::new()
        .name(format!("seed {seed}"))
        .spawn(move || simulate(seed, wishes))
        .map_err(|error| violation(error.to_string()))?;
    match thread.join() {
        Ok(result) => result.map_err(violation),
        Err(panic) => {
            let words = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
            Err(violation(words.unwrap_or_else(|| "a panic".to_owned())))
        }
    }
}

fn simulate(seed: u64, wishes: Wishes) -> Result<Report, String> {
    entropy::draw_from(seed);
    let folder = folder().map_err(broken)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(broken)?;
    let lived = runtime.block_on(async {
        World::new(seed, wishes, folder.path().to_owned())?
            .live()
            .await
    });
    // Whatever still runs ends here, before its files do.
    drop(runtime);
    let Lived {
        key,
        seen,
        datagrams,
        disks,
        failed,
        known_after,
        simulated,
    } = lived?;
    let data = Folder::open(&folder.path().join("directory")).map_err(broken)?;
    let reader = LogReader::open_alone(&data).map_err(broken)?;
    let log = Log::read(&reader)?;
    let by_log = check(&log, &seen, &key)?;
    audit::audit(&reader, &key, None).map_err(|error| format!("audit: {error}"))?;
    Ok(Report {
        seed,
        digest: log.digest(),
        entries: log.entries.len(),
        counts: seen.counts.into_iter().chain(by_log).collect(),
        datagrams,
        disks,
        failed,
        known_after,
        simulated,
    })
}

/// A folder for all machines' disks, in memory if there is room of that kind.
fn folder() -> std::io::Result<TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let mut named = tempfile::Builder::new();
    let named = named.prefix("quid-sim-");
    named
        .tempdir_in(memory)
        .or_else(|_| named.tempdir_in(std::env::temp_dir()))
}

struct World {
    seed: u64,
    wishes: Wishes,
    net: Net,
    host: Arc<Host>,
    folder: PathBuf,
    witness: Arc<Witness>,
    board: Arc<Board>,
    den: Arc<Den>,
}

struct Lived {
    key: PublicKey,
    seen: Seen,
    datagrams: Counts,
    disks: [disk::Counts; 2],
    failed: bool,
    known_after: Duration,
    simulated: Duration,
}

impl World {
    fn new(seed: u64, wishes: Wishes, folder: PathBuf) -> Result<Self, String> {
        let net = Net::new(seed);
        let host = Arc::new(Host::new(seed, &folder.join("directory"), net.clone()));
        Ok(Self {
            seed,
            wishes,
            net,
            host,
            folder,
            witness: Arc::default(),
            board: Arc::new(Board::new(names_of("person", wishes.people)?)),
            den: Arc::default(),
        })
    }

    async fn live(self) -> Result<Lived, String> {
        let begun = Instant::now();
        if let Some((Whose::Directory, trouble)) = self.wishes.trouble {
            self.host.disk().trouble(Some(trouble));
        }
        let carrier = tokio::spawn(self.net.clone().carry());
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(
            Arc::clone(&self.host),
            self.seed,
            Arc::clone(&self.witness),
            stop.clone(),
        ));
        self.host.serving().await;
        let address = self.host.address().ok_or("the directory has no address")?;
        let people = self.people()?;
        if let (Some((Whose::Node, trouble)), Some(first)) = (self.wishes.trouble, people.first()) {
            first.trouble(trouble);
        }
        let rogues = self.rogues()?;
        let mut rogues: Vec<JoinHandle<()>> = rogues
            .into_iter()
            .map(|rogue| tokio::spawn(rogue.live(address.clone())))
            .collect();
        for holder in self.holders()? {
            for who in [Who::Owner, Who::Thief] {
                let life = Arc::clone(&holder).live(who, address.clone());
                rogues.push(tokio::spawn(life));
            }
        }
        let lives: Vec<JoinHandle<()>> = people
            .iter()
            .map(|person| tokio::spawn(Arc::clone(person).live(address.clone())))
            .collect();
        let targets = Targets {
            host: Arc::clone(&self.host),
            people: people.clone(),
            names: self.names()?,
            net: self.net.clone(),
            witness: Arc::clone(&self.witness),
        };
        let trouble = self
            .wishes
            .faults
            .then(|| tokio::spawn(targets.trouble(self.seed)));
        let lived = async {
            while !people.iter().all(|person| person.is_content()) {
                surface(lives.iter().chain(&rogues))?;
                sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        timeout(LIFE_MAX, lived)
            .await
            .unwrap_or_else(|_| Err("people do not get on with what they want".to_owned()))?;
        // What was begun last may run into a fault as well.
        sleep(Duration::from_secs(3)).await;
        if let Some(trouble) = trouble {
            trouble.abort();
        }
        let disks = [self.host.disk().counts(), first_disk(&people)];
        let failed = self.replace_disks(&people).await;
        self.net.heal();
        self.host.power().fail_after(None, None);
        people
            .iter()
            .for_each(|person| person.power().fail_after(None, None));
        let healed = Instant::now();
        self.all_known(&people).await?;
        let known_after = healed.elapsed();
        let durable = self.host.settlements().map_or(0, |it| it.durable());
        self.witness.known(durable);
        self.wait_for_recoveries().await;
        surface(lives.iter().chain(&rogues))?;
        timeout(END_WAIT, self.ask_for_requests(&people))
            .await
            .map_err(|_| "nobody tells what became of requests".to_owned())?;
        for person in &people {
            if let Some(node) = person.node() {
                node.close().await;
            }
        }
        lives.iter().chain(&rogues).for_each(JoinHandle::abort);
        stop.cancel();
        let kept = keeper.await.map_err(broken)?;
        kept?;
        carrier.abort();
        let failed = failed || self.witness.counted(LEFT) > 0;
        Ok(Lived {
            key: address.key(),
            seen: self.witness.take(),
            datagrams: self.net.counts(),
            disks,
            failed,
            known_after,
            simulated: begun.elapsed(),
        })
    }

    fn people(&self) -> Result<Vec<Arc<Person>>, String> {
        let names = names_of("person", self.wishes.people)?;
        let rogues = names_of("rogue", self.wishes.rogues)?;
        let people = names.iter().zip(2..).map(|(name, machine)| {
            let others = names.iter().filter(|peer| *peer != name);
            let peers = others.chain(&rogues).cloned().collect();
            Arc::new(Person::new(
                self.seed,
                (name.clone(), machine),
                &self.folder.join(name.as_str()),
                self.net.clone(),
                (Arc::clone(&self.witness), Arc::clone(&self.board)),
                peers,
                self.wishes.wishes,
            ))
        });
        Ok(people.collect())
    }

    /// All accounts.
    fn names(&self) -> Result<Vec<Name>, String> {
        let Wishes {
            people,
            rogues,
            holders,
            ..
        } = self.wishes;
        let mut names = names_of("person", people)?;
        names.append(&mut names_of("rogue", rogues)?);
        names.append(&mut names_of("holder", holders)?);
        Ok(names)
    }

    fn rogues(&self) -> Result<Vec<Arc<Rogue>>, String> {
        let victims = names_of("person", self.wishes.people)?;
        let names = names_of("rogue", self.wishes.rogues)?;
        let of = self.wishes.rogues;
        let rogues = names.into_iter().zip(0..).map(|(name, number)| {
            let machine = |number: u8| ROGUES_FROM + number % of;
            Arc::new(Rogue::new(
                self.seed,
                (name, machine(number), machine(number + 1)),
                self.net.clone(),
                Arc::clone(&self.witness),
                (Arc::clone(&self.den), Arc::clone(&self.board)),
                victims.clone(),
            ))
        });
        Ok(rogues.collect())
    }

    fn holders(&self) -> Result<Vec<Arc<Holder>>, String> {
        let people = names_of("person", self.wishes.people)?;
        let payees = [people, names_of("rogue", self.wishes.rogues)?];
        let names = names_of("holder", self.wishes.holders)?;
        let holders = names.into_iter().zip(0..).map(|(name, number): (_, u8)| {
            Arc::new(Holder::new(
                self.seed,
                (name, HOLDERS_FROM + 2 * number),
                self.net.clone(),
                Arc::clone(&self.witness),
                (Arc::clone(&self.den), Arc::clone(&self.board)),
                payees.clone(),
            ))
        });
        Ok(holders.collect())
    }

    /// Lets three days pass, in which the directory is off as much as it may be, so that recoveries
    /// become due; holders then do what they can.
    async fn wait_for_recoveries(&self) {
        if self.wishes.holders == 0 {
            return sleep(PAYEES_WAIT).await;
        }
        for _ in 0..DAYS_OFF {
            self.host.jump(DAY_OFF, false);
            self.host.power().cut();
            // Until it has noticed.
            sleep(Duration::from_millis(1)).await;
            self.host.serving().await;
        }
        sleep(HOLDERS_WAIT).await;
    }

    /// Takes the machines down whose disks failed: they go on with sound ones. Whether there was any.
    async fn replace_disks(&self, people: &[Arc<Person>]) -> bool {
        let mut failed = self.host.disk().has_failed();
        if failed {
            self.host.power().cut();
        }
        for person in people {
            if person.disk().has_failed() {
                failed = true;
                person.power().cut();
            }
        }
        if failed {
            // Until they have noticed.
            sleep(Duration::from_millis(100)).await;
        }
        failed
    }

    /// Has everybody tell what became of the requests that they made.
    async fn ask_for_requests(&self, people: &[Arc<Person>]) {
        for person in people {
            let items = loop {
                if let Some(node) = person.node()
                    && let Ok(items) = node.requests(u32::MAX).await
                {
                    if person.listens() {
                        self.witness.listening(node.home().key());
                    }
                    break items;
                }
                sleep(Duration::from_millis(100)).await;
            };
            for item in items {
                let request = item.link.request();
                self.witness.listed(request.id, item.entries);
            }
        }
    }

    /// I10: waits until everybody knows the end of everything.
    async fn all_known(&self, people: &[Arc<Person>]) -> Result<(), String> {
        let mut open = String::new();
        let known = async {
            'look: loop {
                sleep(Duration::from_millis(100)).await;
                for person in people {
                    let Some(node) = person.node() else {
                        open = format!("{} has no node", person.name);
                        continue 'look;
                    };
                    match node.status().await {
                        Ok(status) if status.pending == 0 => {}
                        Ok(status) => {
                            open = format!("{} has {} pending", person.name, status.pending);
                            continue 'look;
                        }
                        Err(error) => {
                            open = format!("{}: {error}", person.name);
                            continue 'look;
                        }
                    }
                }
                return;
            }
        };
        timeout(END_WAIT, known).await.map_err(|_| {
            format!("I10: not everything is known {END_WAIT:?} after the last fault: {open}")
        })
    }
}

/// So many names of a kind.
fn names_of(kind: &str, count: u8) -> Result<Vec<Name>, String> {
    (0..count)
        .map(|number| format!("{kind}-{number}").parse().map_err(broken))
        .collect()
}

/// Keeps the directory's machine going until `stop`.
async fn keep(
    host: Arc<Host>,
    seed: u64,
    witness: Arc<Witness>,
    stop: CancellationToken,
) -> Result<(), String> {
    let mut dice = Dice::new(seed, "keeper");
    loop {
        match host.serve(&stop).await {
            Ended::Stopped => return Ok(()),
            Ended::PowerCut => witness.count("directory crashes"),
            Ended::Left(_) | Ended::NotStarted(_) if host.disk().has_failed() => {
                witness.count(LEFT);
            }
            Ended::Left(why) => return Err(format!("the directory left without a reason: {why}")),
            Ended::NotStarted(why) => return Err(format!("the directory does not start: {why}")),
        }
        sleep(dice.time(100..5_000)).await;
        host.crash(&mut dice).map_err(broken)?;
    }
}

/// What is counted when the directory leaves because its disk failed.
pub const LEFT: &str = "times the directory left a failing disk";

fn first_disk(people: &[Arc<Person>]) -> disk::Counts {
    people
        .first()
        .map(|person| person.disk().counts())
        .unwrap_or_default()
}

/// Ends the run if somebody's life ended by a panic.
fn surface<'a>(mut lives: impl Iterator<Item = &'a JoinHandle<()>>) -> Result<(), String> {
    if lives.any(JoinHandle::is_finished) {
        return Err("a node's life ended".to_owned());
    }
    Ok(())
}
