//! The whole of Quid in one process under a seed: a directory, nodes, a network and disks that fail.
//!
//! Goals: the real code of directory and node, with real QUIC, on simulated time; every fault that
//! the promises name; the same faults and the same ledger whenever a seed is run again.
//!
//! Not here: the operator's socket and the command line, whose tests run the real programs.
#![deny(unsafe_code)]

pub mod accounts;
pub mod asking;
pub mod bills;
pub mod board;
pub mod check;
pub mod command;
pub mod dice;
pub mod disk;
pub mod entropy;
pub mod holder;
pub mod host;
pub mod machine;
pub mod net;
pub mod person;
pub mod plan;
pub mod rogue;
pub mod vfs;
pub mod wire;
pub mod witness;
pub mod world;
