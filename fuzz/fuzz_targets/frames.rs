//! Fuzzes [`quid_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::frames(bytes));
