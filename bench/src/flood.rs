//! One account that claims without a pause, each time as many links as a claim may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::chain::{GAP_MAX, Link};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::order::{LIFE_DEFAULT, Memo, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tab::{Close, Terms};
use quid_common::wire::{Message, OpenSettle, SubmitClaim, SubmitClose, SubmitTab};
use quinn::SendStream;
use rand::RngExt;
use tokio::time::{sleep, timeout};

use crate::client::{Node, ONE, Session, letters};
use crate::report::Failure;
use crate::stream::{Reader, queue};

/// What is claimed again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same sound claim, which is answered with its receipt each time.
    Sound,
    /// One whose links lead nowhere.
    Bad,
}

/// A flood, until it is ended.
#[derive(Debug)]
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, Failure>>,
}

impl Flood {
    /// Opens a tab between two accounts of its own, which no other `number` has, and claims on it
    /// from then on.
    pub(crate) fn begin(
        directory: &DirectoryAddress,
        kind: Kind,
        number: u32,
    ) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let (directory, stopped) = (directory.clone(), Arc::clone(&stop));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // The lowest there is, of this thread alone: on a machine that it shares with the
            // directory it takes what that leaves, as one that claims from elsewhere would.
            rustix::process::setpriority_process(None, 19)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut claimer = Claimer::begin(&directory, kind, number).await?;
                ready.send(())?;
                claimer.flood(&stopped).await
            })
        });
        if is_ready.recv().is_err() {
            return match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => Err("a flood did not begin".into()),
            };
        }
        Ok(Self { stop, thread })
    }

    /// Ends it; how many claims the directory has hashed.
    pub(crate) fn end(self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "a flood panicked")?
    }
}

struct Claimer {
    payee: Node,
    session: Session,
    send: SendStream,
    reader: Reader,
    payer: PublicKey,
    id: OrderId,
    kind: Kind,
    link: Link,
}

impl Claimer {
    async fn begin(directory: &DirectoryAddress, kind: Kind, number: u32) -> Result<Self, Failure> {
        // Whoever was distrusted in another turn would be slowed down in this one from the start.
        let of_kind = number * 2 + u32::from(kind == Kind::Bad);
        let payer = Node::new(PAYER, of_kind, false)?;
        let payee = Node::new(PAYEE, of_kind, false)?;
        let name = |role: &str| format!("flood-{role}-{}", letters(of_kind));
        let paying = payer.log_in(directory, &name("payer"), false).await?;
        let session = payee.log_in(directory, &name("payee"), false).await?;
        let (id, link) = open_tab(&payer, &paying, payee.public()).await?;
        let (send, receive) = session.connection.open_bi().await?;
        Ok(Self {
            payee,
            session,
            send,
            reader: Reader::new(receive),
            payer: payer.public(),
            id,
            kind,
            link: if kind == Kind::Bad {
                Link([1; 32])
            } else {
                link
            },
        })
    }

    /// Claims until it is told to stop, and then until all is answered.
    async fn flood(&mut self, stop: &AtomicBool) -> Result<u64, Failure> {
        let (mut out, mut hashed, mut waiting, mut next) = (Vec::new(), 0, 0, 0);
        queue(&mut out, OpenSettle {});
        while waiting > 0 || !stop.load(Ordering::Relaxed) {
            while waiting < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
                queue(&mut out, self.claim(next));
                (waiting, next) = (waiting + 1, next + 1);
            }
            self.send.write_all(&std::mem::take(&mut out)).await?;
            let more = timeout(ANSWER_WAIT, self.reader.more()).await?;
            if !more? {
                return Err("the settle stream ended".into());
            }
            let mut busy = false;
            while let Some(message) = self.reader.ready()? {
                waiting -= 1;
                match message {
                    Message::Settled(_) if self.kind == Kind::Sound => hashed += 1,
                    Message::SubmitRefused(it) if it.reason == Reason::BUSY => busy = true,
                    Message::SubmitRefused(it)
                        if self.kind == Kind::Bad && it.reason == Reason::BAD_LINK =>
                    {
                        hashed += 1;
                    }
                    other => return Err(format!("a claim was answered: {other:?}").into()),
                }
            }
            if busy {
                sleep(BUSY_WAIT).await;
            }
        }
        self.close(next).await?;
        Ok(hashed)
    }

    fn claim(&self, number: u64) -> SubmitClaim {
        SubmitClaim {
            number,
            payer: self.payer,
            id: self.id,
            from: 0,
            index: GAP_MAX,
            link: self.link,
        }
    }

    /// Gives the hold back.
    async fn close(&mut self, number: u64) -> Result<(), Failure> {
        let ledger = self.session.ledger();
        let close = Close::sign(ledger, self.payer, self.id, &self.payee.key);
        let close = close.into_bytes().into();
        let mut out = Vec::new();
        queue(&mut out, SubmitClose { number, close });
        self.send.write_all(&out).await?;
        match timeout(ANSWER_WAIT, self.reader.next()).await?? {
            Message::Settled(_) => Ok(()),
            other => Err(format!("a tab was not closed: {other:?}").into()),
        }
    }
}

/// Has the directory open a tab of one claim's length; its id, and its last link.
async fn open_tab(
    payer: &Node,
    session: &Session,
    payee: PublicKey,
) -> Result<(OrderId, Link), Failure> {
    let mut random = [0; 10];
    rand::rng().fill(&mut random);
    let id = OrderId::new(session.now().plus(LIFE_DEFAULT), random);
    let last = Link([7; 32]);
    let terms = Terms {
        version: STATEMENT_VERSION,
        ledger: session.ledger(),
        id,
        payer: payer.public(),
        payee,
        unit: ONE,
        length: GAP_MAX,
        anchor: last.down(&id, GAP_MAX),
        expires: id.expiry().plus(RUNS),
        grace: 60,
        memo: Memo::default(),
        reference: None,
    };
    let terms = Signed::new(terms, &payer.key).into_bytes().into();
    let (mut send, receive) = session.connection.open_bi().await?;
    let mut out = Vec::new();
    queue(&mut out, OpenSettle {});
    queue(&mut out, SubmitTab { number: 0, terms });
    send.write_all(&out).await?;
    match Reader::new(receive).next().await? {
        Message::Settled(_) => Ok((id, last)),
        other => Err(format!("a tab was not opened: {other:?}").into()),
    }
}

/// Claims that wait at once: enough that the directory always has one.
const IN_FLIGHT: u64 = 8;

/// How long whoever hears that the directory is busy leaves it alone.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// Longest time for an answer: beside a load of others each claim may take long.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How long the tabs live.
const RUNS: Duration = Duration::from_secs(3600);

/// The seeds' first bytes after the number; see [`crate::client::PAYEE`].
const PAYER: u8 = 0xd0;
const PAYEE: u8 = 0xd1;
