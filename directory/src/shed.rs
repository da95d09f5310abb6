//! What was shed: how often somebody was turned away or held back, and for what.
//!
//! Every limit that says no to somebody counts here, by its cause, so that an operator sees a flood
//! and which limit meets it. Counts begin with the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often the log is told what was shed, if anything was.
pub const TELL_EVERY: Duration = Duration::from_secs(10);

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $cause:ident $name:literal;)+) => {
        /// For what somebody was turned away or held back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $($(#[doc = $doc])+ $cause,)+
        }

        impl Cause {
            /// Every cause, in the order in which a caller meets them.
            pub const ALL: &'static [Self] = &[$(Self::$cause),+];

            /// The name that logs and metrics see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)+
                }
            }
        }
    };
}

causes! {
    /// A caller had to prove its address first (QUIC Retry).
    Retry "retry";
    /// A call was refused: no room among those that wait for their handshake.
    Handshakes "handshakes";
    /// A call was refused: as many connections as there may be.
    Connections "connections";
    /// A call was refused: the caller's network has its share of strangers, or there are too many.
    Strangers "strangers";
    /// A stranger was closed that did not log in in time, or asked too much.
    Idlers "idlers";
    /// A registration was told *busy*: too many came, from all together.
    Registrations "registrations";
    /// A registration was told *busy*: too many came from its network.
    RegistrationsOfNetwork "registrations_of_network";
    /// A registration was refused: closed, or by invitation and without a good code.
    Uninvited "uninvited";
    /// A login was told *busy*: its account logs in too often.
    Logins "logins";
    /// A login was refused: its account has its share of sessions.
    Sessions "sessions";
    /// A question was told *busy*: its account asks too much.
    Questions "questions";
    /// The opening of a tab was told *busy*: its account opens too many.
    Openings "tab_openings";
    /// What a settle stream submitted was told *busy*: no room in the queue.
    Orders "orders";
    /// What a settle stream submitted had to wait: its account is distrusted, for bad signatures or
    /// claims, for what was others' to submit, or for asking again and again what was answered.
    Distrusted "distrusted";
    /// A settle stream was not read for a while: too many answers wait to be read.
    Answers "answers";
    /// An event stream was ended: too many movements waited for it.
    Events "events";
    /// A connection was closed that did not read.
    Slow "slow";
}

/// How often each limit has said no.
#[derive(Debug, Default)]
pub struct Shed([AtomicU64; Cause::ALL.len()]);

impl Shed {
    /// Counts one for `cause`.
    pub fn count(&self, cause: Cause) {
        if let Some(count) = self.0.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often `cause` was counted.
    #[must_use]
    pub fn of(&self, cause: Cause) -> u64 {
        self.0
            .get(cause as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Every cause with its count.
    pub fn counts(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        Cause::ALL.iter().map(|cause| (*cause, self.of(*cause)))
    }

    /// Tells the log every [`TELL_EVERY`] what has been counted since, and once more at the end. A
    /// line for each refusal would let a flood fill the disk.
    pub async fn tell(&self, stop: CancellationToken) {
        let mut told = [0; Cause::ALL.len()];
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TELL_EVERY) => {}
            }
            for ((cause, count), told) in self.counts().zip(&mut told) {
                if count > *told {
                    info!(target: "quid_directory::shed", cause = cause.name(), count, "shed");
                    *told = count;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_count_and_a_name_of_its_own() {
        let shed = Shed::default();
        for (times, cause) in (1..).zip(Cause::ALL) {
            (0..times).for_each(|_| shed.count(*cause));
        }
        let counts: Vec<u64> = shed.counts().map(|(_, count)| count).collect();
        assert!(counts.iter().copied().eq(1..=Cause::ALL.len() as u64));
        let mut names: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
    }
}
