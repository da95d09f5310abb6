//! The Quid directory: registration, login, presence and the authoritative ledger.
//!
//! Goals: settle signed orders durably and in order, prove every settlement, lose nothing to a
//! crash, and bound everything that a stranger can make it hold.
//!
//! Not here: what nodes do among themselves, and anybody's secret key but the directory's own.
//! ARCHITECTURE.md tells a payment's way through these files.
#![forbid(unsafe_code)]
// Foreign bytes pass through here, and a panic ends the program. Not in the tests, which may.
#![cfg_attr(
    not(test),
    deny(
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

pub mod ahead;
pub mod audit;
pub mod backup;
pub mod books;
pub mod cli;
pub mod clock;
pub mod command;
pub mod event_stream;
pub mod events;
pub mod folder;
pub mod history;
pub mod index;
pub mod invites;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod logging;
pub mod member;
pub mod metrics;
pub mod network;
pub mod operator;
pub mod porch;
pub mod presence;
pub mod quota;
pub mod rates;
pub mod registration;
pub mod releases;
pub mod request;
pub mod sentry;
pub mod serve;
pub mod server;
pub mod session;
pub mod sessions;
pub mod settle_stream;
pub mod settlement;
pub mod shares;
pub mod shed;
pub mod snapshot;
pub mod store;
pub mod stream;
pub mod surroundings;
pub mod traffic;
pub mod tree;
pub mod verify;
mod write_back;
