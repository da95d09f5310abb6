//! Fuzzes [`quid_fuzz::forks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::forks(bytes));
