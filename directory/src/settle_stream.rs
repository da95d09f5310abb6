//! The settle stream: many orders, voids and wishes about tabs in flight, answers matched by the submitter's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quid_common::chain::Mark;
use quid_common::order::{SignedDecline, SignedOrder};
use quid_common::refusal::Reason;
use quid_common::signed::{Signed, Statement};
use quid_common::wire::{CloseCode, Message, Run, Submit, SubmitClaim, SubmitRefused, Voided};
use serde_bytes::ByteBuf;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::member::{Directory, Member};
use crate::sessions::InFlight;
use crate::settlement::{Answer, Ask, Job, Links, Outlet, Proof, Reply};
use crate::shed::Cause;
use crate::stream::{ReadError, Reader, WriteError, Writer};

/// Most orders, voids and wishes about tabs of one stream that wait for their answers. The next is not read before
/// there is room for its answer, so that a submitter that does not read cannot make us hold more.
pub const IN_FLIGHT_MAX: u16 = 1024;

/// How long a stream is not read after an answer was *busy*: whoever asks too much is slowed down.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Serves a settle stream to its end; says how to close the connection if the peer broke the
/// protocol.
pub async fn serve(
    directory: &Directory,
    member: &Member,
    mut reader: Reader,
    mut writer: Writer,
) -> Option<CloseCode> {
    let waiting = Waiting::new(directory, member);
    let read = async {
        loop {
            waiting.room().await;
            let jobs = match waiting.read(&mut reader).await {
                Ok(jobs) => jobs,
                Err(ended) => return ended,
            };
            if !directory.settlements.distrusts(&member.key) {
                submit(directory, member, jobs).await;
                continue;
            }
            // One stream of the account at a time, so that many give it nothing.
            let _turn = member.in_flight.turn().await;
            for job in jobs {
                directory.sentry.doubtful(job.ask.work()).await;
                submit(directory, member, vec![job]).await;
            }
        }
    };
    // Answers still due when the peer has finished sending are written before the stream ends.
    let write = waiting.write(&mut writer);
    tokio::pin!(write);
    let ended = tokio::select! {
        ended = read => ended,
        ended = &mut write => return ended,
    };
    if ended.is_some() {
        return ended;
    }
    tokio::select! {
        () = waiting.none() => None,
        ended = &mut write => ended,
    }
}

/// Has `jobs` decided on, and slows down whoever asks more than there is room for.
async fn submit(directory: &Directory, member: &Member, jobs: Vec<Job>) {
    directory.sentry.pays();
    if !directory.settlements.submit(member.key, jobs) {
        directory.sentry.shed.count(Cause::Orders);
        sleep(BUSY_PAUSE).await;
    }
}

/// What of a stream waits for its answer.
#[derive(Debug)]
struct Waiting<'a> {
    directory: &'a Directory,
    member: &'a Member,
    outlet: Arc<Outlet>,
    count: AtomicUsize,
    /// Woken whenever answers have been written.
    fewer: Notify,
}

impl<'a> Waiting<'a> {
    fn new(directory: &'a Directory, member: &'a Member) -> Self {
        Self {
            directory,
            member,
            outlet: Arc::default(),
            count: AtomicUsize::new(0),
            fewer: Notify::new(),
        }
    }

    /// Waits until there is room for one more answer.
    async fn room(&self) {
        while self.count() >= usize::from(IN_FLIGHT_MAX) {
            self.fewer.notified().await;
        }
        // Room that another stream of the account makes wakes nobody here.
        let is_frozen = || self.directory.hub.is_frozen(&self.member.key);
        if self.account().is_full(is_frozen()) {
            self.directory.sentry.shed.count(Cause::Answers);
            while self.account().is_full(is_frozen()) {
                sleep(BUSY_PAUSE).await;
            }
        }
    }

    /// Waits until every answer is written.
    async fn none(&self) {
        while self.count() > 0 {
            self.fewer.notified().await;
        }
    }

