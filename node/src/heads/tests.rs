use quid_common::id::{Digest, LedgerId};
use quid_common::key::SecretKey;

use super::*;

/// Sizes on both sides of every power of two up to 8.
const SIZE_MAX: u64 = 9;

#[test]
fn two_histories_are_found_whichever_head_is_longer_and_wherever_they_part() {
    let key = key().public();
    for parting in 0..SIZE_MAX {
        let (shown, other) = (History::new(0, SIZE_MAX), History::new(1, parting));
        for own in 1..=SIZE_MAX {
            for foreign in parting + 1..=SIZE_MAX {
                let mut heads = Heads::default();
                let at = || format!("parted at {parting}, own {own}, foreign {foreign}");
                let mut found = heads.take(shown.signed(own), Source::Welcome).err();
                found = found.or(heads.take(other.signed(foreign), Source::Peer).err());
                if found.is_none() && foreign > own {
                    // The directory cannot show what it does not have, and is asked again once it
                    // has grown.
                    let asked = ask(&mut heads, &shown);
                    let stale = Finding::Nothing {
                        stale: true,
                        doubted: false,
                    };
                    assert_eq!(asked, Some(stale), "{}", at());
                    let grown = heads.take(shown.signed(SIZE_MAX), Source::Directory);
                    found = grown.err();
                }
                while found.is_none() {
                    match ask(&mut heads, &shown) {
                        Some(Finding::Forked(fork)) => found = Some(fork),
                        Some(Finding::Fits) => {}
                        other => panic!("{}: {other:?}", at()),
                    }
                }
                let proved = found.expect("found").verify(&key);
                assert!(proved.is_ok(), "{}: {proved:?}", at());
            }
        }
    }
}

#[test]
fn a_directory_that_was_exchanged_between_two_sessions_is_found_out() {
    let (before, after) = (History::new(0, SIZE_MAX), History::new(1, 4));
    // What the last session ended with has not been compared with anything before it.
    let mut heads = Heads::default();
    heads.take(before.signed(3), Source::Welcome).expect("new");
    heads
        .take(before.signed(6), Source::Directory)
        .expect("longer");
    heads
        .take(after.signed(8), Source::Welcome)
        .expect("longer");
    assert_eq!(
        ask(&mut heads, &after),
        Some(Finding::Fits),
        "they part later"
    );
    assert!(matches!(ask(&mut heads, &after), Some(Finding::Forked(_))));
    // Nor has what the last run of the program ended with.
    let mut heads = Heads::default();
    heads.recall(Some(before.signed(3)), Some(before.signed(6)));
    heads
        .take(after.signed(8), Source::Welcome)
        .expect("longer");
    assert_eq!(ask(&mut heads, &after), Some(Finding::Fits));
    assert!(matches!(ask(&mut heads, &after), Some(Finding::Forked(_))));
}

#[test]
fn one_history_is_asked_about_now_and_then_and_the_newest_is_known_to_fit() {
    let log = History::new(0, SIZE_MAX);
    let mut heads = Heads::default();
    heads.take(log.signed(1), Source::Welcome).expect("new");
    assert_eq!(heads.question(now()), None, "there is nothing to compare");
    for size in 2..=5 {
        heads
            .take(log.signed(size), Source::Directory)
            .expect("fits");
    }
    heads.take(log.signed(3), Source::Peer).expect("fits");
    assert_eq!(ask(&mut heads, &log), Some(Finding::Fits));
    assert_eq!(base(&heads), 5);
    assert_eq!(ask(&mut heads, &log), Some(Finding::Fits), "the peer's");
    // The next one is not due.
    heads.take(log.signed(6), Source::Directory).expect("fits");
    assert_eq!(ask(&mut heads, &log), None);
    // A peer's is asked about at once, and may be newer.
    heads.take(log.signed(8), Source::Peer).expect("fits");
    assert_eq!(ask(&mut heads, &log), Some(Finding::Fits));
    assert_eq!(ask(&mut heads, &log), None);
    let later = now() + OWN_EVERY;
    let question = heads.question(later).expect("due");
    let answer = log.answer(&question);
    assert_eq!(heads.answered(&question, answer, later), Finding::Fits);
    assert_eq!(base(&heads), 8);
    assert_eq!(heads.question(later + OWN_EVERY), None);
}

