//! Fuzzes [`quid_fuzz::entries`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::entries(bytes));
