//! The floors, measured in the same run: what no directory on this machine could do better.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes, batch};
use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::LedgerId;
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsIdentity};
use quid_directory::folder::Folder;
use quid_directory::store::{LogEntry, Store};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use sha2::{Digest, Sha256};

use crate::client::{Node, PAYEE, PAYER, key, server_config};
use crate::members::Process;
use crate::report::{Failure, Report};

/// What each floor is, in the report's units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floors {
    sign_us: f64,
    verify_us: f64,
    batch_verify_us: f64,
    link_ns: f64,
    round_trip_us: f64,
    commit_us: f64,
}

impl Floors {
    /// Measures them all, within some three seconds. `place` is on the disk to be measured.
    pub(crate) fn measure(place: Option<&Path>) -> Result<Self, Failure> {
        let signed = signed(BATCH_LEN)?;
        Ok(Self {
            sign_us: sign(),
            verify_us: verify(&signed)?,
            batch_verify_us: batch_verify(&signed)?,
            link_ns: link(),
            round_trip_us: round_trip()?,
            commit_us: commit(place)?,
        })
    }

    /// Measures them again and gives the mean with these, so that they are as fast or slow as the
    /// machine was meanwhile.
    pub(crate) fn again(&self, place: Option<&Path>) -> Result<Self, Failure> {
        let after = Self::measure(place)?;
        let mean = |one: f64, other: f64| f64::midpoint(one, other);
        Ok(Self {
            sign_us: mean(self.sign_us, after.sign_us),
            verify_us: mean(self.verify_us, after.verify_us),
            batch_verify_us: mean(self.batch_verify_us, after.batch_verify_us),
            link_ns: mean(self.link_ns, after.link_ns),
            round_trip_us: mean(self.round_trip_us, after.round_trip_us),
            commit_us: mean(self.commit_us, after.commit_us),
        })
    }

    pub(crate) fn put(&self, report: &mut Report) {
        report.put("floor_sign_us", self.sign_us);
        report.put("floor_verify_us", self.verify_us);
        report.put("floor_batch_verify_us", self.batch_verify_us);
        report.put("floor_link_ns", self.link_ns);
        report.put("floor_round_trip_us", self.round_trip_us);
        report.put("floor_commit_us", self.commit_us);
    }
}

/// A key, a message as long as an order's, and its signature.
type Signed = (VerificationKeyBytes, [u8; MESSAGE_LEN], Signature);

fn signed(count: usize) -> Result<Vec<Signed>, Failure> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let key = SigningKey::from(*key(PAYER, u32::try_from(number)?).seed());
        let message = [number as u8; MESSAGE_LEN];
        all.push((
            VerificationKeyBytes::from(&key),
            message,
            key.sign(&message),
        ));
    }
    Ok(all)
}

fn sign() -> f64 {
    let key = SigningKey::from(*key(PAYER, 0).seed());
    let mut message = [0; MESSAGE_LEN];
    per_turn(2000, |turn| {
        message[0] = turn as u8;
        std::hint::black_box(key.sign(&message));
    }) * 1e6
}

fn verify(signed: &[Signed]) -> Result<f64, Failure> {
    let mut sound = true;
    let seconds = per_turn(2000, |turn| {
        if let Some((key, message, signature)) = signed.get(turn % signed.len()) {
            let key = VerificationKey::try_from(*key);
            sound &= key.is_ok_and(|key| key.verify(signature, message).is_ok());
        }
    });
    if sound {
        Ok(seconds * 1e6)
    } else {
        Err("a sound signature was refused".into())
    }
}

fn batch_verify(signed: &[Signed]) -> Result<f64, Failure> {
    let mut sound = true;
    let seconds = per_turn(60, |_| {
        let mut together = batch::Verifier::new();
        for (key, message, signature) in signed {
            together.queue((*key, *signature, message));
        }
        sound &= together.verify(rand::rng()).is_ok();
    });
    let each = seconds * 1e6 / signed.len() as f64;
    if sound {
        Ok(each)
    } else {
        Err("a sound batch was refused".into())
    }
}

/// One step of a tab's chain: a tag of 16 bytes and 32 bytes, one block.
fn link() -> f64 {
    let mut block = [7; 48];
    per_turn(200_000, |_| {
        let hash = Sha256::digest(block);
        block[16..].copy_from_slice(&hash);
    }) * 1e9
}

/// The median of a request of 200 bytes and its reply of 100 on one framed stream to another
/// process, one at a time.
pub(crate) fn round_trip() -> Result<f64, Failure> {
    let mut server = Process::start(&["echo"])?;
    let address: SocketAddr = server.line()?.trim_end().parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let node = Node::new(PAYER, 0, false)?;
        let connection = node
            .call(address, key(PAYEE, 0).public(), tls::ALPN_PEER)
            .await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        let mut times = Vec::new();
        let mut reply = [0; REPLY_LEN];
        for turn in 0..2500 {
            let begun = Instant::now();
            send.write_all(&[1; REQUEST_LEN]).await?;
            receive.read_exact(&mut reply).await?;
            if turn >= 500 {
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
        Ok(median(times))
    })
}

/// The other process of [`round_trip`].
pub(crate) fn echo() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let identity = TlsIdentity::new(&key(PAYEE, 0).seed())?;
        let config = server_config(&identity, tls::ALPN_PEER)?;
        let socket = std::net::UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
        println!("{}", endpoint.local_addr()?);
        std::io::stdout().flush()?;
        let connection = endpoint.accept().await.ok_or("closed")?.await?;
        let (mut send, mut receive) = connection.accept_bi().await?;
        let mut request = [0; REQUEST_LEN];
        while receive.read_exact(&mut request).await.is_ok() {
            send.write_all(&[2; REPLY_LEN]).await?;
        }
        Ok(())
    })
}

/// The median of one durable commit of one entry and its checkpoint in the directory's own store.
fn commit(place: Option<&Path>) -> Result<f64, Failure> {
    let parent = place.map_or_else(std::env::temp_dir, Path::to_owned);
    let place = tempfile::tempdir_in(parent)?;
    let folder = Folder::create_or_open(&place.path().join("data"))?;
    let lock = folder.lock("bench")?;
    let (mut store, _) = Store::open(&folder, &lock)?;
    let signer = key(PAYEE, 0);
    let mut times = Vec::new();
    for turn in 0..300_u64 {
        let entry = LogEntry::new(vec![turn as u8; ENTRY_LEN]);
        let head = Head {
            size: turn + 1,
            root: entry.leaf,
        };
        let checkpoint = Checkpoint::sign(LedgerId([1; 32]), head, &signer);
        let mark = (turn == 0).then_some(LedgerTime::MAX);
        let begun = Instant::now();
        store.append(turn, &[entry], Some(&checkpoint), mark)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

/// Seconds for a turn, the best of five rounds: a floor is what it takes undisturbed.
pub(crate) fn per_turn(turns: usize, mut turn: impl FnMut(usize)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        for number in 0..turns {
            turn(number);
        }
        best = best.min(begun.elapsed().as_secs_f64() / turns as f64);
    }
    best
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Signatures in a batch.
const BATCH_LEN: usize = 128;

/// Bytes that an order's signature covers, about.
const MESSAGE_LEN: usize = 150;

const REQUEST_LEN: usize = 200;
const REPLY_LEN: usize = 100;

/// Bytes of a payment's entry, about.
const ENTRY_LEN: usize = 245;
