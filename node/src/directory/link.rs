//! One session with the directory, and what is submitted on it.

use quid_common::chain::Mark;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::wire::{
    Message, Submit, SubmitClaim, SubmitClose, SubmitTab, SubmitVoid, Welcome,
};
use quinn::Connection;

use crate::calls::{Calls, Lost};

/// One session that has logged in.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) welcome: Welcome,
    /// The settle stream.
    pub(super) settle: Calls,
}

/// What is submitted on the settle stream.
#[derive(Clone, Debug)]
pub(crate) enum Submission {
    /// A signed order, and perhaps its payee's signed decline.
    Order(Vec<u8>, Option<Vec<u8>>),
    /// A signed void.
    Void(Vec<u8>),
    /// Signed terms.
    Tab(Vec<u8>),
    /// A claim of the units from one mark to the next.
    Claim {
        payer: PublicKey,
        id: OrderId,
        from: u32,
        mark: Mark,
    },
    /// A signed close.
    Close(Vec<u8>),
}

/// What the directory answered to a submission. Nothing in it is verified yet.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Settled(Receipt),
    Voided(Receipt),
    Refused(Reason, Option<Receipt>),
}

impl Link {
    /// Submits; [`Lost`] leaves open whether the directory took it.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer; the submission may have been taken.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Answer, Lost> {
        let answer = self
            .settle
            .ask(move |number| match submission {
                Submission::Order(order, decline) => Submit {
                    number,
                    order: order.into(),
                    decline: decline.map(Into::into),
                }
                .into(),
                Submission::Void(void) => SubmitVoid {
                    number,
                    void: void.into(),
                }
                .into(),
                Submission::Tab(terms) => SubmitTab {
                    number,
                    terms: terms.into(),
                }
                .into(),
                Submission::Claim {
                    payer,
                    id,
                    from,
                    mark,
                } => SubmitClaim {
                    number,
                    payer,
                    id,
                    from,
                    index: mark.index,
                    link: mark.link,
                }
                .into(),
                Submission::Close(close) => SubmitClose {
                    number,
                    close: close.into(),
                }
                .into(),
            })
            .await?;
        match answer {
            Message::Settled(answer) => Ok(Answer::Settled(answer.receipt)),
            Message::Voided(answer) => Ok(Answer::Voided(answer.receipt)),
            Message::SubmitRefused(answer) => Ok(Answer::Refused(answer.reason, answer.receipt)),
            _ => {
                tracing::error!("the directory answered a submission with something else");
                Err(Lost)
            }
        }
    }
}
