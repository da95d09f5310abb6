//! The payers of tabs, in one process: the library's nodes, told what to do line by line.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quid_common::amount::Amount;
use quid_common::chain::{GAP_MAX, LENGTH_MAX};
use quid_node::{Home, Node, Opened, Options, Tab, TabOpening};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::client::letters;
use crate::latency::{Latencies, Summary};
use crate::options::TabPayers;
use crate::report::Failure;
use crate::tab_payee::{NAME, UNIT, lines};

/// What the payers can be told to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// The first payer pays unit by unit for so long, as fast as it goes, on tabs of `length` units,
    /// each opened while the one before is spent.
    Stream { seconds: f64, length: u32 },
    /// The first payer pays unit by unit for so long, each awaited, on one tab that stays open.
    Tick { seconds: f64, length: u32 },
    /// All payers open so many more tabs, evenly, and pay a little on each.
    Open { tabs: u32, length: u32 },
    /// The first payer pays so much at once for so long that every payment is a claim as long as
    /// it may be, on several tabs at once.
    Leap { seconds: f64 },
    /// All tabs are closed.
    Close,
}

/// What came of a wish.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// From its beginning, tabs and their chains included, to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Units that were paid and acknowledged.
    pub(crate) payments: u64,
    /// Tabs that were opened.
    pub(crate) tabs: u64,
    /// From each payment to its acknowledgement, where each was awaited.
    pub(crate) latency: Option<Summary>,
}

/// Fulfils wishes until stdin ends; first, an empty line once all payers are logged in.
pub(crate) fn run(role: &TabPayers) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Chains are made on these. One more at once would only be memory.
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    runtime.block_on(async {
        let mut payers = Payers::begin(role).await?;
        let mut lines = lines();
        println!();
        while let Some(line) = lines.recv().await {
            let done = payers.fulfil(serde_json::from_str(&line)?).await?;
            println!("{}", serde_json::to_string(&done)?);
            std::io::stdout().flush()?;
        }
        for node in payers.nodes {
            node.close().await;
        }
        Ok(())
    })
}

struct Payers {
    nodes: Vec<Node>,
    open: Vec<Tab>,
    /// The tab of [`Wish::Tick`].
    ticking: Option<Tab>,
}

