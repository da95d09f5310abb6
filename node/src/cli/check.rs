//! What `quid doctor` makes of what it finds: judgements without I/O.

use std::net::IpAddr;
use std::time::Duration;

use quid_common::key::PublicKey;
use quid_common::time::LedgerTime;
use quid_node::{HomeError, KeysStanding};

use super::item::{Check, Health, rfc3339};

/// What is wrong, in words: the first part of a message says what, the rest what to do.
pub(super) fn told(check: &str, state: Health, message: &str) -> Check {
    let (found, advice) = match message.split_once("; ") {
        Some((found, advice)) => (found, Some(advice)),
        None => (message, None),
    };
    judged(check, state, found, advice)
}

/// A check that came to `state`.
pub(super) fn judged(
    check: &str,
    state: Health,
    found: impl Into<String>,
    advice: Option<&str>,
) -> Check {
    Check {
        check: check.to_owned(),
        state,
        found: found.into(),
        advice: advice.map(ToOwned::to_owned),
    }
}

/// A home that does not open: which part of it is to blame.
pub(super) fn unopened(error: &HomeError) -> Check {
    let of_key = |path: &std::path::Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("key")
    };
    let message = error.to_string();
    match error {
        HomeError::Sealed { .. } => judged(
            "key",
            Health::Unknown,
            "it is sealed, and no passphrase was given",
            Some("run it again with --passphrase-file FILE, or on a terminal"),
        ),
        HomeError::Passphrase { .. } | HomeError::PassphraseFile { .. } => {
            told("key", Health::Bad, &message)
        }
        HomeError::Mode { path, .. }
        | HomeError::Missing { path, .. }
        | HomeError::Damaged { path, .. }
            if of_key(path) =>
        {
            told("key", Health::Bad, &message)
        }
        HomeError::Journal(_) => told("journal", Health::Bad, &message),
        _ => told("home", Health::Bad, &message),
    }
}

/// The room left for the journal.
pub(super) fn space(free: u64) -> Check {
    let found = format!("{} MiB are free, and the home can be written", free / MIB);
    let advice = "make room: a payment that cannot be written down is not made";
    match free {
        0..SPACE_BAD => judged("disk", Health::Bad, found, Some(advice)),
        SPACE_BAD..SPACE_WEAK => judged("disk", Health::Weak, found, Some(advice)),
        _ => judged("disk", Health::Good, found, None),
    }
}

/// The system's clock, which says `system` (since 1970), against the ledger's.
pub(super) fn clock(ledger: LedgerTime, system: Duration) -> Check {
    let ledger = Duration::from_millis(ledger.as_millis());
    let (off, way) = if system >= ledger {
        (system.saturating_sub(ledger), "ahead of")
    } else {
        (ledger.saturating_sub(system), "behind")
    };
    if off <= CLOCK_GOOD {
        let found = format!("within {} s of the directory's", CLOCK_GOOD.as_secs());
        return judged("clock", Health::Good, found, None);
    }
    let found = format!("{} s {way} the directory's", off.as_secs());
    let advice = "set this machine's clock (NTP does): payments go by the directory's clock, and the \
                  times that programs here show and compare are wrong";
    judged("clock", Health::Weak, found, Some(advice))
}

/// The account's keys at the directory, against the home's.
pub(super) fn account(standing: &KeysStanding, key: &PublicKey, next: bool) -> Check {
    let bad = |found: String, advice: &str| judged("account", Health::Bad, found, Some(advice));
    if standing.key != *key {
        return bad(
            format!("its key is {}, not this home's", standing.key),
            "if you did not rotate it elsewhere: `quid key recover NAME --recovery FILE`, and talk to \
             the operator",
        );
    }
    if let Some(pending) = &standing.pending {
        return bad(
            format!(
                "another key, {}, takes it over from {} on",
                pending.successor,
                rfc3339(pending.due)
            ),
            "if you do not want that: `quid key object`, and talk to the operator",
        );
    }
    if standing.frozen {
        return bad(
            "it is frozen by the operator: it receives and does not pay".to_owned(),
            "ask the operator of the directory",
        );
    }
    if standing.locked {
        return bad(
            "it is frozen by its own keys: it receives and does not pay".to_owned(),
            "`quid key thaw --recovery FILE`, or ask the operator",
        );
    }
    if next {
        return judged(
            "account",
            Health::Weak,
            "its key is this home's, and a change of it was cut off",
            Some("`quid key rotate` completes it"),
        );
    }
    let recovery = match standing.recovery {
        Some(_) => "it has a recovery key",
        None => "it has no recovery key: a lost key is a lost account",
    };
    let found = format!("its key is this home's; {recovery}");
    judged("account", Health::Good, found, None)
}

