//! Judging the signatures of a batch, so that each job has its own exact verdict, and hashing what
//! its claims show.

use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::signed::{Signed, Statement};

use super::queue::{Queue, Taken};
use super::{Ask, Job, hashing};
use crate::verify::{self, Claim};

/// A job whose signatures have been judged.
#[derive(Debug)]
pub struct Checked {
    pub(super) job: Job,
    /// What the signatures refuse, if anything.
    pub(super) forged: Option<Reason>,
}

/// Judges the signatures of jobs, together, and hashes their claims, long ones too.
#[must_use]
pub fn check(jobs: Vec<Job>) -> Vec<Checked> {
    judge(jobs, verify::verify)
}

/// Judges a batch from the queue: the distrusted apart, and the queue hears of what they signed.
pub(super) fn check_batch(queue: &Queue, batch: Taken) -> Vec<Checked> {
    let mut checked = judge(batch.trusted, verify::verify);
    tell(queue, &checked, false);
    if !batch.distrusted.is_empty() {
        let apart = judge(batch.distrusted, |claims, _| verify::one_by_one(claims));
        tell(queue, &apart, true);
        checked.extend(apart);
    }
    checked
}

/// Tells the queue, account by account, what came; of trusted ones only what is bad.
fn tell(queue: &Queue, checked: &[Checked], distrusted: bool) {
    if !distrusted && checked.iter().all(|one| one.forged.is_none()) {
        return;
    }
    for run in checked.chunk_by(|one, other| one.job.from == other.job.from) {
        let bad = run.iter().filter(|one| one.forged.is_some()).count();
        let good = run
            .iter()
            .filter(|one| one.forged.is_none() && one.job.ask.is_signed())
            .count();
        if let Some(first) = run.first()
            && (distrusted || bad > 0)
        {
            let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
            queue.judge(&first.job.from, number(good), number(bad));
        }
    }
}

fn judge(
    mut jobs: Vec<Job>,
    verify: impl FnOnce(&[Claim], &mut rand::rngs::ThreadRng) -> Vec<bool>,
) -> Vec<Checked> {
    jobs.iter_mut().for_each(|job| hashing::hash(&mut job.ask));
    let mut claims: Vec<Claim> = Vec::with_capacity(jobs.len());
    // For each claim whose it is, and what its failing means.
    let mut owners = Vec::with_capacity(jobs.len());
    for (at, job) in jobs.iter().enumerate() {
        match &job.ask {
            Ask::Order(order, decline) => {
                claims.push(claim(&job.from, order));
                owners.push((at, Reason::BAD_SIGNATURE));
                if let Some(decline) = decline {
                    claims.push(claim(&job.from, decline));
                    owners.push((at, Reason::BAD_DECLINE));
                }
            }
            Ask::Void(void) => {
                claims.push(claim(&job.from, void));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            Ask::Register(registration) => {
                claims.push(claim(&job.from, registration));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            Ask::Change(change) => {
                for signed in change.clone().into_fact().signatures() {
                    let claim = Claim::from(signed);
                    let from = job.from;
                    claims.push(Claim { from, ..claim });
                    owners.push((at, Reason::BAD_SIGNATURE));
                }
            }
            Ask::Tab(terms) => {
                claims.push(claim(&job.from, terms));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            Ask::Close(close) => {
                claims.push(claim(&job.from, close));
                owners.push((at, Reason::BAD_SIGNATURE));
            }
            // The operator's socket, claims and plain questions carry no signature.
            ask => debug_assert!(!ask.is_signed()),
        }
    }
    let mut checked: Vec<Checked> = jobs
        .into_iter()
        .map(|job| Checked { job, forged: None })
        .collect();
    let verdicts = verify(&claims, &mut rand::rng());
    for ((owner, reason), genuine) in owners.into_iter().zip(verdicts) {
        if let Some(job) = checked.get_mut(owner).filter(|_| !genuine) {
            job.forged.get_or_insert(reason);
        }
    }
    checked
}

fn claim<T: Statement>(from: &PublicKey, fact: &Signed<T>) -> Claim {
    Claim {
        from: *from,
        key: fact.statement().signer(),
        message: fact.message(),
        signature: *fact.signature(),
    }
}
