//! Fuzzes [`quid_fuzz::facts`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::facts(bytes));
