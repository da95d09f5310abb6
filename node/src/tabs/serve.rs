//! The payee's side of a tab stream: takes links, acknowledges them together.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use quid_common::chain::LinkError;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::wire::{Message, TabAccepted, TabEnd, TabEnded, TabOffer, TabPaid, TabPayRef};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::desk::{Declined, Desk};
use super::incoming::{Held, Phase};
use crate::stream::{OnTabs, Reader, StreamError, Writer};

/// Tabs of one stream that are being judged at once; the next offer is not read before.
const JUDGING_MAX: usize = 64;

/// Messages taken before other tasks have their turn: of payments, some milliseconds of hashing at
/// the worst for each.
const TURN_LEN: usize = 64;

/// A payer without any open tab that says nothing for so long is sent away.
const IDLE_WAIT: Duration = Duration::from_secs(120);

/// Ties a tab to the stream on which its payer hears of it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    number: u32,
    due: Weak<Due>,
}

/// The tabs of one stream of which there is news for the payer.
#[derive(Debug, Default)]
struct Due {
    numbers: Mutex<BTreeSet<u32>>,
    wake: Notify,
}

impl Caller {
    /// Has the stream tell the payer where the tab stands.
    pub(super) fn tell(&self) {
        if let Some(due) = self.due.upgrade() {
            due.add(self.number);
            due.wake.notify_one();
        }
    }

    /// Whether the stream is served still.
    pub(super) fn is_there(&self) -> bool {
        self.due.strong_count() > 0
    }
}

impl Due {
    fn add(&self, number: u32) {
        self.numbers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number);
    }

    fn take(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One payer's tab stream.
struct Tabs {
    desk: Arc<Desk>,
    payer: PublicKey,
    open: HashMap<u32, Arc<Held>>,
    judging: JoinSet<(u32, Result<Arc<Held>, Declined>)>,
    due: Arc<Due>,
}

/// Serves a tab stream until its payer or the connection is gone.
pub(crate) async fn serve(
    payer: PublicKey,
    mut reader: Reader,
    mut writer: Writer,
    desk: Arc<Desk>,
) -> Result<(), StreamError> {
    let mut tabs = Tabs {
        desk,
        payer,
        open: HashMap::new(),
        judging: JoinSet::new(),
        due: Arc::default(),
    };
    loop {
        let mut taken = 0;
        while tabs.judging.len() < JUDGING_MAX
            && taken < TURN_LEN
            && let Some(message) = reader.ready_on_tabs()?
        {
            tabs.take(message)?;
            taken += 1;
        }
        tabs.answer(&mut writer);
        if writer.queued_len() > 0 {
            writer.flush().await?;
        }
        if taken == TURN_LEN {
            // Others have their turn; there may be more here already.
            tokio::task::yield_now().await;
            continue;
        }
        let due = Arc::clone(&tabs.due);
        let idle = tabs.open.is_empty() && tabs.judging.is_empty();
        tokio::select! {
            more = reader.fill(), if tabs.judging.len() < JUDGING_MAX => {
                if !more? {
                    break;
                }
            }
            Some(judged) = tabs.judging.join_next() => match judged {
                Ok((number, verdict)) => tabs.judged(number, verdict, &mut writer),
                // A panic in it is one of the node.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
            () = due.wake.notified() => {}
            () = sleep(IDLE_WAIT), if idle => break,
        }
    }
    writer.finish();
    Ok(())
}

impl Tabs {
    fn take(&mut self, message: OnTabs<'_>) -> Result<(), StreamError> {
        match message {
            OnTabs::Pay(pay) => self.pay(pay),
            OnTabs::Other(Message::TabOffer(offer)) => {
                self.offer(offer);
                Ok(())
            }
            OnTabs::Other(Message::TabEnd(TabEnd { number })) => {
                if let Some(held) = self.open.get(&number) {
                    held.want_end();
                    self.due.add(number);
                }
                Ok(())
            }
            OnTabs::Other(_) => Err(StreamError::Unasked),
        }
    }

    fn pay(&mut self, pay: TabPayRef<'_>) -> Result<(), StreamError> {
        // One that ended while this was on its way: the payer has been told.
        let Some(held) = self.open.get(&pay.number) else {
            return Ok(());
        };
        let taken = held.take(pay.first, pay.step, pay.links);
        taken.map_err(|error: LinkError| {
            tracing::warn!(
                tab = %held.terms.id, payer = %self.payer.short(), %error, "a payment proves nothing"
            );
            StreamError::Links(error)
        })?;
        self.due.add(pay.number);
        Ok(())
    }

    fn offer(&mut self, offer: TabOffer) {
        let (desk, payer) = (Arc::clone(&self.desk), self.payer);
        self.judging.spawn(async move {
            let number = offer.number;
            (number, desk.offered(payer, offer).await)
        });
    }

    fn judged(&mut self, number: u32, verdict: Result<Arc<Held>, Declined>, writer: &mut Writer) {
        // A tab has one number on a stream.
        let mut open = self.open.iter();
        let verdict = verdict.and_then(|held| {
            let again = open.any(|(other, open)| *other == number || Arc::ptr_eq(open, &held));
            if again {
                return Err(Declined::new(Reason::OUT_OF_TURN));
            }
            Ok(held)
        });
        match verdict {
            Ok(held) => {
                held.connect(Caller {
                    number,
                    due: Arc::downgrade(&self.due),
                });
                // It may have ended meanwhile.
                self.due.add(number);
                let (mark, over) = {
                    let state = held.lock();
                    (state.mark, state.phase().over())
                };
                // Of one that is ending the payer hears the end.
                if over.is_none() {
                    let accepted = TabAccepted {
                        number,
                        paid: mark.index,
                        link: mark.link,
                        limit: held.limit(),
                    };
                    writer.queue(&accepted.into());
                }
                self.open.insert(number, held);
            }
            Err(Declined { reason, paid }) => {
                tracing::info!(payer = %self.payer.short(), reason = reason.name(), "declined a tab");
                let ended = TabEnded {
                    number,
                    paid,
                    reason: Some(reason),
                };
                writer.queue(&ended.into());
            }
        }
    }

    /// Writes down what the payer is to hear.
    fn answer(&mut self, writer: &mut Writer) {
        for number in self.due.take() {
            let Some(held) = self.open.get(&number) else {
                continue;
            };
            let (paid, phase) = {
                let state = held.lock();
                (state.mark.index, state.phase())
            };
            match phase {
                Phase::Open | Phase::Stopping => {
                    let limit = held.limit();
                    let paid = TabPaid {
                        number,
                        paid,
                        limit,
                    };
                    writer.queue(&paid.into());
                }
                // Asked for by either side: the payer hears of it once that is done.
                Phase::Ending(None) => {}
                Phase::Ending(reason) | Phase::Over(reason) => {
                    let ended = TabEnded {
                        number,
                        paid,
                        reason,
                    };
                    writer.queue(&ended.into());
                    self.open.remove(&number);
                }
            }
        }
    }
}
