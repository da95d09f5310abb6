//! Giving back what is left of tabs that are over, which nobody asks for: the settlement knows when
//! the next one is, and this is the clock that it has not.

use std::time::Duration;

use quid_common::key::PublicKey;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::settlement::{Ask, Settlements};

/// Least time between two looks for tabs that are over: no payer misses its money within it.
pub const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// Has tabs released as they come to be over, until `stop`; in the name of the directory's key.
pub async fn serve(directory: PublicKey, settlements: Settlements, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = release(directory, &settlements) => {}
    }
}

async fn release(directory: PublicKey, settlements: &Settlements) {
    let mut due = settlements.due();
    loop {
        let next = *due.borrow_and_update();
        let changed = match next {
            Some(next) => tokio::select! {
                changed = due.changed() => Some(changed),
                () = sleep_until(next.at) => None,
            },
            None => Some(due.changed().await),
        };
        match changed {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            None => {
                settlements.ask(directory, Ask::Release).await;
                sleep(RELEASE_PAUSE).await;
            }
        }
    }
}
