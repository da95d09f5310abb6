//! The buyer: pays a few chunks ahead, checks every one that comes, and goes on where an earlier run
//! ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::tab::units;
use quid_examples::till::asked_to_stop;
use quid_examples::{Failure, purse};
use quid_node::{Home, Node, Options, Tab};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::Buy;
use crate::manifest::Manifest;
use crate::progress::Progress;

pub(crate) async fn run(buy: &Buy) -> Result<(), Failure> {
    let node = Node::start(Home::open(&buy.home)?, Options::default()).await?;
    let currency = node.login().await?.currency;
    let ended = tokio::select! {
        ended = get(buy, &node, &currency) => ended,
        stopped = asked_to_stop() => {
            stopped?;
            Err("stopped; run it again to go on".into())
        }
    };
    node.close().await;
    ended
}

async fn get(buy: &Buy, node: &Node, currency: &Currency) -> Result<(), Failure> {
    if buy.out.exists() {
        // An earlier run may have been killed between the last chunk and its goodbye.
        purse::close_all(node, &buy.seller).await?;
        println!("{} is there", buy.out.display());
        return Ok(());
    }
    let most = currency.parse(&buy.most)?;
    let mut part = buy.out.clone().into_os_string();
    part.push(".part");
    let mut download = Download {
        buy,
        node,
        currency,
        most,
        part: part.into(),
        have: 0,
    };
    let mut tries = 0;
    loop {
        let had = download.have;
        match download.go_on().await {
            Ok(()) => return download.finish().await,
            Err(Ended::Bad(error)) => return Err(error),
            Err(Ended::Lost(error)) => {
                tries = if download.have > had { 0 } else { tries + 1 };
                if tries >= TRIES_MAX {
                    return Err(format!("{error}; run it again to go on").into());
                }
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Why a connection gave no more.
enum Ended {
    /// The seller is away: it may come back.
    Lost(Failure),
    /// It makes no sense to go on.
    Bad(Failure),
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.into())
    }
}

struct Download<'a> {
    buy: &'a Buy,
    node: &'a Node,
    currency: &'a Currency,
    most: Amount,
    part: PathBuf,
    /// Chunks that are in the file.
    have: u32,
}

impl Download<'_> {
    /// Connects and takes chunks until all are there and paid.
    async fn go_on(&mut self) -> Result<(), Ended> {
        let connected = timeout(ANSWER_WAIT, TcpStream::connect(self.buy.address)).await;
        let mut stream = connected.map_err(|_| Ended::Lost("the seller is away".into()))??;
        let price = Amount::new(stream.read_u64().await?).unwrap_or(Amount::MAX);
        let window = stream.read_u32().await?;
        // Somebody has to begin.
        let ahead = self.buy.ahead.max(u32::from(window == 0));
        let manifest = Manifest::read_from(&mut stream, self.buy.file).await;
        let manifest = manifest.map_err(|error| match error.downcast::<std::io::Error>() {
            Ok(lost) => Ended::Lost(lost),
            Err(error) => Ended::Bad(error),
        })?;
        let chunks = manifest.chunks();
        let whole = units(price, chunks).unwrap_or(Amount::MAX);
        if price.is_zero() || whole > self.most {
            let whole = self.currency.display(whole);
            return Err(Ended::Bad(format!("the file costs {whole}").into()));
        }
        let (mut file, have) = resume(&self.part, &manifest).await?;
        self.have = have;
        if have == chunks {
            return Ok(());
        }
        // A tab of n units pays for the last n chunks.
        let rest = chunks - have;
        let fits = |item: &quid_node::TabItem| (rest..=chunks).contains(&item.units);
        let tab = purse::tab_to(self.node, &self.buy.seller, price, rest, fits).await;
        let tab = tab.map_err(Ended::Bad)?;
        let mut progress = Progress::new(&manifest, price, self.currency.clone());
        stream.write_all(tab.id().as_bytes()).await?;
        stream.write_u32(have).await?;
        while self.have < chunks {
            let due = Instant::now() + self.pace();
            let had = self.have - (chunks - tab.terms().length);
            self.pay_up_to(&tab, had.saturating_add(ahead)).await?;
            let bytes = self.next(&mut stream, &manifest).await?;
            file.write_all(&bytes).await?;
            // Else the bytes may still be this program's alone.
            file.flush().await?;
            self.have += 1;
            progress.show(self.have);
            tokio::time::sleep_until(due).await;
        }
        file.sync_all().await?;
        // What the seller's window let us have before it was paid.
        let length = tab.terms().length;
        self.pay_up_to(&tab, length).await?;
        let told = timeout(ANSWER_WAIT, tab.acknowledged(length)).await;
        told.map_err(|_| lost("takes no money"))?
            .map_err(|error| Ended::Lost(error.into()))
    }

    /// Takes the next chunk, which must be the file's.
    async fn next(&self, stream: &mut TcpStream, manifest: &Manifest) -> Result<Vec<u8>, Ended> {
        let mut bytes = vec![0; manifest.place(self.have).1];
        let came = timeout(ANSWER_WAIT, stream.read_exact(&mut bytes)).await;
        came.map_err(|_| lost("sends nothing"))??;
        if !manifest.holds(self.have, &bytes) {
            let wrong = format!(
                "chunk {} is not the file's: nothing more is paid",
                self.have
            );
            return Err(Ended::Bad(wrong.into()));
        }
        Ok(bytes)
    }

    /// Pays so many units of the tab in all, or as many as it is paid already.
    async fn pay_up_to(&self, tab: &Tab, total: u32) -> Result<(), Ended> {
        let total = total.min(tab.terms().length);
        let more = total.saturating_sub(tab.progress().queued);
        if more > 0 {
            let sent = timeout(ANSWER_WAIT, tab.send(more)).await;
            sent.map_err(|_| lost("takes no money"))?
                .map_err(|error| Ended::Lost(error.into()))?;
        }
        Ok(())
    }

    /// How long a chunk takes at least.
    fn pace(&self) -> Duration {
        let seconds = |rate: u32| crate::manifest::CHUNK_LEN as f64 / f64::from(rate.max(1));
        let rate = self.buy.rate.map(seconds);
        Duration::from_secs_f64(rate.unwrap_or(0.0))
    }

    async fn finish(&self) -> Result<(), Failure> {
        tokio::fs::rename(&self.part, &self.buy.out).await?;
        let paid = purse::close_all(self.node, &self.buy.seller).await?;
        println!(
            "{} is whole; its last tab paid {}",
            self.buy.out.display(),
            self.currency.display(paid)
        );
        Ok(())
    }
}

fn lost(what: &str) -> Ended {
    Ended::Lost(format!("the seller {what}").into())
}

/// Opens what earlier runs left of the file behind its last sound chunk, and says how many there
/// are.
async fn resume(part: &Path, manifest: &Manifest) -> Result<(File, u32), Ended> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(part).await?;
    let mut have = 0;
    while have < manifest.chunks() {
        let mut bytes = vec![0; manifest.place(have).1];
        if file.read_exact(&mut bytes).await.is_err() || !manifest.holds(have, &bytes) {
            break;
        }
        have += 1;
    }
    let (end, _) = manifest.place(have);
    let end = end.min(manifest.len);
    file.set_len(end).await?;
    file.seek(std::io::SeekFrom::Start(end)).await?;
    Ok((file, have))
}

/// Longest time for the seller to take money or send a chunk.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long a seller that is away is left alone.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How often in a row it is looked for.
const TRIES_MAX: u32 = 40;
