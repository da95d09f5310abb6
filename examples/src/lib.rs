//! What the examples that sell by the chunk or the token share: finding the tab that a data
//! connection names, and coupling data with money. README.md says what is at risk on either side.
#![forbid(unsafe_code)]

pub mod purse;
pub mod till;

/// Whatever ends an example early, in words for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
