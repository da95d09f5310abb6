//! Noticing early that nobody is there any more.
//!
//! A directory or payee that was killed and restarted at once knows nothing of our connection and
//! says nothing; QUIC's idle timeout would let us wait 15 s. But whoever is asked (a keep-alive is
//! a question too) must acknowledge at once, so a while without any packet after a question means
//! that nobody is there.

use std::time::Duration;

use quinn::Connection;
use tokio::time::{Instant, sleep};

/// How long a directory, or a payee with tabs, may be silent: more than any round trip with a few losses, and with the
/// keep-alive's 5 s less than the 10 s in which a node has to be back.
pub(crate) const DIRECTORY_SILENCE_MAX: Duration = Duration::from_secs(3);

/// How long a payee may be silent before the next order looks for it anew. Orders under way go on
/// waiting, so little is lost if it was a mistake.
pub(crate) const PAYEE_SILENCE_MAX: Duration = Duration::from_millis(600);

/// How often to look.
pub(crate) const SILENCE_CHECK: Duration = Duration::from_millis(200);

/// Ends when the other side does not answer any more, long before the idle timeout would tell.
pub(crate) async fn silent(connection: &Connection) {
    let mut silence = Silence::new(DIRECTORY_SILENCE_MAX);
    while !silence.look(connection) {
        sleep(SILENCE_CHECK).await;
    }
}

/// What was seen of a connection so far.
#[derive(Debug)]
pub(crate) struct Silence {
    max: Duration,
    received: u64,
    asked: u64,
    /// Since when a question stands without any packet after it.
    since: Option<Instant>,
}

impl Silence {
    /// Nothing seen so far; more than `max` is silence.
    pub(crate) const fn new(max: Duration) -> Self {
        Self {
            max,
            received: 0,
            asked: 0,
            since: None,
        }
    }

    /// Looks at the connection; true while the other side has been silent for too long.
    pub(crate) fn look(&mut self, connection: &Connection) -> bool {
        let stats = connection.stats();
        // What the other side has to acknowledge at once; but a probe for a larger packet size may
        // well be lost on the way, and says nothing.
        let (sent, probes) = (stats.frame_tx, stats.path.sent_plpmtud_probes);
        let asked = sent.stream
            + sent.ping.saturating_sub(probes)
            + sent.immediate_ack.saturating_sub(probes);
        self.observe(stats.udp_rx.datagrams, asked, Instant::now())
    }

    /// Takes the counts of packets received and questions asked.
    fn observe(&mut self, received: u64, asked: u64, now: Instant) -> bool {
        if received != self.received {
            (self.received, self.asked, self.since) = (received, asked, None);
        } else if asked != self.asked && self.since.is_none() {
            self.since = Some(now);
        }
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_without_any_packet_after_it_is_silence() {
        let start = Instant::now();
        // At this second: packets received, questions asked, whether that is silence.
        let table = [
            (0, 5, 5, false),
            (1, 5, 5, false),
            (60, 5, 5, false), // Nobody asked: a quiet connection.
            (61, 5, 6, false),
            (62, 6, 6, false), // Answered.
            (63, 6, 7, false),
            (64, 6, 8, false),
            (65, 6, 9, false),
            (66, 6, 9, true),
        ];
        let mut silence = Silence::new(Duration::from_secs(3));
        for (second, received, asked, silent) in table {
            let now = start + Duration::from_secs(second);
            assert_eq!(
                silence.observe(received, asked, now),
                silent,
                "second {second}"
            );
        }
    }
}
