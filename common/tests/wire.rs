//! The wire format and the log's format, held byte for byte.
//!
//! - `golden`: the bytes of one sample of everything, which never change within a version;
//! - `shapes`: those bytes against `quid.cddl`, and its tables against the code's;
//! - `damage`: every prefix and every single-bit flip of everything;
//! - `structure`: what CBOR allows and the protocol does not, at every place where it could stand;
//! - `receipts`: logs of many sizes, and a verifier written from PROTOCOL.md alone;
//! - `run`: receipts in a row, which leave out what the one before said;
//! - `forks`: two histories of many shapes, and what is none;
//! - `document`: PROTOCOL.md's tables and its worked example against the code.

mod wire {
    mod damage;
    mod document;
    mod forks;
    mod golden;
    mod items;
    mod receipts;
    mod run;
    mod samples;
    mod shapes;
    mod structure;
    mod world;
}
