//! Where batches are committed: one at a time, in the order in which they were taken, by whichever
//! thread took them.

use std::sync::{Condvar, Mutex};

use thiserror::Error;

use crate::store;

/// What is worked on in turns.
#[derive(Debug)]
pub(super) struct Stage<T> {
    /// Whose turn is next, and what it is about.
    state: Mutex<(u64, T)>,
    next: Condvar,
}

#[expect(
    clippy::expect_used,
    reason = "a thread that panicked in a turn has left the process"
)]
impl<T> Stage<T> {
    /// The first turn has number 0.
    pub(super) const fn new(what: T) -> Self {
        Self {
            state: Mutex::new((0, what)),
            next: Condvar::new(),
        }
    }

    /// Waits for turn `number`, which must be taken exactly once, and works.
    pub(super) fn turn(&self, number: u64, work: impl FnOnce(&mut T)) {
        let mut state = self.state.lock().expect("nobody panicked in it");
        while state.0 != number {
            state = self.next.wait(state).expect("nobody panicked in it");
        }
        work(&mut state.1);
        state.0 += 1;
        drop(state);
        // All: with more than two threads, one alone might wake another than the next.
        self.next.notify_all();
    }

    /// What was worked on.
    pub(super) fn into_inner(self) -> T {
        self.state.into_inner().expect("nobody panicked in it").1
    }
}

/// Runs `work`; if it panics, the process ends with nobody answered. A turn that was taken and not
/// worked through would hold up all that follow, and the ledger in memory may be half changed.
pub(super) fn whole_or_leave(work: impl FnOnce()) {
    let leave = Leave;
    work();
    std::mem::forget(leave);
}

struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        store::give_up(&Broken);
    }
}

#[derive(Debug, Error)]
#[error("a settling thread failed, which is a fault of this program")]
struct Broken;

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn turns_come_in_order_whoever_comes_first() {
        const TURNS: u64 = 300;
        let stage = Arc::new(Stage::new(Vec::new()));
        let threads: Vec<_> = (0..3)
            .map(|own| {
                let stage = Arc::clone(&stage);
                thread::spawn(move || {
                    for number in (own..TURNS).step_by(3) {
                        stage.turn(number, |done| done.push(number));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no turn is missed");
        }
        let stage = Arc::into_inner(stage).expect("the threads have ended");
        assert!(stage.into_inner().into_iter().eq(0..TURNS));
    }

    #[test]
    fn a_panic_between_taking_and_committing_ends_the_process_instead_of_hanging_it() {
        const CHILD: &str = "QUID_TEST_PANICS_WHILE_SETTLING";
        if std::env::var_os(CHILD).is_some() {
            let stage = Stage::new(());
            thread::scope(|scope| {
                scope.spawn(|| whole_or_leave(|| panic!("turn 0 is never worked through")));
                whole_or_leave(|| stage.turn(1, |()| {}));
            });
        }
        let own = "settlement::stage::tests::\
                   a_panic_between_taking_and_committing_ends_the_process_instead_of_hanging_it";
        let child = Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", own])
            .env(CHILD, "")
            .output()
            .expect("it runs again");
        assert_eq!(
            child.status.code(),
            Some(store::EXIT_LOCAL_FILES),
            "{child:?}"
        );
    }
}
