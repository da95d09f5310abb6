//! Voiding an order because its payer says so.

use std::sync::Arc;
use std::time::Duration;

use quid_common::id::OrderId;
use quid_common::refusal::Reason;
use tokio::time::{Instant, timeout_at};

use crate::directory::{REQUEST_WAIT, RequestError};
use crate::fate::{Judgement, Subject};
use crate::journal::{OrderRow, OrderState};
use crate::resolve::Resolver;

/// How a void ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidOutcome {
    /// The order can never settle.
    Voided {
        /// The tombstone's entry.
        entry: u64,
    },
    /// The order had settled first, or the tab had opened, as this entry.
    Settled(u64),
    /// The order had been refused for good already.
    Refused {
        /// Why.
        reason: Reason,
        /// The entry that says so, if the refusal is logged.
        entry: Option<u64>,
    },
    /// No answer in time. Ask again.
    Unknown,
}

/// Longest time that a void is waited for.
const VOID_WAIT: Duration = Duration::from_secs(10);

/// Voids the order `id` of this account. What the journal knows to be final is not asked again.
///
/// # Cancel safety
/// Dropping the future may leave the order voided.
pub(crate) async fn void(
    resolver: &Arc<Resolver>,
    id: OrderId,
) -> Result<VoidOutcome, RequestError> {
    let begun = Instant::now();
    let row = resolver.books.home.journal().order(id).await?;
    match row.as_ref().map(|row| row.state) {
        Some(OrderState::Settled { entry }) => return Ok(VoidOutcome::Settled(entry)),
        Some(OrderState::Refused { reason, entry }) => return Ok(refused(reason, entry)),
        Some(OrderState::Open) | None => {}
    }
    // Nothing was sent, and that is said, if there is no directory to send it to.
    resolver.directory.link(begun + REQUEST_WAIT).await?;
    match timeout_at(begun + VOID_WAIT, end(resolver, id, row.as_ref())).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => Ok(VoidOutcome::Unknown),
    }
}

async fn end(resolver: &Resolver, id: OrderId, row: Option<&OrderRow>) -> VoidOutcome {
    let own = resolver.books.home.key();
    let payer = row.map_or(own, |row| row.order.statement().payer);
    let subject = Subject {
        payer,
        id,
        signed: row.map(|row| row.order.bytes()),
    };
    let mut backoff = resolver.books.home.backoff();
    loop {
        let Some(link) = resolver.directory.any_link().await else {
            return VoidOutcome::Unknown;
        };
        let judgement = if payer == own {
            resolver.void(&link, &subject).await
        } else {
            // No void by the key of today is one of what the key before has signed.
            resolver.ask(&link, &subject).await
        };
        match judgement {
            Ok(Judgement::Settled { receipt, size }) => {
                let entry = receipt.index;
                if let Some(row) = row {
                    resolver
                        .books
                        .settled(&row.order, &row.payee, row.route, receipt, size)
                        .await;
                }
                return VoidOutcome::Settled(entry);
            }
            Ok(Judgement::Refused { reason, entry }) => {
                if let Some(row) = row {
                    resolver
                        .books
                        .refused(&row.order, &row.payee, row.route, reason, entry)
                        .await;
                }
                return refused(reason, entry);
            }
            // The void itself is wrong, and will be again.
            Ok(Judgement::Open(Some(reason))) if !is_passing(reason) => {
                return VoidOutcome::Refused {
                    reason,
                    entry: None,
                };
            }
            Ok(Judgement::NotMet | Judgement::Open(_)) | Err(_) => backoff.wait().await,
        }
    }
}

const fn refused(reason: Reason, entry: Option<u64>) -> VoidOutcome {
    match (reason, entry) {
        (Reason::VOIDED, Some(entry)) => VoidOutcome::Voided { entry },
        _ => VoidOutcome::Refused { reason, entry },
    }
}

const fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::BUSY | Reason::STOPPING)
}