    /// Waits for a message, and takes with it those that are here already and have room.
    ///
    /// # Errors
    /// The end of the stream, and how to close the connection if the peer is to blame.
    async fn read(&self, reader: &mut Reader) -> Result<Vec<Job>, Option<CloseCode>> {
        let mut next = reader.next().await;
        let room = usize::from(IN_FLIGHT_MAX).saturating_sub(self.count());
        let mut jobs = Vec::new();
        let read = loop {
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) if jobs.is_empty() => break Err(None),
                Ok(None) => break Ok(()),
                Err(ReadError::Gone(_)) => break Err(None),
                Err(ReadError::Deadline) => break Err(Some(CloseCode::TIMEOUT)),
                Err(_) => break Err(Some(CloseCode::PROTOCOL)),
            };
            match self.job(message) {
                Ok(job) => jobs.push(job),
                Err(code) => break Err(Some(code)),
            }
            if jobs.len() >= room {
                break Ok(());
            }
            next = reader.ready();
        };
        // Also those that an error leaves: each is answered once, however it ends.
        self.count.fetch_add(jobs.len(), Ordering::Relaxed);
        self.account().add(jobs.len());
        read.map(|()| jobs)
    }

    /// The job in a message; one that cannot be read is answered in its turn like any other.
    fn job(&self, message: Message) -> Result<Job, CloseCode> {
        let (number, ask) = match message {
            Message::Submit(submit) => (submit.number, order(submit)),
            Message::SubmitVoid(submit) => (submit.number, signed(submit.void).map(Ask::Void)),
            Message::SubmitTab(submit) => {
                let allowed = self.directory.sentry.open_tab(&self.member.key);
                let terms = allowed.and_then(|()| signed(submit.terms));
                (submit.number, terms.map(Ask::Tab))
            }
            Message::SubmitClaim(submit) => (submit.number, claim(&submit)),
            Message::SubmitClose(submit) => (submit.number, signed(submit.close).map(Ask::Close)),
            _ => return Err(CloseCode::PROTOCOL),
        };
        Ok(Job {
            from: self.member.key,
            ask: ask.unwrap_or_else(Ask::Malformed),
            reply: Reply::new(number, &self.outlet),
        })
    }

    /// Writes answers as they come, until the peer does not take them any more.
    async fn write(&self, writer: &mut Writer) -> Option<CloseCode> {
        let mut run = Run::new();
        loop {
            let mut answers = self.outlet.take().await.into_iter();
            while answers.len() > 0 {
                let count = answers.len().min(WRITE_LEN);
                for (number, answer) in answers.by_ref().take(count) {
                    queue(writer, &mut run, number, &answer);
                }
                match self.flush(writer, answers.as_mut_slice()).await {
                    Ok(()) => {}
                    // A stream that its owner gave up concerns nobody else.
                    Err(WriteError::Gone(_)) => return None,
                    Err(WriteError::Deadline) => return Some(CloseCode::SLOW),
                }
                self.count.fetch_sub(count, Ordering::Relaxed);
                self.account().sub(count);
                self.fewer.notify_one();
            }
        }
    }

    /// Flushes `writer`. If that takes long, the answers that wait behind it, those of `rest` and
    /// those that come meanwhile, let go of the batches that they came from: a slow reader must
    /// not keep the receipts of everybody else in memory.
    async fn flush(
        &self,
        writer: &mut Writer,
        rest: &mut [(u64, Answer)],
    ) -> Result<(), WriteError> {
        let flush = writer.flush();
        tokio::pin!(flush);
        loop {
            if let Ok(flushed) = timeout(SHARE_DEADLINE, &mut flush).await {
                return flushed;
            }
            self.outlet.unshare();
            rest.iter_mut().for_each(|(_, answer)| answer.unshare());
        }
    }

    fn account(&self) -> &InFlight {
        &self.member.in_flight
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.account().sub(self.count());
    }
}

fn order(submit: Submit) -> Result<Ask, Reason> {
    let order = SignedOrder::from_vec(submit.order.into_vec()).map_err(|_| Reason::ENCODING)?;
    let decline = submit
        .decline
        .as_deref()
        .map(|bytes| SignedDecline::from_bytes(bytes));
    // A decline that cannot be read says nothing about the order.
    let decline = decline.transpose().map_err(|_| Reason::BAD_DECLINE)?;
    Ok(Ask::Order(order, decline))
}

fn claim(submit: &SubmitClaim) -> Result<Ask, Reason> {
    let to = Mark {
        index: submit.index,
        link: submit.link,
    };
    let links = Links::shown(submit.from, to)?;
    Ok(Ask::Claim(submit.payer, submit.id, links))
}

fn signed<T: Statement>(bytes: ByteBuf) -> Result<Signed<T>, Reason> {
    Signed::from_vec(bytes.into_vec()).map_err(|_| Reason::ENCODING)
}

fn queue(writer: &mut Writer, run: &mut Run, number: u64, answer: &Answer) {
    match answer {
        Answer::Settled(proof) => run.write_settled(number, proof.borrow(), writer.buffer()),
        Answer::Voided(proof) => {
            let receipt = proof.clone().into_receipt();
            writer.queue(&Voided { number, receipt }.into());
        }
        Answer::Refused(reason, proof) => {
            let (reason, receipt) = (*reason, proof.clone().map(Proof::into_receipt));
            writer.queue(
                &SubmitRefused {
                    number,
                    reason,
                    receipt,
                }
                .into(),
            );
        }
        // Nothing else answers what comes here.
        _ => {
            let (reason, receipt) = (Reason::BUSY, None);
            writer.queue(
                &SubmitRefused {
                    number,
                    reason,
                    receipt,
                }
                .into(),
            );
        }
    }
}

/// How long an answer that waits to be written may share the receipts of its batch.
const SHARE_DEADLINE: Duration = Duration::from_secs(1);

/// Most answers in one write, some 20 KiB if they are of one batch, and 64 if not: more would cost every stream memory and save nothing.
const WRITE_LEN: usize = 64;
