//! Noticing a dead session early.
//!
//! A directory that was killed and restarted at once knows nothing of our connection and says
//! nothing; QUIC's idle timeout would let us wait 15 s. But whoever is asked (a keep-alive is a
//! question too) must acknowledge at once, so a few seconds without any packet after a question
//! mean that nobody is there.

use std::time::{Duration, Instant};

/// How long a question may stay without any packet from the other side: more than any round trip
/// with a few losses, and with the keep-alive's 5 s less than the 10 s in which a node has to be
/// back.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What was seen of a connection so far.
#[derive(Debug, Default)]
pub(super) struct Silence {
    received: u64,
    asked: u64,
    /// Since when a question stands without any packet after it.
    since: Option<Instant>,
}

impl Silence {
    /// Takes the counts of packets received and questions asked; true once the other side has been
    /// silent for too long.
    pub(super) fn observe(&mut self, received: u64, asked: u64, now: Instant) -> bool {
        if received != self.received {
            (self.received, self.asked, self.since) = (received, asked, None);
        } else if asked != self.asked && self.since.is_none() {
            self.since = Some(now);
        }
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= SILENCE_MAX)
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
        let mut silence = Silence::default();
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
