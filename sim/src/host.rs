//! The directory's machine: serves, loses its power, and serves again from what its disk kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::{Amount, Currency};
use quid_common::key::PublicKey;
use quid_common::random::Random;
use quid_directory::books::Books;
use quid_directory::clock::Reading;
use quid_directory::events::Hub;
use quid_directory::folder::Folder;
use quid_directory::history::History;
use quid_directory::invites::Invites;
use quid_directory::limits::Limits;
use quid_directory::member::Directory;
use quid_directory::presence::Presence;
use quid_directory::registration::Door;
use quid_directory::sentry::Sentry;
use quid_directory::settlement::{Inline, Settlements, start_inline};
use quid_directory::surroundings::{Surroundings, Workers};
use quid_directory::{releases, server};
use quinn::Endpoint;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::dice::{Dice, fate};
use crate::disk::Disk;
use crate::machine::{Power, QuicTasks, directory_at, quic_config};
use crate::net::Net;
use crate::vfs::MOUNTS;

/// What every account begins with.
pub const OPENING: u64 = 100_000_000;

/// The wall clock of all machines when a run begins, in milliseconds.
const BEGINNING_MS: u64 = 1_790_000_000_000;

/// The directory's machine, whether it runs or not.
#[derive(Debug)]
pub struct Host {
    seed: u64,
    folder: PathBuf,
    net: Net,
    begun: Instant,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    power: Power,
    disk: Disk,
    /// How far the wall clock is off.
    wall_off_ms: i64,
    /// Starts so far.
    starts: u64,
    serving: bool,
    address: Option<DirectoryAddress>,
    /// The operator's way in, while it serves.
    settlements: Option<Settlements>,
}

/// How a time of serving ended.
#[derive(Debug)]
pub enum Ended {
    /// As it was told to.
    Stopped,
    /// The power failed.
    PowerCut,
    /// The directory left by itself, as it does when its disk fails.
    Left(String),
    /// It did not start.
    NotStarted(String),
}

/// Parts of a directory that serves.
struct Parts {
    endpoint: Endpoint,
    directory: Directory,
    key: PublicKey,
    settlements: Settlements,
    inline: Inline,
}

impl Host {
    /// A machine with an empty disk below `folder`.
    pub fn new(seed: u64, folder: &Path, net: Net) -> Self {
        let power = Power::on();
        let disk = Disk::new(power.clone());
        MOUNTS.mount(folder, disk.clone());
        Self {
            seed,
            folder: folder.to_owned(),
            net,
            begun: Instant::now(),
            state: Mutex::new(State {
                power,
                disk,
                wall_off_ms: 0,
                starts: 0,
                serving: false,
                address: None,
                settlements: None,
            }),
            changed: Notify::new(),
        }
    }

    /// The machine's power, until it fails.
    pub fn power(&self) -> Power {
        self.state().power.clone()
    }

    /// The machine's disk, until the next start.
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    /// Where it serves, once it has.
    pub fn address(&self) -> Option<DirectoryAddress> {
        self.state().address.clone()
    }

    /// The operator's way in, while it serves.
    pub fn settlements(&self) -> Option<Settlements> {
        self.state().settlements.clone()
    }

    /// Whether it serves now.
    pub fn is_serving(&self) -> bool {
        self.state().serving
    }

    /// Waits until it serves. For one who waits.
    pub async fn serving(&self) {
        while !self.is_serving() {
            self.changed.notified().await;
        }
    }

    /// Moves the wall clock. The monotonic clock goes on.
    pub fn jump(&self, by: Duration, back: bool) {
        let by = i64::try_from(by.as_millis()).unwrap_or_default();
        self.state().wall_off_ms += if back { -by } else { by };
    }

    /// Switches the machine on and serves until `stop`, the power fails, or the directory leaves.
    pub async fn serve(self: &Arc<Self>, stop: &CancellationToken) -> Ended {
        let (power, starts) = self.switch_on();
        let quic = QuicTasks::default();
        let mut dice = Dice::new(self.seed, ("directory", starts));
        let mut parts = match self.start(&power, &quic, &mut dice) {
            Ok(parts) => parts,
            Err(_) if power.is_off() => return Ended::PowerCut,
            Err(error) => {
                power.cut();
                return Ended::NotStarted(error);
            }
        };
        self.tell(Some(parts.settlements.clone()));
        let ended = tokio::select! {
            biased;
            () = power.failed() => Ended::PowerCut,
            left = settle(&mut parts.inline, &mut dice) => Ended::Left(left),
            () = server::serve(&parts.endpoint, parts.directory.clone(), stop.clone()) => {
                Ended::Stopped
            }
            () = releases::serve(parts.key, parts.settlements.clone(), CancellationToken::new()) => {
                Ended::Left("nobody releases".to_owned())
            }
        };
        self.tell(None);
        let ended = match ended {
            Ended::Left(_) if power.is_off() => Ended::PowerCut,
            Ended::Stopped => close(parts),
            // Nobody is answered any more, and no connection is closed.
            ended => {
                power.cut();
                ended
            }
        };
        quic.abort();
        ended
    }

