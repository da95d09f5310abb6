//! The wire tests' sample of every message, and the CBOR items of an encoding.

#[path = "../../../common/tests/wire/items.rs"]
pub(crate) mod items;
#[path = "../../../common/tests/wire/samples.rs"]
pub(crate) mod samples;
#[path = "../../../common/tests/wire/world.rs"]
pub(crate) mod world;
