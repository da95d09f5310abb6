//! What Quid's directory and nodes agree on: identities, signed facts, log entries, receipts and
//! wire messages.
//!
//! Goals: one definition of every fact that is signed or sent, strict decoding of foreign bytes
//! without panics, and no opinion about how bytes travel.
//!
//! Not here: sockets, clocks, files, balances. Nothing in this crate touches tokio, quinn or the
//! clock; a test in the workspace holds that.
#![forbid(unsafe_code)]
// Foreign bytes pass through here, and a panic ends the program. Not in the tests, which may.
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

pub mod account;
pub mod address;
pub mod amount;
mod armour;
pub mod cbor;
pub mod chain;
pub mod checkpoint;
pub mod consistency;
pub mod entry;
pub mod fork;
pub mod frame;
pub mod id;
pub mod key;
pub mod merkle;
pub mod name;
pub mod order;
pub mod passphrase;
pub mod printable;
pub mod random;
pub mod receipt;
pub mod refusal;
pub mod request;
pub mod sha256;
pub mod signed;
pub mod tab;
pub mod time;
pub mod tls;
pub mod wire;