#[test]
fn what_is_refused_or_nonsense_proves_nothing_and_is_told_once() {
    let log = History::new(0, SIZE_MAX);
    let nonsense = [
        None,
        Some((log.head(3).root, vec![1; 33])),
        Some((log.head(3).root, Vec::new())),
        Some(([1; 32], vec![2; 64])),
        Some((log.head(4).root, vec![])),
    ];
    for answer in nonsense {
        let mut heads = Heads::default();
        heads.take(log.signed(7), Source::Welcome).expect("new");
        heads.take(log.signed(3), Source::Peer).expect("fits");
        let mut doubts = 0;
        for second in 0..100 {
            let now = now() + Duration::from_secs(second);
            let question = heads.question(now).expect("still to be compared");
            match heads.answered(&question, answer.clone(), now) {
                Finding::Nothing { doubted, .. } => {
                    assert_eq!(doubted, second == DOUBT_AFTER.as_secs());
                    doubts += u32::from(doubted);
                }
                other => panic!("{other:?} from {answer:?}"),
            }
        }
        assert_eq!(doubts, 1);
        // It still counts, and an honest answer ends it.
        assert_eq!(ask(&mut heads, &log), Some(Finding::Fits));
        assert_eq!(ask(&mut heads, &log), None);
    }
}

#[test]
fn a_head_that_cannot_be_compared_holds_up_no_other_and_the_oldest_go_first() {
    let (log, other) = (History::new(0, SIZE_MAX), History::new(1, 2));
    let mut heads = Heads::default();
    heads.take(log.signed(9), Source::Welcome).expect("new");
    heads.take(log.signed(3), Source::Peer).expect("fits");
    heads.take(other.signed(5), Source::Peer).expect("longer");
    let question = heads.question(now()).expect("the first");
    heads.answered(&question, None, now());
    assert!(matches!(ask(&mut heads, &log), Some(Finding::Forked(_))));

    let mut heads = Heads::default();
    heads.take(log.signed(1), Source::Welcome).expect("new");
    let many = OTHERS_LEN_MAX as u64 + 10;
    for size in 2..2 + many {
        let head = Head {
            size,
            root: [size as u8; 32],
        };
        heads.take(signed(head), Source::Peer).expect("others");
    }
    assert_eq!(heads.others.len(), OTHERS_LEN_MAX);
    let first = heads.question(now()).expect("many wait");
    assert_eq!(first.newer.head.size, 12);
}

#[test]
fn one_head_is_asked_about_once_however_often_it_comes() {
    let log = History::new(0, SIZE_MAX);
    let mut heads = Heads::default();
    heads.take(log.signed(9), Source::Welcome).expect("new");
    for _ in 0..5 {
        heads.take(log.signed(4), Source::Peer).expect("fits");
        heads.take(log.signed(9), Source::Peer).expect("fits");
    }
    assert_eq!(heads.others.len(), 1);
    assert_eq!(ask(&mut heads, &log), Some(Finding::Fits));
    assert_eq!(ask(&mut heads, &log), None);
}

/// Asks a directory with this history the next question.
fn ask(heads: &mut Heads, shown: &History) -> Option<Finding> {
    let question = heads.question(now())?;
    let answer = shown.answer(&question);
    Some(heads.answered(&question, answer, now()))
}

fn base(heads: &Heads) -> u64 {
    heads.base().map_or(0, |base| base.head.size)
}

fn now() -> Instant {
    static BEGINNING: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

/// A log that is its own from `parting` on.
struct History {
    leaves: Vec<[u8; 32]>,
}

impl History {
    fn new(whose: u8, parting: u64) -> Self {
        let leaf = |n: u64| [n as u8, if n < parting { 0 } else { whose + 1 }];
        let leaves = (0..SIZE_MAX).map(|n| hash(&[&[0], &leaf(n)]));
        Self {
            leaves: leaves.collect(),
        }
    }

    fn head(&self, size: u64) -> Head {
        let root = root(&self.leaves[..size as usize]);
        Head { size, root }
    }

    fn signed(&self, size: u64) -> Signed {
        signed(self.head(size))
    }

    /// What a directory with this log answers.
    fn answer(&self, question: &Question) -> Option<([u8; 32], Vec<u8>)> {
        let (from, to) = (question.older.head.size, question.newer.head.size);
        let leaves = &self.leaves[..to as usize];
        let proof = subproof(from as usize, leaves, true).concat();
        Some((self.head(from).root, proof))
    }
}

fn signed(head: Head) -> Signed {
    Signed {
        checkpoint: Checkpoint::sign(LedgerId([7; 32]), head, &key()),
        head,
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// MTH of RFC 6962, 2.1.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            hash(&[&[1], &root(left), &root(right)])
        }
    }
}

/// SUBPROOF of RFC 6962, 2.1.2.
fn subproof(from: usize, leaves: &[[u8; 32]], whole: bool) -> Vec<[u8; 32]> {
    if from == leaves.len() {
        return if whole { vec![] } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, beside) = match from.checked_sub(left.len()) {
        Some(rest @ 1..) => (subproof(rest, right, false), root(left)),
        _ => (subproof(from, left, whole), root(right)),
    };
    proof.push(beside);
    proof
}

/// The largest power of two below `len`.
fn split(len: usize) -> usize {
    1 << (len - 1).ilog2()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    Digest::of(&parts.concat()).0
}
