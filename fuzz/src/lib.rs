//! Fuzz targets: one function for each place where Quid reads bytes that somebody else wrote.
//!
//! Each takes any bytes, must not panic in the code under test, and asserts what must hold of
//! whatever that code makes of them: what is read is encoded again as the same bytes, two readers
//! agree, what proves something is unaltered, money is neither made nor lost.
//!
//! On stable this is a library, and a test replays the seeds in `seeds/` through it. With the
//! feature `libfuzzer`, `fuzz_targets/` makes programs of it: see README.md beside this crate.

#![forbid(unsafe_code)]

mod account_keys;
mod arguments;
mod books;
mod evidence;
mod facts;
mod folder;
mod frames;
mod home;
mod keys;
mod ledger;
mod ledger_files;
mod messages;
mod patches;
mod pictures;
mod proofs;
#[expect(dead_code, reason = "the wire tests use the rest")]
#[path = "../../common/tests/wire/samples.rs"]
mod samples;
mod seeds;
mod strict;
mod tabs;
mod text;
#[path = "../../common/tests/wire/world.rs"]
mod world;

pub use account_keys::account_keys;
pub use arguments::arguments;
pub use facts::{entries, facts};
pub use folder::data_folder;
pub use frames::frames;
pub use home::home_folder;
pub use keys::keys;
pub use ledger::ledger_rules;
pub use ledger_files::{redo, snapshot};
pub use messages::{account, events, peer, settlement, stranger, tab_stream};
pub use pictures::pictures;
pub use proofs::{forks, heads, receipts};
pub use seeds::seeds;
pub use tabs::tab_claims;
pub use text::printable;

/// A target's name, which is also that of its folder in `seeds/` and of its program, and its
/// function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("frames", frames),
    ("stranger", stranger),
    ("account", account),
    ("settlement", settlement),
    ("events", events),
    ("peer", peer),
    ("tab_stream", tab_stream),
    ("facts", facts),
    ("entries", entries),
    ("receipts", receipts),
    ("heads", heads),
    ("forks", forks),
    ("tab_claims", tab_claims),
    ("ledger_rules", ledger_rules),
    ("snapshot", snapshot),
    ("redo", redo),
    ("data_folder", data_folder),
    ("home_folder", home_folder),
    ("arguments", arguments),
    ("printable", printable),
    ("keys", keys),
    ("account_keys", account_keys),
    ("pictures", pictures),
];
