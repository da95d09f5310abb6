//! Fuzzes [`quid_fuzz::events`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::events(bytes));
