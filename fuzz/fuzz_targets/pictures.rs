//! Fuzzes [`quid_fuzz::pictures`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::pictures(bytes));
