//! Fuzzes [`quid_fuzz::account_keys`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::account_keys(bytes));