    /// What is left on the disk of a machine that lost its power, or whose directory left.
    ///
    /// # Errors
    /// If the system does not let the files be written.
    pub fn crash(&self, dice: &mut Dice) -> io::Result<()> {
        self.disk().crash(dice)?;
        crash_derived(&self.folder, dice)
    }

    fn switch_on(&self) -> (Power, u64) {
        let mut state = self.state();
        state.starts += 1;
        if state.power.is_off() {
            state.power = Power::on();
            state.disk = Disk::new(state.power.clone());
            MOUNTS.mount(&self.folder, state.disk.clone());
        }
        (state.power.clone(), state.starts)
    }

    fn start(&self, power: &Power, quic: &QuicTasks, dice: &mut Dice) -> Result<Parts, String> {
        let folder = Folder::create_or_open(&self.folder).map_err(|error| error.to_string())?;
        let lock = folder.lock("serve").map_err(|error| error.to_string())?;
        let currency = Currency::new("QUID", 6).map_err(|error| error.to_string())?;
        let mut books = Books::open_in(
            &folder,
            lock,
            Some(&currency),
            true,
            self.surroundings(dice),
        )
        .map_err(|error| error.to_string())?;
        books.opening_balance = Amount::new(OPENING);
        let key = books.key.clone();
        let mut seed = [0; 32];
        dice.fill(&mut seed);
        let socket = self.net.bind(directory_at(), power.clone());
        let runtime = Arc::new(quic.clone());
        let endpoint = server::endpoint(socket, quic_config(seed), runtime, &key)
            .map_err(|error| error.to_string())?;
        let at = directory_at();
        let address = DirectoryAddress::new(key.public(), &at.ip().to_string(), at.port())
            .map_err(|error| error.to_string())?;
        folder
            .write_address(&books.lock, &address.to_string())
            .map_err(|error| error.to_string())?;
        self.state().address = Some(address);
        let (index, log) = books.readers().map_err(|error| error.to_string())?;
        let history = History::new(index, log, key.public()).read_by(Workers::Caller);
        let hub = Arc::new(Hub::default());
        let (settlements, inline) = start_inline(books, Arc::clone(&hub));
        let directory = Directory {
            key: key.public(),
            settlements: settlements.clone(),
            traffic: Arc::default(),
            sentry: Arc::new(Sentry::new(&Limits::default())),
            door: Door::new(Invites::open(&folder).map_err(|error| error.to_string())?),
            sessions: hub.sessions(),
            presence: Arc::new(Presence::default()),
            hub,
            history,
        };
        Ok(Parts {
            endpoint,
            directory,
            key: key.public(),
            settlements,
            inline,
        })
    }

    fn surroundings(&self, dice: &mut Dice) -> Surroundings {
        let (begun, booted) = (self.begun, Instant::now());
        let off = self.state().wall_off_ms;
        let wall = BEGINNING_MS.saturating_add_signed(off);
        let random = Mutex::new(Dice::new(fate(self.seed, dice.number(0..u64::MAX)), "keys"));
        Surroundings {
            clocks: Box::new(move || {
                let passed = begun.elapsed().as_millis();
                Reading {
                    wall_ms: wall.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)),
                    monotonic: booted.elapsed(),
                }
            }),
            random: Random::new(move |bytes| {
                let mut dice = random.lock().unwrap_or_else(PoisonError::into_inner);
                dice.fill(bytes);
                Ok(())
            }),
            workers: Workers::Caller,
        }
    }

    fn tell(&self, settlements: Option<Settlements>) {
        let mut state = self.state();
        state.serving = settlements.is_some();
        state.settlements = settlements;
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles what comes, each batch as late as a disk may be; ends only if the directory must leave.
async fn settle(inline: &mut Inline, dice: &mut Dice) -> String {
    loop {
        inline.due().await;
        loop {
            sleep(dice.time(0..4)).await;
            match inline.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return error.to_string(),
            }
        }
    }
}

/// Settles what is queued and closes the books, once nobody can ask any more.
fn close(parts: Parts) -> Ended {
    let Parts {
        endpoint,
        directory,
        settlements,
        mut inline,
        ..
    } = parts;
    drop((endpoint, directory, settlements));
    loop {
        match inline.step() {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Ended::Left(error.to_string()),
        }
    }
    match inline.into_committer().into_books().try_close() {
        Ok(()) => Ended::Stopped,
        Err(error) => Ended::Left(error.to_string()),
    }
}

/// What a power cut leaves of files that are derived from the log, which any start can do without.
fn crash_derived(folder: &Path, dice: &mut Dice) -> io::Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name != "tree" && !name.starts_with("snapshot") && !name.starts_with("redo-") {
            continue;
        }
        match dice.number(0..8) {
            0 => fs::remove_file(&file)?,
            1 => {
                let len = fs::metadata(&file)?.len();
                let file = fs::OpenOptions::new().write(true).open(&file)?;
                file.set_len(dice.number(0..len + 1))?;
            }
            _ => {}
        }
    }
    Ok(())
}
