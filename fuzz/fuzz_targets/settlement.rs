//! Fuzzes [`quid_fuzz::settlement`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::settlement(bytes));
