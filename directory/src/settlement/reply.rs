//! Where answers go: an outlet for each stream or question, filled by a batch at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quid_common::refusal::Reason;
use tokio::sync::Notify;

use super::Answer;

/// Answers on their way to one asker, each with the asker's own number. Whoever asks bounds how
/// many it can hold, by how much it has asked.
#[derive(Debug, Default)]
pub struct Outlet {
    answers: Mutex<Vec<(u64, Answer)>>,
    wake: Notify,
}

impl Outlet {
    /// Takes what answers there are, waiting for the first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn take(&self) -> Vec<(u64, Answer)> {
        loop {
            let answers = self.take_now();
            if !answers.is_empty() {
                return answers;
            }
            // A wake that comes before this is kept for it.
            self.wake.notified().await;
        }
    }

    /// Takes what answers there are now.
    #[must_use]
    pub fn take_now(&self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the answers that are here go of the batches that they share.
    pub fn unshare(&self) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter_mut().for_each(|(_, answer)| answer.unshare());
    }

    fn put(&self, answers: impl IntoIterator<Item = (u64, Answer)>) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(answers);
        self.wake.notify_one();
    }
}

/// The right to give one answer. One that is dropped unused says *stopping*: nobody waits for ever.
#[derive(Debug)]
pub struct Reply {
    pub(super) number: u64,
    /// When it was asked; only measured by.
    pub(super) since: Instant,
    outlet: Option<Arc<Outlet>>,
}

impl Reply {
    /// The answer will carry the asker's own `number`.
    #[must_use]
    pub fn new(number: u64, outlet: &Arc<Outlet>) -> Self {
        Self {
            number,
            since: Instant::now(),
            outlet: Some(Arc::clone(outlet)),
        }
    }

    /// Sends the answer; never blocks. An asker that has gone is not missed.
    pub fn send(mut self, answer: Answer) {
        if let Some(outlet) = self.outlet.take() {
            outlet.put([(self.number, answer)]);
        }
    }

    /// Sends many answers: those that follow each other to one asker wake it once.
    pub fn send_all(answers: impl IntoIterator<Item = (Self, Answer)>) {
        let mut run: Vec<(u64, Answer)> = Vec::new();
        let mut to: Option<Arc<Outlet>> = None;
        for (mut reply, answer) in answers {
            let Some(outlet) = reply.outlet.take() else {
                continue;
            };
            if let Some(before) = to.replace(outlet)
                && to
                    .as_ref()
                    .is_some_and(|outlet| !Arc::ptr_eq(outlet, &before))
            {
                before.put(run.drain(..));
            }
            run.push((reply.number, answer));
        }
        if let Some(last) = to {
            last.put(run);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            outlet.put([(self.number, Answer::Refused(Reason::STOPPING, None))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use quid_common::checkpoint::{Checkpoint, Head};
    use quid_common::id::LedgerId;
    use quid_common::key::SecretKey;

    use super::*;
    use crate::settlement::Receipts;
    use crate::store::LogEntry;

    fn busy() -> Answer {
        Answer::Refused(Reason::BUSY, None)
    }

    #[tokio::test]
    async fn each_asker_gets_its_own_answers_in_order() {
        let (one, two) = (Arc::new(Outlet::default()), Arc::new(Outlet::default()));
        let to = [(1, &one), (2, &one), (3, &two), (4, &one), (5, &two)];
        Reply::send_all(to.map(|(number, outlet)| (Reply::new(number, outlet), busy())));
        let numbers = |answers: Vec<(u64, Answer)>| -> Vec<u64> {
            answers.into_iter().map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(one.take().await), [1, 2, 4]);
        assert_eq!(numbers(two.take().await), [3, 5]);
        assert!(one.take_now().is_empty());
    }

    #[test]
    fn an_answer_that_waits_long_does_not_keep_its_batch_in_memory() {
        let head = Head {
            size: 1,
            root: [7; 32],
        };
        let key = SecretKey::from_seed(&[1; 32]);
        let batch = Arc::new(Receipts {
            first: 0,
            entries: vec![LogEntry::new(vec![1, 2, 3])],
            paths: vec![vec![]],
            checkpoint: Checkpoint::sign(LedgerId([2; 32]), head, &key),
        });
        let proof = || batch.of(0).expect("it is there");
        let before = proof().into_receipt();
        let outlet = Arc::new(Outlet::default());
        Reply::new(1, &outlet).send(Answer::Settled(proof()));
        Reply::new(2, &outlet).send(Answer::Refused(Reason::VOIDED, Some(proof())));
        Reply::new(3, &outlet).send(busy());
        outlet.unshare();
        let weak = Arc::downgrade(&batch);
        drop(batch);
        assert!(weak.upgrade().is_none(), "an answer holds it");
        match outlet.take_now().swap_remove(0) {
            (1, Answer::Settled(proof)) => assert_eq!(proof.into_receipt(), before),
            other => panic!("another answer: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_dropped_says_that_the_directory_stops() {
        let outlet = Arc::new(Outlet::default());
        drop(Reply::new(7, &outlet));
        let answers = outlet.take().await;
        assert!(matches!(
            answers.as_slice(),
            [(7, Answer::Refused(Reason::STOPPING, None))]
        ));
    }
}