impl Payers {
    async fn begin(role: &TabPayers) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for number in 0..role.count {
            let name = format!("tab-payer-{}", letters(number.into()));
            let home = Home::init(&role.homes.join(&name), &role.directory)?;
            let bind = ([127, 0, 0, 1], 0).into();
            let options = Options {
                bind,
                ..Options::default()
            };
            let node = Node::start(home, options).await?;
            node.register(&name.parse()?).await?;
            node.login().await?;
            nodes.push(node);
        }
        Ok(Self {
            nodes,
            open: Vec::new(),
            ticking: None,
        })
    }

    fn first(&self) -> Result<&Node, Failure> {
        Ok(self.nodes.first().ok_or("no payers")?)
    }

    async fn fulfil(&mut self, wish: Wish) -> Result<Done, Failure> {
        match wish {
            Wish::Stream { seconds, length } => {
                self.stream(Duration::from_secs_f64(seconds), length).await
            }
            Wish::Tick { seconds, length } => {
                self.tick(Duration::from_secs_f64(seconds), length).await
            }
            Wish::Open { tabs, length } => self.open(tabs, length).await,
            Wish::Leap { seconds } => self.leap(Duration::from_secs_f64(seconds)).await,
            Wish::Close => self.close().await,
        }
    }

    async fn stream(&mut self, time: Duration, length: u32) -> Result<Done, Failure> {
        let node = self.first()?.clone();
        let (begun, mut spent, mut closing) = (Instant::now(), Vec::new(), JoinSet::new());
        let mut next = open_soon(&node, length);
        let last = loop {
            let tab = next.await??;
            next = open_soon(&node, length);
            let mut left = length;
            while left > 0 && begun.elapsed() < time {
                let burst = left.min(BURST_LEN);
                for _ in 0..burst {
                    tab.send(1).await?;
                }
                left -= burst;
                // The node has its turn: all its tasks and this one share a thread.
                yield_now().await;
            }
            if begun.elapsed() >= time {
                break tab;
            }
            spent.push(tab.clone());
            closing.spawn(async move {
                tab.acknowledged(length).await?;
                tab.close().await?;
                Ok::<_, Failure>(())
            });
        };
        let mut payments = 0;
        for tab in spent.iter().chain([&last]) {
            let queued = tab.progress().queued;
            tab.acknowledged(queued).await?;
            payments += u64::from(queued);
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.open.push(last);
        self.open.push(next.await??);
        while let Some(closed) = closing.join_next().await {
            closed??;
        }
        Ok(Done {
            seconds,
            payments,
            tabs: spent.len() as u64 + 2,
            latency: None,
        })
    }

    async fn tick(&mut self, time: Duration, length: u32) -> Result<Done, Failure> {
        let node = self.first()?.clone();
        let mut opened = 0;
        let tab = match self.ticking.take() {
            Some(tab) => tab,
            None => {
                opened = 1;
                let tab = open_tab(&node, length).await?;
                tab.accepted().await?;
                tab
            }
        };
        let (begun, mut latencies) = (Instant::now(), Latencies::default());
        while begun.elapsed() < time && tab.progress().queued < length {
            let sent = Instant::now();
            tab.pay(1).await?;
            latencies.add(sent.elapsed());
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.ticking = Some(tab);
        let latency = latencies.summary();
        Ok(Done {
            seconds,
            payments: latency.count,
            tabs: opened,
            latency: Some(latency),
        })
    }

    async fn open(&mut self, tabs: u32, length: u32) -> Result<Done, Failure> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        let each = Arc::new(Semaphore::new(self.nodes.len()));
        for node in self.nodes.iter().cycle().take(tabs as usize) {
            let (node, each) = (node.clone(), Arc::clone(&each));
            running.spawn(async move {
                let _turn = each.acquire_owned().await?;
                let tab = open_tab(&node, length).await?;
                let few = length.min(A_FEW);
                for _ in 0..few {
                    tab.send(1).await?;
                }
                tab.acknowledged(few).await?;
                Ok::<_, Failure>((tab, few))
            });
        }
        let mut payments = 0;
        while let Some(opened) = running.join_next().await {
            let (tab, paid) = opened??;
            payments += u64::from(paid);
            self.open.push(tab);
        }
        Ok(Done {
            seconds: begun.elapsed().as_secs_f64(),
            payments,
            tabs: tabs.into(),
            latency: None,
        })
    }

    async fn leap(&mut self, time: Duration) -> Result<Done, Failure> {
        let node = self.first()?.clone();
        let (begun, mut running) = (Instant::now(), JoinSet::new());
        for _ in 0..LEAPING {
            let node = node.clone();
            running.spawn(async move {
                let (mut payments, mut tabs) = (0, 0);
                while begun.elapsed() < time {
                    let tab = open_tab(&node, LENGTH_MAX).await?;
                    tabs += 1;
                    for _ in 0..LENGTH_MAX / GAP_MAX {
                        tab.pay(GAP_MAX).await?;
                        payments += u64::from(GAP_MAX);
                    }
                    tab.close().await?;
                }
                Ok::<_, Failure>((payments, tabs))
            });
        }
        let (mut payments, mut tabs) = (0, 0);
        while let Some(leapt) = running.join_next().await {
            let (paid, opened) = leapt??;
            payments += paid;
            tabs += opened;
        }
        Ok(Done {
            seconds: begun.elapsed().as_secs_f64(),
            payments,
            tabs,
            latency: None,
        })
    }

    async fn close(&mut self) -> Result<Done, Failure> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        let each = Arc::new(Semaphore::new(CLOSING));
        for tab in self.open.drain(..).chain(self.ticking.take()) {
            let each = Arc::clone(&each);
            running.spawn(async move {
                let _turn = each.acquire_owned().await?;
                tab.close().await?;
                Ok::<_, Failure>(())
            });
        }
        let tabs = running.len() as u64;
        while let Some(closed) = running.join_next().await {
            closed??;
        }
        for node in &self.nodes {
            all_back(node).await?;
        }
        Ok(Done {
            seconds: begun.elapsed().as_secs_f64(),
            payments: 0,
            tabs,
            latency: None,
        })
    }
}

fn open_soon(node: &Node, length: u32) -> JoinHandle<Result<Tab, Failure>> {
    let node = node.clone();
    tokio::spawn(async move { open_tab(&node, length).await })
}

async fn open_tab(node: &Node, length: u32) -> Result<Tab, Failure> {
    let unit = Amount::new(UNIT).ok_or("no unit")?;
    let mut opening = TabOpening::new(NAME.parse()?, unit, length);
    opening.grace = GRACE;
    match node.open_tab(opening).await?.state {
        Opened::Open(tab) => Ok(tab),
        Opened::Refused(reason) => Err(format!("a tab was refused: {reason}").into()),
        Opened::Unknown => Err("whether a tab is open is not known".into()),
    }
}

/// Waits until nothing is held for a payer's tabs any more.
async fn all_back(node: &Node) -> Result<(), Failure> {
    let deadline = Instant::now() + GRACE * 3;
    while !node.status().await?.held.is_zero() {
        if Instant::now() > deadline {
            return Err("a hold was not released".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Payments between two turns of the node's tasks.
const BURST_LEN: u32 = 512;

/// Units paid on a tab that is only to be open.
const A_FEW: u32 = 100;

/// Tabs that are claimed at once in [`Wish::Leap`]: enough that the directory never waits.
const LEAPING: usize = 4;

/// Tabs that are closed at once.
const CLOSING: usize = 16;

const BLOCKING_THREADS: usize = 4;

/// The shortest that payees take.
const GRACE: Duration = Duration::from_secs(10);
