//! Where calls wait for their handshake: a line for each network, and a turn for each line.
//!
//! A handshake costs the directory more than anything else that a stranger can ask, so one network
//! must not have all of them. Lines are by network and by whether the address is proved: whoever
//! sends with somebody else's address does not stand in that one's line.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::network::Network;

/// Calls that wait, all together.
pub const PORCH_LEN_MAX: usize = 1024;

/// Calls of one line that wait.
pub const LINE_LEN_MAX: usize = 256;

/// Longest time that a call waits: a caller that was not answered for so long has called anew.
pub const PORCH_WAIT_MAX: Duration = Duration::from_secs(3);

/// Whose line it is: a network, and whether the address is proved.
pub type Line = (Network, bool);

/// Calls that wait.
#[derive(Debug)]
pub struct Porch<T> {
    lines: HashMap<Line, VecDeque<(Instant, T)>>,
    turns: VecDeque<Line>,
    len: usize,
}

impl<T> Default for Porch<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Porch<T> {
    /// Lets `call` wait in `line`; gives back who is turned away for it, which is the call itself
    /// unless a longer line has to make room.
    #[must_use]
    pub fn put(&mut self, line: Line, call: T, now: Instant) -> Option<T> {
        let before = self.lines.get(&line).map_or(0, VecDeque::len);
        if before >= LINE_LEN_MAX {
            return Some(call);
        }
        let mut away = None;
        if self.len >= PORCH_LEN_MAX {
            let longest = self.lines.values_mut().max_by_key(|calls| calls.len());
            match longest.filter(|calls| calls.len() > before + 1) {
                Some(calls) => away = calls.pop_back().map(|(_, call)| call),
                None => return Some(call),
            }
            self.len -= 1;
        }
        self.lines.entry(line).or_default().push_back((now, call));
        if before == 0 {
            self.turns.push_back(line);
        }
        self.len += 1;
        away
    }

    /// The call whose turn it is. Those that have waited too long are dropped on the way.
    pub fn take(&mut self, now: Instant) -> Option<T> {
        while let Some(line) = self.turns.pop_front() {
            let Some(calls) = self.lines.get_mut(&line) else {
                continue;
            };
            let next = calls.pop_front();
            if calls.is_empty() {
                self.lines.remove(&line);
            } else {
                self.turns.push_back(line);
            }
            let Some((since, call)) = next else { continue };
            self.len -= 1;
            if now.saturating_duration_since(since) <= PORCH_WAIT_MAX {
                return Some(call);
            }
        }
        None
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(third: u8) -> Line {
        (Network::of([10, 0, third, 1].into()), true)
    }

    #[test]
    fn a_network_with_many_calls_waits_for_itself() {
        let (mut porch, now) = (Porch::default(), Instant::now());
        for call in 0..LINE_LEN_MAX {
            assert_eq!(porch.put(line(1), call, now), None);
        }
        assert_eq!(porch.put(line(1), 9999, now), Some(9999));
        assert_eq!(porch.put(line(2), 1000, now), None);
        assert_eq!(porch.take(now), Some(0));
        assert_eq!(porch.take(now), Some(1000));
        assert_eq!(porch.take(now), Some(1));
    }

    #[test]
    fn who_pretends_to_be_elsewhere_does_not_stand_in_the_line_there() {
        let (mut porch, now) = (Porch::default(), Instant::now());
        let (network, _) = line(1);
        for call in 0..LINE_LEN_MAX {
            assert_eq!(porch.put((network, false), call, now), None);
        }
        assert_eq!(porch.put((network, true), 1000, now), None);
        assert_eq!([porch.take(now), porch.take(now)], [Some(0), Some(1000)]);
    }

    #[test]
    fn when_there_is_no_room_the_longest_line_makes_some() {
        let (mut porch, now) = (Porch::default(), Instant::now());
        for call in 0..PORCH_LEN_MAX {
            let third = (call / LINE_LEN_MAX) as u8;
            assert_eq!(porch.put(line(third), call, now), None);
        }
        assert!(
            porch
                .put(line(200), 9999, now)
                .is_some_and(|away| away < PORCH_LEN_MAX)
        );
        assert_eq!(porch.len(), PORCH_LEN_MAX);
        // As many networks as there are places: one each, and the next is turned away.
        let mut porch = Porch::default();
        for call in 0..PORCH_LEN_MAX {
            let network = Network::of([10, (call / 256) as u8, (call % 256) as u8, 1].into());
            assert_eq!(porch.put((network, true), call, now), None);
        }
        assert_eq!(
            porch.put((Network::of([11, 0, 0, 1].into()), true), 9999, now),
            Some(9999)
        );
    }

    #[test]
    fn who_waited_too_long_is_not_answered_any_more() {
        let (mut porch, now) = (Porch::default(), Instant::now());
        assert_eq!(porch.put(line(1), 'a', now), None);
        let later = now + PORCH_WAIT_MAX + Duration::from_millis(1);
        assert_eq!(porch.put(line(1), 'b', later), None);
        assert_eq!(porch.take(later), Some('b'));
        assert!(porch.is_empty() && porch.take(later).is_none());
    }
}
