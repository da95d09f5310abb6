//! The payers' process: each payer signs orders, offers them to its payee, and verifies the
//! receipts.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use quid_common::key::PublicKey;
use quid_common::tls;
use quid_common::wire::{Message, Offer};
use quinn::SendStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep_until, timeout};

use crate::client::{Node, PAYEE, PAYER, Session, is_passing, key, letters};
use crate::latency::Latencies;
use crate::options::Payers;
use crate::proofs::Proofs;
use crate::report::Failure;
use crate::stream::{Reader, queue};

/// A stretch of payments.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stretch {
    /// How long new payments are begun.
    pub(crate) seconds: f64,
    /// Payments of each payer that wait at once, at most.
    pub(crate) in_flight: usize,
    /// Payments a second of all payers together; `None` is as fast as it goes.
    pub(crate) rate: Option<f64>,
    /// Pay only the first payee.
    pub(crate) hot: bool,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Paid {
    /// From the first order to the last receipt.
    pub(crate) seconds: f64,
    /// Offers that were answered *busy* and made again.
    pub(crate) busy: u64,
    /// From when a payment was due to its verified receipt.
    pub(crate) latencies: Latencies,
}

/// Does a stretch for each line on stdin and prints what came of it; first, an empty line once all
/// payers are logged in and connected.
pub(crate) fn run(role: &Payers) -> Result<(), Failure> {
    let (done, all_done) = std::sync::mpsc::channel();
    let mut threads = Vec::new();
    for first in 0..role.count.min(THREADS) {
        let (stretches, of_thread) = mpsc::channel(1);
        let (role, done) = (role.clone(), done.clone());
        std::thread::spawn(move || {
            let result = serve(&role, first, of_thread, &done);
            // Whoever hears it ends the process.
            let _ = result.map_err(|error| done.send(Err(error)));
        });
        threads.push(stretches);
    }
    let wait = || -> Result<Share, Failure> {
        let mut sum = Share::default();
        for _ in &threads {
            let share = all_done.recv()??;
            sum.latencies.append(share.latencies);
            sum.busy += share.busy;
        }
        Ok(sum)
    };
    wait()?;
    println!();
    for line in std::io::stdin().lock().lines() {
        let stretch: Stretch = serde_json::from_str(&line?)?;
        let begun = Instant::now();
        for thread in &threads {
            thread.blocking_send(stretch)?;
        }
        let Share { latencies, busy } = wait()?;
        let seconds = begun.elapsed().as_secs_f64();
        let paid = Paid {
            seconds,
            busy,
            latencies,
        };
        println!("{}", serde_json::to_string(&paid)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// What a thread's payers did in a stretch.
#[derive(Debug, Default)]
struct Share {
    latencies: Latencies,
    busy: u64,
}

/// One thread: every so many-th payer from number `first` on. Says once that they are ready, and
/// then what came of each stretch.
fn serve(
    role: &Payers,
    first: u16,
    mut stretches: mpsc::Receiver<Stretch>,
    done: &std::sync::mpsc::Sender<Result<Share, Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut payers = Vec::new();
        for number in (first..role.count).step_by(THREADS.into()) {
            payers.push(Payer::begin(role, number).await?);
        }
        done.send(Ok(Share::default()))?;
        while let Some(stretch) = stretches.recv().await {
            let mut running = JoinSet::new();
            for mut payer in payers.drain(..) {
                let count = f64::from(role.count);
                running.spawn_local(async move {
                    let latencies = payer.pay(stretch, count).await?;
                    Ok::<_, Failure>((payer, latencies))
                });
            }
            let mut share = Share::default();
            while let Some(ended) = running.join_next().await {
                let (mut payer, latencies) = ended??;
                share.latencies.append(latencies);
                share.busy += std::mem::take(&mut payer.busy);
                payers.push(payer);
            }
            done.send(Ok(share))?;
        }
        Ok(())
    })
}

struct Payer {
    number: u16,
    node: Node,
    session: Session,
    proofs: Proofs,
    /// To its own payee, and to the first one.
    lines: [Line; 2],
    busy: u64,
}

/// The stream to one payee.
struct Line {
    payee: PublicKey,
    send: SendStream,
    reader: Reader,
    /// Orders without a receipt, by number.
    waiting: HashMap<u64, Waiting>,
    next: u64,
}

struct Waiting {
    due: Instant,
    order: Vec<u8>,
}

impl Payer {
    async fn begin(role: &Payers, number: u16) -> Result<Self, Failure> {
        let node = Node::new(PAYER, number.into(), false)?;
        let name = format!("payer-{}", letters(number.into()));
        let session = node.log_in(&role.directory, &name, false).await?;
        let own = usize::from(number) % role.payee.len();
        let lines = [
            Line::open(&node, role, own).await?,
            Line::open(&node, role, 0).await?,
        ];
        let proofs = Proofs::new(session.ledger(), role.directory.key());
        Ok(Self {
            number,
            node,
            session,
            proofs,
            lines,
            busy: 0,
        })
    }

    async fn pay(&mut self, stretch: Stretch, payers: f64) -> Result<Latencies, Failure> {
        let mut latencies = Latencies::default();
        let begun = Instant::now();
        let end = begun + Duration::from_secs_f64(stretch.seconds);
        let every = stretch
            .rate
            .map(|rate| Duration::from_secs_f64(payers / rate));
        // Payers do not pay all at one moment.
        let mut due = begun
            + every
                .unwrap_or_default()
                .mul_f64(f64::from(self.number) / payers);
        let [own, first] = &mut self.lines;
        let line = if stretch.hot { first } else { own };
        // Offers that have not left, how many, and since when.
        let (mut out, mut held, mut gathering) = (Vec::new(), 0, None);
        let (mut busy, mut receipts, mut dues) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let now = Instant::now();
            while now < end
                && line.waiting.len() < stretch.in_flight
                && (every.is_none() || due <= now)
            {
                // Without a rate, a payment is due when there is room for it.
                let since = if every.is_some() { due } else { now };
                line.offer(&self.node, &self.session, since, &mut out);
                held += 1;
                due += every.unwrap_or_default();
            }
            for number in busy.drain(..) {
                line.offer_again(number, &mut out)?;
                held += 1;
            }
            if !out.is_empty() {
                // As the library has it: behind offers without an answer, others gather.
                let leaves = *gathering.get_or_insert(now) + GATHER_MAX;
                if line.waiting.len() == held || leaves <= now {
                    line.send.write_all(&out).await?;
                    out.clear();
                    (held, gathering) = (0, None);
                }
            }
            if line.waiting.is_empty() && now >= end {
                return Ok(latencies);
            }
            let wake = if every.is_some() && now < end && line.waiting.len() < stretch.in_flight {
                due.min(end)
            } else {
                now + ANSWER_WAIT
            };
            let wake = gathering.map_or(wake, |since| wake.min(since + GATHER_MAX));
            tokio::select! {
                more = line.reader.more() => if !more? {
                    return Err("the payee ended the stream".into());
                },
                () = sleep_until(wake.into()) => if wake == now + ANSWER_WAIT {
                    return Err("no receipt came for a long time".into());
                },
            }
            while let Some(message) = line.reader.ready()? {
                match message {
                    Message::Paid(paid) => {
                        let waiting = line.waiting.remove(&paid.number).ok_or("unasked")?;
                        receipts.push((paid.receipt, waiting.order));
                        dues.push(waiting.due);
                    }
                    Message::Declined(declined) if is_passing(declined.reason) => {
                        self.busy += 1;
                        busy.push(declined.number);
                    }
                    other => return Err(format!("not paid: {other:?}").into()),
                }
            }
            // Verified, and only then counted.
            self.proofs.verify(&receipts)?;
            receipts.clear();
            for due in dues.drain(..) {
                latencies.add(due.elapsed());
            }
        }
    }
}

