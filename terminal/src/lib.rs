//! What both of Quid's programs do alike at a terminal: what is written from a tree of commands, and
//! a secret that is typed unseen. What they say about it is their own.

#![forbid(unsafe_code)]
// A terminal that is not put right again is one that shows no more what is typed.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::missing_panics_doc,
        clippy::panic,
        clippy::panic_in_result_fn,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod manual;
pub mod secret;