/// An own address at which the node answered, as others are told it, on a machine whose address
/// towards the directory is `local`.
pub(super) fn answered(address: &str, ip: IpAddr, local: Option<IpAddr>) -> Check {
    if ip.is_loopback() {
        let found = format!("it answers at {address}, for programs on this machine alone");
        return judged("reachability", Health::Good, found, None);
    }
    if local == Some(ip) {
        let found = format!("it answers at {address}, which is this machine's own address");
        return judged("reachability", Health::Good, found, None);
    }
    let found = format!("it answers at {address} from here, through a router");
    let advice = "others may not get through: forward that UDP port to this machine (and fix it with \
                  --bind), or leave it: they then pay through the directory";
    judged("reachability", Health::Weak, found, Some(advice))
}

/// An own address at which nobody answered.
pub(super) fn unanswered(address: &str, why: &str) -> Check {
    let found = format!("nobody answers from here at {address}, where others are sent: {why}");
    let advice = "let UDP through to that port (and fix it with --bind), or leave it: others then \
                  pay through the directory";
    judged("reachability", Health::Weak, found, Some(advice))
}

const MIB: u64 = 1 << 20;

/// With less than this a busy node has seconds left.
const SPACE_BAD: u64 = 16 * MIB;

/// With less than this it is time to make room.
const SPACE_WEAK: u64 = 256 * MIB;

/// What clocks of machines that are kept in time differ by, and an answer's way, at most.
const CLOCK_GOOD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn state(check: &Check) -> (&str, Health, bool) {
        (&check.check, check.state, check.advice.is_some())
    }

    #[test]
    fn what_is_not_well_comes_with_advice() {
        let at = LedgerTime::from_millis(1_800_000_000_000);
        let s = |seconds| Duration::from_secs(seconds);
        for (seconds, expected) in [
            (1_800_000_000, Health::Good),
            (1_800_000_005, Health::Good),
            (1_799_999_995, Health::Good),
            (1_800_000_006, Health::Weak),
            (1_700_000_000, Health::Weak),
            (0, Health::Weak),
        ] {
            let check = clock(at, s(seconds));
            assert_eq!(state(&check), ("clock", expected, expected != Health::Good));
        }
        for (free, expected) in [
            (0, Health::Bad),
            (SPACE_BAD - 1, Health::Bad),
            (SPACE_BAD, Health::Weak),
            (SPACE_WEAK, Health::Good),
            (u64::MAX, Health::Good),
        ] {
            let check = space(free);
            assert_eq!(state(&check), ("disk", expected, expected != Health::Good));
        }
    }

    #[test]
    fn an_address_behind_a_router_is_weak() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let judge = |seen, local| answered("there", ip(seen), Some(ip(local))).state;
        assert_eq!(judge("127.0.0.1", "127.0.0.1"), Health::Good);
        assert_eq!(judge("203.0.113.7", "203.0.113.7"), Health::Good);
        assert_eq!(judge("203.0.113.7", "192.168.1.4"), Health::Weak);
        assert_eq!(unanswered("there", "silence").state, Health::Weak);
    }

    #[test]
    fn each_way_in_which_keys_are_wrong_is_told() {
        let key = |seed| quid_common::key::SecretKey::from_seed(&[seed; 32]).public();
        let mut standing = KeysStanding {
            ledger: quid_common::id::LedgerId([0; 32]),
            time: LedgerTime::from_millis(0),
            account: 1,
            key: key(1),
            recovery: None,
            frozen: false,
            locked: false,
            said: 0,
            recovery_said: 0,
            pending: None,
        };
        let judge = |standing: &KeysStanding, next| account(standing, &key(1), next).state;
        assert_eq!(judge(&standing, false), Health::Good);
        assert_eq!(judge(&standing, true), Health::Weak);
        assert_eq!(account(&standing, &key(2), false).state, Health::Bad);
        standing.locked = true;
        assert_eq!(judge(&standing, false), Health::Bad);
        standing.locked = false;
        standing.frozen = true;
        assert_eq!(judge(&standing, false), Health::Bad);
    }
}
