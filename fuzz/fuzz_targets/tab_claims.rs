//! Fuzzes [`quid_fuzz::tab_claims`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::tab_claims(bytes));
