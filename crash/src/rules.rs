//! Rules for a traced program's calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use crate::calls::Call;
use crate::trace::{Do, Rule};

/// Every call is made.
pub(crate) fn let_go() -> Rule {
    Box::new(|_| Do::Go)
}

/// The program is killed at the `nth` call, counted from 1; never if that is 0.
pub(crate) fn kill_at(nth: u64) -> Rule {
    let mut calls = 0;
    Box::new(move |_| {
        calls += 1;
        if nth > 0 && calls >= nth {
            Do::Kill
        } else {
            Do::Go
        }
    })
}

/// The program is killed at the first call at which this holds.
pub(crate) fn kill_when(mut holds: impl FnMut(&Call) -> bool + Send + 'static) -> Rule {
    Box::new(move |call| if holds(call) { Do::Kill } else { Do::Go })
}

/// The `nth` call on the disk fails, and if `lasting` all after it too.
pub(crate) fn fail_at(nth: u64, lasting: bool, error: Errno) -> Rule {
    let mut calls = 0;
    Box::new(move |call| {
        if !call.is_on_disk() {
            return Do::Go;
        }
        calls += 1;
        if calls == nth || (lasting && calls > nth) {
            Do::Fail(error)
        } else {
            Do::Go
        }
    })
}

/// Every call is made; those on the disk are counted in `calls`.
pub(crate) fn count_disk(calls: &Arc<AtomicU64>) -> Rule {
    let calls = Arc::clone(calls);
    Box::new(move |call| {
        calls.fetch_add(u64::from(call.is_on_disk()), Ordering::Relaxed);
        Do::Go
    })
}
