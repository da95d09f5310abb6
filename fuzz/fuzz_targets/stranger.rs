//! Fuzzes [`quid_fuzz::stranger`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::stranger(bytes));
