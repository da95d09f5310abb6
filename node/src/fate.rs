//! What an answer means for an order, or for terms that open a tab: pure rules, no I/O.
//!
//! *Settled* is what a verified receipt with exactly the signed bytes says, whoever brought it.
//! *Refused* is what the directory says on this node's own session, and final only as its class
//! says. Everything else leaves the order open.

use quid_common::entry::Fact;
use quid_common::id::{Digest, OrderId};
use quid_common::key::PublicKey;
use quid_common::order::SignedOrder;
use quid_common::receipt::{Proven, Receipt};
use quid_common::refusal::{Class, Reason};
use quid_common::tab::SignedTerms;
use quid_common::time::LedgerTime;

use crate::directory::Answer;
use crate::heads::Source;
use crate::trust::{Trust, TrustError};

/// Which order or tab is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) payer: PublicKey,
    pub(crate) id: OrderId,
    /// The order or the terms as signed, unless this home has only the id.
    pub(crate) signed: Option<&'a [u8]>,
}

/// How an order or a tab stands after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Money moved, or is held; the receipt is verified. The number is the size of the log it was proved in.
    Settled { receipt: Box<Receipt>, size: u64 },
    /// Final: money did not move and never will by this order.
    Refused { reason: Reason, entry: Option<u64> },
    /// The ledger has not met the order: it may still settle.
    NotMet,
    /// Nothing is known; ask again. The directory's reason, if it gave one.
    Open(Option<Reason>),
}

impl<'a> Subject<'a> {
    pub(crate) fn of(order: &'a SignedOrder) -> Self {
        let stated = order.statement();
        Self {
            payer: stated.payer,
            id: stated.id,
            signed: Some(order.bytes()),
        }
    }

    pub(crate) fn of_tab(terms: &'a SignedTerms) -> Self {
        let stated = terms.statement();
        Self {
            payer: stated.payer,
            id: stated.id,
            signed: Some(terms.bytes()),
        }
    }

    /// What the answer to the order itself means.
    pub(crate) fn submitted(&self, answer: Answer, trust: &Trust) -> Judgement {
        trust.heard(match &answer {
            Answer::Refused(reason, _) => Some(*reason),
            Answer::Settled(_) | Answer::Voided(_) => None,
        });
        match answer {
            Answer::Settled(receipt) | Answer::Voided(receipt) => self.told(receipt, trust),
            Answer::Refused(reason, receipt) => match (reason.class(), receipt) {
                (Class::Logged, Some(receipt)) => self.told(receipt, trust),
                (Class::Logged | Class::Static | Class::Expired, _) => Judgement::Refused {
                    reason,
                    entry: None,
                },
                (Class::NotFinal | Class::Request, _) => Judgement::Open(Some(reason)),
            },
        }
    }

    /// What the answer to the order's void means. A static refusal is about the void, not the
    /// order.
    pub(crate) fn voided(&self, answer: Answer, trust: &Trust) -> Judgement {
        match answer {
            Answer::Refused(reason, _) if reason.class() == Class::Static => {
                Judgement::Open(Some(reason))
            }
            answer => self.submitted(answer, trust),
        }
    }

    /// What the directory's knowledge of the order means.
    pub(crate) fn asked(
        &self,
        receipt: Option<Receipt>,
        time: LedgerTime,
        trust: &Trust,
    ) -> Judgement {
        match receipt {
            Some(receipt) => self.told(receipt, trust),
            None if time >= self.id.expiry() => Judgement::Refused {
                reason: Reason::EXPIRED,
                entry: None,
            },
            None => Judgement::NotMet,
        }
    }

    /// What a receipt means that another node passed on.
    pub(crate) fn proved(&self, receipt: Receipt, trust: &Trust) -> Judgement {
        self.judged(receipt, Source::Peer, trust)
    }

    /// What a receipt means that the directory gave.
    fn told(&self, receipt: Receipt, trust: &Trust) -> Judgement {
        self.judged(receipt, Source::Directory, trust)
    }

    fn judged(&self, receipt: Receipt, source: Source, trust: &Trust) -> Judgement {
        let proven = match trust.prove(&receipt, source) {
            Ok(proven) => proven,
            Err(error) => return self.nonsense(&error),
        };
        match self.verdict(&proven) {
            Some(Verdict::Settled) => Judgement::Settled {
                receipt: Box::new(receipt),
                size: proven.head().size,
            },
            Some(Verdict::Refused(reason)) => Judgement::Refused {
                reason,
                entry: Some(proven.index()),
            },
            None => {
                tracing::error!(
                    order = %self.id, entry = proven.index(),
                    "a receipt about something else was given for this order"
                );
                Judgement::Open(None)
            }
        }
    }

    fn verdict(&self, proven: &Proven) -> Option<Verdict> {
        let is_ours = |payer: PublicKey, id: OrderId| payer == self.payer && id == self.id;
        let had_its_effect = |payer, id| {
            let other = |signed: &[u8]| !proven.settles(signed) && !proven.opens(signed);
            let verdict = if self.signed.is_some_and(other) {
                Verdict::Refused(Reason::ID_REUSED)
            } else {
                Verdict::Settled
            };
            is_ours(payer, id).then_some(verdict)
        };
        match &proven.entry().fact {
            Fact::Payment(settled) => {
                let stated = settled.statement();
                had_its_effect(stated.payer, stated.id)
            }
            Fact::Tab(opened) => {
                let stated = opened.statement();
                had_its_effect(stated.payer, stated.id)
            }
            Fact::Void(void) => {
                let stated = void.statement();
                is_ours(stated.payer, stated.id).then_some(Verdict::Refused(Reason::VOIDED))
            }
            Fact::Refusal(refusal) if is_ours(refusal.payer, refusal.id) => {
                Some(Verdict::Refused(match self.signed {
                    Some(signed) if Digest::of(signed) != refusal.order => Reason::ID_REUSED,
                    _ => refusal.reason,
                }))
            }
            _ => None,
        }
    }

    fn nonsense(&self, error: &TrustError) -> Judgement {
        tracing::error!(order = %self.id, %error, "a receipt that proves nothing was given");
        Judgement::Open(None)
    }
}

enum Verdict {
    Settled,
    Refused(Reason),
}

#[cfg(test)]
mod tests;