impl Line {
    async fn open(node: &Node, role: &Payers, number: usize) -> Result<Self, Failure> {
        let address = *role.payee.get(number).ok_or("no such payee")?;
        let payee = key(PAYEE, u32::try_from(number)?).public();
        let connection = timeout(ANSWER_WAIT, node.call(address, payee, tls::ALPN_PEER)).await??;
        let (send, receive) = connection.open_bi().await?;
        let (reader, waiting) = (Reader::new(receive), HashMap::new());
        Ok(Self {
            payee,
            send,
            reader,
            waiting,
            next: 0,
        })
    }

    fn offer(&mut self, node: &Node, session: &Session, due: Instant, out: &mut Vec<u8>) {
        let order = session.order(&node.key, self.payee);
        let number = self.next;
        self.next += 1;
        queue(
            out,
            Offer {
                number,
                order: order.clone().into(),
                checkpoint: None,
            },
        );
        self.waiting.insert(number, Waiting { due, order });
    }

    fn offer_again(&mut self, number: u64, out: &mut Vec<u8>) -> Result<(), Failure> {
        let waiting = self.waiting.get(&number).ok_or("unasked")?;
        queue(
            out,
            Offer {
                number,
                order: waiting.order.clone().into(),
                checkpoint: None,
            },
        );
        Ok(())
    }
}

/// Threads that the payers are spread over. In the world each is a program of its own, and one thread
/// for all would make each wait for the others.
const THREADS: u16 = 2;

/// How long offers gather (node/src/peer.rs).
const GATHER_MAX: Duration = Duration::from_millis(20);

/// Longest time for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
