//! Rules for a traced program's calls.

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
